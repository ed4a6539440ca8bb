"""TODO flowverdict.network.configuration."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import TYPE_CHECKING

from flowverdict.network.model import (
    GroupReference,
    Interface,
    NetworkAcl,
    Peering,
    PrefixList,
    RouteTable,
    SecurityGroup,
    Subnet,
    Vpc,
    VpcEndpoint,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from flowverdict.core.addresses import Address, Network


# --- all of it --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class NetConfig:
    """What is known of the configuration, and since when; a list that was not read is ``None``.

    Change it with ``dataclasses.replace``: the look-ups follow.
    """

    interfaces: tuple[Interface, ...] | None = None
    security_groups: tuple[SecurityGroup, ...] | None = None
    network_acls: tuple[NetworkAcl, ...] | None = None
    subnets: tuple[Subnet, ...] | None = None
    vpcs: tuple[Vpc, ...] | None = None
    peerings: tuple[Peering, ...] | None = None
    endpoints: tuple[VpcEndpoint, ...] | None = None
    route_tables: tuple[RouteTable, ...] | None = None
    prefix_lists: tuple[PrefixList, ...] | None = None
    read_at: datetime | None = None
    _index: _Index = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_index", _Index(self))

    def interface(self, interface_id: str) -> Interface | None:
        """Give the interface of that id."""
        return self._index.interfaces.get(interface_id)

    def interfaces_with(self, address: Address) -> tuple[Interface, ...]:
        """Give the interfaces, of whatever VPC, that have this private address.

        Primary, secondary and IPv6 addresses count, and those in a delegated prefix.
        """
        return self._index.interfaces_with(address)

    def interface_at(self, vpc_id: str | None, address: Address) -> Interface | None:
        """Give the interface of the VPC that has this private address. VPCs may overlap: without its VPC it names none."""
        if vpc_id is None:
            return None
        return next((one for one in self.interfaces_with(address) if one.vpc_id == vpc_id), None)

    def holders(self, group_id: str) -> tuple[Interface, ...]:
        """Give the known interfaces that hold the group."""
        return self._index.holders.get(group_id, ())

    def unlisted_holder(self, group_id: str, version: int) -> Interface | None:
        """Give an interface that holds the group but whose addresses of this IP version are not known, if there is one."""
        return self._index.unlisted_holders.get((group_id, version))

    def security_group(self, group_id: str) -> SecurityGroup | None:
        """Give the group of that id."""
        return self._index.security_groups.get(group_id)

    def network_acl(self, network_acl_id: str) -> NetworkAcl | None:
        """Give the network ACL of that id."""
        return self._index.network_acls.get(network_acl_id)

    def network_acl_of_subnet(self, subnet_id: str, vpc_id: str | None = None) -> NetworkAcl | None:
        """Give the one ACL a subnet has, ``None`` if it is not known.

        Without an association that names the subnet it is the VPC's default ACL - but AWS lists a default ACL's subnets
        too, so a default ACL that names others says that this subnet's own ACL is missing from the data.
        """
        explicit = self._index.acls_by_subnet.get(subnet_id)
        if explicit is not None:
            return explicit
        default = self._index.default_acls.get(self._vpc_of(subnet_id, vpc_id))
        return None if default is None or default.subnet_ids else default

    def subnet(self, subnet_id: str) -> Subnet | None:
        """Give the subnet of that id."""
        return self._index.subnets.get(subnet_id)

    def vpc(self, vpc_id: str) -> Vpc | None:
        """Give the VPC of that id."""
        return self._index.vpcs.get(vpc_id)

    def peering(self, peering_id: str) -> Peering | None:
        """Give the peering connection of that id."""
        return self._index.peerings.get(peering_id)

    def peerings_of(self, vpc_id: str) -> tuple[Peering, ...]:
        """Give the known peering connections a VPC is part of, whatever their status."""
        return tuple(peering for peering in self.peerings or () if peering.side(vpc_id) is not None)

    def endpoint(self, endpoint_id: str) -> VpcEndpoint | None:
        """Give the endpoint of that id."""
        return self._index.endpoints.get(endpoint_id)

    def endpoint_of_interface(self, interface_id: str) -> VpcEndpoint | None:
        """Give the interface endpoint an interface belongs to."""
        return self._index.endpoints_by_interface.get(interface_id)

    def route_table_of_subnet(self, subnet_id: str, vpc_id: str | None = None) -> RouteTable | None:
        """Give the route table a subnet is associated with, else its VPC's main one (AWS lists no such association)."""
        explicit = self._index.route_tables_by_subnet.get(subnet_id)
        return (
            explicit
            if explicit is not None
            else self._index.main_route_tables.get(self._vpc_of(subnet_id, vpc_id))
        )

    def prefix_list(self, prefix_list_id: str) -> PrefixList | None:
        """Give the prefix list of that id."""
        return self._index.prefix_lists.get(prefix_list_id)

    def has_members_of(self, reference: GroupReference, vpc_id: str | None) -> bool:
        """Whether every interface that holds the referenced group is known, seen from a VPC.

        Interfaces are an account's own. A group of another account or of a peer VPC counts as read only where
        interfaces of that account and that VPC are in the data.
        """
        if self.interfaces is None or self._index.has_blank_interface:
            return False
        index, group = self._index, self.security_group(reference.group_id)
        owner = reference.account_id or (group.owner_id if group is not None else None)
        if owner is not None and index.owners and owner not in index.owners:
            return False
        home = reference.vpc_id or (group.vpc_id if group is not None else None)
        if home is None and reference.peering_id is not None:
            peering = self.peering(reference.peering_id)
            side = peering.other_side(vpc_id) if peering is not None else None
            home = side.vpc_id if side is not None else None
            return home is not None and home in index.interface_vpcs
        return home is None or home == vpc_id or home in index.interface_vpcs

    def _vpc_of(self, subnet_id: str, vpc_id: str | None) -> str | None:
        subnet = self.subnet(subnet_id)
        return vpc_id if subnet is None or subnet.vpc_id is None else subnet.vpc_id


def _by[T](items: Iterable[T] | None, key: Callable[[T], str]) -> Mapping[str, T]:
    return {key(item): item for item in items or ()}


def _by_each[T](
    items: Iterable[T] | None, keys: Callable[[T], Iterable[str] | None]
) -> Mapping[str, T]:
    return {key: item for item in items or () for key in keys(item) or ()}


def _by_vpc[T: (NetworkAcl, RouteTable)](items: Iterable[T]) -> Mapping[str | None, T]:
    return {item.vpc_id: item for item in items if item.vpc_id is not None}


class _Index:
    """Look-ups over one configuration, built once: a file of rejects asks the same few questions thousands of times."""

    __slots__ = (
        "_addresses",
        "_prefix_lengths",
        "_prefixes",
        "acls_by_subnet",
        "default_acls",
        "endpoints",
        "endpoints_by_interface",
        "has_blank_interface",
        "holders",
        "interface_vpcs",
        "interfaces",
        "main_route_tables",
        "network_acls",
        "owners",
        "peerings",
        "prefix_lists",
        "route_tables_by_subnet",
        "security_groups",
        "subnets",
        "unlisted_holders",
        "vpcs",
    )

    def __init__(self, config: NetConfig) -> None:
        self.interfaces = _by(config.interfaces, lambda item: item.interface_id)
        self.security_groups = _by(config.security_groups, lambda item: item.group_id)
        self.network_acls = _by(config.network_acls, lambda item: item.network_acl_id)
        self.subnets = _by(config.subnets, lambda item: item.subnet_id)
        self.vpcs = _by(config.vpcs, lambda item: item.vpc_id)
        self.peerings = _by(config.peerings, lambda item: item.peering_id)
        self.endpoints = _by(config.endpoints, lambda item: item.endpoint_id)
        self.prefix_lists = _by(config.prefix_lists, lambda item: item.prefix_list_id)
        self.acls_by_subnet = _by_each(config.network_acls, lambda item: item.subnet_ids)
        self.default_acls = _by_vpc(one for one in config.network_acls or () if one.is_default)
        self.route_tables_by_subnet = _by_each(config.route_tables, lambda item: item.subnet_ids)
        self.main_route_tables = _by_vpc(one for one in config.route_tables or () if one.is_main)
        self.endpoints_by_interface = _by_each(config.endpoints, lambda item: item.interface_ids)
        self._index_interfaces(config.interfaces or ())

    def _index_interfaces(self, interfaces: tuple[Interface, ...]) -> None:
        holders: defaultdict[str, list[Interface]] = defaultdict(list)
        self._addresses: defaultdict[Address, list[Interface]] = defaultdict(list)
        self._prefixes: defaultdict[Network, list[Interface]] = defaultdict(list)
        self.unlisted_holders: dict[tuple[str, int], Interface] = {}
        for interface in interfaces:
            for group_id in interface.group_ids or ():
                holders[group_id].append(interface)
                if interface.ipv4_addresses is None:
                    self.unlisted_holders[group_id, 4] = interface
                if interface.ipv6_addresses is None:
                    self.unlisted_holders[group_id, 6] = interface
            for address in interface.addresses:
                self._addresses[address].append(interface)
            for prefix in interface.prefixes:
                self._prefixes[prefix].append(interface)
        # One of which neither groups nor addresses are known may hold any group.
        self.has_blank_interface = any(
            one.group_ids is None and (one.ipv4_addresses is None or one.ipv6_addresses is None)
            for one in interfaces
        )
        # Few lengths occur (AWS delegates /28 and /80), so an address is looked up once for each.
        self._prefix_lengths = {(prefix.version, prefix.prefixlen) for prefix in self._prefixes}
        self.holders = {group_id: tuple(members) for group_id, members in holders.items()}
        self.owners = {
            interface.owner_id for interface in interfaces if interface.owner_id is not None
        }
        self.interface_vpcs = {
            interface.vpc_id for interface in interfaces if interface.vpc_id is not None
        }

    def interfaces_with(self, address: Address) -> tuple[Interface, ...]:
        found = list(self._addresses.get(address, ()))
        for version, length in self._prefix_lengths:
            if version == address.version:
                found += self._prefixes.get(ip_network((address, length), strict=False), ())
        return tuple(found)
