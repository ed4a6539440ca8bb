"""Recognise by the first bytes and lines how flow logs are wrapped, and take the wrapping off.

A file that AWS delivers to S3 is read as it is. Everything else in which people hold the same
records (docs/inputs.md lists the shapes) becomes such a text here, a line for each line or
document, so that one reader alone decides what is a record. The functions and the command read
the same shapes.
"""

from __future__ import annotations

import io
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from flowverdict.core.errors import NotAFlowLogError
from flowverdict.flowlog.cloudwatch_logs import MAX_PAYLOAD_BYTES
from flowverdict.flowlog.firehose import plain_start, text_chunks
from flowverdict.flowlog.framed_lines import (
    STRAY,
    FramedLines,
    are_joined,
    is_stray,
    width_of_records,
)
from flowverdict.flowlog.json_records import JsonRecords
from flowverdict.flowlog.json_text import JsonText
from flowverdict.flowlog.line_reader import (
    MAX_LINE_BYTES,
    MAX_STRAYS_BEFORE,
    Blocks,
    header_format,
    is_wrong_header,
    plain_bytes,
    unpacking,
    why_no_format,
)
from flowverdict.flowlog.other_logs import log_of_lines, packing_of
from flowverdict.flowlog.records import KNOWN_FORMATS
from flowverdict.flowlog.table_rows import Columns, columns_of, is_message_table, rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flowverdict.flowlog.records import RecordFormat


PARQUET_MAGIC: Final = b"PAR1"
_GZIP_MAGIC: Final = b"\x1f\x8b"
_BOM: Final = b"\xef\xbb\xbf"
_SAMPLE_BYTES: Final = 1 << 16
_HEADER_BYTES: Final = 1 << 11  # all 72 fields have 1,100
_BLOCK_BYTES: Final = 1 << 16
_QUOTES: Final = ('"', "'", "`", "\u2018", "\u201c")
_OVERLONG: Final = "x" * (MAX_LINE_BYTES + 1)  # counted as a line that is too long


class Wrapping(StrEnum):
    """How records are wrapped."""

    TEXT = "text"  # as AWS writes them, behind a mark of the encoding or behind other lines
    FRAMED = "framed"
    JOINED = "joined"  # by tabs, on one line
    TABLE = "table"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A wrapping, and what is needed to take it off.

    Parameters
    ----------
    formats
        The formats that the records inside may have; without records of their own format, none.
    columns
        The columns of a table.
    """

    wrapping: Wrapping
    formats: tuple[RecordFormat, ...] = ()
    columns: Columns | None = None

    @contextmanager
    def as_text(self, stream: BinaryIO, name: str) -> Iterator[BinaryIO]:
        """Return the stream as a text flow log: with a header, or bare records.

        Raises
        ------
        NotAFlowLogError
            JSON is of another log or holds no record; raised while the caller reads.
        ObjectError
            The content is broken or truncated; raised while the caller reads.
        """
        yield cast("BinaryIO", Blocks(_blocks(self._lines(stream, name))))

    def _lines(self, stream: BinaryIO, name: str) -> Iterator[str]:
        if self.wrapping is Wrapping.JSON:
            text = JsonText(text_chunks(stream, name), name, MAX_PAYLOAD_BYTES)
            return JsonRecords(name).lines(text.documents_and_lines())
        lines = _plain_lines(stream, name, joined=self.wrapping is Wrapping.JOINED)
        if self.wrapping is Wrapping.FRAMED:
            framed = FramedLines(self.formats)
            return (
                line if line is _OVERLONG else _header_in(line) or framed.unframed(line)
                for line in lines
            )
        if self.columns is not None:
            return iter(rows(self.columns, lines, STRAY))
        return lines


def recognise(
    start: bytes, *, name: str, formats: tuple[RecordFormat, ...], bare: bool
) -> Shape | None:
    """Return the shape of a file by its first bytes; ``None`` for text as AWS writes it.

    ``None`` also for content that no shape has, which the reader of texts refuses.

    Parameters
    ----------
    start
        The first bytes, at least some KB of a file that has as many.
    formats
        Formats that records without a header may have.
    bare
        Whether such records may stand as they are: pasted lines. AWS's files have a header.

    Raises
    ------
    NotAFlowLogError
        The file is of a kind that is not read, which the error names.
    """
    if _begins_as_aws_files(start):
        return None
    sample = _sample(start, name)
    if sample is None:
        return None
    if (packing := packing_of(sample)) is not None:
        raise NotAFlowLogError(name, packing)
    marked = sample.startswith(_BOM)
    lines = _sample_lines(sample.removeprefix(_BOM))
    if not lines:
        return None
    shape = _shape_of(lines, formats, bare=bare)
    if shape is not None:
        is_first = shape.wrapping is Wrapping.TEXT and not is_stray(lines[0])
        return None if is_first and not marked else shape
    _refuse(lines, name, formats, bare=bare)
    return Shape(wrapping=Wrapping.TEXT, formats=formats) if marked else None


def _begins_as_aws_files(start: bytes) -> bool:
    """Whether a file's first line is a header; for nearly all files nothing more is unpacked."""
    line, _, _ = plain_start(start, _HEADER_BYTES, times=1).partition(b"\n")
    return header_format(line.strip()) is not None


def _sample(start: bytes, name: str) -> bytes | None:
    if not start.startswith(_GZIP_MAGIC):
        return start[:_SAMPLE_BYTES]
    twice = plain_start(start, _SAMPLE_BYTES)
    if twice.lstrip().startswith((b"{", b"[")):
        return twice
    once = plain_start(start, _SAMPLE_BYTES, times=1)
    if once.startswith(_GZIP_MAGIC):
        raise NotAFlowLogError(name, "gzip in gzip, which is not read: unpack it once")
    return once or None


def _sample_lines(sample: bytes) -> list[str]:
    """Return the first lines that are not blank; the last one may be cut off."""
    texts = sample.decode("utf-8", "replace").split("\n", MAX_STRAYS_BEFORE * 2)
    if len(sample) >= _SAMPLE_BYTES and len(texts) > 1:
        texts = texts[:-1]
    return [text for text in texts if text.strip()][:MAX_STRAYS_BEFORE]


def _shape_of(
    lines: Sequence[str], formats: tuple[RecordFormat, ...], *, bare: bool
) -> Shape | None:
    """Return the shape that the first line decides of which any shape has."""
    framed = FramedLines(formats)
    table: Shape | None = None
    for line in lines:
        text = line.strip()
        encoded = text.encode("utf-8", "replace")
        if table is None and _begins_json(text, lines):
            return Shape(wrapping=Wrapping.JSON, formats=formats)
        if header_format(encoded) is not None:
            return Shape(wrapping=Wrapping.TEXT, formats=formats)
        if (header := _header_in(text)) and (quoted := header_format(header.encode())) is not None:
            return Shape(wrapping=Wrapping.FRAMED, formats=(quoted,))
        wrapping = _wrapping_of_records(line, framed, formats)
        if wrapping is not None:
            # In S3 the format of records that stand alone is not known.
            is_alone = wrapping is not Wrapping.FRAMED
            return None if is_alone and not bare else Shape(wrapping=wrapping, formats=formats)
        if table is None:
            has_messages = is_message_table(text)
            table = _table_of(text, formats, has_messages=has_messages)
            if table is not None and not has_messages:
                return table
            if table is None and is_wrong_header(encoded):
                return None  # the order of the fields is not known, whatever reads the records
    return table


def _header_in(line: str) -> str | None:
    """Return the header in a line of quotes, ``None`` without one."""
    text = line.strip()
    if not text.startswith(_QUOTES):
        return None
    unquoted = text.strip("".join(_QUOTES) + "\u2019\u201d,; ")
    return None if header_format(unquoted.encode("utf-8", "replace")) is None else unquoted


def _wrapping_of_records(
    line: str, framed: FramedLines, formats: Sequence[RecordFormat]
) -> Wrapping | None:
    """Return how a line holds records, ``None`` if it holds none."""
    if "\t" in line and are_joined(line, formats):
        return Wrapping.JOINED
    record = framed.record_in(line)
    if record is None:
        return None
    return Wrapping.TEXT if record == " ".join(line.split()) else Wrapping.FRAMED


def _table_of(text: str, formats: tuple[RecordFormat, ...], *, has_messages: bool) -> Shape | None:
    """Return the shape of a table by its header; whole records, if it has any, stand in frames."""
    columns = columns_of(text)
    if columns is not None:
        return Shape(wrapping=Wrapping.TABLE, columns=columns)
    return Shape(wrapping=Wrapping.FRAMED, formats=formats) if has_messages else None


def _begins_json(text: str, lines: Sequence[str]) -> bool:
    """Whether a line begins a JSON document, and is not of a prompt or a list in a text."""
    if text[0] not in "{[":
        return False
    following = text[1:].lstrip()
    if not following:
        return any(line.strip()[:1] in {'"', "{", "[", "}", "]"} for line in lines[1:])
    return following[0] in ('"}' if text[0] == "{" else '"{[]')


def _refuse(
    lines: Sequence[str], name: str, formats: tuple[RecordFormat, ...], *, bare: bool
) -> None:
    """Raise for what is another log, or records of a format that is not known."""
    if (other := log_of_lines(lines)) is not None:
        raise NotAFlowLogError(name, other)
    known = FramedLines(KNOWN_FORMATS)
    for line in lines:
        record = known.record_in(line)
        if record is None and bare and width_of_records((line,)) is not None:
            record = line
        if record is not None and (bare or record != " ".join(line.split())):
            why = why_no_format(record, formats, asked=bare)
            if why is not None:
                raise NotAFlowLogError(name, f"not a VPC flow log: {why}")
            return


def _plain_lines(stream: BinaryIO, name: str, *, joined: bool) -> Iterator[str]:
    """Yield the lines of a text, without the mark of its encoding and without line ends.

    ``joined`` says whether a tab ends a line too.
    """
    with unpacking(name):
        plain: io.BufferedIOBase = plain_bytes(stream)
        if joined:
            pieces = iter(partial(plain.read, _BLOCK_BYTES), b"")
            plain = io.BufferedReader(Blocks(piece.replace(b"\t", b"\n") for piece in pieces))
        mark = _BOM
        while line := plain.readline(MAX_LINE_BYTES + 1):
            if len(line) <= MAX_LINE_BYTES:
                yield line.removeprefix(mark).decode("utf-8", "replace").rstrip("\r\n")
                mark = b""
                continue
            while line and not line.endswith(b"\n"):
                line = plain.readline(MAX_LINE_BYTES)
            yield _OVERLONG


def _blocks(lines: Iterator[str]) -> Iterator[bytes]:
    block: list[str] = []
    size = 0
    for line in lines:
        block.append(line)
        size += len(line) + 1
        if size >= _BLOCK_BYTES:
            yield "\n".join([*block, ""]).encode("utf-8", "replace")
            block, size = [], 0
    if block:
        yield "\n".join([*block, ""]).encode("utf-8", "replace")
