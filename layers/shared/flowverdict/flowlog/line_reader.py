"""Read lines of flow logs, and text files, gzipped or not.

S3 text files start with a header line of field names; CloudWatch Logs messages have no header
(https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-s3-path.html, .../flow-logs-cwl.html).
The first bytes of a file decide whether it is gzip, never its name. A file is read whole or
refused: a truncated gzip raises, or half of the file would cause an alert now and the whole file
another later. A line that is not a record is counted by reason, and reading goes on.
"""

from __future__ import annotations

import gzip
import io
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from flowverdict.core.errors import EmptyObjectError, FormatError, NotAFlowLogError, ObjectError
from flowverdict.flowlog.field_names import misspelt
from flowverdict.flowlog.fields import FIELDS
from flowverdict.flowlog.framed_lines import is_marked, is_stray, width_of_records
from flowverdict.flowlog.losses import Losses, add_malformed
from flowverdict.flowlog.record_counts import RecordCounts
from flowverdict.flowlog.records import (
    DEFAULT_FORMAT,
    DEFAULT_FORMATS,
    FlowRecord,
    MalformedLine,
    MalformedReason,
    RecordFormat,
)
from flowverdict.flowlog.transit_gateway import as_flow_record

if TYPE_CHECKING:
    from collections.abc import Buffer, Iterable, Iterator


type BufferedBytes = io.BufferedReader[Continued] | io.BufferedReader[gzip.GzipFile]

# All 72 fields with tags of 256 percent-encoded characters and ARNs of 2,048 stay below this.
MAX_LINE_BYTES = 65_536
MAX_SAMPLES = 5
MAX_STRAYS_BEFORE = 200  # lines before the first record; a text of another kind has no record
_GZIP_MAGIC = b"\x1f\x8b"
_BUFFER_BYTES = 1 << 18
# The stream checks its deadline when it is read. Deflate packs at most 1,032 bytes into one, so a
# gzip bomb yields at most 4 MB between two reads: about a second of blank lines, or of records.
_READ_BYTES = 1 << 12

# These distinguish flows: a header that lacks one *and* has unknown words is a wrong header.
_IDENTIFYING_FIELDS = (
    "interface-id",
    "srcaddr",
    "dstaddr",
    "srcport",
    "dstport",
    "protocol",
    "action",
)
# Field names in a line that no sentence has: some of them are words of English.
_NO_SENTENCE = 3
_IDENTIFYING_FIELDS_OF_TRANSIT_GATEWAYS = ("tgw-attachment-id", *_IDENTIFYING_FIELDS[1:-1])


@dataclass(slots=True)
class LineReader:
    """Parses the lines of one source, and counts each.

    Parameters
    ----------
    formats
        The formats that a line may have: the header's, or the configured formats. With several, the
        format that fits a line reads it.
    counts
        Counts everything that is read.
    headers
        Whether a line of field names inside the data is a header (files) or a malformed record
        (CloudWatch Logs).
    samples
        The first ``MAX_SAMPLES`` malformed lines: line number and reason.
    losses
        The records that malformed lines may be.
    strays
        Whether lines may stand between the records that are none: in what a person pasted, never
        in a file of AWS.
    wrapped
        Whether a wrapping was recognised (``shapes``), so that a damaged first record or the lack
        of records does not show a file of another kind.
    """

    formats: tuple[RecordFormat, ...]
    counts: RecordCounts = field(default_factory=RecordCounts)
    headers: bool = True
    samples: list[str] = field(default_factory=list)
    losses: Losses = field(default_factory=Losses)
    strays: bool = False
    wrapped: bool = False
    _odd: str | None = None
    _line_number: int = 0
    _header: bytes | None = None

    def read(self, line: bytes) -> FlowRecord | None:
        """Return the record of a line, ``None`` if the line holds none; count the line."""
        self._line_number += 1
        text = line.strip(b" \t\r\n")
        if not text:
            self.counts.blank_lines += 1
            return None
        if text == self._header:
            self.counts.header_lines += 1
            return None
        try:
            record = self._parse(text)
        except MalformedLine as malformed:
            if self.headers and self.take_header(text):
                return None
            if self.strays and self._is_stray(text):
                self.counts.stray_lines += 1
            else:
                self._count_malformed(malformed, text)
            return None
        if record is not None:
            self.counts.count(record)
        return record

    def take_header(self, text: bytes) -> bool:
        """Use a line as the header of the lines after it; return whether it is a header.

        Concatenated files have several headers.
        """
        header = header_format(text)
        if header is None:
            return False
        self.counts.header_lines += 1
        self.formats = (header,)
        self._header = text
        return True

    def take_first(self, text: bytes) -> bool:
        """Use the first line of a file as its header; return whether it is a header."""
        if not self.take_header(text):
            return False
        self._line_number += 1
        return True

    def pass_over(self, lines: int) -> None:
        """Advance the line number past lines that a faster reader reads and counts."""
        self._line_number += lines

    def why_no_format(self, *, asked: bool) -> str:
        """Return why no line is a record: its number of fields, or what is wrong with the first."""
        hint = None if self._odd is None else why_no_format(self._odd, self.formats, asked=asked)
        return hint or self.samples[0]

    def pass_stray(self, text: bytes) -> bool:
        """Count a line that stands before the records and is none; return whether it is such."""
        if self.counts.stray_lines >= MAX_STRAYS_BEFORE or not self._is_stray(text):
            return False
        self._line_number += 1
        self.counts.stray_lines += 1
        return True

    def _is_stray(self, text: bytes) -> bool:
        """Whether a line is none of a record; behind a header, AWS's own, no sentence is."""
        line = text.decode("utf-8", "replace")
        return is_stray(line) if self._header is None or self.wrapped else is_marked(line)

    def skip_overlong(self) -> None:
        """Count a line that is too long to be parsed."""
        self._line_number += 1
        self._count_malformed(
            MalformedLine(MalformedReason.LINE_TOO_LONG, f"over {MAX_LINE_BYTES} bytes")
        )

    def _parse(self, text: bytes) -> FlowRecord | None:
        try:
            line = text.decode("ascii")
        except UnicodeDecodeError as error:
            raise MalformedLine(MalformedReason.ENCODING, "not ASCII") from error
        if len(self.formats) == 1:
            return self._parse_as(self.formats[0], line)
        return self._parse_as(self._only_fit(line), line)

    def _parse_as(self, record_format: RecordFormat, line: str) -> FlowRecord | None:
        record = record_format.parse(line)
        if not record_format.is_transit_gateway:
            return record
        flow_record = as_flow_record(record)
        if flow_record is None:
            self.counts.transit_gateway += 1
        return flow_record

    def _only_fit(self, line: str) -> RecordFormat:
        """Return the only format that can parse a line.

        Flow logs of several formats may share a log group. A line that two formats parse to
        different records is counted as malformed.
        """
        width = len(line.split())
        candidates = [candidate for candidate in self.formats if len(candidate.names) == width]
        if not candidates:
            raise MalformedLine(
                MalformedReason.FIELD_COUNT, f"{width} fields, which none of the formats has"
            )
        readings: dict[RecordFormat, FlowRecord] = {}
        failure: MalformedLine | None = None
        for candidate in candidates:
            try:
                readings[candidate] = candidate.parse(line)
            except MalformedLine as malformed:
                failure = malformed
        if not readings and failure is not None:
            raise failure
        if len(set(readings.values())) > 1:
            raise MalformedLine(
                MalformedReason.AMBIGUOUS_FORMAT, f"{len(readings)} formats read it differently"
            )
        return next(iter(readings))

    def _count_malformed(self, malformed: MalformedLine, text: bytes = b"") -> None:
        self.counts.malformed[malformed.reason] += 1
        if self._odd is None and malformed.reason is MalformedReason.FIELD_COUNT:
            self._odd = text.decode("ascii", "replace")
        add_malformed(self.losses, text, self.formats)
        if len(self.samples) < MAX_SAMPLES:
            self.samples.append(f"line {self._line_number}: {malformed}")


def fitting_formats(
    formats: tuple[RecordFormat, ...], lines: Iterable[str]
) -> tuple[RecordFormat, ...]:
    """Return the formats that have as many fields as one of the lines; all formats if none has.

    A reader is fastest with a single format.
    """
    if len(formats) == 1:
        return formats
    widths = {len(line.split()) for line in lines}
    return tuple(known for known in formats if len(known.names) in widths) or formats


def header_format(text: bytes) -> RecordFormat | None:
    """Return the format that a header line names, or ``None`` if the line is not a header.

    A header consists of field names, at least one of them known. Unknown names are newer than this
    program if all identifying fields are present and none of the names is nearly a field's, and
    misspelt otherwise.
    """
    try:
        words = text.decode("ascii").split()
        if all(word.startswith("${") and word.endswith("}") for word in words):
            words = [word[2:-1] for word in words]  # as EC2 shows a format
        record_format = RecordFormat(tuple(words))
    except (UnicodeDecodeError, FormatError):
        return None
    unknown = record_format.unknown_names
    known = len(record_format.names) - len(unknown)
    identifying = (
        _IDENTIFYING_FIELDS_OF_TRANSIT_GATEWAYS
        if record_format.is_transit_gateway
        else _IDENTIFYING_FIELDS
    )
    if known == 0 or (unknown and not all(name in record_format.names for name in identifying)):
        return None
    if misspelt(record_format.names) is not None:
        return None
    return record_format


def first_record(
    lines: Iterator[bytes], reader: LineReader, name: str, headerless: tuple[RecordFormat, ...]
) -> Iterator[FlowRecord]:
    """Read the first line that is not blank: the header, or (if allowed) a record to yield.

    A reader that knows stray lines also passes over those that stand before, a bounded number.

    Parameters
    ----------
    name
        The source's name in errors: ``s3://bucket/key`` or a path.
    headerless
        Formats to assume if the first line is a record. Files in S3 always have a header, pasted
        lines do not.

    Raises
    ------
    NotAFlowLogError
        The first line is neither a header nor an allowed record, or all lines are blank.
    EmptyObjectError
        There is no line.
    """
    for line in lines:
        text = line.strip(b" \t\r\n")
        if not text:
            reader.read(line)
            continue
        if reader.take_first(text):
            return
        is_header = is_wrong_header(text)
        if reader.strays and not is_header and reader.pass_stray(text):
            continue
        if not headerless or is_header:
            raise NotAFlowLogError(name, f"not a VPC flow log: {_why_no_header(text)}")
        reader.formats = fitting_formats(headerless, (text.decode("ascii", "replace"),))
        record = reader.read(line)
        if record is not None:
            yield record
        elif reader.counts.malformed and not reader.wrapped:
            raise NotAFlowLogError(name, f"not a VPC flow log: {_why_neither(text, headerless)}")
        return
    raise _without_record(reader, name)


def _without_record(reader: LineReader, name: str) -> NotAFlowLogError:
    """Return the error of a source that ended before its first record."""
    if reader.counts.malformed:
        why = f"not a VPC flow log: its first line is over {MAX_LINE_BYTES} bytes long"
    elif reader.wrapped:
        return EmptyObjectError(name, "it holds no record")
    elif reader.counts.stray_lines:
        why = "not a VPC flow log: its first line is neither a header nor a record"
    elif reader.counts.blank_lines:
        why = "empty but for blank lines, so not a VPC flow log"
    else:
        return EmptyObjectError(name, "empty, so not a VPC flow log")
    return NotAFlowLogError(name, why)


def is_wrong_header(text: bytes) -> bool:
    """Whether a line that is no header was meant to be one."""
    words = text[:MAX_LINE_BYTES].decode("ascii", "replace").split()
    return sum(word in FIELDS for word in words) >= _NO_SENTENCE


def _why_neither(text: bytes, formats: tuple[RecordFormat, ...]) -> str:
    hint = why_no_format(text.decode("ascii", "replace"), formats, asked=True)
    return hint or "its first line is neither a header nor a record"


def why_no_format(text: str, formats: tuple[RecordFormat, ...], *, asked: bool) -> str | None:
    """Return why none of the formats reads a line that looks like a record, and what to do.

    ``None`` for a line that does not look like a record, or that has as many fields as a format.

    Parameters
    ----------
    asked
        Whether a person can answer with an option of the command; else the stack's parameter is
        named.
    """
    width = width_of_records((text,))
    if width is None or any(len(known.names) == width for known in formats):
        return None
    is_default = DEFAULT_FORMAT in formats
    of_format = f"{'the default' if is_default else 'the given'} format has {len(formats[0].names)}"
    if not asked:
        return f"{width} fields, {of_format}: give `FlowLogFormat`"
    if len(formats) > len(DEFAULT_FORMATS):
        return f"{width} fields, which none of AWS's known formats has: give `--log-format`"
    return (
        f"{width} fields, {of_format}: give `--log-format`, or `--log-format auto` tries AWS's "
        "known formats"
    )


def _why_no_header(text: bytes) -> str:
    words = text[:MAX_LINE_BYTES].decode("ascii", "replace").split()
    known = [word for word in words if word in FIELDS]
    if not known:
        return "its first line is not a header of field names"
    wrong = None if len(words) > len(FIELDS) else misspelt(words)
    if wrong is not None:
        return f"its header is wrong: {wrong}"
    missing = [name for name in _IDENTIFYING_FIELDS if name not in known]
    if missing:
        return (
            f"its header is wrong: it lacks {', '.join(missing)} and has words that name no field"
        )
    return "its header is wrong: a field occurs twice, or a word is not a field name"


def plain_bytes(stream: BinaryIO, gunzip: type[gzip.GzipFile] = gzip.GzipFile) -> BufferedBytes:
    """Return the uncompressed bytes of a stream; the first two bytes decide whether it is gzip."""
    magic = b""
    while len(magic) < len(_GZIP_MAGIC) and (more := stream.read(len(_GZIP_MAGIC) - len(magic))):
        magic += more  # a pipe may return its first bytes one by one
    whole = Continued(magic, stream)
    if magic.startswith(_GZIP_MAGIC):
        return io.BufferedReader(gunzip(fileobj=_SmallReads(whole, _READ_BYTES)), _BUFFER_BYTES)
    return io.BufferedReader(whole, _BUFFER_BYTES)


class Continued(io.RawIOBase):
    """A raw stream of bytes already read, then of an object with ``read(size)`` (S3 body, pipe).

    Each read also reads that object, if only zero bytes: a stream with a deadline checks it there.
    """

    def __init__(self, start: bytes, stream: BinaryIO) -> None:
        self._start = memoryview(start)
        self._stream = stream

    def readable(self) -> bool:
        """Return ``True``."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill the buffer from the start; return the number of bytes, 0 at the end."""
        size = len(buffer)
        start = self._start[:size]
        more = self._stream.read(0 if start else size)
        chunk = start or more
        self._start = self._start[size:]
        buffer[: len(chunk)] = chunk
        return len(chunk)


class Blocks(io.RawIOBase):
    """A raw stream of blocks of bytes, each made when it is read."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._block = memoryview(b"")

    def readable(self) -> bool:
        """Return ``True``."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill the buffer from the block at hand; return the number of bytes, 0 at the end."""
        while not self._block:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._block = memoryview(block)
        size = min(len(buffer), len(self._block))
        buffer[:size] = self._block[:size]
        self._block = self._block[size:]
        return size


class _SmallReads(io.BufferedReader):
    """Returns at most ``_READ_BYTES`` a read.

    gzip reads 128 KiB at a time, ISA-L 512 KiB, which may unpack to as many MiB of lines.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(_READ_BYTES if size is None or size < 0 else min(size, _READ_BYTES))

    def readinto(self, buffer: Buffer, /) -> int:
        return super().readinto(memoryview(buffer)[:_READ_BYTES])


def lines_of(stream: BinaryIO, reader: LineReader, name: str) -> Iterator[bytes]:
    """Yield lines of at most ``MAX_LINE_BYTES``; count longer lines without storing them.

    Raises
    ------
    ObjectError
        The gzip is truncated or broken.
    """
    with unpacking(name):
        while line := stream.readline(MAX_LINE_BYTES + 1):
            if len(line) <= MAX_LINE_BYTES:
                yield line
                continue
            reader.skip_overlong()
            while line and not line.endswith(b"\n"):
                line = stream.readline(MAX_LINE_BYTES)


@contextmanager
def unpacking(name: str) -> Iterator[None]:
    """Raise ``ObjectError`` with the object's name where its gzip is truncated or broken."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        # The standard library takes the first byte of a member, at the end, for something else.
        if isinstance(error, EOFError) or str(error) == f"Not a gzipped file ({_GZIP_MAGIC[:1]!r})":
            reason = "truncated gzip: it ends before its end-of-stream marker"
        else:
            reason = f"broken gzip: {error}"
        raise ObjectError(name, reason) from error
