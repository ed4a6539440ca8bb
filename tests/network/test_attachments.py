"""Transit gateway attachments: https://docs.aws.amazon.com/vpc/latest/tgw/tgw-nacls.html.

How network ACLs treat traffic beside an attachment is in ``tests/conformance`` as well; here is
what is read, and what follows where it is not known.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends

from flowverdict.flowlog.records import FlowDirection
from flowverdict.network.acl import evaluate_subnet_acl
from flowverdict.network.configuration import NetConfig
from flowverdict.network.ec2_queries import QUERY_ATTACHMENTS
from flowverdict.network.ec2_reading import Reading
from flowverdict.network.model import (
    Interface,
    NetworkAcl,
    NetworkAclEntry,
    Route,
    RouteTable,
    Subnet,
)
from flowverdict.network.packet import Outcome, Packet
from flowverdict_cli.local_aws import REGION
from tests.helpers.ec2_vpc import (
    SERVER,
    Aws,
    Clock,
    build,
    flow,
    interface,
    interface_ids,
    new_source,
    read,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mypy_boto3_ec2 import EC2Client

    from flowverdict.network.ec2_queries import Query

FAR = "10.99.0.7"
WORKLOAD = Interface(
    interface_id="eni-1",
    subnet_id="subnet-1",
    vpc_id="vpc-1",
    group_ids=("sg-1",),
    ipv4_addresses=(ip_address("10.0.1.5"),),  # type: ignore[arg-type]  # of an IPv4 text
)
ATTACHMENT = replace(WORKLOAD, interface_id="eni-2", interface_type="transit_gateway")


def entry(number: int, action: str, *, egress: bool, cidr: str = "0.0.0.0/0") -> NetworkAclEntry:
    return NetworkAclEntry(
        rule_number=number, egress=egress, action=action, protocol="-1", network=ip_network(cidr)
    )


def config(*entries: NetworkAclEntry, complete: bool = True) -> NetConfig:
    return NetConfig(
        interfaces=(WORKLOAD,),
        subnets=(Subnet(subnet_id="subnet-1", vpc_id="vpc-1", cidrs=(ip_network("10.0.1.0/24"),)),),
        network_acls=(
            NetworkAcl(
                network_acl_id="acl-1", vpc_id="vpc-1", entries=entries, subnet_ids=("subnet-1",)
            ),
        ),
        route_tables=(
            RouteTable(
                route_table_id="rtb-1",
                vpc_id="vpc-1",
                routes=(Route(destination=ip_network("10.99.0.0/16"), target="tgw-1"),),
                subnet_ids=("subnet-1",),
            ),
        ),
        incomplete=frozenset() if complete else frozenset({"interfaces"}),
    )


def outcome(network: NetConfig, direction: FlowDirection) -> Outcome | None:
    near, far = ip_address("10.0.1.5"), ip_address(FAR)
    incoming = direction is FlowDirection.INGRESS
    packet = Packet(
        source=far if incoming else near,
        destination=near if incoming else far,
        protocol=6,
        source_port=40_000,
        destination_port=443,
    )
    answer = evaluate_subnet_acl(network, WORKLOAD, packet, direction)
    return None if answer is None else answer.outcome


@pytest.mark.parametrize("direction", FlowDirection)
@pytest.mark.parametrize("outbound", ["allow", "deny"])
@pytest.mark.parametrize("inbound", ["allow", "deny"])
def test_what_is_not_known_of_attachments_is_never_decided(
    direction: FlowDirection, outbound: str, inbound: str
) -> None:
    """An answer without the attachments is right with and without one, or it is unknown."""
    entries = (
        entry(100, inbound, egress=False),
        entry(100, outbound, egress=True),
    )
    without = config(*entries)
    attached = replace(without, interfaces=(WORKLOAD, ATTACHMENT))
    possible = {
        Outcome.ALLOW if answer is None else answer
        for answer in (outcome(without, direction), outcome(attached, direction))
    }
    unread = outcome(config(*entries, complete=False), direction)
    assert unread is (possible.pop() if len(possible) == 1 else Outcome.UNKNOWN)


@pytest.mark.slow
def test_attachments_are_read_only_where_a_route_leads_to_a_transit_gateway(
    ec2: EC2Client, calls: Aws, clock: Clock
) -> None:
    world = build(ec2)
    attachment = interface(ec2, world.private, "10.0.2.9")
    # In AWS, the attachment creates its interfaces itself.
    ec2_backends[DEFAULT_ACCOUNT_ID][REGION].enis[attachment].interface_type = "transit_gateway"
    without = read(new_source(calls, clock), flow(world.server, FAR, SERVER))
    assert attachment not in interface_ids(without)
    made = len(calls.made())

    gateway = ec2.create_transit_gateway()["TransitGateway"]["TransitGatewayId"]
    (table,) = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [world.vpc]}])[
        "RouteTables"
    ]
    ec2.create_route(
        RouteTableId=table["RouteTableId"],
        DestinationCidrBlock="10.99.0.0/16",
        TransitGatewayId=gateway,
    )
    with_route = read(new_source(calls, clock), flow(world.server, FAR, SERVER))
    assert attachment in interface_ids(with_route)
    assert len(calls.made()) == made + 1
    assert with_route.knows_all("interfaces")


def test_attachments_that_could_not_be_read_leave_the_interfaces_incomplete(
    ec2: EC2Client, calls: Aws, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = build(ec2)
    gateway = ec2.create_transit_gateway()["TransitGateway"]["TransitGatewayId"]
    (table,) = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [world.vpc]}])[
        "RouteTables"
    ]
    ec2.create_route(
        RouteTableId=table["RouteTableId"],
        DestinationCidrBlock="10.99.0.0/16",
        TransitGatewayId=gateway,
    )
    request = Reading.request

    def refuse(reading: Reading, query: Query, values: Iterable[str]) -> bool:
        return query is not QUERY_ATTACHMENTS and request(reading, query, values)

    monkeypatch.setattr(Reading, "request", refuse)
    read_config = read(new_source(calls, clock), flow(world.server, FAR, SERVER))
    assert not read_config.knows_all("interfaces")
