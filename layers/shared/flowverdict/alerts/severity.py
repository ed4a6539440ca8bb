"""TODO flowverdict.alerts.severity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowverdict.alerts.model import Severity
from flowverdict.core.addresses import is_inside
from flowverdict.core.protocols import PortLook, has_ports, port_look, without_ephemeral
from flowverdict.flowlog.records import FlowDirection
from flowverdict.verdict.endpoints import Path
from flowverdict.verdict.model import Confidence, Leg, VerdictKind

if TYPE_CHECKING:
    from flowverdict.verdict.explanation import Explanation


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
            port = {
                PortLook.REQUEST: key.destination_port,
                PortLook.REPLY: key.source_port,
                PortLook.NEITHER: None,
            }[look]
    return without_ephemeral(port)


# --- severity ---------------------------------------------------------------------------------------------------------


def severity_of(explanation: Explanation) -> tuple[Severity, str]:
    """WindowEvaluator one rejected flow: the severity, and why in words."""
    flow, verdict = explanation.flow, explanation.verdict
    match verdict.kind:
        case VerdictKind.CLOSED_CONNECTION:
            return Severity.INFO, "a packet of a connection that was over; this is normal"
        case VerdictKind.RULES_ALLOW:
            return Severity.INFO, "the rules allow it now"
        case VerdictKind.NETWORK_ACL if (
            verdict.leg is Leg.RESPONSE and verdict.confidence is not Confidence.POSSIBLE
        ):
            return (
                Severity.CRITICAL,
                "replies of accepted connections are dropped, which nobody wants",
            )
        case VerdictKind.NETWORK_ACL if verdict.leg is Leg.RESPONSE:
            return (
                Severity.HIGH,
                "replies may be dropped, though it is not sure that these are replies",
            )
        case _:
            return _severity_of_request(explanation, flow.direction)


def _severity_of_request(
    explanation: Explanation, direction: FlowDirection | None
) -> tuple[Severity, str]:
    key, context = explanation.flow.key, explanation.flow.context
    asked = explanation.verdict.leg is Leg.REQUEST
    if explanation.endpoints is not None and explanation.endpoints.path in _PATHS_IN_WORDS:
        return Severity.HIGH, _PATHS_IN_WORDS[explanation.endpoints.path]
    endpoints = [end for end in (key.packet_source, key.packet_destination) if end is not None]
    if endpoints and all(is_inside(end) for end in endpoints):
        return Severity.HIGH, "traffic between private addresses, inside the organisation"
    if (
        direction is FlowDirection.EGRESS
        and context.pkt_dst_aws_service not in _NO_SERVICE_OF_ITS_OWN
    ):
        return Severity.HIGH, f"traffic to an AWS service ({context.pkt_dst_aws_service})"
    if direction is FlowDirection.EGRESS:
        return Severity.MEDIUM, "traffic out to the internet; this may be wanted egress control"
    if direction is FlowDirection.INGRESS:
        return (
            Severity.LOW,
            "the internet knocking on what is closed"
            if asked
            else "from the internet, and nobody seems to have asked for it",
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
