"""The alert as an email: plain text, since SNS sends nothing else (https://docs.aws.amazon.com/sns/latest/dg/sns-email-notifications.html)."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from flowverdict.alerts.model import Alert, Kind, Status
from flowverdict.core.untrusted import one_line
from flowverdict.delivery.text import (
    confidence_in_words,
    how_much,
    mark,
    remote_lines,
    shortened,
    when,
)

if TYPE_CHECKING:
    from flowverdict.alerts.model import Notice, Notification


# SNS: fewer than 100 characters, no line breaks, no control characters; ASCII is safe everywhere.
MAX_SUBJECT = 99
_WIDTH = 100


def subject(notification: Notification) -> str:
    """Give a subject that can be triaged unread, at most 99 printable ASCII characters.

    ``[flowverdict CRITICAL] Replies blocked by acl-0a1b rule 120: 10.0.1.5:443 -> 203.0.113.0/24``. What is still happening
    and what is resolved is marked as such. Where it would be too long, ids are shortened in the middle; the text has them whole.
    """
    text = f"[flowverdict {mark(notification)}] {notification.title}"
    text = "".join(
        character if character.isascii() and character.isprintable() else "?" for character in text
    )
    return shortened(text, MAX_SUBJECT)


def body(notification: Notification) -> str:
    """Give the text a person reads: what, why, how sure, the fix, where, how much, who, and where to look."""
    blocks = (
        _alert_blocks(notification)
        if isinstance(notification, Alert)
        else _notice_blocks(notification)
    )
    return "\n\n".join(block for block in blocks if block) + "\n"


def _status(notification: Notification) -> str:
    return "" if notification.status_reason is None else _wrapped(notification.status_reason)


def _alert_blocks(alert: Alert) -> list[str]:
    if alert.status is Status.RESOLVED:
        return _resolved_blocks(alert)
    return [
        _status(alert),
        _wrapped(alert.summary),
        "\n".join(
            [
                _row("Severity", f"{alert.severity} - {alert.severity_reason}"),
                _row("Verdict", f"{alert.verdict_caption} ({confidence_in_words(alert)})"),
                _row("Service", alert.service),
                _row("Where", alert.scope),
                _row("When", when(alert)),
                _row("How much", how_much(alert)),
                *_places(alert),
                *(
                    [_row("Owner", ", ".join(f"{name} {value}" for name, value in alert.owners))]
                    if alert.owners
                    else []
                ),
                *(
                    [_row("Fix", alert.remediation_reason)]
                    if alert.remediation_reason is not None
                    else []
                ),
            ]
        ),
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


def _resolved_blocks(alert: Alert) -> list[str]:
    """Say that it is over and what it was; what could have been done about it is of no use any more."""
    rows = [
        _row("Service", alert.service),
        _row("Where", alert.scope),
        _row("When", when(alert)),
        _row("How much", how_much(alert)),
    ]
    was = _wrapped(f"It was: {alert.summary}")
    return [
        _status(alert),
        was,
        "\n".join(rows),
        _remotes(alert),
        f"Fingerprint {one_line(alert.fingerprint)}",
    ]


def _notice_blocks(notice: Notice) -> list[str]:
    rows = [_row("Severity", f"{notice.severity} - {notice.severity_reason}")]
    if notice.interfaces or notice.account_id is not None:
        rows.append(_row("Where", notice.scope))
    if notice.first_seen is not None:
        rows.append(_row("When", when(notice)))
    return [
        _status(notice),
        _wrapped(notice.summary),
        "\n".join(rows),
        *(_listed(section.heading, section.lines) for section in notice.sections),
        f"Fingerprint {one_line(notice.fingerprint)}",
    ]


def _listed(heading: str, texts: tuple[str, ...]) -> str:
    return "\n".join([one_line(heading), *(_item(text) for text in texts)]) if texts else ""


def _places(alert: Alert) -> list[str]:
    if alert.local_end is None or alert.path is None:
        return []
    path = alert.path if alert.path_id is None else f"{alert.path} {alert.path_id}"
    return [
        _row("From/to", f"{alert.local_end}; {alert.remote_end}"),
        _row("Path", "; ".join([path, *alert.notes])),
    ]


def _remotes(alert: Alert) -> str:
    if not alert.top_remotes:
        return ""
    heading = "Sources" if alert.kind is Kind.SCAN else "Remote addresses"
    return "\n".join(
        [
            heading,
            *(
                f"  {one_line(line)}"
                for line in remote_lines(alert.top_remotes, alert.remote_count)
            ),
        ]
    )


def _fix(alert: Alert) -> str:
    if alert.remediation is None:
        return ""
    which = f" for {one_line(alert.connection)}" if alert.flows > 1 else ""
    heading = f"Fix{which} (tried on the rules as read: the packet and its reply then pass)"
    # A command that looks other than it is must not be copied.
    if not all(command.isprintable() for command in alert.remediation.commands):
        return "Fix: there is one, but its commands cannot be shown"
    return "\n".join(
        [
            heading,
            *(f"    {command}" for command in alert.remediation.commands),
            _item(f"Opens {alert.remediation.opens}."),
        ]
    )


def _look(alert: Alert) -> str:
    lines = [f"  {one_line(link.title)}\n    {one_line(link.url)}" for link in alert.links]
    if alert.logs_query is not None:
        lines.append(
            f"  the records, in CloudWatch Logs Insights\n    {one_line(alert.logs_query)}"
        )
    return "\n".join(["Where to look", *lines]) if lines else ""


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
    # A command on a line of its own can be copied whole.
    prose, separator, command = one_line(text).partition("? aws ")
    first = textwrap.fill(
        prose + ("?" if separator else ""),
        _WIDTH,
        initial_indent="  - ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return f"{first}\n    aws {command}" if separator else first


def _wrapped(text: str) -> str:
    return textwrap.fill(one_line(text), _WIDTH, break_long_words=False, break_on_hyphens=False)
