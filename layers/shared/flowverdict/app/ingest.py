"""TODO flowverdict.app.ingest."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType

from flowverdict.alerts.grouping import detections, group
from flowverdict.app.deadlines import BudgetedConfigSource, ReadDeadline
from flowverdict.core.errors import FlowVerdictError
from flowverdict.flowlog.cloudwatch_logs import decode
from flowverdict.flowlog.object_key import Origin, origin_of
from flowverdict.flowlog.records import RecordCounts
from flowverdict.flowlog.s3_events import ObjectRef, is_sqs_event, objects_in, objects_in_message
from flowverdict.flows.read_source import partition_key, read_log_events, read_object
from flowverdict.lifecycle.windows import DirtyWindow, WindowEvaluator, WindowFindings
from flowverdict.verdict.batch import explain_flows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

    from flowverdict.app.deadlines import Clock
    from flowverdict.app.observability import Invocation, Observability
    from flowverdict.flowlog.cloudwatch_logs import LogBatch
    from flowverdict.flowlog.ports import FormatSource, ObjectStore
    from flowverdict.flows.collector import FlowCollector
    from flowverdict.flows.model import RejectedFlow
    from flowverdict.flows.ports import EvidenceStore
    from flowverdict.flows.read_source import SourceRead
    from flowverdict.lifecycle.store import AlertStore
    from flowverdict.network.ports import ConfigSource
    from flowverdict.policy.model import Policy
    from flowverdict.policy.source import PolicySource


class IngestService:
    """What becomes of sources: read once, their evidence kept, the windows that it changes judged and told."""

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
        """Read a source and keep its evidence, unless that was done before.

        Raises
        ------
        FlowVerdictError
            It cannot be read, or its evidence not be kept. Nothing is noted, and it is read again
            when it is delivered again.
        """
        known = self._store.windows_of(source_id)
        if known is not None:
            self._observability.already_counted(name)
            return IngestResult(
                counts=RecordCounts(),
                dirty=frozenset(
                    DirtyWindow(partition=partition, window=one, rejects=True) for one in known
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

    def evaluate(self, result: Iterable[IngestResult]) -> None:
        """WindowEvaluator what was taken in, and tell what is new."""
        now = int(self._clock())
        counts, dirty = RecordCounts(), set[DirtyWindow]()
        for one in result:
            counts.merge(one.counts)
            dirty |= one.dirty
        configs = BudgetedConfigSource(self._configs)
        policy = (
            None if self._policies is None else load_policy(self._policies, self._observability)
        )

        def explain(flows: FlowCollector, rejected: Sequence[RejectedFlow]) -> WindowFindings:
            return _findings(flows, rejected, configs, policy, now)

        outcome = self._evaluator.evaluate(dirty, explain, now)
        self._observability.rules_not_read(configs.refused)
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
    """Return what a window shows, split into what may become a message and what the policy mutes."""
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
    """What came of taking in a source: what it held if it was read now, and the windows that it has evidence for."""

    counts: RecordCounts
    dirty: frozenset[DirtyWindow]


def load_policy(policies: PolicySource, observability: Observability) -> Policy:
    """Give the policy that applies, and tell what is wrong with the document, if anything is."""
    reading = policies.current()
    observability.policy_read(reading.problem)
    return reading.policy


class ClassifyObjects:
    """Flow log objects named by events to alerts.

    Events from a queue fail message by message: what one message names may be broken, the others'
    alerts still go out. Any other event fails whole, and Lambda tries it again. An object is
    counted once, however often it is named.
    """

    def __init__(
        self, objects: ObjectStore, service: IngestService, observability: Observability
    ) -> None:
        self._objects = objects
        self._desk = service
        self._observability = observability

    def handle(
        self, event: dict[str, Any], invocation: Invocation
    ) -> PartialItemFailureResponse | None:
        """Classify everything the event names; for a queue's event, answer which messages failed.

        What cannot be read in time goes back to the queue, and what was read is judged and told.
        """
        until = ReadDeadline(invocation.seconds)
        if is_sqs_event(event):
            return self._queue_messages(event, until)
        self._desk.evaluate(self._take(objects_in(event), until))
        return None

    def _queue_messages(
        self, event: dict[str, Any], until: ReadDeadline
    ) -> PartialItemFailureResponse:
        result: list[IngestResult] = []

        def take_message(record: SQSRecord) -> None:
            try:
                # Each object by itself: of a message that fails, what was taken in before is judged
                # all the same.
                for one in self._take(objects_in_message(record.get("body")), until):
                    result.append(one)  # noqa: PERF402 - what came before an error counts
            except Exception as error:
                # Powertools keeps the message for another try and says nothing; the reason belongs
                # into the log.
                expected = isinstance(error, FlowVerdictError)
                self._observability.message_failed(
                    record.message_id, str(error), with_traceback=not expected
                )
                raise

        # Not raising when all fail keeps the answer the same kind whatever fails; what keeps
        # failing ends in the DLQ.
        processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
        with processor(records=event["Records"], handler=take_message):
            processor.process()
        self._desk.evaluate(result)
        return processor.response()

    def _take(self, refs: Iterable[ObjectRef], until: ReadDeadline) -> Iterator[IngestResult]:
        for ref in dict.fromkeys(refs):
            until.check(ref.name)
            yield self._desk.ingest(
                ref.source_id,
                ref.name,
                partition_key(origin_of(ref.key)),
                partial(self._read, ref, until),
            )

    def _read(self, ref: ObjectRef, until: ReadDeadline, seed: int) -> SourceRead:
        with self._objects.open(ref) as stream:
            return read_object(until.limit(stream, ref.name), name=ref.name, seed=seed)


class ClassifyLogEvents:
    """Flow log records of a CloudWatch Logs subscription to alerts. A failure fails the event, and Lambda tries it again."""

    def __init__(
        self,
        formats: FormatSource,
        service: IngestService,
        observability: Observability,
        *,
        region: str | None,
    ) -> None:
        self._formats = formats
        self._desk = service
        self._observability = observability
        self._region = region

    def handle(self, event: dict[str, Any], invocation: Invocation) -> None:
        """Classify the records of the event."""
        del invocation
        logs = decode(event)
        if logs is None:
            self._observability.logger.info("control message, nothing to do")
            return
        origin = Origin(account_id=logs.account_id, region=self._region)
        partition = partition_key(origin, logs.name)
        result = self._desk.ingest(
            logs.source_id, logs.name, partition, partial(self._read, logs, origin)
        )
        self._desk.evaluate([result])

    def _read(self, logs: LogBatch, origin: Origin, seed: int) -> SourceRead:
        formats = self._formats.formats(logs.log_group)
        return read_log_events(
            logs.messages, name=logs.name, formats=formats, origin=origin, seed=seed
        )
