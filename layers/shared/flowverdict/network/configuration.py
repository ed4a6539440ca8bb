"""Hold the configuration of VPCs, and answer look-ups over it.

A ``NetConfig`` holds what was read, list by list. Look-ups are indexed once, because one file of
rejected flows needs the same few of them thousands of times.
"""

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
    from flowverdict.network.load_balancers import LoadBalancer, Target, TargetGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class NetConfig:
    """The known configuration, and when it was read; a list that was not read is ``None``.

    ``incomplete`` names the lists, by their attribute here, that lack elements: the answer was cut
    short, or an element could not be read. ``notes`` say so, one sentence each. ``retry_helps`` is
    as in ``NotAvailable``, for any part. Change a configuration with ``dataclasses.replace``, which
    rebuilds the look-ups.
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
    load_balancers: tuple[LoadBalancer, ...] | None = None
    target_groups: tuple[TargetGroup, ...] | None = None
    targets: tuple[Target, ...] | None = None
    incomplete: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    read_at: datetime | None = None
    retry_helps: bool = field(default=False, compare=False)
    _index: _Index = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_index", _Index(self))

    def knows_all(self, attribute: str) -> bool:
        """Return whether a list, by its attribute here, is known and lacks no element.

        Only then does a missing element prove anything.
        """
        return getattr(self, attribute) is not None and attribute not in self.incomplete

    def interface(self, interface_id: str) -> Interface | None:
        """Return the interface of this id."""
        return self._index.interfaces.get(interface_id)

    def interfaces_with(self, address: Address) -> tuple[Interface, ...]:
        """Return the interfaces of any VPC that have this private address.

        Primary, secondary and IPv6 addresses count, and those in a delegated prefix.
        """
        return self._index.interfaces_with(address)

    def interface_at(self, vpc_id: str | None, address: Address) -> Interface | None:
        """Return the interface of a VPC that has this private address.

        VPCs may overlap: without a VPC, an address does not identify an interface. That no
        interface has the address is known only if ``knows_all("interfaces")``.
        """
        if vpc_id is None:
            return None
        return next(
            (found for found in self.interfaces_with(address) if found.vpc_id == vpc_id), None
        )

    def interface_with_public_address(self, address: Address) -> Interface | None:
        """Return the known interface that has this public IPv4 address."""
        return self._index.public_addresses.get(address)

    def holders(self, group_id: str) -> tuple[Interface, ...]:
        """Return the known interfaces that hold a security group."""
        return self._index.holders.get(group_id, ())

    def unlisted_holder(self, group_id: str, version: int) -> Interface | None:
        """Return a holder of the group whose addresses of this IP version are not known, if any."""
        return self._index.unlisted_holders.get((group_id, version))

    def security_group(self, group_id: str) -> SecurityGroup | None:
        """Return the security group of this id."""
        return self._index.security_groups.get(group_id)

    def network_acl(self, network_acl_id: str) -> NetworkAcl | None:
        """Return the network ACL of this id."""
        return self._index.network_acls.get(network_acl_id)

    def network_acl_of_subnet(self, subnet_id: str, vpc_id: str | None = None) -> NetworkAcl | None:
        """Return the network ACL of a subnet, or ``None`` if it is not known.

        A subnet that no association names has the VPC's default network ACL. But AWS also lists the
        subnets of a default network ACL: if that names other subnets only, the network ACL of this
        subnet is missing from the data. So it may be where the list lacks elements.
        """
        explicit = self._index.acls_by_subnet.get(subnet_id)
        if explicit is not None or not self.knows_all("network_acls"):
            return explicit
        default = self._index.default_acls.get(self._vpc_of(subnet_id, vpc_id))
        return None if default is None or default.subnet_ids else default

    def subnet(self, subnet_id: str) -> Subnet | None:
        """Return the subnet of this id."""
        return self._index.subnets.get(subnet_id)

    def vpc(self, vpc_id: str) -> Vpc | None:
        """Return the VPC of this id."""
        return self._index.vpcs.get(vpc_id)

    def peering(self, peering_id: str) -> Peering | None:
        """Return the peering connection of this id."""
        return self._index.peerings.get(peering_id)

    def peerings_of(self, vpc_id: str) -> tuple[Peering, ...]:
        """Return the known peering connections of a VPC, in any status.

        That there is no other one is known only if ``knows_all("peerings")``.
        """
        return tuple(peering for peering in self.peerings or () if peering.side(vpc_id) is not None)

    def endpoint_of_interface(self, interface_id: str) -> VpcEndpoint | None:
        """Return the interface endpoint that an interface belongs to.

        That an interface belongs to none is known only if ``knows_all("endpoints")``.
        """
        return self._index.endpoints_by_interface.get(interface_id)

    def route_table_of_subnet(self, subnet_id: str, vpc_id: str | None = None) -> RouteTable | None:
        """Return the route table that a subnet is associated with, or else its VPC's main table.

        AWS does not list the subnets that use the main route table. ``None`` also where the list
        lacks elements, of which one may be the table of this subnet.
        """
        explicit = self._index.route_tables_by_subnet.get(subnet_id)
        if explicit is not None or not self.knows_all("route_tables"):
            return explicit
        return self._index.main_route_tables.get(self._vpc_of(subnet_id, vpc_id))

    def prefix_list(self, prefix_list_id: str) -> PrefixList | None:
        """Return the prefix list of this id."""
        return self._index.prefix_lists.get(prefix_list_id)

    def has_members_of(self, reference: GroupReference, vpc_id: str | None) -> bool:
        """Return whether every interface that holds the referenced group is known, seen from a VPC.

        An account reads only its own interfaces. The holders of a group of another account or of a
        peer VPC count as known only where the data has interfaces of that account and that VPC.
        """
        if not self.knows_all("interfaces") or self._index.has_blank_interface:
            return False
        group = self.security_group(reference.group_id)
        if group is None and "security_groups" in self.incomplete and not _tells_home(reference):
            return False
        return self._knows_account_of(reference, group) and self._knows_vpc_of(
            reference, group, vpc_id
        )

    def _knows_account_of(self, reference: GroupReference, group: SecurityGroup | None) -> bool:
        owner = reference.account_id or (group.owner_id if group is not None else None)
        owners = self._index.owners
        return owner is None or not owners or owner in owners

    def _knows_vpc_of(
        self, reference: GroupReference, group: SecurityGroup | None, vpc_id: str | None
    ) -> bool:
        known = self._index.interface_vpcs
        home = reference.vpc_id or (group.vpc_id if group is not None else None)
        if home is None and reference.peering_id is not None:
            peering = self.peering(reference.peering_id)
            side = peering.other_side(vpc_id) if peering is not None else None
            return side is not None and side.vpc_id in known
        return home is None or home == vpc_id or home in known

    def _vpc_of(self, subnet_id: str, vpc_id: str | None) -> str | None:
        subnet = self.subnet(subnet_id)
        return vpc_id if subnet is None or subnet.vpc_id is None else subnet.vpc_id


def _tells_home(reference: GroupReference) -> bool:
    """Return whether a reference itself tells where its group is, without the group's element."""
    return reference.account_id is not None and (
        reference.vpc_id is not None or reference.peering_id is not None
    )


def _by[T](items: Iterable[T] | None, key: Callable[[T], str]) -> Mapping[str, T]:
    return {key(item): item for item in items or ()}


def _by_each[T](
    items: Iterable[T] | None, keys: Callable[[T], Iterable[str] | None]
) -> Mapping[str, T]:
    return {key: item for item in items or () for key in keys(item) or ()}


def _by_vpc[T: (NetworkAcl, RouteTable)](items: Iterable[T]) -> Mapping[str | None, T]:
    return {item.vpc_id: item for item in items if item.vpc_id is not None}


class _Index:
    """The look-ups of one configuration, built once."""

    __slots__ = (
        "_addresses",
        "_prefix_lengths",
        "_prefixes",
        "acls_by_subnet",
        "default_acls",
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
        "public_addresses",
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
        self.prefix_lists = _by(config.prefix_lists, lambda item: item.prefix_list_id)
        self.acls_by_subnet = _by_each(config.network_acls, lambda item: item.subnet_ids)
        self.default_acls = _by_vpc(acl for acl in config.network_acls or () if acl.is_default)
        self.route_tables_by_subnet = _by_each(config.route_tables, lambda item: item.subnet_ids)
        self.main_route_tables = _by_vpc(
            table for table in config.route_tables or () if table.is_main
        )
        self.endpoints_by_interface = _by_each(config.endpoints, lambda item: item.interface_ids)
        self._index_holders(config.interfaces or ())
        self._index_addresses(config.interfaces or ())

    def _index_holders(self, interfaces: tuple[Interface, ...]) -> None:
        holders: defaultdict[str, list[Interface]] = defaultdict(list)
        self.unlisted_holders: dict[tuple[str, int], Interface] = {}
        for interface in interfaces:
            for group_id in interface.group_ids or ():
                holders[group_id].append(interface)
                if interface.ipv4_addresses is None:
                    self.unlisted_holders[group_id, 4] = interface
                if interface.ipv6_addresses is None:
                    self.unlisted_holders[group_id, 6] = interface
        self.holders = {group_id: tuple(members) for group_id, members in holders.items()}
        # An interface of which neither groups nor addresses are known may hold any group.
        self.has_blank_interface = any(
            interface.group_ids is None
            and (interface.ipv4_addresses is None or interface.ipv6_addresses is None)
            for interface in interfaces
        )
        self.owners = {
            interface.owner_id for interface in interfaces if interface.owner_id is not None
        }
        self.interface_vpcs = {
            interface.vpc_id for interface in interfaces if interface.vpc_id is not None
        }

    def _index_addresses(self, interfaces: tuple[Interface, ...]) -> None:
        self._addresses: defaultdict[Address, list[Interface]] = defaultdict(list)
        self._prefixes: defaultdict[Network, list[Interface]] = defaultdict(list)
        for interface in interfaces:
            for address in interface.addresses:
                self._addresses[address].append(interface)
            for prefix in interface.prefixes:
                self._prefixes[prefix].append(interface)
        self.public_addresses: dict[Address, Interface] = {
            address: interface
            for interface in interfaces
            for address in interface.public_addresses or ()
        }
        # Few lengths occur (AWS delegates /28 and /80), so an address is looked up once per length.
        self._prefix_lengths = {(prefix.version, prefix.prefixlen) for prefix in self._prefixes}

    def interfaces_with(self, address: Address) -> tuple[Interface, ...]:
        """Return the interfaces that have an address, alone or in a delegated prefix."""
        found = list(self._addresses.get(address, ()))
        for version, length in self._prefix_lengths:
            if version == address.version:
                found += self._prefixes.get(ip_network((address, length), strict=False), ())
        return tuple(found)
