"""A network load balancer on moto, with a target group and its interface, which moto leaves out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends

from flowverdict_cli.local_aws import REGION

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


@dataclass(frozen=True, slots=True, kw_only=True)
class Balancer:
    """The ids of a network load balancer, and of its VPC, interface and security group."""

    arn: str
    vpc: str
    interface: str
    group: str


def load_balancing() -> Any:  # noqa: ANN401 - no stubs of this service are installed
    """Return a client of load balancing."""
    make: Any = boto3.client
    return make("elbv2", region_name=REGION)


def make_balancer(ec2: EC2Client, subnet: str, name: str = "front") -> Balancer:
    """Create a network load balancer in a subnet."""
    vpc = ec2.describe_subnets(SubnetIds=[subnet])["Subnets"][0]["VpcId"]
    group = ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc)["GroupId"]
    arn = load_balancing().create_load_balancer(
        Name=name, Type="network", Subnets=[subnet], SecurityGroups=[group]
    )["LoadBalancers"][0]["LoadBalancerArn"]
    interface = ec2.create_network_interface(
        SubnetId=subnet, Groups=[group], Description="ELB " + arn.partition(":loadbalancer/")[2]
    )["NetworkInterface"]["NetworkInterfaceId"]
    # In AWS, the load balancer creates its interfaces itself.
    made = ec2_backends[DEFAULT_ACCOUNT_ID][REGION].enis[interface]
    made.interface_type, made.requester_managed = "network_load_balancer", True
    return Balancer(arn=arn, vpc=vpc, interface=interface, group=group)


def add_target_group(  # noqa: PLR0913 - all but three have a default
    balancer: Balancer,
    name: str,
    target_id: str,
    *,
    protocol: str = "TCP",
    port: int = 443,
    target_type: str = "ip",
    attributes: dict[str, str] | None = None,
) -> str:
    """Create a target group with one target behind a load balancer; return its ARN."""
    elb = load_balancing()
    target_group: str = elb.create_target_group(
        Name=name, Protocol=protocol, Port=port, VpcId=balancer.vpc, TargetType=target_type
    )["TargetGroups"][0]["TargetGroupArn"]
    elb.create_listener(
        LoadBalancerArn=balancer.arn,
        Protocol=protocol,
        Port=port,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": target_group}],
    )
    elb.register_targets(TargetGroupArn=target_group, Targets=[{"Id": target_id, "Port": port}])
    if attributes is not None:
        elb.modify_target_group_attributes(
            TargetGroupArn=target_group,
            Attributes=[{"Key": key, "Value": value} for key, value in attributes.items()],
        )
    return target_group
