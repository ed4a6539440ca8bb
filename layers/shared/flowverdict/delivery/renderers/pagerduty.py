"""Render a notification as an event of PagerDuty's Events API v2.

See https://developer.pagerduty.com/docs/events-api-v2-overview. The fields are those of
https://developer.pagerduty.com/docs/send-alert-event; an event may have 512 KB.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from flowverdict.alerts.model import Alert, Severity, Status
from flowverdict.core.formatting import isoformat
from flowverdict.core.untrusted import one_line
from flowverdict.delivery.shown_ids import with_shown_ids
from flowverdict.delivery.text import (
    confidence_in_words,
    copyable_commands,
    fix_heading,
    fix_notes,
    heading,
    how_much,
    mark,
    reasons,
    remote_lines,
    shared_commands,
    short_undo,
    shortened,
)

if TYPE_CHECKING:
    from flowverdict.alerts.model import Notification


# Takes the place of an integration's key in ``render``: who replays events has no key.
NO_ROUTING_KEY = "0" * 32
MAX_SUMMARY = 1_024
_MAX_DETAIL = 2_000
_MOST_ITEMS = 10

_SEVERITIES = {
    Severity.CRITICAL: "critical",
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.LOW: "info",
    Severity.INFO: "info",
}


def render(notification: Notification) -> str:
    """Return the event as one line of JSON, with zeros as its routing key."""
    return json.dumps(event(notification, NO_ROUTING_KEY))


def event(notification: Notification, routing_key: str) -> dict[str, Any]:
    """Return the event, which opens an incident, adds to an incident or resolves it.

    An ending that is unknown adds to the incident: somebody has to look. The same problem always
    has the same ``dedup_key``, so a reminder adds to its incident and does not open another.

    Parameters
    ----------
    notification
        The alert or notice.
    routing_key
        The integration's key of 32 characters.
    """
    notification = with_shown_ids(notification)
    identity = {"routing_key": routing_key, "dedup_key": notification.fingerprint}
    if notification.status is Status.RESOLVED:
        return identity | {"event_action": "resolve"}
    payload = {
        "summary": shortened(_summary(notification) or notification.kind.value, MAX_SUMMARY),
        "source": one_line(notification.scope).strip() or "unknown place",
        "severity": _SEVERITIES[notification.severity],
        "timestamp": isoformat(notification.last_seen),
        "component": notification.blocker if isinstance(notification, Alert) else None,
        "group": notification.vpc_id or notification.account_id,
        "class": notification.verdict
        if isinstance(notification, Alert)
        else notification.kind.value,
        "custom_details": _details(notification),
    }
    links = notification.links[:_MOST_ITEMS] if isinstance(notification, Alert) else ()
    return identity | {
        "event_action": "trigger",
        "client": "flowverdict",
        "payload": {
            name: _bounded(value) if isinstance(value, str) else value
            for name, value in payload.items()
            if value is not None
        },
        "links": [
            {"href": link.url, "text": _bounded(link.title)}
            for link in links
            if link.url.startswith("https://")
        ],
    }


def _summary(notification: Notification) -> str:
    title = one_line(heading(notification)).strip()
    return f"{mark(notification)}: {title}" if notification.is_over else title


def _details(notification: Notification) -> dict[str, Any]:
    details: dict[str, Any] = {
        "summary": notification.summary,
        "status": notification.status.value,
        "status_reason": notification.status_reason,
        "ending": None if notification.ending is None else notification.ending.value,
        "severity_reason": notification.severity_reason,
        "records": notification.records,
    }
    if isinstance(notification, Alert):
        details |= {
            "confidence": confidence_in_words(notification),
            "how_much": how_much(notification),
            "fix": _fix(notification),
            "fix_shared": _shared(notification),
            "fix_opens": notification.remediation_reason
            if notification.remediation is None
            else notification.remediation.opens,
            "fix_notes": None
            if notification.remediation is None
            else (fix_heading(notification.remediation), *fix_notes(notification.remediation)),
            "fix_undo": None
            if notification.remediation is None
            else short_undo(notification.remediation),
            "why": reasons(notification),
            "remotes": remote_lines(notification.top_remotes, notification.remote_count),
            "explains": notification.explains,
            "next_steps": notification.next_steps,
            "owners": [f"{name} {value}" for name, value in notification.owners],
        }
    else:
        details |= {
            section.heading: section.lines for section in notification.sections[:_MOST_ITEMS]
        }
    return {
        shortened(one_line(name), 100): _bounded(value)
        for name, value in details.items()
        if value not in (None, [], ())
    }


def _fix(alert: Alert) -> tuple[str, ...] | None:
    if alert.remediation is None:
        return None
    commands = alert.remediation.commands
    fit = len(commands) <= _MOST_ITEMS and all(len(command) <= _MAX_DETAIL for command in commands)
    if not fit or copyable_commands(alert.remediation) is None:
        return ("there is one, but its commands cannot be shown here; the email has them",)
    return commands


def _shared(alert: Alert) -> tuple[str, ...] | None:
    """Return the commands that the fix of another problem offers too, after what to say of them."""
    shared = None if alert.remediation is None else shared_commands(alert.remediation)
    if alert.remediation is None or shared is None or copyable_commands(alert.remediation) is None:
        return None
    commands = alert.remediation.shared
    fit = len(commands) < _MOST_ITEMS and all(len(command) <= _MAX_DETAIL for command in commands)
    return (shared[0], *(commands if fit else ("the email has them",)))


def _bounded(value: str | int | tuple[str, ...] | list[str]) -> str | int | list[str]:
    if isinstance(value, int):
        return value
    if isinstance(value, str):
        return shortened(one_line(value), _MAX_DETAIL)
    more = len(value) - _MOST_ITEMS
    return [
        *(shortened(one_line(item), _MAX_DETAIL) for item in value[:_MOST_ITEMS]),
        *([f"{more:,} more"] if more > 0 else []),
    ]
