"""Threads in the alert table: what is stored is read again; races and damage lose no message."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.exceptions import ClientError

from flowverdict.core.errors import StateError
from flowverdict.delivery.slack_bot import Place
from flowverdict.delivery.slack_thread_items import KEPT, DynamoDbThreads, item_of, thread_of
from flowverdict.delivery.slack_threads import Sent, Thread
from tests.helpers.alert_samples import NOW

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

pytestmark = pytest.mark.usefixtures("aws")

TABLE = "alerts"
FINGERPRINT = "0" * 32
THREAD = Thread(
    version=3,
    first=Place(channel_id="C012AB3CD", ts="1795349001.000100"),
    opened_at=NOW,
    has_ended=True,
    sent=(Sent(mark="0123456789abcdef", at=NOW),),
    claimed_until=NOW + 100,
)


@pytest.fixture
def client(aws: None) -> DynamoDBClient:  # noqa: ARG001 - moto's
    made = boto3.client("dynamodb")
    made.create_table(
        TableName=TABLE,
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return made


def threads(client: DynamoDBClient) -> DynamoDbThreads:
    return DynamoDbThreads(client, TABLE, clock=lambda: NOW)


def test_what_is_stored_is_read_again_by_channel_and_problem(client: DynamoDBClient) -> None:
    store = threads(client)
    assert store.read("#network", FINGERPRINT) == Thread()
    first = store.write("#network", FINGERPRINT, Thread(first=THREAD.first))
    assert first is not None
    assert store.read("#network", FINGERPRINT) == first
    second = store.write("#network", FINGERPRINT, first)
    assert second is not None
    assert second.version == 2
    assert store.read("#other", FINGERPRINT) == Thread()
    (item,) = client.scan(TableName=TABLE)["Items"]
    assert item["pk"] == {"S": f"slack##network#{FINGERPRINT}"}
    assert item["expires_at"] == {"N": str(NOW + KEPT)}
    assert "due" not in item  # the sweep does not find it


def test_of_two_writers_the_second_is_told(client: DynamoDBClient) -> None:
    ours, theirs = threads(client), threads(client)
    assert ours.write("#network", FINGERPRINT, Thread()) is not None
    assert theirs.write("#network", FINGERPRINT, Thread()) is None
    # The SDK sends a write again whose answer was lost.
    assert ours.write("#network", FINGERPRINT, Thread()) == Thread(version=1)


def test_all_of_a_thread_comes_back() -> None:
    item = item_of(THREAD, 3, "owner", NOW)
    assert thread_of(item) == THREAD
    body = json.loads(item["body"]["S"])
    assert thread_of(item | {"body": {"S": json.dumps(body | {"later": 1})}}) == THREAD
    assert thread_of({"version": {"N": "1"}, "body": {"S": "{}"}}) == Thread(version=1)


@pytest.mark.parametrize(
    "item",
    [
        {},
        {"version": {"S": "x"}},
        {"version": {"N": "2"}, "body": {"S": "["}},
        {"version": {"N": "2"}, "body": {"S": "[]"}},
        {"version": {"N": "2"}, "body": {"S": '{"opened_at": "soon"}'}},
        {"version": {"N": "2"}, "body": {"S": '{"sent": [[1]]}'}},
        {"version": {"N": "2"}, "body": {"S": '{"claimed_until": 1e999}'}},
        {"version": {"N": "2"}, "body": {"S": "[" * 90_000}},
    ],
)
def test_a_damaged_item_is_no_thread_and_is_written_over(
    client: DynamoDBClient, item: dict[str, dict[str, str]]
) -> None:
    key = {"pk": {"S": f"slack##network#{FINGERPRINT}"}}
    client.put_item(TableName=TABLE, Item=key | item)
    store = threads(client)
    found = store.read("#network", FINGERPRINT)
    assert found.first is None
    assert store.write("#network", FINGERPRINT, found) is not None


def test_a_place_of_another_form_is_no_place() -> None:
    item = item_of(THREAD, 3, "owner", NOW)
    for name, value in (("ts", "<!channel>"), ("ts", None), ("channel_id", "#network")):
        body = json.loads(item["body"]["S"]) | {name: value}
        assert thread_of(item | {"body": {"S": json.dumps(body)}}).first is None


def test_a_table_that_cannot_be_used_is_an_error_of_state(client: DynamoDBClient) -> None:
    store = DynamoDbThreads(client, "missing", clock=lambda: NOW)
    with pytest.raises(StateError, match="missing: could not be read") as raised:
        store.read("#network", FINGERPRINT)
    assert isinstance(raised.value.__cause__, ClientError)
    with pytest.raises(StateError, match="missing: could not be written"):
        store.write("#network", FINGERPRINT, Thread())
