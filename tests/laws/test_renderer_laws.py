"""Laws of the renderers: any notification stays within the limits, and JSON preserves it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from markdown_it import MarkdownIt

from flowverdict.alerts.codec import notification_from_json
from flowverdict.alerts.model import Status
from flowverdict.delivery.renderers import (
    RENDERERS,
    amazon_q,
    email,
    ocsf,
    pagerduty,
    slack,
    teams,
)
from tests.helpers.any_notification import NOTIFICATION
from tests.helpers.hypothesis_weight import examples
from tests.helpers.notification_samples import FOUND_AT
from tests.helpers.slack_blocks import texts, without_dates
from tests.helpers.teams_cards import assert_valid_message, strings_with_markdown, strings_without

if TYPE_CHECKING:
    from flowverdict.alerts.model import Notification

ROUTING_KEY = "0123456789abcdef0123456789abcdef"


any_notification = examples(
    1.5, settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
)


@any_notification
@given(notification=NOTIFICATION)
def test_slack_takes_any_notification(notification: Notification) -> None:
    text = str(slack.message(notification)["text"])
    blocks = slack.blocks(notification)
    shown = [block.to_dict() for block in blocks]  # runs Slack's own validators
    assert 1 <= len(text) <= slack.MAX_FALLBACK
    assert 2 <= len(shown) <= slack.MAX_BLOCKS
    assert len(json.dumps(shown, ensure_ascii=False)) <= slack.MAX_CHARACTERS
    assert 1 <= len(shown[0]["text"]["text"]) <= slack.MAX_HEADER
    for block in shown:
        if block["type"] == "section":
            assert 1 <= len(block.get("text", {"text": "x"})["text"]) <= slack.MAX_SECTION
            assert len(block.get("fields", [])) <= 10
            assert all(1 <= len(field["text"]) <= 2_000 for field in block.get("fields", []))
    # Apart from addresses, no text in brackets is left that could be a mention.
    shown_texts = map(without_dates, [text, *texts(blocks)])
    assert not any(re.search(r"<(?!https://)", line) for line in shown_texts)
    json.dumps(shown).encode("utf-8")


@any_notification
@given(notification=NOTIFICATION)
def test_amazon_q_pagerduty_and_ocsf_take_any_notification(notification: Notification) -> None:
    custom = json.loads(amazon_q.render(notification))
    content, metadata = custom["content"], custom["metadata"]
    assert metadata["threadId"] == notification.fingerprint
    assert 1 <= len(content["title"]) <= 250
    assert 1 <= len(content["description"]) <= 8_000
    assert all(len(step) <= 350 for step in content["nextSteps"])
    assert all(len(word) <= 75 for word in content["keywords"])
    assert all(isinstance(value, str) for value in metadata["additionalContext"].values())

    event = pagerduty.event(notification, ROUTING_KEY)
    assert (event["routing_key"], event["dedup_key"]) == (ROUTING_KEY, notification.fingerprint)
    assert event["event_action"] == (
        "resolve" if notification.status is Status.RESOLVED else "trigger"
    )
    assert len(json.dumps(event).encode()) < 512 * 1024
    if notification.status is not Status.RESOLVED:
        assert 1 <= len(event["payload"]["summary"]) <= 1_024
        assert event["payload"]["source"]
        assert event["payload"]["severity"] in {"critical", "error", "warning", "info"}

    finding = ocsf.finding(notification, found_at=FOUND_AT)
    assert (finding["class_uid"], finding["category_uid"]) == (2004, 2)
    assert finding["type_uid"] == 200_400 + finding["activity_id"]
    assert finding["time"] == FOUND_AT * 1_000
    assert finding["finding_info"]["uid"] == notification.fingerprint
    assert finding["metadata"]["version"]
    for observable in finding["observables"]:
        # The name is the path of the attribute that has the value.
        assert str(attribute(finding, observable["name"])) == observable["value"]


def attribute(value: Any, name: str) -> Any:  # noqa: ANN401 - JSON
    for part in re.findall(r"[a-z_]+|\d+", name):
        value = value[int(part)] if part.isdigit() else value[part]
    return value


@any_notification
@given(notification=NOTIFICATION)
def test_a_notification_survives_json(notification: Notification) -> None:
    assert notification_from_json(notification.to_json()) == notification


@any_notification
@given(notification=NOTIFICATION)
def test_email_subjects_fit_sns(notification: Notification) -> None:
    subject = email.subject(notification)
    assert 1 <= len(subject) < 100
    assert subject.isascii()
    assert subject.isprintable()


@pytest.mark.slow
@any_notification
@given(notification=NOTIFICATION)
def test_teams_takes_any_notification_and_nothing_in_it_acts(notification: Notification) -> None:
    message = teams.message(notification)
    assert json.loads(teams.render(notification)) == message
    assert_valid_message(message)
    for text in strings_with_markdown(message):
        # The renderer of Adaptive Cards is markdown-it, of which this is a port.
        html = MarkdownIt("commonmark").enable("strikethrough").render(text)
        assert re.fullmatch(r"<p>[^<>]*</p>\n", html), text
    for text in [*strings_with_markdown(message), *strings_without(message)]:
        assert text.isprintable()
        assert not re.search(r"<(?=/?at\b)|\{\{", text, re.IGNORECASE)


@any_notification
@given(notification=NOTIFICATION)
def test_every_renderer_takes_any_notification(notification: Notification) -> None:
    for name, renderer in RENDERERS.items():  # in one test: to draw a notification takes longest
        text = renderer.render(notification)
        assert text.strip(), name
        text.encode("utf-8")
