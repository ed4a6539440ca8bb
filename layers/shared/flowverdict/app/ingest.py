"""Turn events into alerts: read each source once, store its evidence, evaluate the dirty windows.

A source is an S3 object or a CloudWatch Logs event. Which sources were read is recorded in the
alert table, so a source that is delivered again is not read again; its windows are evaluated again,
because an earlier invocation may have ended in between.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from flowverdict.alerts.grouping import detections, group
from flowverdict.app.deadlines import ReadDeadline
from flowverdict.app.flow_log_queue import comes_soon
from flowverdict.app.held_back import HeldBack
from flowverdict.app.sources import IngestResult, Readings, SourcePlace, postponed_errors
from flowverdict.core.errors import (
    EmptyObjectError,
    FlowVerdictError,
    NotAFlowLogError,
    ObjectError,
)
from flowverdict.flowlog.cloudwatch_logs import decode
from flowverdict.flowlog.columnar import WINDOW
from flowverdict.flowlog.object_key import (
    ObjectRef,
    Origin,
    contradiction_in,
    time_of,
    why_foreign,
)
from flowverdict.flowlog.record_counts import RecordCounts
from flowverdict.flowlog.s3_events import (
    event_of_message,
    event_without_objects,
    is_sqs_event,
    objects_in,
)
from flowverdict.flows.collector import FlowCollector
from flowverdict.flows.evidence import Evidence
from flowverdict.flows.read_source import read_log_events, read_object
from flowverdict.lifecycle.feeds import end_of_windows
from flowverdict.lifecycle.windows import DirtyWindow, WindowEvaluator, WindowFindings
from flowverdict.verdict.batch import explain_flows
from flowverdict.verdict.remediation.offers import OpenOffers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse

    from flowverdict.app.deadlines import BudgetedConfigSource, Clock
    from flowverdict.app.flow_log_queue import FlowLogQueue
    from flowverdict.app.observability import Observability
    from flowverdict.core.availability import NotAvailable
    from flowverdict.flowlog.cloudwatch_logs import LogBatch
    from flowverdict.flowlog.ports import FormatSource, ObjectStore
    from flowverdict.flows.model import RejectedFlow
    from flowverdict.flows.ports import EvidenceStore
    from flowverdict.flows.read_source import LogGroups, SourceRead
    from flowverdict.lifecycle.feed_readings import FeedReadings
    from flowverdict.lifecycle.state_machine import Intervals
    from flowverdict.lifecycle.store import AlertStore
    from flowverdict.network.configuration import NetConfig
    from flowverdict.network.ports import ConfigSource
    from flowverdict.policy.model import Policy
    from flowverdict.policy.source import PolicySource
    from flowverdict.verdict.explanation import Explanation


_LATEST_SWEEP = 86_400  # seconds
# Lambda tries an asynchronous event again after one minute and after two more
# (https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html).
_LAST_TRY_AFTER = 150


class IngestService:
    """Reads each source once, stores its evidence, re-evaluates dirty windows and notifies.

    ``held_back`` takes the sources that cannot be read.
    """

    def __init__(  # noqa: PLR0913 - what it is made of, each by its name
        self,
        *,
        evaluator: WindowEvaluator,
        store: AlertStore,
        feeds: FeedReadings,
        intervals: Intervals,
        evidence: EvidenceStore,
        configs: Callable[[], BudgetedConfigSource],
        policies: PolicySource | None,
        observability: Observability,
        clock: Clock = time.time,
    ) -> None:
        self._evaluator = evaluator
        self._store = store
        self._feeds = feeds
        self._intervals = intervals
        self._evidence = evidence
        self._configs = configs
        self._policies = policies
        self._observability = observability
        self._clock = clock
        self.held_back = HeldBack(store, observability, clock)

    def ingest(
        self,
        source_id: str,
        name: str,
        place: SourcePlace,
        read: Callable[[int], SourceRead],
        *,
        can_wait: bool | None = None,
    ) -> IngestResult:
        """Read a source and store its evidence, unless that was done before.

        ``can_wait`` says whether the source is delivered again soon if it fails; ``None`` to tell
        it from the time since the source was first read.

        Raises
        ------
        FlowVerdictError
            The source cannot be read, or its evidence not be stored. Nothing is recorded, and the
            source is read again when it is delivered again.
        """
        known = self._store.windows_of(source_id)
        if known is not None:
            self._observability.already_counted(name)
            if can_wait is None:
                can_wait = self._comes_again(source_id)
            return IngestResult(
                source_id=source_id,
                counts=RecordCounts(),
                dirty=frozenset(
                    place.dirty(window, rejects=True, can_wait=can_wait) for window in known
                ),
                feed=place.feed_name,
                windows=frozenset(known),
                came_again=True,
            )
        source = read(self._store.seed())
        self._observability.read(source.reading)
        windows = self._with_named_window(source_id, name, source.windows)
        for window, evidence in windows.items():
            self._evidence.put(place.partition, window, source_id, evidence)
        self._store.record_source(source_id, windows.keys(), int(self._clock()))
        dirty = frozenset(
            place.dirty(
                window,
                rejects=bool(evidence.flows.rejects) or any(evidence.flows.lost()),
                can_wait=can_wait is not False,
            )
            for window, evidence in windows.items()
        )
        return IngestResult(
            source_id=source_id,
            counts=source.reading.counts,
            dirty=dirty,
            feed=place.feed_name,
            windows=source.windows_read,
        )

    def _with_named_window(
        self, source_id: str, name: str, windows: Mapping[int, Evidence]
    ) -> Mapping[int, Evidence]:
        """Add the window of ``not_read`` where a source failed before and has no records of it."""
        first = time_of(name)
        if (
            first is None
            or first // WINDOW in windows
            or self._store.read_at(source_id) is None  # it was not held back
        ):
            return windows
        return {**windows, first // WINDOW: Evidence(flows=FlowCollector())}

    def _comes_again(self, source_id: str) -> bool:
        """Return whether Lambda delivers an asynchronous event again if this try fails."""
        read_at = self._store.read_at(source_id)
        return read_at is not None and int(self._clock()) - read_at < _LAST_TRY_AFTER

    def not_read(
        self, source_id: str, name: str, place: SourcePlace, *, can_wait: bool = False
    ) -> IngestResult:
        """Store that a source could not be read, in the window that its name shows.

        What was not seen shows little there until the source is read, which replaces this evidence.

        Raises
        ------
        EvidenceError
            The evidence could not be stored.
        """
        first = time_of(name)
        dirty = set[DirtyWindow]()
        if first is not None:
            window = first // WINDOW
            self._evidence.put(place.partition, window, source_id, Evidence.not_read(name))
            dirty.add(place.dirty(window, rejects=False, can_wait=can_wait))
        return IngestResult(
            source_id=source_id,
            counts=RecordCounts(),
            dirty=frozenset(dirty),
            feed=place.feed_name,
            windows=frozenset(),
        )

    def evaluate(self, results: Iterable[IngestResult]) -> frozenset[str]:
        """Evaluate the dirty windows of all sources of an event, and send what is due.

        Returns the partitions with windows that are postponed; their sources have to come again.
        """
        now = int(self._clock())
        results = [*results]
        counts, dirty = RecordCounts(), set[DirtyWindow]()
        read: dict[str, int] = {}
        partitions: defaultdict[str, frozenset[str]] = defaultdict(frozenset)
        for result in results:
            counts.merge(result.counts)
            dirty |= result.dirty
            partitions[result.feed] |= result.partitions
            end = end_of_windows(result.windows, now)
            if end is not None:
                read[result.feed] = max(end, read.get(result.feed, end))
        configs = self._configs()
        policy = (
            None if self._policies is None else load_policy(self._policies, self._observability)
        )

        open_offers = OpenOffers(store=self._store, now=now, kept=_offered_for(self._intervals))

        def explain(flows: FlowCollector, rejected: Sequence[RejectedFlow]) -> WindowFindings:
            asked = _Asked(configs)
            explanations = explain_flows(rejected, asked, open_offers)
            findings = _findings(flows, explanations, policy, now)
            return replace(findings, retry_helps=asked.retry_helps)

        outcome = self.held_back.unless_judged(
            results, partial(self._evaluator.evaluate, dirty, explain, now)
        )
        late = {feed for feed, places in partitions.items() if places & outcome.postponed}
        self._feeds.note({feed: end for feed, end in read.items() if feed not in late}, now)
        self._observability.rules_not_read(configs)
        self._observability.rejected(outcome.flows)
        if policy is not None:
            self._observability.muted(outcome.muted_flows)
        self._observability.finished(counts, outcome, self._clock())
        return frozenset(outcome.postponed)


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


def _are_passing(errors: Sequence[Exception]) -> bool:
    return bool(errors) and all(
        isinstance(error, FlowVerdictError) and error.passing for error in errors
    )


class ClassifyObjects:
    """Turns flow log objects that events name into alerts.

    Events from a queue fail message by message: if one message names a broken object, the alerts of
    the other messages are still sent. Any other event fails whole, and Lambda retries it. An object
    is counted once, however often it is named. What its key says to be no flow log, and what is
    empty, is counted and fails nothing.
    """

    def __init__(
        self,
        objects: ObjectStore,
        service: IngestService,
        observability: Observability,
        queue: FlowLogQueue | None = None,
        *,
        log_groups: LogGroups | None = None,
    ) -> None:
        self._log_groups = log_groups
        self._objects = objects
        self._service = service
        self._observability = observability
        self._queue = queue

    def handle(self, event: dict[str, Any], seconds: float) -> PartialItemFailureResponse | None:
        """Classify all objects of the event; for a queue's event, return the failed messages.

        Objects that cannot be read in time go back to the queue; what was read is evaluated.
        ``seconds`` is the time that the invocation has left.
        """
        deadline = ReadDeadline(seconds)
        if is_sqs_event(event):
            return self._queue_messages(event, deadline)
        reading = self._read_objects(event, deadline, can_wait=None)
        errors = (*reading.errors, *postponed_errors(self._service.evaluate(reading.results)))
        for error in errors[1:]:
            self._observability.event_failed(error)
        if errors:
            raise errors[0]
        return None

    def _queue_messages(
        self, event: dict[str, Any], deadline: ReadDeadline
    ) -> PartialItemFailureResponse:
        messages = [SQSRecord(record) for record in event["Records"]]
        readings = {
            message.message_id: self._read_message(message, deadline) for message in messages
        }
        try:
            postponed = self._service.evaluate(
                result for reading in readings.values() for result in reading.results
            )
        except FlowVerdictError as error:
            if error.passing:
                self._give_back_soon(messages)
            raise
        failed = {
            message_id: errors
            for message_id, reading in readings.items()
            if (errors := reading.errors_with(postponed))
        }
        for message_id, errors in failed.items():
            for each in errors:
                self._observability.message_failed(message_id, each)
        self._give_back_soon(
            message for message in messages if _are_passing(failed.get(message.message_id, ()))
        )
        # What keeps failing ends in the DLQ.
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}

    def _give_back_soon(self, messages: Iterable[SQSRecord]) -> None:
        if self._queue is not None:
            self._queue.give_back_soon([message for message in messages if comes_soon(message)])

    def _read_message(self, message: SQSRecord, deadline: ReadDeadline) -> Readings:
        try:
            event = event_of_message(message.get("body"))
            return self._read_objects(event, deadline, can_wait=comes_soon(message))
        except Exception as error:  # noqa: BLE001 - logged, and the message fails alone
            return Readings(errors=(error,))

    def _read_objects(
        self, event: object, deadline: ReadDeadline, *, can_wait: bool | None
    ) -> Readings:
        """Read every object that an event names; one that cannot be read hides no other.

        Raises
        ------
        EnvelopeError
            The shape of the event is not known.
        """
        refs = objects_in(event)
        if not refs:
            self._observability.passed_over(None, event_without_objects(event))
        results: list[IngestResult] = []
        errors: list[Exception] = []
        for ref in dict.fromkeys(refs):
            if (reason := why_foreign(ref.key)) is not None:
                self._observability.passed_over(ref.name, reason)
                continue
            if (reason := contradiction_in(ref.key)) is not None:
                # Of neither account is anything stored, not even that records are missing.
                errors.append(NotAFlowLogError(ref.name, reason))
                continue
            try:
                results.append(self._ingest(ref, deadline, can_wait=can_wait))
            except EmptyObjectError:
                self._observability.passed_over(ref.name, "it is empty")
            except ObjectError as error:
                errors.append(error)
                if error.passing and can_wait is not False:
                    continue  # read in a minute: what it shows is not told twice until then
                try:
                    results.append(self._not_read(ref, can_wait=can_wait is not False))
                except FlowVerdictError as not_stored:
                    errors.append(not_stored)
            except Exception as error:  # noqa: BLE001 - raised or logged after the other objects
                errors.append(error)
        return Readings(results=tuple(results), errors=tuple(errors))

    def _not_read(self, ref: ObjectRef, *, can_wait: bool) -> IngestResult:
        place = SourcePlace.of_object(ref.key)
        return self._service.not_read(ref.source_id, ref.name, place, can_wait=can_wait)

    def _ingest(
        self, ref: ObjectRef, deadline: ReadDeadline, *, can_wait: bool | None
    ) -> IngestResult:
        place = SourcePlace.of_object(ref.key)
        with self._service.held_back.unless_read(ref.source_id, ref.name, place.feed_name):
            deadline.check(ref.name)
            read = partial(self._read, ref, deadline)
            return self._service.ingest(ref.source_id, ref.name, place, read, can_wait=can_wait)

    def _read(self, ref: ObjectRef, deadline: ReadDeadline, seed: int) -> SourceRead:
        with self._objects.open(ref) as stream:
            return read_object(
                deadline.limit(stream, ref.name),
                name=ref.name,
                seed=seed,
                log_groups=self._log_groups,
            )


class ClassifyLogEvents:
    """Turns flow log records of a CloudWatch Logs subscription into alerts.

    A failure fails the event, and Lambda retries it.
    """

    def __init__(
        self,
        formats: FormatSource,
        service: IngestService,
        observability: Observability,
        *,
        region: str | None,
    ) -> None:
        self._formats = formats
        self._service = service
        self._observability = observability
        self._region = region

    def handle(self, event: dict[str, Any], _seconds: float) -> None:
        """Classify the records of the event."""
        logs = decode(event)
        if logs is None:
            self._observability.logger.info("control message, nothing to do")
            return
        origin = Origin(account_id=logs.account_id, region=self._region)
        place = SourcePlace.of_stream(origin, logs.log_group, logs.name)
        with self._service.held_back.unless_read(logs.source_id, logs.name, place.feed_name):
            result = self._service.ingest(
                logs.source_id, logs.name, place, partial(self._read, logs, origin)
            )
        for error in postponed_errors(self._service.evaluate([result])):
            raise error

    def _read(self, logs: LogBatch, origin: Origin, seed: int) -> SourceRead:
        formats = self._formats.formats(logs.log_group)
        return read_log_events(
            logs.messages, name=logs.name, formats=formats, origin=origin, seed=seed
        )
