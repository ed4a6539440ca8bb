"""One self-contained HTML page of problems: no script, nothing loaded from elsewhere."""
