"""Determine what really happened to each rejected flow, and what a program can know of it.

The cause is the network's own decision and is never derived from records. ``decidable_*`` are what
a perfect classifier must get right. They are conservative: where they are false, a classifier may
be right or report less than the truth, but must not be certain of a wrong answer. They are
derived from the records as written, after losses, and ``decidable_with_config`` from the
snapshot's rules.

A perfect classifier may assume that BPA and Encryption Controls are off unless ``reject-reason``
names them. What it knows of the leg of a flow is in ``log_view``.

``decidable_without_config``: the leg is known and true. For a closed connection, FIN was logged in
both directions, all that was accepted ended before the reject began, and the reject is not a SYN.
For BPA and Encryption Controls, the reason is logged. A right answer is one of
``right_without_config``.

``decidable_with_config``: the leg is known as above, and the snapshot's rules give the same
decision (the same layers and the same entry), or for a request allow it at both layers
(``rules-allow``). For ICMP that must hold for every type and code that any rule names. A closed
connection also counts if both directions were accepted before and the snapshot's rules allow the
packet. A right answer is one of ``right_with_config``. Replies that a group blocks because the flow
was untracked are never decidable.

Where records are stamped as AWS stamps them, ``decidable`` decides both.

``leg_decidable`` is narrower: the leg must be named, not left unknown, only where a rule is the
cause, and the leg shows in TCP flags or in an accepted opposite direction, or the interface has
ACCEPT records; never for equal ports or backscatter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.simulator.connections import Case
from tests.simulator.decidable import (
    BY_RULES,
    EITHER,
    Knowledge,
    ReadTime,
    read_time,
    shown_by,
)
from tests.simulator.evaluator import AclAnswer, PacketView, evaluate_acl, evaluate_groups
from tests.simulator.log_view import Log, clearly_closed, implied_leg, timeless_leg, was_open
from tests.simulator.network import SYN, Cause, Hop, Leg, Observation, Tracking, view_of
from tests.simulator.paths import PATH_VIRTUAL_PRIVATE_GATEWAY
from tests.simulator.records import FlowKey, Format, key_of
from tests.simulator.routes import PATH_PEERING
from tests.simulator.world import ICMP, ICMPV6, TCP, World

if TYPE_CHECKING:
    from collections.abc import Sequence

_WHOLE_LOG = (Case.LOST_RECORDS, Case.REJECT_ONLY, Case.AWS_STAMPS, Case.SKIPDATA)
_PATHS_TO_OWN_NETWORKS = (PATH_VIRTUAL_PRIVATE_GATEWAY, PATH_PEERING)
_ALLOWED = "rules-allow"
_UNDETERMINED = "undetermined"
_UNKNOWN = "unknown"
_ANSWERS_TO = {(8, 0): (0, 0), (0, 0): (8, 0), (128, 0): (129, 0), (129, 0): (128, 0)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """The truth about one rejected flow, as logged.

    ``network_acl_entry`` is the deny entry where the network ACL blocks, alone or with the groups.
    ``avoids_internet`` is whether the other end is in a network of the company's own, as the route
    tables say, whatever its address looks like; ``shows_no_internet`` is whether ``traffic-path``
    says so. ``mixed`` is whether packets of this flow were rejected for different causes or legs;
    the fields then show the first of them, and ``causes`` all.
    """

    key: FlowKey
    egress: bool
    pkt_srcaddr: str
    pkt_dstaddr: str
    first_seen: int
    leg: Leg
    cause: Cause
    causes: frozenset[Cause]
    mixed: bool
    network_acl_entry: AclAnswer | None
    security_groups: tuple[str, ...]
    hard_case: str | None
    decidable_without_config: bool
    decidable_with_config: bool
    leg_decidable: bool
    truth_at_read_time: ReadTime
    peer_in_world: bool
    packet: PacketView
    reply_crosses: bool
    tracking: Tracking | None = None
    in_real_network: bool = False
    avoids_internet: bool = False
    shows_no_internet: bool = False

    @property
    def any_leg(self) -> bool:
        """Whether no leg is wrong: packets of several, a packet without, a connection forgotten."""
        return self.mixed or self.tracking is not None or self.cause is Cause.NOT_CARRIED

    @property
    def right_legs(self) -> frozenset[str]:
        """The legs that are right: the true leg, and ``unknown`` unless the leg must be named."""
        if self.any_leg:
            return frozenset({*Leg, _UNKNOWN})
        must_be_named = self.leg_decidable and not self.in_real_network
        return frozenset({self.leg} if must_be_named else {self.leg, _UNKNOWN})

    @property
    def right_without_config(self) -> frozenset[str]:
        """The verdicts that are right where only records are known: as narrow as they allow."""
        if self.tracking is not None:
            return self._right_without_tracking
        if self.cause not in BY_RULES:
            return frozenset({self.cause})
        if self.leg is Leg.RESPONSE:
            return frozenset({self.cause})
        return frozenset({self.cause, EITHER})

    @property
    def right_with_config(self) -> frozenset[str]:
        """The verdicts that are right where the snapshot is known."""
        if self.tracking is not None:
            return self._right_without_tracking
        if self.cause in BY_RULES and not self.truth_at_read_time.allows:
            return frozenset({self.cause})
        if self.truth_at_read_time.allows and self.cause not in (
            Cause.BLOCK_PUBLIC_ACCESS,
            Cause.ENCRYPTION_CONTROLS,
            Cause.NOT_CARRIED,
        ):
            return frozenset({self.cause, _ALLOWED})
        return frozenset({self.cause})

    @property
    def _right_without_tracking(self) -> frozenset[str]:
        words: set[str] = {self.cause, Cause.SECURITY_GROUP}
        if self.tracking is Tracking.LOST:
            words.add(Cause.CLOSED_CONNECTION)
        return frozenset(words)

    @property
    def vague(self) -> frozenset[str]:
        """The verdicts that leave the cause open, and do not exclude the truth."""
        either = self.causes & {Cause.SECURITY_GROUP, Cause.NETWORK_ACL, Cause.BOTH}
        return frozenset({_UNDETERMINED, EITHER} if either else {_UNDETERMINED})

    @property
    def has_no_fix(self) -> bool:
        """Whether no rule should be opened: a forgotten connection, a packet never carried."""
        return self.tracking is Tracking.LOST or self.cause is Cause.NOT_CARRIED

    @property
    def legs_not_false(self) -> frozenset[str]:
        """The legs that a certain answer may name."""
        return frozenset({*Leg, _UNKNOWN} if self.any_leg else {self.leg, _UNKNOWN})

    @property
    def not_false(self) -> frozenset[str]:
        """The verdicts that are not false: right or vague. A certain verdict must be among them."""
        words: set[str] = {_UNDETERMINED, *self.causes}
        if self.causes & {Cause.SECURITY_GROUP, Cause.NETWORK_ACL}:
            words.add(EITHER)
        if Cause.BOTH in self.causes:
            words.add(EITHER)
        if self.truth_at_read_time.allows:
            words.add(_ALLOWED)
        if self.tracking is not None:
            words |= self._right_without_tracking
        if self.cause is Cause.NOT_CARRIED:
            words |= self.truth_at_read_time.blocking
        return frozenset(words)


def truths(
    observations: Sequence[Observation], log: Log, worlds: Sequence[World], case: Case
) -> list[Truth]:
    """Return the truth about every rejected flow, in order of key.

    The snapshot describes the last of the worlds.
    """
    flows: dict[FlowKey, list[Observation]] = {}
    for seen in observations:
        if seen.rules_check.cause is not None:
            flows.setdefault(key_of(seen), []).append(seen)
    return [
        _truth(key, sorted(flows[key], key=lambda seen: seen.packet.time), log, worlds, case)
        for key in sorted(flows)
    ]


def _truth(
    key: FlowKey, rejects: Sequence[Observation], log: Log, worlds: Sequence[World], case: Case
) -> Truth:
    first = rejects[0]
    hop, packet, cause = first.hop, first.packet, first.rules_check.cause
    if cause is None:
        raise ValueError("a packet that passed has no truth about its rejection")
    world = worlds[-1]
    mixed = _is_mixed(rejects)
    view = view_of(hop, packet)
    read = read_time(world, hop, view)
    implied = timeless_leg if log.as_aws else implied_leg
    leg_is_known = not mixed and implied(log, key, hop.egress) is packet.leg
    settled = not mixed and _same_for_any_icmp(world, hop, view, read)
    knowledge = Knowledge(
        log=log, key=key, first=first, world=world, read=read, leg_is_known=leg_is_known
    )
    if mixed:
        without = with_config = False
    elif log.as_aws:
        without = knowledge.decides_without_config
        with_config = settled and knowledge.decides_with_config
    else:
        without, with_config = _decides_by_times(knowledge, cause, settled=settled)
    return Truth(
        key=key,
        egress=hop.egress,
        pkt_srcaddr=str(hop.source),
        pkt_dstaddr=str(hop.destination),
        first_seen=int(packet.time),
        leg=packet.leg,
        cause=cause,
        causes=_causes(rejects),
        mixed=mixed,
        network_acl_entry=first.rules_check.blocking_entry,
        security_groups=hop.interface.group_ids,
        hard_case=_hard_case(first, worlds, case, mixed=mixed),
        decidable_without_config=without,
        decidable_with_config=with_config,
        leg_decidable=leg_is_known and _leg_must_be_named(log, first, key),
        truth_at_read_time=read,
        peer_in_world=world.holds(hop.peer),
        packet=view,
        reply_crosses=hop.at_boundary if hop.reply_at_boundary is None else hop.reply_at_boundary,
        tracking=first.rules_check.tracking,
        in_real_network=log.as_aws,
        shows_no_internet=log.fmt is not Format.V2 and hop.path in _PATHS_TO_OWN_NETWORKS,
        avoids_internet=world.is_own_network(hop.interface.vpc_id, hop.peer),
    )


def _decides_by_times(knowledge: Knowledge, cause: Cause, *, settled: bool) -> tuple[bool, bool]:
    """Return whether a flow is decidable without and with the snapshot, by the order of records."""
    log, key, read = knowledge.log, knowledge.key, knowledge.read
    if knowledge.first.packet.case == Case.UNTRACKED:
        return False, False
    if cause in BY_RULES:
        known = knowledge.leg_is_known
        return known, known and settled and shown_by(read, knowledge.first)
    if cause is Cause.CLOSED_CONNECTION:
        without = clearly_closed(log, key)
        return without, without or (settled and read.allows and was_open(log, key))
    return log.fmt.has_reason, log.fmt.has_reason


def _is_mixed(rejects: Sequence[Observation]) -> bool:
    decisions = {
        (
            seen.rules_check.cause,
            seen.rules_check.tracking,
            seen.packet.leg,
            seen.rules_check.acl,
            seen.hop.egress,
        )
        for seen in rejects
    }
    return len(decisions) > 1


def _causes(rejects: Sequence[Observation]) -> frozenset[Cause]:
    causes = (seen.rules_check.cause for seen in rejects)
    return frozenset(cause for cause in causes if cause is not None)


def lets_through(world: World, truth: Truth) -> tuple[bool, bool]:
    """Return whether a world's rules allow the rejected packet, and its reply, at the interface.

    Responses and replies pass the groups as packets of a tracked connection; every packet must pass
    the network ACL.
    """
    interface = world.interfaces[truth.key.interface_id]
    packet = truth.packet
    reply = PacketView(
        egress=not packet.egress,
        peer=packet.peer,
        protocol=packet.protocol,
        port=truth.key.srcport,
        icmp=answer_to(packet.icmp),
    )
    crosses = truth.truth_at_read_time.network_acl is not None
    acl = world.acl_of(interface)
    out = not crosses or evaluate_acl(acl, packet).allow
    if truth.leg is Leg.REQUEST:
        out = out and evaluate_groups(world, interface, packet) is not False
    return out, not truth.reply_crosses or evaluate_acl(acl, reply).allow


def answer_to(icmp: tuple[int, int] | None) -> tuple[int, int] | None:
    """Return the ICMP type and code of the packet in the other direction."""
    return None if icmp is None else _ANSWERS_TO.get(icmp, icmp)


def _leg_must_be_named(log: Log, first: Observation, key: FlowKey) -> bool:
    if first.rules_check.cause not in BY_RULES or key.srcport == key.dstport != 0:
        return False
    if first.packet.case in (Case.UNTRACKED, Case.BACKSCATTER):
        return False
    flags = log.flags(log.rejected[key]) if key.protocol == TCP else None
    if flags is not None and flags & SYN:
        return True
    return key.mirrored() in log.accepted or key.interface_id in log.accepting


def _same_for_any_icmp(world: World, hop: Hop, view: PacketView, read: ReadTime) -> bool:
    """Return whether the answer is the same for every ICMP type and code.

    All types and codes that a rule names are tried, and one that no rule names.
    """
    if view.protocol not in (ICMP, ICMPV6):
        return True
    kinds = {(8, 0), (0, 0), (128, 0), (129, 0), (3, 1), (250, 250)}
    for entry in world.acl_of(hop.interface).entries:
        if entry.icmp is not None:
            kinds.add(entry.icmp)
    for group_id in hop.interface.group_ids:
        for rule in world.groups[group_id].rules:
            if (
                rule.protocol in (ICMP, ICMPV6)
                and rule.from_port is not None
                and rule.to_port is not None
            ):
                kinds.add((rule.from_port, rule.to_port))
    return all(
        read_time(
            world,
            hop,
            PacketView(egress=hop.egress, peer=hop.peer, protocol=view.protocol, port=0, icmp=kind),
        )
        == read
        for kind in sorted(kinds)
    )


def _hard_case(
    first: Observation, worlds: Sequence[World], case: Case, *, mixed: bool
) -> str | None:
    """Return the name of the hard case, or ``None``.

    In this order: skewed times, the case of the packet, a change of rules that matters here, the
    case of the whole log.
    """
    if case is Case.SKEWED_TIMES:
        return case
    if first.packet.case is not None:
        return first.packet.case
    if first.rules_check.cause in (Cause.BLOCK_PUBLIC_ACCESS, Cause.ENCRYPTION_CONTROLS):
        return first.rules_check.cause
    view = view_of(first.hop, first.packet)
    if len({read_time(world, first.hop, view) for world in worlds}) > 1:
        return Case.RULE_CHANGE
    if case in _WHOLE_LOG:
        return case
    if case is Case.SECONDARY_ADDRESSES and _hides_an_address(first.hop):
        return case
    return "mixed" if mixed else None


def _hides_an_address(hop: Hop) -> bool:
    return (hop.source, hop.destination) != (hop.logged_source, hop.logged_destination)
