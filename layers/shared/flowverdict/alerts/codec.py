"""Read notifications back from the JSON that ``to_json`` wrote.

Notifications are stored in DynamoDB and wait in queues while another version is deployed, so every
published schema version is read; the newest version is written. Unknown fields are ignored.
"""

from __future__ import annotations

import json
from datetime import datetime
from functools import cache
from types import UnionType
from typing import TYPE_CHECKING, Any, get_type_hints

from flowverdict.alerts.model import (
    JSON_KEYS,
    SCHEMA_VERSION,
    Alert,
    Evidence,
    Kind,
    Link,
    Notice,
    Notification,
    RemediationText,
    Remote,
    Section,
    Severity,
    Status,
)
from flowverdict.core.errors import NotificationError
from flowverdict.flowlog.fields import MAX_EPOCH
from flowverdict.verdict.values import AclEntry, Miss

if TYPE_CHECKING:
    from collections.abc import Mapping

# Schema version 1 had one kind for two notices. They differ in their interfaces: a notice of more
# flows than are evaluated one by one names the interface; a notice of messages held back names
# none.
_FLOOD = "flood"


def notification_from_json(text: str | bytes) -> Notification:
    """Read a notification.

    Raises
    ------
    NotificationError
        The text is not a notification, or a value is not of its field's type.
    """
    try:
        stored = json.loads(text)
        version = stored.pop("schema_version")
        if version not in {1, SCHEMA_VERSION}:
            raise NotificationError("an alert of a version that this program does not know")
        if version == 1 and stored["kind"] == _FLOOD:
            stored["kind"] = Kind.FLOW_OVERFLOW if stored["interfaces"] else Kind.RATE_LIMITED
        kind = Kind(stored["kind"])
        return _read_alert(stored) if kind in {Kind.REJECT, Kind.SCAN} else _read_notice(stored)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise NotificationError(f"no alert: {type(error).__name__}: {str(error)[:200]}") from error


def _read_common(stored: dict[str, Any]) -> dict[str, Any]:
    return {
        **{
            name: tuple(value) if isinstance(value, list) else value
            for name, value in stored.items()
        },
        "kind": Kind(stored["kind"]),
        "status": Status(stored["status"]),
        "severity": Severity(stored["severity"]),
        "first_seen": _epoch(stored["first_seen"]),
        "last_seen": _epoch(stored["last_seen"]),
    }


def _read_alert(stored: dict[str, Any]) -> Alert:
    del stored["title"]  # follows from the rest
    read = _read_common(stored)
    read["confidences"] = tuple(read.pop("confidence_counts").items())
    read["owners"] = tuple(read["owners"].items())
    read["opened_at"] = _epoch(read["opened_at"])
    targets = read["targets"]
    read["targets"] = None if targets is None else (targets["ports"], targets["addresses"])
    for name, key in JSON_KEYS.items():
        if key in read:
            read[name] = read.pop(key)
    remediation = read["remediation"]
    read["remediation"] = (
        None
        if remediation is None
        else _read_flat(
            RemediationText, {**remediation, "commands": tuple(remediation["commands"])}
        )
    )
    for name, kind in (("network_acl_entry", AclEntry), ("nearest_miss", Miss)):
        read[name] = None if read[name] is None else _read_flat(kind, read[name])
    for name, listed in (("evidence", Evidence), ("top_remotes", Remote), ("links", Link)):
        read[name] = tuple(_read_flat(listed, one) for one in read[name])
    return Alert(**_known(Alert, read))


def _read_notice(stored: dict[str, Any]) -> Notice:
    read = _read_common(stored)
    read["sections"] = tuple(
        _read_flat(Section, {**one, "lines": tuple(one["lines"])}) for one in read["sections"]
    )
    return Notice(**_known(Notice, read))


def _read_flat[T](kind: type[T], stored: Mapping[str, Any]) -> T:
    return kind(**_known(kind, stored))


def _known(kind: type, stored: Mapping[str, Any]) -> dict[str, Any]:
    # Fields that a newer version added are ignored: a deployment in progress runs both versions.
    hints = _hints(kind)
    known = {name: value for name, value in stored.items() if name in hints}
    for name, value in known.items():
        if not _is_a(value, hints[name]):
            raise TypeError(f"{name} is of another kind")
    return known


@cache
def _hints(kind: type) -> Mapping[str, Any]:
    return get_type_hints(kind)


def _is_a(value: object, hint: Any) -> bool:  # noqa: ANN401 - a type or a union
    """Whether a value has the type that a field is annotated with: a class, a union or a tuple."""
    if isinstance(hint, type):
        return isinstance(value, hint) and not (hint is int and isinstance(value, bool))
    kinds = hint.__args__
    if isinstance(hint, UnionType):
        return any(_is_a(value, one) for one in kinds)
    if not isinstance(value, tuple):
        return False
    if kinds[-1] is Ellipsis:
        return all(_is_a(one, kinds[0]) for one in value)
    return len(value) == len(kinds) and all(map(_is_a, value, kinds))


def _epoch(text: str | None) -> int | None:
    if text is None:
        return None
    seconds = int(datetime.fromisoformat(text).timestamp())
    if not 0 <= seconds <= MAX_EPOCH:
        raise ValueError("a time out of range")
    return seconds
