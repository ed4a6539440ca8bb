"""What a snapshot lacks: lists that were cut, ids that occur twice, elements that are skipped."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest

from flowverdict.flowlog.records import FlowDirection
from flowverdict.network.model import GroupReference, Interface, PrefixList
from flowverdict.network.packet import Outcome, Packet
from flowverdict.network.security_groups import evaluate_groups
from flowverdict.network.snapshot import parse_snapshot

if TYPE_CHECKING:
    from flowverdict.network.configuration import NetConfig

TOKEN = "eyJOZXh0VG9rZW4iOiBudWxsfQ=="  # noqa: S105 - of a page, not of a login
NOT_KNOWN = "what depends on missing elements is not known"


# --- lists that were cut ----------------------------------------------------------------------


@pytest.mark.parametrize("no_token", [None, ""])
def test_without_a_token_no_list_is_cut(no_token: str | None) -> None:
    config = parse_snapshot({"Subnets": [], "NextToken": no_token, "NextMarker": no_token})
    assert (config.incomplete, config.notes) == (frozenset(), ())
    assert config.knows_all("subnets")
    assert not config.knows_all("vpcs")


def test_a_token_beside_one_list_tells_that_the_list_was_cut() -> None:
    config = parse_snapshot({"Subnets": [{"SubnetId": "subnet-1"}], "NextToken": TOKEN})
    assert config.incomplete == {"subnets"}
    assert config.notes == (f"NextToken: the list Subnets was cut; {NOT_KNOWN}",)
    assert config.subnet("subnet-1") is not None
    assert not config.knows_all("subnets")


def test_a_token_beside_several_lists_may_belong_to_each_of_them() -> None:
    config = parse_snapshot(
        {"Subnets": [], "Vpcs": [], "RouteTables": None, "Images": [], "NextToken": TOKEN}
    )
    assert config.incomplete == {"subnets", "vpcs"}
    assert config.notes == (
        f"NextToken: a list was cut, and nothing tells which of Subnets, Vpcs; {NOT_KNOWN}",
    )


def test_a_marker_is_of_load_balancing_alone() -> None:
    config = parse_snapshot(
        {
            "Subnets": [],
            "LoadBalancers": [],
            "TargetHealthDescriptions": {},
            "NextMarker": "abc",
        }
    )
    assert config.incomplete == {"load_balancers"}
    assert config.notes == (f"NextMarker: the list LoadBalancers was cut; {NOT_KNOWN}",)
    assert parse_snapshot({"Subnets": [], "NextMarker": "abc"}).incomplete == {"subnets"}


def subnet_config(**more: object) -> NetConfig:
    return parse_snapshot(
        {
            "Subnets": [{"SubnetId": "subnet-1", "VpcId": "vpc-1"}],
            "NetworkAcls": [{"NetworkAclId": "acl-1", "VpcId": "vpc-1", "IsDefault": True}],
            "RouteTables": [
                {"RouteTableId": "rtb-1", "VpcId": "vpc-1", "Associations": [{"Main": True}]}
            ],
            **more,
        }
    )


def test_defaults_are_not_concluded_from_lists_that_lack_elements() -> None:
    whole, cut = subnet_config(), subnet_config(NextToken=TOKEN)
    acl, table = (
        whole.network_acl_of_subnet("subnet-1"),
        whole.route_table_of_subnet("subnet-1"),
    )
    assert (acl, table) == (whole.network_acl("acl-1"), (whole.route_tables or ())[0])
    assert cut.network_acl_of_subnet("subnet-1") is None
    assert cut.route_table_of_subnet("subnet-1") is None


def test_what_an_element_itself_says_stands_in_a_list_that_was_cut() -> None:
    cut = parse_snapshot(
        {
            "NetworkAcls": [{"NetworkAclId": "acl-1", "Associations": [{"SubnetId": "subnet-1"}]}],
            "RouteTables": [
                {"RouteTableId": "rtb-1", "Associations": [{"Main": False, "SubnetId": "subnet-1"}]}
            ],
            "NextToken": TOKEN,
        }
    )
    assert cut.network_acl_of_subnet("subnet-1") == (cut.network_acls or ())[0]
    assert cut.route_table_of_subnet("subnet-1") == (cut.route_tables or ())[0]


def holders_config(*elements: object, **more: object) -> NetConfig:
    return parse_snapshot(
        {
            "NetworkInterfaces": [
                {
                    "NetworkInterfaceId": "eni-1",
                    "OwnerId": "111111111111",
                    "VpcId": "vpc-1",
                    "Groups": [{"GroupId": "sg-1"}],
                    "PrivateIpAddresses": [{"PrivateIpAddress": "10.0.0.4"}],
                    "Ipv6Addresses": [],
                },
                *elements,
            ],
            **more,
        }
    )


def test_the_holders_of_a_group_are_known_only_from_a_list_without_gaps() -> None:
    reference = GroupReference(group_id="sg-1", account_id="111111111111")
    assert holders_config().has_members_of(reference, "vpc-1")
    assert not holders_config(NextToken=TOKEN).has_members_of(reference, "vpc-1")
    assert not holders_config(7).has_members_of(reference, "vpc-1")


def test_a_group_that_may_be_missing_may_be_of_another_account() -> None:
    def knows(reference: GroupReference) -> bool:
        groups: list[object] = [{"GroupId": "sg-1"}, "sg-9"]
        return holders_config(SecurityGroups=groups).has_members_of(reference, "vpc-1")

    assert knows(GroupReference(group_id="sg-1"))
    assert not knows(GroupReference(group_id="sg-9"))
    assert not knows(GroupReference(group_id="sg-9", account_id="111111111111"))
    assert knows(GroupReference(group_id="sg-9", account_id="111111111111", vpc_id="vpc-1"))


def test_a_peering_that_may_be_missing_is_no_denial() -> None:
    far = {
        "NetworkInterfaceId": "eni-9",
        "VpcId": "vpc-9",
        "Groups": [{"GroupId": "sg-9"}],
        "PrivateIpAddresses": [{"PrivateIpAddress": "10.9.0.4"}],
        "Ipv6Addresses": [],
    }
    rule = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": "sg-9"}]}
    groups = [{"GroupId": "sg-1", "IpPermissionsEgress": [rule]}]
    packet = Packet(
        source=ip_address("10.0.0.4"),
        destination=ip_address("10.9.0.4"),
        protocol=6,
        destination_port=443,
    )

    def outcome(peerings: list[object]) -> Outcome:
        config = holders_config(far, SecurityGroups=groups, VpcPeeringConnections=peerings)
        me = config.interface("eni-1")
        assert me is not None
        return evaluate_groups(config, me, packet, FlowDirection.EGRESS).outcome

    assert outcome([]) is Outcome.DENY
    assert outcome([{"VpcPeeringConnectionId": 5}]) is Outcome.UNKNOWN


# --- ids that occur twice ---------------------------------------------------------------------


def test_the_same_element_twice_is_one_element_and_not_worth_a_word() -> None:
    vpc = {"VpcId": "vpc-1", "CidrBlock": "10.0.0.0/16"}
    config = parse_snapshot({"Vpcs": [vpc, {"VpcId": "vpc-2"}, dict(vpc)]})
    assert [vpc.vpc_id for vpc in config.vpcs or ()] == ["vpc-1", "vpc-2"]
    assert (config.incomplete, config.notes) == (frozenset(), ())


def test_an_id_with_two_contents_is_not_known() -> None:
    rule = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    config = parse_snapshot(
        {
            "SecurityGroups": [
                {"GroupId": "sg-1", "IpPermissions": []},
                {"GroupId": "sg-2", "IpPermissions": []},
                {"GroupId": "sg-1", "IpPermissions": [rule]},
                {"GroupId": "sg-1", "IpPermissions": []},
            ]
        }
    )
    assert [group.group_id for group in config.security_groups or ()] == ["sg-2"]
    assert config.incomplete == {"security_groups"}
    (note,) = config.notes
    assert note == (
        "SecurityGroups: sg-1 occurs more than once with different contents; none of them is used, "
        "and what depends on sg-1 is not known"
    )


@pytest.mark.parametrize("first", [True, False])
def test_a_readable_copy_does_not_stand_for_one_that_cannot_be_read(*, first: bool) -> None:
    good: dict[str, object] = {"GroupId": "sg-1", "IpPermissions": []}
    bad = {"GroupId": "sg-1", "IpPermissions": [{"IpProtocol": 6}]}
    config = parse_snapshot({"SecurityGroups": [good, bad] if first else [bad, good]})
    assert config.security_groups == ()
    assert len(config.notes) == 2
    me = Interface(interface_id="eni-1", group_ids=("sg-1",))
    packet = Packet(
        source=ip_address("10.0.0.1"),
        destination=ip_address("10.0.0.2"),
        protocol=6,
        destination_port=443,
    )
    answer = evaluate_groups(config, me, packet, FlowDirection.INGRESS)
    assert answer.outcome is Outcome.UNKNOWN


# --- elements that are skipped ----------------------------------------------------------------


def test_many_bad_elements_are_counted_and_not_all_told() -> None:
    config = parse_snapshot({"Vpcs": [{"VpcId": f"vpc-{n}"} for n in range(3)] + [None] * 1_200})
    assert len(config.vpcs or ()) == 3
    assert len(config.notes) == 6
    assert config.notes[0].startswith("Vpcs[3]: None is not an object")
    assert config.notes[-1] == "1,195 more elements of vpcs are skipped"


def test_a_bad_list_leaves_the_others_alone() -> None:
    config = parse_snapshot({"Vpcs": [{}], "Subnets": [{"SubnetId": "subnet-1"}]})
    assert config.incomplete == {"vpcs"}
    assert config.knows_all("subnets")


# --- prefix lists in both spellings -----------------------------------------------------------


def prefix_lists(**answers: object) -> tuple[PrefixList, ...]:
    config = parse_snapshot(answers)
    assert (config.incomplete, config.notes) == (frozenset(), ())
    return config.prefix_lists or ()


MANAGED = {
    "PrefixListId": "pl-6da54004",
    "AddressFamily": "IPv4",
    "PrefixListName": "com.amazonaws.eu-west-1.s3",
    "OwnerId": "AWS",
    "MaxEntries": 20,
}
RANGES = ["3.5.64.0/21", "52.218.0.0/17"]
NETWORKS = (ip_network("3.5.64.0/21"), ip_network("52.218.0.0/17"))
DESCRIBED = {
    "PrefixListId": "pl-6da54004",
    "PrefixListName": "com.amazonaws.eu-west-1.s3",
    "Cidrs": RANGES,
}


def test_prefix_lists_are_read_as_describe_prefix_lists_prints_them() -> None:
    assert prefix_lists(PrefixLists=[DESCRIBED]) == (
        PrefixList(prefix_list_id="pl-6da54004", name="com.amazonaws.eu-west-1.s3", cidrs=NETWORKS),
    )


def test_a_prefix_list_may_have_entries_or_ranges_under_either_key() -> None:
    entries = {"Entries": [{"Cidr": text, "Description": "range"} for text in RANGES]}
    expected = prefix_lists(PrefixLists=[MANAGED | {"Cidrs": RANGES}])
    assert [each.cidrs for each in expected] == [NETWORKS]
    assert prefix_lists(ManagedPrefixLists=[MANAGED | {"Cidrs": RANGES}]) == expected
    assert prefix_lists(ManagedPrefixLists=[MANAGED | entries]) == expected
    assert prefix_lists(PrefixLists=[MANAGED | entries]) == expected
    assert prefix_lists(PrefixLists=[MANAGED | entries | {"Cidrs": RANGES[::-1]}]) == expected


def test_a_prefix_list_under_both_keys_is_put_together() -> None:
    own = {"PrefixListId": "pl-own", "PrefixListName": "offices", "OwnerId": "111111111111"}
    assert prefix_lists(ManagedPrefixLists=[MANAGED, own], PrefixLists=[DESCRIBED]) == (
        PrefixList(
            prefix_list_id="pl-6da54004",
            name="com.amazonaws.eu-west-1.s3",
            owner_id="AWS",
            max_entries=20,
            cidrs=NETWORKS,
        ),
        PrefixList(prefix_list_id="pl-own", name="offices", owner_id="111111111111"),
    )


def test_ranges_that_differ_are_not_known() -> None:
    older = DESCRIBED | {"Cidrs": RANGES[:1]}
    config = parse_snapshot(
        {"ManagedPrefixLists": [MANAGED | {"Cidrs": RANGES}], "PrefixLists": [older]}
    )
    assert config.prefix_list("pl-6da54004") is None
    assert "pl-6da54004 occurs more than once" in config.notes[0]
    both = MANAGED | {"Cidrs": RANGES, "Entries": [{"Cidr": RANGES[0]}]}
    config = parse_snapshot({"PrefixLists": [both]})
    assert config.prefix_lists == ()
    assert "PrefixLists[0]: Entries and Cidrs are not the same ranges" in config.notes[0]


def test_of_entries_that_were_cut_the_rest_is_used_and_said_to_be_cut() -> None:
    cut = MANAGED | {"Entries": [{"Cidr": RANGES[0]}], "NextToken": TOKEN}
    config = parse_snapshot({"ManagedPrefixLists": [cut]})
    listed = config.prefix_list("pl-6da54004")
    assert listed is not None
    assert (listed.cidrs, listed.is_cut) == (NETWORKS[:1], True)
    (note,) = config.notes
    assert note.startswith("pl-6da54004: its entries were cut (NextToken); what depends on")


@pytest.mark.parametrize("other_first", [False, True])
@pytest.mark.parametrize(
    ("ranges", "token", "expected"),
    [
        (RANGES, None, (NETWORKS, False)),  # the other call returned all
        (RANGES[1:], None, None),  # all, without an entry that was seen
        (RANGES[1:], TOKEN, (NETWORKS, True)),  # two parts
    ],
)
def test_entries_that_were_cut_are_completed_by_another_call(
    ranges: list[str], token: str | None, expected: object, *, other_first: bool
) -> None:
    cut = MANAGED | {"Entries": [{"Cidr": RANGES[0]}], "NextToken": TOKEN}
    both = [cut, DESCRIBED | {"Cidrs": ranges, "NextToken": token}]
    config = parse_snapshot({"PrefixLists": both[::-1] if other_first else both})
    listed = config.prefix_list("pl-6da54004")
    if expected is None:
        assert listed is None
        assert "pl-6da54004 occurs more than once" in config.notes[0]
    else:
        assert listed is not None
        assert (tuple(sorted(listed.cidrs or (), key=NETWORKS.index)), listed.is_cut) == expected


# --- public addresses -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("element", "addresses"),
    [
        ({}, None),
        ({"PrivateIpAddress": "10.0.0.4"}, None),
        ({"Association": None, "PrivateIpAddresses": None}, None),
        ({"PrivateIpAddresses": []}, ()),
        ({"PrivateIpAddresses": [{"PrivateIpAddress": "10.0.0.4"}]}, ()),
        ({"Association": {"CarrierIp": "155.146.1.1"}}, ()),
        ({"Association": {"PublicIp": "203.0.113.5"}}, ("203.0.113.5",)),
        (
            {
                "PrivateIpAddresses": [
                    {"PrivateIpAddress": "10.0.0.4"},
                    {
                        "PrivateIpAddress": "10.0.0.5",
                        "Association": {"PublicIp": "203.0.113.6"},
                    },
                ]
            },
            ("203.0.113.6",),
        ),
    ],
)
def test_public_addresses_are_known_where_aws_would_list_them(
    element: dict[str, object], addresses: tuple[str, ...] | None
) -> None:
    config = parse_snapshot({"NetworkInterfaces": [{"NetworkInterfaceId": "eni-1"} | element]})
    (read,) = config.interfaces or ()
    expected = None if addresses is None else tuple(map(ip_address, addresses))
    assert read.public_addresses == expected
