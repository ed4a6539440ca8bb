"""Describe a world in the shapes of ``aws ec2 describe-*``, as a ``--config`` snapshot.

Shapes: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Operations.html. Each network ACL
determines whether its closing entries are listed; the order of its entries is random.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulator.describe_paths import (
    Json,
    load_balancers,
    public_access,
    route_table_id,
    route_tables,
)
from tests.simulator.world import (
    ANY_PROTOCOL,
    ANY_V4,
    ANY_V6,
    CLOSING_RULE,
    ICMP,
    ICMPV6,
    TCP,
    UDP,
    Acl,
    AclEntry,
    Block,
    Group,
    GroupRule,
    Interface,
    Kind,
    Peering,
    World,
)

if TYPE_CHECKING:
    import random
    from datetime import datetime

_PROTOCOL_NAMES = {ICMP: "icmp", TCP: "tcp", UDP: "udp", ICMPV6: "icmpv6"}
_INTERFACE_TYPES = {
    Kind.NAT_GATEWAY: "nat_gateway",
    Kind.ENDPOINT: "vpc_endpoint",
    Kind.LAMBDA: "lambda",
    Kind.NETWORK_LOAD_BALANCER: "network_load_balancer",
    Kind.TRANSIT_GATEWAY: "transit_gateway",
}
_REQUESTERS = {Kind.LOAD_BALANCER: "amazon-elb", Kind.DATABASE: "amazon-rds"}


def describe(world: World, rng: random.Random, *, read_at: datetime) -> Json:
    """Return the snapshot of a whole world, read at a given time."""
    return {
        "ReadAt": read_at.isoformat().replace("+00:00", "Z"),
        "NetworkInterfaces": [
            _interface(world, interface) for interface in world.interfaces.values()
        ],
        "SecurityGroups": [_group(world, group) for group in world.groups.values()],
        "NetworkAcls": [_acl(world, acl, rng) for acl in world.acls.values()],
        "Subnets": [
            {
                "SubnetId": subnet.subnet_id,
                "VpcId": subnet.vpc_id,
                "OwnerId": world.owner_of_vpc(subnet.vpc_id),
                "AvailabilityZone": world.region + subnet.zone,
                "State": "available",
                "CidrBlock": str(subnet.block),
                "Ipv6CidrBlockAssociationSet": [
                    {"Ipv6CidrBlock": str(block), "Ipv6CidrBlockState": {"State": "associated"}}
                    for block in (subnet.block_v6,)
                    if block is not None
                ],
                **public_access(world, subnet.vpc_id, subnet.subnet_id),
            }
            for subnet in world.subnets.values()
        ],
        "Vpcs": [
            {
                "VpcId": vpc.vpc_id,
                "OwnerId": world.owner_of_vpc(vpc.vpc_id),
                "State": "available",
                "CidrBlock": str(vpc.block),
                "CidrBlockAssociationSet": [
                    {"CidrBlock": str(block), "CidrBlockState": {"State": "associated"}}
                    for block in (vpc.block, *vpc.more_blocks)
                ],
                "Ipv6CidrBlockAssociationSet": [
                    {"Ipv6CidrBlock": str(block), "Ipv6CidrBlockState": {"State": "associated"}}
                    for block in (vpc.block_v6,)
                    if block is not None
                ],
                "IsDefault": False,
                **public_access(world, vpc.vpc_id),
            }
            for vpc in world.vpcs.values()
        ],
        "VpcPeeringConnections": [_peering(world, peering) for peering in world.peerings],
        "VpcEndpoints": _endpoints(world),
        "RouteTables": route_tables(world),
        "ManagedPrefixLists": [
            {
                "PrefixListId": list_id,
                "PrefixListName": name,
                "AddressFamily": "IPv4",
                "State": "create-complete",
                "OwnerId": "AWS" if name.startswith("com.amazonaws.") else world.account_id,
                "Entries": [{"Cidr": str(block)} for block in blocks],
            }
            for list_id, (name, blocks) in world.prefix_lists.items()
        ],
        **load_balancers(world),
    }


def _interface(world: World, interface: Interface) -> Json:
    association = {}
    if interface.public_address is not None:
        association = {
            "Association": {
                "PublicIp": str(interface.public_address),
                "IpOwnerId": world.account_id,
            }
        }
    attachment = {}
    if interface.kind is Kind.INSTANCE:
        attachment = {
            "Attachment": {
                "AttachmentId": "eni-attach-" + interface.interface_id.removeprefix("eni-"),
                "InstanceId": interface.owner_id,
                "InstanceOwnerId": world.owner_of(interface),
                "Status": "attached",
                "DeviceIndex": 0,
            }
        }
    requester = (
        {"RequesterId": _REQUESTERS[interface.kind]} if interface.kind in _REQUESTERS else {}
    )
    return {
        "NetworkInterfaceId": interface.interface_id,
        "InterfaceType": _INTERFACE_TYPES.get(interface.kind, "interface"),
        "Description": _description(interface),
        "OwnerId": world.owner_of(interface),
        "RequesterManaged": interface.kind is not Kind.INSTANCE,
        **requester,
        "VpcId": interface.vpc_id,
        "SubnetId": interface.subnet_id,
        "AvailabilityZone": world.region + world.subnets[interface.subnet_id].zone,
        "Status": "in-use",
        "SourceDestCheck": interface.kind is not Kind.NAT_GATEWAY and interface.checks_addresses,
        "Groups": [
            {"GroupId": group_id, "GroupName": world.groups[group_id].name}
            for group_id in interface.group_ids
        ],
        "PrivateIpAddress": str(interface.primary),
        "PrivateIpAddresses": [
            {"Primary": True, "PrivateIpAddress": str(interface.primary), **association},
            *(
                {"Primary": False, "PrivateIpAddress": str(address)}
                for address in interface.secondary
            ),
        ],
        "Ipv6Addresses": [{"Ipv6Address": str(address)} for address in interface.addresses_v6],
        "Ipv4Prefixes": [{"Ipv4Prefix": str(prefix)} for prefix in interface.prefixes],
        **association,
        **attachment,
        "TagSet": [],
    }


def _description(interface: Interface) -> str:
    match interface.kind:
        case Kind.NAT_GATEWAY:
            return f"Interface for NAT Gateway {interface.owner_id}"
        case Kind.ENDPOINT:
            return f"VPC Endpoint Interface {interface.owner_id}"
        case Kind.LOAD_BALANCER:
            return "ELB app/front/0123456789abcdef"
        case Kind.DATABASE:
            return "RDSNetworkInterface"
        case Kind.NETWORK_LOAD_BALANCER:
            return f"ELB {interface.owner_id}"
        case Kind.TRANSIT_GATEWAY:
            return f"Network Interface for Transit Gateway Attachment {interface.owner_id}"
        case Kind.LAMBDA:
            return "AWS Lambda VPC ENI-orders-01234567-89ab-cdef-0123-456789abcdef"
        case Kind.INSTANCE:
            return ""


def _group(world: World, group: Group) -> Json:
    return {
        "GroupId": group.group_id,
        "GroupName": group.name,
        "Description": group.name,
        "OwnerId": world.owner_of_group(group.group_id),
        "VpcId": group.vpc_id,
        "IpPermissions": [
            _permission(world, group, rule) for rule in group.rules if not rule.egress
        ],
        "IpPermissionsEgress": [
            _permission(world, group, rule) for rule in group.rules if rule.egress
        ],
    }


def _permission(world: World, group: Group, rule: GroupRule) -> Json:
    permission: Json = {
        "IpProtocol": _PROTOCOL_NAMES.get(rule.protocol, str(rule.protocol)),
        "IpRanges": [],
        "Ipv6Ranges": [],
        "PrefixListIds": [],
        "UserIdGroupPairs": [],
    }
    if rule.from_port is not None:
        permission |= {"FromPort": rule.from_port, "ToPort": rule.to_port}
    if rule.block is not None and rule.block.version == ANY_V4.version:
        permission["IpRanges"] = [{"CidrIp": str(rule.block)}]
    elif rule.block is not None:
        permission["Ipv6Ranges"] = [{"CidrIpv6": str(rule.block)}]
    elif rule.prefix_list_id is not None:
        permission["PrefixListIds"] = [{"PrefixListId": rule.prefix_list_id}]
    else:
        other = world.groups.get(rule.group_id or "")
        owner = world.account_id if other is None else world.owner_of_group(other.group_id)
        pair: Json = {"GroupId": rule.group_id, "UserId": owner}
        peering = None if other is None else world.peering_between(group.vpc_id, other.vpc_id)
        if other is not None and peering is not None and other.vpc_id != group.vpc_id:
            pair |= {
                "VpcId": other.vpc_id,
                "VpcPeeringConnectionId": peering.peering_id,
                "PeeringStatus": peering.status,
            }
        permission["UserIdGroupPairs"] = [pair]
    return permission


def _acl(world: World, acl: Acl, rng: random.Random) -> Json:
    entries = [_entry(entry) for entry in acl.entries]
    if acl.shows_closing:
        blocks: list[Block] = [ANY_V4]
        if world.vpcs[acl.vpc_id].block_v6 is not None:
            blocks.append(ANY_V6)
        entries += [
            _entry(
                AclEntry(
                    number=CLOSING_RULE[block.version],
                    egress=egress,
                    allow=False,
                    protocol=ANY_PROTOCOL,
                    block=block,
                )
            )
            for egress in (False, True)
            for block in blocks
        ]
    rng.shuffle(entries)
    return {
        "NetworkAclId": acl.acl_id,
        "VpcId": acl.vpc_id,
        "OwnerId": world.owner_of_vpc(acl.vpc_id),
        "IsDefault": acl.is_default,
        "Associations": [
            {
                "NetworkAclAssociationId": "aclassoc-" + subnet.subnet_id.removeprefix("subnet-"),
                "NetworkAclId": acl.acl_id,
                "SubnetId": subnet.subnet_id,
            }
            for subnet in world.subnets.values()
            if subnet.acl_id == acl.acl_id
        ],
        "Entries": entries,
        "Tags": [],
    }


def _entry(entry: AclEntry) -> Json:
    shown: Json = {
        "RuleNumber": entry.number,
        "Egress": entry.egress,
        "Protocol": str(entry.protocol),
        "RuleAction": "allow" if entry.allow else "deny",
        ("CidrBlock" if entry.block.version == ANY_V4.version else "Ipv6CidrBlock"): str(
            entry.block
        ),
    }
    if entry.ports is not None:
        shown["PortRange"] = {"From": entry.ports[0], "To": entry.ports[1]}
    if entry.icmp is not None:
        shown["IcmpTypeCode"] = {"Type": entry.icmp[0], "Code": entry.icmp[1]}
    return shown


def _peering(world: World, peering: Peering) -> Json:
    def side(vpc_id: str) -> Json:
        vpc = world.vpcs[vpc_id]
        return {
            "VpcId": vpc_id,
            "OwnerId": world.owner_of_vpc(vpc_id),
            "Region": world.region,
            "CidrBlock": str(vpc.block),
            "CidrBlockSet": [{"CidrBlock": str(vpc.block)}],
            "Ipv6CidrBlockSet": [
                {"Ipv6CidrBlock": str(block)} for block in (vpc.block_v6,) if block is not None
            ],
        }

    return {
        "VpcPeeringConnectionId": peering.peering_id,
        "Status": {"Code": peering.status, "Message": peering.status},
        "RequesterVpcInfo": side(peering.requester),
        "AccepterVpcInfo": side(peering.accepter),
        "Tags": [],
    }


def _endpoints(world: World) -> list[Json]:
    shown: list[Json] = [
        {
            "VpcEndpointId": endpoint_id,
            "VpcEndpointType": "Gateway",
            "VpcId": vpc_id,
            "ServiceName": world.prefix_lists[prefix_list_id][0],
            "State": "available",
            "RouteTableIds": [route_table_id(vpc_id)],
            "SubnetIds": [],
            "Groups": [],
            "NetworkInterfaceIds": [],
            "OwnerId": world.account_id,
        }
        for vpc_id, (endpoint_id, prefix_list_id) in world.gateway_endpoints.items()
    ]
    shown += [
        {
            "VpcEndpointId": interface.owner_id,
            "VpcEndpointType": "Interface",
            "VpcId": interface.vpc_id,
            "ServiceName": f"com.amazonaws.{world.region}.secretsmanager",
            "State": "available",
            "RouteTableIds": [],
            "SubnetIds": [interface.subnet_id],
            "Groups": [
                {"GroupId": group_id, "GroupName": world.groups[group_id].name}
                for group_id in interface.group_ids
            ],
            "NetworkInterfaceIds": [interface.interface_id],
            "PrivateDnsEnabled": True,
            "OwnerId": world.account_id,
        }
        for interface in world.interfaces.values()
        if interface.kind is Kind.ENDPOINT
    ]
    return shown
