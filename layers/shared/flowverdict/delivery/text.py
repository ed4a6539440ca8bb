"""Phrases that several renderers share, and text made safe for a chat's markup.

A notification holds text from log records and tags, which anyone in the account may write. A
renderer whose format has lines, or whose display follows the reading direction of its text, passes
that text through ``untrusted.one_line`` first.
"""

from __future__ import annotations

import re
from datetime import UTC
from typing import TYPE_CHECKING
from urllib.parse import quote

from flowverdict.alerts.ending import Ending
from flowverdict.alerts.lead import lead
from flowverdict.alerts.model import Alert, Kind, Status
from flowverdict.core.formatting import counted
from flowverdict.core.protocols import Protocol
from flowverdict.core.untrusted import one_line
from flowverdict.delivery.times import span
from flowverdict.verdict.model import Leg

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import tzinfo

    from flowverdict.alerts.counts import Remote
    from flowverdict.alerts.model import (
        Notice,
        Notification,
        RemediationText,
    )

    type Sizer = Callable[[str], int]


_LONG_ID = re.compile(r"\b([a-z]+-[0-9a-f]{4})[0-9a-f]{5,}([0-9a-f]{4})\b")
_ELLIPSIS = "..."

# Slack shows `:100:` in 2001:db8:100::1 as a picture, but not in a code span. A time of day is not
# a picture.
_EMOJI_CODE = re.compile(r":(?!\d\d:\d\d(?!\d))[a-z0-9_+'-]+:")
# https://docs.slack.dev/messaging/formatting-message-text#escaping; a backtick has no escape.
_CHAT_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "`": "'"})


def mark(notification: Notification) -> str:
    """Return a subject's first words: ``CRITICAL``, ``STILL CRITICAL``, ``FIXED``, ``QUIET`` ....

    An ending that an earlier version stored is not known: ``RESOLVED``.
    """
    if notification.is_withdrawn:
        return "CORRECTED"
    if notification.ending is not None:
        return notification.ending.upper()
    return {
        Status.FIRING: notification.severity.upper(),
        Status.REMINDER: f"STILL {notification.severity.upper()}",
        Status.RESOLVED: "RESOLVED",
    }[notification.status]


# One sign for each ending, unlike in shape and color. Only what is fixed has a green tick.
ENDING_SIGNS = {
    Ending.FIXED: "\N{WHITE HEAVY CHECK MARK}",
    Ending.QUIET: "\N{SPEAKER WITH CANCELLATION STROKE}",
    Ending.UNKNOWN: "\N{BLACK QUESTION MARK ORNAMENT}",
    Ending.CLOSED: "\N{RAISED HAND}",
    Ending.CORRECTED: "\N{PENCIL}",
}


def ending_sign(notification: Notification) -> str:
    """Return the sign of how the notification ended; of an unknown kind of end, that of quiet."""
    ending = Ending.CORRECTED if notification.is_withdrawn else notification.ending
    return ENDING_SIGNS[Ending.QUIET if ending is None else ending]


def confidence_in_words(alert: Alert) -> str:
    """Return the confidence, or the lowest of several and the number of flows of each."""
    if len(alert.confidences) == 1:
        return alert.confidence
    levels = ", ".join(f"{level} for {count:,}" for level, count in alert.confidences)
    return f"at least {alert.confidence}: {levels} of {alert.flows:,} flows"


def heading(notification: Notification, *, brief: bool = False) -> str:
    """Return what happened in one line, by names; of a notice its title."""
    return (
        lead(notification, brief=brief) if isinstance(notification, Alert) else notification.title
    )


def when(notification: Notification, zone: tzinfo = UTC) -> str:
    """Return the time range of the records: ``22 Nov 2026 12:00:05 to 12:00:25 UTC``."""
    return span(notification.first_seen, notification.last_seen, zone)


def how_much(alert: Alert) -> str:
    """Return the totals: ``1 flow, 1 record, 4 packets, 240 bytes``.

    Before them how much of how much that is, where it is known: ``1 of 480 inbound connections
    failed``.
    """
    totals = (
        (alert.flows, "flow"),
        (alert.records, "record"),
        (alert.packets, "packet"),
        (alert.bytes, "byte"),
    )
    failed = failed_connections(alert)
    share = "" if failed is None else f"{failed}: "
    return share + ", ".join(counted(count, noun) for count, noun in totals)


def failed_connections(alert: Alert) -> str | None:
    """Return how many connections failed of how many, where that is known."""
    if alert.connections is None or alert.connections < alert.flows:
        return None
    noun = "connection" if alert.protocol == Protocol.TCP else "flow"
    way = ""
    if alert.outbound is not None:
        # The reply goes the other way.
        way = "outbound " if alert.outbound is (alert.leg == Leg.REQUEST) else "inbound "
    least = "at least " if alert.connections_at_least else ""
    return f"{alert.flows:,} of {least}{counted(alert.connections, f'{way}{noun}')} failed"


def facts(notification: Notification, zone: tzinfo = UTC) -> dict[str, str]:
    """Return what is known about a notification, by the label that people read.

    An alert always has ``Severity``, ``Verdict``, ``Service``, ``Where``, ``When`` and ``How
    much``; ``From/to``, ``Path``, ``Names`` and ``Owner`` where they are known. A
    notice always has ``Severity``; ``Where`` and ``When`` where they are known. A renderer chooses
    the labels and their order (``chosen``).
    """
    found = {"Severity": f"{notification.severity} - {notification.severity_reason}"}
    if not isinstance(notification, Alert):
        return found | _place_and_time(notification, zone)
    found |= {
        "Verdict": f"{notification.verdict_caption} ({confidence_in_words(notification)})",
        "Service": notification.service,
        "Where": notification.scope,
        "When": when(notification, zone),
        "How much": how_much(notification),
    }
    ends = (notification.local_end, notification.remote_end)
    if known := [end for end in ends if end is not None]:
        found["From/to"] = "; ".join(known)
    if notification.path is not None:
        path = (
            notification.path
            if notification.path_id is None
            else f"{notification.path} {notification.path_id}"
        )
        found["Path"] = "; ".join([path, *notification.notes])
    elif notification.notes:
        found["Path"] = "; ".join(notification.notes)
    shown = {*notification.interfaces}  # ``From/to`` has the name of the interface
    if names := [f"{key} is {name}" for key, name in notification.names if key not in shown]:
        found["Names"] = ", ".join(names)
    if notification.owners:
        found["Owner"] = ", ".join(f"{name} {value}" for name, value in notification.owners)
    return found


def _place_and_time(notice: Notice, zone: tzinfo) -> dict[str, str]:
    found = {}
    if notice.interfaces or notice.account_id is not None:
        found["Where"] = notice.scope
    if notice.first_seen is not None:
        found["When"] = when(notice, zone)
    return found


# Notices about many alerts, which nobody has to act on.
REPORTS = frozenset({Kind.DIGEST, Kind.WEEKLY_SUMMARY, Kind.ENDS})
# What a reader needs before the fix, and what comes last, small: ids, and words on the words.
FIRST_FACTS = ("When", "How much", "Severity", "Verdict", "Owner")
LAST_FACTS = ("From/to", "Path", "Service", "Where", "Names")
ENDED_FACTS = ("When", "How much", "Where")
NOTICE_FACTS = ("Severity", "When", "Where")


def notice_facts(notice: Notice, zone: tzinfo = UTC) -> list[tuple[str, str]]:
    """Return the facts of a notice; a report covers alerts of all severities, so it shows none."""
    labels = NOTICE_FACTS[1:] if notice.kind in REPORTS else NOTICE_FACTS
    return chosen(facts(notice, zone), labels)


def chosen(found: dict[str, str], labels: Sequence[str]) -> list[tuple[str, str]]:
    """Return the facts with these labels, in the order of the labels, where they are known."""
    return [(label, found[label]) for label in labels if label in found]


# The evidence that decides, by verdict: it is read first.
_DECIDES: Mapping[str, tuple[str, ...]] = {
    "network-acl": ("network-acl-denies", "tcp-syn-ack", "request-accepted"),
    "security-group": ("security-groups-deny",),
    "network-acl-and-security-group": ("network-acl-denies", "security-groups-deny"),
    "network-acl-or-security-group": ("rules-unclear", "rules-not-read"),
    "block-public-access": ("reject-reason", "block-public-access-on"),
    "encryption-controls": ("reject-reason", "encryption-status"),
    "closed-connection": ("connection-ended", "tcp-late-packet", "connection-accepted"),
    "rules-allow": ("network-acl-allows", "security-groups-allow"),
    "undetermined": ("conflict", "rules-unclear"),
}
# Evidence that holds for most flows, whatever rejected them: it is read last.
_BACKGROUND = {"reject-reason", "private-addresses", "not-a-connection", "no-endpoint"}


def reasons(alert: Alert) -> list[str]:
    """Return the evidence as sentences: what decides first, what rules out others last."""
    decides = _DECIDES.get(alert.verdict, ())

    def rank(kind: str) -> int:
        if kind in decides:
            return decides.index(kind)
        return len(decides) + (1 if kind in _BACKGROUND else 0)

    return [item.detail for item in sorted(alert.evidence, key=lambda item: rank(item.kind))]


_FINGERPRINT = re.compile(r"[0-9a-f]{32}")
# Reports and the limit of an hour are about no problem that could be looked up or silenced.
_NOT_STORED_BY_NAME = {*REPORTS, Kind.RATE_LIMITED}


def way_back(notification: Notification) -> list[str]:
    """Return the commands that look the problem up and silence it; what is over is not silenced."""
    fingerprint = notification.fingerprint
    if notification.kind in _NOT_STORED_BY_NAME or not _FINGERPRINT.fullmatch(fingerprint):
        return []
    show = f"flowverdict alerts show {fingerprint}"
    silence = f'flowverdict alerts silence {fingerprint} --for 4h --reason "..."'
    return [show] if notification.is_over else [show, silence]


def remotes_heading(alert: Alert) -> str:
    """Return the heading of the remote addresses: those of a scan are its sources."""
    return "Sources" if alert.kind is Kind.SCAN else "Remote addresses"


def remote_lines(remotes: Sequence[Remote], count: int) -> list[str]:
    """Return a line for each remote address, in columns, and a line that counts the rest."""
    width = max((len(remote.address) for remote in remotes), default=0)
    lines = [
        f"{remote.address:<{width}}  "
        f"{counted(remote.flows, 'flow')}, {counted(remote.packets, 'packet')}"
        for remote in remotes
    ]
    more = count - len(remotes)
    return [*lines, f"and {more:,} more"] if more > 0 else lines


def copyable_commands(remediation: RemediationText, most: int | None = None) -> str | None:
    """Return the commands of a fix as lines to copy, or ``None`` if they must not be copied.

    A command that is cut off, or that looks different from what it is (control characters, reading
    direction), must not be copied. ``most`` is the number of characters that fit, the shared
    commands included, which ``shared_commands`` returns.
    """
    every = (*remediation.shared, *remediation.commands)
    if most is not None and len("\n".join(every)) > most:
        return None
    return "\n".join(remediation.commands) if all(map(str.isprintable, every)) else None


def shared_commands(remediation: RemediationText) -> tuple[str, str] | None:
    """Return what to say of the commands that another fix offers too, and the commands as lines.

    ``None`` without such commands. Each alert is read by itself, so the reader is not sent to
    another message: whoever has not run the command runs it here.
    """
    if not remediation.shared:
        return None
    what, each = (
        ("this command", "it") if len(remediation.shared) == 1 else ("these commands", "each")
    )
    note = (
        f"The fix for {remediation.shared_with or 'another problem'} offers {what} too. Run {each} "
        "once: where that is done, EC2 answers Duplicate or AlreadyExists, and nothing changes."
    )
    return note, "\n".join(remediation.shared)


def fix_heading(remediation: RemediationText) -> str:
    """Return the heading of a fix: how it is meant, and where it was tried."""
    label = "Fix" if remediation.if_wanted is None else "If this is wanted"
    tried = (
        "tried on the rules as read: packets and replies then pass"
        if remediation.verified
        else "tried on this side"
    )
    return f"{label} ({tried})"


def fix_notes(remediation: RemediationText) -> list[str]:
    """Return what a reader must know of a fix, one sentence each, the most important first."""
    reason, manager, opens = remediation.if_wanted, remediation.managed_by, remediation.opens
    return [
        *([] if reason is None else [f"{reason[:1].upper()}{reason[1:]}."]),
        *([] if manager is None else [f"Managed by {manager}: change it there."]),
        # Fixes that an earlier version stored name what they open without a verb.
        f"This {opens}." if opens.startswith("lets ") else f"Opens {opens}.",
        *([] if remediation.verified else [f"{note}." for note in _untried(remediation)]),
    ]


def _untried(remediation: RemediationText) -> list[str]:
    notes = [note for note in remediation.tried if "not tried" in note]
    return [f"{note[:1].upper()}{note[1:]}" for note in notes]


def short_undo(remediation: RemediationText) -> str | None:
    """Return the command that takes a fix back, for a chat; ``None`` if there are several."""
    if len(remediation.undo) != 1 or not remediation.undo[0].isprintable():
        return None
    return remediation.undo[0]


def split_command(step: str) -> tuple[str, str | None]:
    """Split a next step into its prose and the AWS CLI command at its end."""
    prose, separator, command = step.partition("? aws ")
    return (f"{prose}?", f"aws {command}") if separator else (prose, None)


def short_ids(text: str) -> str:
    """Return the text with ids that lack their middle: ``sg-0ccc..0003``."""
    return _LONG_ID.sub(r"\1..\2", text)


def shortened(text: str, limit: int) -> str:
    """Return at most ``limit`` characters: ids lose their middle first, then the end is cut off."""
    if len(text) > limit:
        text = short_ids(text)
    return text if len(text) <= limit else text[: limit - len(_ELLIPSIS)] + _ELLIPSIS


def chat_line(text: str, limit: int) -> str:
    """Return 1 to ``limit`` characters on one line of a chat's markup.

    The text holds no mention, link or code block. ``limit`` is at least 30, which is what an
    ellipsis takes at most.
    """
    return escaped_line(text, limit, _chat_escaped, widest=5)


def escaped_line(
    text: str, limit: int, escape: Callable[[str], str], *, widest: int, size: Sizer = len
) -> str:
    """Return one escaped line of at most ``limit`` by ``size``; an empty text becomes ``-``.

    The text is cut before it is escaped, so that entities and code spans stay whole. ``widest`` is
    the size of the widest character after its escape.
    """
    text = one_line(text).strip() or "-"
    shown = escape(text)
    while (excess := size(shown) - limit) > 0:
        text = shortened(text, max(len(text) - max(excess // widest, 1), len(_ELLIPSIS) + 1))
        shown = escape(text)
    return shown


def safe_url(url: str) -> str | None:
    """Return an ``https`` address that ends neither a markup's link nor its attribute.

    All our links are ``https``; of any other address the result is ``None``.
    """
    if not url.startswith("https://"):
        return None
    return quote(url, safe=":/?#[]@!$&'()*+,;=%~", errors="replace")


def _chat_escaped(text: str) -> str:
    words = text.translate(_CHAT_ESCAPES).split(" ")
    return " ".join(f"`{word}`" if _EMOJI_CODE.search(word) else word for word in words)
