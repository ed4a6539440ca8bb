"""``flowverdict replay`` and ``flowverdict demo``: events through the real handlers, and the alerts that come out."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

import flowverdict
from flowverdict.core.errors import DeliveryError, FlowVerdictError
from flowverdict.core.formatting import counted
from flowverdict.core.untrusted import one_line
from flowverdict.delivery.channels import load_channel
from flowverdict.delivery.renderers import RENDERERS
from flowverdict.delivery.webhook import Webhook
from flowverdict.flowlog.records import DEFAULT_FORMAT
from flowverdict_cli.explain import console_for_stdout
from flowverdict_cli.local_aws import local_aws

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from flowverdict.alerts.model import Notification
    from flowverdict_cli.local_aws import Email, Invocation


OBJECTS_FOLDER = "objects"
# In the order a person gets to know them: one delivery through the queue, one log stream.
DEMO_EVENTS = ("sqs-s3-delivery.json", "cloudwatch-logs.json")


def demo_events() -> list[Path]:
    """Give the sample events that ``demo`` replays.

    Raises
    ------
    FlowVerdictError
        The package is installed without the project around it.
    """
    folder = Path(flowverdict.__file__).resolve().parents[3] / "events"
    paths = [folder / name for name in DEMO_EVENTS]
    for path in paths:
        if not path.is_file():
            raise FlowVerdictError(f"the demo needs the project's checkout: {path} is not there")
    return paths


def load_event(path: Path) -> dict[str, Any]:
    """Read an event file.

    Raises
    ------
    FlowVerdictError
        It does not exist, is no JSON, or no JSON object.
    """
    try:
        event = json.loads(path.read_bytes())
    except OSError as error:
        raise FlowVerdictError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    except ValueError as error:
        raise FlowVerdictError(f"{path}: not JSON, so no event: {error}") from error
    if not isinstance(event, dict):
        raise FlowVerdictError(f"{path}: a JSON {type(event).__name__}, so no event")
    return event


def _environment(log_format: str | None) -> dict[str, str]:
    """Give the variables that a user's choice sets for the functions."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Events through the real handlers, what comes out on standard output.

    Parameters
    ----------
    face
        ``json``, or the name of a renderer.
    webhooks
        Addresses to post the alerts to, by the name of their channel.
    later
        Whether time goes by after the last event.
    """

    objects: Path | None = None
    log_format: str | None = None
    face: str = "email"
    webhooks: Mapping[str, str] = field(default_factory=dict)
    later: bool = False
    verbose: bool = False

    def run(self, events: Sequence[Path]) -> bool:
        """Replay the events in their order, and say whether all went well.

        Raises
        ------
        FlowVerdictError
            An event file cannot be read, or the webhook's address is none.
        """
        loaded = [(path, load_event(path)) for path in events]
        webhooks = [Webhook(load_channel(name), address) for name, address in self.webhooks.items()]
        console = console_for_stdout()
        succeeded = True
        with local_aws() as aws:
            aws.make_samples()
            for path, event in loaded:
                missing = aws.put_objects_of(event, self.objects or path.parent / OBJECTS_FOLDER)
                invocation = aws.invoke(event, _environment(self.log_format))
                emails, notifications = aws.emails(), aws.notifications()
                if self.face == "email":
                    show_outcome(console, path, invocation, len(emails))
                    for email in emails:
                        show_email(console, email)
                problems = [*invocation.failures, *self._show(notifications, webhooks)]
                succeeded = succeeded and not problems
                for line in invocation.log if self.verbose else ():
                    click.echo(json.dumps(line), err=True)
                for problem in [*problems, *(f"no such file: {wanted}" for wanted in missing)]:
                    click.echo(one_line(f"flowverdict: {path}: {problem}"), err=True)
            if self.later:
                aws.later()
                if self.face == "email":
                    show_later(console, aws.emails())
                for problem in self._show(aws.notifications(), webhooks):
                    succeeded = False
                    click.echo(f"flowverdict: {problem}", err=True)
        return succeeded

    def _show(
        self, notifications: Sequence[Notification], webhooks: Sequence[Webhook]
    ) -> list[str]:
        """Print the documents' face, post them, and give what went wrong."""
        problems = []
        for notification in notifications:
            if self.face != "email":
                click.echo(as_json(notification, self.face))
            for webhook in webhooks:
                try:
                    webhook.post(notification)
                except DeliveryError as error:
                    problems.append(str(error))
        return problems


def as_json(notification: Notification, face: str) -> str:
    """Return a notification as one line of JSON: its own document, or a renderer's."""
    return notification.to_json() if face == "json" else RENDERERS[face].render(notification)


def demo() -> bool:
    """Replay the sample events with what comes later, and show the last of the critical alerts as Slack gets it too."""
    events = demo_events()
    if not Replay(later=True).run(events):
        return False
    with local_aws() as aws:
        aws.make_samples()
        event = load_event(events[0])
        aws.put_objects_of(event, events[0].parent / OBJECTS_FOLDER)
        aws.invoke(event)
        email, notification = aws.emails()[0], aws.notifications()[0]
    console = console_for_stdout()
    console.print(Text("The most severe one once more, as an email, and as Slack gets it:", "bold"))
    show_email(console, email)
    click.echo(json.dumps(json.loads(as_json(notification, "slack")), indent=1))
    return True


def show_email(console: Console, email: Email) -> None:
    """Show an email as its reader sees it; its lines stay whole, since some are commands to copy."""
    style = next(
        (style for word, style in _BORDERS.items() if f" {word}]" in email.subject), "white"
    )
    line = Text("─" * min(console.width, _LINE_WIDTH), style)
    console.print(
        line, Text(email.subject, f"bold {style}"), line, Text(email.body), sep="\n", soft_wrap=True
    )


def show_outcome(console: Console, path: Path, invocation: Invocation, emails: int) -> None:
    """Say what the event came to: how many records, how many alerts, what failed."""
    totals: Counter[str] = Counter()
    for line in invocation.log:
        counts = line.get("counts")
        if isinstance(counts, dict):
            totals.update(counts)
    shown = ", ".join(f"{totals[name]:,} {word}" for name, word in _COUNTED if totals[name] > 0)
    quiet = int(invocation.metrics.get("AlertsCounted", 0))
    told = f"{shown or 'no'} records, {counted(emails, 'alert')}"
    if quiet:
        told += f"; {quiet:,} more without a message: known already, or for the digest"
    console.print(Text(f"{one_line(path.name)} -> {invocation.function}: {told}", "bold"))


def show_later(console: Console, emails: Sequence[Email]) -> None:
    """Show what time brings: the subjects of what is resolved, and the digest."""
    resolved = [email for email in emails if " RESOLVED]" in email.subject]
    if resolved:
        console.print(Text("Later, if nothing more comes:", "bold"))
    for email in resolved:
        console.print(Text(f"  {email.subject}", "green"), soft_wrap=True)
    for email in emails:
        if email not in resolved:
            show_email(console, email)
