"""Show what stands in an id's place, and is none, as that: in every text of a notification."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

from flowverdict.core.untrusted import shown_id

if TYPE_CHECKING:
    from flowverdict.alerts.model import Notification


def with_shown_ids[N: Notification](notification: N) -> N:
    """Return a notification for people: no text in it has an id that has not an id's shape."""
    accounts = (notification.account_id, notification.reported_by)
    places = (notification.region, notification.vpc_id, *notification.interfaces)
    ids = {text for text in (*accounts, *places) if text}
    shown = {text: shown_id(text) for text in ids if shown_id(text) != text}
    if not shown:
        return notification
    longest_first = sorted(shown, key=lambda text: (-len(text), text))
    # Not a part of a longer word.
    pattern = re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, longest_first))})(?![\w-])")
    replaced: N = _replaced(notification, pattern, shown)
    return replace(replaced, fingerprint=notification.fingerprint)  # ours, whatever an id is


def _replaced(value: Any, pattern: re.Pattern[str], shown: dict[str, str]) -> Any:  # noqa: ANN401 - any field
    if type(value) is str:
        return pattern.sub(lambda match: shown[match[0]], value)
    if isinstance(value, tuple):
        return tuple(_replaced(each, pattern, shown) for each in value)
    if is_dataclass(value) and not isinstance(value, type):
        changed = {
            each.name: _replaced(getattr(value, each.name), pattern, shown)
            for each in fields(value)
        }
        return replace(value, **changed)
    return value
