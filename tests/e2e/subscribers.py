"""Input and output of a deployed stack: objects and log events in, alerts and log lines out."""

from __future__ import annotations

import gzip
import json
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.e2e.samples import scheduled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tests.e2e.emulator import Place
    from tests.e2e.stack import Stack

# Seconds for what takes 0.1 to 2 s. A cold worker on a busy machine takes 10 and more, and what
# failed for a reason that passes comes again after a minute.
_WAIT = 240.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message that a subscriber got; only a subscription that is not raw has the subject."""

    body: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    subject: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A queue that a test reads."""

    place: Place
    url: str

    @property
    def arn(self) -> str:
        """ARN of the queue."""
        return str(
            self._sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])[
                "Attributes"
            ]["QueueArn"]
        )

    def take(self, count: int, seconds: float = _WAIT) -> list[str]:
        """Take messages off the queue until there are ``count`` of them, and return their texts.

        Raises
        ------
        TimeoutError
            Fewer arrived in time; the text has the messages that did.
        """
        return [message.body for message in self.take_whole(count, seconds)]

    def take_whole(self, count: int, seconds: float = _WAIT) -> list[Message]:
        """Take messages off the queue until there are ``count`` of them, with their attributes.

        Raises
        ------
        TimeoutError
            Fewer arrived in time; the text has the messages that did.
        """
        taken: list[Message] = []
        deadline = time.monotonic() + seconds
        while len(taken) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(taken)} of {count} messages after {seconds:g} s: {taken}")
            taken += self._receive(wait=1)
        return taken

    def rest(self) -> list[str]:
        """Take all messages that the queue has now, and return their texts."""
        return [message.body for message in self.rest_whole()]

    def rest_whole(self) -> list[Message]:
        """Take all messages that the queue has now, with their attributes."""
        taken: list[Message] = []
        while new := self._receive(wait=0):
            taken += new
        return taken

    @property
    def _sqs(self) -> Any:  # noqa: ANN401 - as Place.client
        return self.place.client("sqs")

    def _receive(self, *, wait: int) -> list[Message]:
        answer = self._sqs.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=wait,
            MessageAttributeNames=["All"],
        )
        messages = answer.get("Messages", [])
        for message in messages:
            self._sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
        return [_message(message) for message in messages]


def _message(received: Mapping[str, Any]) -> Message:
    body = str(received["Body"])
    envelope = json.loads(body) if body.startswith('{"Type": "Notification"') else None
    if envelope is None:
        attributes = {
            name: attribute["StringValue"]
            for name, attribute in received.get("MessageAttributes", {}).items()
        }
        return Message(body=body, attributes=attributes)
    attributes = {
        name: attribute["Value"]
        for name, attribute in envelope.get("MessageAttributes", {}).items()
    }
    return Message(body=envelope["Message"], attributes=attributes, subject=envelope.get("Subject"))


def subscribe(
    place: Place,
    topic_arn: str,
    name: str,
    filter_policy: Mapping[str, list[str]] | None = None,
    *,
    raw: bool = True,
) -> Queue:
    """Subscribe a new queue to a topic, with a queue policy that lets SNS in.

    A team of the organisation would subscribe its queue in the same way.
    """
    sqs = place.client("sqs")
    queue = Queue(place=place, url=sqs.create_queue(QueueName=name)["QueueUrl"])
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue.arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=queue.url, Attributes={"Policy": policy})
    attributes = {"RawMessageDelivery": str(raw).lower()}
    if filter_policy is not None:
        attributes["FilterPolicy"] = json.dumps(filter_policy)
    place.client("sns").subscribe(
        TopicArn=topic_arn, Protocol="sqs", Endpoint=queue.arn, Attributes=attributes
    )
    return queue


def deployed_filter(place: Place, topic_arn: str, protocol: str) -> dict[str, list[str]]:
    """Return the filter policy of a topic's only subscription of a protocol, as deployed.

    Raises
    ------
    LookupError
        The topic has no such subscription, or several.
    """
    sns = place.client("sns")
    found = [
        subscription
        for subscription in sns.list_subscriptions_by_topic(TopicArn=topic_arn)["Subscriptions"]
        if subscription["Protocol"] == protocol
    ]
    if len(found) != 1:
        raise LookupError(f"{len(found)} subscriptions of {topic_arn} by {protocol}")
    attributes = sns.get_subscription_attributes(SubscriptionArn=found[0]["SubscriptionArn"])[
        "Attributes"
    ]
    policy: dict[str, list[str]] = json.loads(attributes["FilterPolicy"])
    return policy


def forget(stack: Stack) -> list[dict[str, Any]]:
    """Empty the alert table and the evidence bucket, and return the items that the table had.

    After this all problems are new again. The seed stays, because running functions have cached it.
    """
    s3, bucket = stack.place.client("s3"), stack.outputs["EvidenceBucketName"]
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for entry in page.get("Contents", []):
            s3.delete_object(Bucket=bucket, Key=entry["Key"])
    client, table = stack.place.client("dynamodb"), stack.outputs["AlertTableName"]
    items: list[dict[str, Any]] = [
        item
        for page in client.get_paginator("scan").paginate(TableName=table)
        for item in page["Items"]
        if item["pk"] != {"S": "seed"}
    ]
    for item in items:
        client.delete_item(TableName=table, Key={"pk": item["pk"]})
    return items


def remember(stack: Stack, items: Iterable[Mapping[str, Any]]) -> None:
    """Put the items that ``forget`` returned back into the alert table."""
    client, table = stack.place.client("dynamodb"), stack.outputs["AlertTableName"]
    for item in items:
        client.put_item(TableName=table, Item=item)


def put_object(stack: Stack, key: str, text: str) -> str:
    """Put a flow log file into the stack's bucket as AWS does, gzipped, and return its key."""
    body = gzip.compress(text.encode(), mtime=0)
    stack.place.client("s3").put_object(
        Bucket=stack.outputs["FlowLogBucketName"], Key=key, Body=body
    )
    return key


def put_log_events(place: Place, log_group: str, log_stream: str, lines: Iterable[str]) -> None:
    """Write records into a log group, with the present time as their timestamp.

    CloudWatch Logs refuses events older than two weeks.
    """
    logs = place.client("logs")
    now = int(time.time() * 1000)
    with suppress(logs.exceptions.ResourceAlreadyExistsException):
        logs.create_log_stream(logGroupName=log_group, logStreamName=log_stream)
    events = [{"timestamp": now, "message": line} for line in lines]
    logs.put_log_events(logGroupName=log_group, logStreamName=log_stream, logEvents=events)


def log_events(stack: Stack, logical_id: str) -> list[tuple[str, str]]:
    """Return all that a function and its runtime have logged, each message with its log stream."""
    place, name = stack.place, stack.physical_id(logical_id)
    configuration = place.client("lambda").get_function_configuration(FunctionName=name)
    group = configuration["LoggingConfig"]["LogGroup"]
    pages = place.client("logs").get_paginator("filter_log_events").paginate(logGroupName=group)
    return [
        (str(event["logStreamName"]), str(event["message"]))
        for page in pages
        for event in page["events"]
    ]


def raw_log(stack: Stack, logical_id: str) -> list[str]:
    """Return all that a function and its runtime have logged."""
    return [message for _, message in log_events(stack, logical_id)]


def function_log(stack: Stack, logical_id: str) -> list[dict[str, Any]]:
    """Return the structured lines that a function has logged, without its metrics."""
    return [line for line in _structured(stack, logical_id) if "_aws" not in line]


def metric(stack: Stack, logical_id: str, name: str) -> list[float]:
    """Return the values of a function's metric, or of a count in its log: one per invocation."""
    found = [line[name] for line in _structured(stack, logical_id) if name in line]
    return [
        float(value)
        for measured in found
        for value in (measured if isinstance(measured, list) else [measured])
    ]


def _structured(stack: Stack, logical_id: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in raw_log(stack, logical_id) if line.startswith("{")]


def wait_until[T](look: Callable[[], T | None], what: str, seconds: float = _WAIT) -> T:
    """Return what ``look`` finds, as soon as it finds something.

    Raises
    ------
    TimeoutError
        It found nothing in time.
    """
    deadline = time.monotonic() + seconds
    while (found := look()) is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not after {seconds:g} s")
        time.sleep(0.1)
    return found


def sweep(stack: Stack, seconds_from_now: float) -> None:
    """Invoke the deployed sweep as its schedule will some seconds from now."""
    answer = stack.place.client("lambda").invoke(
        FunctionName=stack.physical_id("SweepAlertsFunction"),
        Payload=json.dumps(scheduled(seconds_from_now)).encode(),
    )
    assert "FunctionError" not in answer, answer["Payload"].read()


def post_to(stack: Stack, api: str, function: str = "NotifySlackFunction") -> bool:
    """Let a function that has a Slack token use it at an address of this machine.

    Return whether the function has a token.
    """
    client, name = stack.place.client("lambda"), stack.physical_id(function)
    variables = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    if not variables.get("SLACK_TOKEN"):
        return False
    client.update_function_configuration(
        FunctionName=name, Environment={"Variables": variables | {"SLACK_API": api}}
    )
    return True


def posted(stack: Stack) -> int:
    """Count the messages that Slack accepted."""
    return sum(
        line["message"] == "posted to Slack" for line in function_log(stack, "NotifySlackFunction")
    )
