"""The modal that asks why an alert is to be silenced: opened, submitted, refused, or not there."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import TYPE_CHECKING

import boto3
import pytest
import time_machine

from flowverdict.alerts.matching import Key
from flowverdict.lifecycle.history import What
from flowverdict.lifecycle.on_call import MAX_REASON
from tests.helpers.alert_samples import NOW, read_on
from tests.helpers.slack_api import TOKEN, SlackApi, refusal, slack_api
from tests.helpers.slack_presses import BY, HOUR, ONE, Slack
from tests.helpers.slack_requests import ANSWERS_TO, pressed, signed, submitted
from tests.helpers.webhook_server import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowverdict_cli.local_aws import LocalAws

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

SILENCE = f"flowverdict:silence-1h:{ONE}"


@pytest.fixture
def slack(aws: LocalAws, api: SlackApi, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slack]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    boto3.client("secretsmanager").create_secret(Name="slack/token", SecretString=TOKEN)
    with slack_api(api) as (_, address), time_machine.travel(NOW, tick=False) as clock:
        made = Slack(aws, clock)
        made.variables = {"SLACK_TOKEN": "secretsmanager:slack/token", "SLACK_API": address}
        really = urllib.request.OpenerDirector.open

        def open_it(
            opener: urllib.request.OpenerDirector,
            request: urllib.request.Request,
            *,
            timeout: float,
        ) -> object:
            if request.full_url.startswith(address):
                return really(opener, request, timeout=timeout)
            return made.open(request)

        monkeypatch.setattr(urllib.request.OpenerDirector, "open", open_it)
        yield made


@pytest.fixture
def api() -> SlackApi:
    return SlackApi()


def submit(
    slack: Slack, reason: object, callback_id: str = SILENCE, **changed: object
) -> str | None:
    """Submit a modal now; return what it shows below its field, ``None`` if it closes."""
    slack.clock.shift(1)  # no two requests have the same signature
    invocation = slack.send(signed(submitted(callback_id, reason, **changed), int(time.time())))
    assert invocation.error is None
    assert isinstance(invocation.answer, dict)
    assert invocation.answer["statusCode"] == 200
    if not invocation.answer["body"]:
        return None
    assert invocation.answer["headers"]["Content-Type"].startswith("application/json")
    answer = json.loads(invocation.answer["body"])
    assert answer["response_action"] == "errors"
    assert answer["errors"].keys() == {"reason"}
    return str(answer["errors"]["reason"])


@pytest.mark.parametrize(
    ("act", "title", "span"),
    [("1h", "Silence for 1 hour", HOUR), ("1d", "Silence for 1 day", 24 * HOUR)],
)
def test_a_silence_asks_why_and_the_reason_is_kept(
    slack: Slack, api: SlackApi, act: str, title: str, span: int
) -> None:
    before = slack.table
    action_id = f"flowverdict:silence-{act}:{ONE}"
    assert slack.status(signed(pressed(action_id), NOW)) == 200
    (view,) = api.views
    assert view["title"]["text"] == title
    assert view["blocks"][0]["text"]["text"] == slack.state.notification.title
    assert view["blocks"][1]["element"]["max_length"] == MAX_REASON
    assert (slack.table, slack.answers) == (before, [])  # nothing is silenced yet

    told = "a change <!channel> runs"
    assert submit(slack, told, view["callback_id"], private_metadata=ANSWERS_TO) is None
    assert view["private_metadata"] == ANSWERS_TO
    (silence,) = slack.store.load_silences().silences
    assert silence.asked == {Key.FINGERPRINT: (ONE,)}
    assert (silence.by, silence.reason, silence.until) == (BY, told, NOW + 1 + span)
    assert slack.state.history[-1].what is What.SILENCE_SET
    assert (slack.state.history[-1].reason or "").endswith(f": {told}")
    ((_, message),) = slack.answers
    assert message["response_type"] == "in_channel"
    assert f"\nWhy: {told}\n" in message["blocks"][0]["text"]["text"]
    assert message["blocks"][0]["text"]["type"] == "plain_text"
    assert "<!channel>" not in message["text"]


@pytest.mark.parametrize(
    "answer",
    [
        refusal("expired_trigger_id"),
        refusal("invalid_auth"),
        refusal("ratelimited", 429, **{"Retry-After": "1"}),
        Answer(status=503),
        Answer(status=307, headers={"Location": "http://127.0.0.1:1/"}),
        Answer(body="ok"),
    ],
    ids=["expired", "token", "limited", "fault", "redirect", "odd"],
)
def test_where_no_modal_opens_the_button_silences_at_once(
    slack: Slack, api: SlackApi, answer: Answer
) -> None:
    api.script = {"views.open": [answer]}
    invocation = slack.send(signed(pressed(SILENCE), NOW))
    assert invocation.error is None
    assert api.calls == ["views.open"]  # once: the person waits
    (silence,) = slack.store.load_silences().silences
    assert silence.reason == f"from Slack by {BY}"
    assert len(slack.answers) == 1
    (line,) = [line for line in invocation.log if line["level"] == "WARNING"]
    assert line["message"] == "not asked why, silenced at once"
    assert TOKEN not in json.dumps(invocation.log)
    assert "12466734323" not in json.dumps(invocation.log)


@pytest.mark.parametrize(
    "variables",
    [
        {"SLACK_TOKEN": "secretsmanager:slack/no-token"},
        {"SLACK_TOKEN": "secretsmanager:slack/signing"},
        {"SLACK_TOKEN": ""},
        {"SLACK_API": "http://127.0.0.1:1/api/"},
    ],
    ids=["not there", "no token", "not set up", "nobody answers"],
)
def test_without_a_token_or_slack_the_button_silences_at_once(
    slack: Slack, api: SlackApi, variables: dict[str, str]
) -> None:
    slack.variables |= variables
    assert slack.status(signed(pressed(SILENCE), NOW)) == 200
    assert api.views == []
    assert len(slack.store.load_silences().silences) == 1


@pytest.mark.parametrize("trigger_id", [None, 7, "", "1.2\n3", "x" * 201, "<!here>"])
def test_an_odd_trigger_opens_nothing(slack: Slack, api: SlackApi, trigger_id: object) -> None:
    assert slack.status(signed(pressed(SILENCE, trigger_id=trigger_id), NOW)) == 200
    assert api.calls == []
    assert len(slack.store.load_silences().silences) == 1


def test_a_reason_that_is_not_one_keeps_the_modal_open(slack: Slack) -> None:
    before = slack.table
    for reason, told in (
        (None, "a reason is needed"),
        ("", "a reason is needed"),
        (" \n\u202e\x1b", "a reason is needed"),
        ("x" * (MAX_REASON + 1), "501 characters"),
    ):
        assert told in (submit(slack, reason) or "")
    assert (slack.table, slack.answers) == (before, [])
    assert submit(slack, " two\nlines\u202e ") is None
    (silence,) = slack.store.load_silences().silences
    assert silence.reason == "two lines"


def test_what_a_modal_names_is_looked_up_anew(slack: Slack) -> None:
    before = slack.table
    other = f"flowverdict:silence-1h:{'0' * 32}"
    assert "is stored in this stack" in (submit(slack, "why", other) or "")
    for odd in (f"flowverdict:ack:{ONE}", f"flowverdict:silence-1y:{ONE}", "x", ""):
        assert submit(slack, "why", odd) is None
        assert slack.answers[-1][1]["text"].startswith("This button is not flowverdict")
    assert slack.table == before
    read_on(slack.store, NOW + 6 * HOUR)
    slack.manager.sweep(NOW + 6 * HOUR, None)
    before = slack.table
    slack.clock.move_to(NOW + 6 * HOUR + 1)
    assert "the problem has ended" in (submit(slack, "why") or "")
    assert slack.table == before


def test_only_slacks_own_address_is_answered_after_a_modal(slack: Slack) -> None:
    for address in ("https://evil.example/", "http://hooks.slack.com/x", "", 7, None):
        assert submit(slack, "why", private_metadata=address) is None
    assert slack.answers == []
    assert len(slack.store.load_silences().silences) == 5  # what was asked is done all the same


def test_a_submitted_modal_that_is_not_slacks_or_comes_again_changes_nothing(slack: Slack) -> None:
    event = signed(submitted(SILENCE, "why"), NOW)
    assert slack.status(event) == 200
    before = slack.table
    assert slack.status(event) == 401
    assert slack.status(signed(submitted(SILENCE, "why"), NOW, "another")) == 401
    odd: tuple[object, ...] = ({}, {"values": {}}, {"values": {"reason": {"text": {"value": 7}}}})
    for number, state in enumerate((*odd, None, [], "x"), 1):
        body = submitted(SILENCE, "why", state=state)
        assert slack.status(signed(body, NOW + number)) == 400
    assert slack.status(signed(submitted(7, "why"), NOW)) == 400
    assert slack.table == before


def test_other_buttons_open_no_modal(slack: Slack, api: SlackApi) -> None:
    for act in ("ack", "expected", "evidence"):
        slack.clock.shift(1)
        slack.press(act)
    assert api.calls == []
