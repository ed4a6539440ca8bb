"""Sources that are not read, or not judged: held back until they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
import pytest

from flowverdict.flowlog.columnar import WINDOW
from flowverdict.lifecycle.dynamodb import DynamoDbStore
from flowverdict.lifecycle.feeds import UnreadSpan
from tests.helpers.alert_samples import NOW
from tests.helpers.memory_stores import MemoryStore

if TYPE_CHECKING:
    from flowverdict.lifecycle.store import AlertStore
    from flowverdict_cli.local_aws import LocalAws

HELD = UnreadSpan(start=NOW - 600, end=NOW - 300)
FLOW_LOG = "123456789012#eu-west-1#fl-0a1b"


@pytest.fixture(params=["table", "memory"])
def store(request: pytest.FixtureRequest, aws: LocalAws) -> AlertStore:
    if request.param == "memory":
        return MemoryStore()
    return DynamoDbStore(boto3.client("dynamodb"), aws.table)


def test_a_source_that_failed_is_held_back_until_it_is_judged(store: AlertStore) -> None:
    store.hold_back("object", FLOW_LOG, HELD, NOW)
    assert store.windows_of("object") is None  # so it is read when it comes again
    store.hold_back("object", FLOW_LOG, UnreadSpan(start=NOW, end=NOW + 1), NOW + 60)  # the first
    assert store.unread(FLOW_LOG, HELD.end - 1, 10) == [HELD]
    assert store.unread(FLOW_LOG, HELD.end, 10) == []  # its records ended before
    assert store.unread("123456789012#eu-west-1", 0, 10) == []  # another feed
    assert store.record_source("object", (1,), NOW)
    assert store.unread(FLOW_LOG, 0, 10) == [HELD]  # until it is judged
    assert store.windows_of("object") == (1,)
    store.release("object", FLOW_LOG)
    assert store.unread(FLOW_LOG, 0, 10) == []
    assert store.windows_of("object") == (1,)


def test_a_source_that_was_read_is_held_back_until_it_is_judged(store: AlertStore) -> None:
    assert not store.record_source("object", (1,), NOW)
    store.release("object", FLOW_LOG)  # it was not held back
    store.hold_back("object", FLOW_LOG, HELD, NOW)
    assert store.windows_of("object") == (1,)
    assert store.unread(FLOW_LOG, 0, 10) == [HELD]
    store.release("object", FLOW_LOG)
    assert store.unread(FLOW_LOG, 0, 10) == []
    assert store.windows_of("object") == (1,)


def test_more_sources_that_are_held_back_than_asked_for_are_too_many_to_tell(
    store: AlertStore,
) -> None:
    for number in range(3):
        store.hold_back(f"object-{number}", FLOW_LOG, HELD, NOW)
    assert store.unread(FLOW_LOG, 0, 3) == [HELD] * 3
    assert store.unread(FLOW_LOG, 0, 2) is None


@pytest.mark.parametrize(
    ("name", "span"),
    [
        # The name of a file shows the five minutes in which its records ended.
        (
            "s3://logs/123456789012_vpcflowlogs_eu-west-1_fl-0a1b_20261122T1155Z_0.log.gz",
            UnreadSpan(start=NOW - 300, end=NOW),
        ),
        ("s3://logs/copied.log", UnreadSpan(start=NOW - 3_600, end=NOW)),
        ("/vpc/flow-logs:eni-0a1b-all", UnreadSpan(start=NOW - 3_600, end=NOW)),
    ],
)
def test_the_time_that_a_source_may_show(name: str, span: UnreadSpan) -> None:
    assert UnreadSpan.of_source(name, NOW) == span
    window = NOW // WINDOW
    assert UnreadSpan.of_windows({window, window + 2}) == UnreadSpan(
        start=window * WINDOW, end=(window + 3) * WINDOW
    )
