"""Parse the answers of EC2's ``Describe*`` calls, from a file or from boto3, into a ``NetConfig``.

A snapshot is one JSON object. Its keys are those of the answers: ``NetworkInterfaces``,
``SecurityGroups``, ``NetworkAcls``, ``Subnets``, ``Vpcs``, ``VpcPeeringConnections``,
``VpcEndpoints``, ``RouteTables``, and ``ManagedPrefixLists``, each prefix list with the ``Entries``
that ``GetManagedPrefixListEntries`` returns. The elements have AWS's own shapes
(https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Types.html). ``ReadAt`` may hold the
time when they were read.

A key that is missing or null is *not known*. Unknown keys are skipped, and unknown values are kept
as text. Everything else is read strictly: a value of the wrong type raises an error that names its
path, since a misread rule would make a verdict wrong.
"""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING

from flowverdict.core.errors import ConfigError
from flowverdict.network.configuration import NetConfig
from flowverdict.network.json_object import JsonObject
from flowverdict.network.model import (
    GroupReference,
    IcmpTypeCode,
    Interface,
    NetworkAcl,
    NetworkAclEntry,
    Peering,
    PeeringSide,
    PortRange,
    PrefixList,
    PrefixListReference,
    Route,
    RouteTable,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
    Vpc,
    VpcEndpoint,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
    from pathlib import Path

    from flowverdict.core.addresses import Network
    from flowverdict.network.model import Peer


def load_snapshot(path: Path) -> NetConfig:
    """Parse a snapshot file; every error names the file.

    Raises
    ------
    ConfigError
        The file cannot be read, is not a JSON object, or holds a value of the wrong shape.
    """
    try:
        # From bytes, json detects UTF-8, UTF-16 and byte order marks: shells that redirect the AWS
        # CLI write all of them.
        answers = json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not JSON: {error}") from error
    if not isinstance(answers, dict):
        raise ConfigError(f"{path}: not a JSON object")
    try:
        return parse_snapshot(answers)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def parse_snapshot(answers: Mapping[str, object]) -> NetConfig:
    """Parse a set of ``Describe*`` answers.

    Raises
    ------
    ConfigError
        A list, an element or a value has the wrong shape; the text names its path.
    """
    root = JsonObject("", answers)
    return NetConfig(
        interfaces=root.each("NetworkInterfaces", _interface),
        security_groups=root.each("SecurityGroups", _security_group),
        network_acls=root.each("NetworkAcls", _network_acl),
        subnets=root.each("Subnets", _subnet),
        vpcs=root.each("Vpcs", _vpc),
        peerings=root.each("VpcPeeringConnections", _peering),
        endpoints=root.each("VpcEndpoints", _vpc_endpoint),
        route_tables=root.each("RouteTables", _route_table),
        prefix_lists=root.each("ManagedPrefixLists", _prefix_list),
        read_at=root.time("ReadAt"),
    )


# --- one function for each kind of element ----------------------------------------------------


def _interface(item: JsonObject) -> Interface:
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
        prefixes=(
            *item.some("Ipv4Prefixes", lambda prefix: prefix.ipv4_network("Ipv4Prefix")),
            *item.some("Ipv6Prefixes", lambda prefix: prefix.ipv6_network("Ipv6Prefix")),
        ),
        instance_id=None if attachment is None else attachment.text("InstanceId"),
        source_dest_check=item.flag("SourceDestCheck"),
        tags=MappingProxyType(dict(item.some("TagSet", _tag))),
    )


def _private_addresses(item: JsonObject) -> tuple[IPv4Address, ...] | None:
    primary = item.ipv4_address("PrivateIpAddress")
    listed = item.each("PrivateIpAddresses", lambda entry: entry.ipv4_address("PrivateIpAddress"))
    if listed is None:
        return None if primary is None else (primary,)
    addresses = [address for address in listed if address is not None]
    return tuple(dict.fromkeys([primary, *addresses] if primary is not None else addresses))


def _ipv6_address(item: JsonObject) -> IPv6Address:
    address = item.ipv6_address("Ipv6Address")
    if address is None:
        raise item.missing("Ipv6Address")
    return address


def _tag(item: JsonObject) -> tuple[str, str]:
    key = item.text("Key")
    if key is None:
        raise item.missing("Key")
    return key, item.text("Value") or ""


def _security_group(item: JsonObject) -> SecurityGroup:
    group_id = item.identifier("GroupId")
    return SecurityGroup(
        group_id=group_id,
        owner_id=item.text("OwnerId"),
        vpc_id=item.text("VpcId"),
        ingress=_rules(item, "IpPermissions", group_id, egress=False),
        egress=_rules(item, "IpPermissionsEgress", group_id, egress=True),
    )


def _rules(
    item: JsonObject, key: str, group_id: str, *, egress: bool
) -> tuple[SecurityGroupRule, ...] | None:
    permissions = item.each(
        key, lambda permission: tuple(_permission(permission, group_id, egress=egress))
    )
    return None if permissions is None else tuple(rule for rules in permissions for rule in rules)


def _permission(item: JsonObject, group_id: str, *, egress: bool) -> Iterator[SecurityGroupRule]:
    peers: list[Peer | None] = [
        *(peer.ipv4_network("CidrIp") for peer in item.objects("IpRanges")),
        *(peer.ipv6_network("CidrIpv6") for peer in item.objects("Ipv6Ranges")),
        *(
            PrefixListReference(prefix_list_id=peer.identifier("PrefixListId"))
            for peer in item.objects("PrefixListIds")
        ),
        *(_group_reference(peer) for peer in item.objects("UserIdGroupPairs")),
    ]
    # Without a peer, the type of the peer is newer than this program. The rule stays in the set, so
    # that no denial is certain.
    for peer in peers or [None]:
        yield SecurityGroupRule(
            group_id=group_id,
            egress=egress,
            protocol=item.text("IpProtocol"),
            from_port=item.number("FromPort"),
            to_port=item.number("ToPort"),
            peer=peer,
        )


def _group_reference(item: JsonObject) -> GroupReference:
    return GroupReference(
        group_id=item.identifier("GroupId"),
        account_id=item.text("UserId"),
        vpc_id=item.text("VpcId"),
        peering_id=item.text("VpcPeeringConnectionId"),
        peering_status=item.text("PeeringStatus"),
    )


def _network_acl(item: JsonObject) -> NetworkAcl:
    return NetworkAcl(
        network_acl_id=item.identifier("NetworkAclId"),
        vpc_id=item.text("VpcId"),
        is_default=item.flag("IsDefault"),
        entries=item.each("Entries", _network_acl_entry),
        subnet_ids=item.each(
            "Associations", lambda association: association.identifier("SubnetId")
        ),
    )


def _network_acl_entry(item: JsonObject) -> NetworkAclEntry:
    ports, icmp = item.nested("PortRange"), item.nested("IcmpTypeCode")
    egress = item.flag("Egress")
    if egress is None:
        raise item.missing("Egress")
    return NetworkAclEntry(
        rule_number=item.required_number("RuleNumber"),
        egress=egress,
        action=item.text("RuleAction"),
        protocol=item.text("Protocol"),
        network=_either(item.ipv4_network("CidrBlock"), item.ipv6_network("Ipv6CidrBlock")),
        ports=None
        if ports is None
        else PortRange(first=ports.required_number("From"), last=ports.required_number("To")),
        icmp=None
        if icmp is None
        else IcmpTypeCode(type=icmp.required_number("Type"), code=icmp.required_number("Code")),
    )


def _either(ipv4: IPv4Network | None, ipv6: IPv6Network | None) -> Network | None:
    return ipv6 if ipv4 is None else ipv4


def _subnet(item: JsonObject) -> Subnet:
    return Subnet(
        subnet_id=item.identifier("SubnetId"), vpc_id=item.text("VpcId"), cidrs=_cidrs(item)
    )


def _vpc(item: JsonObject) -> Vpc:
    blocked = item.nested("BlockPublicAccessStates")
    return Vpc(
        vpc_id=item.identifier("VpcId"),
        cidrs=_cidrs(item),
        block_public_access=None if blocked is None else blocked.text("InternetGatewayBlockMode"),
    )


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


def _peering(item: JsonObject) -> Peering:
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


def _vpc_endpoint(item: JsonObject) -> VpcEndpoint:
    return VpcEndpoint(
        endpoint_id=item.identifier("VpcEndpointId"),
        endpoint_type=item.text("VpcEndpointType"),
        service_name=item.text("ServiceName"),
        state=item.text("State"),
        vpc_id=item.text("VpcId"),
        group_ids=item.each("Groups", lambda group: group.identifier("GroupId")),
        interface_ids=item.texts("NetworkInterfaceIds"),
    )


def _route_table(item: JsonObject) -> RouteTable:
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
)


def _route(item: JsonObject) -> Route:
    network = _either(
        item.ipv4_network("DestinationCidrBlock"), item.ipv6_network("DestinationIpv6CidrBlock")
    )
    prefix_list = item.text("DestinationPrefixListId")
    return Route(
        destination=network
        if prefix_list is None
        else PrefixListReference(prefix_list_id=prefix_list),
        target=next((target for key in _TARGETS if (target := item.text(key)) is not None), None),
    )


def _prefix_list(item: JsonObject) -> PrefixList:
    return PrefixList(
        prefix_list_id=item.identifier("PrefixListId"),
        name=item.text("PrefixListName"),
        cidrs=item.each("Entries", _prefix_list_entry),
    )


def _prefix_list_entry(item: JsonObject) -> Network:
    network = item.network("Cidr")
    if network is None:
        raise item.missing("Cidr")
    return network
