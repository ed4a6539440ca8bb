"""A day of a small company through the real functions: some thousand rejects, few messages.

The database's team gets what is about the database. One of them silences its alert by the command;
later Ana acknowledges it by a button in Slack, and silences the shop's alert by another.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import time
import urllib.request
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import Message as Headers
from functools import partial
from pathlib import Path
from typing import Any
from urllib.response import addinfourl

import boto3
import pytest
import time_machine
from click.testing import CliRunner
from moto.sns.models import sns_backends

from flowverdict.alerts.codec import notification_from_json
from flowverdict.alerts.grouping import group
from flowverdict.delivery.message_settings import MessageSettings
from flowverdict.delivery.renderers import slack
from flowverdict.flowlog.object_key import ObjectRef
from flowverdict.network.ec2 import Ec2Config
from flowverdict.verdict.batch import Batch
from flowverdict_cli.commands import cli
from flowverdict_cli.local_aws import REGION, LocalAws, local_aws
from tests.helpers.events import BUCKET, notification, queue_message
from tests.helpers.quick_rules import quick_descriptions
from tests.helpers.quick_tables import quick_queries, quick_transactions
from tests.helpers.slack_blocks import blocks_of
from tests.helpers.slack_requests import SIGNING_SECRET, pressed, signed
from tests.helpers.small_company import (
    ACCOUNT,
    AUDITORS,
    EXPORTER_PORT,
    HEADER,
    OFFICE,
    OWNER,
    SCANNERS,
    SHOP,
    SLOW_SCANNERS,
    WINDOW,
    Company,
    at,
)

pytestmark = pytest.mark.slow

GOLDEN = Path(__file__).parents[1] / "golden" / "a-day.txt"
SWEEP_EVERY = 600
DELIVERED_AFTER = 420  # seconds after the window's end
# The shop's window that ends at 14:40 arrives later than all others: half an hour after the fix of
# its fault.
STRAGGLER, STRAGGLER_AT = at(14, 30), at(15, 27)
# What people do: the database's alert is silenced by the command for four hours, and acknowledged
# in Slack when the end of the silence reminds of it; the shop's alert is silenced in Slack.
SILENCED_AT, ACKNOWLEDGED_AT, HUSHED_AT = at(9, 30), at(13, 40), at(14, 20)
PRESSES = {ACKNOWLEDGED_AT: ("Acknowledge", 5432), HUSHED_AT: ("Silence 1 day", 443)}
OWNERS_TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:{OWNER}"
ENVIRONMENT = {"POLICY": "ssm:/policy"}
POLICY = {
    "version": 1,
    "routes": [{"match": {"owner": f"team={OWNER}"}, "topic": OWNERS_TOPIC}],
    "silences": [
        {
            "match": {"cidr": AUDITORS},
            "until": "2026-11-25T00:00:00Z",
            "reason": "the yearly audit",
        },
        {
            "match": {"port": EXPORTER_PORT},
            "until": "2026-11-24T13:00:00Z",
            "reason": "opened at noon, change 4711",
        },
    ],
}


@dataclass(frozen=True, slots=True)
class Message:
    at: int
    told: dict[str, Any]

    @property
    def when(self) -> str:
        return f"{datetime.fromtimestamp(self.at, tz=UTC):%a %H:%M}"

    @property
    def line(self) -> str:
        title = self.told["title"]
        ending = self.told["ending"] or self.told["status"]
        return f"{self.when}  {ending:<8}  {self.told['severity']:<8}  {title}"


@dataclass(slots=True)
class Day:
    company: Company
    rejects: int = 0
    muted: int = 0
    messages: list[Message] = field(default_factory=list)
    emails: int = 0
    owners_texts: list[str] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def of(self, *, kind: str = "reject", port: int | None = None) -> list[Message]:
        return [
            one
            for one in self.messages
            if one.told["kind"] == kind and (port is None or one.told["service_port"] == port)
        ]


def run_day(aws: LocalAws, *, has_attacker: bool = False) -> Day:
    aws.keep_warm = True
    ssm = boto3.client("ssm")
    ssm.put_parameter(Name="/policy", Value=json.dumps(POLICY), Type="String")
    ssm.put_parameter(Name="/slack/signing", Value=SIGNING_SECRET, Type="SecureString")
    boto3.client("sns").create_topic(Name=OWNER)
    day = Day(company=Company.found(has_attacker=has_attacker))
    company = day.company
    shop = company.places[SHOP].vpc_id
    changes = {
        at(9): company.keep_app_from_database,
        at(14): company.keep_replies_in,
        at(15): company.let_replies_out,
        at(18, 30): company.let_app_reach_database,
    }
    with time_machine.travel(at(0), tick=False) as clock:
        for now in range(at(0), at(24, 20), 60):
            clock.move_to(now)
            if now in changes:
                changes[now]()
            started = now - DELIVERED_AFTER - WINDOW
            if started % WINDOW == 0 and at(0) <= started < at(24):
                logs = company.logs(started)
                if started == STRAGGLER:
                    del logs[shop]
                deliver(aws, day, logs, started)
            if now == STRAGGLER_AT:
                deliver(aws, day, {shop: company.logs(STRAGGLER)[shop]}, STRAGGLER)
            if now % SWEEP_EVERY == 0:
                day.failures += aws.sweep(now, ENVIRONMENT).failures
            if {now % WINDOW, now} & {0, DELIVERED_AFTER, STRAGGLER_AT}:
                day.messages += [Message(now, told) for told in aws.alerts()]
            if now == SILENCED_AT:
                silence_by_command(aws, day.of(port=5432)[-1])
            if now in PRESSES:
                label, port = PRESSES[now]
                press(aws, day.of(port=port)[-1], label, now)
    day.emails = len(aws.emails())
    topic = sns_backends[ACCOUNT][REGION].topics[OWNERS_TOPIC]
    day.owners_texts = [str(subject) for _, _, subject, *_ in topic.sent_notifications]
    return day


def silence_by_command(aws: LocalAws, message: Message) -> None:
    """Silence the alert of a message for four hours, by the beginning of its fingerprint."""
    arguments = ["alerts", "silence", message.told["fingerprint"][:8], "--for", "4h"]
    arguments += ["--reason", "the app moves today", "--table", aws.table, "--region", REGION]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output


def press(aws: LocalAws, message: Message, label: str, now: int) -> None:
    """Press a button of a message as it stands in Slack; the request is signed as Slack signs."""
    notification = notification_from_json(json.dumps(message.told))
    shown = slack.message(notification, MessageSettings(buttons=True))
    (action_id,) = (
        element["action_id"]
        for block in blocks_of(shown)
        if block["type"] == "actions"
        for element in block["elements"]
        if element["text"]["text"] == label
    )
    done = aws.invoke(
        signed(pressed(action_id), now),
        {"SLACK_SIGNING_SECRET": "ssm:/slack/signing"},
        function="slack_actions",
    )
    assert done.error is None
    assert isinstance(done.answer, dict)
    assert done.answer["statusCode"] == 200


def deliver(aws: LocalAws, day: Day, logs: dict[str, list[str]], started: int) -> None:
    """Put a window's objects, one a VPC, and let the function read them: one batch of the queue."""
    stamp = f"{datetime.fromtimestamp(started, tz=UTC):%Y%m%dT%H%MZ}"
    messages = []
    for vpc_id, lines in logs.items():
        key = (
            f"AWSLogs/{ACCOUNT}/vpcflowlogs/{REGION}/2026/11/24/"
            f"{ACCOUNT}_vpcflowlogs_{REGION}_fl-0a1b_{stamp}_{vpc_id}.log.gz"
        )
        content = gzip.compress("\n".join([HEADER, *lines]).encode(), compresslevel=1, mtime=0)
        aws.put_object(ObjectRef(bucket=BUCKET, key=key), content)
        messages.append(queue_message(f"{stamp}-{vpc_id}", notification(key)))
        day.rejects += sum(" REJECT " in line for line in lines)
    read = aws.invoke({"Records": messages}, ENVIRONMENT)
    day.failures += read.failures
    day.muted += int(read.counts["flows_muted"])


def live_through(*, has_attacker: bool) -> Day:
    # The day runs on a travelled clock, so a configuration cached for a minute must use it too.
    with pytest.MonkeyPatch.context() as patch, local_aws() as aws:
        quick_transactions(patch)
        quick_queries(patch)
        quick_descriptions(patch)
        patch.setattr("flowverdict.app.alert_wiring.Ec2Config", partial(Ec2Config, clock=time.time))
        answers: list[dict[str, Any]] = []

        def take(_: object, request: urllib.request.Request, **__: object) -> addinfourl:
            """Take what the functions post to Slack."""
            assert isinstance(request.data, bytes)
            answers.append(json.loads(request.data))
            return addinfourl(io.BytesIO(b"ok"), Headers(), request.full_url, 200)

        patch.setattr(urllib.request.OpenerDirector, "open", take)
        day = run_day(aws, has_attacker=has_attacker)
        day.answers = answers
        return day


@pytest.fixture(scope="module")
def day() -> Day:
    return live_through(has_attacker=False)


def test_nothing_failed_and_people_are_told_what_machines_are_told(day: Day) -> None:
    assert day.failures == []
    assert day.emails + len(day.owners_texts) == len(day.messages)


def test_the_whole_day_is_these_messages(day: Day) -> None:
    told = "".join(f"{message.line}\n" for message in day.messages)
    if "UPDATE_GOLDEN" in os.environ:
        GOLDEN.write_text(told)
    assert told == GOLDEN.read_text()


def test_a_message_stands_for_hundreds_of_rejects(day: Day) -> None:
    ratio = day.rejects / len(day.messages)
    print(  # noqa: T201 - a figure to read
        f"\na day: {day.rejects:,} rejects, {len(day.messages)} messages, {ratio:,.0f} : 1"
    )
    assert day.rejects > 5_000
    assert ratio > 100


def test_the_broken_network_acl_is_told_once_and_is_over_as_soon_as_it_is_mended(day: Day) -> None:
    fired, resolved = day.of(port=443)
    assert fired.when == "Tue 14:17"  # the window that ends at 14:10 is delivered 7 minutes later
    assert (fired.told["status"], fired.told["severity"], fired.told["leg"]) == (
        "firing",
        "critical",
        "response",
    )
    assert fired.told["network_acl_entry"]["network_acl_id"] == day.company.shop_acl
    assert (
        resolved.when == "Tue 15:00"
    )  # the first sweep after the fix, without the wait for records to stop
    assert resolved.told["status_reason"] == (
        "Fixed: the rules let it pass now "
        "(10 packets of it tried on the rules as read 2026-11-24T15:00:00Z)."
    )
    assert resolved.told["fingerprint"] == fired.told["fingerprint"]
    # Silenced at 14:20: an end is told in spite of that, and the reminder would be due at 18:20.
    # The records that arrive later, at 15:07 and as late as 15:27, are from before the fix and open
    # nothing.
    assert resolved.told["records"] == 4 * 120


def test_the_wrong_security_group_is_silenced_acknowledged_and_over_when_it_is_mended(
    day: Day,
) -> None:
    told = day.of(port=5432)
    assert [(one.when, one.told["status"]) for one in told] == [
        ("Tue 09:17", "firing"),
        ("Tue 13:30", "reminder"),  # the end of the silence; it held back the reminder of 13:20
        ("Tue 18:30", "resolved"),  # acknowledged at 13:40, so no reminder at 17:30
    ]
    assert {one.told["fingerprint"] for one in told} == {told[0].told["fingerprint"]}
    assert {one.told["severity"] for one in told} == {"high"}
    assert told[0].told["security_groups"] == [day.company.groups["database"]]
    assert told[1].told["status_reason"].endswith("has ended (the app moves today).")
    # 20 tries in each window; the last window that arrived ends at 18:20.
    assert [one.told["records"] for one in told] == [20, 26 * 20, 56 * 20]


def test_the_owner_of_the_database_gets_its_texts_and_nobody_else(day: Day) -> None:
    assert len(day.owners_texts) == len(day.of(port=5432)) == 3
    assert day.emails == len(day.messages) - 3
    assert all(one.told["owners"] == {"team": OWNER} for one in day.of(port=5432))


def test_two_presses_in_slack_are_answered_in_the_channel_and_are_in_the_digest(day: Day) -> None:
    acknowledged, hushed = (answer["blocks"][0]["text"]["text"] for answer in day.answers)
    assert acknowledged.startswith("Acknowledged by ana (Slack U0ANA): Requests blocked by sg-")
    assert hushed.startswith(
        "Silenced until 2026-11-25T14:20:00Z by ana (Slack U0ANA): Replies blocked by acl-"
    )
    (digest,) = day.of(kind="digest")
    sections = {section["heading"]: section["lines"] for section in digest.told["sections"]}
    (line,) = sections["Silenced and acknowledged"]  # the database's problem is over
    assert line.startswith("silenced until 2026-11-25T14:20:00Z: fingerprint ")
    assert " - ana (Slack U0ANA): from Slack by ana (Slack U0ANA) (id " in line


def test_what_aws_lost_is_told_once(day: Day) -> None:
    (lost,) = day.of(kind="records-lost")
    assert (lost.when, lost.told["status"], lost.told["records"]) == ("Tue 11:37", "firing", 1)


def test_scanners_block_public_access_and_closed_connections_are_one_digest(day: Day) -> None:
    assert day.of(kind="scan") == []
    assert day.of(kind="flow-overflow") == []
    assert day.of(kind="rate-limited") == []
    (digest,) = day.of(kind="digest")
    assert digest.when == "Wed 00:00"
    sections = {section["heading"]: section["lines"] for section in digest.told["sections"]}
    scans = sections["Scans"]
    assert len(scans) == 2  # the shop and the API; by place and not by scanner
    assert all(f" from {len(SCANNERS)} addresses" in line for line in scans)
    knocking = sections["Knocking on what is closed"]
    assert all(any(address in line for line in knocking) for address in SLOW_SCANNERS)
    assert any(
        day.company.places[OFFICE].vpc_id in line and "from 2 addresses" in line
        for line in knocking
    )
    (harmless,) = [
        lines for heading, lines in sections.items() if heading.startswith("Of no consequence")
    ]
    assert any("TCP 443" in line for line in harmless)


def test_every_reject_is_in_exactly_one_total(day: Day) -> None:
    (digest,) = day.of(kind="digest")
    over = [one.told["records"] for one in day.messages if one.told["status"] == "resolved"]
    # The day's last window is delivered after midnight, so it waits for the next digest.
    waiting = sum(
        " REJECT " in line for lines in day.company.logs(at(23, 50)).values() for line in lines
    )
    assert waiting > 0
    assert digest.told["records"] + sum(over) + waiting + day.muted == day.rejects


def test_what_two_silences_mute_would_have_been_told_and_is_not(day: Day) -> None:
    lines = [line for _, line in day.company.muted(at(10))]
    batch = Batch()
    batch.add_file(io.BytesIO("\n".join([HEADER, *lines]).encode()), name="muted")
    without = {
        (one.notification.kind, one.notification.severity) for one in group(batch.explanations())
    }
    assert without == {("scan", "medium"), ("reject", "high")}
    assert day.muted == sum(
        1 for start in range(at(0), at(24), WINDOW) for _ in day.company.muted(start)
    )
    assert day.of(kind="scan") == []
    assert day.of(port=EXPORTER_PORT) == []


def test_an_attacker_changes_no_message_but_the_noise_of_the_digest(day: Day) -> None:
    attacked = live_through(has_attacker=True)
    assert attacked.failures == []
    assert attacked.rejects > day.rejects + 5_000
    without_digest, without_digest_attacked = (
        [(one.at, {**one.told}) for one in each.messages if one.told["kind"] != "digest"]
        for each in (day, attacked)
    )
    for _, told in (*without_digest, *without_digest_attacked):
        if told.get("from_outside"):
            del told["connections"]  # the attacker's own count among those from outside
    assert without_digest_attacked == without_digest
    (digest,), (noisier,) = day.of(kind="digest"), attacked.of(kind="digest")
    assert (noisier.at, noisier.told["severity"]) == (digest.at, digest.told["severity"])
    assert noisier.told["records"] > digest.told["records"]
    assert len(attacked.messages) == len(day.messages)
