"""Run a function in a process that waits before its first write for another process."""

from __future__ import annotations

import os
from contextlib import redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from flowverdict.core.availability import NotAvailable
from flowverdict.lifecycle.dynamodb_table import DynamoDbTable
from flowverdict.lifecycle.store import ConflictError
from flowverdict_cli.local_aws import load_function

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Barrier
    from types import ModuleType

    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

LONGEST_WAIT = 60  # seconds; after them the other process has failed


class NoRules:
    """A source of rules that has none: the tests need no rules."""

    def __init__(self, **_: object) -> None:
        pass

    def has_seen(self, account_id: str) -> bool:
        """Return whether an account is known: none is."""
        del account_id
        return False

    def read(self, *_: object, seconds: float | None = None) -> NotAvailable:
        """Return the reason why there are no rules."""
        del seconds
        return NotAvailable("the rules were not asked for")


class _Context:
    function_name = "classify_s3"
    memory_limit_in_mb = 512
    aws_request_id = "00000000-0000-0000-0000-000000000000"
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:local"

    def get_remaining_time_in_millis(self) -> int:
        return 300_000


def classify_together(
    environment: Mapping[str, str],
    events: Sequence[dict[str, Any]],
    barrier: Barrier,
    conflicts: Queue[int],
) -> None:
    """Handle the events in turn.

    The first write for each event begins when the other process has read what it writes on.
    """
    os.environ.update(environment)
    transact = DynamoDbTable._transact  # noqa: SLF001 - by which all is written that may conflict
    commits = lost = 0

    def together(self: DynamoDbTable, writes: Sequence[TransactWriteItemTypeDef]) -> None:
        nonlocal commits, lost
        commits += 1
        if commits == 1:
            barrier.wait(LONGEST_WAIT)
        try:
            transact(self, writes)
        except ConflictError:
            lost += 1
            raise

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flowverdict.app.alert_wiring.Ec2Config", NoRules)
        patch.setattr(DynamoDbTable, "_transact", together)
        reader, evaluate = load_function("classify_s3"), load_function("evaluate_windows")
        for event in events:
            commits = lost = 0
            with redirect_stdout(StringIO()):
                answer = reader.lambda_handler(event, _Context())
                assert answer == {"batchItemFailures": []}, answer
                barrier.wait(
                    LONGEST_WAIT
                )  # as the queue waits until both have stored what they saw
                commits = 1
                _evaluate_all(environment["SIGNAL_QUEUE_URL"], evaluate)
            conflicts.put(lost)


def _evaluate_all(queue: str, evaluate: ModuleType) -> None:
    sqs = boto3.client("sqs")
    while messages := sqs.receive_message(
        QueueUrl=queue, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"]
    ).get("Messages", []):
        records = [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": message["Attributes"],
            }
            for message in messages
        ]
        answer = evaluate.lambda_handler({"Records": records}, _Context())
        assert answer == {"batchItemFailures": []}, answer
        for message in messages:
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
