"""Build the functions that read flow logs: settings, clients and a callable for each.

``functions/<name>/app.py`` are the entry points; they build these on the first invocation, not at
import. Nothing of alerts is loaded for them.
"""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING

import boto3

from flowverdict.app.clients import CLIENT_CONFIG, flow_log_queue, stored_evidence, table_client
from flowverdict.app.ingest import ClassifyLogEvents, ClassifyObjects
from flowverdict.app.ingestion import IngestService
from flowverdict.app.observability import Observability
from flowverdict.app.settings import Settings
from flowverdict.app.signals import SqsSignals
from flowverdict.core.errors import SettingsError
from flowverdict.core.garbage_collection import collect_rarely
from flowverdict.flowlog.log_formats import DescribedFormats, FixedFormat
from flowverdict.flowlog.records import DEFAULT_FORMATS
from flowverdict.flowlog.s3_objects import S3Objects
from flowverdict.flows.read_source import LogGroups
from flowverdict.lifecycle.dynamodb_sources import DynamoDbSources

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowverdict.app.clients import LambdaHandler
    from flowverdict.flowlog.ports import FormatSource


def classify_s3(environment: Mapping[str, str]) -> LambdaHandler:
    """Build the function ``classify_s3``; raises ``SettingsError`` for a wrong environment."""
    settings = Settings.from_environment(environment)
    observability = Observability("classify_s3")
    objects = S3Objects(boto3.client("s3", config=CLIENT_CONFIG))
    log_groups = LogGroups(
        formats=cache(partial(_formats, settings, observability)),
        region=settings.region,
        assumed=DEFAULT_FORMATS if settings.log_format is None else (settings.log_format,),
    )
    queue = flow_log_queue(settings, observability)
    service = _service(settings, observability)
    return observability.wrap(
        ClassifyObjects(objects, service, observability, queue, log_groups=log_groups).handle
    )


def classify_cloudwatch_logs(environment: Mapping[str, str]) -> LambdaHandler:
    """Build the function ``classify_cloudwatch_logs``.

    Raises ``SettingsError`` for a wrong environment.
    """
    settings = Settings.from_environment(environment)
    observability = Observability("classify_cloudwatch_logs")
    formats = _formats(settings, observability)
    service = _service(settings, observability)
    return observability.wrap(
        ClassifyLogEvents(formats, service, observability, region=settings.region).handle
    )


def _formats(settings: Settings, observability: Observability) -> FormatSource:
    if settings.log_format is not None:
        return FixedFormat(settings.log_format)
    return DescribedFormats(boto3.client("ec2", config=CLIENT_CONFIG), observability.logger)


def _service(settings: Settings, observability: Observability) -> IngestService:
    collect_rarely()
    if settings.signal_queue_url is None:
        raise SettingsError("SIGNAL_QUEUE_URL: missing; an SQS queue's address is needed")
    store = DynamoDbSources(
        table_client(), settings.alert_table, on_unreadable=observability.state_unreadable
    )
    signals = SqsSignals(
        boto3.client("sqs", config=CLIENT_CONFIG),
        settings.signal_queue_url,
        settings.signal_delay,
    )
    return IngestService(
        store=store,
        evidence=stored_evidence(settings, observability),
        signals=signals,
        observability=observability,
    )
