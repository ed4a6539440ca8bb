"""Alerts remembered in one DynamoDB table.

Items are told apart by the prefix of their key ``pk``: ``alert#``, ``shadow#``, ``budget#``, ``window#``, ``alerts#``,
``part#``, ``source#``.
An open alert has ``due`` and ``due_at``, by which the index ``due`` finds it for the sweep. ``expires_at`` lets DynamoDB clear up;
nothing relies on that it has, since it may take days
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html): what is over is seen to be over by its own times.

Writes are transactions of at most 100 items (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html),
each on the condition that its version is the one that was read.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import replace
from itertools import batched
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from flowverdict.core.aws_client import reject_malformed_responses
from flowverdict.core.errors import StateError
from flowverdict.core.retry import equal_jitter
from flowverdict.lifecycle.dynamodb_items import (
    pack_contribution,
    pack_fingerprints,
    pack_rate_limit,
    pack_state,
    unpack_contribution,
    unpack_fingerprints,
    unpack_rate_limit,
    unpack_state,
)
from flowverdict.lifecycle.rate_limit import RateLimit
from flowverdict.lifecycle.store import Commit, ConflictError, Contribution, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, TransactWriteItemTypeDef

    from flowverdict.alerts.model import Notification
    from flowverdict.lifecycle.state_machine import Intervals, State


INDEX = "due"
_DUE = "1"  # all that is due stands under one key of the index: thousands of open alerts are far from what a key may take
_READ_AT_ONCE = 100  # BatchGetItem's limit
_TRIES = 8
_FIRST_WAIT = 0.05  # seconds; doubled with each try, 6 s in all
_DAY = 86_400
# A dead-letter queue keeps messages for 14 days and gives them back at any time.
KEPT = 15 * _DAY
_SEED_BITS = 64
_BUDGET_KEPT = 2 * _DAY
# Reasons of a cancelled transaction that another try with fresh values can get past.
_CONFLICTS = {"ConditionalCheckFailed", "TransactionConflict"}
_BUSY = {"ThrottlingError", "ProvisionedThroughputExceeded"}

type Item = Mapping[str, AttributeValueTypeDef]


class DynamoDbStore:
    """The store on DynamoDB; implements ``AlertStore``.

    Parameters
    ----------
    client
        A boto3 DynamoDB client of the table's Region. Its own retries take care of throttling and outages of seconds.
    table
        The table's name.
    wait
        Sleeps for so many seconds.
    """

    def __init__(
        self, client: DynamoDBClient, table: str, *, wait: Callable[[float], None] = time.sleep
    ) -> None:
        self._client = reject_malformed_responses(client)
        self._table = table
        self._wait = wait
        self._seed: int | None = None

    # --- reading --------------------------------------------------------------------------------------------------

    def load(self, fingerprints: Collection[str]) -> Mapping[str, State]:
        """Give the states there are, as last written."""
        found = {}
        for item in self._read([f"alert#{fingerprint}" for fingerprint in fingerprints]):
            fingerprint = item["pk"]["S"].partition("#")[2]
            found[fingerprint] = unpack_state(
                fingerprint,
                int(item["version"]["N"]),
                bytes(item["body"]["B"]),
                item["pending"]["S"] if "pending" in item else None,
                int(item["pending_at"]["N"]) if "pending_at" in item else None,
            )
        return found

    def active_inhibitions(self, keys: Collection[str], now: int) -> frozenset[str]:
        """Give those of the keys whose shadow is still there."""
        items = self._read([f"shadow#{key}" for key in keys])
        return frozenset(
            item["pk"]["S"].partition("#")[2] for item in items if int(item["until"]["N"]) > now
        )

    def load_rate_limit(self, hour: int) -> RateLimit:
        """Give the budget of an hour, an unused one if there is none."""
        for item in self._read([f"budget#{hour}"]):
            return unpack_rate_limit(hour, int(item["version"]["N"]), bytes(item["body"]["B"]))
        return RateLimit(hour=hour)

    def load_windows(self, window_ids: Collection[str]) -> Mapping[str, Window]:
        """Give the windows there are."""
        found: dict[str, Window] = {}
        alerts: dict[str, frozenset[str]] = {}
        for item in self._read(
            [
                key
                for window_id in window_ids
                for key in (f"window#{window_id}", f"alerts#{window_id}")
            ]
        ):
            kind, _, window_id = item["pk"]["S"].partition("#")
            if kind == "alerts":
                alerts[window_id] = unpack_fingerprints(bytes(item["fingerprints"]["B"]))
                continue
            found[window_id] = Window(
                window_id=window_id,
                version=int(item["version"]["N"]),
                judged=item["judged"]["S"] if "judged" in item else None,
                sources=int(item["sources"]["N"]),
                muted_flows={
                    entry: int(count["N"])
                    for entry, count in item.get("muted", {"M": {}})["M"].items()
                },
            )
        return {
            name: replace(window, fingerprints=alerts.get(name, frozenset()))
            for name, window in found.items()
        }

    def version_of(self, window_id: str) -> int:
        """Give the version of a window, 0 where there is none."""
        return next((int(item["version"]["N"]) for item in self._read([f"window#{window_id}"])), 0)

    def load_contributions(
        self, of: Collection[tuple[str, str]]
    ) -> Mapping[tuple[str, str], Notification]:
        """Give what windows have added to alerts, by the window's id and the fingerprint, where they have."""
        contributions = {}
        for item in self._read(
            [f"part#{window_id}#{fingerprint}" for window_id, fingerprint in of]
        ):
            window_id, _, fingerprint = item["pk"]["S"].partition("#")[2].rpartition("#")
            if "body" in item:
                contributions[window_id, fingerprint] = unpack_contribution(
                    fingerprint, bytes(item["body"]["B"])
                )
        return contributions

    def due(self, now: int, limit: int) -> Iterator[str]:
        """Give the fingerprints that the sweep has to look at, those due longest first."""
        try:
            pages = self._client.get_paginator("query").paginate(
                TableName=self._table,
                IndexName=INDEX,
                KeyConditionExpression="#due = :due AND due_at <= :now",
                ExpressionAttributeNames={"#due": "due"},
                ExpressionAttributeValues={":due": {"S": _DUE}, ":now": {"N": str(now)}},
                PaginationConfig={"MaxItems": limit},
            )
            for page in pages:
                for item in page["Items"]:
                    yield item["pk"]["S"].partition("#")[2]
        except (BotoCoreError, ClientError) as error:
            raise StateError(f"{self._table}: what is due could not be read: {error}") from error

    def _read(self, keys: Sequence[str]) -> Iterator[Item]:
        for some in batched(dict.fromkeys(keys), _READ_AT_ONCE, strict=False):
            left: Any = {
                self._table: {"Keys": [{"pk": {"S": key}} for key in some], "ConsistentRead": True}
            }
            for tried in range(_TRIES):
                try:
                    answer = self._client.batch_get_item(RequestItems=left)
                except (BotoCoreError, ClientError) as error:
                    raise StateError(f"{self._table}: could not be read: {error}") from error
                yield from answer["Responses"].get(self._table, [])
                left = answer.get("UnprocessedKeys")
                if not left:
                    break
                self._back_off(tried)
            else:
                raise StateError(
                    f"{self._table}: could not be read whole in {_TRIES} tries; DynamoDB is throttling"
                )

    def _back_off(self, tried: int) -> None:
        self._wait(equal_jitter(tried, first=_FIRST_WAIT))

    # --- writing --------------------------------------------------------------------------------------------------

    def commit(self, commit: Commit, now: int, intervals: Intervals) -> None:
        """Write it all, or raise ``ConflictError``."""
        writes: list[TransactWriteItemTypeDef] = [
            self._put_state(state, intervals) for state in commit.states
        ]
        writes += [
            {
                "Put": {
                    "TableName": self._table,
                    "Item": {
                        "pk": {"S": f"shadow#{inhibition.key}"},
                        "until": {"N": str(inhibition.until)},
                        "expires_at": {"N": str(inhibition.until + _DAY)},
                    },
                }
            }
            for inhibition in commit.inhibitions
        ]
        if commit.rate_limit is not None:
            rate_limit = commit.rate_limit
            item: dict[str, AttributeValueTypeDef] = {
                "pk": {"S": f"budget#{rate_limit.hour}"},
                "body": {"B": pack_rate_limit(rate_limit)},
                "expires_at": {"N": str(rate_limit.hour + _BUDGET_KEPT)},
            }
            writes.append(self._put(item, rate_limit.version))
        if commit.window is not None:
            writes += self._put_window(commit.window, now)
        writes += [
            self._put_contribution(contribution, now) for contribution in commit.contributions
        ]
        self._transact(writes)

    def _put_state(self, state: State, intervals: Intervals) -> TransactWriteItemTypeDef:
        item: dict[str, AttributeValueTypeDef] = {
            "pk": {"S": f"alert#{state.fingerprint}"},
            "body": {"B": pack_state(state)},
        }
        if state.pending is not None and state.pending_at is not None:
            item |= {"pending": {"S": state.pending}, "pending_at": {"N": str(state.pending_at)}}
        due_at = state.due_at(intervals)
        if due_at is not None:
            item |= {"due": {"S": _DUE}, "due_at": {"N": str(due_at)}}
        if state.closed_at is not None and state.pending is None:
            item["expires_at"] = {"N": str(state.closed_at + intervals.keep)}
        return self._put(item, state.version)

    def _put(
        self, item: dict[str, AttributeValueTypeDef], version: int
    ) -> TransactWriteItemTypeDef:
        """Put an item whose version, as read, was ``version``; 0 is that of one that does not exist."""
        item["version"] = {"N": str(version + 1)}
        if version == 0:
            return {
                "Put": {
                    "TableName": self._table,
                    "Item": item,
                    "ConditionExpression": "attribute_not_exists(pk)",
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

    def _put_contribution(self, contribution: Contribution, now: int) -> TransactWriteItemTypeDef:
        item: dict[str, AttributeValueTypeDef] = {
            "pk": {"S": f"part#{contribution.window_id}#{contribution.fingerprint}"},
            "expires_at": {"N": str(now + KEPT)},
        }
        # One that was taken back stays without a body: to delete it would take a permission more.
        if contribution.notification is not None:
            item["body"] = {"B": pack_contribution(contribution.notification)}
        return {"Put": {"TableName": self._table, "Item": item}}

    def _put_window(self, window: Window, now: int) -> Iterator[TransactWriteItemTypeDef]:
        item: dict[str, AttributeValueTypeDef] = {
            "pk": {"S": f"window#{window.window_id}"},
            "sources": {"N": str(window.sources)},
            "expires_at": {"N": str(now + KEPT)},
        }
        if window.judged is not None:
            item["judged"] = {"S": window.judged}
        if window.muted_flows:
            item["muted"] = {
                "M": {entry: {"N": str(count)} for entry, count in window.muted_flows.items()}
            }
        yield self._put(item, window.version)
        if window.fingerprints:
            yield {
                "Put": {
                    "TableName": self._table,
                    "Item": {
                        "pk": {"S": f"alerts#{window.window_id}"},
                        "fingerprints": {"B": pack_fingerprints(window.fingerprints)},
                        "expires_at": item["expires_at"],
                    },
                }
            }

    def _transact(self, writes: Sequence[TransactWriteItemTypeDef]) -> None:
        if not writes:
            return
        for tried in range(_TRIES):
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
                self._back_off(tried)
            except (BotoCoreError, ClientError) as error:
                raise StateError(f"{self._table}: could not be written: {error}") from error
            else:
                return
        raise StateError(
            f"{self._table}: could not be written in {_TRIES} tries; DynamoDB is throttling"
        )

    def mark_sent(self, state: State, intervals: Intervals) -> None:
        """Take away the mark that ``state.pending`` is to be sent, if it still stands for the same message."""
        after = state.sent()
        due_at = after.due_at(intervals)
        remove = ["pending", "pending_at"]
        sets = []
        values: dict[str, AttributeValueTypeDef] = {
            ":pending": {"S": str(state.pending)},
            ":at": {"N": str(state.pending_at)},
            ":one": {"N": "1"},
        }
        if due_at is None:
            remove += ["#due", "due_at"]
        else:
            sets += ["#due = :due", "due_at = :due_at"]
            values |= {":due": {"S": _DUE}, ":due_at": {"N": str(due_at)}}
        if after.closed_at is not None:
            sets.append("expires_at = :expires_at")
            values[":expires_at"] = {"N": str(after.closed_at + intervals.keep)}
        self._update(
            f"alert#{state.fingerprint}",
            f"{f'SET {", ".join(sets)} ' if sets else ''}REMOVE {', '.join(remove)} ADD version :one",
            "pending = :pending AND pending_at = :at",
            values,
            {"#due": "due"},
        )

    def _update(
        self,
        key: str,
        update: str,
        condition: str,
        values: Mapping[str, AttributeValueTypeDef],
        names: Mapping[str, str],
    ) -> bool:
        for tried in range(_TRIES):
            try:
                self._client.update_item(
                    TableName=self._table,
                    Key={"pk": {"S": key}},
                    UpdateExpression=update,
                    ConditionExpression=condition,
                    ExpressionAttributeValues=values,
                    ExpressionAttributeNames=names,
                )
            except self._client.exceptions.ConditionalCheckFailedException:
                return False
            except self._client.exceptions.TransactionConflictException:
                self._back_off(
                    tried
                )  # a transaction has the item for a moment; botocore does not try this again
            except (BotoCoreError, ClientError) as error:
                raise StateError(f"{self._table}: could not be written: {error}") from error
            else:
                return True
        raise StateError(
            f"{self._table}: could not be written in {_TRIES} tries; others write the same item all the time"
        )

    # --- sources --------------------------------------------------------------------------------------------------

    def windows_of(self, source_id: str) -> tuple[int, ...] | None:
        """Give the numbers of the windows that a source had evidence for; ``None`` for a source that was not read before."""
        for item in self._read([f"source#{source_id}"]):
            return tuple(int(number) for number in item["windows"]["S"].split())
        return None

    def note_read(self, source_id: str, windows: Collection[int], now: int) -> None:
        """Note that all evidence of a source has been kept."""
        item: dict[str, AttributeValueTypeDef] = {
            "pk": {"S": f"source#{source_id}"},
            "windows": {"S": " ".join(map(str, sorted(windows)))},
            "expires_at": {"N": str(now + KEPT)},
        }
        try:
            self._client.put_item(TableName=self._table, Item=item)
        except (BotoCoreError, ClientError) as error:
            raise StateError(f"{self._table}: could not be written: {error}") from error

    def seed(self) -> int:
        """Give what the hashes of flows begin with (64 bits): made once for the table, and known to nobody else."""
        if self._seed is None:
            self._seed = self._made_seed()
        return self._seed

    def _made_seed(self) -> int:
        try:
            answer = self._client.update_item(
                TableName=self._table,
                Key={"pk": {"S": "seed"}},
                UpdateExpression="SET seed = if_not_exists(seed, :new)",
                ExpressionAttributeValues={":new": {"N": str(secrets.randbits(_SEED_BITS))}},
                ReturnValues="ALL_NEW",
            )
        except (BotoCoreError, ClientError) as error:
            raise StateError(f"{self._table}: could not be written: {error}") from error
        return int(answer["Attributes"]["seed"]["N"])

    # --- the policy -----------------------------------------------------------------------------------------------
