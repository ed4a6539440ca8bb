"""Posts to one Slack channel through its incoming webhook (https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks).

The webhook's address is a password: whoever has it can post. It is in no error, log line or ``repr`` of this module. What answers
there may be anybody: no redirect is followed, since it would lead the function to an address of somebody else's choice (Lambda's
own API on loopback, for one), and of an answer only its beginning is read, for a bounded time.
"""

from __future__ import annotations

import http.client
import io
import logging
import re
import time
from http import HTTPStatus
from typing import IO, TYPE_CHECKING, cast, override
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from slack_sdk.http_retry.builtin_handlers import (
    ConnectionErrorRetryHandler,
    RateLimitErrorRetryHandler,
    ServerErrorRetryHandler,
)
from slack_sdk.webhook import WebhookClient, WebhookResponse

from flowverdict.core.errors import DeliveryError, WebhookRefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slack_sdk.http_retry import HttpRequest, HttpResponse, RetryState
    from slack_sdk.models.blocks import Block

# For connecting, and for each piece of the answer; Slack answers within a second.
TIMEOUT_SECONDS = 10
# Slack's answers are "ok" or an error code. Whoever sends more, or a byte now and then, is not heard to the end.
MAX_ANSWER_BYTES = 4_096
MAX_ANSWER_SECONDS = 10
# Slack asks for a second or a few (https://docs.slack.dev/apis/web-api/rate-limits). Longer waits are Lambda's, which cost nothing.
LONGEST_WAIT_SECONDS = 30
# Beside the first try, whatever the reasons: at worst 3 x 10 s of trying and 2 x 30 s of waiting.
MAX_RETRIES = 2

_ADDRESS = re.compile(
    r"https://[!-~]+|http://(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?/[!-~]*", re.ASCII
)
_ERROR_CODE = re.compile(r"[a-z_]{1,64}")
_SECONDS = re.compile(r"[0-9]{1,6}")
_REFUSED = frozenset({http.client.FORBIDDEN, http.client.NOT_FOUND, http.client.GONE})
_RENEW = "make a new webhook in Slack and put its address where this one is kept"
_ADVICE = {
    "no_service": f"the webhook was removed or disabled: {_RENEW}",
    "no_active_hooks": f"the webhook was disabled: {_RENEW}",
    "no_team": f"the workspace is gone: {_RENEW}",
    "invalid_token": f"the address is wrong or was revoked: {_RENEW}",
    "team_disabled": "the workspace is disabled",
    "action_prohibited": "the workspace's administrators restrict posting there: have the app allowed, or choose another channel",
    "posting_to_general_channel_denied": "only some may post to #general: have the app allowed, or choose another channel",
    "channel_not_found": "the channel is gone: make a webhook for another and put its address where this one is kept",
    "channel_is_archived": "the channel is archived: unarchive it, or make a webhook for another",
}


class _BoundedRateLimitRetry(RateLimitErrorRetryHandler):
    """Waits as long as Slack asks, unless that is longer than ``longest_wait`` or no number of seconds."""

    def __init__(self, longest_wait: int) -> None:
        super().__init__(max_retry_count=MAX_RETRIES)
        self._longest_wait = longest_wait

    def _can_retry(
        self,
        *,
        state: RetryState,
        request: HttpRequest,
        response: HttpResponse | None = None,
        error: Exception | None = None,
    ) -> bool:
        if response is None or not super()._can_retry(
            state=state, request=request, response=response, error=error
        ):
            return False
        asked = {name.lower(): values for name, values in response.headers.items()}.get(
            "retry-after", ["1"]
        )
        return (
            len(asked) == 1
            and _SECONDS.fullmatch(asked[0]) is not None
            and int(asked[0]) <= self._longest_wait
        )


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
        """Follow none: the answer is then an ``HTTPError`` as any other that is no success."""


class _Client(WebhookClient):
    """The SDK's client, but for how one request is made."""

    @override
    def _perform_http_request_internal(self, url: str, req: Request) -> WebhookResponse:
        try:
            with build_opener(_NoRedirects).open(req, timeout=self.timeout) as answer:
                headers = dict(answer.headers.items())
                return WebhookResponse(
                    url=url, status_code=answer.status, body=_beginning(answer), headers=headers
                )
        except HTTPError as error:
            # The SDK reads the whole of it, in the encoding that it names; of this one only the beginning is left, in UTF-8.
            del error.headers["Content-Type"]
            with error:
                body = io.BytesIO(_beginning(cast("http.client.HTTPResponse", error.fp)).encode())
            raise HTTPError(url, error.code, error.msg, error.headers, body) from None


def _beginning(answer: http.client.HTTPResponse) -> str:
    until = time.monotonic() + MAX_ANSWER_SECONDS
    body = b""
    while (
        len(body) < MAX_ANSWER_BYTES
        and time.monotonic() < until
        and (more := answer.read1(MAX_ANSWER_BYTES - len(body)))
    ):
        body += more
    return body.decode(errors="replace")


def is_webhook_address(text: str) -> bool:
    """Say whether messages may be sent there: ``https``, or ``http`` to this machine, where a replay may listen."""
    return _ADDRESS.fullmatch(text) is not None


class SlackWebhook:
    """One incoming webhook.

    Connection errors, answers 500 and 503, and rate limits of up to ``longest_wait`` seconds are tried again, at most
    ``MAX_RETRIES`` times together. A time-out while Slack answers is not: the message may be in the channel already.

    Parameters
    ----------
    address
        The webhook's address, secret.
    timeout_seconds
        For connecting, and for each read of the answer.
    longest_wait
        Seconds that a ``Retry-After`` may ask for.

    Raises
    ------
    DeliveryError
        The address is none that messages may be sent to.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout_seconds: int = TIMEOUT_SECONDS,
        longest_wait: int = LONGEST_WAIT_SECONDS,
    ) -> None:
        if not is_webhook_address(address):
            raise DeliveryError("the Slack webhook's address is no https address")
        # The client logs the address. A logger of our own, outside of the tree, hears it and passes nothing on.
        silent = logging.Logger("slack-webhook", level=logging.CRITICAL)  # noqa: LOG001 - see above
        silent.disabled = True
        self._client = _Client(
            address,
            timeout=timeout_seconds,
            logger=silent,
            retry_handlers=[
                ConnectionErrorRetryHandler(max_retry_count=MAX_RETRIES),
                _BoundedRateLimitRetry(longest_wait),
                ServerErrorRetryHandler(max_retry_count=MAX_RETRIES),
            ],
        )

    def post(self, text: str, blocks: Sequence[Block]) -> None:
        """Post one message; it is in the channel when this returns.

        Raises
        ------
        WebhookRefusedError
            Slack takes no messages at this address (any more): 403, 404 or 410.
        DeliveryError
            Slack could not be reached, is overloaded, or did not understand; the text says what to do.
        """
        try:
            answer = self._client.send(
                text=text, blocks=blocks, unfurl_links=False, unfurl_media=False
            )
        except (OSError, http.client.HTTPException, ValueError, LookupError) as error:
            # Only the kind: what else such errors say may hold the address.
            reason = getattr(error, "reason", error)
            raise DeliveryError(
                f"Slack could not be reached ({type(reason).__name__}); another try may succeed"
            ) from None
        if answer.status_code == http.client.OK and answer.body.strip() == "ok":
            return
        code = answer.body.strip()
        code = code if _ERROR_CODE.fullmatch(code) else ""
        said = f"{answer.status_code} {code}".strip()
        if answer.status_code in _REFUSED:
            advice = _ADVICE.get(
                code, f"nothing can be posted there: look at the webhook in Slack, or {_RENEW}"
            )
            raise WebhookRefusedError(f"Slack refused the webhook ({said}): {advice}")
        raise DeliveryError(
            f"Slack did not take the message ({said}): {_what_to_do(answer.status_code, answer.headers)}"
        )


def _what_to_do(status: int, headers: object) -> str:
    if status == http.client.OK:
        return "it did not answer as Slack does: look whether the address is an incoming webhook's"
    if status == http.client.TOO_MANY_REQUESTS:
        wait = headers.get("Retry-After", "") if isinstance(headers, dict) else ""
        asked = f"it asks to wait {wait} s" if _SECONDS.fullmatch(str(wait)) else "it asks to wait"
        return f"too many messages, {asked}; another try may succeed"
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return "it names another address, which is not followed: keep the webhook's own address where this one is kept"
    if status >= http.client.INTERNAL_SERVER_ERROR:
        return "Slack has a fault; another try may succeed"
    return "this is a defect of flowverdict's, please report it with the alert's JSON"
