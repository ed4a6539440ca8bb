"""Build the Lambda functions: settings, clients and the pipeline behind one callable each.

``functions/<name>/app.py`` are the entry points; they build these on the first invocation, not at
import.
"""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from flowverdict.app.deadlines import BudgetedConfigSource
from flowverdict.app.flow_log_queue import FlowLogQueue
from flowverdict.app.ingest import ClassifyLogEvents, ClassifyObjects
from flowverdict.app.ingestion import IngestService
from flowverdict.app.message_settings import log_unknown_zone
from flowverdict.app.observability import Observability
from flowverdict.app.problem_page import ProblemPage
from flowverdict.app.settings import Settings
from flowverdict.app.signals import SqsSignals
from flowverdict.core.aws_client import reject_malformed_responses
from flowverdict.core.errors import SettingsError
from flowverdict.core.garbage_collection import collect_rarely
from flowverdict.delivery.page.stored import StoredPage
from flowverdict.delivery.sns import NOBODY, Owner, SnsTopics, subscriptions_of
from flowverdict.flowlog.log_formats import DescribedFormats, FixedFormat
from flowverdict.flowlog.records import DEFAULT_FORMATS
from flowverdict.flowlog.s3_objects import S3Objects
from flowverdict.flows.evidence_s3 import S3Evidence
from flowverdict.flows.read_source import LogGroups
from flowverdict.lifecycle.dynamodb import DynamoDbStore
from flowverdict.lifecycle.windows import WindowEvaluator, WindowMarks
from flowverdict.policy.last_good import LastGoodPolicy
from flowverdict.policy.source import PolicySource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

    from flowverdict.alerts.model import Notification
    from flowverdict.flowlog.ports import FormatSource
    from flowverdict.lifecycle.accepted_traffic import AcceptedTraffic
    from flowverdict.lifecycle.manager import AlertManager
    from flowverdict.lifecycle.store import AlertStore


type LambdaHandler = Callable[[dict[str, Any], Any], Any]

# Three tries of at most 3 + 10 s each stay well below the functions' time-out.
_CLIENT_CONFIG = Config(
    connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3}
)


def classify_s3(environment: Mapping[str, str]) -> LambdaHandler:
    """Build the function ``classify_s3``; raises ``SettingsError`` for a wrong environment."""
    settings = Settings.from_environment(environment)
    observability = Observability("classify_s3")
    objects = S3Objects(boto3.client("s3", config=_CLIENT_CONFIG))
    log_groups = LogGroups(
        formats=cache(partial(_formats, settings, observability)),
        region=settings.region,
        assumed=DEFAULT_FORMATS if settings.log_format is None else (settings.log_format,),
    )
    queue = _queue(settings, observability)
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


def evaluate_windows(environment: Mapping[str, str]) -> LambdaHandler:
    """Build the function ``evaluate_windows``; raises ``SettingsError`` for a wrong environment."""
    from flowverdict.app.evaluate import EvaluateWindows  # noqa: PLC0415 - not for the readers
    from flowverdict.lifecycle.feed_readings import FeedReadings  # noqa: PLC0415 - as above

    settings = Settings.from_environment(environment)
    observability = Observability("evaluate_windows")
    log_unknown_zone(settings.messages, observability.logger)
    collect_rarely()
    store = _store(settings, observability)
    policies = _policies(settings, _table_client())
    manager = _manager(settings, store, policies, observability)
    evaluator = WindowEvaluator(
        _evidence(settings, observability), store, manager, settings.intervals
    )
    evaluate = EvaluateWindows(
        evaluator=evaluator,
        store=store,
        feeds=FeedReadings(store, settings.intervals),
        intervals=settings.intervals,
        configs=_configs(settings, observability),
        policies=policies,
        observability=observability,
        queue=_queue(settings, observability),
    )
    return observability.wrap(evaluate.handle)


def sweep_alerts(environment: Mapping[str, str]) -> LambdaHandler:
    """Build the function ``sweep_alerts``; raises ``SettingsError`` for a wrong environment."""
    from flowverdict.app.sweep import SweepAlerts  # noqa: PLC0415 - as above
    from flowverdict.lifecycle.accepted_traffic import AcceptedInEvidence  # noqa: PLC0415

    settings = Settings.from_environment(environment)
    observability = Observability("sweep_alerts")
    log_unknown_zone(settings.messages, observability.logger)
    for missing in settings.missing:
        observability.missing(missing)
    store = _store(settings, observability)
    accepted = None
    if settings.evidence_bucket is not None:
        accepted = AcceptedInEvidence(
            _evidence(settings, observability), observability.evidence_unreadable
        )
    sns = reject_malformed_responses(boto3.client("sns", config=_CLIENT_CONFIG))
    policies = _policies(settings, _table_client())
    sweep = SweepAlerts(
        _manager(settings, store, policies, observability, accepted),
        _configs(settings, observability),
        policies,
        observability,
        [
            partial(subscriptions_of, sns, topic_arn)
            for topic_arn in (settings.email_topic_arn, settings.operator_topic_arn)
            if topic_arn is not None
        ],
        page=_page(settings, store),
    )
    return observability.wrap(sweep.handle)


def _page(settings: Settings, store: AlertStore) -> ProblemPage | None:
    bucket = settings.messages.page_bucket
    if bucket is None:
        return None
    return ProblemPage(store, StoredPage(boto3.client("s3", config=_CLIENT_CONFIG), bucket))


def _queue(settings: Settings, observability: Observability) -> FlowLogQueue | None:
    if settings.queue_url is None:
        return None
    client = boto3.client("sqs", config=_CLIENT_CONFIG)
    return FlowLogQueue(client, settings.queue_url, observability.logger)


def _formats(settings: Settings, observability: Observability) -> FormatSource:
    if settings.log_format is not None:
        return FixedFormat(settings.log_format)
    return DescribedFormats(boto3.client("ec2", config=_CLIENT_CONFIG), observability.logger)


def _service(settings: Settings, observability: Observability) -> IngestService:
    collect_rarely()
    if settings.signal_queue_url is None:
        raise SettingsError("SIGNAL_QUEUE_URL: missing; an SQS queue's address is needed")
    store = _store(settings, observability)
    signals = SqsSignals(
        boto3.client("sqs", config=_CLIENT_CONFIG),
        settings.signal_queue_url,
        settings.signal_delay,
    )
    return IngestService(
        store=store,
        marks=WindowMarks(store, settings.intervals),
        evidence=_evidence(settings, observability),
        signals=signals,
        observability=observability,
    )


def _store(settings: Settings, observability: Observability) -> DynamoDbStore:
    return DynamoDbStore(
        _table_client(), settings.alert_table, on_unreadable=observability.state_unreadable
    )


def _evidence(settings: Settings, observability: Observability) -> S3Evidence:
    if settings.evidence_bucket is None:
        raise SettingsError("EVIDENCE_BUCKET: missing; an S3 bucket's name is needed")
    client = boto3.client("s3", config=_CLIENT_CONFIG)
    return S3Evidence(client, settings.evidence_bucket, observability.evidence_unreadable)


def _policies(settings: Settings, client: DynamoDBClient) -> PolicySource | None:
    if settings.policy is None:
        return None
    last_good = LastGoodPolicy(client, settings.alert_table)
    return PolicySource(settings.policy, last_good=last_good)


def _table_client() -> DynamoDBClient:
    return boto3.client("dynamodb", config=_CLIENT_CONFIG)


def _manager(
    settings: Settings,
    store: AlertStore,
    policies: PolicySource | None,
    observability: Observability,
    accepted: AcceptedTraffic | None = None,
) -> AlertManager:
    from flowverdict.lifecycle.manager import AlertManager  # noqa: PLC0415 - as above

    def owner_of(notification: Notification) -> Owner:
        found = None if policies is None else policies.current().policy.route_of(notification)
        if found is None:
            return NOBODY
        _, route = found
        return Owner(topic_arn=route.topic, slack_channel=route.slack_channel)

    topics = SnsTopics(
        boto3.client("sns", config=_CLIENT_CONFIG),
        settings.alert_topic_arn,
        settings.email_topic_arn,
        settings.chat_topic_arn,
        settings.messages,
        owner_of=owner_of,
        on_refused=observability.route_refused,
    )
    return AlertManager(
        store,
        topics,
        intervals=settings.intervals,
        hourly_limit=settings.messages_per_hour,
        accepted=accepted,
        weekly=settings.weekly,
    )


def _configs(
    settings: Settings, observability: Observability
) -> Callable[[], BudgetedConfigSource]:
    """Return what makes the source of rules of each invocation."""
    from flowverdict.network.ec2 import Ec2Config  # noqa: PLC0415 - as above
    from flowverdict.network.ec2_clients import ReaderRole, client_factory  # noqa: PLC0415

    role = None
    if settings.reader_role_name is not None:
        role = ReaderRole(
            name=settings.reader_role_name,
            external_id=settings.reader_external_id,
            partition=settings.partition,
            accounts=settings.reader_accounts,
            organization=settings.reader_organization,
        )
    source = Ec2Config(
        clients=client_factory(),
        logger=observability.logger,
        default_region=settings.region,
        own_account=settings.account_id,
        reader_role=role,
    )
    return partial(
        BudgetedConfigSource, source, own_account=settings.account_id, seen=source.has_seen
    )
