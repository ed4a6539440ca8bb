"""Ask for the reason of a silence in a window of Slack's, a modal, and read what was submitted.

The modal carries what the button carried: its ``callback_id`` is the ``action_id`` of the button,
and ``private_metadata`` the address that takes the answer to the press. Slack sends both back with
what the person wrote (https://docs.slack.dev/reference/interaction-payloads/view-interactions-payload).
They are read as those of a button are: only their form is believed, and what they name is looked up
anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slack_sdk.models.blocks import (
    InputBlock,
    PlainTextInputElement,
    PlainTextObject,
    SectionBlock,
)
from slack_sdk.models.views import View

from flowverdict.core.untrusted import one_line
from flowverdict.delivery.slack_buttons import Act, action_id_of
from flowverdict.delivery.text import shortened

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowverdict.delivery.slack_buttons import Button

_BLOCK, _ELEMENT = "reason", "text"
_TITLES = {Act.SILENCE_HOUR: "Silence for 1 hour", Act.SILENCE_DAY: "Silence for 1 day"}
_MAX_ERROR = 150  # characters, below the field


def view_of(button: Button, title: str, answers_to: str | None, most: int) -> dict[str, object]:
    """Return the modal that asks why an alert is to be silenced.

    Parameters
    ----------
    title
        The alert's.
    answers_to
        The address that takes the answer; ``None`` if it is not known.
    most
        Characters of a reason.
    """
    asked = PlainTextInputElement(action_id=_ELEMENT, max_length=most, focus_on_load=True)
    about = shortened(one_line(title), SectionBlock.text_max_length)
    view: dict[str, object] = View(
        type="modal",
        callback_id=action_id_of(button),
        private_metadata=answers_to or "",
        title=PlainTextObject(text=_TITLES[button.act], emoji=False),
        submit=PlainTextObject(text="Silence", emoji=False),
        close=PlainTextObject(text="Cancel", emoji=False),
        blocks=[
            SectionBlock(text=PlainTextObject(text=about, emoji=False)),
            InputBlock(
                block_id=_BLOCK,
                label=PlainTextObject(text="Why?", emoji=False),
                hint=PlainTextObject(
                    text="For the channel, the daily digest and whoever reads this next.",
                    emoji=False,
                ),
                element=asked,
            ),
        ],
    ).to_dict()
    return view


def reason_in(view: Mapping[str, Any]) -> str:
    """Return what was written into a modal; an empty text for nothing.

    Raises
    ------
    KeyError, TypeError
        The view is not one of ``view_of``.
    """
    text = view["state"]["values"][_BLOCK][_ELEMENT]["value"]
    if text is None:
        return ""
    if not isinstance(text, str):
        raise TypeError("a reason is not text")
    return text


def refusal_of(problem: str) -> dict[str, object]:
    """Return the answer to a submitted modal that stays open and shows a problem."""
    return {
        "response_action": "errors",
        "errors": {_BLOCK: shortened(one_line(problem), _MAX_ERROR)},
    }
