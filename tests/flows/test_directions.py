"""The direction of a rejected flow, and whether both ends are in one subnet."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.collected_records import (
    EGRESS,
    HOME,
    INGRESS,
    SERVER,
    accept,
    only,
    reject,
    rejected,
    reply,
)

if TYPE_CHECKING:
    from flowverdict.flowlog.records import FlowDirection

# --- direction ------------------------------------------------------------------------------------


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
        # the records do not show a direction
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


# --- subnets --------------------------------------------------------------------------------------

A, B = {"interface_id": "eni-a", "vpc_id": "vpc-1"}, {"interface_id": "eni-b", "vpc_id": "vpc-1"}


def same_subnet(
    mine: str | None,
    theirs: str | None,
    *,
    mine_more: dict[str, Any] | None = None,
    theirs_more: dict[str, Any] | None = None,
) -> bool | None:
    """Return ``same_subnet`` of 10.0.0.1 -> 10.0.0.2; the subnets are those of the interfaces."""
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
