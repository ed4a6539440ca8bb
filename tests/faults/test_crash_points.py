"""A function dies before and after every call it makes, each in turn: what is told and counted is as if nothing had happened.

The calls are found by listening to a run in which nothing dies, so a call that is written tomorrow is a crash point tomorrow. A
function dies in two ways: an exception that nothing catches runs through it (its process lives on, warm, as Lambda's may), and a
process of its own kills itself with SIGKILL while it talks to AWS over a socket.
"""

from __future__ import annotations

import http.client
import os
import select
import signal
from collections import Counter
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest
from moto.core.models import botocore_stubber
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.helpers.fault_world import (
    LOG_EVENTS,
    OBJECTS,
    SLACK,
    SWEEP,
    TEAMS,
    Copy,
    Episode,
    Outcome,
    World,
    ask_all,
    fault_world,
    in_a_copy,
)
from tests.helpers.quick_tables import quick_transactions
from tests.helpers.wire import WEBHOOK, Call, When

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from wsgiref.types import StartResponse, WSGIEnvironment

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

TELLING = {Call("sns", "Publish"), WEBHOOK}
ALL_POINTS = os.environ.get("CRASH_POINTS") == "all"
READS = ("Get", "BatchGet", "Query", "Scan", "List", "Describe", "Head")

# The how manieth call of an invocation, and which side of it.
type Point = tuple[int, When]


class DeadError(BaseException):
    """The function dies here. Nothing in the program catches this."""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with fault_world() as one:
        for episode in (
            one.episodes.values()
        ):  # what is imported or built once is there before copies are made
            one.play(episode)
    with fault_world() as one:
        yield one


# --- nothing dies -----------------------------------------------------------------------------------------------------


def undisturbed(world: World, episode: Episode) -> tuple[list[Call], Outcome]:
    """Give the calls of an episode's first invocation, and what comes of the episode."""
    calls: list[Call] = []

    def note(call: Call, when: When) -> None:
        if when is When.BEFORE:
            calls.append(call)

    with world.wire.listening(note):
        invocation = world.invoke(episode.first)
    world.play(episode, world.again(episode.first, invocation))
    return calls, world.outcome()


# --- an exception runs through it -------------------------------------------------------------------------------------


def raised_at_every_point(
    world: World, episode: Episode, *, at_reads: bool = True
) -> dict[Point, Outcome]:
    """Run it once; at each point a copy of everything, function and AWS, is made, in which the exception is raised."""
    world.aws.keep_warm = (
        True  # what the exception leaves in memory is what the second try finds there
    )
    copies: dict[Point, Copy] = {}
    dying: Copy | None = None
    calls = 0

    def die_in_a_copy(call: Call, when: When) -> None:
        nonlocal calls, dying
        if dying is not None:
            return  # what unwinding calls
        calls += when is When.BEFORE
        if not (at_reads or writes(call)):
            return
        copy = Copy()
        if copy.is_here:
            dying = copy
            raise DeadError
        copies[calls - 1, when] = copy

    try:
        with world.wire.listening(die_in_a_copy):
            world.invoke(episode.first)
    except DeadError:
        assert dying is not None
        dying.answer(lambda: after_death(world, episode))
    assert dying is None, "the exception was caught"
    return ask_all(copies)


def after_death(world: World, episode: Episode) -> Outcome:
    world.play(episode, world.again(episode.first, None))
    return world.outcome()


# --- SIGKILL ----------------------------------------------------------------------------------------------------------


class _Silent(WSGIRequestHandler):
    def log(self, *_: object, **__: object) -> None:
        """Keep still."""


class Aws:
    """moto, and the webhooks of chat tools, for a process on the other end of a socket."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._moto = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/chat":
            return self._moto(environ, start_response)  # type: ignore[no-any-return]
        self._world.posted.append(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        start_response("200 OK", [])
        return [b"ok"]

    def serve_until_it_is_dead(self, run: Callable[[], None]) -> int:
        """Run it in a process of its own, to which this one is AWS meanwhile; give the signal it died of."""
        server = make_server("127.0.0.1", 0, self, threaded=False, request_handler=_Silent)
        alive, its_life = os.pipe()
        if (pid := os.fork()) == 0:
            self._go_there(server.server_port)
            try:
                run()
            finally:
                os._exit(0)
        os.close(its_life)
        while alive not in select.select([alive, server.fileno()], [], [])[0]:
            server.handle_request()
        server.server_close()
        os.close(alive)
        return -os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def _go_there(self, port: int) -> None:
        botocore_stubber.enabled = False
        self._world.environment["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{port}"

        def post(body: bytes) -> None:
            slack = http.client.HTTPConnection("127.0.0.1", port)
            slack.request("POST", "/chat", body)
            assert slack.getresponse().status == HTTPStatus.OK
            slack.close()

        self._world.wire.post = post


def killed_at_every_point(world: World, episode: Episode) -> dict[Point, Outcome]:
    """Run it once for each point, in a copy of AWS that outlives the function.

    Killed after a call or before the next one: AWS is left the same and of the process nothing, so one of both is tried.
    """
    aws = Aws(world)
    calls, _ = in_a_copy(lambda: undisturbed(world, episode))
    points = [(number, When.BEFORE) for number in range(len(calls))] + [
        (len(calls) - 1, When.AFTER)
    ]
    copies = {}
    for point in points:
        copies[point] = copy = Copy()
        if copy.is_here:
            copy.answer(partial(killed_at, world, aws, episode, point))
    return ask_all(copies)


def killed_at(world: World, aws: Aws, episode: Episode, point: Point) -> Outcome:
    calls = 0

    def kill(_: Call, when: When) -> None:
        nonlocal calls
        calls += when is When.BEFORE
        if (calls - 1, when) == point:
            os.kill(os.getpid(), signal.SIGKILL)

    def run() -> None:
        with world.wire.listening(kill):
            world.invoke(episode.first)

    assert aws.serve_until_it_is_dead(run) == signal.SIGKILL
    return after_death(world, episode)


# --- all points -------------------------------------------------------------------------------------------------------


type Tried = tuple[list[Call], Outcome, dict[Point, Outcome]]
type Way = Callable[[World, Episode], dict[Point, Outcome]]


@pytest.mark.parametrize("how", [raised_at_every_point, killed_at_every_point])
@pytest.mark.parametrize("name", [OBJECTS, LOG_EVENTS, SWEEP, SLACK, TEAMS])
def test_wherever_it_dies_all_is_told_and_counted_once(world: World, name: str, how: Way) -> None:
    episode = world.episodes[name]

    def all_points() -> Tried:
        world.play_until(episode)
        return tried_at_all_points(world, episode, how)

    assert_nothing_differs(in_a_copy(all_points))


def test_wherever_it_dies_among_many_alerts_none_is_lost_or_counted_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick_transactions(monkeypatch)
    # A read leaves AWS as it was: dying there is dying after the write before it. The test above tries it all the same, and with
    # CRASH_POINTS=all this one.
    how = partial(raised_at_every_point, at_reads=ALL_POINTS)
    assert_nothing_differs(
        in_a_copy(lambda: tried_at_all_points(world, world.many_alerts(), how)), at_reads=ALL_POINTS
    )


def tried_at_all_points(world: World, episode: Episode, how: Way) -> Tried:
    calls, expected = in_a_copy(lambda: undisturbed(world, episode))
    return calls, expected, how(world, episode)


def assert_nothing_differs(tried: Tried, *, at_reads: bool = True) -> None:
    calls, expected, outcomes = tried
    assert expected.lost == []
    wanted = {
        (number, When.BEFORE) for number, call in enumerate(calls) if at_reads or writes(call)
    }
    wanted.add(max((number, When.AFTER) for number, _ in wanted))
    assert wanted <= outcomes.keys()
    wrong = {
        f"{when} call {number + 1} of {len(calls)}, {calls[number]}": differences
        for (number, when), outcome in outcomes.items()
        if (
            differences := compare(
                outcome, expected, may_repeat=was_told_and_not_noted(calls, (number, when))
            )
        )
    }
    assert not wrong, "\n".join(
        f"{partition}: {'; '.join(differences)}" for partition, differences in wrong.items()
    )


def writes(call: Call) -> bool:
    return not call.operation.startswith(READS)


def was_told_and_not_noted(calls: Sequence[Call], point: Point) -> bool:
    """Whether the last thing that was done is to tell something: nobody can know then that it was told."""
    number, when = point
    done = [call for call in calls[: number + (when is When.AFTER)] if writes(call)]
    return bool(done) and done[-1] in TELLING


def compare(outcome: Outcome, expected: Outcome, *, may_repeat: bool) -> list[str]:
    """Say what is not as it should be."""
    differences = [f"lost: {lost}" for lost in outcome.lost]
    differences += [
        f"never told: {message}" for message in sorted(expected.told.keys() - outcome.told.keys())
    ]
    differences += [
        f"told and should not be: {message}"
        for message in sorted(outcome.told.keys() - expected.told.keys())
    ]
    repeated = {
        message: count
        for message, count in (outcome.told - expected.told).items()
        if message in expected.told
    }
    # One message at the most, which each topic may have twice.
    most = 1 if may_repeat else 0
    if any(count > most for count in _by_topic(repeated).values()):
        differences.append(f"told again: {sorted(repeated)}")
    if outcome.counts != expected.counts:
        other = [
            name
            for name in outcome.counts | expected.counts
            if outcome.counts.get(name) != expected.counts.get(name)
        ]
        pairs = (
            f"{name}: {outcome.counts.get(name)} and not {expected.counts.get(name)}"
            for name in other[:3]
        )
        differences.append(f"{len(other)} counted otherwise: {', '.join(pairs)}")
    return differences


def _by_topic(messages: dict[tuple[str, ...], int]) -> Counter[str]:
    topics: Counter[str] = Counter()
    for message, count in messages.items():
        topics[message[0]] += count
    return topics
