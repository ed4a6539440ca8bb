"""Read Slack's requests to the function's URL, and refuse all others.

Anybody can call the URL. A request is Slack's if its signature is right
(https://docs.slack.dev/authentication/verifying-requests-from-slack), and what is in it is Slack's
word. Cheap checks come first: a stranger's request costs no call of AWS once the secret is cached.

The event is that of a function URL
(https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads), whose form bodies
are base64.
"""

from __future__ import annotations

import binascii
import hashlib
import json
import re
from base64 import b64decode
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs

from slack_sdk.signature import SignatureVerifier

from flowverdict.core.errors import EnvelopeError
from flowverdict.delivery.slack_buttons import takes_answers
from flowverdict.delivery.slack_modal import reason_in
from flowverdict.lifecycle.on_call import author_from

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# A payload holds the message, of at most 12,000 characters, in Slack's own JSON and percent signs.
MAX_BODY = 300_000  # bytes
_FORM = "application/x-www-form-urlencoded"
_SIGNATURE = re.compile(r"v0=[0-9a-f]{64}")
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_MAX_FIELDS = 10
_MAX_NAME = 80  # as Slack's own limit of a name
_USER_ID = re.compile(r"[A-Z0-9]{1,32}")
_TRIGGER_ID = re.compile(r"[A-Za-z0-9.]{1,200}")


class RefusedError(Exception):
    """A request is not one that Slack makes here; answered with ``status`` and changes nothing."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRequest:
    """A request of Slack's: its body, and a name that no other request has.

    ``signed_at`` is Slack's time of the request (Unix seconds).
    """

    body: str
    name: str
    signed_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Press:
    """A button that was pressed, or the modal of a button that was submitted.

    Parameters
    ----------
    action_id
        The button's; a modal has its button's.
    by
        The person, as Slack names them, with their id.
    answers_to
        The address that takes the answer; ``None`` if it is not Slack's.
    trigger_id
        What a modal can be opened with, once; ``None`` if there is none.
    submitted
        What was written into the modal; ``None`` for a pressed button.
    """

    action_id: str
    by: str
    answers_to: str | None
    trigger_id: str | None = None
    submitted: str | None = None


class _Clock:
    """Tells the signature's check the time."""

    def __init__(self, now: float) -> None:
        self._now = now

    def now(self) -> float:
        """Return the time in Unix seconds."""
        return self._now


def signed_request(
    event: Mapping[str, Any], secret: Callable[[], str], now: float
) -> SignedRequest:
    """Return a request that Slack has signed within five minutes.

    ``secret`` reads the signing secret; it is called only for what looks like a request of Slack's.

    Raises
    ------
    RefusedError
        The request is not Slack's.
    EnvelopeError
        The event is not that of a function URL.
    """
    try:
        method = str(event["requestContext"]["http"]["method"])
        headers = {str(name).lower(): str(text) for name, text in event["headers"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise EnvelopeError(f"not an event of a function URL: {type(error).__name__}") from error
    if method != "POST":
        raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, "not a POST")
    if headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "not a form")
    timestamp = headers.get("x-slack-request-timestamp", "")
    signature = headers.get("x-slack-signature", "")
    if not _TIMESTAMP.fullmatch(timestamp) or not _SIGNATURE.fullmatch(signature):
        raise RefusedError(HTTPStatus.UNAUTHORIZED, "not signed")
    body = _body(event)
    verifier = SignatureVerifier(secret(), clock=cast("Any", _Clock(now)))
    if not verifier.is_valid(body, timestamp, signature):
        raise RefusedError(HTTPStatus.UNAUTHORIZED, "signature or time is wrong")
    name = hashlib.sha256(f"{timestamp}:{signature}".encode()).hexdigest()
    return SignedRequest(body=body, name=name, signed_at=int(timestamp))


def _body(event: Mapping[str, Any]) -> str:
    body = event.get("body")
    if not isinstance(body, str):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "no body")
    if len(body) > 4 * MAX_BODY // 3 + 4:  # as base64
        raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too long")
    try:
        content = (
            b64decode(body, validate=True)
            if event.get("isBase64Encoded") is True
            else body.encode()
        )
        text = content.decode()
    except (binascii.Error, ValueError) as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "not a form in UTF-8") from error
    if len(content) > MAX_BODY:
        raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too long")
    return text


def press_of(body: str) -> Press:
    """Return the press in the body of a signed request.

    Raises
    ------
    RefusedError
        The body is not the form of a pressed button, or of a submitted modal of ours.
    """
    try:
        (payload,) = parse_qs(body, strict_parsing=True, max_num_fields=_MAX_FIELDS)["payload"]
        document = json.loads(payload)
        kind, user = _text(document, "type"), _object(document, "user")
        submitted: str | None = None
        match kind:
            case "block_actions":
                (action,) = document["actions"]  # Slack sends one for each press
                action_id, address = _text(action, "action_id"), document.get("response_url")
            case "view_submission":
                view = _object(document, "view")
                action_id, address = _text(view, "callback_id"), view.get("private_metadata")
                submitted = reason_in(view)
            case _:
                raise RefusedError(HTTPStatus.BAD_REQUEST, "not a pressed button")
        user_id = _text(user, "id")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "not an interaction of Slack's") from error
    if not _USER_ID.fullmatch(user_id):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "not an id of a person")
    name = user.get("username") or user.get("name")
    called = name if isinstance(name, str) else ""
    trigger_id = document.get("trigger_id")
    return Press(
        action_id=action_id,
        by=author_from(f"{called[:_MAX_NAME]} (Slack {user_id})"),
        answers_to=address if isinstance(address, str) and takes_answers(address) else None,
        trigger_id=trigger_id
        if isinstance(trigger_id, str) and _TRIGGER_ID.fullmatch(trigger_id)
        else None,
        submitted=submitted,
    )


def _object(document: object, key: str) -> Mapping[str, Any]:
    value = cast("Any", document)[key]
    if not isinstance(value, dict):
        raise TypeError(f"{key} is not an object")
    return value


def _text(document: object, key: str) -> str:
    value = cast("Any", document)[key]
    if not isinstance(value, str):
        raise TypeError(f"{key} is not text")
    return value
