"""Store the last valid policy document in the alert table.

A new process reads it when the present document is broken, so that a broken document changes
nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from flowverdict.core.aws_client import reject_malformed_responses
from flowverdict.core.errors import StateError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class LastGoodPolicy:
    """Implements ``LastGood`` on the alert table."""

    _KEY = "policy#last-good"

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = reject_malformed_responses(client)
        self._table = table

    def load(self) -> str | None:
        """Return the document saved last, ``None`` if none was; raises ``StateError``."""
        try:
            answer = self._client.get_item(
                TableName=self._table, Key={"pk": {"S": self._KEY}}, ConsistentRead=True
            )
        except (BotoCoreError, ClientError) as error:
            raise StateError(
                f"{self._table}: the last good policy could not be read: {error}"
            ) from error
        item = answer.get("Item")
        return None if item is None else item["text"]["S"]

    def save(self, text: str) -> None:
        """Store a valid document; raises ``StateError``."""
        try:
            self._client.put_item(
                TableName=self._table, Item={"pk": {"S": self._KEY}, "text": {"S": text}}
            )
        except (BotoCoreError, ClientError) as error:
            raise StateError(f"{self._table}: the policy could not be stored: {error}") from error
