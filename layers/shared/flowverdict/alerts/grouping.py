"""Explanations to alerts: few, each one thing that a person can act on.

Rejected flows with the same account, Region, VPC (or interface, where the VPC is not logged), direction, leg, verdict, blocking
rule or groups, protocol and service port are one alert. Never an ephemeral port, a remote address or a time: those differ with
every connection. What one source tries at many ports or hosts is put together first, as one scan (``scans``).

Severity says who should look, with its reason in words:

- *critical*: replies of accepted connections are dropped, which is always a misconfiguration;
- *high*: requests inside the organisation or to an AWS service;
- *medium*: requests out to the internet, which may be wanted egress control; a scan from inside;
- *low*: the internet knocking on what is closed;
- *info*: packets of connections that were over, or that the rules allow by now.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from flowverdict.alerts.console_links import console_links, logs_query
from flowverdict.alerts.detection import Detection, GroupKey, Urgency, most_severe_first, urgent
from flowverdict.alerts.inhibition import inhibited_by, inhibits
from flowverdict.alerts.model import (
    CONFIDENCES,
    MAX_INTERFACES,
    MAX_REMOTES,
    Alert,
    Evidence,
    Kind,
    RemediationText,
    Remote,
    Severity,
    busiest,
)
from flowverdict.alerts.notices import aggregated_flows, lost_records
from flowverdict.alerts.recheck import MAX_SAMPLES, sample_of
from flowverdict.alerts.scans import Scan, without_scans
from flowverdict.alerts.severity import service_port, severity_of
from flowverdict.core.availability import NotAvailable
from flowverdict.core.formatting import common_network, counted, cut, cut_or_none, with_port
from flowverdict.core.protocols import WELL_KNOWN_PORTS, has_ports, protocol_name
from flowverdict.core.untrusted import one_line
from flowverdict.flowlog.records import FlowDirection
from flowverdict.verdict.endpoints import MAX_TAG
from flowverdict.verdict.model import Confidence
from flowverdict.verdict.wording import caption, connection, headline, next_steps, sentence

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from flowverdict.core.addresses import Address
    from flowverdict.flows.collector import FlowCollector
    from flowverdict.verdict.explanation import Explanation


# Of a batch, with services told apart. Beyond it they no longer are: the table takes some 100 alerts at a time and a tenth of a
# second, so this many are a matter of seconds.
MAX_ALERTS = 10_000
_OWNER_TAGS = frozenset({"owner", "team", "contact", "service-owner", "owner-email", "squad"})
_MAX_OWNERS = 3


def group(explanations: Iterable[Explanation]) -> list[Detection]:
    """Group explanations into alerts, most severe first; among equals the one seen first, then by fingerprint.

    Beyond ``MAX_ALERTS`` services are no longer told apart; every flow is still counted.
    """
    scans, rest = without_scans(explanations)
    groups: defaultdict[GroupKey, list[Explanation]] = defaultdict(list)
    for explanation in rest:
        groups[_key(explanation)].append(explanation)
    found: list[tuple[Urgency, GroupKey | Detection]] = [
        (_urgency(key, members), key) for key, members in groups.items()
    ]
    found += [(most_severe_first(scan), scan) for scan in map(_scan_detection, scans)]
    found.sort(key=lambda one: one[0])
    # Alerts are made of those that are told, since to make one takes longer than to judge its flow.
    told = [
        one if isinstance(one, Detection) else _detection(one, groups[one])
        for _, one in found[:MAX_ALERTS]
    ]
    folded: defaultdict[GroupKey, list[Explanation]] = defaultdict(list)
    for _, one in found[MAX_ALERTS:]:
        if isinstance(one, GroupKey):
            folded[one._replace(protocol=None, service_port=None, blocker=None)] += groups[one]
    scans_left = [one for _, one in found[MAX_ALERTS:] if isinstance(one, Detection)]
    rest_folded = sorted(
        (_detection(key, members, several=True) for key, members in folded.items()),
        key=most_severe_first,
    )
    return [*told, *scans_left, *rest_folded]


def _urgency(key: GroupKey, members: Iterable[Explanation]) -> Urgency:
    """Give what ``most_severe_first`` gives of the sighting that is made of them."""
    severity = min((severity_of(member)[0] for member in members), key=lambda one: one.rank)
    starts = (member.flow.traffic.first_start for member in members)
    return urgent(
        severity,
        min((start for start in starts if start is not None), default=None),
        key.fingerprint,
    )


# --- alerts -----------------------------------------------------------------------------------------------------------


def _key(explanation: Explanation) -> GroupKey:
    flow, verdict = explanation.flow, explanation.verdict
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
        for_digest=severity_of(explanation)[0].rank >= Severity.LOW.rank,
    )


def _detection(key: GroupKey, members: list[Explanation], *, several: bool = False) -> Detection:
    judged = [(*severity_of(member), member) for member in members]
    severity, reason, _ = min(judged, key=lambda one: (one[0].rank, one[1]))
    # The flow that stands for the group is one that the severity is about.
    telling = [
        member
        for its_severity, its_reason, member in judged
        if (its_severity, its_reason) == (severity, reason)
    ]
    standing = min(
        telling, key=lambda member: (-member.flow.traffic.packets, repr(member.flow.key))
    )
    alert = _alert(
        key,
        (severity, reason),
        standing,
        members,
        service="several services" if several else _service(key),
    )
    samples = [
        sample
        for member in sorted(telling, key=_busiest_first)
        if (sample := sample_of(member)) is not None
    ]
    return Detection(
        notification=alert,
        samples=tuple(samples[:MAX_SAMPLES]),
        inhibits=inhibits(alert),
        inhibited_by=inhibited_by(alert, standing),
    )


def _busiest_first(member: Explanation) -> tuple[int, str]:
    return (-member.flow.traffic.packets, repr(member.flow.key))


def _alert(
    key: GroupKey,
    judged: tuple[Severity, str],
    standing: Explanation,
    members: list[Explanation],
    *,
    service: str,
) -> Alert:
    severity, reason = judged
    flow, verdict = standing.flow, standing.verdict
    confidences = Counter(member.verdict.confidence for member in members)
    confidence = [level for level in Confidence if level in confidences][-1]
    interfaces = sorted({member.flow.key.interface for member in members} - {None}, key=str)
    remotes = _remotes(members)
    traffic = [member.flow.traffic for member in members]
    near, near_port, far_port = _ends(standing, key.service_port)
    locals_ = {member.flow.local for member in members} - {None}
    entry = standing.acl_entry
    remediation = standing.remediation
    return Alert(
        kind=key.kind,
        fingerprint=key.fingerprint,
        severity=severity,
        severity_reason=reason,
        summary=cut(sentence(standing)),
        account_id=cut_or_none(key.account_id),
        region=cut_or_none(key.region),
        vpc_id=cut_or_none(key.vpc_id),
        interfaces=tuple(cut(str(interface)) for interface in interfaces[:MAX_INTERFACES]),
        interface_count=len(interfaces),
        records=sum(one.records for one in traffic),
        first_seen=min(
            (one.first_start for one in traffic if one.first_start is not None), default=None
        ),
        last_seen=max((one.last_end for one in traffic if one.last_end is not None), default=None),
        headline=cut(headline(standing, confidence)),
        near=with_port(near, near_port),
        near_others=max(len(locals_) - 1, 0),
        far_port=far_port,
        far=None
        if flow.key.packet_destination is None
        else with_port(str(flow.key.packet_destination), far_port),
        far_network=_network_of(remotes),
        outbound=None if flow.direction is None else flow.direction is FlowDirection.EGRESS,
        connection=connection(flow),
        subnet_id=cut_or_none(flow.context.subnet_id),
        flow_direction=key.direction,
        leg=verdict.leg,
        verdict=verdict.kind,
        verdict_caption=caption(verdict.kind),
        confidence=confidence,
        confidences=tuple(
            (level, confidences[Confidence(level)]) for level in CONFIDENCES if level in confidences
        ),
        protocol=key.protocol,
        service_port=key.service_port,
        service=service,
        blocker=standing.blocker,
        network_acl_entry=standing.acl_entry,
        security_groups=standing.blocking_groups,
        nearest_miss=standing.miss,
        rules_read_at=standing.rules_read_at,
        local_end=None if standing.endpoints is None else cut(standing.endpoints.local),
        remote_end=None if standing.endpoints is None else cut(standing.endpoints.remote),
        path=None if standing.endpoints is None else standing.endpoints.path,
        path_id=None if standing.endpoints is None else standing.endpoints.path_id,
        notes=()
        if standing.endpoints is None
        else tuple(cut(note) for note in standing.endpoints.notes),
        remediation=None
        if isinstance(remediation, NotAvailable)
        else RemediationText(
            commands=remediation.commands(flow.context.region), opens=remediation.opens
        ),
        remediation_reason=remediation.reason if isinstance(remediation, NotAvailable) else None,
        evidence=tuple(
            Evidence(kind=item.kind, detail=cut(item.detail)) for item in verdict.evidence
        ),
        next_steps=tuple(cut(step) for step in next_steps(standing)),
        top_remotes=remotes[:MAX_REMOTES],
        remote_count=len(remotes),
        flows=len(members),
        packets=sum(one.packets for one in traffic),
        bytes=sum(one.bytes for one in traffic),
        owners=_owners(standing),
        links=console_links(
            key.region,
            network_acl_id=None if entry is None else entry.network_acl_id,
            security_groups=standing.blocking_groups,
            interface_id=flow.interface_id,
        ),
        logs_query=logs_query(
            flow.interface_id, key.service_port, None if not remotes else remotes[0].address
        ),
    )


def _service(key: GroupKey) -> str:
    name = protocol_name(key.protocol)
    if key.service_port is None:
        return f"{name}, high ports" if has_ports(key.protocol) else name
    known = WELL_KNOWN_PORTS.get(key.service_port)
    return f"{name} {key.service_port}" + ("" if known is None else f" ({known})")


def _ends(standing: Explanation, port: int | None) -> tuple[str, int | None, int | None]:
    """Give the near address, and the service's port where it belongs: at the near or at the far end."""
    flow, key = standing.flow, standing.flow.key
    near = key.packet_source if flow.direction is None else flow.local
    near_is_source = flow.direction is not FlowDirection.INGRESS
    near_port = key.source_port if near_is_source else key.destination_port
    far_port = key.destination_port if near_is_source else key.source_port
    name = "?" if near is None else str(near)
    if port is not None and near_port == port:
        return name, port, None
    return name, None, port if port is not None and far_port == port else None


def _remotes(members: Sequence[Explanation]) -> tuple[Remote, ...]:
    # Where the direction is not known, the source is the side that a reader can do something about.
    return _busiest_addresses(
        (
            member.flow.remote
            if member.flow.direction is not None
            else member.flow.key.packet_source,
            member,
        )
        for member in members
    )


def _busiest_addresses(seen: Iterable[tuple[Address | None, Explanation]]) -> tuple[Remote, ...]:
    flows: Counter[str] = Counter()
    packets: Counter[str] = Counter()
    for address, member in seen:
        if address is not None:
            flows[str(address)] += 1
            packets[str(address)] += member.flow.traffic.packets
    return tuple(
        sorted(
            (Remote(address=one, flows=flows[one], packets=packets[one]) for one in flows),
            key=busiest,
        )
    )


def _network_of(remotes: Sequence[Remote]) -> str | None:
    network = common_network(remote.address for remote in remotes) if remotes else None
    return None if network is None else str(network)


def _owners(standing: Explanation) -> tuple[tuple[str, str], ...]:
    """Give the tags of the interface that name who to ask, as text that no line or terminal can be faked with."""
    if standing.rules_check is None:
        return ()
    tags = standing.rules_check.interface.tags
    owners = [
        (name, one_line(tags[name]).strip()[:MAX_TAG])
        for name in sorted(tags)
        if name.casefold() in _OWNER_TAGS
    ]
    return tuple((name, value) for name, value in owners if value)[:_MAX_OWNERS]


# --- scans ------------------------------------------------------------------------------------------------------------


def _scan_detection(scan: Scan) -> Detection:
    place = scan.place
    key = GroupKey(
        kind=Kind.SCAN,
        account_id=place.account_id,
        region=place.region,
        vpc_id=place.vpc_id,
        interface_id=place.interface_id,
        direction=place.direction,
        # From inside and from the internet are two things to a reader, whatever else is the same.
        blocker="inside" if place.inside else None,
    )
    standing = min(scan.members, key=_busiest_first)
    who = counted(scan.sources, "source")
    severity = Severity.MEDIUM if place.inside else Severity.LOW
    reason = (
        "a host of your own tries what is closed to it: a scanner of yours, or a host that somebody else uses"
        if place.inside
        else "the internet trying doors, as it does all day"
    )
    tried = f"{counted(scan.ports, 'port')} on {scan.addresses:,} address{'' if scan.addresses == 1 else 'es'}"
    alert = _alert(
        key, (severity, reason), standing, list(scan.members), service="several services"
    )
    sources = _busiest_addresses((member.flow.key.packet_source, member) for member in scan.members)
    return Detection(
        notification=replace(
            alert,
            summary=f"{who} tried {tried} and {'was' if scan.sources == 1 else 'were'} rejected. "
            f"One of the packets: {alert.connection} - {alert.summary}",
            headline=f"Scan of {tried}",
            blocker=None,
            remediation=None,
            remediation_reason="none needed: a scan is answered by staying closed",
            next_steps=(
                "See what the host runs and who uses it: nothing here should knock at so many doors.",
            )
            if place.inside
            else (),
            top_remotes=sources[:MAX_REMOTES],
            remote_count=len(sources),
            far_network=_network_of(sources),
            outbound=False,
            near=f"{scan.addresses:,} addresses"
            if scan.addresses > 1
            else str(standing.flow.key.packet_destination),
            near_others=0,
            far_port=None,
            targets=(scan.ports, scan.addresses),
        )
    )


def detections(explanations: Iterable[Explanation], collected: FlowCollector) -> list[Detection]:
    """Group explanations into alerts, most severe first; add what AWS lost of the records, and what is too much to be judged."""
    return [
        *group(explanations),
        *lost_records(collected.lost()),
        *aggregated_flows(collected.aggregated),
    ]
