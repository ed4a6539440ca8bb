"""The color bars of Slack's messages: which color means what, and how blocks stand behind them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from slack_sdk.models.blocks import Block

from flowverdict.alerts.ending import Ending
from flowverdict.alerts.model import Severity, Status
from flowverdict.delivery.renderers import slack
from tests.helpers.alert_samples import ALERT
from tests.helpers.notification_samples import NOTIFICATIONS
from tests.helpers.slack_blocks import blocks_of

FIXED = "#2eb67d"


def test_each_severity_has_a_color_and_only_what_is_fixed_is_green() -> None:
    firing = [slack.color(replace(ALERT, severity=severity)) for severity in Severity]
    assert len({*firing}) == len(Severity)
    ended = {
        ending: slack.color(ALERT.with_status(Status.RESOLVED, "x", ending)) for ending in Ending
    }
    assert [ending for ending, color in ended.items() if color == FIXED] == [Ending.FIXED]
    assert FIXED not in firing
    # An ending that an earlier version stored is not known.
    assert slack.color(ALERT.with_status(Status.RESOLVED, "x")) == ended[Ending.QUIET]


@pytest.mark.parametrize("name", NOTIFICATIONS)
def test_the_header_stands_before_the_bar_and_all_else_behind_it(name: str) -> None:
    notification = NOTIFICATIONS[name]()
    for message, blocks in (
        (slack.message(notification), slack.blocks(notification)),
        (slack.reply(notification), None),
    ):
        told: dict[str, Any] = message
        (head,) = told["blocks"]
        assert head["type"] == "header"
        for attachment in told["attachments"]:
            # Slack refuses blocks beside the older keys.
            assert set(attachment) == {"color", "blocks"}
            assert 1 <= len(attachment["blocks"]) <= slack.MAX_ATTACHED
        shown = blocks_of(told)
        assert [block.to_dict() for block in Block.parse_all(shown)] == shown
        assert blocks is None or shown == [block.to_dict() for block in blocks]


def test_a_reply_has_the_news_and_no_fix() -> None:
    alert = NOTIFICATIONS["critical"]()
    kinds = [block["type"] for block in blocks_of(slack.reply(alert))]
    assert kinds == ["header", "section"]


def test_a_changed_message_says_since_when_and_has_all_that_it_had() -> None:
    alert = NOTIFICATIONS["critical"]()
    updated = slack.Updated(first_at=1_795_349_000, now=1_795_352_600)
    blocks = [block.to_dict() for block in slack.blocks(alert, updated=updated)]
    before = [block.to_dict() for block in slack.blocks(alert)]
    (added,) = [block for block in blocks if block not in before]
    assert added["elements"][0]["text"].startswith("First told <!date^1795349000^")
    assert "Updated <!date^1795352600^" in added["elements"][0]["text"]
