"""Slack, as a listener on 127.0.0.1: the messages that arrive, and refused messages."""

from __future__ import annotations

import json
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from slack_sdk.models.blocks import Block, HeaderBlock

from flowverdict.alerts.codec import notification_from_json
from flowverdict.alerts.model import Status
from flowverdict.delivery.sns import attributes
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
from tests.helpers.slack_api import CHANNEL, TOKEN, slack_api
from tests.helpers.slack_blocks import blocks_of
from tests.helpers.webhook_server import SECRET_PATH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.e2e.conftest import Inboxes
    from tests.e2e.stack import Stack
    from tests.e2e.webhook import Webhook


_SLOW = 240.0  # seconds for several messages: each may start a worker of its own
_SETTLED = 1.0  # seconds in which a surplus message would arrive; a message takes 0.1 s


def headers(slack: Webhook) -> list[str]:
    """Return the header of each message, after a check with Slack's own models."""
    found = []
    for request in slack.requests:
        assert request.path == SECRET_PATH
        message: dict[str, Any] = json.loads(request.body)
        shown = blocks_of(message)
        blocks = Block.parse_all(shown)
        # to_dict validates lengths and counts.
        assert [block.to_dict() for block in blocks] == shown
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
    inboxes.alerts.take(11)
    wait_until(lambda: len(slack.requests) >= 7 or None, "the ends of four alerts", _SLOW)
    time.sleep(_SETTLED)

    severities = [header.partition(":")[0] for header in headers(slack)]

    assert Counter(word for header in severities for word in header.split() if word.isupper()) == {
        "CRITICAL": 2,
        "HIGH": 1,
        "MEDIUM": 2,  # an alert, and the notice of lost records
        "UNKNOWN": 2,  # of three alerts, and of one that hosts outside may have caused
    }
    # The digest has severity low and was published before the sweep answered: the filter policy
    # excludes the digest from Slack.
    assert len(slack.requests) == 7


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


@contextmanager
def token(stack: Stack, variables: Mapping[str, str]) -> Iterator[None]:
    """Give the function that posts to Slack a token in place of its webhook, until the block ends.

    ``test_permissions`` deploys a token; here its parameters alone would differ, so the function
    gets the variables, and its role what the trial there needs.
    """
    iam, role = stack.place.client("iam"), stack.physical_id("NotifySlackRole")
    statement = {
        "Effect": "Allow",
        "Action": ["secretsmanager:GetSecretValue", "dynamodb:GetItem", "dynamodb:PutItem"],
        "Resource": "*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_role_policy(RoleName=role, PolicyName="token", PolicyDocument=policy)
    client, name = stack.place.client("lambda"), stack.physical_id("NotifySlackFunction")
    before = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    client.update_function_configuration(
        FunctionName=name, Environment={"Variables": {**before, **variables}}
    )
    try:
        yield
    finally:
        client.update_function_configuration(FunctionName=name, Environment={"Variables": before})
        iam.delete_role_policy(RoleName=role, PolicyName="token")


def test_firing_reminder_and_end_are_one_thread_and_the_first_message_says_how_it_stands(
    stack: Stack, inboxes: Inboxes
) -> None:
    secret = stack.place.client("secretsmanager").create_secret(
        Name="slack-token", SecretString=TOKEN
    )
    with slack_api() as (api, address):
        variables = {
            "SLACK_TOKEN": f"secretsmanager:{secret['ARN']}",
            "SLACK_CHANNEL": CHANNEL,
            "SLACK_API": address,
        }
        with token(stack, variables):
            put_object(stack, key(stack.place, "thread"), scenario("outbound-response"))
            (fired,) = inboxes.alerts.take(1)
            wait_until(lambda: len(api.messages) == 1 or None, "the first message", _SLOW)
            reminder = notification_from_json(fired).with_status(Status.REMINDER, "It goes on.")
            for _ in range(2):  # SNS may deliver a message twice
                stack.place.client("sns").publish(
                    TopicArn=stack.outputs["AlertTopicArn"],
                    Message=reminder.to_json(),
                    MessageAttributes=attributes(reminder),
                )
            wait_until(lambda: len(api.messages) == 2 or None, "the reminder", _SLOW)
            sweep(stack, A_DAY)
            wait_until(lambda: len(api.messages) == 3 or None, "the end", _SLOW)
            time.sleep(_SETTLED)

    (first,) = api.firsts
    reminded, ended = api.replies(first)
    severity = reminder.severity.upper()
    assert reminded.text.startswith(f"STILL {severity}: ")
    assert reminded.is_in_channel
    assert ended.text.startswith("UNKNOWN: ")
    assert not ended.is_in_channel
    assert first.text == ended.text
    assert first.updates == 2
    assert failed(stack).rest() == []


def failed(stack: Stack) -> Queue:
    return Queue(place=stack.place, url=stack.physical_id("NotifySlackDeadLetterQueue"))
