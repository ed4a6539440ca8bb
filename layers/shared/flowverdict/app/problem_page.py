"""Write the page of open problems, and of those that ended in the last day, where it changed.

Nothing depends on the page: the sweep writes it last, and only while there is time.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from heapq import nlargest, nsmallest
from itertools import batched
from typing import TYPE_CHECKING, NamedTuple

from flowverdict.alerts.model import Kind, Severity, Status
from flowverdict.core.errors import DeliveryError
from flowverdict.core.formatting import counted, isoformat
from flowverdict.delivery.page.page import (
    MAX_ENDED,
    MAX_ROWS,
    MAX_SPANS,
    MAX_WHOLE,
    Ended,
    Page,
    render,
)
from flowverdict.delivery.page.time_line import Moment, Span, TimeLine
from flowverdict.delivery.text import heading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from flowverdict.alerts.model import Notification
    from flowverdict.delivery.page.stored import StoredPage
    from flowverdict.lifecycle.history import Event
    from flowverdict.lifecycle.on_call import Silences
    from flowverdict.lifecycle.state_machine import AlertState
    from flowverdict.lifecycle.store import AlertStore

MAX_READ = 10_000  # open problems; as many that have ended
_AT_ONCE = 100  # DynamoDB reads as many with one call
_FOREVER = 10**11  # seconds: later than any alert is due
_DAY = 86_400
# Seconds that must be left to go on: three tries of a call take 39.
_NEEDED = 45
_MAX_SHOWN = MAX_WHOLE + MAX_ROWS
_LEFT_OUT = (
    f"There are more than {MAX_READ:,} problems, open or ended in the last day. Those beyond are "
    "neither shown nor counted here."
)
# About no problem: they say what others are, or were held back.
_NO_PROBLEMS = frozenset({Kind.DIGEST, Kind.RATE_LIMITED, Kind.WEEKLY_SUMMARY})


class Problems(NamedTuple):
    """What the page shows: those shown, and how many there are.

    ``versions`` tells one version of what is stored from another, ``day`` is counted from 1970.
    """

    shown: Sequence[AlertState]
    ended: Sequence[AlertState]
    silences: Silences
    by_severity: Counter[str]
    ended_count: int
    for_digest: int
    is_cut: bool
    versions: Sequence[tuple[str, int]]
    day: int

    @property
    def digest(self) -> str:
        """The digest of what the page shows; another each day.

        So a page that is written each day outlives the bucket's rule, which lets objects expire,
        and that of a deleted stack does not.
        """
        frame = render(Page(title="", subtitle="", totals=()))  # changes with the page's style
        silences = [(each.silence_id, each.until) for each in self.silences.silences]
        known = [frame, sorted(self.versions), silences, self.for_digest, self.is_cut, self.day]
        return hashlib.sha256(json.dumps(known).encode()).hexdigest()


class ProblemPage:
    """Reads the problems that are stored, and writes the page where it would be another.

    ``clock`` returns seconds that only ever grow.
    """

    def __init__(
        self, store: AlertStore, stored: StoredPage, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._stored = stored
        self._clock = clock

    def write_if_changed(self, now: int, seconds: float) -> bool:
        """Return whether the page was written; ``seconds`` are left at the beginning.

        Raises
        ------
        DeliveryError
            S3 did not take the page, or too little time is left.
        StateError
            The table cannot be read.
        """
        problems = self._read(now, self._clock() + seconds)
        digest = problems.digest
        if self._stored.digest() == digest:
            return False
        self._stored.put(render(page_of(problems, now)), digest)
        return True

    def _read(self, now: int, until: float) -> Problems:
        """Read all; only those that are shown whole or in a row stay in memory."""
        due = [*self._store.due(_FOREVER, MAX_READ)]  # each open alert is due at some time
        over = [*self._store.ended(now - _DAY, MAX_READ)]
        by_severity: Counter[str] = Counter()
        versions: list[tuple[str, int]] = []
        counts: Counter[str] = Counter()
        ended: list[AlertState] = []

        def open_problems() -> Iterator[AlertState]:
            for names in batched(dict.fromkeys((*due, *over)), _AT_ONCE, strict=False):
                if until - self._clock() < _NEEDED:
                    raise DeliveryError("the page of problems: too little time is left to write it")
                for state in self._store.load(names).values():
                    if state.notification.kind in _NO_PROBLEMS:
                        continue
                    if state.for_digest:
                        counts["for_digest"] += state.is_open
                        continue
                    if state.is_open:
                        by_severity[state.notification.severity] += 1
                        yield state
                    elif _ended_at(state) > now - _DAY:
                        counts["ended"] += 1
                        ended.append(state)
                        if len(ended) > 2 * MAX_ENDED:
                            ended[:] = _latest(ended)
                    else:
                        continue
                    versions.append((state.fingerprint, state.version))

        shown = nsmallest(_MAX_SHOWN, open_problems(), key=_urgency)
        return Problems(
            shown=shown,
            ended=_latest(ended),
            silences=self._store.load_silences().active(now),
            by_severity=by_severity,
            ended_count=counts["ended"],
            for_digest=counts["for_digest"],
            is_cut=MAX_READ in {len(due), len(over)},
            versions=versions,
            day=now // _DAY,
        )


def _latest(ended: Sequence[AlertState]) -> list[AlertState]:
    return nlargest(MAX_ENDED, ended, key=lambda state: (_ended_at(state), state.fingerprint))


def _ended_at(state: AlertState) -> int:
    """Return when an alert ended; 0 where that is not stored."""
    return 0 if state.closed_at is None else state.closed_at


def _urgency(state: AlertState) -> tuple[int, int, str]:
    return state.notification.severity.rank, state.opened_at, state.fingerprint


def page_of(problems: Problems, now: int) -> Page:
    """Return the page; ``now`` is when it is written, in Unix seconds."""
    whole = problems.shown[:MAX_WHOLE]
    spans = [_span(state) for state in (*whole[:MAX_SPANS], *problems.ended)]
    return Page(
        title="Open problems",
        subtitle=(
            f"flowverdict, written {isoformat(now)}. It is written again when something changes, "
            "and once a day: until then this is how things are."
        ),
        totals=(
            (problems.by_severity.total(), "open"),
            *(
                (problems.by_severity[each], each)
                for each in Severity
                if problems.by_severity[each]
            ),
            (problems.ended_count, "ended in the last day"),
        ),
        problems=[_as_it_is(state.notification) for state in problems.shown],
        more=problems.by_severity.total() - len(problems.shown),
        happened={state.fingerprint: _happened(state, problems.silences) for state in whole},
        ended=[_ended(state) for state in problems.ended],
        more_ended=problems.ended_count - len(problems.ended),
        time_line=TimeLine(now - _DAY, now, spans),
        noise=[_noise(problems.for_digest)] if problems.for_digest else (),
        quality=[_LEFT_OUT] if problems.is_cut else (),
    )


def _as_it_is(notification: Notification) -> Notification:
    """Return it without the words of its last message, which are of the time of that message."""
    return notification.with_status(Status.FIRING, None)


def _noise(count: int) -> str:
    return (
        f"{counted(count, 'low or informational problem')} (scans, requests to closed ports, "
        "closed connections): the next digest reports them."
    )


def _ended(state: AlertState) -> Ended:
    told = state.notification.status_reason if state.was_sent else None
    return Ended(
        severity=state.notification.severity,
        problem=heading(state.notification),
        how=told or "Ended without a message.",
        when=isoformat(state.closed_at) or "",
    )


def _span(state: AlertState) -> Span:
    return Span(
        label=heading(state.notification, brief=True),
        style=state.notification.severity,
        begin=state.opened_at,
        end=state.closed_at,
        moments=[
            Moment(event.at, _in_words(event), by_person=event.by is not None)
            for event in state.history
        ],
    )


def _happened(state: AlertState, silences: Silences) -> list[str]:
    lines = [f"{isoformat(event.at)}: {_in_words(event)}" for event in state.history]
    return lines + [
        f"silenced until {isoformat(silence.until)} by {silence.by}: {silence.reason}"
        for silence in silences.matching(state.notification)
    ]


def _in_words(event: Event) -> str:
    by = "" if event.by is None else f" by {event.by}"
    reason = "" if event.reason is None else f": {event.reason}"
    return f"{event.what}{by}{reason}"
