"""Run the offered fixes of a simulation, all commands one after another, and see what they do.

Where two problems need the same change, one fix offers it and the other names it as shared. A
command that two fixes offer is refused here as EC2 refuses it. A shared command must be among the
commands that are offered.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from tests.simulator.commands import Command, RefusedError, applied, parse
from tests.simulator.evaluator import PacketView, evaluate_acl, evaluate_groups
from tests.simulator.fix_exposure import newly_open
from tests.simulator.fix_statements import Statement, statements
from tests.simulator.fix_traffic import Trap
from tests.simulator.fix_world import DEFAULT_GROUP, isolated
from tests.simulator.network import Cause, Leg
from tests.simulator.scoring import key_of_answer
from tests.simulator.truth import answer_to, lets_through
from tests.simulator.world import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.simulator.simulation import Simulation
    from tests.simulator.truth import Truth
    from tests.simulator.world import Address, Interface, World

_SCAN = 20  # ports that one source tried at one interface, beyond any doubt a scan


@dataclass(slots=True, kw_only=True)
class Problem:
    """The flows that one fix is for, and the fix as the JSON of ``explain`` has it.

    ``shows_packets`` is whether the records have the packets' own addresses. Without them, the far
    end can only be tried with the address that the records show for all of an interface's.
    """

    remedy: Mapping[str, Any]
    shows_packets: bool
    truths: list[Truth] = field(default_factory=list)

    def commands(self) -> list[Command]:
        """Return the commands in order."""
        return [parse(text) for text in self.remedy["commands"]]

    def needed(self) -> list[Command]:
        """Return the commands, and those that another fix offers."""
        return [*self.commands(), *(parse(text) for text in self.remedy["shared"])]

    def account_id(self, world: World) -> str:
        """Return the account whose records show the problem."""
        return world.owner_of(world.interfaces[self.truths[0].key.interface_id])


@dataclass(slots=True)
class FixScore:
    """What the fixes of simulations did; the counters name each failure."""

    flows: int = 0
    problems: int = 0
    offered: int = 0
    applied: int = 0
    shared: int = 0
    solved: int = 0
    probes: int = 0
    unsolved: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    beyond: Counter[str] = field(default_factory=Counter)
    harmful: Counter[str] = field(default_factory=Counter)

    def add(self, other: FixScore) -> None:
        """Add the figures of other simulations."""
        for name in FixScore.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def cells(self) -> list[str]:
        """Return the figures in the order of ``FIX_HEAD``."""
        share = f"{self.solved / self.problems:.1%}" if self.problems else "-"
        counters = (self.beyond, self.refused, self.harmful)
        return [
            *(f"{each:,}" for each in (self.flows, self.problems, self.offered, self.applied)),
            f"{self.shared:,}",
            f"{self.solved:,}",
            share,
            f"{self.probes:,}",
            *(f"{each.total():,}" for each in counters),
        ]


FIX_HEAD = (
    "flows with a fix",
    "problems",
    "commands",
    "applied in sequence",
    "shared",
    "problems solved",
    "solved",
    "packets tried",
    "opened beyond stated",
    "refused",
    "harmful",
)


def score_fixes(
    simulation: Simulation, answers: Sequence[Mapping[str, Any]], *, name: str
) -> FixScore:
    """Run all fixes of a simulation, in the order in which their flows are explained."""
    result = FixScore()
    problems = problems_of(simulation, answers)
    before = after = simulation.world
    stated: list[Statement] = []
    done: set[str] = set()
    for problem in problems:
        result.problems += 1
        result.flows += len(problem.truths)
        stated += statements(problem.remedy["opens"])
        for why in harm(before, problem):
            result.harmful[f"{name}: {why}"] += 1
        for command in problem.commands():
            result.offered += 1
            try:
                after = applied(after, command, account_id=problem.account_id(before))
            except RefusedError as refused:
                result.refused[f"{name}: {refused}"] += 1
                continue
            done.add(command.text)
            result.applied += 1
    for problem in problems:
        shared = problem.remedy["shared"]
        result.shared += len(shared)
        for text in set(shared) - done:
            result.refused[f"{name}: shared, but nobody offers it: {text}"] += 1
        failing = [
            truth
            for truth in problem.truths
            if is_known(truth) and not passes(after, problem, truth)
        ]
        result.solved += not failing
        for truth in failing:
            result.unsolved[f"{name} {truth.key} {truth.leg}: {problem.remedy['commands']}"] += 1
    if done:
        result.probes += _expose(before, after, stated, result, name)
    return result


def problems_of(simulation: Simulation, answers: Sequence[Mapping[str, Any]]) -> list[Problem]:
    """Return the problems that a fix is offered for, in order."""
    truths = {truth.key: truth for truth in simulation.truths}
    found: dict[str, Problem] = {}
    for answer in answers:
        if answer["remedy"] is None:
            continue
        text = json.dumps(answer["remedy"], sort_keys=True)
        shows = answer["pkt_srcaddr"] is not None
        problem = found.setdefault(text, Problem(remedy=answer["remedy"], shows_packets=shows))
        problem.truths.append(truths[key_of_answer(answer)])
    return list(found.values())


def _expose(
    before: World, after: World, stated: list[Statement], result: FixScore, name: str
) -> int:
    probes = 0
    for found in newly_open(before, after, stated):
        probes += 1
        if found.beyond is not None:
            result.beyond[f"{name}: {found.beyond}"] += 1
        if found.overruled is not None:
            result.harmful[f"{name}: {found.overruled}"] += 1
    return probes


# --- does it help? --------------------------------------------------------------------------------


def is_known(truth: Truth) -> bool:
    """Return whether the input shows what happened, so that a fix must help."""
    return truth.decidable_with_config or not truth.in_real_network


def passes(world: World, problem: Problem, truth: Truth) -> bool:
    """Return whether packet and reply of a flow pass, wherever the fix says that it was tried."""
    if not all(lets_through(world, truth)):
        return False
    if "far side" not in problem.remedy["tried"]:
        return True
    far = far_end(world, truth)
    source, destination = (
        (truth.pkt_srcaddr, truth.pkt_dstaddr)
        if problem.shows_packets
        else (truth.key.srcaddr, truth.key.dstaddr)
    )
    here = ip_address(source if truth.egress else destination)
    return far is None or _passes_far_end(world, truth, far, here)


def far_end(world: World, truth: Truth) -> Interface | None:
    """Return the only interface that the packet can have come from, or was sent to."""
    near = world.interfaces[truth.key.interface_id]
    forwards = near.kind in (Kind.NAT_GATEWAY, Kind.TRANSIT_GATEWAY) or not near.checks_addresses
    if forwards or truth.packet.forwarded_by is not None:
        return None
    found = [
        each
        for each in world.interfaces.values()
        if each.holds(truth.packet.peer) and each.vpc_id in _reached_from(world, near.vpc_id)
    ]
    return found[0] if len(found) == 1 else None


def _reached_from(world: World, vpc_id: str) -> set[str]:
    reached = {vpc_id}
    for peering in world.peerings:
        if peering.status == "active" and vpc_id in (peering.requester, peering.accepter):
            reached |= {peering.requester, peering.accepter}
    return reached


def _passes_far_end(world: World, truth: Truth, far: Interface, here: Address) -> bool:
    packet, near = truth.packet, world.interfaces[truth.key.interface_id]
    same = PacketView(
        egress=not packet.egress,
        peer=here,
        protocol=packet.protocol,
        port=packet.port,
        icmp=packet.icmp,
    )
    back = PacketView(
        egress=packet.egress,
        peer=here,
        protocol=packet.protocol,
        port=truth.key.srcport,
        icmp=answer_to(packet.icmp),
    )
    request = same if truth.leg is Leg.REQUEST else back
    if evaluate_groups(world, far, request) is False:
        return False
    if far.subnet_id == near.subnet_id:
        return True
    acl = world.acl_of(far)
    return evaluate_acl(acl, same).allow and evaluate_acl(acl, back).allow


# --- does it harm? --------------------------------------------------------------------------------


def harm(world: World, problem: Problem) -> list[str]:
    """Return what a reviewer would refuse in a fix, whatever its commands open."""
    found = [
        f"default group edited: {command.text}"
        for command in problem.needed()
        if command.target in world.groups and _edits_default_group(world, problem, command.target)
    ]
    scanned: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for truth in problem.truths:
        why = _not_to_open(world, truth)
        if why is not None:
            found.append(f"{why}: {truth.key}: {problem.remedy['commands']}")
        if truth.hard_case == Trap.SCAN and truth.leg is Leg.REQUEST:
            scanned[truth.key.interface_id, truth.key.srcaddr].add(truth.key.dstport)
    found += [
        f"scan: {place}: {problem.remedy['commands']}"
        for place, ports in scanned.items()
        if len(ports) >= _SCAN
    ]
    return found


def _edits_default_group(world: World, problem: Problem, group_id: str) -> bool:
    """Return whether a default group gets a rule, and no end of the problem has that one alone.

    The fix must also say that a group of its own is better.
    """
    if world.groups[group_id].name != DEFAULT_GROUP:
        return False
    if problem.remedy["if_wanted"] is None:
        return True
    near = [world.interfaces[truth.key.interface_id] for truth in problem.truths]
    far = [far_end(world, truth) for truth in problem.truths]
    return not any(each is not None and each.group_ids == (group_id,) for each in (*near, *far))


def _not_to_open(world: World, truth: Truth) -> str | None:
    near = world.interfaces[truth.key.interface_id]
    if truth.cause is Cause.NOT_CARRIED:
        return "broadcast"
    from_outside = not truth.avoids_internet and not truth.peer_in_world
    inward_request = not truth.egress and truth.leg is Leg.REQUEST
    if near.kind is Kind.NAT_GATEWAY and inward_request and from_outside:
        return "NAT gateway from outside"
    far = far_end(world, truth)
    if isolated(world, near) or (far is not None and isolated(world, far)):
        return "isolated host"
    return None
