"""Verdicts in words: which half of the connection was rejected, what rejected it, and what to look at next.

Layers are named in the order AWS checks them (https://docs.aws.amazon.com/vpc/latest/userguide/vpc-network-acls.html): coming in
the network ACL first, going out the security groups. Commands only read, and quote what came from a log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowverdict.core.formatting import counted, with_port
from flowverdict.core.protocols import has_ports, protocol_name
from flowverdict.core.untrusted import is_region, is_resource_id
from flowverdict.flowlog.records import FlowDirection
from flowverdict.flows.model import RejectedFlow, epoch_to_datetime
from flowverdict.verdict.model import Confidence, Evidence, EvidenceKind, Leg, Verdict, VerdictKind
from flowverdict.verdict.remediation import LAST_RULE_NUMBER, Remediation

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
    VerdictKind.UNDETERMINED: "undetermined",
}
_SHORT_CAPTION = _CAPTION | {
    VerdictKind.SECURITY_GROUP: "SG",
    VerdictKind.NETWORK_ACL: "NACL",
    VerdictKind.NETWORK_ACL_AND_SECURITY_GROUP: "NACL and SG",
    VerdictKind.NETWORK_ACL_OR_SECURITY_GROUP: "NACL or SG",
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


def short_caption(kind: VerdictKind) -> str:
    """Name a verdict as network people do, where room is short: ``NACL or SG``."""
    return _SHORT_CAPTION[kind]


def bound(direction: FlowDirection | None) -> str:
    """Say ``inbound`` or ``outbound`` as people do; empty where unknown."""
    return "" if direction is None else _BOUND[direction]


def what_was_rejected(direction: FlowDirection | None, leg: Leg) -> str:
    """Name the rejected half of the connection: ``Outbound response``."""
    return f"{bound(direction)} {_LEG_NOUN[leg]}".strip().capitalize()


_WHO = {Leg.REQUEST: "Requests", Leg.RESPONSE: "Replies", Leg.UNKNOWN: "Packets"}


def headline(explanation: Explanation, confidence: Confidence) -> str:
    """Name what happened, without addresses: ``Replies blocked by acl-0a1b rule 120``; ``rule *`` is the one that closes."""
    verdict = explanation.verdict
    who = _WHO[verdict.leg]
    match verdict.kind:
        case VerdictKind.CLOSED_CONNECTION:
            return "Packets of closed connections"
        case VerdictKind.RULES_ALLOW:
            return f"{who} rejected, but the rules allow them now"
        case VerdictKind.UNDETERMINED:
            return f"{who} rejected, cause undetermined"
        case _:
            hedge = "possibly " if confidence is Confidence.POSSIBLE else ""
            return f"{who} {hedge}blocked by {_blocker_in_words(explanation)}"


def _blocker_in_words(explanation: Explanation) -> str:
    entry, groups = explanation.acl_entry, explanation.blocking_groups
    if explanation.verdict.kind is VerdictKind.NETWORK_ACL_OR_SECURITY_GROUP or (
        entry is None and not groups
    ):
        return short_caption(explanation.verdict.kind)
    rule = (
        []
        if entry is None
        else [
            f"{entry.network_acl_id} rule {'*' if entry.rule_number > LAST_RULE_NUMBER else entry.rule_number}"
        ]
    )
    shown = groups[:2]
    more = [f"{len(groups) - len(shown)} more"] if len(groups) > len(shown) else []
    return " and ".join([*rule, *([", ".join([*shown, *more])] if groups else [])])


def connection(flow: RejectedFlow) -> str:
    """Write the packet: ``TCP 10.0.1.5:443 -> 203.0.113.12:50122``."""
    return f"{protocol_name(flow.key.protocol)} {endpoints(flow)}"


def endpoints(flow: RejectedFlow, *, only_port: int | None = None) -> str:
    """Write the packet's ends; with ``only_port`` the ephemeral one, which means nothing to a person, is left out."""
    key = flow.key
    ports = [key.source_port, key.destination_port] if has_ports(key.protocol) else [None, None]
    if only_port is not None:
        ports = [port if port == only_port else None for port in ports]
    return f"{_end(key.packet_source, ports[0])} -> {_end(key.packet_destination, ports[1])}"


def _end(address: Address | None, port: int | None) -> str:
    return with_port("?" if address is None else str(address), port)


def sentence(explanation: Explanation) -> str:
    """Say in one sentence what was rejected and by what: ``Outbound response rejected: the request was accepted at ...``."""
    flow, verdict = explanation.flow, explanation.verdict
    return f"{what_was_rejected(flow.direction, verdict.leg)} rejected: {because(explanation)}."


def because(explanation: Explanation) -> str:
    """Say what rejected it, and on what that rests."""
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
            return f"{_request_was_accepted(flow, verdict)}, so {hedge}the network ACL's {rules} block the reply"
        case VerdictKind.NETWORK_ACL:
            return f"{hedge}the network ACL's {rules} block it; {decisive(verdict)}"
        case VerdictKind.SECURITY_GROUP:
            return f"{hedge}no security group of the interface has {rules} that allow it; {decisive(verdict)}"
        case VerdictKind.NETWORK_ACL_OR_SECURITY_GROUP:
            return f"{hedge}{_layers_in_order(flow.direction)} (checked in this order); {decisive(verdict)}"
        case VerdictKind.CLOSED_CONNECTION:
            return f"{hedge}it belongs to a connection that was over or forgotten, and no rule has to change; {decisive(verdict)}"
        case VerdictKind.RULES_ALLOW:
            return f"the rules let it pass now{_read_at(explanation)}: one has changed since, or the connection was over"
        case VerdictKind.BLOCK_PUBLIC_ACCESS | VerdictKind.ENCRYPTION_CONTROLS:
            return (
                f"{_CAPTION[verdict.kind]} forbids it, no network ACL or security group rule does"
            )
        case _:
            return f"the records leave more than one explanation ({', '.join(sorted(verdict.causes))}); {decisive(verdict)}"


def _because_of_rules(explanation: Explanation, hedge: str) -> str:
    """Name the rules that block."""
    flow, verdict = explanation.flow, explanation.verdict
    acl, groups = explanation.blocking_entry, explanation.blocking_groups
    named = "" if acl is None else f"{acl.network_acl_id} {acl.entry}"
    way = "in" if flow.direction is FlowDirection.INGRESS else "out"
    offering = f"no {bound(flow.direction)} rule of {', '.join(groups)} lets it {way}"
    if verdict.kind is VerdictKind.NETWORK_ACL and verdict.leg is Leg.RESPONSE:
        blocks = f"{_request_was_accepted(flow, verdict)}, and {hedge}{named} blocks the reply"
    elif verdict.kind is VerdictKind.NETWORK_ACL:
        blocks = f"{hedge}{named} blocks it"
    elif verdict.kind is VerdictKind.SECURITY_GROUP:
        blocks = f"{hedge}the security groups: {offering}" if hedge else offering
    else:
        in_order = (
            (named, offering) if flow.direction is FlowDirection.INGRESS else (offering, named)
        )
        blocks = f"{hedge}both layers block it: {in_order[0]}, and {in_order[1]}"
    return f"{blocks}{_read_at(explanation)}"


def _read_at(explanation: Explanation) -> str:
    read_at = None if explanation.rules_check is None else explanation.rules_check.read_at
    start = explanation.flow.traffic.first_start
    seen = "an unknown time" if start is None else f"{epoch_to_datetime(start):%H:%M}"
    return "" if read_at is None else f" (rules read {read_at:%H:%M}, flow at {seen})"


def _request_was_accepted(flow: RejectedFlow, verdict: Verdict) -> str:
    if flow.mirror is None or flow.mirror.first_start is None:
        return decisive(verdict)
    return f"the request was accepted at {epoch_to_datetime(flow.mirror.first_start):%H:%M:%S}"


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


_BACKGROUND = {
    EvidenceKind.REJECT_REASON,
    EvidenceKind.PRIVATE_ADDRESSES,
    EvidenceKind.NOT_A_CONNECTION,
    EvidenceKind.NO_ENDPOINT,
}


def decisive(verdict: Verdict) -> str:
    """Give the observation that says most about this flow; background facts only if there is nothing else."""
    telling: list[Evidence] = [item for item in verdict.evidence if item.kind not in _BACKGROUND]
    chosen = telling or list(verdict.evidence)
    return chosen[0].detail if chosen else "nothing in the records tells more"


def next_steps(explanation: Explanation) -> tuple[str, ...]:
    """Say what to look at next, most telling first, with commands that only read.

    A person pastes them, and what they name comes from a log: where that is no id or no Region, there is no command.
    """
    flow, verdict = explanation.flow, explanation.verdict
    region = _region_option(flow.context.region)
    acl = _look_at_acl(flow, region)
    groups = _look_at_groups(flow, region)
    if explanation.blocker is not None and isinstance(explanation.remediation, Remediation):
        return ()  # the fix is what to do next
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
        case VerdictKind.ENCRYPTION_CONTROLS:
            return (
                "Encrypt the traffic to the endpoint (TLS), or see the VPC's Encryption Controls mode.",
            )
        case VerdictKind.RULES_ALLOW:
            return (
                "Nothing to change. If it goes on: the cause is neither the network ACL nor a security group.",
            )
        case VerdictKind.CLOSED_CONNECTION:
            return (
                "Nothing to change. If it goes on: compare both ends' idle time-outs with the interface's connection tracking.",
            )
        case _:
            return (acl, groups)


def _region_option(region: str | None) -> str | None:
    """Give the option that names the Region, nothing where the records do not, and ``None`` for what cannot be one."""
    if region is None:
        return ""
    return f" --region {region}" if is_region(region) else None


def _look_at_acl(flow: RejectedFlow, region: str | None) -> str:
    subnet, interface = flow.context.subnet_id, flow.interface_id
    question = (
        f"{f'{bound(flow.direction)} rules'.strip()}: does an entry allow {connection(flow)}?"
    )
    one = subnet if subnet is not None else interface
    if one is None:
        return f"Network ACL, {question}"
    asked = f"Network ACL of {one if one is subnet else f'the subnet of {one}'}, {question}"
    if region is None or not is_resource_id(one):
        return asked
    value = one
    if one is not subnet:
        look_up = f"aws ec2 describe-network-interfaces{region} --network-interface-ids {one}"
        value = f"$({look_up} --query 'NetworkInterfaces[0].SubnetId' --output text)"
    return f"{asked} aws ec2 describe-network-acls{region} --filters Name=association.subnet-id,Values={value}"


def _look_at_groups(flow: RejectedFlow, region: str | None) -> str:
    interface = flow.interface_id
    whose = "" if interface is None else f" of {interface}"
    asked = f"Security groups{whose}, {f'{bound(flow.direction)} rules'.strip()}: does one allow {connection(flow)}?"
    if interface is None or region is None or not is_resource_id(interface):
        return asked
    command = f"aws ec2 describe-network-interfaces{region} --network-interface-ids {interface}"
    return f"{asked} {command} --query 'NetworkInterfaces[].Groups'"


_MAX_WHAT = 5


def most_of(aggregated: AggregatedRejects) -> tuple[str, ...]:
    """Say what most rejected records are of that are counted together, those of most first."""
    most = sorted(aggregated.what.items(), key=lambda item: (-item[1], str(item[0])))[:_MAX_WHAT]
    return tuple(f"{_what(*key)}: {counted(records, 'record')}" for key, records in most)


def _what(direction: FlowDirection | None, protocol: int | None, port: int | None) -> str:
    way = "" if direction is None else f"{direction}, "
    return f"{way}{protocol_name(protocol)}" + (
        "" if port is None or not has_ports(protocol) else f" to port {port}"
    )
