"""Phrases that more than one face has, and text made fit for a chat's markup.

What a document holds came out of log records and tags that anybody in the account may write. A face that lays text out by lines, or
shows it where reading direction can be turned, passes it through ``untrusted.one_line`` first.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flowverdict.alerts.model import Alert, Status
from flowverdict.core.formatting import counted, isoformat
from flowverdict.core.untrusted import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowverdict.alerts.model import Notification, Remote


_LONG_ID = re.compile(r"\b([a-z]+-[0-9a-f]{4})[0-9a-f]{5,}([0-9a-f]{4})\b")
_ELLIPSIS = "..."

# Slack shows `:100:` in 2001:db8:100::1 as a picture, though not in a code span. No time of day is meant.
_EMOJI_CODE = re.compile(r":(?!\d\d:\d\d(?!\d))[a-z0-9_+'-]+:")
# https://docs.slack.dev/messaging/formatting-message-text#escaping; there is no escape for a backtick.
_CHAT_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "`": "'"})


def mark(notification: Notification) -> str:
    """Give the word that a subject begins with: ``CRITICAL``, ``STILL CRITICAL``, ``RESOLVED``, ``CORRECTED``."""
    if notification.is_withdrawn:
        return "CORRECTED"
    return {
        Status.FIRING: notification.severity.upper(),
        Status.REMINDER: f"STILL {notification.severity.upper()}",
        Status.RESOLVED: "RESOLVED",
    }[notification.status]


def confidence_in_words(alert: Alert) -> str:
    """Say how sure the verdict is: ``certain``, or at least how sure, and for how many flows."""
    if len(alert.confidences) == 1:
        return alert.confidence
    levels = ", ".join(f"{level} for {count:,}" for level, count in alert.confidences)
    return f"at least {alert.confidence}: {levels} of {alert.flows:,} flows"


def when(notification: Notification) -> str:
    """Write the time that the records are about."""
    first, last = isoformat(notification.first_seen), isoformat(notification.last_seen)
    return f"{first or 'unknown'} to {last or 'unknown'}"


def how_much(alert: Alert) -> str:
    """Write the totals: ``1 flow, 1 record, 4 packets, 240 bytes``."""
    totals = (
        (alert.flows, "flow"),
        (alert.records, "record"),
        (alert.packets, "packet"),
        (alert.bytes, "byte"),
    )
    return ", ".join(counted(count, noun) for count, noun in totals)


def remote_lines(remotes: Sequence[Remote], count: int) -> list[str]:
    """Write a line for each remote address, in columns, and one for those beyond them."""
    width = max((len(one.address) for one in remotes), default=0)
    lines = [
        f"{one.address:<{width}}  {counted(one.flows, 'flow')}, {counted(one.packets, 'packet')}"
        for one in remotes
    ]
    more = count - len(remotes)
    return [*lines, f"and {more:,} more"] if more > 0 else lines


def shortened(text: str, limit: int) -> str:
    """Give at most ``limit`` characters: ids are shortened in the middle first, then the end is cut off."""
    if len(text) > limit:
        text = _LONG_ID.sub(r"\1..\2", text)
    return text if len(text) <= limit else text[: limit - len(_ELLIPSIS)] + _ELLIPSIS


def chat_line(text: str, limit: int) -> str:
    """Give document text for a chat's markup: 1 to ``limit`` characters, one line, without mention, link or code block.

    ``limit`` is at least 30, which is what an ellipsis takes at most.
    """
    text = one_line(text).strip() or "-"
    shown = _chat_escaped(text)
    while (excess := len(shown) - limit) > 0:
        # Cut before it is escaped, so that no entity and no code span is torn. No character takes more than five.
        text = shortened(text, max(len(text) - max(excess // 5, 1), len(_ELLIPSIS) + 1))
        shown = _chat_escaped(text)
    return shown


def _chat_escaped(text: str) -> str:
    words = text.translate(_CHAT_ESCAPES).split(" ")
    return " ".join(f"`{word}`" if _EMOJI_CODE.search(word) else word for word in words)
