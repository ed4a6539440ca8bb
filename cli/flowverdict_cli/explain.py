"""``flowverdict explain``: flow log files to verdicts."""

from __future__ import annotations

import sys
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from flowverdict.alerts.model import Severity
from flowverdict.core.errors import EmptyObjectError, FlowVerdictError, ObjectError
from flowverdict.core.formatting import counted
from flowverdict.core.garbage_collection import collect_rarely
from flowverdict.core.untrusted import one_line
from flowverdict.flowlog.records import DEFAULT_FORMATS, KNOWN_FORMATS, RecordFormat
from flowverdict.flows.model import epoch_to_datetime
from flowverdict.verdict.batch import Batch
from flowverdict.verdict.model import Confidence, VerdictKind
from flowverdict.verdict.remediation.model import Remediation
from flowverdict.verdict.wording import because, caption, connection, most_of, what_was_rejected
from flowverdict_cli import progress
from flowverdict_cli.aws_ranges import load_ranges
from flowverdict_cli.extras import EXTRAS, missing
from flowverdict_cli.input_search import find
from flowverdict_cli.inputs import Contents, Input, Period, moment
from flowverdict_cli.options import EXIT_INCOMPLETE, EXIT_USAGE
from flowverdict_cli.rules import rules_of
from flowverdict_cli.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from flowverdict.flows.read_source import Reading
    from flowverdict.verdict.aws_ranges import AwsRanges
    from flowverdict.verdict.batch import FixedConfig
    from flowverdict.verdict.explanation import Explanation


# A megabyte of gzip takes a second or two; smaller inputs need no progress bar.
_PROGRESS_FROM_BYTES = 1_000_000
_MAX_AGGREGATED = 10  # interfaces whose aggregated flows are printed
_UNFOLDED_WIDTH = 10_000  # of a table in a file or a pipe: each flow on one line


def headerless_formats(text: str | None) -> tuple[RecordFormat, ...] | None:
    """Return the formats of lines without a header.

    ``default`` stands for AWS's default formats, ``auto`` for all formats that AWS's console and
    documentation make; ``None`` where none are given.

    Raises
    ------
    FormatError
        The text does not name a field, or a name is misspelt.
    """
    if text is None:
        return None
    if text == "auto":
        return KNOWN_FORMATS
    return DEFAULT_FORMATS if text == "default" else (RecordFormat.from_text(text),)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesRead:
    """All files that were read, and what is to be said about them.

    Parameters
    ----------
    batch
        What was read. It has nothing of the files that could not be read, and knows that their
        records are missing.
    readings
        The counts of each file.
    errors
        Of the files that do not exist, cannot be read or are not flow logs.
    notes
        What was not read, and why that is no error.
    """

    batch: Batch
    readings: list[Reading]
    errors: list[ObjectError]
    notes: list[str]


def read_files(
    names: Sequence[str],
    headerless: tuple[RecordFormat, ...] | None = None,
    most: int | None = None,
    period: Period = Period(),  # noqa: B008 - frozen, nothing to share
) -> FilesRead:
    """Read all files into one batch, with a progress bar on a terminal.

    Parameters
    ----------
    names
        Files, folders, patterns, ``s3://bucket/prefix``, ``cloudwatch:LOG-GROUP``, ``-``.
    headerless
        Formats that lines without a header may have; ``None`` for those that AWS describes, or
        else its default formats.
    most
        Maximum number of rejected flows to evaluate individually, ``None`` for all.
    period
        The time of the records.

    Raises
    ------
    FlowVerdictError
        A file is Parquet and DuckDB is not installed, or a place cannot be listed.
    """
    collect_rarely()
    inputs, notes = find(names, period)
    read = FilesRead(batch=Batch(most), readings=[], errors=[], notes=notes)
    contents = Contents()
    with _progress(inputs) as bars:
        for found in inputs:
            try:
                with found.open() as plain, _parquet_installed(found.name):
                    earlier, stream = contents.seen(found, _shown(found, plain, bars))
                    if earlier is not None:
                        notes.append(f"{found.name}: the same content as {earlier.name}, read once")
                        continue
                    formats = headerless or found.formats or DEFAULT_FORMATS
                    read.readings.append(
                        read.batch.add_file(stream, name=found.name, headerless=formats)
                    )
            except EmptyObjectError as error:
                if found.may_be_empty:
                    notes.append(f"{found.name}: no records of that time")
                else:
                    _failed(read, found, error)
            except ObjectError as error:
                _failed(read, found, error)
    return read


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """The rejected flows of files that are shown, and what is known of the files.

    ``least`` is the least severity of the problems that are shown; ``some_left_out`` is whether
    filters left out flows.
    """

    read: FilesRead
    explanations: Sequence[Explanation]
    has_rules: bool
    least: Severity
    some_left_out: bool


def explained(
    read: FilesRead,
    configs: FixedConfig | None,
    selection: Selection,
    ranges: AwsRanges | None = None,
) -> Explained:
    """Explain all rejected flows, and keep those that are selected."""
    explanations = read.batch.explanations(configs, ranges)
    shown = [each for each in explanations if each in selection]
    return Explained(
        read=read,
        explanations=shown,
        some_left_out=len(shown) < len(explanations),
        has_rules=configs is not None,
        least=selection.severity or Severity.INFO,
    )


def run(
    files: Sequence[str],
    options: Mapping[str, Any],
    write: Callable[[Explained], None],
) -> int:
    """Read and explain files, write what is wanted of it, and say what was read.

    Parameters
    ----------
    options
        The values of ``options.reading`` and ``options.selecting`` by name.

    Returns
    -------
    int
        The exit status.
    """
    left = dict(options)
    path = left.pop("aws_ranges")
    ranges = None if path is None else load_ranges(path)
    log_format, most = left.pop("log_format"), left.pop("most")
    configs = rules_of(left.pop("config"), account=left.pop("account"))
    period = Period(since=moment(left.pop("since")), until=moment(left.pop("until")))
    selection = Selection(period=period, **left)
    most, formats = None if most == 0 else most, headerless_formats(log_format)
    read = read_files(files, formats, most, period)
    print_errors(read.errors)
    if read.errors and not read.readings:
        return EXIT_USAGE
    found = explained(read, configs, selection, ranges)
    write(found)
    if sys.stdout is not None:
        sys.stdout.flush()
    print_remarks(read.readings, read.notes)
    for line in aggregated_lines(read.batch):
        click.echo(one_line(line), err=True)
    click.echo(summary(read.batch, len(found.explanations)), err=True)
    return EXIT_INCOMPLETE if read.errors else 0


def _failed(read: FilesRead, found: Input, error: ObjectError) -> None:
    read.batch.add_unread(found.name)  # a file that was not opened was not added either
    read.errors.append(error)


@contextmanager
def _parquet_installed(name: str) -> Iterator[None]:
    """Turn the import error of a Parquet file without its extra into the project's own error."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS["parquet"]:
            raise
        raise FlowVerdictError(missing("parquet", f"{name}: Parquet", error.name)) from error


def _progress(inputs: Sequence[Input]) -> AbstractContextManager[Progress | None]:
    if (
        sum(found.size or 0 for found in inputs) < _PROGRESS_FROM_BYTES
        or not progress.on_terminal()
    ):
        return nullcontext()
    from rich.progress import (  # noqa: PLC0415 - only for a terminal
        BarColumn,
        DownloadColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    return progress.shown(*columns)


def _shown(found: Input, stream: BinaryIO, bars: Progress | None) -> BinaryIO:
    if bars is None or found.size is None:
        return stream
    return bars.wrap_file(stream, total=found.size, description=Path(found.name).name)


def print_errors(errors: Sequence[FlowVerdictError]) -> None:
    """Print one line for each error to standard error."""
    for error in errors:
        click.echo(f"flowverdict: {error}", err=True)


def print_remarks(readings: Sequence[Reading], notes: Sequence[str] = ()) -> None:
    """Print what was not read, malformed or unknown in the files to standard error."""
    for note in notes:
        click.echo(one_line(note), err=True)
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
    console = console_for_stdout()
    if sys.stdout.isatty() and console.width < _TABLE_WIDTH:
        sys.stdout.writelines(blocks(explanations, console.width))
    elif sys.stdout.isatty():
        console.print(table(explanations))
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


_COLUMNS = ("time (UTC)", "rejected", "flow", "interface", "account", "by", "sure", "because")
_TABLE_WIDTH = 180  # columns in which the reasons of a table are not narrower than its ids


def table(explanations: Sequence[Explanation]) -> Table:
    """Return the verdicts as a table, one flow a row, folded to the terminal's width."""
    from rich.text import Text  # noqa: PLC0415 - only for this output

    from flowverdict_cli.tables import plain_table  # noqa: PLC0415 - as above

    shown = plain_table(*_COLUMNS)
    for explanation in explanations:
        time, rejected, flow, interface, account, by, sure, why = _row(explanation)
        confidence = explanation.verdict.confidence
        shown.add_row(
            time,
            rejected,
            Text(flow),
            Text(interface),
            Text(account),
            Text(by, style=_style(explanation.verdict.kind)),
            Text(sure, style="" if confidence is Confidence.CERTAIN else "dim"),
            Text(why, style="dim"),
        )
    return shown


def blocks(explanations: Sequence[Explanation], width: int) -> Iterator[str]:
    """Yield the rows of the table as a few lines each, for a terminal too narrow for columns."""
    for explanation in explanations:
        time, rejected, flow, interface, account, by, sure, why = _row(explanation)
        place = ", ".join(filter(None, [interface, account and f"account {account}"]))
        at = f" at {place}" if place else ""
        yield f"{time}  {flow}\n"
        for text in (f"{rejected}{at}: {by}, {sure}", why):
            folded = fill(
                text,
                width,
                initial_indent="  ",
                subsequent_indent="  ",
                break_long_words=False,
                break_on_hyphens=False,
            )
            yield f"{folded}\n"


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
        one_line(flow.interface_id or flow.attachment_id or ""),
        one_line(flow.context.account_id or ""),
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
    strays = counts.stray_lines
    between = f"; {counted(strays, 'line')} of other text passed over" if strays else ""
    left_out = "".join(f", {count:,} {what}" for count, what in extras if count)
    others = " and more, counted together" if batch.flows.aggregated else ""
    return (
        f"{counted(counts.records, 'record')}: {counts.accepted:,} accepted, "
        f"{counts.rejected:,} rejected in {counted(flows, 'flow')}{others}{left_out}{between}"
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
    from rich.console import Console  # noqa: PLC0415 - only for this output

    return Console(
        width=None if sys.stdout.isatty() else _UNFOLDED_WIDTH, highlight=False, soft_wrap=False
    )
