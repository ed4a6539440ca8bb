"""The cost model against the real handlers: their calls of AWS in steady operation."""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from flowverdict.flowlog.columnar import WINDOW
from flowverdict.flowlog.object_key import ObjectRef
from flowverdict.lifecycle.episodes import MAX_WINDOWS
from flowverdict_cli import cost_model
from flowverdict_cli.cost_model import Measured, Workload
from flowverdict_cli.local_aws import EVALUATE, local_aws
from scripts import cost_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowverdict_cli.local_aws import LocalAws

BUCKET = "flow-logs"
HEADER = (
    "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes"
    " start end action log-status vpc-id subnet-id tcp-flags region flow-direction reject-reason"
)
PORTS = (3306, 5432, 6379)
START = 1_795_348_800  # a window's first second
ROUNDS = 5  # afterwards every window that is read is at its fullest
INDEX_UNITS = 2  # the entry in the index is deleted and put
READS = "DynamoDB, on demand: read units"
PART_READS = "reads of contributions"  # in READS too
WRITES = "DynamoDB, on demand: write units"
GETS = "S3 Standard, GET: requests"
PUTS = "S3 Standard, PUT and LIST: requests"
SIGNALS = "SQS, FIFO queue: requests"
INVOCATIONS = "Lambda: requests"
BILLED = {READS, WRITES, GETS, PUTS, SIGNALS, INVOCATIONS}


class Bill:
    """The calls of AWS, in billed units."""

    def __init__(self) -> None:
        self.used: Counter[str] = Counter()

    def add(self, params: Mapping[str, Any], model: Any, **_: object) -> None:  # noqa: ANN401 - botocore's own
        """Count a call; botocore's ``before-call``."""
        match model.name:
            case "GetObject":
                self.used[GETS] += 1
            case "PutObject" | "ListObjectsV2":
                self.used[PUTS] += 1
            case "BatchGetItem":
                tables = json.loads(params["body"])["RequestItems"].values()
                keys = [key["pk"]["S"] for table in tables for key in table["Keys"]]
                self.used[READS] += len(keys)  # no item is over 4 KB
                self.used[PART_READS] += sum(key.startswith("part#") for key in keys)
            case "PutItem":
                self.used[WRITES] += write_units(json.loads(params["body"])["Item"])
            case "UpdateItem":
                self.used[WRITES] += 1  # what is updated in steady operation is small
            case "TransactWriteItems":
                for write in json.loads(params["body"])["TransactItems"]:
                    item = write["Put"]["Item"]
                    indexed = INDEX_UNITS * ("due_at" in item)
                    self.used[WRITES] += 2 * write_units(item) + indexed
            case "SendMessageBatch":
                self.used[SIGNALS] += 1
            case other:
                self.used[other] += 1


def bills_of(
    aws: LocalAws,
    bill: Bill,
    function: str,
    event: dict[str, Any],
    environment: Mapping[str, str] | None = None,
) -> tuple[Counter[str], Counter[str]]:
    """Return what a function uses that reads, and what the evaluation of its signals uses."""
    bill.used.clear()
    invocation = aws.invoke(event, environment, function=function)
    assert (invocation.error, invocation.failures) == (None, ())
    reading, evaluating = bill.used | Counter({INVOCATIONS: 1}), Counter[str]()
    while (signals := aws.receive_signals()) is not None:
        bill.used.clear()
        evaluation = aws.invoke(signals, environment, function=EVALUATE)
        assert (evaluation.error, evaluation.failures) == (None, ())
        # Lambda's own calls: it receives ten signals in a request, and deletes them in another one.
        evaluating += bill.used + Counter({INVOCATIONS: 1, SIGNALS: 2})
        assert aws.delete_signals(signals, evaluation) == []
    return reading, evaluating


def write_units(item: Mapping[str, Mapping[str, str | bool]]) -> int:
    """Return the write units of an item, whose binary values are base64; a Boolean takes a byte.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
    """
    size = sum(
        len(name) + (1 if isinstance(text, bool) else len(text) * (0.75 if kind == "B" else 1))
        for name, value in item.items()
        for kind, text in value.items()
    )
    return math.ceil(size / 1_024)


def flow_log_file(flow_log: int, at: int) -> tuple[ObjectRef, bytes]:
    """Return a file with three faults of an interface, each in the two windows around ``at``."""
    name = f"123456789012_vpcflowlogs_eu-west-1_fl-{flow_log:017x}_20261122T1200Z_{at:x}.log.gz"
    lines = [
        f"8 123456789012 eni-{flow_log:017x} 10.0.2.9 10.0.1.5 50122 {port} 6 1 60"
        f" {end - 30} {end} REJECT OK vpc-0a subnet-0a 2 "
        "eu-west-1 ingress -"
        for port in PORTS
        for end in (at - 60, at + 60)
    ]
    ref = ObjectRef(
        bucket=BUCKET, key=f"AWSLogs/123456789012/vpcflowlogs/eu-west-1/2026/11/22/{name}"
    )
    return ref, gzip.compress("\n".join([HEADER, *lines, ""]).encode())


def message(ref: ObjectRef) -> dict[str, Any]:
    """Return the SQS record about an object."""
    s3 = {
        "s3SchemaVersion": "1.0",
        "bucket": {"name": ref.bucket},
        "object": {"key": ref.key, "size": 1},
    }
    body = {
        "Records": [
            {
                "eventVersion": "2.6",
                "eventSource": "aws:s3",
                "eventName": "ObjectCreated:Put",
                "s3": s3,
            }
        ]
    }
    return {
        "messageId": ref.key,
        "eventSource": "aws:sqs",
        "body": json.dumps(body),
        "attributes": {},
        "messageAttributes": {},
    }


def amounts_of(workload: Workload) -> dict[str, float]:
    lines = cost_model.reading_cost(
        workload, Measured(read_ms=0, evaluate_ms=0, gzip_bytes=0, evidence_bytes=0)
    )
    return {f"{line.price.what}: {line.price.unit}": line.amount for line in lines}


def of_invocation(batches: list[list[tuple[ObjectRef, bytes]]]) -> Counter[str]:
    """Return what the last invocation uses, and the evaluation after it."""
    bill = Bill()
    with local_aws() as aws:
        assert boto3.DEFAULT_SESSION is not None
        boto3.DEFAULT_SESSION.events.register("before-call", bill.add)
        aws.keep_warm = True
        for files in batches:
            for ref, content in files:
                aws.put_object(ref, content)
            event = {"Records": [message(ref) for ref, _ in files]}
            reading, evaluating = bills_of(aws, bill, "classify_s3", event)
    return reading + evaluating


@pytest.mark.slow  # a figure of docs/cost.md
@pytest.mark.parametrize("flow_logs", [1, 3])
def test_files_make_the_calls_of_the_model(flow_logs: int) -> None:
    used = of_invocation(
        [
            [flow_log_file(flow_log, START + number * WINDOW) for flow_log in range(flow_logs)]
            for number in range(ROUNDS)
        ]
    )
    amounts = amounts_of(
        Workload(records=0, objects=flow_logs, batch=flow_logs, flow_logs=flow_logs, seen_in=ROUNDS)
    )
    assert len(PORTS) == cost_model.ASSUMED_ALERTS
    # So old files show no rhythm of their flow log, which is what has an entry in the index.
    used[WRITES] += INDEX_UNITS * flow_logs
    assert {what: used[what] for what in BILLED} == {what: amounts[what] for what in BILLED}


@pytest.mark.slow  # what `flowverdict backfill` estimates
def test_successive_files_of_a_flow_log_make_the_calls_of_the_model() -> None:
    files = 10
    used = of_invocation(
        [
            [flow_log_file(0, START + (number * files + each) * WINDOW) for each in range(files)]
            for number in range(2)
        ]
    )
    amounts = amounts_of(
        Workload(records=0, objects=files, batch=files, windows=files + 1, minutes=files)
    )
    exact = PUTS, SIGNALS, INVOCATIONS
    assert {what: used[what] for what in exact} == {what: amounts[what] for what in exact}
    # The first ten windows are evaluated before files come that have records of those after them.
    assert 0.8 * amounts[GETS] <= used[GETS] <= amounts[GETS]
    # Assumed: each window has three alerts, and each alert as many windows as are stored.
    assert used[READS] <= amounts[READS]
    assert used[WRITES] <= amounts[WRITES]


def log_event(minute: int, *, rejects: bool) -> dict[str, Any]:
    """Return the event of an interface's log stream, of which every minute has one."""
    end = START + 60 * minute
    messages = [
        f"2 123456789012 eni-0a 10.0.2.9 10.0.1.5 {40_000 + number} "
        f"{5432 if rejects and number == 0 else 443} 6 1 60 {end - 50} {end - 5} "
        f"{'REJECT' if rejects and number == 0 else 'ACCEPT'} OK"
        for number in range(cost_table.ASSUMED_EVENT_RECORDS)
    ]
    payload = {
        "messageType": "DATA_MESSAGE",
        "owner": "123456789012",
        "logGroup": "/vpc",
        "logStream": "eni-0a-all",
        "logEvents": [
            {"id": f"{minute:03d}{number:053d}", "message": message}
            for number, message in enumerate(messages)
        ],
    }
    packed = gzip.compress(json.dumps(payload).encode())
    return {"awslogs": {"data": base64.b64encode(packed).decode()}}


@pytest.mark.parametrize("rejects", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_log_events_make_the_calls_of_the_model(*, rejects: bool) -> None:
    stated = cost_table.REJECTING_EVENTS if rejects else cost_table.QUIET_EVENTS
    environment = {"LOG_FORMAT": " ".join(HEADER.split()[:14])}
    bills = []
    with local_aws() as aws:
        assert boto3.DEFAULT_SESSION is not None
        aws.keep_warm = True
        bill = Bill()
        boto3.DEFAULT_SESSION.events.register("before-call", bill.add)
        for minute in range(26 if rejects else 8):
            event = log_event(minute, rejects=rejects)
            bills.append(bills_of(aws, bill, "classify_cloudwatch_logs", event, environment))
    # A window begins in one of five events.
    last = bills[-cost_table.EVENTS_OF_A_WINDOW :]
    used = [sum(each, Counter[str]()) for each in zip(*last, strict=True)]
    used[1][WRITES] += INDEX_UNITS  # as above
    used[1][READS] += cost_table.EVENTS_OF_A_WINDOW * MAX_WINDOWS * rejects - used[1][PART_READS]
    assert len(used) == len(stated)
    for counted, calls in zip(used, stated, strict=True):
        assert {what: counted[what] for what in BILLED} == {
            READS: calls.read_units,
            WRITES: calls.write_units,
            GETS: calls.gets,
            PUTS: calls.puts,
            SIGNALS: calls.requests,
            INVOCATIONS: cost_table.EVENTS_OF_A_WINDOW,
        }
