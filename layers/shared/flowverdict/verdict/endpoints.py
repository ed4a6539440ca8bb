"""Describe both ends of a rejected flow and the path between them, as the configuration shows.

Interfaces: https://docs.aws.amazon.com/vpc/latest/userguide/requester-managed-eni.html. A
description is trusted only on an interface that an AWS service made; on a user's own interface it
is free text. Endpoints: https://docs.aws.amazon.com/vpc/latest/privatelink/gateway-endpoints.html.
Peering (only ``active`` carries traffic, requests expire after seven days, not transitive, no
overlapping ranges): https://docs.aws.amazon.com/vpc/latest/peering/vpc-peering-basics.html.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowverdict.network.model import PrefixListReference
from flowverdict.verdict.names import name_in, names_around
from flowverdict.verdict.paths import Path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowverdict.core.addresses import Address
    from flowverdict.network.configuration import NetConfig
    from flowverdict.network.model import Interface, Peering, PrefixList, VpcEndpoint
    from flowverdict.verdict.paths import FoundPath

# https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html
PRIVATE_ADDRESSES_ONLY = (
    "a rule that refers to a security group matches the private addresses of its members, not "
    "their public ones"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Both ends in words, the path between them, and notes about the path.

    ``local`` is the interface or transit gateway attachment of the record, ``None`` where no rules
    name it. ``path_id`` is the VPC
    endpoint, peering connection or transit gateway. ``names`` are ids with the names that people
    gave them.
    """

    local: str | None
    remote: str
    path: Path
    path_id: str | None
    notes: tuple[str, ...]
    names: tuple[tuple[str, str], ...] = ()


def describe_endpoints(
    config: NetConfig, interface: Interface, remote: Address, found: FoundPath
) -> Endpoints:
    """Describe the interface, the remote address and the path that was found between them."""
    return Endpoints(
        local=interface_in_words(config, interface),
        remote=_remote_in_words(config, interface, remote, found),
        path=found.path,
        path_id=found.path_id,
        notes=tuple(_notes(config, interface, remote, found)),
        names=names_around(config, interface),
    )


def _remote_in_words(
    config: NetConfig, interface: Interface, remote: Address, found: FoundPath
) -> str:
    name = str(remote) if found.far is None else interface_in_words(config, found.far)
    match found.path:
        case Path.PEERING:
            other = None if found.peering is None else found.peering.other_side(interface.vpc_id)
            return f"{name}, in {'the peer VPC' if other is None else other.vpc_id}"
        case Path.INTERNET:
            return f"{remote}, {_internet_host_in_words(config, found)}"
        case Path.LOAD_BALANCER:
            return f"{remote}, on the internet, through load balancer {found.load_balancer}"
        case Path.NOT_CARRIED:
            return f"{remote}, a {found.special} address"
        case Path.OTHER_NETWORK:
            return f"{remote}, outside the VPC"
        case Path.TRANSIT_GATEWAY | Path.VIRTUAL_PRIVATE_GATEWAY | Path.LOCAL_GATEWAY:
            gateway = found.path_id or f"the {found.path.replace('-', ' ')}"
            return f"{remote}, behind {gateway}"
        case Path.GATEWAY_ENDPOINT | Path.AWS_SERVICE if found.prefix_list is not None:
            prefix_list = found.prefix_list
            return f"{remote}, {_service_name(prefix_list)} ({prefix_list.prefix_list_id})"
        case Path.AWS_SERVICE:
            return f"{remote}, an AWS service"
        case _:
            return name


def _internet_host_in_words(config: NetConfig, found: FoundPath) -> str:
    if found.public_of is not None:
        return f"the public address of {interface_in_words(config, found.public_of)}"
    if found.prefix_list is None:
        return "on the internet"
    service = f"{_service_name(found.prefix_list)} ({found.prefix_list.prefix_list_id})"
    return f"on the internet: {service}, which anybody can use"


def _notes(
    config: NetConfig, interface: Interface, remote: Address, found: FoundPath
) -> Iterator[str]:
    if found.route is not None and found.route.blackhole:
        yield (
            f"the route to {found.route.network} in {found.route.route_table_id} is a blackhole: "
            f"{found.route.target_id} does not exist any more"
        )
    match found.path:
        case Path.NOT_CARRIED:
            yield from _not_carried_notes(found)
        case Path.INTERFACE_ENDPOINT if found.endpoint is not None:
            yield _group_note(found.endpoint)
        case Path.SAME_VPC if found.far is None:
            yield f"no interface with {remote} was found in {interface.vpc_id}"
        case Path.PEERING if found.peering is not None:
            yield from _peering_notes(config, interface, found.peering)
        case Path.GATEWAY_ENDPOINT | Path.AWS_SERVICE if found.prefix_list is not None:
            yield from _service_notes(config, interface, found.prefix_list, found.endpoint)
        case Path.LOAD_BALANCER:
            yield (
                f"{interface.interface_id} has no public address, so the packet came by a load "
                "balancer that keeps the client's address: the interface's groups must let clients "
                "in by address"
            )
        case Path.INTERNET:
            yield from _internet_notes(interface, remote, found)
        case Path.OTHER_NETWORK:
            note = _not_transitive(config, interface, remote)
            yield from () if note is None else (note,)
        case _:
            return


def _internet_notes(interface: Interface, remote: Address, found: FoundPath) -> Iterator[str]:
    if found.public_of is not None:
        yield f"{remote} is an address of yours; {PRIVATE_ADDRESSES_ONLY}"
    if found.forwarded:
        yield (
            f"{interface.interface_id} has no public address: such a packet comes by a load "
            "balancer that keeps the client's address, or by AWS Global Accelerator"
        )


def _not_carried_notes(found: FoundPath) -> Iterator[str]:
    if found.special == "multicast":
        yield (
            "a VPC carries no multicast, whatever its rules say; only a multicast domain of a "
            "transit gateway does"
        )
    elif found.special == "broadcast":
        yield "a VPC carries no broadcast, whatever its rules say"
    else:
        yield "link-local addresses are not forwarded, whatever the rules say"


# --- interfaces -----------------------------------------------------------------------------------

# What AWS services write into the description of their interfaces.
_DESCRIPTIONS = (
    (re.compile(r"ELB (app|net|gwy)/([^/]+)/"), "load balancer {1}"),
    (re.compile(r"ELB (\S+)"), "load balancer {0}"),
    (re.compile(r"RDSNetworkInterface"), "RDS database"),
    (re.compile(r"ElastiCache (\S+)"), "ElastiCache {0}"),
    (re.compile(r"RedshiftNetworkInterface"), "Redshift cluster"),
    (re.compile(r"EFS mount target for (fs-[0-9a-f]+)"), "EFS {0}"),
    (
        re.compile(r"AWS Lambda VPC ENI-(.+)-[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"),
        "Lambda function {0}",
    ),
    (re.compile(r"Interface for NAT Gateway (nat-[0-9a-f]+)"), "NAT gateway {0}"),
    (re.compile(r"VPC Endpoint Interface:? ?(vpce-[0-9a-f]+)"), "VPC endpoint {0}"),
    (
        re.compile(r"Network Interface for Transit Gateway Attachment (tgw-attach-[0-9a-f]+)"),
        "transit gateway attachment {0}",
    ),
    (re.compile(r"Amazon EKS (\S+)"), "EKS cluster {0}"),
    (re.compile(r"AWS created network interface for directory (d-[0-9a-f]+)"), "directory {0}"),
    (re.compile(r"arn:aws[a-z-]*:ecs:\S+"), "ECS task"),
)
_TYPES = {
    "nat_gateway": "NAT gateway",
    "natGateway": "NAT gateway",
    "vpc_endpoint": "VPC endpoint",
    "network_load_balancer": "load balancer",
    "gateway_load_balancer": "load balancer",
    "load_balancer": "load balancer",
    "lambda": "Lambda function",
    "transit_gateway": "transit gateway",
    "gateway_load_balancer_endpoint": "gateway load balancer endpoint",
    "efs": "EFS",
}


def interface_in_words(config: NetConfig, interface: Interface) -> str:
    """Name an interface by its owner: ``instance i-... (shop-web)``, ``RDS database``."""
    endpoint = config.endpoint_of_interface(interface.interface_id)
    if endpoint is not None:
        service = endpoint.service_name or "unknown service"
        return f"VPC endpoint {endpoint.endpoint_id} ({service}), {interface.interface_id}"
    owner = _owner(interface)
    name = name_in(interface.tags)
    named = f" ({name})" if name else ""
    return (
        f"{owner}{named}, {interface.interface_id}" if owner else f"{interface.interface_id}{named}"
    )


def _owner(interface: Interface) -> str | None:
    by_service = interface.requester_managed is True or interface.interface_type in _TYPES
    if by_service and interface.description is not None:
        for pattern, words in _DESCRIPTIONS:
            if match := pattern.match(interface.description):
                return words.format(*match.groups())
    if interface.interface_type in _TYPES:
        return _TYPES[interface.interface_type]
    return f"instance {interface.instance_id}" if interface.instance_id is not None else None


# --- paths ----------------------------------------------------------------------------------------


def _group_note(endpoint: VpcEndpoint) -> str:
    state = (
        ""
        if endpoint.is_available is not False
        else f"; the endpoint's state is {endpoint.state}, so it carries no traffic"
    )
    groups = ", ".join(endpoint.group_ids or ()) or "of the endpoint"
    return (
        f"the endpoint's own security group ({groups}) must let clients in, "
        f"usually on TCP 443{state}"
    )


def _service_name(prefix_list: PrefixList) -> str:
    return (prefix_list.name or "").rpartition(".")[2]


def _service_notes(
    config: NetConfig, interface: Interface, service: PrefixList, endpoint: VpcEndpoint | None
) -> Iterator[str]:
    name = _service_name(service)
    if endpoint is not None:
        route = _route_note(config, interface, service, endpoint)
        yield from () if route is None else (route,)
    elif config.endpoints is not None and name in _WITH_GATEWAY_ENDPOINTS:
        yield (
            f"{interface.vpc_id} has no gateway endpoint for it, "
            "so traffic goes through a NAT gateway or internet gateway"
        )
    yield (
        f"security groups must let traffic out to {service.prefix_list_id}, and the network ACL to "
        f"{name}'s ranges and back (network ACLs take no prefix lists)"
    )


# https://docs.aws.amazon.com/vpc/latest/privatelink/gateway-endpoints.html
_WITH_GATEWAY_ENDPOINTS = {"s3", "dynamodb", "s3express"}


def _route_note(
    config: NetConfig, interface: Interface, service: PrefixList, endpoint: VpcEndpoint
) -> str | None:
    if interface.subnet_id is None:
        return None
    table = config.route_table_of_subnet(interface.subnet_id, interface.vpc_id)
    if table is None or table.routes is None:
        return None
    routed = any(
        route.destination == PrefixListReference(prefix_list_id=service.prefix_list_id)
        and route.target == endpoint.endpoint_id
        for route in table.routes
    )
    if routed:
        return f"{table.route_table_id} routes it through {endpoint.endpoint_id}"
    return (
        f"{table.route_table_id} has no route to {endpoint.endpoint_id}, "
        "so traffic goes through a NAT gateway or internet gateway"
    )


def _peering_notes(config: NetConfig, interface: Interface, peering: Peering) -> Iterator[str]:
    """Yield what keeps a peering connection from carrying traffic, or limits its rules."""
    if peering.carries_traffic is False:
        yield (
            f"{peering.peering_id} is {peering.status}: "
            "only an active peering connection carries traffic"
        )
    if peering.status == "pending-acceptance":
        until = (
            "seven days after the request"
            if peering.expires_at is None
            else f"{peering.expires_at:%Y-%m-%d %H:%M} UTC"
        )
        yield f"the request expires {until} unless it is accepted"
    if peering.crosses_regions:
        yield "across Regions, rules cannot refer to security groups; they need ranges"
    if _ranges_overlap(config, interface, peering):
        yield "the two VPCs' ranges overlap, which peering does not allow"


def _ranges_overlap(config: NetConfig, interface: Interface, peering: Peering) -> bool:
    vpc = config.vpc(interface.vpc_id) if interface.vpc_id is not None else None
    other = peering.other_side(interface.vpc_id)
    if vpc is None or other is None:
        return False
    return any(
        near.version == far.version and near.overlaps(far)
        for near in vpc.cidrs
        for far in other.cidrs
    )


def _not_transitive(config: NetConfig, interface: Interface, remote: Address) -> str | None:
    """Return a note where a VPC that is peered with a peer of this VPC holds the address."""
    if interface.vpc_id is None:
        return None
    neighbours = {
        other.vpc_id
        for peering in config.peerings_of(interface.vpc_id)
        if (other := peering.other_side(interface.vpc_id)) is not None
    }
    for peering in config.peerings or ():
        for side in (peering.requester, peering.accepter):
            beyond = peering.other_side(side.vpc_id)
            if side.vpc_id not in neighbours or beyond is None or beyond.vpc_id == interface.vpc_id:
                continue
            if any(remote in network for network in beyond.cidrs):
                return (
                    f"{remote} lies in {beyond.vpc_id}, which is peered with {side.vpc_id} "
                    f"but not with {interface.vpc_id}: peering is not transitive"
                )
    return None
