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

from flowverdict.addresses import is_inside
from flowverdict.decision import Confidence, Evidence, EvidenceKind, Facts, Leg, Verdict, VerdictKind, decide, opens
from flowverdict.ends import Ends, Path, describe_ends
from flowverdict.flows import RejectedFlow, epoch_to_datetime
from flowverdict.netconfig.evaluate import Outcome
from flowverdict.netconfig.model import NetConfig
from flowverdict.records import FlowDirection
from flowverdict.remedy import Remedy, find_remedy
from flowverdict.ruling import Ruling, directed, rule_on
from flowverdict.services import PortLook, Protocol, has_ports, port_look, protocol_name

if TYPE_CHECKING:
    from flowverdict.netconfig.evaluate import AclAnswer, NearestMiss
    from flowverdict.records import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One rejected flow, explained.

    ``ruling`` and ``ends`` are ``None`` where the rules were not read; ``remedy`` is then the reason why there is none.
    """

    flow: RejectedFlow
    verdict: Verdict
    remedy: Remedy | str
    ruling: Ruling | None = None
    ends: Ends | None = None

    @property
    def blocking_entry(self) -> AclAnswer | None:
        """The network ACL's answer, if it is to blame and its deciding entry is known."""
        to_blame = self.verdict.kind in {VerdictKind.NETWORK_ACL, VerdictKind.NETWORK_ACL_AND_SECURITY_GROUP}
        acl = self.ruling.acl if self.ruling is not None else None
        return acl if to_blame and acl is not None and acl.outcome is Outcome.DENY and acl.entry is not None else None

    @property
    def blocking_groups(self) -> tuple[str, ...]:
        """The groups on the interface, if a security group is or may be to blame."""
        if self.ruling is None or self.verdict.kind not in _GROUPS_TO_BLAME:
            return ()
        return tuple(sorted(self.ruling.groups.group_ids or ()))

    @property
    def nearest_miss(self) -> NearestMiss | None:
        """The rule that came closest to allowing the packet, if a security group is to blame."""
        return self.ruling.groups.nearest_miss if self.ruling is not None and self.blocking_groups else None

    @property
    def blocker(self) -> str | None:
        """What blocks, as one text: the entry, the groups, or both; ``None`` where it is not known."""
        entry = self.blocking_entry
        named = [] if entry is None or entry.entry is None else [f"{entry.network_acl_id} rule {entry.entry.rule_number}"]
        return ", ".join([*named, *self.blocking_groups]) or None

    def rule_details(self) -> dict[str, object]:
        """Give the keys of the contract that name rules; alerts have the same ones."""
        entry, miss = self.blocking_entry, self.nearest_miss
        remedy = self.remedy
        return {
            "network_acl_entry": None if entry is None else _entry_details(entry),
            "security_groups": list(self.blocking_groups),
            "nearest_miss": None if miss is None else _miss_details(miss),
            "rules_read_at": None
            if self.ruling is None or self.ruling.read_at is None
            else f"{self.ruling.read_at:%Y-%m-%dT%H:%M:%SZ}",
            "local_end": None if self.ends is None else self.ends.local,
            "remote_end": None if self.ends is None else self.ends.remote,
            "path": None if self.ends is None else self.ends.path,
            "path_id": None if self.ends is None else self.ends.path_id,
            "notes": [] if self.ends is None else list(self.ends.notes),
            "remedy": None
            if isinstance(remedy, str)
            else {"commands": list(remedy.commands(self.flow.context.region)), "opens": remedy.opens, "verified": True},
            "remedy_reason": remedy if isinstance(remedy, str) else None,
        }

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
                "evidence": [{"kind": item.kind, "detail": item.detail} for item in verdict.evidence],
                **self.rule_details(),
                "summary": sentence(self),
                "first_seen": isoformat(flow.traffic.first_start),
                "last_seen": isoformat(flow.traffic.last_end),
                "records": flow.traffic.records,
                "packets": flow.traffic.packets,
                "bytes": flow.traffic.bytes,
            }
        )


_GROUPS_TO_BLAME = {
    VerdictKind.SECURITY_GROUP,
    VerdictKind.NETWORK_ACL_AND_SECURITY_GROUP,
    VerdictKind.NETWORK_ACL_OR_SECURITY_GROUP,
}


def explain_one(flow: RejectedFlow, config: NetConfig | str | None) -> Explanation:
    """Explain one rejected flow.

    Parameters
    ----------
    config
        The rules; or in words why they could not be read, which is then said with the verdict; or ``None`` where nobody
        asked for them.
    """
    if not isinstance(config, NetConfig):
        verdict = decide(Facts(flow=flow), config)
        return Explanation(flow=flow, verdict=verdict, remedy=_no_remedy(verdict, "were not read"))
    flow = directed(flow, config)
    ruling = rule_on(flow, config)
    if isinstance(ruling, str):
        verdict = decide(Facts(flow=flow), ruling)
        return Explanation(flow=flow, verdict=verdict, remedy=_no_remedy(verdict, "could not be applied"))
    verdict = decide(Facts(flow=flow, ruling=ruling))
    ends = describe_ends(config, ruling.interface, ruling.packet.peer(ruling.direction))
    return Explanation(flow=flow, verdict=verdict, ruling=ruling, ends=ends, remedy=_remedy(config, flow, verdict, ruling, ends))


def _no_remedy(verdict: Verdict, why: str) -> str:
    if verdict.kind in _NOTHING_TO_FIX:
        return _NOTHING_TO_FIX[verdict.kind]
    return f"none offered: the rules of the network ACL and the security groups {why}"


_NOTHING_TO_FIX = {
    VerdictKind.CLOSED_CONNECTION: "none needed: no rule rejected it",
    VerdictKind.RULES_ALLOW: "none needed: the rules, as read, let the packet pass",
    VerdictKind.BLOCK_PUBLIC_ACCESS: "none offered: an exclusion is a decision about a whole VPC or subnet",
    VerdictKind.ENCRYPTION_CONTROLS: "none offered: the traffic has to be encrypted, no rule has to change",
}


def _remedy(config: NetConfig, flow: RejectedFlow, verdict: Verdict, ruling: Ruling, ends: Ends) -> Remedy | str:
    if verdict.kind in _NOTHING_TO_FIX:
        return _NOTHING_TO_FIX[verdict.kind]
    if verdict.kind in {VerdictKind.UNDETERMINED, VerdictKind.NETWORK_ACL_OR_SECURITY_GROUP}:
        return "none offered: which rule blocked it is not settled"
    flags = flow.traffic.tcp_flags
    opening = flow.key.protocol != Protocol.TCP or flags is None or opens(flags)
    if verdict.leg is not Leg.RESPONSE and not opening:
        return "none offered: nobody here asked for this packet (backscatter); opening is not the answer"
    leg = _leg_to_mend(flow, verdict)
    if leg is Leg.UNKNOWN:
        return "none offered: whether this is a request or a reply is not sure enough"
    if leg is Leg.RESPONSE:
        return find_remedy(config, ruling.interface, ruling.packet.reply(), ruling.direction.opposite)
    if ends.path is Path.PEERING and not _carries_traffic(config, ends):
        return f"none offered: {ends.path_id} carries no traffic, whatever the rules say"
    if _uninvited(ruling, ends):
        return "none offered: nothing here is meant to answer this from the internet; opening is not the answer"
    return find_remedy(config, ruling.interface, ruling.packet, ruling.direction)


def _leg_to_mend(flow: RejectedFlow, verdict: Verdict) -> Leg:
    """Give the leg a fix has to serve; what is opened for a reply that is none would be opened for nothing."""
    if verdict.leg is Leg.RESPONSE:
        return Leg.UNKNOWN if verdict.confidence is Confidence.POSSIBLE else Leg.RESPONSE
    by_groups = verdict.kind is not VerdictKind.NETWORK_ACL  # groups block nothing but requests
    asks = port_look(flow.key.source_port, flow.key.destination_port) is PortLook.REQUEST
    return Leg.REQUEST if verdict.leg is Leg.REQUEST or by_groups or asks else Leg.UNKNOWN


def _carries_traffic(config: NetConfig, ends: Ends) -> bool:
    peering = None if ends.path_id is None else config.peering(ends.path_id)
    return peering is not None and peering.carries_traffic is True


def _uninvited(ruling: Ruling, ends: Ends) -> bool:
    """Whether a request comes from the internet to something that no security group offers to the internet."""
    from_internet = ends.path is Path.INTERNET or (ends.path is Path.OTHER_NETWORK and not is_inside(ruling.packet.source))
    return from_internet and ruling.direction is FlowDirection.INGRESS and ruling.groups.outcome is not Outcome.ALLOW


def _entry_details(answer: AclAnswer) -> dict[str, object]:
    entry = answer.entry
    if entry is None:
        raise ValueError("an answer without an entry has no details")
    return {
        "network_acl_id": answer.network_acl_id,
        "rule_number": entry.rule_number,
        "egress": entry.egress,
        "action": entry.action,
        "protocol": entry.protocol,
        "cidr_block": None if entry.network is None else str(entry.network),
        "from_port": None if entry.ports is None else entry.ports.first,
        "to_port": None if entry.ports is None else entry.ports.last,
        "icmp_type": None if entry.icmp is None else entry.icmp.type,
        "icmp_code": None if entry.icmp is None else entry.icmp.code,
    }


def _miss_details(miss: NearestMiss) -> dict[str, object]:
    rule = miss.rule
    return {
        "security_group_id": rule.group_id,
        "egress": rule.egress,
        "protocol": rule.protocol,
        "from_port": rule.from_port,
        "to_port": rule.to_port,
        "peer": None if rule.peer is None else str(rule.peer),
        "differs": miss.differs,
    }


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
    return f"{what_was_rejected(flow.direction, verdict.leg)} rejected: {_because(explanation)}."


def _because(explanation: Explanation) -> str:
    flow, verdict = explanation.flow, explanation.verdict
    hedge = _HEDGE[verdict.confidence]
    rules = f"{bound(flow.direction)} rules".strip()
    if explanation.blocker is not None and verdict.kind is not VerdictKind.NETWORK_ACL_OR_SECURITY_GROUP:
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
            return f"{_CAPTION[verdict.kind]} forbids it, no network ACL or security group rule does"
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
        in_order = (named, offering) if flow.direction is FlowDirection.INGRESS else (offering, named)
        blocks = f"{hedge}both layers block it: {in_order[0]}, and {in_order[1]}"
    return f"{blocks}{_read_at(explanation)}"


def _read_at(explanation: Explanation) -> str:
    read_at = None if explanation.ruling is None else explanation.ruling.read_at
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
            return "the security groups' outbound rules or the network ACL's outbound rules block it"
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
    """Say what to look at next, most telling first, with commands that only read."""
    flow, verdict = explanation.flow, explanation.verdict
    # Quoted, since a person pastes these and the values come from a log.
    region = "" if flow.context.region is None else f" --region {shlex.quote(flow.context.region)}"
    acl = _look_at_acl(flow, region)
    groups = _look_at_groups(flow, region)
    if explanation.blocker is not None and isinstance(explanation.remedy, Remedy):
        return ()  # the fix is what to do next
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
        case VerdictKind.RULES_ALLOW:
            return ("Nothing to change. If it goes on: the cause is neither the network ACL nor a security group.",)
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
