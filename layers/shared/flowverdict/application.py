"""The Lambda functions put together: settings, clients and the pipeline behind one callable each.

``functions/<name>/app.py`` holds the entry points; they build these on the first invocation, not at import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType
from botocore.config import Config

from flowverdict.delivery.sns import SnsTopic
from flowverdict.errors import FlowVerdictError
from flowverdict.observability import Observability
from flowverdict.pipeline import Batch, deliver
from flowverdict.settings import Settings
from flowverdict.sources.cloudwatch_logs import DescribedFormats, FixedFormat, decode
from flowverdict.sources.envelope import ObjectRef, is_sqs_event, objects_in, objects_in_message
from flowverdict.sources.origin import Origin
from flowverdict.sources.s3 import S3Objects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

    from flowverdict.ports import AlertPublisher, FormatSource, ObjectStore

type LambdaHandler = Callable[[dict[str, Any], Any], Any]

# Three tries of at most 3 + 10 s each stay below the functions' time-out of 60 s.
_CLIENT_CONFIG = Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})


class ClassifyObjects:
    """Flow log objects named by events to alerts.

    Events from a queue fail message by message: what one message names may be broken, the others' alerts still go out.
    Any other event fails whole, and Lambda tries it again.
    """

    def __init__(self, objects: ObjectStore, alerts: AlertPublisher, observability: Observability) -> None:
        self._objects = objects
        self._alerts = alerts
        self._observability = observability

    def handle(self, event: dict[str, Any]) -> PartialItemFailureResponse | None:
        """Classify everything the event names; for a queue's event, answer which messages failed."""
        if is_sqs_event(event):
            return self._queue_messages(event)
        self._finish(self._read(objects_in(event)))
        return None

    def _queue_messages(self, event: dict[str, Any]) -> PartialItemFailureResponse:
        batch = Batch()

        def read_message(record: SQSRecord) -> None:
            try:
                batch.merge(self._read(objects_in_message(record.body)))
            except Exception as error:
                # Powertools keeps the message for another try and says nothing; the reason belongs into the log.
                expected = isinstance(error, FlowVerdictError)
                self._observability.message_failed(record.message_id, str(error), with_traceback=not expected)
                raise

        # Not raising when all fail keeps the answer the same kind whatever fails; the queue's DLQ and its alarm tell.
        processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
        with processor(records=event["Records"], handler=read_message):
            processor.process()
        self._finish(batch)
        return processor.response()

    def _read(self, refs: Iterable[ObjectRef]) -> Batch:
        batch = Batch()
        for ref in refs:
            with self._objects.open(ref) as stream:
                self._observability.read(batch.add_file(stream, name=ref.name))
        return batch

    def _finish(self, batch: Batch) -> None:
        self._observability.finished(batch.counts, deliver(batch, self._alerts))


class ClassifyLogEvents:
    """Flow log records of a CloudWatch Logs subscription to alerts. A failure fails the event, and Lambda tries it again."""

    def __init__(
        self, formats: FormatSource, alerts: AlertPublisher, observability: Observability, region: str | None = None
    ) -> None:
        self._formats = formats
        self._alerts = alerts
        self._observability = observability
        self._region = region

    def handle(self, event: dict[str, Any]) -> None:
        """Classify the records of the event."""
        logs = decode(event)
        if logs is None:
            self._observability.logger.info("control message, nothing to do")
            return
        batch = Batch()
        self._observability.read(
            batch.add_messages(
                logs.messages,
                name=logs.name,
                formats=self._formats.formats(logs.log_group),
                origin=Origin(account_id=logs.account_id, region=self._region),
            )
        )
        self._observability.finished(batch.counts, deliver(batch, self._alerts))


def classify_s3(environment: Mapping[str, str]) -> LambdaHandler:
    """Build the function ``classify_s3``; raises ``SettingsError`` where its environment makes no sense."""
    settings = Settings.from_environment(environment)
    observability = Observability("classify_s3")
    handler = ClassifyObjects(S3Objects(boto3.client("s3", config=_CLIENT_CONFIG)), _topic(settings), observability)
    return observability.wrap(handler.handle)


def classify_cloudwatch_logs(environment: Mapping[str, str]) -> LambdaHandler:
    """Build the function ``classify_cloudwatch_logs``; raises ``SettingsError`` where its environment makes no sense."""
    settings = Settings.from_environment(environment)
    observability = Observability("classify_cloudwatch_logs")
    formats: FormatSource
    if settings.log_format is None:
        formats = DescribedFormats(boto3.client("ec2", config=_CLIENT_CONFIG), observability.logger)
    else:
        formats = FixedFormat(settings.log_format)
    handler = ClassifyLogEvents(formats, _topic(settings), observability, region=settings.region)
    return observability.wrap(handler.handle)


def _topic(settings: Settings) -> SnsTopic:
    return SnsTopic(boto3.client("sns", config=_CLIENT_CONFIG), settings.alert_topic_arn)
