"""Show open alerts as a table, JSON or CSV, and one alert with all that happened to it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from flowverdict.alerts.matching import Key, value_as_text
from flowverdict.alerts.model import Alert, Kind
from flowverdict.core.formatting import duration, isoformat
from flowverdict.core.untrusted import one_line
from flowverdict.lifecycle.state_machine import AlertState, Suppressed
from flowverdict_cli.explain import console_for_stdout
from flowverdict_cli.outputs import cell, csv_row
from flowverdict_cli.tables import plain_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    from flowverdict.lifecycle.history import Event
    from flowverdict.lifecycle.on_call import Silence, Silences

_SHORTEST = 8  # digits of a fingerprint that are shown, if they are enough


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An alert, and the silences that match it, the last to end first."""

    state: AlertState
    silences: tuple[Silence, ...]

    @property
    def standing(self) -> str:
        """What people do about it, or why nobody is told."""
        state = self.state
        if not state.is_open:
            ending = state.notification.ending
            return "ended" if ending is None else f"ended: {ending}"
        if self.silences:
            return f"silenced until {_minute(self.silences[0].until)}"
        if state.acknowledged is not None:
            return "acknowledged"
        if state.for_digest:
            return "for the digest"
        if state.suppressed is Suppressed.INHIBITED:
            return "explained by another"
        if state.suppressed is Suppressed.RATE_LIMITED:
            return "held back by the limit"
        return "firing"


def rows(states: Iterable[AlertState], silences: Silences, now: int) -> list[Row]:
    """Return alerts with the silences that match them now."""
    active = silences.active(now)
    return [Row(state=each, silences=active.matching(each.notification)) for each in states]


# --- the list -------------------------------------------------------------------------------------


def show_list(shown: Sequence[Row], output: str, now: int) -> None:
    """Print alerts as a table, or a JSON object or CSV row for each."""
    if output == "json":
        for row in shown:
            click.echo(json.dumps(_summary(row)))
    elif output == "csv":
        columns: list[str] = []
        for row in shown:
            values = _summary(row)
            if not columns:
                columns = list(values)
                click.echo(csv_row(columns))
            click.echo(csv_row([cell(values[name]) for name in columns]))
    elif shown:
        _print_table(shown, now)
    else:
        click.echo("no open alerts")


def _print_table(shown: Sequence[Row], now: int) -> None:
    digits = _digits([row.state.fingerprint for row in shown])
    table = plain_table()
    for column in ("alert", "severity", "for"):
        table.add_column(column, no_wrap=True)
    table.add_column("state", overflow="fold", max_width=17)
    table.add_column("problem", overflow="fold")
    for row in shown:
        state = row.state
        table.add_row(
            state.fingerprint[:digits],
            state.notification.severity,
            duration(max(0, now - state.opened_at)),
            row.standing,
            Text(one_line(state.notification.title)),
        )
    console_for_stdout().print(table)


def _digits(fingerprints: Sequence[str]) -> int:
    """Return how many digits tell the fingerprints apart."""
    return next(
        digits
        for digits in range(_SHORTEST, 33)
        if len({name[:digits] for name in fingerprints}) == len(set(fingerprints))
    )


def _summary(row: Row) -> dict[str, object]:
    state, notification = row.state, row.state.notification
    return {
        "fingerprint": state.fingerprint,
        "kind": notification.kind,
        "severity": notification.severity,
        "state": row.standing,
        "title": notification.title,
        "verdict": notification.verdict if isinstance(notification, Alert) else None,
        "account_id": notification.account_id,
        "region": notification.region,
        "vpc_id": notification.vpc_id,
        "opened_at": isoformat(state.opened_at),
        "first_seen": isoformat(notification.first_seen),
        "last_seen": isoformat(notification.last_seen),
        "records": notification.records,
        "messages": state.messages,
        "acknowledged_by": None if state.acknowledged is None else state.acknowledged.by,
        "silenced_until": isoformat(row.silences[0].until) if row.silences else None,
    }


# --- one alert ------------------------------------------------------------------------------------


def show_one(row: Row, output: str) -> None:
    """Print an alert with its history, silences and acknowledgement."""
    if output == "json":
        click.echo(json.dumps(_whole(row)))
        return
    console = console_for_stdout()
    console.print(Text(one_line(row.state.notification.title)))
    _print_block(console, "", _facts(row))
    notification = row.state.notification
    if isinstance(notification, Alert) and notification.remediation is not None:
        console.print()
        console.print(Text("fix", style="bold"))
        for command in notification.remediation.commands:  # each one line, to be copied
            console.print(Text(one_line(command)), soft_wrap=True)
    _print_block(console, "people", _said(row))
    _print_block(console, "history", _history(row.state))


def _print_block(console: Console, heading: str, lines: Iterable[tuple[str, str]]) -> None:
    """Print labels and texts in two columns below a heading; nothing without lines."""
    block = Table.grid(padding=(0, 2))
    block.add_column(no_wrap=True)
    block.add_column(overflow="fold")
    for label, text in lines:
        block.add_row(label, Text(one_line(text)))
    if block.row_count:
        console.print()
        if heading:
            console.print(Text(heading, style="bold"))
        console.print(block)


def _whole(row: Row) -> dict[str, object]:
    state = row.state
    return _summary(row) | {
        "is_open": state.is_open,
        "last_detected_at": isoformat(state.observed_at),
        "closed_at": isoformat(state.closed_at),
        "ending": state.notification.ending,
        "message_not_sent_yet": state.pending,
        "acknowledged": None if state.acknowledged is None else _event(state.acknowledged),
        "silences": [silence_as_json(silence) for silence in row.silences],
        "history": [_event(event) for event in state.history],
        "alert": json.loads(state.notification.to_json()),
    }


def _event(event: Event) -> dict[str, object]:
    return {"at": isoformat(event.at), "what": event.what, "by": event.by, "reason": event.reason}


def silence_as_json(silence: Silence) -> dict[str, Any]:
    """Return a silence as values of JSON."""
    return {
        "id": silence.silence_id,
        "match": {
            key: [value_as_text(key, value) for value in values]
            for key, values in silence.asked.items()
        },
        "until": isoformat(silence.until),
        "reason": silence.reason,
        "by": silence.by,
        "created_at": isoformat(silence.created_at),
    }


def _facts(row: Row) -> Iterable[tuple[str, str]]:
    state, notification = row.state, row.state.notification
    facts: list[tuple[str, str | None]] = [
        ("fingerprint", state.fingerprint),
        ("severity", f"{notification.severity}: {notification.severity_reason}"),
        ("state", row.standing),
        ("where", notification.scope),
        ("open since", _minute(state.opened_at)),
        ("records", f"{notification.records:,}, {_seen(state)}"),
    ]
    if isinstance(notification, Alert):
        facts += [
            ("verdict", f"{notification.verdict}, {notification.confidence}"),
            ("blocked by", notification.blocker),
            ("clients", _remotes(notification)),
            ("owner", ", ".join(f"{name} {value}" for name, value in notification.owners) or None),
            ("because", notification.summary),
        ]
    if state.closed_at is not None:
        facts.append(("ended", f"{_minute(state.closed_at)}: {notification.status_reason or ''}"))
    return [(name, text) for name, text in facts if text is not None]


def _seen(state: AlertState) -> str:
    notification = state.notification
    if notification.first_seen is None or notification.last_seen is None:
        return f"detected {_minute(state.observed_at)}"
    return f"{_minute(notification.first_seen)} to {_minute(notification.last_seen)}"


def _remotes(alert: Alert) -> str | None:
    if not alert.top_remotes:
        return None
    shown = ", ".join(remote.address for remote in alert.top_remotes[:5])
    more = alert.remote_count - len(alert.top_remotes[:5])
    return shown + (f" and {more:,} more" if more > 0 else "")


def _said(row: Row) -> Iterable[tuple[str, str]]:
    said = row.state.acknowledged
    if said is not None:
        yield _minute(said.at), f"acknowledged by {said.by}: {said.reason}"
    for silence in row.silences:
        yield _minute(silence.created_at), silence_line(silence)


def silence_line(silence: Silence) -> str:
    """Return a silence in one line, with the id that lifts it."""
    return one_line(
        f"silence {silence.silence_id} until {_minute(silence.until)} by {silence.by}: "
        f"{silence.reason} ({silence.in_words})"
    )


def _history(state: AlertState) -> Iterable[tuple[str, str]]:
    if not state.history:
        yield "", "nothing is kept: an earlier version opened it"
    for event in state.history:
        by = "" if event.by is None else f" by {event.by}"
        reason = "" if event.reason is None else f": {event.reason}"
        yield _minute(event.at), f"{event.what}{by}{reason}"
    if state.pending is not None:
        yield "", "the last message is not sent yet; the next sweep sends it"


def _minute(seconds: int) -> str:
    """Return a time as people read it: ``2026-11-22 12:00Z``."""
    text = isoformat(seconds)
    return "" if text is None else f"{text[:10]} {text[11:16]}Z"


# --- the policy entry -----------------------------------------------------------------------------

_MAX_REMOTES = 10


def policy_entry(alert: Alert, reason: str) -> dict[str, object]:
    """Return the entry of ``expected`` in the policy document that would mute an alert."""
    match: dict[str, object] = {}
    if alert.kind is Kind.REJECT:
        match[Key.VERDICT] = alert.verdict
    place = (Key.VPC, alert.vpc_id), (Key.ACCOUNT, alert.account_id)
    match |= {key: value for key, value in place if value is not None}
    if alert.interface_count == 1 and alert.interfaces:
        match[Key.INTERFACE] = alert.interfaces[0]
    if alert.service_port is not None:
        match[Key.PORT] = alert.service_port
    if alert.protocol is not None:
        match[Key.PROTOCOL] = alert.protocol
    remotes = [remote.address for remote in alert.top_remotes]
    if 0 < len(remotes) == alert.remote_count <= _MAX_REMOTES:
        match[Key.CIDR] = remotes
    elif alert.far_network is not None:
        match[Key.CIDR] = alert.far_network
    return {"match": match, "reason": reason}
