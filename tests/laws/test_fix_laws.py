"""Fixes that are offered together can be run together, and open nothing that they do not say."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowverdict.core.addresses import is_inside
from flowverdict.flowlog.records import FlowDirection
from flowverdict.network.acl import AclAnswer, evaluate_subnet_acl
from flowverdict.network.model import (
    EVERYWHERE,
    GroupReference,
    PrefixListReference,
    protocol_number,
)
from flowverdict.network.packet import Outcome, Packet
from flowverdict.network.security_groups import evaluate_groups
from flowverdict.network.snapshot import parse_snapshot
from flowverdict.verdict.batch import Batch, FixedConfig
from flowverdict.verdict.remediation.case import blocks, trip_of
from flowverdict.verdict.remediation.intent import written_denial
from flowverdict.verdict.remediation.limits import is_default
from flowverdict.verdict.remediation.model import AclChange, GroupChange, Remediation
from tests.helpers.fix_records import OUTSIDERS, PORTS, records
from tests.helpers.fixes import NETWORK, explained
from tests.helpers.hypothesis_weight import examples
from tests.simulator import KINDS, simulate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from flowverdict.core.addresses import Address
    from flowverdict.network.configuration import NetConfig
    from flowverdict.network.model import Interface, NetworkAcl, Peer, SecurityGroup
    from flowverdict.verdict.explanation import Explanation
    from flowverdict.verdict.remediation.model import Change


@dataclass(frozen=True, slots=True)
class Probe:
    """A packet at an interface, and which of its layers a fix changes."""

    interface: Interface
    packet: Packet
    direction: FlowDirection
    acl_changes: bool
    groups_change: bool

    @property
    def peer(self) -> Address:
        return self.packet.peer(self.direction)

    @property
    def is_outward(self) -> bool:
        return self.direction is FlowDirection.EGRESS

    def acl(self, config: NetConfig) -> AclAnswer | None:
        return evaluate_subnet_acl(config, self.interface, self.packet, self.direction)

    def groups(self, config: NetConfig) -> Outcome:
        return evaluate_groups(config, self.interface, self.packet, self.direction).outcome


def probes(config: NetConfig, after: NetConfig, ports: Iterable[int]) -> Iterator[Probe]:
    """Yield packets at every interface for which a rule is changed."""
    interfaces = config.interfaces or ()
    ends = [*OUTSIDERS, *(each.addresses[0] for each in interfaces if each.addresses)]
    for interface in interfaces:
        acl_changes = acl_of(config, interface) != acl_of(after, interface)
        groups_change = groups_of(config, interface) != groups_of(after, interface)
        if not acl_changes and not groups_change:
            continue
        for own in interface.addresses[:1]:
            for far in ends:
                if far == own or far.version != own.version:
                    continue
                for port in ports:
                    for direction in FlowDirection:
                        inward = direction is FlowDirection.INGRESS
                        packet = Packet(
                            source=far if inward else own,
                            destination=own if inward else far,
                            protocol=6,
                            source_port=40_001,
                            destination_port=port,
                        )
                        yield Probe(interface, packet, direction, acl_changes, groups_change)


def acl_of(config: NetConfig, interface: Interface) -> NetworkAcl | None:
    return config.network_acl_of_subnet(interface.subnet_id or "", interface.vpc_id)


def groups_of(config: NetConfig, interface: Interface) -> list[SecurityGroup | None]:
    return [config.security_group(group_id) for group_id in interface.group_ids or ()]


def fixes_of(explanations: Sequence[Explanation]) -> list[Remediation]:
    """Return the fixes, each once, in the order of the flows."""
    found = [one.remediation for one in explanations if isinstance(one.remediation, Remediation)]
    return list(dict.fromkeys(found))


def with_all(config: NetConfig, changes: Iterable[Change]) -> NetConfig:
    for change in changes:
        config = change.apply(config)
    return config


def named_by(config: NetConfig, change: Change, probe: Probe) -> bool:
    """Whether a change says that it lets a packet pass."""
    if isinstance(change, AclChange):
        return named_by_entry(config, change, probe)
    rule = change.rule
    return (
        rule.group_id in (probe.interface.group_ids or ())
        and rule.egress is probe.is_outward
        and protocol_number(rule.protocol) == probe.packet.protocol
        and rule.from_port == rule.to_port == probe.packet.destination_port
        and peer_is(config, rule.peer, probe.peer)
    )


def named_by_entry(config: NetConfig, change: AclChange, probe: Probe) -> bool:
    entry = change.entry
    acl = acl_of(config, probe.interface)
    return (
        acl is not None
        and acl.network_acl_id == change.network_acl_id
        and entry.egress is probe.is_outward
        and protocol_number(entry.protocol) == probe.packet.protocol
        and (entry.ports is None or (probe.packet.destination_port or 0) in entry.ports)
        and entry.network is not None
        and probe.peer in entry.network
    )


def groups_of_load_balancers(config: NetConfig) -> set[str]:
    return {group for each in config.load_balancers or () for group in each.group_ids or ()}


def peer_is(config: NetConfig, peer: Peer | None, address: Address) -> bool:
    match peer:
        case GroupReference():
            # Clients of a load balancer that holds the group come with their own addresses.
            return peer.group_id in groups_of_load_balancers(config) or any(
                address in each.addresses for each in config.holders(peer.group_id)
            )
        case PrefixListReference():
            listed = config.prefix_list(peer.prefix_list_id)
            return listed is not None and any(address in cidr for cidr in listed.cidrs or ())
        case None:
            return False
        case _:
            return address in peer


def check(config: NetConfig, explanations: Sequence[Explanation]) -> None:
    """Check all fixes together: their numbers, what they open, and what they leave closed."""
    fixes = fixes_of(explanations)
    changes = [change for fix in fixes for change in fix.changes]
    assert len(set(changes)) == len(changes), "two fixes offer the same change"
    assert all(change in changes for fix in fixes for change in fix.shared)
    assert all((fix.shared_with is not None) is bool(fix.shared) for fix in fixes)
    check_numbers(config, changes)
    after = with_all(config, changes)
    for probe in probes(config, after, sorted({*PORTS, *map(first_port, changes)})):
        if probe.acl_changes:
            check_entries(config, after, changes, probe)
        if not probe.groups_change:
            continue
        if probe.groups(after) is Outcome.ALLOW and probe.groups(config) is not Outcome.ALLOW:
            rules = [change for change in changes if isinstance(change, GroupChange)]
            assert any(named_by(config, change, probe) for change in rules), probe
    for change in changes:
        check_target(config, change)
    for fix in fixes:
        if any(lets_clients_in(config, change) for change in fix.changes):
            assert "clients that come by load balancer " in fix.opens


def lets_clients_in(config: NetConfig, change: Change) -> bool:
    """Whether a rule lets in the clients of a load balancer that keeps their addresses."""
    if isinstance(change, AclChange) or change.rule.egress:
        return False
    peer = change.rule.peer
    return isinstance(peer, GroupReference) and any(
        peer.group_id in (balancer.group_ids or ())
        and balancer.arn in (group.load_balancer_arns or ())
        for balancer in config.load_balancers or ()
        for group in config.target_groups or ()
        if group.preserve_client_ip is not False
    )


def check_numbers(config: NetConfig, changes: Sequence[Change]) -> None:
    numbers = Counter(
        (change.network_acl_id, change.entry.egress, change.entry.rule_number)
        for change in changes
        if isinstance(change, AclChange)
    )
    taken = {
        (acl.network_acl_id, entry.egress, entry.rule_number)
        for acl in config.network_acls or ()
        for entry in acl.entries or ()
    }
    assert all(count == 1 for count in numbers.values())
    assert not taken & set(numbers)


def check_entries(
    config: NetConfig, after: NetConfig, changes: Sequence[Change], probe: Probe
) -> None:
    before, now = probe.acl(config), probe.acl(after)
    if before is None or now is None:
        return
    if before.outcome is Outcome.DENY and written_denial(before) is not None:
        assert now.outcome is Outcome.DENY, (probe, before)
    if now.outcome is Outcome.ALLOW and before.outcome is not Outcome.ALLOW:
        entries = [change for change in changes if isinstance(change, AclChange)]
        assert any(named_by(config, change, probe) for change in entries), probe


def first_port(change: Change) -> int:
    if isinstance(change, AclChange):
        return 443 if change.entry.ports is None else change.entry.ports.first
    return max(change.rule.from_port or 443, 1)


def check_target(config: NetConfig, change: Change) -> None:
    """Check that a rule is on no default group beside another, and names no internet host."""
    if isinstance(change, AclChange):
        return
    group = config.security_group(change.rule.group_id)
    assert group is not None
    if is_default(group):
        assert any(len(each.group_ids or ()) == 1 for each in config.holders(group.group_id))
    peer = change.rule.peer
    if isinstance(peer, IPv4Network | IPv6Network) and not is_inside(peer.network_address):
        vpcs = [cidr for vpc in config.vpcs or () for cidr in vpc.cidrs]
        routes = [
            route.destination
            for table in config.route_tables or ()
            for route in table.routes or ()
            if isinstance(route.destination, IPv4Network | IPv6Network)
        ]
        inside = any(
            peer.network_address in known for known in (*vpcs, *routes) if known.prefixlen > 0
        )
        assert peer in EVERYWHERE.values() or inside, peer


def check_each_solves(config: NetConfig, explanations: Sequence[Explanation]) -> None:
    """Check that with its fix each flow and its reply pass, and no layer is in doubt."""
    from flowverdict.verdict.remediation.case import Case  # noqa: PLC0415 - beside its use

    for one in explanations:
        fix = one.remediation
        if not isinstance(fix, Remediation) or one.rules_check is None:
            continue
        case = Case(
            flow=one.flow,
            verdict=one.verdict,
            rules_check=one.rules_check,
            config=config,
            source_is_inside=one.source_is_inside,
            is_from_outside=one.is_from_outside,
            blocker=one.blocker,
        )
        if one.flow.key.protocol in {1, 58}:
            continue  # tried as an echo request, which flow logs do not show
        left = list(blocks(with_all(config, fix.needed), trip_of(case)))
        assert all(each.hop.is_far and each.outcome is Outcome.UNKNOWN for each in left), left
        assert fix.verified is not any(left) or not fix.verified


@pytest.mark.slow  # the laws hold for drawn flows too, below
@pytest.mark.parametrize("kind", KINDS)
def test_fixes_of_simulated_worlds_keep_the_laws(kind: str) -> None:
    simulation = simulate(1, kind=kind, fmt="v5")
    world, batch = simulation.world, Batch()
    for number, text in enumerate(simulation.files):
        name = f"{world.account_id}_vpcflowlogs_{world.region}_fl-0a1b_20261122T1200Z_{number}.log"
        batch.add_file(io.BytesIO(text.encode()), name=name)
    config = parse_snapshot(simulation.config)
    explanations = batch.explanations(FixedConfig(config))
    check(config, explanations)
    check_each_solves(config, explanations)


@pytest.mark.slow
@examples(1)
@given(given_=st.lists(records(), min_size=1, max_size=8))
def test_whatever_is_rejected_fixes_keep_the_laws(given_: list[str]) -> None:
    explanations = explained(*given_)
    fixes = fixes_of(explanations)
    if fixes:
        check(NETWORK, explanations)
        check_each_solves(NETWORK, explanations)


@examples(2)
@given(given_=st.lists(records(), min_size=2, max_size=6), seed=st.randoms(use_true_random=False))
def test_fixes_do_not_depend_on_the_order_of_the_records(given_: list[str], seed: object) -> None:
    shuffled = list(given_)
    seed.shuffle(shuffled)  # type: ignore[attr-defined]
    first = {one.flow.key: one.remediation for one in explained(*given_)}
    again = {one.flow.key: one.remediation for one in explained(*shuffled)}
    assert first == again


@examples(2)
@given(given_=records())
def test_no_command_names_an_internet_host_that_restrictions_keep_out(given_: str) -> None:
    for one in explained(given_):
        fix, check_ = one.remediation, one.rules_check
        if not isinstance(fix, Remediation) or check_ is None:
            continue
        denied = check_.acl is not None and written_denial(check_.acl) is not None
        assert not denied
        peer = check_.packet.peer(check_.direction)
        restricted = (
            check_.direction is FlowDirection.EGRESS
            and check_.groups.outcome is Outcome.DENY
            and one.verdict.leg == "request"
        )
        if peer in OUTSIDERS and restricted:
            assert all(str(peer) not in command for command in fix.commands(None))
