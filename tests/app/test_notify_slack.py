"""SNS event -> ``notify_slack`` with a bot token -> Slack's Web API on this machine; a thread."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from flowverdict.alerts.ending import Ending
from flowverdict.alerts.model import Status
from flowverdict.core.errors import DeliveryError, SettingsError, WebhookRefusedError
from flowverdict_cli.local_aws import load_function
from tests.helpers.alert_samples import ALERT
from tests.helpers.events import sns_event
from tests.helpers.notification_samples import NOTIFICATIONS
from tests.helpers.slack_api import (
    CHANNEL,
    CHANNEL_ID,
    OWNERS,
    OWNERS_ID,
    TOKEN,
    SlackApi,
    refusal,
    slack_api,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"]), pytest.mark.usefixtures("aws")]

type Handler = Callable[[dict[str, Any]], None]

CONTEXT = SimpleNamespace(
    function_name="notify_slack",
    memory_limit_in_mb=512,
    aws_request_id="00000000-0000-0000-0000-000000000000",
    invoked_function_arn="arn:aws:lambda:eu-west-1:123456789012:function:notify_slack",
    get_remaining_time_in_millis=lambda: 120_000,
)
FIXED = ALERT.with_status(Status.RESOLVED, "The rules let its packets pass.", Ending.FIXED)
TABLE = "alerts"


@pytest.fixture
def slack(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlackApi]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    with slack_api() as (state, address):
        monkeypatch.setenv("SLACK_API", address)
        yield state


@pytest.fixture
def handle(monkeypatch: pytest.MonkeyPatch) -> Handler:
    monkeypatch.setenv("SLACK_TOKEN", "secretsmanager:slack/token")
    monkeypatch.setenv("SLACK_CHANNEL", CHANNEL)
    monkeypatch.setenv("ALERT_TABLE", TABLE)
    boto3.client("secretsmanager").create_secret(Name="slack/token", SecretString=TOKEN)
    boto3.client("dynamodb").create_table(
        TableName=TABLE,
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    found = load_function("notify_slack").lambda_handler
    return lambda event: found(event, CONTEXT)


def log_lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_problem_is_a_thread_and_what_comes_twice_is_posted_once(
    slack: SlackApi, handle: Handler, capsys: pytest.CaptureFixture[str]
) -> None:
    for notification in (ALERT, ALERT, FIXED):
        handle(sns_event(notification.to_json()))

    (first,) = slack.firsts
    assert first.text.startswith("FIXED: ")
    assert len(slack.replies(first)) == 1
    lines = log_lines(capsys)
    messages = [line["message"] for line in lines]
    assert messages == [
        "posted to Slack",
        "invocation finished",
        "posted to Slack before",
        "posted to Slack",
        "invocation finished",
    ]
    assert "s3cr3t" not in json.dumps(lines)


def test_each_thread_tells_its_own_end_and_no_message_tells_several(
    slack: SlackApi, handle: Handler
) -> None:
    handle(sns_event(ALERT.to_json()))
    handle(sns_event(NOTIFICATIONS["ends"]().to_json()))
    handle(sns_event(FIXED.to_json(), in_ends="true"))
    (first,) = slack.firsts
    assert first.text.startswith("FIXED: ")
    assert len(slack.replies(first)) == 1


def test_an_owners_problem_is_a_thread_in_the_owners_channel(
    slack: SlackApi, handle: Handler
) -> None:
    for notification in (ALERT, ALERT, FIXED):
        handle(sns_event(notification.to_json(), slack_channel=OWNERS))
    (first,) = slack.firsts
    assert first.text.startswith("FIXED: ")
    assert [message.channel_id for message in slack.messages] == [OWNERS_ID] * 2
    handle(sns_event(ALERT.to_json()))  # the route is gone: the stack's channel has its own thread
    assert [message.channel_id for message in slack.firsts] == [OWNERS_ID, CHANNEL_ID]


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ("#not-there", "Slack did not take the message (200 channel_not_found): the channel does"),
        ("U012AB3CD", "not a channel's id or #name"),
        ("#x\n<!channel>" * 99, "not a channel's id or #name"),
        ("", "not a channel's id or #name"),
    ],
)
def test_a_channel_that_takes_nothing_costs_nobody_the_message(
    slack: SlackApi, handle: Handler, capsys: pytest.CaptureFixture[str], asked: str, reason: str
) -> None:
    for notification in (ALERT, ALERT, FIXED):
        handle(sns_event(notification.to_json(), slack_channel=asked))
    (first,) = slack.firsts
    assert (first.channel_id, len(slack.replies(first))) == (CHANNEL_ID, 1)
    logged = [line for line in log_lines(capsys) if line["message"] == "owner's channel not usable"]
    assert [line["channel"] for line in logged] == [asked[:100]] * 3
    assert all(line["reason"].startswith(reason) for line in logged)


def test_the_app_that_was_removed_from_the_owners_channel_goes_on_in_the_stacks(
    slack: SlackApi, handle: Handler
) -> None:
    handle(sns_event(ALERT.to_json(), slack_channel=OWNERS))
    del slack.channels[OWNERS]
    handle(sns_event(FIXED.to_json(), slack_channel=OWNERS))
    assert [message.channel_id for message in slack.messages] == [OWNERS_ID, CHANNEL_ID]


def test_a_token_that_was_replaced_is_read_afresh(slack: SlackApi, handle: Handler) -> None:
    handle(sns_event(ALERT.to_json()))
    slack.token = f"{TOKEN}-new"
    with pytest.raises(WebhookRefusedError, match=r"Slack refused the token \(200 invalid_auth\)"):
        handle(sns_event(FIXED.to_json()))
    boto3.client("secretsmanager").put_secret_value(
        SecretId="slack/token", SecretString=slack.token
    )
    handle(sns_event(FIXED.to_json()))
    assert len(slack.messages) == 2


def test_without_the_table_the_message_comes_and_the_log_says_why_there_is_no_thread(
    slack: SlackApi, handle: Handler, capsys: pytest.CaptureFixture[str]
) -> None:
    boto3.client("dynamodb").delete_table(TableName=TABLE)
    handle(sns_event(ALERT.to_json()))
    assert len(slack.firsts) == 1
    (warning,) = [line for line in log_lines(capsys) if line["level"] == "WARNING"]
    assert warning["message"] == "thread not as it should be"
    assert "ResourceNotFoundException" in warning["reason"]


def test_a_channel_that_is_not_found_fails_the_event_with_advice(
    slack: SlackApi, handle: Handler, capsys: pytest.CaptureFixture[str]
) -> None:
    slack.script = {"chat.postMessage": [refusal("channel_not_found")]}
    with pytest.raises(DeliveryError, match="the channel does not exist, or is private"):
        handle(sns_event(ALERT.to_json()))
    (line,) = [line for line in log_lines(capsys) if line["message"] == "event failed"]
    assert "channel_not_found" in line["reason"]


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("SLACK_TOKEN", TOKEN, "SLACK_TOKEN: is not a reference"),
        ("SLACK_CHANNEL", "", "SLACK_CHANNEL: is not a channel's id or #name"),
        ("SLACK_CHANNEL", TOKEN, "SLACK_CHANNEL: is not a channel's id or #name"),
        ("ALERT_TABLE", "", "ALERT_TABLE: is not a DynamoDB table's name"),
        ("SLACK_API", "https://example.com/api/", "SLACK_API: a Slack token is sent to Slack"),
    ],
)
def test_a_setting_that_is_wrong_is_named_and_not_shown(
    handle: Handler, monkeypatch: pytest.MonkeyPatch, name: str, value: str, problem: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as raised:
        handle(sns_event(ALERT.to_json()))
    assert str(raised.value).startswith(problem)
    assert "s3cr3t" not in str(raised.value)


def test_a_secret_that_is_no_bot_token_is_not_shown(handle: Handler) -> None:
    boto3.client("secretsmanager").put_secret_value(
        SecretId="slack/token", SecretString="xoxp-s3cr3t"
    )
    with pytest.raises(SettingsError, match="does not hold a bot token") as raised:
        handle(sns_event(ALERT.to_json()))
    assert "s3cr3t" not in str(raised.value)
