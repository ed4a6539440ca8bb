"""The parts of a VPC world, which decide what happens to a packet.

The world is the truth: the evaluator reads it, and ``describe`` shows it to the program under test.
Nothing here imports the package under test. The addresses of internet hosts are ordinary public
addresses on purpose: Python calls the documentation ranges private.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

type Address = IPv4Address | IPv6Address
type Block = IPv4Network | IPv6Network

ANY_PROTOCOL = -1
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
CLOSING_RULE = {4: 32767, 6: 32768}
ANY_V4 = IPv4Network("0.0.0.0/0")
ANY_V6 = IPv6Network("::/0")
S3_BLOCKS = (IPv4Network("52.218.0.0/17"), IPv4Network("3.5.0.0/19"))
OFFICE = IPv4Network("81.2.69.0/24")
INTERNET = (OFFICE, IPv4Network("45.33.32.0/24"), IPv4Network("104.18.0.0/16"))
INTERNET_V6 = IPv6Network("2a00:1450:4001::/64")
# Networks of a company behind a transit gateway or a VPN; the second has public addresses.
ON_PREMISES = (IPv4Network("172.20.0.0/16"), IPv4Network("193.110.0.0/16"))
CLOUDFRONT_BLOCK = IPv4Network("130.176.0.0/18")
HEALTH_CHECK_BLOCK = IPv4Network("15.177.0.0/18")
EPHEMERAL = ((1024, 65535), (32768, 61000), (49152, 65535))
SERVICE_PORTS = (22, 80, 443, 3306, 3389, 5432, 6379, 8080, 8443, 9000)


class Kind(StrEnum):
    """What an interface belongs to."""

    INSTANCE = "instance"
    NAT_GATEWAY = "nat-gateway"
    ENDPOINT = "interface-endpoint"
    LOAD_BALANCER = "load-balancer"
    DATABASE = "database"
    LAMBDA = "lambda"
    NETWORK_LOAD_BALANCER = "network-load-balancer"
    TRANSIT_GATEWAY = "transit-gateway"


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRule:
    """One allow rule of a security group; exactly one of the three peers is set.

    For ICMP, ``from_port`` is the type and ``to_port`` the code, and -1 stands for any. ``None``
    means that the rule has no port range.
    """

    egress: bool
    protocol: int
    from_port: int | None = None
    to_port: int | None = None
    block: Block | None = None
    prefix_list_id: str | None = None
    group_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A security group; without ``owner_id`` it is the account's own."""

    group_id: str
    name: str
    vpc_id: str
    rules: tuple[GroupRule, ...]
    owner_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AclEntry:
    """One numbered entry of a network ACL; the evaluator adds the closing ``*``."""

    number: int
    egress: bool
    allow: bool
    protocol: int
    block: Block
    ports: tuple[int, int] | None = None
    icmp: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Acl:
    """A network ACL; ``shows_closing`` is whether its description lists the closing entries."""

    acl_id: str
    vpc_id: str
    is_default: bool
    shows_closing: bool
    entries: tuple[AclEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vpc:
    """A VPC; ``more_blocks`` are its other IPv4 ranges, which may be public ones.

    ``owner_id`` is set where another account shares the subnets of the VPC, and owns its ACLs.
    """

    vpc_id: str
    block: IPv4Network
    block_v6: IPv6Network | None
    more_blocks: tuple[IPv4Network, ...] = ()
    owner_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """A subnet; a public one has a route to the internet gateway."""

    subnet_id: str
    vpc_id: str
    zone: str
    public: bool
    block: IPv4Network
    block_v6: IPv6Network | None
    acl_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """A network interface.

    ``primary`` is the address that flow logs show for every IPv4 address of the interface. An
    interface that forwards packets of others has no check of source and destination.
    """

    interface_id: str
    kind: Kind
    subnet_id: str
    vpc_id: str
    primary: IPv4Address
    secondary: tuple[IPv4Address, ...] = ()
    prefixes: tuple[IPv4Network, ...] = ()
    addresses_v6: tuple[IPv6Address, ...] = ()
    public_address: IPv4Address | None = None
    group_ids: tuple[str, ...] = ()
    owner_id: str = ""
    checks_addresses: bool = True
    account_id: str = ""  # the owner, where that is not the account of the world

    def holds(self, address: Address) -> bool:
        """Return whether the address is a private address of the interface."""
        if isinstance(address, IPv6Address):
            return address in self.addresses_v6
        return (
            address == self.primary
            or address in self.secondary
            or any(address in prefix for prefix in self.prefixes)
        )

    def addresses(self) -> list[IPv4Address]:
        """Return the private IPv4 addresses of traffic; of each prefix only the first four."""
        pods = [prefix[number] for prefix in self.prefixes for number in range(4)]
        return [self.primary, *self.secondary, *pods]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peering:
    """A peering connection within the Region, which carries traffic only if it is active."""

    peering_id: str
    requester: str
    accepter: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetGroup:
    """A target group of a network load balancer, by the interface of the load balancer.

    ``preserves`` is whether targets see the addresses of clients.
    """

    name: str
    balancer: str
    protocol: int
    port: int
    preserves: bool
    by_address: bool
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticRoute:
    """A route of all tables of a VPC to a network behind a gateway (``tgw-…`` or ``vgw-…``)."""

    vpc_id: str
    block: IPv4Network
    gateway: str


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything that decides about a packet. A changed rule makes a new world."""

    account_id: str
    region: str
    vpcs: dict[str, Vpc]
    subnets: dict[str, Subnet]
    acls: dict[str, Acl]
    groups: dict[str, Group]
    interfaces: dict[str, Interface]
    prefix_lists: dict[str, tuple[str, tuple[Block, ...]]]
    peerings: tuple[Peering, ...]
    gateway_endpoints: dict[str, tuple[str, str]]  # by VPC: the endpoint and the prefix list
    target_groups: tuple[TargetGroup, ...] = ()
    hides_load_balancers: bool = False  # the permission to describe load balancers is missing
    static_routes: tuple[StaticRoute, ...] = ()
    attachments: tuple[str, ...] = ()  # interfaces of transit gateway attachments, one per VPC
    public_access: dict[str, str] | None = None  # by VPC or subnet: the mode of its gateways
    # By subnets, from and to: the interface of the appliance that the route table names.
    appliances: dict[tuple[str, str], str] = field(default_factory=dict)
    nat_instances: dict[str, str] = field(default_factory=dict)  # by VPC: its interface

    def acl_of(self, interface: Interface) -> Acl:
        """Return the network ACL of the interface's subnet."""
        return self.acls[self.subnets[interface.subnet_id].acl_id]

    def owner_of_vpc(self, vpc_id: str) -> str:
        """Return the account that owns a VPC, its subnets and its network ACLs."""
        return self.vpcs[vpc_id].owner_id or self.account_id

    def owner_of_group(self, group_id: str) -> str:
        """Return the account that owns a security group."""
        return self.groups[group_id].owner_id or self.account_id

    def owner_of(self, interface: Interface) -> str:
        """Return the account that owns an interface, and gets its records."""
        return interface.account_id or self.account_id

    def peering_between(self, one: str, other: str) -> Peering | None:
        """Return the peering connection of two VPCs, in any status."""
        for peering in self.peerings:
            if {peering.requester, peering.accepter} == {one, other}:
                return peering
        return None

    def holds(self, address: Address) -> bool:
        """Return whether any interface has a private address."""
        return any(interface.holds(address) for interface in self.interfaces.values())

    def attachment_of(self, vpc_id: str) -> Interface:
        """Return the interface of a VPC's transit gateway attachment."""
        found = (self.interfaces[each] for each in self.attachments)
        return next(each for each in found if each.vpc_id == vpc_id)

    def balancers_of(self, target: Interface, port: int) -> list[Interface]:
        """Return the balancers that send packets of clients to a port of a target."""
        return [
            self.interfaces[group.balancer]
            for group in self.target_groups
            if group.preserves and target.interface_id in group.targets and group.port == port
        ]

    def is_own_network(self, vpc_id: str, address: Address) -> bool:
        """Return whether an address is of any VPC, or of a network that a VPC has a route to."""
        blocks: list[Block] = [
            route.block for route in self.static_routes if route.vpc_id == vpc_id
        ]
        for vpc in self.vpcs.values():
            blocks += [vpc.block, *vpc.more_blocks]
            if vpc.block_v6 is not None:
                blocks.append(vpc.block_v6)
        return any(address.version == block.version and address in block for block in blocks)

    def with_interface(self, interface: Interface) -> World:
        """Return the same world with an interface added or replaced."""
        return replace(self, interfaces={**self.interfaces, interface.interface_id: interface})

    def with_acl(self, acl: Acl) -> World:
        """Return the same world with a network ACL replaced."""
        return replace(self, acls={**self.acls, acl.acl_id: acl})

    def with_group(self, group: Group) -> World:
        """Return the same world with a security group replaced."""
        return replace(self, groups={**self.groups, group.group_id: group})
