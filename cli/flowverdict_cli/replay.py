"""``flowverdict replay`` and ``demo``: pass events to the real handlers and show their alerts."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

import flowverdict
from flowverdict.alerts.model import Kind, Notice
from flowverdict.app.observability import LogCount
from flowverdict.core.errors import DeliveryError, FlowVerdictError
from flowverdict.core.formatting import counted
from flowverdict.core.untrusted import one_line
from flowverdict.delivery.channels import load_channel
from flowverdict.delivery.renderers import RENDERERS
from flowverdict.delivery.webhook import Webhook
from flowverdict.flowlog.records import DEFAULT_FORMAT
from flowverdict_cli.explain import console_for_stdout
from flowverdict_cli.local_aws import local_aws
from flowverdict_cli.replay_rules import has_records, rules_in_place

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from flowverdict.alerts.model import Notification
    from flowverdict.verdict.batch import FixedConfig
    from flowverdict_cli.local_aws import Email, Invocation, LocalAws


OBJECTS_FOLDER = "objects"
# First a delivery through the queue, then a log stream, in the order of
# docs/how-to/replay-an-incident.md.
DEMO_EVENTS = ("sqs-s3-delivery.json", "cloudwatch-logs.json")


def demo_events() -> list[Path]:
    """Return the sample events that ``demo`` replays.

    Raises
    ------
    FlowVerdictError
        The package is installed without the project around it.
    """
    folder = Path(flowverdict.__file__).resolve().parents[3] / "events"
    paths = [folder / name for name in DEMO_EVENTS]
    for path in paths:
        if not path.is_file():
            raise FlowVerdictError(f"the demo needs the project's checkout: no {path}")
    return paths


def load_event(path: Path) -> dict[str, Any]:
    """Read an event file.

    Raises
    ------
    FlowVerdictError
        The file does not exist, or is not a JSON object.
    """
    try:
        event = json.loads(path.read_bytes())
    except OSError as error:
        raise FlowVerdictError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    except ValueError as error:
        raise FlowVerdictError(f"{path}: not an event: not JSON: {error}") from error
    if not isinstance(event, dict):
        raise FlowVerdictError(f"{path}: not an event: a JSON {type(event).__name__}")
    return event


def _environment(log_format: str | None) -> dict[str, str]:
    """Return the environment variables that ``--log-format`` sets for the functions."""
    if log_format is None:
        return {}
    return {"LOG_FORMAT": " ".join(DEFAULT_FORMAT.names) if log_format == "default" else log_format}


_LINE_WIDTH = 100  # as wide as an email's text
_COUNTED = (
    ("accepted", "accepted"),
    ("rejected", "rejected"),
    ("no_data", "NODATA"),
    ("skip_data", "SKIPDATA"),
    ("no_action", "action-less"),
    ("transit_gateway", "transit gateway"),
    ("malformed", "malformed"),
)
_BORDERS = {
    "CRITICAL": "bold red",
    "HIGH": "red",
    "MEDIUM": "yellow",
    "LOW": "blue",
    "INFO": "green",
}
# Only what is fixed is green.
_ENDED = {"FIXED": "green", "QUIET": "white", "UNKNOWN": "yellow", "CORRECTED": "white"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Events to the real handlers, and their alerts on standard output.

    Parameters
    ----------
    output
        ``json``, or the name of a renderer.
    webhooks
        Addresses to post the alerts to, by the name of their channel.
    later
        Whether time passes after the last event.
    rules
        The rules that the functions read, in place of those of the sample VPC.
    """

    objects: Path | None = None
    log_format: str | None = None
    output: str = "email"
    webhooks: Mapping[str, str] = field(default_factory=dict)
    later: bool = False
    verbose: bool = False
    rules: FixedConfig | None = None

    def run(self, events: Sequence[Path]) -> bool:
        """Replay the events in their order; return whether nothing failed.

        Raises
        ------
        FlowVerdictError
            An event file cannot be read, or the webhook's address is not valid.
        """
        loaded = [(path, load_event(path)) for path in events]
        webhooks = [Webhook(load_channel(name), address) for name, address in self.webhooks.items()]
        console = console_for_stdout()
        failed = False
        with local_aws() as aws, rules_in_place(self.rules):
            for path, event in loaded:
                if has_records(event):
                    aws.make_samples()
                failed |= self._replay_event(aws, console, path, event, webhooks)
            if self.later:
                aws.later()
                if self.output == "email":
                    show_later(console, aws.emails())
                for problem in self._show(aws.notifications(), webhooks):
                    failed = True
                    click.echo(f"flowverdict: {problem}", err=True)
        return not failed

    def _replay_event(
        self,
        aws: LocalAws,
        console: Console,
        path: Path,
        event: dict[str, Any],
        webhooks: Sequence[Webhook],
    ) -> bool:
        """Replay one event and print its outcome; return whether something failed."""
        missing = aws.put_objects_of(event, self.objects or path.parent / OBJECTS_FOLDER)
        invocation = aws.invoke(event, _environment(self.log_format))
        emails, notifications = aws.emails(), aws.notifications()
        if self.output == "email":
            outcome = outcome_in_words(path, invocation, len(emails))
            console.print(Text(outcome, "bold"))
            for email in emails:
                show_email(console, email)
        problems = [*invocation.failures, *self._show(notifications, webhooks)]
        for line in invocation.log if self.verbose else ():
            click.echo(json.dumps(line), err=True)
        for problem in [*problems, *(f"no such file: {name}" for name in missing)]:
            click.echo(one_line(f"flowverdict: {path}: {problem}"), err=True)
        return bool(problems)

    def _show(
        self, notifications: Sequence[Notification], webhooks: Sequence[Webhook]
    ) -> list[str]:
        """Print the notifications if they are JSON and post them; return the failures."""
        problems = []
        # What ended alike is one message to people.
        together = " ".join(
            line
            for each in notifications
            if isinstance(each, Notice) and each.kind is Kind.ENDS
            for section in each.sections
            for line in section.lines
        )
        for notification in notifications:
            if self.output != "email":
                click.echo(as_json(notification, self.output))
            is_alone = notification.ending is None or notification.fingerprint not in together
            for webhook in webhooks if is_alone else ():
                try:
                    webhook.post(notification)
                except DeliveryError as error:
                    problems.append(str(error))
        return problems


def as_json(notification: Notification, output: str) -> str:
    """Return a notification as one line of JSON: its own document, or a renderer's."""
    return notification.to_json() if output == "json" else RENDERERS[output].render(notification)


def show_email(console: Console, email: Email) -> None:
    """Print an email with unfolded lines, since some are commands to copy."""
    style = next(
        (style for word, style in _BORDERS.items() if f" {word}]" in email.subject), "white"
    )
    line = Text("─" * min(console.width, _LINE_WIDTH), style)
    console.print(
        line, Text(email.subject, f"bold {style}"), line, Text(email.body), sep="\n", soft_wrap=True
    )


def outcome_in_words(path: Path, invocation: Invocation, alerts: int) -> str:
    """Return the counts of an event's records and alerts in one line."""
    totals: Counter[str] = Counter()
    for line in invocation.log:
        counts = line.get("counts")
        if isinstance(counts, dict):
            totals.update(counts)
    shown = ", ".join(f"{totals[name]:,} {word}" for name, word in _COUNTED if totals[name] > 0)
    quiet = invocation.counts[LogCount.ALERTS_COUNTED]
    outcome = f"{shown or 'no'} records, {counted(alerts, 'alert')}"
    if quiet:
        outcome += f"; {quiet:,} more without a message: open already, or for the digest"
    return f"{one_line(path.name)} -> {invocation.function}: {outcome}"


def show_later(console: Console, emails: Sequence[Email]) -> None:
    """Print the later messages: the subjects and reasons of alerts that ended, and the digest."""
    ended = {
        email.subject: style
        for email in emails
        for word, style in _ENDED.items()
        if f" {word}]" in email.subject
    }
    if ended:
        console.print(Text("Later, in flow logs without further records of these:", "bold"))
    for email in emails:
        if email.subject not in ended:
            continue
        console.print(Text(f"  {email.subject}", ended[email.subject]), soft_wrap=True)
        reason = " ".join(email.body.partition("\n\n")[0].split())
        console.print(Text(f"    {reason}"), soft_wrap=True)
    for email in emails:
        if email.subject not in ended:
            show_email(console, email)
