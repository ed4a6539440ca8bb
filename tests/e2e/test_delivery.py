"""The deployed stack, from what AWS delivers to what subscribers get."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

import pytest

from flowverdict_cli.sample_world import LOG_GROUP
from tests.e2e.contract import attributes, valid
from tests.e2e.samples import key, scenario, shop_delivery, shop_log_lines
from tests.e2e.subscribers import (
    Queue,
    function_log,
    put_log_events,
    put_object,
    subscribe,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import Inboxes
    from tests.e2e.stack import Stack
    from tests.e2e.webhook import Request, Webhook

# The alerts that the shop's delivery sends at once. The scans of port 22 from the internet and the
# packets of a closed connection wait for the digest.
TOLD_AT_ONCE = {
    (
        "critical",
        "response",
        "network-acl",
        443,
    ): 2,  # to the web server's clients, and to the worker's request
    ("high", "request", "security-group", 5432): 1,
    ("medium", "request", "security-group", 25): 1,
}
NOTICES = 1  # that AWS lost records


def outline(alert: dict[str, Any]) -> tuple[str, str, int]:
    return alert["leg"], alert["verdict"], alert["service_port"]


def test_an_object_becomes_json_for_machines_text_for_people_and_what_amazon_q_takes(
    stack: Stack, inboxes: Inboxes
) -> None:
    put_object(stack, key(stack.place, "shop"), shop_delivery())

    messages = inboxes.alerts.take_whole(4 + NOTICES)
    found = valid(message.body for message in messages)
    assert (
        Counter(
            (alert["severity"], *outline(alert)) for alert in found if alert["kind"] == "reject"
        )
        == TOLD_AT_ONCE
    )
    assert Counter(alert["kind"] for alert in found) == {"reject": 4, "records-lost": NOTICES}
    for critical in (alert for alert in found if alert["severity"] == "critical"):
        assert critical["network_acl_entry"]["rule_number"] == 32767
        assert critical["remedy"] is not None
    by_title = {alert["title"]: attributes(alert) for alert in found}
    assert [message.attributes for message in messages] == [attributes(alert) for alert in found]

    mails = inboxes.mail.take_whole(4 + NOTICES)
    for mail in mails:
        severity = mail.attributes["severity"]
        assert mail.subject is not None
        assert f"[flowverdict {severity.upper()}]" in mail.subject
        assert f"\nSeverity  {severity} - " in mail.body
        assert mail.attributes in by_title.values()
    critical_mails = [mail.body for mail in mails if mail.attributes["severity"] == "critical"]
    assert all("aws ec2 create-network-acl-entry" in body for body in critical_mails)

    for text in inboxes.chat.take(4 + NOTICES):
        # https://docs.aws.amazon.com/chatbot/latest/adminguide/custom-notifs.html
        chat = json.loads(text)
        assert (chat["version"], chat["source"], chat["content"]["textType"]) == (
            "1.0",
            "custom",
            "client-markdown",
        )
        assert chat["content"]["title"]
        assert chat["content"]["description"]
        assert chat["metadata"]["threadId"] in {alert["fingerprint"] for alert in found}

    assert inboxes.alerts.rest() == []


def test_the_address_is_mailed_what_its_parameter_asks_for(
    stack: Stack, inboxes: Inboxes, parameters: dict[str, str]
) -> None:
    """Read a queue with the filter policy of the deployed subscription.

    The emulator sends no mail.
    """
    assert parameters["EmailFromSeverity"] == "high"
    put_object(stack, key(stack.place, "mailed"), shop_delivery())

    # SNS sends to all subscribers before it answers, so the other queue has its messages by then.
    inboxes.mail.take(4 + NOTICES)
    mailed = inboxes.mailed.take_whole(3)

    assert Counter(mail.attributes["severity"] for mail in mailed) == {"critical": 2, "high": 1}
    assert inboxes.mailed.rest() == []


def test_log_events_of_the_group_become_alerts_in_the_format_that_ec2_describes(
    stack: Stack, alerts: Queue
) -> None:
    put_log_events(stack.place, LOG_GROUP, "eni-7db9fa8d493456225-all", shop_log_lines())

    (alert,) = valid(alerts.take(1))

    assert outline(alert) == ("request", "security-group", 443)
    assert alert["rules_read_at"] is not None


def test_a_subscriber_gets_what_its_filter_policy_asks_for(stack: Stack, alerts: Queue) -> None:
    wanted = {"severity": ["critical"], "leg": ["response"], "direction": ["egress"]}
    some = subscribe(stack.place, stack.outputs["AlertTopicArn"], "critical-only", wanted)
    for name in ("same-subnet-request", "outbound-response", "inbound-response"):
        put_object(stack, key(stack.place, name), scenario(name))

    everything = valid(
        alerts.take(3)
    )  # SNS sends to all subscribers before it answers, so the other has its own by then
    (filtered,) = valid(some.take(1) + some.rest())

    assert {message["flow_direction"] for message in everything} == {"ingress", "egress"}
    assert (filtered["severity"], filtered["leg"], filtered["flow_direction"]) == (
        "critical",
        "response",
        "egress",
    )


def test_a_webhook_gets_the_alert_as_text_for_machines(
    stack: Stack, hook: Webhook, alerts: Queue
) -> None:
    sns = stack.place.client("sns")
    topic_arn = stack.outputs["AlertTopicArn"]
    sns.subscribe(TopicArn=topic_arn, Protocol="http", Endpoint=hook.url)
    asked = json.loads(
        hook.wait_for(lambda request: kind(request) == "SubscriptionConfirmation").body
    )
    subscription_arn = sns.confirm_subscription(TopicArn=topic_arn, Token=asked["Token"])[
        "SubscriptionArn"
    ]

    put_object(stack, key(stack.place, "webhook"), scenario("outbound-response"))
    alerts.take(1)

    sent = json.loads(hook.wait_for(lambda request: kind(request) == "Notification").body)
    (alert,) = valid([sent["Message"]])
    assert sent["Subject"].startswith("[flowverdict CRITICAL] ")
    assert "replies to 203.0.113.12 dropped by" in sent["Subject"]
    sns.unsubscribe(SubscriptionArn=subscription_arn)


def kind(request: Request) -> str | None:
    return {name.lower(): value for name, value in request.headers.items()}.get(
        "x-amz-sns-message-type"
    )


@pytest.fixture
def _impatient_queue(stack: Stack) -> Iterator[None]:
    """Make a failed message visible again after 2 s.

    As deployed, a failed message comes back after half an hour.
    """
    sqs, url = stack.place.client("sqs"), stack.physical_id("FlowLogQueue")
    before = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])[
        "Attributes"
    ]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "2"})
    yield
    sqs.set_queue_attributes(QueueUrl=url, Attributes=before)


@pytest.mark.usefixtures("_impatient_queue")
def test_an_object_that_cannot_be_read_ends_in_the_dead_letter_queue_and_the_others_do_not(
    stack: Stack, alerts: Queue
) -> None:
    poison = key(stack.place, "poison+é").replace(
        "AWSLogs", "aws-account-id=1"
    )  # S3 encodes these in its events
    stack.place.client("s3").put_object(
        Bucket=stack.outputs["FlowLogBucketName"], Key=poison, Body=b"\x1f\x8bnot gzip"
    )
    put_object(stack, key(stack.place, "good"), scenario("outbound-response"))

    good = valid(alerts.take(1))
    (dead,) = Queue(place=stack.place, url=stack.outputs["FlowLogDeadLetterQueueUrl"]).take(1)

    assert unquote_plus(json.loads(dead)["Records"][0]["s3"]["object"]["key"]) == poison
    # A worker may take more than 2 s to start, and the queue then delivers the message to another
    # worker as well: queues deliver at least once.
    assert {outline(alert) for alert in good + valid(alerts.rest())} == {
        ("response", "network-acl", 443)
    }
    reasons = [
        line["reason"]
        for line in function_log(stack, "ClassifyS3Function")
        if line["message"] == "message failed"
    ]
    redrive = json.loads(
        stack.place.client("sqs").get_queue_attributes(
            QueueUrl=stack.physical_id("FlowLogQueue"), AttributeNames=["RedrivePolicy"]
        )["Attributes"]["RedrivePolicy"]
    )
    assert len([reason for reason in reasons if poison in reason]) == int(
        redrive["maxReceiveCount"]
    )


def test_a_log_event_that_cannot_be_read_ends_in_a_queue_of_its_own(stack: Stack) -> None:
    function = stack.physical_id("ClassifyCloudWatchLogsFunction")
    payload = json.dumps({"awslogs": {"data": "bm90IGd6aXA="}}).encode()
    stack.place.client("lambda").invoke(
        FunctionName=function, InvocationType="Event", Payload=payload
    )

    dead = Queue(place=stack.place, url=stack.physical_id("ClassifyCloudWatchLogsDeadLetterQueue"))
    (kept,) = dead.take(1)

    record = json.loads(kept)
    assert record["requestPayload"]["awslogs"]["data"] == "bm90IGd6aXA="
    assert record["requestContext"]["condition"] == "RetriesExhausted"


def test_nothing_was_refused_and_every_line_names_its_invocation(
    stack: Stack, alerts: Queue
) -> None:
    put_object(stack, key(stack.place, "logged"), scenario("outbound-response"))
    alerts.take(1)
    name = key(stack.place, "logged")

    (line,) = wait_until(
        lambda: (
            [
                line
                for line in function_log(stack, "ClassifyS3Function")
                if name in str(line.get("source"))
            ]
            or None
        ),
        "its log line",
    )

    assert line["function_request_id"]
    assert line["counts"]["records"] == 2
    for logical_id in stack.of_type("AWS::Lambda::Function"):
        assert not [
            line for line in function_log(stack, logical_id) if "AccessDenied" in json.dumps(line)
        ]
