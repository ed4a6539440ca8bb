"""Whatever a document holds, every face keeps its limits, and JSON gives it back."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings

from flowverdict.alerts.codec import notification_from_json
from flowverdict.alerts.model import (
    Status,
)
from flowverdict.delivery.renderers import amazon_q, email, ocsf, pagerduty, slack
from tests.helpers.document_strategies import (
    DOCUMENT,
    FOUND_AT,
    ROUTING_KEY,
)
from tests.helpers.hypothesis_weight import examples
from tests.helpers.slack_blocks import texts

if TYPE_CHECKING:
    from flowverdict.alerts.model import Notification


any_document = examples(
    1.5, settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
)


@any_document
@given(notification=DOCUMENT)
def test_slack_takes_any_document(notification: Notification) -> None:
    text, blocks = slack.message(notification)
    told = [block.to_dict() for block in blocks]  # runs Slack's own validators
    assert 1 <= len(text) <= slack.MAX_FALLBACK
    assert 2 <= len(told) <= slack.MAX_BLOCKS
    assert len(json.dumps(told, ensure_ascii=False)) <= slack.MAX_CHARACTERS
    assert 1 <= len(told[0]["text"]["text"]) <= slack.MAX_HEADER
    for block in told:
        if block["type"] == "section":
            assert 1 <= len(block.get("text", {"text": "x"})["text"]) <= slack.MAX_SECTION
            assert len(block.get("fields", [])) <= 10
            assert all(1 <= len(field["text"]) <= 2_000 for field in block.get("fields", []))
    # The URLs aside, nothing in brackets is left to be a mention.
    assert not any(re.search(r"<(?!https://)", one) for one in [text, *texts(blocks)])
    json.dumps(told).encode("utf-8")


@any_document
@given(notification=DOCUMENT)
def test_the_other_faces_take_any_document(notification: Notification) -> None:
    custom = json.loads(amazon_q.message(notification))
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

    finding = ocsf.finding(notification, time=FOUND_AT)
    assert (finding["class_uid"], finding["category_uid"]) == (2004, 2)
    assert finding["type_uid"] == 200_400 + finding["activity_id"]
    assert finding["time"] == FOUND_AT * 1_000
    assert finding["finding_info"]["uid"] == notification.fingerprint
    assert finding["metadata"]["version"]
    for observable in finding["observables"]:
        # The name points at the attribute that has the value.
        assert str(attribute(finding, observable["name"])) == observable["value"]


def attribute(told: Any, name: str) -> Any:  # noqa: ANN401 - JSON
    for part in re.findall(r"[a-z_]+|\d+", name):
        told = told[int(part)] if part.isdigit() else told[part]
    return told


@any_document
@given(notification=DOCUMENT)
def test_a_document_survives_json(notification: Notification) -> None:
    assert notification_from_json(notification.to_json()) == notification


@any_document
@given(notification=DOCUMENT)
def test_email_subjects_fit_sns(notification: Notification) -> None:
    subject = email.subject(notification)
    assert 1 <= len(subject) < 100
    assert subject.isascii()
    assert subject.isprintable()
