"""Two functions in two processes meet the same new fault at the same moment.

One message is sent. Two objects are both counted, and one object is counted once.

moto checks a condition and writes in two steps, so two simultaneous requests could both pass. Its
server here handles one request after the other, as DynamoDB does for one item; only the functions
run at once.
"""

from __future__ import annotations

import json
import multiprocessing
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import boto3
import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from flowverdict.flowlog.columnar import WINDOW
from flowverdict.lifecycle.dynamodb import DynamoDbStore
from flowverdict_cli.local_aws import REGION
from flowverdict_cli.local_stack import TABLE
from tests.helpers.at_once import LONGEST_WAIT, classify_together
from tests.helpers.events import BUCKET, notification, queue_message
from tests.helpers.flow_log_lines import content_of, reply

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

ROUNDS = 6


def flow_log(number: int) -> bytes:
    """Build an object of one rejected reply.

    Each number has an interface and a window of its own.
    """
    line = reply(40_001, -10 * WINDOW * number)
    return content_of(
        [line.replace("eni-1", f"eni-{number}").replace("10.0.0.5", f"10.0.{number}.5")]
    )


class _Silent(WSGIRequestHandler):
    def log(self, *_: object, **__: object) -> None:
        """Log nothing."""


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    monkeypatch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
    server = make_server(
        "127.0.0.1",
        0,
        DomainDispatcherApplication(create_backend_app),
        threaded=False,
        request_handler=_Silent,
    )
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    variables = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "POWERTOOLS_METRICS_NAMESPACE": "flowverdict",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    yield variables
    urlopen(Request(f"{variables['AWS_ENDPOINT_URL']}/moto-api/reset", method="POST")).close()  # noqa: S310 - own server
    server.shutdown()
    thread.join(10)
    server.server_close()


@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.parametrize("objects", [2, 1])
def test_two_functions_at_once_send_one_message_and_count_each_object_once(
    environment: dict[str, str], objects: int
) -> None:
    session = boto3.Session(region_name=REGION)
    sns, sqs, s3, dynamodb = (
        session.client("sns"),
        session.client("sqs"),
        session.client("s3"),
        session.client("dynamodb"),
    )
    topic = sns.create_topic(Name="alerts")["TopicArn"]
    queue = sqs.create_queue(QueueName="subscriber")["QueueUrl"]
    sns.subscribe(
        TopicArn=topic,
        Protocol="sqs",
        Endpoint=sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])[
            "Attributes"
        ]["QueueArn"],
        Attributes={"RawMessageDelivery": "true"},
    )
    dynamodb.create_table(TableName="alerts", **TABLE)
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.create_bucket(Bucket="evidence", CreateBucketConfiguration={"LocationConstraint": REGION})
    environment |= {
        "ALERT_TOPIC_ARN": topic,
        "ALERT_TABLE": "alerts",
        "EVIDENCE_BUCKET": "evidence",
        "SIGNAL_QUEUE_URL": sqs.create_queue(
            QueueName="signals.fifo", Attributes={"FifoQueue": "true"}
        )["QueueUrl"],
    }

    events: list[list[dict[str, Any]]] = [[], []]
    for number in range(ROUNDS):
        for which, mine in enumerate(events):
            key = f"AWSLogs/{number}-{which % objects}.log"
            s3.put_object(Bucket=BUCKET, Key=key, Body=flow_log(number))
            mine.append({"Records": [queue_message(key, notification(key))]})

    context = multiprocessing.get_context("spawn")
    barrier, conflicts = context.Barrier(2), context.Queue()
    both = [
        context.Process(target=classify_together, args=(environment, mine, barrier, conflicts))
        for mine in events
    ]
    for process in both:
        process.start()
    for process in both:
        process.join(LONGEST_WAIT)
    assert [process.exitcode for process in both] == [0, 0]

    told = []
    while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get(
        "Messages", []
    ):
        for message in messages:
            told.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    assert [alert["status"] for alert in told] == ["firing"] * ROUNDS
    fingerprints = {alert["fingerprint"] for alert in told}
    assert len(fingerprints) == ROUNDS
    states = DynamoDbStore(dynamodb, "alerts").load(fingerprints)
    assert [
        (state.notification.records, state.messages, state.pending) for state in states.values()
    ] == [(objects, 1, None)] * ROUNDS
    # In each round one function was too late and computed its write again. Without that, this test
    # shows nothing.
    assert sum(conflicts.get(timeout=5) for _ in range(2 * ROUNDS)) >= ROUNDS
