"""States and budgets as bytes and back."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from flowverdict.alerts.codec import notification_from_json
from flowverdict.alerts.model import Severity, Status
from flowverdict.alerts.recheck import Sample
from flowverdict.core.errors import NotificationError, StateError
from flowverdict.lifecycle.rate_limit import RateLimit
from flowverdict.lifecycle.state_machine import State, Suppressed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowverdict.alerts.model import Notification


def pack_state(state: State) -> bytes:
    """Give everything of a state but its key, version and what is pending, which are items' attributes of their own."""
    stored = {
        "document": state.notification.to_json(),
        "windows": state.windows,
        "samples": [asdict(sample) for sample in state.samples],
        "observed_at": state.observed_at,
        "told_at": state.notified_at,
        "told_severity": state.notified_severity,
        "messages": state.messages,
        "held": state.suppressed,
        "closed_at": state.closed_at,
        "closed_by_rules": state.closed_by_rules,
    }
    return zlib.compress(json.dumps(stored).encode())


def unpack_state(
    fingerprint: str, version: int, body: bytes, pending: str | None, pending_at: int | None
) -> State:
    """Read a state back.

    Raises
    ------
    StateError
        It is not what this version writes.
    """
    try:
        stored: dict[str, Any] = json.loads(zlib.decompress(body))
        return State(
            fingerprint=fingerprint,
            version=version,
            notification=notification_from_json(stored["document"]),
            windows=tuple(stored["windows"]),
            samples=tuple(Sample(**sample) for sample in stored["samples"]),
            observed_at=stored["observed_at"],
            notified_at=stored["told_at"],
            notified_severity=None
            if stored["told_severity"] is None
            else Severity(stored["told_severity"]),
            messages=stored["messages"],
            suppressed=None if stored["held"] is None else Suppressed(stored["held"]),
            pending=None if pending is None else Status(pending),
            pending_at=pending_at,
            closed_at=stored["closed_at"],
            closed_by_rules=stored["closed_by_rules"],
        )
    except (ValueError, KeyError, TypeError, zlib.error, NotificationError) as error:
        raise StateError(
            f"alert {fingerprint}: what the table has of it cannot be read: {error}"
        ) from error


def pack_rate_limit(rate_limit: RateLimit) -> bytes:
    """Give everything of a budget but its hour and version."""
    stored = {
        "used": rate_limit.used,
        "held": dict(rate_limit.suppressed),
        "titles": rate_limit.titles,
        "told": rate_limit.announced,
    }
    return zlib.compress(json.dumps(stored).encode())


def unpack_rate_limit(hour: int, version: int, body: bytes) -> RateLimit:
    """Read a budget back.

    Raises
    ------
    StateError
        It is not what this version writes.
    """
    try:
        stored: dict[str, Any] = json.loads(zlib.decompress(body))
        suppressed = MappingProxyType(
            {Severity(severity): int(count) for severity, count in stored["held"].items()}
        )
        return RateLimit(
            hour=hour,
            version=version,
            used=stored["used"],
            suppressed=suppressed,
            titles=tuple(stored["titles"]),
            announced=stored["told"],
        )
    except (ValueError, KeyError, TypeError, zlib.error) as error:
        raise StateError(f"the budget of {hour} cannot be read: {error}") from error


def pack_contribution(notification: Notification) -> bytes:
    """Give what a window shows of a problem as bytes."""
    return zlib.compress(notification.to_json().encode())


def unpack_contribution(fingerprint: str, body: bytes) -> Notification:
    """Read it back.

    Raises
    ------
    StateError
        It is not what this version writes.
    """
    try:
        return notification_from_json(zlib.decompress(body))
    except (ValueError, zlib.error, NotificationError) as error:
        raise StateError(
            f"alert {fingerprint}: what a window has added to it cannot be read: {error}"
        ) from error


_FINGERPRINT_BYTES = 16


def pack_fingerprints(fingerprints: Iterable[str]) -> bytes:
    """Give fingerprints as bytes, 16 each: 10,000 of them stay below half of what an item holds."""
    return b"".join(bytes.fromhex(fingerprint) for fingerprint in sorted(fingerprints))


def unpack_fingerprints(body: bytes) -> frozenset[str]:
    """Read fingerprints back."""
    return frozenset(
        body[at : at + _FINGERPRINT_BYTES].hex() for at in range(0, len(body), _FINGERPRINT_BYTES)
    )
