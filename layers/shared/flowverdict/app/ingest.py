"""Turn events into alerts: read each source once, store its evidence, evaluate the dirty windows.

A source is an S3 object or a CloudWatch Logs event. Which sources were read is recorded in the
alert table, so a source that is delivered again is not read again; its windows are evaluated again,
because an earlier invocation may have ended in between.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from flowverdict.alerts.grouping import detections, group
from flowverdict.app.deadlines import BudgetedConfigSource, ReadDeadline
from flowverdict.core.errors import EmptyObjectError
from flowverdict.flowlog.cloudwatch_logs import decode
from flowverdict.flowlog.object_key import Origin, origin_of, why_foreign
from flowverdict.flowlog.records import RecordCounts
from flowverdict.flowlog.s3_events import (
    ObjectRef,
    event_of_message,
    event_without_objects,
    is_sqs_event,
    objects_in,
)
from flowverdict.flows.read_source import partition_key, read_log_events, read_object
from flowverdict.lifecycle.windows import DirtyWindow, WindowEvaluator, WindowFindings
from flowverdict.verdict.batch import explain_flows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse

    from flowverdict.app.deadlines import Clock
    from flowverdict.app.observability import Observability
    from flowverdict.flowlog.cloudwatch_logs import LogBatch
    from flowverdict.flowlog.ports import FormatSource, ObjectStore
    from flowverdict.flows.collector import FlowCollector
    from flowverdict.flows.model import RejectedFlow
    from flowverdict.flows.ports import EvidenceStore
    from flowverdict.flows.read_source import LogGroups, SourceRead
    from flowverdict.lifecycle.store import AlertStore
    from flowverdict.network.ports import ConfigSource
    from flowverdict.policy.model import Policy
    from flowverdict.policy.source import PolicySource


class IngestService:
    """Reads each source once, stores its evidence, re-evaluates dirty windows and notifies."""

    def __init__(  # noqa: PLR0913 - what it is made of, each by its name
        self,
        *,
        evaluator: WindowEvaluator,
        store: AlertStore,
        evidence: EvidenceStore,
        configs: ConfigSource,
        policies: PolicySource | None,
        observability: Observability,
        clock: Clock = time.time,
    ) -> None:
        self._evaluator = evaluator
        self._store = store
        self._evidence = evidence
        self._configs = configs
        self._policies = policies
        self._observability = observability
        self._clock = clock

    def ingest(
        self, source_id: str, name: str, partition: str, read: Callable[[int], SourceRead]
    ) -> IngestResult:
        """Read a source and store its evidence, unless that was done before.

        Raises
        ------
        FlowVerdictError
            The source cannot be read, or its evidence not be stored. Nothing is recorded, and the
            source is read again when it is delivered again.
        """
        known = self._store.windows_of(source_id)
        if known is not None:
            self._observability.already_counted(name)
            return IngestResult(
                counts=RecordCounts(),
                dirty=frozenset(
                    DirtyWindow(partition=partition, window=window, rejects=True)
                    for window in known
                ),
            )
        source = read(self._store.seed())
        self._observability.read(source.reading)
        for window, evidence in source.windows.items():
            self._evidence.put(partition, window, source_id, evidence)
        self._store.record_source(source_id, source.windows.keys(), int(self._clock()))
        dirty = frozenset(
            DirtyWindow(
                partition=partition,
                window=window,
                rejects=bool(evidence.flows.rejects) or any(evidence.flows.lost()),
            )
            for window, evidence in source.windows.items()
        )
        return IngestResult(counts=source.reading.counts, dirty=dirty)

    def evaluate(self, results: Iterable[IngestResult]) -> None:
        """Evaluate the dirty windows of all sources of an event, and send what is due."""
        now = int(self._clock())
        counts, dirty = RecordCounts(), set[DirtyWindow]()
        for result in results:
            counts.merge(result.counts)
            dirty |= result.dirty
        configs = BudgetedConfigSource(self._configs)
        policy = (
            None if self._policies is None else load_policy(self._policies, self._observability)
        )

        def explain(flows: FlowCollector, rejected: Sequence[RejectedFlow]) -> WindowFindings:
            return _findings(flows, rejected, configs, policy, now)

        outcome = self._evaluator.evaluate(dirty, explain, now)
        self._observability.rules_not_read(configs)
        self._observability.rejected(outcome.flows)
        if policy is not None:
            self._observability.muted(outcome.muted_flows)
        self._observability.finished(counts, outcome, self._clock())


def _findings(
    flows: FlowCollector,
    rejected: Sequence[RejectedFlow],
    configs: ConfigSource,
    policy: Policy | None,
    now: int,
) -> WindowFindings:
    """Return what a window shows: what may become a message, and what the policy mutes."""
    explanations = explain_flows(rejected, configs)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestResult:
    """What a source held, if it was read now, and the windows that it has evidence of."""

    counts: RecordCounts
    dirty: frozenset[DirtyWindow]


def load_policy(policies: PolicySource, observability: Observability) -> Policy:
    """Return the policy in force, and report a document that cannot be used."""
    reading = policies.current()
    observability.policy_read(reading.problem)
    return reading.policy


@dataclass(frozen=True, slots=True, kw_only=True)
class _Readings:
    """What the objects of an event held, and why others could not be read."""

    results: tuple[IngestResult, ...] = ()
    errors: tuple[Exception, ...] = ()


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
        *,
        log_groups: LogGroups | None = None,
    ) -> None:
        self._log_groups = log_groups
        self._objects = objects
        self._service = service
        self._observability = observability

    def handle(self, event: dict[str, Any], seconds: float) -> PartialItemFailureResponse | None:
        """Classify all objects of the event; for a queue's event, return the failed messages.

        Objects that cannot be read in time go back to the queue; what was read is evaluated.
        ``seconds`` is the time that the invocation has left.
        """
        deadline = ReadDeadline(seconds)
        if is_sqs_event(event):
            return self._queue_messages(event, deadline)
        reading = self._read_objects(event, deadline)
        self._service.evaluate(reading.results)
        for error in reading.errors[1:]:
            self._observability.event_failed(error)
        if reading.errors:
            raise reading.errors[0]
        return None

    def _queue_messages(
        self, event: dict[str, Any], deadline: ReadDeadline
    ) -> PartialItemFailureResponse:
        messages = [SQSRecord(record) for record in event["Records"]]
        readings = {
            message.message_id: self._read_message(message, deadline) for message in messages
        }
        self._service.evaluate(
            result for reading in readings.values() for result in reading.results
        )
        # What keeps failing ends in the DLQ.
        return {
            "batchItemFailures": [
                {"itemIdentifier": message_id}
                for message_id, reading in readings.items()
                if reading.errors
            ]
        }

    def _read_message(self, message: SQSRecord, deadline: ReadDeadline) -> _Readings:
        try:
            reading = self._read_objects(event_of_message(message.get("body")), deadline)
        except Exception as error:  # noqa: BLE001 - logged, and the message fails alone
            reading = _Readings(errors=(error,))
        for each in reading.errors:
            self._observability.message_failed(message.message_id, each)
        return reading

    def _read_objects(self, event: object, deadline: ReadDeadline) -> _Readings:
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
            try:
                results.append(self._ingest(ref, deadline))
            except EmptyObjectError:
                self._observability.passed_over(ref.name, "it is empty")
            except Exception as error:  # noqa: BLE001 - raised or logged after the other objects
                errors.append(error)
        return _Readings(results=tuple(results), errors=tuple(errors))

    def _ingest(self, ref: ObjectRef, deadline: ReadDeadline) -> IngestResult:
        deadline.check(ref.name)
        return self._service.ingest(
            ref.source_id,
            ref.name,
            partition_key(origin_of(ref.key)),
            partial(self._read, ref, deadline),
        )

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
        partition = partition_key(origin, logs.name)
        result = self._service.ingest(
            logs.source_id, logs.name, partition, partial(self._read, logs, origin)
        )
        self._service.evaluate([result])

    def _read(self, logs: LogBatch, origin: Origin, seed: int) -> SourceRead:
        formats = self._formats.formats(logs.log_group)
        return read_log_events(
            logs.messages, name=logs.name, formats=formats, origin=origin, seed=seed
        )
