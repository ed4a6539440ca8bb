"""Find the path that a packet took, or would have taken: by the log, the routes, then the address.

``traffic-path`` is AWS's own word and comes first; it is logged for egress only
(https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html). Then come the VPC's own
ranges, which may be public, and the subnet's route table
(https://docs.aws.amazon.com/vpc/latest/userguide/VPC_Route_Tables.html). The address alone is the
last resort: networks behind a virtual private gateway or a transit gateway may use public ranges.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from flowverdict.core.addresses import is_inside, kind_not_carried
from flowverdict.flowlog.flow_key import IPV4
from flowverdict.flowlog.records import FlowDirection
from flowverdict.network.clients_through import load_balancer_before
from flowverdict.network.model import FORWARDING_TYPES, NAT_GATEWAY_TYPES, PrefixListReference
from flowverdict.network.routes import INTERNET_GATEWAYS, Found, Target, route_to
from flowverdict.network.served_ports import is_for_port

if TYPE_CHECKING:
    from collections.abc import Collection

    from flowverdict.core.addresses import Address
    from flowverdict.network.configuration import NetConfig
    from flowverdict.network.model import Interface, Peering, PrefixList, VpcEndpoint
    from flowverdict.network.packet import Packet


class Path(StrEnum):
    """The path that a packet took, or would have taken."""

    SAME_SUBNET = "same-subnet"
    SAME_VPC = "same-vpc"
    INTERFACE_ENDPOINT = "interface-endpoint"
    GATEWAY_ENDPOINT = "gateway-endpoint"
    AWS_SERVICE = "aws-service"
    PEERING = "peering"
    TRANSIT_GATEWAY = "transit-gateway"
    VIRTUAL_PRIVATE_GATEWAY = "virtual-private-gateway"
    LOCAL_GATEWAY = "local-gateway"
    LOAD_BALANCER = "load-balancer"
    INTERNET = "internet"
    OTHER_NETWORK = "other-network"
    NOT_CARRIED = "not-carried"


# Paths on which both ends are inside the organisation, whatever their addresses.
INSIDE_PATHS = frozenset(
    {
        Path.SAME_SUBNET,
        Path.SAME_VPC,
        Path.INTERFACE_ENDPOINT,
        Path.PEERING,
        Path.TRANSIT_GATEWAY,
        Path.VIRTUAL_PRIVATE_GATEWAY,
        Path.LOCAL_GATEWAY,
    }
)

# Values of `traffic-path` that show where the remote end is. 1 is another resource in the VPC (also
# a NAT gateway or a transit gateway's attachment), 2 an internet gateway or a gateway endpoint.
_LOGGED_PATHS = {
    3: Path.VIRTUAL_PRIVATE_GATEWAY,
    4: Path.PEERING,
    5: Path.PEERING,
    6: Path.LOCAL_GATEWAY,
    7: Path.GATEWAY_ENDPOINT,
    8: Path.INTERNET,
}
WITHOUT_INTERNET_GATEWAY = frozenset({1, 3, 4, 5, 6, 7})

_BY_TARGET = {
    Target.PEERING: Path.PEERING,
    Target.TRANSIT_GATEWAY: Path.TRANSIT_GATEWAY,
    Target.CORE_NETWORK: Path.TRANSIT_GATEWAY,
    Target.VIRTUAL_PRIVATE_GATEWAY: Path.VIRTUAL_PRIVATE_GATEWAY,
    Target.LOCAL_GATEWAY: Path.LOCAL_GATEWAY,
    Target.CARRIER_GATEWAY: Path.INTERNET,
}

# What `pkt-src-aws-service` and `pkt-dst-aws-service` say of ranges that any customer's machines or
# content may be behind.
NOT_A_SERVICE = frozenset({None, "AMAZON", "EC2", "CLOUDFRONT", "GLOBALACCELERATOR"})

# Anybody can have the other services (CloudFront, health checks of Route 53 ...) send requests to
# any address. These send none, or only what the organisation's own users have them send. Lists:
# https://docs.aws.amazon.com/vpc/latest/userguide/working-with-aws-managed-prefix-lists.html
_OF_NO_STRANGERS = (".s3", ".s3express", ".dynamodb", ".vpc-lattice", ".ec2-instance-connect")
SERVICES_OF_NO_STRANGERS = frozenset({"S3", "DYNAMODB", "EC2_INSTANCE_CONNECT"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """What the records say of the path.

    Parameters
    ----------
    traffic_paths
        The values of ``traffic-path`` of the flow's records, ``None`` where it is not logged.
    remote_service
        ``pkt-src-aws-service`` or ``pkt-dst-aws-service``, whichever is about the remote end.
    is_reply
        Whether the records show that the packets answer the interface: replies from the internet
        come to an interface without a public address as well, by a NAT gateway.
    """

    direction: FlowDirection | None = None
    traffic_paths: frozenset[int | None] = frozenset()
    remote_service: str | None = None
    is_reply: bool = False

    @property
    def asks(self) -> bool:
        """Whether the packets may be requests of the remote end."""
        return self.direction is FlowDirection.INGRESS and not self.is_reply

    @property
    def path(self) -> Path | None:
        """The path that all records name; ``None`` if they name none, or several."""
        values = {value for value in self.traffic_paths if value is not None}
        return _LOGGED_PATHS.get(values.pop()) if len(values) == 1 else None


NOTHING_LOGGED = Logged()


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPath:
    """The path to a remote address, with what was found on it.

    Parameters
    ----------
    far
        The interface that has the remote address, in this VPC or in a peer VPC.
    special
        ``broadcast``, ``multicast`` or ``link-local``, which no VPC carries.
    public_of
        The interface that has the remote address as its public address, where that is known. The
        packet went through an internet gateway all the same.
    load_balancer
        The name of the load balancer that the client came by, where that is known.
    forwarded
        Whether an internet host's packet reached an interface that no internet gateway reaches: a
        load balancer or AWS Global Accelerator forwarded it.
    """

    path: Path
    path_id: str | None = None
    far: Interface | None = None
    peering: Peering | None = None
    endpoint: VpcEndpoint | None = None
    prefix_list: PrefixList | None = None
    route: Found | None = None
    special: str | None = None
    public_of: Interface | None = None
    load_balancer: str | None = None
    forwarded: bool = False


def find_path(
    config: NetConfig, interface: Interface, packet: Packet, logged: Logged = NOTHING_LOGGED
) -> FoundPath:
    """Find the path between an interface and the remote end of a packet."""
    remote = _remote(packet, logged)
    special = _not_carried(config, interface, packet)
    if special is not None:
        return FoundPath(path=Path.NOT_CARRIED, special=special)
    inside = _inside_vpc(config, interface, remote)
    if inside is not None:
        return inside
    route = route_to(config, interface, remote)
    return (
        _outside_by_log(config, interface, packet, logged, route)
        or _by_specific_route(config, interface, remote, route)
        or _peered(config, interface, remote, route)
        or _to_service(config, interface, packet, logged, route)
        or _by_address(config, interface, packet, logged, route)
    )


def _remote(packet: Packet, logged: Logged) -> Address:
    return packet.source if logged.direction is FlowDirection.INGRESS else packet.destination


def _not_carried(config: NetConfig, interface: Interface, packet: Packet) -> str | None:
    for address in (packet.destination, packet.source):
        special = kind_not_carried(address)
        if special is not None and _service_list(config, address) is None:
            return special
    subnet = None if interface.subnet_id is None else config.subnet(interface.subnet_id)
    broadcast = {
        network.broadcast_address
        for network in (() if subnet is None else subnet.cidrs)
        if network.version == IPV4
    }
    return "broadcast" if packet.destination in broadcast else None


# --- inside the VPC -------------------------------------------------------------------------------


def _inside_vpc(config: NetConfig, interface: Interface, remote: Address) -> FoundPath | None:
    far = config.interface_at(interface.vpc_id, remote)
    # A Gateway Load Balancer's endpoint is on the way of packets from anywhere:
    # https://docs.aws.amazon.com/vpc/latest/privatelink/vpce-gateway-load-balancer.html
    on_the_way = interface.interface_type in FORWARDING_TYPES
    endpoint = None if on_the_way else config.endpoint_of_interface(interface.interface_id)
    if far is not None:
        endpoint = config.endpoint_of_interface(far.interface_id) or endpoint
    if endpoint is not None:
        return FoundPath(
            path=Path.INTERFACE_ENDPOINT,
            path_id=endpoint.endpoint_id,
            far=far,
            endpoint=endpoint,
        )
    if far is not None:
        same_subnet = interface.subnet_id is not None and interface.subnet_id == far.subnet_id
        return FoundPath(path=Path.SAME_SUBNET if same_subnet else Path.SAME_VPC, far=far)
    return FoundPath(path=Path.SAME_VPC) if _in_vpc(config, interface, remote) else None


def _in_vpc(config: NetConfig, interface: Interface, remote: Address) -> bool:
    vpc = config.vpc(interface.vpc_id) if interface.vpc_id is not None else None
    return vpc is not None and any(remote in network for network in vpc.cidrs)


# --- outside the VPC ------------------------------------------------------------------------------


def _outside_by_log(
    config: NetConfig, interface: Interface, packet: Packet, logged: Logged, route: Found | None
) -> FoundPath | None:
    match logged.path:
        case Path.PEERING:
            remote = _remote(packet, logged)
            return _peered(config, interface, remote, route) or FoundPath(path=Path.PEERING)
        case Path.GATEWAY_ENDPOINT:
            return _to_service(config, interface, packet, logged, route) or FoundPath(
                path=Path.GATEWAY_ENDPOINT
            )
        case Path.VIRTUAL_PRIVATE_GATEWAY | Path.LOCAL_GATEWAY:
            return FoundPath(path=logged.path, route=route)
        case _:
            return None


def _by_specific_route(
    config: NetConfig, interface: Interface, remote: Address, route: Found | None
) -> FoundPath | None:
    """Return the path of a route to a network outside; a default route says little of an address.

    A default route through a transit gateway leads to whatever lies behind it, the internet too.
    """
    path = None if route is None else _BY_TARGET.get(route.target)
    if route is None or path is None:
        return None
    if path is Path.PEERING:
        return _peered(config, interface, remote, route)
    if route.is_default and (path is Path.INTERNET or not is_inside(remote)):
        return None
    return FoundPath(path=path, path_id=route.target_id, route=route)


def _peered(
    config: NetConfig, interface: Interface, remote: Address, route: Found | None
) -> FoundPath | None:
    """Return the peering connection to an address: by the route, else by the peers' ranges."""
    by_route = (
        config.peering(route.target_id)
        if route is not None and route.target is Target.PEERING and route.target_id is not None
        else None
    )
    peering = by_route or _peering_with(config, interface, remote)
    if peering is None:
        if route is None or route.target is not Target.PEERING:
            return None
        return FoundPath(path=Path.PEERING, path_id=route.target_id, route=route)
    other = peering.other_side(interface.vpc_id)
    far = next(
        (
            holder
            for holder in config.interfaces_with(remote)
            if other is not None and holder.vpc_id == other.vpc_id
        ),
        None,
    )
    return FoundPath(
        path=Path.PEERING, path_id=peering.peering_id, peering=peering, far=far, route=route
    )


def _peering_with(config: NetConfig, interface: Interface, remote: Address) -> Peering | None:
    """Return the peering connection whose other side holds the address, an active one first."""
    if interface.vpc_id is None:
        return None
    for peering in sorted(
        config.peerings_of(interface.vpc_id),
        key=lambda peering: (peering.carries_traffic is not True, peering.peering_id),
    ):
        other = peering.other_side(interface.vpc_id)
        if other is not None and any(remote in network for network in other.cidrs):
            return peering
    return None


def _to_service(
    config: NetConfig, interface: Interface, packet: Packet, logged: Logged, route: Found | None
) -> FoundPath | None:
    """Return the path to an AWS service: by its prefix list, or by the name in the record.

    A request of a service that anybody can use comes from the internet, unless a group expects it.
    """
    prefix_list = _service_list(config, _remote(packet, logged))
    if _may_be_of_anybody(config, interface, packet, logged, prefix_list):
        found = _by_address(config, interface, packet, logged, route)
        return replace(found, prefix_list=prefix_list)
    if prefix_list is None:
        if logged.remote_service in NOT_A_SERVICE:
            return None
        return FoundPath(path=Path.AWS_SERVICE, route=route)
    endpoint = _gateway_endpoint(config, interface, prefix_list)
    routed = route is not None and route.target is Target.ENDPOINT
    return FoundPath(
        path=Path.AWS_SERVICE if endpoint is None and not routed else Path.GATEWAY_ENDPOINT,
        path_id=endpoint.endpoint_id
        if endpoint is not None
        else (None if route is None or not routed else route.target_id),
        endpoint=endpoint,
        prefix_list=prefix_list,
        route=route,
    )


def _gateway_endpoint(
    config: NetConfig, interface: Interface, prefix_list: PrefixList
) -> VpcEndpoint | None:
    """Return the gateway endpoint of the interface's VPC for a service."""
    return next(
        (
            endpoint
            for endpoint in config.endpoints or ()
            if endpoint.vpc_id == interface.vpc_id
            and endpoint.service_name == prefix_list.name
            and (endpoint.endpoint_type or "").casefold() == "gateway"
        ),
        None,
    )


def _may_be_of_anybody(
    config: NetConfig,
    interface: Interface,
    packet: Packet,
    logged: Logged,
    prefix_list: PrefixList | None,
) -> bool:
    """Return whether any user of a service may have it send the packet."""
    if not logged.asks:
        return False
    if prefix_list is None:
        return logged.remote_service not in NOT_A_SERVICE | SERVICES_OF_NO_STRANGERS
    return not (
        (prefix_list.name or "").endswith(_OF_NO_STRANGERS)
        or _is_expected(config, interface, packet, prefix_list)
    )


def _is_expected(
    config: NetConfig, interface: Interface, packet: Packet, listed: PrefixList
) -> bool:
    """Return whether a group of the interface lets the list in for the packet's port."""
    reference = PrefixListReference(prefix_list_id=listed.prefix_list_id)
    groups = (config.security_group(group_id) for group_id in interface.group_ids or ())
    return any(
        rule.peer == reference and is_for_port(rule, packet)
        for group in groups
        if group is not None
        for rule in group.ingress or ()
    )


def _service_list(config: NetConfig, remote: Address) -> PrefixList | None:
    """Return the prefix list of an AWS service that holds an address."""
    for prefix_list in config.prefix_lists or ():
        if (prefix_list.name or "").startswith("com.amazonaws.") and any(
            remote in network for network in prefix_list.cidrs or ()
        ):
            return prefix_list
    return None


def _by_address(
    config: NetConfig, interface: Interface, packet: Packet, logged: Logged, route: Found | None
) -> FoundPath:
    remote = _remote(packet, logged)
    if logged.path is not Path.INTERNET and not _may_be_public(remote, route):
        return FoundPath(path=Path.OTHER_NETWORK, route=route)
    if not logged.asks or not _unreachable_from_internet(interface, remote):
        public_of = config.interface_with_public_address(remote)
        return FoundPath(path=Path.INTERNET, route=route, public_of=public_of)
    before = load_balancer_before(config, interface, packet)
    return FoundPath(
        path=Path.INTERNET if before is None else Path.LOAD_BALANCER,
        route=route,
        load_balancer=None if before is None else before.name,
        forwarded=True,
    )


def _may_be_public(remote: Address, route: Found | None) -> bool:
    if remote.version == IPV4:
        return not is_inside(remote)
    # IPv6 addresses inside VPCs and companies are global too: only the route shows the internet.
    return not is_inside(remote) and route is not None and route.target in INTERNET_GATEWAYS


def _unreachable_from_internet(interface: Interface, remote: Address) -> bool:
    """Return whether no internet gateway can have delivered a packet to the interface itself.

    An interface without a public IPv4 address gets packets of internet hosts only by a load
    balancer that keeps the client's address, or by AWS Global Accelerator:
    https://docs.aws.amazon.com/global-accelerator/latest/dg/preserve-client-ip-address.html.
    """
    return (
        remote.version == IPV4
        and interface.public_addresses == ()
        and interface.interface_type not in FORWARDING_TYPES | NAT_GATEWAY_TYPES
        and interface.source_dest_check is not False
    )


def by_internet_gateway(
    found: FoundPath, packet: Packet, logged: Logged, gateways: Collection[Target]
) -> bool:
    """Return whether the next hop of the packet outside the subnet is an internet gateway.

    Only that traffic is subject to Block Public Access:
    https://docs.aws.amazon.com/vpc/latest/userguide/security-vpc-bpa-basics.html. ``gateways`` are
    the kinds that count. Without a known route, the remote end must be on the internet.
    """
    values = {value for value in logged.traffic_paths if value is not None}
    if values and values <= WITHOUT_INTERNET_GATEWAY:
        return False
    if found.path not in {Path.INTERNET, Path.AWS_SERVICE, Path.GATEWAY_ENDPOINT}:
        return False
    if found.route is not None:
        return found.route.target in gateways
    return found.path is Path.INTERNET or (
        found.path is Path.AWS_SERVICE and not is_inside(_remote(packet, logged))
    )
