"""The cost model against the real handlers: their calls of S3 and DynamoDB in steady operation."""

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
from flowverdict_cli import cost_model
from flowverdict_cli.cost_model import Measured, Workload
from flowverdict_cli.local_aws import local_aws
from scripts import cost_table

if TYPE_CHECKING:
    from collections.abc import Mapping

BUCKET = "flow-logs"
HEADER = (
    "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes"
    " start end action log-status vpc-id subnet-id tcp-flags region flow-direction reject-reason"
)
PORTS = (3306, 5432, 6379)
START = 1_795_348_800  # a window's first second
ROUNDS = 5  # afterwards every window that is read is at its fullest
INDEX_UNITS = 2  # the entry in the index is deleted and put


class Bill:
    """The calls of AWS, in billed units."""

    def __init__(self) -> None:
        self.used: Counter[str] = Counter()

    def add(self, params: Mapping[str, Any], model: Any, **_: object) -> None:  # noqa: ANN401 - botocore's own
        """Count a call; botocore's ``before-call``."""
        match model.name:
            case "GetObject":
                self.used["S3 Standard, GET: requests"] += 1
            case "PutObject" | "ListObjectsV2":
                self.used["S3 Standard, PUT and LIST: requests"] += 1
            case "BatchGetItem":
                tables = json.loads(params["body"])["RequestItems"].values()
                self.used["DynamoDB, on demand: read units"] += sum(
                    len(table["Keys"])
                    for table in tables  # no item is over 4 KB
                )
            case "PutItem":
                self.used["DynamoDB, on demand: write units"] += write_units(
                    json.loads(params["body"])["Item"]
                )
            case "TransactWriteItems":
                for write in json.loads(params["body"])["TransactItems"]:
                    item = write["Put"]["Item"]
                    indexed = INDEX_UNITS * ("due_at" in item)
                    self.used["DynamoDB, on demand: write units"] += 2 * write_units(item) + indexed
            case other:
                self.used[other] += 1


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


@pytest.mark.slow  # a figure of docs/cost.md
@pytest.mark.parametrize("flow_logs", [1, 3])
def test_invocation_makes_the_calls_of_the_model(flow_logs: int) -> None:
    bill = Bill()
    with local_aws() as aws:
        assert boto3.DEFAULT_SESSION is not None
        boto3.DEFAULT_SESSION.events.register("before-call", bill.add)
        aws.keep_warm = True
        for number in range(ROUNDS):
            files = [
                flow_log_file(flow_log, START + number * WINDOW) for flow_log in range(flow_logs)
            ]
            for ref, content in files:
                aws.put_object(ref, content)
            bill.used.clear()
            invocation = aws.invoke({"Records": [message(ref) for ref, _ in files]})
            assert (invocation.error, invocation.answer) == (None, {"batchItemFailures": []})

    workload = Workload(
        records=0, objects=flow_logs, batch=flow_logs, flow_logs=flow_logs, seen_in=ROUNDS
    )
    lines = cost_model.reading_cost(
        workload, Measured(read_ms=0, evaluate_ms=0, gzip_bytes=0, evidence_bytes=0)
    )
    amounts = {f"{line.price.what}: {line.price.unit}": line.amount for line in lines}
    assert len(PORTS) == cost_model.ASSUMED_ALERTS
    assert bill.used == {what: amounts[what] for what in bill.used}
    assert len(bill.used) == 4


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
def test_a_log_event_makes_the_calls_of_the_model(*, rejects: bool) -> None:
    stated = cost_table.REJECTING_EVENT if rejects else cost_table.QUIET_EVENT
    bills = []
    with local_aws() as aws:
        assert boto3.DEFAULT_SESSION is not None
        aws.keep_warm = True
        bill = Bill()
        boto3.DEFAULT_SESSION.events.register("before-call", bill.add)
        for minute in range(26 if rejects else 8):
            bill.used.clear()
            environment = {"LOG_FORMAT": " ".join(HEADER.split()[:14])}
            assert aws.invoke(log_event(minute, rejects=rejects), environment).error is None
            bills.append(Counter(bill.used))
    last = bills[-5:]
    most = {name: max(used[name] for used in last) for used in last for name in used}
    assert most["DynamoDB, on demand: read units"] == stated.read_units
    assert most.get("S3 Standard, GET: requests", 0) == stated.gets
    assert most["S3 Standard, PUT and LIST: requests"] == stated.puts
    # A window begins in one of five events, and costs more.
    assert min(used["DynamoDB, on demand: write units"] for used in last) == stated.write_units
