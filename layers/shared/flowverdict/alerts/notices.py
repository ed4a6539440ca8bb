"""Notices about the flow log itself: records lost, flows that are too many, flow logs missing.

AWS writes SKIPDATA for traffic that it could not log
(https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html). Beyond ``MAX_FLOWS`` the
rejected flows of a window are only aggregated by interface.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flowverdict.alerts.detection import Detection, fingerprint, reporters
from flowverdict.alerts.model import Kind, Notice, Section, Severity
from flowverdict.core.formatting import counted, cut, cut_or_none, isoformat
from flowverdict.core.untrusted import shown_id
from flowverdict.flows.collector import MAX_FLOWS
from flowverdict.verdict.wording import most_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from flowverdict.flows.model import AggregatedRejects, LostRecords


_MAX_MISSING = 20  # lines
_REGION = re.compile(r"[a-z]{2,4}(?:-[a-z]+)+-\d")


def lost_records(losses: Iterable[LostRecords]) -> list[Detection]:
    """Return a notice for each interface of which AWS lost records (SKIPDATA)."""
    return [Detection(notification=_lost(loss)) for loss in losses]


def _lost(loss: LostRecords) -> Notice:
    interface = cut(loss.interface_id or "unknown interface")
    shown = shown_id(interface)
    return Notice(
        kind=Kind.RECORDS_LOST,
        fingerprint=fingerprint(
            Kind.RECORDS_LOST,
            loss.account_id,
            loss.region,
            loss.interface_id,
            *reporters(loss.reported_by),
        ),
        severity=Severity.MEDIUM,
        severity_reason="what was rejected there in that time cannot be known",
        title=f"Flow log records lost at {shown}",
        summary=(
            f"AWS could not log all traffic of {shown} (SKIPDATA). Rejects are missing from "
            "that time, and a verdict there may lack the record that would have changed it."
        ),
        account_id=cut_or_none(loss.account_id),
        reported_by=cut_or_none(loss.reported_by),
        region=cut_or_none(loss.region),
        vpc_id=cut_or_none(loss.vpc_id),
        interfaces=(interface,),
        interface_count=1,
        records=loss.records,
        first_seen=loss.first_start,
        last_seen=loss.last_end,
        sections=(
            Section(
                heading="What to do",
                lines=(
                    "No rule has to change: AWS skips records on an error or a limit of its own.",
                    "If it continues, a shorter aggregation interval or fewer flow logs may help.",
                ),
            ),
        ),
    )


def no_flow_logs_fingerprint(account_id: str, region: str) -> str:
    """Return the fingerprint of the notice that an account's Region delivers no flow logs."""
    return fingerprint(Kind.NO_FLOW_LOGS, account_id, region)


def no_flow_logs(
    account_id: str, region: str, missing: Sequence[tuple[str, int]], *, read_at: int
) -> Notice:
    """Return the notice that flow logs of an account's Region are missing.

    Parameters
    ----------
    missing
        For each flow log or log group, its name and up to when it was read (Unix seconds), the one
        that is missing for longest first.
    read_at
        When the one that is missing for longest was read for the last time (Unix seconds).
    """
    since = missing[0][1]
    place = f"account {shown_id(account_id)}, {shown_id(region)}"
    return Notice(
        kind=Kind.NO_FLOW_LOGS,
        fingerprint=no_flow_logs_fingerprint(account_id, region),
        severity=Severity.HIGH,
        severity_reason="what is rejected there is not seen",
        title=cut(f"No flow logs from {place} since {isoformat(since)}"),
        summary=cut(
            f"Flow logs of {place} were read regularly, the last ones at {isoformat(read_at)}. "
            f"Since {isoformat(since)} nothing is known of "
            f"{counted(len(missing), 'flow log or log group')} there. Open alerts of "
            "that place stay open: nobody knows whether they are over."
        ),
        account_id=cut(account_id),
        region=cut(region),
        first_seen=since,
        last_seen=since,
        sections=(
            Section(
                heading="Missing, and since when",
                lines=tuple(
                    cut(f"{name}: {isoformat(end)}") for name, end in missing[:_MAX_MISSING]
                )
                + (
                    (f"and {len(missing) - _MAX_MISSING:,} more",)
                    if len(missing) > _MAX_MISSING
                    else ()
                ),
            ),
            Section(
                heading="What to do",
                lines=(
                    _deliveries(region),
                    "See whether the bucket's policy, key or events have changed.",
                    "See whether the log group's subscription filter is still there.",
                    "If the flow log was deleted on purpose, nothing has to be done.",
                ),
            ),
        ),
    )


def _deliveries(region: str) -> str:
    """Return the first step; its command only with a Region that is one."""
    step = "Is the flow log still there, and do its deliveries succeed?"
    if not _REGION.fullmatch(region):
        return step
    return f"{step} aws ec2 describe-flow-logs --region {region}"


def aggregated_flows(aggregated: Mapping[str | None, AggregatedRejects]) -> list[Detection]:
    """Return a notice for each interface with rejected flows that are only aggregated."""
    return [
        Detection(notification=_aggregated(interface_id, rejects))
        for interface_id, rejects in sorted(aggregated.items(), key=str)
    ]


def _aggregated(interface_id: str | None, rejects: AggregatedRejects) -> Notice:
    interface = cut(interface_id or "unknown interface")
    shown = shown_id(interface)
    context, traffic = rejects.context, rejects.traffic
    return Notice(
        kind=Kind.FLOW_OVERFLOW,
        # "folded" is the word of schema version 1: fingerprints are stored.
        fingerprint=fingerprint(
            "folded",
            context.account_id,
            context.region,
            interface_id,
            *reporters(context.reported_by),
        ),
        severity=Severity.MEDIUM,
        severity_reason="so many flows are rejected there that they are not evaluated one by one",
        title=f"More rejected flows at {shown} than are evaluated one by one",
        summary=(
            f"More than {MAX_FLOWS:,} different flows were rejected in five minutes. "
            f"{traffic.records:,} further records of {shown} ({traffic.packets:,} packets) are "
            "counted here together; the cause of each reject is not known."
        ),
        account_id=cut_or_none(context.account_id),
        reported_by=cut_or_none(context.reported_by),
        region=cut_or_none(context.region),
        vpc_id=cut_or_none(context.vpc_id),
        interfaces=(interface,),
        interface_count=1,
        records=traffic.records,
        first_seen=traffic.first_start,
        last_seen=traffic.last_end,
        sections=(
            Section(heading="Most of them", lines=most_of(rejects)),
            Section(
                heading="What to do",
                lines=(
                    "See which addresses send them.",
                    "It is a flood, a scan, or a client of your own that retries without end.",
                ),
            ),
        ),
    )
