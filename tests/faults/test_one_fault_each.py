"""Each function dies once and meets one AWS error: the everyday part of the fault tests.

``test_crash_points`` and ``test_aws_errors``, which are slow, try every call in every way.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from flowverdict_cli.local_aws import EVALUATE
from tests.helpers.aws_faults import Broken, Fault
from tests.helpers.crash_points import (
    Point,
    differences,
    is_write,
    raised_at_points,
)
from tests.helpers.fault_runs import Run, RunResult, lacks
from tests.helpers.fault_world import (
    LOG_EVENTS,
    OBJECTS,
    PRESS,
    SLACK,
    SWEEP,
    TEAMS,
    World,
    fault_world,
)
from tests.helpers.wire import WEBHOOK, When
from tests.helpers.world_copies import in_a_copy

if TYPE_CHECKING:
    from tests.helpers.fault_records import Episode, Outcome

FUNCTIONS = (OBJECTS, LOG_EVENTS, EVALUATE, SWEEP, SLACK, TEAMS, PRESS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """The runs of an episode: without fault, with a death, and with an AWS error."""

    well: RunResult
    dead: dict[Point, Outcome]
    failed: RunResult


def tried(world: World, episode: Episode) -> Tried:
    """Let the function die before its last write, and deny that call (or the last call of AWS)."""
    well = in_a_copy(Run(world, episode).result)
    calls = well.sequence
    last = max(number for number, call in enumerate(calls) if is_write(call))
    denied = next(call for call in reversed(calls[: last + 1]) if call != WEBHOOK)
    run = Run(world, episode, broken=Broken(Fault.DENIED), where=denied)
    dead = in_a_copy(
        lambda: raised_at_points(world, episode, lambda at, _: at == (last, When.BEFORE))
    )
    return Tried(well=well, dead=dead, failed=in_a_copy(run.result))


def test_death_before_the_last_write_and_its_denial_lose_and_repeat_nothing() -> None:
    """Play all functions in one test: with a test for each, each worker would play them all."""
    with fault_world() as world:
        world.aws.keep_warm = True  # loading a function anew takes longer than running it
        for name in FUNCTIONS:
            episode = world.episodes[name]
            world.prepare(episode)
            run: Tried = in_a_copy(partial(tried, world, episode))
            assert run.well.outcome.lost == [], name
            assert len(run.dead) == 1, name
            assert differences(run.well.sequence, run.well.outcome, run.dead) == {}, name
            assert run.failed.tries, f"{name}: the call was not made"
            assert run.failed.unforeseen == [], name
            assert lacks(run.failed, run.well) == [], name
            world.play(episode)
