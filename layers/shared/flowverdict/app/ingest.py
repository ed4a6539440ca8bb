"""Turn events into evidence: read each source once, store its evidence, signal the dirty windows.

A source is an S3 object or a CloudWatch Logs event. Which sources were read is recorded in the
alert table, so a source that is delivered again is not read again; its windows are signalled again,
because an earlier invocation may have ended in between.
"""

from __future__ import annotations

import time
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from flowverdict.app.deadlines import ReadDeadline
from flowverdict.app.flow_log_queue import are_passing, comes_soon
from flowverdict.app.held_back import HeldBack
from flowverdict.app.signals import FeedRead, SourceJudged
from flowverdict.app.sources import IngestResult, Readings, SourcePlace
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
from flowverdict.flows.evidence import Evidence
from flowverdict.flows.read_source import read_log_events, read_object
from flowverdict.lifecycle.feeds import end_of_windows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse

    from flowverdict.app.deadlines import Clock
    from flowverdict.app.flow_log_queue import FlowLogQueue
    from flowverdict.app.observability import Observability
    from flowverdict.app.signals import Signal, Signals
    from flowverdict.flowlog.cloudwatch_logs import LogBatch
    from flowverdict.flowlog.ports import FormatSource, ObjectStore
    from flowverdict.flows.ports import EvidenceStore
    from flowverdict.flows.read_source import LogGroups, SourceRead
    from flowverdict.lifecycle.store import AlertStore
    from flowverdict.lifecycle.windows import DirtyWindow, WindowMarks


class IngestService:
    """Reads each source once, stores its evidence and signals its windows.

    ``held_back`` takes the sources that cannot be read.
    """

    def __init__(  # noqa: PLR0913 - what it is made of, each by its name
        self,
        *,
        store: AlertStore,
        marks: WindowMarks,
        evidence: EvidenceStore,
        signals: Signals,
        observability: Observability,
        clock: Clock = time.time,
    ) -> None:
        self._store = store
        self._marks = marks
        self._evidence = evidence
        self._signals = signals
        self._observability = observability
        self._clock = clock
        self.held_back = HeldBack(store, observability, clock)

    def ingest(
        self,
        source_id: str,
        name: str,
        place: SourcePlace,
        read: Callable[[int], SourceRead],
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
                source_id=source_id,
                partition=place.partition,
                counts=RecordCounts(),
                dirty=place.dirty(known),
                with_rejects=frozenset(known),  # which of them have any is not known
                feed=place.feed_name,
                windows=frozenset(known),
                was_held_back=True,
            )
        source = read(self._store.seed())
        self._observability.read(source.reading)
        for window, evidence in source.windows.items():
            self._evidence.put(place.partition, window, source_id, evidence)
        was_held_back = self._store.record_source(
            source_id, source.windows.keys(), int(self._clock())
        )
        return IngestResult(
            source_id=source_id,
            partition=place.partition,
            counts=source.reading.counts,
            dirty=place.dirty(source.windows),
            with_rejects=frozenset(
                window
                for window, evidence in source.windows.items()
                if evidence.flows.rejects or any(evidence.flows.lost())
            ),
            feed=place.feed_name,
            windows=source.windows_read,
            was_held_back=was_held_back,
        )

    def not_read(self, source_id: str, name: str, place: SourcePlace) -> IngestResult:
        """Store that a source could not be read, in the window that its name shows.

        What was not seen shows little there until the source is read, which replaces this evidence.

        Raises
        ------
        EvidenceError
            The evidence could not be stored.
        """
        first = time_of(name)
        dirty: frozenset[DirtyWindow] = frozenset()
        if first is not None:
            window = first // WINDOW
            self._evidence.put(place.partition, window, source_id, Evidence.not_read(name))
            dirty = place.dirty([window])
        return IngestResult(
            source_id=source_id,
            partition=place.partition,
            counts=RecordCounts(),
            dirty=dirty,
            feed=place.feed_name,
            windows=frozenset(),
        )

    def signal(self, results: Iterable[IngestResult]) -> None:
        """Signal the windows of all sources of an event, and after them what was read.

        Raises
        ------
        FlowVerdictError
            They could not be signalled; the sources are held back, and have to come again.
        """
        results = [*results]
        counts = RecordCounts()
        for result in results:
            counts.merge(result.counts)
        self._observability.counted(counts)
        now = int(self._clock())
        marked: defaultdict[str, set[int]] = defaultdict(set)
        for result in results:
            marked[result.partition] |= result.with_rejects
        with self.held_back.unless_signalled(results):
            for partition, numbers in sorted(marked.items()):
                self._marks.mark(partition, numbers, now)
            signals = _signals_of(results, now)
            if signals:
                self._signals.send(signals)


def _signals_of(results: Sequence[IngestResult], now: int) -> list[Signal]:
    """Return the signals of sources: their windows first, then what holds once they are judged."""
    windows = {window for result in results for window in result.dirty}
    read: dict[tuple[str, str], int] = {}
    for result in results:
        end = end_of_windows(result.windows, now)
        if end is not None:
            name = result.partition, result.feed
            read[name] = max(end, read.get(name, end))
    return [
        *sorted(windows, key=lambda window: (window.partition, window.window)),
        *(
            FeedRead(partition=partition, feed=feed, read_to=end)
            for (partition, feed), end in sorted(read.items())
        ),
        *(
            SourceJudged(partition=result.partition, feed=result.feed, source_id=result.source_id)
            for result in results
            if result.was_held_back
        ),
    ]


class ClassifyObjects:
    """Turns flow log objects that events name into evidence of windows, and signals these.

    Events from a queue fail message by message: if one message names a broken object, the windows
    of the other messages are still signalled. Any other event fails whole, and Lambda retries it.
    An object is counted once, however often it is named. What its key says to be no flow log, and
    what is empty, is counted and fails nothing.
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
        """Read all objects of the event; for a queue's event, return the failed messages.

        Objects that cannot be read in time go back to the queue; what was read is signalled.
        ``seconds`` is the time that the invocation has left.
        """
        deadline = ReadDeadline(seconds)
        if is_sqs_event(event):
            return self._queue_messages(event, deadline)
        reading = self._read_objects(event, deadline, can_wait=None)
        self._service.signal(reading.results)
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
        try:
            self._service.signal(
                result for reading in readings.values() for result in reading.results
            )
        except FlowVerdictError as error:
            if error.passing and self._queue is not None:
                self._queue.give_back_soon(messages)
            raise
        failed = {
            message_id: reading.errors for message_id, reading in readings.items() if reading.errors
        }
        for message_id, errors in failed.items():
            for each in errors:
                self._observability.message_failed(message_id, each)
        if self._queue is not None:
            self._queue.give_back_soon(
                [message for message in messages if are_passing(failed.get(message.message_id, ()))]
            )
        # What keeps failing ends in the DLQ.
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}

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
                results.append(self._ingest(ref, deadline))
            except EmptyObjectError:
                self._observability.passed_over(ref.name, "it is empty")
            except ObjectError as error:
                errors.append(error)
                if error.passing and can_wait is not False:
                    continue  # read in a minute: what it shows is not told twice until then
                try:
                    results.append(self._not_read(ref))
                except FlowVerdictError as not_stored:
                    errors.append(not_stored)
            except Exception as error:  # noqa: BLE001 - raised or logged after the other objects
                errors.append(error)
        return Readings(results=tuple(results), errors=tuple(errors))

    def _not_read(self, ref: ObjectRef) -> IngestResult:
        return self._service.not_read(ref.source_id, ref.name, SourcePlace.of_object(ref.key))

    def _ingest(self, ref: ObjectRef, deadline: ReadDeadline) -> IngestResult:
        place = SourcePlace.of_object(ref.key)
        with self._service.held_back.unless_read(ref.source_id, ref.name, place.feed_name):
            deadline.check(ref.name)
            read = partial(self._read, ref, deadline)
            return self._service.ingest(ref.source_id, ref.name, place, read)

    def _read(self, ref: ObjectRef, deadline: ReadDeadline, seed: int) -> SourceRead:
        with self._objects.open(ref) as stream:
            return read_object(
                deadline.limit(stream, ref.name),
                name=ref.name,
                seed=seed,
                log_groups=self._log_groups,
            )


class ClassifyLogEvents:
    """Turns records of a CloudWatch Logs subscription into evidence, and signals its windows.

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
        """Read the records of the event."""
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
        self._service.signal([result])

    def _read(self, logs: LogBatch, origin: Origin, seed: int) -> SourceRead:
        formats = self._formats.formats(logs.log_group)
        return read_log_events(
            logs.messages, name=logs.name, formats=formats, origin=origin, seed=seed
        )
