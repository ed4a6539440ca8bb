"""Sources that fail at any step are held back until they come again, through the real functions."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest

from flowverdict.app.sources import SourcePlace
from flowverdict.core.errors import EvidenceError
from flowverdict.flowlog.columnar import WINDOW
from flowverdict.flowlog.object_key import ObjectRef
from flowverdict.flows.evidence_s3 import S3Evidence
from flowverdict.lifecycle.dynamodb import DynamoDbStore
from flowverdict.lifecycle.dynamodb_sources import DynamoDbSources
from flowverdict.lifecycle.windows import WindowEvaluator
from flowverdict_cli.local_aws import REGION
from tests.helpers.events import BUCKET, failed, notification, put_scenario, queue_event
from tests.helpers.one_fast import one_fast
from tests.helpers.shop import SCENARIOS

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowverdict_cli.local_aws import Invocation, LocalAws

EVENTS = Path(__file__).parents[2] / "events"
OWNER = "123456789012"
NO_BUCKET = {"EVIDENCE_BUCKET": "gone-away"}


def held_back(aws: LocalAws) -> list[str]:
    """Return the feeds of which sources are held back."""
    store = DynamoDbStore(boto3.client("dynamodb"), aws.table)
    items = boto3.client("dynamodb").scan(TableName=aws.table)["Items"]
    dues = {item["due"]["S"] for item in items if "unread_from" in item}
    feeds = [due.removeprefix("unread#") for due in sorted(dues)]
    assert all(store.unread(feed, 0, 10) for feed in feeds)
    return feeds


def cannot_evaluate(*_: object, **__: object) -> None:
    raise EvidenceError("s3://evidence: AccessDenied")


@pytest.mark.parametrize("way", one_fast(["not stored", "not evaluated"], "not stored"))
def test_a_log_event_that_fails_is_held_back(
    aws: LocalAws, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    aws.make_samples()
    event = json.loads((EVENTS / "cloudwatch-logs.json").read_text())
    with monkeypatch.context() as patch:
        if way == "not evaluated":
            patch.setattr(WindowEvaluator, "evaluate", cannot_evaluate)
        invocation = aws.invoke(event, NO_BUCKET if way == "not stored" else None)
    assert invocation.failures != ()
    assert held_back(aws) == [f"{OWNER}#{REGION}#/sample/vpc-flow-logs"]
    assert aws.invoke(event).failures == ()
    assert held_back(aws) == []


@pytest.mark.parametrize(
    "way", one_fast(["not stored", "not evaluated", "out of time"], "not evaluated")
)
def test_an_object_that_fails_is_held_back(
    aws: LocalAws, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    event = queue_event(notification(put_scenario(aws, "rules-inbound-request")))
    tries: dict[str, Callable[[], Invocation]] = {
        "not stored": lambda: aws.invoke(event, NO_BUCKET),
        "not evaluated": lambda: aws.invoke(event),
        "out of time": lambda: aws.invoke(event, seconds=0),
    }
    with monkeypatch.context() as patch:
        if way == "not evaluated":
            patch.setattr(WindowEvaluator, "evaluate", cannot_evaluate)
        invocation = tries[way]()
    assert invocation.failures != ()
    (feed,) = held_back(aws)
    assert feed.startswith(f"{OWNER}#{REGION}")
    assert aws.invoke(event).failures == ()
    assert held_back(aws) == []


def test_of_a_file_that_is_read_later_no_loss_stays_where_it_has_no_records(aws: LocalAws) -> None:
    content = (SCENARIOS / "rules-inbound-request.log").read_bytes()  # of 12:00
    key = f"{OWNER}_vpcflowlogs_{REGION}_fl-0a1b_20261122T1130Z_late.log"
    ref = ObjectRef(bucket=BUCKET, key=f"AWSLogs/{OWNER}/vpcflowlogs/{REGION}/2026/11/22/{key}")
    event = queue_event(notification(ref.key))
    aws.put_object(ref, b"no flow log")
    assert failed(aws.invoke(event)) != []
    assert losses(aws, ref.key) == 1

    aws.put_object(ref, content)
    assert failed(aws.invoke(event)) == []
    assert losses(aws, ref.key) == 0


def losses(aws: LocalAws, key: str) -> int:
    """Count the pieces of evidence that say that records are missing."""
    window = int(datetime(2026, 11, 22, 11, 30, tzinfo=UTC).timestamp()) // WINDOW
    store = S3Evidence(boto3.client("s3"), aws.evidence_bucket, lambda *_: None)
    found = store.read(SourcePlace.of_object(key).partition, window, window + 6)
    return sum(bool(piece.flows.losses) for pieces in found.values() for piece in pieces)


def test_what_is_read_at_once_writes_nothing_more(
    aws: LocalAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_called(*_: object, **__: object) -> None:
        pytest.fail("held back, or released")

    monkeypatch.setattr(DynamoDbSources, "hold_back", not_called)
    monkeypatch.setattr(DynamoDbSources, "release", not_called)
    event = queue_event(notification(put_scenario(aws, "rules-inbound-request")))
    assert failed(aws.invoke(event)) == []
    empty = queue_event(notification("AWSLogs/123456789012/CloudTrail/x.json.gz"))
    assert failed(aws.invoke(empty)) == []
