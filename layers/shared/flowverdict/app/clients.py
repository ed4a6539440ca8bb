"""Build what the functions have in common: clients, the queue of flow logs, and the evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from flowverdict.app.flow_log_queue import FlowLogQueue
from flowverdict.core.errors import SettingsError
from flowverdict.flows.evidence_s3 import S3Evidence

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb import DynamoDBClient

    from flowverdict.app.observability import Observability
    from flowverdict.app.settings import Settings


type LambdaHandler = Callable[[dict[str, Any], Any], Any]

# Three tries of at most 3 + 10 s each stay well below the functions' time-out.
CLIENT_CONFIG = Config(
    connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3}
)


def table_client() -> DynamoDBClient:
    """Return the client of the alert table."""
    return boto3.client("dynamodb", config=CLIENT_CONFIG)


def flow_log_queue(settings: Settings, observability: Observability) -> FlowLogQueue | None:
    """Return the queue that a function reads; ``None`` if it reads none."""
    if settings.queue_url is None:
        return None
    client = boto3.client("sqs", config=CLIENT_CONFIG)
    return FlowLogQueue(client, settings.queue_url, observability.logger)


def stored_evidence(settings: Settings, observability: Observability) -> S3Evidence:
    """Return the evidence bucket; raises ``SettingsError`` where the settings name none."""
    if settings.evidence_bucket is None:
        raise SettingsError("EVIDENCE_BUCKET: missing; an S3 bucket's name is needed")
    client = boto3.client("s3", config=CLIENT_CONFIG)
    return S3Evidence(client, settings.evidence_bucket, observability.evidence_unreadable)
