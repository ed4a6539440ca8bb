"""``flowverdict replay`` and ``flowverdict demo``: events through the real handlers, and the alerts that come out."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

import flowverdict
from flowverdict.errors import FlowVerdictError
from flowverdict.records import DEFAULT_FORMAT
from flowverdict.wording import counted

if TYPE_CHECKING:
    from rich.console import Console

    from flowverdict.cli.local_aws import Email, Invocation

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


def environment(log_format: str | None) -> dict[str, str]:
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
_BORDERS = {"CRITICAL": "bold red", "HIGH": "red", "MEDIUM": "yellow", "LOW": "blue", "INFO": "green"}


def show_email(console: Console, email: Email) -> None:
    """Show an email as its reader sees it; its lines stay whole, since some are commands to copy."""
    style = next((style for word, style in _BORDERS.items() if f" {word}]" in email.subject), "white")
    line = Text("─" * min(console.width, _LINE_WIDTH), style)
    console.print(line, Text(email.subject, f"bold {style}"), line, Text(email.body), sep="\n", soft_wrap=True)


def show_outcome(console: Console, path: Path, invocation: Invocation, emails: int) -> None:
    """Say what the event came to: how many records, how many alerts, what failed."""
    totals: Counter[str] = Counter()
    for line in invocation.log:
        counts = line.get("counts")
        if isinstance(counts, dict):
            totals.update(counts)
    shown = ", ".join(f"{totals[name]:,} {word}" for name, word in _COUNTED if totals[name] > 0)
    told = f"{shown or 'no'} records, {counted(emails, 'alert')}"
    console.print(Text(f"{path.name} -> {invocation.function}: {told}", "bold"))
