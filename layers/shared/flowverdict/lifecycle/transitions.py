"""TODO flowverdict.lifecycle.transitions."""

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
    from flowverdict.lifecycle.state_machine import State


_MAX_BYTES = 2_500_000  # of the documents in a commit; DynamoDB takes 4 MB, and merging makes them a little longer

MAX_EXPLAINED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """What a commit has made of an alert; ``flows_added`` are the rejected flows that came to it."""

    before: State | None
    after: State
    contribution: Contribution | None = None
    flows_added: int = 0
    called: bool | None = None

    @property
    def calls_for_message(self) -> bool:
        """Whether there is a message that this step is the first to call for."""
        if self.called is not None:
            return self.called
        return self.after.pending is not None and (
            self.before is None or self.before.pending_at != self.after.pending_at
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChange:
    """A part of what a window shows, as far as it fits into one commit.

    ``known`` are the alerts that the window may have added to before, ``cast`` the shadows that anything in it casts, ``gone`` what
    it was counted for and shows no longer, ``retracted`` what was told and of which nothing will be left, ``shown`` all that the
    window shows where there is any of that.
    """

    window: Window
    known: frozenset[str]
    cast: frozenset[str]
    retracted: tuple[Notification, ...]
    shown: tuple[Notification, ...]
    detections: tuple[Detection, ...] = ()
    gone: tuple[str, ...] = ()


def takes_place_of(notification: Notification, old: Notification) -> bool:
    """Whether the flows of one may be those that the other was made of: an interface and a remote address are the same."""
    if not (isinstance(notification, Alert) and isinstance(old, Alert)) or set(
        notification.interfaces
    ).isdisjoint(old.interfaces):
        return False
    return not {one.address for one in notification.top_remotes}.isdisjoint(
        one.address for one in old.top_remotes
    )


def goes_on(transitions: Sequence[Transition]) -> bool:
    """Whether what was told before is taken back in one window and seen in another, no worse: nobody needs to hear of that."""
    before, last = transitions[0].before, transitions[-1].after
    taken_back = any(
        transition.calls_for_message and transition.after.pending is Status.RESOLVED
        for transition in transitions[:-1]
    )
    if (
        not taken_back
        or last.pending is not Status.FIRING
        or before is None
        or before.notified_severity is None
    ):
        return False
    return last.notification.severity.rank >= before.notified_severity.rank


def count_flows_added(transitions: Iterable[Transition]) -> Counter[tuple[str, Severity]]:
    added: Counter[tuple[str, Severity]] = Counter()
    for transition in transitions:
        if isinstance(transition.after.notification, Alert) and transition.flows_added > 0:
            added[
                transition.after.notification.verdict, transition.after.notification.severity
            ] += transition.flows_added
    return added


def is_leftover(transition: Transition) -> bool:
    """Whether the message was allowed before and only not sent."""
    return transition.before is not None and transition.before.pending is not None


def chunks(detections: Sequence[Detection]) -> Iterator[tuple[Detection, ...]]:
    """Give parts that fit into a commit each, by number and by size."""
    contribution: list[Detection] = []
    size = writes = 0
    for detection in detections:
        its_size, its_writes = len(detection.notification.to_json()), 2 + len(detection.inhibits)
        if contribution and (writes + its_writes > MAX_WRITES or size + its_size > _MAX_BYTES):
            yield tuple(contribution)
            contribution, size, writes = [], 0, 0
        contribution.append(detection)
        size += its_size
        writes += its_writes
    if contribution:
        yield tuple(contribution)


def with_explained(detections: Sequence[Detection]) -> list[Detection]:
    """Let each alert say which others of the batch it explains."""
    by_inhibition: defaultdict[str, list[str]] = defaultdict(list)
    for detection in detections:
        if isinstance(detection.notification, Alert):
            for key in detection.inhibited_by:
                by_inhibition[key].append(detection.notification.title)
    return [
        detection
        if not (
            titles := tuple(
                dict.fromkeys(title for key in detection.inhibits for title in by_inhibition[key])
            )[:MAX_EXPLAINED]
        )
        or not isinstance(detection.notification, Alert)
        else replace(detection, notification=replace(detection.notification, explains=titles))
        for detection in detections
    ]
