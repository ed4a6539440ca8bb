"""Describe what a commit changes: transitions of alerts, and the part of a window in one commit.

A commit is one DynamoDB transaction, which takes at most 100 writes and 4 MB
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html), so what a
window shows may need several commits.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flowverdict.alerts.model import Alert, Status
from flowverdict.lifecycle.store import MAX_WRITES, Contribution, Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from flowverdict.alerts.detection import Detection
    from flowverdict.alerts.model import Notification, Severity
    from flowverdict.lifecycle.state_machine import AlertState


# Of the notifications in a commit. DynamoDB takes 4 MB, and merging makes notifications a little
# longer.
_MAX_BYTES = 2_500_000

MAX_TITLES = 5  # of other alerts that a message names


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """What a commit changes in an alert.

    Parameters
    ----------
    flows_added
        Rejected flows that the commit adds to the alert.
    must_notify
        Whether to send the pending message; ``None`` to send it if this transition made it pending.
    """

    before: AlertState | None
    after: AlertState
    contribution: Contribution | None = None
    flows_added: int = 0
    must_notify: bool | None = None

    @property
    def is_message_due(self) -> bool:
        """Whether the pending message is to be sent because of this transition."""
        if self.must_notify is not None:
            return self.must_notify
        return self.after.pending is not None and (
            self.before is None or self.before.pending_at != self.after.pending_at
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowChange:
    """The part of what a window shows that fits into one commit.

    Parameters
    ----------
    known
        Alerts to which the window may have contributed before.
    inhibiting
        Keys of all inhibitions that the window's detections cause.
    retracted
        Notified alerts of which nothing is left.
    shown
        All notifications of the window, if any alert is retracted.
    detections, gone
        This part of the detections, and of the alerts that the window shows no longer.
    """

    window: Window
    known: frozenset[str]
    inhibiting: frozenset[str]
    retracted: tuple[Notification, ...]
    shown: tuple[Notification, ...]
    detections: tuple[Detection, ...] = ()
    gone: tuple[str, ...] = ()


def may_replace(notification: Notification, old: Notification) -> bool:
    """Whether two alerts share an interface and a remote address, so maybe the same flows."""
    if not (isinstance(notification, Alert) and isinstance(old, Alert)) or set(
        notification.interfaces
    ).isdisjoint(old.interfaces):
        return False
    return not {remote.address for remote in notification.top_remotes}.isdisjoint(
        remote.address for remote in old.top_remotes
    )


def severity_known(transitions: Sequence[Transition]) -> Severity | None:
    """Return the severity that recipients know of an alert that goes on in another window.

    ``None`` unless one window retracted the alert and another shows it at no higher severity.
    """
    before, last = transitions[0].before, transitions[-1].after
    is_retracted = any(
        transition.is_message_due and transition.after.pending is Status.RESOLVED
        for transition in transitions[:-1]
    )
    if (
        not is_retracted
        or last.pending is not Status.FIRING
        or before is None
        or before.notified_severity is None
    ):
        return None
    known = before.notified_severity
    return known if last.notification.severity.rank >= known.rank else None


def count_flows_added(transitions: Iterable[Transition]) -> Counter[tuple[str, Severity]]:
    """Count the rejected flows added to alerts, by verdict and severity."""
    added: Counter[tuple[str, Severity]] = Counter()
    for transition in transitions:
        alert = transition.after.notification
        if isinstance(alert, Alert) and transition.flows_added > 0:
            added[alert.verdict, alert.severity] += transition.flows_added
    return added


def was_due_before(transition: Transition) -> bool:
    """Whether the rate limit allowed the message before, and the message was only not sent."""
    return transition.before is not None and transition.before.pending is not None


def split_for_commits(detections: Sequence[Detection]) -> Iterator[tuple[Detection, ...]]:
    """Return the detections in parts that fit into a commit each, by number and by size."""
    part: list[Detection] = []
    size = writes = 0
    for detection in detections:
        detection_size = len(detection.notification.to_json())
        detection_writes = 2 + len(detection.inhibits)
        if part and (writes + detection_writes > MAX_WRITES or size + detection_size > _MAX_BYTES):
            yield tuple(part)
            part, size, writes = [], 0, 0
        part.append(detection)
        size += detection_size
        writes += detection_writes
    if part:
        yield tuple(part)


def with_inhibited_titles(detections: Sequence[Detection]) -> list[Detection]:
    """Add to each alert the titles of the alerts in the same window that it inhibits."""
    by_inhibition: defaultdict[str, list[str]] = defaultdict(list)
    for detection in detections:
        if isinstance(detection.notification, Alert):
            for key in detection.inhibited_by:
                by_inhibition[key].append(detection.notification.title)
    named = []
    for detection in detections:
        titles = dict.fromkeys(title for key in detection.inhibits for title in by_inhibition[key])
        alert = detection.notification
        if titles and isinstance(alert, Alert):
            explains = tuple(titles)[:MAX_TITLES]
            named.append(replace(detection, notification=replace(alert, explains=explains)))
        else:
            named.append(detection)
    return named
