"""Explained flows grouped into alerts and notices."""
