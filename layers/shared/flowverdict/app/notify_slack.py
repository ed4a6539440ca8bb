"""Build the function ``notify_slack``: notifications of the alert topic to a channel of Slack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowverdict.app.notify_channel import notify_channel
from flowverdict.delivery.slack_webhook import CHANNEL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def notify_slack(environment: Mapping[str, str]) -> Callable[[dict[str, Any], Any], Any]:
    """Build the function; raises ``SettingsError`` if ``SLACK_WEBHOOK`` is not a reference."""
    return notify_channel(
        environment,
        service="notify_slack",
        variable="SLACK_WEBHOOK",
        channel=CHANNEL,
    )
