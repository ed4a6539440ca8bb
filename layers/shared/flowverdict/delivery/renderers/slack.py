"""The document as a Slack message: what happened, how bad, and the commands to copy, readable on a phone at 3 a.m.

Limits of Block Kit: 150 characters of header (https://docs.slack.dev/reference/block-kit/blocks/header-block), 3,000 of a section's
text, 10 fields of 2,000 (https://docs.slack.dev/reference/block-kit/blocks/section-block), 50 blocks a message. Slack also refuses
messages whose blocks together are too long (``msg_blocks_too_long``), which was seen near 13,200 characters
(https://github.com/slackapi/bolt-js/issues/2509); 12,000 of JSON are kept here.

Documents hold text that others may write, such as tags. In ``mrkdwn`` it is escaped
(https://docs.slack.dev/messaging/formatting-message-text#escaping) and nothing is parsed for mentions (``verbatim``). What is to be
copied stands in preformatted rich text, where Slack parses nothing at all
(https://docs.slack.dev/reference/block-kit/blocks/rich-text-block).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from slack_sdk.models.blocks import (
    Block,
    ContextBlock,
    HeaderBlock,
    MarkdownTextObject,
    PlainTextObject,
    RichTextBlock,
    RichTextElementParts,
    RichTextPreformattedElement,
    SectionBlock,
)

from flowverdict.alerts.model import Alert, Kind, Severity, Status
from flowverdict.core.untrusted import one_line
from flowverdict.delivery.text import (
    chat_line,
    confidence_in_words,
    how_much,
    mark,
    remote_lines,
    shortened,
    when,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from flowverdict.alerts.model import Link, Notice, Notification


MAX_HEADER = HeaderBlock.text_max_length
MAX_SECTION = SectionBlock.text_max_length
MAX_BLOCKS = 50
MAX_CHARACTERS = 12_000
MAX_FALLBACK = 300  # a phone's notification shows less

# What stays whatever happens has to fit by itself: 10 fields, status, summary and fix are below 9,000 characters of JSON, even if
# each of them needs an escape.
_MAX_STATUS = 400
_MAX_SUMMARY = 1_000
_MAX_FIELD = 240
_MAX_COMMANDS = 2_500
_MAX_LINE = 400
_MAX_PREFORMATTED = 2_000
_MOST_EVIDENCE = 6
_MOST_STEPS = 4
_MOST_LINES = 12
_MOST_LINKS = 6

_MARKS = {
    Severity.CRITICAL: "\N{LARGE RED CIRCLE}",
    Severity.HIGH: "\N{LARGE ORANGE CIRCLE}",
    Severity.MEDIUM: "\N{LARGE YELLOW CIRCLE}",
    Severity.LOW: "\N{LARGE BLUE CIRCLE}",
    Severity.INFO: "\N{MEDIUM WHITE CIRCLE}",
}
_RESOLVED_MARK = "\N{WHITE HEAVY CHECK MARK}"
_DIGEST_MARK = "\N{CLIPBOARD}"

# What goes first where everything is too much: an alert without its links is still acted on, one without its fix is not.
_DROP_FIRST = (
    "logs query",
    "links",
    "remote addresses",
    "what this explains",
    "evidence",
    "next steps",
    "fix",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Blocks that are shown together or not at all; those without a name stay."""

    name: str = ""
    blocks: Sequence[Block]


def message(notification: Notification) -> tuple[str, list[Block]]:
    """Give the text of the notification, and the blocks that are shown in the channel."""
    return chat_line(f"{mark(notification)}: {notification.title}", MAX_FALLBACK), blocks(
        notification
    )


def blocks(notification: Notification) -> list[Block]:
    """Give blocks that Slack takes, whatever the document holds.

    All limits named above are kept. What had to be left out for them is named at the end.
    """
    parts = list(
        _alert_parts(notification)
        if isinstance(notification, Alert)
        else _notice_parts(notification)
    )
    left_out: list[str] = []
    for name in (*_DROP_FIRST, *(part.name for part in reversed(parts))):
        if _fits(parts, notification, left_out):
            break
        kept = [part for part in parts if part.name != name or not name]
        if len(kept) < len(parts):
            left_out.append(name)
            parts = kept
    return _together(parts, notification, left_out)


def _together(
    parts: Iterable[_Part], notification: Notification, left_out: Sequence[str]
) -> list[Block]:
    texts = [chat_line(f"Fingerprint {notification.fingerprint}", _MAX_LINE)]
    if left_out:
        texts.append(
            chat_line(f"Too long for Slack, see the email: {', '.join(left_out)}", _MAX_LINE)
        )
    return [
        *(block for part in parts for block in part.blocks),
        ContextBlock(elements=[_text(text) for text in texts]),
    ]


def _fits(parts: Iterable[_Part], notification: Notification, left_out: Sequence[str]) -> bool:
    together = _together(parts, notification, left_out)
    return len(together) <= MAX_BLOCKS and characters(together) <= MAX_CHARACTERS


def characters(blocks: Iterable[Block]) -> int:
    """Count the characters of the blocks' JSON, which are more than those of their texts: nobody knows what Slack counts."""
    return len(json.dumps([block.to_dict() for block in blocks], ensure_ascii=False))


# --- alerts and notices -----------------------------------------------------------------------------------------------


def _head(notification: Notification) -> Iterable[Block]:
    shown = _MARKS[notification.severity]
    if notification.status is Status.RESOLVED:
        shown = _RESOLVED_MARK
    elif notification.kind is Kind.DIGEST:
        shown = _DIGEST_MARK
    title = one_line(notification.title)
    text = (
        f"{shown} {title}"
        if notification.kind is Kind.DIGEST
        else f"{shown} {mark(notification)}: {title}"
    )
    yield HeaderBlock(text=PlainTextObject(text=shortened(text, MAX_HEADER), emoji=False))
    if notification.status_reason:
        yield _section(chat_line(notification.status_reason, _MAX_STATUS))


def _alert_parts(alert: Alert) -> Iterable[_Part]:
    yield _Part(blocks=list(_head(alert)))
    if alert.status is Status.RESOLVED:
        # What happened is over and its title says it; why it is over is in the head.
        yield _Part(
            blocks=[
                _fields(
                    [("Where", alert.scope), ("How much", how_much(alert)), ("When", when(alert))]
                )
            ]
        )
        return
    yield _Part(blocks=[_section(chat_line(alert.summary, _MAX_SUMMARY)), _fields(_facts(alert))])
    yield _Part(name="fix", blocks=_fix(alert))
    evidence = [item.detail for item in alert.evidence]
    yield _Part(name="evidence", blocks=_list("Why", evidence, _MOST_EVIDENCE))
    heading = "Sources" if alert.kind is Kind.SCAN else "Remote addresses"
    yield _Part(
        name="remote addresses",
        blocks=_columns(heading, remote_lines(alert.top_remotes, alert.remote_count)),
    )
    yield _Part(
        name="what this explains", blocks=_list("This also explains", alert.explains, _MOST_LINES)
    )
    yield _Part(name="next steps", blocks=list(_steps(alert)))
    yield _Part(name="links", blocks=_links(alert.links))
    if alert.logs_query is not None:
        yield _Part(
            name="logs query",
            blocks=_columns("The records, in CloudWatch Logs Insights", [alert.logs_query]),
        )


def _facts(alert: Alert) -> list[tuple[str, str]]:
    facts = [
        ("Severity", f"{alert.severity} - {alert.severity_reason}"),
        ("Verdict", f"{alert.verdict_caption} ({confidence_in_words(alert)})"),
        ("Where", alert.scope),
        ("Service", alert.service),
        ("How much", how_much(alert)),
        ("When", when(alert)),
    ]
    if alert.local_end is not None and alert.path is not None:
        path = alert.path if alert.path_id is None else f"{alert.path} {alert.path_id}"
        facts.append(("From/to", f"{alert.local_end}; {alert.remote_end}"))
        facts.append(("Path", "; ".join([path, *alert.notes])))
    if alert.owners:
        facts.append(("Owner", ", ".join(f"{name} {value}" for name, value in alert.owners)))
    return facts


def _notice_parts(notice: Notice) -> Iterable[_Part]:
    yield _Part(blocks=[*_head(notice), _section(chat_line(notice.summary, _MAX_SUMMARY))])
    facts = (
        [("Severity", f"{notice.severity} - {notice.severity_reason}")]
        if notice.kind is not Kind.DIGEST
        else []
    )
    if notice.interfaces or notice.account_id is not None:
        facts.append(("Where", notice.scope))
    if notice.first_seen is not None:
        facts.append(("When", when(notice)))
    if facts:
        yield _Part(blocks=[_fields(facts)])
    if notice.status is not Status.RESOLVED:
        for section in notice.sections:
            heading = shortened(one_line(section.heading), 100)
            yield _Part(
                name=heading or "section", blocks=_list(heading, section.lines, _MOST_LINES)
            )


# --- parts ------------------------------------------------------------------------------------------------------------


def _fix(alert: Alert) -> list[Block]:
    if alert.remediation is None:
        return (
            []
            if alert.remediation_reason is None
            else [_section(f"*Fix*: {chat_line(alert.remediation_reason, _MAX_LINE)}")]
        )
    commands = "\n".join(alert.remediation.commands)
    # A command that was cut, or that looks other than it is, must not be copied.
    if len(commands) > _MAX_COMMANDS or not all(
        command.isprintable() for command in alert.remediation.commands
    ):
        return [
            _section(
                "*Fix*: there is one, but its commands cannot be shown in Slack; the email has them"
            )
        ]
    which = f" for {chat_line(alert.connection, 160)}" if alert.flows > 1 else ""
    return [
        _section(f"*Fix*{which} (tried on the rules as read: the packet and its reply then pass)"),
        *_preformatted(commands),
        _section(f"Opens {chat_line(alert.remediation.opens, _MAX_LINE)}."),
    ]


def _steps(alert: Alert) -> Iterable[Block]:
    shown = alert.next_steps[:_MOST_STEPS]
    for number, step in enumerate(shown):
        # A command stands by itself, to be copied.
        prose, separator, command = step.partition("? aws ")
        heading = "" if number else "*What to look at next*\n"
        more = len(alert.next_steps) - len(shown)
        tail = f"\n... {more:,} more" if more and number == len(shown) - 1 else ""
        yield _section(f"{heading}\N{BULLET} {chat_line(prose + separator[:1], _MAX_LINE)}{tail}")
        if separator and len(command) <= _MAX_PREFORMATTED and command.isprintable():
            yield from _preformatted(f"aws {command}")


def _links(links: Sequence[Link]) -> list[Block]:
    shown = [text for link in links[:_MOST_LINKS] if (text := _link(link)) is not None]
    more = len(links) - len(shown)
    lines = [*shown, *([f"... {more:,} more"] if more and shown else [])]
    return [_section("*Where to look*: " + " \N{MIDDLE DOT} ".join(lines))] if lines else []


def _link(link: Link) -> str | None:
    # Inside <...|...> a bar or a bracket would end the address; nothing but https is ours.
    url = quote(link.url, safe=":/?#[]@!$&'()*+,;=%~", errors="replace").replace("&", "&amp;")
    if not link.url.startswith("https://") or len(url) > _MAX_LINE:
        return None
    return f"<{url}|{chat_line(link.title or 'link', 80).replace('|', '/')}>"


def _list(heading: str, lines: Sequence[str], most: int) -> list[Block]:
    """Give one section of bullets, as many lines as it holds, and how many more there are."""
    if not lines:
        return []
    text = f"*{chat_line(heading, 120)}*" if heading else ""
    taken = 0
    for line in lines[:most]:
        bullet = f"\n\N{BULLET} {chat_line(line, _MAX_LINE)}"
        if len(text) + len(bullet) > MAX_SECTION - len("\n... 1,000,000 more"):
            break
        text += bullet
        taken += 1
    more = len(lines) - taken
    return [_section(text + (f"\n... {more:,} more" if more else ""))]


def _columns(heading: str, lines: Sequence[str]) -> list[Block]:
    text = "\n".join(one_line(line) for line in lines)
    if not text.strip() or len(text) > _MAX_PREFORMATTED:
        return []
    return [_section(f"*{heading}*"), *_preformatted(text)]


def _preformatted(text: str) -> list[Block]:
    if not text:
        return []
    return [
        RichTextBlock(
            elements=[RichTextPreformattedElement(elements=[RichTextElementParts.Text(text=text)])]
        )
    ]


def _fields(facts: Sequence[tuple[str, str]]) -> Block:
    return SectionBlock(
        fields=[_text(f"*{name}*\n{chat_line(value, _MAX_FIELD)}") for name, value in facts]
    )


def _section(text: str) -> Block:
    return SectionBlock(text=_text(text))


def _text(text: str) -> MarkdownTextObject:
    return MarkdownTextObject(text=text, verbatim=True)
