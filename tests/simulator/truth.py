"""Determine what really happened to each rejected flow, and what a program can know of it.

The cause is the network's own decision and is never derived from records. ``decidable_*`` are what
a perfect classifier must get right. They are conservative: where they are false, a classifier may
be right or report less than the truth, but must not be certain of a wrong answer. They are
derived from the records as written, after losses, and ``decidable_with_config`` from the
snapshot's rules.

A perfect classifier may assume that BPA and Encryption Controls are off unless ``reject-reason``
names them. It may also assume that the log is complete for an interface, so that a flow without an
ACCEPT record had nothing accepted: where the log has any ACCEPT records, and no SKIPDATA of this
interface. It knows the leg of a flow (``implied_leg``) only in these cases:

- TCP flags show SYN without ACK (request), or SYN-ACK sent by the interface itself (response).
- SYN-ACK came in: response if the opposite direction was accepted and began no later, else request
  (backscatter) if the log is complete.
- No such flags: response if the opposite direction was accepted, began no later than the reject and
  at most 30 seconds before it, and the flow itself was never accepted. With equal ports at both
  ends, the opposite direction must have begun strictly earlier.
- No such flags and nothing accepted: request if the log is complete and the source port is not
  lower than the destination port (ICMP has no ports: both are 0). An RST, or TCP without flags
  where flags are logged, opens nothing, so the leg stays unknown.

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

``leg_decidable`` is narrower: the leg must be named, not left unknown, only where a rule is the
cause, and the leg shows in TCP flags or in an accepted opposite direction, or the interface has
ACCEPT records; never for equal ports or backscatter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.simulator.connections import Case
from tests.simulator.evaluator import AclAnswer, PacketView, evaluate_acl, evaluate_groups
from tests.simulator.network import (
    ACK,
    FIN,
    RST,
    SYN,
    Cause,
    Hop,
    Leg,
    Observation,
    Tracking,
    view_of,
)
from tests.simulator.records import FlowKey, Format, Record, key_of
from tests.simulator.world import ICMP, ICMPV6, TCP, World

if TYPE_CHECKING:
    from collections.abc import Sequence

_EITHER = "network-acl-or-security-group"
_ALLOWED = "rules-allow"
_UNDETERMINED = "undetermined"
_UNKNOWN = "unknown"
_BY_RULES = frozenset({Cause.SECURITY_GROUP, Cause.NETWORK_ACL, Cause.BOTH})
_ANSWERS_TO = {(8, 0): (0, 0), (0, 0): (8, 0), (128, 0): (129, 0), (129, 0): (128, 0)}
_ANSWER_SECONDS = 30  # no tracked connection is forgotten sooner


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadTime:
    """What the described rules do with the packet as a new packet: without state, layer by layer.

    ``network_acl`` is ``None`` within one subnet, ``security_groups_allow`` for an interface
    without groups.
    """

    network_acl: AclAnswer | None
    security_groups_allow: bool | None

    @property
    def allows(self) -> bool:
        """Whether no layer blocks."""
        return (
            self.network_acl is None or self.network_acl.allow
        ) and self.security_groups_allow is not False

    @property
    def blocking(self) -> frozenset[str]:
        """The verdicts that name what blocks; empty where no layer does."""
        acl = self.network_acl is not None and not self.network_acl.allow
        groups = self.security_groups_allow is False
        if acl and groups:
            return frozenset({Cause.BOTH, _EITHER})
        if acl:
            return frozenset({Cause.NETWORK_ACL, _EITHER})
        return frozenset({Cause.SECURITY_GROUP, _EITHER} if groups else ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """The truth about one rejected flow, as logged.

    ``network_acl_entry`` is the deny entry where the network ACL blocks, alone or with the groups.
    ``mixed`` is whether packets of this flow were rejected for different causes or legs; the fields
    then show the first of them, and ``causes`` all.
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

    @property
    def any_leg(self) -> bool:
        """Whether no leg is wrong: packets of several, a packet without, a connection forgotten."""
        return self.mixed or self.tracking is not None or self.cause is Cause.NOT_CARRIED

    @property
    def right_legs(self) -> frozenset[str]:
        """The legs that are right: the true leg, and ``unknown`` where the leg is not decidable."""
        if self.any_leg:
            return frozenset({*Leg, _UNKNOWN})
        return frozenset({self.leg}) if self.leg_decidable else frozenset({self.leg, _UNKNOWN})

    @property
    def right_without_config(self) -> frozenset[str]:
        """The verdicts that are right where only records are known: as narrow as they allow."""
        if self.tracking is not None:
            return self._right_without_tracking
        if self.cause not in _BY_RULES:
            return frozenset({self.cause})
        if self.leg is Leg.RESPONSE:
            return frozenset({self.cause})
        return frozenset({self.cause, _EITHER})

    @property
    def right_with_config(self) -> frozenset[str]:
        """The verdicts that are right where the snapshot is known."""
        if self.tracking is not None:
            return self._right_without_tracking
        if self.cause in _BY_RULES and not self.truth_at_read_time.allows:
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
        return frozenset({_UNDETERMINED, _EITHER} if either else {_UNDETERMINED})

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
            words.add(_EITHER)
        if Cause.BOTH in self.causes:
            words.add(_EITHER)
        if self.truth_at_read_time.allows:
            words.add(_ALLOWED)
        if self.tracking is not None:
            words |= self._right_without_tracking
        if self.cause is Cause.NOT_CARRIED:
            words |= self.truth_at_read_time.blocking
        return frozenset(words)


class _Log:
    """The records as written, by flow and by interface."""

    def __init__(self, records: Sequence[Record], fmt: Format) -> None:
        self.fmt = fmt
        self.accepted: dict[FlowKey, list[Record]] = {}
        self.rejected: dict[FlowKey, list[Record]] = {}
        self.gaps: set[str] = set()
        self.accepting: set[str] = set()
        for record in records:
            if record.status == "SKIPDATA":
                self.gaps.add(record.interface.interface_id)
            if record.key is None:
                continue
            if record.accepted:
                self.accepting.add(record.interface.interface_id)
            (self.accepted if record.accepted else self.rejected).setdefault(record.key, []).append(
                record
            )

    def whole(self, key: FlowKey) -> bool:
        return bool(self.accepting) and key.interface_id not in self.gaps

    def flags(self, records: Sequence[Record]) -> int | None:
        """Return the flags of all these records, or ``None`` where the format has none."""
        if self.fmt is Format.V2:
            return None
        combined = 0
        for record in records:
            combined |= record.flags
        return combined


def implied_leg(log: _Log, key: FlowKey, egress: bool) -> Leg | None:  # noqa: FBT001 - the direction as logged
    """Return the leg that the records alone show, or ``None`` where they leave it open."""
    rejects = log.rejected[key]
    start = min(record.start for record in rejects)
    flags = log.flags(rejects) if key.protocol == TCP else None
    if flags is not None and flags & SYN:
        if not flags & ACK:
            return Leg.REQUEST
        return Leg.RESPONSE if egress else _leg_of_incoming_syn_ack(log, key, start)
    if key in log.accepted:
        return None
    mirror = log.accepted.get(key.mirrored())
    if mirror is not None:
        answers = _answers(mirror, start, strictly=key.srcport == key.dstport != 0)
        return Leg.RESPONSE if answers else None
    if not log.whole(key) or flags is not None:
        return None
    return Leg.REQUEST if key.srcport >= key.dstport else None


def _leg_of_incoming_syn_ack(log: _Log, key: FlowKey, start: int) -> Leg | None:
    mirror = log.accepted.get(key.mirrored())
    if mirror is None:
        return Leg.REQUEST if log.whole(key) else None
    return Leg.RESPONSE if min(record.start for record in mirror) <= start else None


def _answers(mirror: Sequence[Record], start: int, *, strictly: bool) -> bool:
    first = min(record.start for record in mirror)
    in_order = first < start if strictly else first <= start
    return in_order and start <= max(record.end for record in mirror) + _ANSWER_SECONDS


def _clearly_closed(log: _Log, key: FlowKey) -> bool:
    accepted, mirror = log.accepted.get(key, []), log.accepted.get(key.mirrored(), [])
    flags, mirror_flags, late = log.flags(accepted), log.flags(mirror), log.flags(log.rejected[key])
    if flags is None or mirror_flags is None or late is None or late & SYN:
        return False
    over = bool(flags & FIN and mirror_flags & FIN) or bool((flags | mirror_flags) & RST)
    start = min(record.start for record in log.rejected[key])
    return (
        bool(accepted)
        and bool(mirror)
        and over
        and all(record.end < start for record in (*accepted, *mirror))
    )


def truths(
    observations: Sequence[Observation],
    records: Sequence[Record],
    worlds: Sequence[World],
    fmt: Format,
    case: Case,
) -> list[Truth]:
    """Return the truth about every rejected flow, in order of key.

    The snapshot describes the last of the worlds.
    """
    log = _Log(records, fmt)
    flows: dict[FlowKey, list[Observation]] = {}
    for seen in observations:
        if seen.rules_check.cause is not None:
            flows.setdefault(key_of(seen), []).append(seen)
    return [
        _truth(key, sorted(flows[key], key=lambda seen: seen.packet.time), log, worlds, case)
        for key in sorted(flows)
    ]


def _truth(
    key: FlowKey, rejects: Sequence[Observation], log: _Log, worlds: Sequence[World], case: Case
) -> Truth:
    first = rejects[0]
    hop, packet, cause = first.hop, first.packet, first.rules_check.cause
    if cause is None:
        raise ValueError("a packet that passed has no truth about its rejection")
    world = worlds[-1]
    mixed = _is_mixed(rejects)
    view = view_of(hop, packet)
    read = _read(world, hop, view)
    leg_is_known = not mixed and implied_leg(log, key, hop.egress) is packet.leg
    settled = not mixed and _same_for_any_icmp(world, hop, view, read)
    if packet.case == Case.UNTRACKED:
        without = with_config = False
    elif cause in _BY_RULES:
        without, with_config = leg_is_known, leg_is_known and settled and _shown_by(read, first)
    elif cause is Cause.CLOSED_CONNECTION:
        without = not mixed and _clearly_closed(log, key)
        with_config = without or (settled and read.allows and _was_open(log, key))
    else:
        without = with_config = not mixed and log.fmt is Format.V8
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
    )


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


def _was_open(log: _Log, key: FlowKey) -> bool:
    """Return whether a TCP connection was accepted in both directions."""
    return key.protocol == TCP and key in log.accepted and key.mirrored() in log.accepted


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
        icmp=None if packet.icmp is None else _ANSWERS_TO.get(packet.icmp, packet.icmp),
    )
    crosses = truth.truth_at_read_time.network_acl is not None
    acl = world.acl_of(interface)
    out = not crosses or evaluate_acl(acl, packet).allow
    if truth.leg is Leg.REQUEST:
        out = out and evaluate_groups(world, interface, packet) is not False
    return out, not truth.reply_crosses or evaluate_acl(acl, reply).allow


def _leg_must_be_named(log: _Log, first: Observation, key: FlowKey) -> bool:
    if first.rules_check.cause not in _BY_RULES or key.srcport == key.dstport != 0:
        return False
    if first.packet.case in (Case.UNTRACKED, Case.BACKSCATTER):
        return False
    flags = log.flags(log.rejected[key]) if key.protocol == TCP else None
    if flags is not None and flags & SYN:
        return True
    return key.mirrored() in log.accepted or key.interface_id in log.accepting


def _read(world: World, hop: Hop, view: PacketView) -> ReadTime:
    return ReadTime(
        network_acl=evaluate_acl(world.acl_of(hop.interface), view) if hop.at_boundary else None,
        security_groups_allow=evaluate_groups(world, hop.interface, view),
    )


def _shown_by(read: ReadTime, first: Observation) -> bool:
    """Return whether the described rules give the same decision, or by now allow the request."""
    if first.packet.leg is Leg.REQUEST and read.allows:
        return True
    acl_blocks = read.network_acl is not None and not read.network_acl.allow
    if first.packet.leg is Leg.RESPONSE:
        return acl_blocks and read.network_acl == first.rules_check.acl
    groups_block = read.security_groups_allow is False
    return (
        read.network_acl == first.rules_check.acl or not acl_blocks
    ) and first.rules_check.cause == {
        (True, True): Cause.BOTH,
        (True, False): Cause.NETWORK_ACL,
        (False, True): Cause.SECURITY_GROUP,
    }.get((acl_blocks, groups_block))


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
        _read(
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
    if len({_read(world, first.hop, view) for world in worlds}) > 1:
        return Case.RULE_CHANGE
    if case in (Case.LOST_RECORDS, Case.REJECT_ONLY):
        return case
    if case is Case.SECONDARY_ADDRESSES and _hides_an_address(first.hop):
        return case
    return "mixed" if mixed else None


def _hides_an_address(hop: Hop) -> bool:
    return (hop.source, hop.destination) != (hop.logged_source, hop.logged_destination)
