"""Write times for people: with the day and the zone, and in Slack in each reader's own zone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import tzinfo

_UNKNOWN = "unknown"


def moment(seconds: int | None, zone: tzinfo = UTC) -> str:
    """Return Unix seconds as ``22 Nov 2026 12:00:05 UTC``; ``unknown`` for ``None``."""
    if seconds is None:
        return _UNKNOWN
    local = datetime.fromtimestamp(seconds, tz=zone)
    return f"{_day(local)} {local:%H:%M:%S} {_zone(local)}"


def span(first: int | None, last: int | None, zone: tzinfo = UTC) -> str:
    """Return a range: ``22 Nov 2026 12:00:05 to 12:00:25 UTC``.

    The day stands at both times where they differ in it, and the zone's name where they differ in
    that (the clocks were changed between them).
    """
    if first is None or last is None or first == last:
        return moment(last if first is None else first, zone)
    start = datetime.fromtimestamp(first, tz=zone)
    end = datetime.fromtimestamp(last, tz=zone)
    begin = f"{_day(start)} {start:%H:%M:%S}"
    if _zone(start) != _zone(end):
        begin = f"{begin} {_zone(start)}"
    day = "" if start.date() == end.date() else f"{_day(end)} "
    return f"{begin} to {day}{end:%H:%M:%S} {_zone(end)}"


def slack_moment(seconds: int | None) -> str:
    """Return Unix seconds as Slack's mark-up for a date, which shows each reader their own time.

    An old client shows the time in UTC
    (https://docs.slack.dev/messaging/formatting-message-text#date-formatting).
    """
    if seconds is None:
        return _UNKNOWN
    utc = datetime.fromtimestamp(seconds, tz=UTC)
    return f"<!date^{seconds}^{{date_short_pretty}} {{time}}|{utc.day} {utc:%b %H:%M} UTC>"


def _day(local: datetime) -> str:
    return f"{local.day} {local:%b %Y}"


def _zone(local: datetime) -> str:
    # Zones without letters of their own are named by their offset: "+03".
    name = local.tzname() or ""
    return f"UTC{name}" if name[:1] in {"+", "-"} else name
