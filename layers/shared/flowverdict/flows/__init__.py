"""Collect records into rejected flows, each with the accepted traffic of its connection."""
