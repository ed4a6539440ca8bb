"""Every AWS error at every call is retried, returned or degrades the alert; nothing is lost.

The episodes are played once. Their calls are found by listening, as in ``test_crash_points``.
Before an invocation the world is copied for each operation that it calls, and each fault. In the
copy all calls of that operation fail until the invocation is over; then AWS works again and
delivers what it has to. ``docs/aws-errors.md`` shows the results: ``UPDATE_GOLDEN=1`` writes it
anew. ``test_one_fault_each`` has one error of each function for every day.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flowverdict_cli.local_aws import EVALUATE
from tests.helpers.aws_errors_table import AGAIN, document
from tests.helpers.aws_faults import Broken, Fault
from tests.helpers.fault_runs import Row, Run, RunResult, lacks
from tests.helpers.fault_world import (
    EPISODES,
    LOG_EVENTS,
    OBJECTS,
    PRESS,
    SLACK,
    SWEEP,
    TEAMS,
    World,
    warm_fault_world,
)
from tests.helpers.sam_template import read_template
from tests.helpers.world_copies import Copy, ask_all, in_a_copy

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from tests.helpers.fault_records import Episode
    from tests.helpers.wire import Call

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "aws-errors.md"
# Sources of the policy and of the webhook's address that the episodes do not use.
VARIANTS = {
    (SWEEP, "appconfig"): {"POLICY": "appconfig:flowverdict/live/policy"},
    (SLACK, "ssm"): {"SLACK_WEBHOOK": "ssm:/slack/webhook"},
    (TEAMS, "ssm"): {"TEAMS_WEBHOOK": "ssm:/teams/webhook"},
    (PRESS, "ssm"): {"SLACK_SIGNING_SECRET": "ssm:/slack/signing"},
}
TRANSIENT = [fault for fault in Fault if fault.is_transient]
LONGEST_WAIT = 20  # seconds before a try, by the SDK's standard mode


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with warm_fault_world() as made:
        yield made


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """The runs of an episode.

    ``rows`` has those in which all calls of an operation fail; ``once`` two in which the first try
    of every call fails, of each transient fault.
    """

    well: RunResult
    rows: list[Row]
    once: dict[Fault, tuple[RunResult, RunResult]]


@pytest.fixture(scope="module")
def tried(world: World) -> dict[tuple[str, str], Tried]:
    found: dict[tuple[str, str], Tried] = in_a_copy(partial(try_all, world))
    return found


def try_all(world: World) -> dict[tuple[str, str], Tried]:
    """Play all episodes, and try the faults in copies of the world before each."""
    found: dict[tuple[str, str], Tried] = {}
    known: set[tuple[str, Call]] = set()
    for name, episode in world.episodes.items():
        world.prepare(episode)
        variants = {variant: made for (of, variant), made in VARIANTS.items() if of == name}
        for variant, variables in {"": {}, **variants}.items():
            tried: Tried = in_a_copy(partial(try_one, world, episode, variables, known))
            found[name, variant] = tried
            known |= {(row.function, row.call) for row in tried.rows}
        world.play(episode)
    return found


def try_one(
    world: World,
    episode: Episode,
    variables: Mapping[str, str],
    known: Collection[tuple[str, Call]],
) -> Tried:
    world.environment |= variables
    well = in_a_copy(Run(world, episode).result)
    function = episode.first.function
    calls = [
        call for call in well.calls if call.service != "chat" and (function, call) not in known
    ]
    copies = {}
    for call, fault in product(calls, Fault):
        copies[call, fault] = copy = Copy()
        if copy.is_here:
            copy.answer(Run(world, episode, broken=Broken(fault), where=call).result)
    failed: dict[tuple[Call, Fault], RunResult] = ask_all(copies)
    return Tried(
        well=well,
        rows=[
            Row(
                function=function,
                call=call,
                well=well,
                results={fault: failed[call, fault] for fault in Fault},
            )
            for call in calls
        ],
        once={fault: fail_once(world, episode, fault) for fault in TRANSIENT if not variables},
    )


def fail_once(world: World, episode: Episode, fault: Fault) -> tuple[RunResult, RunResult]:
    first, second = (in_a_copy(Run(world, episode, broken=Broken(fault)).result) for _ in range(2))
    return first, second


@pytest.fixture(scope="module")
def rows(tried: dict[tuple[str, str], Tried]) -> list[Row]:
    found = [
        *(row for (_, variant), made in tried.items() if not variant for row in made.rows),
        *(row for (_, variant), made in tried.items() if variant for row in made.rows),
    ]
    order = [*AGAIN]
    return sorted(found, key=lambda row: order.index(row.function))


def cases(rows: list[Row]) -> list[tuple[str, RunResult, RunResult]]:
    """Return each case by its name: the run with the fault, and the run without one."""
    return [
        (f"{row.function}, {row.call}, {fault}", result, row.well)
        for row in rows
        for fault, result in row.results.items()
    ]


def test_no_unforeseen_error_is_raised(rows: list[Row]) -> None:
    unforeseen = {name: result.unforeseen for name, result, _ in cases(rows)}
    assert {name: errors for name, errors in unforeseen.items() if errors} == {}


def test_nothing_is_lost_and_alerts_that_are_not_degraded_are_those_of_a_run_without_fault(
    rows: list[Row],
) -> None:
    wrong = {
        name: lacking for name, result, well in cases(rows) if (lacking := lacks(result, well))
    }
    assert wrong == {}


def test_transient_faults_are_retried_and_permanent_ones_are_not(rows: list[Row]) -> None:
    retried = {name: max(result.tries) > 1 for name, result, _ in cases(rows)}
    assert retried == {
        f"{row.function}, {row.call}, {fault}": is_retried(row.call, fault)
        for row in rows
        for fault in Fault
    }


def is_retried(call: Call, fault: Fault) -> bool:
    # S3 may put an error into an answer of status 200, so the SDK takes an answer that is not XML
    # for a server error (botocore.handlers._handle_200_error); an object's content is not XML.
    return fault.is_transient or (
        fault is Fault.MALFORMED and call.service == "s3" and call.operation != "GetObject"
    )


@pytest.mark.parametrize("fault", TRANSIENT)
@pytest.mark.parametrize("name", EPISODES)
def test_one_failure_of_every_call_changes_nothing(
    tried: dict[tuple[str, str], Tried], name: str, fault: Fault
) -> None:
    well = tried[name, ""].well
    first, second = tried[name, ""].once[fault]
    assert first.outcome == well.outcome
    assert (first.log, first.calls) == (well.log, well.calls)
    posts = {SLACK, TEAMS, PRESS}  # what chat tools are asked is not asked of AWS
    assert {*first.tries} == {2} or name.partition(",")[0] in posts
    assert len(first.waits) == sum(tries - 1 for tries in first.tries if tries)
    assert all(0 <= wait <= LONGEST_WAIT for wait in first.waits)
    assert first.waits != second.waits  # functions that fail together do not retry together


def test_retries_leave_the_function_its_time(rows: list[Row]) -> None:
    slowest = {
        f"{row.function}, {row.call}": sum(result.tries)
        * max(patience.connect + patience.read for patience in row.patience)
        + sum(result.waits)
        for row in rows
        for result in [row.results[Fault.NO_ANSWER]]
    }
    limits = time_outs()
    assert {
        name: seconds
        for name, seconds in slowest.items()
        if seconds >= limits[name.partition(",")[0]]
    } == {}


def time_outs() -> dict[str, int]:
    """Return the default time-out of each function in the template, in seconds."""
    parameters = read_template(ROOT / "template.yaml")["Parameters"]
    names = {
        OBJECTS: "S3",
        LOG_EVENTS: "Logs",
        EVALUATE: "Evaluate",
        SWEEP: "Sweep",
        SLACK: "Slack",
        TEAMS: "Teams",
        PRESS: "SlackActions",
    }
    return {
        function: int(parameters[f"{name}FunctionTimeout"]["Default"])
        for function, name in names.items()
    }


def test_every_client_waits_briefly_and_tries_a_few_times(rows: list[Row]) -> None:
    clients = {client for row in rows for client in row.well.clients}
    assert {client.service for client in clients} == {row.call.service for row in rows} | {"ec2"}
    impatient = {
        client
        for client in clients
        if client.connect <= 3 and client.read <= 10 and 2 <= client.tries <= 4
    }
    assert clients - impatient == set()
    assert {client.mode for client in clients} == {"standard"}


def test_the_document_shows_the_results(rows: list[Row]) -> None:
    text = document(rows)
    if "UPDATE_GOLDEN" in os.environ:
        TABLE.write_text(text)
    assert text == TABLE.read_text()
