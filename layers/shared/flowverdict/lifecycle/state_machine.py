"""Decide what happens to an alert over time, as a pure state machine: firing, reminder, resolved.

The first detection of a problem is notified; later detections are counted. While the problem goes
on, a reminder with the totals follows each ``repeat`` seconds. How it ends is in ``passing_time``.
Alerts of low or informational severity wait for the digest. Times are Unix seconds of this
program's clock, except those in the notification, which are the records' times.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from flowverdict.alerts.ending import Ending
from flowverdict.alerts.model import CORRECTED, Alert, Kind, Notice, Notification, Severity, Status
from flowverdict.alerts.probe import probes_of_both
from flowverdict.core.formatting import isoformat
from flowverdict.lifecycle.rate_limit import HOUR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowverdict.alerts.detection import Detection
    from flowverdict.alerts.model import Counts
    from flowverdict.alerts.probe import Probe
    from flowverdict.alerts.recheck import Sample

# A record may end up to 60 seconds after its last packet
# (https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html).
_RECORD_SLACK = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """Intervals of an alert's life, in seconds.

    Parameters
    ----------
    repeat
        Between two messages of an alert that goes on. Four hours are twice in a working day, so
        that the alert is not forgotten.
    resolve
        Of flow logs without a detection, after which an alert ends as quiet. Records are aggregated
        for up to ten minutes and delivered up to ten minutes later, so thirty minutes mean a missed
        delivery and not a late one.
    digest
        Between two digests. A day, because noise is worth one look a day.
    outbox
        After which the sweep sends a message that is still pending: the longest time that a
        function may run.
    keep
        For which a closed alert is stored, so that it can be notified as "again".
    """

    repeat: int = 4 * HOUR
    resolve: int = HOUR // 2
    digest: int = 24 * HOUR
    outbox: int = 300
    keep: int = 7 * 24 * HOUR

    def digest_end(self, now: int) -> int:
        """Return the end of the digest period of ``now``.

        Periods are counted from the Unix epoch, so those of a day end at midnight UTC.
        """
        return (now // self.digest + 1) * self.digest


# Windows stored for an episode, to compute its totals anew: two hours of an account's Region. All
# are read when one changes.
MAX_WINDOWS = 24
_MAX_FEEDS = 200
PARTLY = ""  # stands for a window of which an earlier episode has notified a part


class Suppressed(StrEnum):
    """Why a detected problem is not notified."""

    INHIBITED = "shaded"  # another alert explains it
    RATE_LIMITED = "capped"  # too many messages this hour


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertState:
    """Everything that is stored of an alert.

    Parameters
    ----------
    notification
        All detections of this episode merged.
    windows
        Ids of the windows that contributed to this episode, the latest ``MAX_WINDOWS`` of them.
    observed_at
        When it was last detected.
    notified_at, notified_severity, messages
        When it was last notified, the severity in that message, and the number of messages;
        ``None`` and 0 if never in this episode. The severity is ``None`` too where the alert was
        taken back before its message was surely sent. A message that the rate limit held back
        counts as notified, because the notice of the rate limit reports it. Once a message is sent,
        the store gets the severity that was sent, which may differ from what called for the
        message.
    pending, pending_at
        The message to send, and since when. Written together with what caused it and removed once
        sent, so that a crash in between delays a message and never loses it.
    closed_at, closed_by_rules
        When the episode ended, and whether because the rules let its packets pass.
    accepted_at
        When its traffic was accepted again, if the episode ended because of that.
    feeds
        Names of the feeds (``lifecycle.feeds``) that showed it.
    probes
        What accepted traffic would show that all of it passes; nothing where no traffic would.
    """

    fingerprint: str
    version: int = 0
    notification: Notification
    windows: tuple[str, ...] = ()
    samples: tuple[Sample, ...] = ()
    observed_at: int
    notified_at: int | None = None
    notified_severity: Severity | None = None
    messages: int = 0
    suppressed: Suppressed | None = None
    pending: Status | None = None
    pending_at: int | None = None
    closed_at: int | None = None
    closed_by_rules: bool = False
    accepted_at: int | None = None
    feeds: tuple[str, ...] = ()
    probes: tuple[Probe, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether the problem is going on."""
        return self.closed_at is None

    @property
    def for_digest(self) -> bool:
        """Whether it is reported in the digest only."""
        return self.notification.severity.rank >= Severity.LOW.rank

    @property
    def opened_at(self) -> int:
        """When this episode began, by this program's clock."""
        opened = self.notification.opened_at if isinstance(self.notification, Alert) else None
        return self.observed_at if opened is None else opened

    @property
    def was_sent(self) -> bool:
        """Whether a message of its own was sent in this episode."""
        return self.messages > 0

    def due_at(self, intervals: Intervals) -> int | None:
        """Return when the sweep has to check it (Unix seconds); ``None`` for never."""
        if self.pending_at is not None:
            return self.pending_at + intervals.outbox
        if not self.is_open:
            return None
        if self.for_digest:
            return intervals.digest_end(self.opened_at)
        if self.notification.kind is Kind.NO_FLOW_LOGS or (self.samples and self.was_sent):
            return self.observed_at  # feeds or rules are checked in every sweep
        quiet = self.observed_at + intervals.resolve
        return (
            quiet if self.notified_at is None else min(quiet, self.notified_at + intervals.repeat)
        )

    def sent(self) -> AlertState:
        """Return the state without a pending message."""
        return replace(self, pending=None, pending_at=None)


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
        notification=_opened(added, now),
        windows=(context.window_id if context.before is None else PARTLY,),
        samples=detection.samples,
        feeds=detection.feeds,
        probes=detection.probes,
        observed_at=now,
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
        notification=_opened(fresh.notification, closed.opened_at),
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
        merged = _opened(together((*context.others, detection.notification)), state.opened_at)
    if state.pending is not None:
        # A pending message keeps its status: a reminder that SNS did not take stays a reminder.
        merged = merged.with_status_of(state.notification)
    windows = state.windows
    if context.window_id not in windows:
        windows = (*windows, context.window_id)[-MAX_WINDOWS:]
    continued = replace(
        state,
        notification=merged,
        windows=windows,
        samples=detection.samples or state.samples,
        feeds=tuple(sorted({*state.feeds, *detection.feeds}))[:_MAX_FEEDS],
        probes=probes_of_both(state.probes, detection.probes),
        observed_at=max(state.observed_at, now),
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
        merged = _opened(together(context.others), state.opened_at)
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


def _opened(notification: Notification, at: int) -> Notification:
    return replace(notification, opened_at=at) if isinstance(notification, Alert) else notification


def _positive(counts: Counts) -> Counts:
    return replace(
        counts,
        confidences=tuple((level, count) for level, count in counts.confidences if count > 0),
        remotes=tuple(remote for remote in counts.remotes if remote.flows > 0),
    )


def _is_late(state: AlertState, notification: Notification) -> bool:
    """Whether late records predate the fix: logs arrive minutes after the packets."""
    fixed_at = state.closed_at if state.closed_by_rules else state.accepted_at
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


def calls_for(state: AlertState, status: Status, reason: str | None, now: int) -> AlertState:
    """Make a message pending, which the rate limit may take back."""
    return replace(
        state,
        notification=state.notification.with_status(status, reason),
        pending=status,
        pending_at=now,
        notified_at=now,
        notified_severity=state.notification.severity,
        messages=state.messages + 1,
        suppressed=None,
    )


def rate_limited(called: AlertState) -> AlertState:
    """Return the state without the message that it calls for: the hour's messages are used up."""
    return replace(
        called,
        pending=None,
        pending_at=None,
        messages=called.messages - 1,
        suppressed=Suppressed.RATE_LIMITED,
    )


def calls_for_end(state: AlertState, ending: Ending, reason: str, now: int) -> AlertState:
    """Close the episode; its last message says how it ended."""
    status = Status.REMINDER if ending is Ending.UNKNOWN else Status.RESOLVED
    return replace(
        state,
        notification=state.notification.with_status(status, reason, ending),
        pending=status,
        pending_at=now,
        closed_at=now,
        closed_by_rules=False,
        accepted_at=None,
        suppressed=None,
    )


def deferred_to_next_digest(state: AlertState, now: int) -> AlertState:
    """Return the alert waiting for the next digest: this digest was created without its latest."""
    return replace(state, notification=_opened(state.notification, now))


def closed_without_message(state: AlertState, now: int) -> AlertState:
    """Return the alert closed, because the digest reports it or the policy mutes it.

    A pending message is dropped. No message says that the alert is over, so its next episode is not
    notified as "again".
    """
    return replace(state.sent(), closed_at=now, suppressed=None, messages=0)


# --- notices beside the alerts --------------------------------------------------------------------


def notice_state(notification: Notification, now: int) -> AlertState:
    """Return the state of a notice that is sent once: a digest, or a notice of the rate limit."""
    return AlertState(
        fingerprint=notification.fingerprint,
        notification=notification,
        observed_at=now,
        notified_at=now,
        notified_severity=notification.severity,
        messages=1,
        pending=Status.FIRING,
        pending_at=now,
        closed_at=now,
    )
