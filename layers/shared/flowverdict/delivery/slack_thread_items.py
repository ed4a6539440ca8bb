"""Store the threads of a Slack channel in the alert table, an item for each channel and problem.

The items are apart from those of the alerts, which other functions write on the condition that no
one else has: so this function cannot disturb them, and its role reaches no other key. DynamoDB
deletes an item long after its last message.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from flowverdict.core.aws_client import reject_malformed_responses
from flowverdict.core.errors import StateError
from flowverdict.delivery.slack_bot import Place
from flowverdict.delivery.slack_threads import Sent, Thread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

PREFIX: Final = "slack#"  # the template lets the function read and write these keys alone
# An alert that somebody has acknowledged has no message until its end, which may take weeks.
KEPT = 90 * 86_400


class DynamoDbThreads:
    """Implements ``ThreadStore`` on a DynamoDB table.

    Parameters
    ----------
    clock
        Returns Unix seconds.
    """

    def __init__(self, client: DynamoDBClient, table: str, clock: Callable[[], float]) -> None:
        self._client = reject_malformed_responses(client)
        self._table = table
        self._clock = clock
        self._owner = uuid.uuid4().hex

    def read(self, channel: str, fingerprint: str) -> Thread:
        """Return what is stored; an item that is not readable counts as no thread.

        Raises
        ------
        StateError
            The table cannot be read.
        """
        try:
            answer = self._client.get_item(
                TableName=self._table, Key=_key(channel, fingerprint), ConsistentRead=True
            )
        except (BotoCoreError, ClientError) as error:
            raise StateError(f"{self._table}: could not be read: {error}") from error
        item = answer.get("Item")
        return Thread() if item is None else thread_of(item)

    def write(self, channel: str, fingerprint: str, thread: Thread) -> Thread | None:
        """Store a thread on the condition that its version is the version that was read.

        Return it with its new version; ``None`` if another invocation was faster. An item that was
        not readable is written over.

        Raises
        ------
        StateError
            The table cannot be written.
        """
        version = 1 if thread.version is None else thread.version + 1
        item = item_of(thread, version, self._owner, int(self._clock()) + KEPT)
        condition: dict[str, Any] = {}
        if thread.version is not None:
            condition = {
                "ConditionExpression": (
                    "attribute_not_exists(pk)" if thread.version == 0 else "version = :version"
                ),
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        if thread.version:
            condition["ExpressionAttributeValues"] = {":version": {"N": str(thread.version)}}
        try:
            self._client.put_item(
                TableName=self._table, Item=_key(channel, fingerprint) | item, **condition
            )
        except self._client.exceptions.ConditionalCheckFailedException as error:
            there: Any = error.response.get("Item") or {}  # the stubs know no such key
            # The SDK tries again a write whose answer was lost: then the item is our own.
            if {name: there.get(name) for name in item} != item:
                return None
        except (BotoCoreError, ClientError) as error:
            raise StateError(f"{self._table}: could not be written: {error}") from error
        return replace(thread, version=version)


def item_of(thread: Thread, version: int, owner: str, expires_at: int) -> dict[str, Any]:
    """Return the attributes of a thread's item, beside its key."""
    body = {
        "channel_id": None if thread.first is None else thread.first.channel_id,
        "ts": None if thread.first is None else thread.first.ts,
        "opened_at": thread.opened_at,
        "has_ended": thread.has_ended,
        "sent": [[sent.mark, sent.at] for sent in thread.sent],
        "claimed_until": thread.claimed_until,
    }
    return {
        "version": {"N": str(version)},
        "owner": {"S": owner},
        "body": {"S": json.dumps(body)},
        "expires_at": {"N": str(expires_at)},
    }


def thread_of(item: Mapping[str, Any]) -> Thread:
    """Return the thread of an item that this or another version wrote.

    A key that is missing gets its default, and a key that is unknown is ignored. What is not
    readable is no thread, and is written over.
    """
    version = None
    try:
        version = int(item["version"]["N"])
        body = json.loads(item["body"]["S"])
        opened_at = body.get("opened_at")
        return Thread(
            version=version,
            first=Place.from_text(body.get("channel_id"), body.get("ts")),
            opened_at=None if opened_at is None else int(opened_at),
            has_ended=body.get("has_ended") is True,
            sent=tuple(Sent(mark=str(mark), at=int(at)) for mark, at in body.get("sent", ())),
            claimed_until=int(body.get("claimed_until", 0)),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return Thread(version=version)


def _key(channel: str, fingerprint: str) -> dict[str, Any]:
    return {"pk": {"S": f"{PREFIX}{channel}#{fingerprint}"}}
