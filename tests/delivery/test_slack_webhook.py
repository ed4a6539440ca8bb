"""What becomes of each answer that Slack, or what stands in its place, can give."""

from __future__ import annotations

import http.client
import logging
import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from slack_sdk.models.blocks import Block, HeaderBlock

from flowverdict.core.errors import DeliveryError, WebhookRefusedError
from flowverdict.delivery import slack_webhook
from flowverdict.delivery.slack_webhook import SlackWebhook, is_webhook_address
from tests.helpers.webhook_server import SECRET_PATH, Answer, WebhookServer, webhook_server

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

BLOCKS: list[Block] = [HeaderBlock(text="A title")]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebhookServer]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)  # a proxy would not find this machine's own address
    with webhook_server() as one:
        yield one


def post(server: WebhookServer, *, longest_wait: int = 30) -> None:
    SlackWebhook(server.address, timeout_seconds=1, longest_wait=longest_wait).post(
        "CRITICAL: a title", BLOCKS
    )


def test_text_and_blocks_arrive(server: WebhookServer) -> None:
    post(server)
    (message,) = server.received
    assert message["text"] == "CRITICAL: a title"
    assert message["blocks"] == [
        {"type": "header", "text": {"type": "plain_text", "emoji": True, "text": "A title"}}
    ]
    assert message["unfurl_links"] is False
    assert server.paths == [SECRET_PATH]


@pytest.mark.parametrize(
    ("status", "code", "advice"),
    [
        (403, "action_prohibited", "the workspace's administrators restrict posting there"),
        (403, "invalid_token", "the address is wrong or was revoked: make a new webhook"),
        (404, "no_service", "the webhook was removed or disabled: make a new webhook"),
        (404, "channel_not_found", "the channel is gone"),
        (410, "channel_is_archived", "the channel is archived: unarchive it"),
        (404, "<html>Not here</html>", "nothing can be posted there"),
    ],
)
def test_a_refused_webhook_is_told_with_what_to_do_and_not_tried_again(
    server: WebhookServer, status: int, code: str, advice: str
) -> None:
    server.answers = [Answer(status=status, body=code)]
    with pytest.raises(WebhookRefusedError) as raised:
        post(server)
    assert advice in str(raised.value)
    assert str(raised.value).startswith(f"Slack refused the webhook ({status}")
    assert "\n" not in str(raised.value)
    assert "<" not in str(raised.value)
    assert len(server.received) == 1


@pytest.mark.parametrize("code", ["invalid_blocks", "invalid_payload"])
def test_a_message_that_slack_does_not_understand_is_a_defect_of_ours(
    server: WebhookServer, code: str
) -> None:
    server.answers = [Answer(status=400, body=code)]
    with pytest.raises(
        DeliveryError, match=rf"\(400 {code}\): this is a defect of flowverdict's"
    ) as raised:
        post(server)
    assert not isinstance(raised.value, WebhookRefusedError)
    assert len(server.received) == 1


def test_an_answer_that_is_not_slacks_is_no_success(server: WebhookServer) -> None:
    server.answers = [Answer(body="<html>Welcome</html>")]
    with pytest.raises(DeliveryError, match="look whether the address is an incoming webhook's"):
        post(server)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record the waits that Slack's rate limit causes, in place of waiting."""
    seconds: list[float] = []
    monkeypatch.setattr(
        "slack_sdk.http_retry.builtin_handlers.time", SimpleNamespace(sleep=seconds.append)
    )
    return seconds


def test_a_short_rate_limit_is_waited_for(server: WebhookServer, waits: list[float]) -> None:
    server.answers = [Answer(status=429, body="rate_limited", headers={"Retry-After": "1"})]
    post(server)
    assert [wait >= 1 for wait in waits] == [True]
    assert len(server.received) == 2


@pytest.mark.parametrize(
    "asked", ["31", "Wed, 21 Oct 2026 07:28:00 GMT", "-1", "9" * 5_000, "\u00b2", "1e0", "0x1", ""]
)
def test_a_long_or_strange_rate_limit_is_left_to_lambda(
    server: WebhookServer, waits: list[float], asked: str
) -> None:
    server.answers = [Answer(status=429, body="rate_limited", headers={"Retry-After": asked})]
    with pytest.raises(
        DeliveryError,
        match=r"\(429 rate_limited\): too many messages, it asks to wait.*another try may succeed",
    ) as raised:
        post(server)
    assert waits == []
    assert len(server.received) == 1
    assert len(str(raised.value)) < 200


def test_a_rate_limit_that_goes_on_raises_after_two_more_tries(server: WebhookServer) -> None:
    server.answers = [Answer(status=429, body="rate_limited", headers={"retry-after": "0"})] * 5
    with pytest.raises(DeliveryError, match="it asks to wait 0 s"):
        post(server)
    assert len(server.received) == 3


def test_a_fault_of_slacks_is_tried_again(server: WebhookServer) -> None:
    server.answers = [Answer(status=500, body="rollup_error"), Answer(status=503, body="")]
    post(server)
    assert len(server.received) == 3


def test_a_fault_that_goes_on_raises(server: WebhookServer) -> None:
    server.answers = [Answer(status=500, body="rollup_error")] * 5
    with pytest.raises(
        DeliveryError, match=r"\(500 rollup_error\): Slack has a fault; another try may succeed"
    ):
        post(server)
    assert len(server.received) == 3


def test_a_slow_answer_raises_and_is_not_tried_again_since_the_message_may_have_been_posted(
    server: WebhookServer,
) -> None:
    server.answers = [Answer(after_seconds=1.3)]
    with pytest.raises(DeliveryError, match=r"Slack could not be reached \(TimeoutError\)"):
        post(server)
    assert len(server.received) == 1


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(server: WebhookServer, status: int) -> None:
    with webhook_server() as other:
        server.answers = [Answer(status=status, body="moved", headers={"Location": other.address})]
        with pytest.raises(
            DeliveryError,
            match=rf"\({status} moved\): it names another address, which is not followed",
        ):
            post(server)
        assert (other.received, other.visits) == ([], [])
    assert (len(server.received), server.visits) == (1, [])


@pytest.mark.parametrize("status", [200, 404])
def test_of_a_huge_answer_only_the_beginning_is_read(
    server: WebhookServer, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    read: list[int] = []
    read1 = http.client.HTTPResponse.read1

    def counted(self: http.client.HTTPResponse, n: int = -1) -> bytes:
        read.append(len(got := read1(self, n)))
        return got

    monkeypatch.setattr(http.client.HTTPResponse, "read1", counted)
    monkeypatch.setattr(
        http.client.HTTPResponse, "read", lambda *_: pytest.fail("all of it is read")
    )
    server.answers = [Answer(status=status, body="x" * 50_000_000)] * 3
    with pytest.raises(DeliveryError) as raised:
        post(server)
    tries = len(server.received)
    assert 0 < sum(read) <= tries * slack_webhook.MAX_ANSWER_BYTES
    assert len(str(raised.value)) < 300


def test_an_answer_that_never_ends_is_not_heard_to_the_end(
    server: WebhookServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    read1 = http.client.HTTPResponse.read1

    def counted(self: http.client.HTTPResponse, n: int = -1) -> bytes:
        read.append(len(got := read1(self, n)))
        return got

    monkeypatch.setattr(http.client.HTTPResponse, "read1", counted)
    monkeypatch.setattr(slack_webhook, "MAX_ANSWER_SECONDS", 1)
    server.answers = [Answer(drip_seconds=0.2)]
    with pytest.raises(DeliveryError, match="it did not answer as Slack does"):
        post(server)
    assert 0 < sum(read) < 40  # of 52 bytes, which take 10 s


@pytest.mark.parametrize("charset", ["no-such", "zlib_codec", "utf-7", "punycode", "utf-16"])
@pytest.mark.parametrize("status", [200, 404])
def test_the_answers_encoding_is_not_its_own_choice(
    server: WebhookServer, charset: str, status: int
) -> None:
    server.answers = [
        Answer(
            status=status,
            body="no_service",
            headers={"Content-Type": f"text/plain; charset={charset}"},
        )
    ]
    with pytest.raises(DeliveryError, match=r"it did not answer as Slack does|\(404 no_service\)"):
        post(server)


def test_nobody_listening_raises() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}{SECRET_PATH}"
    with pytest.raises(
        DeliveryError, match=r"Slack could not be reached \(ConnectionRefusedError\)"
    ) as raised:
        SlackWebhook(address).post("text", BLOCKS)
    assert "s3cr3t" not in str(raised.value)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(status=404, body="no_service"),
        Answer(status=404, body=f"http://127.0.0.1{SECRET_PATH}"),
        Answer(after_seconds=1.1),
    ],
    ids=["refused", "echo", "slow"],
)
def test_the_address_is_in_no_error_log_or_repr(
    server: WebhookServer,
    answer: Answer,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    server.answers = [Answer(status=500), answer]
    webhook = SlackWebhook(server.address, timeout_seconds=1)
    with pytest.raises(DeliveryError) as raised:
        webhook.post("text", BLOCKS)
    written = capfd.readouterr()
    told = [repr(webhook), str(webhook), repr(raised.value), caplog.text, written.out, written.err]
    assert raised.value.__cause__ is None
    assert not any("s3cr3t" in text for text in told)


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("https://hooks.slack.com/services/T0/B0/x", True),
        ("https://hooks.slack-gov.com/services/T0/B0/x", True),
        ("http://127.0.0.1:8080/x", True),
        ("http://localhost/x", True),
        ("http://[::1]:8080/x", True),
        ("http://hooks.slack.com/services/T0/B0/x", False),
        ("http://127.0.0.1.evil.example/x", False),
        ("http://localhost@evil.example/x", False),
        ("https://hooks.slack.com/services/T0 B0", False),
        ("https://hooks.slack.com/x\n", False),
        ("file:///etc/passwd", False),
        ("", False),
    ],
)
def test_addresses_are_https_or_this_machines(text: str, *, taken: bool) -> None:
    assert is_webhook_address(text) is taken
    if not taken:
        with pytest.raises(DeliveryError) as raised:
            SlackWebhook(text)
        assert not text or text not in str(raised.value)
