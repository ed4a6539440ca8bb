"""SNS event -> function -> a webhook on this machine; the address comes from moto."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from flowverdict.core.errors import (
    DeliveryError,
    EnvelopeError,
    NotificationError,
    SettingsError,
    WebhookRefusedError,
)
from flowverdict.delivery.channels import CHANNELS, load_channel
from flowverdict_cli.local_aws import REGION, load_function
from tests.helpers.alert_samples import LOST
from tests.helpers.events import sns_event
from tests.helpers.notification_samples import NOTIFICATIONS
from tests.helpers.webhook_answers import TOOLS, Tool
from tests.helpers.webhook_server import Answer, WebhookServer, webhook_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"]), pytest.mark.usefixtures("aws")]

type Handler = Callable[[dict[str, Any], Any], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function that posts to a channel; ``title`` is the chat tool's name."""

    name: str
    variable: str
    title: str
    tool: Tool

    @property
    def context(self) -> SimpleNamespace:
        return SimpleNamespace(
            function_name=self.name,
            memory_limit_in_mb=256,
            aws_request_id="00000000-0000-0000-0000-000000000000",
            invoked_function_arn=f"arn:aws:lambda:{REGION}:123456789012:function:{self.name}",
            get_remaining_time_in_millis=lambda: 120_000,
        )

    def handler(self, monkeypatch: pytest.MonkeyPatch, reference: str) -> Handler:
        """Return the handler, which reads the webhook's address from ``reference``."""
        monkeypatch.setenv(self.variable, reference)
        found: Handler = load_function(self.name).lambda_handler
        return lambda event, _: found(event, self.context)


@pytest.fixture(params=CHANNELS)
def function(request: pytest.FixtureRequest) -> Function:
    name = str(request.param)
    return Function(
        name=f"notify_{name}",
        variable=f"{name.upper()}_WEBHOOK",
        title=load_channel(name).title,
        tool=TOOLS[name],
    )


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, function: Function) -> Iterator[WebhookServer]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    with webhook_server(otherwise=function.tool.accepted) as started:
        yield started


def store_secret(text: str) -> str:
    arn: str = boto3.client("secretsmanager").create_secret(Name="chat/webhook", SecretString=text)[
        "ARN"
    ]
    return arn


def log_lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("named_by", ["name", "arn", "parameter"])
def test_a_notice_arrives(
    function: Function,
    server: WebhookServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    named_by: str,
) -> None:
    if named_by == "parameter":
        boto3.client("ssm").put_parameter(
            Name="/chat/webhook", Type="SecureString", Value=server.address
        )
        reference = "ssm:/chat/webhook"
    else:
        arn = store_secret(f"{server.address}\n")
        reference = f"secretsmanager:{arn if named_by == 'arn' else 'chat/webhook'}"
    function.handler(monkeypatch, reference)(sns_event(LOST.to_json()), None)

    (message,) = server.received
    assert "MEDIUM: Flow log records lost at eni-0a1b" in json.dumps(message)
    lines = log_lines(capsys)
    (line,) = [line for line in lines if line.get("message") == f"posted to {function.title}"]
    assert (line["fingerprint"], line["kind"]) == (LOST.fingerprint, "records-lost")
    (finished,) = [line for line in lines if line["message"] == "invocation finished"]
    assert (finished["service"], finished["messages_posted"]) == (function.name, 1)
    assert [line for line in lines if "_aws" in line] == []  # an invocation is Lambda's to count
    assert "s3cr3t" not in json.dumps(lines)


def test_an_end_that_a_message_about_several_tells_too_is_not_posted(
    function: Function, server: WebhookServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = function.handler(monkeypatch, f"secretsmanager:{store_secret(server.address)}")
    handle(sns_event(NOTIFICATIONS["resolved"]().to_json(), in_ends="true"), None)
    assert server.received == []
    handle(sns_event(NOTIFICATIONS["ends"]().to_json()), None)
    (message,) = server.received
    shown = json.dumps(message)
    assert "FIXED: 2 problems are fixed" in shown
    assert shown.count("Fixed: the rules let it pass now") == 2


def test_the_address_is_read_once_for_many_messages(
    function: Function, server: WebhookServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_secret(server.address)
    handle = function.handler(monkeypatch, "secretsmanager:chat/webhook")
    handle(sns_event(LOST.to_json()), None)
    boto3.client("secretsmanager").delete_secret(
        SecretId="chat/webhook", ForceDeleteWithoutRecovery=True
    )
    handle(sns_event(LOST.to_json()), None)
    assert len(server.received) == 2


@pytest.mark.parametrize("status", [404, 403, 410])
def test_a_refused_address_is_read_afresh_once_since_it_may_have_been_rotated(
    function: Function, server: WebhookServer, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    store_secret(server.address)
    handle = function.handler(monkeypatch, "secretsmanager:chat/webhook")
    handle(sns_event(LOST.to_json()), None)
    boto3.client("secretsmanager").put_secret_value(
        SecretId="chat/webhook", SecretString=f"{server.address}-new"
    )
    server.answers = [Answer(status=status)]
    handle(sns_event(LOST.to_json()), None)
    assert [path.rpartition("/")[2] for path in server.paths] == ["s3cr3t", "s3cr3t", "s3cr3t-new"]


def test_an_address_that_has_not_changed_is_not_tried_twice(
    function: Function,
    server: WebhookServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store_secret(server.address)
    code = function.tool.refused_code
    server.answers = [function.tool.error(404, code)] * 2
    with pytest.raises(WebhookRefusedError, match=rf"\(404 {code}\)"):
        function.handler(monkeypatch, "secretsmanager:chat/webhook")(
            sns_event(LOST.to_json()), None
        )
    assert len(server.received) == 1
    (line,) = [line for line in log_lines(capsys) if line.get("message") == "event failed"]
    assert line["reason"].startswith(f"{function.title} refused the webhook (404 {code}): ")
    assert "s3cr3t" not in json.dumps(line)


@pytest.mark.parametrize(
    "reference",
    [None, "", "secretsmanager:", "https://hooks.slack.com/services/s3cr3t", "vault:x", "ssm:a b"],
)
def test_a_value_that_is_not_a_reference_is_refused_and_not_shown(
    function: Function, monkeypatch: pytest.MonkeyPatch, reference: str | None
) -> None:
    handle = function.handler(monkeypatch, reference or "")
    if reference is None:
        monkeypatch.delenv(function.variable)
    with pytest.raises(
        SettingsError, match=rf"^{function.variable}: is not (set|a reference); it should be "
    ) as raised:
        handle(sns_event(LOST.to_json()), None)
    assert "s3cr3t" not in str(raised.value)


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("secretsmanager:missing", "ResourceNotFoundException"),
        ("ssm:/missing", "ParameterNotFound"),
    ],
)
def test_a_secret_that_cannot_be_read_is_named_by_its_reference(
    function: Function, monkeypatch: pytest.MonkeyPatch, reference: str, reason: str
) -> None:
    with pytest.raises(
        DeliveryError, match=rf"^{function.variable}: {reference} cannot be read: .*{reason}"
    ) as raised:
        function.handler(monkeypatch, reference)(sns_event(LOST.to_json()), None)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("stored", "hint"),
    [
        ("s3cr3t", ""),
        ("http://hooks.slack.com/s3cr3t", ""),
        ('{"url": "https://hooks.slack.com/s3cr3t"}', "; store it alone"),
    ],
)
def test_a_secret_that_is_not_an_address_is_not_shown(
    function: Function, monkeypatch: pytest.MonkeyPatch, stored: str, hint: str
) -> None:
    store_secret(stored)
    with pytest.raises(
        SettingsError, match=f"does not hold a webhook's https address{hint}"
    ) as raised:
        function.handler(monkeypatch, "secretsmanager:chat/webhook")(
            sns_event(LOST.to_json()), None
        )
    assert "s3cr3t" not in str(raised.value)


def test_other_messages_and_other_events_raise(
    function: Function, server: WebhookServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_secret(server.address)
    handle = function.handler(monkeypatch, "secretsmanager:chat/webhook")
    with pytest.raises(NotificationError):
        handle(sns_event("{}"), None)
    for event in ({}, {"Records": [{"body": "x"}]}, {"Records": None}):
        with pytest.raises(EnvelopeError, match="not an event of SNS"):
            handle(event, None)
    assert server.received == []
