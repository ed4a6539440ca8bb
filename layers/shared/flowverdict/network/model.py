"""Model the part of a VPC's configuration that decides which packets pass.

Each class is one element of an EC2 ``Describe*`` answer
(https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Operations.html), reduced to what
verdicts need. Texts such as types, states, actions and protocols stay as AWS wrote them, so that a
value that AWS adds later is carried along and never mistaken for a value known today.

``None`` always means *not known*: it was not read, or the data does not say. An empty tuple means
*known to be empty*. Lists of a ``NetConfig`` are complete as far as they matter: where a rule
refers to a group, ``interfaces`` holds every interface with that group in the accounts and VPCs of
which it holds any interface.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from types import MappingProxyType
from typing import TYPE_CHECKING

from flowverdict.core.protocols import protocol_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from ipaddress import IPv6Address

    from flowverdict.core.addresses import Address, Network


ALL_PROTOCOLS = "-1"

# The closing `*` of a network ACL as the API numbers it, by IP version:
# https://docs.aws.amazon.com/vpc/latest/userguide/nacl-rules.html
CLOSING_RULES: Mapping[int, int] = MappingProxyType({4: 32_767, 6: 32_768})
EVERYWHERE: Mapping[int, Network] = MappingProxyType(
    {4: IPv4Network("0.0.0.0/0"), 6: IPv6Network("::/0")}
)

# AWS's API names these four in rules of security groups. All other protocols, and all protocols in
# network ACLs, are numbers.
PROTOCOLS_BY_NAME: Mapping[str, int] = MappingProxyType(
    {"tcp": 6, "udp": 17, "icmp": 1, "icmpv6": 58}
)

# Both spellings occur: botocore's model has the first, real answers have the second.
NAT_GATEWAY_TYPES = frozenset({"natGateway", "nat_gateway"})

# A packet that enters a subnet through these may come from another subnet whatever its addresses:
# https://docs.aws.amazon.com/vpc/latest/tgw/tgw-nacls.html
FORWARDING_TYPES = frozenset(
    {
        "transit_gateway",
        "network_load_balancer",
        "gateway_load_balancer",
        "gateway_load_balancer_endpoint",
    }
)

_IDLE_PEERINGS = frozenset(
    {
        "initiating-request",
        "pending-acceptance",
        "provisioning",
        "rejected",
        "failed",
        "expired",
        "deleting",
        "deleted",
    }
)


def protocol_number(text: str | None) -> int | None:
    """Return the IANA number of a rule's protocol.

    ``None`` for ``-1`` (all protocols) and for a text that is not a known protocol.
    """
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


# --- network ACLs -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PortRange:
    """A range of ports, both ends included."""

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
        kind = "all" if self.type == -1 else self.type
        return f"type {kind} code {'all' if self.code == -1 else self.code}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkAclEntry:
    """One numbered rule of a network ACL.

    Parameters
    ----------
    network
        Source of an inbound entry, destination of an outbound entry.
    ports, icmp
        ``None`` stands for all.
    """

    rule_number: int
    egress: bool
    action: str | None
    protocol: str | None
    network: Network | None
    ports: PortRange | None = None
    icmp: IcmpTypeCode | None = None

    @property
    def is_closing(self) -> bool:
        """Whether this is the closing ``*``, which denies what no numbered rule matched."""
        return self.rule_number in CLOSING_RULES.values()

    def __str__(self) -> str:
        number = f"* ({self.rule_number})" if self.is_closing else str(self.rule_number)
        details = "".join(f" {part}" for part in (self.ports, self.icmp) if part is not None)
        network = "an unknown range" if self.network is None else self.network
        return (
            f"rule {number}: {self.action or 'unknown action'} {_protocol_in_words(self.protocol)}"
            f"{details} {'to' if self.egress else 'from'} {network}"
        )


def closing_entry(version: int, *, egress: bool) -> NetworkAclEntry:
    """Return the closing ``*`` of one IP version, which AWS applies even if no data lists it."""
    return NetworkAclEntry(
        rule_number=CLOSING_RULES[version],
        egress=egress,
        action="deny",
        protocol=ALL_PROTOCOLS,
        network=EVERYWHERE[version],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkAcl:
    """A network ACL and its subnets; only its owner can change it (shared VPCs)."""

    network_acl_id: str
    vpc_id: str | None = None
    owner_id: str | None = None
    is_default: bool | None = None
    entries: tuple[NetworkAclEntry, ...] | None = None
    subnet_ids: tuple[str, ...] | None = None
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), hash=False)


# --- security groups --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixListReference:
    """A peer that is given by a prefix list."""

    prefix_list_id: str

    def __str__(self) -> str:
        return self.prefix_list_id


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupReference:
    """A peer that is given by a security group: the private addresses of the group's interfaces."""

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
    """One rule of a security group for one peer.

    An AWS ``IpPermission`` with three peers is three of these rules.

    Parameters
    ----------
    from_port, to_port
        Ports; for ICMP its type and code. ``None`` and ``-1`` stand for all.
    peer
        Source of an inbound rule, destination of an outbound rule.
    """

    group_id: str
    egress: bool
    protocol: str | None
    from_port: int | None = None
    to_port: int | None = None
    peer: Peer | None

    def __str__(self) -> str:
        peer = "an unknown peer" if self.peer is None else self.peer
        return (
            f"{self.group_id}: {_protocol_in_words(self.protocol)}{self._ports_in_words()} "
            f"{'to' if self.egress else 'from'} {peer}"
        )

    def _ports_in_words(self) -> str:
        first, last = self.from_port, self.to_port
        if first is None or first == -1:
            return ""
        if protocol_number(self.protocol) in {
            PROTOCOLS_BY_NAME["icmp"],
            PROTOCOLS_BY_NAME["icmpv6"],
        }:
            return f" {IcmpTypeCode(type=first, code=-1 if last is None else last)}"
        return f" {first if last is None else PortRange(first=first, last=last)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityGroup:
    """A security group and its inbound and outbound rules."""

    group_id: str
    name: str | None = None
    description: str | None = None
    owner_id: str | None = None
    vpc_id: str | None = None
    ingress: tuple[SecurityGroupRule, ...] | None = None
    egress: tuple[SecurityGroupRule, ...] | None = None
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), hash=False)


# --- where they apply -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """An elastic network interface.

    Parameters
    ----------
    ipv4_addresses
        The private addresses, the primary address first.
    public_addresses
        The public IPv4 addresses that map to private addresses of the interface; ``()`` if the
        interface has none.
    prefixes
        IPv4 and IPv6 ranges delegated to the interface. Where EKS gives them to pods, no list has
        the addresses of the pods.
    description
        Free text on a user's interface. Only on an interface that is ``requester_managed``, the
        text names the service that created the interface.
    """

    interface_id: str
    interface_type: str | None = None
    description: str | None = None
    requester_managed: bool | None = None
    owner_id: str | None = None
    group_ids: tuple[str, ...] | None = None
    subnet_id: str | None = None
    vpc_id: str | None = None
    ipv4_addresses: tuple[IPv4Address, ...] | None = None
    ipv6_addresses: tuple[IPv6Address, ...] | None = None
    public_addresses: tuple[IPv4Address, ...] | None = None
    prefixes: tuple[Network, ...] = ()
    instance_id: str | None = None
    source_dest_check: bool | None = None
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), hash=False)

    @property
    def is_nat_gateway(self) -> bool:
        """Whether the interface belongs to a NAT gateway, which cannot have a security group."""
        return self.interface_type in NAT_GATEWAY_TYPES

    @property
    def forwards(self) -> bool:
        """Whether it forwards traffic of others, for a gateway, load balancer or appliance."""
        return self.interface_type in FORWARDING_TYPES or self.source_dest_check is False

    @property
    def addresses(self) -> tuple[Address, ...]:
        """All known single private addresses, without delegated prefixes."""
        return (*(self.ipv4_addresses or ()), *(self.ipv6_addresses or ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """A subnet and its IPv4 and IPv6 ranges.

    ``block_public_access`` is the mode of Block Public Access in this subnet, which an exclusion of
    the subnet sets to ``off``; it takes precedence over the mode of the VPC.
    """

    subnet_id: str
    vpc_id: str | None = None
    owner_id: str | None = None
    cidrs: tuple[Network, ...] = ()
    block_public_access: str | None = None
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vpc:
    """A VPC and its IPv4 and IPv6 ranges.

    ``block_public_access`` is the mode of Block Public Access for its internet gateways.
    """

    vpc_id: str
    owner_id: str | None = None
    cidrs: tuple[Network, ...] = ()
    block_public_access: str | None = None
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), hash=False)


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
        """Whether traffic passes; ``None`` if the status is missing or new to this program."""
        return peering_carries_traffic(self.status)

    @property
    def crosses_regions(self) -> bool | None:
        """Whether the two VPCs lie in different Regions, between which no rule can name groups."""
        if self.requester.region is None or self.accepter.region is None:
            return None
        return self.requester.region != self.accepter.region

    def side(self, vpc_id: str | None) -> PeeringSide | None:
        """Return the side that is this VPC."""
        return next(
            (
                side
                for side in (self.requester, self.accepter)
                if vpc_id is not None and side.vpc_id == vpc_id
            ),
            None,
        )

    def other_side(self, vpc_id: str | None) -> PeeringSide | None:
        """Return the side that is not this VPC, if this VPC is one of the two."""
        side = self.side(vpc_id)
        if side is None:
            return None
        return self.accepter if side is self.requester else self.requester


def peering_carries_traffic(status: str | None) -> bool | None:
    """Return whether traffic passes a peering connection in this status; ``None`` if not known.

    Only an ``active`` connection carries traffic: https://docs.aws.amazon.com/vpc/latest/peering/vpc-peering-basics.html
    """
    if status == "active":
        return True
    return False if status in _IDLE_PEERINGS else None


@dataclass(frozen=True, slots=True, kw_only=True)
class VpcEndpoint:
    """A VPC endpoint."""

    endpoint_id: str
    endpoint_type: str | None = None
    service_name: str | None = None
    state: str | None = None
    vpc_id: str | None = None
    group_ids: tuple[str, ...] | None = None
    interface_ids: tuple[str, ...] | None = None

    @property
    def is_available(self) -> bool | None:
        """Whether the endpoint is in service. AWS writes states in lower or upper case."""
        return None if self.state is None else self.state.casefold() == "available"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A route to a range or a prefix list; the target is the id of any type that AWS gives.

    ``state`` is ``active``, or ``blackhole`` where the target does not exist any more.
    """

    destination: Network | PrefixListReference | None
    target: str | None
    state: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteTable:
    """A route table and the subnets that are explicitly associated with it.

    The main route table serves all other subnets of its VPC.
    """

    route_table_id: str
    vpc_id: str | None = None
    routes: tuple[Route, ...] | None = None
    subnet_ids: tuple[str, ...] | None = None
    is_main: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixList:
    """A managed prefix list of a customer or of AWS.

    ``max_entries`` is what a reference to the list counts against the quota of rules. ``cidrs`` are
    the known entries, which are not all if ``is_cut``.
    """

    prefix_list_id: str
    name: str | None = None
    owner_id: str | None = None
    max_entries: int | None = None
    cidrs: tuple[Network, ...] | None = None
    is_cut: bool = False
