"""What reading flow logs costs, beside gunzip alone and other ways to do the same job: ``make bench``."""
