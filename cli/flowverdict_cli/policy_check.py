"""``flowverdict policy check``: whether a policy document is valid, and what it would have done to flow logs at hand."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from flowverdict.alerts.grouping import group
from flowverdict.alerts.model import Severity
from flowverdict.core.errors import FlowVerdictError, PolicyError
from flowverdict.core.formatting import counted
from flowverdict.core.untrusted import one_line
from flowverdict.policy.document import MAX_DOCUMENT_BYTES, parse_policy
from flowverdict.policy.entries import Silence
from flowverdict.policy.values import parse_time
from flowverdict_cli.explain import STDIN, console_for_stdout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowverdict.policy.entries import Entry
    from flowverdict.policy.model import Policy
    from flowverdict.verdict.explanation import Explanation


SOON = timedelta(days=7)  # a week is time enough to renew a silence, or to mend what it hides


class State(StrEnum):
    """Whether an entry mutes anything at a time."""

    ACTIVE = "active"
    ENDS_SOON = "ends soon"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryCheck:
    """One entry, and what it did to the flows of the logs.

    ``matched_flows`` are all that it matches, ``muted_flows`` and ``muted_records`` those that it
    mutes: an entry that has ended mutes none, nor does one that only matches what an entry before
    it mutes.
    """

    place: str
    entry: Entry
    state: State
    matched_flows: int
    muted_flows: int
    muted_records: int

    @property
    def until(self) -> datetime | None:
        """When it ends; never, for what is expected."""
        return self.entry.until if isinstance(self.entry, Silence) else None

    @property
    def remark(self) -> str:
        """What is odd about an entry that mutes nothing of these logs; empty where nothing is."""
        if self.matched_flows == 0:
            return "matches nothing here"
        if self.state is State.ENDED:
            return f"would match {counted(self.matched_flows, 'flow')}"
        return "matches only what entries before it mute" if self.muted_flows == 0 else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What the whole policy did to the flows of the logs, and to the alerts they cause."""

    flows: int
    records: int
    muted_flows: int
    muted_records: int
    alerts: int
    alerts_of_kept: int
    dropped_alerts: tuple[tuple[Severity, int], ...]

    @property
    def alerts_sent(self) -> int:
        """What is left in the end."""
        return self.alerts_of_kept - sum(count for _, count in self.dropped_alerts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A valid policy at a time, with its effect on logs where there were any."""

    name: str
    policy: Policy
    at: datetime
    entries: tuple[EntryCheck, ...]
    effect: Effect | None

    def counts(self, state: State) -> int:
        """Count the entries in a state."""
        return sum(one.state is state for one in self.entries)


def read_policy(name: str) -> Policy:
    """Read a policy file, or standard input for ``-``.

    Raises
    ------
    PolicyError
        It is not valid.
    FlowVerdictError
        It cannot be read.
    """
    limit = MAX_DOCUMENT_BYTES + 1  # of a file of any size, enough to find it too large
    if name == STDIN:
        if sys.stdin is None:
            raise FlowVerdictError("standard input: closed")
        return parse_policy(sys.stdin.buffer.read(limit))
    try:
        with Path(name).open("rb") as file:
            content = file.read(limit)
    except OSError as error:
        raise FlowVerdictError(f"{name}: {(error.strerror or str(error)).lower()}") from error
    return parse_policy(content)


def moment(text: str | None) -> datetime:
    """Give the time to check for: now, unless told otherwise.

    Raises
    ------
    click.BadParameter
        It is no time, or does not say in which time zone.
    """
    if text is None:
        return datetime.now(UTC)
    try:
        return parse_time(text)
    except PolicyError as error:
        raise click.BadParameter(str(error), param_hint="'--at'") from error


def check(
    name: str, policy: Policy, at: datetime, explanations: Sequence[Explanation] | None
) -> Check:
    """Say what each entry is and does at a time.

    Parameters
    ----------
    explanations
        Of the logs; ``None`` where there are none, and nothing is said of what the policy does.
    """
    sifted = policy.sift(explanations or (), at)
    matched = Counter(place for one in explanations or () for place in policy.matching(one))
    muted = Counter(one.place for one in sifted.muted)
    records: Counter[str] = Counter()
    for one in sifted.muted:
        records[one.place] += one.explanation.flow.traffic.records
    entries = tuple(
        EntryCheck(
            place=place,
            entry=entry,
            state=_state(entry, at),
            matched_flows=matched[place],
            muted_flows=muted[place],
            muted_records=records[place],
        )
        for place, entry in policy.entries().items()
    )
    effect = (
        None
        if explanations is None
        else _effect(policy, explanations, sifted.kept, records.total())
    )
    return Check(
        name="standard input" if name == STDIN else name,
        policy=policy,
        at=at,
        entries=entries,
        effect=effect,
    )


def _state(entry: Entry, at: datetime) -> State:
    if not isinstance(entry, Silence):
        return State.ACTIVE
    if entry.is_over(at):
        return State.ENDED
    # Not `until <= at + SOON`, which has no value in the year 9999.
    return State.ENDS_SOON if entry.until - at <= SOON else State.ACTIVE


def _effect(
    policy: Policy,
    explanations: Sequence[Explanation],
    kept: Sequence[Explanation],
    muted_records: int,
) -> Effect:
    # Severity is an alert's, not a flow's: what is muted is taken out first, and the rest is
    # grouped anew.
    severities = Counter(detection.notification.severity for detection in group(kept))
    return Effect(
        flows=len(explanations),
        records=sum(one.flow.traffic.records for one in explanations),
        muted_flows=len(explanations) - len(kept),
        muted_records=muted_records,
        alerts=len(group(explanations)),
        alerts_of_kept=severities.total(),
        dropped_alerts=tuple(
            (severity, severities[severity])
            for severity in Severity
            if severities[severity] and not policy.allows(severity)
        ),
    )


def to_json(checked: Check) -> str:
    """Give the whole as one JSON object on one line."""
    effect = checked.effect
    return json.dumps(
        {
            "policy": checked.name,
            "at": _time(checked.at),
            "minimum_severity": checked.policy.minimum_severity,
            "silences": len(checked.policy.silences),
            "expected": len(checked.policy.expected),
            "entries": [
                {
                    "place": one.place,
                    "state": one.state,
                    "until": None if one.until is None else _time(one.until),
                    "reason": one.entry.reason,
                    "matched_flows": None if effect is None else one.matched_flows,
                    "muted_flows": None if effect is None else one.muted_flows,
                    "muted_records": None if effect is None else one.muted_records,
                }
                for one in checked.entries
            ],
            "effect": None
            if effect is None
            else {
                "flows": effect.flows,
                "records": effect.records,
                "muted_flows": effect.muted_flows,
                "muted_records": effect.muted_records,
                "alerts": effect.alerts,
                "alerts_of_kept_flows": effect.alerts_of_kept,
                "alerts_below_minimum_severity": dict(effect.dropped_alerts),
                "alerts_sent": effect.alerts_sent,
            },
        }
    )


def show(checked: Check) -> None:
    """Print for a person what the policy is, its entries one a row, and what it does to the logs."""
    console = console_for_stdout()
    console.print(Text(one_line(_headline(checked))))
    if checked.entries:
        console.print()
        console.print(_table(checked))
    if checked.effect is not None:
        console.print()
        for line in _effect_in_words(checked.policy, checked.effect):
            console.print(Text(line))


def _headline(checked: Check) -> str:
    policy = checked.policy
    told = [
        f"{count:,} {what}"
        for count, what in (
            (checked.counts(State.ENDED), "ended"),
            (checked.counts(State.ENDS_SOON), "ending within a week"),
        )
        if count
    ]
    silences = counted(len(policy.silences), "silence") + (f" ({', '.join(told)})" if told else "")
    return f"{checked.name}: valid, {silences}, {len(policy.expected):,} expected, minimum severity {policy.minimum_severity}"


def _table(checked: Check) -> Table:
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("entry", "until (UTC)"):
        shown.add_column(column, overflow="fold")
    if checked.effect is not None:
        for column in ("flows", "records"):
            shown.add_column(column, justify="right")
    for column in ("reason", "remark"):
        shown.add_column(column, overflow="fold")
    for one in checked.entries:
        effect = (
            () if checked.effect is None else (f"{one.muted_flows:,}", f"{one.muted_records:,}")
        )
        remark = (
            _when(one, checked.at)
            if checked.effect is None
            else ", ".join(filter(None, (_when(one, checked.at), one.remark)))
        )
        style = "yellow" if remark else ""
        shown.add_row(
            one.place,
            _until(one.until),
            *effect,
            Text(one_line(one.entry.reason)),
            Text(remark, style=style),
        )
    return shown


def _when(one: EntryCheck, at: datetime) -> str:
    if one.until is None or one.state is State.ACTIVE:
        return ""
    days = abs(one.until - at).days
    span = "less than a day" if days == 0 else counted(days, "day")
    return f"ended {span} ago" if one.state is State.ENDED else f"ends in {span}"


def _until(until: datetime | None) -> str:
    return "for good" if until is None else f"{until:%Y-%m-%d %H:%M:%S}"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _effect_in_words(policy: Policy, effect: Effect) -> list[str]:
    dropped = ", ".join(f"{count:,} {severity}" for severity, count in effect.dropped_alerts)
    flows, records = counted(effect.flows, "flow"), counted(effect.records, "record")
    return [
        f"muted:   {effect.muted_flows:,} of {flows}, {effect.muted_records:,} of {records}",
        f"dropped: {dropped or 'no alerts'}, below minimum severity {policy.minimum_severity}",
        f"alerts:  {effect.alerts:,} without the policy, {effect.alerts_sent:,} with it",
    ]
