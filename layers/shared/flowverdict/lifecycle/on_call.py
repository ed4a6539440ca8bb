"""Apply what people on call say of alerts: acknowledged, silenced until a time, closed.

A silence of the table holds messages back; the alert goes on and is counted. It has an end, a
reason and an author. It never brings back what the policy document mutes. The end of an alert that
was notified is always told: recipients would otherwise keep an incident open.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from flowverdict.alerts.ending import Ending
from flowverdict.alerts.matching import EntryIndex, Key, Value, clauses_of_alert, value_as_text
from flowverdict.alerts.model import Alert, Kind, Section, Status
from flowverdict.core.formatting import duration, isoformat
from flowverdict.core.untrusted import one_line
from flowverdict.lifecycle.history import Event, What, with_event
from flowverdict.lifecycle.state_machine import (
    AlertState,
    Suppressed,
    calls_for,
    calls_for_end,
    closed_without_message,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from flowverdict.alerts.model import Notification
    from flowverdict.lifecycle.intervals import Intervals

MAX_SILENCES = 200  # that have not ended: one item holds them all
MAX_REASON = 500  # characters, as in the policy document
_MAX_AUTHOR = 300
# What is to stay longer belongs in the policy document, where others review it.
MAX_SILENCE = 30 * 86_400
KEPT_AFTER_END = 86_400  # so that the sweep and `show` know why messages were held back
# The sweep tells what goes on after the end of a silence; a sweep that is later than this leaves it
# to the next detection or reminder.
TOLD_AFTER_END = 3_600
NOBODY_IS_SENDING = 0  # as the time since when a message is pending: the next sweep takes it up
_MAX_LINES = 20  # of the digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Alerts whose messages are held back until a time (Unix seconds)."""

    silence_id: str
    asked: Mapping[Key, tuple[Value, ...]] = field(hash=False)
    until: int
    reason: str
    by: str
    created_at: int

    def is_active(self, now: int) -> bool:
        """Whether it holds messages back at a time."""
        return self.created_at <= now < self.until

    @property
    def in_words(self) -> str:
        """What it is about: ``port 443, vpc_id vpc-0a1b``."""
        return ", ".join(
            f"{key} {' or '.join(value_as_text(key, value) for value in values)}"
            for key, values in self.asked.items()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Silences:
    """All silences of the table, with the version of the item that holds them."""

    version: int = 0
    silences: tuple[Silence, ...] = ()

    def active(self, now: int) -> Silences:
        """Return those that hold messages back at a time."""
        return replace(self, silences=tuple(each for each in self.silences if each.is_active(now)))

    def ended(self, now: int) -> Silences:
        """Return those whose end the sweep has to look at."""
        return replace(
            self,
            silences=tuple(
                each for each in self.silences if now - TOLD_AFTER_END < each.until <= now
            ),
        )

    def matching(self, notification: Notification) -> tuple[Silence, ...]:
        """Return those that match an alert or notice, the last to end first."""
        index = EntryIndex.of([silence.asked for silence in self.silences])
        found = index.matching(
            (1 << len(self.silences)) - 1, partial(clauses_of_alert, notification)
        )
        matching = [each for at, each in enumerate(self.silences) if found >> at & 1]
        return tuple(sorted(matching, key=lambda each: (-each.until, each.silence_id)))

    def with_silence(self, silence: Silence, now: int) -> Silences:
        """Return these and one more, without those that ended long ago.

        Raises
        ------
        ValueError
            The silence asks for nothing, ends too late or not at all, or there are too many.
        """
        if not any(silence.asked.values()):
            raise ValueError("a silence has to say of what")
        if not now < silence.until <= now + MAX_SILENCE:
            raise ValueError(
                f"a silence ends within {MAX_SILENCE // 86_400} days; what is to stay longer "
                "belongs in the policy document"
            )
        kept = self.without_old(now)
        if len(kept.active(now).silences) >= MAX_SILENCES:
            raise ValueError(f"there are {MAX_SILENCES} silences: lift one first")
        return replace(kept, silences=(*kept.silences, silence))

    def without_old(self, now: int) -> Silences:
        """Return those that have not ended, or not long ago."""
        return replace(
            self,
            silences=tuple(each for each in self.silences if each.until > now - KEPT_AFTER_END),
        )

    def lifted(self, silence_id: str, now: int) -> Silences:
        """Return these with one that ends now; the sweep tells what goes on."""
        return replace(
            self,
            silences=tuple(
                replace(each, until=now) if each.silence_id == silence_id else each
                for each in self.silences
            ),
        )


def reason_from(text: str) -> str:
    """Return a reason as one line.

    Raises
    ------
    ValueError
        The reason is blank or too long.
    """
    reason = " ".join(one_line(text).split())
    if not reason:
        raise ValueError("a reason is needed: say why, for whoever reads this next")
    if len(reason) > MAX_REASON:
        raise ValueError(f"the reason has {len(reason):,} characters, at most {MAX_REASON} do")
    return reason


def author_from(text: str) -> str:
    """Return a person's name as AWS or a chat tool gives it, as one line of bounded length."""
    return " ".join(one_line(text).split())[:_MAX_AUTHOR] or "unknown"


# --- what people say ------------------------------------------------------------------------------


def acknowledged(state: AlertState, by: str, reason: str, now: int) -> AlertState:
    """Return an open alert that is not reminded of in this episode; its end is still told."""
    event = Event(at=now, what=What.ACKNOWLEDGED, by=by, reason=reason)
    return replace(state, acknowledged=event, history=with_event(state.history, event))


def closed_by_person(state: AlertState, by: str, reason: str, now: int) -> AlertState:
    """Return an open alert closed by hand, with the message that says so where it was notified.

    No invocation sends the message; the next sweep does. Records that end before the closing are of
    this episode; what ends later opens a new one.
    """
    told = f"Closed by {by}: {reason}"
    if state.was_sent:
        ended = calls_for_end(state, Ending.CLOSED, told, now)
        closed = replace(ended, pending_at=NOBODY_IS_SENDING)
    else:
        silent = closed_without_message(state, now)
        notification = silent.notification.with_status(Status.RESOLVED, told, Ending.CLOSED)
        closed = replace(silent, notification=notification)
    event = Event(at=now, what=What.CLOSED, by=by, reason=reason)
    return replace(closed, history=with_event(state.history, event))


# --- what silences do -----------------------------------------------------------------------------


def held_back(
    before: AlertState | None, called: AlertState, silence: Silence, *, counts_more: bool
) -> AlertState:
    """Return an alert without the message that it calls for, because a silence matches it.

    ``counts_more`` says whether anything but the message changed. Without it the alert stays as it
    was, so that a sweep does not write the same again every few minutes.
    """
    goes_on = before is not None and before.is_open
    if before is not None and goes_on and not counts_more:
        return before
    notified = before if goes_on else None
    history = called.history[:-1]  # the message that is not sent
    if notified is None or notified.suppressed is not Suppressed.SILENCED:
        reason = f"until {isoformat(silence.until)}: {silence.reason}"
        event = Event(
            at=called.notified_at or silence.created_at,
            what=What.SILENCED,
            by=silence.by,
            reason=reason,
        )
        history = with_event(history, event)
    return replace(
        called,
        notification=called.notification.with_status(Status.FIRING, None),
        pending=None,
        pending_at=None,
        notified_at=None if notified is None else notified.notified_at,
        notified_severity=None if notified is None else notified.notified_severity,
        messages=0 if notified is None else notified.messages,
        suppressed=Suppressed.SILENCED,
        history=history,
    )


def on_silence_end(
    state: AlertState, silence: Silence, now: int, intervals: Intervals
) -> AlertState:
    """Notify or remind of an alert that goes on after the end of a silence.

    An alert that was notified after the end stays as it is, and so does one that nothing was seen
    of lately: its end is decided by what is read.
    """
    is_idle = state.pending is not None or not state.is_open or state.for_digest
    lately = (
        now - state.observed_at < intervals.resolve
        or state.notification.kind is Kind.NO_FLOW_LOGS  # observed once
    )
    if is_idle or not lately:
        return state
    ended = f"The silence of {silence.by} has ended ({silence.reason})."
    if not state.was_sent:
        if state.suppressed is not Suppressed.SILENCED:
            return state
        return calls_for(state, Status.FIRING, f"This was held back. {ended}", now)
    if (
        state.acknowledged is not None
        or state.notified_at is None
        or state.notified_at >= silence.until
        or state.notification.kind is Kind.NO_FLOW_LOGS
    ):
        return state
    opened = state.notification.opened_at if isinstance(state.notification, Alert) else None
    since = "" if opened is None else f", for {duration(now - opened)} by now"
    return calls_for(state, Status.REMINDER, f"Still happening{since}. {ended}", now)


def digest_section(silences: Silences, states: Iterable[AlertState], now: int) -> Section | None:
    """Return who silenced and acknowledged what; ``None`` if nobody did."""
    lines = [
        f"silenced until {isoformat(silence.until)}: {silence.in_words} - "
        f"{silence.by}: {silence.reason} (id {silence.silence_id})"
        for silence in sorted(silences.active(now).silences, key=lambda each: each.until)
    ]
    lines += [
        f"acknowledged {isoformat(state.acknowledged.at)}: {state.notification.title} - "
        f"{state.acknowledged.by}: {state.acknowledged.reason}"
        for state in states
        if state.is_open and state.acknowledged is not None
    ]
    if not lines:
        return None
    more = len(lines) - _MAX_LINES
    return Section(
        heading="Silenced and acknowledged",
        lines=(*lines[:_MAX_LINES], *([f"and {more:,} more"] if more > 0 else [])),
    )
