"""Parsing and rendering are inverses; reading ends in records or in the project's own errors.

Requirement: "Parsing and formatting are inverses. A malformed line is counted by reason, none stops
the file."
"""

from __future__ import annotations

import gzip
import io
from typing import TYPE_CHECKING

from hypothesis import example, given
from hypothesis import strategies as st

from flowverdict.core.errors import FlowVerdictError
from flowverdict.flowlog.fields import FIELDS, Field, FieldKind
from flowverdict.flowlog.line_reader import MAX_LINE_BYTES, MAX_SAMPLES, LineReader
from flowverdict.flowlog.records import (
    DEFAULT_FORMAT,
    Action,
    FlowDirection,
    FlowRecord,
    LogStatus,
    MalformedLine,
    RecordFormat,
)
from tests.helpers.line_by_line import read_file, read_messages

if TYPE_CHECKING:
    from collections.abc import Sequence

_TEXT = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=12)


def values(field: Field) -> st.SearchStrategy[object]:
    """Return a strategy of the values that a field can have in a record whose format names it."""
    match field.kind:
        case FieldKind.INTEGER:
            return st.none() | st.integers(0, field.maximum)
        case FieldKind.ADDRESS:
            return st.none() | st.ip_addresses(v=4) | st.ip_addresses(v=6)
        case FieldKind.ACTION:
            return st.none() | st.sampled_from(Action)
        case FieldKind.LOG_STATUS:
            return st.none() | st.sampled_from(LogStatus)
        case FieldKind.FLOW_DIRECTION:
            return st.none() | st.sampled_from(FlowDirection)
        case FieldKind.REJECT_REASON:
            # Here "-" is a value, and None only possible where the format lacks the field.
            return _TEXT
        case FieldKind.ACCOUNT:
            return st.none() | st.sampled_from(["123456789012", "unknown"])
        case FieldKind.ID:
            return st.none() | _TEXT.map(lambda text: field.prefix + text)
        case FieldKind.TEXT:
            return st.none() | _TEXT.filter(lambda text: text != "-")


_NAMES = st.lists(st.sampled_from(sorted(FIELDS)), min_size=1, max_size=10, unique=True)
_FORMATS = _NAMES.map(lambda names: RecordFormat(tuple(names)))


@st.composite
def formats_and_records(draw: st.DrawFn) -> tuple[RecordFormat, FlowRecord]:
    """Draw a format, and a record with values for its fields."""
    record_format = draw(_FORMATS)
    drawn = {FIELDS[name].attribute: draw(values(FIELDS[name])) for name in record_format.names}
    return record_format, FlowRecord(**drawn)  # type: ignore[arg-type]


@given(formats_and_records())
def test_parsing_what_was_rendered_gives_the_record(
    given_pair: tuple[RecordFormat, FlowRecord],
) -> None:
    record_format, record = given_pair
    assert record_format.parse(record_format.render(record)) == record


@given(formats_and_records(), st.data())
def test_rendering_what_was_parsed_gives_the_line_with_single_blanks(
    given_pair: tuple[RecordFormat, FlowRecord], data: st.DataObject
) -> None:
    record_format, record = given_pair
    words = record_format.render(record).split()
    blanks = st.text(" \t", min_size=1, max_size=3)
    start, end = data.draw(blanks | st.just("")), data.draw(st.sampled_from(["", "\n", "\r\n"]))
    line = start + "".join(word + data.draw(blanks) for word in words) + end
    assert record_format.render(record_format.parse(line)) == " ".join(line.split())


@given(_FORMATS)
def test_header_and_log_format_of_a_format_give_it_back(record_format: RecordFormat) -> None:
    assert RecordFormat.from_header(" ".join(record_format.names)) == record_format
    assert (
        RecordFormat.from_log_format(" ".join(f"${{{name}}}" for name in record_format.names))
        == record_format
    )


@given(_FORMATS, st.text(max_size=60))
def test_any_line_is_a_record_or_malformed(record_format: RecordFormat, line: str) -> None:
    try:
        record = record_format.parse(line)
    except MalformedLine as malformed:
        message = str(malformed)
        assert message.startswith(f"{malformed.reason}: ")  # noqa: PT017 - a record is as good an outcome
        assert message.isascii()
        assert message.isprintable()
    else:
        assert record_format.parse(record_format.render(record)) == record


# --- files ----------------------------------------------------------------------------------------

_HEADER = " ".join(DEFAULT_FORMAT.names).encode()
_GOOD = (
    b"2 123456789010 eni-1 172.31.9.69 172.31.9.12 49761 3389 6 20 4249 "
    b"1418530010 1418530070 REJECT OK"
)
_LINES = st.sampled_from(
    [
        _HEADER,
        _GOOD,
        _GOOD.replace(b" ", b"  "),
        _GOOD.replace(b"6", b"-"),
        _GOOD.replace(b"REJECT OK", b"- NODATA"),
        b"dstport action srcport",
        b"443 REJECT 50122",
        b"version tgw-id action",
        b"",
        b" \t",
        b"nonsense",
        b"\x00\xff",
        b"x" * (MAX_LINE_BYTES + 1),
    ]
) | st.binary(max_size=20)
_LINE_ENDS = st.sampled_from([b"\n", b"\r\n"])
_TEXTS = st.lists(st.tuples(_LINES, _LINE_ENDS).map(b"".join), max_size=12).map(b"".join)
_FILES = st.one_of(
    st.binary(max_size=200),
    _TEXTS,
    _TEXTS.map(lambda text: _HEADER + b"\n" + text),
    _TEXTS.map(lambda text: _HEADER + b"\n" + text + _GOOD),
)
_HEADERLESS = st.sampled_from([(), (DEFAULT_FORMAT,)])


def accounted(reader: LineReader) -> int:
    """Return the number of lines that the counts account for."""
    return reader.counts.records + reader.counts.header_lines + reader.counts.blank_lines


def read_whole(
    content: bytes, headerless: tuple[RecordFormat, ...]
) -> tuple[list[FlowRecord], LineReader] | None:
    """Read a file; ``None`` where it is refused with an error made on purpose."""
    reader = LineReader(headerless)
    try:
        return list(
            read_file(io.BytesIO(content), name="file", reader=reader, headerless=headerless)
        ), reader
    except FlowVerdictError:
        return None


@given(_FILES, _HEADERLESS)
@example(_HEADER + b"\n" + b"x" * (3 * MAX_LINE_BYTES), ())
@example(_GOOD, (DEFAULT_FORMAT,))
def test_every_line_of_a_file_is_accounted_for(
    content: bytes, headerless: tuple[RecordFormat, ...]
) -> None:
    read = read_whole(content, headerless)
    if read is None:
        return
    records, reader = read
    lines = content.count(b"\n") + (not content.endswith(b"\n"))
    assert accounted(reader) == lines
    assert (
        len(records)
        == reader.counts.records - reader.counts.malformed.total() - reader.counts.transit_gateway
    )
    assert len(reader.samples) == min(MAX_SAMPLES, reader.counts.malformed.total())
    assert all(sample.isascii() and sample.isprintable() for sample in reader.samples)


@given(_FILES, _HEADERLESS)
def test_gzipped_file_reads_like_the_plain_one(
    content: bytes, headerless: tuple[RecordFormat, ...]
) -> None:
    # Content that is gzip already would be packed twice, and is read differently.
    if content.startswith(b"\x1f\x8b"):
        return
    plain, packed = read_whole(content, headerless), read_whole(gzip.compress(content), headerless)
    assert (plain is None) == (packed is None)
    if plain is not None and packed is not None:
        assert packed[0] == plain[0]
        assert packed[1].counts == plain[1].counts


@given(_FILES, st.data())
def test_damaged_gzip_is_refused_or_read_but_never_breaks(
    content: bytes, data: st.DataObject
) -> None:
    packed = bytearray(gzip.compress(_HEADER + b"\n" + content))
    kept = data.draw(st.integers(0, len(packed)))
    if kept < len(packed):
        damaged = bytes(packed[:kept])
        assert read_whole(damaged, ()) is None
    position = data.draw(st.integers(0, len(packed) - 1))
    packed[position] ^= data.draw(st.integers(1, 255))
    read = read_whole(bytes(packed), ())
    assert read is None or accounted(read[1]) > 0


@given(
    st.lists(st.text(max_size=30) | st.just(_GOOD.decode()), max_size=10),
    st.lists(_FORMATS, min_size=1, max_size=3),
)
def test_every_message_is_accounted_for(
    messages: Sequence[str], formats: list[RecordFormat]
) -> None:
    reader = LineReader((*formats, DEFAULT_FORMAT), headers=False)
    records = list(read_messages(messages, reader))
    assert accounted(reader) == len(messages)
    assert (
        len(records)
        == reader.counts.records - reader.counts.malformed.total() - reader.counts.transit_gateway
    )
