"""The alert as an email: plain text, since SNS sends nothing else (https://docs.aws.amazon.com/sns/latest/dg/sns-email-notifications.html)."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from flowverdict.alerts import scope
from flowverdict.wording import caption, connection, counted, isoformat, next_steps, sentence

if TYPE_CHECKING:
    from flowverdict.alerts import Alert

# SNS: fewer than 100 characters, no line breaks, no control characters; ASCII is safe everywhere.
MAX_SUBJECT = 99
_WIDTH = 100


def subject(alert: Alert) -> str:
    """Give a subject that can be triaged unread, at most 99 printable ASCII characters."""
    text = f"[flowverdict {alert.severity.upper()}] {alert.title}"
    text = "".join(character if character.isascii() and character.isprintable() else "?" for character in text)
    return text if len(text) <= MAX_SUBJECT else f"{text[: MAX_SUBJECT - 3]}..."


def body(alert: Alert) -> str:
    """Give the text a person reads: what, why, how sure, where, how much, who, and what next."""
    blocks = [
        _wrapped(sentence(alert.explanation)),
        "\n".join(
            [
                _row("Severity", f"{alert.severity} - {alert.severity_reason}"),
                _row("Verdict", f"{caption(alert.key.verdict)} ({_confidence_in_words(alert)})"),
                _row("Service", alert.service),
                _row("Where", scope(alert)),
                _row("When", _when(alert)),
                _row("How much", _how_much(alert)),
                *_places(alert),
                *_no_fix(alert),
            ]
        ),
        _fix(alert),
        "Why\n" + "\n".join(_item(item.detail) for item in alert.evidence) if alert.evidence else "",
        "Remote addresses\n" + "\n".join(_remotes(alert)) if alert.remotes else "",
        _listed("What to look at next", next_steps(alert.explanation)),
        f"Fingerprint {alert.key.fingerprint}",
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _listed(heading: str, texts: tuple[str, ...]) -> str:
    return "\n".join([heading, *(_item(text) for text in texts)]) if texts else ""


def _places(alert: Alert) -> list[str]:
    ends = alert.explanation.ends
    if ends is None:
        return []
    path = ends.path if ends.path_id is None else f"{ends.path} {ends.path_id}"
    return [_row("From/to", f"{ends.local}; {ends.remote}"), _row("Path", "; ".join([path, *ends.notes]))]


def _no_fix(alert: Alert) -> list[str]:
    remedy = alert.explanation.remedy
    return [_row("Fix", remedy)] if isinstance(remedy, str) else []


def _fix(alert: Alert) -> str:
    remedy = alert.explanation.remedy
    if isinstance(remedy, str):
        return ""
    commands = [f"    {command}" for command in remedy.commands(alert.key.region)]
    which = f" for {connection(alert.explanation.flow)}" if alert.flows > 1 else ""
    heading = f"Fix{which} (tried on the rules as read: the packet and its reply then pass)"
    return "\n".join([heading, *commands, _item(f"Opens {remedy.opens}.")])


def _confidence_in_words(alert: Alert) -> str:
    if len(alert.confidences) == 1:
        return alert.confidence
    levels = ", ".join(f"{level} for {count:,}" for level, count in alert.confidences)
    return f"at least {alert.confidence}: {levels} of {alert.flows:,} flows"


def _when(alert: Alert) -> str:
    first, last = isoformat(alert.first_seen), isoformat(alert.last_seen)
    return f"{first or 'unknown'} to {last or 'unknown'}"


def _how_much(alert: Alert) -> str:
    totals = ((alert.flows, "flow"), (alert.records, "record"), (alert.packets, "packet"), (alert.bytes, "byte"))
    return ", ".join(counted(count, noun) for count, noun in totals)


def _remotes(alert: Alert) -> list[str]:
    width = max(len(one.address) for one in alert.remotes)
    lines = [f"  {one.address:<{width}}  {counted(one.flows, 'flow')}, {counted(one.packets, 'packet')}" for one in alert.remotes]
    more = alert.remote_count - len(alert.remotes)
    return [*lines, f"  and {more:,} more"] if more else lines


def _row(name: str, value: str) -> str:
    return textwrap.fill(
        value, _WIDTH, initial_indent=f"{name:<10}", subsequent_indent=" " * 10, break_long_words=False, break_on_hyphens=False
    )


def _item(text: str) -> str:
    # A command on a line of its own can be copied whole.
    prose, separator, command = text.partition("? aws ")
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
    return textwrap.fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
