"""Measure what a change newly opens, on the rules before it, and say it in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowverdict.core.formatting import counted
from flowverdict.core.protocols import Protocol, protocol_name
from flowverdict.core.untrusted import one_line
from flowverdict.flowlog.records import FlowDirection
from flowverdict.network.model import GroupReference, PrefixListReference, protocol_number
from flowverdict.network.packet import PROTOCOLS_WITH_PORTS, PROTOCOLS_WITH_TYPES, Outcome, Packet
from flowverdict.network.security_groups import evaluate_groups
from flowverdict.verdict.remediation.model import AclChange

if TYPE_CHECKING:
    from flowverdict.core.addresses import Address
    from flowverdict.network.configuration import NetConfig
    from flowverdict.network.model import Interface, Peer, SecurityGroupRule
    from flowverdict.verdict.remediation.model import Change

# Beyond so many pairs of interfaces the pairs are counted, and not evaluated one by one.
_MAX_PAIRS = 400


def opens(config: NetConfig, change: Change) -> str:
    """Say what a change lets pass that the rules in ``config`` did not let pass before."""
    return (
        _entry_opens(config, change)
        if isinstance(change, AclChange)
        else _rule_opens(config, change.rule)
    )


def radius(config: NetConfig, rule: SecurityGroupRule) -> int:
    """Return interfaces times addresses that a rule newly lets talk to each other."""
    near = newly_open(config, rule)
    match rule.peer:
        case GroupReference():
            return len(near) * max(len(config.holders(rule.peer.group_id)), 1)
        case PrefixListReference():
            listed = config.prefix_list(rule.peer.prefix_list_id)
            return len(near) * sum(
                network.num_addresses for network in (() if listed is None else listed.cidrs or ())
            )
        case None:
            return len(near)
        case _:
            return len(near) * rule.peer.num_addresses


def newly_open(config: NetConfig, rule: SecurityGroupRule) -> tuple[Interface, ...]:
    """Return the holders of a rule's group that do not let all of the rule's peers through yet."""
    holders = config.holders(rule.group_id)
    peers = _addresses(config, rule.peer)
    if not peers or len(holders) * len(peers) > _MAX_PAIRS:
        return holders
    return tuple(
        holder
        for holder in holders
        if not holder.addresses or any(_is_new(config, holder, rule, peer) for peer in peers)
    )


def _addresses(config: NetConfig, peer: Peer | None) -> list[Address]:
    """Return the addresses of a peer that are few enough to be tried one by one."""
    if isinstance(peer, GroupReference):
        return [address for each in config.holders(peer.group_id) for address in each.addresses]
    if peer is None or isinstance(peer, PrefixListReference) or peer.num_addresses > 1:
        return []
    return [peer.network_address]


def _is_new(config: NetConfig, holder: Interface, rule: SecurityGroupRule, peer: Address) -> bool:
    own = next((each for each in holder.addresses if each.version == peer.version), None)
    if own is None or own == peer:
        return False
    number = protocol_number(rule.protocol)
    with_type = number in PROTOCOLS_WITH_TYPES
    packet = Packet(
        source=own if rule.egress else peer,
        destination=peer if rule.egress else own,
        protocol=number,
        destination_port=None if with_type else rule.from_port,
        icmp_type=rule.from_port if with_type else None,
    )
    direction = FlowDirection.EGRESS if rule.egress else FlowDirection.INGRESS
    return evaluate_groups(config, holder, packet, direction).outcome is not Outcome.ALLOW


# --- words ----------------------------------------------------------------------------------------


def _entry_opens(config: NetConfig, change: AclChange) -> str:
    entry = change.entry
    acl = config.network_acl(change.network_acl_id)
    subnets = () if acl is None else acl.subnet_ids or ()
    inside = sum(each.subnet_id in subnets for each in config.interfaces or ())
    where = ", ".join(subnets) if subnets else f"the subnets of {change.network_acl_id}"
    count = f" ({counted(inside, 'interface')})" if inside else ""
    what = _traffic(entry.protocol, None if entry.ports is None else str(entry.ports))
    if entry.icmp is not None and entry.icmp.type != -1:
        what += f" type {entry.icmp.type}"
    if entry.egress:
        return f"lets {what} out of {where}{count} to {entry.network}"
    return f"lets {what} into {where}{count} from {entry.network}"


def _rule_opens(config: NetConfig, rule: SecurityGroupRule) -> str:
    near = newly_open(config, rule) or config.holders(rule.group_id)
    here = f"{counted(len(near), 'interface')} with {rule.group_id}"
    far = _peer_in_words(config, rule.peer)
    number = protocol_number(rule.protocol)
    port = rule.from_port
    what = _traffic(rule.protocol, None)
    if number in PROTOCOLS_WITH_PORTS and port is not None:
        what += f" port {port}"
    elif number in PROTOCOLS_WITH_TYPES and port not in {None, -1}:
        what += f" type {port}"
    if not rule.egress:
        far += _clients_in_words(config, rule.peer)
    client, server = (here, far) if rule.egress else (far, here)
    return f"lets {client} reach {what} of {server}"


def _clients_in_words(config: NetConfig, peer: Peer | None) -> str:
    """Return whom a group reference lets in besides its holders: clients of a load balancer.

    Where a load balancer keeps its clients' addresses, a reference to the load balancer's own group
    lets these clients in
    (https://docs.aws.amazon.com/elasticloadbalancing/latest/network/load-balancer-security-groups.html).
    """
    if not isinstance(peer, GroupReference):
        return ""
    keeping = {
        arn
        for group in config.target_groups or ()
        if group.preserve_client_ip is not False
        for arn in group.load_balancer_arns or ()
    }
    names = [
        one_line(each.name or each.arn)
        for each in config.load_balancers or ()
        if peer.group_id in (each.group_ids or ()) and each.arn in keeping
    ]
    return f" (and clients that come by load balancer {', '.join(sorted(names))})" if names else ""


def _peer_in_words(config: NetConfig, peer: Peer | None) -> str:
    match peer:
        case GroupReference():
            held = len(config.holders(peer.group_id))
            return (
                f"{counted(held, 'interface')} with {peer.group_id}"
                if held
                else f"every interface with {peer.group_id}"
            )
        case PrefixListReference():
            listed = config.prefix_list(peer.prefix_list_id)
            name = None if listed is None else listed.name
            return peer.prefix_list_id if name is None else f"{name} ({peer.prefix_list_id})"
        case _:
            return str(peer)


def _traffic(protocol: str | None, ports: str | None) -> str:
    number = protocol_number(protocol)
    name = protocol_name(number) if number is not None else "all traffic"
    if number not in {Protocol.TCP, Protocol.UDP} or ports is None:
        return name
    return f"{name} to port{'s' if '-' in ports else ''} {ports}"
