"""Reading ``Describe*`` answers: real shapes, what is not known, and bad input."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path
from typing import cast

import pytest

from flowverdict.core.errors import ConfigError
from flowverdict.flowlog.records import FlowDirection
from flowverdict.network.configuration import NetConfig
from flowverdict.network.model import (
    Interface,
    NetworkAcl,
    NetworkAclEntry,
    Peering,
    PeeringSide,
    PrefixList,
    RouteTable,
    SecurityGroup,
    Subnet,
    Vpc,
    VpcEndpoint,
)
from flowverdict.network.packet import Outcome, Packet
from flowverdict.network.security_groups import evaluate_groups
from flowverdict.network.snapshot import load_snapshot, parse_snapshot
from flowverdict.network.snapshot_lists import KNOWN_LISTS
from tests.helpers.whole_snapshot import EXPECTED, PEERING, WORLD


def test_a_snapshot_of_everything_is_read_whole(tmp_path: Path) -> None:
    assert parse_snapshot(WORLD) == EXPECTED
    file = tmp_path / "config.json"
    file.write_text(json.dumps(WORLD), encoding="utf-8")
    assert load_snapshot(file) == EXPECTED


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_that_a_windows_shell_wrote_is_read(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(WORLD), encoding=encoding)
    assert load_snapshot(file) == EXPECTED


def test_times_of_boto3_are_read() -> None:
    peering = PEERING | {
        "ExpirationTime": datetime(2026, 11, 29, 14, tzinfo=timezone(timedelta(hours=2)))
    }
    (read,) = parse_snapshot({"VpcPeeringConnections": [peering]}).peerings or ()
    assert read.expires_at == datetime(2026, 11, 29, 12, tzinfo=UTC)


LISTS = {
    "NetworkInterfaces": "interfaces",
    "SecurityGroups": "security_groups",
    "NetworkAcls": "network_acls",
    "Subnets": "subnets",
    "Vpcs": "vpcs",
    "VpcPeeringConnections": "peerings",
    "VpcEndpoints": "endpoints",
    "RouteTables": "route_tables",
    "ManagedPrefixLists": "prefix_lists",
    "PrefixLists": "prefix_lists",
    "LoadBalancers": "load_balancers",
    "TargetGroups": "target_groups",
    "TargetHealthDescriptions": "targets",
}


def test_the_document_names_every_key() -> None:
    document = (Path(__file__).parents[2] / "docs" / "snapshots.md").read_text()
    assert {*LISTS} == {*KNOWN_LISTS}
    assert [
        key for key in (*LISTS, "TargetGroupAttributes", "ReadAt") if f"`{key}`" not in document
    ] == []


@pytest.mark.parametrize("key", LISTS)
def test_a_missing_list_is_not_known_and_an_empty_one_is_known_to_be_empty(key: str) -> None:
    assert getattr(parse_snapshot({}), LISTS[key]) is None
    assert getattr(parse_snapshot({key: None}), LISTS[key]) is None
    assert getattr(parse_snapshot({key: []}), LISTS[key]) == ()


def test_inner_lists_that_are_missing_are_not_known_either() -> None:
    bare = parse_snapshot(
        {
            "NetworkInterfaces": [{"NetworkInterfaceId": "eni-1"}],
            "SecurityGroups": [{"GroupId": "sg-1"}],
            "NetworkAcls": [{"NetworkAclId": "acl-1"}],
            "Subnets": [{"SubnetId": "subnet-1"}],
            "Vpcs": [{"VpcId": "vpc-1"}],
            "VpcPeeringConnections": [{"VpcPeeringConnectionId": "pcx-1"}],
            "VpcEndpoints": [{"VpcEndpointId": "vpce-1"}],
            "RouteTables": [{"RouteTableId": "rtb-1"}],
            "ManagedPrefixLists": [{"PrefixListId": "pl-1"}],
        }
    )
    assert bare == NetConfig(
        interfaces=(Interface(interface_id="eni-1"),),
        security_groups=(SecurityGroup(group_id="sg-1"),),
        network_acls=(NetworkAcl(network_acl_id="acl-1"),),
        subnets=(Subnet(subnet_id="subnet-1"),),
        vpcs=(Vpc(vpc_id="vpc-1"),),
        peerings=(Peering(peering_id="pcx-1", requester=PeeringSide(), accepter=PeeringSide()),),
        endpoints=(VpcEndpoint(endpoint_id="vpce-1"),),
        route_tables=(RouteTable(route_table_id="rtb-1"),),
        prefix_lists=(PrefixList(prefix_list_id="pl-1"),),
    )


def test_a_primary_address_without_a_list_is_read() -> None:
    (read,) = (
        parse_snapshot(
            {"NetworkInterfaces": [{"NetworkInterfaceId": "eni-1", "PrivateIpAddress": "10.0.0.4"}]}
        ).interfaces
        or ()
    )
    assert read.ipv4_addresses == (IPv4Address("10.0.0.4"),)


@pytest.mark.parametrize("spelling", ["natGateway", "nat_gateway"])
def test_both_spellings_of_a_nat_gateway_are_understood(spelling: str) -> None:
    (read,) = (
        parse_snapshot(
            {"NetworkInterfaces": [{"NetworkInterfaceId": "eni-1", "InterfaceType": spelling}]}
        ).interfaces
        or ()
    )
    assert (read.interface_type, read.is_nat_gateway) == (spelling, True)


def test_unknown_keys_and_values_are_read() -> None:
    read = parse_snapshot(
        {
            "NetworkInterfaces": [
                {
                    "NetworkInterfaceId": "eni-1",
                    "InterfaceType": "warp_drive",
                    "NewField": {"Deep": [1]},
                }
            ],
            "NetworkAcls": [
                {
                    "NetworkAclId": "a",
                    "Entries": [
                        {
                            "RuleNumber": 40_000,
                            "Egress": False,
                            "RuleAction": "log",
                            "Protocol": "quic",
                        }
                    ],
                }
            ],
            "VpcEndpoints": [
                {"VpcEndpointId": "vpce-1", "VpcEndpointType": "Wormhole", "State": "Humming"}
            ],
            "VpcPeeringConnections": [
                {"VpcPeeringConnectionId": "pcx-1", "Status": {"Code": "dreaming"}}
            ],
        }
    )
    assert read.interfaces is not None
    assert read.interfaces[0].interface_type == "warp_drive"
    assert read.network_acls is not None
    assert read.network_acls[0].entries == (
        NetworkAclEntry(
            rule_number=40_000, egress=False, action="log", protocol="quic", network=None
        ),
    )
    assert read.endpoints is not None
    assert read.endpoints[0].is_available is False
    assert read.peerings is not None
    assert read.peerings[0].carries_traffic is None


def test_a_rule_with_an_unknown_type_of_peer_is_read() -> None:
    permission = {"IpProtocol": "-1", "MoonRanges": [{"Crater": "Tycho"}]}
    config = parse_snapshot(
        {"SecurityGroups": [{"GroupId": "sg-1", "IpPermissions": [permission]}]}
    )
    packet = Packet(
        source=ip_address("10.0.0.1"),
        destination=ip_address("10.0.0.2"),
        protocol=6,
        destination_port=443,
    )
    interface = Interface(interface_id="eni-1", group_ids=("sg-1",))
    assert (
        evaluate_groups(config, interface, packet, FlowDirection.INGRESS).outcome is Outcome.UNKNOWN
    )


def test_host_bits_are_cleared_as_aws_does() -> None:
    (read,) = (
        parse_snapshot(
            {
                "ManagedPrefixLists": [
                    {"PrefixListId": "pl-1", "Entries": [{"Cidr": "100.68.0.18/18"}]}
                ]
            }
        ).prefix_lists
        or ()
    )
    assert read.cidrs == (ip_network("100.68.0.0/18"),)


# --- bad input --------------------------------------------------------------------------------


def entry(**fields: object) -> dict[str, object]:
    good: dict[str, object] = {
        "RuleNumber": 1,
        "Egress": False,
        "RuleAction": "allow",
        "Protocol": "6",
        "CidrBlock": "0.0.0.0/0",
    }
    return {
        "NetworkAcls": [
            {"NetworkAclId": "acl-0"},
            {"NetworkAclId": "acl-1", "Entries": [good | fields]},
        ]
    }


def interface(**fields: object) -> dict[str, object]:
    return {"NetworkInterfaces": [{"NetworkInterfaceId": "eni-1"} | fields]}


def group(**fields: object) -> dict[str, object]:
    return {"SecurityGroups": [{"GroupId": "sg-1", "IpPermissions": [fields]}]}


WRONG_SHAPES: list[tuple[dict[str, object], str]] = [
    ({"NetworkAcls": {}}, "NetworkAcls: {} is not a list"),
    ({"NetworkAcls": "acl-1"}, "NetworkAcls: 'acl-1' is not a list"),
    ({"Vpcs": 0}, "Vpcs: 0 is not a list"),
    ({"Vpcs": False}, "Vpcs: False is not a list"),
    ({"TargetHealthDescriptions": 1}, "TargetHealthDescriptions: 1 is not a list"),
    ({"TargetGroupAttributes": "x"}, "TargetGroupAttributes: 'x' is not a list"),
    ({"Vpcs": [], "NextToken": 1}, "NextToken: 1 is not text"),
    ({"ReadAt": "yesterday"}, "ReadAt: 'yesterday' is not an ISO 8601 time"),
    ({"ReadAt": 1}, "ReadAt: 1 is not an ISO 8601 time"),
    ({"ReadAt": "2026-11-22T12:07:00"}, "ReadAt: '2026-11-22T12:07:00' is a time without its zone"),
    (
        {"ReadAt": "0001-01-01T00:00:00+10:00"},
        "ReadAt: '0001-01-01T00:00:00+10:00' is not a time UTC can show",
    ),
]


BAD_ELEMENTS: list[tuple[dict[str, object], str]] = [
    ({"Vpcs": ["vpc-1"]}, "Vpcs[0]: 'vpc-1' is not an object"),
    ({"Vpcs": [None]}, "Vpcs[0]: None is not an object"),
    ({"Vpcs": [[]]}, "Vpcs[0]: [] is not an object"),
    ({"Vpcs": [{}]}, "Vpcs[0].VpcId: is missing"),
    ({"Vpcs": [{"VpcId": 7}]}, "Vpcs[0].VpcId: 7 is not text"),
    (
        {"Vpcs": [{"VpcId": "v", "BlockPublicAccessStates": "off"}]},
        "Vpcs[0].BlockPublicAccessStates: 'off' is not an object",
    ),
    (entry(CidrBlock="10.0.0/8"), "NetworkAcls[1].Entries[0].CidrBlock: '10.0.0/8' is not a CIDR"),
    (entry(CidrBlock="10.0.0.0"), "NetworkAcls[1].Entries[0].CidrBlock: '10.0.0.0' is not a CIDR"),
    (
        entry(CidrBlock="10.0.0.0/33"),
        "NetworkAcls[1].Entries[0].CidrBlock: '10.0.0.0/33' is not a CIDR",
    ),
    (
        entry(CidrBlock="10.0.0.0/255.0.0.0"),
        "NetworkAcls[1].Entries[0].CidrBlock: '10.0.0.0/255.0.0.0' is not a CIDR",
    ),
    (entry(CidrBlock="::/0"), "NetworkAcls[1].Entries[0].CidrBlock: '::/0' is not an IPv4 CIDR"),
    (
        entry(Ipv6CidrBlock="10.0.0.0/8"),
        "NetworkAcls[1].Entries[0].Ipv6CidrBlock: '10.0.0.0/8' is not an IPv6 CIDR",
    ),
    (
        entry(Ipv6CidrBlock="fe80::%eth0/64"),
        "NetworkAcls[1].Entries[0].Ipv6CidrBlock: 'fe80::%eth0/64' is not a CIDR",
    ),
    (entry(CidrBlock=0), "NetworkAcls[1].Entries[0].CidrBlock: 0 is not text"),
    (entry(RuleNumber="100"), "NetworkAcls[1].Entries[0].RuleNumber: '100' is not a whole number"),
    (entry(RuleNumber=True), "NetworkAcls[1].Entries[0].RuleNumber: True is not a whole number"),
    (entry(RuleNumber=1.5), "NetworkAcls[1].Entries[0].RuleNumber: 1.5 is not a whole number"),
    (entry(RuleNumber=None), "NetworkAcls[1].Entries[0].RuleNumber: is missing"),
    (entry(Egress=0), "NetworkAcls[1].Entries[0].Egress: 0 is neither true nor false"),
    (entry(Egress=None), "NetworkAcls[1].Entries[0].Egress: is missing"),
    (entry(Protocol=6), "NetworkAcls[1].Entries[0].Protocol: 6 is not text"),
    (entry(PortRange=[1, 2]), "NetworkAcls[1].Entries[0].PortRange: [1, 2] is not an object"),
    (entry(PortRange={"From": 1}), "NetworkAcls[1].Entries[0].PortRange.To: is missing"),
    (
        entry(IcmpTypeCode={"Type": "echo"}),
        "NetworkAcls[1].Entries[0].IcmpTypeCode.Type: 'echo' is not a whole number",
    ),
    (interface(Groups=["sg-1"]), "NetworkInterfaces[0].Groups[0]: 'sg-1' is not an object"),
    (interface(Groups=[{}]), "NetworkInterfaces[0].Groups[0].GroupId: is missing"),
    (
        interface(PrivateIpAddress="10.0.0.256"),
        "NetworkInterfaces[0].PrivateIpAddress: '10.0.0.256' is not an IPv4 address",
    ),
    (
        interface(PrivateIpAddress="::1"),
        "NetworkInterfaces[0].PrivateIpAddress: '::1' is not an IPv4 address",
    ),
    (
        interface(Ipv6Addresses=[{"Ipv6Address": "fe80::1%1"}]),
        "NetworkInterfaces[0].Ipv6Addresses[0].Ipv6Address: 'fe80::1%1' is not an IPv6 address",
    ),
    (
        interface(Ipv6Addresses=[{}]),
        "NetworkInterfaces[0].Ipv6Addresses[0].Ipv6Address: is missing",
    ),
    (
        interface(SourceDestCheck="yes"),
        "NetworkInterfaces[0].SourceDestCheck: 'yes' is neither true nor false",
    ),
    (interface(TagSet={"Name": "x"}), "NetworkInterfaces[0].TagSet: {'Name': 'x'} is not a list"),
    (
        interface(Description="\x1b[2J" * 99 + "x", VpcId=1),
        "NetworkInterfaces[0].VpcId: 1 is not text",
    ),
    (interface(VpcId=["\x1b]0;"]), r"NetworkInterfaces[0].VpcId: ['\x1b]0;'] is not text"),
    (
        group(FromPort="443"),
        "SecurityGroups[0].IpPermissions[0].FromPort: '443' is not a whole number",
    ),
    (
        group(IpRanges=["10.0.0.0/8"]),
        "SecurityGroups[0].IpPermissions[0].IpRanges[0]: '10.0.0.0/8' is not an object",
    ),
    (
        group(IpRanges=[{"CidrIp": "all"}]),
        "SecurityGroups[0].IpPermissions[0].IpRanges[0].CidrIp: 'all' is not a CIDR",
    ),
    (
        group(UserIdGroupPairs=[{}]),
        "SecurityGroups[0].IpPermissions[0].UserIdGroupPairs[0].GroupId: is missing",
    ),
    (
        group(PrefixListIds=[{"PrefixListId": 1}]),
        "SecurityGroups[0].IpPermissions[0].PrefixListIds[0].PrefixListId: 1 is not text",
    ),
    (
        {"VpcEndpoints": [{"VpcEndpointId": "e", "NetworkInterfaceIds": [1]}]},
        "VpcEndpoints[0].NetworkInterfaceIds[0]: 1 is not text",
    ),
    (
        {"ManagedPrefixLists": [{"PrefixListId": "p", "Entries": [{}]}]},
        "ManagedPrefixLists[0].Entries[0].Cidr: is missing",
    ),
]


@pytest.mark.parametrize(("answers", "message"), WRONG_SHAPES)
def test_a_list_of_the_wrong_type_is_refused_by_its_name(
    answers: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_snapshot(answers)
    assert str(raised.value) == message


@pytest.mark.parametrize(("answers", "message"), BAD_ELEMENTS)
def test_a_bad_element_is_named_by_its_path_and_skipped(
    answers: dict[str, object], message: str
) -> None:
    ((key, elements),) = answers.items()
    assert isinstance(elements, list)
    config = parse_snapshot(answers)
    (note,) = config.notes
    place = f"{key}[{len(elements) - 1}]"
    assert note == f"{message}; {place} is skipped, and what depends on it is not known"
    assert config.incomplete == {LISTS[key]}
    # The elements before it are as good as without it.
    assert getattr(config, LISTS[key]) == getattr(parse_snapshot({key: elements[:-1]}), LISTS[key])


def test_a_long_value_is_cut() -> None:
    with pytest.raises(ConfigError) as raised:
        parse_snapshot({"Vpcs": "x" * 100_000})
    assert len(str(raised.value)) < 100


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not JSON"),
        (b"NetworkAcls", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'"x"', "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"[" * 200_000, "not JSON"),
        (b'{"Vpcs": [{"VpcId": ' + b"9" * 5_000 + b"}]}", "not JSON"),
        (b"\xff\xfe\xfa\x00\x01", "not JSON"),
        (b"\x1f\x8b\x08\x00", "not JSON"),
        (b'{"Vpcs": {}}', "Vpcs: {} is not a list"),
    ],
)
def test_a_bad_file_gives_one_line_that_names_it(tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as raised:
        load_snapshot(file)
    assert str(raised.value).startswith(f"{file}: {says}")
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_snapshot(tmp_path / "absent.json")


@pytest.mark.slow  # beside the seeds of the fuzz target `snapshot`
def test_no_value_put_anywhere_crashes_the_reader() -> None:
    """Every value of a snapshot is replaced by each kind of JSON value, and read or refused."""
    kinds: tuple[object, ...] = (None, 0, 1.5, True, "x", [], [None], ["x"], {}, {"x": 1})
    tried = 0
    for place in _places(WORLD):
        for value in kinds:
            try:
                parse_snapshot(cast("dict[str, object]", _replaced(WORLD, place, value)))
            except ConfigError as error:
                assert "\n" not in str(error)  # noqa: PT017 - most of the kinds are no error at most of the places
            tried += 1
    assert tried > 1_000


def _places(value: object) -> list[tuple[str | int, ...]]:
    inner: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [(key, *rest) for key, item in inner for rest in [(), *_places(item)]]


def _replaced(value: object, place: tuple[str | int, ...], new: object) -> object:
    if not place:
        return new
    if isinstance(value, dict):
        return {
            key: _replaced(item, place[1:], new) if key == place[0] else item
            for key, item in value.items()
        }
    assert isinstance(value, list)
    return [
        _replaced(item, place[1:], new) if key == place[0] else item
        for key, item in enumerate(value)
    ]
