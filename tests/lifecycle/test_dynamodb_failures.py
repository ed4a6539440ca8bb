"""The DynamoDB store under throttling, lost permissions and transactions of other invocations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError
from botocore.stub import ANY, Stubber

from flowverdict.alerts.detection import fingerprint
from flowverdict.alerts.model import Severity
from flowverdict.core.errors import StateError
from flowverdict.lifecycle.dynamodb import DynamoDbStore
from flowverdict.lifecycle.dynamodb_items import pack_state
from flowverdict.lifecycle.episodes import EpisodeContext, on_detection
from flowverdict.lifecycle.feeds import UnreadSpan
from flowverdict.lifecycle.intervals import Intervals
from flowverdict.lifecycle.store import (
    AlertStore,
    Commit,
    ConflictError,
)
from tests.helpers.alert_samples import NOW, detection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

    from flowverdict.lifecycle.state_machine import (
        AlertState,
    )


AROUND = EpisodeContext(window_id="place#1")
INTERVALS = Intervals()


def fresh(name: str = "one", severity: Severity = Severity.HIGH, now: int = NOW) -> AlertState:
    return on_detection(None, detection(name, severity), now, inhibited=False, context=AROUND)


def commit(store: AlertStore, *states: AlertState) -> None:
    store.commit(Commit(states=states), NOW, INTERVALS)


# --- DynamoDB on a bad day ------------------------------------------------------------------------

TABLE = "alerts-of-a-bad-day"


@dataclass(slots=True)
class Bad:
    store: DynamoDbStore
    client: DynamoDBClient
    stub: Stubber
    waits: list[float]


@pytest.fixture
def bad() -> Iterator[Bad]:
    waits: list[float] = []
    client = boto3.client(
        "dynamodb",
        region_name="eu-west-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",  # noqa: S106
    )
    with Stubber(client) as stub:
        yield Bad(DynamoDbStore(client, TABLE, wait=waits.append), client, stub, waits)


def item_of(state: AlertState) -> dict[str, Any]:
    return {
        "pk": {"S": f"alert#{state.fingerprint}"},
        "version": {"N": "1"},
        "body": {"B": pack_state(state)},
    }


def cancelled(*codes: str) -> dict[str, Any]:
    return {
        "service_error_code": "TransactionCanceledException",
        "modeled_fields": {"CancellationReasons": [{"Code": code} for code in codes]},
        "response_meta": {},
    }


def keys(*names: str) -> dict[str, Any]:
    return {
        TABLE: {
            "Keys": [{"pk": {"S": f"alert#{fingerprint(name)}"}} for name in names],
            "ConsistentRead": True,
        }
    }


def test_what_a_reading_left_out_is_asked_for_again(bad: Bad) -> None:
    one, two = fresh("one").sent(), fresh("two").sent()
    bad.stub.add_response(
        "batch_get_item",
        {"Responses": {TABLE: [item_of(one)]}, "UnprocessedKeys": keys("two")},
        {"RequestItems": keys("one", "two")},
    )
    bad.stub.add_response(
        "batch_get_item", {"Responses": {TABLE: [item_of(two)]}}, {"RequestItems": keys("two")}
    )
    assert set(bad.store.load([one.fingerprint, two.fingerprint])) == {
        one.fingerprint,
        two.fingerprint,
    }
    bad.stub.assert_no_pending_responses()
    assert len(bad.waits) == 1


def test_a_reading_that_stays_incomplete_is_an_error_and_no_half_answer(bad: Bad) -> None:
    for _ in range(8):
        bad.stub.add_response(
            "batch_get_item", {"Responses": {TABLE: []}, "UnprocessedKeys": keys("one")}
        )
    with pytest.raises(
        StateError, match="could not be read whole in 8 tries; DynamoDB is throttling"
    ):
        bad.store.load([fingerprint("one")])
    bad.stub.assert_no_pending_responses()
    assert bad.waits == sorted(bad.waits)  # longer each time
    assert sum(bad.waits) < 15


@pytest.mark.parametrize(
    "codes",
    [
        ("None", "ConditionalCheckFailed"),
        ("TransactionConflict",),
        ("ConditionalCheckFailed", "ThrottlingError"),
    ],
)
def test_a_transaction_that_others_were_faster_than_is_a_conflict(
    bad: Bad, codes: tuple[str, ...]
) -> None:
    bad.stub.add_client_error("transact_write_items", **cancelled(*codes))
    with pytest.raises(ConflictError):
        commit(bad.store, fresh())
    assert bad.waits == []


@pytest.mark.parametrize("code", ["ThrottlingError", "ProvisionedThroughputExceeded"])
def test_a_throttled_transaction_is_tried_again(bad: Bad, code: str) -> None:
    bad.stub.add_client_error("transact_write_items", **cancelled("None", code))
    bad.stub.add_client_error("transact_write_items", **cancelled(code))
    bad.stub.add_response("transact_write_items", {})
    commit(bad.store, fresh())
    bad.stub.assert_no_pending_responses()
    assert len(bad.waits) == 2


def test_a_transaction_that_stays_throttled_is_an_error(bad: Bad) -> None:
    for _ in range(8):
        bad.stub.add_client_error("transact_write_items", **cancelled("ThrottlingError"))
    with pytest.raises(StateError, match="could not be written in 8 tries; DynamoDB is throttling"):
        commit(bad.store, fresh())


def test_a_transaction_that_no_other_try_can_help_is_an_error_at_once(bad: Bad) -> None:
    bad.stub.add_client_error(
        "transact_write_items", **cancelled("ValidationError", "ConditionalCheckFailed")
    )
    with pytest.raises(StateError, match="not written: ConditionalCheckFailed, ValidationError"):
        commit(bad.store, fresh())
    assert bad.waits == []


def test_an_item_in_somebodys_transaction_is_waited_for(bad: Bad) -> None:
    state = replace(fresh(), version=1)
    bad.stub.add_client_error("update_item", "TransactionConflictException", http_status_code=400)
    bad.stub.add_response(
        "update_item", {}, {**dict.fromkeys(UPDATE_FIELDS, ANY), "TableName": TABLE}
    )
    bad.store.mark_sent(state, INTERVALS)
    bad.stub.assert_no_pending_responses()
    assert len(bad.waits) == 1
    for _ in range(8):
        bad.stub.add_client_error(
            "update_item", "TransactionConflictException", http_status_code=400
        )
    with pytest.raises(StateError, match="other invocations write the same item"):
        bad.store.mark_sent(fresh(), INTERVALS)


UPDATE_FIELDS = (
    "Key",
    "UpdateExpression",
    "ConditionExpression",
    "ExpressionAttributeValues",
    "ExpressionAttributeNames",
)

CALLS: dict[str, Callable[[AlertStore], object]] = {
    "batch_get_item": lambda store: store.load([fingerprint("one")]),
    "transact_write_items": lambda store: commit(store, fresh()),
    "update_item": lambda store: store.mark_sent(fresh(), INTERVALS),
    "update_item, held back": lambda store: store.hold_back(
        "object", "feed", UnreadSpan(start=1, end=2), NOW
    ),
    "update_item, read": lambda store: store.record_source("object", (1,), NOW),
    "query": lambda store: list(store.due(NOW, 10)),
}


@pytest.mark.parametrize("call", sorted(CALLS))
@pytest.mark.parametrize(
    "code",
    [
        "AccessDeniedException",
        "ResourceNotFoundException",
        "ProvisionedThroughputExceededException",
    ],
)
def test_what_dynamodb_refuses_is_one_clear_line(bad: Bad, call: str, code: str) -> None:
    bad.stub.add_client_error(
        call.partition(",")[0], code, "the reason that AWS gives", http_status_code=400
    )
    with pytest.raises(StateError) as raised:
        CALLS[call](bad.store)
    text = str(raised.value)
    assert text.startswith(f"{TABLE}: ")
    assert code in text
    assert "the reason that AWS gives" in text
    assert "\n" not in text
    assert isinstance(raised.value.__cause__, ClientError)


@pytest.mark.parametrize("call", sorted(CALLS))
@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url="https://dynamodb.example"),
        ReadTimeoutError(endpoint_url="https://dynamodb.example"),
    ],
    ids=["unreachable", "time-out"],
)
def test_a_table_that_cannot_be_reached_is_one_clear_line(call: str, error: Exception) -> None:
    client = boto3.client(
        "dynamodb",
        region_name="eu-west-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",  # noqa: S106
    )

    def away(**_: object) -> None:
        raise error

    client.meta.events.register("before-call.dynamodb", away)
    with pytest.raises(StateError, match=r"dynamodb\.example") as raised:
        CALLS[call](DynamoDbStore(client, TABLE))
    assert "\n" not in str(raised.value)
