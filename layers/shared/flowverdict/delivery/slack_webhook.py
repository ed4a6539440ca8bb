"""The channel Slack: incoming webhooks.

See https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks. Slack answers ``200
ok``, or a status with an error code as its body. Slack takes about one message a second
(https://docs.slack.dev/apis/web-api/rate-limits).
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from flowverdict.delivery.message_settings import DEFAULTS, MessageSettings
from flowverdict.delivery.renderers import slack
from flowverdict.delivery.webhook import Channel

if TYPE_CHECKING:
    from flowverdict.alerts.model import Notification

_ERROR_CODE = re.compile(r"[a-z_]{1,64}")
_RENEW = "make a new webhook in Slack and store its address where this address is stored"
_OTHER_CHANNEL = "have the app allowed, or choose another channel"


def _message(notification: Notification, settings: MessageSettings = DEFAULTS) -> dict[str, object]:
    # Slack would show a preview of each linked page.
    return slack.message(notification, settings) | {"unfurl_links": False, "unfurl_media": False}


def _is_accepted(status: int, body: str) -> bool:
    return status == HTTPStatus.OK and body == "ok"


def _error_code(body: str) -> str:
    return body if _ERROR_CODE.fullmatch(body) else ""


CHANNEL = Channel(
    title="Slack",
    message=_message,
    is_accepted=_is_accepted,
    error_code=_error_code,
    refusals=frozenset({HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE}),
    advice={
        "no_service": f"the webhook was removed or disabled: {_RENEW}",
        "no_active_hooks": f"the webhook was disabled: {_RENEW}",
        "no_team": f"the workspace does not exist any more: {_RENEW}",
        "invalid_token": f"the address is wrong or was revoked: {_RENEW}",
        "team_disabled": "the workspace is disabled",
        "action_prohibited": (
            f"the workspace's administrators restrict posting there: {_OTHER_CHANNEL}"
        ),
        "posting_to_general_channel_denied": f"#general is restricted: {_OTHER_CHANNEL}",
        "channel_not_found": (
            "the channel does not exist any more: make a webhook for another channel and store "
            "its address where this address is stored"
        ),
        "channel_is_archived": (
            "the channel is archived: unarchive it, or make a webhook for another channel"
        ),
    },
    renew=_RENEW,
    right_address="check that the address is an incoming webhook's",
)
