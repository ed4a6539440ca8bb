"""Render a notification as an email.

The text is plain, because SNS sends no other
(https://docs.aws.amazon.com/sns/latest/dg/sns-email-notifications.html).
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from flowverdict.alerts.model import Alert
from flowverdict.core.untrusted import one_line
from flowverdict.delivery.shown_ids import with_shown_ids
from flowverdict.delivery.text import (
    chosen,
    copyable_commands,
    facts,
    fix_heading,
    fix_notes,
    mark,
    remote_lines,
    remotes_heading,
    shared_commands,
    shortened,
    split_command,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowverdict.alerts.model import Notice, Notification


# SNS: fewer than 100 characters, no line breaks, no control characters
# (https://docs.aws.amazon.com/sns/latest/api/API_Publish.html). Every mail program shows ASCII.
MAX_SUBJECT = 99
_WIDTH = 100
_ALERT_FACTS = (
    *("Severity", "Verdict", "Service", "Where", "When", "How much"),
    *("From/to", "Path", "Owner"),
)
# An alert that has ended needs neither its severity nor its fix.
_ENDED_FACTS = ("Service", "Where", "When", "How much")


def render(notification: Notification) -> str:
    """Return the subject, an empty line and the text."""
    return f"{subject(notification)}\n\n{body(notification)}"


def subject(notification: Notification) -> str:
    """Return a subject that says what happened, at most 99 printable ASCII characters.

    ``[flowverdict CRITICAL] Replies blocked by acl-0a1b rule 120: 10.0.1.5:443 -> 203.0.113.0/24``.
    Reminders and endings are marked as such. In a subject that is too long, ids lose
    their middle; the text has the whole ids.
    """
    text = f"[flowverdict {mark(notification)}] {with_shown_ids(notification).title}"
    text = "".join(
        character if character.isascii() and character.isprintable() else "?" for character in text
    )
    return shortened(text, MAX_SUBJECT)


def body(notification: Notification) -> str:
    """Return the text: what, why, how sure, the fix, where, how much, who, and where to look."""
    notification = with_shown_ids(notification)
    blocks = (
        _alert_blocks(notification)
        if isinstance(notification, Alert)
        else _notice_blocks(notification)
    )
    return "\n\n".join(block for block in blocks if block) + "\n"


def _status(notification: Notification) -> str:
    return "" if notification.status_reason is None else _wrapped(notification.status_reason)


def _alert_blocks(alert: Alert) -> list[str]:
    if alert.is_over:
        return _ended_blocks(alert)
    rows = _rows(alert, _ALERT_FACTS)
    if alert.remediation_reason is not None:
        rows.append(_row("Fix", alert.remediation_reason))
    return [
        _status(alert),
        _wrapped(alert.summary),
        "\n".join(rows),
        _fix(alert),
        "Why\n" + "\n".join(_item(item.detail) for item in alert.evidence)
        if alert.evidence
        else "",
        _remotes(alert),
        _listed("This also explains", alert.explains),
        _listed("What to look at next", alert.next_steps),
        _look(alert),
        f"Fingerprint {one_line(alert.fingerprint)}",
    ]


def _ended_blocks(alert: Alert) -> list[str]:
    """Return how it ended and what it was; the first message has the fix."""
    return [
        _status(alert),
        _wrapped(f"It was: {alert.summary}"),
        "\n".join(_rows(alert, _ENDED_FACTS)),
        _remotes(alert),
        f"Fingerprint {one_line(alert.fingerprint)}",
    ]


def _notice_blocks(notice: Notice) -> list[str]:
    return [
        _status(notice),
        _wrapped(notice.summary),
        "\n".join(_rows(notice, ("Severity", "Where", "When"))),
        *(_listed(section.heading, section.lines) for section in notice.sections),
        f"Fingerprint {one_line(notice.fingerprint)}",
    ]


def _listed(heading: str, texts: tuple[str, ...]) -> str:
    return "\n".join([one_line(heading), *(_item(text) for text in texts)]) if texts else ""


def _remotes(alert: Alert) -> str:
    if not alert.top_remotes:
        return ""
    lines = remote_lines(alert.top_remotes, alert.remote_count)
    return "\n".join([remotes_heading(alert), *(f"  {one_line(line)}" for line in lines)])


def _fix(alert: Alert) -> str:
    if alert.remediation is None:
        return ""
    if copyable_commands(alert.remediation) is None:
        return "Fix: there is one, but its commands cannot be shown"
    undo = [command for command in alert.remediation.undo if command.isprintable()]
    shared = shared_commands(alert.remediation)
    return "\n".join(
        [
            fix_heading(alert.remediation),
            *(f"    {command}" for command in alert.remediation.commands),
            *([] if shared is None else [_item(shared[0])]),
            *(f"    {command}" for command in alert.remediation.shared),
            *map(_item, fix_notes(alert.remediation)),
            *(["  Undo", *(f"    {command}" for command in undo)] if undo else []),
        ]
    )


def _look(alert: Alert) -> str:
    lines = [f"  {one_line(link.title)}\n    {one_line(link.url)}" for link in alert.links]
    if alert.logs_query is not None:
        lines.append(
            f"  the records, in CloudWatch Logs Insights\n    {one_line(alert.logs_query)}"
        )
    return "\n".join(["Where to look", *lines]) if lines else ""


def _rows(notification: Notification, labels: Sequence[str]) -> list[str]:
    return [_row(label, value) for label, value in chosen(facts(notification), labels)]


def _row(name: str, value: str) -> str:
    return textwrap.fill(
        one_line(value),
        _WIDTH,
        initial_indent=f"{name:<10}",
        subsequent_indent=" " * 10,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _item(text: str) -> str:
    # A command on a line of its own can be copied as a whole.
    prose, command = split_command(one_line(text))
    first = textwrap.fill(
        prose,
        _WIDTH,
        initial_indent="  - ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return first if command is None else f"{first}\n    {command}"


def _wrapped(text: str) -> str:
    return textwrap.fill(one_line(text), _WIDTH, break_long_words=False, break_on_hyphens=False)
