"""Evidence and objects that cannot be read count as missing (``classify_s3`` on moto)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import time_machine

from flowverdict.flowlog.losses import Loss
from flowverdict.flowlog.object_key import ObjectRef
from flowverdict.flows.bundle import chosen, pieces_in
from tests.helpers.alert_samples import NOW
from tests.helpers.at_once import NoRules
from tests.helpers.flow_log_lines import content_of, key_of, reply, request
from tests.helpers.one_fast import one_fast

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flowverdict_cli.local_aws import Invocation, LocalAws

BUCKET = "flow-logs"
GARBAGE = {"damaged": b"\x00garbage", "of a later version": b"FVE9" + bytes(40)}


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("flowverdict.app.alert_wiring.Ec2Config", NoRules)
    with time_machine.travel(NOW, tick=True):
        yield


def deliver(aws: LocalAws, number: int, lines: Sequence[str]) -> Invocation:
    """Store a flow log file and deliver its notification in a batch of one message."""
    return deliver_bytes(aws, number, content_of(lines))


def deliver_bytes(aws: LocalAws, number: int, content: bytes) -> Invocation:
    key = key_of("fl-aa", number)
    aws.put_object(ObjectRef(bucket=BUCKET, key=key), content)
    s3 = {
        "s3SchemaVersion": "1.0",
        "bucket": {"name": BUCKET},
        "object": {"key": key, "size": 1},
    }
    record = {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": s3}
    message: dict[str, Any] = {
        "messageId": str(number),
        "body": json.dumps({"Records": [{"eventVersion": "2.6", **record}]}),
        "eventSource": "aws:sqs",
        "attributes": {"ApproximateReceiveCount": "1"},
    }
    return aws.invoke({"Records": [message]})


def evidence_keys(aws: LocalAws) -> list[str]:
    listed = boto3.client("s3").list_objects_v2(Bucket=aws.evidence_bucket)
    return [found["Key"] for found in listed["Contents"]]


def overwrite(aws: LocalAws, key: str, body: bytes) -> str:
    boto3.client("s3").put_object(Bucket=aws.evidence_bucket, Key=key, Body=body)
    return f"s3://{aws.evidence_bucket}/{key}"


def unreadable_lines(invocation: Invocation) -> list[tuple[str, str]]:
    return [
        (line["object"], line["level"])
        for line in invocation.log
        if line["message"] == "evidence unreadable"
    ]


@pytest.mark.parametrize("garbage", one_fast(GARBAGE, "damaged"))
def test_the_batch_succeeds_and_the_other_evidence_counts(aws: LocalAws, garbage: str) -> None:
    # The window's readable evidence: an accepted request, without which the reply is not a reply.
    deliver(aws, 1, [request(40_001, 0, action="ACCEPT")])
    (accepted,) = evidence_keys(aws)
    name = overwrite(aws, f"{accepted.rpartition('/')[0]}/0000", GARBAGE[garbage])
    second = deliver(aws, 2, [reply(40_001, 10, packets=3)])
    assert (second.error, second.failures) == (None, ())
    assert second.metrics["EvidenceUnreadable"] == 1
    assert unreadable_lines(second) == [(name, "WARNING")]
    (alert,) = aws.alerts()
    assert (alert["leg"], alert["packets"]) == ("response", 3)


def test_unreadable_evidence_is_reported_once_by_an_execution_environment(aws: LocalAws) -> None:
    aws.keep_warm = True
    deliver(aws, 1, [request(40_001, 0, action="ACCEPT")])
    (accepted,) = evidence_keys(aws)
    overwrite(aws, accepted, b"")
    invocations = [deliver(aws, number, [reply(40_000 + number, 10)]) for number in (2, 3)]
    assert [len(unreadable_lines(invocation)) for invocation in invocations] == [1, 0]


@pytest.mark.slow
def test_evidence_that_becomes_unreadable_takes_nothing_back(aws: LocalAws) -> None:
    deliver(aws, 1, [reply(40_001, 10, packets=3), request(40_001, 0, action="ACCEPT")])
    deliver(aws, 2, [reply(40_002, 10, packets=3), request(40_002, 0, action="ACCEPT")])
    (before,) = aws.alerts()
    for key in evidence_keys(aws):
        overwrite(aws, key, b"")
    third = deliver(aws, 3, [request(40_003, 0, action="ACCEPT")])
    assert third.metrics["EvidenceUnreadable"] == 2
    assert before["status"] == "firing"
    assert aws.alerts() == []


# --- objects that cannot be read ------------------------------------------------------------------

CONNECTION = [reply(40_001, 10, packets=3), request(40_001, 0, action="ACCEPT")]


def missing(aws: LocalAws) -> list[set[Loss]]:
    """Return why records are missing, by piece of evidence."""
    s3 = boto3.client("s3")
    pieces = chosen(
        piece
        for key in evidence_keys(aws)
        for piece in pieces_in(
            key.rpartition("/")[2],
            s3.get_object(Bucket=aws.evidence_bucket, Key=key)["Body"].read(),
        )
    )
    return [{loss for loss, *_ in piece.evidence.flows.losses} for piece in pieces]


def test_a_verdict_beside_an_object_that_was_not_read_says_so(aws: LocalAws) -> None:
    broken = deliver_bytes(aws, 1, b"not a flow log")
    assert "not a VPC flow log" in str(broken.failures)
    assert missing(aws) == [{Loss.NOT_READ}]
    deliver(aws, 2, CONNECTION)
    (alert,) = aws.alerts()
    assert alert["confidence_counts"] == {"likely": 1}
    assert "was not read" in str(alert["evidence"])


def test_an_object_that_is_read_in_the_end_weakens_nothing(aws: LocalAws) -> None:
    deliver_bytes(aws, 1, b"not a flow log")
    deliver(aws, 1, [request(40_009, 0, action="ACCEPT")])
    assert missing(aws) == [set()]
    deliver(aws, 2, CONNECTION)
    (alert,) = aws.alerts()
    assert alert["confidence_counts"] == {"likely": 1}
    assert "was not read" not in str(alert["evidence"])
