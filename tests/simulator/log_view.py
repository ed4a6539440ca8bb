"""Determine what the records of a log show of a flow, as they were written, after losses.

A perfect classifier may assume that the log is complete for an interface, so that a flow without an
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

Times as AWS stamps them show no order (``timeless_leg``): SYN alone is a request. A flow that was
never accepted is a response if its opposite direction was, with SYN and no end where flags are
logged, and the ports differ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulator.network import ACK, FIN, RST, SYN, Leg
from tests.simulator.records import FlowKey, Format, Record
from tests.simulator.world import TCP

if TYPE_CHECKING:
    from collections.abc import Sequence

_ANSWER_SECONDS = 30  # no tracked connection is forgotten sooner


class Log:
    """The records as written, by flow and by interface."""

    def __init__(self, records: Sequence[Record], fmt: Format, *, as_aws: bool = False) -> None:
        self.fmt = fmt
        self.as_aws = as_aws
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
        """Return whether a flow without ACCEPT record had nothing accepted."""
        return bool(self.accepting) and key.interface_id not in self.gaps

    def flags(self, records: Sequence[Record]) -> int | None:
        """Return the flags of all these records, or ``None`` where the format has none."""
        if self.fmt is Format.V2:
            return None
        combined = 0
        for record in records:
            combined |= record.flags
        return combined


def implied_leg(log: Log, key: FlowKey, egress: bool) -> Leg | None:  # noqa: FBT001 - the direction as logged
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


def _leg_of_incoming_syn_ack(log: Log, key: FlowKey, start: int) -> Leg | None:
    mirror = log.accepted.get(key.mirrored())
    if mirror is None:
        return Leg.REQUEST if log.whole(key) else None
    return Leg.RESPONSE if min(record.start for record in mirror) <= start else None


def _answers(mirror: Sequence[Record], start: int, *, strictly: bool) -> bool:
    first = min(record.start for record in mirror)
    in_order = first < start if strictly else first <= start
    return in_order and start <= max(record.end for record in mirror) + _ANSWER_SECONDS


def clearly_closed(log: Log, key: FlowKey) -> bool:
    """Return whether a connection was over in both directions before the reject began."""
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


def was_open(log: Log, key: FlowKey) -> bool:
    """Return whether a TCP connection was accepted in both directions."""
    return key.protocol == TCP and key in log.accepted and key.mirrored() in log.accepted


def timeless_leg(log: Log, key: FlowKey, egress: bool) -> Leg | None:  # noqa: FBT001 - the direction as logged
    """Return the leg that the records show, whatever the order of their packets was."""
    flags = log.flags(log.rejected[key]) if key.protocol == TCP else None
    if flags == SYN:
        return Leg.REQUEST
    if key in log.accepted:
        return None
    mirror = log.accepted.get(key.mirrored())
    if flags is not None:
        return _timeless_leg_of_flags(log, key, flags, mirror, came_in=not egress)
    if mirror is not None:
        return Leg.RESPONSE if key.srcport != key.dstport else None
    return Leg.REQUEST if log.whole(key) and key.srcport >= key.dstport else None


def _timeless_leg_of_flags(
    log: Log, key: FlowKey, flags: int, mirror: Sequence[Record] | None, *, came_in: bool
) -> Leg | None:
    if mirror is None:
        return Leg.REQUEST if came_in and flags & ACK and log.whole(key) else None
    opened = log.flags(mirror)
    return Leg.RESPONSE if opened == SYN else None


def is_over(log: Log, key: FlowKey) -> bool:
    """Return whether packets came after the end of a connection, whatever the times say.

    FIN was accepted in both directions, or RST in one, and the rejected packets open nothing.
    """
    accepted, mirror = log.accepted.get(key, []), log.accepted.get(key.mirrored(), [])
    flags, mirror_flags, late = log.flags(accepted), log.flags(mirror), log.flags(log.rejected[key])
    if flags is None or mirror_flags is None or late is None or late & SYN:
        return False
    over = bool(flags & FIN and mirror_flags & FIN) or bool((flags | mirror_flags) & RST)
    return was_open(log, key) and over
