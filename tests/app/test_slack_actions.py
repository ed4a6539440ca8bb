"""What people press in Slack: done once, only if Slack says so, and kept in the alert's history."""

from __future__ import annotations

import json
import time
import urllib.request
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import time_machine

from flowverdict.alerts.matching import Key
from flowverdict.alerts.model import Status
from flowverdict.app.slack_request import MAX_BODY, RefusedError, press_of, signed_request
from flowverdict.core.errors import EnvelopeError, SettingsError, StateError
from flowverdict.lifecycle.dynamodb import SILENCES
from flowverdict.lifecycle.history import What
from flowverdict.policy.document import parse_policy
from flowverdict_cli.local_aws import REGION
from tests.helpers.alert_samples import (
    ALERT,
    NOW,
    read_on,
)
from tests.helpers.command import Runner
from tests.helpers.slack_presses import BY, HOUR, MINUTE, ONE, Slack
from tests.helpers.slack_requests import ANA, ANSWERS_TO, SIGNING_SECRET, pressed, signed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flowverdict_cli.local_aws import LocalAws


@pytest.fixture
def slack(aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slack]:
    with time_machine.travel(NOW, tick=False) as clock:
        made = Slack(aws, clock)
        monkeypatch.setattr(urllib.request.OpenerDirector, "open", made.open)
        yield made


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runner:
    """Return the command."""
    return Runner(monkeypatch, capsys)


# --- what is pressed ------------------------------------------------------------------------------


def test_what_is_acknowledged_is_not_reminded_of_and_still_ends(slack: Slack) -> None:
    text = slack.press("ack")
    assert text.startswith(f"Acknowledged by {BY}: ")
    assert slack.answers[-1][1]["response_type"] == "in_channel"
    assert slack.answers[-1][1]["replace_original"] is False
    acknowledged = slack.state.acknowledged
    assert acknowledged is not None
    assert (acknowledged.by, acknowledged.reason) == (BY, f"from Slack by {BY}")
    slack.go_on(NOW + HOUR // 2, NOW + 5 * HOUR)
    assert slack.told == [Status.FIRING]
    end = NOW + 6 * HOUR
    read_on(slack.store, end)
    slack.manager.sweep(end, None)
    assert slack.told == [Status.FIRING, Status.RESOLVED]
    assert [event.what for event in slack.state.history] == [
        What.FIRING,
        What.ACKNOWLEDGED,
        What.QUIET,
    ]


@pytest.mark.parametrize(
    ("act", "span"),
    [
        ("silence-1h", HOUR),
        pytest.param("silence-1d", 24 * HOUR, marks=pytest.mark.slow),
    ],
)
def test_a_silence_holds_back_until_its_end_and_is_kept_in_the_history(
    slack: Slack, act: str, span: int
) -> None:
    text = slack.press(act)
    (silence,) = slack.store.load_silences().silences
    assert (silence.until, silence.by) == (NOW + span, BY)
    assert silence.asked == {Key.FINGERPRINT: (ONE,)}
    assert silence.reason == f"from Slack by {BY}"
    assert f"alerts unsilence {silence.silence_id}" in text
    assert slack.state.history[-1].what is What.SILENCE_SET
    assert slack.state.history[-1].by == BY
    slack.go_on(NOW + HOUR // 2, NOW + span)
    assert slack.told == [Status.FIRING]
    slack.go_on(NOW + span, NOW + span + MINUTE)
    assert slack.told == [Status.FIRING, Status.REMINDER]


def test_two_presses_are_two_entries_and_one_state(slack: Slack) -> None:
    slack.press("ack")
    slack.clock.shift(1)
    slack.press("ack", user={"id": "U0BOB", "name": "bob"})
    assert [(event.what, event.by) for event in slack.state.history[1:]] == [
        (What.ACKNOWLEDGED, BY),
        (What.ACKNOWLEDGED, "bob (Slack U0BOB)"),
    ]


@pytest.mark.parametrize("act", ["ack", "silence-1h"])
def test_a_press_on_a_problem_that_is_over_or_not_of_this_stack_changes_nothing(
    slack: Slack, act: str
) -> None:
    before = slack.table
    text = slack.press(act, "0" * 32)
    assert text == f"Nothing was changed: no alert {'0' * 32} is stored in this stack."
    assert slack.answers[-1][1]["response_type"] == "ephemeral"
    assert slack.table == before
    read_on(slack.store, NOW + 6 * HOUR)
    slack.manager.sweep(NOW + 6 * HOUR, None)
    before = slack.table
    slack.clock.shift(6 * HOUR + 1)
    assert slack.press(act).startswith("Nothing was changed: the problem has ended")
    assert slack.table == before


def test_a_button_of_another_app_is_answered_and_changes_nothing(slack: Slack) -> None:
    before = slack.table
    for action_id in ("approve", "flowverdict:ack:short", f"flowverdict:drop:{ONE}", "x" * 999):
        slack.clock.shift(1)
        assert slack.status(signed(pressed(action_id), int(time.time()))) == 200
        text = slack.answers[-1][1]["blocks"][0]["text"]["text"]
        assert text.startswith("This button is not flowverdict's")
    assert slack.table == before


def test_a_name_that_would_act_in_slack_is_text_of_one_bounded_line(slack: Slack) -> None:
    name = "<!channel> *bold* <https://evil.example|click> &amp;\n\u202e\x1b[31m\ud800" + "x" * 999
    text = slack.press("ack", user={"id": "U0EVE", "name": name})
    message = slack.answers[-1][1]
    assert "<!channel>" not in message["text"]
    assert "&lt;!channel&gt;" in message["text"]
    assert "\n" not in message["text"]
    assert text.count("\n") == 1  # ours
    assert not {"\u202e", "\x1b", "\ud800"} & {*text}
    by = slack.state.history[-1].by
    assert by is not None
    assert by.endswith("(Slack U0EVE)")
    assert len(by) < 120
    assert by.isprintable()


# --- who may --------------------------------------------------------------------------------------


def test_slacks_own_example_is_signed_right() -> None:
    body = (
        "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow"
        "&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner"
        "&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands"
        "%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
        "&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    at = 1531420618
    event = signed(body, at)
    assert event["headers"]["x-slack-signature"] == (
        "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
    )
    for plain in (event, event | {"body": body, "isBase64Encoded": False}):
        assert signed_request(plain, lambda: SIGNING_SECRET, at + 300).body == body
    for wrong in (at + 301, at - 301):
        with pytest.raises(RefusedError):
            signed_request(event, lambda: SIGNING_SECRET, wrong)
    with pytest.raises(RefusedError) as refused:
        press_of(body)  # it is a slash command
    assert refused.value.status == 400


ACK = pressed(f"flowverdict:ack:{ONE}")


def _get(event: dict[str, Any]) -> dict[str, Any]:
    event["requestContext"]["http"]["method"] = "GET"
    return event


# Each request, and the status of its answer.
REFUSED: dict[str, tuple[Callable[[], dict[str, Any]], int]] = {
    "another secret": (lambda: signed(ACK, NOW, "another"), 401),
    "too old": (lambda: signed(ACK, NOW - 301), 401),
    "from the future": (lambda: signed(ACK, NOW + 301), 401),
    "another body": (lambda: signed(ACK, NOW) | {"body": "", "isBase64Encoded": False}, 401),
    "another time": (lambda: signed(ACK, NOW, x_slack_request_timestamp=str(NOW - 1)), 401),
    "no signature": (lambda: signed(ACK, NOW, x_slack_signature=None), 401),
    "no time": (lambda: signed(ACK, NOW, x_slack_request_timestamp=None), 401),
    "odd signature": (lambda: signed(ACK, NOW, x_slack_signature="v0=\u00e9"), 401),
    "odd time": (lambda: signed(ACK, NOW, x_slack_request_timestamp="\u0661e9"), 401),
    "a time of many digits": (lambda: signed(ACK, NOW, x_slack_request_timestamp="9" * 5_000), 401),
    "GET": (lambda: _get(signed(ACK, NOW)), 405),
    "JSON": (lambda: signed(ACK, NOW, content_type="application/json"), 415),
    "no type": (lambda: signed(ACK, NOW, content_type=None), 415),
    "no body": (lambda: signed(ACK, NOW) | {"body": None}, 400),
    "not base64": (lambda: signed(ACK, NOW) | {"body": "\u00e9"}, 400),
    "not UTF-8": (lambda: signed(ACK, NOW) | {"body": "/w=="}, 400),
    "6 MB": (lambda: signed(ACK, NOW) | {"body": "A" * 6_000_000}, 413),
    "a little too long": (lambda: signed("payload=" + "x" * MAX_BODY, NOW), 413),
    "not a form": (lambda: signed("{}", NOW), 400),
    "no payload": (lambda: signed("a=1", NOW), 400),
    "two payloads": (lambda: signed(f"{ACK}&{ACK}", NOW), 400),
    "many fields": (lambda: signed("&".join(["a=1"] * 1_000), NOW), 400),
    "no JSON": (lambda: signed("payload=x", NOW), 400),
    "a list": (lambda: signed("payload=[]", NOW), 400),
    "deep": (lambda: signed("payload=" + "[" * 200_000, NOW), 400),
    "another type": (lambda: signed(pressed("x", type="view_closed"), NOW), 400),
    "no type of its own": (lambda: signed(pressed("x", type=7), NOW), 400),
    "no user": (lambda: signed(pressed("x", user=[]), NOW), 400),
    "an odd user": (lambda: signed(pressed("x", user={"id": "<!here>"}), NOW), 400),
    "no action": (lambda: signed(pressed("x", actions=[]), NOW), 400),
    "an odd action": (lambda: signed(pressed("x", actions=[None]), NOW), 400),
    "two actions": (lambda: signed(pressed("x", actions=[{}, {}]), NOW), 400),
}


def test_what_is_not_slacks_is_refused_and_changes_nothing(slack: Slack) -> None:
    before = slack.table
    answered = {name: slack.status(make()) for name, (make, _) in REFUSED.items()}
    assert answered == {name: status for name, (_, status) in REFUSED.items()}
    assert slack.table == before
    assert slack.answers == []


def test_a_request_that_comes_again_is_refused_and_changes_nothing(slack: Slack) -> None:
    event = signed(ACK, NOW)
    assert slack.status(event) == 200
    before = slack.table
    for later in (0, 1, 299):
        slack.clock.move_to(NOW + later)
        assert slack.status(event) == 401
    assert slack.table == before
    assert len(slack.answers) == 1
    (kept,) = [
        item
        for item in boto3.client("dynamodb").scan(TableName=slack.aws.table)["Items"]
        if item["pk"]["S"].startswith("request#")
    ]
    assert NOW + 600 <= int(kept["expires_at"]["N"]) <= NOW + 24 * HOUR


def test_only_slacks_own_host_is_answered(slack: Slack) -> None:
    for number, address in enumerate(
        (
            "https://evil.example/",
            "https://hooks.slack.com.evil.example/x",
            "https://hooks.slack.com@evil.example/x",
            "https://hooks.slack.com:8443/x",
            "http://hooks.slack.com/x",
            "https://hooks.slack.com/x y",
            "https://hooks.slack.com/\u00e9",
            "http://127.0.0.1/",
            "",
            7,
            None,
        )
    ):
        body = pressed(f"flowverdict:ack:{ONE}", answers_to=address)
        slack.clock.move_to(NOW + number)
        assert slack.status(signed(body, NOW + number)) == 200
    assert slack.answers == []
    assert slack.state.acknowledged is not None  # what was asked is done all the same


def test_what_was_asked_is_done_though_slack_takes_no_answer(slack: Slack) -> None:
    slack.is_down = True
    invocation = slack.send(signed(ACK, NOW))
    assert invocation.error is None
    assert slack.state.acknowledged is not None
    (line,) = [line for line in invocation.log if line["message"] == "answer not sent"]
    assert "AbCdEf" not in json.dumps(line)


def test_no_secret_and_no_payload_is_logged(slack: Slack) -> None:
    log = json.dumps(slack.send(signed(ACK, NOW)).log)
    assert '"button pressed"' in log
    assert SIGNING_SECRET not in log
    assert "trigger_id" not in log
    assert ANSWERS_TO not in log


# --- what is wrong in the stack -------------------------------------------------------------------


def test_an_event_of_something_else_raises(slack: Slack) -> None:
    events: tuple[dict[str, Any], ...] = (
        {},
        {"Records": []},
        {"requestContext": {"http": 7}, "headers": []},
    )
    for event in events:
        assert isinstance(slack.send(event).error, EnvelopeError)


def test_a_secret_that_is_empty_or_not_there_is_named(
    slack: Slack,
) -> None:
    slack.aws.keep_warm = False
    boto3.client("ssm").put_parameter(Name="/json", Value='{"secret": "x"}', Type="SecureString")
    for reference in ("ssm:/json", SIGNING_SECRET, ""):
        error = slack.send(signed(ACK, NOW), SLACK_SIGNING_SECRET=reference).error
        assert isinstance(error, SettingsError)
        assert str(error).startswith("SLACK_SIGNING_SECRET: ")
        assert SIGNING_SECRET not in str(error)


def test_silences_that_cannot_be_read_are_not_written_over(slack: Slack) -> None:
    item: Any = {"pk": {"S": SILENCES}, "body": {"B": b"later"}, "version": {"N": "3"}}
    boto3.client("dynamodb").put_item(TableName=slack.aws.table, Item=item)
    body = pressed(f"flowverdict:silence-1h:{ONE}")
    assert isinstance(slack.send(signed(body, NOW)).error, StateError)
    assert item in slack.table


def test_the_person_is_named_with_the_id_whatever_the_name() -> None:
    for user in (ANA, ANA | {"username": None}, {"id": "U0ANA", "name": 7}, {"id": "U0ANA"}):
        assert press_of(pressed("x", user=user)).by.endswith("(Slack U0ANA)")


# --- what is shown --------------------------------------------------------------------------------


def test_expected_proposes_the_entry_that_the_command_proposes_and_mutes_nothing(
    slack: Slack, run: Runner
) -> None:
    text = slack.press("expected")
    assert "Nothing is muted yet." in text
    message = slack.answers[-1][1]
    assert message["response_type"] == "ephemeral"
    (line,) = shown(message)
    printed = run("alerts", "expect", ONE, "--table", slack.aws.table, "--region", REGION)
    entry = json.loads(line)
    assert entry == json.loads(printed.out)
    document = json.dumps({"version": 1, "expected": [entry]})
    assert len(parse_policy(document).expected) == 1
    assert slack.state.history[-1].what is What.ENTRY_SHOWN
    assert slack.state.history[-1].by == BY


def test_the_evidence_is_what_the_command_shows_with_the_press_in_it(
    slack: Slack, run: Runner
) -> None:
    slack.press("ack")
    slack.clock.shift(1)
    text = slack.press("evidence")
    assert text == slack.state.notification.title
    message = slack.answers[-1][1]
    assert message["response_type"] == "ephemeral"
    lines = shown(message)
    printed = run("alerts", "show", ONE, "--table", slack.aws.table, "--region", REGION).out
    # The command breaks lines at the terminal's width.
    words = " ".join(printed.split())
    missing = [line for line in lines if " ".join(line.split()) not in words]
    evidence = [f"- {each.detail}" for each in ALERT.evidence]  # which the command leaves out
    assert missing == (["why", *evidence] if evidence else [])
    assert lines[0] == f"fingerprint {ONE}"
    assert lines[-1].endswith(f"evidence shown by {BY}: from Slack by {BY}")


def test_what_is_over_is_still_shown(slack: Slack) -> None:
    read_on(slack.store, NOW + 6 * HOUR)
    slack.manager.sweep(NOW + 6 * HOUR, None)
    slack.clock.move_to(NOW + 6 * HOUR + 1)
    before = slack.state
    slack.press("evidence")
    assert any(line.startswith("ended ") for line in shown(slack.answers[-1][1]))
    assert replace(slack.state, history=before.history, version=before.version) == before


def shown(message: dict[str, Any]) -> list[str]:
    """Return the preformatted lines of an answer."""
    text: str = message["blocks"][1]["elements"][0]["elements"][0]["text"]
    return text.split("\n")
