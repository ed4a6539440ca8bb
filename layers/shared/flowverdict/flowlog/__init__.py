"""VPC Flow Logs as AWS delivers them: events and objects in, records out."""
