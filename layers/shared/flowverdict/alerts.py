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

import hashlib
import json
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from flowverdict.addresses import is_inside
from flowverdict.decision import Confidence, Leg, VerdictKind
from flowverdict.document import (
    CONFIDENCES,
    MAX_INTERFACES,
    MAX_REMOTES,
    Alert,
    Evidence,
    Fix,
    Kind,
    Notice,
    Remote,
    Section,
    Severity,
    busiest,
    common_network,
    counted,
    cut,
    with_port,
)
from flowverdict.ends import MAX_TAG, Path
from flowverdict.flows import MAX_FLOWS
from flowverdict.links import console_links, logs_query
from flowverdict.recheck import MAX_SAMPLES, Sample, sample_of
from flowverdict.records import FlowDirection
from flowverdict.scans import Scan, without_scans
from flowverdict.services import (
    WELL_KNOWN_PORTS,
    PortLook,
    has_ports,
    port_look,
    protocol_name,
    without_ephemeral,
)
from flowverdict.untrusted import one_line
from flowverdict.wording import caption, connection, headline, most_of, next_steps, sentence

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from flowverdict.explain import Explanation
    from flowverdict.flows import Folded, LostRecords
    from flowverdict.records import Address

# Of a batch, with services told apart. Beyond it they no longer are: the table takes some 100 alerts at a time and a tenth of a
# second, so this many are a matter of seconds.
MAX_ALERTS = 10_000
_OWNER_TAGS = frozenset({"owner", "team", "contact", "service-owner", "owner-email", "squad"})
_MAX_OWNERS = 3


class GroupKey(NamedTuple):
    """What makes rejected flows one alert. A named tuple because it is hashed for every flow."""

    kind: Kind
    account_id: str | None
    region: str | None
    vpc_id: str | None
    interface_id: str | None
    direction: FlowDirection | None
    leg: Leg | None = None
    verdict: VerdictKind | None = None
    protocol: int | None = None
    service_port: int | None = None
    blocker: str | None = None
    for_digest: bool = False  # the internet at a port and a colleague at it are two things, of which only one is told by itself

    @property
    def fingerprint(self) -> str:
        """Identify the alert over time: 32 hexadecimal digits of a SHA-256 over the key."""
        return fingerprint(*self)


def fingerprint(*parts: object) -> str:
    """Give 32 hexadecimal digits of a SHA-256 over the parts."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A problem as one batch shows it, with what decides whether anyone is told.

    Parameters
    ----------
    samples
        Packets to judge again once the rules may have changed.
    casts
        Keys of the shadows it casts: what has one of them among ``shaded_by`` is explained by it.
    shaded_by
        Keys of the shadows that make this one needless.
    """

    document: Alert | Notice
    samples: tuple[Sample, ...] = ()
    casts: tuple[str, ...] = ()
    shaded_by: tuple[str, ...] = ()


def group(explanations: Iterable[Explanation]) -> list[Sighting]:
    """Group explanations into alerts, most severe first; among equals the one seen first, then by fingerprint.

    Beyond ``MAX_ALERTS`` services are no longer told apart; every flow is still counted.
    """
    scans, rest = without_scans(explanations)
    groups: defaultdict[GroupKey, list[Explanation]] = defaultdict(list)
    for explanation in rest:
        groups[_key(explanation)].append(explanation)
    found: list[tuple[_Urgency, GroupKey | Sighting]] = [(_urgency(key, members), key) for key, members in groups.items()]
    found += [(most_severe_first(scan), scan) for scan in map(_scan_sighting, scans)]
    found.sort(key=lambda one: one[0])
    # Alerts are made of those that are told, since to make one takes longer than to judge its flow.
    told = [one if isinstance(one, Sighting) else _sighting(one, groups[one]) for _, one in found[:MAX_ALERTS]]
    folded: defaultdict[GroupKey, list[Explanation]] = defaultdict(list)
    for _, one in found[MAX_ALERTS:]:
        if isinstance(one, GroupKey):
            folded[one._replace(protocol=None, service_port=None, blocker=None)] += groups[one]
    scans_left = [one for _, one in found[MAX_ALERTS:] if isinstance(one, Sighting)]
    rest_folded = sorted((_sighting(key, members, several=True) for key, members in folded.items()), key=most_severe_first)
    return [*told, *scans_left, *rest_folded]


type _Urgency = tuple[int, bool, int, str]


def most_severe_first(sighting: Sighting) -> _Urgency:
    """Sort sightings: by severity, then by time, then by fingerprint."""
    document = sighting.document
    return _urgent(document.severity, document.first_seen, document.fingerprint)


def _urgency(key: GroupKey, members: Iterable[Explanation]) -> _Urgency:
    """Give what ``most_severe_first`` gives of the sighting that is made of them."""
    severity = min((severity_of(member)[0] for member in members), key=lambda one: one.rank)
    starts = (member.flow.traffic.first_start for member in members)
    return _urgent(severity, min((start for start in starts if start is not None), default=None), key.fingerprint)


def _urgent(severity: Severity, first_seen: int | None, fingerprinted: str) -> _Urgency:
    return (severity.rank, first_seen is None, 0 if first_seen is None else first_seen, fingerprinted)


def service_port(explanation: Explanation) -> int | None:
    """Give the port of the service that was to be reached; ``None`` where no port tells.

    A high port that no service is known for is taken for an ephemeral one: there, every connection has another.
    """
    key, leg = explanation.flow.key, explanation.verdict.leg
    if not has_ports(key.protocol):
        return None
    match leg:
        case Leg.REQUEST:
            port = key.destination_port
        case Leg.RESPONSE:
            port = key.source_port
        case Leg.UNKNOWN:
            look = port_look(key.source_port, key.destination_port)
            port = {PortLook.REQUEST: key.destination_port, PortLook.REPLY: key.source_port, PortLook.NEITHER: None}[look]
    return without_ephemeral(port)


# --- severity ---------------------------------------------------------------------------------------------------------


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
    if explanation.ends is not None and explanation.ends.path in _PATHS_IN_WORDS:
        return Severity.HIGH, _PATHS_IN_WORDS[explanation.ends.path]
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
# Where the rules were read, they know an inside end by more than its address: VPCs may use public ranges, and IPv6 always does.
_PATHS_IN_WORDS = {
    Path.SAME_SUBNET: "traffic inside a subnet",
    Path.SAME_VPC: "traffic inside a VPC",
    Path.PEERING: "traffic between peered VPCs",
    Path.INTERFACE_ENDPOINT: "traffic of a VPC endpoint",
    Path.GATEWAY_ENDPOINT: "traffic to an AWS service, through a gateway endpoint",
    Path.AWS_SERVICE: "traffic to an AWS service",
}


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


def _sighting(key: GroupKey, members: list[Explanation], *, several: bool = False) -> Sighting:
    judged = [(*severity_of(member), member) for member in members]
    severity, reason, _ = min(judged, key=lambda one: (one[0].rank, one[1]))
    # The flow that stands for the group is one that the severity is about.
    telling = [member for its_severity, its_reason, member in judged if (its_severity, its_reason) == (severity, reason)]
    standing = min(telling, key=lambda member: (-member.flow.traffic.packets, repr(member.flow.key)))
    alert = _alert(key, (severity, reason), standing, members, service="several services" if several else _service(key))
    samples = [sample for member in sorted(telling, key=_busiest_first) if (sample := sample_of(member)) is not None]
    return Sighting(
        document=alert, samples=tuple(samples[:MAX_SAMPLES]), casts=_casts(alert), shaded_by=_shaded_by(alert, standing)
    )


def _busiest_first(member: Explanation) -> tuple[int, str]:
    return (-member.flow.traffic.packets, repr(member.flow.key))


def _alert(
    key: GroupKey, judged: tuple[Severity, str], standing: Explanation, members: list[Explanation], *, service: str
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
    remedy = standing.remedy
    return Alert(
        kind=key.kind,
        fingerprint=key.fingerprint,
        severity=severity,
        severity_reason=reason,
        summary=cut(sentence(standing)),
        account_id=_cut_or_none(key.account_id),
        region=_cut_or_none(key.region),
        vpc_id=_cut_or_none(key.vpc_id),
        interfaces=tuple(cut(str(interface)) for interface in interfaces[:MAX_INTERFACES]),
        interface_count=len(interfaces),
        records=sum(one.records for one in traffic),
        first_seen=min((one.first_start for one in traffic if one.first_start is not None), default=None),
        last_seen=max((one.last_end for one in traffic if one.last_end is not None), default=None),
        headline=cut(headline(standing, confidence)),
        near=with_port(near, near_port),
        near_others=max(len(locals_) - 1, 0),
        far_port=far_port,
        far=None if flow.key.packet_destination is None else with_port(str(flow.key.packet_destination), far_port),
        far_network=_network_of(remotes),
        outbound=None if flow.direction is None else flow.direction is FlowDirection.EGRESS,
        connection=connection(flow),
        subnet_id=_cut_or_none(flow.context.subnet_id),
        flow_direction=key.direction,
        leg=verdict.leg,
        verdict=verdict.kind,
        verdict_caption=caption(verdict.kind),
        confidence=confidence,
        confidences=tuple((level, confidences[Confidence(level)]) for level in CONFIDENCES if level in confidences),
        protocol=key.protocol,
        service_port=key.service_port,
        service=service,
        blocker=standing.blocker,
        network_acl_entry=standing.acl_entry,
        security_groups=standing.blocking_groups,
        nearest_miss=standing.miss,
        rules_read_at=standing.rules_read_at,
        local_end=None if standing.ends is None else cut(standing.ends.local),
        remote_end=None if standing.ends is None else cut(standing.ends.remote),
        path=None if standing.ends is None else standing.ends.path,
        path_id=None if standing.ends is None else standing.ends.path_id,
        notes=() if standing.ends is None else tuple(cut(note) for note in standing.ends.notes),
        remedy=None if isinstance(remedy, str) else Fix(commands=remedy.commands(flow.context.region), opens=remedy.opens),
        remedy_reason=remedy if isinstance(remedy, str) else None,
        evidence=tuple(Evidence(kind=item.kind, detail=cut(item.detail)) for item in verdict.evidence),
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
        logs_query=logs_query(flow.interface_id, key.service_port, None if not remotes else remotes[0].address),
    )


def _cut_or_none(text: str | None) -> str | None:
    return None if text is None else cut(text)


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
        (member.flow.remote if member.flow.direction is not None else member.flow.key.packet_source, member) for member in members
    )


def _busiest_addresses(seen: Iterable[tuple[Address | None, Explanation]]) -> tuple[Remote, ...]:
    flows: Counter[str] = Counter()
    packets: Counter[str] = Counter()
    for address, member in seen:
        if address is not None:
            flows[str(address)] += 1
            packets[str(address)] += member.flow.traffic.packets
    return tuple(sorted((Remote(address=one, flows=flows[one], packets=packets[one]) for one in flows), key=busiest))


def _network_of(remotes: Sequence[Remote]) -> str | None:
    network = common_network(remote.address for remote in remotes) if remotes else None
    return None if network is None else str(network)


def _owners(standing: Explanation) -> tuple[tuple[str, str], ...]:
    """Give the tags of the interface that name who to ask, as text that no line or terminal can be faked with."""
    if standing.ruling is None:
        return ()
    tags = standing.ruling.interface.tags
    owners = [(name, one_line(tags[name]).strip()[:MAX_TAG]) for name in sorted(tags) if name.casefold() in _OWNER_TAGS]
    return tuple((name, value) for name, value in owners if value)[:_MAX_OWNERS]


# --- scans ------------------------------------------------------------------------------------------------------------


def _scan_sighting(scan: Scan) -> Sighting:
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
    alert = _alert(key, (severity, reason), standing, list(scan.members), service="several services")
    sources = _busiest_addresses((member.flow.key.packet_source, member) for member in scan.members)
    return Sighting(
        document=replace(
            alert,
            summary=f"{who} tried {tried} and {'was' if scan.sources == 1 else 'were'} rejected. "
            f"One of the packets: {alert.connection} - {alert.summary}",
            headline=f"Scan of {tried}",
            blocker=None,
            remedy=None,
            remedy_reason="none needed: a scan is answered by staying closed",
            next_steps=("See what the host runs and who uses it: nothing here should knock at so many doors.",)
            if place.inside
            else (),
            top_remotes=sources[:MAX_REMOTES],
            remote_count=len(sources),
            far_network=_network_of(sources),
            outbound=False,
            near=f"{scan.addresses:,} addresses" if scan.addresses > 1 else str(standing.flow.key.packet_destination),
            near_others=0,
            far_port=None,
            targets=(scan.ports, scan.addresses),
        )
    )


# --- shadows: what makes another alert needless -----------------------------------------------------------------------


def _place(alert: Alert) -> tuple[str | None, str | None, str | None]:
    return (alert.account_id, alert.region, alert.vpc_id if alert.vpc_id is not None else "/".join(alert.interfaces))


def _casts(alert: Alert) -> tuple[str, ...]:
    """Give the shadows of what explains others: Block Public Access, and a network ACL that drops replies."""
    if alert.verdict == VerdictKind.BLOCK_PUBLIC_ACCESS:
        return (fingerprint("block-public-access", *_place(alert), alert.flow_direction),)
    if alert.severity is Severity.CRITICAL and alert.leg == Leg.RESPONSE:
        entry = alert.network_acl_entry
        return (_reply_shadow(alert, None), _reply_shadow(alert, "unnamed" if entry is None else entry.network_acl_id))
    return ()


def _shaded_by(alert: Alert, standing: Explanation) -> tuple[str, ...]:
    """Give the shadows that would make this alert needless.

    Block Public Access explains what comes from or goes to the internet where the log does not say why it was rejected and no
    rule is known to block it. A network ACL that drops a service's replies explains the requests that it, or nobody knows
    what, drops: one broken list is one message. What a security group blocks, it does not explain.
    """
    shadows: list[str] = []
    reason_unknown = alert.blocker is None and None in standing.flow.reject_reasons
    if not standing.is_inside and reason_unknown and alert.verdict != VerdictKind.BLOCK_PUBLIC_ACCESS:
        shadows.append(fingerprint("block-public-access", *_place(alert), alert.flow_direction))
    if (
        alert.leg != Leg.RESPONSE
        and alert.verdict in _PERHAPS_ACL
        and (alert.service_port is not None or not has_ports(alert.protocol))
    ):
        entry = alert.network_acl_entry
        # A named entry is explained by the same list, or by one that could not be named.
        named = () if entry is None else (_reply_shadow(alert, entry.network_acl_id), _reply_shadow(alert, "unnamed"))
        shadows += named or (_reply_shadow(alert, None),)
    return tuple(shadows)


_PERHAPS_ACL = {VerdictKind.NETWORK_ACL, VerdictKind.NETWORK_ACL_OR_SECURITY_GROUP, VerdictKind.UNDETERMINED}


def _reply_shadow(alert: Alert, network_acl_id: str | None) -> str:
    return fingerprint("replies-blocked", *_place(alert), alert.protocol, alert.service_port, network_acl_id)


# --- records that AWS lost --------------------------------------------------------------------------------------------


def lost_records(losses: Iterable[LostRecords]) -> list[Sighting]:
    """Give a notice for each interface that AWS lost records of (SKIPDATA)."""
    return [Sighting(document=_lost(loss)) for loss in losses]


def folded_flows(folded: Mapping[str | None, Folded]) -> list[Sighting]:
    """Give a notice for each interface with rejected flows that are counted together, and not judged one by one."""
    return [Sighting(document=_folded(interface, one)) for interface, one in sorted(folded.items(), key=str)]


def _folded(interface_id: str | None, folded: Folded) -> Notice:
    interface, context, traffic = cut(interface_id or "unknown interface"), folded.context, folded.traffic
    return Notice(
        kind=Kind.FLOOD,
        fingerprint=fingerprint("folded", context.account_id, context.region, interface_id),
        severity=Severity.MEDIUM,
        severity_reason="so many packets are rejected there that they are not told one from the other",
        title=f"More rejected flows at {interface} than are judged one by one",
        summary=(
            f"More than {MAX_FLOWS:,} different flows were rejected in five minutes. {traffic.records:,} further records of "
            f"{interface} ({traffic.packets:,} packets) are counted here together; nothing is said of why each was rejected."
        ),
        account_id=_cut_or_none(context.account_id),
        region=_cut_or_none(context.region),
        vpc_id=_cut_or_none(context.vpc_id),
        interfaces=(interface,),
        interface_count=1,
        records=traffic.records,
        first_seen=traffic.first_start,
        last_seen=traffic.last_end,
        sections=(
            Section(heading="Most of them", lines=most_of(folded)),
            Section(
                heading="What to do",
                lines=(
                    "Somebody floods or scans the interface, or a client of your own tries again without end: see who sends them.",
                ),
            ),
        ),
    )


def _lost(loss: LostRecords) -> Notice:
    interface = cut(loss.interface_id or "unknown interface")
    return Notice(
        kind=Kind.RECORDS_LOST,
        fingerprint=fingerprint(Kind.RECORDS_LOST, loss.account_id, loss.region, loss.interface_id),
        severity=Severity.MEDIUM,
        severity_reason="what was rejected there in that time cannot be known",
        title=f"Flow log records lost at {interface}",
        summary=(
            f"AWS could not log all traffic of {interface} (SKIPDATA). Rejects are missing from that time, and a verdict there "
            "may lack the record that would have changed it."
        ),
        account_id=_cut_or_none(loss.account_id),
        region=_cut_or_none(loss.region),
        vpc_id=_cut_or_none(loss.vpc_id),
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
                    "If it goes on, a shorter aggregation interval or fewer flow logs on the interface may help.",
                ),
            ),
        ),
    )
