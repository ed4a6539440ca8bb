"""What network ACLs and security groups say to one packet: answers with their evidence, never a bare bool.

The rules, and where AWS states them:

- An ACL's entries are tried from the lowest number up and the first that matches decides; ``*`` denies the rest. IPv4 and
  IPv6 entries never apply to each other's packets. It is asked only where a packet enters or leaves the subnet, in each
  direction by itself. https://docs.aws.amazon.com/vpc/latest/userguide/vpc-network-acls.html
- An entry's ports are the packet's destination ports and count for TCP and UDP alone, its type and code for ICMP alone:
  https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateNetworkAclEntry.html
- Security groups only allow. The rules of all groups of an interface are one set, in no order; what none allows is denied,
  so a denial has no rule to name. Replies pass. https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html
- A reference to a group means the private addresses of the interfaces that hold it, in the VPC or over an active peering
  connection within the Region: https://docs.aws.amazon.com/vpc/latest/peering/vpc-peering-security-groups.html

Whatever the data leaves open makes a match *possible*: the ICMP type and code (no flow log has them), a protocol or action
this program does not know, a list that was not read, a group whose holders are another account's. An answer is ``unknown``
as soon as such a match could turn it round, and names what is missing. One thing no data shows: a packet that comes by way
of a middlebox appliance is not matched by references, so an allowing rule with a reference is right only without one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING

from flowverdict.netconfig.model import (
    ALL_PROTOCOLS,
    FORWARDING_TYPES,
    GroupReference,
    PortRange,
    PrefixListReference,
    closing_entry,
    peering_carries_traffic,
    protocol_number,
)
from flowverdict.records import FlowDirection
from flowverdict.services import Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowverdict.netconfig.model import (
        Interface,
        NetConfig,
        Network,
        NetworkAcl,
        NetworkAclEntry,
        Peer,
        Peering,
        SecurityGroupRule,
    )
    from flowverdict.records import Address

_PORTS = frozenset({Protocol.TCP, Protocol.UDP})
_TYPES = frozenset({Protocol.ICMP, Protocol.ICMPV6})
_ALL = -1
_MAX_PORT = 65_535


class Outcome(StrEnum):
    """What a layer does with a packet, as far as is known."""

    ALLOW = "allow"
    DENY = "deny"
    UNKNOWN = "unknown"


class Criterion(StrEnum):
    """What a security group rule asks of a packet. For ICMP the port is its type and code."""

    PROTOCOL = "protocol"
    PORT = "port"
    PEER = "peer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """One packet; ``None`` is what is not known of it, as an ICMP packet's type and code never are from a flow log."""

    source: Address
    destination: Address
    protocol: int | None
    source_port: int | None = None
    destination_port: int | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None

    def reply(self) -> Packet:
        """Give the packet that answers this one: it goes to the port this one came from, an ephemeral one as a rule."""
        return Packet(
            source=self.destination,
            destination=self.source,
            protocol=self.protocol,
            source_port=self.destination_port,
            destination_port=self.source_port,
        )

    def peer(self, direction: FlowDirection) -> Address:
        """Give the far end, seen from the interface the packet passes in this direction."""
        return self.source if direction is FlowDirection.INGRESS else self.destination


@dataclass(frozen=True, slots=True, kw_only=True)
class AclAnswer:
    """What a network ACL says to a packet.

    Parameters
    ----------
    entry
        The first entry that surely matches, the closing ``*`` if no other; ``None`` if the entries are not known.
    possible
        Entries before it that match if what is not known of the packet or the entry turns out so, in order.
    reasons
        Why the answer is unknown, in words; empty if it is not.
    """

    outcome: Outcome
    network_acl_id: str | None
    entry: NetworkAclEntry | None
    possible: tuple[NetworkAclEntry, ...] = ()
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NearestMiss:
    """A rule that matches a denied packet in all but one criterion."""

    rule: SecurityGroupRule
    differs: Criterion


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupsAnswer:
    """What the security groups of an interface say to a packet, taken together.

    Parameters
    ----------
    group_ids
        The groups on the interface, ``None`` if they are not known.
    rule
        A rule that allows the packet; ``None`` for a denial, which is the absence of one.
    possible
        Rules that allow it if what is not known turns out so; given only where no rule surely does.
    nearest_miss
        For a denial, the rule that came closest.
    reasons
        Why the answer is unknown, or allowed without a rule, in words.
    """

    outcome: Outcome
    group_ids: tuple[str, ...] | None
    rule: SecurityGroupRule | None = None
    possible: tuple[SecurityGroupRule, ...] = ()
    nearest_miss: NearestMiss | None = None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """What both layers say to a packet at one interface.

    Parameters
    ----------
    acl
        ``None`` if the packet stays inside the subnet, where no ACL is asked.
    groups
        ``None`` for a reply, which the groups let pass.
    """

    packet: Packet
    direction: FlowDirection
    acl: AclAnswer | None
    groups: GroupsAnswer | None

    @property
    def outcome(self) -> Outcome:
        """Whether the packet passes both layers."""
        return _both(layer.outcome for layer in (self.acl, self.groups) if layer is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """What an interface's rules say to a request and to its reply."""

    request: Passage
    reply: Passage

    @property
    def outcome(self) -> Outcome:
        """Whether request and reply both pass."""
        return _both((self.request.outcome, self.reply.outcome))


def _both(outcomes: Iterable[Outcome]) -> Outcome:
    """Give what is sure if all have to allow."""
    told = set(outcomes)
    if Outcome.DENY in told:
        return Outcome.DENY
    return Outcome.UNKNOWN if Outcome.UNKNOWN in told else Outcome.ALLOW


# --- matching one criterion -------------------------------------------------------------------------------------------


class _Match(IntEnum):
    """Whether something matches; ordered, so that the least of several is their conjunction."""

    NO = 0
    POSSIBLE = 1
    YES = 2


@dataclass(frozen=True, slots=True)
class _Finding:
    match: _Match
    reason: str = ""


_NO, _YES = _Finding(_Match.NO), _Finding(_Match.YES)


def _possible(reason: str) -> _Finding:
    return _Finding(_Match.POSSIBLE, reason)


def _sure(*, matches: bool) -> _Finding:
    return _YES if matches else _NO


def _protocol(text: str | None, packet: Packet) -> _Finding:
    if text == ALL_PROTOCOLS:
        return _YES
    number = protocol_number(text)
    if number is None:
        return _possible(f"protocol {text!r} is not one this program knows")
    if packet.protocol is None:
        return _possible("the packet's protocol is not known")
    return _sure(matches=number == packet.protocol)


def _port(first: int, last: int, packet: Packet) -> _Finding:
    if first <= 0 and last >= _MAX_PORT:
        return _YES
    if packet.destination_port is None:
        return _possible("the packet's destination port is not known")
    return _sure(matches=first <= packet.destination_port <= last)


def _icmp(kind: int, code: int, packet: Packet) -> _Finding:
    if kind == _ALL:
        return _YES
    if packet.icmp_type is None:
        return _possible("flow logs do not tell the ICMP type and code")
    if kind != packet.icmp_type:
        return _NO
    if code == _ALL:
        return _YES
    if packet.icmp_code is None:
        return _possible("flow logs do not tell the ICMP type and code")
    return _sure(matches=code == packet.icmp_code)


# --- network ACLs -----------------------------------------------------------------------------------------------------


def evaluate_acl(acl: NetworkAcl, packet: Packet, direction: FlowDirection) -> AclAnswer:
    """Say what an ACL does with a packet that crosses its subnet's boundary, and which entry decides."""
    if acl.entries is None:
        return _acl_unknown(acl.network_acl_id, f"the entries of {acl.network_acl_id} are not known")
    egress = direction is FlowDirection.EGRESS
    address = packet.peer(direction)
    listed = sorted((one for one in acl.entries if one.egress is egress), key=lambda one: one.rule_number)
    possible: list[NetworkAclEntry] = []
    reasons: list[str] = []
    deciding = closing_entry(address.version, egress=egress)
    for entry in listed:
        finding = _entry(entry, packet, address)
        if finding.match is _Match.YES:
            deciding = entry
            break
        if finding.match is _Match.POSSIBLE:
            possible.append(entry)
            reasons.append(f"{acl.network_acl_id} {entry} may match: {finding.reason}")
    outcomes = {_acts(entry) for entry in (*possible, deciding)}
    # Whichever of them matches, the packet fares the same.
    outcome = outcomes.pop() if len(outcomes) == 1 else Outcome.UNKNOWN
    if _acts(deciding) is Outcome.UNKNOWN:
        reasons.append(f"{acl.network_acl_id} {deciding}: the action is not one this program knows")
    return AclAnswer(
        outcome=outcome,
        network_acl_id=acl.network_acl_id,
        entry=deciding,
        possible=tuple(possible),
        reasons=tuple(reasons) if outcome is Outcome.UNKNOWN else (),
    )


def _acl_unknown(network_acl_id: str | None, reason: str) -> AclAnswer:
    return AclAnswer(outcome=Outcome.UNKNOWN, network_acl_id=network_acl_id, entry=None, reasons=(reason,))


def _acts(entry: NetworkAclEntry) -> Outcome:
    match entry.action:
        case "allow":
            return Outcome.ALLOW
        case "deny":
            return Outcome.DENY
        case _:
            return Outcome.UNKNOWN


def _entry(entry: NetworkAclEntry, packet: Packet, address: Address) -> _Finding:
    findings = (_entry_network(entry.network, address), _protocol(entry.protocol, packet), _entry_details(entry, packet))
    return min(findings, key=lambda finding: finding.match)


def _entry_network(network: Network | None, address: Address) -> _Finding:
    # An IPv4 address is never in an IPv6 network and the other way round, so the families stay apart here.
    return _possible("its range is not known") if network is None else _sure(matches=address in network)


def _entry_details(entry: NetworkAclEntry, packet: Packet) -> _Finding:
    number = protocol_number(entry.protocol)
    if number in _PORTS and entry.ports is not None:
        return _port(entry.ports.first, entry.ports.last, packet)
    if number in _TYPES and entry.icmp is not None:
        return _icmp(entry.icmp.type, entry.icmp.code, packet)
    return _YES


def crosses_subnet_boundary(config: NetConfig, interface: Interface, remote: Address) -> bool | None:
    """Whether traffic between an interface and an address enters or leaves the interface's subnet; ``None`` if not known."""
    if interface.subnet_id is None:
        return None
    if interface.forwards:
        # What it forwards may come from another subnet whatever its addresses say, so "inside" is not known here.
        return True if _lies_outside(config, interface, remote) else None
    return _crosses(config, interface, interface.subnet_id, remote)


def _lies_outside(config: NetConfig, interface: Interface, remote: Address) -> bool:
    return interface.subnet_id is not None and _crosses(config, interface, interface.subnet_id, remote) is True


def _crosses(config: NetConfig, interface: Interface, subnet_id: str, remote: Address) -> bool | None:
    subnet = config.subnet(subnet_id)
    inside = None if subnet is None else _within(subnet.cidrs, remote)
    if inside is not None:
        return not inside
    owner = config.interface_at(interface.vpc_id, remote)
    if owner is not None and owner.subnet_id is not None:
        return owner.subnet_id != subnet_id
    vpc = config.vpc(interface.vpc_id) if interface.vpc_id is not None else None
    if vpc is not None and _within(vpc.cidrs, remote) is False:
        return True
    return True if _too_far_for_one_subnet(interface, remote) else None


# No subnet is larger: https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html
_LARGEST_SUBNET = {4: 16, 6: 44}


def _too_far_for_one_subnet(interface: Interface, remote: Address) -> bool:
    """Whether an address lies beyond the largest subnet that could hold the interface's own one."""
    reach = ip_network((remote, _LARGEST_SUBNET[remote.version]), strict=False)
    own = [address for address in interface.addresses if address.version == remote.version]
    return bool(own) and not any(address in reach for address in own)


def _within(networks: tuple[Network, ...], address: Address) -> bool | None:
    """Whether an address lies in one of the networks; ``None`` if none of its family is listed, which proves nothing."""
    same_family = [network for network in networks if network.version == address.version]
    return any(address in network for network in same_family) if same_family else None


def evaluate_subnet_acl(config: NetConfig, interface: Interface, packet: Packet, direction: FlowDirection) -> AclAnswer | None:
    """Say what the ACL of an interface's subnet does with a packet; ``None`` if the packet stays inside the subnet."""
    crosses = crosses_subnet_boundary(config, interface, packet.peer(direction))
    if crosses is False:
        return None
    if interface.subnet_id is None:
        return _acl_unknown(None, f"the subnet of {interface.interface_id} is not known")
    acl = config.network_acl_of_subnet(interface.subnet_id, interface.vpc_id)
    if acl is None:
        return _acl_unknown(None, f"the network ACL of {interface.subnet_id} is not known")
    answer = evaluate_acl(acl, packet, direction)
    if crosses is None and answer.outcome is Outcome.DENY:
        return AclAnswer(
            outcome=Outcome.UNKNOWN,
            network_acl_id=answer.network_acl_id,
            entry=answer.entry,
            possible=answer.possible,
            reasons=(f"{packet.peer(direction)} may lie in {interface.subnet_id} itself, where no ACL is asked",),
        )
    return answer


# --- security groups --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _View:
    """A packet as an interface sees it, with what is known around."""

    config: NetConfig
    interface: Interface
    packet: Packet
    direction: FlowDirection

    @property
    def address(self) -> Address:
        """The far end."""
        return self.packet.peer(self.direction)


@dataclass(frozen=True, slots=True)
class _Checked:
    """A rule held against a packet, criterion by criterion."""

    rule: SecurityGroupRule
    findings: dict[Criterion, _Finding]

    @property
    def match(self) -> _Match:
        return min(finding.match for finding in self.findings.values())

    @property
    def reasons(self) -> tuple[str, ...]:
        return tuple(finding.reason for finding in self.findings.values() if finding.match is _Match.POSSIBLE)

    @property
    def only_difference(self) -> Criterion | None:
        """The criterion that differs where both others surely match."""
        no = [criterion for criterion, finding in self.findings.items() if finding.match is _Match.NO]
        sure = sum(finding.match is _Match.YES for finding in self.findings.values())
        return no[0] if len(no) == 1 and sure == len(self.findings) - 1 else None


def evaluate_groups(config: NetConfig, interface: Interface, packet: Packet, direction: FlowDirection) -> GroupsAnswer:
    """Say what all security groups of an interface together do with a packet no tracked connection lets pass."""
    if interface.is_nat_gateway:
        return GroupsAnswer(outcome=Outcome.ALLOW, group_ids=(), reasons=("a NAT gateway has no security group",))
    group_ids = interface.group_ids
    # Forwarding ones can go without any group. On every other interface an empty list of groups is a gap in the data.
    if group_ids is None or (not group_ids and interface.interface_type not in FORWARDING_TYPES):
        return GroupsAnswer(
            outcome=Outcome.UNKNOWN,
            group_ids=group_ids,
            reasons=(f"the security groups of {interface.interface_id} are not known",),
        )
    if not group_ids:
        return GroupsAnswer(outcome=Outcome.ALLOW, group_ids=(), reasons=(f"{interface.interface_id} has no security group",))
    view = _View(config, interface, packet, direction)
    rules, reasons = _rules(view, group_ids)
    checked = [_check(view, rule) for rule in rules]
    # Rules have no order: which of several is named must not depend on how the data lists them.
    allowing = min((one.rule for one in checked if one.match is _Match.YES), key=str, default=None)
    if allowing is not None:
        return GroupsAnswer(outcome=Outcome.ALLOW, group_ids=group_ids, rule=allowing)
    possible = sorted((one for one in checked if one.match is _Match.POSSIBLE), key=lambda one: str(one.rule))
    if possible or reasons:
        reasons += [f"{one.rule} may match: {'; '.join(one.reasons)}" for one in possible]
        rules_in_doubt = tuple(one.rule for one in possible)
        return GroupsAnswer(outcome=Outcome.UNKNOWN, group_ids=group_ids, possible=rules_in_doubt, reasons=tuple(reasons))
    return GroupsAnswer(outcome=Outcome.DENY, group_ids=group_ids, nearest_miss=_nearest_miss(view, checked))


def _rules(view: _View, group_ids: tuple[str, ...]) -> tuple[list[SecurityGroupRule], list[str]]:
    """Give the rules of all groups in one direction, and in words which of them are not known."""
    known: list[SecurityGroupRule] = []
    unknown: list[str] = []
    for group_id in group_ids:
        group = view.config.security_group(group_id)
        rules = None if group is None else (group.egress if view.direction is FlowDirection.EGRESS else group.ingress)
        if rules is None:
            unknown.append(f"the {view.direction} rules of {group_id} are not known")
        else:
            known += rules
    return known, unknown


def _check(view: _View, rule: SecurityGroupRule) -> _Checked:
    return _Checked(
        rule,
        {
            Criterion.PROTOCOL: _protocol(rule.protocol, view.packet),
            Criterion.PORT: _rule_details(rule, view.packet),
            Criterion.PEER: _peer(view, rule.peer),
        },
    )


def _rule_details(rule: SecurityGroupRule, packet: Packet) -> _Finding:
    number = protocol_number(rule.protocol)
    if number in _PORTS:
        if packet.protocol is not None and packet.protocol not in _PORTS:
            return _NO  # a packet without ports is not "the right port, only another protocol"
        ports = _port_range(rule)
        return _port(ports.first, ports.last, packet)
    if number in _TYPES:
        if packet.protocol is not None and packet.protocol not in _TYPES:
            return _NO
        kind = _ALL if rule.from_port is None else rule.from_port
        return _icmp(kind, _ALL if rule.to_port is None else rule.to_port, packet)
    # AWS opens all ports for any other protocol, whatever range the rule shows.
    return _sure(matches=number is None or packet.protocol is None or number == packet.protocol)


def _port_range(rule: SecurityGroupRule) -> PortRange:
    return PortRange(
        first=0 if rule.from_port is None or rule.from_port == _ALL else rule.from_port,
        last=_MAX_PORT if rule.to_port is None or rule.to_port == _ALL else rule.to_port,
    )


def _peer(view: _View, peer: Peer | None) -> _Finding:
    match peer:
        case None:
            return _possible("its peer is not one this program knows")
        case PrefixListReference():
            known = view.config.prefix_list(peer.prefix_list_id)
            if known is None or known.cidrs is None:
                return _possible(f"the entries of {peer.prefix_list_id} are not known")
            return _sure(matches=any(view.address in network for network in known.cidrs))
        case GroupReference():
            return _reference(view, peer)
        case _:
            return _sure(matches=view.address in peer)


def _reference(view: _View, reference: GroupReference) -> _Finding:
    config, interface, address = view.config, view.interface, view.address
    peering = None if reference.peering_id is None else config.peering(reference.peering_id)
    over_peering = _peering_of(reference, peering)
    if over_peering.match is _Match.NO:
        return _NO
    local = config.interface_at(interface.vpc_id, address)
    if local is not None:
        # An address is one interface's in its VPC, and that one is nearer than any of another VPC.
        if local.group_ids is None:
            return _possible(f"the security groups of {local.interface_id}, which has {address}, are not known")
        return _sure(matches=reference.group_id in local.group_ids)
    group_id, unlisted = reference.group_id, config.unlisted_holder(reference.group_id, address.version)
    holders = [one for one in config.interfaces_with(address) if one.group_ids is None or group_id in one.group_ids]
    best = max((_holder(view, one, reference, over_peering) for one in holders), key=lambda finding: finding.match, default=_NO)
    if best.match is _Match.NO and unlisted is not None:
        return _possible(f"the addresses of {unlisted.interface_id}, which holds {group_id}, are not known")
    if best.match is not _Match.NO or config.has_members_of(reference, interface.vpc_id):
        return best
    side = None if peering is None else peering.other_side(interface.vpc_id)
    if side is not None and _within(side.cidrs, address) is False:
        return _NO
    return _possible(f"not all interfaces that hold {group_id} are known")


def _peering_of(reference: GroupReference, peering: Peering | None) -> _Finding:
    """Say whether the peering connection a reference names lets it match; a stale one never does."""
    if reference.peering_id is None and reference.peering_status is None:
        return _YES
    # The rule's own status counts too: AWS keeps showing rules of connections that are gone.
    states = [peering_carries_traffic(reference.peering_status)] if reference.peering_status is not None else []
    if peering is not None:
        states.append(peering.carries_traffic)
        if peering.crosses_regions:
            return _NO
    if False in states:
        return _NO
    return _YES if True in states else _possible(f"the status of {reference.peering_id} is not known")


def _holder(view: _View, holder: Interface, reference: GroupReference, over_peering: _Finding) -> _Finding:
    """Say whether a reference reaches an interface of another VPC that has the packet's address and may hold the group."""
    config, here, there = view.config, view.interface.vpc_id, holder.vpc_id
    if here is None or there is None:
        return _possible(f"the VPC of {(view.interface if here is None else holder).interface_id} is not known")
    if holder.group_ids is None:
        return _possible(f"the security groups of {holder.interface_id}, which has {view.address}, are not known")
    if over_peering.match is _Match.POSSIBLE:
        return over_peering
    links = [one for one in config.peerings_of(here) if one.side(there) is not None and not one.crosses_regions]
    if any(one.carries_traffic for one in links):
        return _YES
    if reference.peering_id is not None and config.peering(reference.peering_id) is None and reference.vpc_id in {None, there}:
        return _YES  # the rule itself says that its connection is active
    if (
        view.direction is FlowDirection.EGRESS
        and config.peerings is not None
        and all(one.carries_traffic is False for one in links)
    ):
        return _NO  # over a transit gateway, groups can be referred to in inbound rules alone
    return _possible(f"whether {here} and {there} are peered, or share a transit gateway that resolves groups, is not known")


# The same service for another peer is what a reader most likely meant to open; then the same peer's other port.
_NEAREST_FIRST = (Criterion.PEER, Criterion.PORT, Criterion.PROTOCOL)


def _nearest_miss(view: _View, checked: list[_Checked]) -> NearestMiss | None:
    """Give the rule that matches all but one criterion, the closest first: by criterion, then by distance, then by text."""
    misses = [NearestMiss(rule=one.rule, differs=one.only_difference) for one in checked if one.only_difference is not None]
    return min(misses, key=lambda miss: (_NEAREST_FIRST.index(miss.differs), _distance(view, miss), str(miss.rule)), default=None)


def _distance(view: _View, miss: NearestMiss) -> int:
    """Measure how far a rule missed. Ports: how many lie between. Ranges: the more leading bits in common, the nearer."""
    rule, port, address = miss.rule, view.packet.destination_port, view.address
    if miss.differs is Criterion.PORT and port is not None and protocol_number(rule.protocol) in _PORTS:
        ports = _port_range(rule)
        return max(ports.first - port, port - ports.last)
    if miss.differs is Criterion.PEER and isinstance(rule.peer, (IPv4Network, IPv6Network)):
        if rule.peer.version != address.version:
            return 1  # farther than any of the family, and than a reference (0)
        return (int(rule.peer.network_address) ^ int(address)).bit_length() - address.max_prefixlen
    return 0


# --- both layers ------------------------------------------------------------------------------------------------------


def evaluate_connection(config: NetConfig, interface: Interface, request: Packet, direction: FlowDirection) -> Connection:
    """Say whether a request and its reply pass one interface, ``direction`` being the request's.

    The groups are stateful, so of the reply only the ACL is asked.
    """
    reply = request.reply()
    return Connection(
        request=Passage(
            packet=request,
            direction=direction,
            acl=evaluate_subnet_acl(config, interface, request, direction),
            groups=evaluate_groups(config, interface, request, direction),
        ),
        reply=Passage(
            packet=reply,
            direction=direction.opposite,
            acl=evaluate_subnet_acl(config, interface, reply, direction.opposite),
            groups=None,
        ),
    )
