"""Make the buttons of Slack's messages, and answer a press.

A button's ``action_id`` says what to do with which alert. Slack sends the ``action_id`` back when
somebody presses the button
(https://docs.slack.dev/reference/interaction-payloads/block_actions-payload), with an address that
takes answers (https://docs.slack.dev/interactivity/handling-user-interaction).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING

from slack_sdk.models.blocks import (
    ActionsBlock,
    Block,
    ButtonElement,
    PlainTextObject,
    RichTextBlock,
    RichTextElementParts,
    RichTextPreformattedElement,
    SectionBlock,
)

from flowverdict.core.errors import DeliveryError
from flowverdict.core.untrusted import one_line
from flowverdict.delivery.json_post import JsonPost
from flowverdict.delivery.text import chat_line, shortened, way_back

if TYPE_CHECKING:
    from flowverdict.alerts.model import Notification

_ACTION_ID = re.compile(r"flowverdict:(?P<act>[a-z0-9-]{1,20}):(?P<fingerprint>[0-9a-f]{32})")
# Nothing else is ever called: Slack's payload names the address.
_ANSWERS_TO = re.compile(r"https://hooks\.slack\.com/[A-Za-z0-9/_.~%-]{1,500}", re.ASCII)
_MAX_TEXT = SectionBlock.text_max_length
_MAX_LINES = 8_000  # characters; a message of 12,000 was refused (``renderers/slack.py``)
_MAX_FALLBACK = 300
# The whole press has three seconds, after which Slack shows a warning beside the button.
_POST = JsonPost(title="Slack", timeout_seconds=1, answer_seconds=1, longest_wait=0, max_retries=0)


class Act(StrEnum):
    """What a button does with its alert; part of its ``action_id``."""

    ACKNOWLEDGE = "ack"
    SILENCE_HOUR = "silence-1h"
    SILENCE_DAY = "silence-1d"
    EXPECTED = "expected"
    EVIDENCE = "evidence"


_LABELS = {
    Act.ACKNOWLEDGE: "Acknowledge",
    Act.SILENCE_HOUR: "Silence 1 h",
    Act.SILENCE_DAY: "Silence 1 day",
    Act.EXPECTED: "Expected",
    Act.EVIDENCE: "Show evidence",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Button:
    """A button that was pressed: what to do with which alert."""

    act: Act
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What people read after a press: the person alone, or the whole channel.

    ``lines`` are to be copied or read in columns, and stand below the text as they are.
    """

    text: str
    lines: tuple[str, ...] = ()
    for_all: bool = False


def buttons(notification: Notification) -> list[Block]:
    """Return the row of buttons of a message; none if nothing can be done about it any more."""
    if notification.is_over or not way_back(notification):
        return []
    return [
        ActionsBlock(
            elements=[
                ButtonElement(
                    text=PlainTextObject(text=label, emoji=False),
                    action_id=action_id_of(Button(act=act, fingerprint=notification.fingerprint)),
                )
                for act, label in _LABELS.items()
            ]
        )
    ]


def action_id_of(button: Button) -> str:
    """Return the ``action_id`` of a button."""
    return f"flowverdict:{button.act}:{button.fingerprint}"


def button_of(action_id: str) -> Button | None:
    """Return the button with an ``action_id``; ``None`` if this version makes no such button."""
    match = _ACTION_ID.fullmatch(action_id)
    if match is None or match["act"] not in {*Act}:
        return None
    return Button(act=Act(match["act"]), fingerprint=match["fingerprint"])


def takes_answers(address: str) -> bool:
    """Whether an address is Slack's own for answers."""
    return _ANSWERS_TO.fullmatch(address) is not None


def message_of(answer: Answer) -> dict[str, object]:
    """Return an answer as Slack's JSON. Slack parses nothing in it: names are other people's."""
    text = shortened("\n".join(map(one_line, answer.text.split("\n"))), _MAX_TEXT)
    blocks: list[Block] = [SectionBlock(text=PlainTextObject(text=text, emoji=False))]
    if answer.lines:
        kept = shortened("\n".join(map(one_line, answer.lines)), _MAX_LINES)
        element = RichTextElementParts.Text(text=kept)
        blocks.append(RichTextBlock(elements=[RichTextPreformattedElement(elements=[element])]))
    return {
        "response_type": "in_channel" if answer.for_all else "ephemeral",
        "replace_original": False,
        "text": chat_line(answer.text, _MAX_FALLBACK),
        "blocks": [block.to_dict() for block in blocks],
    }


def send(answer: Answer, address: str) -> None:
    """Send an answer once, within a second or two.

    Raises
    ------
    DeliveryError
        The address is not Slack's, or Slack did not take the answer.
    """
    if not takes_answers(address):
        raise DeliveryError("the address for the answer is not Slack's")
    status = _POST.send(address, message_of(answer)).status
    if status != HTTPStatus.OK:
        raise DeliveryError(f"Slack did not take the answer ({status})")
