"""Render a notification as a custom notification of Amazon Q Developer in chat applications.

Schema and limits: https://docs.aws.amazon.com/chatbot/latest/adminguide/custom-notifs.html. Amazon
Q Developer drops messages of any other shape, and messages beyond 10 a second. The topic's
subscription must not be raw.

``client-markdown`` reaches the chat application unchanged. Slack and Teams have different markup,
so only what both of them show is used: ``*`` around headings, bullets, and code blocks.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from flowverdict.alerts.model import Alert
from flowverdict.core.untrusted import one_line
from flowverdict.delivery.shown_ids import with_shown_ids
from flowverdict.delivery.text import (
    chat_line,
    chosen,
    copyable_commands,
    ending_sign,
    facts,
    fix_heading,
    fix_notes,
    heading,
    mark,
    reasons,
    remote_lines,
    shared_commands,
    shortened,
    way_back,
    when,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowverdict.alerts.model import Notification


MAX_TITLE = 250
MAX_DESCRIPTION = 8_000
MAX_NEXT_STEP = 350
MAX_KEYWORD = 75

_MOST_STEPS = 5
_MAX_LINE = 600
_MAX_COMMANDS = 3_000
_UNSAFE_IN_CODE = re.compile(r"```|[<>&]")


def render(notification: Notification) -> str:
    """Return the JSON to publish within all limits; the text says if paragraphs did not fit."""
    notification = with_shown_ids(notification)
    steps = (
        notification.next_steps
        if isinstance(notification, Alert) and not notification.is_over
        else ()
    )
    keywords = [
        notification.severity.value,
        notification.kind.value,
        *([notification.verdict] if isinstance(notification, Alert) else []),
    ]
    context = {
        "fingerprint": notification.fingerprint,
        "status": notification.status.value,
        "severity": notification.severity.value,
        "account": notification.account_id or "unknown",
        "region": notification.region or "unknown",
    }
    if notification.ending is not None:
        context["ending"] = notification.ending.value
    custom = {
        "version": "1.0",
        "source": "custom",
        "content": {
            "textType": "client-markdown",
            "title": _markup(shortened(_title(notification), MAX_TITLE), MAX_TITLE),
            "description": _description(notification),
            "nextSteps": [_step(step) for step in steps[:_MOST_STEPS]],
            "keywords": [_markup(word, MAX_KEYWORD) for word in keywords],
        },
        "metadata": {
            "threadId": notification.fingerprint,
            "summary": shortened(one_line(notification.summary), _MAX_LINE),
            "eventType": f"flowverdict-{notification.kind}",
            "relatedResources": [
                shortened(one_line(interface), _MAX_LINE) for interface in notification.interfaces
            ],
            "additionalContext": {
                name: shortened(one_line(value), _MAX_LINE) for name, value in context.items()
            },
        },
    }
    return json.dumps(custom)


def _title(notification: Notification) -> str:
    title = f"{mark(notification)}: {heading(notification)}"
    return f"{ending_sign(notification)} {title}" if notification.is_over else title


def _description(notification: Notification) -> str:
    more = "\n\n... more in the email"
    text, left_out = "", False
    for paragraph in filter(None, _paragraphs(notification)):
        longer = f"{text}\n\n{paragraph}" if text else paragraph
        if len(longer) > MAX_DESCRIPTION - len(more):
            left_out = True
        else:
            text = longer
    return text + more if left_out else text


def _step(step: str) -> str:
    # A command that is cut off must not be copied.
    fits = len(_markup(step, 2 * MAX_DESCRIPTION)) <= MAX_NEXT_STEP
    return _markup(step if fits else step.partition(" aws ")[0], MAX_NEXT_STEP)


def _paragraphs(notification: Notification) -> Iterable[str]:
    if notification.status_reason:
        yield _markup(notification.status_reason)
    if not isinstance(notification, Alert):
        yield _markup(notification.summary)
        yield _facts(notification)
        if not notification.is_over:
            for section in notification.sections:
                yield _bullets(section.heading, section.lines)
    elif notification.is_over:
        yield _facts(notification)
    else:
        yield _facts(notification)
        yield from _fix(notification)
        yield _bullets("Why", [notification.summary, *reasons(notification)])
        remotes = remote_lines(notification.top_remotes, notification.remote_count)
        yield _bullets("Remote addresses", remotes)
        yield _bullets("This also explains", notification.explains)
    yield "\n".join(_markup(command) for command in way_back(notification))


def _facts(notification: Notification) -> str:
    # The message always names a place and a time, even those of a notice that has neither.
    found = {"Where": notification.scope, "When": when(notification)} | facts(notification)
    shown = chosen(found, ("When", "How much", "Severity", "Verdict", "Service", "Where"))
    if isinstance(notification, Alert):
        shown += [("Owner", f"{name} {value}") for name, value in notification.owners]
    return "\n".join(f"*{name}*: {_markup(value)}" for name, value in shown)


def _fix(alert: Alert) -> Iterable[str]:
    if alert.remediation is None:
        if alert.remediation_reason is not None:
            yield f"*Fix*: {_markup(alert.remediation_reason)}"
        return
    commands = copyable_commands(alert.remediation, _MAX_COMMANDS)
    shared = shared_commands(alert.remediation)
    every = f"{commands}\n{'' if shared is None else shared[1]}"
    if commands is None or _UNSAFE_IN_CODE.search(every):
        yield "*Fix*: there is one, but its commands cannot be shown here; the email has them"
        return
    notes = [_markup(note) for note in fix_notes(alert.remediation)]
    if shared is not None:
        notes = [_markup(shared[0]), f"```\n{shared[1]}\n```", *notes]
    own = [f"```\n{commands}\n```"] if commands else []
    yield "\n".join([f"*{fix_heading(alert.remediation)}*", *own, *notes])


def _bullets(heading: str, lines: Iterable[str]) -> str:
    shown = [f"\N{BULLET} {_markup(line)}" for line in lines]
    return "\n".join([f"*{_markup(heading)}*", *shown]) if shown else ""


def _markup(text: str, limit: int = _MAX_LINE) -> str:
    # Teams reads [text](address) as a link, but not [text] (address).
    return chat_line(text.replace("](", "] ("), limit)
