"""One module for each format in which an alert is shown."""
