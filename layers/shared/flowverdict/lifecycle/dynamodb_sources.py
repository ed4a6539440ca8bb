"""Store in the alert table what is known of sources, and which windows they have evidence of.

It knows nothing of alerts, so that the functions that read flow logs load nothing of them.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from flowverdict.core.errors import StateError
from flowverdict.lifecycle.dynamodb_seed import create_seed
from flowverdict.lifecycle.dynamodb_source_items import (
    DUE_UNREAD,
    KEPT,
    item_of_window,
    window_of,
    windows_of_source,
)
from flowverdict.lifecycle.dynamodb_table import DynamoDbTable
from flowverdict.lifecycle.store import ConflictError, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from mypy_boto3_dynamodb import DynamoDBClient

    from flowverdict.lifecycle.feeds import UnreadSpan


def _ignore(key: str, reason: str) -> None:
    """Report nothing."""


class DynamoDbSources(DynamoDbTable):
    """Implements ``SourceStore`` on a DynamoDB table.

    Parameters
    ----------
    client
        A boto3 DynamoDB client of the table's Region. Its own retries handle throttling and outages
        of seconds.
    table
        The table's name.
    wait
        Sleeps for a number of seconds.
    on_unreadable
        Called with the key and the reason for an item that cannot be read, once for each item.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        table: str,
        *,
        wait: Callable[[float], None] = time.sleep,
        on_unreadable: Callable[[str, str], None] = _ignore,
    ) -> None:
        super().__init__(client, table, wait, on_unreadable)
        self._seed: int | None = None

    def seed(self) -> int:
        """Return the secret seed of flow hashes (64 bits), created once for the table."""
        if self._seed is None:
            self._seed = create_seed(self._client, self._table)
        return self._seed

    def windows_of(self, source_id: str) -> tuple[int, ...] | None:
        """Return the numbers of the windows of a source; ``None`` for a source not read before."""
        for item in self._read([f"source#{source_id}"]):
            return self._readable(item, windows_of_source)
        return None

    def record_source(self, source_id: str, windows: Collection[int], now: int) -> bool:
        """Record that all evidence of a source is stored; return whether it is held back."""
        try:
            before = self._client.update_item(
                TableName=self._table,
                Key={"pk": {"S": f"source#{source_id}"}},
                UpdateExpression="SET windows = :windows, expires_at = :expires",
                ExpressionAttributeValues={
                    ":windows": {"S": " ".join(map(str, sorted(windows)))},
                    ":expires": {"N": str(now + KEPT)},
                },
                ReturnValues="ALL_OLD",
            )
        except (BotoCoreError, ClientError) as error:
            raise StateError(f"{self._table}: could not be written: {error}") from error
        return "unread_from" in before.get("Attributes", {})

    def hold_back(self, source_id: str, feed: str, span: UnreadSpan, now: int) -> None:
        """Note that the records of a source are not read, or not judged, unless that is noted."""
        self._update(
            f"source#{source_id}",
            "SET #due = :due, due_at = :end, unread_from = :start, "
            "expires_at = if_not_exists(expires_at, :expires)",
            "attribute_not_exists(#due)",
            {
                ":due": {"S": f"{DUE_UNREAD}#{feed}"},
                ":start": {"N": str(span.start)},
                ":end": {"N": str(span.end)},
                ":expires": {"N": str(now + KEPT)},
            },
            {"#due": "due"},
        )

    def release(self, source_id: str, feed: str) -> None:
        """Note that a source that was held back is read and judged."""
        self._update(
            f"source#{source_id}",
            "REMOVE #due, due_at, unread_from",
            "#due = :due",
            {":due": {"S": f"{DUE_UNREAD}#{feed}"}},
            {"#due": "due"},
        )

    def mark_windows(self, window_ids: Collection[str], now: int) -> None:
        """Store the windows that are not stored yet, as not evaluated."""
        stored = (
            self._readable(item, window_of)
            for item in self._read([f"window#{window_id}" for window_id in window_ids])
        )
        known = {window.window_id for window in stored if window is not None}
        for window_id in sorted(set(window_ids) - known):
            item = item_of_window(Window(window_id=window_id), now)
            with suppress(ConflictError):  # another invocation stored it meanwhile
                self._transact([self._put(item, 0)])
