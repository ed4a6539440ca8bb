"""Read Parquet flow logs by column, with DuckDB.

A record is read by its columns where its values are what ``LineReader`` would accept; every other
record becomes the line that AWS would have written, and ``LineReader`` alone decides what it means,
whether it is malformed and how it is counted. A character that could end a word of a line is
replaced by a mark, so that no part of a value passes for another field or record.
Types are those of https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html,
names those of https://docs.aws.amazon.com/athena/latest/ug/vpc-flow-logs-parquet.html. There
``protocol`` is wider, so every integer type is accepted. Files of Security Lake have columns of
their own (``security_lake``).
"""

from __future__ import annotations

import re
import sys
import tempfile
from typing import TYPE_CHECKING, BinaryIO, cast

import duckdb

from flowverdict.core.errors import FormatError, NotAFlowLogError, ObjectError
from flowverdict.flowlog.arrow import ArrowError, batches
from flowverdict.flowlog.fields import FIELDS, READ_FIELDS, FieldKind
from flowverdict.flowlog.line_reader import first_record
from flowverdict.flowlog.parquet_columns import ROWS, ParquetReader
from flowverdict.flowlog.parquet_query import query_of, value_of_column, value_of_text
from flowverdict.flowlog.records import RecordFormat
from flowverdict.flowlog.security_lake import (
    CLASS,
    OTHER_CLASSES,
    expressions,
    is_of_ocsf,
    lacks,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from duckdb.sqltypes import DuckDBPyType

    from flowverdict.flowlog.columnar import Sink, Windows
    from flowverdict.flowlog.line_reader import LineReader
    from flowverdict.flowlog.parquet_query import Value


# The footer is at the end of a file, so the whole file is copied to disk. Three times the 75 MB
# that AWS's files have at most (https://docs.aws.amazon.com/vpc/latest/tgw/flow-logs-s3.html), half
# of a function's /tmp.
MAX_FILE_BYTES = 256 << 20
# So many records in 75 MB would have seven bytes each; real records have fifteen or more. But a
# few KB can hold any number of equal records.
MAX_RECORDS = 10_000_000
_COPY_BYTES = 1 << 20
_OPEN_FILES = "/proc/self/fd" if sys.platform == "linux" else "/dev/fd"  # Lambda has no /dev/fd
# 75 MB as one row group need 150 MB.
_MEMORY = "384MB"
_LINES = 64  # of long records, read at once
_INTEGERS = {f"{sign}{size}INT" for sign in ("", "U") for size in ("TINY", "SMALL", "BIG")} | {
    "INTEGER",
    "UINTEGER",
}


def read_parquet(  # noqa: PLR0913 - as column_reader.read_columns
    stream: BinaryIO,
    sink: Sink,
    *,
    name: str,
    reader: LineReader,
    seed: int = 0,
    windows: Windows | None = None,
) -> None:
    """Read one Parquet flow log into a sink; parameters are those of ``read_columns``.

    The format of the lines has all columns; the values of unused columns are ``-``. The file is
    copied to disk without a name, so that nothing of it is left even if the process is killed. The
    stream is also read between records, when it is at its end: a stream with a deadline checks it
    there.

    Raises
    ------
    NotAFlowLogError
        A column has a name or a type that no flow log has.
    ObjectError
        The file is too long or not a whole Parquet file.
    """
    with tempfile.TemporaryFile() as file:
        _copy(stream, file, name)
        path = f"{_OPEN_FILES}/{file.fileno()}"
        try:
            with duckdb.connect(
                config={"threads": 1, "memory_limit": _MEMORY, "temp_directory": ""}
            ) as database:
                # A footer may lie about the least and the greatest value of a column. DuckDB would
                # leave out a check that they make needless.
                database.execute("SET disabled_optimizers = 'statistics_propagation'")
                database.execute(
                    "SET autoinstall_known_extensions = false; "
                    "SET autoload_known_extensions = false"
                )
                database.execute(
                    f"SET allowed_paths = ['{path}']; SET enable_external_access = false; "
                    "SET lock_configuration = true"
                )
                _read(
                    database,
                    stream,
                    sink,
                    path=path,
                    name=name,
                    reader=reader,
                    seed=seed,
                    windows=windows,
                )
        except (duckdb.Error, ArrowError) as error:
            reason = re.sub(
                rf"""[Ff]ile ['"]{path}['"]""", "the file", str(error).split("\n", 1)[0]
            )
            raise ObjectError(name, f"broken Parquet, or too large: {reason}") from error


def _copy(stream: BinaryIO, file: BinaryIO, name: str) -> None:
    left = MAX_FILE_BYTES
    try:
        while block := stream.read(_COPY_BYTES):
            left -= len(block)
            if left < 0:
                raise ObjectError(
                    name,
                    f"a Parquet file of more than {MAX_FILE_BYTES >> 20} MiB, which is not read",
                )
            file.write(block)
        file.flush()
    except OSError as error:
        raise ObjectError(name, f"no room to read a Parquet file: {error.strerror}") from error


def _read(  # noqa: PLR0913 - those of its only caller
    database: duckdb.DuckDBPyConnection,
    stream: BinaryIO,
    sink: Sink,
    *,
    path: str,
    name: str,
    reader: LineReader,
    seed: int,
    windows: Windows | None,
) -> None:
    """Read the records of a file that DuckDB may open."""
    values = _values_of_ocsf(database, path, name)
    unused: list[str] = []
    if values is None:
        columns = _columns(database, path, name)
        values = {column: value_of_column(column) for column in columns if column in READ_FIELDS}
        unused = [column for column in columns if column not in READ_FIELDS]
    header = f"{' '.join([*values, *unused])}\n".encode()
    reader.headers = False  # all that follows are records
    for _ in first_record(iter([header]), reader, name, ()):
        raise AssertionError("a header is no record")
    ((expected,),) = database.execute(
        "SELECT num_rows FROM parquet_file_metadata($path)", {"path": path}
    ).fetchall()
    if expected > MAX_RECORDS:
        raise ObjectError(
            name,
            f"a Parquet file of {expected:,} records; "
            f"files of more than {MAX_RECORDS:,} are not read",
        )
    query = query_of(values, len(unused), _TABLE.replace("$path", f"'{path}'"))

    def lines() -> Iterator[bytes]:
        with database.cursor() as other:
            rows = other.execute(query.lines)
            while some := rows.fetchmany(_LINES):
                stream.read(1)
                yield from (line.encode() for (line,) in some)

    records = ParquetReader(
        reader, sink, seed=seed, windows=windows, kinds=query.kinds, lines=lines
    )
    found = database.sql(query.columns)
    for batch in batches(found.__arrow_c_stream__(), query.kinds):
        expected -= batch.rows
        for begin in range(0, batch.rows, ROWS):
            stream.read(1)
            records.read(batch, begin, min(begin + ROWS, batch.rows))
    records.finish()
    if expected:
        raise ObjectError(
            name, f"broken Parquet: its footer's number of records is off by {abs(expected):,}"
        )


# Text columns need no UTF-8 annotation. Nothing in the path is a partition.
_TABLE = "read_parquet($path, binary_as_string = true, hive_partitioning = false)"


def _values_of_ocsf(
    database: duckdb.DuckDBPyConnection, path: str, name: str
) -> dict[str, Value] | None:
    """Return the SQL of each field's value for a file of Security Lake, ``None`` for another file.

    Raises
    ------
    NotAFlowLogError
        The file is of another class of events, or lacks an endpoint.
    ObjectError
        A column's name is not text.
    """
    database.execute(f"SELECT * FROM {_TABLE} LIMIT 0", {"path": path})  # noqa: S608 - a constant
    columns: dict[str, str] = {}
    try:
        waiting = [(described[0], described[1]) for described in database.description or []]
    except RuntimeError as error:  # DuckDB's, for a name that is not UTF-8
        raise ObjectError(name, f"broken Parquet: {error}") from error
    while waiting:
        place, kind = waiting.pop()
        columns[place] = str(kind)
        if kind.id == "struct":
            members = cast("list[tuple[str, DuckDBPyType]]", kind.children)
            waiting += [(f"{place}.{member}", inner) for member, inner in members]
    if not is_of_ocsf(columns):
        return None
    ((first, last),) = database.execute(
        f"SELECT min(class_uid::BIGINT), max(class_uid::BIGINT) FROM {_TABLE}",  # noqa: S608 - a constant
        {"path": path},
    ).fetchall()
    others = {first, last} - {CLASS, None}
    if others:
        other = min(others)
        what = OTHER_CLASSES.get(other, "other events")
        raise NotAFlowLogError(
            name, f"this is a file of OCSF class {other} ({what}); flow logs are of class {CLASS}"
        )
    if (missing := lacks(columns)) is not None:
        raise NotAFlowLogError(name, f"a file of OCSF class {CLASS} without column {missing}")
    return {
        field: value_of_text(field, expression)
        for field, expression in expressions(columns).items()
    }


def _columns(database: duckdb.DuckDBPyConnection, path: str, name: str) -> list[str]:
    """Return the columns' names as in a text file's header.

    Raises
    ------
    NotAFlowLogError
        A name is not a field name or occurs twice, or a type does not fit its field.
    """
    described = database.execute(f"DESCRIBE SELECT * FROM {_TABLE}", {"path": path}).fetchall()  # noqa: S608 - a constant
    schema = database.execute("SELECT name FROM parquet_schema($path)", {"path": path}).fetchall()
    types = {column.replace("_", "-"): kind for column, kind, *_ in described}
    if len(types) < len(described) or not {column for column, *_ in described} <= {
        column for (column,) in schema
    }:
        # DuckDB renames such columns.
        raise NotAFlowLogError(name, "a Parquet file in which two columns have one name")
    try:
        RecordFormat(tuple(types))
    except FormatError as error:
        raise NotAFlowLogError(
            name, f"a Parquet file that is not a VPC flow log: {error}"
        ) from error
    for column in READ_FIELDS & types.keys():
        known = FIELDS[column]
        fits = (
            types[column] in _INTEGERS
            if known.kind is FieldKind.INTEGER
            else types[column] == "VARCHAR"
        )
        if not fits:
            required = "integers" if known.kind is FieldKind.INTEGER else "text"
            raise NotAFlowLogError(
                name,
                f"a Parquet file whose column {known.attribute} is {types[column]}, not {required}",
            )
    return list(types)
