"""Write ``docs/aws-errors.md``: what becomes of each AWS error at each call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowverdict_cli.local_aws import EVALUATE
from tests.helpers.aws_faults import Fault
from tests.helpers.fault_runs import Row, RunResult, is_degraded
from tests.helpers.fault_world import LOG_EVENTS, OBJECTS, PRESS, SLACK, SWEEP, TEAMS

if TYPE_CHECKING:
    from collections.abc import Sequence

AGAIN = {
    OBJECTS: "back to the queue",
    LOG_EVENTS: "Lambda tries again",
    EVALUATE: "back to the queue",
    SWEEP: "the next sweep does it",
    SLACK: "Lambda tries again",
    TEAMS: "Lambda tries again",
    PRESS: "the person presses again",
}


def document(rows: Sequence[Row]) -> str:
    """Return the text of the document."""
    footnotes: list[str] = []
    lines = [
        f"| function, call | {' | '.join(Fault)} |",
        f"|---|{'---|' * len(Fault)}",
    ]
    function = None
    for row in rows:
        if row.function != function:
            function = row.function
            lines.append(f"| **{function}** |{' |' * len(Fault)}")
        lines.append(
            f"| {row.call} | {' | '.join(cell(row, fault, footnotes) for fault in Fault)} |"
        )
    return "\n".join(
        [
            *INTRODUCTION,
            *lines,
            "",
            *(f"{number}. {footnote}" for number, footnote in enumerate(footnotes, 1)),
            "",
        ]
    )


def cell(row: Row, fault: Fault, footnotes: list[str]) -> str:
    """Return in a few words what becomes of a fault."""
    result, well = row.results[fault], row.well
    tries = max(result.tries)
    if result.failed:
        words = AGAIN[row.function]
    elif is_degraded(result, well):
        words = "less evidence"
    elif result.at_once.messages != well.at_once.messages:
        words = "the sweep sends it"
    elif news(result, well):
        words = "same alert"
    else:
        words = "no difference"
    if any(count > 1 for count in (result.outcome.messages - well.outcome.messages).values()) or (
        result.outcome.messages > well.outcome.messages and not is_degraded(result, well)
    ):
        words += ", sent twice"
    if (well.failed or not result.failed) and news(result, well):
        words += f" [{number_of(footnote(result, well), footnotes)}]"
    return f"{tries} tries, then {words}" if tries > 1 else words


def news(result: RunResult, well: RunResult) -> list[str]:
    """Return the log messages, without reasons, that a run without fault does not have."""
    return [
        *dict.fromkeys(
            message for message, reason in result.log if (message, reason) not in well.log
        )
    ]


def footnote(result: RunResult, well: RunResult) -> str:
    lines = ", ".join(f"`{message}`" for message in news(result, well))
    risen = ", ".join(
        f"`{name}`"
        for name, value in sorted(result.metrics.items())
        if value > well.metrics.get(name, 0)
    )
    text = f"Log: {lines}. " + (f"Metric: {risen}." if risen else "No metric.")
    if is_degraded(result, well):
        new = sorted(
            result.outcome.summaries[name]
            for name in result.outcome.summaries.keys() - well.outcome.summaries.keys()
        )
        text += f' The alert says: "{new[0]}"'
    return text


def number_of(text: str, footnotes: list[str]) -> int:
    if text not in footnotes:
        footnotes.append(text)
    return footnotes.index(text) + 1


INTRODUCTION = [
    "# What becomes of each error of AWS",
    "",
    "`tests/faults/test_aws_errors.py` writes this document: it listens to the functions and",
    "lets each call fail in each way, at every try, until the invocation is over. Then AWS",
    "works again and delivers again what it has to. In every case all alerts are sent and",
    "counted as in a run without fault, except where the table says otherwise. `UPDATE_GOLDEN=1",
    ".venv/bin/python -m pytest tests/faults/test_aws_errors.py` writes it anew.",
    "",
    "- *back to the queue*: SQS delivers the messages again after the visibility time-out, or",
    "  after a minute where another try may help (where `sqs:ChangeMessageVisibility` fails, the",
    "  log says so); after five tries the dead-letter queue has them.",
    "  *Lambda tries again*: after one minute and after two more minutes; then the dead-letter",
    "  queue has the event.",
    "  *the person presses again*: Slack shows a warning beside the button.",
    "- *the sweep sends it*: a message is stored before it is sent, and the sweep finds it",
    "  there.",
    "- *less evidence*: the alert is sent, without what could not be read. *same alert*: the",
    "  alert is sent as ever, perhaps less sure of its reason.",
    "- *sent twice*: the message was sent, and the table could not record that.",
    "- The SDK retries transient faults after a random wait; a single failure changes nothing.",
    "- *malformed or cut short*: status 200 and a body that is neither XML nor JSON, or an",
    "  object that ends too soon. AWS did what it was asked to do.",
    "",
]
