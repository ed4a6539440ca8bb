"""The webhooks of every channel: what becomes of each answer, and that the address stays secret."""

from __future__ import annotations

import http.client
import logging
import socket
from typing import TYPE_CHECKING

import pytest

from flowverdict.core.errors import DeliveryError, WebhookRefusedError
from flowverdict.delivery import json_post as transport
from flowverdict.delivery.channels import CHANNELS, load_channel
from flowverdict.delivery.webhook import Webhook, is_webhook_address
from tests.helpers.notification_samples import records_lost
from tests.helpers.webhook_answers import TOOLS, Tool
from tests.helpers.webhook_server import SECRET_PATH, Answer, WebhookServer, webhook_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowverdict.delivery.webhook import Channel

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

REDIRECTS = (300, 301, 302, 303, 307, 308)


@pytest.fixture(params=CHANNELS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def channel(name: str) -> Channel:
    return load_channel(name)


@pytest.fixture
def tool(name: str) -> Tool:
    return TOOLS[name]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tool: Tool) -> Iterator[WebhookServer]:
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(variable, raising=False)  # a proxy does not find this machine
    with webhook_server(otherwise=tool.accepted) as started:
        yield started


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record the waits between tries in place of waiting."""
    seconds: list[float] = []
    monkeypatch.setattr(transport, "sleep", seconds.append)
    return seconds


def post(channel: Channel, server: WebhookServer, *, longest_wait: int = 30) -> None:
    Webhook(channel, server.address, timeout_seconds=1, longest_wait=longest_wait).post(
        records_lost()
    )


def test_the_message_arrives_as_json(channel: Channel, server: WebhookServer) -> None:
    post(channel, server)
    assert server.received == [channel.message(records_lost())]
    assert server.paths == [SECRET_PATH]


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_refused_webhook_is_reported_with_advice_and_not_tried_again(
    channel: Channel, tool: Tool, server: WebhookServer, status: int
) -> None:
    server.answers = [tool.error(status, tool.refused_code)]
    with pytest.raises(WebhookRefusedError) as raised:
        post(channel, server)
    assert str(raised.value) == (
        f"{channel.title} refused the webhook ({status} {tool.refused_code}): "
        f"{channel.advice[tool.refused_code]}"
    )
    assert len(server.received) == 1


def test_a_refusal_without_a_known_code_is_one_clear_line(
    channel: Channel, server: WebhookServer
) -> None:
    server.answers = [Answer(status=404, body="<html>\nNot here</html>")]
    with pytest.raises(WebhookRefusedError, match="nothing can be posted there") as raised:
        post(channel, server)
    assert "\n" not in str(raised.value)
    assert "<" not in str(raised.value)


def test_a_message_that_is_not_understood_is_a_defect(
    channel: Channel, tool: Tool, server: WebhookServer
) -> None:
    code = "BadRequest" if tool.is_json else "invalid_blocks"
    server.answers = [tool.error(400, code)]
    with pytest.raises(
        DeliveryError, match=rf"\(400 {code}\): this is a defect of flowverdict"
    ) as raised:
        post(channel, server)
    assert not isinstance(raised.value, WebhookRefusedError)
    assert len(server.received) == 1


def test_an_answer_of_another_server_is_not_success(
    channel: Channel, server: WebhookServer
) -> None:
    server.answers = [Answer(body="<html>Welcome</html>")]
    with pytest.raises(DeliveryError, match=f"it did not answer as {channel.title} does"):
        post(channel, server)


def test_a_short_rate_limit_is_waited_for(
    channel: Channel, server: WebhookServer, waits: list[float]
) -> None:
    server.answers = [Answer(status=429, headers={"Retry-After": "7"}), Answer(status=429)]
    post(channel, server)
    assert waits == [7, 1]
    assert len(server.received) == 3


@pytest.mark.parametrize(
    "asked", ["31", "Wed, 21 Oct 2026 07:28:00 GMT", "-1", "9" * 5_000, "\u00b2", "1e0", "0x1", ""]
)
def test_a_long_or_strange_rate_limit_is_left_to_lambda(
    channel: Channel, server: WebhookServer, waits: list[float], asked: str
) -> None:
    server.answers = [Answer(status=429, headers={"Retry-After": asked})]
    with pytest.raises(
        DeliveryError, match=r"too many messages, it asks to wait.*another try may succeed"
    ) as raised:
        post(channel, server)
    assert waits == []
    assert len(server.received) == 1
    assert len(str(raised.value)) < 200


def test_a_rate_limit_that_continues_raises_after_two_more_tries(
    channel: Channel, server: WebhookServer
) -> None:
    server.answers = [Answer(status=429, headers={"retry-after": "0"})] * 5
    with pytest.raises(DeliveryError, match="it asks to wait 0 s"):
        post(channel, server)
    assert len(server.received) == 3


def test_a_fault_is_tried_again_after_growing_waits(
    channel: Channel, server: WebhookServer, waits: list[float]
) -> None:
    server.answers = [Answer(status=500), Answer(status=503)]
    post(channel, server)
    assert len(server.received) == 3
    first, second = waits
    assert 0.5 <= first < 1.5
    assert 1 <= second < 2


@pytest.mark.usefixtures("waits")
def test_a_fault_that_continues_raises(channel: Channel, server: WebhookServer) -> None:
    server.answers = [Answer(status=500)] * 5
    with pytest.raises(
        DeliveryError, match=f"{channel.title} has a fault; another try may succeed"
    ):
        post(channel, server)
    assert len(server.received) == 3


def test_a_slow_answer_is_not_tried_again_since_the_message_may_have_been_posted(
    channel: Channel, server: WebhookServer
) -> None:
    server.answers = [Answer(after_seconds=1.3)]
    with pytest.raises(
        DeliveryError, match=rf"{channel.title} could not be reached \(TimeoutError\)"
    ):
        post(channel, server)
    assert len(server.received) == 1


@pytest.mark.parametrize("status", REDIRECTS)
def test_a_redirect_is_not_followed(channel: Channel, server: WebhookServer, status: int) -> None:
    with webhook_server() as other:
        server.answers = [Answer(status=status, headers={"Location": other.address})]
        with pytest.raises(DeliveryError, match="it names another address, which is not followed"):
            post(channel, server)
        assert (other.received, other.visits) == ([], [])
    assert (len(server.received), server.visits) == (1, [])


@pytest.mark.parametrize("status", [200, 404])
def test_of_a_huge_answer_only_the_beginning_is_read(
    channel: Channel, server: WebhookServer, monkeypatch: pytest.MonkeyPatch, status: int
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
    server.answers = [Answer(status=status, body="x" * 50_000_000)]
    with pytest.raises(DeliveryError) as raised:
        post(channel, server)
    assert 0 < sum(read) <= transport.MAX_ANSWER_BYTES
    assert len(str(raised.value)) < 300


def test_an_answer_that_never_ends_is_not_read_to_the_end(
    channel: Channel, server: WebhookServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "MAX_ANSWER_SECONDS", 0.5)
    server.answers = [Answer(drip_seconds=0.2)]
    with pytest.raises(DeliveryError, match=f"it did not answer as {channel.title} does"):
        post(channel, server)


@pytest.mark.parametrize("charset", ["no-such", "zlib_codec", "utf-7", "punycode", "utf-16"])
@pytest.mark.parametrize("status", [200, 404])
def test_an_answer_does_not_choose_its_encoding(
    channel: Channel, tool: Tool, server: WebhookServer, charset: str, status: int
) -> None:
    kind = f"text/plain; charset={charset}"
    server.answers = [tool.error(status, tool.refused_code, **{"Content-Type": kind})]
    with pytest.raises(DeliveryError, match=rf"it did not answer as|\(404 {tool.refused_code}\)"):
        post(channel, server)


@pytest.mark.usefixtures("waits")
def test_a_closed_port_raises_after_two_more_tries(channel: Channel) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}{SECRET_PATH}"
    with pytest.raises(
        DeliveryError, match=rf"{channel.title} could not be reached \(ConnectionRefusedError\)"
    ) as raised:
        Webhook(channel, address).post(records_lost())
    assert "s3cr3t" not in str(raised.value)


@pytest.mark.usefixtures("waits")
@pytest.mark.parametrize("kind", ["refused", "echo", "slow"])
def test_no_error_log_or_repr_holds_the_address(  # noqa: PLR0913, PLR0917 - fixtures
    channel: Channel,
    tool: Tool,
    kind: str,
    server: WebhookServer,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    answer = {
        "refused": tool.error(404, tool.refused_code),
        "echo": tool.error(404, f"http://127.0.0.1{SECRET_PATH}"),
        "slow": Answer(after_seconds=1.1),
    }[kind]
    caplog.set_level(logging.DEBUG)
    server.answers = [Answer(status=500), answer]
    webhook = Webhook(channel, server.address, timeout_seconds=1)
    with pytest.raises(DeliveryError) as raised:
        webhook.post(records_lost())
    written = capfd.readouterr()
    shown = [repr(webhook), repr(raised.value), caplog.text, written.out, written.err]
    assert raised.value.__cause__ is None
    assert not any("s3cr3t" in text for text in shown)


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("https://hooks.slack.com/services/T0/B0/x", True),
        ("https://hooks.slack-gov.com/services/T0/B0/x", True),
        ("https://0a1b.9.environment.api.powerplatform.com:443/x?sp=%2Ft%2Fr&sig=0-_a", True),
        ("https://prod-1.westeurope.logic.azure.com:443/workflows/0a1b?sig=x", True),
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
def test_addresses_are_https_or_on_this_machine(
    channel: Channel, text: str, *, taken: bool
) -> None:
    assert is_webhook_address(text) is taken
    if not taken:
        with pytest.raises(DeliveryError) as raised:
            Webhook(channel, text)
        assert not text or text not in str(raised.value)
