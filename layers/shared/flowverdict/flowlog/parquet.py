"""Parquet flow logs, given as the text that AWS would have written of the same records.

So there is one reader: what a value means, what is malformed and what is counted is said in one place. DuckDB unpacks the columns
that are looked at and writes the lines, two thousand at a time; a value that would be more than one word of a line is marked on
the way, so that nothing in it stands for another field or record. Types are those of
https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html, names those of
https://docs.aws.amazon.com/athena/latest/ug/vpc-flow-logs-parquet.html, where ``protocol`` is wider: any integer will do.
"""

from __future__ import annotations

import io
import re
import sys
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, cast

from flowverdict.core.errors import FormatError, NotAFlowLogError, ObjectError
from flowverdict.flowlog.fields import FIELDS, READ_FIELDS, FieldKind
from flowverdict.flowlog.records import ABSENT, MAX_TEXT, RecordFormat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from duckdb import DuckDBPyConnection


MAGIC = b"PAR1"
# A footer stands at the end of a file, so that it has to be held: three times the 75 MB that AWS's files have at most
# (https://docs.aws.amazon.com/vpc/latest/tgw/flow-logs-s3.html), and half of what a function's /tmp has.
MAX_FILE_BYTES = 256 << 20
# In 75 MB they would have seven bytes each, where they have fifteen or more. A few KB may hold any number of the same record.
MAX_RECORDS = 10_000_000
_COPY_BYTES = 1 << 20
_OPEN_FILES = "/proc/self/fd" if sys.platform == "linux" else "/dev/fd"  # Lambda has no /dev/fd
# 75 MB as one row group need 150 MB.
_MEMORY = "384MB"
_ROWS = 2_048  # as many as DuckDB works on at a time; more are slower
_INTEGERS = {f"{sign}{size}INT" for sign in ("", "U") for size in ("TINY", "SMALL", "BIG")} | {
    "INTEGER",
    "UINTEGER",
}
_MARK = "\N{REPLACEMENT CHARACTER}"  # no ASCII, which makes a line malformed


@contextmanager
def as_text(stream: BinaryIO, name: str) -> Iterator[BinaryIO]:
    """Give a Parquet flow log as a text one: a header line, and a line a record.

    Columns that nobody looks at are named in the header and read ``-``. Nothing is left of the copy that is made on disk,
    even if the process is killed.

    Parameters
    ----------
    stream
        The file's bytes, read forward only. It is asked for more between lines too, where it has no more to give: whoever
        limits the time of reading does so there.
    name
        What errors call it.

    Raises
    ------
    NotAFlowLogError
        A column has a name or a type that no flow log's has.
    ObjectError
        It is too long, or no whole Parquet file; also if that turns out only while reading.
    """
    import duckdb  # noqa: PLC0415 - 68 MB and 40 ms, and only one of the functions has it

    with tempfile.TemporaryFile() as file:
        _copy(stream, file, name)
        path = f"{_OPEN_FILES}/{file.fileno()}"
        try:
            with duckdb.connect(
                config={"threads": 1, "memory_limit": _MEMORY, "temp_directory": ""}
            ) as database:
                database.execute(
                    "SET autoinstall_known_extensions = false; SET autoload_known_extensions = false"
                )
                database.execute(
                    f"SET allowed_paths = ['{path}']; SET enable_external_access = false; SET lock_configuration = true"
                )
                yield cast("BinaryIO", _Text(_lines(database, path, stream, name)))
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
    """Yield the header, then lines."""
    columns = _columns(database, path, name)
    read = [column for column in columns if column in READ_FIELDS]
    unread = [column for column in columns if column not in READ_FIELDS]
    yield f"{' '.join(read + unread)}\n".encode()
    ((expected,),) = database.execute(
        "SELECT num_rows FROM parquet_file_metadata($path)", {"path": path}
    ).fetchall()
    if expected > MAX_RECORDS:
        raise ObjectError(
            name,
            f"a Parquet file of {expected:,} records; those of more than {MAX_RECORDS:,} are not read",
        )
    words = [_word(column) for column in read] + [f"'{ABSENT}'"] * len(unread)
    query = f"SELECT concat_ws(' ', {', '.join(words)}) FROM {_TABLE}"  # noqa: S608 - of names that are known
    rows = database.execute(query, {"path": path})
    while lines := rows.fetchmany(_ROWS):
        stream.read(1)
        expected -= len(lines)
        yield "\n".join([*(line for (line,) in lines), ""]).encode()
    if expected:
        raise ObjectError(
            name, f"broken Parquet: its footer's number of records is off by {abs(expected):,}"
        )


# A text need not say that it is UTF-8. Nothing in a name is a partition.
_TABLE = "read_parquet($path, binary_as_string = true, hive_partitioning = false)"


def _columns(database: DuckDBPyConnection, path: str, name: str) -> list[str]:
    """Give the names of the columns, as a text file's header has them."""
    described = database.execute(f"DESCRIBE SELECT * FROM {_TABLE}", {"path": path}).fetchall()  # noqa: S608 - a constant
    schema = database.execute("SELECT name FROM parquet_schema($path)", {"path": path}).fetchall()
    types = {column.replace("_", "-"): kind for column, kind, *_ in described}
    if len(types) < len(described) or not {column for column, *_ in described} <= {
        column for (column,) in schema
    }:
        raise NotAFlowLogError(
            name, "a Parquet file in which two columns have one name"
        )  # which DuckDB would have changed
    try:
        RecordFormat(tuple(types))
    except FormatError as error:
        raise NotAFlowLogError(name, f"a Parquet file that is no VPC flow log: {error}") from error
    for column in READ_FIELDS & types.keys():
        known = FIELDS[column]
        fits = (
            types[column] in _INTEGERS
            if known.kind is FieldKind.INTEGER
            else types[column] == "VARCHAR"
        )
        if not fits:
            wanted = "integers" if known.kind is FieldKind.INTEGER else "text"
            raise NotAFlowLogError(
                name,
                f"a Parquet file whose column {known.attribute} is {types[column]}, not {wanted}",
            )
    return list(types)


def _word(name: str) -> str:
    """Give the SQL of a field's word.

    Texts are worked out once for all records that share a dictionary's entry, so that this costs next to nothing.
    """
    field = FIELDS[name]
    column = f'"{field.attribute}"'
    if field.kind is FieldKind.INTEGER:
        return f"coalesce({column}::VARCHAR, '{ABSENT}')"
    one_word = f"regexp_replace({column}, '[^!-~]', '{_MARK}', 'g')"
    # One that is too long for a text is so in any length; left() would be worked out for every record.
    return f"coalesce(CASE WHEN strlen({column}) > {MAX_TEXT} THEN repeat('x', {MAX_TEXT + 1}) ELSE {one_word} END, '{ABSENT}')"


class _Text(io.RawIOBase):
    """Blocks of bytes, as one raw stream."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._block = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._block:
            self._block = memoryview(next(self._blocks, b""))
        size = min(len(buffer), len(self._block))
        buffer[:size] = self._block[:size]
        self._block = self._block[size:]
        return size
