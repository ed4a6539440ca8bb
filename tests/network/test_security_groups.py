"""Security groups: https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest

from flowverdict.flowlog.records import FlowDirection
from flowverdict.network.configuration import NetConfig
from flowverdict.network.model import (
    GroupReference,
    Interface,
    Peer,
    Peering,
    PeeringSide,
    PrefixList,
    PrefixListReference,
    SecurityGroup,
    SecurityGroupRule,
)
from flowverdict.network.packet import Criterion, Outcome, Packet
from flowverdict.network.security_groups import GroupsAnswer, evaluate_groups

IN, OUT = FlowDirection.INGRESS, FlowDirection.EGRESS
ICMP, TCP, UDP, GRE, ICMPV6 = 1, 6, 17, 47, 58
OWN, OTHER = "111111111111", "222222222222"
ALLOW, DENY, UNKNOWN = Outcome.ALLOW, Outcome.DENY, Outcome.UNKNOWN


def rule(
    peer: str | Peer | None = "10.0.0.0/8",
    protocol: str | None = "tcp",
    ports: tuple[int | None, int | None] = (443, 443),
    *,
    group: str = "sg-1",
    egress: bool = False,
) -> SecurityGroupRule:
    return SecurityGroupRule(
        group_id=group,
        egress=egress,
        protocol=protocol,
        from_port=ports[0],
        to_port=ports[1],
        peer=ip_network(peer) if isinstance(peer, str) else peer,
    )


def interface(
    name: str,
    *groups: str,
    vpc: str | None = "vpc-1",
    owner: str | None = OWN,
    address: str = "10.0.1.5",
) -> Interface:
    return Interface(
        interface_id=name,
        owner_id=owner,
        group_ids=groups,
        subnet_id="subnet-1",
        vpc_id=vpc,
        ipv4_addresses=(IPv4Address(address),),
        ipv6_addresses=(),
    )


ME = interface("eni-me", "sg-1")


def config(
    *rules: SecurityGroupRule,
    interfaces: tuple[Interface, ...] | None = (),
    peerings: tuple[Peering, ...] | None = None,
) -> NetConfig:
    group = SecurityGroup(
        group_id="sg-1",
        owner_id=OWN,
        vpc_id="vpc-1",
        ingress=tuple(one for one in rules if not one.egress),
        egress=tuple(one for one in rules if one.egress),
    )
    return NetConfig(
        security_groups=(group,),
        interfaces=None if interfaces is None else (ME, *interfaces),
        peerings=peerings,
    )


def packet(
    remote: str = "10.0.2.7",
    protocol: int | None = TCP,
    port: int | None = 443,
    icmp: tuple[int | None, int | None] = (None, None),
    direction: FlowDirection = IN,
) -> Packet:
    far, near = ip_address(remote), ip_address("10.0.1.5")
    return Packet(
        source=far if direction is IN else near,
        destination=near if direction is IN else far,
        protocol=protocol,
        source_port=50_000,
        destination_port=port,
        icmp_type=icmp[0],
        icmp_code=icmp[1],
    )


def answer(of: NetConfig, to: Packet, direction: FlowDirection = IN) -> GroupsAnswer:
    return evaluate_groups(of, ME, to, direction)


CASES: dict[str, tuple[tuple[SecurityGroupRule, ...], Packet, Outcome]] = {
    "no rule, no entry": ((), packet(), DENY),
    "a rule that matches": ((rule(),), packet(), ALLOW),
    "another protocol": ((rule(protocol="udp"),), packet(), DENY),
    "another port": ((rule(ports=(80, 80)),), packet(), DENY),
    "another peer": ((rule("192.0.2.0/24"),), packet(), DENY),
    "an outbound rule does not let in": ((rule(egress=True),), packet(), DENY),
    "first port of a range": ((rule(ports=(443, 500)),), packet(), ALLOW),
    "last port of a range": ((rule(ports=(1, 443)),), packet(), ALLOW),
    "-1 is everything, whatever its range": ((rule(protocol="-1", ports=(1, 2)),), packet(), ALLOW),
    "a number for a name": ((rule(protocol="6"),), packet(), ALLOW),
    "GRE, whatever its range": (
        (rule(protocol="47", ports=(1, 2)),),
        packet(protocol=GRE, port=0),
        ALLOW,
    ),
    "SCTP, whatever its range": (
        (rule(protocol="132", ports=(1, 2)),),
        packet(protocol=132),
        ALLOW,
    ),
    "udp": ((rule(protocol="udp", ports=(53, 53)),), packet(protocol=UDP, port=53), ALLOW),
    "tcp without a range": ((rule(ports=(None, None)),), packet(), ALLOW),
    "tcp with -1": ((rule(ports=(-1, -1)),), packet(), ALLOW),
    "port 0": ((rule(ports=(0, 0)),), packet(port=0), ALLOW),
    "port 0 is not all ports": ((rule(ports=(0, 0)),), packet(), DENY),
    "a port that is not known": ((rule(),), packet(port=None), UNKNOWN),
    "a protocol that is not known": ((rule(),), packet(protocol=None), UNKNOWN),
    "all ports of a port that is not known": ((rule(ports=(0, 65_535)),), packet(port=None), ALLOW),
    "a protocol this program does not know": ((rule(protocol="quic"),), packet(), UNKNOWN),
    "from elsewhere": ((rule("192.0.2.0/24", protocol="quic"),), packet(), DENY),
    "a peer this program does not know": ((rule(None),), packet(), UNKNOWN),
    "on another port": ((rule(None, ports=(80, 80)),), packet(), DENY),
    "doubt does not matter where another rule allows": ((rule(None), rule()), packet(), ALLOW),
    "IPv6 range, IPv4 packet": ((rule("::/0"),), packet(), DENY),
    "IPv4 range, IPv6 packet": ((rule("0.0.0.0/0"),), packet("2001:db8::1"), DENY),
    "IPv6 range, IPv6 packet": ((rule("2001:db8::/32"),), packet("2001:db8::1"), ALLOW),
    "icmp of all types": (
        (rule(protocol="icmp", ports=(-1, -1)),),
        packet(protocol=ICMP, port=0),
        ALLOW,
    ),
    "icmp of one type, from a flow log": (
        (rule(protocol="icmp", ports=(8, -1)),),
        packet(protocol=ICMP, port=0),
        UNKNOWN,
    ),
    "icmp of that type": (
        (rule(protocol="icmp", ports=(8, -1)),),
        packet(protocol=ICMP, icmp=(8, 0)),
        ALLOW,
    ),
    "icmp of type 0 is one type": (
        (rule(protocol="icmp", ports=(0, -1)),),
        packet(protocol=ICMP, icmp=(8, 0)),
        DENY,
    ),
    "icmp of another code": (
        (rule(protocol="1", ports=(3, 4)),),
        packet(protocol=ICMP, icmp=(3, 3)),
        DENY,
    ),
    "icmpv6": ((rule("::/0", "icmpv6", (-1, -1)),), packet("2001:db8::1", ICMPV6, 0), ALLOW),
    "icmp is not icmpv6": (
        (rule("::/0", "icmp", (-1, -1)),),
        packet("2001:db8::1", ICMPV6, 0),
        DENY,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_groups_allow_what_one_rule_allows_and_deny_the_rest(case: str) -> None:
    rules, of, expected = CASES[case]
    given = answer(config(*rules), of)
    assert given.outcome is expected
    assert (given.rule is not None) is (expected is ALLOW)
    assert bool(given.reasons) is (expected is UNKNOWN)
    assert given.group_ids == ("sg-1",)


def test_the_outbound_rules_hold_the_destination() -> None:
    out = config(rule("10.0.2.0/24", egress=True))
    assert answer(out, packet(direction=OUT), OUT).outcome is ALLOW
    assert answer(out, packet("10.0.3.1", direction=OUT), OUT).outcome is DENY


def test_all_groups_of_the_interface_count() -> None:
    two = NetConfig(
        security_groups=(
            SecurityGroup(group_id="sg-1", ingress=(), egress=()),
            SecurityGroup(group_id="sg-2", ingress=(rule(group="sg-2"),), egress=()),
        )
    )
    mine = replace(ME, group_ids=("sg-1", "sg-2"))
    assert evaluate_groups(two, mine, packet(), IN).rule == rule(group="sg-2")
    assert evaluate_groups(two, ME, packet(), IN).outcome is DENY


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        (NetConfig(), "the ingress rules of sg-1 are not known"),
        (NetConfig(security_groups=()), "the ingress rules of sg-1 are not known"),
        (
            NetConfig(security_groups=(SecurityGroup(group_id="sg-1", egress=()),)),
            "the ingress rules of sg-1 are not known",
        ),
    ],
)
def test_a_group_that_is_not_known_leaves_a_denial_open(known: NetConfig, reason: str) -> None:
    given = answer(known, packet())
    assert (given.outcome, given.reasons) == (UNKNOWN, (reason,))


def test_a_group_that_is_not_known_does_not_matter_where_another_allows() -> None:
    assert (
        evaluate_groups(
            config(rule()), replace(ME, group_ids=("sg-1", "sg-9")), packet(), IN
        ).outcome
        is ALLOW
    )


@pytest.mark.parametrize(
    ("interface_type", "groups", "expected"),
    [
        ("nat_gateway", (), ALLOW),
        ("natGateway", None, ALLOW),
        ("network_load_balancer", (), ALLOW),
        ("network_load_balancer", None, UNKNOWN),
        ("interface", (), UNKNOWN),
        ("interface", None, UNKNOWN),
        ("of_tomorrow", (), UNKNOWN),
        (None, (), UNKNOWN),
    ],
)
def test_an_interface_without_groups(
    interface_type: str | None, groups: tuple[str, ...] | None, expected: Outcome
) -> None:
    given = evaluate_groups(
        config(), replace(ME, interface_type=interface_type, group_ids=groups), packet(), IN
    )
    assert given.outcome is expected
    assert given.reasons


def test_a_rule_reads_as_a_sentence() -> None:
    assert str(rule()) == "sg-1: TCP 443 from 10.0.0.0/8"
    assert str(rule(ports=(1024, 65_535), egress=True)) == "sg-1: TCP 1024-65535 to 10.0.0.0/8"
    assert (
        str(rule(GroupReference(group_id="sg-2"), "-1", (None, None)))
        == "sg-1: all traffic from sg-2"
    )
    assert (
        str(rule(PrefixListReference(prefix_list_id="pl-1"), "icmp", (8, -1)))
        == "sg-1: ICMP type 8 code all from pl-1"
    )
    assert str(rule(None, "quic", (None, None))) == "sg-1: protocol 'quic' from an unknown peer"


# --- prefix lists -----------------------------------------------------------------------------------------------------

S3 = PrefixListReference(prefix_list_id="pl-s3")


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        (None, UNKNOWN),
        ((), UNKNOWN),
        ((PrefixList(prefix_list_id="pl-s3"),), UNKNOWN),
        ((PrefixList(prefix_list_id="pl-s3", cidrs=()),), DENY),
        (
            (
                PrefixList(
                    prefix_list_id="pl-s3",
                    cidrs=(ip_network("52.216.0.0/15"), ip_network("2600::/16")),
                ),
            ),
            ALLOW,
        ),
        ((PrefixList(prefix_list_id="pl-s3", cidrs=(ip_network("3.5.0.0/16"),)),), DENY),
    ],
)
def test_a_prefix_list_is_its_entries(
    lists: tuple[PrefixList, ...] | None, expected: Outcome
) -> None:
    known = replace(config(rule(S3, egress=True)), prefix_lists=lists)
    assert answer(known, packet("52.216.1.2", direction=OUT), OUT).outcome is expected


# --- references to groups ---------------------------------------------------------------------------------------------

APP = GroupReference(group_id="sg-app", account_id=OWN)
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
        ("10.0.2.100", DENY),  # nobody's
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


def test_a_reference_brings_in_no_rules_of_the_group_it_names() -> None:
    theirs = SecurityGroup(
        group_id="sg-app", ingress=(rule("0.0.0.0/0", "-1", group="sg-app"),), egress=()
    )
    known = config(rule(APP), interfaces=(HOLDER,))
    known = replace(known, security_groups=(*(known.security_groups or ()), theirs))
    assert answer(known, packet("10.0.3.3")).outcome is DENY


def test_the_account_need_not_be_in_the_data_for_a_group_of_the_same_vpc() -> None:
    nameless = tuple(replace(one, owner_id=None) for one in (ME, HOLDER))
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
        ((replace(HOLDER, ipv6_addresses=None),), "10.0.2.9", DENY),  # but its IPv4 ones are
        ((Interface(interface_id="eni-blank"),), "10.0.2.9", UNKNOWN),  # one may hold anything
        ((replace(HOLDER, group_ids=None, vpc_id="vpc-9"),), "10.0.2.7", UNKNOWN),
        ((replace(HOLDER, group_ids=None, vpc_id="vpc-9"),), "10.0.2.9", DENY),
        ((replace(HOLDER, vpc_id=None),), "10.0.2.7", UNKNOWN),  # where it is, is not known
    ],
)
def test_a_reference_whose_holders_are_not_known_decides_nothing(
    interfaces: tuple[Interface, ...] | None, remote: str, expected: Outcome
) -> None:
    assert answer(config(rule(APP), interfaces=interfaces), packet(remote)).outcome is expected


def test_doubt_about_a_reference_does_not_matter_on_another_port() -> None:
    assert answer(config(rule(APP, ports=(22, 22)), interfaces=None), packet()).outcome is DENY


# --- references across peering ----------------------------------------------------------------------------------------


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


def test_an_address_of_the_own_vpc_is_never_the_peers() -> None:
    """Whatever the peer's interfaces are, the one that has the address here does not hold its group."""
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
def test_a_group_of_a_vpc_that_is_not_peered_may_be_behind_a_transit_gateway_but_only_coming_in(
    direction: FlowDirection, peerings: tuple[Peering, ...] | None, expected: Outcome
) -> None:
    reference = GroupReference(group_id="sg-far", account_id=OTHER, vpc_id="vpc-2")
    known = config(rule(reference, egress=direction is OUT), interfaces=(FAR,), peerings=peerings)
    assert answer(known, packet("10.2.0.9", direction=direction), direction).outcome is expected


def test_overlapping_vpcs_are_told_apart() -> None:
    """A VPC that nothing connects may use the same addresses; the interface here is the one that is meant."""
    double = interface("eni-double", "sg-app", vpc="vpc-9", address="10.0.2.99")
    assert (
        answer(config(rule(APP), interfaces=(double, STRANGER)), packet("10.0.2.99")).outcome
        is DENY
    )


# --- the nearest miss -------------------------------------------------------------------------------------------------

MISSES: dict[
    str, tuple[tuple[SecurityGroupRule, ...], Packet, tuple[SecurityGroupRule, Criterion] | None]
] = {
    "no rules": ((), packet(), None),
    "the peer differs": ((rule("192.0.2.0/24"),), packet(), (rule("192.0.2.0/24"), Criterion.PEER)),
    "the port differs": ((rule(ports=(80, 80)),), packet(), (rule(ports=(80, 80)), Criterion.PORT)),
    "the protocol differs": (
        (rule(protocol="udp"),),
        packet(),
        (rule(protocol="udp"), Criterion.PROTOCOL),
    ),
    "peer and port differ": ((rule("192.0.2.0/24", ports=(80, 80)),), packet(), None),
    "a rule for ICMP is no near miss of TCP": (
        (rule(protocol="icmp", ports=(-1, -1)),),
        packet(),
        None,
    ),
    "nor is one for GRE": ((rule(protocol="47"),), packet(), None),
    "nor one for TCP of GRE": ((rule(ports=(0, 65_535)),), packet(protocol=GRE, port=0), None),
    "nor one for TCP of ICMP": ((rule(ports=(0, 65_535)),), packet(protocol=ICMP, port=0), None),
    "what may differ in a second criterion is no near miss": (
        (rule("192.0.2.0/24", "icmp", (8, -1)),),
        packet(protocol=ICMP, port=0),
        None,
    ),
    "everything, from elsewhere": (
        (rule("192.0.2.0/24", "-1", (None, None)),),
        packet(),
        (rule("192.0.2.0/24", "-1", (None, None)), Criterion.PEER),
    ),
    "the peer before the port": (
        (rule(ports=(80, 80)), rule("192.0.2.0/24"), rule(protocol="udp")),
        packet(),
        (rule("192.0.2.0/24"), Criterion.PEER),
    ),
    "the port before the protocol": (
        (rule(protocol="udp"), rule(ports=(80, 80))),
        packet(),
        (rule(ports=(80, 80)), Criterion.PORT),
    ),
    "the nearer port": (
        (rule(ports=(1, 80)), rule(ports=(450, 500)), rule(ports=(8443, 8443))),
        packet(),
        (rule(ports=(450, 500)), Criterion.PORT),
    ),
    "the nearer range": (
        (rule("192.0.2.0/24"), rule("10.0.3.0/24"), rule("10.9.0.0/16"), rule("::/0")),
        packet(),
        (rule("10.0.3.0/24"), Criterion.PEER),
    ),
    "a reference before a range of the other family": (
        (rule("::/0"), rule(APP)),
        packet("10.0.2.99"),
        (rule(APP), Criterion.PEER),
    ),
}


@pytest.mark.parametrize("case", MISSES)
def test_a_denial_names_the_nearest_miss(case: str) -> None:
    rules, of, expected = MISSES[case]
    for given in (rules, rules[::-1]):
        miss = answer(config(*given), of).nearest_miss
        assert (miss and (miss.rule, miss.differs)) == expected


def test_only_a_denial_has_a_nearest_miss() -> None:
    assert answer(config(rule(), rule(ports=(80, 80))), packet()).nearest_miss is None
    assert answer(config(rule(None), rule(ports=(80, 80))), packet()).nearest_miss is None
