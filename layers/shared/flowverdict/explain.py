"""A rejected flow and its verdict as the ``explain`` contract and as sentences.

The JSON contract is one object for each rejected flow; its schema is ``docs/schemas/explanation.schema.json``.
Times are ISO 8601 in UTC. The fix is looked for here too, since it depends on the verdict: what nobody asked for is not opened.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from flowverdict.addresses import is_inside
from flowverdict.decision import Confidence, Facts, Leg, Verdict, VerdictKind, decide, opens
from flowverdict.document import AclEntry, Miss, isoformat
from flowverdict.ends import Ends, Path, describe_ends
from flowverdict.netconfig.evaluate import Outcome
from flowverdict.netconfig.model import NetConfig
from flowverdict.records import FlowDirection
from flowverdict.remedy import Remedy, find_remedy
from flowverdict.ruling import Ruling, placed, rule_on
from flowverdict.services import PortLook, Protocol, port_look
from flowverdict.wording import sentence

if TYPE_CHECKING:
    from flowverdict.flows import RejectedFlow
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
        if not to_blame or acl is None or acl.outcome is not Outcome.DENY or acl.entry is None:
            return None
        return None if acl.possible else acl  # an entry before it may match, so its number is not known

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

    @property
    def acl_entry(self) -> AclEntry | None:
        """The deciding entry of the network ACL, if it is to blame."""
        acl = self.blocking_entry
        if acl is None or acl.entry is None or acl.network_acl_id is None:
            return None
        entry = acl.entry
        return AclEntry(
            network_acl_id=acl.network_acl_id,
            rule_number=entry.rule_number,
            egress=entry.egress,
            action=entry.action or "deny",  # it decides against the packet
            protocol=entry.protocol,
            cidr_block=None if entry.network is None else str(entry.network),
            from_port=None if entry.ports is None else entry.ports.first,
            to_port=None if entry.ports is None else entry.ports.last,
            icmp_type=None if entry.icmp is None else entry.icmp.type,
            icmp_code=None if entry.icmp is None else entry.icmp.code,
        )

    @property
    def miss(self) -> Miss | None:
        """The rule that came closest, as it is shown."""
        if self.nearest_miss is None:
            return None
        rule = self.nearest_miss.rule
        return Miss(
            security_group_id=rule.group_id,
            egress=rule.egress,
            protocol=rule.protocol,
            from_port=rule.from_port,
            to_port=rule.to_port,
            peer=None if rule.peer is None else str(rule.peer),
            differs=self.nearest_miss.differs,
        )

    @property
    def rules_read_at(self) -> str | None:
        """When the rules were read, as ISO 8601 in UTC."""
        read_at = None if self.ruling is None else self.ruling.read_at
        return None if read_at is None else f"{read_at:%Y-%m-%dT%H:%M:%SZ}"

    @property
    def source_is_inside(self) -> bool:
        """Whether the packet was sent from inside the organisation: from our side, or from where no internet gateway leads."""
        source = self.flow.key.packet_source
        return self.flow.direction is FlowDirection.EGRESS or self.is_inside or (source is not None and is_inside(source))

    @property
    def is_inside(self) -> bool:
        """Whether both ends are inside: by their addresses, or by what the rules know of the way."""
        if self.ends is not None and self.ends.path in _INSIDE_PATHS:
            return True
        ends = (self.flow.key.packet_source, self.flow.key.packet_destination)
        return all(end is not None and is_inside(end) for end in ends)

    def rule_details(self) -> dict[str, object]:
        """Give the keys of the contract that name rules; alerts have the same ones."""
        entry, miss, remedy = self.acl_entry, self.miss, self.remedy
        return {
            "network_acl_entry": None if entry is None else asdict(entry),
            "security_groups": list(self.blocking_groups),
            "nearest_miss": None if miss is None else asdict(miss),
            "rules_read_at": self.rules_read_at,
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
    flow = placed(flow, config)
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
    # Without pkt-* fields a forwarding interface shows its own address for an end that lies elsewhere.
    known_ends = flow.packet_addresses_logged or not (ruling.interface.is_nat_gateway or ruling.interface.forwards)
    if leg is Leg.RESPONSE:
        return find_remedy(config, ruling.interface, ruling.packet.reply(), ruling.direction.opposite, both_ends=known_ends)
    if ends.path is Path.PEERING and not _carries_traffic(config, ends):
        return f"none offered: {ends.path_id} carries no traffic, whatever the rules say"
    if _uninvited(ruling, ends):
        return "none offered: nothing here is meant to answer this from the internet; opening is not the answer"
    return find_remedy(config, ruling.interface, ruling.packet, ruling.direction, both_ends=known_ends)


def _leg_to_mend(flow: RejectedFlow, verdict: Verdict) -> Leg:
    """Give the leg a fix has to serve; what is opened for a reply that is none would be opened for nothing."""
    if verdict.leg is Leg.RESPONSE:
        return Leg.UNKNOWN if verdict.confidence is Confidence.POSSIBLE else Leg.RESPONSE
    look = port_look(flow.key.source_port, flow.key.destination_port)
    if verdict.leg is Leg.REQUEST:
        return Leg.UNKNOWN if verdict.confidence is Confidence.POSSIBLE and look is PortLook.REPLY else Leg.REQUEST
    return Leg.REQUEST if look is PortLook.REQUEST else Leg.UNKNOWN


def _carries_traffic(config: NetConfig, ends: Ends) -> bool:
    peering = None if ends.path_id is None else config.peering(ends.path_id)
    return peering is not None and peering.carries_traffic is True


def _uninvited(ruling: Ruling, ends: Ends) -> bool:
    """Whether a request comes from the internet to what no group offers it, or from a range that somebody shut out."""
    if ruling.direction is not FlowDirection.INGRESS or is_inside(ruling.packet.source) or ends.path in _INSIDE_PATHS:
        return False
    entry = None if ruling.acl is None or ruling.acl.outcome is not Outcome.DENY else ruling.acl.entry
    shut_out = entry is not None and not entry.is_closing
    return shut_out or ruling.groups.outcome is not Outcome.ALLOW


_INSIDE_PATHS = {Path.SAME_SUBNET, Path.SAME_VPC, Path.INTERFACE_ENDPOINT, Path.PEERING}


def _text(address: Address | None) -> str | None:
    return None if address is None else str(address)
