"""The simulated network decides by AWS's rules and tracks connections as AWS does."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from tests.helpers.small_network import (
    HOST,
    NOON,
    acl,
    allows,
    end,
    entry,
    rejects,
    small_world,
    talk_between,
    view,
)
from tests.simulator.evaluator import evaluate_acl, evaluate_groups
from tests.simulator.network import ACK, FIN, SYN, Cause, End, Leg, Network, Packet
from tests.simulator.routes import direct, from_internet_through_nat, to_internet_through_nat
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
    Peering,
    World,
)

# --- which layer rejects which leg ---


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
    assert (evaluate_acl(listed, view(443)).allow, evaluate_acl(listed, view(443)).rule_number) == (
        False,
        20,
    )
    assert (evaluate_acl(listed, view(80)).allow, evaluate_acl(listed, view(80)).rule_number) == (
        True,
        30,
    )
    assert evaluate_acl(listed, view(443, egress=True)).rule_number == 32767
    later = replace(listed, entries=(*listed.entries, entry(25, allow=True)))
    assert evaluate_acl(later, view(443)) == evaluate_acl(listed, view(443))


def test_ip_versions_never_cross() -> None:
    answer = evaluate_acl(acl(entry(1, allow=True)), view(peer="2a00:1450:4001::1"))
    assert (answer.allow, answer.rule_number) == (False, 32768)
    open_v6 = AclEntry(number=1, egress=False, allow=True, protocol=ANY_PROTOCOL, block=ANY_V6)
    assert not evaluate_acl(acl(open_v6), view()).allow
    world = small_world(rules=(allows(TCP),))
    assert (
        evaluate_groups(world, world.interfaces["eni-1"], view(peer="2a00:1450:4001::1")) is False
    )


def test_icmp_type_and_code_decide() -> None:
    ping = AclEntry(number=1, egress=False, allow=True, protocol=ICMP, block=ANY_V4, icmp=(8, -1))
    assert evaluate_acl(acl(ping), view(0, protocol=ICMP)).allow
    assert not evaluate_acl(acl(replace(ping, icmp=(0, -1))), view(0, protocol=ICMP)).allow


def test_peers_of_group_rules() -> None:
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
    assert evaluate_groups(by_reference, one, view(peer="10.0.2.12")) is True
    assert evaluate_groups(by_reference, one, view(peer="10.0.1.11")) is False
    assert evaluate_groups(to_itself, one, view(peer="10.0.1.11")) is True
    assert evaluate_groups(stale, one, view(peer="10.0.2.12")) is False
    assert evaluate_groups(by_list, one, view(peer="81.2.69.1")) is True
    assert evaluate_groups(by_list, one, view(peer="81.2.70.1")) is False


@pytest.mark.parametrize(
    ("status", "reaches"), [("active", True), ("pending-acceptance", False), ("expired", False)]
)
def test_only_an_active_peering_carries_traffic_and_references(status: str, reaches: bool) -> None:  # noqa: FBT001 - pytest's parameters
    world = small_world(rules=(allows(TCP, group_id="sg-2"),))
    far = replace(world.interfaces["eni-2"], vpc_id="vpc-2", primary=IPv4Address("10.9.2.12"))
    peering = Peering(peering_id="pcx-1", requester="vpc-1", accepter="vpc-2", status=status)
    world = replace(world, interfaces={**world.interfaces, "eni-2": far}, peerings=(peering,))
    assert evaluate_groups(world, world.interfaces["eni-1"], view(peer="10.9.2.12")) is reaches
    hops = direct(world, end(world, "eni-2", 50000), end(world, "eni-1", 443))
    assert [hop.interface.interface_id for hop in hops] == (
        ["eni-2", "eni-1"] if reaches else ["eni-2"]
    )


def test_acls_do_not_apply_within_a_subnet() -> None:
    world = small_world(entries=(), rules=(allows(TCP, 443),))
    talk = talk_between(world, end(world, "eni-3", 50000), end(world, "eni-1", 443))
    assert talk.handshake()
    assert all(seen.rules_check.acl is None for seen in talk.network.observations)
    assert not talk_between(world, end(world, "eni-2", 50000), end(world, "eni-1", 443)).handshake()


# --- state ---


def test_groups_allow_replies_and_reject_packets_of_a_closed_connection() -> None:
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


def test_an_idle_connection_is_no_longer_tracked() -> None:
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


def test_backscatter_is_not_an_answer() -> None:
    world = small_world(rules=(allows(TCP, 22),))
    talk = talk_between(world, replace(HOST, port=443), end(world, "eni-1", 50000))
    assert not talk.send(Leg.REQUEST, flags=SYN | ACK)
    assert rejects(talk) == {("eni-1", Leg.REQUEST, Cause.SECURITY_GROUP, 100)}


def test_a_nat_gateway_logs_as_in_the_example_of_aws() -> None:
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
        seen.rules_check.groups_allow
        for seen in network.observations
        if seen.hop.interface is gateway
    } == {None}
