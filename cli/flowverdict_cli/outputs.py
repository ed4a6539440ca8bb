"""The forms in which ``flowverdict explain`` prints its answer."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
from typing import TYPE_CHECKING

import click
from rich.console import Console

from flowverdict.alerts.grouping import detections
from flowverdict.alerts.model import Severity
from flowverdict.delivery.renderers import RENDERERS
from flowverdict.verdict.contract import to_json
from flowverdict_cli import answer, explain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flowverdict.core.errors import ObjectError
    from flowverdict.flows.read_source import Reading
    from flowverdict.verdict.batch import Batch
    from flowverdict.verdict.explanation import Explanation

_NARROWEST, _WIDEST = 60, 120  # columns of the answer
_MARKUP = frozenset("\\`*_{}[]<>#|!&~")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write(  # noqa: PLR0913 - what was read, and how to print it
    output: str,
    explanations: Sequence[Explanation],
    batch: Batch,
    *,
    readings: Sequence[Reading],
    errors: Sequence[ObjectError],
    has_rules: bool,
    flows: bool,
    least: Severity | None,
) -> None:
    """Print explained flows to standard output.

    Parameters
    ----------
    output
        One of ``options.OUTPUTS``.
    flows
        With ``table``: one row for each flow in place of the answer.
    least
        The least severe problem that is shown, ``None`` for all.
    """
    if output == "json":
        _print(map(to_json, explanations))
    elif output == "csv":
        _print(csv_lines(explanations))
    elif output == "terraform":
        _print(explain.terraform(explanations))
    elif output in RENDERERS:
        found = (each.notification for each in detections(explanations, batch.flows))
        render = RENDERERS[output].render
        _print(render(each) for each in found if least is None or each.severity.rank <= least.rank)
    elif output == "table" and flows:
        if explanations:
            explain.show(explanations)
    else:
        found_answer = answer.answer_of(
            explanations, batch, has_rules=has_rules, least=least or Severity.INFO
        )
        if output == "html":
            from flowverdict_cli import report  # noqa: PLC0415 - the other forms need it not

            click.echo(report.page_of(found_answer, explanations, batch, readings, errors))
        elif output == "markdown":
            _print(markdown_lines(found_answer))
        else:
            _show(found_answer)


def _print(lines: Iterator[str] | Sequence[str]) -> None:
    for line in lines:
        click.echo(line)


def _show(shown: answer.Answer) -> None:
    """Print the answer, folded to the terminal's width; a command is one line, to be copied."""
    columns = shutil.get_terminal_size((100, 24)).columns if sys.stdout.isatty() else 100
    width = min(max(columns, _NARROWEST), _WIDEST)
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    for line in answer.lines_of(shown):
        for text in answer.folded(line, width):
            console.print(text, style=line.style or None)


def csv_lines(explanations: Sequence[Explanation]) -> Iterator[str]:
    """Yield a header and a row for each flow: the keys of the JSON contract.

    Lists are joined, objects are JSON. A text that a spreadsheet would take for a formula begins
    with an apostrophe (https://owasp.org/www-community/attacks/CSV_Injection).
    """
    for number, explanation in enumerate(explanations):
        values = json.loads(to_json(explanation))
        if number == 0:
            columns = list(values)
            yield _csv_row(columns)
        yield _csv_row([_cell(values.get(name)) for name in columns])


def _csv_row(cells: Sequence[str]) -> str:
    row = io.StringIO()
    csv.writer(row, lineterminator="").writerow(cells)
    return row.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        value = "; ".join(value)
    if not isinstance(value, str):
        return json.dumps(value)
    return f"'{value}" if value.startswith(_FORMULA) else value


def markdown_lines(shown: answer.Answer) -> Iterator[str]:
    """Yield the answer as Markdown: headings, lists, and commands in blocks of code."""
    in_code = False
    for line in answer.lines_of(shown):
        if in_code is line.fold:
            yield "```sh" if line.fold is False else "```"
            in_code = not in_code
        text = line.text.strip()
        if in_code:
            yield text
        elif not text:
            yield ""
        elif line.style:
            yield f"### {_escaped(text)}\n"
        else:
            yield f"- {_escaped(text.removeprefix('- '))}"
    if in_code:
        yield "```"


def _escaped(text: str) -> str:
    words = " ".join(text.split())
    return "".join(f"\\{char}" if char in _MARKUP else char for char in words)
