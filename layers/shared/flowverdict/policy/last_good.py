"""TODO flowverdict.policy.last_good."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from flowverdict.core.aws_client import reject_malformed_responses
from flowverdict.core.errors import StateError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class LastGoodPolicy:
    """The last policy document that could be used, so that a new process has it when the document is broken."""

    _KEY = "policy#last-good"

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = reject_malformed_responses(client)
        self._table = table

    def load(self) -> str | None:
        """Give it, ``None`` if there was none; raises ``StateError``."""
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
        """Keep it; raises ``StateError``."""
        try:
            self._client.put_item(
                TableName=self._table, Item={"pk": {"S": self._KEY}, "text": {"S": text}}
            )
        except (BotoCoreError, ClientError) as error:
            raise StateError(f"{self._table}: the policy could not be kept: {error}") from error
