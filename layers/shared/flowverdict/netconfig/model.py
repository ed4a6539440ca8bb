"""The part of a VPC's configuration that decides which packets pass, and look-ups over it.

Each class is one element of an EC2 ``Describe*`` answer
(https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Operations.html), cut down to what verdicts need. Texts such as
types, states, actions and protocols stay as AWS wrote them, so that a value of tomorrow is carried along and never
mistaken for one known today.

``None`` always means *not known*: it was not read, or the data does not say. An empty tuple means *known to be none*.
Lists of a ``NetConfig`` are whole as far as they matter: where a rule refers to a group, ``interfaces`` holds every
interface with that group in the accounts and VPCs it holds any interface of.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network
from types import MappingProxyType
from typing import TYPE_CHECKING

from flowverdict.services import protocol_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime
    from ipaddress import IPv6Address

    from flowverdict.records import Address

type Network = IPv4Network | IPv6Network

ALL_PROTOCOLS = "-1"

# The closing `*` of an ACL as the API numbers it, by IP version:
# https://docs.aws.amazon.com/vpc/latest/userguide/nacl-rules.html
CLOSING_RULES: Mapping[int, int] = MappingProxyType({4: 32_767, 6: 32_768})
EVERYWHERE: Mapping[int, Network] = MappingProxyType({4: IPv4Network("0.0.0.0/0"), 6: IPv6Network("::/0")})

# The group rules of AWS's API name these four; ACLs and all other protocols go by number.
PROTOCOLS_BY_NAME: Mapping[str, int] = MappingProxyType({"tcp": 6, "udp": 17, "icmp": 1, "icmpv6": 58})

# Both spellings occur: botocore's model has the first, real answers the second.
NAT_GATEWAY_TYPES = frozenset({"natGateway", "nat_gateway"})

# What enters a subnet through these may come from another one whatever its addresses say:
# https://docs.aws.amazon.com/vpc/latest/tgw/tgw-nacls.html
FORWARDING_TYPES = frozenset(
    {"transit_gateway", "network_load_balancer", "gateway_load_balancer", "gateway_load_balancer_endpoint"}
)

_IDLE_PEERINGS = frozenset(
    {"initiating-request", "pending-acceptance", "provisioning", "rejected", "failed", "expired", "deleting", "deleted"}
)


def protocol_number(text: str | None) -> int | None:
    """Give the IANA number a rule's protocol stands for; ``None`` for ``-1`` (all) and for a text that names none."""
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return int(text)
    return PROTOCOLS_BY_NAME.get(text)


def _protocol_in_words(text: str | None) -> str:
    if text == ALL_PROTOCOLS:
        return "all traffic"
    number = protocol_number(text)
    return f"protocol {text!r}" if number is None else protocol_name(number)


# --- network ACLs -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PortRange:
    """Ports, both ends included."""

    first: int
    last: int

    def __contains__(self, port: int) -> bool:
        return self.first <= port <= self.last

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


@dataclass(frozen=True, slots=True, kw_only=True)
class IcmpTypeCode:
    """An ICMP type and code, ``-1`` for all."""

    type: int
    code: int

    def __str__(self) -> str:
        return f"type {'all' if self.type == -1 else self.type} code {'all' if self.code == -1 else self.code}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkAclEntry:
    """One numbered rule of a network ACL.

    Parameters
    ----------
    network
        Source of an inbound entry, destination of an outbound one.
    ports, icmp
        ``None`` stands for all.
    implicit
        The closing ``*`` that AWS applies though the data does not list it.
    """

    rule_number: int
    egress: bool
    action: str | None
    protocol: str | None
    network: Network | None
    ports: PortRange | None = None
    icmp: IcmpTypeCode | None = None
    implicit: bool = False

    @property
    def is_closing(self) -> bool:
        """Whether this is the ``*`` that denies what no numbered rule matched."""
        return self.rule_number in CLOSING_RULES.values()

    def __str__(self) -> str:
        number = f"* ({self.rule_number})" if self.is_closing else str(self.rule_number)
        details = "".join(f" {part}" for part in (self.ports, self.icmp) if part is not None)
        place = f"{'to' if self.egress else 'from'} {'an unknown range' if self.network is None else self.network}"
        return f"rule {number}: {self.action or 'unknown action'} {_protocol_in_words(self.protocol)}{details} {place}"


def closing_entry(version: int, *, egress: bool) -> NetworkAclEntry:
    """Give the ``*`` that ends an ACL's list for one IP version, for data that does not list it."""
    return NetworkAclEntry(
        rule_number=CLOSING_RULES[version],
        egress=egress,
        action="deny",
        protocol=ALL_PROTOCOLS,
        network=EVERYWHERE[version],
        implicit=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkAcl:
    """A network ACL and the subnets that have it."""

    network_acl_id: str
    vpc_id: str | None = None
    is_default: bool | None = None
    entries: tuple[NetworkAclEntry, ...] | None = None
    subnet_ids: tuple[str, ...] | None = None


# --- security groups --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixListReference:
    """A peer given by a prefix list."""

    prefix_list_id: str

    def __str__(self) -> str:
        return self.prefix_list_id


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupReference:
    """A peer given by a security group: the private addresses of the interfaces that hold it."""

    group_id: str
    account_id: str | None = None
    vpc_id: str | None = None
    peering_id: str | None = None
    peering_status: str | None = None

    def __str__(self) -> str:
        return self.group_id


type Peer = IPv4Network | IPv6Network | PrefixListReference | GroupReference


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityGroupRule:
    """One permission of a group for one peer; an AWS ``IpPermission`` with three peers is three of these.

    Parameters
    ----------
    from_port, to_port
        Ports; for ICMP its type and code. ``None`` and ``-1`` stand for all.
    peer
        Source of an inbound rule, destination of an outbound one.
    """

    group_id: str
    egress: bool
    protocol: str | None
    from_port: int | None = None
    to_port: int | None = None
    peer: Peer | None
    description: str | None = None

    def __str__(self) -> str:
        place = f"{'to' if self.egress else 'from'} {'an unknown peer' if self.peer is None else self.peer}"
        return f"{self.group_id}: {_protocol_in_words(self.protocol)}{self._ports_in_words()} {place}"

    def _ports_in_words(self) -> str:
        first, last = self.from_port, self.to_port
        if first is None or first == -1:
            return ""
        if protocol_number(self.protocol) in {PROTOCOLS_BY_NAME["icmp"], PROTOCOLS_BY_NAME["icmpv6"]}:
            return f" {IcmpTypeCode(type=first, code=-1 if last is None else last)}"
        return f" {first if last is None else PortRange(first=first, last=last)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityGroup:
    """A security group and its rules, inbound and outbound."""

    group_id: str
    name: str | None = None
    owner_id: str | None = None
    vpc_id: str | None = None
    ingress: tuple[SecurityGroupRule, ...] | None = None
    egress: tuple[SecurityGroupRule, ...] | None = None


# --- where they apply -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """An elastic network interface.

    Parameters
    ----------
    ipv4_addresses
        Private ones, the primary first.
    prefixes
        Ranges delegated to the interface, IPv4 and IPv6; where EKS hands them to pods, no address list shows the pods.
    description
        Free text on a user's interface; it says who made the interface only if ``requester_managed``.
    """

    interface_id: str
    interface_type: str | None = None
    description: str | None = None
    requester_id: str | None = None
    requester_managed: bool | None = None
    owner_id: str | None = None
    group_ids: tuple[str, ...] | None = None
    subnet_id: str | None = None
    vpc_id: str | None = None
    ipv4_addresses: tuple[IPv4Address, ...] | None = None
    ipv6_addresses: tuple[IPv6Address, ...] | None = None
    prefixes: tuple[Network, ...] = ()
    public_ip: IPv4Address | None = None
    public_ip_owner_id: str | None = None
    instance_id: str | None = None
    source_dest_check: bool | None = None
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), hash=False)

    @property
    def is_nat_gateway(self) -> bool:
        """Whether the interface is a NAT gateway's, which can have no security group."""
        return self.interface_type in NAT_GATEWAY_TYPES

    @property
    def forwards(self) -> bool:
        """Whether the interface passes on traffic of others: a gateway's, a load balancer's, or an appliance's."""
        return self.interface_type in FORWARDING_TYPES or self.source_dest_check is False

    @property
    def addresses(self) -> tuple[Address, ...]:
        """All single private addresses that are known, delegated prefixes apart."""
        return (*(self.ipv4_addresses or ()), *(self.ipv6_addresses or ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """A subnet and its ranges, IPv4 and IPv6."""

    subnet_id: str
    vpc_id: str | None = None
    cidrs: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Vpc:
    """A VPC and its ranges, IPv4 and IPv6; ``block_public_access`` is the mode in force for its internet gateways."""

    vpc_id: str
    owner_id: str | None = None
    cidrs: tuple[Network, ...] = ()
    block_public_access: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PeeringSide:
    """One of the two VPCs of a peering connection."""

    vpc_id: str | None = None
    owner_id: str | None = None
    region: str | None = None
    cidrs: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Peering:
    """A VPC peering connection."""

    peering_id: str
    requester: PeeringSide
    accepter: PeeringSide
    status: str | None = None
    expires_at: datetime | None = None

    @property
    def carries_traffic(self) -> bool | None:
        """Whether the connection carries traffic; ``None`` if its status is not known, or none this program knows."""
        return peering_carries_traffic(self.status)

    @property
    def crosses_regions(self) -> bool | None:
        """Whether the two VPCs lie in different Regions, across which groups cannot be referred to."""
        if self.requester.region is None or self.accepter.region is None:
            return None
        return self.requester.region != self.accepter.region

    def side(self, vpc_id: str | None) -> PeeringSide | None:
        """Give the side that is this VPC."""
        return next((side for side in (self.requester, self.accepter) if vpc_id is not None and side.vpc_id == vpc_id), None)

    def other_side(self, vpc_id: str | None) -> PeeringSide | None:
        """Give the side that is not this VPC, if this VPC is one of the two."""
        side = self.side(vpc_id)
        if side is None:
            return None
        return self.accepter if side is self.requester else self.requester


def peering_carries_traffic(status: str | None) -> bool | None:
    """Whether traffic passes a peering connection in this status; ``None`` where that cannot be said.

    Only ``active`` does: https://docs.aws.amazon.com/vpc/latest/peering/vpc-peering-basics.html
    """
    if status == "active":
        return True
    return False if status in _IDLE_PEERINGS else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A VPC endpoint."""

    endpoint_id: str
    endpoint_type: str | None = None
    service_name: str | None = None
    state: str | None = None
    vpc_id: str | None = None
    route_table_ids: tuple[str, ...] | None = None
    subnet_ids: tuple[str, ...] | None = None
    group_ids: tuple[str, ...] | None = None
    interface_ids: tuple[str, ...] | None = None

    @property
    def is_available(self) -> bool | None:
        """Whether the endpoint is in service. AWS writes states in either case."""
        return None if self.state is None else self.state.casefold() == "available"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A route; its destination is a range or a prefix list, its target the id AWS gives, of whatever kind."""

    destination: Network | PrefixListReference | None
    target: str | None
    state: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteTable:
    """A route table and the subnets associated with it by name; the main one serves all other subnets of its VPC."""

    route_table_id: str
    vpc_id: str | None = None
    routes: tuple[Route, ...] | None = None
    subnet_ids: tuple[str, ...] | None = None
    is_main: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixList:
    """A managed prefix list, a customer's or AWS's own."""

    prefix_list_id: str
    name: str | None = None
    cidrs: tuple[Network, ...] | None = None


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
    endpoints: tuple[Endpoint, ...] | None = None
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

    def endpoint(self, endpoint_id: str) -> Endpoint | None:
        """Give the endpoint of that id."""
        return self._index.endpoints.get(endpoint_id)

    def endpoint_of_interface(self, interface_id: str) -> Endpoint | None:
        """Give the interface endpoint an interface belongs to."""
        return self._index.endpoints_by_interface.get(interface_id)

    def route_table_of_subnet(self, subnet_id: str, vpc_id: str | None = None) -> RouteTable | None:
        """Give the route table a subnet is associated with, else its VPC's main one (AWS lists no such association)."""
        explicit = self._index.route_tables_by_subnet.get(subnet_id)
        return explicit if explicit is not None else self._index.main_route_tables.get(self._vpc_of(subnet_id, vpc_id))

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


def _by_each[T](items: Iterable[T] | None, keys: Callable[[T], Iterable[str] | None]) -> Mapping[str, T]:
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
            one.group_ids is None and (one.ipv4_addresses is None or one.ipv6_addresses is None) for one in interfaces
        )
        # Few lengths occur (AWS delegates /28 and /80), so an address is looked up once for each.
        self._prefix_lengths = {(prefix.version, prefix.prefixlen) for prefix in self._prefixes}
        self.holders = {group_id: tuple(members) for group_id, members in holders.items()}
        self.owners = {interface.owner_id for interface in interfaces if interface.owner_id is not None}
        self.interface_vpcs = {interface.vpc_id for interface in interfaces if interface.vpc_id is not None}

    def interfaces_with(self, address: Address) -> tuple[Interface, ...]:
        found = list(self._addresses.get(address, ()))
        for version, length in self._prefix_lengths:
            if version == address.version:
                found += self._prefixes.get(ip_network((address, length), strict=False), ())
        return tuple(found)
