"""Let a function die before or after the calls it makes, and compare the outcome with a quiet run.

The calls are found by listening to a run in which nothing dies, so a call that is added to a
function later becomes a crash point without a change here.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tests.helpers.wire import WEBHOOK, Call, When
from tests.helpers.world_copies import Copy, ask_all

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tests.helpers.fault_records import Episode, Outcome
    from tests.helpers.fault_world import World

MESSAGE_CALLS = {Call("sns", "Publish"), WEBHOOK}
READS = ("Get", "BatchGet", "Query", "Scan", "List", "Describe", "Head")

# The index of a call within an invocation, and the side of the call at which the function dies.
type Point = tuple[int, When]


class DeadError(BaseException):
    """Ends the function. Nothing in the program catches it."""


def is_write(call: Call) -> bool:
    """Whether the call may change something in AWS or send a message."""
    return not call.operation.startswith(READS)


def any_point(_: Point, __: Call) -> bool:
    """Select every point."""
    return True


def at_writes(_: Point, call: Call) -> bool:
    """Select the points at writes: dying at a read leaves AWS as the write before it did."""
    return is_write(call)


def undisturbed(world: World, episode: Episode) -> tuple[list[Call], Outcome]:
    """Return the calls of an episode's first invocation, and the outcome of the episode."""
    calls: list[Call] = []

    def record(call: Call, when: When) -> None:
        if when is When.BEFORE:
            calls.append(call)

    with world.wire.listening(record):
        invocation = world.invoke(episode.first)
    world.play(episode, world.again(episode.first, invocation))
    return calls, world.outcome()


def raised_at_points(
    world: World, episode: Episode, selects: Callable[[Point, Call], bool] = any_point
) -> dict[Point, Outcome]:
    """Return the outcome of a death by exception at each selected point.

    The function runs once. At each point it and AWS are copied, and the exception is raised in the
    copy.
    """
    # The second try finds in memory what the exception left there.
    world.aws.keep_warm = True
    copies: dict[Point, Copy] = {}
    dying: Copy | None = None
    calls = 0

    def die_in_a_copy(call: Call, when: When) -> None:
        nonlocal calls, dying
        if dying is not None:
            return  # a call made while the exception unwinds
        calls += when is When.BEFORE
        point = (calls - 1, when)
        if not selects(point, call):
            return
        copy = Copy()
        if copy.is_here:
            dying = copy
            raise DeadError
        copies[point] = copy

    try:
        with world.wire.listening(die_in_a_copy):
            world.invoke(episode.first)
    except DeadError:
        assert dying is not None
        dying.answer(lambda: after_death(world, episode))
    assert dying is None, "the exception was caught"
    return ask_all(copies)


def after_death(world: World, episode: Episode) -> Outcome:
    """Let AWS deliver again what the dead function had; return the outcome of the episode."""
    world.play(episode, world.again(episode.first, None))
    return world.outcome()


def differences(
    calls: Sequence[Call], expected: Outcome, outcomes: Mapping[Point, Outcome]
) -> dict[str, list[str]]:
    """Return what differs from a quiet run, by the point of death."""
    found = {
        point: compare(outcome, expected, may_repeat=may_repeat(calls, point))
        for point, outcome in outcomes.items()
    }
    return {
        f"{when} call {number + 1} of {len(calls)}, {calls[number]}": lines
        for (number, when), lines in found.items()
        if lines
    }


def may_repeat(calls: Sequence[Call], point: Point) -> bool:
    """Whether the last write before death sent a message: the table does not know of that yet."""
    number, when = point
    done = [call for call in calls[: number + (when is When.AFTER)] if is_write(call)]
    return bool(done) and done[-1] in MESSAGE_CALLS


def compare(outcome: Outcome, expected: Outcome, *, may_repeat: bool) -> list[str]:
    """Describe each difference between an outcome and the expected one."""
    found = [f"lost: {lost}" for lost in outcome.lost]
    missing = expected.messages.keys() - outcome.messages.keys()
    found += [f"never sent: {message}" for message in sorted(missing)]
    extra = outcome.messages.keys() - expected.messages.keys()
    found += [f"sent in error: {message}" for message in sorted(extra)]
    repeated = {
        message: count
        for message, count in (outcome.messages - expected.messages).items()
        if message in expected.messages
    }
    # One message at most, and each topic may get that message twice.
    most = 1 if may_repeat else 0
    if any(count > most for count in _by_topic(repeated).values()):
        found.append(f"sent again: {sorted(repeated)}")
    if outcome.counts != expected.counts:
        names = [
            name
            for name in outcome.counts | expected.counts
            if outcome.counts.get(name) != expected.counts.get(name)
        ]
        pairs = (
            f"{name}: {outcome.counts.get(name)} and not {expected.counts.get(name)}"
            for name in names[:3]
        )
        found.append(f"{len(names)} counts differ: {', '.join(pairs)}")
    return found


def _by_topic(messages: dict[tuple[str, ...], int]) -> Counter[str]:
    topics: Counter[str] = Counter()
    for message, count in messages.items():
        topics[message[0]] += count
    return topics
