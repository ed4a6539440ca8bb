"""Parquet files as AWS writes them (https://docs.aws.amazon.com/athena/latest/ug/vpc-flow-logs-parquet.html), for tests."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from flowverdict.flowlog.fields import FIELDS, MAX_INT_64, FieldKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def type_of(name: str) -> str:
    """Give a field's type in AWS's table, as SQL has it."""
    known = FIELDS.get(name)
    if known is None or known.kind is not FieldKind.INTEGER:
        return "VARCHAR"
    # What AWS's table has as INT_64; the largest epoch is less.
    return "BIGINT" if known.maximum == MAX_INT_64 or name in {"start", "end"} else "INTEGER"


def parquet(
    names: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    codec: str = "gzip",
    types: Mapping[str, str] | None = None,
    group: int = 122_880,
) -> bytes:
    """Write rows; ``types`` says which columns have other types than AWS's, ``group`` how many rows a row group has."""
    with tempfile.TemporaryDirectory() as folder, duckdb.connect(config={"threads": 1}) as database:
        path = Path(folder) / "file.parquet"
        kinds = {name: (types or {}).get(name, type_of(name)) for name in names}
        columns = ", ".join(f'"{name.replace("-", "_")}" {kind}' for name, kind in kinds.items())
        database.execute(f"CREATE TABLE records ({columns})")
        values = [list(row) for row in rows]
        if values:
            database.executemany(
                f"INSERT INTO records VALUES ({', '.join('?' * len(names))})",  # noqa: S608 - our names
                values,
            )
        database.execute(
            f"COPY records TO '{path}' (FORMAT parquet, CODEC '{codec}', ROW_GROUP_SIZE {group})"
        )
        return path.read_bytes()


def parquet_of(text: bytes, **how: object) -> bytes:
    """Write what a text flow log says."""
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
