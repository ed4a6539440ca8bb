"""Records of a transit gateway: what becomes a rejected record, and what is only counted."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowverdict.core.errors import NotAFlowLogError
from flowverdict.flowlog.fields import PACKETS_LOST_FIELDS
from flowverdict.flowlog.line_reader import LineReader
from flowverdict.flowlog.records import (
    DEFAULT_FORMATS,
    TRANSIT_GATEWAY_FORMAT,
    Action,
    FlowRecord,
    RecordFormat,
)
from flowverdict.flowlog.transit_gateway import PacketsLost, as_flow_record, packets_lost
from tests.helpers.line_by_line import HEADER as VPC_HEADER
from tests.helpers.line_by_line import nonzero_counts, read_file, read_messages
from tests.helpers.transit_gateway import ATTACHMENT, GATEWAY, HEADER, file_of, line


def flow_record(**values: object) -> FlowRecord | None:
    return as_flow_record(TRANSIT_GATEWAY_FORMAT.parse(line(**values)))


def read(content: bytes, *headerless: RecordFormat) -> tuple[list[FlowRecord], dict[str, int]]:
    reader = LineReader(headerless)
    records = [*read_file(io.BytesIO(content), name="x", reader=reader, headerless=headerless)]
    return records, nonzero_counts(reader)


def test_the_counters_are_in_the_order_of_the_fields() -> None:
    names = [name.removeprefix("packets-lost-").replace("-", "_") for name in PACKETS_LOST_FIELDS]
    assert names == list(PacketsLost._fields)


@pytest.mark.parametrize("place", range(4))
def test_each_counter_makes_a_rejected_record_of_the_attachment(place: int) -> None:
    name = PACKETS_LOST_FIELDS[place].replace("-", "_")
    record = flow_record(**{name: 5})
    assert record is not None
    assert record.action is Action.REJECT
    assert (record.interface_id, record.resource_id) == (ATTACHMENT, GATEWAY)
    assert (record.packets, record.bytes) == (5, 300)
    assert packets_lost(record) == PacketsLost(*(5 * (index == place) for index in range(4)))


def test_bytes_are_unknown_where_only_some_packets_were_lost() -> None:
    record = flow_record(packets=40, bytes=210_000, packets_lost_mtu_exceeded=7)
    assert record is not None
    assert (record.packets, record.bytes) == (7, None)


@pytest.mark.parametrize(
    ("direction", "place"),
    [
        ("ingress", ("vpc-1", "subnet-1")),
        ("egress", ("vpc-2", "subnet-2")),
        ("-", (None, None)),
    ],
)
def test_the_vpc_and_the_subnet_are_those_of_the_attachments_side(
    direction: str, place: tuple[str | None, str | None]
) -> None:
    record = flow_record(
        flow_direction=direction,
        tgw_src_vpc_id="vpc-1",
        tgw_src_subnet_id="subnet-1",
        tgw_dst_vpc_id="vpc-2",
        tgw_dst_subnet_id="subnet-2",
        packets_lost_ttl_expired=1,
    )
    assert record is not None
    assert (record.vpc_id, record.subnet_id) == place


@pytest.mark.parametrize("counter", ["0", "-"])
def test_a_record_without_a_lost_packet_is_only_counted(counter: str) -> None:
    lost = dict.fromkeys((name.replace("-", "_") for name in PACKETS_LOST_FIELDS), counter)
    records, counts = read(file_of([line(**lost)]))
    assert records == []
    assert counts == {"records": 1, "transit_gateway": 1, "header_lines": 1}


def test_lost_records_are_the_attachments() -> None:
    records, counts = read(file_of([line(log_status="SKIPDATA"), line(log_status="NODATA")]))
    assert [record.interface_id for record in records] == [ATTACHMENT, ATTACHMENT]
    assert counts == {"records": 2, "skip_data": 1, "no_data": 1, "header_lines": 1}


@pytest.mark.parametrize("value", ["-1", "1.5", "many", str(2**63), "+1"])
def test_a_counter_that_is_no_number_makes_the_record_malformed(value: str) -> None:
    records, counts = read(file_of([line(packets_lost_blackhole=value)]))
    assert records == []
    assert counts["malformed"] == 1


def test_a_field_of_tomorrow_is_ignored_but_a_misspelt_header_is_refused() -> None:
    tomorrow = f"{HEADER} packets-lost-tomorrow\n{line(packets_lost_no_route=2)} 7\n".encode()
    records, _ = read(tomorrow)
    assert [record.packets for record in records] == [2]
    misspelt = tomorrow.replace(b"tgw-attachment-id", b"tgw-attachement-id")
    with pytest.raises(NotAFlowLogError, match="header is wrong"):
        read(misspelt)


def test_lines_without_a_header_are_read_in_the_default_format_of_their_width() -> None:
    content = line(packets_lost_no_route=1).encode()
    records, counts = read(content, *DEFAULT_FORMATS)
    assert [record.interface_id for record in records] == [ATTACHMENT]
    assert counts == {"records": 1, "rejected": 1}
    vpc = VPC_HEADER.replace(b"version", b"2")
    with pytest.raises(NotAFlowLogError, match="not a VPC flow log"):
        read(vpc.replace(b"\n", b" x\n"), *DEFAULT_FORMATS)


def test_messages_are_read_in_either_default_format() -> None:
    reader = LineReader(DEFAULT_FORMATS, headers=False)
    messages = [
        line(packets_lost_no_route=1),
        "2 123456789012 eni-1 10.0.0.1 10.0.0.2 1 2 6 1 40 1795348805 1795348850 REJECT OK",
    ]
    records = [*read_messages(messages, reader)]
    assert [record.interface_id for record in records] == [ATTACHMENT, "eni-1"]


@given(*[st.builds(PacketsLost, *[st.integers(0, 2**63 - 1)] * 4)] * 2)
def test_packets_add_up(one: PacketsLost, other: PacketsLost) -> None:
    assert one.plus(other) == other.plus(one)
    assert one.plus(other).total == one.total + other.total
