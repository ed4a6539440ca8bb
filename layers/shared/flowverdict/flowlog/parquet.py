"""Convert Parquet flow logs to the text that AWS would have written for the same records.

So one reader alone decides what a value means, what is malformed and what is counted. DuckDB
reads the columns in use and writes the lines, two thousand at a time. A character that could end a
word of a line is replaced by a mark, so that no part of a value passes for another field or record.
Types are those of https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html,
names those of https://docs.aws.amazon.com/athena/latest/ug/vpc-flow-logs-parquet.html. There
``protocol`` is wider, so every integer type is accepted.
"""

from __future__ import annotations

import re
import sys
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, cast

from flowverdict.core.errors import FormatError, NotAFlowLogError, ObjectError
from flowverdict.flowlog.fields import FIELDS, READ_FIELDS, FieldKind
from flowverdict.flowlog.line_reader import Blocks
from flowverdict.flowlog.records import ABSENT, MAX_TEXT, RecordFormat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from duckdb import DuckDBPyConnection


MAGIC = b"PAR1"
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
_ROWS = 2_048  # the size of DuckDB's own vectors; more are slower
_INTEGERS = {f"{sign}{size}INT" for sign in ("", "U") for size in ("TINY", "SMALL", "BIG")} | {
    "INTEGER",
    "UINTEGER",
}
_MARK = "\N{REPLACEMENT CHARACTER}"  # not ASCII, so the line is counted as malformed


@contextmanager
def as_text(stream: BinaryIO, name: str) -> Iterator[BinaryIO]:
    """Return a Parquet flow log as a text flow log: a header line, and a line for each record.

    The header names all columns; the values of unused columns are ``-``. The file is copied to disk
    without a name, so that nothing of it is left even if the process is killed.

    Parameters
    ----------
    stream
        The file's bytes, read forward only. The stream is also read between lines, when it is at
        its end: a stream with a deadline checks it there.
    name
        The file's name in errors.

    Raises
    ------
    NotAFlowLogError
        A column has a name or a type that no flow log has.
    ObjectError
        The file is too long or not a whole Parquet file. Also raised while the caller reads.
    """
    import duckdb  # noqa: PLC0415 - 68 MB and 40 ms, and only one function has it

    with tempfile.TemporaryFile() as file:
        _copy(stream, file, name)
        path = f"{_OPEN_FILES}/{file.fileno()}"
        try:
            with duckdb.connect(
                config={"threads": 1, "memory_limit": _MEMORY, "temp_directory": ""}
            ) as database:
                database.execute(
                    "SET autoinstall_known_extensions = false; "
                    "SET autoload_known_extensions = false"
                )
                database.execute(
                    f"SET allowed_paths = ['{path}']; SET enable_external_access = false; "
                    "SET lock_configuration = true"
                )
                yield cast("BinaryIO", Blocks(_lines(database, path, stream, name)))
        except duckdb.Error as error:
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


def _lines(database: DuckDBPyConnection, path: str, stream: BinaryIO, name: str) -> Iterator[bytes]:
    """Yield the header, then blocks of lines."""
    columns = _columns(database, path, name)
    used = [column for column in columns if column in READ_FIELDS]
    unused = [column for column in columns if column not in READ_FIELDS]
    yield f"{' '.join(used + unused)}\n".encode()
    ((expected,),) = database.execute(
        "SELECT num_rows FROM parquet_file_metadata($path)", {"path": path}
    ).fetchall()
    if expected > MAX_RECORDS:
        raise ObjectError(
            name,
            f"a Parquet file of {expected:,} records; "
            f"files of more than {MAX_RECORDS:,} are not read",
        )
    words = [_word(column) for column in used] + [f"'{ABSENT}'"] * len(unused)
    query = f"SELECT concat_ws(' ', {', '.join(words)}) FROM {_TABLE}"  # noqa: S608 - built of known names
    rows = database.execute(query, {"path": path})
    while lines := rows.fetchmany(_ROWS):
        stream.read(1)
        expected -= len(lines)
        yield "\n".join([*(line for (line,) in lines), ""]).encode()
    if expected:
        raise ObjectError(
            name, f"broken Parquet: its footer's number of records is off by {abs(expected):,}"
        )


# Text columns need no UTF-8 annotation. Nothing in the path is a partition.
_TABLE = "read_parquet($path, binary_as_string = true, hive_partitioning = false)"


def _columns(database: DuckDBPyConnection, path: str, name: str) -> list[str]:
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


def _word(name: str) -> str:
    """Return the SQL expression of a field's word in a line.

    DuckDB evaluates it once for all records that share an entry of the column's dictionary, so it
    costs next to nothing.
    """
    field = FIELDS[name]
    column = f'"{field.attribute}"'
    if field.kind is FieldKind.INTEGER:
        return f"coalesce({column}::VARCHAR, '{ABSENT}')"
    one_word = f"regexp_replace({column}, '[^!-~]', '{_MARK}', 'g')"
    # A constant stands in for a text that is too long; left() would be evaluated for every record.
    too_long = f"repeat('x', {MAX_TEXT + 1})"
    word = f"CASE WHEN strlen({column}) > {MAX_TEXT} THEN {too_long} ELSE {one_word} END"
    return f"coalesce({word}, '{ABSENT}')"
