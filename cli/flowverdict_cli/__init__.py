"""The flowverdict command."""
