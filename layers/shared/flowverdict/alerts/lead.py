"""Say in one line what an alert is about, by names: who, what was dropped, and what dropped it.

The line is for a person who is woken up. The title has the ids.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flowverdict.core.formatting import cut, with_port
from flowverdict.core.protocols import Protocol, protocol_name, service_name
from flowverdict.core.untrusted import is_resource_id
from flowverdict.network.model import CLOSING_RULES
from flowverdict.verdict.model import Confidence, VerdictKind

if TYPE_CHECKING:
    from flowverdict.alerts.model import Alert

_PACKETS = {"request": "requests", "response": "replies"}
# Where neither the entry nor the groups are known, and where the verdict leaves two layers.
_LAYERS = {
    VerdictKind.NETWORK_ACL: "the network ACL",
    VerdictKind.SECURITY_GROUP: "the security groups",
    VerdictKind.NETWORK_ACL_AND_SECURITY_GROUP: "the network ACL and the security groups",
    VerdictKind.NETWORK_ACL_OR_SECURITY_GROUP: "the network ACL or the security groups",
    VerdictKind.BLOCK_PUBLIC_ACCESS: "VPC Block Public Access",
    VerdictKind.ENCRYPTION_CONTROLS: "VPC Encryption Controls",
}
_HEDGES = {Confidence.LIKELY: "most likely ", Confidence.POSSIBLE: "possibly "}
_ECS_SERVICE = re.compile(r"ECS task(?: \S+)? of (service|task definition) (\S+)")
_MOST_GROUPS = 2


def lead(alert: Alert, *, brief: bool = False) -> str:
    """Return who, what was dropped and what dropped it; the title where that is not known.

    ``shop-web :443 (HTTPS): replies to 3 clients dropped by network ACL prod-public (default
    deny)``. A brief line, for a subject, has neither the service's name nor the rule. Counts of
    clients are those that were seen: the line never says "all".
    """
    happened = None if alert.targets is not None else _happened(alert, brief=brief)
    return alert.title if happened is None else cut(f"{_near(alert, brief=brief)}: {happened}")


def name_of_end(end: str | None) -> str | None:
    """Return what names an end: ``shop-web`` of ``instance i-0aaa (shop-web), eni-0aaa``.

    ``None`` where nothing but the id of an interface is known.
    """
    if end is None:
        return None
    name, _, inside = end.split(", ")[0].partition(" (")
    inside = inside.removesuffix(")")
    if service := _ECS_SERVICE.match(name):
        return f"ECS {service[1]} {service[2]}"
    if is_resource_id(name, "eni"):
        return inside or None
    return inside if inside and name.startswith("instance ") else name or None


def named(alert: Alert, resource_id: str) -> str:
    """Return the name that people gave a resource, else its id."""
    return dict(alert.names).get(resource_id, resource_id)


def blocker_in_words(alert: Alert) -> str:
    """Return what stands in the way, by names: ``network ACL prod-public (default deny)``."""
    if alert.verdict in _LAYERS:
        return _blocker(alert, alert.verdict, brief=False)
    return alert.blocker or alert.verdict_caption


def _happened(alert: Alert, *, brief: bool) -> str | None:
    if alert.outbound is None:
        return None
    far = f"{'to' if alert.outbound else 'from'} {_far(alert, brief=brief)}"
    packets = f"{_protocol(alert)}{_PACKETS.get(alert.leg, 'packets')} {far}"
    match alert.verdict:
        case VerdictKind.CLOSED_CONNECTION:
            hedge = _HEDGES.get(Confidence(alert.confidence), "")
            return f"late packets {far} rejected, their connections were {hedge}over"
        case VerdictKind.RULES_ALLOW:
            return f"{packets} rejected, but the rules allow them now"
        case VerdictKind.UNDETERMINED:
            return f"{packets} rejected, cause undetermined"
        case kind if kind in _LAYERS:
            hedge = "possibly " if alert.confidence == Confidence.POSSIBLE else ""
            return f"{packets} {hedge}dropped by {_blocker(alert, kind, brief=brief)}"
        case _:
            return None


def _near(alert: Alert, *, brief: bool) -> str:
    name = name_of_end(alert.local_end)
    port = alert.service_port if _serves(alert) else None
    if name is None:
        name, port = alert.near, None if brief else port
        if port is not None:  # the address has it already
            return f"{name}{_service_name(alert, port)}{_others(alert)}"
    return f"{name}{_port(alert, port, brief=brief)}{_others(alert)}"


def _others(alert: Alert) -> str:
    return f" and {alert.near_others:,} more" if alert.near_others else ""


def _far(alert: Alert, *, brief: bool) -> str:
    if alert.remote_count > 1:
        text = f"{alert.remote_count:,} {'clients' if _serves(alert) else 'addresses'}"
        place = "" if brief or alert.far_network is None else f" in {alert.far_network}"
        return f"{text}{place}{_port(alert, alert.far_port, brief=brief)}"
    name = name_of_end(alert.remote_end)
    address = alert.top_remotes[0].address if alert.top_remotes else None
    if name is None or name == address:
        if address is None:
            return name or alert.far or "an unknown address"
        if brief or alert.far_port is None:
            return with_port(address, alert.far_port)
        return f"{with_port(address, alert.far_port)}{_service_name(alert, alert.far_port)}"
    return f"{name}{_port(alert, alert.far_port, brief=brief)}"


def _serves(alert: Alert) -> bool:
    """Whether the service is at the near end."""
    return alert.far_port is None and alert.service_port is not None


def _port(alert: Alert, port: int | None, *, brief: bool) -> str:
    if port is None:
        return ""
    return f":{port}" if brief else f" :{port}{_service_name(alert, port)}"


def _service_name(alert: Alert, port: int) -> str:
    known = service_name(alert.protocol, port)
    return "" if known is None else f" ({known})"


def _protocol(alert: Alert) -> str:
    """Name the protocol where it is not the one that nearly all services have."""
    if alert.protocol is None or alert.protocol == Protocol.TCP:
        return ""
    return f"{protocol_name(alert.protocol)} "


def _blocker(alert: Alert, kind: str, *, brief: bool) -> str:
    entry, groups = alert.network_acl_entry, alert.security_groups
    if kind == VerdictKind.NETWORK_ACL_OR_SECURITY_GROUP or (entry is None and not groups):
        return _LAYERS[VerdictKind(kind)]
    blockers = []
    if entry is not None:
        closing = entry.rule_number in CLOSING_RULES.values()
        rule = "default deny" if closing else f"rule {entry.rule_number}"
        name = named(alert, entry.network_acl_id)
        blockers.append(f"network ACL {name}" + ("" if brief else f" ({rule})"))
    if groups:
        shown = [named(alert, group) for group in groups[:_MOST_GROUPS]]
        more = len(groups) - len(shown)
        listed = ", ".join([*shown, *([f"{more:,} more"] if more else [])])
        blockers.append(f"security group{'s' if len(groups) > 1 else ''} {listed}")
    return " and ".join(blockers)
