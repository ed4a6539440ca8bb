"""Rules of the security group of one interface, packets that reach it, and the answer."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address, ip_network

from flowverdict.flowlog.records import FlowDirection
from flowverdict.network.configuration import NetConfig
from flowverdict.network.model import (
    GroupReference,
    Interface,
    Peer,
    Peering,
    SecurityGroup,
    SecurityGroupRule,
)
from flowverdict.network.packet import Outcome, Packet
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
    """Return a rule of a security group; a text as peer is a CIDR."""
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
    """Return an interface with one IPv4 address."""
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
    """Return a configuration where ``ME`` has the group sg-1 with these rules."""
    group = SecurityGroup(
        group_id="sg-1",
        owner_id=OWN,
        vpc_id="vpc-1",
        ingress=tuple(rule for rule in rules if not rule.egress),
        egress=tuple(rule for rule in rules if rule.egress),
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
    """Return a packet between a remote address and ``ME``."""
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
    """Evaluate the groups of ``ME``."""
    return evaluate_groups(of, ME, to, direction)


APP = GroupReference(group_id="sg-app", account_id=OWN)
