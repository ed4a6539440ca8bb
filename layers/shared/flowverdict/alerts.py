"""Explanations to alerts: few, each one thing that a person can act on.

Rejected flows with the same account, VPC (or interface, where the VPC is not logged), direction, leg, verdict, protocol and
service port are one alert. Never the ephemeral port, a remote address or a time: those differ with every connection.

Severity says who should look, with its reason in words:

- *critical*: replies of accepted connections are dropped, which is always a misconfiguration;
- *high*: requests inside the organisation or to an AWS service;
- *medium*: requests out to the internet, which may be wanted egress control;
- *low*: the internet knocking on what is closed;
- *info*: packets of connections that were over.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from flowverdict.addresses import is_inside
from flowverdict.decision import Confidence, Evidence, Leg, VerdictKind
from flowverdict.records import FlowDirection
from flowverdict.services import WELL_KNOWN_PORTS, PortLook, has_ports, port_look, protocol_name
from flowverdict.wording import endpoints, isoformat, next_steps, sentence, short_caption, what_was_rejected

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowverdict.explain import Explanation

MAX_ALERTS = 100  # of a batch, with services told apart; at tens of ms a message, more would not be sent in time
MAX_REMOTES = 10
MAX_INTERFACES = 10
MAX_TEXT = 2_000  # of any one text, so that an alert stays far below SNS's 256 KiB whatever the records hold


class Severity(StrEnum):
    """Who should look, and when."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"

    @property
    def rank(self) -> int:
        """0 for the most severe."""
        return list(Severity).index(self)


class GroupKey(NamedTuple):
    """What makes rejected flows one alert. A named tuple because it is hashed for every flow."""

    account_id: str | None
    region: str | None
    vpc_id: str | None
    interface_id: str | None
    direction: FlowDirection | None
    leg: Leg
    verdict: VerdictKind
    protocol: int | None
    service_port: int | None
    blocker: str | None

    @property
    def fingerprint(self) -> str:
        """Identify the alert over time: 32 hexadecimal digits of a SHA-256 over the key."""
        return hashlib.sha256(json.dumps(self).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """An address on the far side, and how much of its traffic was rejected."""

    address: str
    flows: int
    packets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Rejected flows with one explanation, ready to be rendered.

    ``explanation`` is the flow that stands for them: of those that the severity is about, the one with the most packets.
    ``confidence`` is the weakest among the flows, so that ``certain`` holds for each of them; ``confidences`` counts them.
    """

    key: GroupKey
    severity: Severity
    severity_reason: str
    confidence: Confidence
    confidences: tuple[tuple[Confidence, int], ...]
    explanation: Explanation
    interfaces: tuple[str, ...]
    interface_count: int
    remotes: tuple[Remote, ...]
    remote_count: int
    flows: int
    records: int
    packets: int
    bytes: int
    first_seen: int | None
    last_seen: int | None

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """The evidence of the flow that stands for the group."""
        return self.explanation.verdict.evidence

    @property
    def title(self) -> str:
        """Name the alert in one line: ``Outbound response rejected by NACL: 10.0.1.5:443 -> 203.0.113.12 (+2 more)``."""
        verb = "rejected by" if self.key.verdict not in _NOT_BY else "rejected,"
        what = what_was_rejected(self.key.direction, self.key.leg)
        ends = endpoints(self.explanation.flow, only_port=self.key.service_port)
        return _cut(f"{what} {verb} {short_caption(self.key.verdict)}: {ends}{self._others()}")

    def _others(self) -> str:
        return f" (+{self.flows - 1:,} more)" if self.flows > 1 else ""

    @property
    def service(self) -> str:
        """The service in words: ``TCP 443 (HTTPS)``."""
        if self.key.protocol is None and self.explanation.flow.key.protocol is not None:
            return "several services"
        name = protocol_name(self.key.protocol)
        if self.key.service_port is None:
            return name
        known = WELL_KNOWN_PORTS.get(self.key.service_port)
        return f"{name} {self.key.service_port}" + ("" if known is None else f" ({known})")

    def to_json(self) -> str:
        """Give the alert for machines; its schema is ``docs/schemas/alert.schema.json``."""
        key, flow = self.key, self.explanation.flow
        return json.dumps(
            {
                "schema_version": 1,
                "fingerprint": key.fingerprint,
                "title": self.title,
                "severity": self.severity,
                "severity_reason": self.severity_reason,
                "summary": _cut(sentence(self.explanation)),
                "account_id": _cut_or_none(key.account_id),
                "region": _cut_or_none(key.region),
                "vpc_id": _cut_or_none(key.vpc_id),
                "subnet_id": _cut_or_none(flow.context.subnet_id),
                "interfaces": [_cut(interface) for interface in self.interfaces],
                "interface_count": self.interface_count,
                "flow_direction": key.direction,
                "leg": key.leg,
                "verdict": key.verdict,
                "confidence": self.confidence,
                "confidence_counts": dict(self.confidences),
                "protocol": key.protocol,
                "service_port": key.service_port,
                "service": self.service,
                **self.explanation.rule_details(),
                "evidence": [{"kind": item.kind, "detail": _cut(item.detail)} for item in self.evidence],
                "next_steps": [_cut(step) for step in next_steps(self.explanation)],
                "top_remotes": [{"address": one.address, "flows": one.flows, "packets": one.packets} for one in self.remotes],
                "remote_count": self.remote_count,
                "flows": self.flows,
                "records": self.records,
                "packets": self.packets,
                "bytes": self.bytes,
                "first_seen": isoformat(self.first_seen),
                "last_seen": isoformat(self.last_seen),
            }
        )


_NOT_BY = {VerdictKind.CLOSED_CONNECTION, VerdictKind.RULES_ALLOW, VerdictKind.UNDETERMINED}


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 3]}..."


def _cut_or_none(text: str | None) -> str | None:
    return None if text is None else _cut(text)


def group(explanations: Iterable[Explanation]) -> list[Alert]:
    """Group explanations into alerts, most severe first; among equals the one seen first, then by fingerprint.

    Beyond ``MAX_ALERTS`` services are no longer told apart; every flow is still counted.
    """
    groups: dict[GroupKey, list[Explanation]] = {}
    for explanation in explanations:
        groups.setdefault(_key(explanation), []).append(explanation)
    alerts = sorted((_alert(key, members) for key, members in groups.items()), key=_most_severe_first)
    return alerts if len(alerts) <= MAX_ALERTS else [*alerts[:MAX_ALERTS], *_folded(alerts[MAX_ALERTS:], groups)]


def _most_severe_first(alert: Alert) -> tuple[int, bool, int, str]:
    first = alert.first_seen
    return (alert.severity.rank, first is None, 0 if first is None else first, alert.key.fingerprint)


def _folded(alerts: list[Alert], groups: dict[GroupKey, list[Explanation]]) -> list[Alert]:
    """Put together what is left over, whatever its service: a scan of all ports is one alert, which counts every flow."""
    folded: dict[GroupKey, list[Explanation]] = {}
    for alert in alerts:
        key = alert.key._replace(protocol=None, service_port=None, blocker=None)
        folded.setdefault(key, []).extend(groups[alert.key])
    return sorted((_alert(key, members) for key, members in folded.items()), key=_most_severe_first)


def service_port(explanation: Explanation) -> int | None:
    """Give the port of the service that was to be reached, never an ephemeral one; ``None`` where no port tells."""
    key, leg = explanation.flow.key, explanation.verdict.leg
    if not has_ports(key.protocol):
        return None
    match leg:
        case Leg.REQUEST:
            return key.destination_port
        case Leg.RESPONSE:
            return key.source_port
        case Leg.UNKNOWN:
            look = port_look(key.source_port, key.destination_port)
            by_look = {PortLook.REQUEST: key.destination_port, PortLook.REPLY: key.source_port, PortLook.NEITHER: None}
            return by_look[look]


def severity_of(explanation: Explanation) -> tuple[Severity, str]:
    """Judge one rejected flow: the severity, and why in words."""
    flow, verdict = explanation.flow, explanation.verdict
    match verdict.kind:
        case VerdictKind.CLOSED_CONNECTION:
            return Severity.INFO, "a packet of a connection that was over; this is normal"
        case VerdictKind.RULES_ALLOW:
            return Severity.INFO, "the rules allow it now"
        case VerdictKind.NETWORK_ACL if verdict.leg is Leg.RESPONSE and verdict.confidence is not Confidence.POSSIBLE:
            return Severity.CRITICAL, "replies of accepted connections are dropped, which nobody wants"
        case VerdictKind.NETWORK_ACL if verdict.leg is Leg.RESPONSE:
            return Severity.HIGH, "replies may be dropped, though it is not sure that these are replies"
        case _:
            return _severity_of_request(explanation, flow.direction)


def _severity_of_request(explanation: Explanation, direction: FlowDirection | None) -> tuple[Severity, str]:
    key, context = explanation.flow.key, explanation.flow.context
    asked = explanation.verdict.leg is Leg.REQUEST
    ends = [end for end in (key.packet_source, key.packet_destination) if end is not None]
    if ends and all(is_inside(end) for end in ends):
        return Severity.HIGH, "traffic between private addresses, inside the organisation"
    if direction is FlowDirection.EGRESS and context.pkt_dst_aws_service not in _NO_SERVICE_OF_ITS_OWN:
        return Severity.HIGH, f"traffic to an AWS service ({context.pkt_dst_aws_service})"
    if direction is FlowDirection.EGRESS:
        return Severity.MEDIUM, "traffic out to the internet; this may be wanted egress control"
    if direction is FlowDirection.INGRESS:
        return (
            Severity.LOW,
            "the internet knocking on what is closed" if asked else "from the internet, and nobody seems to have asked for it",
        )
    return Severity.MEDIUM, "the direction is not known"


# AWS's address ranges that anybody's machines or content may be behind.
_NO_SERVICE_OF_ITS_OWN = {None, "AMAZON", "EC2", "CLOUDFRONT", "GLOBALACCELERATOR"}


def _key(explanation: Explanation) -> GroupKey:
    flow, verdict = explanation.flow, explanation.verdict
    return GroupKey(
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
    )


def _alert(key: GroupKey, members: list[Explanation]) -> Alert:
    judged = [(*severity_of(member), member) for member in members]
    severity, reason, _ = min(judged, key=lambda one: (one[0].rank, one[1]))
    # The flow that stands for the group is one that the severity is about.
    telling = [member for its_severity, its_reason, member in judged if (its_severity, its_reason) == (severity, reason)]
    confidences = Counter(member.verdict.confidence for member in members)
    interfaces = sorted({member.flow.key.interface for member in members} - {None}, key=str)
    remotes = _remotes(members)
    traffic = [member.flow.traffic for member in members]
    return Alert(
        key=key,
        severity=severity,
        severity_reason=reason,
        confidence=[level for level in Confidence if level in confidences][-1],
        confidences=tuple((level, confidences[level]) for level in Confidence if level in confidences),
        explanation=min(telling, key=lambda member: (-member.flow.traffic.packets, repr(member.flow.key))),
        interfaces=tuple(str(interface) for interface in interfaces[:MAX_INTERFACES]),
        interface_count=len(interfaces),
        remotes=remotes[:MAX_REMOTES],
        remote_count=len(remotes),
        flows=len(members),
        records=sum(one.records for one in traffic),
        packets=sum(one.packets for one in traffic),
        bytes=sum(one.bytes for one in traffic),
        first_seen=min((one.first_start for one in traffic if one.first_start is not None), default=None),
        last_seen=max((one.last_end for one in traffic if one.last_end is not None), default=None),
    )


def _remotes(members: list[Explanation]) -> tuple[Remote, ...]:
    flows: Counter[str] = Counter()
    packets: Counter[str] = Counter()
    for member in members:
        # Where the direction is not known, the source is the side that a reader can do something about.
        remote = member.flow.remote if member.flow.direction is not None else member.flow.key.packet_source
        if remote is not None:
            flows[str(remote)] += 1
            packets[str(remote)] += member.flow.traffic.packets
    ranked = sorted(flows, key=lambda address: (-packets[address], address))
    return tuple(Remote(address=address, flows=flows[address], packets=packets[address]) for address in ranked)


def scope(alert: Alert) -> str:
    """Say where: ``account 123456789012, eu-west-1, vpc-..., eni-... and 3 more interfaces``."""
    key = alert.key
    interfaces = _interfaces_in_words(alert)
    parts = [
        None if key.account_id is None else f"account {_cut(key.account_id)}",
        key.region,
        key.vpc_id,
        interfaces or None,
    ]
    return ", ".join(_cut(part) for part in parts if part is not None) or "unknown place"


def _interfaces_in_words(alert: Alert) -> str:
    shown = alert.interfaces[:3]
    more = alert.interface_count - len(shown)
    return ", ".join(_cut(one) for one in shown) + (f" and {more:,} more interfaces" if more else "")
