"""Files of other services in a log archive fail nothing: they are acknowledged and counted."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.events.models import EventPattern

from flowverdict.flowlog.object_key import ObjectRef
from flowverdict_cli.local_aws import REGION
from tests.helpers.events import (
    BUCKET,
    KEY,
    failed,
    notification,
    put_scenario,
    queue_event,
)
from tests.helpers.sam_template import read_template

if TYPE_CHECKING:
    from flowverdict_cli.local_aws import LocalAws

ROOT = Path(__file__).parents[2]
ARCHIVE = f"AWSLogs/{DEFAULT_ACCOUNT_ID}/"
TRAIL = f"{ARCHIVE}CloudTrail/{REGION}/2026/11/22/trail.json.gz"
NOT_FLOW_LOGS = {
    TRAIL: gzip.compress(b'{"Records": []}'),
    f"{ARCHIVE}elasticloadbalancing/{REGION}/2026/11/22/balancer.log.gz": gzip.compress(b"http x"),
    f"{ARCHIVE}Config/ConfigWritabilityCheckFile": b"",
    f"{ARCHIVE}vpcflowlogs/{REGION}/2026/11/": b"",
    "AWSLogs/aws-logs-write-test": b"test",
    KEY % "empty": b"",
    KEY % "empty-and-packed": gzip.compress(b""),
}


@pytest.mark.parametrize("key", NOT_FLOW_LOGS)
def test_a_foreign_or_empty_object_is_acknowledged_and_counted(aws: LocalAws, key: str) -> None:
    good = notification(put_scenario(aws, "outbound-response"))
    aws.put_object(ObjectRef(bucket=BUCKET, key=key), NOT_FLOW_LOGS[key])

    invocation = aws.invoke(queue_event(notification(key), good))

    assert failed(invocation) == []
    assert invocation.counts["passed_over"] == 1
    (line,) = [line for line in invocation.log if line["message"] == "not a flow log, passed over"]
    assert line["source"] == f"s3://{BUCKET}/{key}"
    assert len(aws.alerts()) == 1


def test_an_object_that_claims_to_be_a_flow_log_and_is_none_still_fails(aws: LocalAws) -> None:
    aws.put_object(ObjectRef(bucket=BUCKET, key=KEY % "odd"), NOT_FLOW_LOGS[TRAIL])
    invocation = aws.invoke(queue_event(notification(KEY % "odd")))
    assert failed(invocation) == ["message-0"]
    assert invocation.counts["passed_over"] == 0


@pytest.mark.slow
def test_a_foreign_object_of_a_direct_event_is_acknowledged_too(aws: LocalAws) -> None:
    invocation = aws.invoke(notification(TRAIL))
    assert invocation.error is None
    assert invocation.counts["passed_over"] == 1


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (
            {"source": "aws.s3", "detail-type": "AWS API Call via CloudTrail", "detail": {}},
            "an event of detail-type AWS API Call via CloudTrail",
        ),
        ({"Service": "Amazon S3", "Event": "s3:TestEvent"}, "S3's test event"),
    ],
)
def test_an_event_of_another_detail_type_is_logged_and_counted(
    aws: LocalAws, event: dict[str, Any], reason: str
) -> None:
    invocation = aws.invoke(queue_event(event))
    assert failed(invocation) == []
    assert invocation.counts["passed_over"] == 1
    (line,) = [line for line in invocation.log if line["message"] == "not a flow log, passed over"]
    assert line["reason"] == reason


@pytest.mark.parametrize("prefix", ["", "AWSLogs/", ARCHIVE])
def test_the_rule_of_the_existing_bucket_lets_flow_logs_pass_and_nothing_else(prefix: str) -> None:
    rule = read_template(ROOT / "template.yaml")["Resources"]["ExistingBucketRule"]["Properties"]
    text = json.dumps(rule["EventPattern"]).replace(
        '{"Split": [",", {"Ref": "ExistingBucketName"}]}', '["logs"]'
    )
    assert '{"Sub": "${ExistingBucketPrefix}' in text
    text = text.replace(
        '{"Sub": "${ExistingBucketPrefix}*_vpcflowlogs_*"}', f'"{prefix}*_vpcflowlogs_*"'
    )
    pattern = EventPattern.load(text)

    def passes(key: str) -> bool:
        return pattern.matches_event(
            {
                "source": "aws.s3",
                "detail-type": "Object Created",
                "detail": {"bucket": {"name": "logs"}, "object": {"key": key}},
            }
        )

    assert passes(KEY % "x")  # a transit gateway's file has the same name
    assert not passes(TRAIL)
    assert not passes("AWSLogs/aws-logs-write-test")
    assert passes(f"copies/{KEY % 'x'}") is (prefix == "")
