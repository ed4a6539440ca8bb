"""Build the function ``notify_teams``: notifications of the alert topic to a channel of Teams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowverdict.app.notify_channel import notify_channel
from flowverdict.delivery.teams_webhook import CHANNEL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def notify_teams(environment: Mapping[str, str]) -> Callable[[dict[str, Any], Any], Any]:
    """Build the function; raises ``SettingsError`` if ``TEAMS_WEBHOOK`` is not a reference."""
    return notify_channel(
        environment,
        service="notify_teams",
        variable="TEAMS_WEBHOOK",
        channel=CHANNEL,
    )
