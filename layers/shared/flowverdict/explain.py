"""A rejected flow and its verdict as the ``explain`` contract and as sentences.

The JSON contract is one object for each rejected flow; its schema is ``docs/schemas/explanation.schema.json``.
Times are ISO 8601 in UTC. In words: which half of the connection was rejected, what rejected it, in the order AWS checks
(https://docs.aws.amazon.com/vpc/latest/userguide/vpc-network-acls.html), and what to look at next.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowverdict.decision import Confidence, Evidence, EvidenceKind, Leg, Verdict, VerdictKind, decide
from flowverdict.flows import RejectedFlow, epoch_to_datetime
from flowverdict.records import FlowDirection
from flowverdict.services import has_ports, protocol_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flowverdict.records import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One rejected flow, explained."""

    flow: RejectedFlow
    verdict: Verdict

    def to_json(self) -> str:
        """Give the contract's object on one line, ASCII only."""
        flow, key, context, verdict = self.flow, self.flow.key, self.flow.context, self.verdict
        return json.dumps(
            {
                "interface_id": flow.interface_id,
                "srcaddr": _text(key.source),
                "dstaddr": _text(key.destination),
                "srcport": key.source_port,
                "dstport": key.destination_port,
                "protocol": key.protocol,
                "account_id": context.account_id,
                "region": context.region,
                "vpc_id": context.vpc_id,
                "subnet_id": context.subnet_id,
                "instance_id": context.instance_id,
                "pkt_srcaddr": _text(key.packet_source) if flow.packet_addresses_logged else None,
                "pkt_dstaddr": _text(key.packet_destination) if flow.packet_addresses_logged else None,
                "flow_direction": flow.direction,
                "leg": verdict.leg,
                "verdict": verdict.kind,
                "confidence": verdict.confidence,
                "network_acl_entry": None,
                "security_groups": [],
                "nearest_miss": None,
                "evidence": [{"kind": item.kind, "detail": item.detail} for item in verdict.evidence],
                "remedy": None,
                "remedy_reason": remedy_reason(verdict),
                "summary": sentence(self),
                "first_seen": isoformat(flow.traffic.first_start),
                "last_seen": isoformat(flow.traffic.last_end),
                "records": flow.traffic.records,
                "packets": flow.traffic.packets,
                "bytes": flow.traffic.bytes,
            }
        )


def explain(flows: Iterable[RejectedFlow]) -> Iterator[Explanation]:
    """Explain each rejected flow."""
    for flow in flows:
        yield Explanation(flow=flow, verdict=decide(flow))


def _text(address: Address | None) -> str | None:
    return None if address is None else str(address)


def isoformat(seconds: int | None) -> str | None:
    """Write Unix seconds as ``2026-11-22T12:00:05Z``."""
    return None if seconds is None else f"{epoch_to_datetime(seconds):%Y-%m-%dT%H:%M:%SZ}"


# --- words ------------------------------------------------------------------------------------------------------------

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
_HEDGE = {Confidence.CERTAIN: "", Confidence.LIKELY: "most likely ", Confidence.POSSIBLE: "possibly "}


def caption(kind: VerdictKind) -> str:
    """Name a verdict in a few words."""
    return _CAPTION[kind]


def short_caption(kind: VerdictKind) -> str:
    """Name a verdict as network people do, where room is short: ``NACL or SG``."""
    return _SHORT_CAPTION[kind]


def remedy_reason(verdict: Verdict) -> str:
    """Say why no fix is offered."""
    if verdict.kind is VerdictKind.CLOSED_CONNECTION:
        return "none needed: no rule rejected it"
    return "none offered: the rules of the network ACL and the security groups were not read"


def counted(count: int, noun: str) -> str:
    """Write ``1 flow``, ``2,000 flows``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def bound(direction: FlowDirection | None) -> str:
    """Say ``inbound`` or ``outbound`` as people do; empty where unknown."""
    return "" if direction is None else _BOUND[direction]


def what_was_rejected(direction: FlowDirection | None, leg: Leg) -> str:
    """Name the rejected half of the connection: ``Outbound response``."""
    return f"{bound(direction)} {_LEG_NOUN[leg]}".strip().capitalize()


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
    text = "?" if address is None else str(address)
    if port is None:
        return text
    return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"


def sentence(explanation: Explanation) -> str:
    """Say in one sentence what was rejected and by what: ``Outbound response rejected: the request was accepted at ...``."""
    flow, verdict = explanation.flow, explanation.verdict
    return f"{what_was_rejected(flow.direction, verdict.leg)} rejected: {_because(flow, verdict)}."


def _because(flow: RejectedFlow, verdict: Verdict) -> str:
    hedge = _HEDGE[verdict.confidence]
    rules = f"{bound(flow.direction)} rules".strip()
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
        case VerdictKind.BLOCK_PUBLIC_ACCESS | VerdictKind.ENCRYPTION_CONTROLS:
            return f"{_CAPTION[verdict.kind]} forbids it, no network ACL or security group rule does"
        case _:
            return f"the records leave more than one explanation ({', '.join(sorted(verdict.causes))}); {decisive(verdict)}"


def _request_was_accepted(flow: RejectedFlow, verdict: Verdict) -> str:
    if flow.mirror is None or flow.mirror.first_start is None:
        return decisive(verdict)
    return f"the request was accepted at {epoch_to_datetime(flow.mirror.first_start):%H:%M:%S}"


def _layers_in_order(direction: FlowDirection | None) -> str:
    match direction:
        case FlowDirection.INGRESS:
            return "the network ACL's inbound rules or the security groups' inbound rules block it"
        case FlowDirection.EGRESS:
            return "the security groups' outbound rules or the network ACL's outbound rules block it"
        case None:
            return "the network ACL or the security groups block it"


_BACKGROUND = {EvidenceKind.REJECT_REASON, EvidenceKind.PRIVATE_ADDRESSES, EvidenceKind.NOT_A_CONNECTION}


def decisive(verdict: Verdict) -> str:
    """Give the observation that says most about this flow; background facts only if there is nothing else."""
    telling: list[Evidence] = [item for item in verdict.evidence if item.kind not in _BACKGROUND]
    chosen = telling or list(verdict.evidence)
    return chosen[0].detail if chosen else "nothing in the records tells more"


def next_steps(explanation: Explanation) -> tuple[str, ...]:
    """Say what to look at next, most telling first, with commands that only read."""
    flow, verdict = explanation.flow, explanation.verdict
    # Quoted, since a person pastes these and the values come from a log.
    region = "" if flow.context.region is None else f" --region {shlex.quote(flow.context.region)}"
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
            return (f"See the Region's setting and its exclusions: aws ec2 describe-vpc-block-public-access-options{region}",)
        case VerdictKind.ENCRYPTION_CONTROLS:
            return ("Encrypt the traffic to the endpoint (TLS), or see the VPC's Encryption Controls mode.",)
        case VerdictKind.CLOSED_CONNECTION:
            return (
                "Nothing to change. If it goes on: compare both ends' idle time-outs with the interface's connection tracking.",
            )
        case _:
            return (acl, groups)


def _look_at_acl(flow: RejectedFlow, region: str) -> str:
    subnet, interface = flow.context.subnet_id, flow.interface_id
    question = f"{f'{bound(flow.direction)} rules'.strip()}: does an entry allow {connection(flow)}?"
    if subnet is not None:
        value, where = shlex.quote(subnet), f" of {subnet}"
    elif interface is not None:
        look_up = f"aws ec2 describe-network-interfaces{region} --network-interface-ids {shlex.quote(interface)}"
        value, where = f"$({look_up} --query 'NetworkInterfaces[0].SubnetId' --output text)", f" of the subnet of {interface}"
    else:
        return f"Network ACL, {question}"
    return (
        f"Network ACL{where}, {question} aws ec2 describe-network-acls{region} --filters Name=association.subnet-id,Values={value}"
    )


def _look_at_groups(flow: RejectedFlow, region: str) -> str:
    interface = flow.interface_id
    if interface is None:
        return f"Security groups, {f'{bound(flow.direction)} rules'.strip()}: does one allow {connection(flow)}?"
    return (
        f"Security groups of {interface}, {f'{bound(flow.direction)} rules'.strip()}: does one allow {connection(flow)}? "
        f"aws ec2 describe-network-interfaces{region} --network-interface-ids {shlex.quote(interface)} "
        "--query 'NetworkInterfaces[].Groups'"
    )
