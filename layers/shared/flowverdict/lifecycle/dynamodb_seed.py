"""Create the secret seed of flow hashes, once for a table."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from flowverdict.core.errors import StateError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


_SEED_BITS = 64


def create_seed(client: DynamoDBClient, table: str) -> int:
    """Return the seed that the table stores, created if there is none.

    Raises
    ------
    StateError
        The table could not be written.
    """
    try:
        answer = client.update_item(
            TableName=table,
            Key={"pk": {"S": "seed"}},
            UpdateExpression="SET seed = if_not_exists(seed, :new)",
            ExpressionAttributeValues={":new": {"N": str(secrets.randbits(_SEED_BITS))}},
            ReturnValues="ALL_NEW",
        )
    except (BotoCoreError, ClientError) as error:
        raise StateError(f"{table}: could not be written: {error}") from error
    return int(answer["Attributes"]["seed"]["N"])
