"""Text flow logs, gzipped or not, to records.

S3 text files start with a header line of field names; CloudWatch Logs messages have none
(https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-s3-path.html, .../flow-logs-cwl.html). What a file is, its
first bytes tell, never its name. A file is read whole or refused: a truncated gzip raises, so that nobody alerts on half
of it and then again on the whole. A line that is no record is counted by reason and the file goes on.
"""

from __future__ import annotations

import gzip
import io
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from flowverdict.core.errors import FormatError, NotAFlowLogError, ObjectError
from flowverdict.flowlog.fields import FIELDS, TRANSIT_GATEWAY_FIELDS
from flowverdict.flowlog.records import (
    FlowRecord,
    MalformedLine,
    MalformedReason,
    RecordCounts,
    RecordFormat,
)

if TYPE_CHECKING:
    from collections.abc import Buffer, Iterator


type BufferedBytes = io.BufferedReader[Continued] | io.BufferedReader[gzip.GzipFile]

# All 63 fields with tags of 256 percent-encoded characters and ARNs of 2,048 stay below this.
MAX_LINE_BYTES = 65_536
MAX_SAMPLES = 5
_GZIP_MAGIC = b"\x1f\x8b"
_BUFFER_BYTES = 1 << 18
# Whoever limits the time of reading can do so only where bytes are read. Deflate packs 1,032 bytes into one at the most, so
# a bomb gives 4 MB between two sips: a second of blank lines, and of records too.
_SIP_BYTES = 1 << 12

# Without all of these no flow can be told from another, so a header that lacks one *and* has strange words is a wrong header.
_TELLING_FIELDS = ("interface-id", "srcaddr", "dstaddr", "srcport", "dstport", "protocol", "action")


@dataclass(slots=True)
class LineReader:
    """Lines to records, one source's worth, counting as it goes.

    Parameters
    ----------
    formats
        The formats a line may have, the header's or the configured ones; with several, a line is read by the one it fits.
    counts
        Where everything read is counted.
    headers
        Whether a line of field names inside the data is a header (files) or a malformed record (CloudWatch Logs).
    """

    formats: tuple[RecordFormat, ...]
    counts: RecordCounts = field(default_factory=RecordCounts)
    headers: bool = True
    samples: list[str] = field(default_factory=list)
    _line_number: int = 0
    _header: bytes | None = None

    def read(self, line: bytes) -> FlowRecord | None:
        """Give the record of one line, or ``None`` where it holds none; either way it is counted."""
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
                self._count_malformed(malformed)
            return None
        if record is not None:
            self.counts.count(record)
        return record

    def take_header(self, text: bytes) -> bool:
        """Take a line for the header of what follows, if it is one; files put together have several."""
        header = header_format(text)
        if header is None:
            return False
        self.counts.header_lines += 1
        self.formats = (header,)
        self._header = text
        return True

    def take_first(self, text: bytes) -> bool:
        """Take the first line for the header, if it is one."""
        if not self.take_header(text):
            return False
        self._line_number += 1
        return True

    def pass_over(self, lines: int) -> None:
        """Let lines be read elsewhere, and counted there."""
        self._line_number += lines

    def skip_overlong(self) -> None:
        """Count a line that was too long to be looked at."""
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
        if not record_format.is_transit_gateway:
            return record_format.parse(line)
        record_format.parse(line)  # for the fields both kinds have; a VPC flow log's header is none
        self.counts.transit_gateway += 1
        return None

    def _only_fit(self, line: str) -> RecordFormat:
        """Give the one format that reads this line.

        Flow logs of several formats may share a log group. Two formats of one length that both read a line would give
        it two meanings: such a line is counted as malformed, not guessed at.
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

    def _count_malformed(self, malformed: MalformedLine) -> None:
        self.counts.malformed[malformed.reason] += 1
        if len(self.samples) < MAX_SAMPLES:
            self.samples.append(f"line {self._line_number}: {malformed}")


def header_format(text: bytes) -> RecordFormat | None:
    """Give the format a header line names, or ``None`` where the line is no header.

    A header is made of field names, with a known one among them. Names newer than this program are allowed as long as
    every field that tells flows apart is there; otherwise they are taken for misspelt ones.
    """
    try:
        record_format = RecordFormat.from_header(text.decode("ascii"))
    except (UnicodeDecodeError, FormatError):
        return None
    strange = record_format.unknown_names
    known = len(record_format.names) - len(strange)
    if known == 0 or (strange and not all(name in record_format.names for name in _TELLING_FIELDS)):
        return None
    return record_format


def first_record(
    lines: Iterator[bytes], reader: LineReader, name: str, headerless: tuple[RecordFormat, ...]
) -> Iterator[FlowRecord]:
    """Read as far as the first line that is not blank: the header, or (if allowed) a record, which is yielded.

    Raises
    ------
    NotAFlowLogError
        It is neither, or there is none.
    """
    for line in lines:
        text = line.strip(b" \t\r\n")
        if not text:
            reader.read(line)
            continue
        if reader.take_first(text):
            return
        if headerless:
            reader.formats = headerless
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
    raise NotAFlowLogError(name, "empty, so no VPC flow log")


def _why_neither(text: bytes) -> str:
    why = _why_no_header(text)
    return why if "header is wrong" in why else "its first line is neither a header nor a record"


def _why_no_header(text: bytes) -> str:
    words = text[:MAX_LINE_BYTES].decode("ascii", "replace").split()
    known = [word for word in words if word in FIELDS or word in TRANSIT_GATEWAY_FIELDS]
    if not known:
        return "its first line is no header of field names"
    missing = [word for word in _TELLING_FIELDS if word not in known]
    if missing:
        return (
            f"its header is wrong: it lacks {', '.join(missing)} and has words that name no field"
        )
    return "its header is wrong: a field occurs twice, or a word is no field name"


def plain_bytes(stream: BinaryIO, gunzip: type[gzip.GzipFile] = gzip.GzipFile) -> BufferedBytes:
    """Give the uncompressed bytes, judging by the first ones."""
    magic = b""
    while len(magic) < len(_GZIP_MAGIC) and (more := stream.read(len(_GZIP_MAGIC) - len(magic))):
        magic += more  # a pipe may give its first bytes one by one
    whole = Continued(magic, stream)
    if magic.startswith(_GZIP_MAGIC):
        return io.BufferedReader(gunzip(fileobj=_Sips(whole, _SIP_BYTES)), _BUFFER_BYTES)
    return io.BufferedReader(whole, _BUFFER_BYTES)


class Continued(io.RawIOBase):
    """Bytes already read, then any object with ``read(size)`` (an S3 body, a pipe), as one raw stream.

    That object is asked for nothing where it has nothing to give yet: whoever limits the time of reading does so there.
    """

    def __init__(self, start: bytes, stream: BinaryIO) -> None:
        self._start = memoryview(start)
        self._stream = stream

    def readable(self) -> bool:
        """As every raw stream."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """As every raw stream."""
        size = len(buffer)
        start = self._start[:size]
        more = self._stream.read(0 if start else size)
        chunk = start or more
        self._start = self._start[size:]
        buffer[: len(chunk)] = chunk
        return len(chunk)


class _Sips(io.BufferedReader):
    """Gives little at a time, whatever is asked for: gzip asks for 128 KiB, isal for 512, which may be as many MiB of lines."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(_SIP_BYTES if size is None or size < 0 else min(size, _SIP_BYTES))

    def readinto(self, buffer: Buffer, /) -> int:
        return super().readinto(memoryview(buffer)[:_SIP_BYTES])


def lines_of(stream: BinaryIO, reader: LineReader, name: str) -> Iterator[bytes]:
    """Yield lines of bounded length; an overlong one is counted and passed over without being held in memory."""
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
    """Say of which object it was that the gzip is broken."""
    try:
        yield
    except EOFError as error:
        raise ObjectError(
            name, "truncated gzip: it ends before its end-of-stream marker"
        ) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise ObjectError(name, f"broken gzip: {error}") from error
