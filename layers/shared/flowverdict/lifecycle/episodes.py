"""Decide what detections and retractions do to an alert, and which messages they call for.

The first detection of a problem is notified; later detections are counted, and so is what a window
takes back. A problem that is seen again after its end opens a new episode of the alert.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flowverdict.alerts.ending import Ending
from flowverdict.alerts.model import CORRECTED, Alert, Notice, Notification, Status
from flowverdict.alerts.probe import probes_of_both
from flowverdict.core.formatting import isoformat
from flowverdict.lifecycle.state_machine import (
    AlertState,
    Suppressed,
    calls_for,
    calls_for_end,
    closed_without_message,
    with_opening,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowverdict.alerts.counts import Counts
    from flowverdict.alerts.detection import Detection


# A record may end up to 60 seconds after its last packet
# (https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html).
_RECORD_SLACK = 60
# Windows stored for an episode, to compute its totals anew: an hour of an account's Region. All are
# read when one changes, as long as there are fewer; an episode that goes on is added to. Records
# that come later than an hour are few, and of them too the counts are right.
MAX_WINDOWS = 12
_MAX_FEEDS = 200
PARTLY = ""  # stands for a window of which an earlier episode has notified a part


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeContext:
    """What this window contributed before, and what the episode's other windows contribute.

    ``others`` is ``None`` where the contributions are not known by themselves: there are too many,
    one is not readable, or an earlier episode has notified a part of one.
    """

    window_id: str
    before: Notification | None = None
    others: tuple[Notification, ...] | None = None


def on_detection(  # noqa: PLR0913 - the alert before, what is new, and what is around it
    state: AlertState | None,
    detection: Detection,
    now: int,
    *,
    inhibited: bool,
    context: EpisodeContext,
    corrects: str | None = None,
) -> AlertState:
    """Add a detection; ``pending`` of the result is the message to send, subject to the rate limit.

    Parameters
    ----------
    context
        Of what the window showed before, only the difference is added.
    corrects
        Title of a retracted alert that this alert replaces.
    """
    notification, before = detection.notification, context.before
    added = (
        notification
        if before is None
        else notification.counting(notification.counts.minus(before.counts))
    )
    if state is None:
        return _opened_episode(
            None, detection, added, now, context, inhibited=inhibited, corrects=corrects
        )
    if state.is_open:
        return _continued_episode(state, detection, added, now, context, inhibited=inhibited)
    if added.records <= 0 or _is_late(state, notification):
        return replace(
            state,
            notification=_merged(state.notification, added).with_status_of(state.notification),
        )
    return _opened_episode(
        state, detection, added, now, context, inhibited=inhibited, corrects=corrects
    )


def _opened_episode(  # noqa: PLR0913 - as on_detection
    closed: AlertState | None,
    detection: Detection,
    added: Notification,
    now: int,
    context: EpisodeContext,
    *,
    inhibited: bool,
    corrects: str | None,
) -> AlertState:
    """Open an episode; ``closed`` is the state of the episode before."""
    fresh = AlertState(
        fingerprint=added.fingerprint,
        version=0 if closed is None else closed.version,
        notification=with_opening(added, now),
        windows=(context.window_id if context.before is None else PARTLY,),
        samples=detection.samples,
        feeds=detection.feeds,
        probes=detection.probes,
        observed_at=now,
        history=() if closed is None else closed.history,
    )
    if closed is not None and (inhibited or fresh.for_digest):
        fresh = _with_unsent_end(fresh, closed)
    reason = None
    if closed is not None and closed.closed_at is not None and closed.was_sent:
        reason = f"Again: {_ended(closed)} at {isoformat(closed.closed_at)}."
    if corrects is not None:
        reason = (
            f"{CORRECTED}records that came later show what this is. "
            f"It was notified before as: {corrects}"
        )
    return _notified(fresh, now, inhibited=inhibited, reason=reason)


def _ended(closed: AlertState) -> str:
    match closed.notification.ending:
        case Ending.FIXED:
            return "this was notified as fixed"
        case Ending.QUIET:
            return "this was notified as quiet"
        case Ending.CLOSED:
            return "this was closed by hand"
        case Ending.UNKNOWN:
            return "whether this goes on was notified as unknown"
        case _:  # a correction, or what an earlier version stored
            return "this was resolved"


def _with_unsent_end(fresh: AlertState, closed: AlertState) -> AlertState:
    """Return an episode that calls for no message of its own as what recipients know of the alert.

    The notification of the end of ``closed`` was not sent, and now it never is: for the recipients
    the alert goes on, and its end is still to be sent.
    """
    if closed.pending is None or closed.notified_severity is None:
        return fresh
    return replace(
        fresh,
        notification=with_opening(fresh.notification, closed.opened_at),
        notified_at=closed.notified_at,
        notified_severity=closed.notified_severity,
        messages=closed.messages,
    )


def _continued_episode(  # noqa: PLR0913 - as on_detection
    state: AlertState,
    detection: Detection,
    added: Notification,
    now: int,
    context: EpisodeContext,
    *,
    inhibited: bool,
) -> AlertState:
    """Add to an open episode: from all its windows where each is known, else only what is new."""
    if context.others is None:
        merged = _merged(state.notification, added)
    else:
        merged = with_opening(together((*context.others, detection.notification)), state.opened_at)
    if state.pending is not None:
        # A pending message keeps its status: a reminder that SNS did not take stays a reminder.
        merged = merged.with_status_of(state.notification)
    windows = state.windows
    if context.window_id not in windows:
        windows = (*windows, context.window_id)[-MAX_WINDOWS:]
    # A further source of the window may have connections alone, of which none was rejected.
    has_more = context.before is None or added.records != 0
    continued = replace(
        state,
        notification=merged,
        windows=windows,
        samples=detection.samples or state.samples,
        feeds=tuple(sorted({*state.feeds, *detection.feeds}))[:_MAX_FEEDS],
        probes=probes_of_both(state.probes, detection.probes),
        observed_at=max(state.observed_at, now) if has_more else state.observed_at,
    )
    return _notified(continued, now, inhibited=inhibited, reason=None)


def on_retraction(
    state: AlertState,
    before: Notification,
    context: EpisodeContext,
    now: int,
    titles: Sequence[str],
) -> AlertState:
    """Take back what a window contributed: with more evidence, the window shows something else.

    An alert of which nothing is left is closed. If it was notified, or is about to be, a correction
    is sent. ``titles`` are of the alerts that replace it.
    """
    left = state.notification.counts.minus(before.counts)
    if not state.is_open or (context.others is None and left.records > 0):
        return replace(state, notification=state.notification.counting(_positive(left)))
    if context.others:
        merged = with_opening(together(context.others), state.opened_at)
        return replace(
            state,
            notification=merged.with_status_of(state.notification),
            windows=tuple(window for window in state.windows if window != context.window_id),
        )
    if not state.was_sent:
        return closed_without_message(state, now)
    if titles:
        reason = (
            "this is not over, it is something else, as records that came later show. "
            f"It is notified as: {'; '.join(titles)}"
        )
    else:
        reason = (
            "records that came later show that this is nothing, "
            "or what another alert counts already."
        )
    if state.pending is not None:
        # Nobody knows whether this message was sent: another invocation may be sending it.
        state = replace(state, notified_severity=None)
    return calls_for_end(state, Ending.CORRECTED, CORRECTED + reason, now)


def together(notifications: Sequence[Notification]) -> Notification:
    """Merge what several windows show of one problem."""
    first, *others = sorted(
        notifications,
        key=lambda notification: (notification.first_seen or 0, notification.to_json()),
    )
    for other in others:
        first = _merged(first, other)
    return first


def _positive(counts: Counts) -> Counts:
    return replace(
        counts,
        confidences=tuple((level, count) for level, count in counts.confidences if count > 0),
        remotes=tuple(remote for remote in counts.remotes if remote.flows > 0),
    )


def _is_late(state: AlertState, notification: Notification) -> bool:
    """Whether late records predate the fix, or what a person closed: logs arrive minutes late."""
    by_hand = state.notification.ending is Ending.CLOSED
    fixed_at = state.closed_at if state.closed_by_rules or by_hand else state.accepted_at
    return (
        fixed_at is not None
        and notification.last_seen is not None
        and notification.last_seen <= fixed_at + _RECORD_SLACK
    )


def _merged(older: Notification, newer: Notification) -> Notification:
    if isinstance(older, Alert) and isinstance(newer, Alert):
        return older.merged_with(newer)
    if isinstance(older, Notice) and isinstance(newer, Notice):
        return older.merged_with(newer)
    return newer


def _notified(state: AlertState, now: int, *, inhibited: bool, reason: str | None) -> AlertState:
    """Make the first message pending, or another message where the severity rose."""
    severity = state.notification.severity
    if state.for_digest or state.pending is not None:
        return state
    if inhibited and not state.was_sent:
        # Also if the rate limit held it back before: the sweep would send it later, and cannot know
        # that another alert explains it by now.
        return replace(
            state, suppressed=Suppressed.INHIBITED, notified_at=None, notified_severity=None
        )
    worse = state.notified_severity is not None and severity.rank < state.notified_severity.rank
    if state.notified_at is not None and not worse:
        return state
    if inhibited:
        return replace(state, suppressed=Suppressed.INHIBITED)
    if worse:
        reason = f"This was {state.notified_severity} before."
    return calls_for(state, Status.FIRING, reason, now)
