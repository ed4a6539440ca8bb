"""A broken object, a broken message or a failed send fails alone, with its reason in the log."""

from __future__ import annotations

import gzip
import json
import time
from typing import TYPE_CHECKING

import boto3
import pytest
from moto.core.models import DEFAULT_ACCOUNT_ID

from flowverdict.core.errors import DeliveryError, EnvelopeError, ObjectGoneError
from flowverdict.flowlog.object_key import ObjectRef
from flowverdict.lifecycle.intervals import Intervals
from flowverdict_cli.local_aws import REGION
from tests.helpers.events import (
    BUCKET,
    KEY,
    SCENARIOS,
    failed,
    notification,
    put_scenario,
    queue_event,
)
from tests.helpers.stored_alerts import stored_alerts

if TYPE_CHECKING:
    from flowverdict_cli.local_aws import LocalAws


GOOD = gzip.compress((SCENARIOS / "outbound-response.log").read_bytes())
BROKEN: dict[str, tuple[bytes | None, str]] = {
    "truncated gzip": (GOOD[:-20], "truncated gzip"),
    "broken gzip": (GOOD[:30] + b"\xff" * 30 + GOOD[60:], "broken gzip"),
    "not a flow log": (b"<html>hello</html>\n", "not a VPC flow log"),
    "wrong header": (
        b"version acount-id interface-id srcadr dstaddr\n2 1 eni-1 10.0.0.1 10.0.0.2\n",
        "its header is wrong",
    ),
    "broken Parquet": (b"PAR1....PAR1", "broken Parquet"),
    "gone": (None, "NoSuchKey"),
}


# The readers' own tests have every way in which an object is broken.
@pytest.mark.slow
@pytest.mark.parametrize(
    "what",
    [
        what if what in {"broken gzip", "gone"} else pytest.param(what, marks=pytest.mark.slow)
        for what in sorted(BROKEN)
    ],
)
def test_a_broken_object_fails_its_message_alone_and_says_why(aws: LocalAws, what: str) -> None:
    content, reason = BROKEN[what]
    broken_key = "AWSLogs/broken object.log.gz"
    good = notification(put_scenario(aws, "outbound-response"))
    if content is not None:
        aws.put_object(ObjectRef(bucket=BUCKET, key=broken_key), content)

    invocation = aws.invoke(queue_event(notification(broken_key.replace(" ", "+")), good))

    assert failed(invocation) == ["message-0"]
    (line,) = invocation.failures
    assert f"s3://{BUCKET}/{broken_key}" in line
    assert reason in line
    assert [alert["verdict"] for alert in aws.alerts()] == ["network-acl"]


def test_a_broken_object_hides_no_good_one_after_it_in_its_message(aws: LocalAws) -> None:
    both = notification(KEY % "gone")
    both["Records"] += notification(put_scenario(aws, "outbound-response"))["Records"]

    invocation = aws.invoke(queue_event(both))

    assert failed(invocation) == ["message-0"]
    assert KEY % "gone" in invocation.failures[0]
    assert [alert["verdict"] for alert in aws.alerts()] == ["network-acl"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("not json", "not JSON"),
        ({"hello": "secret"}, "unknown shape"),
        ([1], "unknown shape"),
        ({"Records": [{"eventSource": "aws:dynamodb", "eventVersion": "1.1"}]}, "aws:dynamodb"),
    ],
)
def test_a_message_of_unknown_shape_fails_alone(aws: LocalAws, body: object, reason: str) -> None:
    good = notification(put_scenario(aws, "outbound-response"))

    invocation = aws.invoke(queue_event(body, good))

    assert failed(invocation) == ["message-0"]
    assert reason in invocation.failures[0]
    assert "secret" not in invocation.failures[0]
    assert len(aws.alerts()) == 1


def test_an_object_broken_half_way_contributes_nothing(aws: LocalAws) -> None:
    text = (SCENARIOS / "outbound-response.log").read_bytes() + b"".join(
        b"\n2 %d" % number for number in range(50_000)
    )
    aws.put_object(ObjectRef(bucket=BUCKET, key=KEY % "half"), gzip.compress(text)[:-8])

    invocation = aws.invoke(queue_event(notification(KEY % "half")))

    assert failed(invocation) == ["message-0"]
    assert aws.alerts() == []


@pytest.mark.slow
def test_of_a_message_with_one_broken_object_of_two_the_other_is_told_once(aws: LocalAws) -> None:
    both = notification(put_scenario(aws, "outbound-response"))
    both["Records"] += notification(KEY % "gone")["Records"]

    invocation = aws.invoke(queue_event(both))

    assert failed(invocation) == ["message-0"]
    (alert,) = aws.alerts()
    assert failed(aws.invoke(queue_event(both))) == ["message-0"]
    assert aws.alerts() == []
    after = int(time.time()) + Intervals().resolve + 60
    aws.read_flow_logs_until(after)
    aws.sweep(after)
    # The object that cannot be read may show more of the problem, so nobody is told that it ended.
    assert aws.alerts() == []
    state = stored_alerts(aws.table)[alert["fingerprint"]]
    assert state.is_open
    assert state.notification.records == alert["records"] == 1


def test_a_direct_event_with_a_missing_object_raises(aws: LocalAws) -> None:
    put_scenario(aws, "outbound-response")
    invocation = aws.invoke(notification(KEY % "gone"))
    assert isinstance(invocation.error, ObjectGoneError)
    (line,) = [line for line in invocation.log if line.get("message") == "event failed"]
    assert KEY % "gone" in line["reason"]


def test_of_a_direct_event_with_a_missing_object_the_others_are_told(aws: LocalAws) -> None:
    event = notification(KEY % "gone")
    event["Records"] += notification(KEY % "gone-too")["Records"]
    event["Records"] += notification(put_scenario(aws, "outbound-response"))["Records"]

    invocation = aws.invoke(event)

    assert isinstance(invocation.error, ObjectGoneError)
    reasons = [line["reason"] for line in invocation.log if line["message"] == "event failed"]
    assert [
        KEY % name in reason for name, reason in zip(("gone-too", "gone"), reasons, strict=True)
    ] == [True] * 2
    assert len(aws.alerts()) == 1


def test_a_direct_event_of_unknown_shape_raises(aws: LocalAws) -> None:
    assert isinstance(aws.invoke({"detail-type": "Something else"}).error, EnvelopeError)
    assert isinstance(aws.invoke({"awslogs": {"data": "!"}}).error, EnvelopeError)


@pytest.mark.slow
def test_a_poison_message_ends_in_the_dead_letter_queue_and_the_others_do_not(
    aws: LocalAws,
) -> None:
    sqs = boto3.client("sqs")
    dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
    redrive = {
        "deadLetterTargetArn": f"arn:aws:sqs:{REGION}:{DEFAULT_ACCOUNT_ID}:dead",
        "maxReceiveCount": 3,
    }
    queue = sqs.create_queue(
        QueueName="flow-logs",
        Attributes={"RedrivePolicy": json.dumps(redrive), "VisibilityTimeout": "0"},
    )["QueueUrl"]
    put_scenario(aws, "outbound-response")
    sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(notification(KEY % "gone")))
    sqs.send_message(
        QueueUrl=queue, MessageBody=json.dumps(notification(KEY % "outbound-response"))
    )

    for _ in range(4):  # what Lambda's poller does
        messages = {
            message["MessageId"]: message
            for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get(
                "Messages", []
            )
        }
        if not messages:
            continue
        event = queue_event(*(message["Body"] for message in messages.values()))
        for record, message_id in zip(event["Records"], messages, strict=True):
            record["messageId"] = message_id
        kept = failed(aws.invoke(event))
        for message_id, message in messages.items():
            if message_id not in kept:
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])

    (poison,) = sqs.receive_message(QueueUrl=dead, MaxNumberOfMessages=10)["Messages"]
    assert "gone" in poison["Body"]
    assert "Messages" not in sqs.receive_message(QueueUrl=queue)
    assert len(aws.alerts()) == 1


def test_what_cannot_be_published_is_told_in_the_log_and_by_the_sweep(aws: LocalAws) -> None:
    event = queue_event(notification(put_scenario(aws, "outbound-response")))
    boto3.client("sns").delete_topic(TopicArn=aws.topic_arn)

    invocation = aws.invoke(event)

    # The records are counted, so that no object is read twice. The alert is marked as pending, so
    # that the sweep sends it.
    assert failed(invocation) == []
    (line,) = [
        line
        for line in invocation.log
        if line["message"] == "alert not published, the sweep tries again"
    ]
    assert aws.topic_arn in line["reason"]
    assert invocation.metrics["AlertsUnsent"] == 1

    on_sweep = aws.sweep(int(time.time()) + 301)
    assert isinstance(on_sweep.error, DeliveryError)
    assert aws.emails() == []

    boto3.client("sns").create_topic(Name=aws.topic_arn.rpartition(":")[2])
    assert aws.sweep(int(time.time()) + 602).error is None
    (email,) = aws.emails()
    assert email.subject.startswith("[flowverdict CRITICAL]")
