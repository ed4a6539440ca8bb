"""Store alerts in one DynamoDB table.

The prefix of an item's key ``pk`` says what the item is: ``alert#``, ``shadow#`` (an inhibition),
``budget#`` (a rate limit), ``window#``, ``alerts#`` (the fingerprints of a window), ``part#`` (a
contribution), ``source#``, ``feed#``, ``offers#`` (what fixes of open alerts offer), ``request#``
(of a chat tool, done once), ``slack#`` (a thread, which ``delivery.slack_thread_items`` alone reads
and writes). The item ``silences`` holds those of people on call, and ``turn`` how far sweeps came
where more is due than one can take. An open alert has ``due`` and ``due_at``, by which the index
``due`` finds it for the sweep (``dynamodb_due``). An alert that has ended has another ``due``, a
feed too, and a source that is held back has that of its feed. ``expires_at`` lets
DynamoDB delete an item. Nothing relies on the deletion, which may take days
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html): each item has times of
its own that say whether it still counts.

Writes are transactions of at most 100 items
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html), each on
the condition that the item's version is the version that was read.

An item that cannot be read, damaged or of a later format, fails no batch. It is reported, and:
- an alert counts as absent. A new detection opens it again, in place of the unreadable item. Until
  then the item stays as it is, and the sweep sends nothing for it: no "resolved" that may be false;
- a contribution counts as not known by itself, so later contributions add to the totals;
- a rate limit counts as unused, so a few messages more may be sent in that hour;
- a window counts as not evaluated, and a source as not read: both are computed again;
- a feed counts as not read, and offers of fixes as not made;
- silences count as not set, since a message too many does less harm than one that is missing.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from flowverdict.lifecycle.dynamodb_due import DueIndex, place_in_index
from flowverdict.lifecycle.dynamodb_items import (
    contribution_of,
    feed_of,
    fingerprints_of,
    inhibited_until,
    item_of_feed,
    pack_contribution,
    pack_fingerprints,
    pack_offers,
    pack_rate_limit,
    pack_silences,
    pack_state,
    pending_of,
    rate_limit_of,
    silences_of,
    state_of,
    stored_offers_of,
)
from flowverdict.lifecycle.dynamodb_source_items import (
    DUE_UNREAD,
    KEPT,
    item_of_window,
    name_of,
    unread_span_of,
    window_of,
)
from flowverdict.lifecycle.dynamodb_sources import DynamoDbSources
from flowverdict.lifecycle.on_call import Silences
from flowverdict.lifecycle.rate_limit import RateLimit
from flowverdict.lifecycle.store import Commit, ConflictError, Contribution, Window

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, TransactWriteItemTypeDef

    from flowverdict.alerts.model import Notification
    from flowverdict.lifecycle.feeds import Feed, UnreadSpan
    from flowverdict.lifecycle.intervals import Intervals
    from flowverdict.lifecycle.state_machine import AlertState
    from flowverdict.lifecycle.store import Pending
    from flowverdict.verdict.remediation.offers import StoredOffers


_DAY = 86_400
_BUDGET_KEPT = 2 * _DAY
_REQUEST_KEPT = 3_600  # seconds; a signature is taken for 5 minutes
SILENCES = "silences"  # the key of the item


class DynamoDbStore(DynamoDbSources, DueIndex):
    """Implements ``AlertStore`` on a DynamoDB table."""

    # --- reading ------------------------------------------------------------------------------

    def load(self, fingerprints: Collection[str]) -> Mapping[str, AlertState]:
        """Return the states that exist and can be read, by fingerprint."""
        found = {}
        for item in self._read([f"alert#{fingerprint}" for fingerprint in fingerprints]):
            state = self._readable(item, state_of)
            if state is not None:
                found[state.fingerprint] = state
        return found

    def pending_of(self, fingerprint: str) -> Pending | None:
        """Return the mark of an alert, without reading the rest of it."""
        for item in self._read([f"alert#{fingerprint}"]):
            return self._readable(item, pending_of)
        return None

    def active_inhibitions(self, keys: Collection[str], now: int) -> frozenset[str]:
        """Return the keys whose inhibition has not ended."""
        items = self._read([f"shadow#{key}" for key in keys])
        return frozenset(name_of(item) for item in items if inhibited_until(item) > now)

    def load_rate_limit(self, hour: int) -> RateLimit:
        """Return the rate limit of an hour, an unused one if none is stored."""
        for item in self._read([f"budget#{hour}"]):
            rate_limit = self._readable(item, rate_limit_of)
            if rate_limit is not None:
                return rate_limit
        return RateLimit(hour=hour)

    def load_silences(self) -> Silences:
        """Return the silences of people on call, none if none are stored or can be read."""
        for item in self._read([SILENCES]):
            silences = self._readable(item, silences_of)
            if silences is not None:
                return silences
        return Silences()

    def load_windows(self, window_ids: Collection[str]) -> Mapping[str, Window]:
        """Return the windows that exist, by id."""
        found: dict[str, Window] = {}
        alerts: dict[str, frozenset[str]] = {}
        for item in self._read(
            [
                key
                for window_id in window_ids
                for key in (f"window#{window_id}", f"alerts#{window_id}")
            ]
        ):
            if item["pk"]["S"].startswith("alerts#"):
                alerts[name_of(item)] = self._readable(item, fingerprints_of) or frozenset()
                continue
            window = self._readable(item, window_of)
            if window is not None:
                found[window.window_id] = window
        return {
            name: replace(window, fingerprints=alerts.get(name, frozenset()))
            for name, window in found.items()
        }

    def version_of(self, window_id: str) -> int:
        """Return the version of a window, 0 for a window that is not stored or not readable."""
        for item in self._read([f"window#{window_id}"]):
            window = self._readable(item, window_of)
            return 0 if window is None else window.version
        return 0

    def load_contributions(
        self, of: Collection[tuple[str, str]]
    ) -> Mapping[tuple[str, str], Notification]:
        """Return what windows contribute to alerts, by window id and fingerprint."""
        contributions = {}
        for item in self._read(
            [f"part#{window_id}#{fingerprint}" for window_id, fingerprint in of]
        ):
            if "body" in item:
                contribution = self._readable(item, contribution_of)
                if contribution is not None:
                    window_id, _, fingerprint = name_of(item).rpartition("#")
                    contributions[window_id, fingerprint] = contribution
        return contributions

    def load_feeds(self, names: Collection[str]) -> Mapping[str, Feed]:
        """Return the feeds that exist and can be read, by name."""
        feeds = [self._readable(item, feed_of) for item in self._read([f"feed#{n}" for n in names])]
        return {feed.name: feed for feed in feeds if feed is not None}

    # --- writing ------------------------------------------------------------------------------

    def commit(self, commit: Commit, now: int, intervals: Intervals) -> None:
        """Write all changes, or none and raise ``ConflictError``."""
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
        if commit.feed is not None:
            writes.append(self._put(item_of_feed(commit.feed), commit.feed.version))
        if commit.silences is not None:
            item = {"pk": {"S": SILENCES}, "body": {"B": pack_silences(commit.silences)}}
            writes.append(self._put(item, commit.silences.version))
        self._transact(writes)

    def _put_state(self, state: AlertState, intervals: Intervals) -> TransactWriteItemTypeDef:
        item: dict[str, AttributeValueTypeDef] = {
            "pk": {"S": f"alert#{state.fingerprint}"},
            "body": {"B": pack_state(state)},
        }
        if state.pending is not None and state.pending_at is not None:
            item |= {"pending": {"S": state.pending}, "pending_at": {"N": str(state.pending_at)}}
        due = place_in_index(state, intervals)
        if due is not None:
            item |= {"due": {"S": due[0]}, "due_at": {"N": str(due[1])}}
        if state.closed_at is not None and state.pending is None:
            item["expires_at"] = {"N": str(state.closed_at + intervals.keep)}
        return self._put(item, state.version)

    def _put_contribution(self, contribution: Contribution, now: int) -> TransactWriteItemTypeDef:
        item: dict[str, AttributeValueTypeDef] = {
            "pk": {"S": f"part#{contribution.window_id}#{contribution.fingerprint}"},
            "expires_at": {"N": str(now + KEPT)},
        }
        # A retracted contribution stays, without a body: to delete it takes one more permission.
        if contribution.notification is not None:
            item["body"] = {"B": pack_contribution(contribution.notification)}
        return {"Put": {"TableName": self._table, "Item": item}}

    def _put_window(self, window: Window, now: int) -> Iterator[TransactWriteItemTypeDef]:
        yield self._put(item_of_window(window, now), window.version)
        if window.fingerprints:
            yield {
                "Put": {
                    "TableName": self._table,
                    "Item": {
                        "pk": {"S": f"alerts#{window.window_id}"},
                        "fingerprints": {"B": pack_fingerprints(window.fingerprints)},
                        "expires_at": {"N": str(now + KEPT)},
                    },
                }
            }

    def mark_sent(self, state: AlertState, intervals: Intervals) -> None:
        """Remove the pending message from the stored state, if it is still the same message.

        The severity becomes an attribute, because another invocation may have changed the body.
        """
        after = state.sent()
        due = place_in_index(after, intervals)
        remove = ["pending", "pending_at"]
        sets = []
        values: dict[str, AttributeValueTypeDef] = {
            ":pending": {"S": str(state.pending)},
            ":at": {"N": str(state.pending_at)},
            ":one": {"N": "1"},
        }
        if due is None:
            remove += ["#due", "due_at"]
        else:
            sets += ["#due = :due", "due_at = :due_at"]
            values |= {":due": {"S": due[0]}, ":due_at": {"N": str(due[1])}}
        if after.closed_at is not None:
            sets.append("expires_at = :expires_at")
            values[":expires_at"] = {"N": str(after.closed_at + intervals.keep)}
        if after.notified_severity is not None:
            sets.append("sent_severity = :sent_severity")
            values[":sent_severity"] = {"S": after.notified_severity}
        setting = f"SET {', '.join(sets)} " if sets else ""
        self._update(
            f"alert#{state.fingerprint}",
            f"{setting}REMOVE {', '.join(remove)} ADD version :one",
            "pending = :pending AND pending_at = :at",
            values,
            {"#due": "due"},
        )

    # --- offers -------------------------------------------------------------------------------

    def load_offers(self, places: Collection[str]) -> Mapping[str, StoredOffers]:
        """Return what is stored of the places, without those of which nothing is stored."""
        items = {name_of(item): item for item in self._read([f"offers#{each}" for each in places])}
        found = {name: self._readable(item, stored_offers_of) for name, item in items.items()}
        return {name: stored for name, stored in found.items() if stored is not None}

    def save_offers(self, place: str, stored: StoredOffers) -> bool:
        """Store the offers over ``stored.version``; return ``False`` if that has changed."""
        expires_at = max(offer.until for offer in stored.offers)
        item: dict[str, AttributeValueTypeDef] = {"pk": {"S": f"offers#{place}"}}
        item |= {"body": {"B": pack_offers(stored.offers)}, "expires_at": {"N": str(expires_at)}}
        with suppress(ConflictError):
            self._transact([self._put(item, stored.version)])
            return True
        return False

    # --- requests of chat tools ---------------------------------------------------------------

    def is_new_request(self, name: str, signed_at: int) -> bool:
        """Record a request; return whether it was not recorded before.

        The record outlives the minutes in which the request's signature is taken. A try that the
        SDK repeats finds its own record, and is new.
        """
        return self._update(
            f"request#{name}",
            "SET expires_at = :expires, taken_by = :me",
            "attribute_not_exists(pk) OR taken_by = :me",
            {":expires": {"N": str(signed_at + _REQUEST_KEPT)}, ":me": {"S": secrets.token_hex(8)}},
        )

    # --- sources ------------------------------------------------------------------------------

    def unread(self, feed: str, after: int, limit: int) -> Sequence[UnreadSpan] | None:
        """Return the spans of a feed that end after a time and are held back."""
        found = self._query(f"{DUE_UNREAD}#{feed}", "due_at > :at", after, limit + 1)
        keys = [entry.key for entry in found]
        if len(keys) > limit:
            return None
        # The index may be behind: what was read meanwhile has no span.
        spans = [self._readable(item, unread_span_of) for item in self._read(keys)]
        return [span for span in spans if span is not None]
