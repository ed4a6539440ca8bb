"""The command ``flowverdict``, which no Lambda function imports."""
