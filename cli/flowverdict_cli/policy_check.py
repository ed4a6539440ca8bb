"""``flowverdict policy check``: whether a policy document is valid, and its effect on flow logs."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.text import Text

from flowverdict.alerts.grouping import group
from flowverdict.alerts.model import Severity
from flowverdict.core.errors import FlowVerdictError, PolicyError
from flowverdict.core.formatting import counted
from flowverdict.core.untrusted import one_line
from flowverdict.policy.document import MAX_DOCUMENT_BYTES, parse_policy
from flowverdict.policy.entries import Silence
from flowverdict.policy.values import parse_time
from flowverdict_cli import explain
from flowverdict_cli.explain import console_for_stdout
from flowverdict_cli.inputs import STDIN
from flowverdict_cli.rules import rules_of
from flowverdict_cli.tables import plain_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from flowverdict.alerts.model import Notification
    from flowverdict.policy.entries import Entry
    from flowverdict.policy.model import Policy
    from flowverdict.verdict.explanation import Explanation


SOON = timedelta(days=7)  # enough time to renew a silence, or to fix what it hides


class State(StrEnum):
    """Whether an entry mutes flows at a time."""

    ACTIVE = "active"
    ENDS_SOON = "ends soon"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryCheck:
    """One entry, and its effect on the flows of the logs.

    ``matched_flows`` counts all flows that the entry matches; ``muted_flows`` and ``muted_records``
    count only what the entry mutes. An entry that has ended mutes nothing, and an entry does not
    mute flows that an earlier entry mutes.
    """

    place: str
    entry: Entry
    state: State
    matched_flows: int
    muted_flows: int
    muted_records: int

    @property
    def until(self) -> datetime | None:
        """The end of a silence; ``None`` for expected rejects, which do not end."""
        return self.entry.until if isinstance(self.entry, Silence) else None

    @property
    def remark(self) -> str:
        """Why the entry mutes nothing of these logs; empty if the entry mutes something."""
        if self.matched_flows == 0:
            return "matches no flow here"
        if self.state is State.ENDED:
            return f"would match {counted(self.matched_flows, 'flow')}"
        return "matches only flows that earlier entries mute" if self.muted_flows == 0 else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """An alert that is left, and where it goes: what a route of the policy names, or ``None``."""

    fingerprint: str
    severity: Severity
    title: str
    place: str | None
    topic: str | None
    slack_channel: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """The effect of the whole policy on the flows of the logs and on their alerts."""

    flows: int
    records: int
    muted_flows: int
    muted_records: int
    alerts: int
    alerts_of_kept: int
    dropped_alerts: tuple[tuple[Severity, int], ...]
    routed: tuple[Routed, ...]

    @property
    def alerts_sent(self) -> int:
        """Alerts that are left."""
        return self.alerts_of_kept - sum(count for _, count in self.dropped_alerts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A valid policy at a time, with its effect on logs if there are any."""

    name: str
    policy: Policy
    at: datetime
    entries: tuple[EntryCheck, ...]
    effect: Effect | None

    def counts(self, state: State) -> int:
        """Return the number of entries in a state."""
        return sum(entry.state is state for entry in self.entries)


def run(  # noqa: PLR0913 - one argument for each option
    file: str,
    logs: Sequence[str],
    *,
    output: str,
    at: str | None,
    config: Path | None,
    account: bool,
    log_format: str | None,
) -> None:
    """Check a policy document, and print what it does to logs if there are any.

    Raises
    ------
    PolicyError
        The document is not valid.
    FlowVerdictError
        A file or the rules cannot be read.
    """
    at_time = moment(at)
    policy = read_policy(file)
    explanations = read = None
    if logs:
        configs = rules_of(config, account=account)
        read = explain.read_files(logs, explain.headerless_formats(log_format))
        if read.errors:
            raise read.errors[0]
        explanations = read.batch.explanations(configs)
    checked = check(file, policy, at_time, explanations)
    if output == "json":
        click.echo(to_json(checked))
    else:
        show(checked)
    if sys.stdout is not None:
        sys.stdout.flush()
    if read is not None and explanations is not None:
        explain.print_remarks(read.readings, read.notes)
        click.echo(explain.summary(read.batch, len(explanations)), err=True)


def read_policy(name: str) -> Policy:
    """Read a policy file, or standard input for ``-``.

    Raises
    ------
    PolicyError
        The document is not valid.
    FlowVerdictError
        The file cannot be read.
    """
    limit = MAX_DOCUMENT_BYTES + 1  # enough to find out that a file is too large
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
    """Parse the time of ``--at``; ``None`` is now.

    Raises
    ------
    click.BadParameter
        The text is not a time, or lacks a time zone.
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
    """Evaluate each entry of a policy at a time.

    Parameters
    ----------
    explanations
        The flows of the logs; ``None`` without logs, and then the check has no effect.
    """
    sifted = policy.sift(explanations or (), at)
    matched = Counter(
        place for explanation in explanations or () for place in policy.matching(explanation)
    )
    muted = Counter(flow.place for flow in sifted.muted)
    records: Counter[str] = Counter()
    for flow in sifted.muted:
        records[flow.place] += flow.explanation.flow.traffic.records
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
    # Severity belongs to an alert, not to a flow: the flows that are left are grouped without the
    # muted ones.
    left = [detection.notification for detection in group(kept)]
    severities = Counter(alert.severity for alert in left)
    return Effect(
        flows=len(explanations),
        records=sum(explanation.flow.traffic.records for explanation in explanations),
        muted_flows=len(explanations) - len(kept),
        muted_records=muted_records,
        alerts=len(group(explanations)),
        alerts_of_kept=severities.total(),
        dropped_alerts=tuple(
            (severity, severities[severity])
            for severity in Severity
            if severities[severity] and not policy.allows(severity)
        ),
        routed=tuple(_routed(policy, alert) for alert in left if policy.allows(alert.severity)),
    )


def _routed(policy: Policy, alert: Notification) -> Routed:
    found = policy.route_of(alert)
    return Routed(
        fingerprint=alert.fingerprint,
        severity=alert.severity,
        title=alert.title,
        place=None if found is None else found[0],
        topic=None if found is None else found[1].topic,
        slack_channel=None if found is None else found[1].slack_channel,
    )


def to_json(checked: Check) -> str:
    """Return the check as one JSON object on one line."""
    effect = checked.effect
    return json.dumps(
        {
            "policy": checked.name,
            "at": _time(checked.at),
            "minimum_severity": checked.policy.minimum_severity,
            "silences": len(checked.policy.silences),
            "expected": len(checked.policy.expected),
            "routes": len(checked.policy.routes),
            "entries": [
                {
                    "place": entry.place,
                    "state": entry.state,
                    "until": None if entry.until is None else _time(entry.until),
                    "reason": entry.entry.reason,
                    "matched_flows": None if effect is None else entry.matched_flows,
                    "muted_flows": None if effect is None else entry.muted_flows,
                    "muted_records": None if effect is None else entry.muted_records,
                }
                for entry in checked.entries
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
                "routed": [asdict(routed) for routed in effect.routed],
            },
        }
    )


def show(checked: Check) -> None:
    """Print the policy, a table of its entries, and its effect on the logs."""
    console = console_for_stdout()
    console.print(Text(one_line(_headline(checked))))
    if checked.entries:
        console.print()
        console.print(_table(checked))
    if checked.effect is not None:
        console.print()
        for line in _effect_in_words(checked.policy, checked.effect):
            console.print(Text(line))
        if checked.policy.routes and checked.effect.routed:
            console.print()
            console.print(_routes(checked.effect.routed))


def _headline(checked: Check) -> str:
    policy = checked.policy
    endings = [
        f"{count:,} {what}"
        for count, what in (
            (checked.counts(State.ENDED), "ended"),
            (checked.counts(State.ENDS_SOON), "ending within a week"),
        )
        if count
    ]
    silences = counted(len(policy.silences), "silence")
    routes = f"{counted(len(policy.routes), 'route')}, " if policy.routes else ""
    if endings:
        silences += f" ({', '.join(endings)})"
    return (
        f"{checked.name}: valid, {silences}, {len(policy.expected):,} expected, {routes}"
        f"minimum severity {policy.minimum_severity}"
    )


def _table(checked: Check) -> Table:
    shown = plain_table("entry", "until (UTC)")
    if checked.effect is not None:
        for column in ("flows", "records"):
            shown.add_column(column, justify="right")
    for column in ("reason", "remark"):
        shown.add_column(column, overflow="fold")
    for entry in checked.entries:
        effect: tuple[str, ...] = ()
        remarks = [_when(entry, checked.at)]
        if checked.effect is not None:
            effect = (f"{entry.muted_flows:,}", f"{entry.muted_records:,}")
            remarks.append(entry.remark)
        remark = ", ".join(filter(None, remarks))
        shown.add_row(
            entry.place,
            _until(entry.until),
            *effect,
            Text(one_line(entry.entry.reason)),
            Text(remark, style="yellow" if remark else ""),
        )
    return shown


def _routes(routed: Sequence[Routed]) -> Table:
    shown = plain_table("route", "text goes to", "Slack", "severity", "alert")
    for alert in routed:
        shown.add_row(
            alert.place or "none",
            "the email topic" if alert.topic is None else alert.topic.rpartition(":")[2],
            "the stack's channel" if alert.slack_channel is None else alert.slack_channel,
            alert.severity,
            Text(one_line(alert.title)),
        )
    return shown


def _when(entry: EntryCheck, at: datetime) -> str:
    if entry.until is None or entry.state is State.ACTIVE:
        return ""
    days = abs(entry.until - at).days
    span = "less than a day" if days == 0 else counted(days, "day")
    return f"ended {span} ago" if entry.state is State.ENDED else f"ends in {span}"


def _until(until: datetime | None) -> str:
    return "no end" if until is None else f"{until:%Y-%m-%d %H:%M:%S}"


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
