"""Explain the packets that a transit gateway dropped.

AWS counts them by reason (https://docs.aws.amazon.com/vpc/latest/tgw/tgw-flow-logs.html), so the
verdict is certain and nothing is to be worked out: no rule is read, and there is no fix, since how
traffic is to be routed is a decision of people. The verdict of a flow with several reasons is the
reason of most packets; the evidence names all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowverdict.core.availability import NotAvailable
from flowverdict.core.formatting import counted
from flowverdict.core.untrusted import is_region, is_resource_id
from flowverdict.flowlog.fields import PACKETS_LOST_FIELDS
from flowverdict.flowlog.records import FlowDirection
from flowverdict.verdict.endpoints import Endpoints
from flowverdict.verdict.explanation import Explanation
from flowverdict.verdict.model import (
    Confidence,
    Evidence,
    EvidenceKind,
    Leg,
    Strength,
    Verdict,
    VerdictKind,
)
from flowverdict.verdict.paths import Path

if TYPE_CHECKING:
    from flowverdict.core.addresses import Address
    from flowverdict.flowlog.transit_gateway import PacketsLost
    from flowverdict.flows.model import RejectedFlow


@dataclass(frozen=True, slots=True, kw_only=True)
class _Words:
    """What is said of a reason; ``{gateway}`` and ``{destination}`` stand for their names."""

    headline: str
    because: str
    no_fix: str


_WORDS = {
    VerdictKind.NO_ROUTE: _Words(
        headline="No route in the transit gateway",
        because="{gateway} has no route to {destination}",
        no_fix="none offered: which attachment should carry the packets is a decision of yours",
    ),
    VerdictKind.BLACKHOLE_ROUTE: _Words(
        headline="Blackhole route in the transit gateway",
        because="a blackhole route of {gateway} drops packets to {destination}",
        no_fix="none offered: the blackhole route may be there on purpose",
    ),
    VerdictKind.MTU_EXCEEDED: _Words(
        headline="Packets too large for the transit gateway",
        because="the packets are larger than {gateway} can carry to {destination}",
        no_fix="none offered: the sender has to send smaller packets",
    ),
    VerdictKind.TTL_EXPIRED: _Words(
        headline="Packets expired in the transit gateway",
        because="the time to live of packets to {destination} ended at {gateway}",
        no_fix="none offered: a routing loop can be in any route table on the path",
    ),
}
# In the order of ``PacketsLost`` and of AWS's fields.
_KINDS = (
    VerdictKind.NO_ROUTE,
    VerdictKind.BLACKHOLE_ROUTE,
    VerdictKind.MTU_EXCEEDED,
    VerdictKind.TTL_EXPIRED,
)
TRANSIT_GATEWAY_KINDS = frozenset(_KINDS)


def explain_packets_lost(flow: RejectedFlow, lost: PacketsLost) -> Explanation:
    """Explain a flow of which a transit gateway dropped packets."""
    by_packets = sorted(range(len(lost)), key=lambda reason: -lost[reason])
    verdict = Verdict(
        kind=_KINDS[by_packets[0]],
        leg=Leg.UNKNOWN,
        confidence=Confidence.CERTAIN,
        causes=frozenset(),
        evidence=tuple(
            Evidence(
                kind=EvidenceKind.PACKETS_LOST,
                detail=f"{PACKETS_LOST_FIELDS[reason]} counts {counted(lost[reason], 'packet')}",
                strength=Strength.HARD,
            )
            for reason in by_packets
            if lost[reason] > 0
        ),
    )
    return Explanation(
        flow=flow,
        verdict=verdict,
        remediation=NotAvailable(_WORDS[verdict.kind].no_fix),
        endpoints=_endpoints(flow),
    )


def _endpoints(flow: RejectedFlow) -> Endpoints:
    context = flow.context
    place = [part for part in (context.vpc_id, context.subnet_id) if part is not None]
    at = f" ({', '.join(place)})" if place else ""
    return Endpoints(
        local=f"transit gateway attachment {flow.attachment_id or 'not logged'}{at}",
        remote=f"packets to {_text(flow.key.packet_destination)}",
        path=Path.TRANSIT_GATEWAY,
        path_id=context.resource_id,
        notes=(),
    )


# --- words ----------------------------------------------------------------------------------------


def headline_of(kind: VerdictKind) -> str:
    """Name what the transit gateway did, without addresses."""
    return _WORDS[kind].headline


def because_of_transit_gateway(explanation: Explanation) -> str:
    """Write why the transit gateway dropped the packets, and what AWS counted."""
    flow = explanation.flow
    why = _WORDS[explanation.verdict.kind].because.format(
        gateway=flow.context.resource_id or "the transit gateway",
        destination=_text(flow.key.packet_destination),
    )
    return f"{why}; {', '.join(item.detail for item in explanation.verdict.evidence)}"


_NO_ROUTE_MATCHES = (
    "If no route matches: see the attachment's association with its route table, the propagation "
    "from the destination's attachment into that table, and the table's static routes."
)
_WHY_BLACKHOLE = (
    "A blackhole route was made to keep networks apart, or is left of an attachment that was "
    "deleted."
)
# https://docs.aws.amazon.com/vpc/latest/tgw/transit-gateway-quotas.html
_COMPARE_MTU = (
    "Compare the sender's MTU with what the path carries: 8500 bytes through a transit gateway, "
    "1500 over a VPN connection."
)


def steps_at_transit_gateway(explanation: Explanation) -> tuple[str, ...]:
    """Return what to look at; a command only reads, and is left out if an ID is malformed."""
    flow = explanation.flow
    destination = _text(flow.key.packet_destination)
    match explanation.verdict.kind:
        case VerdictKind.NO_ROUTE:
            return (
                _look_at_routes(flow, f"does a route match {destination}?"),
                _NO_ROUTE_MATCHES,
            )
        case VerdictKind.BLACKHOLE_ROUTE:
            return (
                _look_at_routes(flow, f"is the route that matches {destination} a blackhole?"),
                _WHY_BLACKHOLE,
            )
        case VerdictKind.MTU_EXCEEDED:
            return (
                _COMPARE_MTU,
                "For path MTU discovery, let ICMP type 3 code 4 (ICMPv6 type 2) reach the sender.",
            )
        case _:
            return (
                f"Route tables that send packets to {destination} back: is there a routing loop?",
                "A few such packets are normal where somebody runs traceroute.",
            )


def _look_at_routes(flow: RejectedFlow, question: str) -> str:
    """Return a step with the command that shows the route which the transit gateway looks up.

    The table is that of the attachment by which the packets came in. The records of an outgoing
    attachment do not name it.
    """
    attachment, destination = flow.attachment_id, flow.key.packet_destination
    incoming = flow.direction is FlowDirection.INGRESS
    if attachment is None or not incoming:
        return f"Route table of the attachment by which the packets came in: {question}"
    step = f"Route table of {attachment}: {question}"
    region = flow.context.region
    if not is_resource_id(attachment, "tgw-attach") or destination is None:
        return step
    if region is not None and not is_region(region):
        return step
    option = "" if region is None else f" --region {region}"
    table = (
        f"$(aws ec2 describe-transit-gateway-attachments{option}"
        f" --transit-gateway-attachment-ids {attachment}"
        " --query 'TransitGatewayAttachments[0].Association.TransitGatewayRouteTableId'"
        " --output text)"
    )
    found = (
        f"Name=route-search.longest-prefix-match,Values={destination}/{destination.max_prefixlen}"
    )
    command = (
        f"aws ec2 search-transit-gateway-routes{option} --transit-gateway-route-table-id {table}"
    )
    return f"{step} {command} --filters {found}"


def _text(address: Address | None) -> str:
    return "an unknown address" if address is None else str(address)
