"""The channel Microsoft Teams: success, error codes and their advice."""

from __future__ import annotations

import json

import pytest

from flowverdict.delivery.teams_webhook import CHANNEL
from tests.helpers.notification_samples import records_lost
from tests.helpers.teams_cards import assert_valid_message


def test_the_message_is_what_the_trigger_takes() -> None:
    message = CHANNEL.message(records_lost())
    assert isinstance(message, dict)
    assert_valid_message(message)


@pytest.mark.parametrize(
    ("status", "body", "accepted"),
    [
        (202, "", True),
        (200, "1", False),  # a retired connector's success
        (200, "Webhook message delivery failed with error: HTTP error 429", False),
        (204, "", False),
    ],
)
def test_success_is_202(status: int, body: str, *, accepted: bool) -> None:
    assert CHANNEL.is_accepted(status, body) is accepted


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("WorkflowNotFound", "the workflow was deleted: make a new workflow"),
        ("WorkflowTriggerIsNotEnabled", "the workflow is turned off: turn it on"),
        ("DirectApiAuthorizationRequired", "the address lacks its signature"),
    ],
)
def test_an_error_code_has_advice(code: str, advice: str) -> None:
    body = json.dumps({"error": {"code": code, "message": "https://secret.example/?sig=s3cr3t"}})
    assert CHANNEL.error_code(body) == code
    assert CHANNEL.advice[code].startswith(advice)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "WorkflowNotFound",
        "[]",
        "{}",
        '{"error": null}',
        '{"error": {"code": 1}}',
        '{"error": {"code": "https://x"}}',
        json.dumps({"error": {"code": "x" * 65}}),
        "[" * 4_096,
    ],
)
def test_another_body_is_not_an_error_code(body: str) -> None:
    assert CHANNEL.error_code(body) == ""
