"""Explain one rejected flow: rules check, verdict, endpoints and remediation.

The fix depends on the verdict: a packet that answers no request, or that comes unsolicited from the
internet, is not let in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowverdict.core.addresses import is_inside
from flowverdict.core.availability import NotAvailable
from flowverdict.core.protocols import PortLook, Protocol, port_look
from flowverdict.flowlog.records import FlowDirection
from flowverdict.network.configuration import NetConfig
from flowverdict.network.packet import Outcome
from flowverdict.verdict.decide import decide
from flowverdict.verdict.endpoints import Endpoints, describe_endpoints
from flowverdict.verdict.evidence_rules.predicates import opens, reply_like
from flowverdict.verdict.explanation import Explanation
from flowverdict.verdict.model import Confidence, EvidenceKind, Facts, Leg, Verdict, VerdictKind
from flowverdict.verdict.paths import INSIDE_PATHS, Path
from flowverdict.verdict.remediation import Remediation, find_remediation
from flowverdict.verdict.rules_check import RulesCheck, check_rules, with_interface_facts
from flowverdict.verdict.transit_gateway import explain_packets_lost

if TYPE_CHECKING:
    from flowverdict.flows.model import RejectedFlow


def explain_one(flow: RejectedFlow, config: NetConfig | NotAvailable | None) -> Explanation:
    """Explain one rejected flow.

    Parameters
    ----------
    config
        The rules; or why the rules could not be read, which is shown with the verdict; or ``None``
        where no rules were required. Not used for a flow of a transit gateway, which no rule
        blocks.
    """
    if flow.packets_lost is not None:
        return explain_packets_lost(flow, flow.packets_lost)
    if not isinstance(config, NetConfig):
        verdict = decide(Facts(flow=flow), None if config is None else config.reason)
        return Explanation(
            flow=flow, verdict=verdict, remediation=_no_remediation(verdict, "were not read")
        )
    flow = with_interface_facts(flow, config)
    rules_check = check_rules(flow, config)
    if isinstance(rules_check, NotAvailable):
        verdict = decide(Facts(flow=flow), rules_check.reason)
        return Explanation(
            flow=flow, verdict=verdict, remediation=_no_remediation(verdict, "could not be applied")
        )
    verdict = decide(Facts(flow=flow, rules_check=rules_check))
    endpoints = describe_endpoints(
        config,
        rules_check.interface,
        rules_check.packet.peer(rules_check.direction),
        rules_check.found_path,
    )
    return Explanation(
        flow=flow,
        verdict=verdict,
        rules_check=rules_check,
        endpoints=endpoints,
        remediation=_remediation(config, flow, verdict, rules_check, endpoints),
    )


def _no_remediation(verdict: Verdict, why: str) -> NotAvailable:
    if verdict.kind in _NOTHING_TO_FIX:
        return NotAvailable(_NOTHING_TO_FIX[verdict.kind])
    return NotAvailable(f"none offered: the rules of the network ACL and the security groups {why}")


_NOTHING_TO_FIX = {
    VerdictKind.CLOSED_CONNECTION: "none needed: no rule rejected it",
    VerdictKind.RULES_ALLOW: "none needed: the rules, as read, let the packet pass",
    VerdictKind.BLOCK_PUBLIC_ACCESS: (
        "none offered: an exclusion is a decision about a whole VPC or subnet"
    ),
    VerdictKind.ENCRYPTION_CONTROLS: (
        "none offered: the traffic has to be encrypted, no rule has to change"
    ),
}


def _remediation(
    config: NetConfig,
    flow: RejectedFlow,
    verdict: Verdict,
    rules_check: RulesCheck,
    endpoints: Endpoints,
) -> Remediation | NotAvailable:
    obstacle = _no_rule_to_change(flow, verdict, rules_check)
    if obstacle is not None:
        return NotAvailable(obstacle)
    leg = _leg_to_fix(flow, verdict, rules_check)
    if leg is Leg.UNKNOWN:
        return NotAvailable(
            "none offered: whether this is a request or a reply is not certain enough"
        )
    # Without pkt-* fields a forwarding interface shows its own address for an end that lies
    # elsewhere.
    known_ends = flow.packet_addresses_logged or not (
        rules_check.interface.is_nat_gateway or rules_check.interface.forwards
    )
    if leg is Leg.RESPONSE:
        return find_remediation(
            config,
            rules_check.interface,
            rules_check.packet.reply(),
            rules_check.direction.opposite,
            both_ends=known_ends,
        )
    if endpoints.path is Path.PEERING and not _carries_traffic(config, endpoints):
        return NotAvailable(
            f"none offered: {endpoints.path_id} carries no traffic, whatever the rules say"
        )
    if _uninvited(rules_check, endpoints):
        return NotAvailable(
            "none offered: nothing here is meant to answer this from the internet; "
            "opening is not the answer"
        )
    return find_remediation(
        config,
        rules_check.interface,
        rules_check.packet,
        rules_check.direction,
        both_ends=known_ends,
    )


def _no_rule_to_change(flow: RejectedFlow, verdict: Verdict, rules_check: RulesCheck) -> str | None:
    """Return why no rule should change, whatever change would let the packet pass."""
    special = rules_check.found_path.special
    if special is not None:
        return f"none offered: a VPC does not carry {special} packets, whatever its rules say"
    if verdict.kind is VerdictKind.CLOSED_CONNECTION and verdict.confidence is Confidence.POSSIBLE:
        return "none offered: the packets may belong to a connection that was over"
    if verdict.kind in _NOTHING_TO_FIX:
        return _NOTHING_TO_FIX[verdict.kind]
    if any(item.kind is EvidenceKind.ICMP_ERROR for item in verdict.evidence):
        return (
            "none offered: flow logs do not show the ICMP type. If these are 'fragmentation "
            "needed' messages, the network ACL must let ICMP type 3 code 4 in (IPv6: type 2): "
            "without them large packets of accepted connections are lost (path MTU discovery)"
        )
    if verdict.kind in {VerdictKind.UNDETERMINED, VerdictKind.NETWORK_ACL_OR_SECURITY_GROUP}:
        return "none offered: which rule blocked it is not settled"
    if verdict.kind is VerdictKind.SECURITY_GROUP and verdict.leg is Leg.RESPONSE:
        return (
            "none offered: the security group does not track the connection, so the reply is a new "
            "connection to it; look at the routes of both directions and at idle time-outs"
        )
    flags = flow.traffic.tcp_flags
    opening = flow.key.protocol != Protocol.TCP or flags is None or opens(flags)
    unanswered = flow.mirror is None and flow.same is None
    if verdict.leg is not Leg.RESPONSE and not opening and unanswered:
        return (
            "none offered: the packet answers no request (backscatter); opening is not the answer"
        )
    incoming_request = (
        verdict.leg is Leg.REQUEST
        and rules_check.direction is FlowDirection.INGRESS
        and rules_check.found_path.path is Path.INTERNET
    )
    if rules_check.interface.is_nat_gateway and incoming_request:
        return (
            "none offered: a NAT gateway accepts nothing that the internet begins; "
            "opening is not the answer"
        )
    return None


def _leg_to_fix(flow: RejectedFlow, verdict: Verdict, rules_check: RulesCheck) -> Leg:
    """Return the leg that a fix must let pass; unknown where a fix might open the wrong ports."""
    if verdict.leg is Leg.RESPONSE:
        return Leg.UNKNOWN if verdict.confidence is Confidence.POSSIBLE else Leg.RESPONSE
    looks_like_reply = reply_like(Facts(flow=flow, rules_check=rules_check))
    if verdict.leg is Leg.REQUEST:
        guessed = verdict.confidence is Confidence.POSSIBLE and looks_like_reply
        return Leg.UNKNOWN if guessed else Leg.REQUEST
    look = port_look(flow.key.source_port, flow.key.destination_port)
    return Leg.REQUEST if look is PortLook.REQUEST and not looks_like_reply else Leg.UNKNOWN


def _carries_traffic(config: NetConfig, endpoints: Endpoints) -> bool:
    peering = None if endpoints.path_id is None else config.peering(endpoints.path_id)
    return peering is not None and peering.carries_traffic is True


def _uninvited(rules_check: RulesCheck, endpoints: Endpoints) -> bool:
    """Whether a request from the internet is not let in by any group, or its range is shut out."""
    if (
        rules_check.direction is not FlowDirection.INGRESS
        or is_inside(rules_check.packet.source)
        or endpoints.path in INSIDE_PATHS
        or endpoints.path is Path.LOAD_BALANCER
    ):
        return False
    entry = (
        None
        if rules_check.acl is None or rules_check.acl.outcome is not Outcome.DENY
        else rules_check.acl.entry
    )
    shut_out = entry is not None and not entry.is_closing
    return shut_out or rules_check.groups.outcome is not Outcome.ALLOW
