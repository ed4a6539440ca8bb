"""The channel Slack: its message, and the advice for each of its error codes."""

from __future__ import annotations

import pytest

from flowverdict.delivery.renderers import slack
from flowverdict.delivery.slack_webhook import CHANNEL
from tests.helpers.notification_samples import records_lost


def test_the_message_has_text_and_blocks_and_no_previews_of_links() -> None:
    message = CHANNEL.message(records_lost())
    assert message == slack.message(records_lost()) | {
        "unfurl_links": False,
        "unfurl_media": False,
    }


@pytest.mark.parametrize(
    ("status", "body", "accepted"),
    [(200, "ok", True), (200, "okay", False), (200, "", False), (202, "ok", False)],
)
def test_success_is_ok(status: int, body: str, *, accepted: bool) -> None:
    assert CHANNEL.is_accepted(status, body) is accepted


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("action_prohibited", "the workspace's administrators restrict posting there"),
        ("invalid_token", "the address is wrong or was revoked: make a new webhook"),
        ("no_service", "the webhook was removed or disabled: make a new webhook"),
        ("channel_not_found", "the channel does not exist any more"),
        ("channel_is_archived", "the channel is archived: unarchive it"),
    ],
)
def test_an_error_code_has_advice(code: str, advice: str) -> None:
    assert CHANNEL.error_code(code) == code
    assert CHANNEL.advice[code].startswith(advice)


@pytest.mark.parametrize("body", ["<html>", "no_service\nx", "x" * 65, ""])
def test_another_body_is_not_an_error_code(body: str) -> None:
    assert CHANNEL.error_code(body) == ""
