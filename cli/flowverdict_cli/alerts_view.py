"""Show open alerts as a table, JSON or CSV, and one alert with all that happened to it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from flowverdict.alerts.matching import value_as_text
from flowverdict.alerts.model import Alert
from flowverdict.core.formatting import duration, isoformat
from flowverdict.core.untrusted import one_line
from flowverdict.lifecycle.alert_lines import facts, history, said
from flowverdict_cli.explain import console_for_stdout
from flowverdict_cli.outputs import cell, csv_row
from flowverdict_cli.tables import plain_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    from flowverdict.lifecycle.alert_lines import Row
    from flowverdict.lifecycle.history import Event
    from flowverdict.lifecycle.on_call import Silence

_SHORTEST = 8  # digits of a fingerprint that are shown, if they are enough


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
    _print_block(console, "", facts(row))
    notification = row.state.notification
    if isinstance(notification, Alert) and notification.remediation is not None:
        console.print()
        console.print(Text("fix", style="bold"))
        for command in notification.remediation.commands:  # each one line, to be copied
            console.print(Text(one_line(command)), soft_wrap=True)
    _print_block(console, "people", said(row))
    _print_block(console, "history", history(row.state))


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
