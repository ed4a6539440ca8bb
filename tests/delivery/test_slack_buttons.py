"""The buttons of Slack's messages, and the answers to a press, within Slack's limits."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from flowverdict.alerts.ending import Ending
from flowverdict.alerts.model import Status
from flowverdict.delivery.message_settings import MessageSettings
from flowverdict.delivery.renderers.slack import MAX_CHARACTERS, message
from flowverdict.delivery.slack_buttons import Answer, button_of, buttons, message_of
from tests.helpers.alert_samples import ALERT, LOST, detection

ONE = detection().notification.fingerprint


def test_every_button_is_one_that_the_function_knows_and_what_is_over_has_none() -> None:
    (row,) = buttons(replace(ALERT, fingerprint=ONE))
    elements = row.to_dict()["elements"]
    found = [button_of(element["action_id"]) for element in elements]
    assert all(each is not None and each.fingerprint == ONE for each in found)
    assert len({each.act for each in found if each is not None}) == len(elements)
    assert len(buttons(replace(LOST, fingerprint=ONE))) == 1
    over = ALERT.with_status(Status.RESOLVED, "it is over", Ending.FIXED)
    assert buttons(replace(over, fingerprint=ONE)) == []


def test_an_answer_fits_into_slacks_limits() -> None:
    answer: Any = message_of(Answer(text="<" * 10_000))
    assert len(answer["blocks"][0]["text"]["text"]) <= 3_000
    assert len(answer["text"]) <= 300


def test_what_is_shown_fits_into_slacks_limits_and_acts_nowhere() -> None:
    lines = tuple("<!channel>\u202e\n" + "x" * 400 for _ in range(100))
    answer: Any = message_of(Answer(text="title", lines=lines))
    assert len(json.dumps(answer, ensure_ascii=False)) <= MAX_CHARACTERS
    assert not any("\u202e" in line for line in shown(answer))
    (_, block) = answer["blocks"]
    assert block["elements"][0]["type"] == "rich_text_preformatted"


def test_a_message_has_buttons_only_where_they_are_on() -> None:
    alert = replace(ALERT, fingerprint=ONE)
    kinds = {}
    for on in (False, True):
        rendered: Any = message(alert, MessageSettings(buttons=on))
        kinds[on] = [block["type"] for block in rendered["blocks"]]
    assert kinds[True] == [*kinds[False], "actions"]


def shown(message: dict[str, Any]) -> list[str]:
    """Return the preformatted lines of an answer."""
    text: str = message["blocks"][1]["elements"][0]["elements"][0]["text"]
    return text.split("\n")
