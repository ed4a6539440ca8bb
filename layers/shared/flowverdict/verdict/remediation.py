"""Find the narrowest change that lets a rejected packet and its reply pass.

A change is tried on the rules as read before it is offered. For a network ACL: a new entry with a
free number before the entry that decides. Where the closing ``*`` decides, the entry goes behind
all others, so that it overrules none of them; where a numbered entry decides, the new entry lets
one address pass. A reply needs ephemeral ports
(https://docs.aws.amazon.com/vpc/latest/userguide/custom-network-acl.html#nacl-ephemeral-ports). For
security groups: one rule of one group, with a group reference where the peer is an interface of the
same VPC.

Request and reply are followed from end to end, as far as both ends are known: where a second rule
would block them, both changes are offered. A change that cannot be shown to work is not offered.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, ip_network
from typing import TYPE_CHECKING

from flowverdict.core.availability import NotAvailable
from flowverdict.core.formatting import counted
from flowverdict.core.protocols import Protocol, protocol_name
from flowverdict.core.untrusted import is_region
from flowverdict.flowlog.records import FlowDirection
from flowverdict.network.acl import AclAnswer, evaluate_subnet_acl
from flowverdict.network.model import (
    GroupReference,
    IcmpTypeCode,
    NetworkAclEntry,
    PortRange,
    PrefixListReference,
    SecurityGroupRule,
)
from flowverdict.network.packet import Outcome, Packet
from flowverdict.network.security_groups import GroupsAnswer, evaluate_groups

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowverdict.core.addresses import Address, Network
    from flowverdict.network.configuration import NetConfig
    from flowverdict.network.model import Interface, Peer


LAST_RULE_NUMBER = 32_766
_STEP = 10  # between the numbers that people give to entries
_MAX_CHANGES = 6  # request and reply at both ends pass at most six layers
_LINUX_EPHEMERAL = PortRange(first=32_768, last=65_535)  # Linux from 32768, Windows from 49152
_ANY_EPHEMERAL = PortRange(first=1_024, last=65_535)  # load balancers, NAT, Lambda, old systems
_WITH_PORTS = {Protocol.TCP, Protocol.UDP}
_ICMP = {Protocol.ICMP, Protocol.ICMPV6}


@dataclass(frozen=True, slots=True, kw_only=True)
class AclChange:
    """A new allowing entry of a network ACL."""

    network_acl_id: str
    entry: NetworkAclEntry
    subnet_ids: tuple[str, ...]

    def apply(self, config: NetConfig) -> NetConfig:
        """Return the configuration with the entry in it."""
        acls = tuple(
            replace(acl, entries=(*(acl.entries or ()), self.entry))
            if acl.network_acl_id == self.network_acl_id
            else acl
            for acl in config.network_acls or ()
        )
        return replace(config, network_acls=acls)

    def command(self, region: str) -> str:
        """Return the AWS CLI command that makes the change."""
        entry = self.entry
        way = "egress" if entry.egress else "ingress"
        options = f"--network-acl-id {shlex.quote(self.network_acl_id)} --{way}"
        options += (
            f" --rule-number {entry.rule_number} --rule-action allow --protocol {entry.protocol}"
        )
        if entry.ports is not None:
            options += f" --port-range From={entry.ports.first},To={entry.ports.last}"
        if entry.icmp is not None:
            options += f" --icmp-type-code Type={entry.icmp.type},Code={entry.icmp.code}"
        family = "--cidr-block" if isinstance(entry.network, IPv4Network) else "--ipv6-cidr-block"
        return f"aws ec2 create-network-acl-entry{region} {options} {family} {entry.network}"

    @property
    def opens(self) -> str:
        """What else the change lets pass."""
        where = ", ".join(self.subnet_ids) if self.subnet_ids else "its subnets"
        opened = self.entry.ports
        ports = (
            ""
            if opened is None
            else f" to port{'' if opened.first == opened.last else 's'} {opened}"
        )
        way = "out of" if self.entry.egress else "into"
        far = "to" if self.entry.egress else "from"
        traffic = f"{_protocol(self.entry.protocol)}{ports} {far} {self.entry.network}"
        return f"{traffic} {way} every interface of {where}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupChange:
    """A new rule of a security group."""

    rule: SecurityGroupRule
    holders: int

    def apply(self, config: NetConfig) -> NetConfig:
        """Return the configuration with the rule in it."""
        groups = tuple(
            group
            if group.group_id != self.rule.group_id
            else replace(group, egress=(*(group.egress or ()), self.rule))
            if self.rule.egress
            else replace(group, ingress=(*(group.ingress or ()), self.rule))
            for group in config.security_groups or ()
        )
        return replace(config, security_groups=groups)

    def command(self, region: str) -> str:
        """Return the AWS CLI command that makes the change."""
        rule = self.rule
        parts = [f"IpProtocol={rule.protocol}"]
        if rule.from_port is not None:
            parts += [f"FromPort={rule.from_port}", f"ToPort={rule.to_port}"]
        match rule.peer:
            case GroupReference():
                parts.append(f"UserIdGroupPairs=[{{GroupId={rule.peer.group_id}}}]")
            case PrefixListReference():
                parts.append(f"PrefixListIds=[{{PrefixListId={rule.peer.prefix_list_id}}}]")
            case IPv4Network():
                parts.append(f"IpRanges=[{{CidrIp={rule.peer}}}]")
            case _:
                parts.append(f"Ipv6Ranges=[{{CidrIpv6={rule.peer}}}]")
        way = "egress" if rule.egress else "ingress"
        permission = shlex.quote(",".join(parts))
        options = f"--group-id {shlex.quote(rule.group_id)} --ip-permissions {permission}"
        return f"aws ec2 authorize-security-group-{way}{region} {options}"

    @property
    def opens(self) -> str:
        """What else the change lets pass."""
        ports = "" if self.rule.from_port in {None, -1} else f" to port {self.rule.from_port}"
        peer = (
            f"every interface with {self.rule.peer}"
            if isinstance(self.rule.peer, GroupReference)
            else str(self.rule.peer)
        )
        here = f"{counted(self.holders, 'interface')} with {self.rule.group_id}"
        far, near = (here, peer) if self.rule.egress else (peer, here)
        return f"{_protocol(self.rule.protocol)}{ports} from {far} to {near}"


type Change = AclChange | GroupChange


@dataclass(frozen=True, slots=True, kw_only=True)
class Remediation:
    """Changes that let the packet and its reply pass together, verified on the rules as read."""

    changes: tuple[Change, ...]

    def commands(self, region: str | None) -> tuple[str, ...]:
        """Return the AWS CLI commands, in order; without the Region if it is unknown or invalid."""
        option = f" --region {region}" if region is not None and is_region(region) else ""
        return tuple(change.command(option) for change in self.changes)

    @property
    def opens(self) -> str:
        """What else the changes let pass."""
        return "; ".join(change.opens for change in self.changes)


@dataclass(frozen=True, slots=True)
class _Hop:
    """An interface that a packet must pass; for a reply, no security group is evaluated."""

    interface: Interface
    packet: Packet
    direction: FlowDirection
    is_reply: bool


def find_remediation(
    config: NetConfig,
    interface: Interface,
    request: Packet,
    direction: FlowDirection,
    *,
    both_ends: bool = True,
) -> Remediation | NotAvailable:
    """Find the changes that let a request and its reply pass, or say why none can be offered.

    ``direction`` is the request's at the interface; without ``both_ends`` the far end is not looked
    at. If the rules let both pass already, that is the reason, so there is at least one change.
    """
    changes: list[Change] = []
    changed = config
    while True:
        blocked = _first_not_allowing(
            changed, list(_hops(changed, interface, request, direction, both_ends=both_ends))
        )
        if blocked is None:
            break
        if isinstance(blocked, NotAvailable):
            return NotAvailable(f"none offered: {blocked.reason}")
        hop, answer = blocked
        change = (
            _acl_change(changed, hop, answer)
            if isinstance(answer, AclAnswer)
            else _group_change(changed, hop, answer)
        )
        if isinstance(change, NotAvailable):
            return NotAvailable(f"none offered: {change.reason}")
        if len(changes) == _MAX_CHANGES:
            return NotAvailable("none offered: too many rules would have to change")
        changes.append(change)
        changed = change.apply(changed)
    return (
        Remediation(changes=tuple(changes))
        if changes
        else NotAvailable("none needed: the rules let the packet and its reply pass")
    )


def _hops(
    config: NetConfig,
    interface: Interface,
    request: Packet,
    direction: FlowDirection,
    *,
    both_ends: bool,
) -> Iterator[_Hop]:
    """Yield where the request, then the reply must pass, in the order of travel."""
    reply = request.reply()
    far = config.interface_at(interface.vpc_id, request.peer(direction)) if both_ends else None
    near_request = _Hop(interface, request, direction, is_reply=False)
    near_reply = _Hop(interface, reply, direction.opposite, is_reply=True)
    if far is None:
        yield from (near_request, near_reply)
        return
    far_request = _Hop(far, request, direction.opposite, is_reply=False)
    far_reply = _Hop(far, reply, direction, is_reply=True)
    if direction is FlowDirection.EGRESS:
        yield from (near_request, far_request, far_reply, near_reply)
    else:
        yield from (far_request, near_request, near_reply, far_reply)


def _first_not_allowing(
    config: NetConfig, hops: list[_Hop]
) -> tuple[_Hop, AclAnswer | GroupsAnswer] | NotAvailable | None:
    for hop in hops:
        acl = evaluate_subnet_acl(config, hop.interface, hop.packet, hop.direction)
        groups = (
            None
            if hop.is_reply
            else evaluate_groups(config, hop.interface, hop.packet, hop.direction)
        )
        # As AWS checks them: going out the security groups first, coming in the network ACL first.
        in_order = (groups, acl) if hop.direction is FlowDirection.EGRESS else (acl, groups)
        answers = [answer for answer in in_order if answer is not None]
        for answer in answers:
            if answer.outcome is Outcome.UNKNOWN:
                return NotAvailable(
                    f"the rules leave open whether it would work ({'; '.join(answer.reasons)})"
                )
            if answer.outcome is Outcome.DENY:
                return hop, answer
    return None


# --- network ACLs ---------------------------------------------------------------------------------


def _acl_change(config: NetConfig, hop: _Hop, answer: AclAnswer) -> AclChange | NotAvailable:
    acl = None if answer.network_acl_id is None else config.network_acl(answer.network_acl_id)
    if acl is None or answer.entry is None:
        return NotAvailable("the network ACL is not known")
    egress = hop.direction is FlowDirection.EGRESS
    taken = {entry.rule_number for entry in acl.entries or () if entry.egress is egress}
    before = min(entry.rule_number for entry in (answer.entry, *answer.possible))
    number = _last_number(taken) if before > LAST_RULE_NUMBER else _number_before(before, taken)
    if number is None:
        return NotAvailable(f"{acl.network_acl_id} has no free rule number before {before}")
    packet = hop.packet
    entry = NetworkAclEntry(
        rule_number=number,
        egress=egress,
        action="allow",
        protocol=str(packet.protocol),
        network=_acl_network(config, hop, overrules=before <= LAST_RULE_NUMBER),
        ports=_acl_ports(hop) if packet.protocol in _WITH_PORTS else None,
        icmp=IcmpTypeCode(type=-1, code=-1) if packet.protocol in _ICMP else None,
    )
    return AclChange(
        network_acl_id=acl.network_acl_id, entry=entry, subnet_ids=acl.subnet_ids or ()
    )


def _number_before(limit: int, taken: set[int]) -> int | None:
    return next((number for number in range(limit - 1, 0, -1) if number not in taken), None)


def _last_number(taken: set[int]) -> int | None:
    """Return a number behind all entries, the next multiple of ``_STEP`` where there is room."""
    highest = max((number for number in taken if number <= LAST_RULE_NUMBER), default=0)
    stepped = (highest // _STEP + 1) * _STEP
    if stepped <= LAST_RULE_NUMBER:
        return stepped
    return highest + 1 if highest < LAST_RULE_NUMBER else None


def _acl_network(config: NetConfig, hop: _Hop, *, overrules: bool) -> Network:
    """Return the range to open: one address, or for a reply the range that may send requests.

    Where a numbered entry is overruled the range stays one address: that entry is deliberate.
    """
    peer = hop.packet.peer(hop.direction)
    if hop.is_reply and not overrules:
        asked = evaluate_subnet_acl(
            config, hop.interface, hop.packet.reply(), hop.direction.opposite
        )
        if (
            asked is not None
            and asked.outcome is Outcome.ALLOW
            and asked.entry is not None
            and asked.entry.network is not None
        ):
            return asked.entry.network
    return _host(peer)


def _host(address: Address) -> Network:
    return ip_network(address)


def _acl_ports(hop: _Hop) -> PortRange | None:
    port = hop.packet.destination_port
    if port is None:
        return None
    if not hop.is_reply or port < _ANY_EPHEMERAL.first:
        return PortRange(first=port, last=port)
    return _LINUX_EPHEMERAL if port in _LINUX_EPHEMERAL else _ANY_EPHEMERAL


# --- security groups ------------------------------------------------------------------------------


def _group_change(config: NetConfig, hop: _Hop, answer: GroupsAnswer) -> GroupChange | NotAvailable:
    packet = hop.packet
    candidates = [
        group_id
        for group_id in answer.group_ids or ()
        if config.security_group(group_id) is not None
    ]
    if not candidates:
        return NotAvailable("the security groups of the interface are not known")
    near = answer.nearest_miss.rule.group_id if answer.nearest_miss is not None else None
    group_id = near if near in candidates else candidates[0]
    protocol, first, last = _group_service(packet)
    rule = SecurityGroupRule(
        group_id=group_id,
        egress=hop.direction is FlowDirection.EGRESS,
        protocol=protocol,
        from_port=first,
        to_port=last,
        peer=_group_peer(config, hop),
    )
    return GroupChange(rule=rule, holders=len(config.holders(group_id)))


def _group_service(packet: Packet) -> tuple[str, int | None, int | None]:
    names = {
        Protocol.TCP: "tcp",
        Protocol.UDP: "udp",
        Protocol.ICMP: "icmp",
        Protocol.ICMPV6: "icmpv6",
    }
    if packet.protocol in _WITH_PORTS:
        return names[Protocol(packet.protocol)], packet.destination_port, packet.destination_port
    if packet.protocol in _ICMP:
        return names[Protocol(packet.protocol)], -1, -1
    return str(packet.protocol), None, None


def _group_peer(config: NetConfig, hop: _Hop) -> Peer:
    address = hop.packet.peer(hop.direction)
    far = config.interface_at(hop.interface.vpc_id, address)
    if far is not None and far.group_ids and not far.is_nat_gateway:
        return GroupReference(group_id=min(far.group_ids))
    if hop.direction is FlowDirection.EGRESS:
        # A gateway endpoint's service is named by its prefix list: its addresses change, the list
        # follows.
        services = {
            endpoint.service_name
            for endpoint in config.endpoints or ()
            if endpoint.vpc_id == hop.interface.vpc_id
        }
        for listed in config.prefix_lists or ():
            if listed.name in services and any(
                address in network for network in listed.cidrs or ()
            ):
                return PrefixListReference(prefix_list_id=listed.prefix_list_id)
    return _host(address)


def _protocol(text: str | None) -> str:
    if text is not None and text.isdigit():
        return protocol_name(int(text))
    return "all traffic" if text in {None, "-1"} else str(text).upper()
