"""Write verdicts in words: what was rejected, what rejected it, and what to look at next.

Layers are named in the order in which AWS checks them: coming in the network ACL first, going out
the security groups first (https://docs.aws.amazon.com/vpc/latest/userguide/vpc-network-acls.html).
Commands only read; a value that came from a log is checked before it goes into a command.
"""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

from flowverdict.core.formatting import counted, day_and_minute, with_port
from flowverdict.core.protocols import has_ports, protocol_name
from flowverdict.core.untrusted import is_region, is_resource_id
from flowverdict.flowlog.records import FlowDirection
from flowverdict.flows.model import RejectedFlow, epoch_to_datetime
from flowverdict.verdict.model import Confidence, Evidence, EvidenceKind, Leg, Verdict, VerdictKind
from flowverdict.verdict.remediation.model import LAST_RULE_NUMBER, Remediation
from flowverdict.verdict.transit_gateway import (
    TRANSIT_GATEWAY_KINDS,
    because_of_transit_gateway,
    headline_of,
    steps_at_transit_gateway,
)

if TYPE_CHECKING:
    from flowverdict.core.addresses import Address
    from flowverdict.flows.model import AggregatedRejects
    from flowverdict.verdict.explanation import Explanation


_BOUND = {FlowDirection.INGRESS: "inbound", FlowDirection.EGRESS: "outbound"}
_CAPTION = {
    VerdictKind.SECURITY_GROUP: "security group",
    VerdictKind.NETWORK_ACL: "network ACL",
    VerdictKind.NETWORK_ACL_AND_SECURITY_GROUP: "network ACL and security group",
    VerdictKind.NETWORK_ACL_OR_SECURITY_GROUP: "network ACL or security group",
    VerdictKind.BLOCK_PUBLIC_ACCESS: "VPC Block Public Access",
    VerdictKind.ENCRYPTION_CONTROLS: "VPC Encryption Controls",
    VerdictKind.CLOSED_CONNECTION: "closed connection",
    VerdictKind.RULES_ALLOW: "the rules allow it now",
    VerdictKind.NO_ROUTE: "no route in the transit gateway",
    VerdictKind.BLACKHOLE_ROUTE: "blackhole route in the transit gateway",
    VerdictKind.MTU_EXCEEDED: "packets too large for the transit gateway",
    VerdictKind.TTL_EXPIRED: "time to live ended in the transit gateway",
    VerdictKind.UNDETERMINED: "undetermined",
}
_LEG_NOUN = {Leg.REQUEST: "request", Leg.RESPONSE: "response", Leg.UNKNOWN: "packet"}
_HEDGE = {
    Confidence.CERTAIN: "",
    Confidence.LIKELY: "most likely ",
    Confidence.POSSIBLE: "possibly ",
}


def caption(kind: VerdictKind) -> str:
    """Name a verdict in a few words."""
    return _CAPTION[kind]


def bound(direction: FlowDirection | None) -> str:
    """Return ``inbound`` or ``outbound``; empty where the direction is not known."""
    return "" if direction is None else _BOUND[direction]


def what_was_rejected(direction: FlowDirection | None, leg: Leg) -> str:
    """Name the rejected part of the connection: ``Outbound response``."""
    return f"{bound(direction)} {_LEG_NOUN[leg]}".strip().capitalize()


_SUBJECT = {Leg.REQUEST: "Requests", Leg.RESPONSE: "Replies", Leg.UNKNOWN: "Packets"}


def headline(explanation: Explanation, confidence: Confidence) -> str:
    """Name what happened, without addresses: ``Replies blocked by acl-0a1b rule 120``.

    ``rule *`` is the last rule of a network ACL, which denies everything.
    """
    verdict = explanation.verdict
    subject = _SUBJECT[verdict.leg]
    match verdict.kind:
        case VerdictKind.CLOSED_CONNECTION:
            return "Packets of closed connections"
        case VerdictKind.RULES_ALLOW:
            return f"{subject} rejected, but the rules allow them now"
        case VerdictKind.UNDETERMINED:
            return f"{subject} rejected, cause undetermined"
        case kind if kind in TRANSIT_GATEWAY_KINDS:
            return headline_of(kind)
        case _:
            hedge = "possibly " if confidence is Confidence.POSSIBLE else ""
            return f"{subject} {hedge}blocked by {_blocker_in_words(explanation)}"


def _blocker_in_words(explanation: Explanation) -> str:
    entry, groups = explanation.acl_entry, explanation.blocking_groups
    kind = explanation.verdict.kind
    if kind is VerdictKind.NETWORK_ACL_OR_SECURITY_GROUP or (entry is None and not groups):
        return caption(kind)
    blockers = []
    if entry is not None:
        number = "*" if entry.rule_number > LAST_RULE_NUMBER else entry.rule_number
        blockers.append(f"{entry.network_acl_id} rule {number}")
    if groups:
        shown = groups[:2]
        more = [f"{len(groups) - len(shown)} more"] if len(groups) > len(shown) else []
        blockers.append(", ".join([*shown, *more]))
    return " and ".join(blockers)


def connection(flow: RejectedFlow) -> str:
    """Write the flow's packet: ``TCP 10.0.1.5:443 -> 203.0.113.12:50122``."""
    return f"{protocol_name(flow.key.protocol)} {endpoints(flow)}"


def endpoints(flow: RejectedFlow, *, only_port: int | None = None) -> str:
    """Write the packet's ends; with ``only_port`` without the other, ephemeral port."""
    key = flow.key
    ports = [key.source_port, key.destination_port] if has_ports(key.protocol) else [None, None]
    if only_port is not None:
        ports = [port if port == only_port else None for port in ports]
    return f"{_end(key.packet_source, ports[0])} -> {_end(key.packet_destination, ports[1])}"


def _end(address: Address | None, port: int | None) -> str:
    return with_port("?" if address is None else str(address), port)


def sentence(explanation: Explanation) -> str:
    """Write one sentence on what was rejected and why: ``Outbound response rejected: ...``."""
    flow, verdict = explanation.flow, explanation.verdict
    if verdict.kind in TRANSIT_GATEWAY_KINDS:
        return f"Packets dropped by a transit gateway: {because(explanation)}."
    return f"{what_was_rejected(flow.direction, verdict.leg)} rejected: {because(explanation)}."


def because(explanation: Explanation) -> str:
    """Write what rejected the packet, and the evidence for that."""
    if explanation.verdict.kind in TRANSIT_GATEWAY_KINDS:
        return because_of_transit_gateway(explanation)
    if explanation.not_carried is not None:
        return f"a VPC does not carry {explanation.not_carried} packets, whatever its rules say"
    check = explanation.rules_check
    if (
        check is not None
        and check.unfiltered is not None
        and explanation.verdict.kind is VerdictKind.RULES_ALLOW
    ):
        return f"no rule filters traffic of {check.unfiltered}; what rejected it is not known"
    return _because_of_a_layer(explanation)


def _because_of_a_layer(explanation: Explanation) -> str:
    flow, verdict = explanation.flow, explanation.verdict
    hedge = _HEDGE[verdict.confidence]
    rules = f"{bound(flow.direction)} rules".strip()
    if (
        explanation.blocker is not None
        and verdict.kind is not VerdictKind.NETWORK_ACL_OR_SECURITY_GROUP
    ):
        return _because_of_rules(explanation, hedge)
    match verdict.kind:
        case VerdictKind.NETWORK_ACL if verdict.leg is Leg.RESPONSE:
            cause = f"{hedge}the network ACL's {rules} block the reply"
            return f"{_request_was_accepted(flow, verdict)}, so {cause}"
        case VerdictKind.NETWORK_ACL:
            cause = f"{hedge}the network ACL's {rules} block it"
        case VerdictKind.SECURITY_GROUP:
            cause = f"{hedge}no security group of the interface has {rules} that allow it"
        case VerdictKind.NETWORK_ACL_OR_SECURITY_GROUP:
            cause = f"{hedge}{_layers_in_order(flow.direction)} (checked in this order)"
        case VerdictKind.CLOSED_CONNECTION:
            cause = (
                f"{hedge}it belongs to a connection that was over or no longer tracked, "
                "and no rule has to change"
            )
        case VerdictKind.RULES_ALLOW:
            return (
                f"the rules let it pass now{_read_at(explanation)}: "
                "a rule has changed since, or the connection was over"
            )
        case VerdictKind.BLOCK_PUBLIC_ACCESS | VerdictKind.ENCRYPTION_CONTROLS:
            return f"{_CAPTION[verdict.kind]} forbids it, not a network ACL or security group rule"
        case VerdictKind.NETWORK_ACL_AND_SECURITY_GROUP | VerdictKind.UNDETERMINED:
            causes = ", ".join(sorted(verdict.causes))
            cause = f"the records leave more than one explanation ({causes})"
    return f"{cause}; {decisive(verdict)}"


def _because_of_rules(explanation: Explanation, hedge: str) -> str:
    """Name the rules that block the packet."""
    flow, verdict = explanation.flow, explanation.verdict
    acl, groups = explanation.blocking_entry, explanation.blocking_groups
    rule = "" if acl is None else f"{acl.network_acl_id} {acl.entry}"
    way = "in" if flow.direction is FlowDirection.INGRESS else "out"
    no_rule = (
        f"no {bound(flow.direction)} rule of {', '.join(groups)} {_lets(explanation)} it {way}"
    )
    if verdict.kind is VerdictKind.NETWORK_ACL and verdict.leg is Leg.RESPONSE:
        blocks = f"{_request_was_accepted(flow, verdict)}, and {hedge}{rule} blocks the reply"
    elif verdict.kind is VerdictKind.NETWORK_ACL:
        blocks = f"{hedge}{rule} blocks it"
    elif verdict.kind is VerdictKind.SECURITY_GROUP:
        blocks = f"{hedge}the security groups: {no_rule}" if hedge else no_rule
    else:
        in_order = (rule, no_rule) if flow.direction is FlowDirection.INGRESS else (no_rule, rule)
        blocks = f"{hedge}both layers block it: {in_order[0]}, and {in_order[1]}"
    return f"{blocks}{_may_match(explanation)}{_read_at(explanation)}"


def _lets(explanation: Explanation) -> str:
    """Return ``lets``, or that a rule may let the packet pass, as far as the data shows."""
    rules_check = explanation.rules_check
    return "lets" if rules_check is None or not rules_check.groups.possible else "certainly lets"


def _may_match(explanation: Explanation) -> str:
    """Name the rules of the named layer that may allow the packet after all."""
    rules_check, kind = explanation.rules_check, explanation.verdict.kind
    if rules_check is None or kind is not VerdictKind.SECURITY_GROUP:
        return ""
    groups = rules_check.groups
    return f"; {'; '.join(groups.reasons)}" if groups.possible else ""


def _read_at(explanation: Explanation) -> str:
    read_at = None if explanation.rules_check is None else explanation.rules_check.read_at
    start = explanation.flow.traffic.first_start
    if read_at is None or start is None:
        return "" if read_at is None else f" (rules read {day_and_minute(read_at)})"
    read_at, seen = read_at.astimezone(UTC), epoch_to_datetime(start)
    if read_at.date() == seen.date():
        return f" (rules read {read_at:%H:%MZ}, flow {seen:%H:%MZ})"
    return f" (rules read {day_and_minute(read_at)}, flow {day_and_minute(seen)})"


def _request_was_accepted(flow: RejectedFlow, verdict: Verdict) -> str:
    if flow.mirror is None or flow.mirror.first_start is None:
        return decisive(verdict)
    return f"the request was accepted at {epoch_to_datetime(flow.mirror.first_start):%H:%M:%SZ}"


def _layers_in_order(direction: FlowDirection | None) -> str:
    match direction:
        case FlowDirection.INGRESS:
            return "the network ACL's inbound rules or the security groups' inbound rules block it"
        case FlowDirection.EGRESS:
            return (
                "the security groups' outbound rules or the network ACL's outbound rules block it"
            )
        case None:
            return "the network ACL or the security groups block it"


# Evidence that holds for most flows of an interface, whatever rejected them.
_BACKGROUND = {
    EvidenceKind.REJECT_REASON,
    EvidenceKind.PRIVATE_ADDRESSES,
    EvidenceKind.NOT_A_CONNECTION,
    EvidenceKind.NO_ENDPOINT,
}


def decisive(verdict: Verdict) -> str:
    """Return the observation that says most about this flow; background only without any other."""
    specific: list[Evidence] = [item for item in verdict.evidence if item.kind not in _BACKGROUND]
    chosen = specific or list(verdict.evidence)
    return chosen[0].detail if chosen else "the records show nothing more"


def next_steps(explanation: Explanation) -> tuple[str, ...]:
    """Return what to look at next, most helpful first, with commands that only read.

    A person pastes the commands, and the ids in them come from a log: where an id or the Region is
    malformed, there is no command. Where there is a fix, there is no next step.
    """
    flow, verdict = explanation.flow, explanation.verdict
    if explanation.blocker is not None and isinstance(explanation.remediation, Remediation):
        return ()
    if verdict.kind in TRANSIT_GATEWAY_KINDS:
        return steps_at_transit_gateway(explanation)
    if verdict.kind in _NO_RULE_TO_LOOK_AT:
        return (_NO_RULE_TO_LOOK_AT[verdict.kind],)
    region = _region_option(flow.context.region)
    acl = _look_at_acl(flow, region)
    groups = _look_at_groups(flow, region)
    match verdict.kind:
        case VerdictKind.NETWORK_ACL:
            return (acl,)
        case VerdictKind.SECURITY_GROUP:
            return (groups,)
        case VerdictKind.NETWORK_ACL_OR_SECURITY_GROUP:
            return (groups, acl) if flow.direction is FlowDirection.EGRESS else (acl, groups)
        case VerdictKind.BLOCK_PUBLIC_ACCESS:
            command = (
                ""
                if region is None
                else f": aws ec2 describe-vpc-block-public-access-options{region}"
            )
            return (f"See the Region's setting and its exclusions{command}",)
        case _:
            return (acl, groups)


_NO_RULE_TO_LOOK_AT = {
    VerdictKind.ENCRYPTION_CONTROLS: (
        "Encrypt the traffic to the endpoint (TLS), or see the VPC's Encryption Controls mode."
    ),
    VerdictKind.RULES_ALLOW: (
        "Nothing to change. If it continues: "
        "neither the network ACL nor a security group is the cause."
    ),
    VerdictKind.CLOSED_CONNECTION: (
        "Nothing to change. If it continues: compare both ends' idle time-outs "
        "with the interface's connection tracking."
    ),
}


def _region_option(region: str | None) -> str | None:
    """Return the option that names the Region: empty without a Region, ``None`` if malformed."""
    if region is None:
        return ""
    return f" --region {region}" if is_region(region) else None


def _look_at_acl(flow: RejectedFlow, region: str | None) -> str:
    subnet, interface = flow.context.subnet_id, flow.interface_id
    question = _question(flow)
    if subnet is not None:
        step = f"Network ACL of {subnet}, {question}"
        if region is None or not is_resource_id(subnet):
            return step
        value = subnet
    elif interface is not None:
        step = f"Network ACL of the subnet of {interface}, {question}"
        if region is None or not is_resource_id(interface):
            return step
        look_up = f"aws ec2 describe-network-interfaces{region} --network-interface-ids {interface}"
        value = f"$({look_up} --query 'NetworkInterfaces[0].SubnetId' --output text)"
    else:
        return f"Network ACL, {question}"
    filters = f"--filters Name=association.subnet-id,Values={value}"
    return f"{step} aws ec2 describe-network-acls{region} {filters}"


def _look_at_groups(flow: RejectedFlow, region: str | None) -> str:
    interface = flow.interface_id
    holder = "" if interface is None else f" of {interface}"
    step = f"Security groups{holder}, {_question(flow)}"
    if interface is None or region is None or not is_resource_id(interface):
        return step
    command = f"aws ec2 describe-network-interfaces{region} --network-interface-ids {interface}"
    return f"{step} {command} --query 'NetworkInterfaces[].Groups'"


def _question(flow: RejectedFlow) -> str:
    return f"{f'{bound(flow.direction)} rules'.strip()}: does a rule allow {connection(flow)}?"


_MAX_LINES = 5


def most_of(aggregated: AggregatedRejects) -> tuple[str, ...]:
    """Write what most of the aggregated records are, those of the most records first."""
    most = sorted(aggregated.what.items(), key=lambda item: (-item[1], str(item[0])))[:_MAX_LINES]
    return tuple(f"{_traffic(*key)}: {counted(records, 'record')}" for key, records in most)


def _traffic(direction: FlowDirection | None, protocol: int | None, port: int | None) -> str:
    way = "" if direction is None else f"{direction}, "
    target = "" if port is None or not has_ports(protocol) else f" to port {port}"
    return f"{way}{protocol_name(protocol)}{target}"
