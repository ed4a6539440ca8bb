"""The one style of tables on a terminal: no lines, bold headings."""

from __future__ import annotations

from rich.table import Table


def plain_table(*columns: str) -> Table:
    """Return an empty table whose columns fold to the terminal's width."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
