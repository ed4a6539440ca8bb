"""Turn events into evidence: an S3 object or a CloudWatch Logs event is a source to be read."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from flowverdict.app.deadlines import ReadDeadline
from flowverdict.app.flow_log_queue import QueueMessage, are_passing, comes_soon
from flowverdict.app.sources import Readings, SourcePlace
from flowverdict.core.errors import (
    EmptyObjectError,
    FlowVerdictError,
    NotAFlowLogError,
    ObjectError,
)
from flowverdict.flowlog.cloudwatch_logs import decode
from flowverdict.flowlog.object_key import (
    ObjectRef,
    Origin,
    contradiction_in,
    why_foreign,
)
from flowverdict.flowlog.s3_events import (
    event_of_message,
    event_without_objects,
    is_sqs_event,
    objects_in,
)
from flowverdict.flows.read_source import read_log_events, read_object

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse

    from flowverdict.app.flow_log_queue import FlowLogQueue
    from flowverdict.app.ingestion import Ingestion, IngestService
    from flowverdict.app.observability import Observability
    from flowverdict.flowlog.cloudwatch_logs import LogBatch
    from flowverdict.flowlog.ports import FormatSource, ObjectStore
    from flowverdict.flows.read_source import LogGroups, SourceRead


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
        ingestion = self._service.begin()
        reading = self._read_objects(event, ingestion, deadline, can_wait=None)
        errors = reading.errors_with(ingestion.finish())
        for error in errors[1:]:
            self._observability.event_failed(error)
        if errors:
            raise errors[0]
        return None

    def _queue_messages(
        self, event: dict[str, Any], deadline: ReadDeadline
    ) -> PartialItemFailureResponse:
        messages = [QueueMessage(record) for record in event["Records"]]
        ingestion = self._service.begin()
        readings = {
            message.message_id: self._read_message(message, ingestion, deadline)
            for message in messages
        }
        try:
            not_recorded = ingestion.finish()
        except FlowVerdictError as error:
            if error.passing:
                self._give_back_soon(messages)
            raise
        failed = {
            message_id: errors
            for message_id, reading in readings.items()
            if (errors := reading.errors_with(not_recorded))
        }
        for message_id, errors in failed.items():
            for each in errors:
                self._observability.message_failed(message_id, each)
        self._give_back_soon(
            [message for message in messages if are_passing(failed.get(message.message_id, ()))]
        )
        # What keeps failing ends in the DLQ.
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}

    def _give_back_soon(self, messages: Sequence[QueueMessage]) -> None:
        if self._queue is not None:
            self._queue.give_back_soon(messages)

    def _read_message(
        self, message: QueueMessage, ingestion: Ingestion, deadline: ReadDeadline
    ) -> Readings:
        try:
            event = event_of_message(message.body)
            return self._read_objects(event, ingestion, deadline, can_wait=comes_soon(message))
        except Exception as error:  # noqa: BLE001 - logged, and the message fails alone
            return Readings(errors=(error,))

    def _read_objects(
        self,
        event: object,
        ingestion: Ingestion,
        deadline: ReadDeadline,
        *,
        can_wait: bool | None,
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
        source_ids: list[str] = []
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
                self._ingest(ref, ingestion, deadline)
                source_ids.append(ref.source_id)
            except EmptyObjectError:
                self._observability.passed_over(ref.name, "it is empty")
            except ObjectError as error:
                errors.append(error)
                if error.passing and can_wait is not False:
                    continue  # read in a minute: what it shows is not told twice until then
                try:
                    place = SourcePlace.of_object(ref.key)
                    ingestion.not_read(ref.source_id, ref.name, place)
                except FlowVerdictError as not_stored:
                    errors.append(not_stored)
            except Exception as error:  # noqa: BLE001 - raised or logged after the other objects
                errors.append(error)
        return Readings(source_ids=tuple(source_ids), errors=tuple(errors))

    def _ingest(self, ref: ObjectRef, ingestion: Ingestion, deadline: ReadDeadline) -> None:
        place = SourcePlace.of_object(ref.key)
        with self._service.held_back.unless_read(ref.source_id, ref.name, place.feed_name):
            deadline.check(ref.name)
            read = partial(self._read, ref, deadline)
            ingestion.ingest(ref.source_id, ref.name, place, read)

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
        ingestion = self._service.begin()
        source_id = logs.source_id
        with self._service.held_back.unless_read(source_id, logs.name, place.feed_name):
            ingestion.ingest(source_id, logs.name, place, partial(self._read, logs, origin))
        for error in ingestion.finish().values():
            raise error

    def _read(self, logs: LogBatch, origin: Origin, seed: int) -> SourceRead:
        formats = self._formats.formats(logs.log_group)
        return read_log_events(
            logs.messages, name=logs.name, formats=formats, origin=origin, seed=seed
        )
