"""Evaluate the windows that are signalled, and send what is due.

The signals of a place come in batches of up to ten, one batch at a time (``signals``). A window is
evaluated once, however many signals of a batch name it. What fails, fails its place's part of the
batch from there on, as a FIFO queue needs: a later signal must not overtake an earlier one
(https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html).
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flowverdict.app.deadlines import ReadDeadline
from flowverdict.app.flow_log_queue import QueueMessage, are_passing, comes_soon
from flowverdict.app.held_back import HeldBack
from flowverdict.app.signals import FeedRead, SourceJudged, signal_in
from flowverdict.core.errors import FlowVerdictError, PostponedError
from flowverdict.lifecycle.dirty_window import DirtyWindow
from flowverdict.lifecycle.windows import WindowFindings
from flowverdict.verdict.remediation.offers import OpenOffers

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse

    from flowverdict.alerts.model import Severity
    from flowverdict.app.deadlines import BudgetedConfigSource, Clock
    from flowverdict.app.flow_log_queue import FlowLogQueue
    from flowverdict.app.observability import Observability
    from flowverdict.app.signals import Received
    from flowverdict.core.availability import NotAvailable
    from flowverdict.flows.collector import FlowCollector
    from flowverdict.flows.model import RejectedFlow
    from flowverdict.lifecycle.feed_readings import FeedReadings
    from flowverdict.lifecycle.intervals import Intervals
    from flowverdict.lifecycle.notifier import Outcome
    from flowverdict.lifecycle.store import AlertStore
    from flowverdict.lifecycle.windows import Explain, WindowEvaluator
    from flowverdict.network.configuration import NetConfig
    from flowverdict.network.ports import ConfigSource
    from flowverdict.policy.model import Policy
    from flowverdict.policy.source import PolicySource
    from flowverdict.verdict.explanation import Explanation


_LATEST_SWEEP = 86_400  # seconds
# What is this old has failed before, or was put back from the dead-letter queue.
_LATE = 600  # seconds


class EvaluateWindows:
    """Handles batches of signals.

    Parameters
    ----------
    queue
        The queue that the signals come from; ``None`` for nothing that has to be given back soon.
    """

    def __init__(  # noqa: PLR0913 - what it is made of, each by its name
        self,
        *,
        evaluator: WindowEvaluator,
        store: AlertStore,
        feeds: FeedReadings,
        intervals: Intervals,
        configs: Callable[[], BudgetedConfigSource],
        policies: PolicySource | None,
        observability: Observability,
        queue: FlowLogQueue | None = None,
        clock: Clock = time.time,
    ) -> None:
        self._evaluator = evaluator
        self._store = store
        self._feeds = feeds
        self._intervals = intervals
        self._configs = configs
        self._policies = policies
        self._observability = observability
        self._queue = queue
        self._clock = clock
        self._held_back = HeldBack(store, observability, clock)

    def handle(self, event: dict[str, Any], seconds: float) -> PartialItemFailureResponse:
        """Evaluate the signalled windows; return the messages that have to come again.

        ``seconds`` is the time that the invocation has left. A place whose turn comes too late
        comes again.
        """
        deadline = ReadDeadline(seconds)
        groups: defaultdict[str, list[QueueMessage]] = defaultdict(list)
        for record in event["Records"]:
            message = QueueMessage(record)
            groups[record["attributes"]["MessageGroupId"]].append(message)
        judging = self._judging()
        failed: list[QueueMessage] = []
        for messages in groups.values():
            failed += self._group(messages, judging, deadline)
        self._observability.rules_not_read(judging.configs)
        self._observability.rejected(judging.flows)
        self._observability.muted(judging.muted_flows)
        return {"batchItemFailures": [{"itemIdentifier": message.message_id} for message in failed]}

    def _judging(self) -> _Judging:
        now = int(self._clock())
        configs = self._configs()
        policy = (
            None if self._policies is None else load_policy(self._policies, self._observability)
        )
        offers = OpenOffers(store=self._store, now=now, kept=_offered_for(self._intervals))

        def explain(flows: FlowCollector, rejected: Sequence[RejectedFlow]) -> WindowFindings:
            from flowverdict.verdict.batch import explain_flows  # noqa: PLC0415 - only for rejects

            asked = _Asked(configs)
            explanations = explain_flows(rejected, asked, offers)
            findings = _findings(flows, explanations, policy, now)
            return replace(findings, retry_helps=asked.retry_helps)

        return _Judging(now=now, configs=configs, explain=explain)

    def _group(
        self, messages: Sequence[QueueMessage], judging: _Judging, deadline: ReadDeadline
    ) -> Sequence[QueueMessage]:
        """Handle the signals of one place; return the messages that have to come again."""
        received: list[Received] = []
        first_failed = len(messages)
        error: Exception | None = None
        for number, message in enumerate(messages):
            try:
                received.append(signal_in(message.body))
            except FlowVerdictError as malformed:
                first_failed, error = number, malformed
                break
        try:
            deadline.check("the signals of a place")
            self._judge(received, messages, judging)
        except Exception as failure:  # noqa: BLE001 - logged, and the place fails alone
            first_failed, error = 0, failure
        failed = messages[first_failed:]
        if error is not None:
            for message in failed:
                self._observability.message_failed(message.message_id, error)
            if self._queue is not None and are_passing([error]):
                self._queue.give_back_soon(failed)
        return failed

    def _judge(
        self, received: Sequence[Received], messages: Sequence[QueueMessage], judging: _Judging
    ) -> None:
        windows = {each.signal for each in received if isinstance(each.signal, DirtyWindow)}
        if windows:
            try:
                self._evaluate(windows, judging, can_wait=all(map(comes_soon, messages)))
            except Exception as error:
                try:
                    self._held_back.not_judged(windows)
                except FlowVerdictError:
                    self._observability.event_failed(error)
                    raise
                raise
        self._held_back.judged(
            each.signal
            for each, message in zip(received, messages, strict=False)
            if isinstance(each.signal, DirtyWindow)
            and (message.receives > 1 or self._is_late(each))
        )
        read: dict[str, int] = {}
        for each in received:
            match each.signal:
                case FeedRead(feed=feed, read_to=read_to):
                    end = min(read_to, judging.now)
                    read[feed] = max(end, read.get(feed, end))
                case SourceJudged(feed=feed, source_id=source_id):
                    self._store.release(source_id, feed)
                case DirtyWindow():
                    pass
        self._feeds.note(read, judging.now)

    def _is_late(self, received: Received) -> bool:
        return self._clock() - received.sent_at > _LATE

    def _evaluate(
        self, windows: Collection[DirtyWindow], judging: _Judging, *, can_wait: bool
    ) -> None:
        """Evaluate windows of a place.

        Raises
        ------
        FlowVerdictError
            They are not judged, or have to wait for the rules.
        """
        outcome = self._evaluator.evaluate(windows, judging.explain, judging.now, can_wait=can_wait)
        judging.add(outcome)
        self._observability.told(outcome, self._clock())
        if outcome.postponed:
            raise PostponedError(
                f"{', '.join(sorted(outcome.postponed))}: the rules cannot be read for now; "
                "what was told with them stands, and the windows are judged again soon"
            )


@dataclass(slots=True, kw_only=True)
class _Judging:
    """What all places of an invocation are judged with, and what came of them."""

    now: int
    configs: BudgetedConfigSource
    explain: Explain
    flows: Counter[tuple[str, Severity]] = field(default_factory=Counter)
    muted_flows: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: Outcome) -> None:
        """Count what the windows of a place have shown."""
        self.flows.update(outcome.flows)
        self.muted_flows.update(outcome.muted_flows)


def _offered_for(intervals: Intervals) -> int:
    """Return for how many seconds an offer of a fix counts: longer than its alert may be open.

    An alert ends after ``resolve``, without flow logs after ``repeat``, or with its digest, and the
    sweep may be late.
    """
    return max(intervals.resolve, intervals.repeat) + intervals.digest + _LATEST_SWEEP


def _findings(
    flows: FlowCollector, explanations: Sequence[Explanation], policy: Policy | None, now: int
) -> WindowFindings:
    """Return what a window shows: what may become a message, and what the policy mutes."""
    from flowverdict.alerts.grouping import detections, group  # noqa: PLC0415 - only for rejects

    if policy is None:
        return WindowFindings(detections=detections(explanations, flows))
    sifted = policy.sift(explanations, datetime.fromtimestamp(now, tz=UTC))
    found = detections(sifted.kept, flows)
    allowed = [detection for detection in found if policy.allows(detection.notification.severity)]
    muted = [*group(muted.explanation for muted in sifted.muted), *found]
    return WindowFindings(
        detections=allowed,
        muted_flows=Counter(muted.place for muted in sifted.muted),
        muted_alerts=frozenset(detection.notification.fingerprint for detection in muted)
        - {detection.notification.fingerprint for detection in allowed},
    )


class _Asked:
    """Reads configurations, and remembers whether another try may bring more of any of them."""

    def __init__(self, configs: ConfigSource) -> None:
        self._configs = configs
        self.retry_helps = False

    def read(
        self,
        account_id: str | None,
        region: str | None,
        flows: Sequence[RejectedFlow],
        *,
        seconds: float | None = None,
    ) -> NetConfig | NotAvailable:
        config = self._configs.read(account_id, region, flows, seconds=seconds)
        self.retry_helps |= config.retry_helps
        return config


def load_policy(policies: PolicySource, observability: Observability) -> Policy:
    """Return the policy in force, and report a document that cannot be used."""
    reading = policies.current()
    observability.policy_read(reading.problem)
    return reading.policy
