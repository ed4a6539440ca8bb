"""Describe how packets travel: route tables, load balancers, and who may use internet gateways.

Load balancers are in the shapes of ``aws elbv2 describe-*``; as in a ``--config`` snapshot, a
target group has its attributes with it, and the health of a target names its target group:
https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_Operations.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.simulator.world import ANY_V4, ANY_V6, TCP, Kind

if TYPE_CHECKING:
    from tests.simulator.world import Interface, StaticRoute, TargetGroup, Vpc, World

type Json = dict[str, Any]


def public_access(world: World, vpc_id: str, subnet_id: str = "") -> Json:
    """Return what the description of a VPC or subnet says of Block Public Access."""
    if world.public_access is None:
        return {}
    mode = world.public_access.get(subnet_id, world.public_access.get(vpc_id, "off"))
    return {"BlockPublicAccessStates": {"InternetGatewayBlockMode": mode}}


def load_balancers(world: World) -> Json:
    """Return the lists of load balancers, or nothing where they may not be described."""
    if not world.target_groups or world.hides_load_balancers:
        return {}
    return {
        "LoadBalancers": [
            _load_balancer(world, interface)
            for interface in world.interfaces.values()
            if interface.kind in (Kind.NETWORK_LOAD_BALANCER, Kind.LOAD_BALANCER)
        ],
        "TargetGroups": [_target_group(world, group) for group in world.target_groups],
        "TargetHealthDescriptions": [
            {
                "TargetGroupArn": _group_arn(world, group),
                "Target": {"Id": _target_id(world, group, target), "Port": group.port},
                "HealthCheckPort": str(group.port),
                "TargetHealth": {"State": "unhealthy", "Reason": "Target.Timeout"},
            }
            for group in world.target_groups
            for target in group.targets
        ],
    }


def _arn(world: World, rest: str) -> str:
    return f"arn:aws:elasticloadbalancing:{world.region}:{world.account_id}:{rest}"


def _full_name(interface: Interface) -> str:
    is_network = interface.kind is Kind.NETWORK_LOAD_BALANCER
    return interface.owner_id if is_network else "app/front/0123456789abcdef"


def _group_arn(world: World, group: TargetGroup) -> str:
    return _arn(world, f"targetgroup/{group.name}/{group.balancer.removeprefix('eni-')[:16]}")


def _load_balancer(world: World, interface: Interface) -> Json:
    name = _full_name(interface)
    shown: Json = {
        "LoadBalancerArn": _arn(world, f"loadbalancer/{name}"),
        "LoadBalancerName": name.split("/")[1],
        "Type": "network" if name.startswith("net/") else "application",
        "Scheme": "internal" if interface.public_address is None else "internet-facing",
        "VpcId": interface.vpc_id,
        "State": {"Code": "active"},
        "IpAddressType": "ipv4",
        "AvailabilityZones": [{"SubnetId": interface.subnet_id}],
    }
    if interface.group_ids:  # a network load balancer without groups has no such key
        shown["SecurityGroups"] = list(interface.group_ids)
    return shown


def _target_group(world: World, group: TargetGroup) -> Json:
    balancer = world.interfaces[group.balancer]
    return {
        "TargetGroupArn": _group_arn(world, group),
        "TargetGroupName": group.name,
        "Protocol": "TCP" if group.protocol == TCP else "UDP",
        "Port": group.port,
        "VpcId": balancer.vpc_id,
        "TargetType": "ip" if group.by_address else "instance",
        "LoadBalancerArns": [_arn(world, f"loadbalancer/{_full_name(balancer)}")],
        "Attributes": [
            {"Key": "deregistration_delay.timeout_seconds", "Value": "300"},
            {"Key": "preserve_client_ip.enabled", "Value": str(group.preserves).lower()},
        ],
    }


def _target_id(world: World, group: TargetGroup, target: str) -> str:
    interface = world.interfaces[target]
    return str(interface.primary) if group.by_address else interface.owner_id


def route_table_id(vpc_id: str) -> str:
    """Return the id of the main route table of a VPC."""
    return "rtb-" + vpc_id.removeprefix("vpc-")


def route_tables(world: World) -> list[Json]:
    """Return two route tables per VPC: the main table, and one for the public subnet."""
    return [table for vpc in world.vpcs.values() for table in _tables_of(world, vpc)]


def _tables_of(world: World, vpc: Vpc) -> list[Json]:
    common: list[Json] = [
        *(
            {"DestinationCidrBlock": str(block), "GatewayId": "local", "State": "active"}
            for block in (vpc.block, *vpc.more_blocks)
        ),
        *_peering_routes(world, vpc),
        *(_static_route(route) for route in world.static_routes if route.vpc_id == vpc.vpc_id),
    ]
    inner = [
        *common,
        {"DestinationCidrBlock": str(ANY_V4), **_nat(world, vpc), "State": "active"},
    ]
    gateway = "igw-" + vpc.vpc_id.removeprefix("vpc-")
    outer = [
        *common,
        {"DestinationCidrBlock": str(ANY_V4), "GatewayId": gateway, "State": "active"},
    ]
    if vpc.block_v6 is not None:
        outer.append(
            {"DestinationIpv6CidrBlock": str(ANY_V6), "GatewayId": gateway, "State": "active"}
        )
    if vpc.vpc_id in world.gateway_endpoints:
        endpoint_id, prefix_list_id = world.gateway_endpoints[vpc.vpc_id]
        inner.append(
            {"DestinationPrefixListId": prefix_list_id, "GatewayId": endpoint_id, "State": "active"}
        )
    public = [
        subnet.subnet_id
        for subnet in world.subnets.values()
        if subnet.vpc_id == vpc.vpc_id and subnet.public
    ]
    main_id = route_table_id(vpc.vpc_id)
    return [
        {
            "RouteTableId": main_id,
            "VpcId": vpc.vpc_id,
            "OwnerId": world.account_id,
            "Associations": [{"Main": True, "RouteTableId": main_id}],
            "Routes": inner,
        },
        {
            "RouteTableId": main_id[:-1] + ("1" if main_id[-1] != "1" else "2"),
            "VpcId": vpc.vpc_id,
            "OwnerId": world.account_id,
            "Associations": [{"Main": False, "SubnetId": subnet_id} for subnet_id in public],
            "Routes": outer,
        },
        *_tables_to_appliances(world, vpc, inner),
    ]


def _nat(world: World, vpc: Vpc) -> Json:
    """Return the target of the default route of private subnets."""
    if vpc.vpc_id in world.nat_instances:
        return _to_interface(world.interfaces[world.nat_instances[vpc.vpc_id]])
    gateway = next(
        interface
        for interface in world.interfaces.values()
        if interface.vpc_id == vpc.vpc_id and interface.kind is Kind.NAT_GATEWAY
    )
    return {"NatGatewayId": gateway.owner_id}


def _to_interface(interface: Interface) -> Json:
    return {"NetworkInterfaceId": interface.interface_id, "InstanceId": interface.owner_id}


def _tables_to_appliances(world: World, vpc: Vpc, inner: list[Json]) -> list[Json]:
    """Return a route table for each subnet whose traffic to other subnets takes an appliance."""
    routes: dict[str, list[Json]] = {}
    for (source, destination), interface_id in world.appliances.items():
        if world.subnets[source].vpc_id == vpc.vpc_id:
            routes.setdefault(source, []).append(
                {
                    "DestinationCidrBlock": str(world.subnets[destination].block),
                    **_to_interface(world.interfaces[interface_id]),
                    "State": "active",
                }
            )
    return [
        {
            "RouteTableId": "rtb-" + subnet_id.removeprefix("subnet-"),
            "VpcId": vpc.vpc_id,
            "OwnerId": world.account_id,
            "Associations": [{"Main": False, "SubnetId": subnet_id}],
            "Routes": [*inner, *more],
        }
        for subnet_id, more in routes.items()
    ]


def _static_route(route: StaticRoute) -> Json:
    kind = "TransitGatewayId" if route.gateway.startswith("tgw-") else "GatewayId"
    return {"DestinationCidrBlock": str(route.block), kind: route.gateway, "State": "active"}


def _peering_routes(world: World, vpc: Vpc) -> list[Json]:
    routes: list[Json] = []
    for peering in world.peerings:
        if vpc.vpc_id in (peering.requester, peering.accepter):
            other = peering.accepter if vpc.vpc_id == peering.requester else peering.requester
            routes.append(
                {
                    "DestinationCidrBlock": str(world.vpcs[other].block),
                    "VpcPeeringConnectionId": peering.peering_id,
                    "State": "active" if peering.status == "active" else "blackhole",
                }
            )
    return routes
