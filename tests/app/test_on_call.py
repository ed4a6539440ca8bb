"""An owner's alert through the real functions: routed, silenced by the command, closed by hand."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import boto3
import pytest
import time_machine
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.sns.models import sns_backends

from flowverdict.flowlog.object_key import ObjectRef
from flowverdict_cli.local_aws import REGION
from tests.helpers.alert_samples import NOW
from tests.helpers.at_once import NoRules
from tests.helpers.command import Runner
from tests.helpers.events import BUCKET, notification, queue_message
from tests.helpers.flow_log_lines import content_of, key_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from time_machine import Traveller

    from flowverdict_cli.local_aws import Invocation, LocalAws

MINUTE, HOUR = 60, 3_600
POLICY = {"POLICY": "ssm:/policy"}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Traveller]:
    monkeypatch.setattr("flowverdict.app.alert_wiring.Ec2Config", NoRules)
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


class Company:
    """A company with a team that has a topic of its own."""

    def __init__(self, aws: LocalAws, topic_arn: str | None = None) -> None:
        self.aws = aws
        made = boto3.client("sns").create_topic(Name="payments")["TopicArn"]
        self.topic_arn = made if topic_arn is None else topic_arn
        self.made = made
        routes = [{"match": {"vpc_id": "vpc-none"}, "topic": made}]
        routes += [
            {"match": {"region": REGION}, "topic": self.topic_arn, "slack_channel": "#payments"}
        ]
        document = json.dumps({"version": 1, "routes": routes})
        boto3.client("ssm").put_parameter(Name="/policy", Value=document, Type="String")
        self._number = 0

    def see_it(self) -> Invocation:
        """Let a file with one more rejected request be read."""
        self._number += 1
        key = key_of("fl-aa", self._number)
        seen = int(time.time()) - 300
        line = (
            f"2 {DEFAULT_ACCOUNT_ID} eni-1 10.0.2.20 10.0.3.30 {40_000 + self._number} 5432 6 1 40 "
            f"{seen} {seen + 10} REJECT OK"
        )
        self.aws.put_object(ObjectRef(bucket=BUCKET, key=key), content_of([line]))
        record = queue_message(str(self._number), notification(key))
        read = self.aws.invoke({"Records": [record]}, POLICY)
        assert read.failures == ()
        return read

    def sweep(self, now: int) -> None:
        """Run the sweep."""
        assert self.aws.sweep(now, POLICY).failures == ()

    @property
    def subjects(self) -> list[str]:
        """Return the subjects of the texts that the team got."""
        topic = sns_backends[DEFAULT_ACCOUNT_ID][REGION].topics[self.made]
        return [str(sent[2]) for sent in topic.sent_notifications]


def told(aws: LocalAws) -> list[tuple[str, str | None]]:
    return [(one["status"], one["status_reason"]) for one in aws.alerts()]


@pytest.mark.slow
def test_an_owners_alert_from_its_silence_to_its_closing(
    aws: LocalAws,
    clock: Traveller,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    aws.keep_warm = True
    company, flowverdict = Company(aws), Runner(monkeypatch, capsys)

    def alerts(*arguments: str) -> str:
        done = flowverdict("alerts", *arguments, "--table", aws.table, "--region", REGION)
        assert (done.code, done.err) == (0, "")
        return done.out

    company.see_it()
    ((status, _),) = told(aws)
    assert (status, aws.emails()) == ("firing", [])  # the owner gets it, and nobody else
    assert len(company.subjects) == 1
    (listed,) = map(json.loads, alerts("list", "--output", "json").splitlines())
    name = listed["fingerprint"]

    alerts("silence", name, "--for", "1h", "--reason", "a change runs")
    clock.move_to(NOW + HOUR - MINUTE)
    company.see_it()
    company.sweep(NOW + HOUR - MINUTE)
    assert told(aws) == []
    clock.move_to(NOW + HOUR + MINUTE)
    company.sweep(NOW + HOUR + MINUTE)
    ((status, reason),) = told(aws)
    assert status == "reminder"
    assert reason is not None
    assert reason.endswith("has ended (a change runs).")

    alerts("ack", name[:8], "--reason", "on it")
    for hour in range(2, 7):
        clock.move_to(NOW + hour * HOUR)
        company.see_it()
        company.sweep(NOW + hour * HOUR)
    assert told(aws) == []
    alerts("resolve", name, "--reason", "the team says so")
    company.sweep(NOW + 6 * HOUR + MINUTE)
    ((status, reason),) = told(aws)
    assert status == "resolved"
    assert reason is not None
    assert reason.endswith(": the team says so")
    assert len(company.subjects) == 3
    assert aws.emails() == []


def test_a_topic_that_does_not_take_it_costs_nobody_the_message(
    aws: LocalAws, clock: Traveller
) -> None:
    company = Company(aws, f"arn:aws:sns:{REGION}:{DEFAULT_ACCOUNT_ID}:deleted")
    read = company.see_it()
    ((_, _, _, attributes, *_),) = (
        sns_backends[DEFAULT_ACCOUNT_ID][REGION].topics[aws.topic_arn].sent_notifications
    )
    assert attributes is not None
    assert attributes["slack_channel"] == {"Type": "String", "Value": "#payments"}
    assert len(aws.emails()) == 1
    assert [status for status, _ in told(aws)] == ["firing"]
    logged = [line for line in read.log if line["message"] == "owner's topic not usable"]
    assert [line["topic"] for line in logged] == [company.topic_arn]
    del clock
