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
from flowverdict.verdict.endpoints import Endpoints, Path, describe_endpoints
from flowverdict.verdict.evidence_rules.predicates import opens
from flowverdict.verdict.explanation import INSIDE_PATHS, Explanation
from flowverdict.verdict.model import Confidence, Facts, Leg, Verdict, VerdictKind
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
        config, rules_check.interface, rules_check.packet.peer(rules_check.direction)
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
    if verdict.kind in _NOTHING_TO_FIX:
        return NotAvailable(_NOTHING_TO_FIX[verdict.kind])
    if verdict.kind in {VerdictKind.UNDETERMINED, VerdictKind.NETWORK_ACL_OR_SECURITY_GROUP}:
        return NotAvailable("none offered: which rule blocked it is not settled")
    flags = flow.traffic.tcp_flags
    opening = flow.key.protocol != Protocol.TCP or flags is None or opens(flags)
    if verdict.leg is not Leg.RESPONSE and not opening:
        return NotAvailable(
            "none offered: the packet answers no request (backscatter); opening is not the answer"
        )
    leg = _leg_to_fix(flow, verdict)
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


def _leg_to_fix(flow: RejectedFlow, verdict: Verdict) -> Leg:
    """Return the leg that a fix must let pass; unknown where a fix might open the wrong ports."""
    if verdict.leg is Leg.RESPONSE:
        return Leg.UNKNOWN if verdict.confidence is Confidence.POSSIBLE else Leg.RESPONSE
    look = port_look(flow.key.source_port, flow.key.destination_port)
    if verdict.leg is Leg.REQUEST:
        return (
            Leg.UNKNOWN
            if verdict.confidence is Confidence.POSSIBLE and look is PortLook.REPLY
            else Leg.REQUEST
        )
    return Leg.REQUEST if look is PortLook.REQUEST else Leg.UNKNOWN


def _carries_traffic(config: NetConfig, endpoints: Endpoints) -> bool:
    peering = None if endpoints.path_id is None else config.peering(endpoints.path_id)
    return peering is not None and peering.carries_traffic is True


def _uninvited(rules_check: RulesCheck, endpoints: Endpoints) -> bool:
    """Whether a request from the internet is not let in by any group, or its range is shut out."""
    if (
        rules_check.direction is not FlowDirection.INGRESS
        or is_inside(rules_check.packet.source)
        or endpoints.path in INSIDE_PATHS
    ):
        return False
    entry = (
        None
        if rules_check.acl is None or rules_check.acl.outcome is not Outcome.DENY
        else rules_check.acl.entry
    )
    shut_out = entry is not None and not entry.is_closing
    return shut_out or rules_check.groups.outcome is not Outcome.ALLOW
