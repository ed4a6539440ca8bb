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
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING

from flowverdict.flowlog.records import FlowDirection
from flowverdict.network.acl import lies_within
from flowverdict.network.model import (
    FORWARDING_TYPES,
    GroupReference,
    PortRange,
    PrefixListReference,
    peering_carries_traffic,
    protocol_number,
)
from flowverdict.network.packet import (
    ALL,
    MAX_PORT,
    NO,
    PROTOCOLS_WITH_PORTS,
    PROTOCOLS_WITH_TYPES,
    YES,
    Criterion,
    Finding,
    Match,
    Outcome,
    Packet,
    match_icmp,
    match_port,
    match_protocol,
    possible,
    sure,
)

if TYPE_CHECKING:
    from flowverdict.core.addresses import Address
    from flowverdict.network.configuration import NetConfig
    from flowverdict.network.model import Interface, Peer, Peering, SecurityGroupRule


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
    findings: dict[Criterion, Finding]

    @property
    def match(self) -> Match:
        return min(finding.match for finding in self.findings.values())

    @property
    def reasons(self) -> tuple[str, ...]:
        return tuple(
            finding.reason for finding in self.findings.values() if finding.match is Match.POSSIBLE
        )

    @property
    def only_difference(self) -> Criterion | None:
        """The criterion that differs where both others surely match."""
        no = [
            criterion for criterion, finding in self.findings.items() if finding.match is Match.NO
        ]
        sure = sum(finding.match is Match.YES for finding in self.findings.values())
        return no[0] if len(no) == 1 and sure == len(self.findings) - 1 else None


def evaluate_groups(
    config: NetConfig, interface: Interface, packet: Packet, direction: FlowDirection
) -> GroupsAnswer:
    """Say what all security groups of an interface together do with a packet no tracked connection lets pass."""
    if interface.is_nat_gateway:
        return GroupsAnswer(
            outcome=Outcome.ALLOW, group_ids=(), reasons=("a NAT gateway has no security group",)
        )
    group_ids = interface.group_ids
    # Forwarding ones can go without any group. On every other interface an empty list of groups is a gap in the data.
    if group_ids is None or (not group_ids and interface.interface_type not in FORWARDING_TYPES):
        return GroupsAnswer(
            outcome=Outcome.UNKNOWN,
            group_ids=group_ids,
            reasons=(f"the security groups of {interface.interface_id} are not known",),
        )
    if not group_ids:
        return GroupsAnswer(
            outcome=Outcome.ALLOW,
            group_ids=(),
            reasons=(f"{interface.interface_id} has no security group",),
        )
    view = _View(config, interface, packet, direction)
    rules, reasons = _rules(view, group_ids)
    checked = [_check(view, rule) for rule in rules]
    # Rules have no order: which of several is named must not depend on how the data lists them.
    allowing = min((one.rule for one in checked if one.match is Match.YES), key=str, default=None)
    if allowing is not None:
        return GroupsAnswer(outcome=Outcome.ALLOW, group_ids=group_ids, rule=allowing)
    possible = sorted(
        (one for one in checked if one.match is Match.POSSIBLE), key=lambda one: str(one.rule)
    )
    if possible or reasons:
        reasons += [f"{one.rule} may match: {'; '.join(one.reasons)}" for one in possible]
        rules_in_doubt = tuple(one.rule for one in possible)
        return GroupsAnswer(
            outcome=Outcome.UNKNOWN,
            group_ids=group_ids,
            possible=rules_in_doubt,
            reasons=tuple(reasons),
        )
    return GroupsAnswer(
        outcome=Outcome.DENY, group_ids=group_ids, nearest_miss=_nearest_miss(view, checked)
    )


def _rules(view: _View, group_ids: tuple[str, ...]) -> tuple[list[SecurityGroupRule], list[str]]:
    """Give the rules of all groups in one direction, and in words which of them are not known."""
    known: list[SecurityGroupRule] = []
    unknown: list[str] = []
    for group_id in group_ids:
        group = view.config.security_group(group_id)
        rules = (
            None
            if group is None
            else (group.egress if view.direction is FlowDirection.EGRESS else group.ingress)
        )
        if rules is None:
            unknown.append(f"the {view.direction} rules of {group_id} are not known")
        else:
            known += rules
    return known, unknown


def _check(view: _View, rule: SecurityGroupRule) -> _Checked:
    return _Checked(
        rule,
        {
            Criterion.PROTOCOL: match_protocol(rule.protocol, view.packet),
            Criterion.PORT: _rule_details(rule, view.packet),
            Criterion.PEER: _peer(view, rule.peer),
        },
    )


def _rule_details(rule: SecurityGroupRule, packet: Packet) -> Finding:
    number = protocol_number(rule.protocol)
    if number in PROTOCOLS_WITH_PORTS:
        if packet.protocol is not None and packet.protocol not in PROTOCOLS_WITH_PORTS:
            return NO  # a packet without ports is not "the right port, only another protocol"
        ports = _port_range(rule)
        return match_port(ports.first, ports.last, packet)
    if number in PROTOCOLS_WITH_TYPES:
        if packet.protocol is not None and packet.protocol not in PROTOCOLS_WITH_TYPES:
            return NO
        kind = ALL if rule.from_port is None else rule.from_port
        return match_icmp(kind, ALL if rule.to_port is None else rule.to_port, packet)
    # AWS opens all ports for any other protocol, whatever range the rule shows.
    return sure(matches=number is None or packet.protocol is None or number == packet.protocol)


def _port_range(rule: SecurityGroupRule) -> PortRange:
    return PortRange(
        first=0 if rule.from_port is None or rule.from_port == ALL else rule.from_port,
        last=MAX_PORT if rule.to_port is None or rule.to_port == ALL else rule.to_port,
    )


def _peer(view: _View, peer: Peer | None) -> Finding:
    match peer:
        case None:
            return possible("its peer is not one this program knows")
        case PrefixListReference():
            known = view.config.prefix_list(peer.prefix_list_id)
            if known is None or known.cidrs is None:
                return possible(f"the entries of {peer.prefix_list_id} are not known")
            return sure(matches=any(view.address in network for network in known.cidrs))
        case GroupReference():
            return _reference(view, peer)
        case _:
            return sure(matches=view.address in peer)


def _reference(view: _View, reference: GroupReference) -> Finding:
    config, interface, address = view.config, view.interface, view.address
    peering = None if reference.peering_id is None else config.peering(reference.peering_id)
    over_peering = _peering_of(reference, peering)
    if over_peering.match is Match.NO:
        return NO
    local = config.interface_at(interface.vpc_id, address)
    if local is not None:
        # An address is one interface's in its VPC, and that one is nearer than any of another VPC.
        if local.group_ids is None:
            return possible(
                f"the security groups of {local.interface_id}, which has {address}, are not known"
            )
        return sure(matches=reference.group_id in local.group_ids)
    group_id, unlisted = (
        reference.group_id,
        config.unlisted_holder(reference.group_id, address.version),
    )
    holders = [
        one
        for one in config.interfaces_with(address)
        if one.group_ids is None or group_id in one.group_ids
    ]
    best = max(
        (_holder(view, one, reference, over_peering) for one in holders),
        key=lambda finding: finding.match,
        default=NO,
    )
    if best.match is Match.NO and unlisted is not None:
        return possible(
            f"the addresses of {unlisted.interface_id}, which holds {group_id}, are not known"
        )
    if best.match is not Match.NO or config.has_members_of(reference, interface.vpc_id):
        return best
    side = None if peering is None else peering.other_side(interface.vpc_id)
    if side is not None and lies_within(side.cidrs, address) is False:
        return NO
    return possible(f"not all interfaces that hold {group_id} are known")


def _peering_of(reference: GroupReference, peering: Peering | None) -> Finding:
    """Say whether the peering connection a reference names lets it match; a stale one never does."""
    if reference.peering_id is None and reference.peering_status is None:
        return YES
    # The rule's own status counts too: AWS keeps showing rules of connections that are gone.
    states = (
        [peering_carries_traffic(reference.peering_status)]
        if reference.peering_status is not None
        else []
    )
    if peering is not None:
        states.append(peering.carries_traffic)
        if peering.crosses_regions:
            return NO
    if False in states:
        return NO
    return YES if True in states else possible(f"the status of {reference.peering_id} is not known")


def _holder(
    view: _View, holder: Interface, reference: GroupReference, over_peering: Finding
) -> Finding:
    """Say whether a reference reaches an interface of another VPC that has the packet's address and may hold the group."""
    config, here, there = view.config, view.interface.vpc_id, holder.vpc_id
    if here is None or there is None:
        return possible(
            f"the VPC of {(view.interface if here is None else holder).interface_id} is not known"
        )
    if holder.group_ids is None:
        return possible(
            f"the security groups of {holder.interface_id}, which has {view.address}, are not known"
        )
    if over_peering.match is Match.POSSIBLE:
        return over_peering
    links = [
        one
        for one in config.peerings_of(here)
        if one.side(there) is not None and not one.crosses_regions
    ]
    if any(one.carries_traffic for one in links):
        return YES
    if (
        reference.peering_id is not None
        and config.peering(reference.peering_id) is None
        and reference.vpc_id in {None, there}
    ):
        return YES  # the rule itself says that its connection is active
    if (
        view.direction is FlowDirection.EGRESS
        and config.peerings is not None
        and all(one.carries_traffic is False for one in links)
    ):
        return NO  # over a transit gateway, groups can be referred to in inbound rules alone
    return possible(
        f"whether {here} and {there} are peered, or share a transit gateway that resolves groups, is not known"
    )


# The same service for another peer is what a reader most likely meant to open; then the same peer's other port.
_NEAREST_FIRST = (Criterion.PEER, Criterion.PORT, Criterion.PROTOCOL)


def _nearest_miss(view: _View, checked: list[_Checked]) -> NearestMiss | None:
    """Give the rule that matches all but one criterion, the closest first: by criterion, then by distance, then by text."""
    misses = [
        NearestMiss(rule=one.rule, differs=one.only_difference)
        for one in checked
        if one.only_difference is not None
    ]
    return min(
        misses,
        key=lambda miss: (
            _NEAREST_FIRST.index(miss.differs),
            _distance(view, miss),
            str(miss.rule),
        ),
        default=None,
    )


def _distance(view: _View, miss: NearestMiss) -> int:
    """Measure how far a rule missed. Ports: how many lie between. Ranges: the more leading bits in common, the nearer."""
    rule, port, address = miss.rule, view.packet.destination_port, view.address
    if (
        miss.differs is Criterion.PORT
        and port is not None
        and protocol_number(rule.protocol) in PROTOCOLS_WITH_PORTS
    ):
        ports = _port_range(rule)
        return max(ports.first - port, port - ports.last)
    if miss.differs is Criterion.PEER and isinstance(rule.peer, (IPv4Network, IPv6Network)):
        if rule.peer.version != address.version:
            return 1  # farther than any of the family, and than a reference (0)
        return (int(rule.peer.network_address) ^ int(address)).bit_length() - address.max_prefixlen
    return 0
