"""Check messages against the published contract."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.helpers.published_schemas import validator

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def valid(messages: Iterable[str]) -> list[dict[str, Any]]:
    """Parse alerts and validate each against the published schema."""
    found = [json.loads(message) for message in messages]
    for alert in found:
        validator("alert").validate(alert)
    return found


def attributes(alert: Mapping[str, Any]) -> dict[str, str]:
    """Return the message attributes that the documents promise for filter policies."""
    found = {name: alert[name] for name in ("kind", "status", "severity")}
    if "flow_direction" in alert:  # all but notices, which are of no single flow
        found |= {
            "verdict": alert["verdict"],
            "leg": alert["leg"],
            "direction": alert["flow_direction"],
        }
    return found
