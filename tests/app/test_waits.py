"""What fails for a passing reason is tried again in a minute, everything else when the queue says.

News do not get worse in the meantime: an alert that names a rule is not taken back because the
rules cannot be read for now.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
import botocore.client
import pytest
import time_machine
from botocore.exceptions import ClientError
from moto.core.models import DEFAULT_ACCOUNT_ID

from flowverdict.core.errors import StateError
from flowverdict.flowlog.object_key import ObjectRef
from flowverdict.flowlog.records import RecordFormat
from flowverdict.lifecycle.manager import AlertManager
from flowverdict_cli.local_aws import EVALUATE, REGION
from flowverdict_cli.sample_world import LOG_FORMAT, LOG_GROUP, make_sample_world
from scripts.pack_cloudwatch_event import pack
from tests.helpers.alert_samples import NOW
from tests.helpers.events import BUCKET, KEY, failed, notification, put_scenario
from tests.helpers.small_company import HEADER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flowverdict_cli.local_aws import Invocation, LocalAws
    from flowverdict_cli.sample_world import SampleWorld

VISIBILITY = 1_860
# A message is visible in the second after its time-out.
MINUTE, WHOLE_WAIT = 61, VISIBILITY + 1

CLIENTS: Any = botocore.client.BaseClient  # the stubs lack its private method
BUSY: Any = {
    "Error": {"Code": "RequestLimitExceeded"},
    "ResponseMetadata": {"HTTPStatusCode": 503},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """The stack's two queues: sends messages, and invokes the functions as Lambda's pollers do."""

    aws: LocalAws
    url: str

    def send(self, body: object) -> None:
        boto3.client("sqs").send_message(QueueUrl=self.url, MessageBody=json.dumps(body))

    def poll(self, at: int, received: int = 1) -> Invocation | None:
        """Deliver what is visible ``at`` seconds after the beginning; ``None`` for nothing.

        First the files are read, then the signals are evaluated, without the queue's delay.
        """
        with time_machine.travel(NOW + at, tick=False):
            reading = self._read(received)
            evaluation = self._evaluate()
        if reading is None or evaluation is None:
            return reading or evaluation
        return reading.and_then(evaluation)

    def _read(self, received: int) -> Invocation | None:
        sqs = boto3.client("sqs")
        found = sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages", [])
        if not found:
            return None
        records = [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": {"ApproximateReceiveCount": str(received)},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
            }
            for message in found
        ]
        environment = {"QUEUE_URL": self.url}
        event = {"Records": records}
        invocation = self.aws.invoke(event, environment, function="classify_s3")
        kept = failed(invocation) if invocation.error is None else {*map(str, records)}
        for record in records:
            if invocation.error is None and record["messageId"] not in kept:
                sqs.delete_message(QueueUrl=self.url, ReceiptHandle=str(record["receiptHandle"]))
        return invocation

    def _evaluate(self) -> Invocation | None:
        # The queue here may hand out a later message of a group before earlier ones.
        whole: Invocation | None = None
        while (signals := self.aws.receive_signals()) is not None:
            evaluation = self.aws.invoke(signals, function=EVALUATE)
            self.aws.delete_signals(signals, evaluation)
            whole = evaluation if whole is None else whole.and_then(evaluation)
        return whole


@pytest.fixture
def queue(aws: LocalAws) -> Iterator[Queue]:
    with time_machine.travel(NOW, tick=False):
        url = boto3.client("sqs").create_queue(
            QueueName="flow-logs", Attributes={"VisibilityTimeout": str(VISIBILITY)}
        )["QueueUrl"]
        yield Queue(aws=aws, url=url)


@pytest.fixture
def throttle(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    """Return what throttles the operations that begin with a text, or none of them any more."""
    call = CLIENTS._make_api_call  # noqa: SLF001 - every call comes down to it
    throttled: list[str] = []

    def answer(client: Any, operation: str, arguments: Any) -> Any:  # noqa: ANN401 - botocore's
        if any(operation.startswith(name) for name in throttled):
            raise ClientError(BUSY, operation)
        return call(client, operation, arguments)

    monkeypatch.setattr(CLIENTS, "_make_api_call", answer)

    def of(name: str | None) -> None:
        throttled[:] = [] if name is None else [name]

    return of


# --- the queue ------------------------------------------------------------------------------------


def check_comes_again(queue: Queue, at: int) -> None:
    assert queue.poll(at - 1, 2) is None
    again = queue.poll(at, 2)
    assert again is not None
    assert failed(again) == []
    assert len(queue.aws.alerts()) == 1


@pytest.mark.slow
def test_a_throttled_file_comes_again_in_a_minute(
    queue: Queue, throttle: Callable[[str | None], None]
) -> None:
    queue.send(notification(put_scenario(queue.aws, "outbound-response")))
    throttle("GetObject")
    first = queue.poll(0)
    assert first is not None
    assert "RequestLimitExceeded" in first.failures[0]
    throttle(None)
    check_comes_again(queue, MINUTE)


def test_a_file_that_is_not_read_in_time_comes_again_in_a_minute(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.send(notification(put_scenario(queue.aws, "outbound-response")))
    with monkeypatch.context() as short:
        short.setattr(
            "flowverdict_cli.local_aws._LambdaContext.get_remaining_time_in_millis", lambda _: 0
        )
        first = queue.poll(0)
    assert first is not None
    assert "not read to its end within" in first.failures[0]
    check_comes_again(queue, MINUTE)


def test_a_batch_whose_table_is_throttled_comes_again_in_a_minute(
    queue: Queue, throttle: Callable[[str | None], None]
) -> None:
    queue.send(notification(put_scenario(queue.aws, "outbound-response")))
    throttle("TransactWriteItems")
    first = queue.poll(0)
    assert first is not None
    assert "could not be written" in first.failures[0]
    throttle(None)
    check_comes_again(queue, MINUTE)


def test_after_three_quick_tries_a_throttled_file_waits_as_long_as_the_queue_says(
    queue: Queue, throttle: Callable[[str | None], None]
) -> None:
    queue.send(notification(put_scenario(queue.aws, "outbound-response")))
    throttle("GetObject")
    for received in (1, 2, 3):
        assert queue.poll((received - 1) * MINUTE, received) is not None
    fourth = queue.poll(3 * MINUTE, 4)
    assert fourth is not None
    throttle(None)
    check_comes_again(queue, 3 * MINUTE + WHOLE_WAIT)


def test_an_object_that_no_other_try_brings_waits_as_long_as_the_queue_says(queue: Queue) -> None:
    put_scenario(queue.aws, "outbound-response")
    queue.send(notification(KEY % "gone"))
    assert queue.poll(0) is not None
    assert queue.poll(WHOLE_WAIT - 1) is None
    assert queue.poll(WHOLE_WAIT) is not None


@pytest.mark.slow
def test_a_message_that_cannot_be_given_back_soon_comes_back_later_and_the_log_says_so(
    queue: Queue, throttle: Callable[[str | None], None]
) -> None:
    queue.send(notification(put_scenario(queue.aws, "outbound-response")))
    throttle("ChangeMessageVisibility")
    with pytest.MonkeyPatch.context() as short:
        short.setattr(
            "flowverdict_cli.local_aws._LambdaContext.get_remaining_time_in_millis", lambda _: 0
        )
        first = queue.poll(0)
    assert first is not None
    (line,) = [line for line in first.log if line["message"] == "messages come back late"]
    assert line["messages"] == 1
    throttle(None)
    check_comes_again(queue, WHOLE_WAIT)


# --- rules that cannot be read for now ------------------------------------------------------------


@pytest.fixture
def samples(queue: Queue) -> SampleWorld:
    del queue
    return make_sample_world()


def blocked(samples: SampleWorld, port: int) -> dict[str, object]:
    """Build a request that the database's security group rejects; EC2 knows the rule."""
    ends = {"srcaddr": "10.0.2.20", "dstaddr": "10.0.3.30", "srcport": port, "dstport": 5432}
    record = {
        "version": 8, "account-id": DEFAULT_ACCOUNT_ID, "vpc-id": samples.vpc_id,
        "interface-id": samples.interfaces["shop-database"], "subnet-id": "subnet-0a1b2c3d",
        "protocol": 6, "packets": 3, "bytes": 180, "start": NOW - 600, "end": NOW - 580,
        "action": "REJECT", "log-status": "OK", "tcp-flags": 2, "type": "IPv4",
        "region": REGION, "flow-direction": "ingress",
    }  # fmt: skip
    return record | ends | {"pkt-srcaddr": ends["srcaddr"], "pkt-dstaddr": ends["dstaddr"]}


def send_blocked(queue: Queue, samples: SampleWorld, port: int) -> None:
    record = blocked(samples, port)
    line = " ".join(str(record.get(name, "-")) for name in HEADER.split())
    key = KEY % f"port-{port}"
    queue.aws.put_object(ObjectRef(bucket=BUCKET, key=key), f"{HEADER}\n{line}\n".encode())
    queue.send(notification(key))


def check_named(alerts: list[dict[str, Any]]) -> str:
    (alert,) = alerts
    assert (alert["status"], alert["verdict"]) == ("firing", "security-group")
    return str(alert["fingerprint"])


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["Describe", "DescribeSecurityGroups"])
def test_an_alert_that_names_a_rule_stands_while_the_rules_cannot_be_read_for_now(
    queue: Queue,
    samples: SampleWorld,
    throttle: Callable[[str | None], None],
    operation: str,
) -> None:
    send_blocked(queue, samples, 41_000)
    assert queue.poll(0) is not None
    fingerprint = check_named(queue.aws.alerts())

    send_blocked(queue, samples, 41_100)
    throttle(operation)
    for received in (1, 2, 3):
        postponed = queue.poll(received * MINUTE, received)
        assert postponed is not None
        assert "the rules cannot be read for now" in postponed.failures[0]
        assert queue.aws.alerts() == []
    throttle(None)
    assert queue.poll(4 * MINUTE - 1, 4) is None
    last = queue.poll(4 * MINUTE, 4)
    assert last is not None
    assert failed(last) == []
    assert queue.aws.alerts() == []  # more of the same, counted
    queue.aws.later()
    (over,) = queue.aws.alerts()
    assert (over["fingerprint"], over["flows"]) == (fingerprint, 2)
    assert not over["status_reason"].startswith("Corrected")


@pytest.mark.slow
def test_the_last_try_goes_on_without_the_rules(
    queue: Queue, samples: SampleWorld, throttle: Callable[[str | None], None]
) -> None:
    send_blocked(queue, samples, 41_000)
    queue.poll(0)
    queue.aws.alerts()
    send_blocked(queue, samples, 41_100)
    throttle("Describe")
    for number in (1, 2, 3):
        queue.poll(number * MINUTE)
        assert queue.aws.alerts() == []
    last = queue.poll(4 * MINUTE)
    assert last is not None
    assert failed(last) == []
    assert {alert["status"] for alert in queue.aws.alerts()} == {"firing", "resolved"}


@pytest.mark.slow
def test_a_window_that_never_had_its_rules_is_told_at_once_without_them(
    queue: Queue, samples: SampleWorld, throttle: Callable[[str | None], None]
) -> None:
    send_blocked(queue, samples, 41_000)
    throttle("Describe")
    first = queue.poll(0)
    assert first is not None
    assert failed(first) == []
    assert len(queue.aws.alerts()) == 1
    throttle(None)
    send_blocked(queue, samples, 41_100)
    queue.poll(MINUTE)
    assert "security-group" in {alert["verdict"] for alert in queue.aws.alerts()}


@pytest.mark.slow
def test_rules_that_nobody_may_read_postpone_nothing(
    queue: Queue, samples: SampleWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    send_blocked(queue, samples, 41_000)
    queue.poll(0)
    queue.aws.alerts()
    call = CLIENTS._make_api_call  # noqa: SLF001 - as above

    def refuse(client: Any, operation: str, arguments: Any) -> Any:  # noqa: ANN401 - botocore's
        if operation.startswith("Describe"):
            raise ClientError({"Error": {"Code": "UnauthorizedOperation"}}, operation)
        return call(client, operation, arguments)

    monkeypatch.setattr(CLIENTS, "_make_api_call", refuse)
    send_blocked(queue, samples, 41_100)
    second = queue.poll(MINUTE)
    assert second is not None
    assert failed(second) == []


@pytest.mark.slow
def test_a_death_between_evidence_and_verdict_loses_no_patience_with_the_rules(
    queue: Queue,
    samples: SampleWorld,
    throttle: Callable[[str | None], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    send_blocked(queue, samples, 41_000)
    queue.poll(0)
    fingerprint = check_named(queue.aws.alerts())
    send_blocked(queue, samples, 41_100)
    with monkeypatch.context() as dying:

        def die(*_: object, **__: object) -> None:
            raise StateError("the function ends here")

        dying.setattr(AlertManager, "apply", die)
        dead = queue.poll(MINUTE)
        assert dead is not None
        assert dead.failures[0] == "the function ends here"
    throttle("Describe")
    postponed = queue.poll(2 * MINUTE)
    assert postponed is not None
    assert "the rules cannot be read for now" in postponed.failures[0]
    throttle(None)
    last = queue.poll(3 * MINUTE)
    assert last is not None
    assert failed(last) == []
    assert queue.aws.alerts() == []
    queue.aws.later()
    (over,) = queue.aws.alerts()
    assert (over["fingerprint"], over["flows"]) == (fingerprint, 2)


@pytest.mark.slow
def test_what_a_log_event_shows_is_postponed_too_and_the_last_try_goes_on_without_the_rules(
    queue: Queue, samples: SampleWorld, throttle: Callable[[str | None], None]
) -> None:
    names = RecordFormat.from_log_format(LOG_FORMAT).names

    def deliver(port: int, at: int) -> None:
        record = blocked(samples, port)
        lines = [" ".join(str(record.get(name, "-")) for name in names)] * (port - 41_000)
        event = json.loads(pack(lines, log_group=LOG_GROUP, log_stream="eni-all"))
        with time_machine.travel(NOW + at, tick=False):
            read = queue.aws.invoke(
                event, {"LOG_FORMAT": LOG_FORMAT}, function="classify_cloudwatch_logs"
            )
        assert read.error is None

    deliver(41_001, 0)
    queue.poll(0)
    check_named(queue.aws.alerts())
    throttle("Describe")
    deliver(41_002, MINUTE)
    for number in (1, 2, 3):
        postponed = queue.poll(number * MINUTE)
        assert postponed is not None
        assert "the rules cannot be read for now" in postponed.failures[0]
        assert queue.aws.alerts() == []
    last = queue.poll(4 * MINUTE)
    assert last is not None
    assert last.failures == ()
    assert {alert["status"] for alert in queue.aws.alerts()} == {"firing", "resolved"}
