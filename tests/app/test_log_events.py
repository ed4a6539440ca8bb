"""CloudWatch Logs: which format a log event is read in, and what its function loads."""

from __future__ import annotations

import base64
import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from benchmarks.generate import DEFAULT_HEADER as HEADER
from scripts.pack_cloudwatch_event import pack
from tests.helpers.events import (
    SCENARIOS,
)

if TYPE_CHECKING:
    from flowverdict_cli.local_aws import LocalAws

EVENTS = Path(__file__).parents[2] / "events"


def log_event(scenario: str, log_group: str) -> dict[str, Any]:
    _, *lines = (SCENARIOS / f"{scenario}.log").read_text().splitlines()
    event: dict[str, Any] = json.loads(
        pack(lines, log_group=log_group, log_stream="eni-0aaaaaaaaaaaaaaa1-all")
    )
    return event


_LOADED_BY_LOG_EVENT = """
import json, sys
from flowverdict_cli.local_aws import local_aws
with local_aws() as aws:
    aws.make_samples()
    aws.invoke(json.load(sys.stdin))
    print(json.dumps({"alerts": len(aws.alerts()), "modules": sorted(sys.modules)}))
"""


@pytest.mark.slow  # `make size` measures what each built function imports
def test_a_log_event_is_handled_without_the_engine_which_its_function_does_not_have() -> None:
    finished = subprocess.run(  # noqa: S603 - our own
        [sys.executable, "-c", _LOADED_BY_LOG_EVENT],
        input=(EVENTS / "cloudwatch-logs.json").read_text(),
        capture_output=True,
        check=True,
        text=True,
    )
    found = json.loads(finished.stdout.splitlines()[-1])
    assert found["alerts"] > 0
    assert {
        "numpy",
        "isal",
        "flowverdict.flows.accepted_numpy",
        "flowverdict.flowlog.column_reader",
    } & set(found["modules"]) == set()


def test_a_log_group_without_a_described_flow_log_is_read_in_the_default_format(
    aws: LocalAws,
) -> None:
    aws.invoke(log_event("aws-3-ping-response-rejected", "/unknown"))

    (alert,) = aws.alerts()
    assert (alert["leg"], alert["verdict"], alert["service"]) == ("response", "network-acl", "ICMP")


def test_a_configured_format_goes_before_what_ec2_describes(aws: LocalAws) -> None:
    header = (SCENARIOS / "outbound-response.log").read_text().splitlines()[0]

    aws.make_samples()
    aws.invoke(log_event("outbound-response", "/sample/vpc-flow-logs"), {"LOG_FORMAT": header})

    (alert,) = aws.alerts()
    assert (alert["leg"], alert["verdict"]) == ("response", "network-acl")


def test_lines_that_do_not_fit_the_format_are_counted_and_sampled(aws: LocalAws) -> None:
    aws.make_samples()

    invocation = aws.invoke(log_event("outbound-response", "/sample/vpc-flow-logs"))

    assert aws.alerts() == []
    (counts,) = [line["counts"] for line in invocation.log if "counts" in line]
    assert counts["malformed.field-count"] == 2
    assert any(line["message"] == "malformed lines" and line["samples"] for line in invocation.log)


def event_with_a_reject(number: int) -> dict[str, Any]:
    """Return an event of 200 records that end in two windows, of which two are rejected."""
    lines = [
        f"2 123456789012 eni-0aaaaaaaaaaaaaaa1 203.0.113.9 10.0.1.5 {port} 443 6 1 40 "
        f"{at} {at + 20} {'REJECT' if port == 50_000 else 'ACCEPT'} OK"
        for at in (1_795_521_600 + number, 1_795_521_900 + number)
        for port in range(50_000, 50_100)
    ]
    logs = {
        "messageType": "DATA_MESSAGE",
        "owner": "123456789012",
        "logGroup": "/flow-logs",
        "logStream": "eni-0aaaaaaaaaaaaaaa1-all",
        "logEvents": [
            {"id": f"{number}-{index}", "message": line} for index, line in enumerate(lines)
        ],
    }
    return {"awslogs": {"data": base64.b64encode(gzip.compress(json.dumps(logs).encode()))}}


def test_a_log_event_makes_six_calls_one_after_the_other(aws: LocalAws) -> None:
    """The figure of docs/cost.md: a stream's next event, in windows that had rejects before."""
    assert boto3.DEFAULT_SESSION is not None
    calls: list[str] = []

    def called(model: Any, **_: object) -> None:  # noqa: ANN401 - botocore's own
        calls.append(model.name)

    boto3.DEFAULT_SESSION.events.register("before-call", called)
    aws.keep_warm = True
    made = []
    for number in (1, 2):
        calls.clear()
        invocation = aws.invoke(
            event_with_a_reject(number), {"LOG_FORMAT": HEADER}, function="classify_cloudwatch_logs"
        )
        assert (invocation.error, invocation.failures) == (None, ())
        made.append([*calls])
    assert made[1] == [
        "BatchGetItem",  # whether the event was read before
        "PutObject",
        "PutObject",
        "UpdateItem",  # that it is read
        "BatchGetItem",  # whether its windows are stored
        "SendMessageBatch",
    ]
    # The first event creates the table's seed, and stores both windows.
    assert len(made[0]) == len(made[1]) + 1 + 2
