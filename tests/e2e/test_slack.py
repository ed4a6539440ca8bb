"""Slack, as a listener on 127.0.0.1: the messages that arrive, and refused messages."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from slack_sdk.models.blocks import Block, HeaderBlock

from tests.e2e.samples import A_DAY, key, scenario, shop_delivery
from tests.e2e.subscribers import (
    Queue,
    posted,
    put_object,
    raw_log,
    sweep,
    wait_until,
)
from tests.e2e.webhook import Answer
from tests.helpers.webhook_server import SECRET_PATH

if TYPE_CHECKING:
    from tests.e2e.conftest import Inboxes
    from tests.e2e.stack import Stack
    from tests.e2e.webhook import Webhook


_SLOW = 40.0  # seconds for several messages: each may start a worker of its own
_SETTLED = 1.0  # seconds in which a surplus message would arrive; a message takes 0.1 s


def headers(slack: Webhook) -> list[str]:
    """Return the header of each message, after a check with Slack's own models."""
    found = []
    for request in slack.requests:
        assert request.path == SECRET_PATH
        message: dict[str, Any] = json.loads(request.body)
        blocks = Block.parse_all(message["blocks"])
        # to_dict validates lengths and counts.
        assert [block.to_dict() for block in blocks] == message["blocks"]
        assert message["text"]
        (header,) = [block for block in blocks if isinstance(block, HeaderBlock)]
        assert header.text is not None
        found.append(header.text.text)
    return found


def test_alerts_from_the_chosen_severity_are_posted(
    stack: Stack, slack: Webhook, inboxes: Inboxes, parameters: dict[str, str]
) -> None:
    assert parameters["SlackFromSeverity"] == "medium"
    put_object(stack, key(stack.place, "posted"), shop_delivery())
    wait_until(lambda: len(slack.requests) >= 5 or None, "the five immediate alerts", _SLOW)
    sweep(stack, A_DAY)
    inboxes.alerts.take(10)
    wait_until(lambda: len(slack.requests) >= 9 or None, "the four ended alerts", _SLOW)
    time.sleep(_SETTLED)

    severities = [header.partition(":")[0] for header in headers(slack)]

    assert Counter(word for header in severities for word in header.split() if word.isupper()) == {
        "CRITICAL": 2,
        "HIGH": 1,
        "MEDIUM": 2,  # an alert, and the notice of lost records
        "UNKNOWN": 4,
    }
    # The digest has severity low and was published before the sweep answered: the filter policy
    # excludes the digest from Slack.
    assert len(slack.requests) == 9


def test_a_rate_limited_message_arrives_once(
    stack: Stack, slack: Webhook, inboxes: Inboxes
) -> None:
    before = posted(stack)
    slack.script(Answer(status=429, headers={"Retry-After": "1"}, body=b"rate_limited"))

    put_object(stack, key(stack.place, "throttled"), scenario("outbound-response"))
    inboxes.alerts.take(1)
    wait_until(lambda: posted(stack) == before + 1 or None, "the message to be accepted")

    first, second = slack.requests
    assert second.at - first.at >= 1.0
    assert first.body == second.body
    assert failed(stack).rest() == []


def test_a_removed_webhook_leaves_the_message_in_a_queue_and_its_address_in_no_log(
    stack: Stack, slack: Webhook, inboxes: Inboxes
) -> None:
    slack.script(otherwise=Answer(status=404, body=b"no_service"))

    put_object(stack, key(stack.place, "refused"), scenario("outbound-response"))
    (alert,) = inboxes.alerts.take(1)
    (letter,) = failed(stack).take(1)

    record = json.loads(letter)
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestPayload"]["Records"][0]["Sns"]["Message"] == alert
    assert len(slack.requests) == 3  # Lambda's two retries
    log = raw_log(stack, "NotifySlackFunction")
    assert any("no_service" in line for line in log)
    secret = SECRET_PATH.rpartition("/")[2]
    assert not [line for line in log if secret in line]
    assert secret not in letter


def failed(stack: Stack) -> Queue:
    return Queue(place=stack.place, url=stack.physical_id("NotifySlackDeadLetterQueue"))
