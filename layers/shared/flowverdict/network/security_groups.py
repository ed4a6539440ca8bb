"""Decide what the security groups of an interface do with one packet, with the evidence.

- Security groups only allow. The rules of all groups of an interface form one set without order;
  what no rule allows is denied, so a denial has no rule to name. Replies pass.
  https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html
- A reference to a group means the private addresses of the interfaces that hold the group, in the
  VPC or over an active peering connection within the Region.
  https://docs.aws.amazon.com/vpc/latest/peering/vpc-peering-security-groups.html

Whatever the data leaves open makes a match *possible* (see ``packet``), for example a group whose
holders belong to another account. The answer is ``unknown`` as soon as such a match could reverse
it, and then names what is missing.

References do not match packets that a middlebox forwards, which the route shows. Nor does a
reference to the client's group match what comes by a load balancer that keeps the client's address,
which records do not show: where such a load balancer is known, the answer depends on it; where load
balancers are not known, the answer says that it holds for direct packets only.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING

from flowverdict.flowlog.records import FlowDirection
from flowverdict.network.acl import lies_within
from flowverdict.network.clients_through import load_balancer_before, load_balancers_known
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
    match_prefix_list,
    match_protocol,
    possible,
    sure,
)
from flowverdict.network.routes import passes_middlebox
from flowverdict.network.unfiltered import unfiltered_service

if TYPE_CHECKING:
    from flowverdict.core.addresses import Address
    from flowverdict.network.clients_through import Before
    from flowverdict.network.configuration import NetConfig
    from flowverdict.network.model import Interface, Peer, Peering, SecurityGroupRule


@dataclass(frozen=True, slots=True, kw_only=True)
class NearestMiss:
    """A rule that matches a denied packet in all criteria except one."""

    rule: SecurityGroupRule
    differs: Criterion


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupsAnswer:
    """What the security groups of an interface do with a packet, taken together.

    Parameters
    ----------
    group_ids
        The groups of the interface; ``None`` if they are not known.
    rule
        A rule that allows the packet; ``None`` for a denial, where no rule does.
    possible
        Rules that allow the packet depending on what is not known; only where no rule certainly
        allows it.
    nearest_miss
        For a denial, the rule that came closest.
    reasons
        Why the answer is unknown, or allowed without a rule.
    only_direct
        Only a reference to the sender's group allows the packet, which holds unless the packet came
        by a load balancer that keeps the client's address; load balancers are not known.
    """

    outcome: Outcome
    group_ids: tuple[str, ...] | None
    rule: SecurityGroupRule | None = None
    possible: tuple[SecurityGroupRule, ...] = ()
    nearest_miss: NearestMiss | None = None
    reasons: tuple[str, ...] = ()
    only_direct: bool = False


@dataclass(frozen=True, slots=True)
class _View:
    """A packet as an interface sees it, and the known configuration.

    ``before`` is the load balancer that the packet came by with the client's address; ``None`` if
    the packet came directly. ``middlebox`` is whether an appliance stands between both ends.
    """

    config: NetConfig
    interface: Interface
    packet: Packet
    direction: FlowDirection
    before: Before | None
    middlebox: bool

    @property
    def address(self) -> Address:
        """The remote address."""
        return self.packet.peer(self.direction)


@dataclass(frozen=True, slots=True)
class _CheckedRule:
    """A rule compared with a packet, criterion by criterion."""

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
        """The criterion that differs where both other criteria certainly match."""
        different = [
            criterion for criterion, finding in self.findings.items() if finding.match is Match.NO
        ]
        matching = sum(finding.match is Match.YES for finding in self.findings.values())
        only_one = len(different) == 1 and matching == len(self.findings) - 1
        return different[0] if only_one else None


def evaluate_groups(
    config: NetConfig, interface: Interface, packet: Packet, direction: FlowDirection
) -> GroupsAnswer:
    """Evaluate all security groups of an interface for a packet of no tracked connection."""
    if interface.is_nat_gateway or not interface.group_ids:
        return _answer_without_groups(interface)
    group_ids = interface.group_ids
    service = unfiltered_service(config, interface, packet, direction)
    if service is not None:
        reason = f"security groups do not filter traffic of {service}"
        return GroupsAnswer(outcome=Outcome.ALLOW, group_ids=group_ids, reasons=(reason,))
    before = (
        load_balancer_before(config, interface, packet)
        if direction is FlowDirection.INGRESS
        else None
    )
    middlebox = _passes_middlebox(config, interface, packet, direction)
    direct = _evaluate(_View(config, interface, packet, direction, None, middlebox), group_ids)
    if before is None:
        return direct
    through = _evaluate(_View(config, interface, packet, direction, before, middlebox), group_ids)
    return direct if through.outcome is direct.outcome else _either_way(before, direct, through)


def _passes_middlebox(
    config: NetConfig, interface: Interface, packet: Packet, direction: FlowDirection
) -> bool:
    """Return whether an appliance forwards the packet between its sender and its receiver."""
    remote = packet.peer(direction)
    sender = (
        None if direction is FlowDirection.EGRESS else config.interface_at(interface.vpc_id, remote)
    )
    if sender is None:  # the way back is then what is known
        return passes_middlebox(config, interface, remote)
    return passes_middlebox(config, sender, packet.destination)


def _evaluate(view: _View, group_ids: tuple[str, ...]) -> GroupsAnswer:
    """Evaluate all rules of the groups, for a packet that came directly or by a load balancer."""
    rules, reasons = _rules(view, group_ids)
    checked = [_check(view, rule) for rule in rules]
    # Rules have no order: which of several is named must not depend on how the data lists them.
    allowing = sorted((each.rule for each in checked if each.match is Match.YES), key=str)
    if allowing:
        return GroupsAnswer(
            outcome=Outcome.ALLOW,
            group_ids=group_ids,
            rule=allowing[0],
            only_direct=_allowed_only_direct(view, allowing),
        )
    in_doubt = sorted(
        (each for each in checked if each.match is Match.POSSIBLE), key=lambda each: str(each.rule)
    )
    if in_doubt or reasons:
        reasons += [f"{each.rule} may match: {'; '.join(each.reasons)}" for each in in_doubt]
        return GroupsAnswer(
            outcome=Outcome.UNKNOWN,
            group_ids=group_ids,
            possible=tuple(each.rule for each in in_doubt),
            reasons=tuple(reasons),
        )
    return GroupsAnswer(
        outcome=Outcome.DENY, group_ids=group_ids, nearest_miss=_nearest_miss(view, checked)
    )


def _either_way(before: Before, direct: GroupsAnswer, through: GroupsAnswer) -> GroupsAnswer:
    """Return the answer where it depends on whether the packet came by a load balancer."""
    came = (
        f"if the packet came by the load balancer {before.name}, which keeps the client's address"
    )
    possible = [rule for rule in (direct.rule, through.rule) if rule is not None]
    reasons = [*direct.reasons, *through.reasons]
    if direct.rule is not None:
        reasons.insert(
            0,
            f"{direct.rule} may match: {came}, the client's group does not count and a rule for "
            "its address is needed",
        )
    elif through.rule is not None:
        reasons.insert(0, f"{through.rule} may match: {came}, the load balancer's own group counts")
    return GroupsAnswer(
        outcome=Outcome.UNKNOWN,
        group_ids=direct.group_ids,
        possible=tuple(dict.fromkeys([*possible, *direct.possible, *through.possible])),
        reasons=tuple(dict.fromkeys(reasons)),
    )


def _allowed_only_direct(view: _View, allowing: list[SecurityGroupRule]) -> bool:
    """Whether no rule would allow the packet if it came by a load balancer that is not known."""
    return (
        view.direction is FlowDirection.INGRESS
        and view.packet.protocol in PROTOCOLS_WITH_PORTS
        and all(isinstance(rule.peer, GroupReference) for rule in allowing)
        and not load_balancers_known(view.config)
    )


def _answer_without_groups(interface: Interface) -> GroupsAnswer:
    """Return the answer for an interface that has no security group, or no known one."""
    if interface.is_nat_gateway:
        return GroupsAnswer(
            outcome=Outcome.ALLOW, group_ids=(), reasons=("a NAT gateway has no security group",)
        )
    # An interface that forwards can exist without a group. On every other interface an empty list
    # of groups is a gap in the data.
    if interface.group_ids is None or interface.interface_type not in FORWARDING_TYPES:
        return GroupsAnswer(
            outcome=Outcome.UNKNOWN,
            group_ids=interface.group_ids,
            reasons=(f"the security groups of {interface.interface_id} are not known",),
        )
    return GroupsAnswer(
        outcome=Outcome.ALLOW,
        group_ids=(),
        reasons=(f"{interface.interface_id} has no security group",),
    )


def _rules(view: _View, group_ids: tuple[str, ...]) -> tuple[list[SecurityGroupRule], list[str]]:
    """Return the rules of all groups in the packet's direction, and which of them are not known."""
    known: list[SecurityGroupRule] = []
    unknown: list[str] = []
    for group_id in group_ids:
        group = view.config.security_group(group_id)
        rules = None
        if group is not None:
            rules = group.egress if view.direction is FlowDirection.EGRESS else group.ingress
        if rules is None:
            unknown.append(f"the {view.direction} rules of {group_id} are not known")
        else:
            known += rules
    return known, unknown


def _check(view: _View, rule: SecurityGroupRule) -> _CheckedRule:
    return _CheckedRule(
        rule,
        {
            Criterion.PROTOCOL: match_protocol(rule.protocol, view.packet),
            Criterion.PORT: _match_details(rule, view.packet),
            Criterion.PEER: _match_peer(view, rule.peer),
        },
    )


def _match_details(rule: SecurityGroupRule, packet: Packet) -> Finding:
    number = protocol_number(rule.protocol)
    if number in PROTOCOLS_WITH_PORTS:
        if packet.protocol is not None and packet.protocol not in PROTOCOLS_WITH_PORTS:
            return NO  # a packet without ports does not differ in its protocol alone
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


def _match_peer(view: _View, peer: Peer | None) -> Finding:
    match peer:
        case None:
            return possible("its peer is not one this program knows")
        case PrefixListReference():
            listed = view.config.prefix_list(peer.prefix_list_id)
            return match_prefix_list(peer, listed, view.address)
        case GroupReference():
            if view.before is not None:
                return sure(matches=peer.group_id in view.before.group_ids)
            return NO if view.middlebox else _match_reference(view, peer)
        case _:
            return sure(matches=view.address in peer)


# --- references to groups ---------------------------------------------------------------------


def _match_reference(view: _View, reference: GroupReference) -> Finding:
    config, interface, address = view.config, view.interface, view.address
    peering = None if reference.peering_id is None else config.peering(reference.peering_id)
    over_peering = _match_peering(reference, peering)
    if over_peering.match is Match.NO:
        return NO
    local = config.interface_at(interface.vpc_id, address)
    if local is not None:
        # In its VPC an address belongs to one interface, which takes precedence over an interface
        # of another VPC with the same address.
        if local.group_ids is None:
            return _groups_not_known(local, address)
        return sure(matches=reference.group_id in local.group_ids)
    best = max(
        (
            _match_holder(view, holder, reference, over_peering)
            for holder in config.interfaces_with(address)
            if holder.group_ids is None or reference.group_id in holder.group_ids
        ),
        key=lambda finding: finding.match,
        default=NO,
    )
    return best if best.match is not Match.NO else _match_unknown_holder(view, reference, peering)


def _groups_not_known(interface: Interface, address: Address) -> Finding:
    return possible(
        f"the security groups of {interface.interface_id}, which has {address}, are not known"
    )


def _match_peering(reference: GroupReference, peering: Peering | None) -> Finding:
    """Match the peering connection that a reference names; a stale reference never matches."""
    if reference.peering_id is None and reference.peering_status is None:
        return YES
    # The status in the rule counts too: AWS keeps showing rules of deleted connections.
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


def _match_holder(
    view: _View, holder: Interface, reference: GroupReference, over_peering: Finding
) -> Finding:
    """Match an interface of another VPC that has the packet's address and may hold the group."""
    here, there = view.interface.vpc_id, holder.vpc_id
    if here is None or there is None:
        unplaced = view.interface if here is None else holder
        return possible(f"the VPC of {unplaced.interface_id} is not known")
    if holder.group_ids is None:
        return _groups_not_known(holder, view.address)
    if over_peering.match is Match.POSSIBLE:
        return over_peering
    return _match_vpc(view, reference, here, there)


def _match_vpc(view: _View, reference: GroupReference, here: str, there: str) -> Finding:
    """Match the VPC of a holder: whether a reference reaches from one VPC to the other."""
    config = view.config
    links = [
        peering
        for peering in config.peerings_of(here)
        if peering.side(there) is not None and not peering.crosses_regions
    ]
    if any(peering.carries_traffic for peering in links):
        return YES
    if (
        reference.peering_id is not None
        and config.peering(reference.peering_id) is None
        and reference.vpc_id in {None, there}
    ):
        return YES  # the rule itself says that its connection is active
    if (
        view.direction is FlowDirection.EGRESS
        and config.knows_all("peerings")
        and all(peering.carries_traffic is False for peering in links)
    ):
        return NO  # over a transit gateway, only inbound rules can refer to groups
    return possible(
        f"whether {here} and {there} are peered, or share a transit gateway that resolves groups, "
        "is not known"
    )


def _match_unknown_holder(
    view: _View, reference: GroupReference, peering: Peering | None
) -> Finding:
    """Match a holder that the data does not show, or does not show with the packet's address."""
    config, address, group_id = view.config, view.address, reference.group_id
    unlisted = config.unlisted_holder(group_id, address.version)
    if unlisted is not None:
        return possible(
            f"the addresses of {unlisted.interface_id}, which holds {group_id}, are not known"
        )
    if config.has_members_of(reference, view.interface.vpc_id):
        return NO
    side = None if peering is None else peering.other_side(view.interface.vpc_id)
    if side is not None and lies_within(side.cidrs, address) is False:
        return NO
    return possible(f"not all interfaces that hold {group_id} are known")


# --- the nearest miss -------------------------------------------------------------------------


# Most likely a person meant to open the same service to another peer, or else another port to the
# same peer.
_NEAREST_FIRST = (Criterion.PEER, Criterion.PORT, Criterion.PROTOCOL)


def _nearest_miss(view: _View, checked: list[_CheckedRule]) -> NearestMiss | None:
    """Return the rule that differs from the packet in one criterion and is the closest.

    Rules are compared by the criterion, then by the distance, then by their text.
    """
    misses = [
        NearestMiss(rule=each.rule, differs=each.only_difference)
        for each in checked
        if each.only_difference is not None
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
    """Return how far a rule is from the packet.

    For ports, the difference to the nearest port of the range. For address ranges, a number that is
    the lower, the more leading bits the range and the address share.
    """
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
            return 1  # farther than any range of the same IP version, and than a reference (0)
        return (int(rule.peer.network_address) ^ int(address)).bit_length() - address.max_prefixlen
    return 0
