"""Render a notification as a message for a workflow of Microsoft Teams: an Adaptive Card.

The message is what the trigger "When a Teams webhook request is received" takes
(https://learn.microsoft.com/connectors/teams/#microsoft-teams-webhook), with the elements of
version 1.4 of the schema (https://adaptivecards.io/explorer/), which every client of Teams shows.

Teams takes about 28 KB a message
(https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/add-incoming-webhook);
a client measured 21,000 bytes (https://rubydoc.info/gems/msteams_hermes/MsTeamsHermes/Message). The
limit here is 20,000 bytes of JSON.

Notifications hold text that anyone in the account may write, such as tags. Teams reads Markdown in
a ``TextBlock`` and in a fact
(https://learn.microsoft.com/microsoftteams/platform/task-modules-and-cards/cards/cards-format), so
that text is escaped there. All other text is a ``TextRun``, in which Markdown is not supported
(https://learn.microsoft.com/adaptive-cards/schema-explorer/text-run). Everywhere, ``<at>`` (a
mention) and ``{{`` (a date function,
https://learn.microsoft.com/adaptive-cards/create/textfeatures) are broken up.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from flowverdict.alerts.ending import Ending
from flowverdict.alerts.model import Alert, Kind, Severity
from flowverdict.delivery.message_settings import DEFAULTS, MessageSettings
from flowverdict.delivery.parts import Part, fitting
from flowverdict.delivery.record_links import athena_query, further_links, records_query
from flowverdict.delivery.shown_ids import with_shown_ids
from flowverdict.delivery.text import (
    ENDED_FACTS,
    FIRST_FACTS,
    LAST_FACTS,
    chosen,
    copyable_commands,
    ending_sign,
    escaped_line,
    facts,
    fix_heading,
    fix_notes,
    heading,
    mark,
    notice_facts,
    reasons,
    remote_lines,
    remotes_heading,
    safe_url,
    shared_commands,
    short_undo,
    split_command,
    way_back,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from flowverdict.alerts.model import Link, Notice, Notification

    # JSON of the Adaptive Card schema.
    type Element = dict[str, Any]

MAX_BYTES = 20_000
CONTENT_TYPE = "application/vnd.microsoft.card.adaptive"
VERSION = "1.4"

# Bytes of JSON. The parts that are never left out (heading, status and facts) are below 5,000
# bytes together.
_MAX_HEADING = 240
_MAX_STATUS = 400
_MAX_SUMMARY = 1_000
_MAX_FACT = 240
_MAX_COMMANDS = 2_500
_MAX_LINE = 400
_MAX_TITLE = 80
_MAX_URL = 2_000
_MOST_EVIDENCE = 6
_MOST_STEPS = 4
_MOST_LINES = 12
_MOST_LINKS = 6  # Teams shows up to six actions of a card

_COLORS = {
    Severity.CRITICAL: "attention",
    Severity.HIGH: "attention",
    Severity.MEDIUM: "warning",
    Severity.LOW: "accent",
    Severity.INFO: "default",
}

# Only what is fixed is green.
_ENDING_COLORS = {Ending.FIXED: "good", Ending.UNKNOWN: "attention"}

_WIDEST = 12  # bytes of JSON for a character beyond the Basic Multilingual Plane
_ACTING = re.compile(r"(<)(?=/?at\b)|(\{)(?=\{)", re.IGNORECASE)
_MARKDOWN = re.compile(r"[\\`*_\[\]<~]|&(?=[#A-Za-z])|:(?=//)|^[-+#>]")
_NUMBERED = re.compile(r"^(\d+)([.)])")


def render(notification: Notification, settings: MessageSettings = DEFAULTS) -> str:
    """Return the message as one line of JSON."""
    return json.dumps(message(notification, settings))


def message(notification: Notification, settings: MessageSettings = DEFAULTS) -> Element:
    """Return the message with its card, within ``MAX_BYTES`` whatever the notification holds.

    The last line of the card names the parts that were left out.
    """
    notification = with_shown_ids(notification)
    parts = list(
        _alert_parts(notification, settings)
        if isinstance(notification, Alert)
        else _notice_parts(notification, settings)
    )

    def fits(remaining: Sequence[Part[Element]], left_out: Sequence[str]) -> bool:
        return len(json.dumps(_message(remaining, notification, left_out))) <= MAX_BYTES

    remaining, left_out = fitting(parts, fits)
    return _message(remaining, notification, left_out)


def _message(
    parts: Iterable[Part[Element]], notification: Notification, left_out: Sequence[str]
) -> Element:
    body = [element for part in parts for element in part.elements]
    body.append(_line(f"Fingerprint {notification.fingerprint}", subtle=True))
    body.extend(_code(way_back(notification)))
    if left_out:
        body.append(_line(f"... more in the email: {', '.join(left_out)}", subtle=True))
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": VERSION,
        "msteams": {"width": "Full"},
        "body": body,
    }
    attachment = {"contentType": CONTENT_TYPE, "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


# --- alerts and notices ---------------------------------------------------------------------------


def _head(notification: Notification) -> Iterable[Element]:
    text = f"{mark(notification)}: {heading(notification)}"
    color = _COLORS[notification.severity]
    if notification.is_over:
        text = f"{ending_sign(notification)} {text}"
        ending = notification.ending
        color = "default" if ending is None else _ENDING_COLORS.get(ending, "default")
    yield {
        "type": "TextBlock",
        "text": _markdown(text, _MAX_HEADING),
        "color": color,
        "size": "large",
        "weight": "bolder",
        "wrap": True,
    }
    if notification.status_reason:
        yield _line(notification.status_reason, _MAX_STATUS)


def _alert_parts(alert: Alert, settings: MessageSettings) -> Iterable[Part[Element]]:
    known = facts(alert, settings.zone)
    labels = ENDED_FACTS if alert.is_over else FIRST_FACTS
    yield Part(elements=[*_head(alert), _fact_set(chosen(known, labels))])
    links = further_links(alert, settings)
    if alert.is_over:
        # The heading says what has ended, and the status reason says how.
        yield Part(name="links", elements=_links(links))
        return
    yield Part(name="fix", elements=list(_fix(alert)))
    yield Part(name="next steps", elements=list(_steps(alert)))
    why = [alert.summary, *reasons(alert)]
    yield Part(name="evidence", elements=_list("Why", why, 1 + _MOST_EVIDENCE))
    yield Part(
        name="what this explains",
        elements=_list("This also explains", alert.explains, _MOST_LINES),
    )
    yield Part(name="links", elements=_links((*links, *alert.links)))
    yield Part(name="details", elements=[_fact_set(chosen(known, LAST_FACTS))])
    remotes = remote_lines(alert.top_remotes, alert.remote_count)
    yield Part(name="remote addresses", elements=_columns(remotes_heading(alert), remotes))
    queries = {
        "The records, in CloudWatch Logs Insights": records_query(alert),
        "The records, in Athena": athena_query(alert, settings),
    }
    for title, query in queries.items():
        if query is not None:
            yield Part(name="logs query", elements=_columns(title, [query]))


def _notice_parts(notice: Notice, settings: MessageSettings) -> Iterable[Part[Element]]:
    yield Part(elements=[*_head(notice), _line(notice.summary, _MAX_SUMMARY)])
    if not notice.is_over or notice.kind is Kind.ENDS:
        for section in notice.sections:
            title = _plain(section.heading, 100)
            yield Part(name=title, elements=_list(title, section.lines, _MOST_LINES))
    yield Part(name="links", elements=_links(further_links(notice, settings)))
    if known := notice_facts(notice, settings.zone):
        yield Part(name="details", elements=[_fact_set(known)])


# --- parts ----------------------------------------------------------------------------------------


def _fix(alert: Alert) -> Iterable[Element]:
    if alert.remediation is None:
        if alert.remediation_reason is not None:
            yield _line(f"Fix: {alert.remediation_reason}")
        return
    commands = copyable_commands(alert.remediation, _MAX_COMMANDS)
    shared = shared_commands(alert.remediation)
    acting = _ACTING.search("\n".join((*alert.remediation.shared, *alert.remediation.commands)))
    if commands is None or acting:
        yield _line(
            "Fix: there is one, but its commands cannot be shown in Teams; the email has them"
        )
        return
    yield _heading(fix_heading(alert.remediation))
    yield from _code(alert.remediation.commands)
    if shared is not None:
        yield _line(shared[0])
        yield from _code(alert.remediation.shared)
    for note in fix_notes(alert.remediation):
        yield _line(note)
    undo = short_undo(alert.remediation)
    if undo is not None and len(undo) <= _MAX_COMMANDS and not _ACTING.search(undo):
        yield _line("Undo:")
        yield from _code((undo,))


def _steps(alert: Alert) -> Iterable[Element]:
    if not alert.next_steps:
        return
    yield _heading("What to look at next")
    for step in alert.next_steps[:_MOST_STEPS]:
        prose, command = split_command(step)
        yield _bullet(prose)
        if command is not None and len(command) <= _MAX_COMMANDS and _is_copyable(command):
            yield from _code([command])
    yield from _more(len(alert.next_steps) - _MOST_STEPS)


def _links(links: Sequence[Link]) -> list[Element]:
    actions = [
        {"type": "Action.OpenUrl", "title": _plain(link.title or "link", _MAX_TITLE), "url": url}
        for link in links
        if (url := safe_url(link.url)) is not None and len(url) <= _MAX_URL
    ]
    return [{"type": "ActionSet", "actions": actions[:_MOST_LINKS]}] if actions else []


def _list(title: str, lines: Sequence[str], most: int) -> list[Element]:
    if not lines:
        return []
    shown = [_bullet(line) for line in lines[:most]]
    return [_heading(title), *shown, *_more(len(lines) - most)]


def _columns(title: str, lines: Sequence[str]) -> list[Element]:
    if not any(line.strip() for line in lines):
        return []
    return [_heading(title), *_code([_plain(line, _MAX_COMMANDS) for line in lines])]


def _more(count: int) -> Iterable[Element]:
    if count > 0:
        yield _line(f"... {count:,} more")


def _fact_set(known: Sequence[tuple[str, str]]) -> Element:
    return {
        "type": "FactSet",
        "facts": [{"title": name, "value": _markdown(value, _MAX_FACT)} for name, value in known],
    }


def _heading(text: str) -> Element:
    return _runs(_line_run(text) | {"weight": "bolder"}, spacing="medium")


def _bullet(text: str) -> Element:
    return _line(f"\N{BULLET} {text}")


def _line(text: str, most: int = _MAX_LINE, *, subtle: bool = False) -> Element:
    run = _line_run(text, most)
    return _runs(run | {"isSubtle": True} if subtle else run)


def _line_run(text: str, most: int = _MAX_LINE) -> Element:
    return {"type": "TextRun", "text": _plain(text, most)}


def _code(lines: Sequence[str]) -> Iterable[Element]:
    """Return lines to copy; a line has a block of its own, since a run has no line breaks."""
    blocks = [
        _runs({"type": "TextRun", "text": line, "fontType": "monospace"}, spacing="none")
        for line in lines
        if line
    ]
    if blocks:
        yield {"type": "Container", "style": "emphasis", "items": blocks}


def _runs(run: Element, spacing: str = "small") -> Element:
    return {"type": "RichTextBlock", "inlines": [run], "spacing": spacing}


# --- text -----------------------------------------------------------------------------------------


def _is_copyable(command: str) -> bool:
    return command.isprintable() and _ACTING.search(command) is None


def _plain(text: str, limit: int) -> str:
    """Return text for a ``TextRun``, at most ``limit`` bytes of JSON."""
    return escaped_line(text, limit, _inert, widest=_WIDEST, size=_json_size)


def _markdown(text: str, limit: int) -> str:
    """Return text that Markdown shows as it is, at most ``limit`` bytes of JSON."""
    return escaped_line(
        text, limit, lambda line: _escaped(_inert(line)), widest=_WIDEST, size=_json_size
    )


def _inert(text: str) -> str:
    return _ACTING.sub(lambda match: f"{match[0]} ", text)


def _escaped(text: str) -> str:
    return _NUMBERED.sub(r"\1\\\2", _MARKDOWN.sub(r"\\\g<0>", text))


def _json_size(text: str) -> int:
    return len(json.dumps(text)) - len('""')
