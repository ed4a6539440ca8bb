"""The alert manager on moto's table and through the real functions: floods, failures, crashes."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import time_machine
from botocore.exceptions import ClientError, EndpointConnectionError
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends

from flowverdict.alerts.detection import fingerprint
from flowverdict.alerts.model import Kind, Severity, Status
from flowverdict.core.errors import StateError
from flowverdict.core.formatting import isoformat
from flowverdict.delivery.sns import SnsTopics
from flowverdict.flowlog.object_key import ObjectRef
from flowverdict.lifecycle.dynamodb import DynamoDbStore
from flowverdict.lifecycle.intervals import Intervals
from flowverdict.lifecycle.manager import AlertManager
from flowverdict.lifecycle.rate_limit import hour_of
from flowverdict.lifecycle.store import MAX_STATES, Window
from flowverdict_cli.local_aws import REGION, LocalAws
from tests.helpers.alert_samples import NOW, Outbox, a_window, detection, record
from tests.helpers.at_once import NoRules
from tests.helpers.events import BUCKET, notification, queue_message
from tests.helpers.memory_stores import MemoryStore
from tests.helpers.small_company import HEADER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flowverdict.alerts.model import Alert, Notification
    from flowverdict.lifecycle.state_machine import AlertState

INTERVALS = Intervals()
CAP = 30


@pytest.fixture(autouse=True)
def noon() -> Iterator[None]:
    # The rate limit counts by the hours of the clock, so no hour may end during a test.
    with time_machine.travel(NOW, tick=True):
        yield


# --- a flood --------------------------------------------------------------------------------------


def rejected(vpc: int, *, critical: bool = False) -> list[str]:
    """Return the records of a VPC's problem.

    A rejected request from inside or, if ``critical``, an accepted request with its rejected reply.
    """
    near, far = f"10.{vpc // 250}.{vpc % 250}.5", f"192.168.{vpc // 250}.{vpc % 250}"

    def line(ends: str, ports: str, action: str, flags: int, direction: str) -> str:
        source, destination = ends.split()
        return (
            f"8 123456789012 eni-{vpc:017x} {ends} {ports} 6 4 240 {NOW - 600} {NOW - 580} "
            f"{action} OK vpc-{vpc:017x} subnet-{vpc:017x} - {flags} IPv4 {source} {destination} "
            f"{REGION} {direction} -"
        )

    if not critical:
        return [line(f"{far} {near}", "41000 5432", "REJECT", 2, "ingress")]
    return [
        line(f"{far} {near}", "41000 443", "ACCEPT", 2, "ingress"),
        line(f"{near} {far}", "443 41000", "REJECT", 18, "egress"),
    ]


def flood_event(aws: LocalAws, many: int) -> dict[str, Any]:
    """Return the event of a file with a problem in each of ``many`` VPCs, ten of them critical."""
    lines = [
        line for vpc in range(many) for line in rejected(vpc, critical=vpc % (many // 10) == 0)
    ]
    return {"Records": [queue_message("flood", put(aws, "flood", lines))]}


def check_few_messages(aws: LocalAws, event: dict[str, Any], many: int) -> str:
    """Deliver the event twice and sweep once; return the fingerprint of the rate limit's notice."""
    assert aws.invoke(event).failures == ()
    # Ten critical alerts, and as many high alerts as fit below the cap less the third that is
    # reserved for critical alerts.
    severities = Counter(alert["severity"] for alert in aws.alerts())
    assert severities == {"critical": 10, "high": CAP - CAP // 3 - 10}

    assert aws.sweep(int(time.time()) + 60).failures == ()
    (so_far,) = aws.alerts()
    held_back = many - CAP + CAP // 3
    assert (so_far["kind"], so_far["severity"]) == ("rate-limited", "high")
    assert so_far["title"] == f"{held_back:,} alerts held back so far: more than {CAP} an hour"

    assert aws.invoke(event).failures == ()  # delivered again
    assert aws.alerts() == []
    return str(so_far["fingerprint"])


@pytest.mark.slow
def test_ten_thousand_problems_at_once_are_a_few_messages(
    aws: LocalAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    many, store = 10_000, MemoryStore()
    for name in ("alert_wiring.DynamoDbStore", "reader_wiring.DynamoDbSources"):
        monkeypatch.setattr(f"flowverdict.app.{name}", lambda *_, **__: store)
    monkeypatch.setattr("flowverdict.app.alert_wiring.Ec2Config", NoRules)
    notice = check_few_messages(aws, flood_event(aws, many), many)
    states = [state for name, state in store.states.items() if name != notice]
    assert len(states) == sum(state.notification.records for state in states) == many


@pytest.mark.slow
def test_some_hundred_problems_at_once_are_written_in_full_transactions(
    aws: LocalAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = 300
    calls: Counter[str] = Counter()
    throttled = Counter({"BatchGetItem": 5})
    count_calls_of_dynamodb(monkeypatch, calls, throttled)
    # EC2 on moto is slow for many interfaces, and its answers do not matter here.
    monkeypatch.setattr("flowverdict.app.alert_wiring.Ec2Config", NoRules)
    event = flood_event(aws, many)
    notice = check_few_messages(aws, event, many)
    assert throttled["BatchGetItem"] == 0, "the keys left out were requested again"
    assert many // MAX_STATES <= calls["TransactWriteItems"] <= many // MAX_STATES + 10
    names = [name for name in names_in(aws) if name != notice]
    assert len(names) == records(aws, names) == many


@pytest.mark.slow
def test_the_cap_speaks_at_once_and_once_more_when_the_hour_is_over(aws: LocalAws) -> None:
    store, outbox = DynamoDbStore(boto3.client("dynamodb"), aws.table), Outbox()
    manager = AlertManager(store, outbox, intervals=INTERVALS, hourly_limit=3)
    hour = hour_of(NOW)
    record(manager, [detection(str(number)) for number in range(5)], a_window(), hour)
    manager.sweep(hour + 60, None)
    record(
        manager,
        [detection("late", Severity.MEDIUM), detection("grave", Severity.CRITICAL)],
        a_window(),
        hour + 1_800,
    )
    for minutes in (31, 40, 59, 60, 65, 70):
        manager.sweep(hour + minutes * 60, None)

    floods = [
        notification for notification in outbox.sent if notification.kind is Kind.RATE_LIMITED
    ]
    assert [one.title for one in floods] == [
        "3 alerts held back so far: more than 3 an hour",
        "4 alerts held back: more than 3 an hour",
    ]
    assert "(3 high, 1 medium)" in floods[1].summary
    # The reserved third of the cap was left for the critical alerts.
    assert fingerprint("grave") in {notification.fingerprint for notification in outbox.sent}


def count_calls_of_dynamodb(
    patch: pytest.MonkeyPatch, calls: Counter[str], leave_out: Counter[str]
) -> None:
    """Count the calls; the first reads leave a key out, as DynamoDB does when it is busy."""
    real = boto3.client

    def client(service: str, **rest: Any) -> Any:  # noqa: ANN401 - boto3's
        made = real(service, **rest)  # type: ignore[call-overload]
        if service == "dynamodb":
            made.meta.events.register(
                "before-call.dynamodb", lambda model, **_: calls.update([model.name])
            )
            made.meta.events.register("after-call.dynamodb.BatchGetItem", left_out)
        return made

    def left_out(parsed: dict[str, Any], **_: object) -> None:
        for table, items in parsed.get("Responses", {}).items():
            if items and leave_out["BatchGetItem"] > 0:
                leave_out["BatchGetItem"] -= 1
                parsed["UnprocessedKeys"] = {
                    table: {"Keys": [{"pk": items.pop()["pk"]}], "ConsistentRead": True}
                }

    patch.setattr(boto3, "client", client)


def put(aws: LocalAws, name: str, lines: list[str]) -> dict[str, Any]:
    key = f"AWSLogs/123456789012/vpcflowlogs/{REGION}/2026/11/22/{name}.log"
    aws.put_object(ObjectRef(bucket=BUCKET, key=key), "\n".join([HEADER, *lines]).encode())
    return notification(key)


def names_in(aws: LocalAws) -> list[str]:
    # The keys from moto itself: its scan reads the whole table for every page.
    keys = [
        str(key.value)
        for key in dynamodb_backends[DEFAULT_ACCOUNT_ID][REGION].tables[aws.table].items
    ]
    return [key.removeprefix("alert#") for key in keys if key.startswith("alert#")]


def records(aws: LocalAws, names: Sequence[str] | None = None) -> int:
    """Add up what was counted of those alerts, or of all."""
    found = DynamoDbStore(boto3.client("dynamodb"), aws.table).load(
        names_in(aws) if names is None else names
    )
    return sum(state.notification.records for state in found.values())


# --- failures -------------------------------------------------------------------------------------


def one_fault(aws: LocalAws, name: str = "fault") -> dict[str, Any]:
    return {"Records": [queue_message(name, put(aws, name, rejected(1)))]}


def test_a_topic_that_is_away_delays_a_message_and_sends_it_once(aws: LocalAws) -> None:
    event = one_fault(aws)
    away = {"ALERT_TOPIC_ARN": f"arn:aws:sns:{REGION}:{DEFAULT_ACCOUNT_ID}:gone"}

    invocation = aws.invoke(event, away)
    assert invocation.error is None
    assert invocation.answer == {"batchItemFailures": []}
    (line,) = [
        line
        for line in invocation.log
        if line.get("message") == "alert not published, the sweep tries again"
    ]
    assert "gone" in line["reason"]
    assert aws.alerts() == []

    now = int(time.time())
    assert aws.sweep(now + 60).failures == ()  # a function may still be at it
    assert aws.alerts() == []
    for minutes in (6, 11, 16):
        assert aws.sweep(now + 60 * minutes).failures == ()
    (alert,) = aws.alerts()
    assert (alert["status"], alert["records"]) == ("firing", 1)


@pytest.mark.slow
def test_a_sweep_that_cannot_send_says_so_and_the_next_one_sends(aws: LocalAws) -> None:
    away = {"ALERT_TOPIC_ARN": f"arn:aws:sns:{REGION}:{DEFAULT_ACCOUNT_ID}:gone"}
    aws.invoke(one_fault(aws), away)
    now = int(time.time())
    event: dict[str, Any] = {
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "time": isoformat(now + 360),
        "detail": {},
    }
    (failure,) = aws.invoke(event, away).failures
    assert failure.startswith("1 messages not sent; the first: ")
    aws.sweep(now + 700)
    assert [alert["status"] for alert in aws.alerts()] == ["firing"]


class CrashError(BaseException):
    """The function dies: nothing that handles errors sees this."""


class DyingTopics:
    """Topics whose function dies before it sends."""

    def publish(self, notification: Notification) -> None:
        raise CrashError(notification.fingerprint)

    def publish_ends(self, alerts: Sequence[Alert]) -> None:
        raise CrashError(len(alerts))


class BadStore(DynamoDbStore):
    """A store that fails when a notification is marked as sent."""

    error: BaseException = CrashError()

    def mark_sent(self, state: AlertState, intervals: Intervals) -> None:
        del state, intervals
        raise self.error


@pytest.mark.parametrize("when", ["between commit and publish", "between publish and note"])
def test_a_crash_loses_no_message_and_counts_nothing_twice(aws: LocalAws, when: str) -> None:
    client = boto3.client("dynamodb")
    topics = SnsTopics(boto3.client("sns"), aws.topic_arn)
    store = DynamoDbStore(client, aws.table)
    dying = (
        AlertManager(store, DyingTopics(), intervals=INTERVALS, hourly_limit=CAP)
        if when == "between commit and publish"
        else AlertManager(
            BadStore(client, aws.table), topics, intervals=INTERVALS, hourly_limit=CAP
        )
    )
    window = a_window()
    with pytest.raises(CrashError):
        record(dying, [detection(records=7)], window, NOW)
    assert len(aws.alerts()) == (0 if when == "between commit and publish" else 1)

    manager = AlertManager(store, topics, intervals=INTERVALS, hourly_limit=CAP)
    again = replace(
        store.load_windows([window.window_id])[window.window_id], judged="what it shows"
    )
    record(manager, [detection(records=7)], again, NOW + 60)  # the queue delivers again
    for now in range(NOW + 60, NOW + 1_200, 300):
        manager.sweep(now, None)
    (alert,) = aws.alerts()
    assert (alert["status"], alert["records"]) == ("firing", 7)


def test_a_message_that_was_sent_and_cannot_be_noted_stops_nothing_else(aws: LocalAws) -> None:
    store, outbox = BadStore(boto3.client("dynamodb"), aws.table), Outbox()
    store.error = StateError("the table is away")
    outcome = record(
        AlertManager(store, outbox, intervals=INTERVALS, hourly_limit=CAP),
        [detection("one"), detection("two")],
        a_window(),
        NOW,
    )
    assert len(outcome.notified) == len(outbox.sent) == 2
    assert ["could not be recorded" in line for line in outcome.undelivered] == [True, True]


@pytest.mark.slow
@pytest.mark.parametrize("call", ["UpdateItem", "BatchGetItem", "TransactWriteItems"])
def test_without_the_table_the_message_goes_back_and_nothing_is_told(
    aws: LocalAws, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    event = one_fault(aws)
    with monkeypatch.context() as patch:
        real = boto3.client

        def client(service: str, **rest: Any) -> Any:  # noqa: ANN401 - boto3's
            made = real(service, **rest)  # type: ignore[call-overload]
            if service == "dynamodb":
                made.meta.events.register(f"before-call.dynamodb.{call}", away)
            return made

        def away(**_: object) -> None:
            raise EndpointConnectionError(endpoint_url="https://dynamodb.example")

        patch.setattr(boto3, "client", client)
        invocation = aws.invoke(event)
    # A source that cannot be claimed fails its message. Records that cannot be counted fail the
    # invocation, and the queue gets all messages back.
    returned = invocation.answer == {"batchItemFailures": [{"itemIdentifier": "fault"}]}
    assert returned is (call != "TransactWriteItems")
    assert isinstance(invocation.error, StateError) is (call == "TransactWriteItems")
    assert "dynamodb.example" in invocation.failures[0]
    assert aws.alerts() == []

    assert aws.invoke(event).failures == ()
    (alert,) = aws.alerts()
    assert (alert["status"], alert["records"]) == ("firing", 1)
    assert aws.invoke(event).failures == ()
    assert aws.alerts() == []
    assert records(aws) == 1


# --- two at once, one after the other's reading ---------------------------------------------------


def test_who_was_slower_counts_and_does_not_tell(aws: LocalAws) -> None:
    client = boto3.client("dynamodb")
    store, outbox = DynamoDbStore(client, aws.table), Outbox()
    fast = AlertManager(store, outbox, intervals=INTERVALS, hourly_limit=CAP)

    class Slow(DynamoDbStore):
        overtaken = False

        def commit(self, *what: Any) -> None:  # noqa: ANN401 - as the store's
            if not self.overtaken:
                self.overtaken = True
                record(fast, [detection(records=2)], a_window(), NOW)
            super().commit(*what)

    record(
        AlertManager(
            Slow(client, aws.table),
            outbox,
            intervals=INTERVALS,
            hourly_limit=CAP,
            wait=lambda _: None,
        ),
        [detection(records=3)],
        a_window(),
        NOW,
    )
    assert [(notification.status, notification.records) for notification in outbox.sent] == [
        (Status.FIRING, 2)
    ]
    state = store.load([fingerprint("one")])[fingerprint("one")]
    assert (state.notification.records, state.notification.severity, state.messages) == (
        5,
        Severity.HIGH,
        1,
    )


@pytest.mark.usefixtures("aws")
def test_a_table_that_is_not_there_is_one_clear_line() -> None:
    manager = AlertManager(
        DynamoDbStore(boto3.client("dynamodb"), "gone"),
        Outbox(),
        intervals=INTERVALS,
        hourly_limit=CAP,
    )
    with pytest.raises(StateError, match=r"gone: could not be read: .*ResourceNotFound") as raised:
        record(manager, [detection()], a_window(), NOW)
    assert isinstance(raised.value.__cause__, ClientError)


def test_what_a_digest_has_told_of_a_window_is_not_told_again_when_more_of_it_comes() -> None:
    store, outbox = MemoryStore(), Outbox()
    manager = AlertManager(store, outbox, intervals=INTERVALS, hourly_limit=30)
    midnight = INTERVALS.digest_end(NOW)

    def judged(records: int, now: int) -> None:
        window = store.load_windows(["place#1"]).get("place#1", Window(window_id="place#1"))
        record(
            manager,
            [detection("noise-0", Severity.LOW, records=records)],
            replace(window, judged=str(records)),
            now,
        )

    judged(5, NOW)
    manager.sweep(midnight + 60, None)
    judged(7, midnight + 120)  # a file of the same five minutes, late
    judged(8, midnight + 180)  # and another one
    manager.sweep(midnight + INTERVALS.digest + 60, None)
    assert [
        notification.records for notification in outbox.sent if notification.kind is Kind.DIGEST
    ] == [5, 3]
