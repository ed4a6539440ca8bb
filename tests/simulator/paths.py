"""Return the interfaces that a packet passes through load balancers, appliances and gateways."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.simulator.network import End, Hop
from tests.simulator.routes import PATH_SAME_VPC, direct, shown

if TYPE_CHECKING:
    from tests.simulator.world import Address, Interface, World

PATH_VIRTUAL_PRIVATE_GATEWAY = 3


def leaves(source: End, destination: End, *, path: int | None = PATH_SAME_VPC) -> Hop:
    """Return the hop out of the interface of the source, whatever lies behind."""
    interface = _interface(source)
    return Hop(
        interface=interface,
        egress=True,
        source=source.address,
        destination=destination.address,
        logged_source=shown(interface, source.address),
        logged_destination=destination.address,
        source_port=source.port,
        destination_port=destination.port,
        at_boundary=True,
        path=path,
    )


def enters(source: End, destination: End, *, forwarded_by: tuple[str, ...] | None = None) -> Hop:
    """Return the hop into the interface of the destination, whatever lies before."""
    interface = _interface(destination)
    return Hop(
        interface=interface,
        egress=False,
        source=source.address,
        destination=destination.address,
        logged_source=source.address,
        logged_destination=shown(interface, destination.address),
        source_port=source.port,
        destination_port=destination.port,
        at_boundary=True,
        forwarded_by=forwarded_by,
    )


def _interface(end: End) -> Interface:
    if end.interface is None:
        raise ValueError("this end has an interface")
    return end.interface


def passes(interface: Interface, source: End, destination: End, *, egress: bool) -> Hop:
    """Return one hop of an interface that forwards; its record shows its own primary address.

    That stands in place of the address that the interface does not hold:
    https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-limitations.html
    """
    here: Address = interface.primary
    return Hop(
        interface=interface,
        egress=egress,
        source=source.address,
        destination=destination.address,
        logged_source=here if egress else source.address,
        logged_destination=destination.address if egress else here,
        source_port=source.port,
        destination_port=destination.port,
        at_boundary=True,
        path=PATH_SAME_VPC if egress else None,
    )


def through_appliance(appliance: Interface, source: End, destination: End) -> list[Hop]:
    """Return the hops between two interfaces of other subnets, through an appliance.

    References to groups do not match what an appliance forwards:
    https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html
    """
    return [
        leaves(source, destination),
        passes(appliance, source, destination, egress=False),
        passes(appliance, source, destination, egress=True),
        enters(source, destination, forwarded_by=()),
    ]


def to_target(
    world: World, client: End, balancer: End, target: End, *, own_port: int | None
) -> list[Hop]:
    """Return the hops of a packet to a target.

    With ``own_port`` the load balancer uses its own address and that port; with ``None`` it
    preserves the client's. Its inner side is then that of any interface that forwards: the rules
    see the packet's addresses, the record shows its own address in place of the client's.
    """
    outer = direct(world, client, balancer)
    if own_port is not None:
        return [*outer, *direct(world, replace(balancer, port=own_port), target)]
    middle = _interface(balancer)
    return [
        *outer,
        passes(middle, client, target, egress=True),
        enters(client, target, forwarded_by=middle.group_ids),
    ]


def from_target(
    world: World, client: End, balancer: End, target: End, *, own_port: int | None
) -> list[Hop]:
    """Return the hops of the answer."""
    outer = direct(world, balancer, client)
    if own_port is not None:
        return [*direct(world, target, replace(balancer, port=own_port)), *outer]
    return [
        leaves(target, client, path=None),
        passes(_interface(balancer), target, client, egress=False),
        *outer,
    ]


def to_transit_gateway(attachment: Interface, source: End, destination: End) -> list[Hop]:
    """Return the hops from an instance to a network behind a transit gateway.

    In one subnet with the attachment, outbound rules by destination and inbound rules by source
    apply on the way out and none on the way back. In another subnet, the instance's network ACL
    applies both ways, and of the attachment's the inbound rules on the way out and the outbound
    rules on the way back (https://docs.aws.amazon.com/vpc/latest/tgw/tgw-nacls.html).
    """
    apart = _interface(source).subnet_id != attachment.subnet_id
    return [
        replace(leaves(source, destination), reply_at_boundary=apart),
        replace(passes(attachment, source, destination, egress=False), reply_at_boundary=apart),
    ]


def from_transit_gateway(attachment: Interface, source: End, destination: End) -> list[Hop]:
    """Return the hops from a network behind a transit gateway to an instance."""
    apart = _interface(destination).subnet_id != attachment.subnet_id
    return [
        replace(
            passes(attachment, source, destination, egress=True),
            at_boundary=apart,
            reply_at_boundary=True,
        ),
        replace(enters(source, destination), at_boundary=apart, reply_at_boundary=True),
    ]
