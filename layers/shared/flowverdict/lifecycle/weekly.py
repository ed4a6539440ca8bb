"""Build the weekly summary: problems by owner, time to end, and what people should look at.

It tells of what the table holds: open alerts, and those that ended within the week, each with its
last episode. Background noise is the digest's.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from flowverdict.alerts.detection import fingerprint
from flowverdict.alerts.lead import lead
from flowverdict.alerts.model import Alert, Kind, Notice, Section, Severity
from flowverdict.core.formatting import counted, cut, duration, isoformat
from flowverdict.verdict.model import VerdictKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from flowverdict.alerts.ending import Ending
    from flowverdict.lifecycle.on_call import Silences
    from flowverdict.lifecycle.state_machine import AlertState

WEEK = 7 * 86_400
_MAX_LINES = 10  # of a section
_NOISIEST = 5
_NO_OWNER = "no owner known"
# About the data, not about a problem of the network.
_OF_DATA = {
    Kind.RECORDS_LOST: "AWS lost records (SKIPDATA)",
    Kind.NO_FLOW_LOGS: "flow logs came no more",
    Kind.FLOW_OVERFLOW: "more rejected flows than are evaluated one by one",
}
_MALFORMED = (
    "Malformed lines are not kept here: the metric RecordsMalformed and the log line "
    '"malformed lines" have them.'
)


class Seen(NamedTuple):
    """What the summary needs of an alert or notice; ``end`` is ``None`` while it goes on."""

    fingerprint: str
    kind: Kind
    line: str
    owner: str
    records: int
    is_undetermined: bool
    begin: int
    end: int | None
    ending: Ending | None


def seen_of(state: AlertState) -> Seen:
    """Return what the summary needs of a state."""
    known = state.notification
    line, owner, is_undetermined = known.title, "", False
    if isinstance(known, Alert):
        line = lead(known)
        owner = ", ".join(f"{name} {value}" for name, value in known.owners)
        is_undetermined = known.verdict == VerdictKind.UNDETERMINED
    return Seen(
        fingerprint=state.fingerprint,
        kind=known.kind,
        line=line,
        owner=owner or _NO_OWNER,
        records=known.records,
        is_undetermined=is_undetermined,
        begin=state.opened_at,
        end=state.closed_at,
        ending=known.ending if state.closed_at is not None and state.was_sent else None,
    )


def belongs(state: AlertState, end: int) -> bool:
    """Return whether the summary of the week that ends at ``end`` tells of a state."""
    kind = state.notification.kind
    is_told = not state.for_digest and kind is not Kind.RATE_LIMITED
    return is_told and (state.closed_at is None or state.closed_at > end - WEEK)


def weekly_fingerprint(end: int) -> str:
    """Return the fingerprint of the summary of the week that ends at ``end`` (Unix seconds)."""
    return fingerprint(Kind.WEEKLY_SUMMARY, end)


def weekly_of(seen: Iterable[Seen], silences: Silences, end: int, *, is_cut: bool) -> Notice:
    """Return the summary of the week that ends at ``end`` (Unix seconds).

    ``is_cut`` says that there are more alerts than are read.
    """
    every = sorted(seen, key=lambda one: (-one.records, one.fingerprint))
    problems = [one for one in every if one.kind not in _OF_DATA]
    ended = [one for one in problems if one.end is not None]
    sections = [
        Section(heading=heading, lines=_short(lines, most))
        for heading, lines, most in (
            ("By owner", _by_owner(problems), _MAX_LINES),
            ("How they ended", _endings(ended), _MAX_LINES),
            ("Noisiest", [_records(one) for one in problems], _NOISIEST),
            ("Never explained", _undetermined(problems), _MAX_LINES),
            ("Silences that end within a week", _silences(silences, end), _MAX_LINES),
            ("Data quality", _quality(every), _MAX_LINES),
        )
        if lines
    ]
    went_on = len(problems) - len(ended)
    happened = (
        ", ".join([counted(len(problems), "problem"), *_still_open(went_on)])
        if problems
        else "no problem"
    )
    more = " There are more than are read: what is beyond is not counted." if is_cut else ""
    return Notice(
        kind=Kind.WEEKLY_SUMMARY,
        fingerprint=weekly_fingerprint(end),
        severity=Severity.LOW,
        severity_reason="a summary, for the record",
        title=f"The week: {happened}",
        summary=(
            f"From {isoformat(end - WEEK)} to {isoformat(end)}: {happened}. Background noise is in "
            f"the digests.{more}"
        ),
        records=sum(one.records for one in problems),
        first_seen=end - WEEK,
        last_seen=end,
        sections=tuple(sections),
    )


def _short(lines: Sequence[str], most: int) -> tuple[str, ...]:
    more = len(lines) - most
    return (*map(cut, lines[:most]), *([f"and {more:,} more"] if more > 0 else []))


def _still_open(count: int) -> list[str]:
    return [f"{count:,} still open"] if count else []


def _records(one: Seen) -> str:
    return f"{one.line}: {counted(one.records, 'rejected record')}"


def _grouped[Name: str](
    seen: Iterable[Seen], name_of: Callable[[Seen], Name]
) -> list[tuple[Name, list[Seen]]]:
    """Group, the largest group first."""
    groups: defaultdict[Name, list[Seen]] = defaultdict(list)
    for one in seen:
        groups[name_of(one)].append(one)
    return sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))


def _by_owner(problems: Sequence[Seen]) -> list[str]:
    lines = []
    for owner, theirs in _grouped(problems, lambda one: one.owner):
        went_on = sum(one.end is None for one in theirs)
        parts = [counted(len(theirs), "problem"), *_still_open(went_on)]
        if took := [one.end - one.begin for one in theirs if one.end is not None]:
            parts.append(_took(took))
        lines.append(f"{owner}: {', '.join(parts)}")
    return lines


def _took(seconds: Sequence[int]) -> str:
    """Return how long ended problems took: the middle one, and the longest of several."""
    middle = duration(max(0, int(median(seconds))))
    if len(seconds) == 1:
        return f"ended after {middle}"
    return f"ended after {middle} (median), {duration(max(0, *seconds))} at the longest"


def _endings(ended: Sequence[Seen]) -> list[str]:
    groups = _grouped(ended, lambda one: one.ending or "without a message")
    return [
        f"{ending}: {len(those):,}, {_took([one.end - one.begin for one in those if one.end])}"
        for ending, those in groups
    ]


def _undetermined(problems: Sequence[Seen]) -> list[str]:
    return [_records(one) for one in problems if one.is_undetermined]


def _silences(silences: Silences, end: int) -> list[str]:
    soon = [each for each in silences.active(end).silences if each.until <= end + WEEK]
    return [
        f"{isoformat(each.until)}: {each.in_words} - {each.by}: {each.reason} "
        f"(id {each.silence_id})"
        for each in sorted(soon, key=lambda each: (each.until, each.silence_id))
    ]


def _quality(every: Sequence[Seen]) -> list[str]:
    counts = Counter(one.kind for one in every if one.kind in _OF_DATA)
    lines = []
    for kind, words in _OF_DATA.items():
        if counts[kind]:
            places = [one.line for one in every if one.kind is kind]
            went_on = sum(one.kind is kind and one.end is None for one in every)
            known = ", ".join([f"{counts[kind]:,}", *_still_open(went_on)])
            lines.append(f"{words}: {known}; {places[0]}")
    return [*lines, _MALFORMED] if lines else []
