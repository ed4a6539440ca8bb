"""Run one simulation: a world, its traffic, the flow log files, and the truth about each reject."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tests.simulator.connections import REAL_NETWORKS, Case
from tests.simulator.describe import describe
from tests.simulator.fix_traffic import FixTraffic
from tests.simulator.fix_world import with_fix_traps
from tests.simulator.log_view import Log
from tests.simulator.network import Cause, Network, Observation
from tests.simulator.random_world import make_world
from tests.simulator.real_world import (
    with_forwarders,
    with_load_balancers,
    with_peered_load_balancers,
    with_public_ranges,
    with_subnet_exclusions,
    with_transit_gateway,
)
from tests.simulator.records import (
    Format,
    Record,
    aggregate,
    aggregate_as_aws,
    files,
    silences,
    skipped_near_rejects,
)
from tests.simulator.truth import Truth, truths

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.simulator.describe_paths import Json
    from tests.simulator.world import World

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
KINDS: tuple[str, ...] = tuple(Case)
LOST_SHARE = 0.3
SKIPPED_SHARE = 0.5  # of the flows that a rejected flow answers, or that it belongs to


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """The input of the program under test, and what its verdicts are measured by.

    ``files`` and ``config`` are the input; ``config`` describes ``world``. ``truths`` has one truth
    per rejected flow in the log. ``observations`` and ``records`` are for checks on the simulator
    itself.
    """

    files: list[str]
    config: Json
    truths: list[Truth]
    world: World
    observations: list[Observation]
    records: list[Record]


def simulate(
    seed: int, *, kind: str = "plain", fmt: str = "v2", stamped_as_aws: bool = False
) -> Simulation:
    """Run the simulation of a seed; the same arguments always return the same result.

    Parameters
    ----------
    seed
        Any integer.
    kind
        One of ``KINDS``: everyday traffic, or a hard case among some everyday traffic.
    fmt
        ``v2`` is AWS's default format, ``v5`` has all fields up to version 5 in an order that
        depends on the seed, ``v8`` adds reject-reason, and ``v11`` the fields of versions 9 to 11:
        interface type, tags and next hop.
    stamped_as_aws
        Whether the times of records are as ``aggregate_as_aws`` says. In the kinds of real networks
        they always are.
    """
    case, form = Case(kind), Format(fmt)
    rng = random.Random(f"{seed} {case}")  # noqa: S311 - a test world, not a secret
    world = make_world(rng)
    if case in _EXTENDED:
        world = _EXTENDED[case](world, rng)
    network = Network(world)
    network.forgets_idle = case in REAL_NETWORKS
    start = int(START.timestamp())
    _run(FixTraffic(world, network, rng, start=start), case, rng)
    as_aws = stamped_as_aws or case in REAL_NETWORKS
    logged = [seen for seen in network.observations if seen.packet.time >= start]
    combine = aggregate_as_aws if as_aws else aggregate
    records = _delivered(combine(logged, form, rng), case, rng)
    worlds = [world for _, world in network.worlds]
    records += silences(records, world, rng, start=start)
    return Simulation(
        files=files(records, world, form, rng),
        config=describe(
            worlds[-1], rng, read_at=START + timedelta(seconds=rng.randrange(1500, 2400))
        ),
        truths=truths(logged, Log(records, form, as_aws=as_aws), worlds, case),
        world=worlds[-1],
        observations=logged,
        records=records,
    )


def _run(traffic: FixTraffic, case: Case, rng: random.Random) -> None:
    if case not in _HARD:
        traffic.prefer_secondary = case is Case.SECONDARY_ADDRESSES
        traffic.plain(rng.randint(20, 45))
        return
    if case is Case.RULE_CHANGE:
        traffic.changes_rules()
    if case is Case.PORT_REUSE:
        traffic.changes_rules(groups=18, losing=1.0)
    if case is Case.UNTRACKED:
        traffic.closes_groups()
    traffic.plain(rng.randint(10, 15))  # everyday rejects beside the hard cases
    for make in _HARD[case]:
        make(traffic)


# The cases that need packets of their own; the others are everyday traffic that is logged or
# addressed in a hard way.
_HARD: dict[Case, tuple[Callable[[FixTraffic], None], ...]] = {
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
    Case.LOAD_BALANCER: (lambda traffic: traffic.load_balancers(40),),
    Case.TRANSIT_GATEWAY: (lambda traffic: traffic.over_transit_gateway(40),),
    Case.FORWARDER: (lambda traffic: traffic.forwarders(40),),
    Case.IDLE_TIMEOUT: (lambda traffic: traffic.idle_connections(45),),
    Case.LATE_CLOSE: (lambda traffic: traffic.late_closes(25),),
    Case.SKIPDATA: (
        lambda traffic: traffic.plain(20),
        lambda traffic: traffic.late_syn_acks(15),
    ),
    Case.PUBLIC_RANGES: (lambda traffic: traffic.public_ranges(40),),
    Case.SUBNET_EXCLUSION: (lambda traffic: traffic.subnet_exclusions(40),),
    Case.BROADCAST: (lambda traffic: traffic.broadcasts(25),),
    Case.FIXES: (
        lambda traffic: traffic.scans(3),
        lambda traffic: traffic.nat_gateway_scans(3),
        lambda traffic: traffic.to_block_list(8),
        lambda traffic: traffic.to_isolated(8),
        lambda traffic: traffic.many_clients(4),
        lambda traffic: traffic.load_balancers(8),
        lambda traffic: traffic.broadcasts(4),
    ),
}
# The kinds whose worlds have more than a random world.
_EXTENDED: dict[Case, Callable[[World, random.Random], World]] = {
    Case.LOAD_BALANCER: with_peered_load_balancers,
    Case.SKIPDATA: with_load_balancers,
    Case.TRANSIT_GATEWAY: with_transit_gateway,
    Case.FORWARDER: with_forwarders,
    Case.PUBLIC_RANGES: with_public_ranges,
    Case.SUBNET_EXCLUSION: with_subnet_exclusions,
    Case.FIXES: with_fix_traps,
}


def _delivered(records: Sequence[Record], case: Case, rng: random.Random) -> list[Record]:
    """Return the records that are delivered.

    All records, no ACCEPT records, or a part of the ACCEPT records and SKIPDATA in place of the
    rest. Times may be late: AWS lets ``start`` and ``end`` lie up to a minute after the packet was
    on the wire.
    """
    if case is Case.SKEWED_TIMES:
        return [_late(record, rng) for record in records]
    if case is Case.SKIPDATA:
        return skipped_near_rejects(records, rng, share=SKIPPED_SHARE)
    if case is Case.REJECT_ONLY:
        return [record for record in records if not record.accepted]
    if case is not Case.LOST_RECORDS:
        return list(records)
    delivered: list[Record] = []
    skipped: dict[tuple[str, int], Record] = {}
    for record in records:
        if not record.accepted or rng.random() >= LOST_SHARE:
            delivered.append(record)
            continue
        window = (record.interface.interface_id, record.start // 60)
        skipped[window] = replace(record, status="SKIPDATA", key=None)
    return [*delivered, *skipped.values()]


def _late(record: Record, rng: random.Random) -> Record:
    start = record.start + rng.randint(0, 60)
    return replace(record, start=start, end=max(start, record.end + rng.randint(0, 60)))
