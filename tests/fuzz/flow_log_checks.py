"""Check the decoders of flow logs: text, gzip and Parquet files, and CloudWatch Logs events."""

from __future__ import annotations

import base64
import gzip
import io
import json
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO, cast

from flowverdict.core.errors import (
    MAX_ERROR_TEXT,
    EnvelopeError,
    FlowVerdictError,
    FormatError,
    ObjectError,
)
from flowverdict.flowlog.cloudwatch_logs import decode
from flowverdict.flowlog.fields import MAX_EPOCH, MAX_PORT
from flowverdict.flowlog.firehose import log_batches
from flowverdict.flowlog.line_reader import (
    MAX_SAMPLES,
    LineReader,
    header_format,
)
from flowverdict.flowlog.records import (
    DEFAULT_FORMAT,
    DEFAULT_FORMATS,
    MalformedLine,
    MalformedReason,
    RecordFormat,
)
from flowverdict.flowlog.shapes import PARQUET_MAGIC
from flowverdict.verdict.batch import Batch
from tests.helpers.line_by_line import read_file, read_messages

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowverdict.flowlog.record_counts import RecordCounts


def refused(error: FlowVerdictError | MalformedLine) -> bool:
    """Check what every refusal promises: one printable line of bounded length."""
    text = str(error)
    assert text
    assert text.isprintable()
    assert len(text) <= MAX_ERROR_TEXT
    return False


# --- files ----------------------------------------------------------------------------------------


class Dribble:
    """A stream that returns at most ``most`` bytes at a time, as networks do."""

    def __init__(self, content: bytes, most: int) -> None:
        self._content = io.BytesIO(content)
        self._most = most

    def read(self, size: int) -> bytes:
        return self._content.read(min(size, self._most))


type Outcome = tuple[tuple[object, ...], Mapping[str, int], tuple[str, ...]] | str


def outcome_of(
    content: bytes, headerless: tuple[RecordFormat, ...], most: int | None = None
) -> Outcome:
    """Read a file; return its records, counts and samples, or the text of the refusal."""
    reader = LineReader(headerless)
    stream = io.BytesIO(content) if most is None else cast("BinaryIO", Dribble(content, most))
    try:
        records = tuple(read_file(stream, name="file", reader=reader, headerless=headerless))
    except FlowVerdictError as error:
        refused(error)
        return str(error)
    counts = reader.counts.as_mapping()
    assert len(records) == counts["records"] - counts["malformed"] - counts["transit_gateway"]
    assert len(reader.samples) == min(MAX_SAMPLES, counts["malformed"])
    assert all(sample.isprintable() and len(sample) < 1_000 for sample in reader.samples)
    assert {
        reason.removeprefix("malformed.") for reason in counts if reason.startswith("malformed.")
    } <= {*MalformedReason}
    return records, counts, tuple(reader.samples)


def check_text_file(data: bytes) -> bool:
    """Check that every line is counted, and that gzip and small pieces change nothing.

    The first byte of the input holds options.
    """
    options, content = (data[0] if data else 0), data[1:]
    headerless = (DEFAULT_FORMAT,) if options & 1 else ()
    outcome = outcome_of(content, headerless)
    assert outcome_of(content, headerless, most=1 + options % 61) == outcome
    if content.startswith(b"\x1f\x8b"):
        return not isinstance(outcome, str)
    assert outcome_of(gzip.compress(content, 1, mtime=0), headerless) == outcome
    if isinstance(outcome, str):
        return False
    counts = outcome[1]
    lines = content.count(b"\n") + (not content.endswith(b"\n"))
    assert counts["records"] + counts["header_lines"] + counts["blank_lines"] == lines
    return True


def check_gzip_file(data: bytes) -> bool:
    """Check that gzip is read as what it unpacks to, or refused, in small pieces too."""
    content = data if data.startswith(b"\x1f\x8b") else b"\x1f\x8b" + data
    outcome = outcome_of(content, ())
    assert outcome_of(content, (), most=1 + len(data) % 61) == outcome
    try:
        plain = gzip.decompress(content)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        assert isinstance(outcome, str)
        return False
    if not plain.startswith(b"\x1f\x8b"):
        assert outcome == outcome_of(plain, ())
    return not isinstance(outcome, str)


def check_parquet_file(data: bytes) -> bool:
    """Check that a Parquet file is refused, or all its records counted, in small pieces too."""
    content = data if data.startswith(PARQUET_MAGIC) else PARQUET_MAGIC + data
    outcomes: list[RecordCounts | str] = []
    for stream in (io.BytesIO(content), cast("BinaryIO", Dribble(content, 1 + len(data) % 61))):
        try:
            reading = Batch().add_file(stream, name="file")
        except FlowVerdictError as error:
            refused(error)
            outcomes.append(str(error))
            continue
        assert reading.counts.header_lines == 1
        assert all(sample.isprintable() and len(sample) < 1_000 for sample in reading.samples)
        outcomes.append(reading.counts)
    assert outcomes[0] == outcomes[1]
    return not isinstance(outcomes[0], str)


def check_wrapped_file(data: bytes) -> bool:
    """Check that any wrapping is taken off or refused, packed and in small pieces too."""
    outcomes: list[tuple[Mapping[str, int], tuple[str, ...]] | str] = []
    packed = gzip.compress(data, 1, mtime=0)
    contents = (data, data) if data.startswith(b"\x1f\x8b") else (data, packed)
    for content, most in ((data, 1 + len(data) % 61), *((content, None) for content in contents)):
        stream = io.BytesIO(content) if most is None else cast("BinaryIO", Dribble(content, most))
        try:
            reading = Batch().add_file(stream, name="file", headerless=DEFAULT_FORMATS)
        except FlowVerdictError as error:
            refused(error)
            outcomes.append(str(error))
            continue
        assert all(sample.isprintable() and len(sample) < 1_000 for sample in reading.samples)
        outcomes.append((reading.counts.as_mapping(), reading.samples))
    assert outcomes[0] == outcomes[1]
    assert isinstance(outcomes[1], str) == isinstance(outcomes[2], str)
    return not isinstance(outcomes[0], str)


def check_record_format(data: bytes) -> bool:
    """Check that a format and a record survive a round trip, in each form of the format."""
    head, _, rest = data.partition(b"\n")
    text = head.decode("utf-8", "surrogateescape")
    try:
        record_format = RecordFormat.from_text(text)
    except FormatError as error:
        assert header_format(head) is None or "${" in text
        return refused(error)
    assert RecordFormat.from_header(" ".join(record_format.names)) == record_format
    assert (
        RecordFormat.from_log_format(" ".join(f"${{{name}}}" for name in record_format.names))
        == record_format
    )
    assert header_format(head) in {None, record_format}
    try:
        record = record_format.parse(rest.decode("utf-8", "surrogateescape"))
    except MalformedLine as malformed:
        return refused(malformed)
    line = record_format.render(record)
    assert line.isascii()
    assert line.isprintable()
    assert record_format.parse(line) == record
    assert all(port is None or 0 <= port <= MAX_PORT for port in (record.srcport, record.dstport))
    assert all(time is None or 0 <= time <= MAX_EPOCH for time in (record.start, record.end))
    assert all(
        count is None or count >= 0
        for count in (record.packets, record.bytes, record.protocol, record.tcp_flags)
    )
    return True


# --- CloudWatch Logs ------------------------------------------------------------------------------


def check_log_messages(data: bytes) -> bool:
    """Check that every message is counted, and read the same beside any others.

    The first line has the formats, separated by ``|``.
    """
    head, *lines = data.decode("utf-8", "surrogateescape").split("\n")
    try:
        formats = tuple(RecordFormat.from_text(text) for text in head.split("|")[:4])
    except FormatError as error:
        return refused(error)
    reader = LineReader(formats, headers=False)
    records = list(read_messages(lines, reader))
    counts = reader.counts
    assert counts.records + counts.blank_lines == len(lines)
    assert counts.header_lines == 0
    assert all(sample.isprintable() for sample in reader.samples)
    alone = [
        record
        for line in lines
        for record in read_messages([line], LineReader(formats, headers=False))
    ]
    assert alone == records
    return bool(records)


def check_subscription(data: bytes) -> bool:
    """Check that an accepted payload has the values of its JSON; the input is gzipped here."""
    event = {"awslogs": {"data": base64.b64encode(gzip.compress(data, 1, mtime=0)).decode()}}
    try:
        batch = decode(event)
    except EnvelopeError as error:
        return refused(error)
    payload = json.loads(data)
    if batch is None:
        assert payload["messageType"] == "CONTROL_MESSAGE"
        return True
    assert (batch.account_id, batch.log_group, batch.log_stream) == (
        payload["owner"],
        payload["logGroup"],
        payload["logStream"],
    )
    assert [*batch.messages] == [event["message"] for event in payload["logEvents"]]
    assert [*batch.event_ids] == [event["id"] for event in payload["logEvents"]]
    assert all(
        isinstance(text, str)
        for text in (*batch.messages, *batch.event_ids, batch.account_id, batch.name)
    )
    assert replace(batch, event_ids=batch.event_ids[::-1]).source_id == batch.source_id
    reader = LineReader((DEFAULT_FORMAT,), headers=False)
    assert len([*read_messages(batch.messages, reader)]) <= len(batch.messages)
    assert reader.counts.records + reader.counts.blank_lines == len(batch.messages)
    return True


def check_firehose_object(data: bytes) -> bool:
    """Check an object of Firehose: the same batches as the input, packed once more or twice."""
    outcomes = []
    for content in (data, gzip.compress(data, 1, mtime=0)):
        try:
            outcomes.append([*log_batches(io.BytesIO(content), "object")])
        except ObjectError as error:
            refused(error)
    if len(outcomes) < 2:
        return False  # three times packed, for one, is refused
    assert outcomes[0] == outcomes[1]
    ids = [batch.source_id for batch in outcomes[0]]
    assert len(ids) == len(set(ids))
    return True


def check_subscription_data(data: bytes) -> bool:
    """Check the same for the content of the base64, and for text that is not base64."""
    taken = False
    for text in (base64.b64encode(data).decode(), data.decode("latin-1")):
        try:
            taken |= decode({"awslogs": {"data": text}}) is not None
        except EnvelopeError as error:
            refused(error)
    return taken
