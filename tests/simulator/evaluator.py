"""Evaluate AWS's rules in a deliberately naive way: plain loops, one rule at a time.

Security groups: https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html
Network ACLs: https://docs.aws.amazon.com/vpc/latest/userguide/nacl-rules.html

The evaluation has no state; ``network`` tracks connections.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.simulator.world import (
    ANY_PROTOCOL,
    ANY_V4,
    ANY_V6,
    CLOSING_RULE,
    ICMP,
    ICMPV6,
    TCP,
    UDP,
    Kind,
)

if TYPE_CHECKING:
    from tests.simulator.world import Acl, Address, GroupRule, Interface, World


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketView:
    """A packet as the rules of one interface see it.

    ``peer`` is the remote address, ``port`` the destination port of the packet. ``forwarded_by``
    holds the groups of the interface that sent the packet on without changing its addresses
    (a network load balancer that preserves client addresses, an appliance), and is ``None`` for
    a packet that came by itself.
    """

    egress: bool
    peer: Address
    protocol: int
    port: int
    icmp: tuple[int, int] | None = None
    forwarded_by: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AclAnswer:
    """What a network ACL does, and the number of the entry that decides."""

    allow: bool
    network_acl_id: str
    rule_number: int
    egress: bool


def evaluate_acl(acl: Acl, view: PacketView) -> AclAnswer:
    """Return what the first matching entry in order of number does, or else the closing entry."""
    for entry in sorted(acl.entries, key=lambda entry: entry.number):
        if entry.egress != view.egress:
            continue
        if entry.block.version != view.peer.version:
            continue
        if view.peer not in entry.block:
            continue
        if entry.protocol not in (ANY_PROTOCOL, view.protocol):
            continue
        if entry.protocol in (TCP, UDP) and entry.ports is not None:
            low, high = entry.ports
            if not low <= view.port <= high:
                continue
        if (
            entry.protocol in (ICMP, ICMPV6)
            and entry.icmp is not None
            and not _icmp_matches(entry.icmp, view.icmp)
        ):
            continue
        return AclAnswer(
            allow=entry.allow,
            network_acl_id=acl.acl_id,
            rule_number=entry.number,
            egress=view.egress,
        )
    closing = CLOSING_RULE[view.peer.version]
    return AclAnswer(
        allow=False, network_acl_id=acl.acl_id, rule_number=closing, egress=view.egress
    )


def evaluate_groups(world: World, interface: Interface, view: PacketView) -> bool | None:
    """Return whether any rule of its groups allows the packet; ``None`` without groups."""
    if not interface.group_ids:
        return None
    for group_id in interface.group_ids:
        for rule in world.groups[group_id].rules:
            if _rule_allows(world, interface, rule, view):
                return True
    return False


def is_open_both_ways(world: World, interface: Interface, view: PacketView) -> bool:
    """Return whether AWS leaves the flow of this packet untracked.

    That is so where a rule allows it for all addresses, and a rule of the other direction allows
    all ports and all addresses.
    """
    if interface.kind is not Kind.INSTANCE or view.protocol not in (TCP, UDP):
        return False
    rules = [rule for group_id in interface.group_ids for rule in world.groups[group_id].rules]
    to_all = [
        rule
        for rule in rules
        if rule.block in (ANY_V4, ANY_V6) and rule.block.version == view.peer.version
    ]
    this_way = any(_rule_allows(world, interface, rule, view) for rule in to_all)
    other_way = any(
        rule.egress != view.egress
        and rule.protocol in (ANY_PROTOCOL, view.protocol)
        and (rule.from_port, rule.to_port) in ((None, None), (0, 65535))
        for rule in to_all
    )
    return this_way and other_way


def _rule_allows(world: World, interface: Interface, rule: GroupRule, view: PacketView) -> bool:
    if rule.egress != view.egress:
        return False
    if rule.protocol not in (ANY_PROTOCOL, view.protocol):
        return False
    return _rule_matches_ports(rule, view) and _rule_matches_peer(world, interface, rule, view)


def _rule_matches_ports(rule: GroupRule, view: PacketView) -> bool:
    if rule.from_port is None or rule.to_port is None:
        return True
    if rule.protocol in (TCP, UDP):
        return rule.from_port <= view.port <= rule.to_port
    if rule.protocol in (ICMP, ICMPV6):
        return _icmp_matches((rule.from_port, rule.to_port), view.icmp)
    return True  # any other protocol: all ports, even if the rule has a range


def _rule_matches_peer(
    world: World, interface: Interface, rule: GroupRule, view: PacketView
) -> bool:
    if rule.block is not None:
        return rule.block.version == view.peer.version and view.peer in rule.block
    if rule.prefix_list_id is not None:
        _, blocks = world.prefix_lists[rule.prefix_list_id]
        return any(block.version == view.peer.version and view.peer in block for block in blocks)
    if view.forwarded_by is not None:
        # A reference never matches the sender's group, only that of the forwarding load balancer:
        # https://docs.aws.amazon.com/elasticloadbalancing/latest/network/load-balancer-security-groups.html
        return rule.group_id in view.forwarded_by
    for other in world.interfaces.values():
        if (
            rule.group_id in other.group_ids
            and other.holds(view.peer)
            and _within_reach(world, interface, other)
        ):
            return True
    return False


def _within_reach(world: World, one: Interface, other: Interface) -> bool:
    """Return whether two interfaces are in one VPC, or in two with an active peering connection."""
    if one.vpc_id == other.vpc_id:
        return True
    peering = world.peering_between(one.vpc_id, other.vpc_id)
    return peering is not None and peering.status == "active"


def _icmp_matches(required: tuple[int, int], actual: tuple[int, int] | None) -> bool:
    if actual is None:
        raise ValueError("an ICMP packet needs a type and code to be evaluated")
    return all(must in (-1, has) for must, has in zip(required, actual, strict=True))
