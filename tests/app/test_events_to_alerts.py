"""The whole way on moto: object or log event -> handler -> SNS -> SQS subscriber, for every envelope and for broken input."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import jsonschema
import pytest
from moto.core.models import DEFAULT_ACCOUNT_ID

from flowverdict.app import deadlines
from flowverdict.core.errors import DeliveryError, EnvelopeError, ObjectGoneError
from flowverdict.delivery.sns import MAX_MESSAGE_BYTES
from flowverdict.flowlog.s3_events import ObjectRef
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

if TYPE_CHECKING:
    from flowverdict_cli.local_aws import LocalAws

ROOT = Path(__file__).parents[2]
EVENTS = ROOT / "events"
ALERT_SCHEMA = json.loads((ROOT / "docs" / "schemas" / "alert.schema.json").read_text())


# --- the user's table -------------------------------------------------------------------------------------------------


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
    jsonschema.validate(alert, ALERT_SCHEMA, format_checker=jsonschema.FormatChecker())
    assert (alert["flow_direction"], alert["leg"], alert["verdict"], alert["severity"]) == expected
    assert (alert["account_id"], alert["region"]) == ("123456789012", REGION)
    (email,) = aws.emails()
    word = "Inbound" if direction == "ingress" else "Outbound"
    who = "Replies" if leg == "response" else "Requests"
    assert email.subject.startswith(
        f"[flowverdict {severity.upper()}] {who} blocked by network ACL"
    )
    assert email.body.startswith(f"{word} {leg} rejected: ")


# --- every envelope ---------------------------------------------------------------------------------------------------

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
# What is no page: the ports that the digest names.
IN_DIGEST = {
    "sqs-s3-delivery": ("TCP 22 (SSH)", "TCP 8080 (HTTP)"),
    "eventbridge-s3-hive": ("TCP 22 (SSH)",),
}


def test_every_sample_event_has_an_expectation() -> None:
    assert set(EXPECTED_OF_EVENT) == {path.stem for path in EVENTS.glob("*.json")}


@pytest.mark.parametrize("name", sorted(EXPECTED_OF_EVENT))
def test_every_real_envelope_gives_its_alerts(aws: LocalAws, name: str) -> None:
    event = json.loads((EVENTS / f"{name}.json").read_text())
    aws.put_objects_of(event, EVENTS / "objects")
    aws.make_samples()

    invocation = aws.invoke(event)

    assert invocation.error is None
    published = aws.alerts()
    for document in published:
        jsonschema.validate(document, ALERT_SCHEMA, format_checker=jsonschema.FormatChecker())
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


# --- one batch --------------------------------------------------------------------------------------------------------


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


# --- broken input -----------------------------------------------------------------------------------------------------

GOOD = gzip.compress((SCENARIOS / "outbound-response.log").read_bytes())
BROKEN: dict[str, tuple[bytes | None, str]] = {
    "truncated gzip": (GOOD[:-20], "truncated gzip"),
    "broken gzip": (GOOD[:30] + b"\xff" * 30 + GOOD[60:], "broken gzip"),
    "empty object": (b"", "empty"),
    "not a flow log": (b"<html>hello</html>\n", "not a VPC flow log"),
    "wrong header": (
        b"version acount-id interface-id srcadr dstaddr\n2 1 eni-1 10.0.0.1 10.0.0.2\n",
        "its header is wrong",
    ),
    "broken Parquet": (b"PAR1....PAR1", "broken Parquet"),
    "gone": (None, "NoSuchKey"),
}


@pytest.mark.parametrize("what", sorted(BROKEN))
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


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("not json", "no JSON"),
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


def test_of_a_message_with_one_broken_object_of_two_the_other_is_told_once(aws: LocalAws) -> None:
    both = notification(put_scenario(aws, "outbound-response"))
    both["Records"] += notification(KEY % "gone")["Records"]

    invocation = aws.invoke(queue_event(both))

    assert failed(invocation) == ["message-0"]
    (alert,) = aws.alerts()
    assert failed(aws.invoke(queue_event(both))) == ["message-0"]
    assert aws.alerts() == []
    aws.later()
    assert [(one["fingerprint"], one["records"]) for one in aws.alerts()] == [
        (alert["fingerprint"], alert["records"])
    ]


def test_a_direct_event_with_a_missing_object_raises(aws: LocalAws) -> None:
    put_scenario(aws, "outbound-response")
    invocation = aws.invoke(notification(KEY % "gone"))
    assert isinstance(invocation.error, ObjectGoneError)
    (line,) = [line for line in invocation.log if line.get("message") == "event failed"]
    assert KEY % "gone" in line["reason"]


def test_a_direct_event_of_unknown_shape_raises(aws: LocalAws) -> None:
    assert isinstance(aws.invoke({"detail-type": "Something else"}).error, EnvelopeError)
    assert isinstance(aws.invoke({"awslogs": {"data": "!"}}).error, EnvelopeError)


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

    # Counted, so that nothing is read twice; marked to be sent, so that the sweep does it.
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


def test_rejected_flows_are_measured_by_verdict_and_severity_and_alerts_by_their_lag(
    aws: LocalAws,
) -> None:
    told = aws.invoke(queue_event(notification(put_scenario(aws, "outbound-response"))))
    assert (told.metrics["RecordsRejected"], told.metrics["RejectedFlows"]) == (1, 1)
    assert "LagSeconds" in told.metrics
    assert told.metrics["RulesNotRead"] in {0, 1}

    muting = {"version": 1, "expected": [{"match": {"port": 3389}, "reason": "known"}]}
    boto3.client("ssm").put_parameter(Name="/policy", Value=json.dumps(muting), Type="String")
    muted = aws.invoke(
        queue_event(notification(put_scenario(aws, "inbound-request"))), {"POLICY": "ssm:/policy"}
    )
    assert (
        muted.metrics["FlowsMuted"] + muted.metrics.get("RejectedFlows", 0)
        == muted.metrics["RecordsRejected"]
    )


def test_what_is_delivered_again_adds_nothing(aws: LocalAws) -> None:
    event = queue_event(notification(put_scenario(aws, "outbound-response")))
    aws.invoke(event)
    assert len(aws.alerts()) == 1

    again = aws.invoke(event)
    other_message = queue_event({"unlike": "this"}, json.loads(event["Records"][0]["body"]))
    later = aws.invoke(other_message)

    assert failed(again) == []
    assert failed(later) == ["message-0"]
    assert [one.metrics["SourcesDeliveredAgain"] for one in (again, later)] == [1, 1]
    assert aws.alerts() == []
    aws.later()
    (resolved,) = aws.alerts()
    assert (resolved["status"], resolved["records"]) == ("resolved", 1)


def test_what_cannot_be_read_in_time_goes_back_to_the_queue_and_the_rest_is_told(
    aws: LocalAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = [
        notification(put_scenario(aws, name)) for name in ("outbound-response", "outbound-request")
    ]
    opened: list[str] = []
    check = deadlines.ReadDeadline.check

    def over_after_the_first(self: deadlines.ReadDeadline, name: str) -> None:
        opened.append(name)
        if len({*opened}) > 1:
            monkeypatch.setattr(self, "_end", 0.0)
        check(self, name)

    monkeypatch.setattr(deadlines.ReadDeadline, "check", over_after_the_first)
    first = aws.invoke(queue_event(*messages))

    assert failed(first) == ["message-1"]
    assert "not read to its end within" in first.failures[0]
    assert [alert["leg"] for alert in aws.alerts()] == ["response"]

    monkeypatch.undo()
    again = aws.invoke(queue_event(*messages))

    # The first one is passed over, the second one is read: nothing is lost and nothing counted
    # twice.
    assert failed(again) == []
    assert again.metrics["SourcesDeliveredAgain"] == 1
    assert [alert["leg"] for alert in aws.alerts()] == ["request"]


def test_what_is_muted_while_it_goes_on_ends_without_a_word(aws: LocalAws) -> None:
    aws.invoke(queue_event(notification(put_scenario(aws, "outbound-response"))))
    assert len(aws.alerts()) == 1
    silence = {"match": {"port": 443}, "until": "2999-01-01T00:00:00Z", "reason": "being mended"}
    boto3.client("ssm").put_parameter(
        Name="/policy", Value=json.dumps({"version": 1, "silences": [silence]}), Type="String"
    )
    key = KEY % "more-of-it"
    aws.put_object(
        ObjectRef(bucket=BUCKET, key=key), (SCENARIOS / "outbound-response.log").read_bytes()
    )

    aws.invoke(queue_event(notification(key)), {"POLICY": "ssm:/policy"})

    aws.later()
    assert aws.alerts() == []

    # It was muted and not resolved, so what comes when nobody mutes it any more is not told as
    # "again".
    unmuted = KEY % "unmuted"
    aws.put_object(
        ObjectRef(bucket=BUCKET, key=unmuted), (SCENARIOS / "outbound-response.log").read_bytes()
    )
    aws.invoke(queue_event(notification(unmuted)))
    (alert,) = aws.alerts()
    assert (alert["status"], alert["status_reason"]) == ("firing", None)


def test_the_policy_mutes_what_it_names_and_a_broken_one_keeps_the_last_good(aws: LocalAws) -> None:
    ssm = boto3.client("ssm")
    muting = {"version": 1, "expected": [{"match": {"port": 443}, "reason": "known"}]}
    ssm.put_parameter(Name="/policy", Value=json.dumps(muting), Type="String")
    environment = {"POLICY": "ssm:/policy"}

    muted = aws.invoke(
        queue_event(notification(put_scenario(aws, "outbound-response"))), environment
    )

    assert aws.alerts() == []
    assert (muted.metrics["FlowsMuted"], muted.metrics["PolicyUnusable"]) == (1, 0)

    ssm.put_parameter(Name="/policy", Value="{", Type="String", Overwrite=True)
    broken = aws.invoke(
        queue_event(notification(put_scenario(aws, "inbound-request"))), environment
    )

    assert aws.alerts() == []
    # The flow muted before lies in the same window, which is evaluated again; it counts once.
    assert (broken.metrics["FlowsMuted"], broken.metrics["PolicyUnusable"]) == (1, 1)
    (line,) = [line for line in broken.log if line["message"] == "policy not usable"]
    assert "the last good one applies" in line["reason"]


# --- CloudWatch Logs --------------------------------------------------------------------------------------------------


def log_event(scenario: str, log_group: str) -> dict[str, Any]:
    _, *lines = (SCENARIOS / f"{scenario}.log").read_text().splitlines()
    event: dict[str, Any] = json.loads(
        pack(lines, log_group=log_group, log_stream="eni-0aaaaaaaaaaaaaaa1-all")
    )
    return event


_LOADED_BY_LOG_EVENT = """
import json, sys
from flowverdict_cli.local_aws import local_aws
with local_aws() as aws:
    aws.make_samples()
    aws.invoke(json.load(sys.stdin))
    print(json.dumps({"alerts": len(aws.alerts()), "modules": sorted(sys.modules)}))
"""


def test_a_log_event_is_handled_without_the_engine_which_its_function_does_not_have() -> None:
    finished = subprocess.run(  # noqa: S603 - our own
        [sys.executable, "-c", _LOADED_BY_LOG_EVENT],
        input=(EVENTS / "cloudwatch-logs.json").read_text(),
        capture_output=True,
        check=True,
        text=True,
    )
    found = json.loads(finished.stdout.splitlines()[-1])
    assert found["alerts"] > 0
    assert {
        "numpy",
        "isal",
        "flowverdict.flows.accepted_numpy",
        "flowverdict.flowlog.column_reader",
    } & set(found["modules"]) == set()


def test_a_log_group_without_a_described_flow_log_is_read_in_the_default_format(
    aws: LocalAws,
) -> None:
    aws.invoke(log_event("aws-3-ping-response-rejected", "/unknown"))

    (alert,) = aws.alerts()
    assert (alert["leg"], alert["verdict"], alert["service"]) == ("response", "network-acl", "ICMP")


def test_a_configured_format_goes_before_what_ec2_describes(aws: LocalAws) -> None:
    header = (SCENARIOS / "outbound-response.log").read_text().splitlines()[0]

    aws.make_samples()
    aws.invoke(log_event("outbound-response", "/sample/vpc-flow-logs"), {"LOG_FORMAT": header})

    (alert,) = aws.alerts()
    assert (alert["leg"], alert["verdict"]) == ("response", "network-acl")


def test_lines_that_do_not_fit_the_format_are_counted_and_sampled(aws: LocalAws) -> None:
    aws.make_samples()

    invocation = aws.invoke(log_event("outbound-response", "/sample/vpc-flow-logs"))

    assert aws.alerts() == []
    (counts,) = [line["counts"] for line in invocation.log if "counts" in line]
    assert counts["malformed.field-count"] == 2
    assert any(line["message"] == "malformed lines" and line["samples"] for line in invocation.log)


# --- what subscribers can rely on -------------------------------------------------------------------------------------


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
