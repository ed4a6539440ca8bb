"""Windows to alerts: what is known of a window is judged whenever more of it is known.

First a source's evidence is kept, then the windows it has something for are judged, with those around them. Whoever finds that its
evidence makes no difference to a window writes nothing. Whoever has written looks whether more evidence has come since it read, and
then judges again: what the one adds may be what the other takes back. Of two that write at once one has to judge again: a window's
version is read before its evidence is, and written with the alerts. A window that nothing was rejected in is not written down at
all, which is why one with rejects is, before its evidence is read for the first time.
"""

from __future__ import annotations

import hashlib
import random
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flowverdict.core.errors import FlowVerdictError, StateError
from flowverdict.flows.evidence import AFTER, BEFORE, flows_of
from flowverdict.flows.identity import identity_of
from flowverdict.lifecycle.store import Commit, ConflictError, Window, WindowChangedError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from flowverdict.alerts.detection import Detection
    from flowverdict.flows.collector import FlowCollector
    from flowverdict.flows.model import AggregatedRejects, LostRecords, RejectedFlow
    from flowverdict.flows.ports import EvidenceStore
    from flowverdict.lifecycle.manager import AlertManager, Outcome
    from flowverdict.lifecycle.state_machine import Intervals
    from flowverdict.lifecycle.store import AlertStore
    from flowverdict.lifecycle.transitions import Transition


type Explain = Callable[[FlowCollector, Sequence[RejectedFlow]], Sequence[Detection]]

_TRIES = 12
_FIRST_WAIT = 0.05  # seconds; doubled with each try
_LONGEST_WAIT = 2.0
_LONGEST_RUN = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class DirtyWindow:
    """A window that a source has evidence for; ``rejects`` says whether anything that alerts are made of."""

    partition: str
    window: int
    rejects: bool


class WindowEvaluator:
    """Judges windows and writes what they show into the book."""

    def __init__(
        self,
        evidence: EvidenceStore,
        store: AlertStore,
        manager: AlertManager,
        intervals: Intervals,
        *,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._evidence = evidence
        self._store = store
        self._manager = manager
        self._intervals = intervals
        self._wait = wait

    def evaluate(self, dirty: Collection[DirtyWindow], explain: Explain, now: int) -> Outcome:
        """WindowEvaluator what was touched, and what it says something of; ``explain`` gives everything that a window's flows show.

        Raises
        ------
        StateError, EvidenceError
            What is remembered cannot be reached, or others judge the same windows again and again. What is missing comes with the
            next time that a window is judged.
        """
        transitions: list[Transition] = []
        try:
            for partition in sorted({one.partition for one in dirty}):
                its_windows = {one.window for one in dirty if one.partition == partition}
                fresh = {one.window for one in dirty if one.partition == partition and one.rejects}
                for run in _runs(
                    {
                        near
                        for one in its_windows
                        for near in range(one - AFTER, one + BEFORE + 1)
                        if near >= 0
                    }
                ):
                    for transition in self._evaluate_run(partition, run, fresh, explain, now):
                        transitions.append(transition)  # noqa: PERF402 - what came before an error counts
        except FlowVerdictError:
            self._manager.notify(
                transitions
            )  # what is written down is told, whatever came after it
            raise
        # At the end, since what one window begins the next one may add to.
        return self._manager.notify(transitions)

    def _evaluate_run(
        self,
        partition: str,
        run: Sequence[int],
        fresh: Collection[int],
        explain: Explain,
        now: int,
    ) -> Iterator[Transition]:
        """WindowEvaluator windows that follow each other."""
        for tried in range(_TRIES):
            try:
                known = self._begun(partition, run, fresh, now)
                if known:
                    yield from self._evaluate_known(partition, known, explain, now)
            except (WindowChangedError, ConflictError):
                self._wait(random.uniform(0, min(_LONGEST_WAIT, _FIRST_WAIT * 2**tried)))  # noqa: S311 - no secret
                continue
            return
        raise StateError(
            f"others judged the same windows {_TRIES} times while they were to be judged"
        )

    def _begun(
        self, partition: str, run: Sequence[int], fresh: Collection[int], now: int
    ) -> dict[int, Window]:
        """Give the windows that anything was rejected in, written down before their evidence is read."""
        ids = {window: f"{partition}#{window}" for window in run}
        known = self._store.load_windows(list(ids.values()))
        begun = {
            window: known[window_id] for window, window_id in ids.items() if window_id in known
        }
        for window in sorted(set(run) & set(fresh) - set(begun)):
            first = Window(window_id=ids[window])
            self._store.commit(Commit(window=first), now, self._intervals)
            begun[window] = replace(first, version=1)
        return begun

    def _evaluate_known(
        self,
        partition: str,
        known: dict[int, Window],
        explain: Explain,
        now: int,
    ) -> Iterator[Transition]:
        first, last = min(known) - BEFORE, max(known) + AFTER
        evidence = self._evidence.read(partition, first, last)
        has_written = False
        for number, window in sorted(known.items()):
            # An unreadable source counts as absent: it takes nothing back that it has contributed.
            sources = sum(source.is_readable for source in evidence.get(number, ()))
            if sources < window.sources:
                continue  # it is so old that its evidence is being cleared away; what it has added stands
            flows = flows_of(number, evidence, self._store.seed())
            rejected = [*flows.rejected()]
            digest = _digest(rejected, [*flows.lost()], flows.aggregated)
            if digest != window.judged:
                judged = replace(window, judged=digest, sources=sources)
                yield from self._manager.apply(explain(flows, rejected), judged, now)
                has_written = True
        if has_written and self._evidence.count(partition, first, last) > sum(
            map(len, evidence.values())
        ):
            raise WindowChangedError(f"{partition}#{first}-{last}")


def _runs(windows: Collection[int]) -> Iterator[list[int]]:
    """Give windows that follow each other together, a few at a time: all that is kept of them is held in memory.

    A file may name times thousands of years apart, and a backfill's batch hours that follow each other.
    """
    run: list[int] = []
    for window in sorted(windows):
        if run and (window != run[-1] + 1 or len(run) == _LONGEST_RUN):
            yield run
            run = []
        run.append(window)
    if run:
        yield run


def _digest(
    flows: Sequence[RejectedFlow],
    lost: Sequence[LostRecords],
    aggregated: Mapping[str | None, AggregatedRejects],
) -> str:
    """Identify everything that alerts are made of, except the rules, which are read on a change."""
    digest = hashlib.sha256()
    for flow in flows:
        digest.update(identity_of(flow))
    digest.update(identity_of(list(lost)))
    digest.update(identity_of({name: together.traffic for name, together in aggregated.items()}))
    return digest.hexdigest()[:32]
