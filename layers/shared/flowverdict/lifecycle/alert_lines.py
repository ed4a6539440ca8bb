"""Say in lines what an alert is, what people said of it, and what happened to it.

The command and Slack's buttons show the same lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowverdict.alerts.model import Alert
from flowverdict.core.formatting import isoformat
from flowverdict.core.untrusted import one_line
from flowverdict.lifecycle.state_machine import AlertState, Suppressed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flowverdict.lifecycle.on_call import Silence, Silences


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


def facts(row: Row) -> Iterable[tuple[str, str]]:
    """Return what an alert is: labels and texts."""
    state, notification = row.state, row.state.notification
    known: list[tuple[str, str | None]] = [
        ("fingerprint", state.fingerprint),
        ("severity", f"{notification.severity}: {notification.severity_reason}"),
        ("state", row.standing),
        ("where", notification.scope),
        ("open since", _minute(state.opened_at)),
        ("records", f"{notification.records:,}, {_seen(state)}"),
    ]
    if isinstance(notification, Alert):
        known += [
            ("verdict", f"{notification.verdict}, {notification.confidence}"),
            ("blocked by", notification.blocker),
            ("clients", _remotes(notification)),
            ("owner", ", ".join(f"{name} {value}" for name, value in notification.owners) or None),
            ("because", notification.summary),
        ]
    if state.closed_at is not None:
        known.append(("ended", f"{_minute(state.closed_at)}: {notification.status_reason or ''}"))
    return [(name, text) for name, text in known if text is not None]


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


def said(row: Row) -> Iterable[tuple[str, str]]:
    """Yield what people said of an alert and still holds: times and texts."""
    event = row.state.acknowledged
    if event is not None:
        yield _minute(event.at), f"acknowledged by {event.by}: {event.reason}"
    for silence in row.silences:
        yield _minute(silence.created_at), silence_line(silence)


def silence_line(silence: Silence) -> str:
    """Return a silence in one line, with the id that lifts it."""
    return one_line(
        f"silence {silence.silence_id} until {_minute(silence.until)} by {silence.by}: "
        f"{silence.reason} ({silence.in_words})"
    )


def history(state: AlertState) -> Iterable[tuple[str, str]]:
    """Yield what happened to an alert: times and texts."""
    if not state.history:
        yield "", "nothing is kept: an earlier version opened it"
    for event in state.history:
        by = "" if event.by is None else f" by {event.by}"
        reason = "" if event.reason is None else f": {event.reason}"
        yield _minute(event.at), f"{event.what}{by}{reason}"
    if state.pending is not None:
        yield "", "the last message is not sent yet; the next sweep sends it"


def lines_of(row: Row) -> Iterator[str]:
    """Yield all that is known of an alert, a line each, with its fix."""
    for label, text in facts(row):
        yield f"{label:<12}{text}"
    notification = row.state.notification
    if isinstance(notification, Alert):
        if notification.evidence:
            yield from ("", "why", *(f"- {each.detail}" for each in notification.evidence))
        if notification.remediation is not None:
            yield from ("", "fix", *notification.remediation.commands)
    for heading, lines in (("people", said(row)), ("history", history(row.state))):
        shown = [f"{when}  {text}".strip() for when, text in lines]
        if shown:
            yield from ("", heading, *shown)


def _minute(seconds: int) -> str:
    """Return a time as people read it: ``2026-11-22 12:00Z``."""
    text = isoformat(seconds)
    return "" if text is None else f"{text[:10]} {text[11:16]}Z"
