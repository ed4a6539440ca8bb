"""Read and write items of one DynamoDB table, with what DynamoDB leaves to its callers."""

from __future__ import annotations

from itertools import batched
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from flowverdict.core.aws_client import reject_malformed_responses
from flowverdict.core.errors import StateError
from flowverdict.core.retry import equal_jitter
from flowverdict.lifecycle.dynamodb_source_items import version_of_item
from flowverdict.lifecycle.store import ConflictError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, TransactWriteItemTypeDef

    from flowverdict.lifecycle.dynamodb_source_items import Item


INDEX = "due"
_READ_AT_ONCE = 100  # BatchGetItem's limit
_TRIES = 8
_FIRST_WAIT = 0.05  # seconds; doubled with each try, 6 s in all
# Reasons of a cancelled transaction that another try with fresh values can overcome.
_CONFLICTS = {"ConditionalCheckFailed", "TransactionConflict"}
_BUSY = {"ThrottlingError", "ProvisionedThroughputExceeded"}


class Entry(NamedTuple):
    """An entry of the index: since when it is due (Unix seconds), and the key of the item."""

    at: int
    key: str


class DynamoDbTable:
    """Reads and writes items; every method raises ``StateError`` if the table cannot be reached."""

    def __init__(
        self,
        client: DynamoDBClient,
        table: str,
        wait: Callable[[float], None],
        on_unreadable: Callable[[str, str], None],
    ) -> None:
        self._client = reject_malformed_responses(client)
        self._table = table
        self._wait = wait
        self._on_unreadable = on_unreadable
        # Versions of unreadable items, which what takes their place is written over.
        self._unreadable: dict[str, int] = {}

    def _query(
        self, due: str, condition: str, at: int, limit: int, after: Entry | None = None
    ) -> Iterator[Entry]:
        """Return entries of the index, those with the earliest ``due_at`` first.

        ``condition`` compares ``due_at`` with ``:at``. With ``after``, only the entries behind it
        are returned; it need not be in the index any more.
        """
        start: Any = {}
        if after is not None:
            place = {"pk": {"S": after.key}, "due": {"S": due}, "due_at": {"N": str(after.at)}}
            start = {"ExclusiveStartKey": place}
        try:
            pages = self._client.get_paginator("query").paginate(
                TableName=self._table,
                IndexName=INDEX,
                KeyConditionExpression=f"#due = :due AND {condition}",
                ExpressionAttributeNames={"#due": "due"},
                ExpressionAttributeValues={":due": {"S": due}, ":at": {"N": str(at)}},
                PaginationConfig={"MaxItems": limit},
                **start,
            )
            for page in pages:
                for item in page["Items"]:
                    yield Entry(int(item["due_at"]["N"]), item["pk"]["S"])
        except (BotoCoreError, ClientError) as error:
            raise StateError(f"{self._table}: what is due could not be read: {error}") from error

    def _read(self, keys: Sequence[str]) -> Iterator[Item]:
        for batch in batched(dict.fromkeys(keys), _READ_AT_ONCE, strict=False):
            left: Any = {
                self._table: {"Keys": [{"pk": {"S": key}} for key in batch], "ConsistentRead": True}
            }
            for attempt in range(_TRIES):
                try:
                    answer = self._client.batch_get_item(RequestItems=left)
                except (BotoCoreError, ClientError) as error:
                    raise StateError(f"{self._table}: could not be read: {error}") from error
                yield from answer["Responses"].get(self._table, [])
                left = answer.get("UnprocessedKeys")
                if not left:
                    break
                self._back_off(attempt)
            else:
                raise StateError(
                    f"{self._table}: could not be read whole in {_TRIES} tries; "
                    "DynamoDB is throttling"
                )

    def _readable[T](self, item: Item, read: Callable[[Item], T]) -> T | None:
        """Read an item; report it and return ``None`` where that is not possible."""
        key = item["pk"]["S"]
        try:
            value = read(item)
        except (StateError, KeyError, ValueError) as error:
            if key not in self._unreadable:
                self._on_unreadable(key, f"{type(error).__name__}: {error}")
            self._unreadable[key] = version_of_item(item)
            return None
        self._unreadable.pop(key, None)
        return value

    def _back_off(self, attempt: int) -> None:
        self._wait(equal_jitter(attempt, first=_FIRST_WAIT))

    def _put(
        self, item: dict[str, AttributeValueTypeDef], version: int
    ) -> TransactWriteItemTypeDef:
        """Put an item if its stored version is ``version``; 0 means that none is stored."""
        if version == 0:
            version = self._unreadable.get(item["pk"]["S"], 0)
        item["version"] = {"N": str(version + 1)}
        if version == 0:
            return {
                "Put": {
                    "TableName": self._table,
                    "Item": item,
                    "ConditionExpression": "attribute_not_exists(version)",
                }
            }
        return {
            "Put": {
                "TableName": self._table,
                "Item": item,
                "ConditionExpression": "version = :version",
                "ExpressionAttributeValues": {":version": {"N": str(version)}},
            }
        }

    def _transact(self, writes: Sequence[TransactWriteItemTypeDef]) -> None:
        if not writes:
            return
        for attempt in range(_TRIES):
            try:
                self._client.transact_write_items(TransactItems=writes)
            except self._client.exceptions.TransactionCanceledException as error:
                codes = {
                    str(reason.get("Code"))
                    for reason in error.response.get("CancellationReasons", [])
                } - {"None"}
                if codes & _CONFLICTS and codes <= _CONFLICTS | _BUSY:
                    raise ConflictError from error
                if not codes or codes - _BUSY:
                    raise StateError(
                        f"{self._table}: not written: {', '.join(sorted(codes)) or error}"
                    ) from error
                self._back_off(attempt)
            except (BotoCoreError, ClientError) as error:
                raise StateError(f"{self._table}: could not be written: {error}") from error
            else:
                return
        raise StateError(
            f"{self._table}: could not be written in {_TRIES} tries; DynamoDB is throttling"
        )

    def _update(
        self,
        key: str,
        update: str,
        condition: str,
        values: Mapping[str, AttributeValueTypeDef],
        names: Mapping[str, str] | None = None,
    ) -> bool:
        named: Any = {} if names is None else {"ExpressionAttributeNames": names}
        for attempt in range(_TRIES):
            try:
                self._client.update_item(
                    TableName=self._table,
                    Key={"pk": {"S": key}},
                    UpdateExpression=update,
                    ConditionExpression=condition,
                    ExpressionAttributeValues=values,
                    **named,
                )
            except self._client.exceptions.ConditionalCheckFailedException:
                return False
            except self._client.exceptions.TransactionConflictException:
                # A transaction holds the item for a moment; botocore does not retry this.
                self._back_off(attempt)
            except (BotoCoreError, ClientError) as error:
                raise StateError(f"{self._table}: could not be written: {error}") from error
            else:
                return True
        raise StateError(
            f"{self._table}: could not be written in {_TRIES} tries; "
            "other invocations write the same item"
        )
