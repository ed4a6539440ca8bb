"""Sources that fail at any step are held back until they come again, through the real functions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest

from flowverdict.core.errors import EvidenceError
from flowverdict.lifecycle.dynamodb import DynamoDbStore
from flowverdict.lifecycle.windows import WindowEvaluator
from flowverdict_cli.local_aws import REGION
from tests.helpers.events import failed, notification, put_scenario, queue_event

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


@pytest.mark.parametrize("way", ["not stored", "not evaluated"])
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


@pytest.mark.parametrize("way", ["not stored", "not evaluated", "out of time"])
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


def test_what_is_read_at_once_writes_nothing_more(
    aws: LocalAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_called(*_: object, **__: object) -> None:
        pytest.fail("held back, or released")

    monkeypatch.setattr(DynamoDbStore, "hold_back", not_called)
    monkeypatch.setattr(DynamoDbStore, "release", not_called)
    event = queue_event(notification(put_scenario(aws, "rules-inbound-request")))
    assert failed(aws.invoke(event)) == []
    empty = queue_event(notification("AWSLogs/123456789012/CloudTrail/x.json.gz"))
    assert failed(aws.invoke(empty)) == []
