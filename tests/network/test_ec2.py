"""What is read from EC2 for rejected flows, and what is cached; on moto, or on recorded answers."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.stub import Stubber

from flowverdict.core.availability import NotAvailable
from flowverdict.flowlog.records import FlowDirection
from flowverdict.network import ec2 as ec2_module
from flowverdict.network import ec2_cache
from flowverdict.network.packet import Outcome
from flowverdict.network.security_groups import evaluate_groups
from flowverdict.verdict.rules_check import RulesCheck, check_rules, with_interface_facts
from flowverdict_cli.local_aws import REGION
from tests.helpers.ec2_vpc import (
    CALLS_FOR_ONE_FLOW,
    CLIENT,
    DATABASE,
    NOON,
    OWN,
    SERVER,
    Aws,
    Clock,
    World,
    build,
    flow,
    interface,
    interface_ids,
    new_source,
    packet,
    read,
    refer,
    refused,
)

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

    from flowverdict.network.configuration import NetConfig
    from flowverdict.network.ec2 import Ec2Config

pytestmark = pytest.mark.usefixtures("local_ec2")

INTERNET = "203.0.113.9"


# --- what is read -----------------------------------------------------------------------------


def test_what_matters_to_a_flow_is_read_and_nothing_else(
    source: Ec2Config, world: World, ec2: EC2Client
) -> None:
    elsewhere = build(ec2, "10.9")
    config = read(source, flow(world.server, CLIENT, SERVER))
    assert interface_ids(config) == {world.server, world.client}
    assert {group.group_id for group in config.security_groups or ()} == {
        world.server_group,
        world.client_group,
    }
    assert {subnet.subnet_id for subnet in config.subnets or ()} == {world.public, world.private}
    acl = config.network_acl_of_subnet(world.private)
    assert acl is not None
    assert acl.network_acl_id == world.acl
    assert config.network_acl_of_subnet(world.public) is not None
    assert [vpc.vpc_id for vpc in config.vpcs or ()] == [world.vpc]
    assert config.route_table_of_subnet(world.public, world.vpc) is not None
    assert config.peerings == ()
    assert config.endpoints == ()
    assert config.prefix_lists is None
    assert config.read_at == NOON
    assert elsewhere.server not in interface_ids(config)


def test_one_flow_takes_eleven_calls_and_so_do_a_hundred_of_its_vpc(
    calls: Aws, clock: Clock, world: World
) -> None:
    read(new_source(calls, clock), flow(world.server, CLIENT, SERVER))
    assert (
        len(calls.made()) == CALLS_FOR_ONE_FLOW + 1
    )  # and the holders of the group its rule refers to
    many = [flow(world.server, f"10.0.1.{host}", SERVER) for host in range(10, 110)]
    read(new_source(calls, clock), *many, flow(world.database, CLIENT, DATABASE, 5432))
    assert Counter(calls.made()) == {
        # The flows' own, the remote ones, the holders, and those of network load balancers.
        "DescribeNetworkInterfaces": 4,
        "DescribeSecurityGroups": 1,
        "DescribeNetworkAcls": 1,
        "DescribeSubnets": 1,
        "DescribeVpcs": 1,
        "DescribeVpcPeeringConnections": 2,
        "DescribeVpcEndpoints": 1,
        "DescribeRouteTables": 1,
    }


def test_scan_from_the_internet_looks_up_none_of_its_addresses(
    source: Ec2Config, calls: Aws, world: World
) -> None:
    scan = [flow(world.database, f"203.0.113.{host}", DATABASE, 22) for host in range(1, 250)]
    config = read(source, *scan)
    assert interface_ids(config) == {world.database}
    # The interface itself, and those of network load balancers.
    assert calls.made().count("DescribeNetworkInterfaces") == 2
    assert all(
        len(filter_["Values"]) == 1
        for request in calls.requests
        for filter_ in request.get("Filters", ())
    )


def test_filters_hold_at_most_200_values(source: Ec2Config, calls: Aws, world: World) -> None:
    many = [
        flow(world.server, f"10.0.{host // 250}.{host % 250}", SERVER) for host in range(1, 451)
    ]
    read(source, *many)
    sizes = [
        sum(len(filter_["Values"]) for filter_ in request.get("Filters", ()))
        for request in calls.requests
    ]
    assert max(sizes) == 200
    assert all("MaxResults" in request for request in calls.requests)
    assert not any(key.endswith("Ids") for request in calls.requests for key in request)


def test_rule_that_refers_to_a_group_is_evaluated_with_all_its_holders(
    source: Ec2Config, changing: World, ec2: EC2Client
) -> None:
    others = {
        interface(ec2, changing.public, f"10.0.1.{host}", changing.client_group)
        for host in (11, 12)
    }
    config = read(source, flow(changing.server, DATABASE, SERVER))
    assert interface_ids(config) == {changing.server, changing.database, changing.client, *others}
    server = config.interface(changing.server)
    assert server is not None
    assert (
        evaluate_groups(config, server, packet(CLIENT, SERVER), FlowDirection.INGRESS).outcome
        is Outcome.ALLOW
    )
    assert (
        evaluate_groups(config, server, packet(DATABASE, SERVER), FlowDirection.INGRESS).outcome
        is Outcome.DENY
    )


def test_prefix_lists_of_rules_and_of_gateway_endpoints_are_read_with_their_entries(
    source: Ec2Config, changing: World, ec2: EC2Client
) -> None:
    entries: Any = [{"Cidr": "198.51.100.0/24"}, {"Cidr": "203.0.113.0/24"}]
    made = ec2.create_managed_prefix_list(
        PrefixListName="partners", MaxEntries=5, AddressFamily="IPv4", Entries=entries
    )
    partners = made["PrefixList"]["PrefixListId"]
    permission: Any = {
        "IpProtocol": "tcp",
        "FromPort": 5432,
        "ToPort": 5432,
        "PrefixListIds": [{"PrefixListId": partners}],
    }
    ec2.authorize_security_group_ingress(
        GroupId=changing.database_group, IpPermissions=[permission]
    )
    table = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [changing.vpc]}])[
        "RouteTables"
    ][0]["RouteTableId"]
    service = f"com.amazonaws.{REGION}.s3"
    ec2.create_vpc_endpoint(
        VpcId=changing.vpc, ServiceName=service, VpcEndpointType="Gateway", RouteTableIds=[table]
    )
    config = read(source, flow(changing.database, INTERNET, DATABASE, 5432))
    lists = {prefix_list.name: prefix_list.cidrs for prefix_list in config.prefix_lists or ()}
    assert set(lists) == {"partners", service}
    assert [str(cidr) for cidr in lists["partners"] or ()] == ["198.51.100.0/24", "203.0.113.0/24"]
    assert lists[service]
    assert [endpoint.service_name for endpoint in config.endpoints or ()] == [service]


@pytest.mark.slow
def test_interface_in_a_peered_vpc_is_found_behind_the_connection(
    source: Ec2Config, changing: World, ec2: EC2Client
) -> None:
    peer = build(ec2, "10.7")
    peering = ec2.create_vpc_peering_connection(VpcId=changing.vpc, PeerVpcId=peer.vpc)[
        "VpcPeeringConnection"
    ]
    waiting = read(source, flow(changing.server, "10.7.1.10", SERVER))
    assert peer.client not in interface_ids(waiting)
    ec2.accept_vpc_peering_connection(VpcPeeringConnectionId=peering["VpcPeeringConnectionId"])
    again = new_source(Aws(), Clock())
    config = read(again, flow(changing.server, "10.7.1.10", SERVER))
    assert [peering.status for peering in config.peerings or ()] == ["active"]
    assert peer.client in interface_ids(config)
    assert {vpc.vpc_id for vpc in config.vpcs or ()} == {changing.vpc, peer.vpc}
    found = config.interface(peer.client)
    assert found is not None
    assert config.network_acl_of_subnet(found.subnet_id or "") is not None


def test_interface_that_was_deleted_is_named_and_the_verdict_stands(
    source: Ec2Config, world: World
) -> None:
    deleted = flow("eni-0123456789abcdef0", CLIENT, SERVER)
    there = flow(world.server, CLIENT, SERVER)
    config = read(source, deleted, there)
    assert check_rules(deleted, config) == NotAvailable(
        "eni-0123456789abcdef0 is not in the configuration that was read (it may be deleted)"
    )
    assert world.server in interface_ids(config)
    assert check_rules(deleted, read(source, deleted)) == check_rules(deleted, config)


@pytest.mark.parametrize("name", ["-", "eni-*", "eni-?23", "eni-1,eni-2", "eni-" + "0" * 99])
def test_text_that_is_not_an_interface_id_makes_no_call(
    source: Ec2Config, calls: Aws, name: str
) -> None:
    assert refused(source, flow(name, CLIENT, SERVER)) == "no network interface is named"
    assert refused(source) == "no network interface is named"
    assert (calls.calls, calls.clients) == ([], [])


# --- cached results ---------------------------------------------------------------------------


def test_what_was_read_is_used_again_and_only_the_rest_is_requested(
    source: Ec2Config, calls: Aws, clock: Clock, world: World
) -> None:
    first = read(source, flow(world.server, CLIENT, SERVER))
    calls.made()
    clock.seconds = 30.0
    assert read(source, flow(world.server, CLIENT, SERVER)) == first
    assert calls.made() == []
    both = read(
        source, flow(world.server, CLIENT, SERVER), flow(world.database, CLIENT, DATABASE, 5432)
    )
    assert calls.made() == [
        "DescribeNetworkInterfaces",
        "DescribeSecurityGroups",
    ]  # the database and its group
    assert interface_ids(both) == {world.server, world.client, world.database}
    assert both.read_at == NOON  # the oldest of what it rests on


def test_results_are_read_again_after_a_minute(
    source: Ec2Config, calls: Aws, clock: Clock, changing: World, ec2: EC2Client
) -> None:
    read(source, flow(changing.server, CLIENT, SERVER))
    refer(ec2, changing.server_group, changing.client_group, 8443)
    clock.seconds = 59.0
    assert rules_of(read(source, flow(changing.server, CLIENT, SERVER)), changing.server_group) == 1
    calls.made()
    clock.seconds = 60.0
    config = read(source, flow(changing.server, CLIENT, SERVER))
    assert rules_of(config, changing.server_group) == 2
    assert len(calls.made()) == CALLS_FOR_ONE_FLOW + 1
    assert config.read_at == NOON + timedelta(seconds=60)


def rules_of(config: NetConfig, group_id: str) -> int:
    group = config.security_group(group_id)
    assert group is not None
    return len(group.ingress or ())


def test_cached_results_and_clients_are_bounded(
    clock: Clock, calls: Aws, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ec2_cache, "MAX_CACHED_ITEMS", 5)
    monkeypatch.setattr(ec2_module, "MAX_ACCOUNT_REGIONS", 1)
    source = new_source(calls, clock)
    config = read(source, flow(world.server, CLIENT, SERVER))
    assert interface_ids(config) == {
        world.server,
        world.client,
    }  # a reading larger than the cache is still complete
    assert source._context.cache._size <= 5  # noqa: SLF001 - no other way to see it
    source.read(OWN, "eu-central-1", [flow(world.server, CLIENT, SERVER)])
    read(source, flow(world.server, CLIENT, SERVER))
    assert [region for _, region in calls.clients] == [REGION, "eu-central-1", REGION]


# --- answers of the recorded shape: moto has no paging, no IPv6 filter and no second page -----


def filters(**values: list[str]) -> list[dict[str, object]]:
    return [
        {"Name": name.replace("__", ".").replace("_", "-"), "Values": value}
        for name, value in values.items()
    ]


def test_pages_are_followed_and_requests_are_as_ec2_requires_them(clock: Clock) -> None:
    client = boto3.client("ec2", region_name=REGION)
    stub = Stubber(client)
    here, there = "2001:db8:0:1::5", "2001:db8:0:2::6"
    server = {
        "NetworkInterfaceId": "eni-1",
        "VpcId": "vpc-1",
        "SubnetId": "subnet-1",
        "OwnerId": OWN,
        "Groups": [{"GroupId": "sg-1"}],
        "PrivateIpAddresses": [{"PrivateIpAddress": "10.0.0.5"}],
        "Ipv6Addresses": [{"Ipv6Address": here}],
    }
    client_side = {
        **server,
        "NetworkInterfaceId": "eni-2",
        "Ipv6Addresses": [{"Ipv6Address": "2001:DB8:0:2:0::6"}],
    }
    group = {
        "GroupId": "sg-1",
        "VpcId": "vpc-1",
        "IpPermissions": [{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": "sg-1"}]}],
    }
    vpc = {"VpcId": "vpc-1", "Ipv6CidrBlockAssociationSet": [{"Ipv6CidrBlock": "2001:db8::/56"}]}
    managed = {"MaxResults": 1000, "IncludeManagedResources": True}

    def expect(operation: str, answer: dict[str, Any], **request: Any) -> None:  # noqa: ANN401 - as AWS has it
        stub.add_response(operation, answer, {"MaxResults": 1000, **request})

    expect(
        "describe_network_interfaces",
        {"NetworkInterfaces": [server]},
        **managed,
        Filters=filters(network_interface_id=["eni-1"]),
    )
    expect("describe_vpcs", {"Vpcs": [vpc]}, Filters=filters(vpc_id=["vpc-1"]))
    peerings = "describe_vpc_peering_connections"
    expect(
        peerings,
        {"VpcPeeringConnections": []},
        Filters=filters(requester_vpc_info__vpc_id=["vpc-1"]),
    )
    expect(
        peerings,
        {"VpcPeeringConnections": []},
        Filters=filters(accepter_vpc_info__vpc_id=["vpc-1"]),
    )
    at_address = filters(ipv6_addresses__ipv6_address=[there], vpc_id=["vpc-1"])
    expect(
        "describe_network_interfaces",
        {"NetworkInterfaces": [client_side]},
        **managed,
        Filters=at_address,
    )
    expect(
        "describe_security_groups", {"SecurityGroups": [group]}, Filters=filters(group_id=["sg-1"])
    )
    expect(
        "describe_network_acls",
        {"NetworkAcls": []},
        Filters=filters(association__subnet_id=["subnet-1"]),
    )
    holders = {**managed, "Filters": filters(group_id=["sg-1"])}
    third = {**server, "NetworkInterfaceId": "eni-3", "Ipv6Addresses": []}
    expect(
        "describe_network_interfaces",
        {"NetworkInterfaces": [server, client_side], "NextToken": "more"},
        **holders,
    )
    expect(
        "describe_network_interfaces", {"NetworkInterfaces": [third]}, **holders, NextToken="more"
    )
    expect("describe_subnets", {"Subnets": []}, Filters=filters(subnet_id=["subnet-1"]))
    expect("describe_vpc_endpoints", {"VpcEndpoints": []}, Filters=filters(vpc_id=["vpc-1"]))
    expect(
        "describe_route_tables",
        {"RouteTables": []},
        MaxResults=100,
        Filters=filters(vpc_id=["vpc-1"]),
    )
    expect(
        "describe_network_interfaces",
        {"NetworkInterfaces": []},
        **managed,
        Filters=filters(vpc_id=["vpc-1"], interface_type=["network_load_balancer"]),
    )

    with stub:
        config = read(new_source(lambda *_: client, clock), flow("eni-1", there, here))
    stub.assert_no_pending_responses()
    assert interface_ids(config) == {"eni-1", "eni-2", "eni-3"}
    remote = config.interface_at("vpc-1", ip_address(there))
    assert remote is not None
    assert remote.interface_id == "eni-2"


def test_verdict_names_the_rule_that_was_read(
    source: Ec2Config, changing: World, ec2: EC2Client
) -> None:
    ec2.create_network_acl_entry(
        NetworkAclId=changing.acl,
        RuleNumber=90,
        Protocol="6",
        RuleAction="deny",
        Egress=False,
        CidrBlock="10.0.1.0/24",
    )
    blocked = flow(changing.server, CLIENT, SERVER)
    config = read(source, blocked)
    rules_check = check_rules(with_interface_facts(blocked, config), config)
    assert isinstance(rules_check, RulesCheck)
    assert rules_check.acl is not None
    assert rules_check.acl.entry is not None
    assert str(rules_check.acl.entry) == "rule 90: deny TCP from 10.0.1.0/24"
    assert rules_check.groups.outcome is Outcome.ALLOW
    assert rules_check.read_at == NOON
