"""Build the notices beside the alerts: the periodic digest, and what the rate limit held back.

The digest reports alerts that wake nobody: scans, rejected requests from the internet to closed
ports, and closed connections.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from flowverdict.alerts.detection import fingerprint
from flowverdict.alerts.model import Alert, Kind, Notice, Section, Severity
from flowverdict.core.formatting import counted, duration, isoformat
from flowverdict.core.untrusted import shown_id
from flowverdict.lifecycle.intervals import HOUR

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from flowverdict.lifecycle.intervals import Intervals
    from flowverdict.lifecycle.rate_limit import RateLimit
    from flowverdict.lifecycle.state_machine import AlertState


_MAX_LINES = 10  # of a section: the busiest


def digest_fingerprint(end: int) -> str:
    """Return the fingerprint of the digest whose period ends at ``end`` (Unix seconds)."""
    return fingerprint(Kind.DIGEST, end)


def digest_of(
    states: Sequence[AlertState],
    endings: Mapping[str, str],
    end: int,
    intervals: Intervals,
    people: Section | None = None,
) -> Notice:
    """Return the digest of the low and informational alerts in ``states``.

    ``endings`` says of each alert how it ended, by fingerprint; ``people``, what is silenced and
    acknowledged.
    """
    alerts = [state.notification for state in states if isinstance(state.notification, Alert)]
    records = sum(alert.records for alert in alerts)
    sources = sum(alert.remote_count for alert in alerts)
    period = duration(intervals.digest)
    first_seen, last_seen = _times(alerts)
    return Notice(
        kind=Kind.DIGEST,
        fingerprint=digest_fingerprint(end),
        severity=Severity.LOW,
        severity_reason="background noise, for the record",
        title=f"Background noise: {counted(records, 'rejected record')} in {period}"
        if alerts or people is None
        else f"Silenced and acknowledged; no background noise in {period}",
        summary=(
            f"{counted(records, 'rejected record')} of background noise from about {sources:,} "
            f"addresses in the {period} to {isoformat(end)}. Nobody has to do anything."
        ),
        records=records,
        first_seen=first_seen,
        last_seen=last_seen,
        sections=(*_sections(alerts, endings), *(() if people is None else (people,))),
    )


def _times(alerts: Sequence[Alert]) -> tuple[int | None, int | None]:
    """Return when the first record begins and the last record ends, where any alert knows."""
    first = [alert.first_seen for alert in alerts if alert.first_seen is not None]
    last = [alert.last_seen for alert in alerts if alert.last_seen is not None]
    return min(first, default=None), max(last, default=None)


def _sections(alerts: Sequence[Alert], endings: Mapping[str, str]) -> tuple[Section, ...]:
    """Return the sections that have lines: scans, other low alerts, informational alerts."""
    scans = [alert for alert in alerts if alert.kind is Kind.SCAN]
    others = [alert for alert in alerts if alert.kind is not Kind.SCAN]
    sections = (
        _section("Scans", scans, endings),
        _section(
            "Knocking on what is closed",
            [alert for alert in others if alert.severity is Severity.LOW],
            endings,
        ),
        _section(
            "Of no consequence (closed connections, or allowed by now)",
            [alert for alert in alerts if alert.severity is Severity.INFO],
            endings,
        ),
    )
    return tuple(section for section in sections if section.lines)


def _section(heading: str, alerts: Iterable[Alert], endings: Mapping[str, str]) -> Section:
    """Build a section with a line for each subject, the subject with the most packets first."""
    by_subject: defaultdict[str, list[Alert]] = defaultdict(list)
    for alert in alerts:
        ids = alert.interfaces if alert.vpc_id is None else (alert.vpc_id,)
        place = ", ".join(map(shown_id, ids))
        what = alert.headline if alert.kind is Kind.SCAN else alert.service
        by_subject[f"{what} at {place}"].append(alert)
    ranked = sorted(
        by_subject.items(), key=lambda item: (-sum(alert.packets for alert in item[1]), item[0])
    )
    lines = [_line(subject, alerts, endings) for subject, alerts in ranked[:_MAX_LINES]]
    if len(ranked) > _MAX_LINES:
        lines.append(f"and {len(ranked) - _MAX_LINES:,} more")
    return Section(heading=heading, lines=tuple(lines))


def _line(subject: str, alerts: Sequence[Alert], endings: Mapping[str, str]) -> str:
    packets = sum(alert.packets for alert in alerts)
    remotes = [remote for alert in alerts for remote in alert.top_remotes]
    busiest = max(remotes, key=lambda remote: (remote.packets, remote.address), default=None)
    count = sum(alert.remote_count for alert in alerts)
    if busiest is None:
        remote = ""
    elif count == 1:
        remote = f" from {busiest.address}"
    else:
        remote = f" from {count:,} addresses, most from {busiest.address}"
    return f"{subject}: {counted(packets, 'packet')}{remote} - {_endings(alerts, endings)}"


def _endings(alerts: Sequence[Alert], endings: Mapping[str, str]) -> str:
    """Return how the alerts of a line ended: one word for all, or the number of each."""
    found = Counter(endings[alert.fingerprint] for alert in alerts)
    if len(found) == 1:
        return next(iter(found))
    return "; ".join(f"{count:,} {ending}" for ending, count in sorted(found.items()))


def rate_limited_notice(rate_limit: RateLimit, hourly_limit: int, now: int) -> Notice:
    """Return the notice of how many messages the rate limit of an hour held back, by severity."""
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
    held_back = counted(rate_limit.suppressed_count, "alert")
    were = "was" if rate_limit.suppressed_count == 1 else "were"
    return Notice(
        kind=Kind.RATE_LIMITED,
        fingerprint=fingerprint(
            "flood", rate_limit.hour, over
        ),  # as schema version 1 spelled it: stored
        severity=worst,
        severity_reason="as the most severe alert that was held back",
        title=f"{held_back} held back{so_far}: more than {hourly_limit:,} an hour",
        summary=(
            f"In the hour from {hour} there were more alerts than the {hourly_limit:,} messages "
            "that an hour may have, or than the shares of them that an account's VPC and hosts of "
            f"the internet may have. {held_back} {were} held back{so_far} ({by_severity}). "
            "They are counted; what still happens is notified when its reminder is due."
        ),
        first_seen=rate_limit.hour,
        last_seen=now,
        sections=(Section(heading="Among those held back", lines=rate_limit.titles),),
    )
