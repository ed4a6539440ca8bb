"""The simulator is measured before anything is measured by it."""

from __future__ import annotations

import ast
import json
import random
from collections import Counter
from dataclasses import replace
from ipaddress import IPv6Network
from pathlib import Path

import pytest

from tests.helpers.small_network import HOST, allows, chance, end, entry, small_world, talk_between
from tests.simulator import (
    KINDS,
    Simulation,
    Truth,
    falsely_certain,
    key_of_answer,
    mistakes,
    simulate,
)
from tests.simulator.connections import Case
from tests.simulator.log_view import Log
from tests.simulator.network import ACK, FIN, SYN, Cause, Leg
from tests.simulator.random_world import make_world
from tests.simulator.records import FIELDS, FlowKey, Format, Record, aggregate, flags_logged, key_of
from tests.simulator.truth import lets_through, truths
from tests.simulator.world import (
    ANY_PROTOCOL,
    ANY_V4,
    ANY_V6,
    ICMP,
    TCP,
    UDP,
    AclEntry,
    GroupRule,
    Kind,
    World,
)

# --- records ---


def test_flags_are_logged_as_aws_does() -> None:
    assert [flags_logged(flags) for flags in (SYN, SYN | ACK, ACK, FIN | ACK, FIN)] == [
        2,
        18,
        0,
        1,
        1,
    ]
    world = small_world(rules=(allows(TCP, 443),))
    talk = talk_between(world, HOST, end(world, "eni-1", 443))
    assert talk.handshake()
    talk.close()
    found = {record.flags for record in aggregate(talk.network.observations, Format.V5, chance())}
    assert found == {3, 19}


@pytest.mark.parametrize("fmt", list(Format))
def test_every_packet_is_in_exactly_one_record(fmt: Format) -> None:
    for seed in range(5):
        sim = simulate(seed, fmt=fmt)
        seen = Counter((key_of(seen), seen.rules_check.cause is None) for seen in sim.observations)
        logged: Counter[tuple[FlowKey, bool]] = Counter()
        for record in sim.records:
            if record.key is not None:
                logged[record.key, record.accepted] += record.packets
        assert logged == seen
        assert sum(read(sim, "packets")) == len(sim.observations)


def read(sim: Simulation, field: str) -> list[int]:
    numbers = []
    for text in sim.files:
        header, *lines = text.splitlines()
        column = header.split(" ").index(field)
        numbers += [int(value) for line in lines if (value := line.split(" ")[column]) != "-"]
    return numbers


@pytest.mark.parametrize("fmt", list(Format))
def test_files_have_their_header_and_all_fields(fmt: Format) -> None:
    orders = set()
    for seed in range(6):
        for text in simulate(seed, fmt=fmt).files:
            header, *lines = text.splitlines()
            assert sorted(header.split(" ")) == sorted(FIELDS[fmt])
            assert lines
            assert {len(line.split(" ")) for line in lines} == {len(FIELDS[fmt])}
            orders.add(header)
    assert (len(orders) == 1) is (fmt is Format.V2)


def test_version_11_names_the_type_of_the_interface_and_the_next_hop() -> None:
    types, hops = set(), 0
    for seed in range(3):
        sim = simulate(seed, kind="load-balancer", fmt="v11")
        for text in sim.files:
            header, *lines = text.splitlines()
            for line in lines:
                values = dict(zip(header.split(" "), line.split(" "), strict=True))
                interface = sim.world.interfaces[values["interface-id"]]
                is_balancer = interface.kind is Kind.NETWORK_LOAD_BALANCER
                assert (values["interface-type"] == "network_load_balancer") is is_balancer
                types.add(values["interface-type"])
                hop = sim.world.interfaces.get(values["next-hop-interface-id"])
                if hop is not None:
                    hops += 1
                    assert (values["flow-direction"], values["traffic-path"]) == ("egress", "1")
                    assert values["next-hop-vpc-id"] == hop.vpc_id == interface.vpc_id
    assert {"-", "network_load_balancer"} <= types
    assert hops


# --- truths ---


@pytest.mark.slow  # the simulator changes rarely, and its kinds are many
@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_always_gives_the_same_simulation(kind: str) -> None:
    first, again = simulate(7, kind=kind, fmt="v5"), simulate(7, kind=kind, fmt="v5")
    assert (first.files, first.config, first.truths) == (again.files, again.config, again.truths)
    assert simulate(8, kind=kind, fmt="v5").files != first.files


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_each_rejected_flow_logged_has_one_truth(kind: str) -> None:
    for seed in range(4):
        sim = simulate(seed, kind=kind, fmt="v8")
        logged = {
            record.key for record in sim.records if record.key is not None and not record.accepted
        }
        assert [truth.key for truth in sim.truths] == sorted(logged)
        for truth in sim.truths:
            assert (truth.network_acl_entry is not None) is (
                truth.cause in (Cause.NETWORK_ACL, Cause.BOTH)
            )
            assert truth.cause in truth.not_false
            assert truth.mixed or truth.right_without_config <= truth.not_false
            if truth.leg is Leg.RESPONSE and truth.hard_case != Case.UNTRACKED:
                assert truth.tracking is not None or truth.cause in (
                    Cause.NETWORK_ACL,
                    Cause.CLOSED_CONNECTION,
                    Cause.BLOCK_PUBLIC_ACCESS,
                )


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != Case.PLAIN])
def test_each_kind_has_its_hard_case(kind: str) -> None:
    found = Counter(
        truth.hard_case for seed in range(4) for truth in simulate(seed, kind=kind, fmt="v8").truths
    )
    assert found[kind] >= 8


def test_plain_simulations_hold_every_cause_and_are_nearly_all_decidable() -> None:
    every = [truth for seed in range(25) for truth in simulate(seed, fmt="v5").truths]
    assert {(truth.leg, truth.cause) for truth in every} == {
        (Leg.REQUEST, Cause.SECURITY_GROUP),
        (Leg.REQUEST, Cause.NETWORK_ACL),
        (Leg.REQUEST, Cause.BOTH),
        (Leg.RESPONSE, Cause.NETWORK_ACL),
    }
    assert {truth.hard_case for truth in every} == {None}
    assert sum(truth.decidable_with_config for truth in every) > 0.95 * len(every)
    assert {truth.key.protocol for truth in every} >= {TCP, UDP, ICMP}
    assert any(":" in truth.key.srcaddr for truth in every)
    numbers = {
        truth.network_acl_entry.rule_number
        for truth in every
        if truth.network_acl_entry is not None
    }
    assert {32767, 32768} < numbers


@pytest.mark.slow
def test_decidable_plain_flows_are_what_the_described_rules_say() -> None:
    for seed in range(10):
        for truth in simulate(seed, fmt="v5").truths:
            acl_allows = (
                truth.truth_at_read_time.network_acl is None
                or truth.truth_at_read_time.network_acl.allow
            )
            assert acl_allows is (truth.network_acl_entry is None)
            if truth.leg is Leg.REQUEST:
                assert (truth.truth_at_read_time.security_groups_allow is False) is (
                    truth.cause is not Cause.NETWORK_ACL
                )


def test_an_opened_world_lets_a_rejected_packet_and_its_reply_through() -> None:
    sim = simulate(1, fmt="v5")
    for truth in sim.truths:
        assert lets_through(sim.world, truth)[0] is False
        assert lets_through(opened(sim.world, truth), truth) == (True, True)


def opened(world: World, truth: Truth) -> World:
    blocking = world.acl_of(world.interfaces[truth.key.interface_id])
    everything = tuple(
        AclEntry(number=1, egress=egress, allow=True, protocol=ANY_PROTOCOL, block=block)
        for egress in (False, True)
        for block in (ANY_V4, ANY_V6)
    )
    world = world.with_acl(replace(blocking, entries=everything))
    for group_id in truth.security_groups:
        rules = tuple(
            GroupRule(egress=egress, protocol=ANY_PROTOCOL, block=block)
            for egress in (False, True)
            for block in (ANY_V4, ANY_V6)
        )
        world = world.with_group(replace(world.groups[group_id], rules=rules))
    return world


def test_a_lost_request_makes_the_response_undecidable() -> None:
    world = small_world(entries=(entry(1, allow=True),), rules=(allows(TCP, 443),))
    talk = talk_between(world, HOST, end(world, "eni-1", 443))
    assert not talk.handshake()
    seen = talk.network.observations
    records = aggregate(seen, Format.V2, chance())
    (whole,) = truths(seen, Log(records, Format.V2), [world], Case.PLAIN)
    assert whole.decidable_without_config
    assert whole.decidable_with_config
    lost: list[Record] = [record for record in records if not record.accepted]
    (left,) = truths(seen, Log(lost, Format.V2), [world], Case.REJECT_ONLY)
    assert not left.decidable_without_config
    assert not left.decidable_with_config


# --- scoring ---


def answer_for(truth: Truth, **changes: object) -> dict[str, object]:
    entry = truth.network_acl_entry
    shown = entry and {
        "network_acl_id": entry.network_acl_id,
        "rule_number": entry.rule_number,
        "egress": entry.egress,
    }
    key = truth.key
    return {
        **{
            name: getattr(key, name)
            for name in ("interface_id", "srcaddr", "dstaddr", "srcport", "dstport", "protocol")
        },
        "verdict": str(truth.cause),
        "leg": str(truth.leg),
        "confidence": "certain",
        "network_acl_entry": shown,
        **changes,
    }


@pytest.mark.slow
def test_the_truth_scores_without_mistakes_and_false_answers_do_not() -> None:
    for kind in KINDS:
        for truth in simulate(2, kind=kind, fmt="v8").truths:
            answer = answer_for(truth)
            assert key_of_answer(answer) == truth.key
            assert mistakes(truth, answer, with_config=False) == []
            assert mistakes(truth, answer, with_config=True) == []
            assert not falsely_certain(truth, answer)
            lie = answer_for(truth, verdict="encryption-controls", network_acl_entry=None)
            if truth.cause is not Cause.ENCRYPTION_CONTROLS:
                assert falsely_certain(truth, lie)
                assert bool(mistakes(truth, lie, with_config=True)) is truth.decidable_with_config
            if truth.network_acl_entry is not None:
                nameless = answer_for(truth, network_acl_entry=None)
                unnamed = truth.decidable_with_config and not truth.in_real_network
                assert bool(mistakes(truth, nameless, with_config=True)) is unnamed
                other = answer_for(truth, network_acl_entry={"network_acl_id": "acl-0"})
                assert bool(mistakes(truth, other, with_config=True)) is truth.decidable_with_config


# --- the snapshot ---


@pytest.mark.slow
def test_the_snapshot_has_the_lists_and_is_json() -> None:
    for seed in range(10):
        sim = simulate(seed)
        config = json.loads(json.dumps(sim.config))
        assert set(config) == {
            "ReadAt",
            "NetworkInterfaces",
            "SecurityGroups",
            "NetworkAcls",
            "Subnets",
            "Vpcs",
            "VpcPeeringConnections",
            "VpcEndpoints",
            "RouteTables",
            "ManagedPrefixLists",
        }
        for shown in config["NetworkAcls"]:
            mine = sim.world.acls[shown["NetworkAclId"]]
            closing = [entry for entry in shown["Entries"] if entry["RuleNumber"] > 32766]
            assert bool(closing) is mine.shows_closing
            assert len(shown["Entries"]) - len(closing) == len(mine.entries)
        associated = [
            association["SubnetId"]
            for shown in config["NetworkAcls"]
            for association in shown["Associations"]
        ]
        assert sorted(associated) == sorted(sim.world.subnets)


def test_worlds_are_wide_enough() -> None:
    worlds = [make_world(random.Random(seed)) for seed in range(40)]  # noqa: S311 - test worlds
    interfaces = [interface for world in worlds for interface in world.interfaces.values()]
    assert {interface.kind for interface in interfaces} == set(Kind) - {
        Kind.NETWORK_LOAD_BALANCER,
        Kind.TRANSIT_GATEWAY,
    }
    assert any(interface.secondary for interface in interfaces)
    assert any(interface.prefixes for interface in interfaces)
    assert any(interface.addresses_v6 for interface in interfaces)
    assert {peering.status for world in worlds for peering in world.peerings} > {"active"}
    assert any(world.gateway_endpoints for world in worlds)
    assert all(
        isinstance(vpc.block_v6, IPv6Network | None)
        for world in worlds
        for vpc in world.vpcs.values()
    )


# --- the oracle itself ---


def test_the_simulator_imports_nothing_of_the_package() -> None:
    for path in Path(__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            assert not [name for name in names if name.split(".")[0] == "flowverdict"], path


@pytest.mark.slow
def test_fifty_seeds_have_a_thousand_rejected_flows() -> None:
    counts = [len(simulate(seed).truths) for seed in range(50)]
    assert min(counts) >= 15
    assert sum(counts) >= 1000
