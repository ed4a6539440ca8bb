"""The simulator is measured before anything is measured by it."""

from __future__ import annotations

import ast
import json
import random
from collections import Counter
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

import pytest

from tests.simulator import KINDS, Simulation, simulate
from tests.simulator.evaluator import Question, ask_acl, ask_groups
from tests.simulator.network import ACK, FIN, SYN, Cause, End, Leg, Network, Packet
from tests.simulator.records import FIELDS, FlowKey, Format, Record, aggregate, flags_logged, key_of
from tests.simulator.routes import direct, from_internet_through_nat, to_internet_through_nat
from tests.simulator.scoring import falsely_certain, key_of_answer, mistakes
from tests.simulator.traffic import Case, Route, Talk
from tests.simulator.truth import Truth, lets_through, truths
from tests.simulator.world import (
    ANY_PROTOCOL,
    ANY_V4,
    ANY_V6,
    ICMP,
    TCP,
    UDP,
    Acl,
    AclEntry,
    Group,
    GroupRule,
    Interface,
    Kind,
    Peering,
    Subnet,
    Vpc,
    World,
)

NOON = 1_795_348_800
HOST = End(address=IPv4Address("81.2.69.142"), port=50000)
ALL_BOTH_WAYS = tuple(
    AclEntry(number=100, egress=egress, allow=True, protocol=ANY_PROTOCOL, block=ANY_V4)
    for egress in (False, True)
)


def acl(*entries: AclEntry, number: str = "1") -> Acl:
    return Acl(
        acl_id=f"acl-{number}",
        vpc_id="vpc-1",
        is_default=False,
        shows_closing=True,
        entries=entries,
    )


def entry(
    number: int,
    *,
    allow: bool,
    egress: bool = False,
    ports: tuple[int, int] | None = None,
    protocol: int = TCP,
) -> AclEntry:
    return AclEntry(
        number=number, egress=egress, allow=allow, protocol=protocol, block=ANY_V4, ports=ports
    )


def allows(
    protocol: int, port: int | None = None, *, egress: bool = False, group_id: str | None = None
) -> GroupRule:
    block = None if group_id is not None else ANY_V4
    return GroupRule(
        egress=egress,
        protocol=protocol,
        from_port=port,
        to_port=port,
        block=block,
        group_id=group_id,
    )


def small_world(
    *,
    entries: tuple[AclEntry, ...] = ALL_BOTH_WAYS,
    rules: tuple[GroupRule, ...] = (),
    kind: Kind = Kind.INSTANCE,
) -> World:
    """Give one VPC with two subnets; ``eni-1`` has the entries and rules given, ``eni-2`` and ``eni-3`` allow everything."""
    open_rules = (allows(ANY_PROTOCOL), allows(ANY_PROTOCOL, egress=True))
    subnets = {
        f"subnet-{number}": Subnet(
            subnet_id=f"subnet-{number}",
            vpc_id="vpc-1",
            zone="a",
            public=True,
            block=IPv4Network(f"10.0.{number}.0/24"),
            block_v6=None,
            acl_id=f"acl-{number}",
        )
        for number in (1, 2)
    }
    interfaces = {
        f"eni-{number}": Interface(
            interface_id=f"eni-{number}",
            kind=kind if number == 1 else Kind.INSTANCE,
            subnet_id=f"subnet-{subnet}",
            vpc_id="vpc-1",
            primary=IPv4Address(f"10.0.{subnet}.1{number}"),
            group_ids=()
            if number == 1 and kind is Kind.NAT_GATEWAY
            else ("sg-1" if number == 1 else "sg-2",),
        )
        for number, subnet in ((1, 1), (2, 2), (3, 1))
    }
    return World(
        account_id="123456789012",
        region="eu-west-1",
        vpcs={"vpc-1": Vpc(vpc_id="vpc-1", block=IPv4Network("10.0.0.0/16"), block_v6=None)},
        subnets=subnets,
        acls={"acl-1": acl(*entries), "acl-2": acl(*ALL_BOTH_WAYS, number="2")},
        groups={
            "sg-1": Group(group_id="sg-1", name="one", vpc_id="vpc-1", rules=rules),
            "sg-2": Group(group_id="sg-2", name="two", vpc_id="vpc-1", rules=open_rules),
        },
        interfaces=interfaces,
        prefix_lists={"pl-1": ("office", (IPv4Network("81.2.69.0/24"),))},
        peerings=(),
        gateway_endpoints={},
    )


def end(world: World, interface_id: str, port: int) -> End:
    interface = world.interfaces[interface_id]
    return End(address=interface.primary, port=port, interface=interface)


def talk_between(world: World, client: End, server: End, *, protocol: int = TCP) -> Talk:
    route = Route(
        forward=tuple(direct(world, client, server)), backward=tuple(direct(world, server, client))
    )
    return Talk(network=Network(world), route=route, protocol=protocol, time=float(NOON))


def rejects(talk: Talk) -> set[tuple[str, Leg, Cause, int | None]]:
    return {
        (
            one.hop.interface.interface_id,
            one.packet.leg,
            one.rules_check.cause,
            None if one.rules_check.acl is None else one.rules_check.acl.rule_number,
        )
        for one in talk.network.observations
        if one.rules_check.cause is not None
    }


def question(
    port: int = 443, *, protocol: int = TCP, peer: str = "81.2.69.142", egress: bool = False
) -> Question:
    address = IPv6Address(peer) if ":" in peer else IPv4Address(peer)
    return Question(
        egress=egress,
        peer=address,
        protocol=protocol,
        port=port,
        icmp=(8, 0) if protocol == ICMP else None,
    )


def chance() -> random.Random:
    return random.Random(3)  # noqa: S311 - a test world, not a secret


# --- the user's table ---


def test_inbound_request_is_rejected_by_acl_or_groups() -> None:
    no_entry = small_world(entries=(), rules=(allows(TCP, 443),))
    talk = talk_between(no_entry, HOST, end(no_entry, "eni-1", 443))
    assert not talk.handshake()
    assert rejects(talk) == {("eni-1", Leg.REQUEST, Cause.NETWORK_ACL, 32767)}
    no_rule = small_world(rules=(allows(TCP, 80),))
    talk = talk_between(no_rule, HOST, end(no_rule, "eni-1", 443))
    assert not talk.handshake()
    assert rejects(talk) == {("eni-1", Leg.REQUEST, Cause.SECURITY_GROUP, 100)}
    neither = small_world(entries=(entry(7, allow=False),))
    talk = talk_between(neither, HOST, end(neither, "eni-1", 443))
    assert not talk.handshake()
    assert rejects(talk) == {("eni-1", Leg.REQUEST, Cause.BOTH, 7)}


def test_inbound_response_is_rejected_by_the_acl_alone() -> None:
    world = small_world(
        entries=(entry(1, allow=True), entry(5, allow=True, egress=True, ports=(443, 443))),
        rules=(allows(TCP, 443),),
    )
    talk = talk_between(world, HOST, end(world, "eni-1", 443))
    assert not talk.handshake()
    assert rejects(talk) == {("eni-1", Leg.RESPONSE, Cause.NETWORK_ACL, 32767)}


def test_outbound_request_is_rejected_by_groups_or_acl() -> None:
    no_rule = small_world()
    talk = talk_between(no_rule, end(no_rule, "eni-1", 50000), HOST)
    assert not talk.handshake()
    assert rejects(talk) == {("eni-1", Leg.REQUEST, Cause.SECURITY_GROUP, 100)}
    no_entry = small_world(
        entries=(entry(9, allow=False, egress=True),), rules=(allows(TCP, egress=True),)
    )
    talk = talk_between(no_entry, end(no_entry, "eni-1", 50000), HOST)
    assert not talk.handshake()
    assert rejects(talk) == {("eni-1", Leg.REQUEST, Cause.NETWORK_ACL, 9)}


def test_outbound_response_is_rejected_by_the_acl_alone() -> None:
    world = small_world(
        entries=(entry(1, allow=True, egress=True), entry(5, allow=False)),
        rules=(allows(TCP, egress=True),),
    )
    talk = talk_between(world, end(world, "eni-1", 50000), HOST)
    assert not talk.handshake()
    assert rejects(talk) == {("eni-1", Leg.RESPONSE, Cause.NETWORK_ACL, 5)}


# --- rules ---


def test_the_lowest_matching_entry_decides() -> None:
    listed = acl(
        entry(30, allow=True),
        entry(20, allow=False, ports=(443, 443)),
        entry(10, allow=True, protocol=UDP),
    )
    assert (ask_acl(listed, question(443)).allow, ask_acl(listed, question(443)).rule_number) == (
        False,
        20,
    )
    assert (ask_acl(listed, question(80)).allow, ask_acl(listed, question(80)).rule_number) == (
        True,
        30,
    )
    assert ask_acl(listed, question(443, egress=True)).rule_number == 32767
    later = replace(listed, entries=(*listed.entries, entry(25, allow=True)))
    assert ask_acl(later, question(443)) == ask_acl(listed, question(443))


def test_address_families_never_cross() -> None:
    answer = ask_acl(acl(entry(1, allow=True)), question(peer="2a00:1450:4001::1"))
    assert (answer.allow, answer.rule_number) == (False, 32768)
    open_v6 = AclEntry(number=1, egress=False, allow=True, protocol=ANY_PROTOCOL, block=ANY_V6)
    assert not ask_acl(acl(open_v6), question()).allow
    world = small_world(rules=(allows(TCP),))
    assert ask_groups(world, world.interfaces["eni-1"], question(peer="2a00:1450:4001::1")) is False


def test_icmp_type_and_code_decide() -> None:
    ping = AclEntry(number=1, egress=False, allow=True, protocol=ICMP, block=ANY_V4, icmp=(8, -1))
    assert ask_acl(acl(ping), question(0, protocol=ICMP)).allow
    assert not ask_acl(acl(replace(ping, icmp=(0, -1))), question(0, protocol=ICMP)).allow


def test_group_peers() -> None:
    world = small_world()
    one = world.interfaces["eni-1"]

    def with_rule(rule: GroupRule) -> World:
        return world.with_group(replace(world.groups["sg-1"], rules=(rule,)))

    by_reference, by_list = (
        with_rule(allows(TCP, group_id="sg-2")),
        with_rule(GroupRule(egress=False, protocol=TCP, prefix_list_id="pl-1")),
    )
    to_itself, stale = (
        with_rule(allows(TCP, group_id="sg-1")),
        with_rule(allows(TCP, group_id="sg-9")),
    )
    assert ask_groups(by_reference, one, question(peer="10.0.2.12")) is True
    assert ask_groups(by_reference, one, question(peer="10.0.1.11")) is False
    assert ask_groups(to_itself, one, question(peer="10.0.1.11")) is True
    assert ask_groups(stale, one, question(peer="10.0.2.12")) is False
    assert ask_groups(by_list, one, question(peer="81.2.69.1")) is True
    assert ask_groups(by_list, one, question(peer="81.2.70.1")) is False


@pytest.mark.parametrize(
    ("status", "reaches"), [("active", True), ("pending-acceptance", False), ("expired", False)]
)
def test_peering(status: str, reaches: bool) -> None:  # noqa: FBT001 - pytest's parameters
    world = small_world(rules=(allows(TCP, group_id="sg-2"),))
    far = replace(world.interfaces["eni-2"], vpc_id="vpc-2", primary=IPv4Address("10.9.2.12"))
    peering = Peering(peering_id="pcx-1", requester="vpc-1", accepter="vpc-2", status=status)
    world = replace(world, interfaces={**world.interfaces, "eni-2": far}, peerings=(peering,))
    assert ask_groups(world, world.interfaces["eni-1"], question(peer="10.9.2.12")) is reaches
    hops = direct(world, end(world, "eni-2", 50000), end(world, "eni-1", 443))
    assert [hop.interface.interface_id for hop in hops] == (
        ["eni-2", "eni-1"] if reaches else ["eni-2"]
    )


def test_acls_are_not_asked_within_a_subnet() -> None:
    world = small_world(entries=(), rules=(allows(TCP, 443),))
    talk = talk_between(world, end(world, "eni-3", 50000), end(world, "eni-1", 443))
    assert talk.handshake()
    assert all(one.rules_check.acl is None for one in talk.network.observations)
    assert not talk_between(world, end(world, "eni-2", 50000), end(world, "eni-1", 443)).handshake()


# --- state ---


def test_groups_let_answers_pass_and_a_closed_connection_does_not() -> None:
    world = small_world(rules=(allows(TCP, 443),))
    talk = talk_between(world, HOST, end(world, "eni-1", 443))
    assert talk.handshake()
    talk.exchange(gap=1.0)
    talk.close()
    assert rejects(talk) == set()
    assert not talk.send(Leg.REQUEST, after=20.0, flags=FIN | ACK)
    assert not talk.send(Leg.RESPONSE, after=20.0, flags=ACK)
    assert {(leg, cause) for _, leg, cause, _ in rejects(talk)} == {
        (Leg.REQUEST, Cause.CLOSED_CONNECTION),
        (Leg.RESPONSE, Cause.CLOSED_CONNECTION),
    }
    assert talk.handshake(), "the same ports may open a new connection"


def test_state_goes_when_idle() -> None:
    world = small_world(rules=(allows(TCP, 443),))
    talk = talk_between(world, HOST, end(world, "eni-1", 443))
    assert talk.handshake()
    assert talk.send(Leg.RESPONSE, after=349.0, flags=ACK)
    assert not talk.send(Leg.RESPONSE, after=351.0, flags=ACK)
    for wait, passes in ((29.0, True), (31.0, False)):
        world = small_world(rules=(allows(UDP, egress=True),))
        asked = talk_between(
            world, end(world, "eni-1", 50000), replace(HOST, port=53), protocol=UDP
        )
        assert asked.send(Leg.REQUEST)
        assert asked.send(Leg.RESPONSE, after=wait) is passes


def test_a_changed_group_keeps_tracked_connections_and_a_changed_acl_cuts_them() -> None:
    world = small_world(rules=(allows(TCP, 443),))
    no_rules = world.with_group(replace(world.groups["sg-1"], rules=()))
    for after, passes in ((no_rules, True), (world.with_acl(acl()), False)):
        talk = talk_between(world, HOST, end(world, "eni-1", 443))
        assert talk.handshake()
        talk.network.change(talk.time, after)
        assert talk.send(Leg.REQUEST, after=1.0, flags=ACK) is passes


def test_a_reply_of_an_untracked_flow_needs_its_rule() -> None:
    world = small_world(rules=(allows(TCP, 443), allows(ANY_PROTOCOL, egress=True)))
    inbound_only = world.with_group(replace(world.groups["sg-1"], rules=(allows(TCP, 443),)))
    for untracked in (True, False):
        talk = talk_between(world, HOST, end(world, "eni-1", 443))
        talk.network.leaves_open_flows_untracked = untracked
        assert talk.handshake()
        talk.network.change(talk.time, inbound_only)
        assert talk.send(Leg.REQUEST, after=1.0, flags=ACK)
        assert talk.send(Leg.RESPONSE, flags=ACK) is not untracked


def test_backscatter_is_no_answer() -> None:
    world = small_world(rules=(allows(TCP, 22),))
    talk = talk_between(world, replace(HOST, port=443), end(world, "eni-1", 50000))
    assert not talk.send(Leg.REQUEST, flags=SYN | ACK)
    assert rejects(talk) == {("eni-1", Leg.REQUEST, Cause.SECURITY_GROUP, 100)}


def test_a_nat_gateway_logs_as_in_awss_example() -> None:
    world = small_world(kind=Kind.NAT_GATEWAY)
    gateway, client = world.interfaces["eni-1"], end(world, "eni-2", 40000)
    server = End(address=HOST.address, port=443)
    hops = [
        *to_internet_through_nat(client, gateway, 2000, server),
        *from_internet_through_nat(client, gateway, 2000, server),
    ]
    me, nat, far = "10.0.2.12", "10.0.1.11", "81.2.69.142"
    shown = [
        (
            hop.interface.interface_id,
            *map(str, (hop.logged_source, hop.logged_destination, hop.source, hop.destination)),
        )
        for hop in hops
    ]
    assert shown == [
        ("eni-2", me, far, me, far),
        ("eni-1", me, nat, me, far),
        ("eni-1", nat, far, nat, far),
        ("eni-1", far, nat, far, nat),
        ("eni-1", nat, me, far, me),
        ("eni-2", far, me, far, me),
    ]
    network = Network(world)
    packet = Packet(time=float(NOON), leg=Leg.REQUEST, protocol=TCP, flags=SYN)
    assert network.carry(packet, hops[:3])
    assert {
        one.rules_check.groups_allow for one in network.observations if one.hop.interface is gateway
    } == {None}


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
        seen = Counter((key_of(one), one.rules_check.cause is None) for one in sim.observations)
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


# --- truths ---


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_gives_the_same_again(kind: str) -> None:
    one, again = simulate(7, kind=kind, fmt="v5"), simulate(7, kind=kind, fmt="v5")
    assert (one.files, one.config, one.truths) == (again.files, again.config, again.truths)
    assert simulate(8, kind=kind, fmt="v5").files != one.files


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
                assert truth.cause in (Cause.NETWORK_ACL, Cause.CLOSED_CONNECTION)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != Case.PLAIN])
def test_each_hard_case_comes_about(kind: str) -> None:
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
    (whole,) = truths(seen, records, [world], Format.V2, Case.PLAIN)
    assert whole.decidable_without_config
    assert whole.decidable_with_config
    lost: list[Record] = [record for record in records if not record.accepted]
    (left,) = truths(seen, lost, [world], Format.V2, Case.REJECT_ONLY)
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


def test_the_truth_itself_scores_without_mistakes_and_lies_do_not() -> None:
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
                assert (
                    bool(mistakes(truth, nameless, with_config=True)) is truth.decidable_with_config
                )


# --- the snapshot ---


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
            closing = [one for one in shown["Entries"] if one["RuleNumber"] > 32766]
            assert bool(closing) is mine.shows_closing
            assert len(shown["Entries"]) - len(closing) == len(mine.entries)
        associated = [
            one["SubnetId"] for shown in config["NetworkAcls"] for one in shown["Associations"]
        ]
        assert sorted(associated) == sorted(sim.world.subnets)


def test_worlds_are_wide_enough() -> None:
    worlds = [simulate(seed).world for seed in range(20)]
    interfaces = [one for world in worlds for one in world.interfaces.values()]
    assert {one.kind for one in interfaces} == set(Kind)
    assert any(one.secondary for one in interfaces)
    assert any(one.prefixes for one in interfaces)
    assert any(one.addresses_v6 for one in interfaces)
    assert {peering.status for world in worlds for peering in world.peerings} > {"active"}
    assert any(world.gateway_endpoints for world in worlds)
    assert all(
        isinstance(one.block_v6, IPv6Network | None)
        for world in worlds
        for one in world.vpcs.values()
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
def test_fifty_seeds_have_a_thousand_truths() -> None:
    counts = [len(simulate(seed).truths) for seed in range(50)]
    assert min(counts) >= 15
    assert sum(counts) >= 1000
