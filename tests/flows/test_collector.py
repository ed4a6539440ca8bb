"""Records to rejected flows: what belongs together, which way it went, and what is not guessed."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import pytest

from flowverdict.flowlog.object_key import Origin
from flowverdict.flowlog.records import Action, FlowDirection, FlowRecord, LogStatus
from flowverdict.flows.accepted_index import Activity
from flowverdict.flows.collector import FlowCollector
from flowverdict.flows.model import Context, RejectedFlow, TrafficTotals, epoch_to_datetime

INGRESS, EGRESS = FlowDirection.INGRESS, FlowDirection.EGRESS
HOME, SERVER = "203.0.113.12", "172.31.16.139"
_ADDRESSES = ("srcaddr", "dstaddr", "pkt_srcaddr", "pkt_dstaddr")


def record(action: Action, source: str | None, destination: str | None, **more: Any) -> FlowRecord:  # noqa: ANN401 - its fields
    """Give a record of TCP 50122 -> 443 on one interface, with what else is named."""
    values: dict[str, Any] = {
        "interface_id": "eni-1",
        "srcaddr": source,
        "dstaddr": destination,
        "srcport": 50_122,
        "dstport": 443,
        "protocol": 6,
        "packets": 1,
        "bytes": 40,
        "start": 1000,
        "end": 1060,
        "action": action,
        "log_status": LogStatus.OK,
    }
    values |= more
    for name in _ADDRESSES:
        if values.get(name) is not None:
            values[name] = ip_address(values[name])
    return FlowRecord(**values)


def accept(source: str | None = HOME, destination: str | None = SERVER, **more: Any) -> FlowRecord:  # noqa: ANN401
    """Give an accepted record."""
    return record(Action.ACCEPT, source, destination, **more)


def reject(source: str | None = HOME, destination: str | None = SERVER, **more: Any) -> FlowRecord:  # noqa: ANN401
    """Give a rejected record."""
    return record(Action.REJECT, source, destination, **more)


def reply(source: str = SERVER, destination: str = HOME, **more: Any) -> FlowRecord:  # noqa: ANN401
    """Give a rejected record whose ports are those of ``accept`` the other way round."""
    return reject(source, destination, **({"srcport": 443, "dstport": 50_122} | more))


def collected(*records: FlowRecord, origin: Origin | None = None) -> FlowCollector:
    """Give a collector of these records."""
    collector = FlowCollector()
    for one in records:
        if origin is None:
            collector.add(one)
        else:
            collector.add(one, origin)
    return collector


def rejected(*records: FlowRecord, origin: Origin | None = None) -> list[RejectedFlow]:
    """Give the rejected flows of these records."""
    return list(collected(*records, origin=origin).rejected())


def only(*records: FlowRecord, origin: Origin | None = None) -> RejectedFlow:
    """Give the one rejected flow of these records."""
    (flow,) = rejected(*records, origin=origin)
    return flow


# --- what makes a flow ------------------------------------------------------------------------------------------------


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


# --- what else was seen of the connection -----------------------------------------------------------------------------


def test_aws_ping_example_pairs_the_rejected_reply_with_its_accepted_request() -> None:
    ping = {
        "srcport": 0,
        "dstport": 0,
        "protocol": 1,
        "packets": 4,
        "bytes": 336,
        "end": 1_432_917_142,
    }
    flow = only(
        accept(HOME, SERVER, start=1_432_917_027, **ping),
        reject(SERVER, HOME, start=1_432_917_094, **ping),
    )
    assert flow.mirror == Activity(first_start=1_432_917_027, last_end=1_432_917_142)
    assert flow.same is None
    assert flow.direction is EGRESS


def test_accepted_mirror_on_the_interface_is_found() -> None:
    flow = only(accept(), accept(start=900, end=950, tcp_flags=2), reply())
    assert flow.mirror == Activity(first_start=900, last_end=1060, tcp_flags=2)
    assert flow.accepts_logged


@pytest.mark.parametrize(
    "other",
    [
        {"interface_id": "eni-2"},
        {"interface_id": None},
        {"srcport": 50_123},
        {"dstport": 80},
        {"protocol": 17},
        {"source": "203.0.113.13"},
        {"destination": "172.31.16.140"},
        {"pkt_srcaddr": "203.0.113.99"},
    ],
    ids=str,
)
def test_accepted_record_of_another_connection_is_no_mirror(other: dict[str, Any]) -> None:
    flow = only(accept(**other), reply())
    assert flow.mirror is None
    assert flow.same is None


def test_rejected_mirror_is_no_mirror() -> None:
    assert [flow.mirror for flow in rejected(reject(), reply())] == [None, None]


def test_accepted_record_of_the_same_flow_is_the_same_and_no_mirror() -> None:
    flow = only(accept(start=500, end=560), reject())
    assert flow.same == Activity(first_start=500, last_end=560)
    assert flow.mirror is None


def test_accepts_of_another_interface_are_not_logged_here() -> None:
    first, second = rejected(
        accept(), reject(dstport=80), reject(dstport=80, interface_id="eni-2", start=2000)
    )
    assert (first.accepts_logged, second.accepts_logged) == (True, False)


@pytest.mark.parametrize(
    ("logged", "rejected_direction", "paired"),
    [
        (INGRESS, EGRESS, True),
        (EGRESS, INGRESS, True),
        # an appliance's interface sees one 5-tuple come in and go out
        (INGRESS, INGRESS, False),
        (EGRESS, EGRESS, False),
        # formats with and without the field, mixed
        (None, EGRESS, True),
        (None, INGRESS, True),
        (INGRESS, None, True),
        (EGRESS, None, True),
        (None, None, True),
    ],
)
def test_mirror_goes_the_other_way_where_directions_are_logged(
    logged: FlowDirection | None, rejected_direction: FlowDirection | None, *, paired: bool
) -> None:
    flow = only(accept(flow_direction=logged), reply(flow_direction=rejected_direction))
    assert (flow.mirror is not None) is paired


@pytest.mark.parametrize(
    ("logged", "rejected_direction", "paired"),
    [
        (INGRESS, INGRESS, True),
        (EGRESS, EGRESS, True),
        (INGRESS, EGRESS, False),
        (EGRESS, INGRESS, False),
        (None, EGRESS, True),
        (INGRESS, None, True),
        (None, None, True),
    ],
)
def test_same_goes_the_same_way_where_directions_are_logged(
    logged: FlowDirection | None, rejected_direction: FlowDirection | None, *, paired: bool
) -> None:
    flow = only(accept(flow_direction=logged), reject(flow_direction=rejected_direction))
    assert (flow.same is not None) is paired


def test_mirrors_of_logged_and_unlogged_direction_are_added() -> None:
    flow = only(accept(flow_direction=INGRESS), accept(start=500), reply(flow_direction=EGRESS))
    assert flow.mirror is not None
    assert (flow.mirror.first_start, flow.mirror.last_end) == (500, 1060)


def test_packet_addresses_keep_pods_behind_one_interface_address_apart() -> None:
    node, pod, other_pod, client = "10.0.1.10", "10.0.9.1", "10.0.9.2", "10.0.2.20"
    flows = rejected(
        accept(client, node, pkt_srcaddr=client, pkt_dstaddr=pod),
        reply(node, client, pkt_srcaddr=pod, pkt_dstaddr=client),
        reply(node, client, pkt_srcaddr=other_pod, pkt_dstaddr=client),
    )
    assert {str(flow.key.packet_source): flow.mirror is not None for flow in flows} == {
        pod: True,
        other_pod: False,
    }


# --- direction --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", [INGRESS, EGRESS])
def test_logged_direction_goes_before_what_addresses_suggest(direction: FlowDirection) -> None:
    flow = only(reject(HOME, SERVER, flow_direction=direction))
    assert (flow.direction, flow.direction_logged) == (direction, True)


@pytest.mark.parametrize(
    ("source", "destination", "expected"),
    [
        (HOME, SERVER, INGRESS),
        (SERVER, HOME, EGRESS),
        ("8.8.8.8", "100.64.0.1", INGRESS),
        # nothing to go by
        ("10.0.0.1", "10.0.0.2", None),
        ("203.0.113.1", "203.0.113.2", None),
        ("10.0.0.1", "10.0.0.1", None),
        (None, SERVER, None),
        (HOME, None, None),
        # IPv6 addresses of a VPC are global
        ("2001:db8::1", "2001:db8::2", None),
        ("fd00::1", "2001:db8::2", None),
    ],
)
def test_direction_of_a_lone_record_is_what_private_and_public_addresses_suggest(
    source: str | None, destination: str | None, expected: FlowDirection | None
) -> None:
    flow = only(reject(source, destination))
    assert (flow.direction, flow.direction_logged) == (expected, False)


@pytest.mark.parametrize(
    ("source", "destination", "expected"),
    [("10.0.0.9", "10.0.0.1", INGRESS), ("10.0.0.1", "10.0.0.9", EGRESS)],
)
def test_address_common_to_all_records_of_the_interface_is_its_own(
    source: str, destination: str, expected: FlowDirection
) -> None:
    assert only(accept("10.0.0.1", "10.0.0.7"), reject(source, destination)).direction is expected


def test_address_that_a_logged_direction_shows_is_the_interface_s_own() -> None:
    flow = only(
        accept("10.0.0.7", "10.0.0.1", flow_direction=INGRESS), reject("10.0.0.9", "10.0.0.1")
    )
    assert (flow.direction, flow.direction_logged) == (INGRESS, False)


def test_own_address_goes_before_private_and_public_ones() -> None:
    # A VPC may use public ranges of its own.
    flow = only(
        accept("198.51.100.1", "198.51.100.7"), reject("198.51.100.1", "10.0.0.9", start=2000)
    )
    assert flow.direction is EGRESS
    turned = only(
        accept("198.51.100.1", "198.51.100.7"), reject("10.0.0.9", "198.51.100.1", start=2000)
    )
    assert turned.direction is INGRESS


def test_interface_that_talks_with_one_other_tells_no_direction() -> None:
    assert only(accept("10.0.0.1", "10.0.0.2"), reply("10.0.0.2", "10.0.0.1")).direction is None


def test_interface_whose_records_have_no_common_address_tells_no_direction() -> None:
    flows = rejected(
        accept("10.0.0.1", "10.0.0.2"),
        accept("10.0.0.3", "10.0.0.4"),
        reject("10.0.0.1", "10.0.0.3"),
    )
    assert [flow.direction for flow in flows] == [None]


def test_interface_that_forwards_for_others_tells_no_direction_whatever_the_order() -> None:
    records = (
        accept("10.0.0.1", "10.0.0.2"),
        reject("10.0.0.2", "10.0.0.4"),
        accept("10.0.0.1", "10.0.0.3"),
    )
    assert only(*records).direction is None
    assert only(*reversed(records)).direction is None


def test_ipv6_addresses_are_never_taken_for_the_interface_s_own() -> None:
    flow = only(accept("2001:db8::1", "2001:db8::2"), reject("2001:db8::1", "2001:db8::3"))
    assert flow.direction is None


def test_ipv6_records_do_not_hide_the_ipv4_address() -> None:
    flow = only(
        accept("2001:db8::1", "2001:db8::2"),
        accept("10.0.0.1", "10.0.0.7"),
        reject("10.0.0.9", "10.0.0.1"),
    )
    assert flow.direction is INGRESS


@pytest.mark.parametrize(
    ("direction", "local", "remote"),
    [(INGRESS, "10.0.9.1", "203.0.113.5"), (EGRESS, "203.0.113.5", "10.0.9.1"), (None, None, None)],
)
def test_local_and_remote_are_the_packet_s_addresses(
    direction: FlowDirection | None, local: str | None, remote: str | None
) -> None:
    flow = only(
        reject(
            "10.0.0.220",
            "10.0.0.1",
            pkt_srcaddr="203.0.113.5",
            pkt_dstaddr="10.0.9.1",
            flow_direction=direction,
        )
    )
    assert flow.local == (None if local is None else ip_address(local))
    assert flow.remote == (None if remote is None else ip_address(remote))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"pkt_srcaddr": "10.0.0.1", "pkt_dstaddr": "10.0.0.2"}, True),
        # a NAT gateway's own address may stand for a host on the internet
        ({}, None),
        ({"pkt_srcaddr": "10.0.0.1", "pkt_dstaddr": "203.0.113.5"}, False),
        ({"destination": "203.0.113.5"}, False),
        ({"destination": None}, None),
    ],
    ids=str,
)
def test_private_addresses_at_both_ends_are_certain_only_where_packet_addresses_are_logged(
    fields: dict[str, Any], *, expected: bool | None
) -> None:
    flow = only(reject(**({"source": "10.0.0.1", "destination": "10.0.0.2"} | fields)))
    assert flow.between_private_addresses is expected


# --- subnets ----------------------------------------------------------------------------------------------------------

A, B = {"interface_id": "eni-a", "vpc_id": "vpc-1"}, {"interface_id": "eni-b", "vpc_id": "vpc-1"}


def same_subnet(
    mine: str | None,
    theirs: str | None,
    *,
    mine_more: dict[str, Any] | None = None,
    theirs_more: dict[str, Any] | None = None,
) -> bool | None:
    """Tell what is said of 10.0.0.1 -> 10.0.0.2, whose interfaces lie in the subnets named."""
    flow = only(
        accept(
            "10.0.0.7",
            "10.0.0.2",
            flow_direction=INGRESS,
            **(B | {"subnet_id": theirs} | (theirs_more or {})),
        ),
        reject(
            "10.0.0.1",
            "10.0.0.2",
            **(A | {"flow_direction": EGRESS, "subnet_id": mine} | (mine_more or {})),
        ),
    )
    return flow.same_subnet


@pytest.mark.parametrize(
    ("mine", "theirs", "expected"),
    [
        ("subnet-1", "subnet-1", True),
        ("subnet-1", "subnet-2", False),
        ("subnet-1", None, None),
        (None, "subnet-1", None),
        (None, None, None),
    ],
)
def test_same_subnet_is_told_where_both_interfaces_log_theirs(
    mine: str | None, theirs: str | None, *, expected: bool | None
) -> None:
    assert same_subnet(mine, theirs) is expected


def test_same_subnet_is_unknown_where_the_far_end_logs_nothing() -> None:
    assert (
        only(
            reject("10.0.0.1", "10.0.0.2", flow_direction=EGRESS, subnet_id="subnet-1", **A)
        ).same_subnet
        is None
    )


def test_same_subnet_is_unknown_where_the_direction_is() -> None:
    assert same_subnet("subnet-1", "subnet-1", mine_more={"flow_direction": None}) is None


def test_same_subnet_is_unknown_across_vpcs_whose_addresses_may_overlap() -> None:
    assert same_subnet("subnet-1", "subnet-1", theirs_more={"vpc_id": "vpc-2"}) is None


def test_same_subnet_looks_at_the_packet_s_address() -> None:
    packet = {"pkt_srcaddr": "10.0.0.1", "pkt_dstaddr": "203.0.113.5"}
    assert same_subnet("subnet-1", "subnet-1", mine_more=packet) is None


def test_interface_that_claims_two_subnets_tells_nothing() -> None:
    claims = accept("10.0.0.7", "10.0.0.2", flow_direction=INGRESS, subnet_id="subnet-1", **B)
    flow = only(
        claims,
        claims._replace(subnet_id="subnet-2"),
        reject("10.0.0.1", "10.0.0.2", flow_direction=EGRESS, subnet_id="subnet-1", **A),
    )
    assert flow.same_subnet is None


def test_address_in_two_subnets_of_a_vpc_is_the_one_in_the_own_subnet() -> None:
    far = accept("10.0.0.7", "10.0.0.2", flow_direction=INGRESS, subnet_id="subnet-1", **B)
    flow = only(
        far,
        far._replace(interface_id="eni-c", subnet_id="subnet-2"),
        reject("10.0.0.1", "10.0.0.2", flow_direction=EGRESS, subnet_id="subnet-1", **A),
    )
    assert flow.same_subnet is True


def test_subnet_of_an_ipv6_address_is_never_learned() -> None:
    flow = only(
        accept("2001:db8::7", "2001:db8::2", flow_direction=INGRESS, subnet_id="subnet-1", **B),
        reject("2001:db8::1", "2001:db8::2", flow_direction=EGRESS, subnet_id="subnet-1", **A),
    )
    assert flow.same_subnet is None


# --- reasons and context ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("logged", "expected"),
    [
        ([None], {None}),
        (["-"], {"-"}),
        (["BPA"], {"BPA"}),
        (["BPA", "EC"], {"BPA", "EC"}),
        (["BPA", "-"], {"BPA", "-"}),
        # a record without the field may have had a reason of its own
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
    flow = only(*(reject(tcp_flags=one) for one in flags))
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
        # AWS's word for interfaces that a service made
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


# --- merging ----------------------------------------------------------------------------------------------------------

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
