"""Backfills whose queue, bucket or stack fails: retries, errors in one line, and the next run."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import boto3
import pytest
from botocore.exceptions import ClientError

from flowverdict.core.errors import FlowVerdictError
from flowverdict.flowlog.s3_events import objects_in_message
from flowverdict_cli import backfill
from flowverdict_cli.local_aws import REGION
from tests.helpers.backfill_stage import BUCKET, key_of, state_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botocore.client import BaseClient
    from mypy_boto3_sqs import SQSClient

    from tests.helpers.backfill_stage import Stage


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
    """Return the list of waits between tries; the waits take no time."""
    slept: list[float] = []
    monkeypatch.setattr(backfill, "Backfill", partial(backfill.Backfill, wait=slept.append))
    return slept


def refusing(stage: Stage, times: Mapping[str, int], *, sender_fault: bool = False) -> Refusing:
    client = Refusing(boto3.client("sqs"), times, sender_fault=sender_fault)
    stage.clients._made["sqs"] = cast("BaseClient", client)  # noqa: SLF001 - the seam
    return client


@pytest.mark.slow
def test_message_that_the_queue_refuses_at_first_is_tried_again(
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


@pytest.mark.slow
def test_refused_message_is_printed_and_tried_first_by_the_next_run(
    stage: Stage, waits: list[float]
) -> None:
    keys = [key_of(number) for number in range(25)]
    stage.put(*keys)
    client = refusing(stage, {keys[3]: 99, keys[24]: 99})
    code, out, err = stage.run()
    assert code == 1
    assert out.startswith("sent 23 objects; ")
    assert f"refused: {keys[3]!a}: InternalError: busy\n" in err
    assert f"flowverdict: refused s3://{BUCKET}/{keys[24]!a}\n" in err
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


def test_message_with_a_sender_fault_is_not_tried_again(stage: Stage, waits: list[float]) -> None:
    stage.put(key_of(0), key_of(1))
    client = refusing(stage, {key_of(0): 99}, sender_fault=True)
    assert stage.run()[0] == 1
    assert (client.offered, waits) == ([key_of(0), key_of(1)], [])


@pytest.mark.slow
def test_queue_that_refuses_all_messages_ends_the_run(stage: Stage, waits: list[float]) -> None:
    keys = [key_of(number) for number in range(120)]
    stage.put(*keys)
    refusing(stage, dict.fromkeys(keys, 99), sender_fault=True)
    code, out, err = stage.run()
    assert (code, out, waits) == (2, "", [])
    assert err.endswith(
        "flowverdict: the queue refused 100 messages; the last reason: InternalError: busy; "
        "0 objects sent in this run; "
        f"the same command continues ({state_file()})\n"
    )


@pytest.mark.slow
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
        f"the same command continues ({state_file()})"
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


@pytest.mark.slow
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


# --- the stack


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("ValidationError", f"flowverdict: no stack 'mine' in {REGION}\n"),
        (
            "AccessDenied",
            (
                "flowverdict: cloudformation:DescribeStacks: AccessDenied; "
                "--queue-url avoids this call\n"
            ),
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
    error = (
        "flowverdict: stack flowverdict has no output FlowLogQueueUrl: deploy this version, "
        "or use --queue-url\n"
    )
    assert stage.run() == (2, "", error)


def test_client_that_cannot_be_created_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    with pytest.raises(FlowVerdictError, match="no-such-profile"):
        backfill.Clients(region=None).get("sqs")
