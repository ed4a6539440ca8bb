"""Network ACLs: https://docs.aws.amazon.com/vpc/latest/userguide/vpc-network-acls.html."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, ip_address, ip_network

import pytest

from flowverdict.flowlog.records import FlowDirection
from flowverdict.network.acl import (
    AclAnswer,
    crosses_subnet_boundary,
    evaluate_acl,
    evaluate_subnet_acl,
)
from flowverdict.network.configuration import NetConfig
from flowverdict.network.model import (
    IcmpTypeCode,
    Interface,
    NetworkAcl,
    NetworkAclEntry,
    PortRange,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
    Vpc,
    closing_entry,
)
from flowverdict.network.packet import Outcome, Packet
from tests.helpers.connection import evaluate_connection

IN, OUT = FlowDirection.INGRESS, FlowDirection.EGRESS
ICMP, TCP, UDP, GRE, ICMPV6 = 1, 6, 17, 47, 58


def entry(  # noqa: PLR0913, PLR0917 - the columns of a network ACL, in the console's order
    number: int,
    action: str | None,
    protocol: str | None = "6",
    cidr: str | None = "0.0.0.0/0",
    ports: tuple[int, int] | None = None,
    icmp: tuple[int, int] | None = None,
    *,
    egress: bool = False,
) -> NetworkAclEntry:
    return NetworkAclEntry(
        rule_number=number,
        egress=egress,
        action=action,
        protocol=protocol,
        network=None if cidr is None else ip_network(cidr),
        ports=None if ports is None else PortRange(first=ports[0], last=ports[1]),
        icmp=None if icmp is None else IcmpTypeCode(type=icmp[0], code=icmp[1]),
    )


def acl(*entries: NetworkAclEntry) -> NetworkAcl:
    return NetworkAcl(
        network_acl_id="acl-1", vpc_id="vpc-1", entries=entries, subnet_ids=("subnet-1",)
    )


def packet(
    source: str = "10.0.1.5",
    destination: str = "10.0.2.7",
    protocol: int | None = TCP,
    ports: tuple[int | None, int | None] = (50_000, 443),
    icmp: tuple[int | None, int | None] = (None, None),
) -> Packet:
    return Packet(
        source=ip_address(source),
        destination=ip_address(destination),
        protocol=protocol,
        source_port=ports[0],
        destination_port=ports[1],
        icmp_type=icmp[0],
        icmp_code=icmp[1],
    )


def summary(answer: AclAnswer) -> tuple[Outcome, int | None, list[int]]:
    return (
        answer.outcome,
        None if answer.entry is None else answer.entry.rule_number,
        [entry.rule_number for entry in answer.possible],
    )


ping = packet(protocol=ICMP, ports=(0, 0))
ping6 = packet("2001:db8::1", "2001:db8:1::1", ICMPV6, (0, 0))
CASES: dict[str, tuple[tuple[NetworkAclEntry, ...], Packet, tuple[Outcome, int, list[int]]]] = {
    "an empty list denies by the closing rule": ((), packet(), (Outcome.DENY, 32_767, [])),
    "an empty list denies IPv6 by the closing rule of IPv6": (
        (),
        ping6,
        (Outcome.DENY, 32_768, []),
    ),
    "the first match decides, allow": (
        (entry(100, "allow"), entry(110, "deny")),
        packet(),
        (Outcome.ALLOW, 100, []),
    ),
    "the first match decides, deny": (
        (entry(100, "deny"), entry(110, "allow")),
        packet(),
        (Outcome.DENY, 100, []),
    ),
    "by number, not by place in the list": (
        (entry(110, "allow"), entry(100, "deny")),
        packet(),
        (Outcome.DENY, 100, []),
    ),
    "another protocol does not match": (
        (entry(100, "allow", "17"),),
        packet(),
        (Outcome.DENY, 32_767, []),
    ),
    "-1 is all protocols, and its ports do not count": (
        (entry(100, "allow", "-1", ports=(1, 2)),),
        packet(protocol=GRE, ports=(0, 0)),
        (Outcome.ALLOW, 100, []),
    ),
    "GRE has no ports to compare": (
        (entry(100, "allow", "47", ports=(1, 2)),),
        packet(protocol=GRE, ports=(0, 0)),
        (Outcome.ALLOW, 100, []),
    ),
    "the lowest port of a range": (
        (entry(100, "allow", ports=(443, 450)),),
        packet(),
        (Outcome.ALLOW, 100, []),
    ),
    "the highest port of a range": (
        (entry(100, "allow", ports=(400, 443)),),
        packet(),
        (Outcome.ALLOW, 100, []),
    ),
    "a port beyond the range": (
        (entry(100, "allow", ports=(444, 450)),),
        packet(),
        (Outcome.DENY, 32_767, []),
    ),
    "the source port does not count": (
        (entry(100, "allow", ports=(50_000, 50_000)),),
        packet(),
        (Outcome.DENY, 32_767, []),
    ),
    "port 0 is a port": (
        (entry(100, "allow", ports=(0, 0)),),
        packet(ports=(1, 0)),
        (Outcome.ALLOW, 100, []),
    ),
    "a port that is not known": (
        (entry(100, "allow", ports=(443, 443)),),
        packet(ports=(None, None)),
        (Outcome.UNKNOWN, 32_767, [100]),
    ),
    "a port that is not known is in the full range": (
        (entry(100, "allow", ports=(0, 65_535)),),
        packet(ports=(None, None)),
        (Outcome.ALLOW, 100, []),
    ),
    "a range the source is not in": (
        (entry(100, "allow", cidr="10.0.2.0/24"),),
        packet(),
        (Outcome.DENY, 32_767, []),
    ),
    "entries of the other direction do not count": (
        (entry(100, "allow", egress=True), entry(200, "deny")),
        packet(),
        (Outcome.DENY, 200, []),
    ),
    "IPv6 entries do not match IPv4": (
        (entry(100, "allow", "-1", "::/0"),),
        packet(),
        (Outcome.DENY, 32_767, []),
    ),
    "IPv4 entries do not match IPv6": (
        (entry(100, "allow", "-1"),),
        ping6,
        (Outcome.DENY, 32_768, []),
    ),
    "ICMP of all types": (
        (entry(100, "allow", "1", icmp=(-1, -1)),),
        ping,
        (Outcome.ALLOW, 100, []),
    ),
    "ICMP without types": ((entry(100, "allow", "1"),), ping, (Outcome.ALLOW, 100, [])),
    "ICMP of one type, from a flow log": (
        (entry(100, "allow", "1", icmp=(8, -1)),),
        ping,
        (Outcome.UNKNOWN, 32_767, [100]),
    ),
    "ICMP of that type": (
        (entry(100, "allow", "1", icmp=(8, -1)),),
        packet(protocol=ICMP, icmp=(8, None)),
        (Outcome.ALLOW, 100, []),
    ),
    "ICMP of another type": (
        (entry(100, "allow", "1", icmp=(0, -1)),),
        packet(protocol=ICMP, icmp=(8, 0)),
        (Outcome.DENY, 32_767, []),
    ),
    "ICMP of another code": (
        (entry(100, "allow", "1", icmp=(3, 4)),),
        packet(protocol=ICMP, icmp=(3, 1)),
        (Outcome.DENY, 32_767, []),
    ),
    "ICMP of a code that is not known": (
        (entry(100, "allow", "1", icmp=(3, 4)),),
        packet(protocol=ICMP, icmp=(3, None)),
        (Outcome.UNKNOWN, 32_767, [100]),
    ),
    "ICMPv6 of one type": (
        (entry(100, "deny", "58", "::/0", icmp=(128, 0)),),
        ping6,
        (Outcome.DENY, 32_768, [100]),
    ),
    "ICMP is not ICMPv6": ((entry(100, "allow", "1", "::/0"),), ping6, (Outcome.DENY, 32_768, [])),
    "possible entries that agree with the deciding one": (
        (
            entry(100, "allow", "1", icmp=(8, -1)),
            entry(200, "allow", "-1"),
            entry(300, "deny", "1", icmp=(8, -1)),
        ),
        ping,
        (Outcome.ALLOW, 200, [100]),
    ),
    "possible entries that disagree with the deciding one": (
        (
            entry(90, "deny", "1", icmp=(13, -1)),
            entry(100, "allow", "1", icmp=(8, -1)),
            entry(200, "allow", "-1"),
        ),
        ping,
        (Outcome.UNKNOWN, 200, [90, 100]),
    ),
    "an unknown action decides nothing": (
        (entry(100, "log"),),
        packet(),
        (Outcome.UNKNOWN, 100, []),
    ),
    "a missing action decides nothing": ((entry(100, None),), packet(), (Outcome.UNKNOWN, 100, [])),
    "an unknown action after the first match does not matter": (
        (entry(100, "deny"), entry(110, "log")),
        packet(),
        (Outcome.DENY, 100, []),
    ),
    "an unknown protocol may match": (
        (entry(100, "allow", "quic"),),
        packet(),
        (Outcome.UNKNOWN, 32_767, [100]),
    ),
    "an unknown protocol in another range does not match": (
        (entry(100, "allow", "quic", "192.0.2.0/24"),),
        packet(),
        (Outcome.DENY, 32_767, []),
    ),
    "a missing protocol may match": (
        (entry(100, "allow", None),),
        packet(),
        (Outcome.UNKNOWN, 32_767, [100]),
    ),
    "a missing range may match": (
        (entry(100, "allow", cidr=None),),
        packet(),
        (Outcome.UNKNOWN, 32_767, [100]),
    ),
    "a packet's unknown protocol may match": (
        (entry(100, "allow"),),
        packet(protocol=None),
        (Outcome.UNKNOWN, 32_767, [100]),
    ),
    "protocol 0 is a protocol": (
        (entry(100, "allow", "0"),),
        packet(protocol=0, ports=(0, 0)),
        (Outcome.ALLOW, 100, []),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_an_acl_decides_by_its_first_matching_entry(case: str) -> None:
    entries, of, expected = CASES[case]
    answer = evaluate_acl(acl(*entries), of, IN)
    assert summary(answer) == expected
    assert bool(answer.reasons) is (answer.outcome is Outcome.UNKNOWN)


@pytest.mark.parametrize(("direction", "remote"), [(IN, "10.0.1.5"), (OUT, "10.0.2.7")])
def test_an_entry_names_the_source_coming_in_and_the_destination_going_out(
    direction: FlowDirection, remote: str
) -> None:
    both = acl(
        entry(100, "allow", cidr=f"{remote}/32"),
        entry(100, "allow", cidr=f"{remote}/32", egress=True),
    )
    assert summary(evaluate_acl(both, packet(), direction)) == (Outcome.ALLOW, 100, [])
    assert summary(evaluate_acl(both, packet().reply(), direction)) == (Outcome.DENY, 32_767, [])


def test_the_closing_rule_is_named_whether_the_data_lists_it_or_not() -> None:
    closing = closing_entry(4, egress=False)
    assert closing.is_closing
    assert evaluate_acl(acl(), packet(), IN).entry == closing
    assert evaluate_acl(acl(closing), packet(), IN).entry == closing


def test_entries_that_are_not_known_decide_nothing() -> None:
    answer = evaluate_acl(NetworkAcl(network_acl_id="acl-1"), packet(), IN)
    assert summary(answer) == (Outcome.UNKNOWN, None, [])
    assert answer.reasons == ("the entries of acl-1 are not known",)


def test_an_entry_reads_as_a_sentence() -> None:
    assert (
        str(entry(100, "deny", ports=(22, 22), cidr="10.0.0.0/8"))
        == "rule 100: deny TCP 22 from 10.0.0.0/8"
    )
    assert (
        str(entry(110, "allow", "1", icmp=(8, -1), egress=True))
        == "rule 110: allow ICMP type 8 code all to 0.0.0.0/0"
    )
    assert str(closing_entry(6, egress=False)) == "rule * (32768): deny all traffic from ::/0"
    assert (
        str(entry(7, None, "quic", None))
        == "rule 7: unknown action protocol 'quic' from an unknown range"
    )


# --- the subnet's boundary --------------------------------------------------------------------

HERE = Interface(interface_id="eni-1", subnet_id="subnet-1", vpc_id="vpc-1", group_ids=("sg-1",))
NEIGHBOUR = Interface(
    interface_id="eni-2",
    subnet_id="subnet-1",
    vpc_id="vpc-1",
    ipv4_addresses=(),
    prefixes=(ip_network("10.0.1.32/28"),),
)
FAR = Interface(
    interface_id="eni-3",
    subnet_id="subnet-2",
    vpc_id="vpc-1",
    ipv4_addresses=(IPv4Address("10.0.2.7"),),
)
SUBNET = Subnet(subnet_id="subnet-1", vpc_id="vpc-1", cidrs=(ip_network("10.0.1.0/24"),))
VPC = Vpc(vpc_id="vpc-1", cidrs=(ip_network("10.0.0.0/16"),))


@pytest.mark.parametrize(
    ("config", "remote", "expected"),
    [
        (NetConfig(subnets=(SUBNET,)), "10.0.1.9", False),
        (NetConfig(subnets=(SUBNET,)), "10.0.2.9", True),
        (NetConfig(subnets=(SUBNET,)), "192.0.2.1", True),
        (NetConfig(subnets=(SUBNET,)), "2001:db8::1", None),
        (NetConfig(), "10.0.1.9", None),
        (NetConfig(subnets=()), "10.0.1.9", None),
        (NetConfig(interfaces=(NEIGHBOUR, FAR)), "10.0.1.33", False),
        (NetConfig(interfaces=(NEIGHBOUR, FAR)), "10.0.2.7", True),
        (NetConfig(interfaces=(NEIGHBOUR, FAR)), "10.0.2.8", None),
        (NetConfig(vpcs=(VPC,)), "10.0.2.8", None),
        (NetConfig(vpcs=(VPC,)), "10.1.2.8", True),
    ],
)
def test_traffic_crosses_the_boundary_of_a_subnet_or_that_is_not_known(
    config: NetConfig, remote: str, *, expected: bool | None
) -> None:
    assert crosses_subnet_boundary(config, HERE, ip_address(remote)) is expected


def test_an_interface_without_a_known_subnet_has_no_known_boundary() -> None:
    unplaced_interface = replace(HERE, subnet_id=None)
    config = NetConfig(subnets=(SUBNET,))
    assert crosses_subnet_boundary(config, unplaced_interface, ip_address("10.0.1.9")) is None
    answer = evaluate_subnet_acl(config, unplaced_interface, packet(), IN)
    assert answer is not None
    assert answer.reasons == ("the subnet of eni-1 is not known",)


DENY_ALL = NetConfig(subnets=(SUBNET,), network_acls=(acl(),))


def test_no_acl_applies_inside_a_subnet() -> None:
    inside = packet("10.0.1.9", "10.0.1.5")
    assert evaluate_subnet_acl(DENY_ALL, HERE, inside, IN) is None
    assert evaluate_subnet_acl(DENY_ALL, HERE, inside.reply(), OUT) is None


def test_a_denial_is_not_certain_if_the_packet_may_have_stayed_inside_the_subnet() -> None:
    no_subnets = replace(DENY_ALL, subnets=None)
    answer = evaluate_subnet_acl(no_subnets, HERE, packet(), IN)
    assert answer is not None
    assert summary(answer) == (Outcome.UNKNOWN, 32_767, [])
    allowing = replace(no_subnets, network_acls=(acl(entry(100, "allow")),))
    answer = evaluate_subnet_acl(allowing, HERE, packet(), IN)
    assert answer is not None
    assert summary(answer) == (Outcome.ALLOW, 100, [])


def test_a_subnet_whose_acl_is_not_known_decides_nothing() -> None:
    answer = evaluate_subnet_acl(NetConfig(subnets=(SUBNET,)), HERE, packet("10.0.9.9"), IN)
    assert answer is not None
    assert summary(answer) == (Outcome.UNKNOWN, None, [])
    assert answer.reasons == ("the network ACL of subnet-1 is not known",)


# --- a connection: the reply needs the ephemeral ports ----------------------------------------


def world(*entries: NetworkAclEntry) -> NetConfig:
    rule = SecurityGroupRule(
        group_id="sg-1",
        egress=False,
        protocol="tcp",
        from_port=443,
        to_port=443,
        peer=ip_network("10.0.0.0/8"),
    )
    group = SecurityGroup(group_id="sg-1", ingress=(rule,), egress=())
    return NetConfig(subnets=(SUBNET,), network_acls=(acl(*entries),), security_groups=(group,))


REQUEST = packet("10.0.2.7", "10.0.1.5", ports=(40_000, 443))
LET_IN = entry(100, "allow", ports=(443, 443))


def test_the_reply_goes_to_the_port_the_request_came_from() -> None:
    assert REQUEST.reply() == packet("10.0.1.5", "10.0.2.7", ports=(443, 40_000))
    assert REQUEST.reply().reply() == REQUEST


@pytest.mark.parametrize(
    ("ports", "outcome"),
    [
        ((443, 443), Outcome.DENY),
        ((1024, 65_535), Outcome.ALLOW),
        ((32_768, 61_000), Outcome.ALLOW),
        ((49_152, 65_535), Outcome.DENY),
        ((40_000, 40_000), Outcome.ALLOW),
    ],
)
def test_a_connection_passes_only_if_the_acl_allows_the_reply_to_the_ephemeral_port(
    ports: tuple[int, int], outcome: Outcome
) -> None:
    answer = evaluate_connection(
        world(LET_IN, entry(100, "allow", ports=ports, egress=True)), HERE, REQUEST, IN
    )
    assert answer.request.outcome is Outcome.ALLOW
    assert answer.reply.outcome is outcome
    assert answer.outcome is outcome


def test_the_groups_are_evaluated_for_the_request_and_never_for_the_reply() -> None:
    open_acl = (entry(100, "allow", "-1"), entry(100, "allow", "-1", egress=True))
    answer = evaluate_connection(world(*open_acl), HERE, REQUEST, IN)
    assert answer.outcome is Outcome.ALLOW
    assert answer.reply.groups is None
    outbound = evaluate_connection(world(*open_acl), HERE, REQUEST.reply(), OUT)
    assert outbound.request.groups is not None
    assert outbound.outcome is Outcome.DENY


def test_a_certain_denial_of_one_layer_decides_whatever_the_other_layer_does() -> None:
    unknown_acl = replace(world(), network_acls=None)
    denied = evaluate_connection(unknown_acl, HERE, packet("10.0.2.7", ports=(40_000, 22)), IN)
    assert denied.request.outcome is Outcome.DENY
    assert evaluate_connection(unknown_acl, HERE, REQUEST, IN).outcome is Outcome.UNKNOWN
