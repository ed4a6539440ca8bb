"""A bucket, a queue and the stack's outputs on moto, and the backfill command between them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import boto3
from botocore.stub import Stubber

from flowverdict.flowlog.s3_events import objects_in_message
from flowverdict_cli import backfill, commands
from flowverdict_cli.local_aws import REGION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pytest
    from botocore.client import BaseClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

    from flowverdict_cli.local_aws import LocalAws

BUCKET = "flow-logs"
FOLDER = f"AWSLogs/123456789012/vpcflowlogs/{REGION}/"
SOURCE = f"s3://{BUCKET}/AWSLogs/"


def key_of(number: int) -> str:
    """Return the key of a flow log file, ``number`` minutes after the first of October."""
    day, minute = divmod(number, 1_440)
    at = f"202610{day + 1:02}T{minute // 60:02}{minute % 60:02}Z"
    name = f"123456789012_vpcflowlogs_{REGION}_fl-0a1b_{at}_{number:08x}.log.gz"
    return f"{FOLDER}2026/10/{day + 1:02}/{name}"


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
        # Receives each answer of SendMessageBatch before the command does.
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
            """CloudFormation with own answers, which the SDK's description validates."""

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
        """Empty the queue and return the bodies of its messages."""
        bodies = []
        while received := self.sqs.receive_message(
            QueueUrl=self.queue_url, MaxNumberOfMessages=10
        ).get("Messages", []):
            for message in received:
                bodies.append(message["Body"])
                self.sqs.delete_message(
                    QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"]
                )
        return bodies

    def newly_sent(self) -> list[str]:
        """Return the keys sent since the last call, in order; the queue is only counted."""
        keys, self.asked = self.asked, []
        self.waiting += len(keys)
        waiting = self.sqs.get_queue_attributes(
            QueueUrl=self.queue_url, AttributeNames=["ApproximateNumberOfMessages"]
        )
        assert int(waiting["Attributes"]["ApproximateNumberOfMessages"]) == self.waiting
        return keys

    def sent(self) -> list[str]:
        """Empty the queue and return the keys of its messages, as the function reads them."""
        refs = [ref for body in self.messages() for ref in objects_in_message(body)]
        assert {ref.bucket for ref in refs} <= {BUCKET}
        return [ref.key for ref in refs]


def state_file() -> Path:
    (path,) = Path().glob("flowverdict-backfill-*.json")
    return path
