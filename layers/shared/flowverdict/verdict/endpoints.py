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
from enum import StrEnum
from typing import TYPE_CHECKING

from flowverdict.core.addresses import is_inside
from flowverdict.core.untrusted import one_line
from flowverdict.flowlog.flow_key import IPV4
from flowverdict.network.model import PrefixListReference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowverdict.core.addresses import Address
    from flowverdict.network.configuration import NetConfig
    from flowverdict.network.model import Interface, Peering, PrefixList, VpcEndpoint


MAX_TAG = 64  # characters of a tag's value that are shown: enough for a name, not for a message


class Path(StrEnum):
    """The path that a packet took, or would have taken."""

    SAME_SUBNET = "same-subnet"
    SAME_VPC = "same-vpc"
    INTERFACE_ENDPOINT = "interface-endpoint"
    GATEWAY_ENDPOINT = "gateway-endpoint"
    AWS_SERVICE = "aws-service"
    PEERING = "peering"
    TRANSIT_GATEWAY = "transit-gateway"
    INTERNET = "internet"
    OTHER_NETWORK = "other-network"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Both ends in words, the path between them, and notes about the path.

    ``local`` is the interface or transit gateway attachment of the record. ``path_id`` is the VPC
    endpoint, peering connection or transit gateway.
    """

    local: str
    remote: str
    path: Path
    path_id: str | None
    notes: tuple[str, ...]


def describe_endpoints(config: NetConfig, interface: Interface, remote: Address) -> Endpoints:
    """Describe the interface, the remote address and the path between them."""
    local = interface_in_words(config, interface)
    far = config.interface_at(interface.vpc_id, remote)
    if far is not None:
        return _inside_vpc(config, interface, far, local)
    own_endpoint = config.endpoint_of_interface(interface.interface_id)
    if own_endpoint is not None:
        return Endpoints(
            local=local,
            remote=str(remote),
            path=Path.INTERFACE_ENDPOINT,
            path_id=own_endpoint.endpoint_id,
            notes=(_group_note(own_endpoint),),
        )
    peering = _peering_to(config, interface, remote)
    if peering is not None:
        return _peered(config, interface, peering, remote, local)
    service = _service_list(config, remote)
    if service is not None:
        return _aws_service(config, interface, service, remote, local)
    if remote.version == IPV4 and not is_inside(remote):
        return Endpoints(
            local=local,
            remote=f"{remote}, on the internet",
            path=Path.INTERNET,
            path_id=None,
            notes=(),
        )
    if _in_vpc(config, interface, remote):
        note = f"no interface with {remote} was found in {interface.vpc_id}"
        return Endpoints(
            local=local, remote=str(remote), path=Path.SAME_VPC, path_id=None, notes=(note,)
        )
    note_or_none = _not_transitive(config, interface, remote)
    return Endpoints(
        local=local,
        remote=f"{remote}, outside the VPC",
        path=Path.OTHER_NETWORK,
        path_id=None,
        notes=() if note_or_none is None else (note_or_none,),
    )


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
    name = one_line(interface.tags.get("Name", "")).strip()[:MAX_TAG]
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


def _inside_vpc(config: NetConfig, interface: Interface, far: Interface, local: str) -> Endpoints:
    remote = interface_in_words(config, far)
    endpoint = config.endpoint_of_interface(far.interface_id) or config.endpoint_of_interface(
        interface.interface_id
    )
    if endpoint is not None:
        return Endpoints(
            local=local,
            remote=remote,
            path=Path.INTERFACE_ENDPOINT,
            path_id=endpoint.endpoint_id,
            notes=(_group_note(endpoint),),
        )
    same_subnet = interface.subnet_id is not None and interface.subnet_id == far.subnet_id
    return Endpoints(
        local=local,
        remote=remote,
        path=Path.SAME_SUBNET if same_subnet else Path.SAME_VPC,
        path_id=None,
        notes=(),
    )


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


def _service_list(config: NetConfig, remote: Address) -> PrefixList | None:
    """Return the AWS prefix list, of a service with gateway endpoints, that holds this address."""
    for prefix_list in config.prefix_lists or ():
        if (prefix_list.name or "").startswith("com.amazonaws.") and any(
            remote in network for network in prefix_list.cidrs or ()
        ):
            return prefix_list
    return None


def _aws_service(
    config: NetConfig, interface: Interface, service: PrefixList, remote: Address, local: str
) -> Endpoints:
    name = (service.name or "").rpartition(".")[2]
    where = f"{remote}, {name} ({service.prefix_list_id})"
    needs = (
        f"security groups must let traffic out to {service.prefix_list_id}, and the network ACL to "
        f"{name}'s public ranges and back (network ACLs take no prefix lists)"
    )
    endpoint = next(
        (
            endpoint
            for endpoint in config.endpoints or ()
            if endpoint.vpc_id == interface.vpc_id
            and endpoint.service_name == service.name
            and (endpoint.endpoint_type or "").casefold() == "gateway"
        ),
        None,
    )
    if endpoint is None:
        missing = (
            f"{interface.vpc_id} has no gateway endpoint for it, "
            "so traffic goes through a NAT gateway or internet gateway"
        )
        return Endpoints(
            local=local,
            remote=where,
            path=Path.AWS_SERVICE,
            path_id=None,
            notes=(needs,) if config.endpoints is None else (missing, needs),
        )
    route = _route_note(config, interface, service, endpoint)
    return Endpoints(
        local=local,
        remote=where,
        path=Path.GATEWAY_ENDPOINT,
        path_id=endpoint.endpoint_id,
        notes=(needs,) if route is None else (route, needs),
    )


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


def _peering_to(config: NetConfig, interface: Interface, remote: Address) -> Peering | None:
    """Return the peering connection whose other side holds the address, an active one first."""
    if interface.vpc_id is None:
        return None
    for peering in sorted(
        config.peerings_of(interface.vpc_id),
        key=lambda peering: (peering.carries_traffic is not True, peering.peering_id),
    ):
        other = peering.other_side(interface.vpc_id)
        if other is not None and any(remote in network for network in other.cidrs):
            return peering
    return None


def _peered(
    config: NetConfig, interface: Interface, peering: Peering, remote: Address, local: str
) -> Endpoints:
    other = peering.other_side(interface.vpc_id)
    far = next(
        (
            holder
            for holder in config.interfaces_with(remote)
            if other is not None and holder.vpc_id == other.vpc_id
        ),
        None,
    )
    name = str(remote) if far is None else interface_in_words(config, far)
    vpc_id = "the peer VPC" if other is None else other.vpc_id
    return Endpoints(
        local=local,
        remote=f"{name}, in {vpc_id}",
        path=Path.PEERING,
        path_id=peering.peering_id,
        notes=tuple(_peering_notes(config, interface, peering)),
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


def _in_vpc(config: NetConfig, interface: Interface, remote: Address) -> bool:
    vpc = config.vpc(interface.vpc_id) if interface.vpc_id is not None else None
    return vpc is not None and any(remote in network for network in vpc.cidrs)
