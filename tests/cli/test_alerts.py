"""``flowverdict alerts`` against moto's table, as a user runs it."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import boto3
import pytest
import time_machine
from botocore.stub import Stubber

from flowverdict.alerts.model import Kind, Severity
from flowverdict.core.errors import FlowVerdictError
from flowverdict.lifecycle.dynamodb import DynamoDbStore
from flowverdict.lifecycle.intervals import Intervals
from flowverdict.lifecycle.manager import AlertManager
from flowverdict.policy.document import parse_policy
from flowverdict_cli import alerts_stack
from flowverdict_cli.alerts_stack import Place, deployed
from flowverdict_cli.local_aws import REGION
from flowverdict_cli.stack import describe
from tests.helpers.alert_samples import ALERT, LOST, NOW, Outbox, a_window, detection, record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flowverdict_cli.local_aws import LocalAws
    from tests.helpers.command import Outcome, Runner

ONE = detection("one").notification.fingerprint
TWO = detection("two").notification.fingerprint
USER = "arn:aws:sts::123456789012:user/moto"


class Desk:
    """A table with a high and a critical open alert, and the command on it."""

    def __init__(self, aws: LocalAws, run: Runner) -> None:
        self.table = aws.table
        self._run = run
        self.store = DynamoDbStore(boto3.client("dynamodb"), aws.table)
        self.outbox = Outbox()
        self.manager = AlertManager(
            self.store, self.outbox, intervals=Intervals(), hourly_limit=30, wait=lambda _: None
        )
        found = [detection("one"), detection("two", Severity.CRITICAL)]
        record(self.manager, found, a_window(), NOW - 600)

    def __call__(self, *arguments: str) -> Outcome:
        """Run a subcommand on the table."""
        name, *rest = arguments
        return self._run("alerts", name, "--table", self.table, "--region", REGION, *rest)


@pytest.fixture
def desk(aws: LocalAws, run: Runner, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    # A session loads its descriptions of the services anew: half a second for each run.
    clients = cache(boto3.client)
    monkeypatch.setattr(alerts_stack, "_clients", lambda _: clients)
    with time_machine.travel(NOW, tick=False):
        yield Desk(aws, run)


def test_the_list_shows_the_most_severe_first_and_takes_the_filters_of_explain(desk: Desk) -> None:
    listed = desk("list").out.splitlines()
    assert listed[0].split() == ["alert", "severity", "for", "state", "problem"]
    assert [line.split()[:2] for line in listed[1:]] == [
        [TWO[:8], "critical"],
        [ONE[:8], "high"],
    ]
    assert "10 min" in listed[1]
    for options, many in {
        ("--severity", "critical"): 1,
        ("--severity", "high"): 2,
        ("--vpc", "vpc-0a1b"): 2,
        ("--vpc", "vpc-1"): 0,
        ("--interface", "eni-1"): 0,
        ("--remote", "10.0.2.0/24"): 2,
        ("--remote", "10.0.9.0/24"): 0,
        ("--port", "5432"): 2,
        ("--port", "22"): 0,
        ("--verdict", "security-group"): 2,
        ("--verdict", "network-acl"): 0,
    }.items():
        shown = desk("list", "--output", "json", *options).out.splitlines()
        assert len(shown) == many, options
    assert desk("list", "--vpc", "vpc-1").out == "no open alerts\n"
    rows = list(csv.DictReader(io.StringIO(desk("list", "--output", "csv").out)))
    assert [row["fingerprint"] for row in rows] == [TWO, ONE]


def test_ack_by_a_beginning_of_the_fingerprint(desk: Desk) -> None:
    done = desk("ack", ONE[:6].upper(), "--reason", "on it\x1b[2J <!channel>")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"acknowledged by {USER}: Requests blocked by sg-0a1b")
    shown = json.loads(desk("show", ONE, "--output", "json").out)
    assert shown["state"] == "acknowledged"
    assert shown["acknowledged"] == {
        "at": "2026-11-22T12:00:00Z",
        "what": "acknowledged",
        "by": USER,
        "reason": "on it[2J <!channel>",
    }
    assert [event["what"] for event in shown["history"]] == ["firing", "acknowledged"]
    page = desk("show", ONE).out
    assert "\x1b" not in page
    assert f"2026-11-22 12:00Z  acknowledged by {USER}: on it[2J <!channel>" in page


def test_the_command_of_a_message_silences_and_unsilence_lifts(desk: Desk) -> None:
    made = desk("silence", ONE, "--for", "4h", "--reason", "a change runs")
    assert made.code == 0
    first, matching, lift = made.out.splitlines()
    assert first.endswith(f"until 2026-11-22 16:00Z by {USER}: a change runs (fingerprint {ONE})")
    assert matching == "open alerts that it matches: 1"
    name = lift.split()[-1]
    assert "silenced until" in desk("list").out
    assert json.loads(desk("silences", "--output", "json").out) == {
        "id": name,
        "match": {"fingerprint": [ONE]},
        "until": "2026-11-22T16:00:00Z",
        "reason": "a change runs",
        "by": USER,
        "created_at": "2026-11-22T12:00:00Z",
    }
    assert desk("unsilence", name).out == f"lifted by {USER}: fingerprint {ONE}\n"
    assert desk("silences").out == "no silences\n"
    assert desk("unsilence", name).code == 2
    whats = [event.what for event in desk.store.load([ONE])[ONE].history]
    assert whats == ["firing", "silence set", "silence lifted"]


def test_match_takes_every_key_by_its_short_name(desk: Desk) -> None:
    matchers = {
        "account": "123456789012",
        "region": "eu-west-1",
        "vpc": "vpc-0a1b",
        "interface": "eni-0a1b",
        "remote": "10.0.2.20",
        "port": "5432",
        "protocol": "TCP",
        "verdict": "security-group",
        "severity": "high",
    }
    options = [text for key, value in matchers.items() for text in ("--match", f"{key}={value}")]
    made = desk("silence", "--for", "1d12h", "--reason", "a move", *options)
    assert "open alerts that it matches: 1" in made.out
    one_more = desk("silence", "--for", "30m", "--reason", "a move", *options, "--match", "port=22")
    assert "port 5432 or 22" in one_more.out
    others = ["subnet=subnet-1", "group=sg-1", "acl=acl-1", "owner=team=payments", "tag=payments"]
    for other in others:
        made = desk("silence", "--for", "30m", "--reason", "a move", "--match", other)
        assert "open alerts that it matches: 0" in made.out


def test_what_a_person_closes_is_told_by_the_next_sweep(desk: Desk) -> None:
    assert "the next sweep sends the message" in desk("resolve", TWO, "--reason", "our test").out
    assert "is not sent yet" in desk("show", TWO).out
    desk.manager.sweep(NOW + 60, None)
    assert desk.outbox.sent[-1].status_reason == f"Closed by {USER}: our test"
    assert "ended: closed" in desk("show", TWO).out
    assert TWO[:8] not in desk("list").out


def test_expect_prints_an_entry_of_the_policy_document(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = desk("expect", ONE, "--reason", "it may not")
    entry = json.loads(printed.out)
    assert entry == {
        "match": {
            "verdict": "security-group",
            "vpc_id": "vpc-0a1b",
            "account_id": "123456789012",
            "interface_id": "eni-0a1b",
            "port": 5432,
            "protocol": 6,
            "cidr": ["10.0.2.20"],
        },
        "reason": "it may not",
    }
    assert len(parse_policy(json.dumps({"version": 1, "expected": [entry]})).expected) == 1
    assert "the parameter Policy names" in printed.err
    found = deployed(Place(stack_name="x", table=desk.table))
    for place, text in {
        "ssm:/team a/policy": "aws ssm put-parameter --name '/team a/policy' --overwrite",
        "appconfig:app/env/profile": "AppConfig's app/env/profile",
    }.items():
        there = replace(found, policy=place)
        monkeypatch.setattr(alerts_stack, "deployed", lambda _, there=there: there)
        assert text in desk("expect", ONE).err


def test_a_notice_has_no_policy_entry_and_its_facts_are_shown(desk: Desk) -> None:
    lost = replace(detection(), notification=LOST)
    record(desk.manager, [lost], a_window(), NOW - 60)
    assert "the policy mutes rejected flows" in desk("expect", LOST.fingerprint).err
    assert "Flow log records lost" in desk("show", LOST.fingerprint).out
    shown = json.loads(desk("list", "--output", "json").out.splitlines()[-1])
    assert (shown["kind"], shown["verdict"]) == (Kind.RECORDS_LOST, None)


def test_the_page_is_saved_or_it_is_said_why_not(desk: Desk, aws: LocalAws, tmp_path: Path) -> None:
    path = tmp_path / "problems.html"
    options = ("page", "-o", str(path), "--bucket", aws.evidence_bucket)
    failed = desk(*options)
    assert (failed.code, failed.out) == (2, "")
    assert failed.err == (
        "flowverdict: s3://flowverdict-evidence/pages/problems.html: there is no page yet: the "
        "next sweep writes it\n"
    )
    aws.sweep(NOW, {"PAGE_BUCKET": aws.evidence_bucket})
    saved = desk(*options)
    assert (saved.code, saved.out, saved.err) == (0, "", "")
    assert ONE in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    failed = desk("page", "-o", str(tmp_path / "none" / "x"), "--bucket", aws.evidence_bucket)
    assert "no such file or directory" in failed.err


REFUSED: list[tuple[list[str], str]] = [
    (["show", "zz"], "'zz' is not a fingerprint"),
    (["show", "0" * 32], "no alert 00000000000000000000000000000000 is stored"),
    (["show", "0000"], "no open alert begins with 0000"),
    (["ack", "0000", "--reason", "x"], "no open alert begins with 0000"),
    (["ack", ONE, "--reason", " "], "a reason is needed"),
    (["ack", ONE, "--reason", "x" * 10_240], "the reason has 10,240 characters"),
    (["silence", "--for", "1h", "--reason", "x"], "give the FINGERPRINT"),
    (["silence", ONE, "--for", "40d", "--reason", "x"], "a silence ends within 30 days"),
    (["silence", ONE, "--for", "0h", "--reason", "x"], "--for: '0h' is not a time"),
    (["silence", ONE, "--for", "soon", "--reason", "x"], "--for: 'soon' is not a time"),
    (
        ["silence", "--match", "colour=red", "--for", "1h", "--reason", "x"],
        "--match: 'colour' is not one of account, acl, fingerprint",
    ),
    (["silence", "--match", "port", "--for", "1h", "--reason", "x"], "write port=VALUE"),
    (
        ["silence", "--match", "port=http", "--for", "1h", "--reason", "x"],
        "--match port: 'http' is not a port",
    ),
    (
        ["silence", "--match", "remote=10.0.0.1/8", "--for", "1h", "--reason", "x"],
        "bits beyond its prefix",
    ),
    (["unsilence", "00000000"], "no silence '00000000'"),
]


def test_what_cannot_be_done_is_one_line_and_changes_nothing(desk: Desk) -> None:
    before = desk.store.load([ONE, TWO])
    for arguments, problem in REFUSED:
        failed = desk(*arguments)
        assert (failed.code, failed.out) == (2, ""), arguments
        assert failed.err.startswith("flowverdict: ")
        assert failed.err.count("\n") == 1
        assert problem in failed.err
    assert desk.store.load([ONE, TWO]) == before
    assert desk.store.load_silences().silences == ()


def test_an_ambiguous_beginning_names_the_alerts(desk: Desk) -> None:
    twins = [replace(ALERT, fingerprint=f"ab{digit * 30}") for digit in "01"]
    found = [replace(detection(), notification=twin) for twin in twins]
    record(desk.manager, found, a_window(), NOW - 60)
    failed = desk("ack", "ab", "--reason", "x")
    assert failed.code == 2
    assert f"2 open alerts begin with ab: {twins[0].fingerprint}, " in failed.err


def test_silences_that_this_version_cannot_read_are_not_written_over(desk: Desk) -> None:
    boto3.client("dynamodb").put_item(
        TableName=desk.table,
        Item={"pk": {"S": "silences"}, "version": {"N": "7"}, "body": {"B": b"damaged"}},
    )
    failed = desk("silence", ONE, "--for", "1h", "--reason", "x")
    assert failed.code == 2
    assert "silences cannot be read by this version" in failed.err
    listed = desk("list", "--output", "json")
    assert (listed.code, len(listed.out.splitlines())) == (0, 2)
    assert "silences cannot be read by this version" in listed.err


def test_an_alert_that_cannot_be_read_hides_no_other(desk: Desk) -> None:
    boto3.client("dynamodb").update_item(
        TableName=desk.table,
        Key={"pk": {"S": f"alert#{ONE}"}},
        UpdateExpression="SET body = :body",
        ExpressionAttributeValues={":body": {"B": b"damaged"}},
    )
    listed = desk("list", "--output", "json")
    assert [json.loads(line)["fingerprint"] for line in listed.out.splitlines()] == [TWO]
    assert f"alert#{ONE} cannot be read by this version" in listed.err
    assert desk("ack", ONE, "--reason", "x").code == 2


# --- the stack ------------------------------------------------------------------------------------


def test_the_stack_names_the_table_the_intervals_and_the_policy(
    aws: LocalAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = boto3.Session.client
    client = boto3.client("cloudformation")

    def stubbed(session: boto3.Session, service: str, **options: object) -> object:
        return client if service == "cloudformation" else real(session, service, **options)  # type: ignore[call-overload]  # any service

    monkeypatch.setattr(boto3.Session, "client", stubbed)
    stack = {"StackName": "mine", "CreationTime": 0, "StackStatus": "CREATE_COMPLETE"}
    outputs = [{"OutputKey": "AlertTableName", "OutputValue": aws.table}]
    values = {"RepeatMinutes": "60", "ResolveMinutes": "x", "Policy": "ssm:/p"}
    parameters = [{"ParameterKey": k, "ParameterValue": v} for k, v in values.items()]
    with Stubber(client) as stub:
        answer = {"Stacks": [stack | {"Outputs": outputs, "Parameters": parameters}]}
        stub.add_response("describe_stacks", answer, {"StackName": "mine"})
        stub.add_response("describe_stacks", {"Stacks": [stack]}, {"StackName": "mine"})
        stub.add_client_error("describe_stacks", "ValidationError", "Stack does not exist")
        stub.add_client_error("describe_stacks", "AccessDenied", "no")
        found = deployed(Place(stack_name="mine", region=REGION))
        assert found.intervals == Intervals(repeat=3_600)
        assert (found.policy, found.open_alerts(), found.caller()) == ("ssm:/p", [], USER)
        with pytest.raises(FlowVerdictError, match="has no output AlertTableName"):
            deployed(Place(stack_name="mine", region=REGION))
        with pytest.raises(FlowVerdictError, match=f"no stack 'mine' in {REGION}"):
            deployed(Place(stack_name="mine", region=REGION))
        with pytest.raises(FlowVerdictError, match="AccessDenied; --table avoids this call"):
            describe(client, "mine", "--table avoids this call")


def test_a_profile_that_does_not_exist_is_one_line(run: Runner) -> None:
    failed = run("alerts", "list", "--profile", "nobody", "--table", "t", "--region", REGION)
    assert failed.code == 2
    assert failed.err == "flowverdict: AWS: The config profile (nobody) could not be found\n"
