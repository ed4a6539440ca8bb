"""What is missing from a snapshot never makes an answer certain that the whole would not give.

Random worlds are evaluated whole, and again with elements broken: skipped because they cannot be
read, contradicted by a second element of the same id, or cut off with ``NextToken``.
"""

from __future__ import annotations

import copy
import itertools
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from flowverdict.flowlog.records import FlowDirection
from flowverdict.network.acl import evaluate_subnet_acl
from flowverdict.network.packet import Outcome, Packet
from flowverdict.network.security_groups import evaluate_groups
from flowverdict.network.snapshot import parse_snapshot
from flowverdict.network.snapshot_lists import KNOWN_LISTS
from tests.helpers.hypothesis_weight import examples
from tests.helpers.network_worlds import OTHER, OWN, Json, interface, packets, worlds

if TYPE_CHECKING:
    from flowverdict.network.configuration import NetConfig
    from flowverdict.network.model import Interface

LISTS = (
    "NetworkInterfaces",
    "SecurityGroups",
    "NetworkAcls",
    "Subnets",
    "Vpcs",
    "VpcPeeringConnections",
    "ManagedPrefixLists",
)
DIRECTIONS = st.sampled_from(FlowDirection)
# References whose home only the group's own element tells, or only the peering connection does.
REFERENCES: tuple[Json, ...] = (
    {"GroupId": "sg-1"},
    {"GroupId": "sg-2", "UserId": OWN},
    {"GroupId": "sg-9"},
    {"GroupId": "sg-9", "UserId": OTHER},
    {"GroupId": "sg-9", "UserId": OTHER, "VpcId": "vpc-2"},
    {"GroupId": "sg-9", "VpcPeeringConnectionId": "pcx-1"},
    {"GroupId": "sg-7", "UserId": OWN},
    {"GroupId": "sg-gone"},
)


@st.composite
def large_worlds(draw: st.DrawFn) -> Json:
    """Draw a world whose answers depend on all lists.

    Beside the parts of ``worlds``: more kinds of references; subnets of the default network ACL; a
    VPC of the same account, whose interfaces may be unlisted, linked by a second connection.
    """
    world = draw(worlds())
    for group in world["SecurityGroups"]:
        everything = {"IpProtocol": "-1", "UserIdGroupPairs": [draw(st.sampled_from(REFERENCES))]}
        if draw(st.booleans()):  # references alone decide
            group |= {"IpPermissions": [everything], "IpPermissionsEgress": [everything]}
            continue
        for permission in (*group["IpPermissions"], *group["IpPermissionsEgress"]):
            permission["UserIdGroupPairs"] = [
                draw(st.sampled_from(REFERENCES)) for _ in permission["UserIdGroupPairs"]
            ]
    world["SecurityGroups"] += [
        {"GroupId": "sg-9", "OwnerId": OTHER, "VpcId": "vpc-2", "IpPermissions": []},
        {"GroupId": "sg-7", "OwnerId": OWN, "VpcId": "vpc-3", "IpPermissions": []},
    ]
    default: Json = {
        "NetworkAclId": "acl-default",
        "VpcId": "vpc-1",
        "IsDefault": True,
        "Entries": [
            {
                "RuleNumber": number,
                "Egress": egress,
                "RuleAction": "allow",
                "Protocol": "-1",
                "CidrBlock": "0.0.0.0/0",
            }
            for number, egress in ((10, False), (10, True))
        ],
        "Associations": [],
    }
    world["NetworkAcls"].append(default)
    if draw(st.booleans()):  # the subnet has the default network ACL, listed or not
        world["NetworkAcls"][0]["Associations"] = [{"SubnetId": "subnet-2"}]
        default["Associations"] = draw(st.sampled_from([[], [{"SubnetId": "subnet-1"}]]))
    world["Subnets"].append({"SubnetId": "subnet-2", "VpcId": "vpc-1", "CidrBlock": "10.0.2.0/24"})
    if draw(st.booleans()):
        world["NetworkInterfaces"].append(
            {
                "NetworkInterfaceId": "eni-3",
                "OwnerId": OWN,
                "VpcId": "vpc-3",
                "Groups": [{"GroupId": "sg-7"}],
                "PrivateIpAddresses": [{"PrivateIpAddress": "192.0.2.1"}],
                "Ipv6Addresses": [],
            }
        )
    status = draw(st.sampled_from(["active", "deleted"]))
    world["VpcPeeringConnections"].append(
        {
            "VpcPeeringConnectionId": "pcx-3",
            "RequesterVpcInfo": {"VpcId": "vpc-1", "OwnerId": OWN, "CidrBlock": "10.0.0.0/16"},
            "AccepterVpcInfo": {"VpcId": "vpc-3", "OwnerId": OWN, "CidrBlock": "192.0.2.0/24"},
            "Status": {"Code": status},
        }
    )
    return world


WAYS = ("no-object", "no-id", "wrong-type", "twice", "cut")


def broken(world: Json, key: str, index: int, way: str) -> Json:
    """Return the world with one element of a list not usable, in a way in which people have it."""
    less = copy.deepcopy(world)
    elements: list[object] = less[key]
    element, id_key = elements[index], KNOWN_LISTS[key].id_key
    if not isinstance(element, dict):  # broken already
        return less
    match way:
        case "no-object":
            elements[index] = element.get(id_key)
        case "no-id":
            element.pop(id_key, None)
        case "wrong-type":
            lists = [value for value in element.values() if isinstance(value, list)]
            if lists:
                lists[-1].append("not an object")
            else:
                element["VpcId"] = 7
        case "twice":
            elements.insert(0, other_than(element, id_key))
        case _:
            less[key] = elements[:index]
            less["NextToken"] = "eyJ2IjoiMiJ9"
    return less


def other_than(element: Json, id_key: str) -> Json:
    """Return another element of the same id, as an older answer may hold it."""
    other = copy.deepcopy(element)
    for key, value in other.items():
        if isinstance(value, list):
            other[key] = []
    match id_key:
        case "VpcId":
            other["CidrBlock"] = "10.9.0.0/16"
        case "VpcPeeringConnectionId":
            other["Status"] = {"Code": "provisioning"}
        case "PrefixListId":
            pass  # without its entries
        case _:
            other["VpcId"] = "vpc-of-old"
    return other


def acl_outcome(
    config: NetConfig, me: Interface, packet: Packet, direction: FlowDirection
) -> Outcome:
    answer = evaluate_subnet_acl(config, me, packet, direction)
    # Inside a subnet no network ACL applies, as if it allowed the packet.
    return Outcome.ALLOW if answer is None else answer.outcome


@pytest.mark.parametrize("key", LISTS)
@examples(0.15)
@given(large_worlds(), packets(), DIRECTIONS, st.data())
def test_a_broken_element_never_makes_an_answer_certain_that_the_whole_does_not_give(
    key: str, world: Json, packet: Packet, direction: FlowDirection, data: st.DataObject
) -> None:
    whole = parse_snapshot(world)
    assert (whole.incomplete, whole.notes) == (frozenset(), ())
    me = whole.interface("eni-me")
    assert me is not None
    less = world
    for broken_key in (key, *data.draw(st.lists(st.sampled_from(LISTS), max_size=2))):
        if less[broken_key]:
            index = data.draw(st.integers(0, len(less[broken_key]) - 1))
            less = broken(less, broken_key, index, data.draw(st.sampled_from(WAYS)))
    part = parse_snapshot(less)
    groups = evaluate_groups(whole, me, packet, direction).outcome
    in_part = evaluate_groups(part, me, packet, direction).outcome
    event(f"groups: {groups} -> {in_part}")
    assert in_part in {Outcome.UNKNOWN, groups}
    acl = acl_outcome(whole, me, packet, direction)
    acl_in_part = acl_outcome(part, me, packet, direction)
    event(f"network ACL: {acl} -> {acl_in_part}")
    assert acl_in_part in {Outcome.UNKNOWN, acl}
    if part != whole:
        assert part.incomplete
        assert part.notes


def world_of_references(reference: Json, *, far: bool, status: str) -> Json:
    """Return a world of one rule in each direction, which refers to a group."""
    rules = [{"IpProtocol": "-1", "UserIdGroupPairs": [reference]}]
    none: list[object] = []
    far_interfaces = [interface("eni-3", ("vpc-3", "subnet-3", OWN), ("10.3.0.1",), ["sg-7"])]
    return {
        "NetworkInterfaces": [
            interface("eni-me", ("vpc-1", "subnet-1", OWN), ("10.0.1.1",), ["sg-1"]),
            interface("eni-b", ("vpc-1", "subnet-1", OWN), ("10.0.1.2",), ["sg-2"]),
            interface("eni-p", ("vpc-2", "subnet-9", OTHER), ("10.2.0.1",), ["sg-9"]),
            *(far_interfaces if far else none),
        ],
        "SecurityGroups": [
            {"GroupId": name, "OwnerId": owner, "VpcId": vpc} | dict.fromkeys(RULES, has_rules)
            for name, owner, vpc, has_rules in (
                ("sg-1", OWN, "vpc-1", rules),
                ("sg-2", OWN, "vpc-1", none),
                ("sg-7", OWN, "vpc-3", none),
                ("sg-9", OTHER, "vpc-2", none),
            )
        ],
        "VpcPeeringConnections": [
            {
                "VpcPeeringConnectionId": name,
                "RequesterVpcInfo": {"VpcId": "vpc-1", "CidrBlock": "10.0.0.0/16"},
                "AccepterVpcInfo": {"VpcId": vpc, "CidrBlock": cidr},
                "Status": {"Code": code},
            }
            for name, vpc, cidr, code in (
                ("pcx-1", "vpc-2", "10.2.0.0/16", "active"),
                ("pcx-3", "vpc-3", "10.3.0.0/16", status),
            )
        ],
    }


RULES = ("IpPermissions", "IpPermissionsEgress")
REMOTE = ("10.0.1.2", "10.0.1.9", "10.2.0.1", "10.2.0.9", "10.3.0.1", "10.3.0.9", "192.0.2.1")


@pytest.mark.parametrize("reference", REFERENCES, ids=str)
@pytest.mark.parametrize("far", [True, False])
@pytest.mark.parametrize("status", ["active", "deleted"])
def test_no_element_can_be_missed_where_a_rule_refers_to_a_group(
    reference: Json, status: str, *, far: bool
) -> None:
    world = world_of_references(reference, far=far, status=status)
    whole = parse_snapshot(world)
    me = whole.interface("eni-me")
    assert me is not None
    cases = [
        (
            direction,
            Packet(
                source=ip_address(address if direction is FlowDirection.INGRESS else "10.0.1.1"),
                destination=ip_address(
                    "10.0.1.1" if direction is FlowDirection.INGRESS else address
                ),
                protocol=6,
                source_port=50_000,
                destination_port=443,
            ),
        )
        for direction in FlowDirection
        for address in REMOTE
    ]
    expected = [evaluate_groups(whole, me, packet, way).outcome for way, packet in cases]
    for key in ("NetworkInterfaces", "SecurityGroups", "VpcPeeringConnections"):
        for index, how in itertools.product(range(len(world[key])), WAYS):
            part = parse_snapshot(broken(world, key, index, how))
            for (way, packet), sure in zip(cases, expected, strict=True):
                outcome = evaluate_groups(part, me, packet, way).outcome
                assert outcome in {Outcome.UNKNOWN, sure}, (key, index, how, way, packet)
