"""Measure reading flow logs, beside gunzip alone and other tools: ``make bench``."""
