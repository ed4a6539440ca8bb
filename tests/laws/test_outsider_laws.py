"""Fixes never work for an outsider: whoever sends a packet does not get a way opened for it."""

from __future__ import annotations

import io
import json
import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowverdict.flowlog.records import DEFAULT_FORMATS, FlowDirection
from flowverdict.network.acl import AclAnswer, evaluate_subnet_acl
from flowverdict.network.packet import Outcome
from flowverdict.network.security_groups import evaluate_groups
from flowverdict.network.snapshot import load_snapshot, parse_snapshot
from flowverdict.verdict.batch import Batch, FixedConfig
from flowverdict.verdict.model import Leg
from flowverdict.verdict.paths import Path
from flowverdict.verdict.remediation.model import GroupChange, Remediation
from tests.helpers.fixes import NETWORK, explained, rejected
from tests.helpers.hypothesis_weight import examples
from tests.helpers.shop import SCENARIOS
from tests.simulator import KINDS, simulate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowverdict.core.addresses import Address
    from flowverdict.network.configuration import NetConfig
    from flowverdict.network.model import NetworkAclEntry
    from flowverdict.verdict.explanation import Explanation
    from flowverdict.verdict.rules_check import RulesCheck

_RANGE = re.compile(r"(?:CidrIp(?:v6)?=|-cidr-block )([0-9a-f.:]+/\d+)")
_SAME_LOW_PORT = {123, 500}  # of UDP: NTP and IKE use one port at both ends
_EVERYTHING = {ip_network("0.0.0.0/0"), ip_network("::/0")}


def names(fix: Remediation, peer: Address) -> bool:
    """Whether a command names a peer: by a range that is not everything."""
    commands = (*fix.commands("eu-west-1"), *fix.shared_commands("eu-west-1"))
    ranges = [ip_network(text) for command in commands for text in _RANGE.findall(command)]
    return any(each.prefixlen > 0 and peer in each for each in ranges)


def is_decision(entry: NetworkAclEntry) -> bool:
    """Whether an entry denies something by number, and not everything."""
    everything = entry.protocol == "-1" and entry.network in _EVERYTHING
    return entry.action == "deny" and entry.rule_number <= 32_766 and not everything


def decides(answer: AclAnswer | None) -> bool:
    return (
        answer is not None
        and answer.outcome is Outcome.DENY
        and answer.entry is not None
        and is_decision(answer.entry)
    )


def check(config: NetConfig, explanations: Sequence[Explanation]) -> int:
    """Check the fixes of flows from or to the internet; return how many flows were looked at."""
    looked_at = 0
    for one in explanations:
        checked = one.rules_check
        if checked is None or checked.found_path.path is not Path.INTERNET:
            continue
        looked_at += 1
        if isinstance(one.remediation, Remediation):
            check_fix(config, one, checked, one.remediation)
    return looked_at


def check_fix(config: NetConfig, one: Explanation, checked: RulesCheck, fix: Remediation) -> None:
    """Check the fix of a flow from or to the internet."""
    packet, way = checked.packet, checked.direction
    is_reply = one.verdict.leg is Leg.RESPONSE
    request = packet.reply() if is_reply else packet
    asked = way.opposite if is_reply else way
    answers = [
        evaluate_subnet_acl(config, checked.interface, request, asked),
        evaluate_subnet_acl(config, checked.interface, request.reply(), asked.opposite),
    ]
    assert not any(map(decides, answers)), (one.flow.key, fix.commands(None))
    let_in = [each for each in fix.needed if isinstance(each, GroupChange)]
    for change in let_in:
        rule = change.rule
        assert rule.egress or not isinstance(rule.peer, IPv4Network | IPv6Network), rule
    if asked is FlowDirection.EGRESS:
        groups = evaluate_groups(config, checked.interface, request, asked)
        if groups.outcome is Outcome.DENY:
            assert not names(fix, packet.peer(way)), (one.flow.key, fix.commands(None))
            assert fix.if_wanted is not None
    port = packet.destination_port
    if is_reply and way is FlowDirection.EGRESS and port is not None and port < 1024:
        assert packet.protocol == 17
        assert packet.source_port == port
        assert port in _SAME_LOW_PORT


# --- the network of the scenarios -----------------------------------------------------------------

_INSIDE = {
    each.interface_id.removeprefix("eni-0f"): str(each.addresses[0])
    for each in NETWORK.interfaces or ()
}
_OUTSIDERS = ("203.0.113.66", "192.0.2.25", "198.51.100.77", "130.176.10.10")
_PORTS = (1, 22, 25, 53, 123, 443, 500, 1023, 1024, 4444, 8443, 40_000)


@st.composite
def exchanges(draw: st.DrawFn) -> list[str]:
    """Draw a rejected packet from or to the internet, perhaps after an accepted request."""
    name = draw(st.sampled_from(sorted(_INSIDE)))
    own, far = _INSIDE[name], draw(st.sampled_from(_OUTSIDERS))
    ports = (draw(st.sampled_from(_PORTS)), draw(st.sampled_from(_PORTS)))
    protocol = draw(st.sampled_from((6, 6, 17)))
    ways = draw(st.permutations(("ingress", "egress")))
    ends = {"ingress": (far, own), "egress": (own, far)}
    flags = {6: ("2", "18"), 17: ("-", "-")}[protocol]
    request = (name, *ends[ways[0]], ports, ways[0])
    if draw(st.booleans()):
        return [rejected(*request, protocol=protocol, flags=flags[0])]
    reply = (name, *ends[ways[1]], ports[::-1], ways[1])
    return [
        rejected(*request, protocol=protocol, flags=flags[0], action="ACCEPT"),
        rejected(*reply, protocol=protocol, flags=flags[1]),
    ]


@examples(4)
@given(given_=st.lists(exchanges(), min_size=1, max_size=4))
def test_no_command_names_an_outsider_whatever_it_sends(given_: list[list[str]]) -> None:
    check(NETWORK, explained(*(record for each in given_ for record in each)))


WITH_RULES = [
    path
    for path in sorted(SCENARIOS.glob("*.json"))
    if not path.name.endswith(".config.json") and "config" in json.loads(path.read_text())
]


def test_no_fix_of_a_scenario_names_an_outsider() -> None:
    looked_at = 0
    for path in WITH_RULES:
        case = json.loads(path.read_text())
        config, batch = load_snapshot(SCENARIOS / case["config"]), Batch()
        for name in case["files"]:
            with (SCENARIOS / name).open("rb") as stream:
                batch.add_file(stream, name=name, headerless=DEFAULT_FORMATS)
        looked_at += check(config, batch.explanations(FixedConfig(config)))
    assert looked_at > 20


# --- simulated worlds -----------------------------------------------------------------------------


def check_world(kind: str, seed: int) -> int:
    simulation = simulate(seed, kind=kind, fmt="v5")
    world, batch = simulation.world, Batch()
    for number, text in enumerate(simulation.files):
        name = f"{world.account_id}_vpcflowlogs_{world.region}_fl-0a1b_20261122T1200Z_{number}.log"
        batch.add_file(io.BytesIO(text.encode()), name=name)
    config = parse_snapshot(simulation.config)
    return check(config, batch.explanations(FixedConfig(config)))


@pytest.mark.parametrize(
    "kind", ["plain", *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS[1:])]
)
def test_no_fix_of_a_simulated_world_names_an_outsider(kind: str) -> None:
    assert check_world(kind, 3) >= 0


@pytest.mark.slow
@examples(1)
@given(kind=st.sampled_from(KINDS), seed=st.integers(min_value=0, max_value=100_000))
def test_no_fix_of_any_simulated_world_names_an_outsider(kind: str, seed: int) -> None:
    check_world(kind, seed)


# --- the law sees what it is for ------------------------------------------------------------------


def test_a_range_around_a_peer_names_it_and_everything_does_not() -> None:
    fix = next(
        one.remediation
        for one in explained(rejected("api", "10.60.1.20", "10.60.2.10", (40_100, 8443), "ingress"))
    )
    assert isinstance(fix, Remediation)
    assert names(fix, ip_address("10.60.1.20"))
    assert not names(fix, ip_address("203.0.113.66"))
