"""Parse where rules apply and where packets go: interfaces, subnets, VPCs and the paths between.

The shapes are AWS's own (https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Types.html).
Each function raises ``ConfigError`` with the path of a value of the wrong shape.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowverdict.network.model import (
    Interface,
    Peering,
    PeeringSide,
    PrefixListReference,
    Route,
    RouteTable,
    Subnet,
    Vpc,
    VpcEndpoint,
)

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from flowverdict.core.addresses import Network
    from flowverdict.network.json_object import JsonObject


def interface(item: JsonObject) -> Interface:
    """Parse an elastic network interface."""
    attachment = item.nested("Attachment")
    return Interface(
        interface_id=item.identifier("NetworkInterfaceId"),
        interface_type=item.text("InterfaceType"),
        description=item.text("Description"),
        requester_managed=item.flag("RequesterManaged"),
        owner_id=item.text("OwnerId"),
        group_ids=item.each("Groups", lambda group: group.identifier("GroupId")),
        subnet_id=item.text("SubnetId"),
        vpc_id=item.text("VpcId"),
        ipv4_addresses=_private_addresses(item),
        ipv6_addresses=item.each("Ipv6Addresses", _ipv6_address),
        public_addresses=_public_addresses(item),
        prefixes=(
            *item.some("Ipv4Prefixes", lambda prefix: prefix.ipv4_network("Ipv4Prefix")),
            *item.some("Ipv6Prefixes", lambda prefix: prefix.ipv6_network("Ipv6Prefix")),
        ),
        instance_id=None if attachment is None else attachment.text("InstanceId"),
        source_dest_check=item.flag("SourceDestCheck"),
        tags=item.tags("TagSet"),
    )


def _private_addresses(item: JsonObject) -> tuple[IPv4Address, ...] | None:
    primary = item.ipv4_address("PrivateIpAddress")
    listed = item.each("PrivateIpAddresses", lambda entry: entry.ipv4_address("PrivateIpAddress"))
    if listed is None:
        return None if primary is None else (primary,)
    addresses = [address for address in listed if address is not None]
    return tuple(dict.fromkeys([primary, *addresses] if primary is not None else addresses))


def _public_addresses(item: JsonObject) -> tuple[IPv4Address, ...] | None:
    """Read the public addresses; ``None`` if nothing tells whether the interface has any.

    AWS leaves ``Association`` out where no public address is associated.
    """
    if item.fields.get("Association") is None and item.fields.get("PrivateIpAddresses") is None:
        return None
    holders = (item, *item.objects("PrivateIpAddresses"))
    associations = (holder.nested("Association") for holder in holders)
    found = (each.ipv4_address("PublicIp") for each in associations if each is not None)
    return tuple(dict.fromkeys(address for address in found if address is not None))


def _ipv6_address(item: JsonObject) -> IPv6Address:
    address = item.ipv6_address("Ipv6Address")
    if address is None:
        raise item.missing("Ipv6Address")
    return address


def subnet(item: JsonObject) -> Subnet:
    """Parse a subnet."""
    return Subnet(
        subnet_id=item.identifier("SubnetId"),
        vpc_id=item.text("VpcId"),
        owner_id=item.text("OwnerId"),
        cidrs=_cidrs(item),
        block_public_access=_block_public_access(item),
        tags=item.tags("Tags"),
    )


def vpc(item: JsonObject) -> Vpc:
    """Parse a VPC."""
    return Vpc(
        vpc_id=item.identifier("VpcId"),
        owner_id=item.text("OwnerId"),
        cidrs=_cidrs(item),
        block_public_access=_block_public_access(item),
        tags=item.tags("Tags"),
    )


def _block_public_access(item: JsonObject) -> str | None:
    states = item.nested("BlockPublicAccessStates")
    return None if states is None else states.text("InternetGatewayBlockMode")


_REMOVED = frozenset({"disassociated", "failed"})


def _cidrs(item: JsonObject) -> tuple[Network, ...]:
    """Read the primary and the associated ranges of a VPC or subnet, without those removed."""
    primary = item.ipv4_network("CidrBlock")
    found: list[Network] = [] if primary is None else [primary]
    for association in item.objects("CidrBlockAssociationSet"):
        network = association.ipv4_network("CidrBlock")
        if network is not None and _is_associated(association.nested("CidrBlockState")):
            found.append(network)
    for association in item.objects("Ipv6CidrBlockAssociationSet"):
        network6 = association.ipv6_network("Ipv6CidrBlock")
        if network6 is not None and _is_associated(association.nested("Ipv6CidrBlockState")):
            found.append(network6)
    return tuple(dict.fromkeys(found))


def _is_associated(state: JsonObject | None) -> bool:
    return state is None or state.text("State") not in _REMOVED


def peering(item: JsonObject) -> Peering:
    """Parse a VPC peering connection."""
    status = item.nested("Status")
    return Peering(
        peering_id=item.identifier("VpcPeeringConnectionId"),
        requester=_peering_side(item.nested("RequesterVpcInfo")),
        accepter=_peering_side(item.nested("AccepterVpcInfo")),
        status=None if status is None else status.text("Code"),
        expires_at=item.time("ExpirationTime"),
    )


def _peering_side(item: JsonObject | None) -> PeeringSide:
    if item is None:
        return PeeringSide()
    primary = item.ipv4_network("CidrBlock")
    found: list[Network] = [] if primary is None else [primary]
    found += item.some("CidrBlockSet", lambda entry: entry.ipv4_network("CidrBlock"))
    found += item.some("Ipv6CidrBlockSet", lambda entry: entry.ipv6_network("Ipv6CidrBlock"))
    return PeeringSide(
        vpc_id=item.text("VpcId"),
        owner_id=item.text("OwnerId"),
        region=item.text("Region"),
        cidrs=tuple(dict.fromkeys(found)),
    )


def vpc_endpoint(item: JsonObject) -> VpcEndpoint:
    """Parse a VPC endpoint."""
    return VpcEndpoint(
        endpoint_id=item.identifier("VpcEndpointId"),
        endpoint_type=item.text("VpcEndpointType"),
        service_name=item.text("ServiceName"),
        state=item.text("State"),
        vpc_id=item.text("VpcId"),
        group_ids=item.each("Groups", lambda group: group.identifier("GroupId")),
        interface_ids=item.texts("NetworkInterfaceIds"),
    )


def route_table(item: JsonObject) -> RouteTable:
    """Parse a route table and the subnets that are associated with it."""
    associations = item.each(
        "Associations", lambda entry: (entry.text("SubnetId"), entry.flag("Main") is True)
    )
    return RouteTable(
        route_table_id=item.identifier("RouteTableId"),
        vpc_id=item.text("VpcId"),
        routes=item.each("Routes", _route),
        subnet_ids=None
        if associations is None
        else tuple(subnet for subnet, _ in associations if subnet is not None),
        is_main=None if associations is None else any(main for _, main in associations),
    )


# A route to an instance also names its interface, which is more specific and comes first.
_TARGETS = (
    "GatewayId",
    "NatGatewayId",
    "TransitGatewayId",
    "VpcPeeringConnectionId",
    "NetworkInterfaceId",
    "InstanceId",
    "EgressOnlyInternetGatewayId",
    "LocalGatewayId",
    "CarrierGatewayId",
    "CoreNetworkArn",
    "OdbNetworkArn",
)


def _route(item: JsonObject) -> Route:
    network = item.either_network("DestinationCidrBlock", "DestinationIpv6CidrBlock")
    prefix_list = item.text("DestinationPrefixListId")
    return Route(
        destination=network
        if prefix_list is None
        else PrefixListReference(prefix_list_id=prefix_list),
        target=next((target for key in _TARGETS if (target := item.text(key)) is not None), None),
        state=item.text("State"),
    )
