"""Slack's Web API: what becomes of each of its answers, and that the token stays secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flowverdict.core.errors import (
    ChannelRefusedError,
    DeliveryError,
    MessageFixedError,
    MessageGoneError,
    WebhookRefusedError,
)
from flowverdict.delivery import json_post
from flowverdict.delivery.slack_bot import API, Place, SlackBot, is_api_address, is_bot_token
from tests.helpers.slack_api import CHANNEL, CHANNEL_ID, TOKEN, SlackApi, refusal, slack_api
from tests.helpers.webhook_server import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

MESSAGE = {"text": "CRITICAL: x", "blocks": [], "attachments": []}
PLACE = Place(channel_id=CHANNEL_ID, ts="1795349001.000100")


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record the waits between tries in place of waiting."""
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(variable, raising=False)
    seconds: list[float] = []
    monkeypatch.setattr(json_post, "sleep", seconds.append)
    return seconds


@pytest.fixture(scope="module")
def _served() -> Iterator[tuple[SlackApi, str]]:
    with slack_api() as served:
        yield served


@pytest.fixture
def slack(_served: tuple[SlackApi, str]) -> SlackApi:
    state, _ = _served
    state.messages, state.calls, state.script = [], [], {}
    return state


@pytest.fixture
def bot(_served: tuple[SlackApi, str], slack: SlackApi) -> SlackBot:  # noqa: ARG001 - emptied
    return SlackBot(TOKEN, api=_served[1])


def test_a_message_a_reply_and_an_update(slack: SlackApi, bot: SlackBot) -> None:
    first = bot.post(CHANNEL, MESSAGE)
    assert first == PLACE
    assert first.posted_at == 1_795_349_001
    bot.post(first.channel_id, MESSAGE | {"text": "quiet"}, thread=first)
    bot.update(first, MESSAGE | {"text": "QUIET: x"})

    (posted,) = slack.firsts
    assert (posted.text, posted.updates) == ("QUIET: x", 1)
    (reply,) = slack.replies(posted)
    assert (reply.text, reply.is_in_channel) == ("quiet", False)
    assert reply.shown["unfurl_links"] is False
    assert posted.shown["parse"] == "none"


def test_a_broadcast_reply_is_in_the_channel_too(slack: SlackApi, bot: SlackBot) -> None:
    bot.post(CHANNEL, MESSAGE)
    bot.post(CHANNEL_ID, MESSAGE, thread=PLACE, broadcast=True)
    assert [message.is_in_channel for message in slack.messages] == [True, True]


@pytest.mark.parametrize(
    "limited",
    [refusal("ratelimited", 429, **{"Retry-After": "3"}), refusal("rate_limited")],
    ids=["429", "200"],
)
def test_a_rate_limit_is_waited_for(
    slack: SlackApi, bot: SlackBot, waits: list[float], limited: Answer
) -> None:
    slack.script = {"chat.postMessage": [limited]}
    assert bot.post(CHANNEL, MESSAGE) is not None
    assert len(slack.messages) == 1
    assert waits == [3 if limited.status == 429 else 1]


def test_a_long_wait_is_left_to_lambda(slack: SlackApi, bot: SlackBot, waits: list[float]) -> None:
    slack.script = {"chat.postMessage": [refusal("ratelimited", 429, **{"Retry-After": "11"})]}
    with pytest.raises(DeliveryError, match=r"\(429 ratelimited\): too many .* wait 11 s; another"):
        bot.post(CHANNEL, MESSAGE)
    assert waits == []


@pytest.mark.parametrize(
    "code", ["invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired"]
)
def test_a_refused_token_is_told_from_other_errors(
    slack: SlackApi, bot: SlackBot, code: str
) -> None:
    slack.script = {"chat.postMessage": [refusal(code)]}
    with pytest.raises(WebhookRefusedError, match=rf"^Slack refused the token \(200 {code}\): "):
        bot.post(CHANNEL, MESSAGE)


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("channel_not_found", "the channel does not exist, or is private and the app is not in it"),
        ("not_in_channel", "invite the app into the channel"),
        ("is_archived", "the channel is archived"),
        ("missing_scope", "give the app the scope chat:write"),
        ("restricted_action", "the workspace's administrators restrict posting there"),
        ("internal_error", "Slack has a fault; another try may succeed"),
        ("invalid_blocks", "this is a defect of flowverdict"),
        ("X <b>", "it did not answer as Slack does"),
    ],
)
def test_an_error_code_has_advice(slack: SlackApi, bot: SlackBot, code: str, advice: str) -> None:
    slack.script = {"chat.postMessage": [refusal(code)]}
    with pytest.raises(DeliveryError, match=advice) as raised:
        bot.post(CHANNEL, MESSAGE)
    assert "<b>" not in str(raised.value)
    assert len(slack.calls) == 1
    of_channel = {"channel_not_found", "not_in_channel", "is_archived", "restricted_action"}
    assert isinstance(raised.value, ChannelRefusedError) is (code in of_channel)


@pytest.mark.parametrize(
    "code", ["message_not_found", "channel_not_found", "is_inactive", "thread_not_found"]
)
def test_a_message_that_is_gone_is_told_from_one_that_is_fixed(
    slack: SlackApi, bot: SlackBot, code: str
) -> None:
    slack.script = {"chat.update": [refusal(code), refusal("edit_window_closed")]}
    with pytest.raises(MessageGoneError):
        bot.update(PLACE, MESSAGE)
    with pytest.raises(MessageFixedError):
        bot.update(PLACE, MESSAGE)


@pytest.mark.parametrize("body", ["", "ok", "[]", '{"ok": 1}', "[" * 90_000, '{"ok": true'])
def test_an_answer_that_is_not_slacks_is_no_success(
    slack: SlackApi, bot: SlackBot, body: str
) -> None:
    slack.script = {"chat.postMessage": [Answer(body=body)]}
    with pytest.raises(DeliveryError, match="it did not answer as Slack does"):
        bot.post(CHANNEL, MESSAGE)


@pytest.mark.parametrize(
    "place", ['"channel": "C1", "ts": "x"', '"ts": "1.1"', '"channel": [], "ts": "1.1"']
)
def test_a_message_that_slack_took_is_taken_even_where_its_place_is_not_known(
    slack: SlackApi, bot: SlackBot, place: str
) -> None:
    slack.script = {"chat.postMessage": [Answer(body=f'{{"ok": true, {place}}}')]}
    assert bot.post(CHANNEL, MESSAGE) is None


def test_a_fault_is_tried_again_and_a_redirect_is_not_followed(
    slack: SlackApi, bot: SlackBot, waits: list[float]
) -> None:
    slack.script = {"chat.postMessage": [Answer(status=503), None]}
    bot.post(CHANNEL, MESSAGE)
    assert len(waits) == 1
    slack.script = {
        "chat.postMessage": [Answer(status=307, headers={"Location": "http://127.0.0.1:1/"})]
    }
    with pytest.raises(DeliveryError, match="it names another address, which is not followed"):
        bot.post(CHANNEL, MESSAGE)


def test_the_token_is_in_no_text(bot: SlackBot) -> None:
    with pytest.raises(DeliveryError) as raised:
        SlackBot(TOKEN, api="http://127.0.0.1:1/api/").post(CHANNEL, MESSAGE)
    assert "s3cr3t" not in f"{raised.value} {bot!r} {vars(bot)}"


@pytest.mark.parametrize(
    ("address", "is_right"),
    [
        (API, True),
        ("http://127.0.0.1:8080/api/", True),
        ("https://slack.com.example/api/", False),
        ("https://example.com/api/", False),
        ("http://slack.com/api/", False),
        ("http://127.0.0.1:80@example.com/", False),
    ],
)
def test_a_token_is_sent_to_slack_alone(address: str, *, is_right: bool) -> None:
    assert is_api_address(address) is is_right
    if not is_right:
        with pytest.raises(DeliveryError, match="sent to Slack alone"):
            SlackBot(TOKEN, api=address)


@pytest.mark.parametrize(
    ("text", "is_right"),
    [
        (TOKEN, True),
        ("xoxp-1-2", False),
        ("xoxe.xoxb-1-2", False),
        ("xoxb-1\nX: y", False),
        ("https://hooks.slack.com/services/T0/B0/x", False),
    ],
)
def test_only_a_bot_token_is_a_token(text: str, *, is_right: bool) -> None:
    assert is_bot_token(text) is is_right
