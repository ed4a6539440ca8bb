"""Each shape in which flow logs lie in S3, through the function: the same alerts from every one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flowverdict.flowlog.object_key import ObjectRef
from flowverdict_cli.local_aws import REGION
from tests.helpers.events import BUCKET, failed, notification, queue_event
from tests.helpers.input_samples import COUNTS, IN_S3, NAMED, RECORDS
from tests.helpers.one_fast import one_fast

if TYPE_CHECKING:
    from flowverdict_cli.local_aws import Invocation, LocalAws

EXPORT = "exported/0fd1a3b2-77d2-4a2e-9c0d-8f2b9a6c1e11"
LAKE = f"aws/VPC_FLOW/2.0/region={REGION}/accountId=123456789012/eventDay=20261126"
KEYS = {
    "CloudWatch export": f"{EXPORT}/eni-0aaaaaaaaaaaaaaa1-all/000000.gz",
    "Firehose envelopes": f"cloudwatch-logs/123456789012/{REGION}/2026/11/26/12/to-s3-1-2026-11-26",
    "Security Lake": f"{LAKE}/a.gz.parquet",
}


def deliver(aws: LocalAws, shape: str, content: bytes) -> Invocation:
    """Put an object and deliver its event."""
    key = KEYS.get(shape, f"2026/11/26/12/{shape.replace(' ', '-')}")
    aws.put_object(ObjectRef(bucket=BUCKET, key=key), content)
    return aws.invoke(queue_event(notification(key)))


@pytest.mark.parametrize("shape", one_fast(IN_S3, "Security Lake"))
def test_every_shape_in_s3_gives_the_same_alerts(aws: LocalAws, shape: str) -> None:
    invocation = deliver(aws, shape, IN_S3[shape])
    assert failed(invocation) == []
    (counts,) = [line["counts"] for line in invocation.log if "counts" in line]
    assert {name: counts[name] for name in COUNTS} == COUNTS
    assert sorted(alert["service_port"] for alert in aws.alerts()) == [22, 3389]


@pytest.mark.parametrize(
    "kind", one_fast(["CloudTrail", "gzip in gzip", "other JSON"], "CloudTrail")
)
def test_an_object_of_another_kind_fails_and_is_named(aws: LocalAws, kind: str) -> None:
    invocation = deliver(aws, kind, NAMED[kind])
    assert failed(invocation) == ["message-0"]
    said = {"CloudTrail": "CloudTrail file", "other JSON": "no flow log record"}.get(kind, kind)
    assert said in invocation.failures[0]


def test_bare_records_in_s3_are_refused_since_their_format_is_not_known(aws: LocalAws) -> None:
    invocation = deliver(aws, "bare", "\n".join(RECORDS).encode())
    assert failed(invocation) == ["message-0"]
    assert "not a header of field names" in invocation.failures[0]
