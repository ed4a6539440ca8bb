"""Say of several problems in one message that they ended alike, as one sweep found.

Each end is still published by itself for machines, which know problems by their fingerprints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowverdict.alerts.detection import fingerprint
from flowverdict.alerts.ending import Ending
from flowverdict.alerts.lead import lead
from flowverdict.alerts.merging import greatest, least
from flowverdict.alerts.model import Kind, Notice, Section
from flowverdict.core.formatting import counted, cut

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowverdict.alerts.model import Alert

_MAX_LINES = 30  # of some 300 characters: a mail of SNS has 256 KiB, a message of Slack shows less
_WHAT = {
    Ending.FIXED: "are fixed",
    Ending.QUIET: "went quiet",
    Ending.UNKNOWN: "may go on: no flow logs show it",
    Ending.CLOSED: "were closed by hand",
    Ending.CORRECTED: "were something else",
}


def ends_of(alerts: Sequence[Alert]) -> Notice:
    """Return the notice of two or more alerts that have the same ending."""
    first = alerts[0]
    ranked = sorted(alerts, key=lambda alert: (alert.severity.rank, alert.fingerprint))
    times = sorted((alert.fingerprint, alert.status_reason or "") for alert in alerts)
    what = "ended" if first.ending is None else _WHAT[first.ending]
    title = f"{counted(len(alerts), 'problem')} {what}"
    lines = [_line(alert) for alert in ranked[:_MAX_LINES]]
    if (more := len(alerts) - len(lines)) > 0:
        lines.append(f"and {counted(more, 'more problem')}")
    first_seen = last_seen = None
    for alert in alerts:
        first_seen = least(first_seen, alert.first_seen)
        last_seen = greatest(last_seen, alert.last_seen)
    return Notice(
        kind=Kind.ENDS,
        status=first.status,
        ending=first.ending,
        fingerprint=fingerprint(Kind.ENDS, times),
        severity=ranked[0].severity,
        severity_reason="the highest of these problems",
        summary=f"{title}. Each was notified by itself before.",
        title=title,
        records=sum(alert.records for alert in alerts),
        first_seen=first_seen,
        last_seen=last_seen,
        sections=(Section(heading="The problems", lines=tuple(lines)),),
    )


def _line(alert: Alert) -> str:
    reason = "" if alert.status_reason is None else f" {alert.status_reason}"
    return cut(f"{lead(alert)}.{reason} Fingerprint {alert.fingerprint}")
