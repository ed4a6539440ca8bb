"""The Lambda functions put together: settings, clients and the pipeline behind one callable each.

``functions/<name>/app.py`` holds the entry points; they build these on the first invocation, not at import.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import boto3
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType
from botocore.config import Config

from flowverdict.delivery.sns import SnsTopic
from flowverdict.errors import FlowVerdictError
from flowverdict.netconfig.ec2 import Ec2Config, ReaderRole, client_factory
from flowverdict.observability import Observability
from flowverdict.pipeline import Batch, deliver
from flowverdict.settings import Settings
from flowverdict.sources.cloudwatch_logs import DescribedFormats, FixedFormat, decode
from flowverdict.sources.envelope import ObjectRef, is_sqs_event, objects_in, objects_in_message
from flowverdict.sources.origin import Origin
from flowverdict.sources.s3 import S3Objects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

    from flowverdict.flows import RejectedFlow
    from flowverdict.netconfig.model import NetConfig
    from flowverdict.ports import AlertPublisher, ConfigSource, FormatSource, ObjectStore

# One account and Region may take 10 s, and its last call's retries half a minute: together well below the time-out.
_RULES_SECONDS = 15.0

type LambdaHandler = Callable[[dict[str, Any], Any], Any]

# Three tries of at most 3 + 10 s each stay well below the functions' time-out.
_CLIENT_CONFIG = Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})


class WithinBudget:
    """Reads configurations for one invocation, and no further ones once it has taken too long.

    Accounts and Regions come out of log records: a forged log may name hundreds, each of which takes its time to be refused.
    """

    def __init__(self, configs: ConfigSource, seconds: float = _RULES_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._configs = configs
        self._seconds = seconds
        self._clock = clock
        self._deadline = clock() + seconds

    def read(self, account_id: str | None, region: str | None, flows: Sequence[RejectedFlow]) -> NetConfig | str:
        """Give the configuration, or the reason why it was not read."""
        if self._clock() >= self._deadline:
            return f"the rules were not read: {self._seconds:g} s for reading those of other accounts and Regions were spent"
        return self._configs.read(account_id, region, flows)


class ClassifyObjects:
    """Flow log objects named by events to alerts.

    Events from a queue fail message by message: what one message names may be broken, the others' alerts still go out.
    Any other event fails whole, and Lambda tries it again.
    """

    def __init__(self, objects: ObjectStore, configs: ConfigSource, alerts: AlertPublisher, observability: Observability) -> None:
        self._objects = objects
        self._configs = configs
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
                batch.merge(self._read(objects_in_message(record.get("body"))))
            except Exception as error:
                # Powertools keeps the message for another try and says nothing; the reason belongs into the log.
                expected = isinstance(error, FlowVerdictError)
                self._observability.message_failed(record.message_id, str(error), with_traceback=not expected)
                raise

        # Not raising when all fail keeps the answer the same kind whatever fails; what keeps failing ends in the DLQ.
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
        self._observability.finished(batch.counts, deliver(batch, self._alerts, WithinBudget(self._configs)))


class ClassifyLogEvents:
    """Flow log records of a CloudWatch Logs subscription to alerts. A failure fails the event, and Lambda tries it again."""

    def __init__(
        self,
        formats: FormatSource,
        configs: ConfigSource,
        alerts: AlertPublisher,
        observability: Observability,
        *,
        region: str | None,
    ) -> None:
        self._formats = formats
        self._configs = configs
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
        self._observability.finished(batch.counts, deliver(batch, self._alerts, WithinBudget(self._configs)))


def classify_s3(environment: Mapping[str, str]) -> LambdaHandler:
    """Build the function ``classify_s3``; raises ``SettingsError`` where its environment makes no sense."""
    settings = Settings.from_environment(environment)
    observability = Observability("classify_s3")
    objects = S3Objects(boto3.client("s3", config=_CLIENT_CONFIG))
    handler = ClassifyObjects(objects, _configs(settings, observability), _topic(settings), observability)
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
    handler = ClassifyLogEvents(formats, _configs(settings, observability), _topic(settings), observability, region=settings.region)
    return observability.wrap(handler.handle)


def _configs(settings: Settings, observability: Observability) -> ConfigSource:
    role = None
    if settings.reader_role_name is not None:
        role = ReaderRole(name=settings.reader_role_name, external_id=settings.reader_external_id, partition=settings.partition)
    return Ec2Config(
        clients=client_factory(),
        logger=observability.logger,
        default_region=settings.region,
        own_account=settings.account_id,
        reader_role=role,
    )


def _topic(settings: Settings) -> SnsTopic:
    return SnsTopic(boto3.client("sns", config=_CLIENT_CONFIG), settings.alert_topic_arn)
