"""One simulation: a world, its traffic, the flow log files and the truth about every reject in them."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tests.simulator.describe import Json, describe
from tests.simulator.network import Cause, Network, Observation
from tests.simulator.records import Format, Record, aggregate, files, silences
from tests.simulator.traffic import Case, TrafficTotals
from tests.simulator.truth import Truth, truths
from tests.simulator.world import World, make_world

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
KINDS: tuple[str, ...] = tuple(Case)
LOST_SHARE = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """What a judge is given (``files``, ``config``) and what it is measured by (``truths``, one for each rejected flow logged).

    ``world`` is the one that ``config`` describes; ``observations`` and ``records`` are for checks on the simulator itself.
    """

    files: list[str]
    config: Json
    truths: list[Truth]
    world: World
    observations: list[Observation]
    records: list[Record]


def simulate(seed: int, *, kind: str = "plain", fmt: str = "v2") -> Simulation:
    """Run the simulation of this seed; the same arguments always give the same.

    Parameters
    ----------
    seed
        Any integer.
    kind
        One of ``KINDS``: everyday traffic, or a hard case among some everyday traffic.
    fmt
        ``v2`` is AWS's default format, ``v5`` all fields up to version 5 in an order of the seed's, ``v8`` adds reject-reason.

    """
    case, form = Case(kind), Format(fmt)
    rng = random.Random(f"{seed} {case}")  # noqa: S311 - a test world, not a secret
    world = make_world(rng)
    network = Network(world)
    start = int(START.timestamp())
    _run(TrafficTotals(world, network, rng, start=start), case, rng)
    records = _kept(aggregate(network.observations, form, rng), case, rng)
    worlds = [one for _, one in network.worlds]
    records += silences(records, world, rng, start=start)
    return Simulation(
        files=files(records, world, form, rng),
        config=describe(
            worlds[-1], rng, read_at=START + timedelta(seconds=rng.randrange(1500, 2400))
        ),
        truths=truths(network.observations, records, worlds, form, case),
        world=worlds[-1],
        observations=network.observations,
        records=records,
    )


def _run(traffic: TrafficTotals, case: Case, rng: random.Random) -> None:
    if case not in _HARD:
        traffic.prefer_secondary = case is Case.SECONDARY_ADDRESSES
        traffic.plain(rng.randint(20, 45))
        return
    if case is Case.RULE_CHANGE:
        traffic.changes_rules()
    if case is Case.PORT_REUSE:
        traffic.changes_rules(groups=18, taken=1.0)
    if case is Case.UNTRACKED:
        traffic.closes_groups()
    traffic.plain(rng.randint(10, 15))  # everyday rejects beside the hard ones
    for make in _HARD[case]:
        make(traffic)


# The cases that need packets of their own; the others are everyday traffic, logged or addressed in a hard way.
_HARD: dict[Case, tuple[Callable[[TrafficTotals], None], ...]] = {
    Case.CLOSED_CONNECTION: (lambda traffic: traffic.closed_connections(20),),
    Case.RULE_CHANGE: (lambda traffic: traffic.traffic_over_change(40),),
    Case.SYMMETRIC_UDP: (lambda traffic: traffic.symmetric_datagrams(25),),
    Case.BACKSCATTER: (lambda traffic: traffic.backscatter(20),),
    Case.BLOCK_PUBLIC_ACCESS: (lambda traffic: traffic.controlled(20, Cause.BLOCK_PUBLIC_ACCESS),),
    Case.ENCRYPTION_CONTROLS: (lambda traffic: traffic.controlled(20, Cause.ENCRYPTION_CONTROLS),),
    Case.PORT_REUSE: (lambda traffic: traffic.reused_ports(25),),
    Case.UNTRACKED: (lambda traffic: traffic.untracked(40),),
    Case.SKEWED_TIMES: (
        lambda traffic: traffic.closed_connections(8),
        lambda traffic: traffic.symmetric_datagrams(12),
    ),
}


def _kept(records: Sequence[Record], case: Case, rng: random.Random) -> list[Record]:
    """Give what is delivered: all of it, no ACCEPT, or not every ACCEPT and SKIPDATA in place of those lost.

    Times may be skewed: AWS lets ``start`` and ``end`` lie up to a minute after the packet was on the wire.
    """
    if case is Case.SKEWED_TIMES:
        return [_late(record, rng) for record in records]
    if case is Case.REJECT_ONLY:
        return [record for record in records if not record.accepted]
    if case is not Case.LOST_RECORDS:
        return list(records)
    kept: list[Record] = []
    skipped: dict[tuple[str, int], Record] = {}
    for record in records:
        if not record.accepted or rng.random() >= LOST_SHARE:
            kept.append(record)
            continue
        window = (record.interface.interface_id, record.start // 60)
        skipped[window] = replace(record, status="SKIPDATA", key=None)
    return [*kept, *skipped.values()]


def _late(record: Record, rng: random.Random) -> Record:
    start = record.start + rng.randint(0, 60)
    return replace(record, start=start, end=max(start, record.end + rng.randint(0, 60)))
