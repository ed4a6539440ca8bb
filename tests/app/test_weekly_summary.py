"""The weekly summary through the real handler of the sweep: once, whatever the schedule does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
import pytest

from flowverdict.alerts.model import Kind
from flowverdict.app.settings import Settings
from flowverdict.core.errors import SettingsError
from flowverdict.lifecycle.dynamodb import DynamoDbStore
from flowverdict.lifecycle.intervals import Intervals
from flowverdict.lifecycle.manager import AlertManager
from flowverdict.lifecycle.on_call_commits import OnCall, Person
from tests.helpers.alert_samples import NOW, Outbox, a_window, detection, record
from tests.helpers.at_once import NoRules

if TYPE_CHECKING:
    from flowverdict_cli.local_aws import LocalAws

MINUTE, HOUR, DAY = 60, 3_600, 86_400
WEEKLY = {"WEEKLY_SUMMARY": "SUN 12:00"}  # NOW is one
ADA = Person(by="ada", reason="done", now=NOW - 2 * DAY)


@pytest.fixture
def manager(aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> AlertManager:
    monkeypatch.setattr("flowverdict.app.alert_wiring.Ec2Config", NoRules)
    store = DynamoDbStore(boto3.client("dynamodb"), aws.table)
    return AlertManager(
        store, Outbox(), intervals=Intervals(), hourly_limit=30, wait=lambda _: None
    )


def summaries(aws: LocalAws) -> list[str]:
    return [str(one["title"]) for one in aws.alerts() if one["kind"] == Kind.WEEKLY_SUMMARY]


def test_the_summary_of_the_week_is_sent_once_though_the_schedule_calls_twice(
    aws: LocalAws, manager: AlertManager
) -> None:
    seen = [detection("one"), detection("two")]
    record(manager, seen, a_window(), NOW - 3 * DAY)
    store = DynamoDbStore(boto3.client("dynamodb"), aws.table)
    OnCall(store, Intervals()).close(seen[0].notification.fingerprint, ADA)
    manager.sweep(NOW - 2 * DAY + 5 * MINUTE, None)
    aws.sweep(NOW - MINUTE, WEEKLY)
    assert summaries(aws) == []
    for at in (NOW + MINUTE, NOW + MINUTE, NOW + 6 * MINUTE, NOW + 20 * HOUR):
        assert aws.sweep(at, WEEKLY).failures == ()
    assert summaries(aws) == ["The week: 2 problems"]
    (mail,) = [each for each in aws.emails() if "The week" in each.subject]
    assert "closed: 1, ended after 24 h" in mail.body
    assert "Fingerprint" in mail.body
    assert "alerts silence" not in mail.body
    aws.sweep(NOW + 7 * DAY, WEEKLY)
    assert len(summaries(aws)) == 1  # of the next week


def test_a_week_without_anything_is_one_line_and_without_the_parameter_nothing(
    aws: LocalAws, manager: AlertManager
) -> None:
    del manager
    aws.sweep(NOW)
    assert summaries(aws) == []
    aws.sweep(NOW, WEEKLY)
    assert summaries(aws) == ["The week: no problem"]


def test_a_summary_that_could_not_be_sent_is_sent_by_the_next_sweep_and_an_old_one_is_not(
    aws: LocalAws, manager: AlertManager
) -> None:
    del manager
    failed = aws.sweep(NOW, WEEKLY | {"EMAIL_TOPIC_ARN": aws.email_topic_arn + "-gone"})
    assert "1 messages not sent" in failed.failures[0]
    assert summaries(aws) == ["The week: no problem"]  # another topic took it
    assert aws.sweep(NOW + 20 * MINUTE, WEEKLY).failures == ()
    assert summaries(aws) == ["The week: no problem"]
    aws.sweep(NOW + 8 * DAY, WEEKLY)  # a day too late
    assert summaries(aws) == []


def test_another_text_is_refused_by_its_name(aws: LocalAws) -> None:
    environment = {
        "ALERT_TOPIC_ARN": aws.topic_arn,
        "ALERT_TABLE": aws.table,
        "WEEKLY_SUMMARY": "every monday",
    }
    with pytest.raises(SettingsError, match=r"^WEEKLY_SUMMARY: 'every monday' is not a time"):
        Settings.from_environment(environment)
