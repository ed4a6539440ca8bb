"""Write Parquet files as AWS writes them.

https://docs.aws.amazon.com/athena/latest/ug/vpc-flow-logs-parquet.html
"""

from __future__ import annotations

import tempfile
from functools import cache
from itertools import batched
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from flowverdict.flowlog.fields import FIELDS, MAX_INT_64, FieldKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def type_of(name: str) -> str:
    """Return the SQL type of a field in AWS's table."""
    known = FIELDS.get(name)
    if known is None or known.kind is not FieldKind.INTEGER:
        return "VARCHAR"
    # AWS's table has INT_64 for these; the largest epoch is less.
    return "BIGINT" if known.maximum == MAX_INT_64 or name in {"start", "end"} else "INTEGER"


@cache
def _database() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"threads": 1})  # takes longer than to write a file


def parquet(
    names: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    codec: str = "gzip",
    types: Mapping[str, str] | None = None,
    group: int = 122_880,
) -> bytes:
    """Return a file of the rows.

    ``types`` replaces AWS's types of some columns; ``group`` is the number of rows of a row group.
    """
    with tempfile.TemporaryDirectory() as folder:
        database = _database()
        path = Path(folder) / "file.parquet"
        kinds = {name: (types or {}).get(name, type_of(name)) for name in names}
        columns = ", ".join(f'"{name.replace("-", "_")}" {kind}' for name, kind in kinds.items())
        database.execute(f"CREATE OR REPLACE TABLE records ({columns})")
        # One statement for many rows: DuckDB takes milliseconds for each statement.
        row_of_marks = f"({', '.join('?' * len(names))})"
        for some in batched(rows, 250, strict=False):
            marks = ", ".join([row_of_marks] * len(some))
            values = [value for row in some for value in row]
            database.execute(f"INSERT INTO records VALUES {marks}", values)  # noqa: S608 - our names
        database.execute(
            f"COPY records TO '{path}' (FORMAT parquet, CODEC '{codec}', ROW_GROUP_SIZE {group})"
        )
        return path.read_bytes()


def repeated(times: int, row: Mapping[str, object]) -> bytes:
    """Return a file of one record many times."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.parquet"
        columns = ", ".join(f'?::{type_of(name)} AS "{name.replace("-", "_")}"' for name in row)
        _database().execute(
            f"COPY (SELECT {columns} FROM range({times})) TO '{path}' (FORMAT parquet, CODEC gzip)",  # noqa: S608 - our names
            list(row.values()),
        )
        return path.read_bytes()


def parquet_of(text: bytes, **how: object) -> bytes:
    """Return a file of the records of a text flow log."""
    header, *lines = text.decode("utf-8", "surrogateescape").splitlines()
    names = header.split()
    rows = [
        [
            None if word == "-" and name != "reject-reason" else word
            for name, word in zip(names, line.split(), strict=True)
        ]
        for line in lines
    ]
    return parquet(names, rows, **how)  # type: ignore[arg-type]
