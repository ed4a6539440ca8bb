"""SNS event -> the function's handler -> a webhook on this machine; the address comes from moto's secret stores."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from flowverdict.alerts.model import Kind, Notice, Section, Severity
from flowverdict.core.errors import (
    DeliveryError,
    EnvelopeError,
    NotificationError,
    SettingsError,
    WebhookRefusedError,
)
from flowverdict_cli.local_aws import REGION, load_function
from tests.helpers.events import sns_event
from tests.helpers.webhook_server import Answer, WebhookServer, webhook_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"]), pytest.mark.usefixtures("aws")]

CONTEXT = SimpleNamespace(
    function_name="notify_slack",
    memory_limit_in_mb=256,
    aws_request_id="00000000-0000-0000-0000-000000000000",
    invoked_function_arn=f"arn:aws:lambda:{REGION}:123456789012:function:notify_slack",
    get_remaining_time_in_millis=lambda: 120_000,
)
NOTICE = Notice(
    kind=Kind.RECORDS_LOST,
    fingerprint="e" * 32,
    severity=Severity.MEDIUM,
    severity_reason="what was rejected there cannot be known",
    title="Flow log records lost at eni-1",
    summary="AWS could not log all traffic of eni-1.",
    sections=(Section(heading="What to do", lines=("No rule has to change.",)),),
)

type Handler = Callable[[dict[str, Any], Any], None]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebhookServer]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    with webhook_server() as one:
        yield one


def handler(monkeypatch: pytest.MonkeyPatch, reference: str) -> Handler:
    monkeypatch.setenv("SLACK_WEBHOOK", reference)
    found: Handler = load_function("notify_slack").lambda_handler
    return found


def keep_secret(text: str) -> str:
    arn: str = boto3.client("secretsmanager").create_secret(
        Name="slack/webhook", SecretString=text
    )["ARN"]
    return arn


def log_lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("named_by", ["name", "arn", "parameter"])
def test_a_notice_arrives(
    server: WebhookServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    named_by: str,
) -> None:
    if named_by == "parameter":
        boto3.client("ssm").put_parameter(
            Name="/slack/webhook", Type="SecureString", Value=server.address
        )
        reference = "ssm:/slack/webhook"
    else:
        arn = keep_secret(f"{server.address}\n")
        reference = f"secretsmanager:{arn if named_by == 'arn' else 'slack/webhook'}"
    handler(monkeypatch, reference)(sns_event(NOTICE.to_json()), CONTEXT)

    (message,) = server.received
    assert message["text"] == "MEDIUM: Flow log records lost at eni-1"
    assert message["blocks"][0]["text"]["text"].endswith("MEDIUM: Flow log records lost at eni-1")
    lines = log_lines(capsys)
    (told,) = [line for line in lines if line.get("message") == "posted to Slack"]
    assert (told["fingerprint"], told["kind"]) == (NOTICE.fingerprint, "records-lost")
    (metrics,) = [line for line in lines if line.get("SlackMessagesPosted")]
    assert metrics["SlackMessagesPosted"] == [1.0]
    assert "s3cr3t" not in json.dumps(lines)


def test_the_address_is_read_once_for_many_messages(
    server: WebhookServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_secret(server.address)
    handle = handler(monkeypatch, "secretsmanager:slack/webhook")
    handle(sns_event(NOTICE.to_json()), CONTEXT)
    boto3.client("secretsmanager").delete_secret(
        SecretId="slack/webhook", ForceDeleteWithoutRecovery=True
    )
    handle(sns_event(NOTICE.to_json()), CONTEXT)
    assert len(server.received) == 2


@pytest.mark.parametrize(
    ("status", "code"), [(404, "no_service"), (403, "invalid_token"), (410, "channel_is_archived")]
)
def test_a_refused_address_is_read_afresh_once_since_it_may_have_been_rotated(
    server: WebhookServer, monkeypatch: pytest.MonkeyPatch, status: int, code: str
) -> None:
    keep_secret(server.address)
    handle = handler(monkeypatch, "secretsmanager:slack/webhook")
    handle(sns_event(NOTICE.to_json()), CONTEXT)
    boto3.client("secretsmanager").put_secret_value(
        SecretId="slack/webhook", SecretString=f"{server.address}-new"
    )
    server.answers = [Answer(status=status, body=code)]
    handle(sns_event(NOTICE.to_json()), CONTEXT)
    assert [path.rpartition("/")[2] for path in server.paths] == ["s3cr3t", "s3cr3t", "s3cr3t-new"]


def test_an_address_that_is_still_the_same_is_not_tried_twice(
    server: WebhookServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keep_secret(server.address)
    server.answers = [Answer(status=404, body="no_service")] * 2
    with pytest.raises(WebhookRefusedError, match="the webhook was removed or disabled"):
        handler(monkeypatch, "secretsmanager:slack/webhook")(sns_event(NOTICE.to_json()), CONTEXT)
    assert len(server.received) == 1
    (line,) = [line for line in log_lines(capsys) if line.get("message") == "event failed"]
    assert line["reason"].startswith("Slack refused the webhook (404 no_service): ")
    assert "s3cr3t" not in json.dumps(line)


@pytest.mark.parametrize(
    "reference",
    [None, "", "secretsmanager:", "https://hooks.slack.com/services/s3cr3t", "vault:x", "ssm:a b"],
)
def test_a_reference_that_is_none_is_refused_without_telling_it(
    monkeypatch: pytest.MonkeyPatch, reference: str | None
) -> None:
    handle = handler(monkeypatch, reference or "")
    if reference is None:
        monkeypatch.delenv("SLACK_WEBHOOK")
    with pytest.raises(
        SettingsError, match=r"^SLACK_WEBHOOK: is no(t set| reference); it should be "
    ) as raised:
        handle(sns_event(NOTICE.to_json()), CONTEXT)
    assert "s3cr3t" not in str(raised.value)


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("secretsmanager:missing", "ResourceNotFoundException"),
        ("ssm:/missing", "ParameterNotFound"),
    ],
)
def test_a_secret_that_cannot_be_read_is_told_by_its_reference(
    monkeypatch: pytest.MonkeyPatch, reference: str, reason: str
) -> None:
    with pytest.raises(
        DeliveryError, match=rf"^SLACK_WEBHOOK: {reference} cannot be read: .*{reason}"
    ) as raised:
        handler(monkeypatch, reference)(sns_event(NOTICE.to_json()), CONTEXT)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("kept", "hint"),
    [
        ("s3cr3t", ""),
        ("http://hooks.slack.com/s3cr3t", ""),
        ('{"url": "https://hooks.slack.com/s3cr3t"}', "; keep the address alone"),
    ],
)
def test_what_is_kept_there_and_no_address_is_not_told(
    monkeypatch: pytest.MonkeyPatch, kept: str, hint: str
) -> None:
    keep_secret(kept)
    with pytest.raises(SettingsError, match=f"holds is no webhook's https address{hint}") as raised:
        handler(monkeypatch, "secretsmanager:slack/webhook")(sns_event(NOTICE.to_json()), CONTEXT)
    assert "s3cr3t" not in str(raised.value)


def test_what_is_no_document_and_no_event_of_sns_raises(
    server: WebhookServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_secret(server.address)
    handle = handler(monkeypatch, "secretsmanager:slack/webhook")
    with pytest.raises(NotificationError):
        handle(sns_event("{}"), CONTEXT)
    for event in ({}, {"Records": [{"body": "x"}]}, {"Records": None}):
        with pytest.raises(EnvelopeError, match="no event of SNS"):
            handle(event, CONTEXT)
    assert server.received == []
