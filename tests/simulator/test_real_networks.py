"""The simulated network does what AWS documents of real networks."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest

from tests.helpers.small_network import (
    HOST,
    NOON,
    allows,
    chance,
    end,
    entry,
    rejects,
    small_world,
    talk_between,
    view,
)
from tests.simulator import REAL_NETWORKS, simulate
from tests.simulator.connections import Case, Route, Talk
from tests.simulator.evaluator import evaluate_groups
from tests.simulator.log_view import Log, is_over, timeless_leg
from tests.simulator.network import (
    ACK,
    FIN,
    IDLE_SECONDS,
    LONG_IDLE_SECONDS,
    RST,
    SYN,
    Cause,
    End,
    Leg,
    Network,
    Tracking,
    is_never_carried,
)
from tests.simulator.paths import (
    from_transit_gateway,
    leaves,
    through_appliance,
    to_target,
    to_transit_gateway,
)
from tests.simulator.records import LATE_SECONDS, FlowKey, Format, aggregate_as_aws, key_of
from tests.simulator.world import TCP, UDP, Interface, Kind, World

REMOTE = End(address=IPv4Address("172.20.4.4"), port=443)


def connect(world: World, route: Route, *, protocol: int = TCP) -> Talk:
    network = Network(world)
    network.forgets_idle = True
    return Talk(network=network, route=route, protocol=protocol, time=float(NOON))


def added(kind: Kind, subnet: int, *, group_ids: tuple[str, ...] = ()) -> Interface:
    return Interface(
        interface_id="eni-9",
        kind=kind,
        subnet_id=f"subnet-{subnet}",
        vpc_id="vpc-1",
        primary=IPv4Address(f"10.0.{subnet}.99"),
        group_ids=group_ids,
        checks_addresses=kind is not Kind.INSTANCE,
    )


# --- load balancers and appliances ---


def test_a_reference_matches_the_balancer_that_preserves_addresses_and_never_its_client() -> None:
    world = small_world(rules=(allows(TCP, group_id="sg-2"),))
    one, client = world.interfaces["eni-1"], view(peer="10.0.2.12")
    assert evaluate_groups(world, one, client) is True
    assert evaluate_groups(world, one, replace(client, forwarded_by=())) is False
    assert evaluate_groups(world, one, replace(client, forwarded_by=("sg-2",))) is True
    ranges = world.with_group(replace(world.groups["sg-1"], rules=(allows(TCP, 443),)))
    assert evaluate_groups(ranges, one, replace(client, forwarded_by=())) is True


@pytest.mark.parametrize(("own_port", "seen"), [(None, "81.2.69.142"), (2000, "10.0.2.99")])
def test_a_target_sees_the_client_only_where_addresses_are_preserved(
    own_port: int | None, seen: str
) -> None:
    world = small_world(rules=(allows(TCP, 443),))
    balancer = added(Kind.NETWORK_LOAD_BALANCER, 2)
    world = world.with_interface(balancer)
    middle = End(address=balancer.primary, port=443, interface=balancer)
    hops = to_target(world, HOST, middle, end(world, "eni-1", 443), own_port=own_port)
    assert (hops[-1].interface.interface_id, str(hops[-1].source)) == ("eni-1", seen)
    inner = hops[-2]
    assert (inner.interface, inner.egress, str(inner.source)) == (balancer, True, seen)
    assert inner.logged_source == balancer.primary, "its own address is shown"


def test_an_appliance_that_never_saw_the_request_takes_the_answer_for_a_new_flow() -> None:
    world = small_world(rules=(allows(TCP, 22),))
    box = replace(added(Kind.INSTANCE, 1, group_ids=("sg-1",)), interface_id="eni-9")
    other = replace(box, interface_id="eni-8", group_ids=("sg-2",))
    client, server = end(world, "eni-2", 50000), end(world, "eni-3", 443)
    for back, passes in ((other, True), (box, False)):
        route = Route(
            forward=tuple(through_appliance(other, client, server)),
            backward=tuple(through_appliance(back, server, client)),
        )
        talk = connect(world, route)
        assert talk.handshake() is passes
    assert rejects(talk) == {("eni-9", Leg.RESPONSE, Cause.SECURITY_GROUP, 100)}
    blocked = [seen for seen in talk.network.observations if seen.rules_check.cause is not None]
    assert {seen.rules_check.tracking for seen in blocked} == {Tracking.NEVER}
    assert {key_of(seen).dstaddr for seen in blocked} == {"10.0.1.99"}, "its own address is shown"


# --- transit gateways ---


@pytest.mark.parametrize(
    ("subnet", "outward", "entries", "blocked_at"),
    [
        (1, True, (entry(1, allow=True), entry(1, allow=False, egress=True)), {"eni-1"}),
        (1, True, (entry(1, allow=False), entry(1, allow=True, egress=True)), {"eni-9"}),
        (1, False, (entry(1, allow=False), entry(1, allow=False, egress=True)), set()),
        (2, True, (entry(1, allow=True), entry(1, allow=False, egress=True)), {"eni-1"}),
        (2, True, (entry(1, allow=False), entry(1, allow=True, egress=True)), set()),
        (2, False, (entry(1, allow=False), entry(1, allow=True, egress=True)), {"eni-1"}),
        (2, False, (entry(1, allow=True), entry(1, allow=False, egress=True)), set()),
    ],
)
def test_network_acls_apply_as_aws_says_of_transit_gateways(
    subnet: int,
    outward: bool,  # noqa: FBT001 - pytest's parameters
    entries: tuple[object, ...],
    blocked_at: set[str],
) -> None:
    world = small_world(
        entries=entries,  # type: ignore[arg-type]  # pytest's parameters
        rules=(allows(TCP), allows(TCP, egress=True)),
    )
    attachment = added(Kind.TRANSIT_GATEWAY, subnet)
    here = end(world, "eni-1", 50000)
    hops = (
        to_transit_gateway(attachment, here, REMOTE)
        if outward
        else from_transit_gateway(attachment, REMOTE, here)
    )
    talk = connect(world, Route(forward=tuple(hops), backward=()))
    talk.send(Leg.REQUEST, flags=SYN)
    assert {interface for interface, *_ in rejects(talk)} == blocked_at


# --- tracking ---


@pytest.mark.parametrize("limit", [IDLE_SECONDS[TCP], LONG_IDLE_SECONDS])
def test_a_forgotten_connection_is_a_new_flow_to_the_groups(limit: int) -> None:
    world = small_world(rules=(allows(TCP, 443),))
    for wait, passes in ((limit - 1, True), (limit + 1, False)):
        talk = talk_between(world, HOST, end(world, "eni-1", 443))
        talk.network.forgets_idle = True
        talk.network.idle_seconds[TCP] = limit
        assert talk.handshake()
        assert talk.send(Leg.RESPONSE, after=wait, flags=ACK) is passes
        assert talk.send(Leg.REQUEST, after=1.0, flags=ACK), "a rule allows it as a new flow"
    blocked = talk.network.observations[-2].rules_check
    assert (blocked.cause, blocked.tracking) == (Cause.SECURITY_GROUP, Tracking.LOST)


def test_packets_after_the_end_are_no_new_flow() -> None:
    world = small_world(rules=(allows(TCP, 443),))
    talk = talk_between(world, HOST, end(world, "eni-1", 443))
    talk.network.forgets_idle = True
    assert talk.handshake()
    talk.close()
    assert not talk.send(Leg.REQUEST, after=8.0, flags=RST)
    assert rejects(talk) == {("eni-1", Leg.REQUEST, Cause.CLOSED_CONNECTION, 100)}


# --- what a VPC does not carry, and what an internet gateway does not ---


@pytest.mark.parametrize(
    ("address", "never"),
    [
        ("10.0.1.255", True),
        ("10.0.3.255", False),
        ("255.255.255.255", True),
        ("239.1.2.3", True),
        ("169.254.7.7", True),
        ("ff02::fb", True),
        ("81.2.69.142", False),
    ],
)
def test_a_vpc_carries_no_broadcast_and_no_multicast(address: str, never: bool) -> None:  # noqa: FBT001 - pytest's parameters
    world = small_world(rules=(allows(UDP, egress=True),))
    destination = IPv6Address(address) if ":" in address else IPv4Address(address)
    assert is_never_carried(world, destination) is never
    sender = end(world, "eni-1", 138)
    hop = leaves(sender, End(address=destination, port=138))
    talk = connect(world, Route(forward=(hop,), backward=()), protocol=UDP)
    talk.send(Leg.REQUEST)
    causes = {cause for _, _, cause, _ in rejects(talk)}
    assert (Cause.NOT_CARRIED in causes) is never


def test_block_public_access_is_by_subnet_and_only_at_an_internet_gateway() -> None:
    world = small_world(rules=(allows(TCP, 443),))
    for modes, passes in (
        ({"vpc-1": "block-bidirectional"}, False),
        ({"vpc-1": "block-ingress"}, False),
        ({"vpc-1": "block-bidirectional", "subnet-1": "off"}, True),
    ):
        blocked = replace(world, public_access=modes)
        assert talk_between(blocked, HOST, end(blocked, "eni-1", 443)).handshake() is passes
        near = talk_between(blocked, end(blocked, "eni-2", 50000), end(blocked, "eni-1", 443))
        assert near.handshake(), "not over an internet gateway"


# --- stamps, and what they leave known ---


@pytest.mark.slow
def test_the_records_of_a_window_share_its_bounds_and_are_at_most_a_minute_late() -> None:
    intervals, shared = set(), set()
    for seed in range(12):
        sim = simulate(seed, kind=Case.AWS_STAMPS, fmt="v5")
        windows = {
            (record.interface.interface_id, record.start, record.end)
            for record in sim.records
            if record.key is not None
        }
        busy = {interface for interface, _, _ in windows}
        shared.add(len(windows) < 5 * len(busy))
        intervals.add(max(end - start for _, start, end in windows) > 2 * LATE_SECONDS + 60)
        times: dict[FlowKey, list[float]] = {}
        for seen in sim.observations:
            times.setdefault(key_of(seen), []).append(seen.packet.time)
        for record in sim.records:
            if record.key is not None:
                assert record.start - LATE_SECONDS <= max(times[record.key])
                assert min(times[record.key]) <= record.end + 1
    assert intervals == {True, False}
    assert True in shared


def test_what_records_show_without_any_order() -> None:
    world = small_world(entries=(entry(1, allow=True),), rules=(allows(TCP, 443),))
    talk = talk_between(world, HOST, end(world, "eni-1", 443))
    assert not talk.handshake()
    records = aggregate_as_aws(talk.network.observations, Format.V5, chance())
    log = Log(records, Format.V5, as_aws=True)
    (blocked,) = log.rejected
    assert timeless_leg(log, blocked, egress=True) is Leg.RESPONSE
    alone = Log([each for each in records if not each.accepted], Format.V5, as_aws=True)
    assert timeless_leg(alone, blocked, egress=True) is None


def test_a_late_packet_shows_by_the_flags_that_were_accepted() -> None:
    world = small_world(rules=(allows(TCP, 443),))
    for ends in (True, False):
        talk = talk_between(world, HOST, end(world, "eni-1", 443))
        talk.network.forgets_idle = True
        assert talk.handshake()
        if ends:
            talk.close()
        assert not talk.send(Leg.RESPONSE, after=400.0, flags=FIN | ACK)
        records = aggregate_as_aws(talk.network.observations, Format.V5, chance())
        log = Log(records, Format.V5, as_aws=True)
        (late,) = log.rejected
        assert is_over(log, late) is ends
        assert not is_over(Log(records, Format.V2, as_aws=True), late)


# --- the kinds ---


@pytest.mark.slow
@pytest.mark.parametrize("kind", REAL_NETWORKS)
def test_real_networks_have_flows_that_can_be_known(kind: str) -> None:
    every = [truth for seed in range(3) for truth in simulate(seed, kind=kind, fmt="v8").truths]
    assert all(truth.in_real_network for truth in every)
    assert sum(truth.decidable_with_config for truth in every) > 0.6 * len(every)


@pytest.mark.slow
def test_lists_of_load_balancers_are_described_or_missing() -> None:
    found = []
    for seed in range(8):
        sim = simulate(seed, kind=Case.LOAD_BALANCER, fmt="v2")
        found.append("TargetGroups" in sim.config)
        for group in sim.config.get("TargetGroups", []):
            keys = {each["Key"] for each in group["Attributes"]}
            assert "preserve_client_ip.enabled" in keys
            targets = [
                each
                for each in sim.config["TargetHealthDescriptions"]
                if each["TargetGroupArn"] == group["TargetGroupArn"]
            ]
            assert len(targets) == 2
    assert set(found) == {True, False}


@pytest.mark.slow
def test_load_balancers_have_targets_in_peered_vpcs_and_rejects_on_their_inner_side() -> None:
    peered, rejecting = 0, 0
    for seed in range(6):
        sim = simulate(seed, kind=Case.LOAD_BALANCER, fmt="v5")
        for group in sim.world.target_groups:
            balancer = sim.world.interfaces[group.balancer]
            vpcs = {sim.world.interfaces[each].vpc_id for each in group.targets}
            peered += vpcs != {balancer.vpc_id}
            rejecting += any(
                truth.key.interface_id == balancer.interface_id
                and truth.egress
                and truth.pkt_srcaddr != str(balancer.primary)
                for truth in sim.truths
            )
    assert peered
    assert rejecting


@pytest.mark.slow
def test_both_ways_through_appliances_are_simulated() -> None:
    every = [
        truth for seed in range(6) for truth in simulate(seed, kind=Case.FORWARDER, fmt="v5").truths
    ]
    assert {truth.tracking for truth in every} == {None, Tracking.NEVER}
    lost = simulate(1, kind=Case.IDLE_TIMEOUT, fmt="v5").truths
    assert Tracking.LOST in {truth.tracking for truth in lost}
