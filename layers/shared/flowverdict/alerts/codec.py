"""Read notifications back from the JSON that ``to_json`` wrote.

Notifications are stored in DynamoDB and wait in queues while another version is deployed, so every
published schema version is read; the newest version is written. Unknown fields are ignored.
"""

from __future__ import annotations

import json
from datetime import datetime
from functools import cache, partial
from types import UnionType
from typing import TYPE_CHECKING, Any, get_type_hints

from flowverdict.alerts.counts import Remote
from flowverdict.alerts.ending import Ending
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
    Section,
    Severity,
    Status,
)
from flowverdict.core.errors import NotificationError
from flowverdict.flowlog.fields import MAX_EPOCH
from flowverdict.verdict.values import AclEntry, Miss

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Schema version 1 had one kind for two notices. A notice of more flows than are evaluated
# individually names the interface; a notice of messages held back names no interface.
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
    """Convert the values that alerts and notices share; a missing key gets its default."""
    read = {
        name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()
    }
    for name, convert in _CONVERTED.items():
        if name in read:
            read[name] = convert(read[name])
    return read


def _read_alert(stored: dict[str, Any]) -> Alert:
    stored.pop("title", None)  # follows from the rest
    read = _read_common(stored)
    read["confidences"] = tuple(read.pop("confidence_counts", {}).items())
    for name, key in JSON_KEYS.items():
        if key in read:
            read[name] = read.pop(key)
    for name, convert in _CONVERTED_OF_ALERTS.items():
        if read.get(name) is not None:
            read[name] = convert(read[name])
    return Alert(**_known(Alert, read))


def _read_notice(stored: dict[str, Any]) -> Notice:
    read = _read_common(stored)
    read["sections"] = tuple(
        read_flat(Section, {**section, "lines": tuple(section["lines"])})
        for section in read.get("sections", ())
    )
    return Notice(**_known(Notice, read))


def _remediation(stored: Mapping[str, Any]) -> RemediationText:
    keys = ("commands", "shared", "tried", "undo", "terraform")
    lists = {key: tuple(stored.get(key, ())) for key in keys}
    return read_flat(RemediationText, {**stored, **lists})


def _list_of(kind: type) -> Callable[[Any], tuple[Any, ...]]:
    return lambda stored: tuple(read_flat(kind, entry) for entry in stored)


def read_flat[T](kind: type[T], stored: Mapping[str, Any]) -> T:
    """Build a dataclass from stored values; missing keys get defaults, unknown keys are ignored.

    Raises
    ------
    TypeError
        A value is of another type than its attribute, or a key without default is missing.
    """
    return kind(**_known(kind, stored))


def _known(kind: type, stored: Mapping[str, Any]) -> dict[str, Any]:
    # Fields that a newer version added are ignored: a deployment in progress runs both versions.
    hints, fitting = _hints(kind)
    known = {name: value for name, value in stored.items() if name in hints}
    for name, value in known.items():
        if (name, type(value)) in fitting:
            continue
        if not _is_a(value, hints[name]):
            raise TypeError(f"{name} is of another kind")
        if not isinstance(value, tuple):  # of a tuple, what is in it counts
            fitting.add((name, type(value)))
    return known


@cache
def _hints(kind: type) -> tuple[Mapping[str, Any], set[tuple[str, type]]]:
    """Return the types of a dataclass's fields, and a set for classes of values that fit."""
    return get_type_hints(kind), set()


def _is_a(value: object, hint: Any) -> bool:  # noqa: ANN401 - a type or a union
    """Whether a value has the type that a field is annotated with: a class, a union or a tuple."""
    if isinstance(hint, type):
        return isinstance(value, hint) and not (hint is int and isinstance(value, bool))
    kinds = hint.__args__
    if isinstance(hint, UnionType):
        return any(_is_a(value, kind) for kind in kinds)
    if not isinstance(value, tuple):
        return False
    if kinds[-1] is Ellipsis:
        return all(_is_a(item, kinds[0]) for item in value)
    return len(value) == len(kinds) and all(map(_is_a, value, kinds))


def _epoch(text: str | None) -> int | None:
    if text is None:
        return None
    seconds = int(datetime.fromisoformat(text).timestamp())
    if not 0 <= seconds <= MAX_EPOCH:
        raise ValueError("a time out of range")
    return seconds


# How a JSON value becomes the value of an attribute, where the two differ.
_CONVERTED: Mapping[str, Callable[[Any], Any]] = {
    "kind": Kind,
    "status": Status,
    "severity": Severity,
    "ending": lambda ending: None if ending is None else Ending(ending),
    "first_seen": _epoch,
    "last_seen": _epoch,
    "opened_at": _epoch,
}
_CONVERTED_OF_ALERTS: Mapping[str, Callable[[Any], Any]] = {
    "owners": lambda owners: tuple(owners.items()),
    "names": lambda names: tuple(names.items()),
    "targets": lambda targets: (targets["ports"], targets["addresses"]),
    "remediation": _remediation,
    "network_acl_entry": partial(read_flat, AclEntry),
    "nearest_miss": partial(read_flat, Miss),
    "evidence": _list_of(Evidence),
    "top_remotes": _list_of(Remote),
    "links": _list_of(Link),
}
