"""The texts of a Slack message, and text that tries to break messages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from slack_sdk.models.blocks import Block

HOSTILE = (
    "<!channel> <@U012AB3CD> <at>x</at> {{DATE(2026-11-22T12:00:00Z)}} [click](https://evil.example)"
    " <https://evil.example|click> & ```\n*Fix*\n```rm -rf /``` :rotating_light: "
    "\u202egnp.exe\u2066 \u05e9\u05dc\u05d5\u05dd \N{FIRE}\x1b[31m\u2028line"
)


_DATE = re.compile(
    r"<!date\^\d{1,12}\^\{date_short_pretty\} \{time\}\|\d\d? [A-Z][a-z]{2} \d\d:\d\d UTC>"
)


def without_dates(text: str) -> str:
    """Return the text without the renderer's own dates, which each reader sees in their zone."""
    return _DATE.sub("", text)


def blocks_of(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the blocks of a message: those before the bar, and those behind it."""
    attached = [block for attachment in message["attachments"] for block in attachment["blocks"]]
    return [*message["blocks"], *attached]


def texts(blocks: list[Block]) -> list[str]:
    """Return every ``mrkdwn`` text."""

    def found(value: object) -> Iterator[str]:
        if isinstance(value, dict):
            if value.get("type") == "mrkdwn":
                yield value["text"]
            for child in value.values():
                yield from found(child)
        elif isinstance(value, list):
            for child in value:
                yield from found(child)

    return list(found([block.to_dict() for block in blocks]))
