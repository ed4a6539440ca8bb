"""CloudWatch Logs messages: bare records, each read by the one format that fits it."""

from __future__ import annotations

import pytest

from flowverdict.flowlog.line_reader import (
    MAX_LINE_BYTES,
    LineReader,
)
from flowverdict.flowlog.records import DEFAULT_FORMAT, FlowRecord, RecordFormat
from tests.helpers.line_by_line import (
    HEADER,
    RDP,
    SSH,
    TRANSIT_GATEWAY_HEADER,
    TRANSIT_GATEWAY_RECORD,
    nonzero_counts,
    read_messages,
)

ADDRESSES = RecordFormat(("srcaddr", "dstaddr", "action"))
SWAPPED = RecordFormat(("dstaddr", "srcaddr", "action"))
PORTS = RecordFormat(("srcport", "dstport", "action"))


def read_all(messages: list[str], *formats: RecordFormat) -> tuple[list[FlowRecord], LineReader]:
    """Read messages by the given formats."""
    reader = LineReader(formats, headers=False)
    return list(read_messages(messages, reader)), reader


def test_messages_are_bare_records() -> None:
    records, reader = read_all([SSH.decode().rstrip(), RDP.decode()], DEFAULT_FORMAT)
    assert [record.dstport for record in records] == [22, 3389]
    assert nonzero_counts(reader) == {"records": 2, "accepted": 1, "rejected": 1}


def test_header_among_messages_is_a_malformed_record() -> None:
    records, reader = read_all([HEADER.decode(), RDP.decode()], DEFAULT_FORMAT)
    assert len(records) == 1
    assert reader.counts.malformed.total() == 1
    assert reader.counts.header_lines == 0


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("Hello, world", "field-count"),
        (SSH.decode() + RDP.decode(), "encoding"),
        (RDP.decode().replace("eni", "\u00e9ni"), "encoding"),
        (RDP.decode().replace("eni", "\ud800ni"), "encoding"),
        ("x" * (MAX_LINE_BYTES + 1), "line-too-long"),
        ("\u00e9" * MAX_LINE_BYTES, "line-too-long"),
    ],
    ids=["words", "two lines", "accent", "lone surrogate", "overlong", "overlong in UTF-8"],
)
def test_malformed_message_is_counted_and_the_rest_is_read(message: str, reason: str) -> None:
    records, reader = read_all([message, RDP.decode()], DEFAULT_FORMAT)
    assert len(records) == 1
    assert reader.counts.malformed == {reason: 1}


def test_blank_message_is_counted() -> None:
    _, reader = read_all(["", " \n"], DEFAULT_FORMAT)
    assert nonzero_counts(reader) == {"blank_lines": 2}


def test_message_is_read_by_the_format_of_its_width() -> None:
    records, reader = read_all(
        [RDP.decode(), "10.0.0.1 10.0.0.2 REJECT", SSH.decode()], DEFAULT_FORMAT, ADDRESSES
    )
    assert [record.dstport for record in records] == [3389, None, 22]
    assert not reader.counts.malformed


def test_message_whose_width_no_format_has_is_malformed() -> None:
    _, reader = read_all(["two words"], DEFAULT_FORMAT, ADDRESSES)
    assert reader.counts.malformed == {"field-count": 1}
    assert "none of the formats" in reader.samples[0]


def test_of_two_formats_of_one_width_the_fitting_one_reads_the_message() -> None:
    records, reader = read_all(["10.0.0.1 10.0.0.2 REJECT", "50122 443 REJECT"], ADDRESSES, PORTS)
    assert [str(record.srcaddr) for record in records] == ["10.0.0.1", "None"]
    assert [record.dstport for record in records] == [None, 443]
    assert not reader.counts.malformed


def test_message_that_two_formats_read_differently_is_malformed() -> None:
    records, reader = read_all(["10.0.0.1 10.0.0.2 REJECT"], ADDRESSES, SWAPPED)
    assert records == []
    assert reader.counts.malformed == {"ambiguous-format": 1}


def test_message_that_two_formats_read_alike_is_read() -> None:
    records, reader = read_all(["10.0.0.1 10.0.0.1 REJECT", "- - ACCEPT"], ADDRESSES, SWAPPED)
    assert [str(record.srcaddr) for record in records] == ["10.0.0.1", "None"]
    assert nonzero_counts(reader) == {"records": 2, "accepted": 1, "rejected": 1}


def test_message_that_no_format_of_its_width_can_read_is_malformed_for_that_reason() -> None:
    _, reader = read_all(["10.0.0.1 10.0.0.2 DROP"], ADDRESSES, SWAPPED)
    assert reader.counts.malformed == {"action": 1}


def test_transit_gateway_messages_beside_vpc_messages_are_counted_separately() -> None:
    transit = RecordFormat.from_header(TRANSIT_GATEWAY_HEADER.decode())
    records, reader = read_all(
        [TRANSIT_GATEWAY_RECORD.decode(), RDP.decode()], DEFAULT_FORMAT, transit
    )
    assert len(records) == 1
    assert nonzero_counts(reader) == {"records": 2, "rejected": 1, "transit_gateway": 1}
