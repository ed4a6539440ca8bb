"""Find out which ports security group rules are for.

A rule may show a packet's source port to be a service's port. Such a packet looks like a reply: the
service sends it to the ephemeral port of a client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowverdict.core.protocols import has_ports
from flowverdict.flowlog.records import FlowDirection
from flowverdict.network.model import protocol_number
from flowverdict.network.packet import Match, match_protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowverdict.network.configuration import NetConfig
    from flowverdict.network.model import Interface, SecurityGroupRule
    from flowverdict.network.packet import Packet

# Rules for more ports are not made for one service: all ports, ephemeral ports. The widest range
# of one service is Kubernetes' node ports, 30000-32767.
_MAX_SERVICE_PORTS = 4_096


def rule_that_serves(
    config: NetConfig,
    interface: Interface,
    far: Interface | None,
    packet: Packet,
    direction: FlowDirection,
) -> SecurityGroupRule | None:
    """Return a rule that names the packet's source port as a service's; ``None`` if none does.

    Such a rule lets clients in at the sender, or lets the receiver out to the service. ``far`` is
    the interface at the remote end, if it is known.
    """
    incoming = direction is FlowDirection.INGRESS
    sender, receiver = (far, interface) if incoming else (interface, far)
    rules = (*_rules(config, sender, egress=False), *_rules(config, receiver, egress=True))
    return min((rule for rule in rules if _names(rule, packet)), key=str, default=None)


def is_for_port(rule: SecurityGroupRule, packet: Packet) -> bool:
    """Return whether a rule may be for the packet's protocol and port, whoever its peer is."""
    if match_protocol(rule.protocol, packet).match is Match.NO:
        return False
    first, last, port = rule.from_port, rule.to_port, packet.destination_port
    is_range = has_ports(protocol_number(rule.protocol)) and first is not None and first >= 0
    return not is_range or port is None or last is None or (first or 0) <= port <= last


def _rules(
    config: NetConfig, interface: Interface | None, *, egress: bool
) -> Iterator[SecurityGroupRule]:
    for group_id in (() if interface is None else interface.group_ids) or ():
        group = config.security_group(group_id)
        if group is not None:
            yield from (group.egress if egress else group.ingress) or ()


def _names(rule: SecurityGroupRule, packet: Packet) -> bool:
    first, last, port = rule.from_port, rule.to_port, packet.source_port
    return (
        first is not None
        and last is not None
        and port is not None
        and packet.protocol is not None
        and protocol_number(rule.protocol) == packet.protocol
        and first <= port <= last < first + _MAX_SERVICE_PORTS
    )
