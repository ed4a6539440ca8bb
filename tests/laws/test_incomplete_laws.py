"""What is missing from a snapshot never makes an answer certain that the whole would not give.

Random worlds are evaluated whole, and again with elements broken: skipped because they cannot be
read, contradicted by a second element of the same id, or cut off with ``NextToken``.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from hypothesis import event, given
from hypothesis import strategies as st

from flowverdict.flowlog.records import FlowDirection
from flowverdict.network.acl import evaluate_subnet_acl
from flowverdict.network.packet import Outcome
from flowverdict.network.security_groups import evaluate_groups
from flowverdict.network.snapshot import parse_snapshot
from flowverdict.network.snapshot_lists import KNOWN_LISTS
from tests.helpers.hypothesis_weight import examples
from tests.helpers.network_worlds import OTHER, OWN, Json, acl_entries, packets, worlds

if TYPE_CHECKING:
    from flowverdict.network.configuration import NetConfig
    from flowverdict.network.model import Interface
    from flowverdict.network.packet import Packet

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
        "Entries": [draw(acl_entries(number)) for number in (10, 20)],
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


def broken(world: Json, data: st.DataObject) -> Json:
    """Return the world with one element that is not usable, in one of the ways that people have."""
    less = copy.deepcopy(world)
    key = data.draw(st.sampled_from([key for key in less if key in KNOWN_LISTS]))
    elements: list[object] = less[key]
    if not elements:
        return less
    index = data.draw(st.integers(0, len(elements) - 1))
    element = elements[index]
    if not isinstance(element, dict):
        return less
    id_key = KNOWN_LISTS[key].id_key
    match data.draw(st.sampled_from(["no-object", "no-id", "wrong-type", "twice", "cut"])):
        case "no-object":
            elements[index] = element.get(id_key)
        case "no-id":
            element.pop(id_key, None)
        case "wrong-type":
            # A value deep inside, and one at the top of an element that has no list.
            inner = [value for value in element.values() if isinstance(value, list) and value]
            if inner:
                data.draw(st.sampled_from(inner)).append("not an object")
            else:
                element["VpcId"] = 7
        case "twice":
            elements.insert(data.draw(st.integers(0, len(elements))), other_than(element, id_key))
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


@examples(0.6)
@given(large_worlds(), packets(), DIRECTIONS, st.data())
def test_a_broken_element_never_makes_an_answer_certain_that_the_whole_does_not_give(
    world: Json, packet: Packet, direction: FlowDirection, data: st.DataObject
) -> None:
    whole = parse_snapshot(world)
    assert (whole.incomplete, whole.notes) == (frozenset(), ())
    me = whole.interface("eni-me")
    assert me is not None
    less = world
    for _ in range(data.draw(st.integers(1, 3))):
        less = broken(less, data)
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
