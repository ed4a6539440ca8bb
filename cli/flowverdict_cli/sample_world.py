"""The small shop of the sample events, created in moto: a VPC with two faults.

The web subnet's network ACL allows requests in and denies their replies out. The app subnet's
network ACL denies replies from the internet. The database's security group allows the web servers
only. moto's ids follow from its seed, and the sample flow logs under ``events/`` name these ids; a
test compares both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from moto.moto_api._internal import mock_random

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import IpPermissionTypeDef


_SEED = 20261122
LOG_GROUP = "/sample/vpc-flow-logs"
LOG_FORMAT = (
    "${version} ${account-id} ${interface-id} ${srcaddr} ${dstaddr} ${srcport} ${dstport}"
    " ${protocol} ${packets} ${bytes} ${start} ${end} ${action} ${log-status} ${vpc-id}"
    " ${subnet-id} ${instance-id} ${tcp-flags} ${pkt-srcaddr} ${pkt-dstaddr} ${region}"
    " ${flow-direction} ${reject-reason}"
)
_EVERYWHERE = "0.0.0.0/0"
_VPC_RANGE = "10.0.0.0/16"


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleWorld:
    """The ids of the VPC, and of its subnets and interfaces by name."""

    vpc_id: str
    subnets: dict[str, str]
    interfaces: dict[str, str]


def make_sample_world() -> SampleWorld:
    """Create the shop in moto, with the same ids each time; moto's random numbers are seeded."""
    mock_random.seed(_SEED)
    ec2 = boto3.client("ec2")
    vpc_id = ec2.create_vpc(CidrBlock=_VPC_RANGE)["Vpc"]["VpcId"]
    subnets = {
        name: ec2.create_subnet(VpcId=vpc_id, CidrBlock=f"10.0.{number}.0/24")["Subnet"]["SubnetId"]
        for number, name in ((1, "web"), (2, "app"), (3, "database"))
    }
    groups = _make_groups(ec2, vpc_id)
    _make_acls(ec2, vpc_id, subnets)
    interfaces = {
        name: _make_interface(ec2, subnets[subnet], address, groups[group], name)
        for name, subnet, address, group in (
            ("shop-web", "web", "10.0.1.5", "web"),
            ("shop-app", "app", "10.0.2.20", "app"),
            ("shop-worker", "app", "10.0.2.45", "worker"),
            ("shop-database", "database", "10.0.3.30", "database"),
        )
    }
    address = ec2.allocate_address(Domain="vpc")  # what the internet asks has a public address
    ec2.associate_address(
        AllocationId=address["AllocationId"], NetworkInterfaceId=interfaces["shop-web"]
    )
    _make_flow_log(ec2, vpc_id)
    return SampleWorld(vpc_id=vpc_id, subnets=subnets, interfaces=interfaces)


def _make_groups(ec2: EC2Client, vpc_id: str) -> dict[str, str]:
    names = ("web", "app", "worker", "database")
    groups = {
        name: ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc_id)["GroupId"]
        for name in names
    }
    _let_in(ec2, groups["web"], _tcp(443, _EVERYWHERE), _tcp(22, "10.0.9.0/24"))
    _let_in(ec2, groups["app"], _tcp(8080, _VPC_RANGE))
    _let_in(ec2, groups["database"], _tcp_from_group(5432, groups["web"]))
    for name in ("app", "worker"):
        default = ec2.describe_security_groups(GroupIds=[groups[name]])["SecurityGroups"][0][
            "IpPermissionsEgress"
        ]
        ec2.revoke_security_group_egress(GroupId=groups[name], IpPermissions=default)
    ec2.authorize_security_group_egress(
        GroupId=groups["app"],
        IpPermissions=[_tcp(443, _EVERYWHERE), _tcp(5432, _VPC_RANGE), _tcp(8080, _VPC_RANGE)],
    )
    ec2.authorize_security_group_egress(
        GroupId=groups["worker"], IpPermissions=[_tcp(5432, _VPC_RANGE)]
    )
    return groups


def _let_in(ec2: EC2Client, group_id: str, *permissions: IpPermissionTypeDef) -> None:
    ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[*permissions])


def _tcp(port: int, cidr: str) -> IpPermissionTypeDef:
    return {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": cidr}]}


def _tcp_from_group(port: int, group_id: str) -> IpPermissionTypeDef:
    return {
        "IpProtocol": "tcp",
        "FromPort": port,
        "ToPort": port,
        "UserIdGroupPairs": [{"GroupId": group_id}],
    }


def _make_acls(ec2: EC2Client, vpc_id: str, subnets: dict[str, str]) -> None:
    # Each entry: subnet, number, egress, range, port (None for all traffic).
    entries = (
        ("web", 100, False, _EVERYWHERE, 443),
        ("web", 110, False, _EVERYWHERE, 22),
        ("web", 120, False, _VPC_RANGE, None),
        ("web", 100, True, _VPC_RANGE, None),
        ("app", 100, False, _VPC_RANGE, None),
        ("app", 100, True, _EVERYWHERE, None),
    )
    acls = {}
    for name in ("web", "app"):
        acls[name] = str(ec2.create_network_acl(VpcId=vpc_id)["NetworkAcl"]["NetworkAclId"])
        found = ec2.describe_network_acls(
            Filters=[{"Name": "association.subnet-id", "Values": [subnets[name]]}]
        )
        for association in found["NetworkAcls"][0]["Associations"]:
            if association["SubnetId"] == subnets[name]:
                ec2.replace_network_acl_association(
                    AssociationId=association["NetworkAclAssociationId"], NetworkAclId=acls[name]
                )
    for name, number, egress, cidr, port in entries:
        everything = {"Protocol": "-1"}
        one_port = {"Protocol": "6", "PortRange": {"From": port, "To": port}}
        ec2.create_network_acl_entry(
            NetworkAclId=acls[name],
            RuleNumber=number,
            Egress=egress,
            RuleAction="allow",
            CidrBlock=cidr,
            **(everything if port is None else one_port),
        )


def _make_interface(ec2: EC2Client, subnet_id: str, address: str, group_id: str, name: str) -> str:
    made = ec2.create_network_interface(
        SubnetId=subnet_id, PrivateIpAddress=address, Groups=[group_id]
    )
    interface_id = made["NetworkInterface"]["NetworkInterfaceId"]
    ec2.create_tags(Resources=[interface_id], Tags=[{"Key": "Name", "Value": name}])
    return interface_id


def _make_flow_log(ec2: EC2Client, vpc_id: str) -> None:
    boto3.client("logs").create_log_group(logGroupName=LOG_GROUP)
    ec2.create_flow_logs(
        ResourceIds=[vpc_id],
        ResourceType="VPC",
        TrafficType="ALL",
        LogDestinationType="cloud-watch-logs",
        LogGroupName=LOG_GROUP,
        DeliverLogsPermissionArn="arn:aws:iam::123456789012:role/flow-logs",
        LogFormat=LOG_FORMAT,
    )
