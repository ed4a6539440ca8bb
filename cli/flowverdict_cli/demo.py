"""``flowverdict demo``: the sample events in short, what was seen, and what to try next."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import click
from rich.console import Console

from flowverdict.alerts.model import Alert, Kind, Severity
from flowverdict.core.formatting import counted
from flowverdict.core.untrusted import one_line
from flowverdict.delivery.text import mark
from flowverdict_cli.answer import STYLES, Line, folded
from flowverdict_cli.local_aws import local_aws
from flowverdict_cli.replay import OBJECTS_FOLDER, demo_events, load_event, outcome_in_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flowverdict.alerts.model import Notification

SHORT = "short"
_WIDEST = 100  # columns
_LABEL = 10
_TRY = (
    ("flowverdict demo --output email", "as whole emails; also slack, json ..."),
    ("flowverdict explain FILE...", "your own flow logs"),
    ("flowverdict explain --account FILE...", "with the rules of your AWS account"),
    ("flowverdict report FILE... -o page.html", "the same as a page"),
    ("flowverdict replay --account EVENT.json", "the alerts of your own events"),
    ("sam deploy --guided", "the stack in your account (README.md)"),
)


def run() -> bool:
    """Replay the sample events, print their alerts in short; return whether nothing failed."""
    columns = shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else 80
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)

    def show(lines: Iterator[Line]) -> None:
        for line in lines:
            for text in folded(line, min(columns, _WIDEST)):
                console.print(text, style=line.style or None)

    seen: list[Notification] = []
    failed = False
    events = demo_events()
    with local_aws() as aws:
        aws.make_samples()
        for path in events:
            event = load_event(path)
            aws.put_objects_of(event, path.parent / OBJECTS_FOLDER)
            invocation = aws.invoke(event)
            notifications = aws.notifications()
            seen += notifications
            show(_of_event(outcome_in_words(path, invocation, len(notifications)), notifications))
            for problem in invocation.failures:
                failed = True
                click.echo(one_line(f"flowverdict: {path}: {problem}"), err=True)
        aws.later()
        show(_later(aws.notifications()))
    show(_end(seen))
    return not failed


def _of_event(outcome: str, notifications: Sequence[Notification]) -> Iterator[Line]:
    yield Line(outcome, "bold")
    for notification in notifications:
        yield Line(
            f"{mark(notification):<{_LABEL}}{one_line(notification.title)}",
            STYLES[notification.severity],
            indent=_LABEL,
        )
        yield Line(f"{'':<{_LABEL}}{one_line(notification.summary)}", indent=_LABEL)
        if isinstance(notification, Alert) and notification.remediation is not None:
            command = notification.remediation.commands[0]
            yield Line(f"{'':<{_LABEL}}Fix: {one_line(command)}", indent=_LABEL)
    yield Line()


def _later(notifications: Sequence[Notification]) -> Iterator[Line]:
    ended = [each for each in notifications if isinstance(each, Alert)]
    yield Line("Later, when the flow logs show nothing more of them", "bold")
    for alert in ended:
        yield Line(f"{mark(alert):<{_LABEL}}{one_line(alert.title)}", indent=_LABEL)
    for notice in notifications:
        if not isinstance(notice, Alert) and notice.kind is not Kind.ENDS:
            yield Line(f"{'DIGEST':<{_LABEL}}{one_line(notice.title)}", indent=_LABEL)
    yield Line()


def _end(seen: Sequence[Notification]) -> Iterator[Line]:
    severe = sum(each.severity.rank <= Severity.HIGH.rank for each in seen)
    fixes = sum(isinstance(each, Alert) and each.remediation is not None for each in seen)
    yield Line("What you have seen", "bold")
    yield Line(
        "- The functions that the stack deploys read two deliveries of flow logs. moto stood for "
        "AWS.",
        indent=2,
    )
    yield Line(
        f"- {counted(len(seen), 'message')}, {severe:,} of them urgent. {fixes:,} have a fix, which"
        " was tried on the rules before it was offered.",
        indent=2,
    )
    yield Line("- What nobody has to act on makes no message: the daily digest has it.", indent=2)
    yield Line()
    yield Line("What to try next", "bold")
    width = max(len(command) for command, _ in _TRY)
    for command, what in _TRY:
        yield Line(f"  {command:<{width}}  {what}", fold=False)
