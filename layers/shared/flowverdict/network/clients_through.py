"""Find the load balancer that a client may have come by, which keeps the client's address.

To a target, the source of such a packet is the client, though the load balancer sends it. A rule
that refers to the client's group then does not match, since it means packets that the client's
interface sends itself
(https://docs.aws.amazon.com/elasticloadbalancing/latest/network/target-group-register-targets.html);
a rule that refers to the load balancer's own group matches
(https://docs.aws.amazon.com/elasticloadbalancing/latest/network/load-balancer-security-groups.html).
Only network load balancers keep addresses; records do not show who sent the packet. The target lies
in the load balancer's VPC or in a peered VPC of the same Region
(https://docs.aws.amazon.com/elasticloadbalancing/latest/network/edit-target-group-attributes.html).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowverdict.core.addresses import address_of
from flowverdict.network.packet import PROTOCOLS_WITH_PORTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowverdict.network.configuration import NetConfig
    from flowverdict.network.load_balancers import LoadBalancer, Target, TargetGroup
    from flowverdict.network.model import Interface
    from flowverdict.network.packet import Packet

_NETWORK_LOAD_BALANCER = "network_load_balancer"
_DESCRIPTION = re.compile(r"ELB net/([^/]+)/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """A load balancer that a client may have come by.

    Parameters
    ----------
    group_ids
        The load balancer's own security groups, as far as known.
    registered
        Whether the interface is known to be its target, with client addresses kept.
    """

    name: str
    group_ids: frozenset[str]
    registered: bool


def load_balancer_before(config: NetConfig, interface: Interface, packet: Packet) -> Before | None:
    """Return the load balancer that a packet to an interface may have come by.

    ``None`` if there is no such load balancer, or none is known.
    """
    if packet.protocol not in PROTOCOLS_WITH_PORTS or _is_load_balancer(interface):
        return None
    vpcs = _vpcs_of_load_balancers(config, interface)
    if any(_is_one_of(vpcs, each) for each in config.interfaces_with(packet.source)):
        return None  # a health check, or a client's packet with the load balancer's own address
    if config.targets is None or config.target_groups is None:
        return _in_vpcs(config, vpcs)
    by_arn = {balancer.arn: balancer for balancer in config.load_balancers or ()}
    arns = (
        arn
        for group in _target_groups(config, interface, packet)
        if _may_reach(config, group, vpcs)
        for arn in group.load_balancer_arns or ()
        if _is_network(arn, by_arn.get(arn))
    )
    first = next(arns, None)
    return None if first is None else _before(config, first, by_arn.get(first))


def _may_reach(config: NetConfig, group: TargetGroup, vpcs: frozenset[str]) -> bool:
    """Return whether a target group's load balancer may lie in one of the VPCs, or in a peer."""
    return not vpcs or group.vpc_id is None or group.vpc_id in vpcs or config.peerings is None


def load_balancers_known(config: NetConfig) -> bool:
    """Return whether all load balancers and their targets are known."""
    return (
        config.load_balancers is not None
        and config.target_groups is not None
        and config.targets is not None
        and not config.incomplete & {"load_balancers", "target_groups", "targets"}
    )


def _is_network(arn: str, balancer: LoadBalancer | None) -> bool:
    known = None if balancer is None else balancer.load_balancer_type
    return ":loadbalancer/net/" in arn if known is None else known == "network"


def _is_one_of(vpcs: frozenset[str], interface: Interface) -> bool:
    return _is_load_balancer(interface) and interface.vpc_id in vpcs


def _is_load_balancer(interface: Interface) -> bool:
    return interface.interface_type == _NETWORK_LOAD_BALANCER


def _vpcs_of_load_balancers(config: NetConfig, interface: Interface) -> frozenset[str]:
    """Return the VPCs whose load balancers may have an interface behind them; empty if unknown."""
    if interface.vpc_id is None:
        return frozenset()
    peers = {
        side.vpc_id
        for peering in config.peerings_of(interface.vpc_id)
        if peering.carries_traffic is not False and peering.crosses_regions is not True
        if (side := peering.other_side(interface.vpc_id)) is not None and side.vpc_id is not None
    }
    return frozenset({interface.vpc_id, *peers})


def _in_vpcs(config: NetConfig, vpcs: frozenset[str]) -> Before | None:
    """Return the load balancer of some VPCs where the targets are not known; several are one."""
    found = [each for each in config.interfaces or () if _is_one_of(vpcs, each)]
    if not found:
        return None
    names = sorted({_name(each) for each in found})
    return Before(
        name=names[0] if len(names) == 1 else "a network load balancer",
        group_ids=frozenset(group_id for each in found for group_id in each.group_ids or ()),
        registered=False,
    )


def _name(interface: Interface) -> str:
    match = _DESCRIPTION.match(interface.description or "")
    return interface.interface_id if match is None else match[1]


def _target_groups(
    config: NetConfig, interface: Interface, packet: Packet
) -> Iterator[TargetGroup]:
    """Yield the target groups that have the interface as a target and keep clients' addresses."""
    arns = {
        target.target_group_arn
        for target in config.targets or ()
        if target.port in {None, packet.destination_port} and _is_target(interface, target)
    }
    for group in config.target_groups or ():
        if group.arn in arns and group.preserve_client_ip is not False:
            yield group


def _is_target(interface: Interface, target: Target) -> bool:
    """Whether an interface has a target's address, or is its instance's or load balancer's.

    The target of a group of type ``alb`` is the ARN of an application load balancer:
    https://docs.aws.amazon.com/elasticloadbalancing/latest/network/application-load-balancer-target.html
    """
    if target.target_id.startswith("arn:"):
        path = target.target_id.partition(":loadbalancer/")[2]
        return path != "" and interface.description == f"ELB {path}"
    try:
        address = address_of(target.target_id)
    except ValueError:
        return target.target_id == interface.instance_id
    return address in interface.addresses or any(address in each for each in interface.prefixes)


def _before(config: NetConfig, arn: str, balancer: LoadBalancer | None) -> Before:
    path = arn.partition(":loadbalancer/")[2]  # net/NAME/ID
    groups = {
        group_id
        for each in config.interfaces or ()
        if each.description == f"ELB {path}"
        for group_id in each.group_ids or ()
    }
    if balancer is not None:
        groups |= set(balancer.group_ids or ())
    return Before(name=path.split("/")[1], group_ids=frozenset(groups), registered=True)
