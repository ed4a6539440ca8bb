"""The life of an alert, as a pure state machine: firing, still happening, resolved.

The first sighting of a problem is told; more of the same is counted. While it goes on, a reminder with the totals comes each
``repeat`` seconds. It ends when nothing of it was seen for ``resolve`` seconds, or when the rules let its packets pass. What is low
or of no consequence is never told by itself: it waits for the digest. Times are Unix seconds of this program's clock, but for those
in the document, which are the records'.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from flowverdict.alerts.model import CORRECTED, Alert, Kind, Notice, Notification, Severity, Status
from flowverdict.core.formatting import counted, duration, isoformat
from flowverdict.lifecycle.rate_limit import HOUR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowverdict.alerts.detection import Detection
    from flowverdict.alerts.model import Counts
    from flowverdict.alerts.recheck import Sample

# A record may end up to so many seconds after its last packet (https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html).
_RECORD_SLACK = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """How long things take, in seconds.

    Parameters
    ----------
    repeat
        Between two messages of a problem that goes on. Four hours: twice in a working day, so that it is not forgotten.
    resolve
        Without a sighting, after which a problem is over. Records are delivered up to ten minutes late and gather for up to ten
        more, so thirty minutes are a delivery that was missed and not one that is late.
    digest
        Between two digests. A day: noise is looked at once, over coffee.
    outbox
        After which the sweep sends what a function has marked to be sent and not sent: as long as a function may run.
    keep
        For which an alert that is over is remembered, to be told as "again".
    """

    repeat: int = 4 * HOUR
    resolve: int = HOUR // 2
    digest: int = 24 * HOUR
    outbox: int = 300
    keep: int = 7 * 24 * HOUR

    def digest_end(self, now: int) -> int:
        """Give the end of the digest's period that ``now`` lies in. Periods start with the Unix epoch, a day's at midnight UTC."""
        return (now // self.digest + 1) * self.digest


# Remembered of an episode, so that it can be put together anew: two hours of an account's Region. All are read when one changes.
MAX_WINDOWS = 24
PARTLY = ""  # stands for a window of which an episode before has told a part


class Suppressed(StrEnum):
    """Why a problem that is seen is not told."""

    INHIBITED = "shaded"  # another alert explains it
    RATE_LIMITED = "capped"  # too many messages this hour


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All that is remembered of a problem.

    Parameters
    ----------
    document
        All sightings of this episode put together.
    windows
        Ids of the windows that this episode was seen in, the latest ``MAX_WINDOWS`` of them.
    observed_at
        When it was last seen.
    told_at, told_severity, messages
        When it was last told, as how severe at the most, and how many messages there were; ``None`` and 0 if never in this
        episode. What the cap held back counts as told: the cap's own message speaks of it.
    pending, pending_at
        The message that is due to be sent, and since when. It is written together with what caused it and taken away when it was
        sent, so that a crash in between delays a message and never loses one.
    closed_at, closed_by_rules
        When the episode ended, and whether because the rules let it pass.
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

    @property
    def is_open(self) -> bool:
        """Whether the problem is going on."""
        return self.closed_at is None

    @property
    def for_digest(self) -> bool:
        """Whether it is told in the digest only."""
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
        """Give when the sweep has to look at it; ``None`` for never."""
        if self.pending_at is not None:
            return self.pending_at + intervals.outbox
        if not self.is_open:
            return None
        if self.for_digest:
            return intervals.digest_end(self.opened_at)
        if self.samples and self.was_sent:
            return self.observed_at  # the rules are asked at every sweep
        quiet = self.observed_at + intervals.resolve
        return (
            quiet if self.notified_at is None else min(quiet, self.notified_at + intervals.repeat)
        )

    def sent(self) -> State:
        """Give the state with nothing to send."""
        return replace(self, pending=None, pending_at=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeContext:
    """What is known of a problem from the window that is judged, if it was before, and from the episode's other windows.

    ``others`` is ``None`` where they are not known by themselves: there are too many, or an episode before has told a part of one.
    """

    window_id: str
    before: Notification | None = None
    others: tuple[Notification, ...] | None = None


def on_detection(  # noqa: PLR0913 - what it was, what is new, and what is around it
    state: State | None,
    detection: Detection,
    now: int,
    *,
    inhibited: bool,
    context: EpisodeContext,
    corrects: str | None = None,
) -> State:
    """Count a sighting in; ``pending`` of the result is the message that it calls for, which the cap may still take back.

    Parameters
    ----------
    around
        Of what the window showed before only the difference is added.
    corrects
        Title of an alert that was told and that this one takes the place of.
    """
    notification, before = detection.notification, context.before
    added = (
        notification
        if before is None
        else notification.counting(notification.counts.minus(before.counts))
    )
    if (
        state is not None
        and not state.is_open
        and (added.records <= 0 or _is_late(state, notification))
    ):
        return replace(
            state,
            notification=_merged(state.notification, added).with_status(
                state.notification.status, state.notification.status_reason
            ),
        )
    if state is None or not state.is_open:
        fresh = State(
            fingerprint=notification.fingerprint,
            version=0 if state is None else state.version,
            notification=_opened(added, now),
            windows=(context.window_id if before is None else PARTLY,),
            samples=detection.samples,
            observed_at=now,
        )
        again = (
            None
            if state is None or state.closed_at is None or not state.was_sent
            else state.closed_at
        )
        reason = None if again is None else f"Again: this was resolved at {isoformat(again)}."
        if corrects is not None:
            reason = f"{CORRECTED}records that came later show what this is. It was told before as: {corrects}"
        return _notified(fresh, now, inhibited=inhibited, reason=reason)
    if context.others is None:
        merged = _merged(state.notification, added)
    else:
        merged = _opened(together((*context.others, notification)), state.opened_at)
    if state.pending is not None:
        # What is about to be told keeps its words: a reminder that SNS did not take is no first message.
        merged = merged.with_status(state.notification.status, state.notification.status_reason)
    counted = replace(
        state,
        notification=merged,
        windows=state.windows
        if context.window_id in state.windows
        else (*state.windows, context.window_id)[-MAX_WINDOWS:],
        samples=detection.samples or state.samples,
        observed_at=max(state.observed_at, now),
    )
    return _notified(counted, now, inhibited=inhibited, reason=None)


def on_retraction(
    state: State, before: Notification, context: EpisodeContext, now: int, titles: Sequence[str]
) -> State:
    """Take back what a window was counted with: with more evidence, it shows something else.

    What is left without anything is closed; who was told of it, or is about to be, is told so. ``titles`` are of the alerts that
    take its place.
    """
    left = state.notification.counts.minus(before.counts)
    if not state.is_open or (context.others is None and left.records > 0):
        return replace(state, notification=state.notification.counting(_positive(left)))
    if context.others:
        merged = _opened(together(context.others), state.opened_at)
        windows = tuple(one for one in state.windows if one != context.window_id)
        return replace(
            state,
            notification=merged.with_status(
                state.notification.status, state.notification.status_reason
            ),
            windows=windows,
        )
    if not state.was_sent:
        return closed_silently(state, now)
    if titles:
        reason = f"this is not over, it is something else, as records that came later show. It is told as: {'; '.join(titles)}"
    else:
        reason = "records that came later show that this is nothing, or what another alert counts already."
    return _calls_for_end(state, now, CORRECTED + reason)


def together(notifications: Sequence[Notification]) -> Notification:
    """Put what several windows show of one problem together."""
    first, *others = sorted(notifications, key=lambda one: (one.first_seen or 0, one.to_json()))
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


def _is_late(state: State, notification: Notification) -> bool:
    """Whether records that come after the rules were mended tell of the time before: logs arrive minutes late."""
    return (
        state.closed_by_rules
        and state.closed_at is not None
        and notification.last_seen is not None
        and notification.last_seen <= state.closed_at + _RECORD_SLACK
    )


def _merged(older: Notification, newer: Notification) -> Notification:
    if isinstance(older, Alert) and isinstance(newer, Alert):
        return older.merged_with(newer)
    if isinstance(older, Notice) and isinstance(newer, Notice):
        return older.merged_with(newer)
    return newer


def _notified(state: State, now: int, *, inhibited: bool, reason: str | None) -> State:
    """Call for the first message, or for another one where it got worse."""
    severity = state.notification.severity
    if state.for_digest or state.pending is not None:
        return state
    if inhibited and not state.was_sent:
        # Also what the cap held back before: the sweep would tell it later and cannot know that it is explained by now.
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
    return _calls_for(state, Status.FIRING, reason, now)


def _calls_for(state: State, status: Status, reason: str | None, now: int) -> State:
    return replace(
        state,
        notification=state.notification.with_status(status, reason),
        pending=status,
        pending_at=now,
        notified_at=now,
        notified_severity=state.notification.severity,  # which never falls in an episode
        messages=state.messages + 1,
        suppressed=None,
    )


def rate_limited(called: State) -> State:
    """Take back the message that a step called for: the hour's messages are used up."""
    return replace(
        called,
        pending=None,
        pending_at=None,
        messages=called.messages - 1,
        suppressed=Suppressed.RATE_LIMITED,
    )


def on_sweep(state: State, now: int, intervals: Intervals, *, passes: bool) -> State:
    """Look at a problem as time goes by: resolved, still happening, or nothing new.

    ``passes`` says that the rules, just read, let its packets pass. A message that was called for earlier and not sent stays
    called for.
    """
    if state.pending is not None:
        return replace(state, pending_at=now) if _is_overdue(state, now, intervals) else state
    if not state.is_open or state.for_digest:
        return state
    if passes and state.was_sent:
        tried = counted(len(state.samples), "packet")
        reason = f"Resolved: the rules let it pass now ({tried} of it tried on the rules as read {isoformat(now)})."
        return _closed(state, now, reason, by_rules=True)
    if now - state.observed_at >= intervals.resolve:
        last = isoformat(state.notification.last_seen)
        reason = f"Resolved: nothing of it was seen for {duration(now - state.observed_at)}; the last record ends at {last}."
        return _closed(state, now, reason, by_rules=False)
    if state.notified_at is not None and now - state.notified_at >= intervals.repeat:
        if not state.was_sent:
            return _calls_for(
                state,
                Status.FIRING,
                "This was held back before: there were too many messages.",
                now,
            )
        opened = state.notification.opened_at if isinstance(state.notification, Alert) else None
        since = "" if opened is None else f", for {duration(now - opened)} by now"
        return _calls_for(
            state,
            Status.REMINDER,
            f"Still happening{since}. The counts below are of the whole time.",
            now,
        )
    return state


def _is_overdue(state: State, now: int, intervals: Intervals) -> bool:
    return state.pending_at is not None and now - state.pending_at >= intervals.outbox


def _closed(state: State, now: int, reason: str, *, by_rules: bool) -> State:
    if not state.was_sent or state.notification.kind is Kind.RECORDS_LOST:
        return closed_silently(
            state, now
        )  # nobody was told that it began; and what is lost stays lost
    return _calls_for_end(state, now, reason, by_rules=by_rules)


def _calls_for_end(state: State, now: int, reason: str, *, by_rules: bool = False) -> State:
    return replace(
        state,
        notification=state.notification.with_status(Status.RESOLVED, reason),
        pending=Status.RESOLVED,
        pending_at=now,
        closed_at=now,
        closed_by_rules=by_rules,
        suppressed=None,
    )


def carried_over(state: State, now: int) -> State:
    """Let it wait for the next digest: this one was put together before, or without what was seen since."""
    return replace(state, notification=_opened(state.notification, now))


def closed_silently(state: State, now: int) -> State:
    """Close what a digest has told, or what nobody wants to hear of any more; a message that is due for it is dropped.

    Nobody is told that it was over, so when it is seen again it is not told as "again" either.
    """
    return replace(state.sent(), closed_at=now, suppressed=None, messages=0)


# --- what is told beside the alerts -----------------------------------------------------------------------------------


def single_message_state(notification: Notification, now: int) -> State:
    """Give the state of a message that is sent once and has no life of its own: a digest, or what the cap says."""
    return State(
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
