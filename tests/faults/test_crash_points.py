"""A function dies before and after every call it makes: the outcome is that of a quiet run.

A function dies in two ways. An exception that nothing catches runs through it, and its process
lives on, warm, as Lambda's may. Or its process kills itself with SIGKILL while it talks to AWS over
a socket. ``test_one_fault_each`` has one point of each function for every day.
"""

from __future__ import annotations

import http.client
import os
import select
import signal
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest
from moto.core.models import botocore_stubber
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.helpers.crash_points import (
    Point,
    after_death,
    any_point,
    at_writes,
    differences,
    raised_at_points,
    undisturbed,
)
from tests.helpers.fault_records import Episode, Outcome
from tests.helpers.fault_world import EPISODES, World, warm_fault_world
from tests.helpers.quick_tables import quick_transactions
from tests.helpers.wire import Call, When
from tests.helpers.world_copies import Copy, ask_all, in_a_copy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from wsgiref.types import StartResponse, WSGIEnvironment

pytestmark = [pytest.mark.slow, pytest.mark.allow_hosts(["127.0.0.1"])]

ALL_POINTS = os.environ.get("CRASH_POINTS") == "all"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with warm_fault_world() as made:
        yield made


# --- SIGKILL --------------------------------------------------------------------------------------


class _Silent(WSGIRequestHandler):
    def log(self, *_: object, **__: object) -> None:
        """Log nothing."""


class Aws:
    """Serves moto, and the webhooks of chat tools, to a process on the other end of a socket."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._moto = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/chat":
            return self._moto(environ, start_response)  # type: ignore[no-any-return]
        self._world.posted.append(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        start_response("200 OK", [])
        return [b"ok"]

    def serve_until_death(self, run: Callable[[], None]) -> int:
        """Run ``run`` in a process of its own and serve it; return the signal it died of."""
        server = make_server("127.0.0.1", 0, self, threaded=False, request_handler=_Silent)
        alive, life = os.pipe()
        if (pid := os.fork()) == 0:
            self._connect(server.server_port)
            try:
                run()
            finally:
                os._exit(0)
        os.close(life)
        while alive not in select.select([alive, server.fileno()], [], [])[0]:
            server.handle_request()
        server.server_close()
        os.close(alive)
        return -os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def _connect(self, port: int) -> None:
        botocore_stubber.enabled = False
        self._world.environment["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{port}"

        def post(body: bytes) -> None:
            slack = http.client.HTTPConnection("127.0.0.1", port)
            slack.request("POST", "/chat", body)
            assert slack.getresponse().status == HTTPStatus.OK
            slack.close()

        self._world.wire.post = post


def killed_at_points(world: World, episode: Episode, calls: Sequence[Call]) -> dict[Point, Outcome]:
    """Run the function once for each point, in a copy of AWS that outlives the function.

    A kill after a call and a kill before the next call leave AWS the same and the process gone, so
    only one of both is tried.
    """
    aws = Aws(world)
    points = [(number, When.BEFORE) for number in range(len(calls))]
    points.append((len(calls) - 1, When.AFTER))
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

    event = world.take(episode.first)

    def run() -> None:
        with world.wire.listening(kill):
            world.invoke_with(event, episode.first)

    assert aws.serve_until_death(run) == signal.SIGKILL
    return after_death(world, episode)


# --- all points -----------------------------------------------------------------------------------


type Tried = tuple[list[Call], Outcome, dict[Point, Outcome]]
type Selector = Callable[[Point, Call], bool]


@pytest.fixture(scope="module")
def tried(world: World) -> dict[tuple[str, str], Tried]:
    found: dict[tuple[str, str], Tried] = in_a_copy(partial(try_all_points, world))
    return found


def try_all_points(world: World) -> dict[tuple[str, str], Tried]:
    """Play all episodes, and try both ways to die in copies of the world before each."""
    found: dict[tuple[str, str], Tried] = {}
    for name, episode in world.episodes.items():
        world.prepare(episode)
        calls, expected = in_a_copy(partial(undisturbed, world, episode))
        raised = in_a_copy(partial(raised_at_points, world, episode))
        found[name, "raised"] = calls, expected, raised
        found[name, "killed"] = calls, expected, killed_at_points(world, episode, calls)
        world.play(episode)
    return found


@pytest.mark.parametrize("way", ["raised", "killed"])
@pytest.mark.parametrize("name", EPISODES)
def test_wherever_a_function_dies_everything_is_sent_and_counted_once(
    tried: dict[tuple[str, str], Tried], name: str, way: str
) -> None:
    assert_nothing_differs(tried[name, way], any_point)


def test_death_among_many_alerts_loses_none_and_counts_none_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick_transactions(monkeypatch)
    # The test above dies at reads as well, and with CRASH_POINTS=all so does this one.
    selects = any_point if ALL_POINTS else at_writes

    def many() -> Tried:
        episode = world.many_alerts()
        calls, expected = in_a_copy(partial(undisturbed, world, episode))
        return calls, expected, raised_at_points(world, episode, selects)

    assert_nothing_differs(in_a_copy(many), selects)


def assert_nothing_differs(tried: Tried, selects: Selector) -> None:
    calls, expected, outcomes = tried
    assert expected.lost == []
    required = {
        point for number, call in enumerate(calls) if selects(point := (number, When.BEFORE), call)
    }
    required.add(max((number, When.AFTER) for number, _ in required))
    assert required <= outcomes.keys()
    wrong = differences(calls, expected, outcomes)
    assert not wrong, "\n".join(f"{point}: {'; '.join(lines)}" for point, lines in wrong.items())
