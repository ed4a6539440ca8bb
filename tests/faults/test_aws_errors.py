"""Every error of AWS at every call: tried again, or given back, or told with less; nothing lost, and nothing unforeseen raised.

The calls are found by listening, as in ``test_crash_points``. At the first call of each operation a copy of everything is made for
each fault, in which all calls of that operation go wrong until the invocation is over; then AWS is well again and delivers what it
has to. ``docs/aws-errors.md`` is what comes of it: ``UPDATE_GOLDEN=1`` writes it anew.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.aws_faults import Broken, Fault, appconfig
from tests.helpers.fault_world import (
    LOG_EVENTS,
    OBJECTS,
    SLACK,
    SWEEP,
    TEAMS,
    Copy,
    Delivery,
    Episode,
    Outcome,
    World,
    ask_all,
    fault_world,
    in_a_copy,
)
from tests.helpers.sam_template import read_template
from tests.helpers.wire import WEBHOOK, Call, Try, When

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from botocore.awsrequest import AWSResponse
    from botocore.client import BaseClient

    from flowverdict_cli.local_aws import Invocation

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "aws-errors.md"
# Beside what the episodes do: other places for the policy and for the webhook's address.
VARIANTS = {
    (SWEEP, "appconfig"): {"POLICY": "appconfig:flowverdict/live/policy"},
    (SLACK, "ssm"): {"SLACK_WEBHOOK": "ssm:/slack/webhook"},
    (TEAMS, "ssm"): {"TEAMS_WEBHOOK": "ssm:/teams/webhook"},
}
LONGEST_WAIT = 20  # seconds before a try, by the SDK's standard mode


@dataclass(slots=True, kw_only=True)
class Seen:
    """What came of an invocation, and in the end.

    Parameters
    ----------
    calls
        In the order made, each once.
    tries
        Of each call that met the fault.
    waits
        Seconds slept, not really.
    failed
        Whether the function raised an error, or gave messages back.
    unforeseen
        Exceptions that nobody expected.
    log
        Text and reason of every line that is more than information.
    clients
        How patient each client is that was made.
    at_once
        What was told when the invocation was over.
    """

    calls: list[Call] = field(default_factory=list)
    tries: list[int] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    failed: bool = False
    unforeseen: list[str] = field(default_factory=list)
    log: list[tuple[str, str]] = field(default_factory=list)
    metrics: Mapping[str, float] = field(default_factory=dict)
    clients: set[Patience] = field(default_factory=set)
    at_once: Outcome = field(default_factory=Outcome)
    outcome: Outcome = field(default_factory=Outcome)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a client waits, in seconds, and how it tries again."""

    service: str
    connect: float
    read: float
    mode: str
    tries: int

    @classmethod
    def of(cls, client: BaseClient) -> Patience:
        """Read it from a client."""
        config: Any = client.meta.config  # the stubs know none of its options
        return cls(
            service=client.meta.service_model.service_name,
            connect=config.connect_timeout,
            read=config.read_timeout,
            mode=config.retries["mode"],
            tries=config.retries["total_max_attempts"],
        )


class Run:
    """One invocation that is listened to, and in which a call may be broken.

    Parameters
    ----------
    broken
        How it goes wrong; ``None`` for not at all.
    where
        The calls that do, all tries of them; ``None`` for every call's first try.
    """

    def __init__(
        self,
        world: World,
        episode: Episode,
        *,
        broken: Broken | None = None,
        where: Call | None = None,
    ) -> None:
        self._world = world
        self._episode = episode
        self._broken = broken
        self._where = where
        self._seen = Seen()

    def seen(self) -> Seen:
        """Invoke the function, then let AWS be well again and deliver what it has to."""
        seen, world = self._seen, self._world
        world.wire.clients.clear()
        world.aws.keep_warm = True  # an error leaves the function's process alive
        with pytest.MonkeyPatch.context() as patch, world.wire.listening(self._hear, self._answer):
            patch.setattr(time, "sleep", seen.waits.append)
            again = self._note(self._invocation())
        seen.clients = {Patience.of(client) for client in world.wire.clients}
        seen.at_once = world.outcome()
        with world.wire.listening(lambda *_: None, appconfig):
            world.play(self._episode, again)
        seen.outcome = world.outcome()
        return seen

    def _invocation(self) -> Invocation | None:
        try:
            return self._world.invoke(self._episode.first)
        except Exception as error:  # noqa: BLE001 - what is not foreseen is what is looked for
            self._seen.unforeseen.append(f"{type(error).__name__}: {error}"[:200])
            return None

    def _note(self, invocation: Invocation | None) -> list[Delivery]:
        again = self._world.again(self._episode.first, invocation)
        if invocation is None:
            self._seen.failed = True
            return again
        lines = [line for line in invocation.log if line["level"] != "INFO"]
        self._seen.unforeseen += [str(line["exception"]) for line in lines if "exception" in line]
        self._seen.log = [(str(line["message"]), str(line.get("reason", ""))) for line in lines]
        self._seen.metrics = invocation.metrics
        # What is delivered again in any case is the third message, a notification of what the first one named.
        messages = [
            message["messageId"]
            for delivery in again
            for message in delivery.event.get("Records", [])
            if "messageId" in message
        ]
        self._seen.failed = invocation.error is not None or any(
            message != "3" for message in messages
        )
        return again

    def _hear(self, call: Call, when: When) -> None:
        if when is When.AFTER:
            return
        if call not in self._seen.calls:
            self._seen.calls.append(call)
        if self._where in {call, None}:
            self._seen.tries.append(0)

    def _answer(self, tried: Try) -> AWSResponse | None:
        if self._broken is not None and self._where in {tried.call, None}:
            self._seen.tries[-1] += 1
            if self._where is not None or self._seen.tries[-1] == 1:
                return self._broken.answer(tried)
        return appconfig(tried)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A function, one of its calls, and what comes of each fault; ``well`` is the run without one."""

    function: str
    call: Call
    well: Seen
    seen: dict[Fault, Seen]

    @property
    def patience(self) -> list[Patience]:
        """How patient those are who may have made the call."""
        return [one for one in self.well.clients if one.service == self.call.service]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with fault_world() as one:
        for episode in (
            one.episodes.values()
        ):  # what is imported or built once is there before copies are made
            one.play(episode)
    with fault_world() as one:
        yield one


def rows_of(
    world: World,
    episode: Episode,
    variables: Mapping[str, str],
    known: Collection[tuple[str, Call]],
) -> list[Row]:
    world.play_until(episode)
    world.environment |= variables
    well = in_a_copy(Run(world, episode).seen)
    calls = [call for call in well.calls if call != WEBHOOK and (episode.name, call) not in known]
    copies = {}
    for call, fault in product(calls, Fault):
        copies[call, fault] = copy = Copy()
        if copy.is_here:
            copy.answer(Run(world, episode, broken=Broken(fault), where=call).seen)
    seen: dict[tuple[Call, Fault], Seen] = ask_all(copies)
    return [
        Row(
            function=episode.name,
            call=call,
            well=well,
            seen={fault: seen[call, fault] for fault in Fault},
        )
        for call in calls
    ]


@pytest.fixture(scope="module")
def rows(world: World) -> list[Row]:
    found: dict[tuple[str, Call], Row] = {}
    for name, variables in [
        *((name, {}) for name in world.episodes),
        *((name, more) for (name, _), more in VARIANTS.items()),
    ]:
        for row in in_a_copy(
            partial(rows_of, world, world.episodes[name], variables, found.keys())
        ):
            found[row.function, row.call] = row
    order = [*world.episodes]
    return sorted(found.values(), key=lambda row: order.index(row.function))


def cases(rows: list[Row]) -> list[tuple[str, Seen, Seen]]:
    """Give each case by its name: what was seen, and what is seen when all is well."""
    return [
        (f"{row.function}, {row.call}, {fault}", seen, row.well)
        for row in rows
        for fault, seen in row.seen.items()
    ]


def test_nothing_unforeseen_is_raised(rows: list[Row]) -> None:
    assert {name: seen.unforeseen for name, seen, _ in cases(rows) if seen.unforeseen} == {}


def test_nothing_is_lost_and_what_is_not_degraded_is_told_and_counted_as_if_nothing_had_been(
    rows: list[Row],
) -> None:
    wrong = {name: lacking for name, seen, well in cases(rows) if (lacking := lacks(seen, well))}
    assert wrong == {}


def lacks(seen: Seen, well: Seen) -> list[str]:
    outcome, expected = seen.outcome, well.outcome
    lacking = [
        *outcome.lost,
        *(f"not told: {about}" for about in sorted(expected.about - outcome.about)),
    ]
    if is_degraded(seen, well):
        return lacking if seen.log != well.log else [*lacking, "degraded, and nobody is told why"]
    lacking += [
        f"not told: {message}" for message in sorted(expected.told.keys() - outcome.told.keys())
    ]
    lacking += [
        f"told: {message}" for message in sorted(outcome.told.keys() - expected.told.keys())
    ]
    lacking += [
        f"told {count} times: {message}" for message, count in outcome.told.items() if count > 2
    ]
    if outcome.counts != expected.counts:
        lacking.append(f"counted {outcome.counts} and not {expected.counts}")
    return lacking


def is_degraded(seen: Seen, well: Seen) -> bool:
    """Whether alerts were told that are not those of an undisturbed run: they know less."""
    return not seen.failed and not seen.outcome.told.keys() <= well.outcome.told.keys()


def test_what_may_pass_is_tried_again_and_what_will_not_is_not(rows: list[Row]) -> None:
    tries = {name: max(seen.tries) > 1 for name, seen, _ in cases(rows)}
    assert tries == {
        f"{row.function}, {row.call}, {fault}": is_tried_again(row.call, fault)
        for row in rows
        for fault in Fault
    }


def is_tried_again(call: Call, fault: Fault) -> bool:
    # S3 may put an error into an answer of status 200, so the SDK takes one that is no XML for a server error
    # (botocore.handlers._handle_200_error); an object's content is no XML anyway.
    return fault.is_passing or (
        fault is Fault.MALFORMED and call.service == "s3" and call.operation != "GetObject"
    )


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault.is_passing])
@pytest.mark.parametrize("name", [OBJECTS, LOG_EVENTS, SWEEP, SLACK, TEAMS])
def test_one_failure_of_every_call_is_noticed_by_nobody(
    world: World, name: str, fault: Fault
) -> None:
    episode = world.episodes[name]

    def first_tries_fail() -> tuple[Seen, Seen, Seen]:
        world.play_until(episode)
        well = in_a_copy(Run(world, episode).seen)
        one, other = (in_a_copy(Run(world, episode, broken=Broken(fault)).seen) for _ in range(2))
        return well, one, other

    well, one, other = in_a_copy(first_tries_fail)
    assert one.outcome == well.outcome
    assert (one.log, one.calls) == (well.log, well.calls)
    assert {*one.tries} == {2} or episode.name in {SLACK, TEAMS}  # webhooks are not AWS
    assert len(one.waits) == sum(tries - 1 for tries in one.tries if tries)
    assert all(0 <= wait <= LONGEST_WAIT for wait in one.waits)
    assert one.waits != other.waits  # two functions that fail together do not come back together


def test_what_is_tried_again_and_again_leaves_the_function_its_time(rows: list[Row]) -> None:
    slowest = {
        f"{row.function}, {row.call}": sum(seen.tries)
        * max(one.connect + one.read for one in row.patience)
        + sum(seen.waits)
        for row in rows
        for seen in [row.seen[Fault.NO_ANSWER]]
    }
    limits = time_outs()
    assert {
        name: seconds
        for name, seconds in slowest.items()
        if seconds >= limits[name.partition(",")[0]]
    } == {}


def time_outs() -> dict[str, int]:
    """Give the seconds that the template lets each function run by default."""
    parameters = read_template(ROOT / "template.yaml")["Parameters"]
    names = {OBJECTS: "S3", LOG_EVENTS: "Logs", SWEEP: "Sweep", SLACK: "Slack", TEAMS: "Teams"}
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


def test_the_table_in_the_documents_is_what_was_seen(rows: list[Row]) -> None:
    table = written(rows)
    if "UPDATE_GOLDEN" in os.environ:
        TABLE.write_text(table)
    assert table == TABLE.read_text()


AGAIN = {
    OBJECTS: "back to the queue",
    LOG_EVENTS: "Lambda tries again",
    SWEEP: "the next sweep does it",
    SLACK: "Lambda tries again",
    TEAMS: "Lambda tries again",
}


def written(rows: list[Row]) -> str:
    """Write the document."""
    notes: list[str] = []
    lines = [
        f"| function, call | {' | '.join(Fault)} |",
        f"|---|{'---|' * len(Fault)}",
    ]
    function = None
    for row in rows:
        if row.function != function:
            function = row.function
            lines.append(f"| **{function}** |{' |' * len(Fault)}")
        lines.append(f"| {row.call} | {' | '.join(cell(row, fault, notes) for fault in Fault)} |")
    return "\n".join(
        [
            *INTRODUCTION,
            *lines,
            "",
            *(f"{number}. {note}" for number, note in enumerate(notes, 1)),
            "",
        ]
    )


def cell(row: Row, fault: Fault, notes: list[str]) -> str:
    """Say in a few words what comes of a fault."""
    seen, well = row.seen[fault], row.well
    tries = max(seen.tries)
    if seen.failed:
        words = AGAIN[row.function]
    elif is_degraded(seen, well):
        words = "told with less"
    elif seen.at_once.told != well.at_once.told:
        words = "the sweep sends it"
    elif news(seen, well):
        words = "told all the same"
    else:
        words = "no difference"
    if (
        any(count > 1 for count in (seen.outcome.told - well.outcome.told).values())
        or seen.outcome.told > well.outcome.told
    ):
        words += ", told twice"
    if not seen.failed and news(seen, well):
        words += f" [{number_of(note(seen, well), notes)}]"
    return f"{tries} tries, then {words}" if tries > 1 else words


def news(seen: Seen, well: Seen) -> list[str]:
    """Give the lines of the log, without their reasons, that are not there when all is well."""
    return [
        *dict.fromkeys(message for message, reason in seen.log if (message, reason) not in well.log)
    ]


def note(seen: Seen, well: Seen) -> str:
    lines = ", ".join(f"`{message}`" for message in news(seen, well))
    risen = ", ".join(
        f"`{name}`"
        for name, value in sorted(seen.metrics.items())
        if value > well.metrics.get(name, 0)
    )
    text = f"Log: {lines}. " + (f"Metric: {risen}." if risen else "No metric.")
    if is_degraded(seen, well):
        new = sorted(
            seen.outcome.words[name]
            for name in seen.outcome.words.keys() - well.outcome.words.keys()
        )
        text += f' The alert says: "{new[0]}"'
    return text


def number_of(text: str, notes: list[str]) -> int:
    if text not in notes:
        notes.append(text)
    return notes.index(text) + 1


INTRODUCTION = [
    "# What becomes of each error of AWS",
    "",
    "Written by `tests/faults/test_aws_errors.py` out of what it sees: it listens to the functions and lets each call fail in",
    "each way, every try of it, until the invocation is over. Then AWS is well and delivers again what it has to. In every case",
    "all alerts are told and counted as if nothing had been wrong, but for what is marked.",
    "`UPDATE_GOLDEN=1 .venv/bin/python -m pytest tests/faults/test_aws_errors.py` writes it anew.",
    "",
    "- *back to the queue*: SQS delivers the messages again after the visibility time-out; after three tries the dead-letter",
    "  queue has them. *Lambda tries again*: after one and after two more minutes; then the dead-letter queue has the event.",
    "- *the sweep sends it*: what is to be told is written down before it is told, and the sweep finds it.",
    "- *told with less*: the alert comes, judged without what could not be read. *told all the same*: the same alerts come,",
    "  perhaps less sure of their reason.",
    "- *told twice*: it was told, and that it was could not be written down.",
    "- What one more try may cure is tried again by the SDK, after a random wait; a single failure is noticed by nobody.",
    "- *malformed or cut short*: status 200 and a body that is no XML or JSON, or an object that ends too soon. AWS did",
    "  what it was asked to do.",
    "",
]
