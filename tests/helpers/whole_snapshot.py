"""A snapshot with every kind of element, in AWS's shapes, and the configuration that it holds."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_network

from flowverdict.network.configuration import NetConfig
from flowverdict.network.load_balancers import LoadBalancer, Target, TargetGroup
from flowverdict.network.model import (
    GroupReference,
    IcmpTypeCode,
    Interface,
    NetworkAcl,
    NetworkAclEntry,
    Peer,
    Peering,
    PeeringSide,
    PortRange,
    PrefixList,
    PrefixListReference,
    Route,
    RouteTable,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
    Vpc,
    VpcEndpoint,
)

INTERFACE = {
    "NetworkInterfaceId": "eni-1",
    "InterfaceType": "interface",
    "Description": "web",
    "RequesterManaged": False,
    "OwnerId": "111111111111",
    "Groups": [{"GroupId": "sg-1", "GroupName": "web"}],
    "SubnetId": "subnet-1",
    "VpcId": "vpc-1",
    "PrivateIpAddress": "10.0.1.5",
    "PrivateIpAddresses": [
        {
            "Primary": False,
            "PrivateIpAddress": "10.0.1.6",
            "Association": {"PublicIp": "203.0.113.6", "IpOwnerId": "amazon"},
        },
        {
            "Primary": True,
            "PrivateIpAddress": "10.0.1.5",
            "Association": {"PublicIp": "203.0.113.5", "IpOwnerId": "111111111111"},
        },
    ],
    "Association": {"PublicIp": "203.0.113.5", "IpOwnerId": "111111111111"},
    "Ipv6Addresses": [{"Ipv6Address": "2001:db8::5"}],
    "Ipv4Prefixes": [{"Ipv4Prefix": "10.0.1.64/28"}],
    "Ipv6Prefixes": [{"Ipv6Prefix": "2001:db8:0:0:1::/80"}],
    "Attachment": {"InstanceId": "i-1", "DeviceIndex": 0, "Status": "attached"},
    "SourceDestCheck": True,
    "Status": "in-use",
    "TagSet": [{"Key": "Name", "Value": "web-1"}],
}
GROUP = {
    "GroupId": "sg-1",
    "GroupName": "web",
    "Description": "web servers",
    "Tags": [{"Key": "team", "Value": "shop"}],
    "OwnerId": "111111111111",
    "VpcId": "vpc-1",
    "IpPermissions": [
        {
            "IpProtocol": "tcp",
            "FromPort": 443,
            "ToPort": 443,
            "IpRanges": [{"CidrIp": "10.0.0.0/8", "Description": "inside"}],
            "Ipv6Ranges": [{"CidrIpv6": "::/0"}],
            "PrefixListIds": [{"PrefixListId": "pl-1"}],
            "UserIdGroupPairs": [
                {
                    "GroupId": "sg-2",
                    "UserId": "222222222222",
                    "VpcId": "vpc-2",
                    "VpcPeeringConnectionId": "pcx-1",
                    "PeeringStatus": "active",
                }
            ],
        }
    ],
    "IpPermissionsEgress": [
        {
            "IpProtocol": "-1",
            "IpRanges": [{"CidrIp": "0.0.0.0/0"}],
            "Ipv6Ranges": [],
            "PrefixListIds": [],
            "UserIdGroupPairs": [],
        }
    ],
}
ACL = {
    "NetworkAclId": "acl-1",
    "VpcId": "vpc-1",
    "IsDefault": False,
    "OwnerId": "111111111111",
    "Associations": [
        {"NetworkAclAssociationId": "aclassoc-1", "NetworkAclId": "acl-1", "SubnetId": "subnet-1"}
    ],
    "Entries": [
        {
            "RuleNumber": 100,
            "Egress": False,
            "RuleAction": "allow",
            "Protocol": "6",
            "CidrBlock": "10.0.0.0/8",
            "PortRange": {"From": 0, "To": 443},
        },
        {
            "RuleNumber": 110,
            "Egress": True,
            "RuleAction": "deny",
            "Protocol": "58",
            "Ipv6CidrBlock": "::/0",
            "IcmpTypeCode": {"Type": -1, "Code": -1},
        },
    ],
    "Tags": [{"Key": "Name", "Value": "public"}],
}
PEERING = {
    "VpcPeeringConnectionId": "pcx-1",
    "RequesterVpcInfo": {
        "CidrBlock": "10.0.0.0/16",
        "CidrBlockSet": [{"CidrBlock": "10.0.0.0/16"}, {"CidrBlock": "10.4.0.0/16"}],
        "Ipv6CidrBlockSet": [{"Ipv6CidrBlock": "2001:db8::/56"}],
        "OwnerId": "111111111111",
        "VpcId": "vpc-1",
        "Region": "eu-west-1",
    },
    "AccepterVpcInfo": {"OwnerId": "222222222222", "VpcId": "vpc-2", "Region": "us-east-1"},
    "ExpirationTime": "2026-11-29T12:00:00+00:00",
    "Status": {"Code": "pending-acceptance", "Message": "Pending Acceptance by 222222222222"},
}
VPC = {
    "VpcId": "vpc-1",
    "OwnerId": "111111111111",
    "CidrBlock": "10.0.0.0/16",
    "CidrBlockAssociationSet": [
        {"CidrBlock": "10.0.0.0/16", "CidrBlockState": {"State": "associated"}},
        {"CidrBlock": "10.4.0.0/16", "CidrBlockState": {"State": "associated"}},
        {"CidrBlock": "10.5.0.0/16", "CidrBlockState": {"State": "disassociated"}},
    ],
    "Ipv6CidrBlockAssociationSet": [
        {"Ipv6CidrBlock": "2001:db8::/56", "Ipv6CidrBlockState": {"State": "associated"}},
        {"Ipv6CidrBlock": "2001:db8:1::/56", "Ipv6CidrBlockState": {"State": "failed"}},
    ],
    "BlockPublicAccessStates": {"InternetGatewayBlockMode": "block-ingress"},
    "Tags": [{"Key": "env", "Value": "prod"}],
}
SUBNET = {
    "SubnetId": "subnet-1",
    "OwnerId": "111111111111",
    "BlockPublicAccessStates": {"InternetGatewayBlockMode": "off"},
    "Tags": [{"Key": "Name", "Value": "public-a"}, {"Key": "empty"}],
    "VpcId": "vpc-1",
    "CidrBlock": "10.0.1.0/24",
    "Ipv6CidrBlockAssociationSet": [
        {"Ipv6CidrBlock": "2001:db8::/64", "Ipv6CidrBlockState": {"State": "associated"}}
    ],
}
ENDPOINT = {
    "VpcEndpointId": "vpce-1",
    "VpcEndpointType": "Interface",
    "VpcId": "vpc-1",
    "ServiceName": "com.amazonaws.eu-west-1.ssm",
    "State": "Available",
    "SubnetIds": ["subnet-1"],
    "Groups": [{"GroupId": "sg-1", "GroupName": "web"}],
    "NetworkInterfaceIds": ["eni-9"],
}
ROUTE_TABLE = {
    "RouteTableId": "rtb-1",
    "VpcId": "vpc-1",
    "Associations": [
        {"Main": True},
        {"Main": False, "SubnetId": "subnet-1"},
        {"Main": False, "GatewayId": "igw-1"},
    ],
    "Routes": [
        {"DestinationCidrBlock": "10.0.0.0/16", "GatewayId": "local", "State": "active"},
        {"DestinationPrefixListId": "pl-1", "GatewayId": "vpce-2", "State": "active"},
        {
            "DestinationIpv6CidrBlock": "::/0",
            "EgressOnlyInternetGatewayId": "eigw-1",
            "State": "active",
        },
        {
            "DestinationCidrBlock": "0.0.0.0/0",
            "InstanceId": "i-1",
            "NetworkInterfaceId": "eni-1",
            "State": "blackhole",
        },
    ],
}
PREFIX_LIST = {
    "PrefixListId": "pl-1",
    "PrefixListName": "com.amazonaws.eu-west-1.s3",
    "OwnerId": "AWS",
    "MaxEntries": 5,
    "Entries": [{"Cidr": "52.218.0.0/17"}, {"Cidr": "2a05:d07a::/40", "Description": "v6"}],
}
LOAD_BALANCER_ARN = (
    "arn:aws:elasticloadbalancing:eu-west-1:111111111111:loadbalancer/net/shop/0123456789abcdef"
)
TARGET_GROUP_ARN = (
    "arn:aws:elasticloadbalancing:eu-west-1:111111111111:targetgroup/shop/fedcba9876543210"
)
LOAD_BALANCER = {
    "LoadBalancerArn": LOAD_BALANCER_ARN,
    "LoadBalancerName": "shop",
    "Type": "network",
    "Scheme": "internet-facing",
    "State": {"Code": "active"},
    "VpcId": "vpc-1",
    "SecurityGroups": ["sg-1"],
    "AvailabilityZones": [{"ZoneName": "eu-west-1a", "SubnetId": "subnet-1"}],
}
TARGET_GROUP = {
    "TargetGroupArn": TARGET_GROUP_ARN,
    "TargetGroupName": "shop",
    "Protocol": "TCP",
    "Port": 443,
    "VpcId": "vpc-1",
    "TargetType": "instance",
    "LoadBalancerArns": [LOAD_BALANCER_ARN],
}
TARGET_HEALTH = {
    "Target": {"Id": "i-1", "Port": 8443},
    "HealthCheckPort": "8443",
    "TargetHealth": {"State": "healthy"},
}
WORLD: dict[str, object] = {
    "ReadAt": "2026-11-22T13:07:00+01:00",
    "NetworkInterfaces": [INTERFACE],
    "SecurityGroups": [GROUP],
    "NetworkAcls": [ACL],
    "Subnets": [SUBNET],
    "Vpcs": [VPC],
    "VpcPeeringConnections": [PEERING],
    "VpcEndpoints": [ENDPOINT],
    "RouteTables": [ROUTE_TABLE],
    "ManagedPrefixLists": [PREFIX_LIST],
    "LoadBalancers": [LOAD_BALANCER],
    "TargetGroups": [TARGET_GROUP],
    "TargetHealthDescriptions": {TARGET_GROUP_ARN: [TARGET_HEALTH]},
    "TargetGroupAttributes": {
        TARGET_GROUP_ARN: [
            {"Key": "proxy_protocol_v2.enabled", "Value": "false"},
            {"Key": "preserve_client_ip.enabled", "Value": "false"},
        ]
    },
    "TransitGateways": "a key of tomorrow",
}


def _rule(peer: Peer) -> SecurityGroupRule:
    return SecurityGroupRule(
        group_id="sg-1", egress=False, protocol="tcp", from_port=443, to_port=443, peer=peer
    )


EXPECTED = NetConfig(
    read_at=datetime(2026, 11, 22, 12, 7, tzinfo=UTC),
    interfaces=(
        Interface(
            interface_id="eni-1",
            interface_type="interface",
            description="web",
            requester_managed=False,
            owner_id="111111111111",
            group_ids=("sg-1",),
            subnet_id="subnet-1",
            vpc_id="vpc-1",
            ipv4_addresses=(IPv4Address("10.0.1.5"), IPv4Address("10.0.1.6")),
            ipv6_addresses=(IPv6Address("2001:db8::5"),),
            public_addresses=(IPv4Address("203.0.113.5"), IPv4Address("203.0.113.6")),
            prefixes=(ip_network("10.0.1.64/28"), ip_network("2001:db8:0:0:1::/80")),
            instance_id="i-1",
            source_dest_check=True,
            tags={"Name": "web-1"},
        ),
    ),
    security_groups=(
        SecurityGroup(
            group_id="sg-1",
            name="web",
            description="web servers",
            tags={"team": "shop"},
            owner_id="111111111111",
            vpc_id="vpc-1",
            ingress=(
                _rule(ip_network("10.0.0.0/8")),
                _rule(ip_network("::/0")),
                _rule(PrefixListReference(prefix_list_id="pl-1")),
                _rule(
                    GroupReference(
                        group_id="sg-2",
                        account_id="222222222222",
                        vpc_id="vpc-2",
                        peering_id="pcx-1",
                        peering_status="active",
                    )
                ),
            ),
            egress=(
                SecurityGroupRule(
                    group_id="sg-1", egress=True, protocol="-1", peer=ip_network("0.0.0.0/0")
                ),
            ),
        ),
    ),
    network_acls=(
        NetworkAcl(
            network_acl_id="acl-1",
            vpc_id="vpc-1",
            owner_id="111111111111",
            tags={"Name": "public"},
            is_default=False,
            entries=(
                NetworkAclEntry(
                    rule_number=100,
                    egress=False,
                    action="allow",
                    protocol="6",
                    network=ip_network("10.0.0.0/8"),
                    ports=PortRange(first=0, last=443),
                ),
                NetworkAclEntry(
                    rule_number=110,
                    egress=True,
                    action="deny",
                    protocol="58",
                    network=ip_network("::/0"),
                    icmp=IcmpTypeCode(type=-1, code=-1),
                ),
            ),
            subnet_ids=("subnet-1",),
        ),
    ),
    subnets=(
        Subnet(
            subnet_id="subnet-1",
            vpc_id="vpc-1",
            owner_id="111111111111",
            block_public_access="off",
            tags={"Name": "public-a", "empty": ""},
            cidrs=(ip_network("10.0.1.0/24"), ip_network("2001:db8::/64")),
        ),
    ),
    vpcs=(
        Vpc(
            vpc_id="vpc-1",
            cidrs=(
                ip_network("10.0.0.0/16"),
                ip_network("10.4.0.0/16"),
                ip_network("2001:db8::/56"),
            ),
            block_public_access="block-ingress",
            owner_id="111111111111",
            tags={"env": "prod"},
        ),
    ),
    peerings=(
        Peering(
            peering_id="pcx-1",
            requester=PeeringSide(
                vpc_id="vpc-1",
                owner_id="111111111111",
                region="eu-west-1",
                cidrs=(
                    ip_network("10.0.0.0/16"),
                    ip_network("10.4.0.0/16"),
                    ip_network("2001:db8::/56"),
                ),
            ),
            accepter=PeeringSide(vpc_id="vpc-2", owner_id="222222222222", region="us-east-1"),
            status="pending-acceptance",
            expires_at=datetime(2026, 11, 29, 12, tzinfo=UTC),
        ),
    ),
    endpoints=(
        VpcEndpoint(
            endpoint_id="vpce-1",
            endpoint_type="Interface",
            service_name="com.amazonaws.eu-west-1.ssm",
            state="Available",
            vpc_id="vpc-1",
            group_ids=("sg-1",),
            interface_ids=("eni-9",),
        ),
    ),
    route_tables=(
        RouteTable(
            route_table_id="rtb-1",
            vpc_id="vpc-1",
            routes=(
                Route(destination=ip_network("10.0.0.0/16"), target="local", state="active"),
                Route(
                    destination=PrefixListReference(prefix_list_id="pl-1"),
                    target="vpce-2",
                    state="active",
                ),
                Route(destination=ip_network("::/0"), target="eigw-1", state="active"),
                Route(destination=ip_network("0.0.0.0/0"), target="eni-1", state="blackhole"),
            ),
            subnet_ids=("subnet-1",),
            is_main=True,
        ),
    ),
    prefix_lists=(
        PrefixList(
            prefix_list_id="pl-1",
            name="com.amazonaws.eu-west-1.s3",
            owner_id="AWS",
            max_entries=5,
            cidrs=(ip_network("52.218.0.0/17"), ip_network("2a05:d07a::/40")),
        ),
    ),
    load_balancers=(
        LoadBalancer(
            arn=LOAD_BALANCER_ARN,
            name="shop",
            load_balancer_type="network",
            scheme="internet-facing",
            vpc_id="vpc-1",
            group_ids=("sg-1",),
        ),
    ),
    target_groups=(
        TargetGroup(
            arn=TARGET_GROUP_ARN,
            name="shop",
            protocol="TCP",
            port=443,
            vpc_id="vpc-1",
            target_type="instance",
            load_balancer_arns=(LOAD_BALANCER_ARN,),
            preserve_client_ip=False,
        ),
    ),
    targets=(Target(target_group_arn=TARGET_GROUP_ARN, target_id="i-1", port=8443),),
)
