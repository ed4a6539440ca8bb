"""Decide what passing time brings to an alert: a reminder, one of its endings, or nothing.

Three endings are told apart, because "nothing more was seen" has three reasons:

- *fixed*: the rules, just read, let its packets pass; or flow logs show that all of its traffic
  was accepted after the last reject.
- *quiet*: flow logs of ``resolve`` seconds after its last record were read, and show nothing of it.
  Whoever tried may have given up: the reason says whether the rules still block it.
- *unknown*: no such flow logs were read, or not all of them. The alert stays open, because they may
  only be late, until its last detection is ``repeat`` seconds ago; a notice of its own
  (``silence``) says at once that no flow logs come.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flowverdict.alerts.ending import Ending
from flowverdict.alerts.model import Alert, Kind, Status
from flowverdict.alerts.recheck import Passage
from flowverdict.core.formatting import counted, duration, isoformat
from flowverdict.lifecycle.state_machine import (
    AlertState,
    calls_for,
    calls_for_end,
    closed_without_message,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowverdict.lifecycle.intervals import Intervals


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesFound:
    """What the rules do with the packets of an alert; of ``UNKNOWN`` the reason, in words."""

    passage: Passage
    reason: str = ""


RULES_NOT_TRIED = RulesFound(
    passage=Passage.UNKNOWN, reason="no packet of it is kept that rules were seen to block"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a sweep found out, by the fingerprint of the alert.

    Parameters
    ----------
    rules
        What the rules, just read, do with its packets.
    read_to
        The end of the flow logs that were read of all its feeds (Unix seconds), without a source
        that is held back since its last record.
    held_back
        The alerts for which such a source shortens ``read_to``.
    accepted_at
        Since when all of its traffic was seen accepted (Unix seconds).
    not_looked_up
        The alerts whose accepted traffic could not be read.
    """

    rules: Mapping[str, RulesFound]
    read_to: Mapping[str, int]
    accepted_at: Mapping[str, int]
    held_back: frozenset[str] = frozenset()
    not_looked_up: frozenset[str] = frozenset()


NOTHING_FOUND = Findings(rules={}, read_to={}, accepted_at={})


def on_sweep(
    state: AlertState, now: int, intervals: Intervals, findings: Findings = NOTHING_FOUND
) -> AlertState:
    """End the alert, remind of it, or leave it as it is.

    A pending message that was not sent stays pending.
    """
    if state.pending is not None:
        return replace(state, pending_at=now) if is_overdue(state, now, intervals) else state
    if not state.is_open or state.for_digest or state.notification.kind is Kind.NO_FLOW_LOGS:
        return state
    rules = findings.rules.get(state.fingerprint, RULES_NOT_TRIED)
    if rules.passage is Passage.PASSES and state.was_sent:
        tried = counted(len(state.samples), "packet")
        reason = (
            f"Fixed: the rules let it pass now "
            f"({tried} of it tried on the rules as read {isoformat(now)})."
        )
        return replace(calls_for_end(state, Ending.FIXED, reason, now), closed_by_rules=True)
    if now - state.observed_at >= intervals.resolve:
        return _not_seen_lately(state, now, intervals, findings, rules)
    return _reminded(state, now, intervals)


def ending_in_words(state: AlertState, now: int, intervals: Intervals, findings: Findings) -> str:
    """Return how an alert ended that the digest reports, or that it goes on.

    The words are those of the endings (``Ending``). An alert of the digest that had a message of
    its own was notified as more severe.
    """
    if state.was_sent:
        told = "" if state.notified_severity is None else f": notified as {state.notified_severity}"
        return f"{Ending.CORRECTED}{told}"
    passage = findings.rules.get(state.fingerprint, RULES_NOT_TRIED).passage
    if passage is Passage.PASSES:
        return Ending.FIXED
    if now - state.observed_at < intervals.resolve:
        return "goes on"
    if not is_read(state, findings.read_to.get(state.fingerprint), intervals):
        return Ending.UNKNOWN
    return f"{Ending.QUIET}, still blocked" if passage is Passage.BLOCKED else Ending.QUIET


def is_overdue(state: AlertState, now: int, intervals: Intervals) -> bool:
    """Whether no invocation can be sending the pending message any more."""
    return state.pending_at is not None and now - state.pending_at >= intervals.outbox


def is_read(state: AlertState, read_to: int | None, intervals: Intervals) -> bool:
    """Whether flow logs of ``resolve`` seconds after the alert's last record were read.

    A record may claim any time; no record that was seen ended after it was read.
    """
    return read_to is not None and read_to >= last_record(state) + intervals.resolve


def last_record(state: AlertState) -> int:
    """Return when the alert's last record ended, at the latest when it was detected."""
    last_seen = state.notification.last_seen
    return state.observed_at if last_seen is None else min(last_seen, state.observed_at)


def _not_seen_lately(
    state: AlertState, now: int, intervals: Intervals, findings: Findings, rules: RulesFound
) -> AlertState:
    """Return what becomes of an alert that nothing was seen of for ``resolve`` seconds."""
    if state.notification.kind is Kind.RECORDS_LOST:
        return closed_without_message(state, now)  # lost records stay lost
    read_to = findings.read_to.get(state.fingerprint)
    known = is_read(state, read_to, intervals)
    may_wait = now - state.observed_at < max(intervals.repeat, intervals.resolve)
    if may_wait and (not known or state.fingerprint in findings.not_looked_up):
        return state  # not "still happening", which nobody knows
    if not state.was_sent:
        return closed_without_message(state, now)  # its begin was never told
    if not known:
        reason = _unknown(state, read_to, rules, now)
        if state.fingerprint in findings.held_back:
            reason += " A part of its later flow logs could not be read or judged."
        return calls_for_end(state, Ending.UNKNOWN, reason, now)
    accepted_at = findings.accepted_at.get(state.fingerprint)
    if accepted_at is not None and rules.passage is not Passage.BLOCKED:
        reason = (
            f"Fixed: all of its traffic was accepted again, since {isoformat(accepted_at)}; "
            f"nothing of it was rejected in the flow logs read up to {isoformat(read_to)}."
        )
        return replace(calls_for_end(state, Ending.FIXED, reason, now), accepted_at=accepted_at)
    return calls_for_end(state, Ending.QUIET, _quiet(state, read_to, rules, now), now)


def _last_record(state: AlertState) -> str:
    last = isoformat(state.notification.last_seen)
    return (
        "the time of its last record is not known"
        if last is None
        else (f"its last record ends at {last}")
    )


def _quiet(state: AlertState, read_to: int | None, rules: RulesFound, now: int) -> str:
    seen = (
        f"nothing more of it was seen in the flow logs read up to {isoformat(read_to)}; "
        f"{_last_record(state)}."
    )
    if not isinstance(state.notification, Alert):
        return f"Quiet: {seen}"
    if rules.passage is Passage.BLOCKED:
        return (
            f"Quiet, still blocked: the rules as read {isoformat(now)} deny it. "
            f"Whoever tried has stopped: {seen}"
        )
    return f"Quiet: {seen} Whether it is still blocked is not known: {rules.reason}."


def _unknown(state: AlertState, read_to: int | None, rules: RulesFound, now: int) -> str:
    read = (
        "No flow logs that could show it were read since"
        if read_to is None
        else f"Flow logs of it were read up to {isoformat(read_to)} only"
    )
    blocked = (
        f" The rules as read {isoformat(now)} still deny it."
        if rules.passage is Passage.BLOCKED
        else ""
    )
    return (
        f"Unknown: nobody can say whether this goes on. {read}; {_last_record(state)}.{blocked} "
        "If it is seen again, it is notified as new."
    )


def _reminded(state: AlertState, now: int, intervals: Intervals) -> AlertState:
    if state.notified_at is None or now - state.notified_at < intervals.repeat:
        return state
    if state.acknowledged is not None:
        return state  # somebody knows and works on it
    if not state.was_sent:
        held_back = "This was held back before: there were too many messages."
        return calls_for(state, Status.FIRING, held_back, now)
    opened = state.notification.opened_at if isinstance(state.notification, Alert) else None
    since = "" if opened is None else f", for {duration(now - opened)} by now"
    reason = f"Still happening{since}. The counts below are of the whole time."
    return calls_for(state, Status.REMINDER, reason, now)
