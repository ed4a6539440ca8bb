"""Rejected flows from records: which records form a flow, their context, and merging."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from flowverdict.flowlog.object_key import Origin
from flowverdict.flowlog.records import FlowRecord, LogStatus
from flowverdict.flows.collector import FlowCollector
from flowverdict.flows.model import Context, TrafficTotals, epoch_to_datetime
from tests.helpers.collected_records import (
    EGRESS,
    HOME,
    INGRESS,
    SERVER,
    accept,
    collected,
    only,
    reject,
    rejected,
)

# --- what makes a flow ----------------------------------------------------------------------------


def test_accepted_records_alone_give_no_rejected_flow() -> None:
    assert rejected(accept(), accept(SERVER, HOME)) == []


@pytest.mark.parametrize("status", [LogStatus.NODATA, LogStatus.SKIPDATA])
def test_records_without_traffic_give_no_flow(status: LogStatus) -> None:
    assert (
        rejected(reject(log_status=status), FlowRecord(interface_id="eni-1", log_status=status))
        == []
    )


def test_records_without_an_action_give_no_flow() -> None:
    assert rejected(reject()._replace(action=None)) == []


def test_a_rejected_record_without_status_is_a_flow() -> None:
    assert len(rejected(reject()._replace(log_status=None))) == 1


def test_records_of_one_flow_are_summed_up() -> None:
    flow = only(
        reject(start=1100, end=1160, packets=2, bytes=80, tcp_flags=2),
        reject(start=1000, end=1060, packets=3, bytes=120, tcp_flags=4),
        reject(start=1050, end=1200, packets=None, bytes=None, tcp_flags=None),
    )
    assert flow.traffic == TrafficTotals(
        first_start=1000,
        last_end=1200,
        records=3,
        packets=5,
        bytes=200,
        tcp_flags=6,
        common_flags=0,
    )


def test_what_was_never_logged_stays_unknown() -> None:
    flow = only(reject(start=None, end=None, tcp_flags=None))
    assert (flow.traffic.first_start, flow.traffic.last_end, flow.traffic.tcp_flags) == (
        None,
        None,
        None,
    )


def test_flags_of_zero_are_logged_flags() -> None:
    assert only(reject(tcp_flags=0)).traffic.tcp_flags == 0


def test_times_of_zero_are_times() -> None:
    traffic = only(reject(start=0, end=0), reject(start=5, end=6)).traffic
    assert (traffic.first_start, traffic.last_end) == (0, 6)


@pytest.mark.parametrize(
    "difference",
    [
        {"interface_id": "eni-2"},
        {"source": "203.0.113.13"},
        {"destination": "172.31.16.140"},
        {"srcport": 50_123},
        {"dstport": 444},
        {"srcport": 0},
        {"dstport": None},
        {"protocol": 17},
        {"protocol": 0},
        {"flow_direction": INGRESS},
        {"pkt_srcaddr": "203.0.113.99"},
        {"pkt_dstaddr": "172.31.99.99"},
    ],
    ids=str,
)
def test_records_that_differ_in_their_flow_are_two_flows(difference: dict[str, Any]) -> None:
    assert len(rejected(reject(), reject(**difference))) == 2


@pytest.mark.parametrize(
    "difference",
    [{"start": 1}, {"packets": 9}, {"tcp_flags": 2}, {"vpc_id": "vpc-1"}, {"account_id": "1"}],
    ids=str,
)
def test_records_that_differ_in_anything_else_are_one_flow(difference: dict[str, Any]) -> None:
    assert only(reject(), reject(**difference)).traffic.records == 2


def test_packet_addresses_equal_to_the_interface_ones_make_no_other_flow() -> None:
    assert only(reject(), reject(pkt_srcaddr=HOME, pkt_dstaddr=SERVER)).traffic.records == 2


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (
            {"pkt_srcaddr": HOME, "pkt_dstaddr": SERVER},
            {"pkt_srcaddr": HOME, "pkt_dstaddr": SERVER},
            True,
        ),
        ({}, {}, False),
        ({"pkt_srcaddr": HOME, "pkt_dstaddr": SERVER}, {}, False),
        ({}, {"pkt_srcaddr": HOME, "pkt_dstaddr": SERVER}, False),
        ({"pkt_srcaddr": HOME}, {"pkt_srcaddr": HOME}, False),
    ],
)
def test_packet_addresses_are_logged_only_if_every_record_has_both(
    first: dict[str, str], second: dict[str, str], *, expected: bool
) -> None:
    assert only(reject(**first), reject(**second)).packet_addresses_logged is expected


def test_earliest_flow_comes_first_and_one_without_time_last() -> None:
    flows = rejected(
        reject(dstport=1, start=None, end=None),
        reject(dstport=2, start=3000),
        reject(dstport=3, start=0),
        reject(dstport=4, start=2000),
    )
    assert [flow.key.destination_port for flow in flows] == [3, 4, 2, 1]


def test_regional_nat_gateway_is_told_by_its_own_id_and_has_no_interface() -> None:
    flows = rejected(
        reject(interface_id=None, resource_id="nat-1"),
        reject(interface_id=None, resource_id="nat-2"),
        reject(interface_id="eni-1", resource_id=None),
    )
    assert {(flow.interface_id, flow.context.resource_id) for flow in flows} == {
        (None, "nat-1"),
        (None, "nat-2"),
        ("eni-1", None),
    }


# --- reasons and context --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("logged", "expected"),
    [
        ([None], {None}),
        (["-"], {"-"}),
        (["BPA"], {"BPA"}),
        (["BPA", "EC"], {"BPA", "EC"}),
        (["BPA", "-"], {"BPA", "-"}),
        # a record without the field may have another reason
        (["-", None], {"-", None}),
        (["BPA", None], {"BPA", None}),
        (["SOMETHING_NEW"], {"SOMETHING_NEW"}),
    ],
)
def test_reject_reasons_are_those_logged_and_whether_some_were_not(
    logged: list[str | None], expected: set[str | None]
) -> None:
    flow = only(*(reject(reject_reason=reason) for reason in logged))
    assert flow.reject_reasons == expected
    turned = only(*(reject(reject_reason=reason) for reason in reversed(logged)))
    assert turned.reject_reasons == expected


@pytest.mark.parametrize(
    ("flags", "every", "common"),
    [((2, 2), 2, 2), ((2, 4), 6, 0), ((18, 19), 19, 18), ((2, None), 2, 0)],
)
def test_flags_that_every_record_has_are_told_from_those_that_some_have(
    flags: tuple[int | None, ...], every: int, common: int
) -> None:
    flow = only(*(reject(tcp_flags=value) for value in flags))
    assert (flow.traffic.tcp_flags, flow.traffic.common_flags) == (every, common)


def test_context_is_what_the_record_says() -> None:
    said = {
        "account_id": "123456789012",
        "region": "eu-west-1",
        "vpc_id": "vpc-1",
        "subnet_id": "subnet-1",
        "instance_id": "i-1",
        "interface_type": "nat_gateway",
        "resource_id": "nat-1",
        "pkt_src_aws_service": "S3",
        "pkt_dst_aws_service": "EC2",
    }
    assert only(reject(**said)).context == Context(**said)


def test_context_is_filled_from_the_other_records_of_the_flow() -> None:
    flow = only(reject(vpc_id="vpc-1"), reject(subnet_id="subnet-1"), reject())
    assert flow.context == Context(vpc_id="vpc-1", subnet_id="subnet-1")


def test_context_is_not_filled_from_another_flow() -> None:
    flow = only(accept(vpc_id="vpc-1"), reject())
    assert flow.context.vpc_id is None


def test_context_that_records_disagree_on_does_not_depend_on_their_order() -> None:
    records = (reject(vpc_id="vpc-2"), reject(vpc_id="vpc-1"))
    assert only(*records).context == only(*reversed(records)).context == Context(vpc_id="vpc-1")


@pytest.mark.parametrize(
    ("record_says", "expected"),
    [
        ({}, ("210987654321", "us-east-1")),
        ({"account_id": "123456789012", "region": "eu-west-1"}, ("123456789012", "eu-west-1")),
        # AWS logs this word for interfaces that a service made
        ({"account_id": "unknown"}, ("210987654321", "us-east-1")),
    ],
)
def test_origin_fills_what_the_record_does_not_say(
    record_says: dict[str, str], expected: tuple[str, str]
) -> None:
    context = only(
        reject(**record_says), origin=Origin(account_id="210987654321", region="us-east-1")
    ).context
    assert (context.account_id, context.region) == expected


def test_unknown_account_without_an_origin_is_none() -> None:
    assert only(reject(account_id="unknown")).context.account_id is None


# --- merging --------------------------------------------------------------------------------------

A, B = {"interface_id": "eni-a", "vpc_id": "vpc-1"}, {"interface_id": "eni-b", "vpc_id": "vpc-1"}
MIXED = (
    accept("10.0.0.7", "10.0.0.2", flow_direction=INGRESS, subnet_id="subnet-1", **B),
    reject(
        "10.0.0.1", "10.0.0.2", flow_direction=EGRESS, subnet_id="subnet-1", reject_reason="-", **A
    ),
    reject(
        "10.0.0.1",
        "10.0.0.2",
        flow_direction=EGRESS,
        subnet_id="subnet-1",
        start=10,
        tcp_flags=2,
        **A,
    ),
    accept("10.0.0.2", "10.0.0.1", srcport=443, dstport=50_122, **A),
    accept("10.0.0.3", "10.0.0.4"),
    reject("10.0.0.3", "10.0.0.5", vpc_id="vpc-9"),
    reject("10.0.0.3", "10.0.0.5", pkt_srcaddr="10.0.0.3", pkt_dstaddr="10.0.0.5"),
)


@pytest.mark.parametrize("cut", range(len(MIXED) + 1))
def test_merging_two_collectors_is_collecting_everything_at_once(cut: int) -> None:
    collector = collected(*MIXED[:cut])
    collector.merge(collected(*MIXED[cut:]))
    assert list(collector.rejected()) == rejected(*MIXED)


def test_merging_leaves_the_other_collector_as_it_was() -> None:
    other = collected(*MIXED)
    collector = collected(*MIXED)
    collector.merge(other)
    collector.add(MIXED[1])
    assert list(other.rejected()) == rejected(*MIXED)


def test_merging_an_empty_collector_changes_nothing() -> None:
    collector = collected(*MIXED)
    collector.merge(FlowCollector())
    assert list(collector.rejected()) == rejected(*MIXED)


def test_times_are_in_utc() -> None:
    assert epoch_to_datetime(1_418_530_010) == datetime(2014, 12, 14, 4, 6, 50, tzinfo=UTC)


def test_many_flows_are_looked_up_as_few_are(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numpy")
    directions = (None, INGRESS, EGRESS)
    collector = FlowCollector(seed=20_261_124)
    for number, (logged, seen) in enumerate(
        (logged, seen) for logged in directions for seen in directions
    ):
        collector.add(reject(srcport=40_000 + number, flow_direction=logged))
        collector.add(accept(srcport=40_000 + number, start=900 + number, flow_direction=seen))
        collector.add(
            accept(
                SERVER,
                HOME,
                srcport=443,
                dstport=40_000 + number,
                start=800 + number,
                flow_direction=seen,
            )
        )
    one_by_one = list(collector.rejected())
    monkeypatch.setattr("flowverdict.flows.collector._MANY", 0)
    assert list(collector.rejected()) == one_by_one
    assert any(flow.same for flow in one_by_one)
