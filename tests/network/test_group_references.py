"""References to security groups, in a VPC and over peering connections.

https://docs.aws.amazon.com/vpc/latest/peering/vpc-peering-security-groups.html
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import TYPE_CHECKING

import pytest

from flowverdict.network.model import (
    GroupReference,
    Interface,
    Peering,
    PeeringSide,
    SecurityGroup,
)
from tests.helpers.group_rules import (
    ALLOW,
    APP,
    DENY,
    IN,
    ME,
    OTHER,
    OUT,
    OWN,
    UNKNOWN,
    answer,
    config,
    interface,
    packet,
    rule,
)

if TYPE_CHECKING:
    from flowverdict.flowlog.records import FlowDirection
    from flowverdict.network.packet import Outcome

HOLDER = replace(
    interface("eni-app", "sg-app", address="10.0.2.7"),
    ipv4_addresses=(IPv4Address("10.0.2.7"), IPv4Address("10.0.2.8")),
    ipv6_addresses=(IPv6Address("2001:db8::7"),),
    prefixes=(ip_network("10.0.2.64/28"), ip_network("2001:db8:0:0:1::/80")),
)
STRANGER = interface("eni-other", "sg-other", address="10.0.2.99")


@pytest.mark.parametrize(
    ("remote", "expected"),
    [
        ("10.0.2.7", ALLOW),  # primary
        ("10.0.2.8", ALLOW),  # secondary
        ("10.0.2.70", ALLOW),  # delegated
        ("10.0.2.80", DENY),
        ("2001:db8::7", ALLOW),
        ("2001:db8:0:0:1::9", ALLOW),
        ("2001:db8::8", DENY),
        ("203.0.113.7", DENY),  # a public address
        ("10.0.2.99", DENY),  # another group's
        ("10.0.2.100", DENY),  # no interface has it
    ],
)
def test_a_reference_means_the_private_addresses_of_the_interfaces_that_hold_the_group(
    remote: str, expected: Outcome
) -> None:
    assert (
        answer(config(rule(APP), interfaces=(HOLDER, STRANGER)), packet(remote)).outcome is expected
    )


def test_a_group_may_refer_to_itself() -> None:
    itself = GroupReference(group_id="sg-1", account_id=OWN)
    twin = interface("eni-twin", "sg-1", address="10.0.1.6")
    assert answer(config(rule(itself), interfaces=(twin,)), packet("10.0.1.6")).outcome is ALLOW
    assert answer(config(rule(itself), interfaces=(twin,)), packet("10.0.1.7")).outcome is DENY


def test_a_reference_does_not_add_the_rules_of_the_group_it_names() -> None:
    theirs = SecurityGroup(
        group_id="sg-app", ingress=(rule("0.0.0.0/0", "-1", group="sg-app"),), egress=()
    )
    known = config(rule(APP), interfaces=(HOLDER,))
    known = replace(known, security_groups=(*(known.security_groups or ()), theirs))
    assert answer(known, packet("10.0.3.3")).outcome is DENY


def test_the_account_need_not_be_in_the_data_for_a_group_of_the_same_vpc() -> None:
    nameless = tuple(replace(member, owner_id=None) for member in (ME, HOLDER))
    known = replace(config(rule(APP)), interfaces=nameless)
    assert answer(known, packet("10.0.2.7")).outcome is ALLOW
    assert answer(known, packet("10.0.2.9")).outcome is DENY


@pytest.mark.parametrize(
    ("interfaces", "remote", "expected"),
    [
        (None, "10.0.2.7", UNKNOWN),  # no interface is known
        ((replace(HOLDER, group_ids=None),), "10.0.2.7", UNKNOWN),  # its groups are not known
        (
            (replace(HOLDER, ipv6_addresses=None),),
            "2001:db8::8",
            UNKNOWN,
        ),  # its IPv6 addresses are not known
        ((replace(HOLDER, ipv6_addresses=None),), "10.0.2.9", DENY),  # but its IPv4 addresses are
        ((Interface(interface_id="eni-blank"),), "10.0.2.9", UNKNOWN),  # may hold any group
        ((replace(HOLDER, group_ids=None, vpc_id="vpc-9"),), "10.0.2.7", UNKNOWN),
        ((replace(HOLDER, group_ids=None, vpc_id="vpc-9"),), "10.0.2.9", DENY),
        ((replace(HOLDER, vpc_id=None),), "10.0.2.7", UNKNOWN),  # its VPC is not known
    ],
)
def test_a_reference_whose_holders_are_not_known_decides_nothing(
    interfaces: tuple[Interface, ...] | None, remote: str, expected: Outcome
) -> None:
    assert answer(config(rule(APP), interfaces=interfaces), packet(remote)).outcome is expected


def test_doubt_about_a_reference_does_not_matter_on_another_port() -> None:
    assert answer(config(rule(APP, ports=(22, 22)), interfaces=None), packet()).outcome is DENY


# --- references across peering ----------------------------------------------------------------


def peering(
    status: str | None = "active",
    regions: tuple[str | None, str | None] = ("eu-west-1", "eu-west-1"),
    *,
    turned: bool = False,
) -> Peering:
    sides = [
        PeeringSide(
            vpc_id="vpc-1", owner_id=OWN, region=regions[0], cidrs=(ip_network("10.0.0.0/16"),)
        ),
        PeeringSide(
            vpc_id="vpc-2", owner_id=OTHER, region=regions[1], cidrs=(ip_network("10.2.0.0/16"),)
        ),
    ]
    requester, accepter = reversed(sides) if turned else sides
    return Peering(peering_id="pcx-1", requester=requester, accepter=accepter, status=status)


PEER = GroupReference(
    group_id="sg-far", account_id=OTHER, vpc_id="vpc-2", peering_id="pcx-1", peering_status="active"
)
FAR = interface("eni-far", "sg-far", vpc="vpc-2", owner=OTHER, address="10.2.0.9")


@pytest.mark.parametrize(
    ("reference", "peerings", "expected"),
    [
        (PEER, (peering(),), ALLOW),
        (PEER, (peering(turned=True),), ALLOW),
        (PEER, None, ALLOW),  # the rule itself says active
        (PEER, (), ALLOW),
        (replace(PEER, peering_status=None), (peering(),), ALLOW),
        (replace(PEER, peering_status=None), None, UNKNOWN),
        (replace(PEER, peering_status=None), (), UNKNOWN),
        (replace(PEER, peering_status="deleted"), (peering(),), DENY),
        (PEER, (peering("deleted"),), DENY),
        (replace(PEER, peering_status=None), (peering("pending-acceptance"),), DENY),
        (replace(PEER, peering_status=None), (peering("expired"),), DENY),
        (replace(PEER, peering_status="of-tomorrow"), None, UNKNOWN),
        (replace(PEER, peering_status=None), (peering("of-tomorrow"),), UNKNOWN),
        (PEER, (peering(regions=("eu-west-1", "us-east-1")),), DENY),
        (PEER, (peering(regions=("eu-west-1", None)),), ALLOW),
        (replace(PEER, vpc_id=None), (peering(),), ALLOW),
    ],
)
def test_a_reference_reaches_a_peer_vpc_over_an_active_connection_of_the_same_region(
    reference: GroupReference, peerings: tuple[Peering, ...] | None, expected: Outcome
) -> None:
    known = config(rule(reference), interfaces=(FAR,), peerings=peerings)
    assert answer(known, packet("10.2.0.9")).outcome is expected


@pytest.mark.parametrize(
    ("remote", "interfaces", "expected"),
    [
        ("10.2.0.9", (), UNKNOWN),  # none of the peer's interfaces is known
        ("10.0.7.7", (), DENY),  # no address of the peer's VPC
        ("203.0.113.9", (), DENY),  # public
        ("10.2.0.9", (FAR,), ALLOW),
        ("10.2.0.10", (FAR,), DENY),  # the peer's interfaces are known, and none has it
    ],
)
def test_a_group_of_another_account_is_known_only_as_far_as_its_interfaces_are(
    remote: str, interfaces: tuple[Interface, ...], expected: Outcome
) -> None:
    assert (
        answer(
            config(rule(PEER), interfaces=interfaces, peerings=(peering(),)), packet(remote)
        ).outcome
        is expected
    )


@pytest.mark.parametrize(
    "reference",
    [
        GroupReference(group_id="sg-shared", account_id=OTHER),  # a participant of a shared VPC
        GroupReference(group_id="sg-far", account_id=OWN, vpc_id="vpc-2"),
        GroupReference(
            group_id="sg-far", account_id=OWN, peering_id="pcx-9", peering_status="active"
        ),
    ],
)
def test_interfaces_of_an_account_or_vpc_that_is_not_in_the_data_may_hold_the_group(
    reference: GroupReference,
) -> None:
    assert (
        answer(config(rule(reference), interfaces=(HOLDER,)), packet("10.0.2.9")).outcome is UNKNOWN
    )


@pytest.mark.parametrize("remote", ["10.2.0.9", "203.0.113.9"])
def test_without_the_peers_ranges_nothing_is_certain(remote: str) -> None:
    assert answer(config(rule(PEER)), packet(remote)).outcome is UNKNOWN


def test_an_address_of_this_vpc_never_belongs_to_the_peer() -> None:
    """The interface that has the address in this VPC does not hold the peer's group."""
    assert answer(config(rule(PEER), interfaces=(STRANGER,)), packet("10.0.2.99")).outcome is DENY


@pytest.mark.parametrize(
    ("direction", "peerings", "expected"),
    [
        (IN, (), UNKNOWN),
        (IN, None, UNKNOWN),
        (OUT, None, UNKNOWN),
        (OUT, (), DENY),
        (OUT, (peering("deleted"),), DENY),
    ],
)
def test_a_group_of_a_vpc_that_is_not_peered_may_be_behind_a_transit_gateway_only_inbound(
    direction: FlowDirection, peerings: tuple[Peering, ...] | None, expected: Outcome
) -> None:
    reference = GroupReference(group_id="sg-far", account_id=OTHER, vpc_id="vpc-2")
    known = config(rule(reference, egress=direction is OUT), interfaces=(FAR,), peerings=peerings)
    assert answer(known, packet("10.2.0.9", direction=direction), direction).outcome is expected


def test_overlapping_vpcs_are_kept_apart() -> None:
    """An unconnected VPC may use the same addresses; the interface of this VPC is meant."""
    double = interface("eni-double", "sg-app", vpc="vpc-9", address="10.0.2.99")
    assert (
        answer(config(rule(APP), interfaces=(double, STRANGER)), packet("10.0.2.99")).outcome
        is DENY
    )
