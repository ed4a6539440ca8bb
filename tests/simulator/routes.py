"""Return the interfaces that a packet passes, and the addresses that their records show.

For an interface's own IPv4 address, ``srcaddr`` or ``dstaddr`` show its primary private address,
and ``pkt-*`` the real address. A packet through a NAT gateway passes the gateway's interface twice;
the records are as in AWS's example for zonal NAT gateways:
https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-records-examples.html
"""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from tests.simulator.network import End, Hop
from tests.simulator.world import S3_BLOCKS

if TYPE_CHECKING:
    from tests.simulator.world import Address, Interface, World

# traffic-path, of egress records only
PATH_SAME_VPC, PATH_PEERING, PATH_GATEWAY_ENDPOINT, PATH_INTERNET_GATEWAY = 1, 4, 7, 8


def direct(world: World, source: End, destination: End) -> list[Hop]:
    """Return the hops between two ends; only the first if their peering is not active."""
    hops: list[Hop] = []
    one, other = source.interface, destination.interface
    same_subnet = one is not None and other is not None and one.subnet_id == other.subnet_id
    if one is not None:
        hops.append(
            Hop(
                interface=one,
                egress=True,
                source=source.address,
                destination=destination.address,
                logged_source=shown(one, source.address),
                logged_destination=destination.address,
                source_port=source.port,
                destination_port=destination.port,
                at_boundary=not same_subnet,
                path=_path(one, destination),
                over_internet=_path(one, destination) == PATH_INTERNET_GATEWAY,
            )
        )
    if other is not None and _arrives(world, one, other):
        hops.append(
            Hop(
                interface=other,
                egress=False,
                source=source.address,
                destination=destination.address,
                logged_source=source.address,
                logged_destination=shown(other, destination.address),
                source_port=source.port,
                destination_port=destination.port,
                at_boundary=not same_subnet,
                over_internet=one is None and not _in_service(source.address),
            )
        )
    return hops


def to_internet_through_nat(
    client: End, gateway: Interface, gateway_port: int, server: End
) -> list[Hop]:
    """Return the hops from a client in another subnet, through the gateway, to an internet host."""
    return [
        _hop(client.interface, client, server, egress=True, path=PATH_SAME_VPC),
        _hop(gateway, client, server, egress=False, logged_destination=gateway.primary),
        _hop(
            gateway,
            End(address=gateway.primary, port=gateway_port),
            server,
            egress=True,
            path=PATH_INTERNET_GATEWAY,
        ),
    ]


def from_internet_through_nat(
    client: End, gateway: Interface, gateway_port: int, server: End
) -> list[Hop]:
    """Return the hops of the answer."""
    return [
        _hop(gateway, server, End(address=gateway.primary, port=gateway_port), egress=False),
        _hop(
            gateway, server, client, egress=True, logged_source=gateway.primary, path=PATH_SAME_VPC
        ),
        _hop(client.interface, server, client, egress=False),
    ]


def _hop(  # noqa: PLR0913 - the two logged addresses and the path differ only at a gateway
    interface: Interface | None,
    source: End,
    destination: End,
    *,
    egress: bool,
    logged_source: Address | None = None,
    logged_destination: Address | None = None,
    path: int | None = None,
) -> Hop:
    if interface is None:
        raise ValueError("a client behind a NAT gateway has an interface")
    return Hop(
        interface=interface,
        egress=egress,
        source=source.address,
        destination=destination.address,
        logged_source=logged_source
        or (shown(interface, source.address) if egress else source.address),
        logged_destination=logged_destination
        or (destination.address if egress else shown(interface, destination.address)),
        source_port=source.port,
        destination_port=destination.port,
        at_boundary=True,
        path=path,
        over_internet=path == PATH_INTERNET_GATEWAY
        or (not egress and destination.address == interface.primary and source.interface is None),
    )


def shown(interface: Interface, address: Address) -> Address:
    """Return what a record shows for an address of the interface itself."""
    return interface.primary if isinstance(address, IPv4Address) else address


def _arrives(world: World, one: Interface | None, other: Interface) -> bool:
    if one is None or one.vpc_id == other.vpc_id:
        return True
    peering = world.peering_between(one.vpc_id, other.vpc_id)
    return peering is not None and peering.status == "active"


def _path(one: Interface, destination: End) -> int:
    if destination.interface is not None:
        return PATH_SAME_VPC if destination.interface.vpc_id == one.vpc_id else PATH_PEERING
    if _in_service(destination.address):
        return PATH_GATEWAY_ENDPOINT
    return PATH_INTERNET_GATEWAY


def _in_service(address: Address) -> bool:
    return any(address.version == block.version and address in block for block in S3_BLOCKS)
