"""Recognise by the first bytes and lines how flow logs are wrapped, and take the wrapping off.

A file that AWS delivers to S3 is read as it is. Everything else in which people hold the same
records (docs/inputs.md lists the shapes) becomes such a text here, a line for each line or
document, so that one reader alone decides what is a record. The functions and the command read
the same shapes.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from flowverdict.core.errors import NotAFlowLogError
from flowverdict.flowlog.cloudwatch_logs import MAX_PAYLOAD_BYTES
from flowverdict.flowlog.firehose import plain_start, text_chunks
from flowverdict.flowlog.framed_lines import STRAY, FramedLines, is_stray, width_of_records
from flowverdict.flowlog.json_records import JsonRecords
from flowverdict.flowlog.json_text import JsonText
from flowverdict.flowlog.line_reader import (
    MAX_LINE_BYTES,
    MAX_STRAYS_BEFORE,
    Blocks,
    header_format,
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


_GZIP_MAGIC: Final = b"\x1f\x8b"
_BOM: Final = b"\xef\xbb\xbf"
_SAMPLE_BYTES: Final = 1 << 16
_BLOCK_BYTES: Final = 1 << 16
_OVERLONG: Final = "x" * (MAX_LINE_BYTES + 1)  # counted as a line that is too long


class Wrapping(StrEnum):
    """How records are wrapped."""

    TEXT = "text"  # as AWS writes them, behind a mark of the encoding or behind other lines
    FRAMED = "framed"
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
        lines = _plain_lines(stream, name)
        if self.wrapping is Wrapping.FRAMED:
            framed = FramedLines(self.formats)
            return (line if line is _OVERLONG else framed.unframed(line) for line in lines)
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
    sample = _sample(start, name)
    if sample is None:
        return None
    if (packing := packing_of(sample)) is not None:
        raise NotAFlowLogError(name, packing)
    marked = sample.startswith(_BOM)
    lines = _sample_lines(sample.removeprefix(_BOM))
    if not lines:
        return None
    if not marked and header_format(lines[0].strip().encode()) is not None:
        return None
    shape = _shape_of(lines, formats, bare=bare)
    if shape is not None:
        is_first = shape.wrapping is Wrapping.TEXT and not is_stray(lines[0])
        return None if is_first and not marked else shape
    _refuse(lines, name, formats, bare=bare)
    return Shape(wrapping=Wrapping.TEXT, formats=formats) if marked else None


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
    columns: Columns | None = None
    messages = False
    for line in lines:
        text = line.strip()
        if columns is None and not messages and _begins_json(text, lines):
            return Shape(wrapping=Wrapping.JSON, formats=formats)
        if header_format(text.encode("utf-8", "replace")) is not None:
            return Shape(wrapping=Wrapping.TEXT, formats=formats)
        if (record := framed.record_in(line)) is not None:
            if record != " ".join(text.split()):
                return Shape(wrapping=Wrapping.FRAMED, formats=formats)
            return Shape(wrapping=Wrapping.TEXT, formats=formats) if bare else None
        if columns is None and not messages:
            columns = columns_of(text)
            messages = is_message_table(text)
            if columns is not None and not messages:
                return Shape(wrapping=Wrapping.TABLE, columns=columns)
    if columns is not None:
        return Shape(wrapping=Wrapping.TABLE, columns=columns)
    return Shape(wrapping=Wrapping.FRAMED, formats=formats) if messages else None


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


def _plain_lines(stream: BinaryIO, name: str) -> Iterator[str]:
    """Yield the lines of a text, without the mark of its encoding and without line ends."""
    with unpacking(name):
        plain = plain_bytes(stream)
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
