"""Render a notification as a Slack message: what happened, the commands to copy, why, the rest.

What a reader needs in the first fifteen seconds fits the first screen of a telephone: who, what,
since when, and the fix. Ids and the rest are small, at the end.

Limits of Block Kit: 150 characters in a header
(https://docs.slack.dev/reference/block-kit/blocks/header-block), 3,000 in a section's text, 10
fields of 2,000 (https://docs.slack.dev/reference/block-kit/blocks/section-block), 50 blocks in a
message. Slack also refuses messages whose blocks together are too long (``msg_blocks_too_long``),
which was seen near 13,200 characters (https://github.com/slackapi/bolt-js/issues/2509); the limit
here is 12,000 characters of JSON.

Only attachments have a colored bar (https://docs.slack.dev/legacy/legacy-messaging/
legacy-secondary-message-attachments). The header stands before them as a block, because with blocks
the ``text`` is for notifications alone. An attachment has a color and blocks and nothing else:
Slack refuses blocks beside the older keys (https://github.com/slackapi/bolt-js/issues/717), and
more than 20 blocks in one attachment (https://github.com/slackapi/bolt-python/issues/914). Clients
fold long attachments (https://github.com/nathanheffley/laravel-slack-blocks/issues/15), so each has
few blocks, and the fix stands in the first.

Notifications hold text that anyone in the account may write, such as tags. In ``mrkdwn`` that text
is escaped (https://docs.slack.dev/messaging/formatting-message-text#escaping) and not parsed for
mentions (``verbatim``). Commands to copy are preformatted rich text, in which Slack parses nothing
(https://docs.slack.dev/reference/block-kit/blocks/rich-text-block).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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

from flowverdict.alerts.ending import Ending
from flowverdict.alerts.model import Alert, Kind, Severity
from flowverdict.core.formatting import counted
from flowverdict.core.untrusted import one_line
from flowverdict.delivery.message_settings import DEFAULTS, MessageSettings
from flowverdict.delivery.parts import Part, fitting
from flowverdict.delivery.record_links import further_links
from flowverdict.delivery.shown_ids import with_shown_ids
from flowverdict.delivery.slack_buttons import buttons
from flowverdict.delivery.text import (
    REPORTS,
    chat_line,
    chosen,
    confidence_in_words,
    copyable_commands,
    ending_sign,
    facts,
    failed_connections,
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
    short_ids,
    short_undo,
    shortened,
    split_command,
    way_back,
)
from flowverdict.delivery.times import slack_moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from flowverdict.alerts.model import Link, Notice, Notification


MAX_HEADER = HeaderBlock.text_max_length
MAX_SECTION = SectionBlock.text_max_length
MAX_BLOCKS = 50
MAX_CHARACTERS = 12_000
MAX_FALLBACK = 300  # characters; a phone's notification shows fewer
MAX_ATTACHED = 5  # blocks in an attachment

# Parts that are never left out must fit together: head, status and the last lines are below 6,000
# characters of JSON, even if each character needs an escape.
_MAX_STATUS = 400
_MAX_SUMMARY = 1_000
_MAX_FACT = 240
_MAX_LINK = 2_000
_MAX_COMMANDS = 2_500
_MAX_LINE = 400
_MAX_PREFORMATTED = 2_000
_MOST_EVIDENCE = 2  # with the summary before them
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
_DIGEST_MARK = "\N{CLIPBOARD}"
_COLORS = {
    Severity.CRITICAL: "#d0021b",
    Severity.HIGH: "#f5841f",
    Severity.MEDIUM: "#f2c744",
    Severity.LOW: "#2f80ed",
    Severity.INFO: "#9aa0a6",
}
# Only what is fixed is green. What nobody knows is not as calm as what was quiet.
_ENDED_COLORS = {
    Ending.FIXED: "#2eb67d",
    Ending.QUIET: "#9aa0a6",
    Ending.UNKNOWN: "#7b4fb5",
    Ending.CLOSED: "#6b7280",
    Ending.CORRECTED: "#6b7280",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Updated:
    """When a message was first posted, and when its text was replaced, in Unix seconds."""

    first_at: int
    now: int


def render(notification: Notification, settings: MessageSettings = DEFAULTS) -> str:
    """Return the message as one line of JSON."""
    return json.dumps(message(notification, settings))


def message(
    notification: Notification,
    settings: MessageSettings = DEFAULTS,
    updated: Updated | None = None,
) -> dict[str, object]:
    """Return the message; ``updated`` says that the text replaces that of an earlier message."""
    return _with_bar(notification, blocks(notification, settings, updated))


def reply(notification: Notification) -> dict[str, object]:
    """Return a reply in the thread of a problem: the news, since the first message has the rest."""
    shown = with_shown_ids(notification)
    return _with_bar(notification, list(_news(shown)))


def color(notification: Notification) -> str:
    """Return the color of a notification's bar: of its severity, or of how it ended."""
    if not notification.is_over:
        return _COLORS[notification.severity]
    ending = Ending.CORRECTED if notification.is_withdrawn else notification.ending
    return _ENDED_COLORS[Ending.QUIET if ending is None else ending]


def _with_bar(notification: Notification, every: Sequence[Block]) -> dict[str, object]:
    """Return the header, the other blocks behind a bar, and the ``text`` of the notification."""
    happened = heading(with_shown_ids(notification))
    head, *rest = (block.to_dict() for block in every)
    return {
        "text": chat_line(f"{mark(notification)}: {happened}", MAX_FALLBACK),
        "blocks": [head],
        "attachments": [{"color": color(notification), "blocks": some} for some in _attached(rest)],
    }


def _attached(blocks: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Yield the blocks of each attachment; what stands before a command stays with the command."""
    some: list[dict[str, Any]] = []
    for block in blocks:
        if len(some) == MAX_ATTACHED:
            is_command = block["type"] == "rich_text" != some[-1]["type"]
            kept = [some.pop()] if is_command else []
            yield some
            some = kept
        some.append(block)
    if some:
        yield some


def blocks(
    notification: Notification,
    settings: MessageSettings = DEFAULTS,
    updated: Updated | None = None,
) -> list[Block]:
    """Return the blocks of any notification, within all limits of the module's docstring.

    The first block is the header. The last block names the parts that were left out.
    """
    notification = with_shown_ids(notification)
    parts = list(
        _alert_parts(notification, settings)
        if isinstance(notification, Alert)
        else _notice_parts(notification, settings)
    )
    if updated is not None:
        parts.insert(1, Part(elements=[_history(notification, updated)]))

    def fits(remaining: Sequence[Part[Block]], left_out: Sequence[str]) -> bool:
        together = _together(remaining, notification, left_out, settings)
        return len(together) <= MAX_BLOCKS and characters(together) <= MAX_CHARACTERS

    remaining, left_out = fitting(parts, fits)
    return _together(remaining, notification, left_out, settings)


def _together(
    parts: Iterable[Part[Block]],
    notification: Notification,
    left_out: Sequence[str],
    settings: MessageSettings,
) -> list[Block]:
    commands = way_back(notification)
    texts = [] if commands else [f"Fingerprint {notification.fingerprint}"]
    if left_out:
        texts.append(f"Too long for Slack, see the email: {', '.join(left_out)}")
    small = "\n".join(chat_line(text, _MAX_LINE) for text in texts)
    return [
        *(block for part in parts for block in part.elements),
        *([ContextBlock(elements=[_text(small)])] if small else []),
        *_preformatted("\n".join(commands)),
        *(buttons(notification) if settings.buttons else []),
    ]


def characters(blocks: Iterable[Block]) -> int:
    """Count the characters of the blocks' JSON, since Slack does not document what it counts."""
    return len(json.dumps([block.to_dict() for block in blocks], ensure_ascii=False))


# --- alerts and notices ---------------------------------------------------------------------------


def _head(notification: Notification) -> Iterable[Block]:
    shown = _MARKS[notification.severity]
    if notification.is_over:
        shown = ending_sign(notification)
    elif notification.kind in REPORTS:
        shown = _DIGEST_MARK
    happened = one_line(heading(notification))
    text = (
        f"{shown} {happened}"
        if notification.kind in REPORTS and not notification.is_over
        else f"{shown} {mark(notification)}: {happened}"
    )
    yield HeaderBlock(text=PlainTextObject(text=shortened(text, MAX_HEADER), emoji=False))
    if notification.status_reason:
        yield _section(chat_line(notification.status_reason, _MAX_STATUS))


def _news(notification: Notification) -> Iterable[Block]:
    """Return what every message has: what happened, since when, or in short what it means."""
    yield from _head(notification)
    yield (
        _since(notification)
        if isinstance(notification, Alert)
        else _section(chat_line(notification.summary, _MAX_SUMMARY))
    )


def _history(notification: Notification, updated: Updated) -> Block:
    """Return when a message was first posted and when the text was replaced, as small print."""
    now = "Updated"
    if notification.is_over:
        now = mark(notification).capitalize()
    first_at, at = slack_moment(updated.first_at), slack_moment(updated.now)
    return ContextBlock(elements=[_text(f"First told {first_at} \N{MIDDLE DOT} {now} {at}")])


def _alert_parts(alert: Alert, settings: MessageSettings) -> Iterable[Part[Block]]:
    yield Part(elements=list(_news(alert)))
    if not alert.is_over:
        yield Part(name="fix", elements=_fix(alert))
        yield Part(name="next steps", elements=list(_steps(alert)))
        # Where a rule blocks, the summary has the deciding evidence already.
        why = [alert.summary, *reasons(alert)[0 if alert.blocker is None else 1 :]]
        yield Part(name="evidence", elements=_list("Why", why, 1 + _MOST_EVIDENCE))
        yield Part(
            name="what this explains",
            elements=_list("This also explains", alert.explains, _MOST_LINES),
        )
    links = (*further_links(alert, settings), *(() if alert.is_over else alert.links))
    yield Part(name="links", elements=_links(links))
    if alert.is_over:
        # The header says what has ended, and the head says how.
        yield Part(name="details", elements=_details(chosen(facts(alert), ("Where",))))
        return
    if alert.remote_count > 1:
        remotes = remote_lines(alert.top_remotes, alert.remote_count)
        yield Part(name="remote addresses", elements=_columns(remotes_heading(alert), remotes))
    labels = ("Severity", "From/to", "Path", "Where", "Names")
    yield Part(name="details", elements=_details(chosen(facts(alert), labels)))


def _since(alert: Alert) -> Block:
    """Return since when, how much of how much, how sure and whose, in one line."""
    known = [
        failed_connections(alert)
        or f"{counted(alert.flows, 'flow')}, {counted(alert.packets, 'packet')}",
        f"{alert.verdict_caption}, {confidence_in_words(alert)}",
    ]
    if alert.owners:
        known.append(", ".join(f"{name} {value}" for name, value in alert.owners))
    rest = " \N{MIDDLE DOT} ".join(chat_line(text, _MAX_FACT) for text in known)
    return _section(f"*Since* {_range(alert, ', last seen ')}\n{rest}")


def _range(notification: Notification, between: str) -> str:
    """Return when it began and was seen last; once where a reader sees no difference."""
    times = (slack_moment(notification.first_seen), slack_moment(notification.last_seen))
    minutes = {
        None if seconds is None else seconds // 60
        for seconds in (notification.first_seen, notification.last_seen)
    }
    return times[0] if len(minutes) == 1 else between.join(times)


def _details(known: Sequence[tuple[str, str]]) -> list[Block]:
    """Return facts as small print, a line each."""
    lines = [f"{name}: {chat_line(value, _MAX_FACT)}" for name, value in known]
    return [ContextBlock(elements=[_text("\n".join(lines))])] if lines else []


def _notice_parts(notice: Notice, settings: MessageSettings) -> Iterable[Part[Block]]:
    yield Part(elements=list(_news(notice)))
    if not notice.is_over or notice.kind is Kind.ENDS:
        for section in notice.sections:
            title = shortened(one_line(section.heading), 100)
            yield Part(name=title or "section", elements=_list(title, section.lines, _MOST_LINES))
    yield Part(name="links", elements=_links(further_links(notice, settings)))
    known = dict(notice_facts(notice))
    if "When" in known:
        del known["When"]
        yield Part(elements=[ContextBlock(elements=[_text(f"When: {_range(notice, ' to ')}")])])
    yield Part(name="details", elements=_details(list(known.items())))


# --- parts ----------------------------------------------------------------------------------------


def _fix(alert: Alert) -> list[Block]:
    if alert.remediation is None:
        return (
            []
            if alert.remediation_reason is None
            else [_section(f"*Fix*: {chat_line(alert.remediation_reason, _MAX_LINE)}")]
        )
    commands = copyable_commands(alert.remediation, _MAX_COMMANDS)
    if commands is None:
        return [
            _section(
                "*Fix*: there is one, but its commands cannot be shown in Slack; the email has them"
            )
        ]
    notes = [chat_line(note, _MAX_LINE) for note in fix_notes(alert.remediation)]
    undo, shared = short_undo(alert.remediation), shared_commands(alert.remediation)
    return [
        _section(f"*{fix_heading(alert.remediation)}*"),
        *_preformatted(commands),
        *([] if shared is None else _shared(*shared)),
        _section("\n".join(notes)),
        *([] if undo is None or len(undo) > _MAX_COMMANDS else _undo(undo)),
    ]


def _shared(note: str, commands: str) -> list[Block]:
    return [_section(chat_line(note, _MAX_LINE)), *_preformatted(commands)]


def _undo(command: str) -> list[Block]:
    return [_section("*Undo*"), *_preformatted(command)]


def _steps(alert: Alert) -> Iterable[Block]:
    shown = alert.next_steps[:_MOST_STEPS]
    more = len(alert.next_steps) - len(shown)
    for number, step in enumerate(shown):
        prose, command = split_command(step)
        title = "" if number else "*What to look at next*\n"
        tail = f"\n... {more:,} more" if more and number == len(shown) - 1 else ""
        yield _section(f"{title}\N{BULLET} {chat_line(prose, _MAX_LINE)}{tail}")
        if (
            command is not None
            and len(command) <= _MAX_PREFORMATTED + len("aws ")
            and command.isprintable()
        ):
            yield from _preformatted(command)


def _links(links: Sequence[Link]) -> list[Block]:
    text, between, count = "*Where to look*: ", " \N{MIDDLE DOT} ", 0
    for shown in filter(None, map(_link, links[:_MOST_LINKS])):
        if len(text) + len(between) + len(shown) > MAX_SECTION - len(" ... 1,000 more"):
            break
        text += f"{between if count else ''}{shown}"
        count += 1
    more = len(links) - count
    return [_section(text + (f"{between}... {more:,} more" if more else ""))] if count else []


def _link(link: Link) -> str | None:
    # Inside <...|...> a bar or a bracket would end the address.
    url = safe_url(link.url)
    if url is None or len(url := url.replace("&", "&amp;")) > _MAX_LINK:
        return None
    title = chat_line(short_ids(link.title or "link"), 80).replace("|", "/")
    return f"<{url}|{title}>"


def _list(title: str, lines: Sequence[str], most: int) -> list[Block]:
    """Return one section of bullets: as many lines as fit, and the number of lines left out."""
    if not lines:
        return []
    text = f"*{chat_line(title, 120)}*" if title else ""
    count = 0
    for line in lines[:most]:
        bullet = f"\n\N{BULLET} {chat_line(line, _MAX_LINE)}"
        if len(text) + len(bullet) > MAX_SECTION - len("\n... 1,000,000 more"):
            break
        text += bullet
        count += 1
    more = len(lines) - count
    return [_section(text + (f"\n... {more:,} more" if more else ""))]


def _columns(title: str, lines: Sequence[str]) -> list[Block]:
    text = "\n".join(one_line(line) for line in lines)
    if not text.strip() or len(text) > _MAX_PREFORMATTED:
        return []
    return [_section(f"*{title}*"), *_preformatted(text)]


def _preformatted(text: str) -> list[Block]:
    if not text:
        return []
    return [
        RichTextBlock(
            elements=[RichTextPreformattedElement(elements=[RichTextElementParts.Text(text=text)])]
        )
    ]


def _section(text: str) -> Block:
    return SectionBlock(text=_text(text))


def _text(text: str) -> MarkdownTextObject:
    return MarkdownTextObject(text=text, verbatim=True)
