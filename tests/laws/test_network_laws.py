"""Laws of AWS's evaluation, over random worlds, against an oracle.

The oracle knows the ICMP type and code of a packet. Where they are not known, the answer of the
evaluator must agree with the oracle's answers for every packet that it may be.
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
from tests.helpers.network_oracle import inside, oracle_acl, oracle_groups
from tests.helpers.network_worlds import (
    ICMP_KINDS,
    PORTS,
    Json,
    acl_entries,
    acls,
    packets,
    permissions,
    worlds,
)

IN, OUT = FlowDirection.INGRESS, FlowDirection.EGRESS
DIRECTIONS = st.sampled_from(FlowDirection)
# On a busy machine one example can take long without meaning anything.
LAW = examples(0.25)


def acl_of(snapshot: Json) -> NetworkAcl:
    (read,) = parse_snapshot({"NetworkAcls": [snapshot]}).network_acls or ()
    return read


def me_in(config: NetConfig) -> Interface:
    found = config.interface("eni-me")
    assert found is not None
    return found


def groups_answer(config: NetConfig, packet: Packet, direction: FlowDirection) -> GroupsAnswer:
    return evaluate_groups(config, me_in(config), packet, direction)


def number_of(answer: AclAnswer) -> int:
    assert answer.entry is not None
    return answer.entry.rule_number


def completions(packet: Packet) -> list[Packet]:
    """Return every packet that this may be, since its ICMP type and code are not known."""
    if packet.protocol not in {1, 58}:
        return [packet]
    return [replace(packet, icmp_type=kind, icmp_code=code) for kind, code in ICMP_KINDS]


def allows(*, allowed: bool) -> Outcome:
    return Outcome.ALLOW if allowed else Outcome.DENY


# --- network ACLs -----------------------------------------------------------------------------


@LAW
@given(acls(), packets(), DIRECTIONS)
def test_an_acl_answers_as_the_oracle_does(
    snapshot: Json, packet: Packet, direction: FlowDirection
) -> None:
    acl = acl_of(snapshot)
    expected = [oracle_acl(snapshot, full, direction) for full in completions(packet)]
    for full, (action, number) in zip(completions(packet), expected, strict=True):
        answer = evaluate_acl(acl, full, direction)
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
    numbers = {entry["RuleNumber"] for entry in snapshot["Entries"]}
    later = data.draw(
        st.integers(number_of(before) + 1, 200).filter(lambda number: number not in numbers)
    )
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
def test_the_order_of_the_numbers_decides(
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
def test_an_unknown_action_or_protocol_never_makes_a_wrong_certainty(
    snapshot: Json, packet: Packet, direction: FlowDirection, key: str, data: st.DataObject
) -> None:
    assume(snapshot["Entries"])
    packet = completions(packet)[0]
    known = evaluate_acl(acl_of(snapshot), packet, direction).outcome
    data.draw(st.sampled_from(snapshot["Entries"]))[key] = "of-tomorrow"
    assert evaluate_acl(acl_of(snapshot), packet, direction).outcome in {Outcome.UNKNOWN, known}


# --- security groups --------------------------------------------------------------------------


@examples(0.6)
@given(worlds(), packets(), DIRECTIONS)
def test_groups_answer_as_the_oracle_does(
    world: Json, packet: Packet, direction: FlowDirection
) -> None:
    config = parse_snapshot(world)
    expected = [oracle_groups(world, full, direction) for full in completions(packet)]
    for full, allowed in zip(completions(packet), expected, strict=True):
        assert groups_answer(config, full, direction).outcome is allows(allowed=allowed)
    unsure = groups_answer(config, packet, direction).outcome
    if unsure is not Outcome.UNKNOWN:
        assert {allows(allowed=allowed) for allowed in expected} == {unsure}


@LAW
@given(worlds(), packets(), DIRECTIONS, st.randoms(use_true_random=False))
def test_the_order_of_rules_and_groups_never_matters(
    world: Json, packet: Packet, direction: FlowDirection, shuffler: random.Random
) -> None:
    before = groups_answer(parse_snapshot(world), packet, direction)
    for group in world["SecurityGroups"]:
        shuffler.shuffle(group["IpPermissions"])
        shuffler.shuffle(group["IpPermissionsEgress"])
    shuffler.shuffle(world["SecurityGroups"])
    assert groups_answer(parse_snapshot(world), packet, direction) == before


@LAW
@given(worlds(), packets(), DIRECTIONS, permissions())
def test_one_more_rule_never_denies_more(
    world: Json, packet: Packet, direction: FlowDirection, permission: Json
) -> None:
    before = groups_answer(parse_snapshot(world), packet, direction).outcome
    for group in world["SecurityGroups"]:
        group["IpPermissions"].append(permission)
        group["IpPermissionsEgress"].append(permission)
    after = groups_answer(parse_snapshot(world), packet, direction).outcome
    order = (Outcome.DENY, Outcome.UNKNOWN, Outcome.ALLOW)
    assert order.index(after) >= order.index(before)


@LAW
@given(worlds(), packets(), DIRECTIONS)
def test_only_a_fix_of_what_the_nearest_miss_names_lets_the_packet_pass(
    world: Json, packet: Packet, direction: FlowDirection
) -> None:
    packet = completions(packet)[0]
    config = parse_snapshot(world)
    answer = groups_answer(config, packet, direction)
    miss = answer.nearest_miss
    if miss is None:  # about every other world
        return
    assert answer.outcome is Outcome.DENY
    fixed = {
        "protocol": replace(miss.rule, protocol=str(packet.protocol)),
        "port": replace(miss.rule, from_port=None, to_port=None),
        "peer": replace(miss.rule, peer=ip_network(packet.peer(direction))),
    }
    for criterion, rule in fixed.items():
        alone = SecurityGroup(group_id=rule.group_id, ingress=(rule,), egress=(rule,))
        holding = replace(me_in(config), group_ids=(rule.group_id,))
        outcome = evaluate_groups(
            replace(config, security_groups=(alone,)), holding, packet, direction
        ).outcome
        assert outcome is allows(allowed=criterion == miss.differs)


# --- both layers, and what is not known -------------------------------------------------------


def stays_inside(remote: str) -> bool:
    return inside(remote, "10.0.1.0/24") or inside(remote, "2001:db8::/64")


@LAW
@given(worlds(), packets(), DIRECTIONS)
def test_inside_a_subnet_no_acl_applies(
    world: Json, packet: Packet, direction: FlowDirection
) -> None:
    config = parse_snapshot(world)
    remote = packet.peer(direction)
    assert crosses_subnet_boundary(config, me_in(config), remote) is not stays_inside(str(remote))
    answer = evaluate_subnet_acl(config, me_in(config), packet, direction)
    assert (answer is None) is stays_inside(str(remote))


@LAW
@given(worlds(), packets(), DIRECTIONS)
def test_a_connection_passes_if_both_layers_allow_the_request_and_the_acl_the_reply(
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


# Keys without which less is known. Other keys have a meaning where they are missing: without a port
# range, all ports are meant.
KNOWLEDGE = frozenset(
    {
        "AccepterVpcInfo",
        "CidrBlock",
        "CidrIp",
        "Entries",
        "Groups",
        "IpPermissions",
        "IpPermissionsEgress",
        "IpProtocol",
        "Ipv6Addresses",
        "Ipv6CidrBlock",
        "Ipv6CidrBlockAssociationSet",
        "ManagedPrefixLists",
        "NetworkAcls",
        "NetworkInterfaces",
        "PrivateIpAddresses",
        "Protocol",
        "RuleAction",
        "SecurityGroups",
        "Status",
        "SubnetId",
        "Subnets",
        "VpcId",
        "VpcPeeringConnections",
        "Vpcs",
    }
)
# In these places the key identifies an element, and is not a fact about it.
NAMING = frozenset(
    {
        ("Associations", "SubnetId"),
        ("Subnets", "SubnetId"),
        ("Vpcs", "VpcId"),
        ("UserIdGroupPairs", "VpcId"),
    }
)

type Path = tuple[str | int, ...]


def children(value: object) -> list[tuple[str | int, object]]:
    if isinstance(value, dict):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, list) else []


def removable(value: object, path: Path = ()) -> list[Path]:
    found: list[Path] = []
    for key, item in children(value):
        holder = next((step for step in reversed(path) if isinstance(step, str)), "")
        if key in KNOWLEDGE and (holder, key) not in NAMING:
            found.append((*path, key))
        found += removable(item, (*path, key))
    return found


def without(world: Json, paths: list[Path]) -> Json:
    less = copy.deepcopy(world)
    for path in paths:
        at: Any = less
        for step in path[:-1]:
            at = None if at is None else at.get(step) if isinstance(at, dict) else at[step]
        if at is not None:
            at.pop(path[-1], None)
    return less


@examples(0.6)
@given(worlds(), packets(), DIRECTIONS, st.data())
def test_what_is_certain_with_less_known_stays_so_with_more(
    world: Json, packet: Packet, direction: FlowDirection, data: st.DataObject
) -> None:
    packet = completions(packet)[0]
    whole = parse_snapshot(world)
    paths = data.draw(
        st.lists(st.sampled_from(removable(world)), min_size=1, max_size=3, unique=True)
    )
    part = parse_snapshot(without(world, paths))
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
    # Inside a subnet no network ACL applies, as if it allowed the packet.
    return Outcome.ALLOW if answer is None else answer.outcome


@pytest.mark.parametrize("direction", FlowDirection)
def test_without_configuration_nothing_is_certain(direction: FlowDirection) -> None:
    packet = Packet(
        source=ip_address("10.0.1.1"),
        destination=ip_address("10.0.2.1"),
        protocol=6,
        source_port=1,
        destination_port=2,
    )
    bare = Interface(interface_id="eni-me")
    assert evaluate_connection(NetConfig(), bare, packet, direction).outcome is Outcome.UNKNOWN
