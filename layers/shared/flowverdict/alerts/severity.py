"""Decide the severity of a rejected flow, with the reason in words, and its service port.

- *critical*: replies of accepted connections are dropped, which is always a misconfiguration;
- *high*: requests inside the organisation or to an AWS service, and packets to an address inside
  that a transit gateway drops;
- *medium*: requests out to the internet, which may be intended egress control; requests of the
  organisation's own public addresses, and of hosts whom a group's rule lets in for something else;
  a scan from inside; packets whose time to live ended in a transit gateway;
- *low*: unsolicited traffic from the internet, and replies to ports below 1024 of internet hosts;
- *info*: packets of closed connections, packets that the rules allow by now, and broadcast,
  multicast and link-local traffic, which no VPC carries.

What is inside follows from the addresses, and from the path where the rules were read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowverdict.alerts.model import Severity
from flowverdict.core.addresses import is_inside
from flowverdict.flowlog.records import FlowDirection
from flowverdict.verdict.model import Confidence, Leg, VerdictKind
from flowverdict.verdict.outsiders import answers_system_port, is_backscatter, knows_sender
from flowverdict.verdict.paths import NOT_A_SERVICE, Path
from flowverdict.verdict.service import service_port as port_of_service

if TYPE_CHECKING:
    from flowverdict.verdict.explanation import Explanation


# The path tells an inside end better than its address: VPCs may use public ranges, and IPv6 always
# does.
_PATHS_IN_WORDS = {
    Path.SAME_SUBNET: "traffic inside a subnet",
    Path.SAME_VPC: "traffic inside a VPC",
    Path.PEERING: "traffic between peered VPCs",
    Path.INTERFACE_ENDPOINT: "traffic of a VPC endpoint",
    Path.GATEWAY_ENDPOINT: "traffic to an AWS service, through a gateway endpoint",
    Path.AWS_SERVICE: "traffic to an AWS service",
    Path.TRANSIT_GATEWAY: "traffic of a network behind a transit gateway",
    Path.VIRTUAL_PRIVATE_GATEWAY: "traffic of a network behind a VPN or Direct Connect",
    Path.LOCAL_GATEWAY: "traffic of a network behind a local gateway",
    Path.LOAD_BALANCER: "requests of clients that came by a load balancer",
}


def severity_of(explanation: Explanation) -> tuple[Severity, str]:
    """Return the severity of one rejected flow, and the reason in words."""
    verdict = explanation.verdict
    if explanation.not_carried is not None:
        return Severity.INFO, f"{explanation.not_carried}, which no VPC carries"
    match verdict.kind:
        case VerdictKind.CLOSED_CONNECTION:
            return Severity.INFO, "a packet of a connection that was over; this is normal"
        case VerdictKind.RULES_ALLOW:
            return Severity.INFO, "the rules allow it now"
        case VerdictKind.NETWORK_ACL if explanation.is_from_outside and answers_system_port(
            explanation.flow, verdict
        ):
            return (
                Severity.LOW,
                "a reply to a port below 1024 on the internet, which no client sends from",
            )
        case VerdictKind.NETWORK_ACL if (
            verdict.leg is Leg.RESPONSE and verdict.confidence is not Confidence.POSSIBLE
        ):
            return (
                Severity.CRITICAL,
                "replies of accepted connections are dropped, which is never intended",
            )
        case VerdictKind.NETWORK_ACL if verdict.leg is Leg.RESPONSE:
            return (
                Severity.HIGH,
                "replies may be dropped, though it is not certain that these are replies",
            )
        case VerdictKind.TTL_EXPIRED:
            return Severity.MEDIUM, "a routing loop, or somebody runs traceroute"
        case VerdictKind.NO_ROUTE | VerdictKind.BLACKHOLE_ROUTE | VerdictKind.MTU_EXCEEDED:
            return _severity_at_transit_gateway(explanation)
        case _:
            return _severity_of_request(explanation)


def _severity_of_request(explanation: Explanation) -> tuple[Severity, str]:
    flow, key, context = explanation.flow, explanation.flow.key, explanation.flow.context
    path = None if explanation.endpoints is None else explanation.endpoints.path
    if path in _PATHS_IN_WORDS and not _is_provoked(explanation):
        return Severity.HIGH, _PATHS_IN_WORDS[path]
    ends = [end for end in (key.packet_source, key.packet_destination) if end is not None]
    if ends and all(is_inside(end) for end in ends):
        return Severity.HIGH, "traffic between private addresses, inside the organisation"
    match flow.direction:
        case FlowDirection.EGRESS if context.pkt_dst_aws_service not in NOT_A_SERVICE:
            return Severity.HIGH, f"traffic to an AWS service ({context.pkt_dst_aws_service})"
        case FlowDirection.EGRESS:
            return (
                Severity.MEDIUM,
                "traffic out to the internet; this may be intended egress control",
            )
        case FlowDirection.INGRESS:
            return _severity_from_internet(explanation)
        case None:
            return Severity.MEDIUM, "the direction is not known"


def _severity_from_internet(explanation: Explanation) -> tuple[Severity, str]:
    if explanation.verdict.leg is not Leg.REQUEST:
        return Severity.LOW, "traffic from the internet that seems unsolicited"
    check = explanation.rules_check
    if check is not None and check.found_path.public_of is not None:
        return Severity.MEDIUM, "a request from a public address of the organisation's own"
    if check is not None and knows_sender(check):
        return Severity.MEDIUM, "a request of somebody whom the rules let in for something else"
    return Severity.LOW, "an unsolicited request from the internet"


def _is_provoked(explanation: Explanation) -> bool:
    """Whether an outsider may have had somebody answer to this side, by requests in its name."""
    return (
        explanation.flow.direction is FlowDirection.INGRESS
        and explanation.is_from_outside
        and is_backscatter(explanation.flow, explanation.verdict)
    )


def _severity_at_transit_gateway(explanation: Explanation) -> tuple[Severity, str]:
    key = explanation.flow.key
    if key.packet_destination is None or is_inside(key.packet_destination):
        if key.packet_source is not None and is_inside(key.packet_source):
            return Severity.HIGH, "traffic between private addresses, inside the organisation"
        return Severity.HIGH, "traffic to an address inside the organisation"
    return Severity.MEDIUM, "traffic out to the internet; this may be intended egress control"


def service_port(explanation: Explanation) -> int | None:
    """Return the port of the service of the connection; ``None`` where the ports do not show it."""
    return port_of_service(explanation.flow, explanation.verdict.leg)
