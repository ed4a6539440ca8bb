"""The deployed stack in one process: the real Lambda handlers, with moto in place of AWS.

No network, Docker or account is needed. This module connects by hand what the template connects: a
bucket, the alerts table, a topic with a subscribed queue, a topic for email, and a log group with a
flow log whose format EC2 describes.
"""

from __future__ import annotations

import gzip
import importlib.util
import io
import json
import os
import time
from collections import Counter
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field, replace
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
from flowverdict.app.observability import COUNTS_LINE, LogCount
from flowverdict.core.errors import EnvelopeError, FlowVerdictError
from flowverdict.core.formatting import isoformat
from flowverdict.flowlog.s3_events import is_sqs_event, objects_in, objects_in_message
from flowverdict.flowlog.sources import source_of
from flowverdict.lifecycle.dynamodb import DynamoDbStore
from flowverdict.lifecycle.feed_readings import FeedReadings
from flowverdict.lifecycle.intervals import Intervals
from flowverdict_cli.local_stack import EVIDENCE_BUCKET, TABLE_NAME, create_bucket, make_stack
from flowverdict_cli.sample_world import make_sample_world

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import ModuleType

    from flowverdict.alerts.model import Notification
    from flowverdict.flowlog.object_key import ObjectRef


REGION: Final = "eu-west-1"
EVALUATE: Final = "evaluate_windows"
_LONGEST: Final = 900  # seconds: Lambda's longest time-out


@dataclass(frozen=True, slots=True, kw_only=True)
class Email:
    """An email of the topic for email."""

    subject: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """The outcome of one event: the function's answer or error, its log lines and metrics.

    A metric or count that the function did not write is 0.
    """

    function: str
    answer: object
    error: FlowVerdictError | None
    log: tuple[Mapping[str, Any], ...]
    metrics: Counter[str]

    def and_then(self, other: Invocation) -> Invocation:
        """Return the outcome of both: the answer and the function of this one."""
        return replace(
            self,
            error=self.error or other.error,
            log=(*self.log, *other.log),
            metrics=self.metrics + other.metrics,
        )

    @property
    def counts(self) -> Counter[str]:
        """The counts of the invocation's own log line (``LogCount``)."""
        return Counter(
            {
                name: int(line[name])
                for line in self.log
                if line.get("message") == COUNTS_LINE
                for name in LogCount
                if name in line
            }
        )

    @property
    def failures(self) -> tuple[str, ...]:
        """The reasons why messages, or the whole event, failed; one line each."""
        if self.error is not None:
            return (str(self.error),)
        return tuple(
            str(line["reason"]) for line in self.log if line.get("message") == "message failed"
        )


@dataclass(frozen=True, slots=True)
class _LambdaContext:
    function_name: str
    seconds: int
    memory_limit_in_mb: int = 512
    aws_request_id: str = "00000000-0000-0000-0000-000000000000"
    invoked_function_arn: str = field(
        default=f"arn:aws:lambda:{REGION}:{DEFAULT_ACCOUNT_ID}:function:local"
    )

    def get_remaining_time_in_millis(self) -> int:
        """Return the time left, which does not get less."""
        return self.seconds * 1_000


class LocalAws:
    """Puts objects, invokes functions, and reads the emails and notifications that arrived.

    The windows that a function signals are evaluated at once, without the queue's delay. What fails
    there is evaluated again after the next invocation.

    With ``keep_warm`` a function keeps its state between invocations, as on Lambda, with the
    environment of its first invocation.
    """

    def __init__(self) -> None:
        self.keep_warm = False
        self._warm: dict[str, ModuleType] = {}
        stack = make_stack()
        self._s3, self._sqs = stack.s3, stack.sqs
        self.topic_arn = stack.topic_arn
        self._queue_url = stack.subscriber_url
        self.email_topic_arn = stack.email_topic_arn
        self.table = TABLE_NAME
        self.evidence_bucket = EVIDENCE_BUCKET
        self._buckets = {EVIDENCE_BUCKET}
        self.signal_queue_url = stack.signal_queue_url
        self._emails_read = 0
        self._has_samples = False

    def make_samples(self) -> None:
        """Create the VPC of the sample events, on demand only, because moto's EC2 starts slowly."""
        if not self._has_samples:
            make_sample_world()
            self._has_samples = True

    def put_object(self, ref: ObjectRef, content: bytes) -> None:
        """Put an object into its bucket, and create the bucket if needed."""
        self._make_bucket(ref.bucket)
        self._s3.put_object(Bucket=ref.bucket, Key=ref.key, Body=content)

    def put_objects_of(self, event: object, folder: Path) -> list[Path]:
        """Put every object that an event names and the folder has; return the missing files."""
        missing = []
        for ref in objects_named(event):
            content = content_in_folder(folder, ref)
            if content is None:
                missing.append(folder / ref.bucket / ref.key)
            # A name that no bucket can have; the handler reports that.
            with suppress(ClientError, BotoCoreError):
                self._make_bucket(ref.bucket)
                if content is not None:
                    self.put_object(ref, content)
        return missing

    def _make_bucket(self, name: str) -> None:
        if name not in self._buckets:
            create_bucket(self._s3, name)
            self._buckets.add(name)

    def sweep(self, at: int, environment: Mapping[str, str] | None = None) -> Invocation:
        """Run the sweep as if it were scheduled at ``at`` (Unix seconds)."""
        return self.invoke(
            {
                "detail-type": "Scheduled Event",
                "source": "aws.events",
                "time": isoformat(at),
                "detail": {},
            },
            environment,
        )

    def later(self) -> None:
        """Run the sweeps of a later time: open alerts end, and the digest is sent.

        Flow logs go on, and nothing more of the alerts is in them.
        """
        now = int(time.time())
        after = now + Intervals().resolve + 60
        self.read_flow_logs_until(after)
        self.sweep(after)
        self.sweep(Intervals().digest_end(now) + 60)

    def read_flow_logs_until(self, end: int) -> None:
        """Note that flow logs up to ``end`` (Unix seconds) were read of all alerts' feeds."""
        client = boto3.client("dynamodb")
        store = DynamoDbStore(client, self.table)
        keys = [
            item["pk"]["S"]
            for page in client.get_paginator("scan").paginate(TableName=self.table)
            for item in page["Items"]
        ]
        alerts = [key.partition("#")[2] for key in keys if key.startswith("alert#")]
        feeds = {feed for state in store.load(alerts).values() for feed in state.feeds}
        FeedReadings(store, Intervals()).note(dict.fromkeys(feeds, end), end)

    def invoke(
        self,
        event: dict[str, Any],
        environment: Mapping[str, str] | None = None,
        *,
        function: str | None = None,
        seconds: int = _LONGEST,
    ) -> Invocation:
        """Run the function that AWS would invoke for the event, and evaluate what it signals.

        The outcome is that of both together. ``function`` runs a function by its name, and
        evaluates nothing. ``seconds`` is the time that each function has.

        The project's errors are part of the outcome; any other exception is a defect and is raised.
        """
        if function is not None:
            return self._run(function, event, environment, seconds)
        invocation = self._run(_function_of(event), event, environment, seconds)
        kept: list[str] = []
        while (signals := self.receive_signals()) is not None:
            evaluation = self._run(EVALUATE, signals, environment, seconds)
            kept += self.delete_signals(signals, evaluation)
            invocation = invocation.and_then(evaluation)
        for handle in kept:
            self._sqs.change_message_visibility(
                QueueUrl=self.signal_queue_url, ReceiptHandle=handle, VisibilityTimeout=0
            )
        return invocation

    def receive_signals(self) -> dict[str, Any] | None:
        """Return an event of up to ten signals that the queue hands out now; ``None`` for none."""
        messages = self._sqs.receive_message(
            QueueUrl=self.signal_queue_url,
            MaxNumberOfMessages=10,
            MessageSystemAttributeNames=["All"],
        ).get("Messages", [])
        if not messages:
            return None
        records = [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": message["Attributes"],
                "messageAttributes": {},
                "eventSource": "aws:sqs",
            }
            for message in messages
        ]
        return {"Records": records}

    def delete_signals(
        self, signals: Mapping[str, Any], evaluation: Invocation | None
    ) -> list[str]:
        """Delete the signals that are done, as Lambda does; return the handles of the others.

        ``None`` stands for an evaluation that died.
        """
        failed: set[object] | None = None
        if evaluation is not None and isinstance(evaluation.answer, dict):
            failures = evaluation.answer["batchItemFailures"]
            failed = {failure["itemIdentifier"] for failure in failures}
        kept = []
        for record in signals["Records"]:
            if failed is None or record["messageId"] in failed:
                kept.append(record["receiptHandle"])
            else:
                self._sqs.delete_message(
                    QueueUrl=self.signal_queue_url, ReceiptHandle=record["receiptHandle"]
                )
        return kept

    def _run(
        self,
        function: str,
        event: dict[str, Any],
        environment: Mapping[str, str] | None,
        seconds: int,
    ) -> Invocation:
        written = io.StringIO()
        answer: object = None
        error: FlowVerdictError | None = None
        variables = {
            "ALERT_TOPIC_ARN": self.topic_arn,
            "EMAIL_TOPIC_ARN": self.email_topic_arn,
            "ALERT_TABLE": self.table,
            "EVIDENCE_BUCKET": self.evidence_bucket,
            "SIGNAL_QUEUE_URL": self.signal_queue_url,
            "AWS_REGION": REGION,
            "POWERTOOLS_METRICS_NAMESPACE": "flowverdict",
        }
        variables |= dict(environment or {})
        if function == EVALUATE:
            variables["QUEUE_URL"] = self.signal_queue_url
        with _environment(variables), redirect_stdout(written):
            try:
                answer = self._module(function).lambda_handler(
                    event, _LambdaContext(function, seconds)
                )
            except FlowVerdictError as raised:
                error = raised
        # Not splitlines(), which also splits at other characters than "\n".
        lines = tuple(json.loads(line) for line in written.getvalue().split("\n") if line)
        return Invocation(
            function=function,
            answer=answer,
            error=error,
            log=tuple(line for line in lines if "_aws" not in line),
            metrics=_metrics(lines),
        )

    def _module(self, function: str) -> ModuleType:
        # A new module each time unless kept warm: no client, logger or cache outlives the
        # invocation.
        module = self._warm[function] if function in self._warm else load_function(function)
        if self.keep_warm:
            self._warm[function] = module
        return module

    def alerts(self) -> list[dict[str, Any]]:
        """Return the JSON of the alerts and notices that reached the queue since the last call."""
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
        """Return the same, parsed for the renderers."""
        return [notification_from_json(json.dumps(alert)) for alert in self.alerts()]

    def emails(self) -> list[Email]:
        """Return the emails that were sent since the last call."""
        sent = (
            sns_backends[DEFAULT_ACCOUNT_ID][REGION].topics[self.email_topic_arn].sent_notifications
        )
        new = sent[self._emails_read :]
        self._emails_read = len(sent)
        return [Email(subject=str(subject), body=message) for _, message, subject, *_ in new]


@contextmanager
def local_aws() -> Iterator[LocalAws]:
    """Provide an AWS inside this process, removed afterwards."""
    # The caller's endpoints and profile would leave the process, or fail to load.
    foreign = {name for name in os.environ if name.startswith("AWS_")}
    variables = {"AWS_DEFAULT_REGION": REGION, "MOTO_EC2_LOAD_DEFAULT_AMIS": "false"}
    with _environment(variables, without=foreign), mock_aws():
        session = botocore.session.get_session()
        session.register_component("data_loader", _service_models())
        boto3.setup_default_session(botocore_session=session)
        yield LocalAws()


@cache
def _service_models() -> botocore.loaders.Loader:
    # Reading the SDK's service descriptions takes most of a second; they are the same in each AWS.
    return botocore.loaders.create_loader()


def load_function(name: str) -> ModuleType:
    """Load a new copy of a function's entry module from the project's ``functions`` folder.

    Raises
    ------
    FlowVerdictError
        The package is installed without the project's checkout.
    """
    path = Path(flowverdict.__file__).resolve().parents[3] / "functions" / name / "app.py"
    if not path.is_file():
        raise FlowVerdictError(f"replaying needs the project's checkout: no {path}")
    spec = importlib.util.spec_from_file_location(f"functions.{name}.app", path)
    if spec is None or spec.loader is None:
        raise FlowVerdictError(f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _function_of(event: Mapping[str, Any]) -> str:
    """Return the function that AWS would invoke; ``classify_s3`` refuses an unknown event."""
    source = source_of(event)
    if source is not None:
        return source.function
    return "sweep_alerts" if event.get("detail-type") == "Scheduled Event" else "classify_s3"


def _metrics(lines: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Return the metrics by name: the sums of the lists in CloudWatch's embedded metric format."""
    values: Counter[str] = Counter()
    for line in lines:
        for described in line.get("_aws", {}).get("CloudWatchMetrics", []):
            for metric in described["Metrics"]:
                values[metric["Name"]] += sum(line[metric["Name"]])
    return values


def content_in_folder(folder: Path, ref: ObjectRef) -> bytes | None:
    """Return the content of ``bucket/key`` in a folder; ``None`` if the folder does not have it.

    If the folder has only the text of a ``.gz`` object, the text is gzipped, so that samples can be
    read and edited.
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


def objects_named(event: object) -> tuple[ObjectRef, ...]:
    """Return the objects that an event names."""
    if not isinstance(event, dict) or "awslogs" in event:
        return ()
    named: list[ObjectRef] = []
    queued = is_sqs_event(event)
    for message in event["Records"] if queued else [event]:
        with suppress(EnvelopeError):  # the handler reports that
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
