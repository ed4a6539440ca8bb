"""The registry of message channels: chat tools to whose webhooks notifications are posted.

A new channel is one module with a value ``CHANNEL`` (``flowverdict.delivery.webhook.Channel``), one
line in ``CHANNELS`` and one test file (``docs/recipes/channel.md``). ``flowverdict replay`` has an
option ``--NAME-webhook`` for each.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowverdict.delivery.webhook import Channel

# Modules of this package, imported at their first use: a channel loads its renderer.
CHANNELS = {
    "slack": "slack_webhook",
    "teams": "teams_webhook",
}


def load_channel(name: str) -> Channel:
    """Return a channel of ``CHANNELS``."""
    channel: Channel = import_module(f"flowverdict.delivery.{CHANNELS[name]}").CHANNEL
    return channel
