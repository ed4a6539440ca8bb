"""Look-ups over a configuration."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest

from flowverdict.network.configuration import NetConfig
from flowverdict.network.model import (
    Interface,
    NetworkAcl,
    Peering,
    PeeringSide,
    PrefixList,
    RouteTable,
    SecurityGroup,
    Subnet,
    Vpc,
    VpcEndpoint,
    peering_carries_traffic,
    protocol_number,
)

POD_HOST = Interface(
    interface_id="eni-1",
    vpc_id="vpc-1",
    group_ids=("sg-1", "sg-2"),
    ipv4_addresses=(IPv4Address("10.0.1.5"), IPv4Address("10.0.1.6")),
    ipv6_addresses=(IPv6Address("2001:db8::5"),),
    prefixes=(ip_network("10.0.1.64/28"), ip_network("2001:db8:0:0:1::/80")),
)
TWIN = Interface(
    interface_id="eni-2",
    vpc_id="vpc-2",
    group_ids=("sg-2",),
    ipv4_addresses=(IPv4Address("10.0.1.5"),),
)
NOWHERE = Interface(interface_id="eni-3", ipv4_addresses=(IPv4Address("10.0.1.5"),))


@pytest.mark.parametrize(
    ("vpc", "address", "expected"),
    [
        ("vpc-1", "10.0.1.5", "eni-1"),
        ("vpc-1", "10.0.1.6", "eni-1"),
        ("vpc-1", "10.0.1.79", "eni-1"),
        ("vpc-1", "2001:db8::5", "eni-1"),
        ("vpc-1", "2001:db8::1:0:0:9", "eni-1"),
        ("vpc-2", "10.0.1.5", "eni-2"),
        ("vpc-1", "10.0.1.80", None),
        ("vpc-2", "10.0.1.65", None),
        ("vpc-3", "10.0.1.5", None),
        (None, "10.0.1.5", None),
    ],
)
def test_an_interface_is_found_by_any_of_its_addresses_in_its_vpc(
    vpc: str | None, address: str, expected: str | None
) -> None:
    found = NetConfig(interfaces=(NOWHERE, TWIN, POD_HOST)).interface_at(vpc, ip_address(address))
    assert (None if found is None else found.interface_id) == expected


def test_the_holders_of_a_group_are_found() -> None:
    config = NetConfig(interfaces=(POD_HOST, TWIN))
    assert config.holders("sg-2") == (POD_HOST, TWIN)
    assert config.holders("sg-1") == (POD_HOST,)
    assert config.holders("sg-9") == ()


DEFAULT = NetworkAcl(network_acl_id="acl-default", vpc_id="vpc-1", is_default=True)
OWN = NetworkAcl(
    network_acl_id="acl-own", vpc_id="vpc-1", is_default=False, subnet_ids=("subnet-1",)
)
SUBNETS = tuple(Subnet(subnet_id=name, vpc_id="vpc-1") for name in ("subnet-1", "subnet-2"))


@pytest.mark.parametrize(
    ("acls", "subnet", "vpc", "expected"),
    [
        ((DEFAULT, OWN), "subnet-1", None, "acl-own"),
        ((DEFAULT, OWN), "subnet-2", None, "acl-default"),
        ((replace(DEFAULT, subnet_ids=()), OWN), "subnet-2", None, "acl-default"),
        ((replace(DEFAULT, subnet_ids=("subnet-2",)), OWN), "subnet-2", None, "acl-default"),
        ((replace(DEFAULT, subnet_ids=("subnet-3",)), OWN), "subnet-2", None, None),
        ((DEFAULT, OWN), "subnet-9", None, None),
        ((DEFAULT, OWN), "subnet-9", "vpc-1", "acl-default"),
        ((DEFAULT, OWN), "subnet-9", "vpc-2", None),
        ((OWN,), "subnet-2", None, None),
        ((replace(DEFAULT, vpc_id=None),), "subnet-9", None, None),
        (None, "subnet-1", "vpc-1", None),
    ],
)
def test_a_subnet_has_its_own_acl_or_the_default_acl(
    acls: tuple[NetworkAcl, ...] | None, subnet: str, vpc: str | None, expected: str | None
) -> None:
    found = NetConfig(network_acls=acls, subnets=SUBNETS).network_acl_of_subnet(subnet, vpc)
    assert (None if found is None else found.network_acl_id) == expected


def test_a_subnet_has_its_own_route_table_or_the_main_table() -> None:
    main = RouteTable(route_table_id="rtb-main", vpc_id="vpc-1", subnet_ids=(), is_main=True)
    own = RouteTable(
        route_table_id="rtb-own", vpc_id="vpc-1", subnet_ids=("subnet-1",), is_main=False
    )
    config = NetConfig(route_tables=(main, own), subnets=SUBNETS)
    assert config.route_table_of_subnet("subnet-1") == own
    assert config.route_table_of_subnet("subnet-2") == main
    assert config.route_table_of_subnet("subnet-9") is None
    assert config.route_table_of_subnet("subnet-9", "vpc-1") == main


def test_everything_is_found_by_its_id() -> None:
    requester, accepter = (
        PeeringSide(vpc_id="vpc-1", region="eu-west-1"),
        PeeringSide(vpc_id="vpc-2", region="eu-west-2"),
    )
    peering = Peering(peering_id="pcx-1", requester=requester, accepter=accepter)
    endpoint = VpcEndpoint(endpoint_id="vpce-1", interface_ids=("eni-1",), state="available")
    config = NetConfig(
        interfaces=(POD_HOST,),
        security_groups=(SecurityGroup(group_id="sg-1"),),
        network_acls=(OWN,),
        subnets=SUBNETS,
        vpcs=(Vpc(vpc_id="vpc-1"),),
        peerings=(peering,),
        endpoints=(endpoint,),
        prefix_lists=(PrefixList(prefix_list_id="pl-1"),),
    )
    assert config.interface("eni-1") == POD_HOST
    assert config.security_group("sg-1") == SecurityGroup(group_id="sg-1")
    assert config.network_acl("acl-own") == OWN
    assert config.subnet("subnet-2") == SUBNETS[1]
    assert config.vpc("vpc-1") == Vpc(vpc_id="vpc-1")
    assert config.peering("pcx-1") == peering
    assert config.peerings_of("vpc-2") == (peering,)
    assert config.peerings_of("vpc-3") == ()
    assert config.endpoint_of_interface("eni-1") == endpoint
    assert config.prefix_list("pl-1") == PrefixList(prefix_list_id="pl-1")
    assert NetConfig().interface("eni-1") is None


def test_a_changed_configuration_has_new_look_ups() -> None:
    config = NetConfig(interfaces=(POD_HOST,))
    assert replace(config, interfaces=()).interface("eni-1") is None


def test_a_peering_has_two_sides() -> None:
    requester, accepter = (
        PeeringSide(vpc_id="vpc-1", region="eu-west-1"),
        PeeringSide(vpc_id="vpc-2", region="eu-west-2"),
    )
    peering = Peering(peering_id="pcx-1", requester=requester, accepter=accepter)
    assert (peering.side("vpc-1"), peering.other_side("vpc-1")) == (requester, accepter)
    assert (peering.side("vpc-2"), peering.other_side("vpc-2")) == (accepter, requester)
    assert peering.other_side("vpc-3") is None
    assert peering.other_side(None) is None
    assert peering.crosses_regions is True
    assert replace(peering, accepter=replace(accepter, region="eu-west-1")).crosses_regions is False
    assert replace(peering, accepter=PeeringSide()).crosses_regions is None


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("active", True),
        ("pending-acceptance", False),
        ("expired", False),
        ("deleted", False),
        ("of-tomorrow", None),
        (None, None),
    ],
)
def test_only_an_active_peering_carries_traffic(
    status: str | None, *, expected: bool | None
) -> None:
    assert peering_carries_traffic(status) is expected


@pytest.mark.parametrize(
    ("state", "expected"),
    [("Available", True), ("available", True), ("Pending", False), (None, None)],
)
def test_an_endpoints_state_is_read_in_either_case(
    state: str | None, *, expected: bool | None
) -> None:
    assert VpcEndpoint(endpoint_id="vpce-1", state=state).is_available is expected


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("6", 6),
        ("tcp", 6),
        ("udp", 17),
        ("icmp", 1),
        ("icmpv6", 58),
        ("0", 0),
        ("-1", None),
        ("quic", None),
        ("٦", None),
        (None, None),
    ],
)
def test_a_protocol_is_a_name_or_a_number(text: str | None, number: int | None) -> None:
    assert protocol_number(text) == number
