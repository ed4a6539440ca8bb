"""``flowverdict explain``: flow log files to verdicts."""

from __future__ import annotations

import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from flowverdict.core.errors import FlowVerdictError, ObjectError
from flowverdict.core.formatting import counted
from flowverdict.core.garbage_collection import collect_rarely
from flowverdict.core.untrusted import one_line
from flowverdict.flowlog.records import DEFAULT_FORMATS, RecordFormat
from flowverdict.flows.model import epoch_to_datetime
from flowverdict.verdict.batch import Batch
from flowverdict.verdict.model import Confidence, VerdictKind
from flowverdict.verdict.remediation.model import Remediation
from flowverdict.verdict.wording import because, caption, connection, most_of, what_was_rejected
from flowverdict_cli.extras import missing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from flowverdict.flows.read_source import Reading
    from flowverdict.verdict.explanation import Explanation


STDIN = "-"
# A megabyte of gzip takes a second or two; smaller inputs need no progress bar.
_PROGRESS_FROM_BYTES = 1_000_000
_MAX_AGGREGATED = 10  # interfaces whose aggregated flows are printed
_UNFOLDED_WIDTH = 10_000  # of a table in a file or a pipe: each flow on one line


def headerless_formats(text: str | None) -> tuple[RecordFormat, ...]:
    """Return the formats of lines without a header; ``None`` and ``default`` are AWS's defaults.

    Raises
    ------
    FormatError
        The text does not name a field.
    """
    return DEFAULT_FORMATS if text in {None, "default"} else (RecordFormat.from_text(str(text)),)


def read_files(
    names: Sequence[str],
    headerless: tuple[RecordFormat, ...] = DEFAULT_FORMATS,
    most: int | None = None,
) -> tuple[Batch, list[Reading], list[ObjectError]]:
    """Read all files into one batch, with a progress bar on a terminal.

    Returns the errors of the files that do not exist, cannot be read or are not flow logs. The
    batch has nothing of them, and knows that their records are missing.

    Parameters
    ----------
    headerless
        Formats that lines without a header may have.
    most
        Maximum number of rejected flows to evaluate individually, ``None`` for all.

    Raises
    ------
    FlowVerdictError
        A file is Parquet, and DuckDB is not installed.
    """
    collect_rarely()
    batch = Batch(most)
    readings = []
    errors = []
    with _progress(names) as progress:
        for name in names:
            title = _title(name)
            try:
                with _opened(name, progress) as stream, _parquet_installed(title):
                    readings.append(batch.add_file(stream, name=title, headerless=headerless))
            except ObjectError as error:
                batch.add_unread(title)  # a file that was not opened was not added either
                errors.append(error)
    return batch, readings, errors


@contextmanager
def _parquet_installed(name: str) -> Iterator[None]:
    """Turn the import error of a Parquet file without DuckDB into the project's own error."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "duckdb":
            raise
        raise FlowVerdictError(missing("parquet", f"{name}: Parquet", "duckdb")) from error


def _title(name: str) -> str:
    return "standard input" if name == STDIN else name


def _progress(names: Sequence[str]) -> AbstractContextManager[Progress | None]:
    total = sum(
        Path(name).stat().st_size for name in names if name != STDIN and Path(name).is_file()
    )
    if not sys.stderr.isatty() or total < _PROGRESS_FROM_BYTES:
        return nullcontext()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)


@contextmanager
def _opened(name: str, progress: Progress | None) -> Iterator[BinaryIO]:
    if name == STDIN:
        if sys.stdin is None:
            raise ObjectError(_title(name), "closed")
        yield sys.stdin.buffer
        return
    try:
        with Path(name).open("rb") as plain:
            if progress is None:
                yield plain
            else:
                size = Path(name).stat().st_size
                yield progress.wrap_file(plain, total=size, description=Path(name).name)
    except OSError as error:
        raise ObjectError(name, (error.strerror or str(error)).lower()) from error


def print_errors(errors: Sequence[FlowVerdictError]) -> None:
    """Print one line for each error to standard error."""
    for error in errors:
        click.echo(f"flowverdict: {error}", err=True)


def print_remarks(readings: Sequence[Reading]) -> None:
    """Print what was malformed or unknown in the files to standard error."""
    for reading in readings:
        for sample in reading.samples:
            click.echo(one_line(f"{reading.name}: {sample}"), err=True)
        if reading.unknown_fields:
            click.echo(
                one_line(
                    f"{reading.name}: unknown fields, ignored: {', '.join(reading.unknown_fields)}"
                ),
                err=True,
            )


def show(explanations: Sequence[Explanation]) -> None:
    """Print the table, and below it the fixes in unfolded lines, to be copied."""
    if sys.stdout.isatty():
        console_for_stdout().print(table(explanations))
    else:
        sys.stdout.writelines(lines(explanations))
    for remediation, solved in _fixes(explanations).items():
        sys.stdout.writelines(_fix_lines(remediation, solved))


def terraform(explanations: Sequence[Explanation]) -> list[str]:
    """Return the Terraform resources of all fixes, each below a comment that says what it is for.

    Two fixes that change the same rule have one resource for it.
    """
    printed: set[str] = set()
    texts = []
    for remediation, solved in _fixes(explanations).items():
        resources = [each for each in remediation.terraform if each not in printed]
        printed.update(resources)
        how = "Fix" if remediation.if_wanted is None else f"If wanted: {remediation.if_wanted}. Fix"
        comment = f"# {one_line(how)} for {one_line(_solved(solved))}"
        notes = [f"# This {one_line(opened)}." for opened in dict.fromkeys(remediation.opens_each)]
        if remediation.shared_with is not None:
            notes.append(f"# It needs resources for {one_line(remediation.shared_with)} too.")
        texts.append("\n".join([comment, *notes, *resources, ""]))
    return texts


def _fixes(explanations: Sequence[Explanation]) -> dict[Remediation, list[Explanation]]:
    """Return the fixes, each with the flows that it lets pass."""
    fixes: dict[Remediation, list[Explanation]] = {}
    for explanation in explanations:
        if isinstance(explanation.remediation, Remediation):
            fixes.setdefault(explanation.remediation, []).append(explanation)
    return fixes


def _solved(solved: Sequence[Explanation]) -> str:
    more = "" if len(solved) == 1 else f" and {counted(len(solved) - 1, 'more flow')}"
    return f"{connection(solved[0].flow)}{more}"


def _fix_lines(remediation: Remediation, solved: Sequence[Explanation]) -> Iterator[str]:
    """Yield the lines of a fix, as they are printed."""
    region = solved[0].flow.context.region
    label = "Fix" if remediation.if_wanted is None else "If this is wanted: fix"
    tried = "tried on the rules as read" if remediation.verified else "tried on this side"
    yield f"\n{label} for {_solved(solved)} ({tried}):\n"
    if remediation.if_wanted is not None:
        yield f"  {one_line(remediation.if_wanted)}\n"
    if remediation.managed_by is not None:
        yield f"  managed by {remediation.managed_by}: change it there\n"
    for command in remediation.commands(region):
        yield f"  {command}\n"
    if remediation.shared_with is not None:
        yield f"  needed, and offered for {one_line(remediation.shared_with)} too: run it once\n"
        for command in remediation.shared_commands(region):
            yield f"    {command}\n"
    for opened in dict.fromkeys(remediation.opens_each):
        yield f"  {opened}\n"
    if not remediation.verified:
        yield from (f"  {note}\n" for note in remediation.tried if "not tried" in note)
    if remediation.changes:
        yield "  undo:\n"
    for command in remediation.undo(region):
        yield f"    {command}\n"


_COLUMNS = ("time (UTC)", "rejected", "flow", "by", "sure", "because")


def table(explanations: Sequence[Explanation]) -> Table:
    """Return the verdicts as a table, one flow a row, folded to the terminal's width."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in _COLUMNS:
        shown.add_column(column, overflow="fold")
    for explanation in explanations:
        time, rejected, flow, by, sure, why = _row(explanation)
        confidence = explanation.verdict.confidence
        shown.add_row(
            time,
            rejected,
            Text(flow),
            Text(by, style=_style(explanation.verdict.kind)),
            Text(sure, style="" if confidence is Confidence.CERTAIN else "dim"),
            Text(why, style="dim"),
        )
    return shown


def lines(explanations: Sequence[Explanation]) -> list[str]:
    """Return the rows of the table unfolded, for a file or a pipe.

    rich is not used here, since its layout of 10,000 flows takes five seconds.
    """
    rows = [_COLUMNS, *map(_row, explanations)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() + "\n" for row in rows]


def _row(explanation: Explanation) -> tuple[str, ...]:
    flow, verdict = explanation.flow, explanation.verdict
    start = flow.traffic.first_start
    return (
        "" if start is None else f"{epoch_to_datetime(start):%Y-%m-%d %H:%M:%S}",
        what_was_rejected(flow.direction, verdict.leg).lower(),
        connection(flow),
        caption(verdict.kind),
        verdict.confidence,
        one_line(because(explanation)),
    )


def _style(kind: VerdictKind) -> str:
    match kind:
        case VerdictKind.NETWORK_ACL:
            return "red"
        case VerdictKind.CLOSED_CONNECTION | VerdictKind.RULES_ALLOW:
            return "green"
        case VerdictKind.UNDETERMINED:
            return "magenta"
        case _:
            return "yellow"


def summary(batch: Batch, flows: int) -> str:
    """Return one line with the counts of records; every record that was left out is counted."""
    counts = batch.counts
    extras = [
        (counts.no_data, "without traffic (NODATA)"),
        (counts.skip_data, "lost by AWS (SKIPDATA)"),
        (counts.no_action, "without an action, so nothing to classify"),
        (counts.transit_gateway, "of a transit gateway without a lost packet"),
        (counts.malformed.total(), "malformed"),
    ]
    left_out = "".join(f", {count:,} {what}" for count, what in extras if count)
    others = " and more, counted together" if batch.flows.aggregated else ""
    return (
        f"{counted(counts.records, 'record')}: {counts.accepted:,} accepted, "
        f"{counts.rejected:,} rejected in {counted(flows, 'flow')}{others}{left_out}"
    )


def aggregated_lines(batch: Batch) -> list[str]:
    """Return a line for each interface with flows that were only aggregated; empty without such."""
    by_records = sorted(
        batch.flows.aggregated.items(), key=lambda item: (-item[1].traffic.records, str(item[0]))
    )
    lines = []
    for name, rejects in by_records[:_MAX_AGGREGATED]:
        records = counted(rejects.traffic.records, "further rejected record")
        lines.append(
            f"{name or 'no interface'}: {records}, counted together: {'; '.join(most_of(rejects))}"
        )
    rest = by_records[_MAX_AGGREGATED:]
    if rest:
        records_of_rest = sum(rejects.traffic.records for _, rejects in rest)
        lines.append(f"{counted(len(rest), 'further interface')}: {records_of_rest:,} such records")
    return lines


def console_for_stdout() -> Console:
    """Return a console that folds lines for a terminal and does not fold them for a pipe."""
    return Console(
        width=None if sys.stdout.isatty() else _UNFOLDED_WIDTH, highlight=False, soft_wrap=False
    )
