"""Evaluate the rules, as they were read, for the packets of a rejected flow.

A flow log shows addresses and ports, the configuration shows what is allowed; together they show
which layer would block the packet now. Rules are read minutes after the packet, so the result is
evidence about the time of the reject, not proof.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flowverdict.core.availability import NotAvailable
from flowverdict.flowlog.records import FlowDirection
from flowverdict.network.acl import AclAnswer, crosses_subnet_boundary, evaluate_subnet_acl
from flowverdict.network.packet import Outcome, Packet
from flowverdict.network.routes import INTERNET_GATEWAYS, Target
from flowverdict.network.security_groups import GroupsAnswer, evaluate_groups
from flowverdict.network.served_ports import rule_that_serves
from flowverdict.network.unfiltered import unfiltered_service
from flowverdict.verdict.paths import FoundPath, Logged, by_internet_gateway, find_path

if TYPE_CHECKING:
    from datetime import datetime

    from flowverdict.core.addresses import Address
    from flowverdict.flows.model import RejectedFlow
    from flowverdict.network.configuration import NetConfig
    from flowverdict.network.model import Interface, SecurityGroupRule


_SYN_ACK = 18  # in tcp-flags


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesCheck:
    """What both layers of an interface do with a packet.

    Parameters
    ----------
    acl
        ``None`` where no network ACL is evaluated, for example inside the subnet.
    groups
        As for the first packet of a connection; a reply of a tracked connection always passes.
    served_by
        A rule that shows the packet's source port to be a service's, so that the packet looks like
        a reply.
    unfiltered
        The service at the remote end if no rule filters its traffic.
    source_is_elsewhere
        Whether another interface of the VPC, and not this one, has the packet's source address.
    """

    interface: Interface
    direction: FlowDirection
    packet: Packet
    acl: AclAnswer | None
    groups: GroupsAnswer
    found_path: FoundPath
    stays_in_subnet: bool | None
    block_public_access: str | None
    served_by: SecurityGroupRule | None
    unfiltered: str | None
    read_at: datetime | None
    source_is_elsewhere: bool = False

    @property
    def acl_outcome(self) -> Outcome:
        """What the network ACL does; inside a subnet it is not evaluated, which allows all."""
        return Outcome.ALLOW if self.acl is None else self.acl.outcome


def with_interface_facts(flow: RejectedFlow, config: NetConfig) -> RejectedFlow:
    """Return the flow with what its interface adds to the log.

    The interface gives the VPC, subnet and instance where the log lacks them, and the direction
    where it is not logged. For the direction, secondary addresses and delegated prefixes are the
    interface's own: pods are behind the interface, whatever the log shows for them.
    """
    interface = _interface(flow, config)
    if interface is None:
        return flow
    context = replace(
        flow.context,
        vpc_id=_known(flow.context.vpc_id, interface.vpc_id),
        subnet_id=_known(flow.context.subnet_id, interface.subnet_id),
        instance_id=_known(flow.context.instance_id, interface.instance_id),
    )
    return replace(flow, context=context, direction=_direction(flow, interface))


def _known(logged: str | None, read: str | None) -> str | None:
    return read if logged is None else logged


def _direction(flow: RejectedFlow, interface: Interface) -> FlowDirection | None:
    if flow.direction_logged:
        return flow.direction
    source, destination = flow.key.source, flow.key.destination
    own_source, own_destination = _is_own(interface, source), _is_own(interface, destination)
    if own_source == own_destination:
        return flow.direction
    return FlowDirection.EGRESS if own_source else FlowDirection.INGRESS


def check_rules(flow: RejectedFlow, config: NetConfig) -> RulesCheck | NotAvailable:
    """Evaluate the rules for the flow's packets, or say why that is not possible.

    The flow's direction should be as good as it gets (``with_interface_facts``).
    """
    interface = _interface(flow, config)
    source, destination = flow.key.packet_source, flow.key.packet_destination
    if interface is None:
        return NotAvailable(
            f"{flow.interface_id or 'the interface'} is not in the configuration that was read "
            "(it may be deleted)"
        )
    if (
        source is None
        or destination is None
        or flow.key.protocol is None
        or source.version != destination.version
    ):
        return NotAvailable("the records lack addresses or protocol")
    if flow.direction is None:
        return NotAvailable("the direction of the packet is not known")
    packet = Packet(
        source=source,
        destination=destination,
        protocol=flow.key.protocol,
        source_port=flow.key.source_port,
        destination_port=flow.key.destination_port,
    )
    crosses = crosses_subnet_boundary(config, interface, packet.peer(flow.direction))
    logged = _logged(flow)
    found_path = find_path(config, interface, packet, logged)
    return RulesCheck(
        interface=interface,
        direction=flow.direction,
        packet=packet,
        acl=evaluate_subnet_acl(config, interface, packet, flow.direction),
        groups=evaluate_groups(config, interface, packet, flow.direction),
        found_path=found_path,
        stays_in_subnet=None if crosses is None else not crosses,
        block_public_access=_blocked_publicly(config, interface, found_path, packet, logged),
        served_by=rule_that_serves(config, interface, found_path.far, packet, flow.direction),
        unfiltered=unfiltered_service(config, interface, packet, flow.direction),
        read_at=config.read_at,
        source_is_elsewhere=not _is_own(interface, source)
        and config.interface_at(interface.vpc_id, source) is not None,
    )


def _interface(flow: RejectedFlow, config: NetConfig) -> Interface | None:
    return None if flow.interface_id is None else config.interface(flow.interface_id)


def _is_own(interface: Interface, address: Address | None) -> bool:
    if address is None:
        return False
    return address in interface.addresses or any(address in prefix for prefix in interface.prefixes)


def _has_syn_ack(flags: int | None) -> bool:
    return flags is not None and flags & _SYN_ACK == _SYN_ACK


def _logged(flow: RejectedFlow) -> Logged:
    """Return what the records say of the path."""
    context = flow.context
    return Logged(
        direction=flow.direction,
        traffic_paths=flow.observed.integers("traffic-path"),
        remote_service=context.pkt_src_aws_service
        if flow.direction is FlowDirection.INGRESS
        else context.pkt_dst_aws_service,
        is_reply=flow.mirror is not None or _has_syn_ack(flow.traffic.tcp_flags),
    )


def _blocked_publicly(
    config: NetConfig, interface: Interface, found: FoundPath, packet: Packet, logged: Logged
) -> str | None:
    """Return the mode of Block Public Access if the mode concerns this packet.

    An exclusion shows in the subnet's own mode, which takes precedence over that of the VPC. The
    mode for ingress leaves NAT gateways and egress-only internet gateways alone:
    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_BlockPublicAccessStates.html
    """
    subnet = None if interface.subnet_id is None else config.subnet(interface.subnet_id)
    vpc = None if interface.vpc_id is None else config.vpc(interface.vpc_id)
    mode = None if vpc is None else vpc.block_public_access
    if subnet is not None and subnet.block_public_access is not None:
        mode = subnet.block_public_access
    gateways = INTERNET_GATEWAYS if mode == "block-bidirectional" else {Target.INTERNET_GATEWAY}
    concerns = mode == "block-bidirectional" or (
        mode == "block-ingress" and not interface.is_nat_gateway
    )
    return mode if concerns and by_internet_gateway(found, packet, logged, gateways) else None
