"""Alert states, rate limits and contributions as bytes and back.

Each is a compressed JSON object. A key that is missing, because a later version added it, gets its
default; a key that is unknown, because a later version wrote it, is ignored. The key of an item,
its version, the pending message and the severity of a message that was sent after the bytes were
written are attributes of the item, not part of the bytes.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from flowverdict.alerts.codec import notification_from_json, read_flat
from flowverdict.alerts.matching import Key, parse_value, value_as_text
from flowverdict.alerts.model import Severity, Status
from flowverdict.alerts.probe import Probe
from flowverdict.alerts.recheck import Sample
from flowverdict.core.errors import NotificationError, StateError
from flowverdict.core.values import encode
from flowverdict.lifecycle.dynamodb_source_items import KEPT, name_of, version_of_item
from flowverdict.lifecycle.feeds import Feed
from flowverdict.lifecycle.history import Event, What
from flowverdict.lifecycle.on_call import Silence, Silences
from flowverdict.lifecycle.rate_limit import RateLimit
from flowverdict.lifecycle.state_machine import AlertState, Suppressed
from flowverdict.lifecycle.store import Pending
from flowverdict.verdict.remediation.offers import Offer, StoredOffers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    from flowverdict.alerts.model import Notification
    from flowverdict.lifecycle.dynamodb_source_items import Item


_LEVEL = 4  # of zlib: takes three quarters of the time of its default, and 2 % more bytes
_UNREADABLE = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RecursionError,
    zlib.error,
    NotificationError,
)
_KNOWN = frozenset(What)
_KEYS = frozenset(Key)


def pack_state(state: AlertState) -> bytes:
    """Return a state as bytes, without fingerprint, version and pending message."""
    return _pack(
        {
            "document": state.notification.to_json(),
            "windows": state.windows,
            "samples": state.samples,
            "observed_at": state.observed_at,
            "told_at": state.notified_at,
            "told_severity": state.notified_severity,
            "messages": state.messages,
            "held": state.suppressed,
            "closed_at": state.closed_at,
            "closed_by_rules": state.closed_by_rules,
            "accepted_at": state.accepted_at,
            "feeds": state.feeds,
            "probes": state.probes,
            "acknowledged": state.acknowledged,
            "history": state.history,
        }
    )


def unpack_state(
    fingerprint: str, version: int, body: bytes, pending: str | None, pending_at: int | None
) -> AlertState:
    """Read a state that this or another version packed.

    Raises
    ------
    StateError
        The bytes are damaged, or of a format that this version does not know.
    """
    try:
        stored = _Stored(body)
        severity, suppressed = stored.text("told_severity"), stored.text("held")
        return AlertState(
            fingerprint=fingerprint,
            version=version,
            notification=notification_from_json(stored.values["document"]),
            windows=tuple(map(str, stored.values.get("windows", ()))),
            samples=_all_or_none(Sample, stored.values.get("samples", ())),
            observed_at=int(stored.values["observed_at"]),
            notified_at=stored.number("told_at"),
            notified_severity=None if severity is None else Severity(severity),
            messages=stored.number("messages") or 0,
            suppressed=None if suppressed is None else Suppressed(suppressed),
            pending=None if pending is None else Status(pending),
            pending_at=pending_at,
            closed_at=stored.number("closed_at"),
            closed_by_rules=bool(stored.values.get("closed_by_rules", False)),
            accepted_at=stored.number("accepted_at"),
            feeds=tuple(map(str, stored.values.get("feeds", ()))),
            probes=_all_or_none(Probe, stored.values.get("probes", ())),
            acknowledged=next(iter(_events([stored.values.get("acknowledged")])), None),
            history=_events(stored.values.get("history", ())),
        )
    except _UNREADABLE as error:
        raise StateError(
            f"alert {fingerprint}: the stored state is not readable: {error}"
        ) from error


def _all_or_none[T](kind: type[T], stored: Iterable[Mapping[str, Any]]) -> tuple[T, ...]:
    """Return all samples or probes, or none if one is not readable.

    An alert is fixed once the rules let all samples pass, or all probes were seen accepted, so a
    part of them could end it too early. An alert without any ends when nothing more is seen.
    """
    try:
        return tuple(read_flat(kind, one) for one in stored)
    except TypeError:
        return ()


def _events(stored: Iterable[Mapping[str, Any] | None]) -> tuple[Event, ...]:
    """Return the events that can be read: one of a kind that a later version added is left out."""
    known = [{**one, "what": What(one["what"])} for one in stored if one and one["what"] in _KNOWN]
    return tuple(read_flat(Event, one) for one in known)


def pack_silences(silences: Silences) -> bytes:
    """Return silences as bytes, without version."""
    return _pack(
        {
            "silences": [
                {
                    "id": silence.silence_id,
                    "match": {
                        key: [value_as_text(key, value) for value in values]
                        for key, values in silence.asked.items()
                    },
                    "until": silence.until,
                    "reason": silence.reason,
                    "by": silence.by,
                    "at": silence.created_at,
                }
                for silence in silences.silences
            ]
        }
    )


def silences_of(item: Item) -> Silences:
    """Read the silences of people on call.

    A silence that cannot be read, because a later version knows more keys, holds nothing back.
    """
    try:
        stored = _Stored(bytes(item["body"]["B"]))
        silences = tuple(_silence(one) for one in stored.values["silences"] if _is_known(one))
    except _UNREADABLE as error:
        raise StateError(f"the silences are not readable: {error}") from error
    return Silences(version=version_of_item(item), silences=silences)


def _is_known(stored: Mapping[str, Any]) -> bool:
    return bool(stored["match"]) and all(key in _KEYS for key in stored["match"])


def _silence(stored: Mapping[str, Any]) -> Silence:
    return Silence(
        silence_id=str(stored["id"]),
        asked={
            Key(key): tuple(parse_value(Key(key), text) for text in values)
            for key, values in stored["match"].items()
        },
        until=int(stored["until"]),
        reason=str(stored["reason"]),
        by=str(stored["by"]),
        created_at=int(stored["at"]),
    )


def pack_rate_limit(rate_limit: RateLimit) -> bytes:
    """Return a rate limit as bytes, without hour and version."""
    return _pack(
        {
            "used": rate_limit.used,
            "outsiders": rate_limit.used_by_outsiders,
            "places": dict(rate_limit.used_by_place),
            "held": dict(rate_limit.suppressed),
            "titles": rate_limit.titles,
            "told": rate_limit.announced,
        }
    )


def unpack_rate_limit(hour: int, version: int, body: bytes) -> RateLimit:
    """Read a rate limit that this or another version packed.

    Raises
    ------
    StateError
        The bytes are damaged, or of a format that this version does not know.
    """
    try:
        stored = _Stored(body)
        suppressed = {
            Severity(severity): int(count)
            for severity, count in stored.values.get("held", {}).items()
        }
        return RateLimit(
            hour=hour,
            version=version,
            used=stored.number("used") or 0,
            used_by_outsiders=stored.number("outsiders") or 0,
            used_by_place=MappingProxyType(
                {str(place): int(used) for place, used in stored.values.get("places", {}).items()}
            ),
            suppressed=MappingProxyType(suppressed),
            titles=tuple(map(str, stored.values.get("titles", ()))),
            announced=stored.number("told") or 0,
        )
    except _UNREADABLE as error:
        raise StateError(f"the rate limit of hour {hour} is not readable: {error}") from error


def pack_contribution(notification: Notification) -> bytes:
    """Return what a window contributes to an alert as bytes."""
    return zlib.compress(notification.to_json().encode(), _LEVEL)


def unpack_contribution(fingerprint: str, body: bytes) -> Notification:
    """Read what a window contributes to an alert, as this or another version packed it.

    Raises
    ------
    StateError
        The bytes are damaged, or of a format that this version does not know.
    """
    try:
        return notification_from_json(zlib.decompress(body))
    except _UNREADABLE as error:
        raise StateError(
            f"alert {fingerprint}: a stored contribution is not readable: {error}"
        ) from error


def _pack(stored: Mapping[str, object]) -> bytes:
    return zlib.compress(encode(stored).encode(), _LEVEL)


class _Stored:
    """The JSON object that bytes hold; a value of a wrong type raises ``TypeError``."""

    def __init__(self, body: bytes) -> None:
        values = json.loads(zlib.decompress(body))
        if not isinstance(values, dict):
            raise TypeError("not a JSON object")
        self.values: dict[str, Any] = values

    def number(self, key: str) -> int | None:
        value = self.values.get(key)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise TypeError(f"{key} is not a whole number")
        return value

    def text(self, key: str) -> str | None:
        value = self.values.get(key)
        if value is not None and not isinstance(value, str):
            raise TypeError(f"{key} is not a text")
        return value


_FINGERPRINT_BYTES = 16


def pack_fingerprints(fingerprints: Iterable[str]) -> bytes:
    """Return fingerprints as 16 bytes each: 10,000 are less than half of an item's 400 KB.

    The limit: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
    """
    return b"".join(bytes.fromhex(fingerprint) for fingerprint in sorted(fingerprints))


def unpack_fingerprints(body: bytes) -> frozenset[str]:
    """Read fingerprints, 16 bytes each."""
    return frozenset(
        body[at : at + _FINGERPRINT_BYTES].hex() for at in range(0, len(body), _FINGERPRINT_BYTES)
    )


# --- items ---------------------------------------------------------------------------------------
#
# Readers of items raise ``StateError``, ``KeyError`` or ``ValueError`` for an unreadable item.

DUE_FEED = "feed"  # the key of the index "due" of feeds


def pending_of(item: Item) -> Pending:
    """Read the mark of an alert's message."""
    return Pending(
        Status(item["pending"]["S"]) if "pending" in item else None,
        int(item["pending_at"]["N"]) if "pending_at" in item else None,
    )


def state_of(item: Item) -> AlertState:
    """Read the state of an alert; the attribute ``sent_severity`` is newer than the body."""
    state = unpack_state(
        name_of(item), version_of_item(item), bytes(item["body"]["B"]), *pending_of(item)
    )
    if "sent_severity" in item:
        return replace(state, notified_severity=Severity(item["sent_severity"]["S"]))
    return state


def rate_limit_of(item: Item) -> RateLimit:
    """Read the rate limit of an hour."""
    return unpack_rate_limit(int(name_of(item)), version_of_item(item), bytes(item["body"]["B"]))


def contribution_of(item: Item) -> Notification:
    """Read what a window contributes to an alert."""
    return unpack_contribution(name_of(item), bytes(item["body"]["B"]))


def fingerprints_of(item: Item) -> frozenset[str]:
    """Read the fingerprints of a window's alerts."""
    return unpack_fingerprints(bytes(item["fingerprints"]["B"]))


def stored_offers_of(item: Item) -> StoredOffers:
    """Read what fixes offer in one direction of a network ACL or of a security group."""
    try:
        stored = json.loads(zlib.decompress(bytes(item["body"]["B"])))
        offers = tuple(read_flat(Offer, offer) for offer in stored["offers"])
    except _UNREADABLE as error:
        raise StateError(f"the offers are not readable: {error}") from error
    return StoredOffers(version=version_of_item(item), offers=offers)


def pack_offers(offers: Iterable[Offer]) -> bytes:
    """Return offers as bytes."""
    return _pack({"offers": [*offers]})


def inhibited_until(item: Item) -> int:
    """Read when an inhibition ends (Unix seconds); 0 where that is not readable."""
    try:
        return int(item["until"]["N"])
    except (KeyError, ValueError):
        return 0


def feed_of(item: Item) -> Feed:
    """Read what is known of a feed."""
    return Feed(
        name=name_of(item),
        version=version_of_item(item),
        read_to=int(item["read_to"]["N"]),
        read_at=int(item["read_at"]["N"]),
        gaps=int(item["gaps"]["N"]) if "gaps" in item else 0,
        longest_gap=int(item["longest_gap"]["N"]) if "longest_gap" in item else 0,
    )


def item_of_feed(feed: Feed) -> dict[str, AttributeValueTypeDef]:
    """Return the item of a feed, without its version."""
    item: dict[str, AttributeValueTypeDef] = {
        "pk": {"S": f"feed#{feed.name}"},
        "read_to": {"N": str(feed.read_to)},
        "read_at": {"N": str(feed.read_at)},
        "gaps": {"N": str(feed.gaps)},
        "longest_gap": {"N": str(feed.longest_gap)},
        "expires_at": {"N": str(feed.read_at + KEPT)},
    }
    if feed.silent_from is not None:
        item |= {"due": {"S": DUE_FEED}, "due_at": {"N": str(feed.silent_from)}}
    return item
