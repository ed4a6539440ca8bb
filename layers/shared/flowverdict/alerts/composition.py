"""Compose the alert of a group of rejected flows.

An alert counts all flows of its group. Its words are about the flow that stands for the group: its
connection, verdict, rules and fix. Texts that come from records or tags are cut to ``MAX_TEXT``
characters, so that an alert stays below the 256 KiB of an SNS message.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flowverdict.alerts.console_links import console_links, logs_query
from flowverdict.alerts.counts import MAX_REMOTES, Remote, busiest
from flowverdict.alerts.merging import CONFIDENCES
from flowverdict.alerts.model import (
    MAX_INTERFACES,
    MAX_NAMES,
    Alert,
    Evidence,
    RemediationText,
)
from flowverdict.core.availability import NotAvailable
from flowverdict.core.formatting import common_network, cut, cut_or_none, with_port
from flowverdict.core.protocols import has_ports, protocol_name, service_name
from flowverdict.flowlog.records import FlowDirection
from flowverdict.flows.model import TrafficTotals
from flowverdict.verdict.model import Confidence
from flowverdict.verdict.names import shown_name
from flowverdict.verdict.owners import owners_of
from flowverdict.verdict.wording import caption, connection, headline, next_steps, sentence

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from flowverdict.alerts.detection import GroupKey
    from flowverdict.alerts.model import Severity
    from flowverdict.core.addresses import Address
    from flowverdict.flows.model import RejectedFlow
    from flowverdict.verdict.endpoints import Endpoints
    from flowverdict.verdict.explanation import Explanation


SEVERAL_SERVICES = "several services"
_OWNER_TAGS = frozenset({"owner", "team", "contact", "service-owner", "owner-email", "squad"})
_MAX_OWNERS = 3


def compose_alert(
    key: GroupKey,
    severity: tuple[Severity, str],
    standing: Explanation,
    members: Sequence[Explanation],
    *,
    service: str | None = None,
) -> Alert:
    """Compose the alert of ``members``; ``standing`` is the flow that stands for them.

    ``severity`` comes with its reason in words. ``service`` replaces the service of the key.
    """
    flow, verdict = standing.flow, standing.verdict
    traffic = TrafficTotals()
    for member in members:
        traffic.merge(member.flow.traffic)
    confidences = Counter(member.verdict.confidence for member in members)
    confidence = [level for level in Confidence if level in confidences][-1]
    interfaces = sorted({member.flow.key.interface for member in members} - {None}, key=str)
    remotes = _remotes(members)
    ends = _ends(standing, key.service_port)
    entry = standing.acl_entry
    remediation = standing.remediation
    reason = remediation.reason if isinstance(remediation, NotAvailable) else None
    alert = Alert(
        kind=key.kind,
        fingerprint=key.fingerprint,
        severity=severity[0],
        severity_reason=severity[1],
        from_outside=key.is_from_outside,
        summary=cut(sentence(standing)),
        account_id=cut_or_none(key.account_id),
        reported_by=cut_or_none(key.reported_by),
        region=cut_or_none(key.region),
        vpc_id=cut_or_none(key.vpc_id),
        interfaces=tuple(cut(str(interface)) for interface in interfaces[:MAX_INTERFACES]),
        interface_count=len(interfaces),
        records=traffic.records,
        first_seen=traffic.first_start,
        last_seen=traffic.last_end,
        headline=cut(headline(standing, confidence)),
        near=ends.near,
        near_others=max(len({member.flow.local for member in members} - {None}) - 1, 0),
        far_port=ends.far_port,
        far=ends.far,
        far_network=network_of(remotes),
        outbound=None if flow.direction is None else flow.direction is FlowDirection.EGRESS,
        connection=connection(flow),
        subnet_id=cut_or_none(flow.context.subnet_id),
        flow_direction=key.direction,
        leg=verdict.leg,
        verdict=verdict.kind,
        verdict_caption=caption(verdict.kind),
        confidence=confidence,
        confidences=_ordered(confidences),
        protocol=key.protocol,
        service_port=key.service_port,
        service=service_in_words(key.protocol, key.service_port) if service is None else service,
        blocker=standing.blocker,
        network_acl_entry=entry,
        security_groups=standing.blocking_groups,
        nearest_miss=standing.miss,
        rules_read_at=standing.rules_read_at,
        evidence=tuple(
            Evidence(kind=item.kind, detail=cut(item.detail)) for item in verdict.evidence
        ),
        next_steps=tuple(cut(step) for step in next_steps(standing)),
        top_remotes=remotes[:MAX_REMOTES],
        remote_count=len(remotes),
        flows=len(members),
        packets=traffic.packets,
        bytes=traffic.bytes,
        local_end=cut_or_none(standing.local_end),
        notes=tuple(map(cut, standing.notes)),
        owners=owners_shown(standing),
        links=console_links(
            key.region,
            network_acl_id=None if entry is None else entry.network_acl_id,
            security_groups=standing.blocking_groups,
            interface_id=flow.interface_id,
            attachment_id=flow.attachment_id,
        ),
        logs_query=_records_query(flow, key),
        remediation=_remediation_text(standing),
        remediation_reason=reason,
    )
    return alert if standing.endpoints is None else _with_endpoints(alert, standing.endpoints)


def _records_query(flow: RejectedFlow, key: GroupKey) -> str | None:
    far = far_end(flow)
    remote = None if far is None else str(far)
    if flow.packets_lost is not None:
        return logs_query(flow.key.interface, None, remote, action=None)
    return logs_query(flow.interface_id, key.service_port, remote)


def _remediation_text(standing: Explanation) -> RemediationText | None:
    remediation = standing.remediation
    if isinstance(remediation, NotAvailable):
        return None
    region = standing.flow.context.region
    return RemediationText(
        commands=remediation.commands(region),
        shared=remediation.shared_commands(region),
        shared_with=cut_or_none(remediation.shared_with),
        opens=remediation.opens,
        verified=remediation.verified,
        tried=remediation.tried,
        if_wanted=remediation.if_wanted,
        managed_by=remediation.managed_by,
        undo=remediation.undo(region),
        terraform=remediation.terraform,
    )


def _with_endpoints(alert: Alert, endpoints: Endpoints) -> Alert:
    return replace(
        alert,
        remote_end=cut(endpoints.remote),
        path=endpoints.path,
        path_id=endpoints.path_id,
        names=tuple((key, cut(name)) for key, name in endpoints.names[:MAX_NAMES]),
    )


def _ordered(confidences: Counter[Confidence]) -> tuple[tuple[str, int], ...]:
    return tuple(
        (level, confidences[Confidence(level)]) for level in CONFIDENCES if level in confidences
    )


def service_in_words(protocol: int | None, port: int | None) -> str:
    """Name a service: ``TCP 443 (HTTPS)``; without a port, the protocol."""
    name = protocol_name(protocol)
    if port is None:
        return f"{name}, high ports" if has_ports(protocol) else name
    known = service_name(protocol, port)
    return f"{name} {port}" + ("" if known is None else f" ({known})")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ends:
    """Both ends of the connection as text; the service's port is at the end that it belongs to."""

    near: str
    far: str | None
    far_port: int | None


def _ends(standing: Explanation, service_port: int | None) -> _Ends:
    flow, key = standing.flow, standing.flow.key
    near = key.packet_source if flow.direction is None else flow.local
    near_port, far_port = key.source_port, key.destination_port
    if flow.direction is FlowDirection.INGRESS:
        near_port, far_port = far_port, near_port
    near_has_service = service_port is not None and near_port == service_port
    far_has_service = not near_has_service and far_port == service_port
    shown_far_port = service_port if far_has_service else None
    far = key.packet_destination
    return _Ends(
        near=with_port("?" if near is None else str(near), near_port if near_has_service else None),
        far=None if far is None else with_port(str(far), shown_far_port),
        far_port=shown_far_port,
    )


def _remotes(members: Sequence[Explanation]) -> tuple[Remote, ...]:
    return busiest_addresses((far_end(member.flow), member) for member in members)


def far_end(flow: RejectedFlow) -> Address | None:
    """Return the remote address; without a direction the source, which a reader can act on."""
    return flow.remote if flow.direction is not None else flow.key.packet_source


def busiest_addresses(
    members_by_address: Iterable[tuple[Address | None, Explanation]],
) -> tuple[Remote, ...]:
    """Count flows and packets by address; return the addresses with most packets first."""
    packets: defaultdict[str, list[int]] = defaultdict(list)  # of each flow
    for address, member in members_by_address:
        if address is not None:
            packets[str(address)].append(member.flow.traffic.packets)
    remotes = (
        Remote(address=address, flows=len(of_flows), packets=sum(of_flows))
        for address, of_flows in packets.items()
    )
    return tuple(sorted(remotes, key=busiest))


def network_of(remotes: Sequence[Remote]) -> str | None:
    """Return the smallest range that holds all remotes; ``None`` without a range worth naming."""
    network = common_network(remote.address for remote in remotes) if remotes else None
    return None if network is None else str(network)


def owners_shown(standing: Explanation) -> tuple[tuple[str, str], ...]:
    """Return what names an owner, as text that cannot fake a line.

    Of the interface's own tags, those with a usual name; and what the records show: the ECS
    service, and tags that somebody chose for the flow log.
    """
    tags = {} if standing.rules_check is None else standing.rules_check.interface.tags
    owners = [
        (name, shown_name(tags[name])) for name in sorted(tags) if name.casefold() in _OWNER_TAGS
    ]
    named = [(name, value) for name, value in owners if value]
    known = {value for _, value in named}
    named += [(whose, value) for whose, value in owners_of(standing.flow) if value not in known]
    return tuple(named)[:_MAX_OWNERS]
