"""Post messages to the webhooks of chat tools.

A ``Channel`` holds what is special about a chat tool; this module holds the rules for all of them.

A webhook's address is a password: anyone who has it can post. No error, log line or ``repr`` of
this module holds it. The host may be under the control of an attacker: a redirect is not followed,
because it could lead the function to Lambda's own API on loopback, and only the beginning of an
answer is read, for a bounded time.
"""

from __future__ import annotations

import http.client
import json
import random
import re
import ssl
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from time import monotonic, sleep
from typing import IO, TYPE_CHECKING, Protocol, cast, override
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from flowverdict.core.errors import DeliveryError, WebhookRefusedError
from flowverdict.delivery.message_settings import DEFAULTS, MessageSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from email.message import Message

    from flowverdict.alerts.model import Notification

# For connecting, and for each piece of the answer; chat tools answer within a second.
TIMEOUT_SECONDS = 10
# Answers of chat tools are a word or a short JSON object. The rest of a longer answer is not read.
MAX_ANSWER_BYTES = 4_096
MAX_ANSWER_SECONDS = 10
# Slack asks for a second or a few (https://docs.slack.dev/apis/web-api/rate-limits). Longer waits
# are left to Lambda's retries, which cost nothing.
LONGEST_WAIT_SECONDS = 30
# After the first try, whatever the reasons: at worst 3 x 10 s of trying and 2 x 30 s of waiting.
MAX_RETRIES = 2

_ADDRESS = re.compile(
    r"https://[!-~]+|http://(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?/[!-~]*", re.ASCII
)
_SECONDS = re.compile(r"[0-9]{1,6}")
# The connection failed or was closed without an answer. A time-out while the chat tool answers is
# not among these: the message may be in the channel already.
_NOT_DELIVERED = (URLError, ConnectionResetError, http.client.RemoteDisconnected)
_FAULTS = frozenset({HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.SERVICE_UNAVAILABLE})


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
    faults: frozenset[int] = _FAULTS
    advice: Mapping[str, str] = field(default_factory=dict)
    renew: str
    right_address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    status: int
    body: str
    retry_after: str | None


class _NoRedirects(HTTPRedirectHandler):
    @override
    def redirect_request(
        self,
        req: Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> None:
        """Follow no redirect: the answer becomes an ``HTTPError``, as any other failure."""


@cache
def _tls() -> ssl.SSLContext:
    """Read the trusted certificates, once: that takes longer than to send a message."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])  # as the standard library's own
    return context


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
        self._timeout_seconds = timeout_seconds
        self._longest_wait = longest_wait
        self._max_retries = max_retries
        self._settings = settings

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
        body = json.dumps(message).encode()
        for retries in range(self._max_retries + 1):
            try:
                answer = self._send(body)
            except (OSError, http.client.HTTPException, ValueError, LookupError) as error:
                if retries == self._max_retries or not isinstance(error, _NOT_DELIVERED):
                    # Only the error's class: the rest of its text may hold the address.
                    reason = type(getattr(error, "reason", error)).__name__
                    raise DeliveryError(
                        f"{self._channel.title} could not be reached ({reason}); "
                        "another try may succeed"
                    ) from None
                wait = _backoff(retries)
            else:
                again = None if retries == self._max_retries else self._wait(answer, retries)
                if again is None:
                    self._check(answer)
                    return
                wait = again
            sleep(wait)

    def _send(self, message: bytes) -> _Answer:
        headers = {"Content-Type": "application/json;charset=utf-8", "User-Agent": "flowverdict"}
        request = Request(self._address, message, headers, method="POST")  # noqa: S310 - checked above
        try:
            opener = build_opener(_NoRedirects, HTTPSHandler(context=_tls()))
            with opener.open(request, timeout=self._timeout_seconds) as answer:
                return _read(answer, answer.status, answer.headers)
        except HTTPError as error:
            with error:
                return _read(cast("http.client.HTTPResponse", error.fp), error.code, error.headers)

    def _wait(self, answer: _Answer, retries: int) -> float | None:
        """Return the seconds until the next try; ``None`` if there is none."""
        if answer.status in self._channel.faults:
            return _backoff(retries)
        if answer.status != HTTPStatus.TOO_MANY_REQUESTS:
            return None
        asked = "1" if answer.retry_after is None else answer.retry_after
        if _SECONDS.fullmatch(asked) is None or int(asked) > self._longest_wait:
            return None
        return int(asked)

    def _check(self, answer: _Answer) -> None:
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


def _backoff(retries: int) -> float:
    # https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    return 0.5 * (1 << retries) + random.random()  # noqa: S311 - spreads retries, keeps no secret


def _read(answer: http.client.HTTPResponse, status: int, headers: Message) -> _Answer:
    until = monotonic() + MAX_ANSWER_SECONDS
    body = b""
    while (
        len(body) < MAX_ANSWER_BYTES
        and monotonic() < until
        and (more := answer.read1(MAX_ANSWER_BYTES - len(body)))
    ):
        body += more
    # Always UTF-8: the answer's own choice of an encoding could make decoding fail.
    text = body.decode(errors="replace").strip()
    return _Answer(status=status, body=text, retry_after=headers.get("Retry-After"))


def _advice(channel: Channel, answer: _Answer, code: str) -> str:
    status = answer.status
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return f"it did not answer as {channel.title} does: {channel.right_address}"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        asked = answer.retry_after or ""
        wait = f" {asked} s" if _SECONDS.fullmatch(asked) else ""
        return f"too many messages, it asks to wait{wait}; another try may succeed"
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
