"""Post messages to the webhooks of chat tools.

A ``Channel`` holds what is special about a chat tool; this module and ``json_post`` hold the rules
for all of them. A webhook's address is a password: anyone who has it can post. No error, log line
or ``repr`` of these modules holds it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from flowverdict.core.errors import DeliveryError, WebhookRefusedError
from flowverdict.delivery.json_post import (
    FAULTS,
    LONGEST_WAIT_SECONDS,
    MAX_RETRIES,
    TIMEOUT_SECONDS,
    Answer,
    JsonPost,
)
from flowverdict.delivery.message_settings import DEFAULTS, MessageSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flowverdict.alerts.model import Notification

_ADDRESS = re.compile(
    r"https://[!-~]+|http://(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?/[!-~]*", re.ASCII
)


class RendersMessage(Protocol):
    """Renders a notification as the JSON object to post."""

    def __call__(
        self, notification: Notification, settings: MessageSettings = DEFAULTS
    ) -> Mapping[str, object]:
        """Return the message."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A chat tool whose webhooks take messages.

    Parameters
    ----------
    title
        Name of the tool in errors and log lines.
    message
        Renders a notification as the JSON object to post.
    is_accepted
        Whether an answer's status and body say that the tool accepted the message.
    error_code
        Returns the tool's error code in an answer's body, or an empty string. It is shown in
        errors, so it must be a short word whatever the body holds.
    refusals
        Statuses that say that this address takes no messages (any more).
    faults
        Statuses after which another try may succeed within seconds.
    advice
        What to do, by error code.
    renew
        What to do if the address has to be replaced.
    right_address
        What to check if the answer is not one of the tool's.
    """

    title: str
    message: RendersMessage
    is_accepted: Callable[[int, str], bool]
    error_code: Callable[[str], str]
    refusals: frozenset[int]
    faults: frozenset[int] = FAULTS
    advice: Mapping[str, str] = field(default_factory=dict)
    renew: str
    right_address: str


def is_webhook_address(text: str) -> bool:
    """Whether messages may be sent there: ``https``, or ``http`` to this machine for a replay."""
    return _ADDRESS.fullmatch(text) is not None


class Webhook:
    """A webhook of a channel.

    Failed connections, faults of the chat tool and rate limits of up to ``longest_wait`` seconds
    are tried again, at most ``max_retries`` times together.

    Parameters
    ----------
    channel
        The chat tool.
    address
        The webhook's address, secret.
    timeout_seconds
        For connecting, and for each read of the answer.
    longest_wait
        Seconds that a ``Retry-After`` may ask for.
    max_retries
        Tries after the first one.
    settings
        The time zone of the messages, and where their links lead.

    Raises
    ------
    DeliveryError
        Messages may not be sent to the address.
    """

    def __init__(  # noqa: PLR0913 - keywords with defaults
        self,
        channel: Channel,
        address: str,
        *,
        timeout_seconds: int = TIMEOUT_SECONDS,
        longest_wait: int = LONGEST_WAIT_SECONDS,
        max_retries: int = MAX_RETRIES,
        settings: MessageSettings = DEFAULTS,
    ) -> None:
        if not is_webhook_address(address):
            raise DeliveryError(f"the {channel.title} webhook's address is not an https address")
        self._channel = channel
        self._address = address
        self._settings = settings
        self._post = JsonPost(
            title=channel.title,
            faults=channel.faults,
            timeout_seconds=timeout_seconds,
            longest_wait=longest_wait,
            max_retries=max_retries,
        )

    def post(self, notification: Notification) -> None:
        """Post one notification; the chat tool has accepted it when this returns.

        Raises
        ------
        WebhookRefusedError
            The chat tool takes no messages at this address (any more).
        DeliveryError
            The chat tool could not be reached, is overloaded, or did not understand the message;
            the text says what to do.
        """
        self.post_message(self._channel.message(notification, self._settings))

    def post_message(self, message: Mapping[str, object]) -> None:
        """Post a message that is rendered; raises as ``post`` does."""
        self._check(self._post.send(self._address, message))

    def _check(self, answer: Answer) -> None:
        channel = self._channel
        if channel.is_accepted(answer.status, answer.body):
            return
        code = channel.error_code(answer.body)
        shown = f"{answer.status} {code}".strip()
        if answer.status in channel.refusals:
            otherwise = (
                f"nothing can be posted there: look at the webhook in {channel.title}, "
                f"or {channel.renew}"
            )
            raise WebhookRefusedError(
                f"{channel.title} refused the webhook ({shown}): "
                f"{channel.advice.get(code, otherwise)}"
            )
        raise DeliveryError(
            f"{channel.title} did not take the message ({shown}): {_advice(channel, answer, code)}"
        )


def _advice(channel: Channel, answer: Answer, code: str) -> str:
    status = answer.status
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return f"it did not answer as {channel.title} does: {channel.right_address}"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return f"too many messages, it asks to wait{answer.asked_to_wait}; another try may succeed"
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return (
            "it names another address, which is not followed: "
            "store the webhook's own address where this address is stored"
        )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return f"{channel.title} has a fault; another try may succeed"
    return channel.advice.get(
        code, "this is a defect of flowverdict, please report it with the alert's JSON"
    )
