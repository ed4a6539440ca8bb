"""Build the functions that tell of alerts: settings, clients and a callable for each.

``functions/<name>/app.py`` are the entry points; they build these on the first invocation, not at
import.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import boto3

from flowverdict.app.clients import CLIENT_CONFIG, flow_log_queue, stored_evidence, table_client
from flowverdict.app.deadlines import BudgetedConfigSource
from flowverdict.app.evaluate import EvaluateWindows
from flowverdict.app.message_settings import log_unknown_zone
from flowverdict.app.observability import Observability
from flowverdict.app.problem_page import ProblemPage
from flowverdict.app.settings import Settings
from flowverdict.app.sweep import SweepAlerts
from flowverdict.core.aws_client import reject_malformed_responses
from flowverdict.core.garbage_collection import collect_rarely
from flowverdict.delivery.page.stored import StoredPage
from flowverdict.delivery.sns import NOBODY, Owner, SnsTopics, subscriptions_of
from flowverdict.lifecycle.accepted_traffic import AcceptedInEvidence
from flowverdict.lifecycle.dynamodb import DynamoDbStore
from flowverdict.lifecycle.feed_readings import FeedReadings
from flowverdict.lifecycle.manager import AlertManager
from flowverdict.lifecycle.windows import WindowEvaluator
from flowverdict.network.ec2 import Ec2Config
from flowverdict.network.ec2_clients import ReaderRole, client_factory
from flowverdict.policy.last_good import LastGoodPolicy
from flowverdict.policy.source import PolicySource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

    from flowverdict.alerts.model import Notification
    from flowverdict.app.clients import LambdaHandler
    from flowverdict.lifecycle.accepted_traffic import AcceptedTraffic
    from flowverdict.lifecycle.store import AlertStore


def evaluate_windows(environment: Mapping[str, str]) -> LambdaHandler:
    """Build the function ``evaluate_windows``; raises ``SettingsError`` for a wrong environment."""
    settings = Settings.from_environment(environment)
    observability = Observability("evaluate_windows")
    log_unknown_zone(settings.messages, observability.logger)
    collect_rarely()
    store = _store(settings, observability)
    policies = _policies(settings, table_client())
    manager = _manager(settings, store, policies, observability)
    evaluator = WindowEvaluator(
        stored_evidence(settings, observability), store, manager, settings.intervals
    )
    evaluate = EvaluateWindows(
        evaluator=evaluator,
        store=store,
        feeds=FeedReadings(store, settings.intervals),
        intervals=settings.intervals,
        configs=_configs(settings, observability),
        policies=policies,
        observability=observability,
        queue=flow_log_queue(settings, observability),
    )
    return observability.wrap(evaluate.handle)


def sweep_alerts(environment: Mapping[str, str]) -> LambdaHandler:
    """Build the function ``sweep_alerts``; raises ``SettingsError`` for a wrong environment."""
    settings = Settings.from_environment(environment)
    observability = Observability("sweep_alerts")
    log_unknown_zone(settings.messages, observability.logger)
    for missing in settings.missing:
        observability.missing(missing)
    store = _store(settings, observability)
    accepted = None
    if settings.evidence_bucket is not None:
        accepted = AcceptedInEvidence(
            stored_evidence(settings, observability), observability.evidence_unreadable
        )
    sns = reject_malformed_responses(boto3.client("sns", config=CLIENT_CONFIG))
    policies = _policies(settings, table_client())
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
    return ProblemPage(store, StoredPage(boto3.client("s3", config=CLIENT_CONFIG), bucket))


def _store(settings: Settings, observability: Observability) -> DynamoDbStore:
    return DynamoDbStore(
        table_client(), settings.alert_table, on_unreadable=observability.state_unreadable
    )


def _policies(settings: Settings, client: DynamoDBClient) -> PolicySource | None:
    if settings.policy is None:
        return None
    last_good = LastGoodPolicy(client, settings.alert_table)
    return PolicySource(settings.policy, last_good=last_good)


def _manager(
    settings: Settings,
    store: AlertStore,
    policies: PolicySource | None,
    observability: Observability,
    accepted: AcceptedTraffic | None = None,
) -> AlertManager:
    def owner_of(notification: Notification) -> Owner:
        found = None if policies is None else policies.current().policy.route_of(notification)
        if found is None:
            return NOBODY
        _, route = found
        return Owner(topic_arn=route.topic, slack_channel=route.slack_channel)

    topics = SnsTopics(
        boto3.client("sns", config=CLIENT_CONFIG),
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
