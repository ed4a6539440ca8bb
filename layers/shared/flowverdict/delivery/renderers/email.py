"""Render a notification as an email: what happened, the fix, why, where to look, and the rest.

The text is plain, because SNS sends no other
(https://docs.aws.amazon.com/sns/latest/dg/sns-email-notifications.html). A paragraph is one line,
which the reader's mail program wraps at the reader's width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowverdict.alerts.model import Alert
from flowverdict.core.untrusted import one_line
from flowverdict.delivery.message_settings import DEFAULTS, MessageSettings
from flowverdict.delivery.record_links import athena_query, further_links, records_query
from flowverdict.delivery.shown_ids import with_shown_ids
from flowverdict.delivery.text import (
    ENDED_FACTS,
    FIRST_FACTS,
    LAST_FACTS,
    NOTICE_FACTS,
    chosen,
    copyable_commands,
    facts,
    fix_heading,
    fix_notes,
    heading,
    mark,
    reasons,
    remote_lines,
    remotes_heading,
    shared_commands,
    shortened,
    split_command,
    way_back,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from flowverdict.alerts.model import Notice, Notification


# SNS: fewer than 100 characters, no line breaks, no control characters
# (https://docs.aws.amazon.com/sns/latest/api/API_Publish.html). Every mail program shows ASCII.
MAX_SUBJECT = 99


def render(notification: Notification, settings: MessageSettings = DEFAULTS) -> str:
    """Return the subject, an empty line and the text."""
    return f"{subject(notification)}\n\n{body(notification, settings)}"


def subject(notification: Notification) -> str:
    """Return a subject that says what happened, at most 99 printable ASCII characters.

    ``[flowverdict CRITICAL] shop-web:443: replies to 203.0.113.12 dropped by network ACL prod``.
    Reminders and endings are marked as such. In a subject that is too long, ids lose
    their middle; the text has the whole ids.
    """
    text = f"[flowverdict {mark(notification)}] {heading(with_shown_ids(notification), brief=True)}"
    text = "".join(
        character if character.isascii() and character.isprintable() else "?" for character in text
    )
    return shortened(text, MAX_SUBJECT)


def body(notification: Notification, settings: MessageSettings = DEFAULTS) -> str:
    """Return the text: what, since when, the fix, why, where to look, and the rest with ids."""
    notification = with_shown_ids(notification)
    blocks = (
        _alert_blocks(notification, settings)
        if isinstance(notification, Alert)
        else _notice_blocks(notification, settings)
    )
    return "\n\n".join(block for block in blocks if block) + "\n"


def _status(notification: Notification) -> str:
    return "" if notification.status_reason is None else one_line(notification.status_reason)


def _alert_blocks(alert: Alert, settings: MessageSettings) -> list[str]:
    if alert.is_over:
        return _ended_blocks(alert, settings)
    known = facts(alert, settings.zone)
    rows = _rows(chosen(known, FIRST_FACTS))
    if alert.remediation_reason is not None:
        rows.append(_row("Fix", alert.remediation_reason))
    return [
        f"{one_line(heading(alert))}.",
        _status(alert),
        "\n".join(rows),
        _fix(alert),
        _listed("What to look at next", alert.next_steps),
        _listed("Why", [alert.summary, *reasons(alert)]),
        _listed("This also explains", alert.explains),
        _look(alert, settings),
        "\n".join(["Details", *_rows(chosen(known, LAST_FACTS))]),
        _remotes(alert),
        _last(alert),
    ]


def _ended_blocks(alert: Alert, settings: MessageSettings) -> list[str]:
    """Return how it ended and what it was; the first message has the fix."""
    return [
        _status(alert),
        f"It was: {one_line(heading(alert))}.",
        "\n".join(_rows(chosen(facts(alert, settings.zone), ENDED_FACTS))),
        _listed("Why", [alert.summary]),
        _look(alert, settings),
        _remotes(alert),
        _last(alert),
    ]


def _notice_blocks(notice: Notice, settings: MessageSettings) -> list[str]:
    return [
        _status(notice),
        one_line(notice.summary),
        "\n".join(_rows(chosen(facts(notice, settings.zone), NOTICE_FACTS))),
        *(_listed(section.heading, section.lines) for section in notice.sections),
        _look(notice, settings),
        _last(notice),
    ]


def _last(notification: Notification) -> str:
    """Return the fingerprint, and the commands that take it."""
    commands = (f"    {command}" for command in way_back(notification))
    return "\n".join([f"Fingerprint {one_line(notification.fingerprint)}", *commands])


def _listed(title: str, texts: Sequence[str]) -> str:
    return "\n".join([one_line(title), *(_item(text) for text in texts)]) if texts else ""


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


def _look(notification: Notification, settings: MessageSettings) -> str:
    found = [(link.title, link.url) for link in further_links(notification, settings)]
    if isinstance(notification, Alert) and not notification.is_over:
        found += [(link.title, link.url) for link in notification.links]
        queries = {
            "the records, as a query of CloudWatch Logs Insights": records_query(notification),
            "the records, as a query of Athena": athena_query(notification, settings),
        }
        found += [(title, query) for title, query in queries.items() if query is not None]
    lines = [f"  {one_line(title)}\n    {one_line(text)}" for title, text in found]
    return "\n".join(["Where to look", *lines]) if lines else ""


def _rows(known: Iterable[tuple[str, str]]) -> list[str]:
    return [_row(label, value) for label, value in known]


def _row(name: str, value: str) -> str:
    return f"{name:<10}{one_line(value)}"


def _item(text: str) -> str:
    # A command on a line of its own can be copied as a whole.
    prose, command = split_command(one_line(text))
    return f"  - {prose}" if command is None else f"  - {prose}\n    {command}"
