"""From the event to the SNS subscriber, on moto: each envelope, one batch, the sent messages."""

from __future__ import annotations

import json
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from moto.core.models import DEFAULT_ACCOUNT_ID

from flowverdict.delivery.sns import MAX_MESSAGE_BYTES
from flowverdict.flowlog.object_key import ObjectRef
from flowverdict.verdict.aws_ranges import compiled_ranges
from flowverdict_cli.local_aws import REGION
from scripts.pack_cloudwatch_event import pack
from tests.helpers.events import (
    BUCKET,
    KEY,
    SCENARIOS,
    failed,
    notification,
    put_scenario,
    queue_event,
)
from tests.helpers.published_schemas import validator

if TYPE_CHECKING:
    from flowverdict_cli.local_aws import LocalAws

ROOT = Path(__file__).parents[2]
EVENTS = ROOT / "events"

# --- the user's table -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scenario", "expected"),
    [
        ("inbound-request", ("ingress", "request", "network-acl-or-security-group", "high")),
        ("outbound-response", ("egress", "response", "network-acl", "critical")),
        ("outbound-request", ("egress", "request", "network-acl-or-security-group", "high")),
        ("inbound-response", ("ingress", "response", "network-acl", "critical")),
    ],
)
def test_the_four_rows_of_the_users_table_reach_the_subscriber(
    aws: LocalAws, scenario: str, expected: tuple[str, ...]
) -> None:
    direction, leg, _, severity = expected
    invocation = aws.invoke(queue_event(notification(put_scenario(aws, scenario))))

    assert failed(invocation) == []
    (alert,) = aws.alerts()
    validator("alert").validate(alert)
    assert (alert["flow_direction"], alert["leg"], alert["verdict"], alert["severity"]) == expected
    assert (alert["account_id"], alert["region"]) == ("123456789012", REGION)
    (email,) = aws.emails()
    word = "Inbound" if direction == "ingress" else "Outbound"
    what = "replies" if leg == "response" else "requests"
    assert email.subject.startswith(f"[flowverdict {severity.upper()}] ")
    assert f": {what} " in email.subject
    assert " dropped by the network ACL" in email.body.splitlines()[0]
    assert f"\nWhy\n  - {word} {leg} rejected: " in email.body


def test_an_address_of_s3_is_not_on_the_internet_where_no_rules_name_it(aws: LocalAws) -> None:
    header, line, *_ = (SCENARIOS / "outbound-request.log").read_text().splitlines()
    fields = dict(zip(header.split(), line.split(), strict=True))
    fields |= {name: "52.218.24.10" for name in ("dstaddr", "pkt-dstaddr") if name in fields}
    text = "\n".join([" ".join(fields), " ".join(fields.values()), ""])
    aws.put_object(ObjectRef(bucket=BUCKET, key=KEY), text.encode())

    assert failed(aws.invoke(queue_event(notification(KEY)))) == []
    (alert,) = aws.alerts()
    named = f"52.218.24.10, S3 in eu-west-1 by AWS's list of {compiled_ranges().date}"
    assert (alert["remote_end"], alert["path"]) == (named, "aws-service")
    assert (alert["severity"], alert["verdict"]) == ("high", "network-acl-or-security-group")
    (email,) = aws.emails()
    assert named in email.body
    assert "internet" not in email.body


# --- every envelope -------------------------------------------------------------------------------

type Outline = set[tuple[str, str, int | None]]

PING_AND_RDP: Outline = {
    ("response", "network-acl", None),
    ("request", "network-acl-or-security-group", 3389),
}
DELIVERY: Outline = {
    ("response", "network-acl", 443),
    ("request", "security-group", 5432),
    ("request", "security-group", 25),
}
EXPECTED_OF_EVENT: dict[str, Outline] = {
    "s3-object-created": PING_AND_RDP,
    "sns-s3": PING_AND_RDP,
    "eventbridge-s3": PING_AND_RDP,
    "sqs-sns-s3": PING_AND_RDP,
    "sqs-eventbridge-s3": PING_AND_RDP,
    "sqs-s3-partial-failure": PING_AND_RDP,
    "sqs-s3-delivery": DELIVERY,
    "eventbridge-s3-hive": {("request", "security-group", 5432)},
    "s3-object-removed": set(),
    "sqs-s3-test-event": set(),
    "cloudwatch-logs": {("request", "security-group", 443)},
    "cloudwatch-logs-control-message": set(),
    "scheduled-sweep": set(),
}
# The ports of the problems that are notified in the digest only.
IN_DIGEST = {
    "sqs-s3-delivery": ("TCP 22 (SSH)", "TCP 8080 (HTTP)"),
    "eventbridge-s3-hive": ("TCP 22 (SSH)",),
}


def test_every_sample_event_has_an_expectation() -> None:
    assert set(EXPECTED_OF_EVENT) == {path.stem for path in EVENTS.glob("*.json")}


# The others are replayed, byte for byte, in `tests/cli/test_unchanged_output.py`.
EVERYDAY = {"sqs-s3-delivery", "cloudwatch-logs"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        name if name in EVERYDAY else pytest.param(name, marks=pytest.mark.slow)
        for name in sorted(EXPECTED_OF_EVENT)
    ],
)
def test_every_real_envelope_gives_its_alerts(aws: LocalAws, name: str) -> None:
    event = json.loads((EVENTS / f"{name}.json").read_text())
    aws.put_objects_of(event, EVENTS / "objects")
    aws.make_samples()

    invocation = aws.invoke(event)

    assert invocation.error is None
    published = aws.alerts()
    for document in published:
        validator("alert").validate(document)
    alerts = [notification for notification in published if notification["kind"] == "reject"]
    assert {
        (alert["leg"], alert["verdict"], alert["service_port"]) for alert in alerts
    } == EXPECTED_OF_EVENT[name]
    aws.later()
    digests = [notification for notification in aws.alerts() if notification["kind"] == "digest"]
    told = [
        line for digest in digests for section in digest["sections"] for line in section["lines"]
    ]
    assert [any(line.startswith(port) for line in told) for port in IN_DIGEST.get(name, ())] == [
        True
    ] * len(told)
    for alert in alerts:
        assert alert["region"] == REGION
        assert alert["account_id"] == "123456789012"
    assert len(invocation.failures) == (1 if name == "sqs-s3-partial-failure" else 0)


def test_the_sample_log_event_holds_its_readable_lines() -> None:
    lines = (EVENTS / "cloudwatch-logs.log").read_text().splitlines()
    packed = pack(lines, log_group="/sample/vpc-flow-logs", log_stream="eni-7db9fa8d493456225-all")
    assert (EVENTS / "cloudwatch-logs.json").read_text() == packed


# --- one batch ------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [("1", "2"), ("2", "1")])
def test_request_and_reply_in_different_messages_of_one_batch_are_paired(
    aws: LocalAws, order: tuple[str, str]
) -> None:
    messages = [notification(put_scenario(aws, f"reply-in-another-file.{part}")) for part in order]

    aws.invoke(queue_event(*messages))

    (alert,) = aws.alerts()
    assert (alert["leg"], alert["verdict"], alert["confidence"]) == (
        "response",
        "network-acl",
        "likely",
    )


def test_many_rejects_of_one_kind_are_one_alert(aws: LocalAws) -> None:
    header, request, reply = (SCENARIOS / "outbound-response.log").read_text().splitlines()
    lines = [header]
    for client in range(1, 251):
        ports_and_address = (
            ("203.0.113.12", f"203.0.113.{client}"),
            ("50122", str(50_000 + client)),
        )
        for line in (request, reply):
            lines.append(  # noqa: PERF401 - two loops
                reduce(lambda text, change: text.replace(*change), ports_and_address, line)
            )
    aws.put_object(ObjectRef(bucket=BUCKET, key=KEY % "many"), "\n".join(lines).encode())

    aws.invoke(queue_event(notification(KEY % "many")))

    (alert,) = aws.alerts()
    assert (alert["flows"], alert["records"], alert["remote_count"], len(alert["top_remotes"])) == (
        250,
        250,
        250,
        10,
    )


# --- what subscribers can rely on -----------------------------------------------------------------


def test_filter_policies_see_the_message_attributes(aws: LocalAws) -> None:
    sqs = boto3.client("sqs")
    url = sqs.create_queue(QueueName="critical-only")["QueueUrl"]
    boto3.client("sns").subscribe(
        TopicArn=aws.topic_arn,
        Protocol="sqs",
        Endpoint=f"arn:aws:sqs:{REGION}:{DEFAULT_ACCOUNT_ID}:critical-only",
        Attributes={
            "FilterPolicy": json.dumps(
                {
                    "severity": ["critical"],
                    "leg": ["response"],
                    "verdict": ["network-acl"],
                    "direction": ["egress"],
                }
            )
        },
    )
    keys = [
        put_scenario(aws, name)
        for name in ("outbound-request", "outbound-response", "inbound-response")
    ]

    aws.invoke(queue_event(*(notification(key) for key in keys)))

    assert len(aws.alerts()) == 3
    (message,) = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    envelope = json.loads(message["Body"])
    assert json.loads(envelope["Message"])["flow_direction"] == "egress"


def test_messages_stay_below_the_limit_whatever_the_records_hold(aws: LocalAws) -> None:
    header, line = (SCENARIOS / "inbound-request.log").read_text().splitlines()
    long = "x" * 2_000
    lines = [header]
    for number in range(200):
        unlike = line.replace("eni-0aaaaaaaaaaaaaaa1", f"eni-{long}{number}"[:2_040]).replace(
            "10.0.2.20", f"10.0.2.{number}"
        )
        lines.append(
            unlike.replace("subnet-0aaa0000000000001", f"subnet-{long}").replace(
                "vpc-0123456789abcdef0", f"vpc-{long}"
            )
        )
    aws.put_object(ObjectRef(bucket=BUCKET, key=KEY % "long"), "\n".join(lines).encode())

    invocation = aws.invoke(queue_event(notification(KEY % "long")))

    assert failed(invocation) == []
    (alert,) = aws.alerts()
    (email,) = aws.emails()
    assert len(json.dumps(alert)) < MAX_MESSAGE_BYTES
    assert len(email.body) < MAX_MESSAGE_BYTES
    assert len(email.subject) < 100
