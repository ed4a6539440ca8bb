"""Find in the index what is due, which is spread over keys, and take it in turn.

A key of an index takes 1,000 write units a second
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html), and
an alert that is written takes two, since its entry moves. So what is due has eight keys, by the
alert's fingerprint: 4,000 alerts a second. Version 0.2.0 stored all of it under one key, which is
read as long as this is: an alert moves to its own key when it is written again.
"""

from __future__ import annotations

import json
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING

from flowverdict.core.errors import StateError
from flowverdict.lifecycle.dynamodb_items import DUE_FEED
from flowverdict.lifecycle.dynamodb_source_items import version_of_item
from flowverdict.lifecycle.dynamodb_table import DynamoDbTable, Entry
from flowverdict.lifecycle.store import ConflictError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    from flowverdict.lifecycle.dynamodb_source_items import Item
    from flowverdict.lifecycle.intervals import Intervals
    from flowverdict.lifecycle.state_machine import AlertState


_KEYS = tuple(f"due#{number}" for number in range(8))
_ALL_KEYS = (*_KEYS, "1")
_ENDED = "ended"  # those that ended, by when; without those of the digest, which are many
_TURN = "turn"  # the key of the item


def place_in_index(state: AlertState, intervals: Intervals) -> tuple[str, int] | None:
    """Return under which key and time the index has a state; ``None`` for not at all."""
    due_at = state.due_at(intervals)
    if due_at is not None:
        return _KEYS[zlib.crc32(state.fingerprint.encode()) % len(_KEYS)], due_at
    if state.closed_at is not None and not state.for_digest:
        return _ENDED, state.closed_at
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    """How far calls have come in what was due at ``until`` (Unix seconds), by key of the index."""

    version: int = 0
    until: int
    places: Mapping[str, Entry] = field(default_factory=dict)


class DueIndex(DynamoDbTable):
    """Finds what is due; every method raises ``StateError`` if the table cannot be reached."""

    def due(self, now: int, limit: int) -> Iterator[str]:
        """Return the fingerprints of alerts that are due at ``now``, the longest due first."""
        for entry, _ in islice(self._due(now, limit, {}), limit):
            yield _name_of(entry)

    def due_in_turn(self, now: int, limit: int) -> Sequence[str]:
        """Return alerts that are due at ``now``, those that earlier calls left out first.

        Where more than ``limit`` are due, the table stores how far the call came, and the next call
        goes on behind that. So each alert comes once before any comes again, however many become
        due meanwhile, and also where the caller fails.
        """
        turn = self._turn(now)
        places, until = dict(turn.places), turn.until
        taken = more = [*islice(self._due(until, limit, places), limit)]
        if places and len(taken) < limit:
            places, until = {}, now
            known = {entry.key for entry, _ in taken}
            rest = (found for found in self._due(now, limit, {}) if found[0].key not in known)
            more = [*islice(rest, limit - len(taken))]
            taken = [*taken, *more]
        places |= {key: entry for entry, key in more}
        if len(taken) < limit:
            places = {}
        if places or turn.places:
            self._put_turn(_Turn(version=turn.version, until=until, places=places))
        return [_name_of(entry) for entry, _ in taken]

    def ended(self, since: int, limit: int) -> Iterator[str]:
        """Return the fingerprints of those that ended after a time, the first first."""
        for entry in self._query(_ENDED, "due_at > :at", since, limit):
            yield _name_of(entry)

    def silent_feeds(self, now: int, limit: int) -> Iterator[str]:
        """Return the names of feeds that are silent at ``now``, the longest silent first."""
        for entry in self._query(DUE_FEED, "due_at <= :at", now, limit):
            yield _name_of(entry)

    def _due(
        self, until: int, limit: int, places: Mapping[str, Entry]
    ) -> Iterator[tuple[Entry, str]]:
        """Return what is due behind the places, the longest due first, each with its key."""
        return merge(*(self._due_of(key, until, limit, places.get(key)) for key in _ALL_KEYS))

    def _due_of(
        self, key: str, until: int, limit: int, after: Entry | None
    ) -> Iterator[tuple[Entry, str]]:
        for entry in self._query(key, "due_at <= :at", until, limit, after):
            yield entry, key

    def _turn(self, now: int) -> _Turn:
        """Return how far calls have come; a call of an earlier time than theirs begins anew."""
        for item in self._read([_TURN]):
            turn = self._readable(item, _turn_of)
            if turn is not None:
                return turn if turn.until <= now else _Turn(version=turn.version, until=now)
        return _Turn(until=now)

    def _put_turn(self, turn: _Turn) -> None:
        item: dict[str, AttributeValueTypeDef] = {
            "pk": {"S": _TURN},
            "until": {"N": str(turn.until)},
            "places": {"S": json.dumps(turn.places)},
        }
        with suppress(ConflictError):  # another sweep takes the same at once, and has stored it
            self._transact([self._put(item, turn.version)])


def _name_of(entry: Entry) -> str:
    return entry.key.partition("#")[2]


def _turn_of(item: Item) -> _Turn:
    """Read how far calls have come; raises ``StateError``, ``KeyError`` or ``ValueError``."""
    until, places = int(item["until"]["N"]), json.loads(item["places"]["S"])
    if not isinstance(places, dict):
        raise StateError("the places are not a JSON object")
    read = {key: _place_of(places[key], until) for key in _ALL_KEYS if key in places}
    return _Turn(version=version_of_item(item), until=until, places=read)


def _place_of(stored: object, until: int) -> Entry:
    """Read a place. DynamoDB refuses one that is not among what is asked for."""
    match stored:
        case [int(at), str(key)] if at <= until and key:
            return Entry(at, key)
    raise StateError(f"not a place in the index: {stored!r}")
