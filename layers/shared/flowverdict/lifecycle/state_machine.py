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
from flowverdict.alerts.model import Alert, Kind, Notification, Severity, Status
from flowverdict.core.values import but
from flowverdict.lifecycle.history import Event, What, with_event

if TYPE_CHECKING:
    from flowverdict.alerts.probe import Probe
    from flowverdict.alerts.recheck import Sample
    from flowverdict.lifecycle.intervals import Intervals

# A record may end up to 60 seconds after its last packet
# (https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html).
_RECORD_SLACK = 60


class Suppressed(StrEnum):
    """Why a detected problem is not notified."""

    INHIBITED = "shaded"  # another alert explains it
    RATE_LIMITED = "capped"  # too many messages this hour
    SILENCED = "silenced"  # a silence of the table matches it


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
    acknowledged
        Who acknowledged this episode, when and why; ``None`` if nobody did.
    history
        What happened to the alert, also in earlier episodes: the latest events.
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
    acknowledged: Event | None = None
    history: tuple[Event, ...] = ()

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
        if self.notified_at is None or self.acknowledged is not None:
            return quiet
        return min(quiet, self.notified_at + intervals.repeat)

    def sent(self) -> AlertState:
        """Return the state without a pending message."""
        return replace(self, pending=None, pending_at=None)


def with_opening(notification: Notification, at: int) -> Notification:
    """Return an alert with the time at which its episode began."""
    return but(notification, opened_at=at) if isinstance(notification, Alert) else notification


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
        history=with_event(state.history, Event(at=now, what=What(status), reason=reason)),
    )


def rate_limited(called: AlertState) -> AlertState:
    """Return the state without the message that it calls for: the hour's messages are used up."""
    return replace(
        called,
        pending=None,
        pending_at=None,
        messages=called.messages - 1,
        suppressed=Suppressed.RATE_LIMITED,
        history=(*called.history[:-1], replace(called.history[-1], what=What.OVER_LIMIT)),
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
        history=with_event(state.history, Event(at=now, what=What(ending), reason=reason)),
    )


def deferred_to_next_digest(state: AlertState, now: int) -> AlertState:
    """Return the alert waiting for the next digest: this digest was created without its latest."""
    return replace(state, notification=with_opening(state.notification, now))


def closed_without_message(state: AlertState, now: int) -> AlertState:
    """Return the alert closed, because the digest reports it or the policy mutes it.

    A pending message is dropped. No message says that the alert is over, so its next episode is not
    notified as "again".
    """
    event = Event(at=now, what=What.ENDED_UNTOLD)
    return replace(
        state.sent(),
        closed_at=now,
        suppressed=None,
        messages=0,
        history=with_event(state.history, event),
    )


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
