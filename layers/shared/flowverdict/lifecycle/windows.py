"""Evaluate windows: turn the evidence of a five-minute window into changes of alerts.

The evidence of a source is stored first, and after that a signal is sent for each window that the
source has evidence for. The window is then evaluated, together with the neighbouring windows,
because a request and its reply may lie in two windows. If the digest of the rejected flows is
unchanged, no alert is computed, unless a part of the rules was missing because time was spent or
AWS throttled. Evidence that comes later has a signal of its own, so nothing is looked for again.

The version of a window is read before its evidence and written by every evaluation, also by one
that changes nothing else. So of two evaluations at once, one fails, and its signals come again. If
an evaluation that changes nothing wrote no version, an older one could still write what it has seen
of less evidence.

A window that was evaluated with all its rules is postponed while a part of them cannot be read and
its signal comes again soon: what was told must not get worse for a throttled call. A window without
rejected flows is not stored. Whoever stores evidence of rejected flows therefore stores the window
(``mark_windows``) before the signal is sent, so that evidence of its neighbours finds it.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from flowverdict.alerts.model import Alert, last_objects
from flowverdict.core.errors import FlowVerdictError, StateError
from flowverdict.core.formatting import cut
from flowverdict.core.values import but
from flowverdict.flows.evidence import AFTER, BEFORE, flows_of
from flowverdict.flows.identity import identity_of
from flowverdict.flows.stored_evidence import evidence_for
from flowverdict.lifecycle.feeds import feed_name
from flowverdict.lifecycle.store import Commit, ConflictError, Window, WindowChangedError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from flowverdict.alerts.detection import Detection
    from flowverdict.alerts.model import Notification
    from flowverdict.flows.collector import FlowCollector
    from flowverdict.flows.evidence import Evidence
    from flowverdict.flows.model import AggregatedRejects, LostRecords, RejectedFlow
    from flowverdict.flows.ports import EvidenceStore
    from flowverdict.lifecycle.dirty_window import DirtyWindow
    from flowverdict.lifecycle.intervals import Intervals
    from flowverdict.lifecycle.manager import AlertManager
    from flowverdict.lifecycle.notifier import Outcome
    from flowverdict.lifecycle.store import AlertStore
    from flowverdict.lifecycle.transitions import Transition


_LONGEST_RUN = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowFindings:
    """What the flows of a window amount to.

    Parameters
    ----------
    detections
        All detections of the window that may become messages.
    muted_flows
        How many of the window's rejected flows the policy mutes, by policy entry (``silences[0]``).
    muted_alerts
        Fingerprints of the window's alerts that the policy does not allow; open ones are closed
        without a message.
    retry_helps
        Whether a part of the rules was missing for a reason that may pass within minutes.
    """

    detections: Sequence[Detection]
    muted_flows: Mapping[str, int] = field(default_factory=dict)
    muted_alerts: frozenset[str] = frozenset()
    retry_helps: bool = False


# It is called whenever a window is evaluated again: what it stores, it stores once.
type Explain = Callable[[FlowCollector, Sequence[RejectedFlow]], WindowFindings]


@dataclass(slots=True, kw_only=True)
class _Evaluation:
    """One call of ``evaluate``: what it works with, and what was written so far.

    ``feed`` is that of the partition whose windows are evaluated at the moment.
    ``postponed`` names partitions.
    """

    explain: Explain
    now: int
    can_wait: bool
    feed: str = ""
    transitions: list[Transition] = field(default_factory=list)
    muted_flows: Counter[str] = field(default_factory=Counter)
    postponed: set[str] = field(default_factory=set)


class WindowEvaluator:
    """Evaluates windows and hands what they show to the alert manager."""

    def __init__(
        self,
        evidence: EvidenceStore,
        store: AlertStore,
        manager: AlertManager,
        intervals: Intervals,
    ) -> None:
        self._evidence = evidence
        self._store = store
        self._manager = manager
        self._intervals = intervals

    def evaluate(
        self,
        dirty: Collection[DirtyWindow],
        explain: Explain,
        now: int,
        *,
        can_wait: bool = False,
    ) -> Outcome:
        """Evaluate the dirty windows and their neighbours, then send the messages that are due.

        Parameters
        ----------
        explain
            Returns everything that the flows of one window show, the same each time, since a
            window may be evaluated several times.
        now
            Unix seconds.
        can_wait
            Whether the windows are evaluated again soon if they are postponed.

        Raises
        ------
        StateError, EvidenceError
            A store cannot be reached, or another evaluation changed the same windows. The next
            evaluation of a window adds what is missing.
        """
        evaluation = _Evaluation(explain=explain, now=now, can_wait=can_wait)
        try:
            for partition in sorted({window.partition for window in dirty}):
                numbers = {window.window for window in dirty if window.partition == partition}
                evaluation.feed = next(
                    window.feed for window in dirty if window.partition == partition
                )
                for run in _runs(_with_neighbours(numbers)):
                    self._evaluate_run(partition, run, evaluation)
        except FlowVerdictError:
            # What is written down is sent, whatever failed after it.
            self._manager.notify(evaluation.transitions)
            raise
        # Sent at the end, because a later window may add to the alert that an earlier window
        # opened.
        outcome = self._manager.notify(evaluation.transitions)
        outcome.muted_flows = evaluation.muted_flows
        outcome.postponed = evaluation.postponed
        return outcome

    def _evaluate_run(self, partition: str, run: Sequence[int], evaluation: _Evaluation) -> None:
        """Evaluate consecutive windows."""
        ids = {window: f"{partition}#{window}" for window in run}
        stored = self._store.load_windows(list(ids.values()))
        known = {
            window: stored[window_id] for window, window_id in ids.items() if window_id in stored
        }
        if not known:
            return
        try:
            self._evaluate_known(partition, known, evaluation)
        except (WindowChangedError, ConflictError) as error:
            raise StateError(
                f"{partition}: another evaluation changed the same windows; this one comes again"
            ) from error

    def _evaluate_known(
        self, partition: str, known: dict[int, Window], evaluation: _Evaluation
    ) -> None:
        first, last = min(known) - BEFORE, max(known) + AFTER
        seed = self._store.seed()
        evidence = evidence_for(known, self._evidence.read(partition, first, last), seed)
        for number, window in sorted(known.items()):
            # An unreadable source counts as absent: it takes nothing back that it has contributed.
            sources = sum(source.is_readable for source in evidence.get(number, ()))
            if sources < window.sources:
                continue  # so old that its evidence is being deleted; its contribution stands
            flows = flows_of(number, evidence, seed)
            rejected = [*flows.rejected()]
            digest = _digest(rejected, [*flows.lost()], flows.aggregated, sources)
            if digest == window.judged and window.settled:
                same = replace(window, sources=sources, fingerprints=None)
                self._store.commit(Commit(window=same), evaluation.now, self._intervals)
                continue
            findings = evaluation.explain(flows, rejected)
            if findings.retry_helps and window.settled and evaluation.can_wait:
                # Alerts that name a rule would be taken back for others that cannot name it.
                evaluation.postponed.add(partition)
                continue
            evaluated = replace(
                window, judged=digest, sources=sources, settled=not findings.retry_helps
            )
            shown = _with_sources(findings, evaluation.feed, evidence[number])
            self._write(evaluated, shown, evaluation)

    def _write(self, window: Window, findings: WindowFindings, evaluation: _Evaluation) -> None:
        """Write what a window shows, then count the flows that the policy mutes."""
        self._manager.mute(findings.muted_alerts, evaluation.now)
        for transition in self._manager.apply(
            findings.detections, window, evaluation.now, muted_flows=findings.muted_flows
        ):
            evaluation.transitions.append(transition)
        evaluation.muted_flows.update(muted_flows_added(window.muted_flows, findings.muted_flows))


def _with_sources(
    findings: WindowFindings, feed: str, evidence: Sequence[Evidence]
) -> WindowFindings:
    """Return the findings with the feeds and objects whose records show each detection.

    An interface that a detection does not name, because it has too many, counts with the others.
    """
    feeds: defaultdict[str, set[str]] = defaultdict(set)
    objects: defaultdict[str, set[str]] = defaultdict(set)
    every: set[str] = set()
    for piece in evidence:
        if piece.object_name is not None:
            for interface in {key.interface for key, _ in piece.flows.rejects}:
                objects[cut(str(interface))].add(piece.object_name)
        name = feed_name(feed, None if piece.flow_log is None else piece.flow_log.flow_log_id)
        for interface in piece.flows.interfaces:
            feeds[cut(str(interface))].add(name)
        every.add(name)
    return replace(
        findings,
        detections=[
            but(
                detection,
                notification=_with_objects(detection.notification, objects),
                feeds=tuple(sorted(_feeds_of(detection.notification, feeds, every))),
            )
            for detection in findings.detections
        ],
    )


def _with_objects(notification: Notification, objects: Mapping[str, set[str]]) -> Notification:
    if not isinstance(notification, Alert):
        return notification
    names = (name for each in notification.interfaces for name in objects.get(each, ()))
    return but(notification, objects=last_objects(names))


def _feeds_of(
    notification: Notification, feeds: Mapping[str, set[str]], every: set[str]
) -> set[str]:
    named = notification.interfaces
    if len(named) < notification.interface_count:
        return every
    found = {feed for interface in named for feed in feeds.get(interface, ())}
    return found or every


def muted_flows_added(before: Mapping[str, int], after: Mapping[str, int]) -> Counter[str]:
    """Return by how much a window's muted flows grew, by policy entry.

    The sum is the difference of both totals, and nothing where that is negative: a flow that
    another entry mutes after the policy was edited is not counted again.
    """
    added = Counter(after) - Counter(before)
    moved = added.total() - max(0, sum(after.values()) - sum(before.values()))
    for entry, count in sorted(added.items()):
        added[entry] -= min(moved, count)
        moved -= count - added[entry]
    return +added


def _with_neighbours(windows: Collection[int]) -> set[int]:
    """Return the windows and those whose flows the evidence of these windows may change."""
    return {
        near
        for window in windows
        for near in range(window - AFTER, window + BEFORE + 1)
        if near >= 0
    }


def _runs(windows: Collection[int]) -> Iterator[list[int]]:
    """Return consecutive windows together, at most six: all evidence of a run is held in memory.

    A file may name times thousands of years apart, and the batch of a backfill names consecutive
    hours.
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
    sources: int,
) -> str:
    """Identify everything that alerts are made of, except the rules, which are read on a change.

    A further source may have further connections of the services that flows are rejected at.
    """
    digest = hashlib.sha256()
    for flow in flows:
        digest.update(identity_of(flow))
    digest.update(identity_of(list(lost)))
    digest.update(identity_of({name: together.traffic for name, together in aggregated.items()}))
    digest.update(identity_of(sources if flows else 0))
    return digest.hexdigest()[:32]
