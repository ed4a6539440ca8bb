"""Sample notifications, of which each renderer has a golden file."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

from flowverdict.alerts.ending import Ending
from flowverdict.alerts.ends import ends_of
from flowverdict.alerts.grouping import detections
from flowverdict.alerts.matching import Key
from flowverdict.alerts.model import Alert, Kind, Notice, Section, Severity, Status
from flowverdict.alerts.notices import no_flow_logs
from flowverdict.lifecycle.on_call import Silence, Silences
from flowverdict.lifecycle.state_machine import AlertState
from flowverdict.lifecycle.weekly import seen_of, weekly_of
from flowverdict.network.snapshot import load_snapshot
from flowverdict.verdict.batch import Batch, FixedConfig

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowverdict.alerts.model import Notification

SCENARIOS = Path(__file__).parents[1] / "scenarios"
FOUND_AT = int(datetime(2026, 11, 22, 12, 8, tzinfo=UTC).timestamp())


def alert_of(text: str, name: str) -> Alert:
    """Return the alert for the text of a flow log, with the rules of the sample shop."""
    batch = Batch()
    batch.add_file(io.BytesIO(text.encode()), name=f"{name}.log")
    config = FixedConfig(load_snapshot(SCENARIOS / "shop.config.json"))
    notification = detections(batch.explanations(config), batch.flows)[0].notification
    assert isinstance(notification, Alert)
    return notification


def scenario(name: str) -> Alert:
    """Return the first alert of a scenario."""
    return alert_of((SCENARIOS / f"{name}.log").read_text(), name)


def scan() -> Alert:
    """Return the alert of a port scan."""
    header, line = (SCENARIOS / "rules-inbound-request.log").read_text().splitlines()
    probes = [
        line.replace(" 5432 ", f" {port} ")
        for port in (21, 22, 23, 25, 80, 110, 139, 443, 445, 1433, 3306, 3389, 5432)
    ]
    return alert_of("\n".join([header, *probes]), "scan")


def digest() -> Notice:
    """Return a digest with more lines than a chat message shows."""
    return Notice(
        kind=Kind.DIGEST,
        fingerprint="d" * 32,
        severity=Severity.INFO,
        severity_reason="for your information",
        title="flowverdict digest: 2 open alerts, 14 resolved",
        summary=(
            "What was seen from 2026-11-21T08:00:00Z to 2026-11-22T08:00:00Z and did not need a "
            "message of its own."
        ),
        records=18_204,
        first_seen=FOUND_AT - 86_400,
        last_seen=FOUND_AT,
        sections=(
            Section(
                heading="Still open",
                lines=("critical: Replies blocked by acl-0aaa0000000000001 rule *, since 12:00",),
            ),
            Section(
                heading="Scans",
                lines=tuple(
                    f"192.0.2.{host}: 120 ports on 4 addresses - {ending}"
                    for host, ending in zip(range(1, 21), cycle(ENDINGS), strict=False)
                ),
            ),
        ),
    )


def records_lost() -> Notice:
    """Return a notice about lost records."""
    return Notice(
        kind=Kind.RECORDS_LOST,
        fingerprint="e" * 32,
        severity=Severity.MEDIUM,
        severity_reason="what was rejected there in that time cannot be known",
        title="Flow log records lost at eni-0aaaaaaaaaaaaaaa1",
        summary=(
            "AWS could not log all traffic of eni-0aaaaaaaaaaaaaaa1 (SKIPDATA). Rejects are "
            "missing from that time."
        ),
        account_id="123456789012",
        region="eu-west-1",
        vpc_id="vpc-0123456789abcdef0",
        interfaces=("eni-0aaaaaaaaaaaaaaa1",),
        interface_count=1,
        records=3,
        first_seen=FOUND_AT - 600,
        last_seen=FOUND_AT,
        sections=(
            Section(
                heading="What to do",
                lines=("No rule has to change: AWS skips records on an error of its own.",),
            ),
        ),
    )


def weekly_summary() -> Notice:
    """Return the summary of a week with problems of two owners, silences and lost records."""
    hour = 3_600
    replies = scenario("rules-outbound-response")
    request = scenario("rules-inbound-request")
    unknown = replace(scenario("rules-both-layers"), verdict="undetermined")
    rows: tuple[tuple[Notification, int, Ending | None], ...] = (
        (replace(replies, owners=(("team", "shop"),)), 90, None),
        (replace(request, owners=(("team", "payments"),), records=412), 60, Ending.FIXED),
        (replace(unknown, owners=(("team", "payments"),), records=38), 50, Ending.QUIET),
        (records_lost(), 30, None),
    )
    seen = [
        seen_of(
            AlertState(
                fingerprint=f"{number:032x}",
                notification=replace(notification, opened_at=FOUND_AT - ago * hour, ending=ending)
                if isinstance(notification, Alert)
                else notification,
                observed_at=FOUND_AT - ago * hour,
                messages=1,
                closed_at=None if ending is None else FOUND_AT - (ago - 10 * number) * hour,
            )
        )
        for number, (notification, ago, ending) in enumerate(rows)
    ]
    silence = Silence(
        silence_id="5f1c0a2b",
        asked={Key.PORT: (443,)},
        until=FOUND_AT + 48 * hour,
        reason="a change runs",
        by="arn:aws:sts::123456789012:assumed-role/on-call/ada",
        created_at=FOUND_AT - hour,
    )
    return weekly_of(seen, Silences(silences=(silence,)), FOUND_AT, is_cut=False)


# As ``passing_time.ending_in_words`` has them, and of several alerts on one line.
ENDINGS = (
    "fixed",
    "quiet",
    "quiet, still blocked",
    "unknown",
    "corrected: notified as high",
    "goes on",
    "1 goes on; 3 quiet; 1 unknown",
)

NOTIFICATIONS: dict[str, Callable[[], Notification]] = {
    "critical": lambda: scenario("rules-outbound-response"),
    "high": lambda: scenario("rules-inbound-request"),
    "reminder": lambda: scenario("rules-outbound-response").with_status(
        Status.REMINDER, "still happening: 3 more flows since 12:05"
    ),
    "resolved": lambda: scenario("rules-outbound-response").with_status(
        Status.RESOLVED,
        "The packet that stood for it passes under the rules as read at 12:40.",
        Ending.FIXED,
    ),
    "quiet": lambda: scenario("rules-outbound-response").with_status(
        Status.RESOLVED,
        "Quiet, still blocked: the rules as read 2026-11-22T12:40:00Z deny it. Whoever tried has "
        "stopped: nothing more of it was seen in the flow logs read up to 2026-11-22T12:35:00Z; "
        "its last record ends at 2026-11-22T12:00:25Z.",
        Ending.QUIET,
    ),
    "unknown": lambda: scenario("rules-outbound-response").with_status(
        Status.REMINDER,
        "Unknown: nobody can say whether this goes on. Flow logs of it were read up to "
        "2026-11-22T12:05:00Z only; its last record ends at 2026-11-22T12:00:25Z. If it is seen "
        "again, it is notified as new.",
        Ending.UNKNOWN,
    ),
    "ends": lambda: ends_of(
        [
            replace(
                scenario(name).with_status(
                    Status.RESOLVED,
                    "Fixed: the rules let it pass now (1 packet of it tried on the rules as read "
                    "2026-11-22T12:40:00Z).",
                    Ending.FIXED,
                ),
                fingerprint=f"{number:032x}",
            )
            for number, name in enumerate(("rules-outbound-response", "rules-inbound-request"))
        ]
    ),
    "no-flow-logs": lambda: no_flow_logs(
        "123456789012",
        "eu-west-1",
        [("fl-0a1b2c3d4e5f60718", FOUND_AT - 180), ("/vpc/flow-logs", FOUND_AT - 120)],
        read_at=FOUND_AT,
    ),
    "scan": scan,
    "digest": digest,
    "records-lost": records_lost,
    "weekly-summary": weekly_summary,
    "transit-gateway": lambda: scenario("transit-gateway-no-route"),
}
