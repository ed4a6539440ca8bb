"""Flows that lost packets in a transit gateway: sums, stored evidence, and what is not learned."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from flowverdict.flowlog.records import TRANSIT_GATEWAY_FORMAT, FlowDirection
from flowverdict.flowlog.transit_gateway import PacketsLost, as_flow_record
from flowverdict.flows.collector import FlowCollector
from flowverdict.flows.evidence import Evidence
from flowverdict.flows.evidence_codec import pack, unpack
from tests.helpers.collected_records import reject
from tests.helpers.transit_gateway import ATTACHMENT, GATEWAY, line
from tests.helpers.whole_evidence import whole

if TYPE_CHECKING:
    from flowverdict.flowlog.records import FlowRecord

_LOST = st.builds(PacketsLost, *[st.integers(0, 5)] * 4).filter(lambda lost: lost.total > 0)


def dropped(**values: object) -> FlowRecord:
    record = as_flow_record(TRANSIT_GATEWAY_FORMAT.parse(line(**values)))
    assert record is not None
    return record


def lost_record(lost: PacketsLost) -> FlowRecord:
    return dropped(
        packets_lost_no_route=lost.no_route,
        packets_lost_blackhole=lost.blackhole,
        packets_lost_mtu_exceeded=lost.mtu_exceeded,
        packets_lost_ttl_expired=lost.ttl_expired,
    )


def collected(*records: FlowRecord) -> FlowCollector:
    flows = FlowCollector()
    for record in records:
        flows.add(record)
    return flows


def test_a_flow_is_its_attachments_and_its_place_the_owners() -> None:
    (flow,) = collected(dropped(packets_lost_no_route=5)).rejected()
    assert (flow.interface_id, flow.attachment_id) == (None, ATTACHMENT)
    assert (flow.context.account_id, flow.context.region) == ("123456789012", "eu-west-1")
    assert flow.context.resource_id == GATEWAY
    assert flow.packets_lost == PacketsLost(no_route=5)


def test_a_flow_without_an_attachment_is_the_transit_gateways() -> None:
    (flow,) = collected(dropped(tgw_attachment_id="-", packets_lost_no_route=5)).rejected()
    assert (flow.interface_id, flow.attachment_id, flow.key.interface) == (None, None, GATEWAY)


def test_a_direction_is_not_guessed_from_addresses() -> None:
    record = dropped(dstaddr="198.51.100.7", flow_direction="-", packets_lost_no_route=1)
    (flow,) = collected(record).rejected()
    assert flow.direction is None


def test_the_addresses_of_a_transit_gateways_record_teach_nothing_of_subnets() -> None:
    vpc_id, subnet_id = "vpc-0ddddddddddddddd1", "subnet-0eeeeeeeeeeeeeee1"
    own = reject(
        "10.9.0.7",
        "10.0.1.6",
        flow_direction=FlowDirection.INGRESS,
        vpc_id=vpc_id,
        subnet_id=subnet_id,
    )
    flows = list(collected(dropped(packets_lost_no_route=1), own).rejected())
    assert [flow.same_subnet for flow in flows] == [None, None]


@given(losses=st.lists(_LOST, min_size=1, max_size=6), split=st.integers(0, 6))
def test_lost_packets_add_up_however_they_were_split_and_stored(
    losses: list[PacketsLost], split: int
) -> None:
    expected = PacketsLost()
    for lost in losses:
        expected = expected.plus(lost)
    together = collected(*map(lost_record, losses))
    merged = FlowCollector()
    for part in (losses[split:], losses[:split]):
        merged.merge(whole(unpack(pack(Evidence(flows=collected(*map(lost_record, part)))))).flows)
    for flows in (together, merged):
        (flow,) = flows.rejected()
        assert flow.packets_lost == expected
        assert flow.traffic.packets == expected.total


def test_evidence_of_vpc_flow_logs_has_no_column_for_it() -> None:
    columns = []
    for record in (reject(), dropped(packets_lost_no_route=1)):
        packed = pack(Evidence(flows=collected(record)))
        document = json.loads(zlib.decompressobj().decompress(packed[12:]))
        columns.append("packets_lost" in document["rejects"])
    assert columns == [False, True]
