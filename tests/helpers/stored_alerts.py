"""Read the alerts that moto's table holds, without a scan by the SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends

from flowverdict.lifecycle.dynamodb import DynamoDbStore
from flowverdict_cli.local_aws import REGION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowverdict.lifecycle.state_machine import AlertState


def stored_alerts(table: str) -> Mapping[str, AlertState]:
    """Return the states of all alerts, by fingerprint."""
    # The keys from moto itself: a scan by the SDK would need another client.
    items = dynamodb_backends[DEFAULT_ACCOUNT_ID][REGION].tables[table].items
    keys = [str(key.value) for key in items]
    names = [key.removeprefix("alert#") for key in keys if key.startswith("alert#")]
    return DynamoDbStore(boto3.client("dynamodb"), table).load(names)
