"""The forms in which ``flowverdict explain`` prints its answer."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
from itertools import batched
from typing import TYPE_CHECKING

import click

from flowverdict.core.untrusted import one_line
from flowverdict.delivery.renderers import RENDERERS
from flowverdict.verdict.contract import to_json
from flowverdict_cli import answer, explain, report

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from flowverdict.verdict.explanation import Explanation
    from flowverdict_cli.explain import Explained

_NARROWEST, _WIDEST = 60, 120  # columns of the answer
_LINES_AT_ONCE = 500  # each call writes them out
_MARKUP = frozenset("\\`*_{}[]<>#|!&~")
_FORMULA = ("=", "+", "-", "@")


def write(output: str, explained: Explained, *, flows: bool) -> None:
    """Print explained flows to standard output.

    Parameters
    ----------
    output
        One of ``options.OUTPUTS``.
    flows
        With ``table``: one row for each flow in place of the answer.
    """
    explanations = explained.explanations
    if output == "json":
        _print(map(to_json, explanations))
    elif output == "csv":
        _print(csv_lines(explanations))
    elif output == "terraform":
        _print(explain.terraform(explanations))
    elif output in RENDERERS:
        _print(map(RENDERERS[output].render, answer.notifications(explained)))
    elif output == "html":
        click.echo(report.page_of(explained))
    elif output == "markdown":
        _print(markdown_lines(answer.answer_of(explained)))
    elif not flows:
        _show(answer.answer_of(explained))
    elif explanations:
        explain.show(explanations)


def _print(lines: Iterable[str]) -> None:
    for some in batched(lines, _LINES_AT_ONCE, strict=False):
        click.echo("\n".join(some))


def _show(shown: answer.Answer) -> None:
    """Print the answer, folded to the terminal's width; a command is one line, to be copied."""
    from rich.console import Console  # noqa: PLC0415 - only for this output

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
            yield csv_row(columns)
        yield csv_row([cell(values.get(name)) for name in columns])


def csv_row(cells: Sequence[str]) -> str:
    """Return a row of a CSV file, without its line end."""
    row = io.StringIO()
    csv.writer(row, lineterminator="").writerow(cells)
    return row.getvalue()


def cell(value: object) -> str:
    """Return a value as a cell that no spreadsheet takes for a formula."""
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        value = "; ".join(value)
    if not isinstance(value, str):
        return json.dumps(value)
    text = one_line(value)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text


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
