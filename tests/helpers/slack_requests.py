"""Build Slack's requests when somebody presses a button, signed as Slack signs them."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any, Final
from urllib.parse import urlencode

from slack_sdk.signature import SignatureVerifier

# Of Slack's own example (https://docs.slack.dev/authentication/verifying-requests-from-slack).
SIGNING_SECRET: Final = "8f742231b10e8888abcd99yyyzzz85a5"  # noqa: S105 - published by Slack
ANSWERS_TO: Final = "https://hooks.slack.com/actions/T0001/1234567890/AbCdEf"
ANA: Final = {"id": "U0ANA", "username": "ana", "name": "ana", "team_id": "T0001"}


def pressed(
    action_id: str, *, user: object = None, answers_to: object = ANSWERS_TO, **changed: object
) -> str:
    """Return the body of a request for a pressed button."""
    payload = {
        "type": "block_actions",
        "user": ANA if user is None else user,
        "api_app_id": "A0001",
        "token": "not used any more",
        "trigger_id": "12466734323.1395872398",
        "response_url": answers_to,
        "message": {"type": "message", "text": "CRITICAL", "blocks": []},
        "actions": [
            {
                "type": "button",
                "block_id": "b1",
                "action_id": action_id,
                "text": {"type": "plain_text", "text": "Acknowledge"},
                "action_ts": "1795348800.000100",
            }
        ],
    }
    return urlencode({"payload": json.dumps(payload | changed)})


def submitted(callback_id: object, reason: object, **changed: object) -> str:
    """Return the body of a request for a submitted modal; ``changed`` replace keys of its view."""
    view = {
        "id": "V0001",
        "type": "modal",
        "callback_id": callback_id,
        "private_metadata": ANSWERS_TO,
        "state": {
            "values": {"reason": {"text": {"type": "plain_text_input", "value": reason}}},
        },
    }
    payload = {
        "type": "view_submission",
        "user": ANA,
        "api_app_id": "A0001",
        "trigger_id": "12466734323.1395872398",
        "view": view | changed,
        "response_urls": [],
    }
    return urlencode({"payload": json.dumps(payload)})


def signed(
    body: str, at: int, secret: str = SIGNING_SECRET, **headers: str | None
) -> dict[str, Any]:
    """Return a function URL's event of a request that Slack signed at a time (Unix seconds).

    ``headers`` replace others, with _ in place of -; ``None`` leaves one out.
    """
    signature = SignatureVerifier(secret).generate_signature(timestamp=str(at), body=body)
    sent: dict[str, str | None] = {
        "content-type": "application/x-www-form-urlencoded",
        "user-agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
        "x-slack-request-timestamp": str(at),
        "x-slack-signature": signature,
    }
    sent |= {name.replace("_", "-"): text for name, text in headers.items()}
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/",
        "rawQueryString": "",
        "headers": {name: text for name, text in sent.items() if text is not None},
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "abc",
            "http": {
                "method": "POST",
                "path": "/",
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
            },
            "timeEpoch": at * 1_000,
        },
        "body": b64encode(body.encode()).decode(),
        "isBase64Encoded": True,
    }
