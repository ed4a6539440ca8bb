"""Find the route that a subnet's route table has for an address, and what its target is.

The most specific route decides; a prefix list counts with the range of its entry that holds the
address. A route to the VPC's own ranges has the target ``local``:
https://docs.aws.amazon.com/vpc/latest/userguide/VPC_Route_Tables.html.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from flowverdict.network.model import PrefixListReference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowverdict.core.addresses import Address, Network
    from flowverdict.network.configuration import NetConfig
    from flowverdict.network.model import Interface, Route


class Target(StrEnum):
    """What a route leads to."""

    LOCAL = "the VPC itself"
    INTERNET_GATEWAY = "an internet gateway"
    EGRESS_ONLY_INTERNET_GATEWAY = "an egress-only internet gateway"
    NAT_GATEWAY = "a NAT gateway"
    VIRTUAL_PRIVATE_GATEWAY = "a virtual private gateway"
    TRANSIT_GATEWAY = "a transit gateway"
    CORE_NETWORK = "a core network"
    PEERING = "a peering connection"
    ENDPOINT = "a VPC endpoint"
    LOCAL_GATEWAY = "a local gateway"
    CARRIER_GATEWAY = "a carrier gateway"
    INTERFACE = "a network interface"
    UNKNOWN = "a target that this program does not know"


_BY_PREFIX = {
    "igw": Target.INTERNET_GATEWAY,
    "eigw": Target.EGRESS_ONLY_INTERNET_GATEWAY,
    "nat": Target.NAT_GATEWAY,
    "vgw": Target.VIRTUAL_PRIVATE_GATEWAY,
    "tgw": Target.TRANSIT_GATEWAY,
    "pcx": Target.PEERING,
    "vpce": Target.ENDPOINT,
    "lgw": Target.LOCAL_GATEWAY,
    "cagw": Target.CARRIER_GATEWAY,
    "eni": Target.INTERFACE,
    "i": Target.INTERFACE,
}

# Block Public Access concerns what passes these.
INTERNET_GATEWAYS = frozenset({Target.INTERNET_GATEWAY, Target.EGRESS_ONLY_INTERNET_GATEWAY})


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The route to an address.

    Parameters
    ----------
    network
        The range that holds the address.
    target_id
        The id of the target as AWS gives it.
    """

    route_table_id: str
    network: Network
    target: Target
    target_id: str | None
    blackhole: bool

    @property
    def is_default(self) -> bool:
        """Whether this is a route for all addresses that no other route has."""
        return self.network.prefixlen == 0


def route_to(config: NetConfig, interface: Interface, remote: Address) -> Found | None:
    """Return the route from an interface's subnet to an address.

    ``None`` if the routes are not known, or no route has the address.
    """
    if interface.subnet_id is None:
        return None
    table = config.route_table_of_subnet(interface.subnet_id, interface.vpc_id)
    if table is None:
        return None
    found = [
        (network, route)
        for route in table.routes or ()
        for network in _networks(config, route)
        if remote in network
    ]
    if not found:
        return None
    network, route = max(found, key=lambda each: (each[0].prefixlen, str(each[1].target)))
    return Found(
        route_table_id=table.route_table_id,
        network=network,
        target=target_of(route.target),
        target_id=route.target,
        blackhole=route.state == "blackhole",
    )


def passes_middlebox(config: NetConfig, sender: Interface, receiver: Address) -> bool:
    """Return whether an appliance or firewall endpoint stands on the route to an address.

    References to security groups do not match what comes through one, since it forwards the packet:
    https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html
    """
    route = route_to(config, sender, receiver)
    if route is None or route.is_default:
        return False
    match route.target:
        case Target.INTERFACE:
            ends = [sender, *config.interfaces_with(receiver)]
            own = {name for end in ends for name in (end.interface_id, end.instance_id)}
            return route.target_id not in own
        case Target.ENDPOINT:
            endpoint = next(
                (each for each in config.endpoints or () if each.endpoint_id == route.target_id),
                None,
            )
            kind = None if endpoint is None else endpoint.endpoint_type
            return (kind or "").casefold() == "gatewayloadbalancer"
        case _:
            return False


def _networks(config: NetConfig, route: Route) -> Iterator[Network]:
    match route.destination:
        case None:
            return
        case PrefixListReference():
            prefix_list = config.prefix_list(route.destination.prefix_list_id)
            yield from () if prefix_list is None else prefix_list.cidrs or ()
        case _:
            yield route.destination


def target_of(target_id: str | None) -> Target:
    """Return the kind of a route's target by its id: ``tgw-0a1``, ``local``."""
    if target_id is None:
        return Target.UNKNOWN
    if target_id == "local":
        return Target.LOCAL
    if target_id.startswith("arn:") and ":core-network/" in target_id:
        return Target.CORE_NETWORK
    return _BY_PREFIX.get(target_id.partition("-")[0], Target.UNKNOWN)
