"""Backfills on moto: real pages of S3's, a real queue, interruptions and faults in between, and the function that reads it all."""

from __future__ import annotations

import gzip
import json
import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from flowverdict.core.errors import FlowVerdictError
from flowverdict.flowlog.s3_events import ObjectRef, objects_in_message
from flowverdict_cli import backfill, commands, cost_model
from flowverdict_cli.backfill_listing import Location, Selection
from flowverdict_cli.backfill_queue import Pace
from flowverdict_cli.local_aws import REGION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from botocore.client import BaseClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

    from flowverdict_cli.local_aws import LocalAws

ROOT = Path(__file__).parents[2]
BUCKET = "flow-logs"
FOLDER = f"AWSLogs/123456789012/vpcflowlogs/{REGION}/"
SOURCE = f"s3://{BUCKET}/AWSLogs/"


def key_of(number: int) -> str:
    day, minute = divmod(number, 1_440)
    at = f"202610{day + 1:02}T{minute // 60:02}{minute % 60:02}Z"
    return f"{FOLDER}2026/10/{day + 1:02}/123456789012_vpcflowlogs_{REGION}_fl-0a1b_{at}_{number:08x}.log.gz"


class Stage:
    """A bucket, a queue, the stack's outputs, and the command."""

    def __init__(
        self, aws: LocalAws, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.aws = aws
        self.s3: S3Client = boto3.client("s3")
        self.sqs: SQSClient = boto3.client("sqs")
        self.queue_url = self.sqs.create_queue(QueueName="flow-log-queue")["QueueUrl"]
        self.s3.create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        self.outputs = {"FlowLogQueueUrl": self.queue_url, "FlowLogBucketName": BUCKET}
        self.stack_error: str | None = None
        self.calls = 0
        # Told of each answer to SendMessageBatch before the command sees it.
        self.fault: Callable[[dict[str, Any], int], None] | None = None
        self.clients = backfill.Clients(region=None)
        events = self.clients.get("sqs").meta.events
        events.register("provide-client-params.sqs.SendMessageBatch", self._asked)
        events.register("after-call.sqs.SendMessageBatch", self._answered)
        self.asked: list[str] = []
        self.waiting = 0
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        monkeypatch.setattr(backfill, "Clients", lambda **_: self.clients)
        self.clients._made["cloudformation"] = self._stack()  # noqa: SLF001 - moto's needs two dozen packages more

    def _stack(self) -> BaseClient:
        stage = self

        class Stacks:
            """CloudFormation with answers of its own, checked against the SDK's description of them."""

            meta = boto3.client("sqs").meta

            def describe_stacks(self, **asked: str) -> Mapping[str, Any]:
                client = cast("Any", boto3.client)("cloudformation")
                stubber = Stubber(client)
                if stage.stack_error is None:
                    outputs = [
                        {"OutputKey": name, "OutputValue": value}
                        for name, value in stage.outputs.items()
                    ]
                    stack = {
                        "StackName": asked["StackName"],
                        "CreationTime": 0,
                        "StackStatus": "CREATE_COMPLETE",
                        "Outputs": outputs,
                    }
                    stubber.add_response("describe_stacks", {"Stacks": [stack]}, asked)
                else:
                    stubber.add_client_error(
                        "describe_stacks", stage.stack_error, "Stack with id x does not exist"
                    )
                with stubber:
                    return cast("Mapping[str, Any]", client.describe_stacks(**asked))

        return cast("BaseClient", Stacks())

    def _asked(self, params: dict[str, Any], **_: object) -> None:
        self.asked += [
            ref.key
            for entry in params["Entries"]
            for ref in objects_in_message(entry["MessageBody"])
        ]

    def _answered(self, parsed: dict[str, Any], **_: object) -> None:
        self.calls += 1
        if self.fault is not None:
            self.fault(parsed, self.calls)

    def put(self, *keys: str, content: bytes = b"x") -> None:
        for key in keys:
            self.s3.put_object(Bucket=BUCKET, Key=key, Body=content)

    def run(self, *arguments: str, source: str = SOURCE) -> tuple[int, str, str]:
        self._monkeypatch.setattr(
            sys, "argv", ["flowverdict", "backfill", "--rate", "5000", *arguments, source]
        )
        try:
            commands.run()
            code = 0
        except SystemExit as ended:
            code = cast("int", ended.code)
        return code, *self._capsys.readouterr()

    def messages(self) -> list[str]:
        """Give the bodies of what is in the queue, which is empty then."""
        bodies = []
        while received := self.sqs.receive_message(
            QueueUrl=self.queue_url, MaxNumberOfMessages=10
        ).get("Messages", []):
            for one in received:
                bodies.append(one["Body"])
                self.sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=one["ReceiptHandle"])
        return bodies

    def newly_sent(self) -> list[str]:
        """Give what was sent since the last call, in its order; a thousand messages are counted and not read one by one."""
        keys, self.asked = self.asked, []
        self.waiting += len(keys)
        waiting = self.sqs.get_queue_attributes(
            QueueUrl=self.queue_url, AttributeNames=["ApproximateNumberOfMessages"]
        )
        assert int(waiting["Attributes"]["ApproximateNumberOfMessages"]) == self.waiting
        return keys

    def sent(self) -> list[str]:
        """Give the keys that the messages in the queue name, as the function reads them."""
        refs = [ref for body in self.messages() for ref in objects_in_message(body)]
        assert {ref.bucket for ref in refs} <= {BUCKET}
        return [ref.key for ref in refs]


@pytest.fixture
def stage(
    aws: LocalAws,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Stage:
    monkeypatch.chdir(tmp_path)  # where the state file goes
    return Stage(aws, monkeypatch, capsys)


def state_file() -> Path:
    (path,) = Path().glob("flowverdict-backfill-*.json")
    return path


# --- sending ----------------------------------------------------------------------------------------------------------


def test_every_object_of_several_pages_is_sent_once_and_an_interrupted_run_is_gone_on_with(
    stage: Stage,
) -> None:
    keys = [key_of(number) for number in range(1_205)]
    stage.put(*keys)

    def interrupt(_: dict[str, Any], calls: int) -> None:
        if calls == 61:
            raise KeyboardInterrupt  # the queue has the batch, the state does not

    stage.fault = interrupt
    code, out, err = stage.run()
    assert (code, out) == (commands.EXIT_INTERRUPTED, "")
    assert (
        f"flowverdict: stopped; 600 objects sent in this run; the same command goes on after them ({state_file()})"
        in err
    )
    noted = json.loads(state_file().read_text())
    assert (noted["last_key"], noted["sent"], noted["bytes"]) == (keys[599], 600, 600)
    assert stage.newly_sent() == keys[:610]

    stage.fault = None
    code, out, _ = stage.run()
    assert code == 0
    assert out.startswith("sent 605 objects, 600 before; ")
    assert stage.newly_sent() == keys[600:]  # the ten of the call that was cut off, a second time

    code, out, _ = stage.run()
    assert (code, out.partition(";")[0]) == (0, "sent 0 objects, 1,205 before")
    stage.put(key_of(1_300))
    assert stage.run()[1].startswith("sent 1 object, 1,205 before")
    assert stage.newly_sent() == [key_of(1_300)]


def test_lines_tell_of_progress_where_there_is_no_terminal(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "_LINE_EVERY", 20)
    stage.put(*(key_of(number) for number in range(45)))
    code, out, err = stage.run()
    assert code == 0
    assert (
        out
        == f"sent 45 objects; {state_file()} says how far: with it the next run sends what came later, without it all again\n"
    )
    assert re.findall(r"^.* sent$", err, re.MULTILINE) == ["20 of 45 sent", "40 of 45 sent"]
    assert "\x1b" not in err
    assert backfill.ALERTS_NOTE in err


def test_what_is_passed_over_is_counted(stage: Stage) -> None:
    stage.put(
        key_of(0),
        key_of(1),
        f"{FOLDER}a.parquet",
        "AWSLogs/123456789012/CloudTrail/x.json.gz",
        "AWSLogs/notes.txt",
    )
    stage.put("elsewhere/" + key_of(2))
    stage.s3.put_object(Bucket=BUCKET, Key=key_of(3), Body=b"x", StorageClass="GLACIER")
    code, _, err = stage.run()
    assert code == 0
    assert sorted(stage.sent()) == sorted([key_of(0), key_of(1), f"{FOLDER}a.parquet"])
    assert set(re.findall(r"^passed over: (.*)$", err, re.MULTILINE)) == {
        "2 objects: not named as VPC flow log files are (--all-objects sends them too)",
        "1 object: archived, so to be restored before it can be read",
    }
    assert stage.run("--all-objects", "--state", "other.json")[0] == 0
    assert len(stage.sent()) == 6


def test_hostile_keys_arrive_as_they_are(stage: Stage) -> None:
    keys = sorted(
        f"{FOLDER}{name}"
        for name in ("a+b c%2Bd=e&f.log", "ünïcode 日本.log", "two\nlines.log", "%41.log", "+")
    )
    stage.put(*keys)
    assert stage.run()[0] == 0
    assert sorted(stage.sent()) == keys


def test_a_window_of_time_is_what_is_sent(stage: Stage) -> None:
    stage.put(*(key_of(1_440 * day) for day in range(5)))
    assert stage.run("--since", "2026-10-02", "--until", "2026-10-04")[0] == 0
    assert sorted(stage.sent()) == [key_of(1_440), key_of(2_880)]
    code, _, err = stage.run("--since", "2026-10-02")
    assert code == 2
    assert 'of another backfill: its until is "2026-10-04T00:00:00+00:00", not null' in err


def test_a_state_of_another_queue_is_refused(stage: Stage) -> None:
    stage.put(key_of(0))
    assert stage.run()[0] == 0
    other = stage.sqs.create_queue(QueueName="other")["QueueUrl"]
    code, out, err = stage.run("--queue-url", other)
    assert (code, out) == (2, "")
    assert err == (
        f"flowverdict: {state_file()}: of another backfill: its queue is {json.dumps(stage.queue_url)}, not {json.dumps(other)}; "
        "give another --state, or remove it\n"
    )


def test_the_rate_is_kept(stage: Stage) -> None:
    stage.put(*(key_of(number) for number in range(45)))
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    request = backfill.Request(
        location=Location.from_url(SOURCE),
        selection=Selection(),
        stack_name="flowverdict",
        queue_url=stage.queue_url,
        rate=5,
    )
    run = backfill.Backfill(
        request,
        clients=stage.clients,
        pace=lambda rate: Pace(rate, clock=lambda: now[0], sleep=sleep),
    )
    assert run.run()
    assert now[0] == pytest.approx(45 / 5)
    assert len(stage.sent()) == 45


# --- faults -----------------------------------------------------------------------------------------------------------


class Refusing:
    """An SQS client that refuses messages of some keys, for ever or so many times."""

    def __init__(
        self, client: BaseClient, times: Mapping[str, int], *, sender_fault: bool = False
    ) -> None:
        self._client = cast("SQSClient", client)
        self._left = dict(times)
        self._sender_fault = sender_fault
        self.meta = client.meta
        self.offered: list[str] = []

    def send_message_batch(self, **asked: Any) -> dict[str, Any]:  # noqa: ANN401 - the SDK's own
        taken, failed = [], []
        for entry in asked["Entries"]:
            (ref,) = objects_in_message(entry["MessageBody"])
            self.offered.append(ref.key)
            if self._left.get(ref.key, 0):
                self._left[ref.key] -= 1
                failed.append(
                    {
                        "Id": entry["Id"],
                        "SenderFault": self._sender_fault,
                        "Code": "InternalError",
                        "Message": "busy",
                    }
                )
            else:
                taken.append(entry)
        answer: dict[str, Any] = {"Failed": failed}
        if taken:
            answer |= self._client.send_message_batch(QueueUrl=asked["QueueUrl"], Entries=taken)
            answer["Failed"] = failed
        return answer


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Give the waits between tries, which take no time."""
    slept: list[float] = []
    monkeypatch.setattr(backfill, "Backfill", partial(backfill.Backfill, wait=slept.append))
    return slept


def refusing(stage: Stage, times: Mapping[str, int], *, sender_fault: bool = False) -> Refusing:
    client = Refusing(boto3.client("sqs"), times, sender_fault=sender_fault)
    stage.clients._made["sqs"] = cast("BaseClient", client)  # noqa: SLF001 - the seam
    return client


def test_what_the_queue_does_not_take_at_first_is_tried_again(
    stage: Stage, waits: list[float]
) -> None:
    keys = [key_of(number) for number in range(25)]
    stage.put(*keys)
    client = refusing(stage, {keys[3]: 3, keys[12]: 1})
    code, _, err = stage.run()
    assert (code, "refused" in err) == (0, False)
    assert sorted(stage.sent()) == keys
    assert (client.offered.count(keys[3]), client.offered.count(keys[4])) == (4, 1)
    assert waits == [0.5, 1.0, 2.0, 0.5]


def test_what_the_queue_never_takes_is_told_and_tried_first_by_the_next_run(
    stage: Stage, waits: list[float]
) -> None:
    keys = [key_of(number) for number in range(25)]
    stage.put(*keys)
    client = refusing(stage, {keys[3]: 99, keys[24]: 99})
    code, out, err = stage.run()
    assert code == 1
    assert out.startswith("sent 23 objects; ")
    assert f"refused: {keys[3]!a}: InternalError: busy\n" in err
    assert f"flowverdict: the queue did not take s3://{BUCKET}/{keys[24]!a}\n" in err
    assert sorted(stage.sent()) == [key for key in keys if key not in {keys[3], keys[24]}]
    assert len(waits) == 6

    client = refusing(stage, {keys[24]: 99})
    stage.put(key_of(30))
    assert stage.run()[0] == 1
    assert client.offered[:2] == [keys[3], keys[24]]
    assert sorted(stage.sent()) == [keys[3], key_of(30)]

    refusing(stage, {})
    code, out, _ = stage.run()
    assert (code, out.partition(";")[0]) == (0, "sent 1 object, 25 before")
    assert stage.sent() == [keys[24]]


def test_a_message_that_is_our_fault_is_not_tried_again(stage: Stage, waits: list[float]) -> None:
    stage.put(key_of(0), key_of(1))
    client = refusing(stage, {key_of(0): 99}, sender_fault=True)
    assert stage.run()[0] == 1
    assert (client.offered, waits) == ([key_of(0), key_of(1)], [])


def test_a_queue_that_takes_nothing_is_given_up(stage: Stage, waits: list[float]) -> None:
    keys = [key_of(number) for number in range(300)]
    stage.put(*keys)
    refusing(stage, dict.fromkeys(keys, 99), sender_fault=True)
    code, out, err = stage.run()
    assert (code, out, waits) == (2, "", [])
    assert err.endswith(
        "flowverdict: the queue did not take 100 messages, the last one: InternalError: busy; 0 objects sent in this run; "
        f"the same command goes on after them ({state_file()})\n"
    )


def test_a_queue_that_goes_away_is_one_line_and_the_rest_is_sent_later(stage: Stage) -> None:
    keys = [key_of(number) for number in range(35)]
    stage.put(*keys)

    def vanish(parsed: dict[str, Any], calls: int) -> None:
        del parsed
        if calls == 2:
            raise ClientError(
                {"Error": {"Code": "QueueDoesNotExist", "Message": "gone"}}, "SendMessageBatch"
            )

    stage.fault = vanish
    code, out, err = stage.run()
    assert (code, out) == (2, "")
    assert err.splitlines()[-1] == (
        f"flowverdict: {stage.queue_url}: no such queue in {REGION}; 10 objects sent in this run; "
        f"the same command goes on after them ({state_file()})"
    )
    stage.fault = None
    stage.messages()
    assert stage.run()[0] == 0
    assert sorted(stage.sent()) == keys[10:]


def test_no_such_queue_and_no_such_bucket_are_one_line(stage: Stage) -> None:
    stage.put(key_of(0))
    missing = stage.queue_url.replace("flow-log-queue", "missing")
    code, _, err = stage.run("--queue-url", missing, "--state", "a.json")
    assert code == 2
    assert f"flowverdict: {missing}: no such queue in {REGION}; 0 objects sent" in err
    code, out, err = stage.run(
        "--queue-url", stage.queue_url, "--state", "b.json", source="s3://no-such-bucket/"
    )
    assert (code, out, err) == (2, "", "flowverdict: s3://no-such-bucket: no such bucket\n")
    assert [*Path().iterdir()] == []


def test_a_bucket_that_may_not_be_listed_is_one_line(stage: Stage) -> None:
    stage.clients.get("s3").meta.events.register("before-call.s3.ListObjectsV2", _deny)
    code, out, err = stage.run()
    assert (code, out, err) == (
        2,
        "",
        f"flowverdict: s3://{BUCKET}: access denied; listing it needs s3:ListBucket\n",
    )


def _deny(**_: object) -> None:
    raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "ListObjectsV2")


# --- the stack --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("ValidationError", f"flowverdict: no stack 'mine' in {REGION}\n"),
        (
            "AccessDenied",
            "flowverdict: cloudformation:DescribeStacks: AccessDenied; give --queue-url to do without\n",
        ),
    ],
)
def test_a_stack_that_cannot_be_asked_is_one_line(stage: Stage, error: str, told: str) -> None:
    stage.stack_error = error
    assert stage.run("--stack-name", "mine") == (2, "", told)


def test_a_stack_without_the_output_or_for_another_bucket_is_one_line(stage: Stage) -> None:
    code, _, err = stage.run(source="s3://another-bucket/")
    assert code == 2
    assert err.startswith(f"flowverdict: stack flowverdict may read s3://{BUCKET} only, ")
    assert err.count("\n") == 1
    del stage.outputs["FlowLogQueueUrl"]
    told = "flowverdict: stack flowverdict has no output FlowLogQueueUrl: deploy this version, or give --queue-url\n"
    assert stage.run() == (2, "", told)


# --- the dry run ------------------------------------------------------------------------------------------------------


def test_a_dry_run_says_all_and_sends_nothing(stage: Stage) -> None:
    stage.put(key_of(0), key_of(1_445), content=bytes(31_000))
    stage.put("AWSLogs/notes.txt")
    code, out, err = stage.run("--dry-run", "--rate", "0.5")
    assert (code, err) == (0, "")
    workload = cost_model.Workload(
        records=2_000, objects=2, batch=cost_model.BATCH, flow_logs=1, windows=cost_model.BATCH + 1
    )
    milliseconds = cost_model.duration_ms(workload, cost_model.MEASURED["recommended"])
    assert out.splitlines()[:9] == [
        f"from: {SOURCE}",
        f"to: {stage.queue_url}",
        "would be sent: 2 objects, 62.0 kB",
        "passed over: 1 object: not named as VPC flow log files are (--all-objects sends them too)",
        "written: 2026-10-01T00:00:00Z to 2026-10-02T00:05:00Z",
        "at 0.5 a second: 4 s",
        f"estimate: 2,000 records if gzipped, {milliseconds:,.0f} ms of Lambda (1,024 MB), $0.00 at list prices of us-east-1",
        "estimated with figures from another processor than Lambda's: docs/cost.md",
        "",
    ]
    assert backfill.ALERTS_NOTE in out
    assert backfill.COUNTED_NOTE in out
    assert stage.messages() == []
    assert [*Path().iterdir()] == []


def test_a_dry_run_after_an_interrupted_one_says_what_is_left(stage: Stage) -> None:
    stage.put(*(key_of(number) for number in range(30)))

    def interrupt(_: dict[str, Any], calls: int) -> None:
        if calls == 3:
            raise KeyboardInterrupt

    stage.fault = interrupt
    assert stage.run()[0] == commands.EXIT_INTERRUPTED
    out = stage.run("--dry-run")[1]
    assert (
        f"sent before: 20 objects, up to {key_of(19)}\nwould be sent: 10 objects, 10 bytes\n" in out
    )


# --- to the alerts ----------------------------------------------------------------------------------------------------


def test_the_function_reads_what_was_sent_and_tells_it_once(stage: Stage) -> None:
    names = (
        "reply-in-another-file.1",
        "reply-in-another-file.2",
    )  # judged together, as they would have been then
    keys = [key_of(number) for number in range(len(names))]
    for key, name in zip(keys, names, strict=True):
        stage.put(
            key, content=gzip.compress((ROOT / "tests" / "scenarios" / f"{name}.log").read_bytes())
        )
    broken = key_of(7)
    stage.put(broken, content=b"no flow log")
    assert stage.run()[0] == 0

    def event(bodies: list[str], first: int) -> dict[str, Any]:
        records = [
            {
                "messageId": f"message-{first + number}",
                "body": body,
                "eventSource": "aws:sqs",
                "receiptHandle": "x",
                "attributes": {},
            }
            for number, body in enumerate(bodies)
        ]
        return {"Records": records}

    bodies = sorted(stage.messages())
    invocation = stage.aws.invoke(event(bodies, 0))
    assert isinstance(invocation.answer, dict)
    (failed,) = [
        int(item["itemIdentifier"].removeprefix("message-"))
        for item in invocation.answer["batchItemFailures"]
    ]
    assert objects_in_message(bodies[failed]) == (ObjectRef(bucket=BUCKET, key=broken),)
    (alert,) = stage.aws.alerts()
    assert (alert["flow_direction"], alert["leg"], alert["verdict"], alert["severity"]) == (
        "egress",
        "response",
        "network-acl",
        "critical",
    )
    assert alert["first_seen"] < "2026-11-23"

    # Sent once more, as a run that lost its state would.
    state_file().unlink()
    assert stage.run()[0] == 0
    again = stage.aws.invoke(event([body for body in stage.messages() if broken not in body], 100))
    assert again.metrics["SourcesDeliveredAgain"] == 2
    assert stage.aws.alerts() == []


def test_a_client_that_cannot_be_made_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    with pytest.raises(FlowVerdictError, match="no-such-profile"):
        backfill.Clients(region=None).get("sqs")
