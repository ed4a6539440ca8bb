"""The deployed stack in one process: moto for S3, SNS, SQS and EC2, the real Lambda handlers in between.

No network, no Docker, no account. What the stack's template wires together is wired here by hand: a
bucket, the alerts table, a topic with a queue subscribed to it and one for mail, a log group with a
flow log whose format EC2 describes.
"""

from __future__ import annotations

import gzip
import importlib.util
import io
import json
import os
import time
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import boto3
import botocore.session
from botocore.exceptions import BotoCoreError, ClientError
from moto import mock_aws
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.sns.models import sns_backends

import flowverdict
from flowverdict.alerts.codec import notification_from_json
from flowverdict.core.errors import EnvelopeError, FlowVerdictError
from flowverdict.core.formatting import isoformat
from flowverdict.flowlog.s3_events import ObjectRef, is_sqs_event, objects_in, objects_in_message
from flowverdict.lifecycle.state_machine import Intervals
from flowverdict_cli.sample_world import make_sample_world

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import ModuleType

    from flowverdict.alerts.model import Notification


REGION: Final = "eu-west-1"
# As the template makes it; a test compares the two.
TABLE: Final[Any] = {
    "BillingMode": "PAY_PER_REQUEST",
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
    "AttributeDefinitions": [
        {"AttributeName": "pk", "AttributeType": "S"},
        {"AttributeName": "due", "AttributeType": "S"},
        {"AttributeName": "due_at", "AttributeType": "N"},
    ],
    "GlobalSecondaryIndexes": [
        {
            "IndexName": "due",
            "KeySchema": [
                {"AttributeName": "due", "KeyType": "HASH"},
                {"AttributeName": "due_at", "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        }
    ],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Email:
    """What a person subscribed by email gets."""

    subject: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """What became of one event: the function's answer, or the error it raised, and its log lines."""

    function: str
    answer: object
    error: FlowVerdictError | None
    log: tuple[Mapping[str, Any], ...]
    metrics: Mapping[str, float]

    @property
    def failures(self) -> tuple[str, ...]:
        """Why messages (or the event) failed, one line each."""
        if self.error is not None:
            return (str(self.error),)
        return tuple(
            str(line["reason"]) for line in self.log if line.get("message") == "message failed"
        )


@dataclass(frozen=True, slots=True)
class _LambdaContext:
    function_name: str
    memory_limit_in_mb: int = 512
    aws_request_id: str = "00000000-0000-0000-0000-000000000000"
    invoked_function_arn: str = field(
        default=f"arn:aws:lambda:{REGION}:{DEFAULT_ACCOUNT_ID}:function:local"
    )

    def get_remaining_time_in_millis(self) -> int:
        """Give the longest time that Lambda lets a function run; nobody waits for a time-out here."""
        return 900_000


class LocalAws:
    """What ``local_aws`` gives: put objects, invoke functions, read what arrived.

    ``keep_warm`` lets a function live on from one invocation to the next, as Lambda does, with the
    environment of its first one.
    """

    def __init__(self) -> None:
        self.keep_warm = False
        self._warm: dict[str, ModuleType] = {}
        self._s3 = boto3.client("s3")
        self._sns = boto3.client("sns")
        self._sqs = boto3.client("sqs")
        self.topic_arn = self._sns.create_topic(Name="flowverdict-alerts")["TopicArn"]
        self._queue_url = self._sqs.create_queue(QueueName="alert-subscriber")["QueueUrl"]
        self._sns.subscribe(
            TopicArn=self.topic_arn,
            Protocol="sqs",
            Endpoint=f"arn:aws:sqs:{REGION}:{DEFAULT_ACCOUNT_ID}:alert-subscriber",
            Attributes={"RawMessageDelivery": "true"},
        )
        self.email_topic_arn = self._sns.create_topic(Name="flowverdict-emails")["TopicArn"]
        self.table = "flowverdict-alerts"
        boto3.client("dynamodb").create_table(TableName=self.table, **TABLE)
        self._buckets: set[str] = set()
        self.evidence_bucket = "flowverdict-evidence"
        self._make_bucket(self.evidence_bucket)
        self._emails_read = 0
        self._has_samples = False

    def make_samples(self) -> None:
        """Make the VPC that the sample events come from. EC2 is slow to begin with, so this is asked for."""
        if not self._has_samples:
            make_sample_world()
            self._has_samples = True

    def put_object(self, ref: ObjectRef, content: bytes) -> None:
        """Put an object where the functions will look for it."""
        self._make_bucket(ref.bucket)
        self._s3.put_object(Bucket=ref.bucket, Key=ref.key, Body=content)

    def put_objects_of(self, event: object, folder: Path) -> list[Path]:
        """Put every object an event names, as far as the folder has it; give the files that would have been wanted."""
        missing = []
        for ref in _objects_named(event):
            content = content_in_folder(folder, ref)
            if content is None:
                missing.append(folder / ref.bucket / ref.key)
            with suppress(
                ClientError, BotoCoreError
            ):  # a name that no bucket can have; the handler is about to say so
                self._make_bucket(ref.bucket)
                if content is not None:
                    self.put_object(ref, content)
        return missing

    def _make_bucket(self, name: str) -> None:
        if name not in self._buckets:
            self._s3.create_bucket(
                Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION}
            )
            self._buckets.add(name)

    def sweep(self, at: int) -> Invocation:
        """Run the sweep as if it were scheduled at ``at`` (Unix seconds)."""
        return self.invoke(
            {
                "detail-type": "Scheduled Event",
                "source": "aws.events",
                "time": isoformat(at),
                "detail": {},
            }
        )

    def later(self) -> None:
        """Let time pass without another record: what is open resolves, and the digest comes."""
        now = int(time.time())
        self.sweep(now + Intervals().resolve + 60)
        self.sweep(Intervals().digest_end(now) + 60)

    def invoke(
        self,
        event: dict[str, Any],
        environment: Mapping[str, str] | None = None,
        *,
        function: str | None = None,
    ) -> Invocation:
        """Run a function, by default the one that the event's trigger would invoke.

        Errors of this project are part of the outcome; any other exception is a defect and is
        raised.
        """
        if function is None:
            function = "classify_s3"
            if "awslogs" in event:
                function = "classify_cloudwatch_logs"
            elif event.get("detail-type") == "Scheduled Event":
                function = "sweep_alerts"
        written = io.StringIO()
        answer: object = None
        error: FlowVerdictError | None = None
        variables = {
            "ALERT_TOPIC_ARN": self.topic_arn,
            "EMAIL_TOPIC_ARN": self.email_topic_arn,
            "ALERT_TABLE": self.table,
            "EVIDENCE_BUCKET": self.evidence_bucket,
            "AWS_REGION": REGION,
            "POWERTOOLS_METRICS_NAMESPACE": "flowverdict",
        }
        with _environment(variables | dict(environment or {})), redirect_stdout(written):
            try:
                answer = self._module(function).lambda_handler(event, _LambdaContext(function))
            except FlowVerdictError as raised:
                error = raised
        lines = tuple(
            json.loads(line) for line in written.getvalue().split("\n") if line
        )  # splitlines() knows more line ends
        return Invocation(
            function=function,
            answer=answer,
            error=error,
            log=tuple(line for line in lines if "_aws" not in line),
            metrics=_metrics(lines),
        )

    def _module(self, function: str) -> ModuleType:
        # A module of its own each time, unless asked otherwise: no client, logger or cache outlives
        # the invocation.
        module = self._warm[function] if function in self._warm else load_function(function)
        if self.keep_warm:
            self._warm[function] = module
        return module

    def alerts(self) -> list[dict[str, Any]]:
        """Give the alerts and notices, as JSON, that arrived at the queue since the last call."""
        alerts: list[dict[str, Any]] = []
        while messages := self._sqs.receive_message(
            QueueUrl=self._queue_url, MaxNumberOfMessages=10
        ).get("Messages", []):
            for message in messages:
                alerts.append(json.loads(message["Body"]))
                self._sqs.delete_message(
                    QueueUrl=self._queue_url, ReceiptHandle=message["ReceiptHandle"]
                )
        return alerts

    def notifications(self) -> list[Notification]:
        """Give the same as the values that faces are rendered from."""
        return [notification_from_json(json.dumps(alert)) for alert in self.alerts()]

    def emails(self) -> list[Email]:
        """Give the emails sent since the last call."""
        sent = (
            sns_backends[DEFAULT_ACCOUNT_ID][REGION].topics[self.email_topic_arn].sent_notifications
        )
        new = sent[self._emails_read :]
        self._emails_read = len(sent)
        return [Email(subject=str(subject), body=message) for _, message, subject, *_ in new]


@contextmanager
def local_aws() -> Iterator[LocalAws]:
    """Give an AWS of this process's own, gone afterwards."""
    # The caller's endpoints and profile would lead out of the process or fail to load.
    foreign = {name for name in os.environ if name.startswith("AWS_")}
    variables = {"AWS_DEFAULT_REGION": REGION, "MOTO_EC2_LOAD_DEFAULT_AMIS": "false"}
    with _environment(variables, without=foreign), mock_aws():
        session = botocore.session.get_session()
        session.register_component("data_loader", _service_models())
        boto3.setup_default_session(botocore_session=session)
        yield LocalAws()


@cache
def _service_models() -> botocore.loaders.Loader:
    # Reading the SDK's service descriptions takes most of a second; they do not change from one
    # world to the next.
    return botocore.loaders.create_loader()


def load_function(name: str) -> ModuleType:
    """Load a function's entry module from the project's ``functions`` folder, anew each time.

    Raises
    ------
    FlowVerdictError
        The package is installed without the project around it.
    """
    path = Path(flowverdict.__file__).resolve().parents[3] / "functions" / name / "app.py"
    if not path.is_file():
        raise FlowVerdictError(f"replaying needs the project's checkout: {path} is not there")
    spec = importlib.util.spec_from_file_location(f"functions.{name}.app", path)
    if spec is None or spec.loader is None:
        raise FlowVerdictError(f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _metrics(lines: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Give the values of CloudWatch's embedded metric format: each is a list of numbers, added up here."""
    values: dict[str, float] = {}
    for line in lines:
        for described in line.get("_aws", {}).get("CloudWatchMetrics", []):
            for metric in described["Metrics"]:
                values[metric["Name"]] = values.get(metric["Name"], 0) + sum(line[metric["Name"]])
    return values


def content_in_folder(folder: Path, ref: ObjectRef) -> bytes | None:
    """Give the content a folder has for ``bucket/key``; ``None`` if it has none.

    Where only the text of a ``.gz`` object is there, it is gzipped on the way, so that samples can
    be read and edited.
    """
    root = folder.resolve()
    path = (root / ref.bucket / ref.key).resolve()
    if not path.is_relative_to(root):
        return None
    if path.is_file():
        return path.read_bytes()
    plain = path.with_suffix("")
    if path.suffix == ".gz" and plain.is_file():
        return gzip.compress(plain.read_bytes(), mtime=0)
    return None


def _objects_named(event: object) -> tuple[ObjectRef, ...]:
    if not isinstance(event, dict) or "awslogs" in event:
        return ()
    named: list[ObjectRef] = []
    queued = is_sqs_event(event)
    for message in event["Records"] if queued else [event]:
        with suppress(EnvelopeError):  # the handler is about to say so itself
            named += (
                objects_in_message(message.get("body") if isinstance(message, dict) else None)
                if queued
                else objects_in(message)
            )
    return tuple(named)


@contextmanager
def _environment(variables: Mapping[str, str], without: set[str] | None = None) -> Iterator[None]:
    before = dict(os.environ)
    for name in without or ():
        del os.environ[name]
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
