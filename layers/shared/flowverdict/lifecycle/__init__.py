"""What happens to an alert over time, and where its state is stored."""
