"""Read VPC flow logs as AWS delivers them: events and objects in, records out."""
