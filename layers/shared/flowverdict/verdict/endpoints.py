"""What both ends of a rejected flow are, and the way between them, as far as the configuration tells.

Interfaces: https://docs.aws.amazon.com/vpc/latest/userguide/requester-managed-eni.html. A description is trusted only on an
interface that a service made; on a user's own it is free text. Endpoints:
https://docs.aws.amazon.com/vpc/latest/privatelink/gateway-endpoints.html. Peering (only ``active`` carries traffic, requests
expire after seven days, not transitive, no overlapping ranges):
https://docs.aws.amazon.com/vpc/latest/peering/vpc-peering-basics.html.
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


MAX_TAG = 64  # of a tag's value that is shown: enough for a name, too little for a message


class Path(StrEnum):
    """The way a packet took, or would have taken."""

    SAME_SUBNET = "same-subnet"
    SAME_VPC = "same-vpc"
    INTERFACE_ENDPOINT = "interface-endpoint"
    GATEWAY_ENDPOINT = "gateway-endpoint"
    AWS_SERVICE = "aws-service"
    PEERING = "peering"
    INTERNET = "internet"
    OTHER_NETWORK = "other-network"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Both ends in words, the path between them, and what has to be known about it.

    ``local`` is the interface the record was taken at. ``path_id`` is the endpoint or peering connection.
    """

    local: str
    remote: str
    path: Path
    path_id: str | None
    notes: tuple[str, ...]


def describe_endpoints(config: NetConfig, interface: Interface, remote: Address) -> Endpoints:
    """Say what the two ends are and how traffic goes between them."""
    local = interface_in_words(config, interface)
    far = config.interface_at(interface.vpc_id, remote)
    if far is not None:
        return _inside_vpc(config, interface, far, local)
    own_endpoint = config.endpoint_of_interface(interface.interface_id)
    if own_endpoint is not None:
        note = _endpoint_needs(own_endpoint)
        return Endpoints(
            local=local,
            remote=str(remote),
            path=Path.INTERFACE_ENDPOINT,
            path_id=own_endpoint.endpoint_id,
            notes=(note,),
        )
    for peering, its_cidrs_hold_remote in _peerings(config, interface, remote):
        if its_cidrs_hold_remote:
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
    return Endpoints(
        local=local,
        remote=f"{remote}, outside the VPC",
        path=Path.OTHER_NETWORK,
        path_id=None,
        notes=tuple(_not_transitive(config, interface, remote)),
    )


# --- interfaces -------------------------------------------------------------------------------------------------------

_DESCRIBED = (
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
_KINDS = {
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
    """Say whose interface it is: ``instance i-... (shop-web)``, ``RDS database``, ``VPC endpoint vpce-... (S3)``."""
    endpoint = config.endpoint_of_interface(interface.interface_id)
    if endpoint is not None:
        return f"VPC endpoint {endpoint.endpoint_id} ({endpoint.service_name or 'unknown service'}), {interface.interface_id}"
    owner = _owner(interface)
    name = one_line(interface.tags.get("Name", "")).strip()[:MAX_TAG]
    named = f" ({name})" if name else ""
    return (
        f"{owner}{named}, {interface.interface_id}" if owner else f"{interface.interface_id}{named}"
    )


def _owner(interface: Interface) -> str | None:
    by_service = interface.requester_managed is True or interface.interface_type in _KINDS
    if by_service and interface.description is not None:
        for pattern, words in _DESCRIBED:
            if match := pattern.match(interface.description):
                return words.format(*match.groups())
    if interface.interface_type in _KINDS:
        return _KINDS[interface.interface_type]
    return f"instance {interface.instance_id}" if interface.instance_id is not None else None


# --- paths ------------------------------------------------------------------------------------------------------------


def _inside_vpc(config: NetConfig, interface: Interface, far: Interface, local: str) -> Endpoints:
    remote = interface_in_words(config, far)
    endpoint = config.endpoint_of_interface(far.interface_id) or config.endpoint_of_interface(
        interface.interface_id
    )
    if endpoint is not None:
        notes = (_endpoint_needs(endpoint),)
        return Endpoints(
            local=local,
            remote=remote,
            path=Path.INTERFACE_ENDPOINT,
            path_id=endpoint.endpoint_id,
            notes=notes,
        )
    same = interface.subnet_id is not None and interface.subnet_id == far.subnet_id
    return Endpoints(
        local=local,
        remote=remote,
        path=Path.SAME_SUBNET if same else Path.SAME_VPC,
        path_id=None,
        notes=(),
    )


def _endpoint_needs(endpoint: VpcEndpoint) -> str:
    state = (
        ""
        if endpoint.is_available is not False
        else f"; its state is {endpoint.state}, so it serves nobody"
    )
    groups = ", ".join(endpoint.group_ids or ()) or "of the endpoint"
    return f"the endpoint's own group ({groups}) must let clients in, TCP 443 as a rule{state}"


def _service_list(config: NetConfig, remote: Address) -> PrefixList | None:
    """Give AWS's prefix list of a service that a gateway endpoint can serve and that has this address."""
    named = (
        one for one in config.prefix_lists or () if (one.name or "").startswith("com.amazonaws.")
    )
    return next(
        (one for one in named if any(remote in network for network in one.cidrs or ())), None
    )


def _aws_service(
    config: NetConfig, interface: Interface, service: PrefixList, remote: Address, local: str
) -> Endpoints:
    name = (service.name or "").rpartition(".")[2]
    where = f"{remote}, {name} ({service.prefix_list_id})"
    needs = (
        f"security groups must let traffic out to {service.prefix_list_id}, "
        f"and the network ACL to {name}'s public ranges and back (ACLs take no prefix lists)"
    )
    endpoints = [
        one
        for one in config.endpoints or ()
        if one.vpc_id == interface.vpc_id
        and one.service_name == service.name
        and (one.endpoint_type or "").casefold() == "gateway"
    ]
    if not endpoints:
        known = config.endpoints is not None
        missing = f"{interface.vpc_id} has no gateway endpoint for it, so traffic goes by NAT or internet gateway"
        return Endpoints(
            local=local,
            remote=where,
            path=Path.AWS_SERVICE,
            path_id=None,
            notes=(missing, needs) if known else (needs,),
        )
    endpoint = endpoints[0]
    notes = tuple(
        note
        for note in (_route_note(config, interface, service, endpoint), needs)
        if note is not None
    )
    return Endpoints(
        local=local,
        remote=where,
        path=Path.GATEWAY_ENDPOINT,
        path_id=endpoint.endpoint_id,
        notes=notes,
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
    return f"{table.route_table_id} has no route to {endpoint.endpoint_id}, so traffic goes by NAT or internet gateway"


def _peerings(
    config: NetConfig, interface: Interface, remote: Address
) -> Iterator[tuple[Peering, bool]]:
    if interface.vpc_id is None:
        return
    # A connection that carries traffic explains more than one that does not.
    for peering in sorted(
        config.peerings_of(interface.vpc_id),
        key=lambda one: (one.carries_traffic is not True, one.peering_id),
    ):
        other = peering.other_side(interface.vpc_id)
        yield peering, other is not None and any(remote in network for network in other.cidrs)


def _peered(
    config: NetConfig, interface: Interface, peering: Peering, remote: Address, local: str
) -> Endpoints:
    notes = []
    if peering.carries_traffic is False:
        notes.append(
            f"{peering.peering_id} is {peering.status}: only an active peering connection carries traffic"
        )
    if peering.status == "pending-acceptance":
        until = (
            "seven days after the request"
            if peering.expires_at is None
            else f"{peering.expires_at:%Y-%m-%d %H:%M} UTC"
        )
        notes.append(f"the request expires {until} unless it is accepted")
    if peering.crosses_regions:
        notes.append("across Regions, security groups cannot be referred to; rules need ranges")
    vpc = config.vpc(interface.vpc_id) if interface.vpc_id is not None else None
    other = peering.other_side(interface.vpc_id)
    theirs = () if other is None else other.cidrs
    if vpc is not None and any(
        mine.overlaps(one) for mine in vpc.cidrs for one in theirs if mine.version == one.version
    ):
        notes.append("the two VPCs' ranges overlap, which peering does not allow")
    holders = [
        one
        for one in config.interfaces_with(remote)
        if other is not None and one.vpc_id == other.vpc_id
    ]
    far = interface_in_words(config, holders[0]) if holders else str(remote)
    vpc_id = other.vpc_id if other is not None else "the peer VPC"
    return Endpoints(
        local=local,
        remote=f"{far}, in {vpc_id}",
        path=Path.PEERING,
        path_id=peering.peering_id,
        notes=tuple(notes),
    )


def _not_transitive(config: NetConfig, interface: Interface, remote: Address) -> Iterator[str]:
    if interface.vpc_id is None:
        return
    neighbours = {
        other.vpc_id
        for one in config.peerings_of(interface.vpc_id)
        if (other := one.other_side(interface.vpc_id)) is not None
    }
    for peering in config.peerings or ():
        for side in (peering.requester, peering.accepter):
            beyond = peering.other_side(side.vpc_id)
            if side.vpc_id not in neighbours or beyond is None or beyond.vpc_id == interface.vpc_id:
                continue
            if any(remote in network for network in beyond.cidrs):
                yield (
                    f"{remote} lies in {beyond.vpc_id}, which is peered with {side.vpc_id} but not with {interface.vpc_id}: "
                    "peering is not transitive"
                )
                return


def _in_vpc(config: NetConfig, interface: Interface, remote: Address) -> bool:
    vpc = config.vpc(interface.vpc_id) if interface.vpc_id is not None else None
    return vpc is not None and any(remote in network for network in vpc.cidrs)
