"""``flowverdict report``, and ``explain --output html``: the page of what files show."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from flowverdict.alerts.counts import Remote, busiest
from flowverdict.alerts.model import (
    Severity,
)
from flowverdict.alerts.severity import severity_of
from flowverdict.core.errors import FlowVerdictError
from flowverdict.core.formatting import counted, isoformat
from flowverdict.delivery.page.charts import Bars
from flowverdict.delivery.page.page import Page, render
from flowverdict_cli.answer import answer_of
from flowverdict_cli.files import replace_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from flowverdict.core.errors import ObjectError
    from flowverdict.flows.read_source import Reading
    from flowverdict.verdict.batch import Batch
    from flowverdict.verdict.explanation import Explanation
    from flowverdict_cli.explain import Explained

_INTERVALS = 60  # bars at the most
_STEPS = (60, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 28_800, 86_400)  # seconds
_MAX_SERIES = 8
_MAX_REMOTES = 25


def write(path: Path, explained: Explained) -> None:
    """Write the page to a file, whole or not at all.

    Raises
    ------
    FlowVerdictError
        The file cannot be written.
    """
    try:
        replace_whole(path, page_of(explained))
    except OSError as error:
        raise FlowVerdictError(f"{path}: {(error.strerror or str(error)).lower()}") from error


def page_of(explained: Explained) -> str:
    """Return the page as HTML."""
    answer = answer_of(explained)
    explanations, read = explained.explanations, explained.read
    batch, readings, errors = read.batch, read.readings, read.errors
    counts = batch.counts
    first = min(_starts(explanations), default=None)
    ends = (each.flow.traffic.last_end for each in explanations)
    last = max((end for end in ends if end is not None), default=first)
    period = "" if first is None else f", {isoformat(first)} to {isoformat(last)}"
    return render(
        Page(
            title="Rejected traffic",
            subtitle=f"flowverdict, {counted(len(readings), 'file')}{period}",
            totals=(
                (len(answer.problems), "problems"),
                (counts.rejected, "rejected records"),
                (len(explanations), "rejected flows"),
                (counts.accepted, "accepted records"),
            ),
            problems=answer.problems,
            noise=tuple(map(str, answer.noise)),
            lacks=answer.lacks,
            over_time=(
                ("Rejected records by severity", _over_time(explanations, _severity, [*Severity])),
                ("Rejected records by verdict", _over_time(explanations, _verdict, None)),
            ),
            remotes=_remotes(explanations),
            quality=tuple(_quality(batch, readings, errors)),
        )
    )


def _starts(explanations: Sequence[Explanation]) -> list[int]:
    starts = (each.flow.traffic.first_start for each in explanations)
    return [start for start in starts if start is not None]


def _severity(explanation: Explanation) -> str:
    return severity_of(explanation)[0]


def _verdict(explanation: Explanation) -> str:
    return explanation.verdict.kind


def _over_time(
    explanations: Sequence[Explanation],
    name_of: Callable[[Explanation], str],
    order: Sequence[str] | None,
) -> Bars:
    """Return the records of flows by the time of the flow's first record."""
    starts = _starts(explanations)
    if not starts:
        return Bars(0, _STEPS[0], {})
    span = max(starts) - min(starts) + 1
    step = next((each for each in _STEPS if span <= each * (_INTERVALS - 1)), None)
    if step is None:
        step = -(-span // (_STEPS[-1] * (_INTERVALS - 1))) * _STEPS[-1]
    begin = min(starts) // step * step
    length = (max(starts) - begin) // step + 1
    series: defaultdict[str, list[int]] = defaultdict(lambda: [0] * length)
    for each in explanations:
        start = each.flow.traffic.first_start
        if start is not None:
            series[name_of(each)][(start - begin) // step] += each.flow.traffic.records
    shown = sorted(series, key=lambda name: -sum(series[name])) if order is None else order
    result = {name: series[name] for name in shown[: _MAX_SERIES - 1]}
    rest = [series[name] for name in shown[_MAX_SERIES - 1 :]]
    if rest:
        result["others"] = [sum(column) for column in zip(*rest, strict=True)]
    return Bars(begin, step, result)


def _remotes(explanations: Sequence[Explanation]) -> list[Remote]:
    flows: Counter[str] = Counter()
    packets: Counter[str] = Counter()
    for each in explanations:
        address = each.flow.remote or each.flow.key.packet_source
        if address is not None:
            flows[str(address)] += 1
            packets[str(address)] += each.flow.traffic.packets
    every = [Remote(address=name, flows=flows[name], packets=packets[name]) for name in flows]
    return sorted(every, key=busiest)[:_MAX_REMOTES]


def _quality(batch: Batch, readings: Sequence[Reading], errors: Sequence[ObjectError]) -> list[str]:
    counts = batch.counts
    lines = [
        (counts.no_data, "record", "without traffic (NODATA)"),
        (counts.skip_data, "record", "lost by AWS (SKIPDATA)"),
        (counts.no_action, "record", "without an action"),
        (counts.malformed.total(), "malformed line", "left out"),
    ]
    shown = [f"{counted(count, noun)} {what}" for count, noun, what in lines if count]
    unknown = sorted({name for reading in readings for name in reading.unknown_fields})
    if unknown:
        shown.append(f"Unknown fields, ignored: {', '.join(unknown)}")
    return [
        f"{counted(counts.records, 'record')} in {counted(len(readings), 'file')}",
        *shown,
        *(f"Not read: {error}" for error in errors),
    ]
