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
from flowverdict.flowlog.fields import FIELDS
from flowverdict.flowlog.losses import Losses, add_malformed
from flowverdict.flowlog.record_counts import RecordCounts
from flowverdict.flowlog.records import (
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
    """

    formats: tuple[RecordFormat, ...]
    counts: RecordCounts = field(default_factory=RecordCounts)
    headers: bool = True
    samples: list[str] = field(default_factory=list)
    losses: Losses = field(default_factory=Losses)
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
            if not (self.headers and self.take_header(text)):
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
    program if all identifying fields are present, and misspelt otherwise.
    """
    try:
        record_format = RecordFormat.from_header(text.decode("ascii"))
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
    return record_format


def first_record(
    lines: Iterator[bytes], reader: LineReader, name: str, headerless: tuple[RecordFormat, ...]
) -> Iterator[FlowRecord]:
    """Read the first line that is not blank: the header, or (if allowed) a record to yield.

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
        if headerless:
            reader.formats = fitting_formats(headerless, (text.decode("ascii", "replace"),))
            record = reader.read(line)
            if reader.counts.malformed:
                raise NotAFlowLogError(name, f"not a VPC flow log: {_why_neither(text)}")
            if record is not None:
                yield record
        else:
            raise NotAFlowLogError(name, f"not a VPC flow log: {_why_no_header(text)}")
        return
    if reader.counts.malformed:
        raise NotAFlowLogError(
            name, f"not a VPC flow log: its first line is over {MAX_LINE_BYTES} bytes long"
        )
    if reader.counts.blank_lines:
        raise NotAFlowLogError(name, "empty but for blank lines, so not a VPC flow log")
    raise EmptyObjectError(name, "empty, so not a VPC flow log")


def _why_neither(text: bytes) -> str:
    why = _why_no_header(text)
    return why if "header is wrong" in why else "its first line is neither a header nor a record"


def _why_no_header(text: bytes) -> str:
    words = text[:MAX_LINE_BYTES].decode("ascii", "replace").split()
    known = [word for word in words if word in FIELDS]
    if not known:
        return "its first line is not a header of field names"
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
