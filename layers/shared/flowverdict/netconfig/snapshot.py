"""The answers of EC2's ``Describe*`` calls to a ``NetConfig``: from a file, or as boto3 gives them.

A snapshot is one JSON object. Its keys are those of the answers - ``NetworkInterfaces``, ``SecurityGroups``,
``NetworkAcls``, ``Subnets``, ``Vpcs``, ``VpcPeeringConnections``, ``VpcEndpoints``, ``RouteTables``, and
``ManagedPrefixLists``, each of these with the ``Entries`` that ``GetManagedPrefixListEntries`` gives - with AWS's own shapes
(https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Types.html). ``ReadAt`` may say when they were read.

A key that is missing (or null) is *not known*. Keys and values this program does not know are passed over or kept as text.
What it does read it reads strictly: a value of the wrong kind raises, naming the place, since a rule misread would make a
verdict wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from types import MappingProxyType
from typing import TYPE_CHECKING

from flowverdict.errors import ConfigError
from flowverdict.netconfig.model import (
    Endpoint,
    GroupReference,
    IcmpTypeCode,
    Interface,
    NetConfig,
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
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flowverdict.netconfig.model import Network, Peer


def load_snapshot(path: Path) -> NetConfig:
    """Read a snapshot file; every error names the file.

    Raises
    ------
    ConfigError
        The file cannot be read, is no JSON object, or holds a value of the wrong shape.
    """
    try:
        # Bytes: json then sees to UTF-8, UTF-16 and byte order marks, as shells that redirect the AWS CLI write them.
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
    """Give the configuration that a set of ``Describe*`` answers holds.

    Raises
    ------
    ConfigError
        A list, an element or a value has the wrong shape; the text names its place.
    """
    root = _Object("", answers)
    return NetConfig(
        interfaces=root.each("NetworkInterfaces", _interface),
        security_groups=root.each("SecurityGroups", _security_group),
        network_acls=root.each("NetworkAcls", _network_acl),
        subnets=root.each("Subnets", _subnet),
        vpcs=root.each("Vpcs", _vpc),
        peerings=root.each("VpcPeeringConnections", _peering),
        endpoints=root.each("VpcEndpoints", _endpoint),
        route_tables=root.each("RouteTables", _route_table),
        prefix_lists=root.each("ManagedPrefixLists", _prefix_list),
        read_at=root.time("ReadAt"),
    )


# --- reading values ---------------------------------------------------------------------------------------------------

_PREFIX_LENGTH = re.compile(r"/[0-9]{1,3}")
# A file is anybody's, and an id goes into commands: none is an option, or has what the AWS CLI takes for syntax ("sg-1},{...").
_IDENTIFIER = re.compile(r"[0-9A-Za-z][0-9A-Za-z._:/-]{0,255}")
_SHOWN = 64  # enough to find the value by, and still one line


def _shown(value: object) -> str:
    return ascii(value)[:_SHOWN]  # ascii(): a file's content must not reach a terminal unescaped


def _to_network(text: str) -> Network | None:
    # ip_network() also takes bare addresses and netmasks, and addresses with a zone.
    if "%" in text or not _PREFIX_LENGTH.fullmatch(text[text.find("/") :]):
        return None
    try:
        return ip_network(text, strict=False)  # as AWS does with host bits: it clears them
    except ValueError:
        return None


def _to_address(text: str) -> IPv4Address | IPv6Address | None:
    if "%" in text:
        return None
    try:
        return ip_address(text)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class _Object:
    """A JSON object and its place in the snapshot. A reader gives ``None`` for a missing or null key, else its kind or raises."""

    path: str
    fields: Mapping[str, object]

    def place(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def wrong(self, key: str, what: str) -> ConfigError:
        return ConfigError(f"{self.place(key)}: {_shown(self.fields.get(key))} is {what}")

    def missing(self, key: str) -> ConfigError:
        return ConfigError(f"{self.place(key)}: is missing")

    def text(self, key: str) -> str | None:
        value = self.fields.get(key)
        if value is None or isinstance(value, str):
            return value
        raise self.wrong(key, "no text")

    def identifier(self, key: str) -> str:
        value = self.text(key)
        if value is None:
            raise self.missing(key)
        if not _IDENTIFIER.fullmatch(value):
            raise self.wrong(key, "no id")
        return value

    def number(self, key: str) -> int | None:
        value = self.fields.get(key)
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        raise self.wrong(key, "no whole number")

    def required_number(self, key: str) -> int:
        value = self.number(key)
        if value is None:
            raise self.missing(key)
        return value

    def flag(self, key: str) -> bool | None:
        value = self.fields.get(key)
        if value is None or isinstance(value, bool):
            return value
        raise self.wrong(key, "neither true nor false")

    def time(self, key: str) -> datetime | None:
        value = self.fields.get(key)
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value)
            except ValueError as error:
                raise self.wrong(key, "no ISO 8601 time") from error
        if value is None:
            return None
        if not isinstance(value, datetime):
            raise self.wrong(key, "no ISO 8601 time")
        if value.tzinfo is None:
            raise self.wrong(key, "a time without its zone")
        try:
            return value.astimezone(UTC)
        except OverflowError as error:
            raise self.wrong(key, "no time UTC can show") from error

    def network(self, key: str) -> Network | None:
        text = self.text(key)
        network = None if text is None else _to_network(text)
        if text is not None and network is None:
            raise self.wrong(key, "no CIDR")
        return network

    def ipv4_network(self, key: str) -> IPv4Network | None:
        network = self.network(key)
        if network is None or isinstance(network, IPv4Network):
            return network
        raise self.wrong(key, "no IPv4 CIDR")

    def ipv6_network(self, key: str) -> IPv6Network | None:
        network = self.network(key)
        if network is None or isinstance(network, IPv6Network):
            return network
        raise self.wrong(key, "no IPv6 CIDR")

    def ipv4_address(self, key: str) -> IPv4Address | None:
        text = self.text(key)
        if text is None:
            return None
        address = _to_address(text)
        if isinstance(address, IPv4Address):
            return address
        raise self.wrong(key, "no IPv4 address")

    def ipv6_address(self, key: str) -> IPv6Address | None:
        text = self.text(key)
        if text is None:
            return None
        address = _to_address(text)
        if isinstance(address, IPv6Address):
            return address
        raise self.wrong(key, "no IPv6 address")

    def nested(self, key: str) -> _Object | None:
        value = self.fields.get(key)
        if value is None:
            return None
        if isinstance(value, Mapping):
            return _Object(self.place(key), value)
        raise self.wrong(key, "no object")

    def items(self, key: str) -> list[object] | None:
        value = self.fields.get(key)
        if value is None or isinstance(value, list):
            return value
        raise self.wrong(key, "no list")

    def objects(self, key: str) -> Iterator[_Object]:
        for index, value in enumerate(self.items(key) or ()):
            place = f"{self.place(key)}[{index}]"
            if not isinstance(value, Mapping):
                raise ConfigError(f"{place}: {_shown(value)} is no object")
            yield _Object(place, value)

    def each[T](self, key: str, read: Callable[[_Object], T]) -> tuple[T, ...] | None:
        """Read every object of a list; ``None`` for a list that is not there, which is not the same as an empty one."""
        return None if self.fields.get(key) is None else tuple(read(item) for item in self.objects(key))

    def some[T](self, key: str, read: Callable[[_Object], T | None]) -> tuple[T, ...]:
        """Read what the objects of a list hold, for lists that AWS leaves out where there is nothing to list."""
        return tuple(value for item in self.objects(key) if (value := read(item)) is not None)

    def texts(self, key: str) -> tuple[str, ...] | None:
        values = self.items(key)
        if values is None:
            return None
        for index, value in enumerate(values):
            if not isinstance(value, str):
                raise ConfigError(f"{self.place(key)}[{index}]: {_shown(value)} is no text")
        return tuple(value for value in values if isinstance(value, str))


# --- one function for each kind of element ----------------------------------------------------------------------------


def _interface(item: _Object) -> Interface:
    association = item.nested("Association")
    attachment = item.nested("Attachment")
    return Interface(
        interface_id=item.identifier("NetworkInterfaceId"),
        interface_type=item.text("InterfaceType"),
        description=item.text("Description"),
        requester_id=item.text("RequesterId"),
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
        public_ip=None if association is None else association.ipv4_address("PublicIp"),
        public_ip_owner_id=None if association is None else association.text("IpOwnerId"),
        instance_id=None if attachment is None else attachment.text("InstanceId"),
        source_dest_check=item.flag("SourceDestCheck"),
        tags=MappingProxyType(dict(item.some("TagSet", _tag))),
    )


def _private_addresses(item: _Object) -> tuple[IPv4Address, ...] | None:
    primary = item.ipv4_address("PrivateIpAddress")
    listed = item.each("PrivateIpAddresses", lambda one: one.ipv4_address("PrivateIpAddress"))
    if listed is None:
        return None if primary is None else (primary,)
    addresses = [address for address in listed if address is not None]
    return tuple(dict.fromkeys([primary, *addresses] if primary is not None else addresses))


def _ipv6_address(item: _Object) -> IPv6Address:
    address = item.ipv6_address("Ipv6Address")
    if address is None:
        raise item.missing("Ipv6Address")
    return address


def _tag(item: _Object) -> tuple[str, str]:
    key = item.text("Key")
    if key is None:
        raise item.missing("Key")
    return key, item.text("Value") or ""


def _security_group(item: _Object) -> SecurityGroup:
    group_id = item.identifier("GroupId")
    return SecurityGroup(
        group_id=group_id,
        name=item.text("GroupName"),
        owner_id=item.text("OwnerId"),
        vpc_id=item.text("VpcId"),
        ingress=_rules(item, "IpPermissions", group_id, egress=False),
        egress=_rules(item, "IpPermissionsEgress", group_id, egress=True),
    )


def _rules(item: _Object, key: str, group_id: str, *, egress: bool) -> tuple[SecurityGroupRule, ...] | None:
    permissions = item.each(key, lambda permission: tuple(_permission(permission, group_id, egress=egress)))
    return None if permissions is None else tuple(rule for rules in permissions for rule in rules)


def _permission(item: _Object, group_id: str, *, egress: bool) -> Iterator[SecurityGroupRule]:
    def rule(peer: Peer | None, described: str | None) -> SecurityGroupRule:
        return SecurityGroupRule(
            group_id=group_id,
            egress=egress,
            protocol=item.text("IpProtocol"),
            from_port=item.number("FromPort"),
            to_port=item.number("ToPort"),
            peer=peer,
            description=described,
        )

    peers = [
        *((one.ipv4_network("CidrIp"), one) for one in item.objects("IpRanges")),
        *((one.ipv6_network("CidrIpv6"), one) for one in item.objects("Ipv6Ranges")),
        *((PrefixListReference(prefix_list_id=one.identifier("PrefixListId")), one) for one in item.objects("PrefixListIds")),
        *((_group_reference(one), one) for one in item.objects("UserIdGroupPairs")),
    ]
    if not peers:
        # A kind of peer that is newer than this program: the rule is kept, so that no denial is certain past it.
        yield rule(None, None)
    for peer, one in peers:
        yield rule(peer, one.text("Description"))


def _group_reference(item: _Object) -> GroupReference:
    return GroupReference(
        group_id=item.identifier("GroupId"),
        account_id=item.text("UserId"),
        vpc_id=item.text("VpcId"),
        peering_id=item.text("VpcPeeringConnectionId"),
        peering_status=item.text("PeeringStatus"),
    )


def _network_acl(item: _Object) -> NetworkAcl:
    return NetworkAcl(
        network_acl_id=item.identifier("NetworkAclId"),
        vpc_id=item.text("VpcId"),
        is_default=item.flag("IsDefault"),
        entries=item.each("Entries", _network_acl_entry),
        subnet_ids=item.each("Associations", lambda association: association.identifier("SubnetId")),
    )


def _network_acl_entry(item: _Object) -> NetworkAclEntry:
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
        ports=None if ports is None else PortRange(first=ports.required_number("From"), last=ports.required_number("To")),
        icmp=None if icmp is None else IcmpTypeCode(type=icmp.required_number("Type"), code=icmp.required_number("Code")),
    )


def _either(ipv4: IPv4Network | None, ipv6: IPv6Network | None) -> Network | None:
    return ipv6 if ipv4 is None else ipv4


def _subnet(item: _Object) -> Subnet:
    return Subnet(subnet_id=item.identifier("SubnetId"), vpc_id=item.text("VpcId"), cidrs=_cidrs(item))


def _vpc(item: _Object) -> Vpc:
    blocked = item.nested("BlockPublicAccessStates")
    return Vpc(
        vpc_id=item.identifier("VpcId"),
        owner_id=item.text("OwnerId"),
        cidrs=_cidrs(item),
        block_public_access=None if blocked is None else blocked.text("InternetGatewayBlockMode"),
    )


_GONE = frozenset({"disassociated", "failed"})


def _cidrs(item: _Object) -> tuple[Network, ...]:
    """Give all ranges of a VPC or subnet, the primary one and those associated later, without those that were taken away."""
    primary = item.ipv4_network("CidrBlock")
    found: list[Network] = [] if primary is None else [primary]
    for association in item.objects("CidrBlockAssociationSet"):
        network = association.ipv4_network("CidrBlock")
        if network is not None and _in_place(association.nested("CidrBlockState")):
            found.append(network)
    for association in item.objects("Ipv6CidrBlockAssociationSet"):
        network6 = association.ipv6_network("Ipv6CidrBlock")
        if network6 is not None and _in_place(association.nested("Ipv6CidrBlockState")):
            found.append(network6)
    return tuple(dict.fromkeys(found))


def _in_place(state: _Object | None) -> bool:
    return state is None or state.text("State") not in _GONE


def _peering(item: _Object) -> Peering:
    status = item.nested("Status")
    return Peering(
        peering_id=item.identifier("VpcPeeringConnectionId"),
        requester=_peering_side(item.nested("RequesterVpcInfo")),
        accepter=_peering_side(item.nested("AccepterVpcInfo")),
        status=None if status is None else status.text("Code"),
        expires_at=item.time("ExpirationTime"),
    )


def _peering_side(item: _Object | None) -> PeeringSide:
    if item is None:
        return PeeringSide()
    primary = item.ipv4_network("CidrBlock")
    found: list[Network] = [] if primary is None else [primary]
    found += item.some("CidrBlockSet", lambda one: one.ipv4_network("CidrBlock"))
    found += item.some("Ipv6CidrBlockSet", lambda one: one.ipv6_network("Ipv6CidrBlock"))
    return PeeringSide(
        vpc_id=item.text("VpcId"),
        owner_id=item.text("OwnerId"),
        region=item.text("Region"),
        cidrs=tuple(dict.fromkeys(found)),
    )


def _endpoint(item: _Object) -> Endpoint:
    return Endpoint(
        endpoint_id=item.identifier("VpcEndpointId"),
        endpoint_type=item.text("VpcEndpointType"),
        service_name=item.text("ServiceName"),
        state=item.text("State"),
        vpc_id=item.text("VpcId"),
        route_table_ids=item.texts("RouteTableIds"),
        subnet_ids=item.texts("SubnetIds"),
        group_ids=item.each("Groups", lambda group: group.identifier("GroupId")),
        interface_ids=item.texts("NetworkInterfaceIds"),
    )


def _route_table(item: _Object) -> RouteTable:
    associations = item.each("Associations", lambda one: (one.text("SubnetId"), one.flag("Main") is True))
    return RouteTable(
        route_table_id=item.identifier("RouteTableId"),
        vpc_id=item.text("VpcId"),
        routes=item.each("Routes", _route),
        subnet_ids=None if associations is None else tuple(subnet for subnet, _ in associations if subnet is not None),
        is_main=None if associations is None else any(main for _, main in associations),
    )


# An instance's route names its interface too, and that is the more telling of the two.
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


def _route(item: _Object) -> Route:
    network = _either(item.ipv4_network("DestinationCidrBlock"), item.ipv6_network("DestinationIpv6CidrBlock"))
    prefix_list = item.text("DestinationPrefixListId")
    return Route(
        destination=network if prefix_list is None else PrefixListReference(prefix_list_id=prefix_list),
        target=next((target for key in _TARGETS if (target := item.text(key)) is not None), None),
        state=item.text("State"),
    )


def _prefix_list(item: _Object) -> PrefixList:
    return PrefixList(
        prefix_list_id=item.identifier("PrefixListId"),
        name=item.text("PrefixListName"),
        cidrs=item.each("Entries", _prefix_list_entry),
    )


def _prefix_list_entry(item: _Object) -> Network:
    network = item.network("Cidr")
    if network is None:
        raise item.missing("Cidr")
    return network
