"""The periodic digest of what is no page: scans, the internet knocking, closed connections; and what the cap says."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from flowverdict.alerts.detection import fingerprint
from flowverdict.alerts.model import Alert, Kind, Notice, Section, Severity
from flowverdict.core.formatting import counted, duration, isoformat
from flowverdict.lifecycle.rate_limit import HOUR

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from flowverdict.lifecycle.rate_limit import RateLimit
    from flowverdict.lifecycle.state_machine import Intervals, State


_MAX_LINES = 10  # of a section: the busiest say it all


def digest_fingerprint(end: int) -> str:
    """Identify the digest of the period that ends at ``end`` (Unix seconds)."""
    return fingerprint(Kind.DIGEST, end)


def digest_of(states: Sequence[State], end: int, intervals: Intervals) -> Notice:
    """Give the digest of the low and informational alerts in ``states``."""
    alerts = [state.notification for state in states if isinstance(state.notification, Alert)]
    records = sum(alert.records for alert in alerts)
    scans = [alert for alert in alerts if alert.kind is Kind.SCAN]
    knocking = [
        alert for alert in alerts if alert.kind is not Kind.SCAN and alert.severity is Severity.LOW
    ]
    harmless = [alert for alert in alerts if alert.severity is Severity.INFO]
    sections = [
        _section("Scans", scans),
        _section("Knocking on what is closed", knocking),
        _section("Of no consequence (closed connections, or allowed by now)", harmless),
    ]
    sources = sum(alert.remote_count for alert in alerts)
    return Notice(
        kind=Kind.DIGEST,
        fingerprint=digest_fingerprint(end),
        severity=Severity.LOW,
        severity_reason="background noise, for the record",
        title=f"Background noise: {counted(records, 'rejected record')} in {duration(intervals.digest)}",
        summary=(
            f"{counted(records, 'rejected record')} of background noise from about {sources:,} addresses in the "
            f"{duration(intervals.digest)} to {isoformat(end)}. Nobody has to do anything."
        ),
        records=records,
        first_seen=min(
            (alert.first_seen for alert in alerts if alert.first_seen is not None), default=None
        ),
        last_seen=max(
            (alert.last_seen for alert in alerts if alert.last_seen is not None), default=None
        ),
        sections=tuple(section for section in sections if section.lines),
    )


def _section(heading: str, alerts: Iterable[Alert]) -> Section:
    together: defaultdict[str, list[Alert]] = defaultdict(list)
    for alert in alerts:
        place = alert.vpc_id or ", ".join(alert.interfaces)
        together[
            f"{alert.headline} at {place}"
            if alert.kind is Kind.SCAN
            else f"{alert.service} at {place}"
        ].append(alert)
    ranked = sorted(
        together.items(), key=lambda item: (-sum(alert.packets for alert in item[1]), item[0])
    )
    lines = [_line(what, its) for what, its in ranked[:_MAX_LINES]]
    if len(ranked) > _MAX_LINES:
        lines.append(f"and {len(ranked) - _MAX_LINES:,} more")
    return Section(heading=heading, lines=tuple(lines))


def _line(what: str, alerts: Sequence[Alert]) -> str:
    packets = sum(alert.packets for alert in alerts)
    remotes = [remote for alert in alerts for remote in alert.top_remotes]
    busiest = max(remotes, key=lambda remote: (remote.packets, remote.address), default=None)
    count = sum(alert.remote_count for alert in alerts)
    who = (
        ""
        if busiest is None
        else f" from {busiest.address}"
        if count == 1
        else f" from {count:,} addresses, most from {busiest.address}"
    )
    return f"{what}: {counted(packets, 'packet')}{who}"


def rate_limited_notice(rate_limit: RateLimit, hourly_limit: int, now: int) -> Notice:
    """Say how many messages of an hour were held back, and the worst of them."""
    hour = isoformat(rate_limit.hour)
    over = now >= rate_limit.hour + HOUR
    by_severity = ", ".join(
        f"{rate_limit.suppressed[severity]:,} {severity}"
        for severity in Severity
        if severity in rate_limit.suppressed
    )
    worst = next(
        (severity for severity in Severity if severity in rate_limit.suppressed), Severity.LOW
    )
    so_far = "" if over else " so far"
    return Notice(
        kind=Kind.RATE_LIMITED,
        fingerprint=fingerprint(
            "flood", rate_limit.hour, over
        ),  # as schema version 1 spelled it: stored
        severity=worst,
        severity_reason="as the most severe alert that was held back",
        title=f"{counted(rate_limit.suppressed_count, 'alert')} held back{so_far}: more than {hourly_limit:,} an hour",
        summary=(
            f"In the hour from {hour} there were more alerts than the {hourly_limit:,} messages that an hour may have. "
            f"{counted(rate_limit.suppressed_count, 'alert')} {'was' if rate_limit.suppressed_count == 1 else 'were'} held back{so_far} ({by_severity}). "
            "They are counted; what still happens is told when its reminder is due."
        ),
        first_seen=rate_limit.hour,
        last_seen=now,
        sections=(Section(heading="Among those held back", lines=rate_limit.titles),),
    )
