"""Build the function ``notify_slack``: notifications of the alert topic to a channel of Slack.

With a bot token the messages about a problem are a thread; with a webhook each stands by itself.
"""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from flowverdict.app.message_settings import log_unknown_zone, message_settings
from flowverdict.app.notify_channel import NotifyChannel, notify_channel
from flowverdict.app.observability import Observability
from flowverdict.app.webhook_address import SecretReference, StoredSecret
from flowverdict.core.errors import ChannelRefusedError, SettingsError
from flowverdict.core.untrusted import SLACK_CHANNEL, is_slack_channel
from flowverdict.delivery.slack_bot import API, SlackBot, is_api_address, is_bot_token
from flowverdict.delivery.slack_thread_items import DynamoDbThreads
from flowverdict.delivery.slack_threads import SlackThreads
from flowverdict.delivery.slack_webhook import CHANNEL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flowverdict.alerts.model import Notification

_SERVICE = "notify_slack"
_MAX_SHOWN = 100
_TABLE = re.compile(r"[A-Za-z0-9_.-]{3,255}")
# Three tries of at most 3 + 5 s: three calls of the table leave Slack its time.
_CLIENT_CONFIG = Config(
    connect_timeout=3, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3}
)


def notify_slack(environment: Mapping[str, str]) -> Callable[[dict[str, Any], Any], Any]:
    """Build the function.

    Raises
    ------
    SettingsError
        Neither ``SLACK_TOKEN`` nor ``SLACK_WEBHOOK`` is a reference, or what belongs to the token
        is missing or wrong.
    """
    if environment.get("SLACK_TOKEN"):
        return _notify_threads(environment)
    return notify_channel(environment, service=_SERVICE, variable="SLACK_WEBHOOK", channel=CHANNEL)


def _notify_threads(environment: Mapping[str, str]) -> Callable[[dict[str, Any], Any], Any]:
    reference = SecretReference.from_environment(environment, "SLACK_TOKEN")
    channel = _matching(environment, "SLACK_CHANNEL", SLACK_CHANNEL, "a channel's id or #name")
    table = _matching(environment, "ALERT_TABLE", _TABLE, "a DynamoDB table's name")
    api = environment.get("SLACK_API") or API
    if not is_api_address(api):
        raise SettingsError("SLACK_API: a Slack token is sent to Slack alone")
    observability = Observability(_SERVICE)
    settings = message_settings(environment)
    log_unknown_zone(settings, observability.logger)

    def degraded(reason: str) -> None:
        observability.logger.warning("thread not as it should be", extra={"reason": reason})

    threads = SlackThreads(
        store=DynamoDbThreads(
            boto3.client("dynamodb", config=_CLIENT_CONFIG), table, clock=time.time
        ),
        channel=channel,
        clock=time.time,
        on_degraded=degraded,
        settings=settings,
    )

    def refused(asked: str, reason: str) -> None:
        """Log that the stack's channel has a message in place of the owner's."""
        about = {"channel": asked[:_MAX_SHOWN], "reason": reason}
        observability.logger.error("owner's channel not usable", extra=about)

    def post(token: str, notification: Notification, asked: str | None) -> bool:
        bot = SlackBot(token, api=api)
        if asked is not None and not is_slack_channel(asked):
            refused(asked, "not a channel's id or #name")
        elif asked is not None and asked != channel:
            try:
                return replace(threads, channel=asked).post(bot, notification)
            except ChannelRefusedError as error:
                refused(asked, str(error))
        return threads.post(bot, notification)

    notify = NotifyChannel(
        title=CHANNEL.title,
        secret=StoredSecret(
            reference,
            is_right=is_bot_token,
            what="a bot token (xoxb-...) that does not expire",
        ),
        post=post,
        observability=observability,
        is_thread=True,
    )
    return observability.wrap(notify.handle)


def _matching(
    environment: Mapping[str, str], name: str, pattern: re.Pattern[str], what: str
) -> str:
    text = environment.get(name, "")
    if not pattern.fullmatch(text):
        raise SettingsError(f"{name}: is not {what}")
    return text
