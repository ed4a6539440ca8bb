"""What really happened to each rejected flow, and what anybody could know of it.

The cause is the network's own ruling, never worked out from records. ``decidable_*`` say what a perfect judge must get right, and
are conservative: where they are false, a judge may be right or give less than the truth, but must not be certain of something
else. They are worked out from the records as written, after losses, and for ``decidable_with_config`` from the snapshot's rules.

A perfect judge may take for granted that the log is whole for an interface - a flow without an ACCEPT record had nothing
accepted - where the log has any ACCEPT records and this interface no SKIPDATA; that BPA and Encryption Controls are off unless
``reject-reason`` says so. It knows the leg of a flow (``implied_leg``) only where

- TCP flags show SYN without ACK (request), or SYN-ACK sent by the interface itself (response);
- SYN-ACK came in: response if its opposite was accepted beginning no later, else a request (backscatter) if the log is whole;
- without such flags: the opposite direction was accepted, beginning no later than the reject and at most half a minute before it,
  and the flow itself never was accepted (response; with equal ports at both ends it must have begun strictly earlier);
- without such flags and without anything accepted: the log is whole and the source port is not lower than the destination port
  (request; ICMP has no ports: both 0). An RST, or TCP without flags where flags are logged, opens nothing and stays unknown.

``decidable_without_config``: the leg is known and is the true one; for a closed connection FIN was logged both ways, all that
was accepted ended before the reject began, and it is no SYN; for BPA and Encryption Controls the reason is logged. A right answer
then is one of ``right_without_config``.

``decidable_with_config``: the leg is known as above, and the snapshot's rules give this very ruling (the same layers and the same
entry), or for a request allow it at both layers (``rules-allow``); for ICMP under every type and code any rule names. A closed
connection also counts if both directions were accepted before and the snapshot's rules allow the packet. A right answer then is
one of ``right_with_config``. Replies that a group blocks because the flow was untracked are never decidable.

``leg_decidable`` is narrower: the leg must be named, not left unknown, only where a rule is the cause and the leg shows by TCP
flags or an accepted opposite direction, or the interface has ACCEPT records of its own; never for equal ports or backscatter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.simulator.evaluator import AclAnswer, Question, ask_acl, ask_groups
from tests.simulator.network import ACK, FIN, RST, SYN, Cause, Hop, Leg, Observation, question_of
from tests.simulator.records import FlowKey, Format, Record, key_of
from tests.simulator.traffic import Case
from tests.simulator.world import ICMP, ICMPV6, TCP, World

if TYPE_CHECKING:
    from collections.abc import Sequence

_EITHER = "network-acl-or-security-group"
_ALLOWED = "rules-allow"
_UNDETERMINED = "undetermined"
_UNKNOWN = "unknown"
_BY_RULES = frozenset({Cause.SECURITY_GROUP, Cause.NETWORK_ACL, Cause.BOTH})
_ANSWERS_TO = {(8, 0): (0, 0), (0, 0): (8, 0), (128, 0): (129, 0), (129, 0): (128, 0)}
_ANSWER_SECONDS = 30  # no tracked state is forgotten sooner


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadTime:
    """What the described rules say of the packet as if it were new: no state, each layer asked by itself.

    ``network_acl`` is ``None`` within one subnet, ``security_groups_allow`` for an interface without groups.
    """

    network_acl: AclAnswer | None
    security_groups_allow: bool | None

    @property
    def allows(self) -> bool:
        """Whether no layer blocks."""
        return (
            self.network_acl is None or self.network_acl.allow
        ) and self.security_groups_allow is not False


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """The truth about one rejected flow, as logged.

    ``network_acl_entry`` is the deny entry where the ACL blocks, alone or with the groups; ``mixed`` says that packets of this
    flow were rejected for different causes or legs, of which the fields show the first; ``causes`` are all of them.
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
    packet: Question

    @property
    def right_legs(self) -> frozenset[str]:
        """The legs that are right: the true one, and ``unknown`` where nobody need know it."""
        return frozenset({self.leg}) if self.leg_decidable else frozenset({self.leg, _UNKNOWN})

    @property
    def right_without_config(self) -> frozenset[str]:
        """The verdicts that are right where only records are known: not false, and as narrow as the records allow."""
        if self.cause not in _BY_RULES:
            return frozenset({self.cause})
        if self.leg is Leg.RESPONSE:
            return frozenset({self.cause})
        return frozenset({self.cause, _EITHER})

    @property
    def right_with_config(self) -> frozenset[str]:
        """The verdicts that are right where the snapshot is known."""
        if self.cause in _BY_RULES and not self.truth_at_read_time.allows:
            return frozenset({self.cause})
        if self.truth_at_read_time.allows and self.cause not in (
            Cause.BLOCK_PUBLIC_ACCESS,
            Cause.ENCRYPTION_CONTROLS,
        ):
            return frozenset({self.cause, _ALLOWED})
        return frozenset({self.cause})

    @property
    def not_false(self) -> frozenset[str]:
        """The verdicts that say nothing false, right or only vague; anything else said with certainty is an error."""
        words: set[str] = {_UNDETERMINED, *self.causes}
        if self.causes & {Cause.SECURITY_GROUP, Cause.NETWORK_ACL}:
            words.add(_EITHER)
        if Cause.BOTH in self.causes:
            words.add(_EITHER)
        if self.truth_at_read_time.allows:
            words.add(_ALLOWED)
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
        """Give the flags of all these records, ``None`` where the format has none."""
        if self.fmt is Format.V2:
            return None
        every = 0
        for record in records:
            every |= record.flags
        return every


def implied_leg(log: _Log, key: FlowKey, egress: bool) -> Leg | None:  # noqa: FBT001 - the direction as logged
    """Give the leg that the records alone show, ``None`` where they leave it open."""
    rejects = log.rejected[key]
    mirror, same = log.accepted.get(key.mirrored(), []), log.accepted.get(key, [])
    start = min(record.start for record in rejects)
    flags = log.flags(rejects) if key.protocol == TCP else None
    if flags is not None and flags & SYN:
        if not flags & ACK:
            return Leg.REQUEST
        if egress or (mirror and min(record.start for record in mirror) <= start):
            return Leg.RESPONSE
        return Leg.REQUEST if not mirror and log.whole(key) else None
    if same:
        return None
    if mirror:
        return (
            Leg.RESPONSE
            if _answers(mirror, start, strictly=key.srcport == key.dstport != 0)
            else None
        )
    if not log.whole(key) or flags is not None:
        return None
    return Leg.REQUEST if key.srcport >= key.dstport else None


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
    """Give the truth about every rejected flow, in order of key. The last world is the one the snapshot describes."""
    log = _Log(records, fmt)
    flows: dict[FlowKey, list[Observation]] = {}
    for one in observations:
        if one.rules_check.cause is not None:
            flows.setdefault(key_of(one), []).append(one)
    return [
        _truth(key, sorted(flows[key], key=lambda one: one.packet.time), log, worlds, case)
        for key in sorted(flows)
    ]


def _truth(
    key: FlowKey, rejects: Sequence[Observation], log: _Log, worlds: Sequence[World], case: Case
) -> Truth:
    first = rejects[0]
    hop, packet, cause = first.hop, first.packet, first.rules_check.cause
    if cause is None:
        raise ValueError("the truth is asked about a packet that passed")
    world = worlds[-1]
    mixed = (
        len(
            {
                (one.rules_check.cause, one.packet.leg, one.rules_check.acl, one.hop.egress)
                for one in rejects
            }
        )
        > 1
    )
    question = question_of(hop, packet)
    read = _read(world, hop, question)
    entry = first.rules_check.acl if cause in (Cause.NETWORK_ACL, Cause.BOTH) else None
    leg_is_known = not mixed and implied_leg(log, key, hop.egress) is packet.leg
    settled = not mixed and _same_for_any_icmp(world, hop, question, read)
    if packet.case == Case.UNTRACKED:
        without = with_config = False
    elif cause in _BY_RULES:
        without = leg_is_known
        with_config = leg_is_known and settled and _shown_by(read, first)
    elif cause is Cause.CLOSED_CONNECTION:
        without = not mixed and _clearly_closed(log, key)
        both_seen = bool(log.accepted.get(key)) and bool(log.accepted.get(key.mirrored()))
        with_config = without or (settled and read.allows and both_seen and key.protocol == TCP)
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
        causes=frozenset(
            one.rules_check.cause for one in rejects if one.rules_check.cause is not None
        ),
        mixed=mixed,
        network_acl_entry=entry,
        security_groups=hop.interface.group_ids,
        hard_case=_hard_case(first, worlds, case, mixed=mixed),
        decidable_without_config=without,
        decidable_with_config=with_config,
        leg_decidable=leg_is_known
        and cause in _BY_RULES
        and packet.case != Case.UNTRACKED
        and _leg_must_be_named(log, first, key),
        truth_at_read_time=read,
        peer_in_world=any(one.holds(hop.peer) for one in world.interfaces.values()),
        packet=question,
    )


def lets_through(world: World, truth: Truth) -> tuple[bool, bool]:
    """Whether this world's rules, at the interface of the reject, let the rejected packet pass, and its reply.

    A response passes the groups by their state, and so does the reply to a request; both must pass the ACL.
    """
    interface = world.interfaces[truth.key.interface_id]
    ask = truth.packet
    reply = Question(
        egress=not ask.egress,
        peer=ask.peer,
        protocol=ask.protocol,
        port=truth.key.srcport,
        icmp=None if ask.icmp is None else _ANSWERS_TO.get(ask.icmp, ask.icmp),
    )
    crosses = truth.truth_at_read_time.network_acl is not None
    acl = world.acl_of(interface)
    out = not crosses or ask_acl(acl, ask).allow
    if truth.leg is Leg.REQUEST:
        out = out and ask_groups(world, interface, ask) is not False
    return out, not crosses or ask_acl(acl, reply).allow


def _leg_must_be_named(log: _Log, first: Observation, key: FlowKey) -> bool:
    if first.packet.case == Case.BACKSCATTER or key.srcport == key.dstport != 0:
        return False
    flags = log.flags(log.rejected[key]) if key.protocol == TCP else None
    if flags is not None and flags & SYN:
        return True
    return key.mirrored() in log.accepted or key.interface_id in log.accepting


def _read(world: World, hop: Hop, question: Question) -> ReadTime:
    return ReadTime(
        network_acl=ask_acl(world.acl_of(hop.interface), question) if hop.at_boundary else None,
        security_groups_allow=ask_groups(world, hop.interface, question),
    )


def _shown_by(read: ReadTime, first: Observation) -> bool:
    """Whether the rules as described give what was ruled, or for a request allow it by now."""
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


def _same_for_any_icmp(world: World, hop: Hop, question: Question, read: ReadTime) -> bool:
    """Whether the answer is the same under every ICMP type and code that a rule names, and one that none names."""
    if question.protocol not in (ICMP, ICMPV6):
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
            Question(
                egress=hop.egress, peer=hop.peer, protocol=question.protocol, port=0, icmp=kind
            ),
        )
        == read
        for kind in sorted(kinds)
    )


def _hard_case(
    first: Observation, worlds: Sequence[World], case: Case, *, mixed: bool
) -> str | None:
    """Give the name of the hard case: skewed times, the packet's own, a rule's change that matters here, that of the whole log."""
    if case is Case.SKEWED_TIMES:
        return case
    if first.packet.case is not None:
        return first.packet.case
    if first.rules_check.cause in (Cause.BLOCK_PUBLIC_ACCESS, Cause.ENCRYPTION_CONTROLS):
        return first.rules_check.cause
    question = question_of(first.hop, first.packet)
    if len({_read(world, first.hop, question) for world in worlds}) > 1:
        return Case.RULE_CHANGE
    if case in (Case.LOST_RECORDS, Case.REJECT_ONLY):
        return case
    if case is Case.SECONDARY_ADDRESSES and _hides_an_address(first.hop):
        return case
    return "mixed" if mixed else None


def _hides_an_address(hop: Hop) -> bool:
    return (hop.source, hop.destination) != (hop.logged_source, hop.logged_destination)
