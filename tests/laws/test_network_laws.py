"""Laws of AWS's evaluation, over random worlds, against an oracle that shares no code with the evaluator.

The oracle reads the ``Describe*`` answers themselves, with integers for addresses, and knows one packet at a time whose
ICMP type and code are known. What the evaluator says of a packet whose are not must agree with every packet it may be.
"""

from __future__ import annotations

import copy
import random  # noqa: TC003 - Hypothesis resolves the annotations of what it calls
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from flowverdict.flowlog.records import FlowDirection
from flowverdict.network.acl import (
    AclAnswer,
    crosses_subnet_boundary,
    evaluate_acl,
    evaluate_subnet_acl,
)
from flowverdict.network.configuration import NetConfig
from flowverdict.network.model import Interface, NetworkAcl, SecurityGroup
from flowverdict.network.packet import Outcome, Packet
from flowverdict.network.security_groups import GroupsAnswer, evaluate_groups
from flowverdict.network.snapshot import parse_snapshot
from tests.helpers.connection import evaluate_connection
from tests.helpers.hypothesis_weight import examples

IN, OUT = FlowDirection.INGRESS, FlowDirection.EGRESS
DIRECTIONS = st.sampled_from(FlowDirection)
# On a busy machine one example can take long without meaning anything.
LAW = examples(0.25)

# Few values, so that rules and packets meet often.
PORTS = (0, 22, 443, 1024, 32_768, 50_000, 65_535)
PROTOCOLS = (1, 6, 17, 47, 58)
IPV4 = (
    "10.0.1.1",
    "10.0.1.2",
    "10.0.1.17",
    "10.0.2.1",
    "10.2.0.1",
    "10.2.0.2",
    "192.0.2.1",
    "203.0.113.1",
)
IPV6 = ("2001:db8::1", "2001:db8::2", "2001:db8:2::1")
CIDRS4 = ("0.0.0.0/0", "10.0.0.0/16", "10.0.1.0/24", "10.0.1.2/32", "10.2.0.0/16", "128.0.0.0/1")
CIDRS6 = ("::/0", "2001:db8::/64", "2001:db8::2/128")
ICMP_KINDS = ((8, 0), (0, 0), (3, 1), (3, 4), (13, 7))

type Json = dict[str, Any]


# --- worlds -----------------------------------------------------------------------------------------------------------


@st.composite
def packets(draw: st.DrawFn) -> Packet:
    family = draw(st.sampled_from([IPV4, IPV4, IPV6]))
    protocol = draw(st.sampled_from(PROTOCOLS))
    has_ports = protocol in {6, 17}
    return Packet(
        source=ip_address(draw(st.sampled_from(family))),
        destination=ip_address(draw(st.sampled_from(family))),
        protocol=protocol,
        source_port=draw(st.sampled_from(PORTS)) if has_ports else 0,
        destination_port=draw(st.sampled_from(PORTS)) if has_ports else 0,
    )


port_ranges = st.tuples(st.sampled_from(PORTS), st.sampled_from(PORTS)).map(sorted)
icmp_kinds = st.sampled_from([(-1, -1), (8, -1), (8, 0), (3, -1), (3, 4)])


@st.composite
def acl_entries(draw: st.DrawFn, number: int) -> Json:
    entry: Json = {
        "RuleNumber": number,
        "Egress": draw(st.booleans()),
        "RuleAction": draw(st.sampled_from(["allow", "deny"])),
        "Protocol": str(draw(st.sampled_from([-1, *PROTOCOLS]))),
    }
    if draw(st.booleans()):
        entry["CidrBlock"] = draw(st.sampled_from(CIDRS4))
    else:
        entry["Ipv6CidrBlock"] = draw(st.sampled_from(CIDRS6))
    if draw(st.booleans()):
        first, last = draw(port_ranges)
        entry["PortRange"] = {"From": first, "To": last}
    if draw(st.booleans()):
        kind, code = draw(icmp_kinds)
        entry["IcmpTypeCode"] = {"Type": kind, "Code": code}
    return entry


@st.composite
def acls(draw: st.DrawFn) -> Json:
    numbers = draw(st.lists(st.integers(1, 60), unique=True, max_size=6))
    return {
        "NetworkAclId": "acl-1",
        "VpcId": "vpc-1",
        "Entries": [draw(acl_entries(number)) for number in numbers],
        "Associations": [{"SubnetId": "subnet-1"}],
    }


OWN, OTHER = "111111111111", "222222222222"
FAR: Json = {
    "GroupId": "sg-9",
    "UserId": OTHER,
    "VpcId": "vpc-2",
    "VpcPeeringConnectionId": "pcx-1",
}
PAIRS: tuple[Json, ...] = (
    {"GroupId": "sg-1", "UserId": OWN},
    {"GroupId": "sg-2", "UserId": OWN},
    {"GroupId": "sg-gone", "UserId": OWN},
    FAR,
    FAR | {"PeeringStatus": "deleted"},
)


@st.composite
def permissions(draw: st.DrawFn) -> Json:
    protocol = draw(st.sampled_from(["-1", "tcp", "udp", "icmp", "icmpv6", "6", "17", "47"]))
    permission: Json = {
        "IpProtocol": protocol,
        "IpRanges": [],
        "Ipv6Ranges": [],
        "PrefixListIds": [],
        "UserIdGroupPairs": [],
    }
    if protocol in {"icmp", "icmpv6"}:
        permission["FromPort"], permission["ToPort"] = draw(icmp_kinds)
    elif protocol != "-1":
        permission["FromPort"], permission["ToPort"] = draw(port_ranges)
    for _ in range(draw(st.integers(1, 2))):
        match draw(st.sampled_from(["4", "6", "list", "group", "group"])):
            case "4":
                permission["IpRanges"].append({"CidrIp": draw(st.sampled_from(CIDRS4))})
            case "6":
                permission["Ipv6Ranges"].append({"CidrIpv6": draw(st.sampled_from(CIDRS6))})
            case "list":
                permission["PrefixListIds"].append({"PrefixListId": "pl-1"})
            case _:
                permission["UserIdGroupPairs"].append(draw(st.sampled_from(PAIRS)))
    return permission


def interface(
    name: str, place: tuple[str, str, str], addresses: tuple[str, ...], groups: list[str]
) -> Json:
    vpc, subnet, owner = place
    return {
        "NetworkInterfaceId": name,
        "InterfaceType": "interface",
        "OwnerId": owner,
        "VpcId": vpc,
        "SubnetId": subnet,
        "Groups": [{"GroupId": group} for group in groups],
        "PrivateIpAddresses": [{"PrivateIpAddress": one} for one in addresses if "." in one],
        "Ipv6Addresses": [{"Ipv6Address": one} for one in addresses if ":" in one],
    }


@st.composite
def worlds(draw: st.DrawFn) -> Json:
    groups = st.lists(st.sampled_from(["sg-1", "sg-2"]), unique=True, min_size=1)
    rules = st.lists(permissions(), max_size=4)
    here, there, far = (
        ("vpc-1", "subnet-1", OWN),
        ("vpc-1", "subnet-2", OWN),
        ("vpc-2", "subnet-9", OTHER),
    )
    pods = interface("eni-b", here, ("10.0.1.2", "2001:db8::2"), draw(groups))
    requester = {
        "VpcId": "vpc-1",
        "OwnerId": OWN,
        "CidrBlock": "10.0.0.0/16",
        "Region": "eu-west-1",
    }
    accepter = {
        "VpcId": "vpc-2",
        "OwnerId": OTHER,
        "CidrBlock": "10.2.0.0/16",
        "Region": "eu-west-1",
    }
    return {
        "NetworkInterfaces": [
            interface("eni-me", here, ("10.0.1.1", "2001:db8::1"), draw(groups)),
            pods | {"Ipv4Prefixes": [{"Ipv4Prefix": "10.0.1.16/28"}]},
            interface("eni-c", there, ("10.0.2.1",), draw(groups)),
            interface(
                "eni-p",
                far,
                ("10.2.0.1", "2001:db8:2::1"),
                [draw(st.sampled_from(["sg-9", "sg-8"]))],
            ),
        ],
        "SecurityGroups": [
            {
                "GroupId": name,
                "OwnerId": OWN,
                "VpcId": "vpc-1",
                "IpPermissions": draw(rules),
                "IpPermissionsEgress": draw(rules),
            }
            for name in ("sg-1", "sg-2")
        ],
        "NetworkAcls": [draw(acls())],
        "Subnets": [
            {
                "SubnetId": "subnet-1",
                "VpcId": "vpc-1",
                "CidrBlock": "10.0.1.0/24",
                "Ipv6CidrBlockAssociationSet": [{"Ipv6CidrBlock": "2001:db8::/64"}],
            },
        ],
        "Vpcs": [
            {
                "VpcId": "vpc-1",
                "CidrBlock": "10.0.0.0/16",
                "Ipv6CidrBlockAssociationSet": [{"Ipv6CidrBlock": "2001:db8::/56"}],
            }
        ],
        "VpcPeeringConnections": [
            {
                "VpcPeeringConnectionId": "pcx-1",
                "RequesterVpcInfo": requester,
                "AccepterVpcInfo": accepter,
                "Status": {"Code": draw(st.sampled_from(["active", "active", "expired"]))},
            }
        ],
        "ManagedPrefixLists": [
            {
                "PrefixListId": "pl-1",
                "Entries": [{"Cidr": "192.0.2.0/24"}, {"Cidr": "2001:db8:2::/48"}],
            }
        ],
    }


# --- the oracle -------------------------------------------------------------------------------------------------------


def inside(address: str, cidr: str) -> bool:
    text, length = cidr.split("/")
    if (":" in text) != (":" in address):
        return False
    shift = (128 if ":" in text else 32) - int(length)
    return int(ip_address(address)) >> shift == int(ip_address(text)) >> shift


def icmp_fits(kind: int, code: int, packet: Packet) -> bool:
    return kind == -1 or (kind == packet.icmp_type and code in {-1, packet.icmp_code})


def oracle_acl(acl: Json, packet: Packet, direction: FlowDirection) -> tuple[str, int]:
    remote = str(packet.destination if direction is OUT else packet.source)
    for entry in sorted(acl["Entries"], key=lambda one: int(one["RuleNumber"])):
        protocol, ports, icmp = (
            int(entry["Protocol"]),
            entry.get("PortRange"),
            entry.get("IcmpTypeCode"),
        )
        if entry["Egress"] != (direction is OUT) or not inside(
            remote, entry.get("CidrBlock") or entry["Ipv6CidrBlock"]
        ):
            continue
        if protocol not in {-1, packet.protocol}:
            continue
        if (
            protocol in {6, 17}
            and ports
            and packet.destination_port not in range(ports["From"], ports["To"] + 1)
        ):
            continue
        if protocol in {1, 58} and icmp and not icmp_fits(icmp["Type"], icmp["Code"], packet):
            continue
        return str(entry["RuleAction"]), int(entry["RuleNumber"])
    return "deny", 32_768 if ":" in remote else 32_767


def oracle_groups(world: Json, packet: Packet, direction: FlowDirection) -> bool:
    mine = {group["GroupId"] for group in world["NetworkInterfaces"][0]["Groups"]}
    remote, key = (
        (packet.destination, "IpPermissionsEgress")
        if direction is OUT
        else (packet.source, "IpPermissions")
    )
    return any(
        oracle_permission(world, permission, packet, str(remote))
        for group in world["SecurityGroups"]
        if group["GroupId"] in mine
        for permission in group[key]
    )


def oracle_permission(world: Json, permission: Json, packet: Packet, remote: str) -> bool:
    protocol = {"tcp": 6, "udp": 17, "icmp": 1, "icmpv6": 58}.get(permission["IpProtocol"]) or int(
        permission["IpProtocol"]
    )
    if protocol not in {-1, packet.protocol}:
        return False
    if protocol in {6, 17} and packet.destination_port not in range(
        permission["FromPort"], permission["ToPort"] + 1
    ):
        return False
    if protocol in {1, 58} and not icmp_fits(permission["FromPort"], permission["ToPort"], packet):
        return False
    ranges = [one["CidrIp"] for one in permission["IpRanges"]] + [
        one["CidrIpv6"] for one in permission["Ipv6Ranges"]
    ]
    if permission["PrefixListIds"]:
        ranges += [one["Cidr"] for one in world["ManagedPrefixLists"][0]["Entries"]]
    return any(inside(remote, cidr) for cidr in ranges) or any(
        oracle_pair(world, pair, remote) for pair in permission["UserIdGroupPairs"]
    )


def oracle_pair(world: Json, pair: Json, remote: str) -> bool:
    over_peering = "VpcPeeringConnectionId" in pair
    active = world["VpcPeeringConnections"][0]["Status"]["Code"] == "active"
    if over_peering and (pair.get("PeeringStatus") == "deleted" or not active):
        return False
    for one in world["NetworkInterfaces"]:
        addresses = [item["PrivateIpAddress"] for item in one["PrivateIpAddresses"]]
        addresses += [item["Ipv6Address"] for item in one["Ipv6Addresses"]]
        has = remote in addresses or any(
            inside(remote, item["Ipv4Prefix"]) for item in one.get("Ipv4Prefixes", ())
        )
        if (
            has
            and {"GroupId": pair["GroupId"]} in one["Groups"]
            and (one["VpcId"] == "vpc-2") is over_peering
        ):
            return True
    return False


# --- helpers ----------------------------------------------------------------------------------------------------------


def acl_of(snapshot: Json) -> NetworkAcl:
    (read,) = parse_snapshot({"NetworkAcls": [snapshot]}).network_acls or ()
    return read


def me_in(config: NetConfig) -> Interface:
    found = config.interface("eni-me")
    assert found is not None
    return found


def ask_groups(config: NetConfig, packet: Packet, direction: FlowDirection) -> GroupsAnswer:
    return evaluate_groups(config, me_in(config), packet, direction)


def number_of(answer: AclAnswer) -> int:
    assert answer.entry is not None
    return answer.entry.rule_number


def completions(packet: Packet) -> list[Packet]:
    """Give every packet this one may be, its ICMP type and code being unknown."""
    if packet.protocol not in {1, 58}:
        return [packet]
    return [replace(packet, icmp_type=kind, icmp_code=code) for kind, code in ICMP_KINDS]


def allows(*, allowed: bool) -> Outcome:
    return Outcome.ALLOW if allowed else Outcome.DENY


# --- network ACLs -----------------------------------------------------------------------------------------------------


@LAW
@given(acls(), packets(), DIRECTIONS)
def test_an_acl_answers_as_the_oracle_does(
    snapshot: Json, packet: Packet, direction: FlowDirection
) -> None:
    acl = acl_of(snapshot)
    expected = [oracle_acl(snapshot, one, direction) for one in completions(packet)]
    for one, (action, number) in zip(completions(packet), expected, strict=True):
        answer = evaluate_acl(acl, one, direction)
        assert (answer.outcome, number_of(answer), answer.possible) == (Outcome(action), number, ())
    unsure = evaluate_acl(acl, packet, direction)
    if unsure.outcome is not Outcome.UNKNOWN:
        assert {action for action, _ in expected} == {unsure.outcome}
    assert {number for _, number in expected} <= {
        number_of(unsure),
        *(entry.rule_number for entry in unsure.possible),
    }


@LAW
@given(acls(), packets(), DIRECTIONS, st.data())
def test_an_entry_after_the_first_match_changes_nothing(
    snapshot: Json, packet: Packet, direction: FlowDirection, data: st.DataObject
) -> None:
    everything = {"Egress": direction is OUT, "RuleAction": "deny", "Protocol": "-1"}
    snapshot["Entries"] += [
        everything | {"RuleNumber": 61, "CidrBlock": "0.0.0.0/0"},
        everything | {"RuleNumber": 62, "Ipv6CidrBlock": "::/0"},
    ]
    before = evaluate_acl(acl_of(snapshot), packet, direction)
    taken = {entry["RuleNumber"] for entry in snapshot["Entries"]}
    later = data.draw(st.integers(number_of(before) + 1, 200).filter(lambda one: one not in taken))
    snapshot["Entries"].append(data.draw(acl_entries(later)))
    assert evaluate_acl(acl_of(snapshot), packet, direction) == before


@LAW
@given(acls(), packets(), DIRECTIONS, acl_entries(0))
def test_an_entry_put_first_decides_if_it_matches(
    snapshot: Json, packet: Packet, direction: FlowDirection, first: Json
) -> None:
    packet = completions(packet)[0]
    _, number = oracle_acl({"Entries": [first]}, packet, direction)
    snapshot["Entries"].append(first)
    assert (number_of(evaluate_acl(acl_of(snapshot), packet, direction)) == 0) is (number == 0)


@LAW
@given(acls(), packets(), DIRECTIONS, st.randoms(use_true_random=False))
def test_the_order_of_the_list_never_matters(
    snapshot: Json, packet: Packet, direction: FlowDirection, shuffler: random.Random
) -> None:
    before = evaluate_acl(acl_of(snapshot), packet, direction)
    shuffler.shuffle(snapshot["Entries"])
    assert evaluate_acl(acl_of(snapshot), packet, direction) == before


@LAW
@given(packets(), DIRECTIONS, st.permutations([10, 20]))
def test_the_order_of_the_numbers_does(
    packet: Packet, direction: FlowDirection, numbers: list[int]
) -> None:
    everything = {"Egress": direction is OUT, "Protocol": "-1"}
    everything |= (
        {"CidrBlock": "0.0.0.0/0"} if packet.source.version == 4 else {"Ipv6CidrBlock": "::/0"}
    )
    entries = [
        everything | {"RuleNumber": n, "RuleAction": a}
        for n, a in zip(numbers, ("allow", "deny"), strict=True)
    ]
    answer = evaluate_acl(acl_of({"NetworkAclId": "acl-1", "Entries": entries}), packet, direction)
    assert answer.outcome is allows(allowed=numbers == [10, 20])


@LAW
@given(acls(), packets(), DIRECTIONS)
def test_the_closing_rule_listed_or_not_gives_the_same_answer(
    snapshot: Json, packet: Packet, direction: FlowDirection
) -> None:
    before = evaluate_acl(acl_of(snapshot), packet, direction)
    for egress in (False, True):
        closing = {"Egress": egress, "RuleAction": "deny", "Protocol": "-1"}
        snapshot["Entries"] += [
            closing | {"RuleNumber": 32_767, "CidrBlock": "0.0.0.0/0"},
            closing | {"RuleNumber": 32_768, "Ipv6CidrBlock": "::/0"},
        ]
    after = evaluate_acl(acl_of(snapshot), packet, direction)
    assert after == before


@LAW
@given(acls(), packets(), DIRECTIONS)
def test_entries_of_the_other_ip_version_never_matter(
    snapshot: Json, packet: Packet, direction: FlowDirection
) -> None:
    before = evaluate_acl(acl_of(snapshot), packet, direction)
    own = "CidrBlock" if packet.source.version == 4 else "Ipv6CidrBlock"
    snapshot["Entries"] = [entry for entry in snapshot["Entries"] if own in entry]
    assert evaluate_acl(acl_of(snapshot), packet, direction) == before


@LAW
@given(acls(), packets(), DIRECTIONS, st.sampled_from(PORTS))
def test_the_source_port_never_matters_to_an_acl(
    snapshot: Json, packet: Packet, direction: FlowDirection, port: int
) -> None:
    acl = acl_of(snapshot)
    assert evaluate_acl(acl, replace(packet, source_port=port), direction) == evaluate_acl(
        acl, packet, direction
    )


@LAW
@given(acls(), packets(), DIRECTIONS, st.sampled_from(["RuleAction", "Protocol"]), st.data())
def test_a_word_nobody_knows_never_makes_a_wrong_certainty(
    snapshot: Json, packet: Packet, direction: FlowDirection, key: str, data: st.DataObject
) -> None:
    assume(snapshot["Entries"])
    packet = completions(packet)[0]
    known = evaluate_acl(acl_of(snapshot), packet, direction).outcome
    data.draw(st.sampled_from(snapshot["Entries"]))[key] = "of-tomorrow"
    assert evaluate_acl(acl_of(snapshot), packet, direction).outcome in {Outcome.UNKNOWN, known}


# --- security groups --------------------------------------------------------------------------------------------------


@examples(0.6)
@given(worlds(), packets(), DIRECTIONS)
def test_groups_answer_as_the_oracle_does(
    world: Json, packet: Packet, direction: FlowDirection
) -> None:
    config = parse_snapshot(world)
    expected = [oracle_groups(world, one, direction) for one in completions(packet)]
    for one, allowed in zip(completions(packet), expected, strict=True):
        assert ask_groups(config, one, direction).outcome is allows(allowed=allowed)
    unsure = ask_groups(config, packet, direction).outcome
    if unsure is not Outcome.UNKNOWN:
        assert {allows(allowed=allowed) for allowed in expected} == {unsure}


@LAW
@given(worlds(), packets(), DIRECTIONS, st.randoms(use_true_random=False))
def test_the_order_of_rules_and_groups_never_matters(
    world: Json, packet: Packet, direction: FlowDirection, shuffler: random.Random
) -> None:
    before = ask_groups(parse_snapshot(world), packet, direction)
    for group in world["SecurityGroups"]:
        shuffler.shuffle(group["IpPermissions"])
        shuffler.shuffle(group["IpPermissionsEgress"])
    shuffler.shuffle(world["SecurityGroups"])
    assert ask_groups(parse_snapshot(world), packet, direction) == before


@LAW
@given(worlds(), packets(), DIRECTIONS, permissions())
def test_a_rule_more_never_denies_more(
    world: Json, packet: Packet, direction: FlowDirection, permission: Json
) -> None:
    before = ask_groups(parse_snapshot(world), packet, direction).outcome
    for group in world["SecurityGroups"]:
        group["IpPermissions"].append(permission)
        group["IpPermissionsEgress"].append(permission)
    after = ask_groups(parse_snapshot(world), packet, direction).outcome
    order = (Outcome.DENY, Outcome.UNKNOWN, Outcome.ALLOW)
    assert order.index(after) >= order.index(before)


@LAW
@given(worlds(), packets(), DIRECTIONS)
def test_mending_what_the_nearest_miss_names_and_nothing_less_lets_the_packet_pass(
    world: Json, packet: Packet, direction: FlowDirection
) -> None:
    packet = completions(packet)[0]
    config = parse_snapshot(world)
    answer = ask_groups(config, packet, direction)
    miss = answer.nearest_miss
    if miss is None:  # about every other world
        return
    assert answer.outcome is Outcome.DENY
    mended = {
        "protocol": replace(miss.rule, protocol=str(packet.protocol)),
        "port": replace(miss.rule, from_port=None, to_port=None),
        "peer": replace(miss.rule, peer=ip_network(packet.peer(direction))),
    }
    for criterion, rule in mended.items():
        alone = SecurityGroup(group_id=rule.group_id, ingress=(rule,), egress=(rule,))
        holding = replace(me_in(config), group_ids=(rule.group_id,))
        outcome = evaluate_groups(
            replace(config, security_groups=(alone,)), holding, packet, direction
        ).outcome
        assert outcome is allows(allowed=criterion == miss.differs)


# --- both layers, and what is not known -------------------------------------------------------------------------------


def stays_inside(remote: str) -> bool:
    return inside(remote, "10.0.1.0/24") or inside(remote, "2001:db8::/64")


@LAW
@given(worlds(), packets(), DIRECTIONS)
def test_inside_a_subnet_no_acl_is_asked(
    world: Json, packet: Packet, direction: FlowDirection
) -> None:
    config = parse_snapshot(world)
    remote = packet.peer(direction)
    assert crosses_subnet_boundary(config, me_in(config), remote) is not stays_inside(str(remote))
    answer = evaluate_subnet_acl(config, me_in(config), packet, direction)
    assert (answer is None) is stays_inside(str(remote))


@LAW
@given(worlds(), packets(), DIRECTIONS)
def test_a_connection_passes_if_both_layers_let_the_request_and_the_acl_the_reply(
    world: Json, packet: Packet, direction: FlowDirection
) -> None:
    assume(packet.protocol in {6, 17, 47})
    config = parse_snapshot(world)
    answer = evaluate_connection(config, me_in(config), packet, direction)
    free = stays_inside(str(packet.peer(direction)))
    acl, back = world["NetworkAcls"][0], answer.reply.packet
    assert (back.source_port, back.destination_port) == (
        packet.destination_port,
        packet.source_port,
    )
    request = free or oracle_acl(acl, packet, direction)[0] == "allow"
    reply = free or oracle_acl(acl, back, direction.opposite)[0] == "allow"
    assert answer.reply.outcome is allows(allowed=reply)
    assert answer.outcome is allows(
        allowed=request and reply and oracle_groups(world, packet, direction)
    )


# Keys without which less is known. A missing one of the others has a meaning of its own: no port range is all ports.
KNOWLEDGE = frozenset(
    {
        *(
            "NetworkInterfaces",
            "SecurityGroups",
            "NetworkAcls",
            "Subnets",
            "Vpcs",
            "VpcPeeringConnections",
        ),
        *(
            "ManagedPrefixLists",
            "IpPermissions",
            "IpPermissionsEgress",
            "Entries",
            "Groups",
            "Ipv6Addresses",
            "VpcId",
        ),
        *(
            "PrivateIpAddresses",
            "IpProtocol",
            "Protocol",
            "RuleAction",
            "Status",
            "SubnetId",
            "CidrBlock",
            "AccepterVpcInfo",
        ),
        *("CidrIp", "Ipv6CidrBlock", "Ipv6CidrBlockAssociationSet"),
    }
)
# Where these stand they say which thing is meant, not something about it.
NAMING = frozenset(
    {
        ("Associations", "SubnetId"),
        ("Subnets", "SubnetId"),
        ("Vpcs", "VpcId"),
        ("UserIdGroupPairs", "VpcId"),
    }
)

type Place = tuple[str | int, ...]


def children(value: object) -> list[tuple[str | int, object]]:
    if isinstance(value, dict):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, list) else []


def removable(value: object, place: Place = ()) -> list[Place]:
    found: list[Place] = []
    for key, item in children(value):
        holder = next((one for one in reversed(place) if isinstance(one, str)), "")
        if key in KNOWLEDGE and (holder, key) not in NAMING:
            found.append((*place, key))
        found += removable(item, (*place, key))
    return found


def without(world: Json, places: list[Place]) -> Json:
    less = copy.deepcopy(world)
    for place in places:
        at: Any = less
        for step in place[:-1]:
            at = None if at is None else at.get(step) if isinstance(at, dict) else at[step]
        if at is not None:
            at.pop(place[-1], None)
    return less


@examples(0.6)
@given(worlds(), packets(), DIRECTIONS, st.data())
def test_what_is_certain_with_less_known_stays_so_with_more(
    world: Json, packet: Packet, direction: FlowDirection, data: st.DataObject
) -> None:
    packet = completions(packet)[0]
    whole = parse_snapshot(world)
    places = data.draw(
        st.lists(st.sampled_from(removable(world)), min_size=1, max_size=3, unique=True)
    )
    part = parse_snapshot(without(world, places))
    me = part.interface("eni-me") or me_in(whole)
    sure = evaluate_groups(whole, me_in(whole), packet, direction).outcome
    assert evaluate_groups(part, me, packet, direction).outcome in {Outcome.UNKNOWN, sure}
    assert acl_outcome(part, me, packet, direction) in {
        Outcome.UNKNOWN,
        acl_outcome(whole, me_in(whole), packet, direction),
    }


def acl_outcome(
    config: NetConfig, me: Interface, packet: Packet, direction: FlowDirection
) -> Outcome | None:
    answer = evaluate_subnet_acl(config, me, packet, direction)
    # Inside a subnet no ACL is asked; one that allows the packet says the same of it.
    return Outcome.ALLOW if answer is None else answer.outcome


@pytest.mark.parametrize("direction", FlowDirection)
def test_where_nothing_is_known_nothing_is_certain(direction: FlowDirection) -> None:
    packet = Packet(
        source=ip_address("10.0.1.1"),
        destination=ip_address("10.0.2.1"),
        protocol=6,
        source_port=1,
        destination_port=2,
    )
    bare = Interface(interface_id="eni-me")
    assert evaluate_connection(NetConfig(), bare, packet, direction).outcome is Outcome.UNKNOWN
