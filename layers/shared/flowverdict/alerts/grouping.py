"""Group explained flows into alerts: few, and each a single thing that a person can act on.

Rejected flows with the same account, account that reported them, Region, VPC (or interface, where
the VPC is not logged), direction, leg, verdict, blocking rule or groups, protocol and service port
are one alert. Never part of the key are an ephemeral port, a remote address or a time: those differ
with every connection. What hosts outside may have caused is never one alert with what only the
organisation's own hosts cause. What a transit gateway drops is grouped by attachment, verdict and
destination range, whatever the service: a missing route is one alert. What one source tries at many
ports or hosts is a scan (``scans``), which is grouped first.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from ipaddress import ip_network
from itertools import chain, islice
from operator import itemgetter
from typing import TYPE_CHECKING

from flowverdict.alerts.composition import (
    SEVERAL_SERVICES,
    busiest_addresses,
    compose_alert,
    far_end,
    network_of,
    service_in_words,
)
from flowverdict.alerts.connections import with_connections
from flowverdict.alerts.counts import MAX_REMOTES
from flowverdict.alerts.detection import Detection, GroupKey, Urgency, most_severe_first, urgency
from flowverdict.alerts.inhibition import inhibited_by, inhibits
from flowverdict.alerts.model import (
    Kind,
    Severity,
)
from flowverdict.alerts.notices import aggregated_flows, lost_records
from flowverdict.alerts.probe import probes_of
from flowverdict.alerts.recheck import MAX_SAMPLES, sample_of
from flowverdict.alerts.scans import Scan, split_scans
from flowverdict.alerts.severity import service_port, severity_of
from flowverdict.core.addresses import is_inside
from flowverdict.core.availability import NotAvailable
from flowverdict.core.formatting import counted
from flowverdict.flowlog.flow_key import IPV4
from flowverdict.verdict.transit_gateway import TRANSIT_GATEWAY_KINDS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from flowverdict.core.addresses import Address
    from flowverdict.flows.collector import FlowCollector
    from flowverdict.verdict.explanation import Explanation


# Of a batch, with one alert a service; the rest is grouped without the service. The table takes
# some 100 alerts at a time and a tenth of a second, so that this many alerts take seconds.
MAX_ALERTS = 10_000


type Members = dict[str, list[Explanation]]  # of an alert, by its fingerprint
type _Ranked = tuple[tuple[Severity, str], Explanation]  # with its severity


def detections(
    explanations: Iterable[Explanation], collected: FlowCollector, *, count_connections: bool = True
) -> list[Detection]:
    """Group explanations into alerts, most severe first; then add the notices of the batch.

    Notices: the records that AWS lost, and the flows that are too many to be evaluated one by one.
    ``count_connections`` may be true where ``explanations`` are of all flows that were collected.
    """
    members: Members = {}
    alerts = group(explanations, members)
    return [
        *(with_connections(alerts, members, collected) if count_connections else alerts),
        *lost_records(collected.lost()),
        *aggregated_flows(collected.aggregated),
    ]


def group(explanations: Iterable[Explanation], members: Members | None = None) -> list[Detection]:
    """Group explanations into alerts, most severe first; then the first seen, then by fingerprint.

    Beyond ``MAX_ALERTS`` the key leaves out the service; every flow is still counted. The flows of
    alerts that have a service and are no scans are put into ``members``.
    """
    scans, rest = split_scans(explanations)
    groups: defaultdict[GroupKey, list[_Ranked]] = defaultdict(list)
    for explanation in rest:
        severity = severity_of(explanation)
        groups[_key(explanation, severity[0])].append((severity, explanation))
    found: list[tuple[Urgency, GroupKey | Detection]] = [
        (_urgency(key, ranked), key) for key, ranked in groups.items()
    ]
    found += [(most_severe_first(scan), scan) for scan in map(_scan_detection, scans)]
    found.sort(key=lambda ranked: ranked[0])
    if len(found) > MAX_ALERTS:
        # What outsiders cause, however much and severe, leaves the other alerts their services.
        found.sort(key=lambda ranked: ranked[1].is_from_outside)
    # Only the alerts that are returned are composed: to compose an alert takes longer than to
    # evaluate its flow.
    most_severe = [
        item if isinstance(item, Detection) else _detection(item, groups[item])
        for _, item in found[:MAX_ALERTS]
    ]
    scans_left = [item for _, item in found[MAX_ALERTS:] if isinstance(item, Detection)]
    keys_left = [item for _, item in found[MAX_ALERTS:] if isinstance(item, GroupKey)]
    if members is not None:
        members |= {key.fingerprint: [each for _, each in flows] for key, flows in groups.items()}
    most_severe.sort(key=most_severe_first)
    return [*most_severe, *scans_left, *_without_services(keys_left, groups)]


def _without_services(
    keys: Iterable[GroupKey], groups: defaultdict[GroupKey, list[_Ranked]]
) -> list[Detection]:
    """Merge groups that differ only in service and blocker."""
    merged: defaultdict[GroupKey, list[_Ranked]] = defaultdict(list)
    for key in keys:
        merged[key._replace(protocol=None, service_port=None, blocker=None)] += groups[key]
    return sorted(
        (_detection(key, ranked, service=SEVERAL_SERVICES) for key, ranked in merged.items()),
        key=most_severe_first,
    )


def _urgency(key: GroupKey, ranked: Iterable[_Ranked]) -> Urgency:
    """Return what ``most_severe_first`` returns of the detection of these flows."""
    severity = min((severity for (severity, _), _ in ranked), key=lambda severity: severity.rank)
    starts = (member.flow.traffic.first_start for _, member in ranked)
    first_seen = min((start for start in starts if start is not None), default=None)
    return urgency(severity, first_seen, key.fingerprint)


def fingerprint_of(explanation: Explanation) -> str:
    """Return the fingerprint of the alert that a flow belongs to unless it is part of a scan."""
    return _key(explanation, severity_of(explanation)[0]).fingerprint


def _key(explanation: Explanation, severity: Severity) -> GroupKey:
    flow, verdict = explanation.flow, explanation.verdict
    if verdict.kind in TRANSIT_GATEWAY_KINDS:
        return GroupKey(
            kind=Kind.REJECT,
            account_id=flow.context.account_id,
            region=flow.context.region,
            vpc_id=flow.context.vpc_id,
            interface_id=flow.key.interface,
            direction=flow.direction,
            verdict=verdict.kind,
            blocker=_destination_range(flow.key.packet_destination),
            reported_by=flow.context.reported_by,
            is_from_outside=explanation.is_from_outside,
        )
    return GroupKey(
        kind=Kind.REJECT,
        account_id=flow.context.account_id,
        region=flow.context.region,
        vpc_id=flow.context.vpc_id,
        interface_id=flow.key.interface if flow.context.vpc_id is None else None,
        direction=flow.direction,
        leg=verdict.leg,
        verdict=verdict.kind,
        protocol=flow.key.protocol,
        service_port=service_port(explanation),
        blocker=explanation.blocker,
        for_digest=severity.rank >= Severity.LOW.rank,
        reported_by=flow.context.reported_by,
        is_from_outside=explanation.is_from_outside,
    )


# A VPC's ranges have at most a /16, and a /56 of IPv6
# (https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html): a missing route to a VPC
# is not several alerts.
_RANGES = {4: 16, 6: 56}


def _destination_range(destination: Address | None) -> str | None:
    """Return the range that a route to the address probably is for; one for the internet's IPv4."""
    if destination is None:
        return None
    if destination.version == IPV4 and not is_inside(destination):
        return "internet"
    return str(ip_network((int(destination), _RANGES[destination.version]), strict=False))


def _detection(
    key: GroupKey, ranked: Sequence[_Ranked], *, service: str | None = None
) -> Detection:
    members = [member for _, member in ranked]
    severity = min((severity for severity, _ in ranked), key=lambda pair: (pair[0].rank, pair[1]))
    # The alert's words and samples are of flows that have the alert's severity.
    decisive = _representative_first(
        [member for each, member in ranked if each == severity], from_outside=key.is_from_outside
    )
    standing = next(decisive)
    if service is None and key.verdict in TRANSIT_GATEWAY_KINDS:
        services = {(member.flow.key.protocol, service_port(member)) for member in members}
        service = service_in_words(*services.pop()) if len(services) == 1 else SEVERAL_SERVICES
    alert = compose_alert(key, severity, standing, members, service=service)
    samples = (
        sample
        for member in chain((standing,), decisive)
        if (sample := sample_of(member)) is not None
    )
    return Detection(
        notification=alert,
        samples=tuple(islice(samples, MAX_SAMPLES)),
        probes=probes_of(members),
        inhibits=inhibits(alert),
        inhibited_by=inhibited_by(alert, standing),
    )


def _representative_first(
    members: Sequence[Explanation], *, from_outside: bool
) -> Iterator[Explanation]:
    """Iterate over flows, the one that stands for all first.

    First come those that the fix of the problem is for, then those of the outcome and of the local
    host that most remote hosts show, hosts inside before all others. The packets of an outsider do
    not count, who sends as many as it likes; ``from_outside`` is that of all members.
    """
    if len(members) == 1:
        yield from members
        return
    by_outcome: defaultdict[str | None, set[Address | None]] = defaultdict(set)
    by_host: defaultdict[Address | None, set[Address | None]] = defaultdict(set)
    for member in members:
        by_outcome[_no_fix(member)].add(far_end(member.flow))
        by_host[member.flow.local].add(far_end(member.flow))
    outcomes = {outcome: _hosts(remotes) for outcome, remotes in by_outcome.items()}
    hosts = {host: _hosts(remotes) for host, remotes in by_host.items()}

    ranked: defaultdict[tuple[object, ...], list[Explanation]] = defaultdict(list)
    for member in members:
        no_fix = _no_fix(member)
        packets = 0 if from_outside else -member.flow.traffic.packets
        rank = (no_fix is not None, outcomes[no_fix], hosts[member.flow.local], packets)
        ranked[rank].append(member)
    for _, equals in sorted(ranked.items(), key=itemgetter(0)):
        yield from sorted(equals, key=_key_as_text)


def _key_as_text(member: Explanation) -> str:
    return repr(member.flow.key)


def _no_fix(member: Explanation) -> str | None:
    """Return why a flow has no fix; ``None`` where it has that of its problem."""
    return member.remediation.reason if isinstance(member.remediation, NotAvailable) else None


def _hosts(remotes: Collection[Address | None]) -> tuple[int, int]:
    """Return the sort key of the remote hosts of some flows: most inside, then most in all."""
    inside = sum(remote is not None and is_inside(remote) for remote in remotes)
    return -inside, -len(remotes)


def _scan_detection(scan: Scan) -> Detection:
    scope = scan.scope
    key = GroupKey(
        kind=Kind.SCAN,
        account_id=scope.account_id,
        region=scope.region,
        vpc_id=scope.vpc_id,
        interface_id=scope.interface_id,
        direction=scope.direction,
        # A scan from inside and a scan from the internet never are one alert.
        blocker="inside" if scope.inside else None,
        reported_by=scope.reported_by,
        is_from_outside=scan.is_from_outside and scope.inside,
    )
    standing = next(_representative_first(scan.members, from_outside=scan.is_from_outside))
    alert = compose_alert(
        key, _severity_of_scan(scan), standing, scan.members, service=SEVERAL_SERVICES
    )
    addresses = f"{scan.addresses:,} address{'' if scan.addresses == 1 else 'es'}"
    tried = f"{counted(scan.ports, 'port')} on {addresses}"
    sources = busiest_addresses((member.flow.key.packet_source, member) for member in scan.members)
    return Detection(
        notification=replace(
            alert,
            summary=f"{counted(scan.sources, 'source')} tried {tried} and "
            f"{'was' if scan.sources == 1 else 'were'} rejected. "
            f"One of the packets: {alert.connection} - {alert.summary}",
            headline=f"Scan of {tried}",
            blocker=None,
            from_outside=scan.is_from_outside,
            remediation=None,
            remediation_reason="none needed: a scan is answered by staying closed",
            next_steps=(
                "See what the host runs and who uses it: nothing here should try so many ports.",
            )
            if scope.inside
            else (),
            top_remotes=sources[:MAX_REMOTES],
            remote_count=len(sources),
            far_network=network_of(sources),
            outbound=False,
            near=addresses if scan.addresses > 1 else str(standing.flow.key.packet_destination),
            near_others=0,
            far_port=None,
            targets=(scan.ports, scan.addresses),
        )
    )


def _severity_of_scan(scan: Scan) -> tuple[Severity, str]:
    if scan.scope.inside:
        return (
            Severity.MEDIUM,
            "a host of your own tries closed ports: your own scanner, or a compromised host",
        )
    return Severity.LOW, "the internet tries closed ports, as it does all day"
