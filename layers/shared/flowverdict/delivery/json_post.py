"""Post JSON to a chat tool: what holds for each of them, at a webhook or at an API.

The host may be under the control of an attacker: a redirect is not followed, because it could lead
the function to Lambda's own API on loopback and carry a secret to another host, and only the
beginning of an answer is read, for a bounded time. No error of this module holds the address, which
is a password where the tool has webhooks, or a header.
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
from typing import IO, TYPE_CHECKING, cast, override
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from flowverdict.core.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from email.message import Message

# For connecting, and for each piece of the answer; chat tools answer within a second.
TIMEOUT_SECONDS = 10
# A webhook's answer is a word or a short JSON object. The rest of a longer answer is not read.
MAX_ANSWER_BYTES = 4_096
MAX_ANSWER_SECONDS = 10
# Slack asks for a second or a few (https://docs.slack.dev/apis/web-api/rate-limits). Longer waits
# are left to Lambda's retries, which cost nothing.
LONGEST_WAIT_SECONDS = 30
# After the first try, whatever the reasons: at worst 3 x 10 s of trying and 2 x 30 s of waiting.
MAX_RETRIES = 2

_SECONDS = re.compile(r"[0-9]{1,6}")
# The connection failed or was closed without an answer. A time-out while the chat tool answers is
# not among these: the message may be in the channel already.
_NOT_DELIVERED = (URLError, ConnectionResetError, http.client.RemoteDisconnected)
FAULTS = frozenset({HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.SERVICE_UNAVAILABLE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the chat tool answered; ``retry_after`` as its header says it."""

    status: int
    body: str
    retry_after: str | None

    @property
    def asked_to_wait(self) -> str:
        """The wait that the chat tool asks for, for a sentence: `` 5 s``, or nothing."""
        asked = self.retry_after or ""
        return f" {asked} s" if _SECONDS.fullmatch(asked) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonPost:
    """Posts JSON objects to one chat tool.

    Failed connections, faults of the chat tool and rate limits of up to ``longest_wait`` seconds
    are tried again, at most ``max_retries`` times together.

    Parameters
    ----------
    title
        The chat tool's name in errors.
    headers
        Headers beside the usual ones; they may hold a secret.
    faults
        Statuses after which another try may succeed within seconds.
    timeout_seconds
        For connecting, and for each read of the answer.
    longest_wait
        Seconds that a ``Retry-After`` may ask for.
    max_retries
        Tries after the first one.
    most_bytes
        Of an answer that are read.
    answer_seconds
        For which an answer is read, however slowly it comes.
    """

    title: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    faults: frozenset[int] = FAULTS
    timeout_seconds: int = TIMEOUT_SECONDS
    longest_wait: int = LONGEST_WAIT_SECONDS
    max_retries: int = MAX_RETRIES
    most_bytes: int = MAX_ANSWER_BYTES
    answer_seconds: int = MAX_ANSWER_SECONDS

    def send(
        self,
        address: str,
        message: Mapping[str, object],
        is_limited: Callable[[Answer], bool] = lambda answer: (
            answer.status == HTTPStatus.TOO_MANY_REQUESTS
        ),
    ) -> Answer:
        """Post a JSON object and return the last answer, whatever it says.

        Parameters
        ----------
        is_limited
            Whether an answer says that there were too many messages.

        Raises
        ------
        DeliveryError
            The chat tool could not be reached.
        """
        body = json.dumps(message).encode()
        retries = 0
        while True:
            try:
                answer = self._send(address, body)
            except (OSError, http.client.HTTPException, ValueError, LookupError) as error:
                if retries == self.max_retries or not isinstance(error, _NOT_DELIVERED):
                    # Only the error's class: the rest of its text may hold the address.
                    reason = type(getattr(error, "reason", error)).__name__
                    raise DeliveryError(
                        f"{self.title} could not be reached ({reason}); another try may succeed"
                    ) from None
                wait = _backoff(retries)
            else:
                asked = self._wait(answer, retries, is_limited=is_limited(answer))
                if asked is None or retries == self.max_retries:
                    return answer
                wait = asked
            retries += 1
            sleep(wait)

    def _send(self, address: str, body: bytes) -> Answer:
        headers = {
            "Content-Type": "application/json;charset=utf-8",
            "User-Agent": "flowverdict",
            **self.headers,
        }
        request = Request(address, body, headers, method="POST")  # noqa: S310 - callers check it
        try:
            opener = build_opener(_NoRedirects, HTTPSHandler(context=_tls()))
            with opener.open(request, timeout=self.timeout_seconds) as answer:
                return self._read(answer, answer.status, answer.headers)
        except HTTPError as error:
            with error:
                return self._read(
                    cast("http.client.HTTPResponse", error.fp), error.code, error.headers
                )

    def _read(self, answer: http.client.HTTPResponse, status: int, headers: Message) -> Answer:
        until = monotonic() + self.answer_seconds
        body = b""
        while (
            len(body) < self.most_bytes
            and monotonic() < until
            and (more := answer.read1(self.most_bytes - len(body)))
        ):
            body += more
        # Always UTF-8: the answer's own choice of an encoding could make decoding fail.
        text = body.decode(errors="replace").strip()
        return Answer(status=status, body=text, retry_after=headers.get("Retry-After"))

    def _wait(self, answer: Answer, retries: int, *, is_limited: bool) -> float | None:
        """Return the seconds until the next try; ``None`` if there is none."""
        if answer.status in self.faults:
            return _backoff(retries)
        if not is_limited:
            return None
        asked = "1" if answer.retry_after is None else answer.retry_after
        if _SECONDS.fullmatch(asked) is None or int(asked) > self.longest_wait:
            return None
        return int(asked)


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


def _backoff(retries: int) -> float:
    # https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    return 0.5 * (1 << retries) + random.random()  # noqa: S311 - spreads retries, keeps no secret
