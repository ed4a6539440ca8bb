"""Functions that run at once, or die, miss no alert and count nothing twice.

Requirement: "The same object or log event delivered twice, ten times, concurrently, or
half-processed before a crash adds to counts once and alerts once." Two readers, each followed by an
evaluator, run here on stores in memory, one call of a store or the topic at a time, in every order
with one or two interruptions; and they die at every such call. The evaluators take each other's
signals, and so meet at one place, which the queue lets happen only when something goes wrong.
"""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import dataclass
from functools import partial
from threading import Semaphore, Thread
from typing import TYPE_CHECKING, Any

import pytest

from flowverdict.alerts.model import Alert, Status
from flowverdict.app.deadlines import BudgetedConfigSource
from flowverdict.app.sources import SourcePlace
from flowverdict.core.availability import NotAvailable
from flowverdict.flowlog.columnar import WINDOW
from flowverdict.flows.read_source import read_object
from flowverdict.lifecycle.intervals import Intervals
from flowverdict.lifecycle.manager import AlertManager
from tests.helpers.alert_samples import NOW, Outbox
from tests.helpers.flow_log_lines import content_of, key_of, reply, request, wide
from tests.helpers.memory_functions import MemoryFunctions, MemorySignals, memory_functions
from tests.helpers.memory_stores import MemoryEvidence, MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flowverdict.flows.model import RejectedFlow
    from flowverdict.flows.read_source import SourceRead

# No interruption is tried before these calls: the commit that follows checks what they return, or
# all functions get the same.
UNDISTURBED = {"load", "load_contributions", "active_inhibitions", "load_rate_limit", "seed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """An object: its key and what is in it."""

    key: str
    lines: tuple[str, ...]


def file(flow_log_id: str, number: int, *lines: str) -> File:
    return File(key=key_of(flow_log_id, number), lines=lines)


class NoRules:
    def read(
        self,
        account_id: str | None,
        region: str | None,
        flows: Sequence[RejectedFlow],
        *,
        seconds: float | None = None,
    ) -> NotAvailable:
        del account_id, region, flows, seconds
        return NotAvailable("the rules were not asked for")


class Watched:
    """Passes calls on to what it watches, each one after ``before`` was called with its name."""

    def __init__(self, watched: object, before: Callable[[str], None]) -> None:
        self._watched = watched
        self._before = before

    def __getattr__(self, name: str) -> object:
        attribute = getattr(self._watched, name)
        if not callable(attribute):
            return attribute

        def call(*arguments: object) -> object:
            self._before(name)
            return attribute(*arguments)

        return call


class Deployment:
    """Stores and a topic, and functions on them."""

    def __init__(self) -> None:
        self.store, self.evidence, self.outbox = MemoryStore(), MemoryEvidence(), Outbox()
        self.signals = MemorySignals(lambda: NOW)

    def functions(self, before: Callable[[str], None] = lambda _: None) -> MemoryFunctions:
        """Return functions; ``before`` gets the name of each call that they make."""
        store: Any = Watched(self.store, before)
        evidence: Any = Watched(self.evidence, before)
        outbox: Any = Watched(self.outbox, before)
        signals: Any = Watched(self.signals, before)
        return memory_functions(
            store=store,
            evidence=evidence,
            publisher=outbox,
            signals=signals,
            configs=lambda: BudgetedConfigSource(NoRules()),
            clock=lambda: NOW,
            wait=lambda _: None,
        )

    def deliver(self, *files: File, before: Callable[[str], None] = lambda _: None) -> None:
        """Let a function handle one event, and another one evaluate what is signalled."""
        functions = self.functions(before)
        ingestion = functions.reader.begin()

        def read(one: File, seed: int) -> SourceRead:
            return read_object(io.BytesIO(content_of(one.lines)), name=one.key, seed=seed)

        for one in files:
            place = SourcePlace.of_object(one.key)
            ingestion.ingest(one.key, one.key, place, partial(read, one))
        assert ingestion.finish() == {}
        while self.signals.messages and self.signals.evaluate_some(functions.evaluate):
            pass

    def settle(self) -> None:
        """Let a function evaluate what was given back."""
        self.signals.evaluate_all(self.functions().evaluate)

    def sweep(self) -> None:
        """Let a sweep send the messages that a dead function did not send."""
        AlertManager(self.store, self.outbox, intervals=Intervals(), hourly_limit=1_000).sweep(
            NOW + Intervals().outbox, None
        )

    def alerts(self) -> dict[str, tuple[object, ...]]:
        """Return the open notifications with their counts, when all is evaluated."""
        self.settle()
        return {
            name: (state.notification.severity, state.notification.title, state.notification.counts)
            for name, state in self.store.states.items()
            if state.is_open
        }

    def packets(self) -> int:
        """Return the number of packets that all open alerts count."""
        return sum(
            state.notification.packets
            for state in self.store.states.values()
            if state.is_open and isinstance(state.notification, Alert)
        )

    def check_messages(self, most: int = 1) -> None:
        """Check that the messages show what is open, each alert at most ``most`` times."""
        self.sweep()
        last = {notification.fingerprint: notification.status for notification in self.outbox.sent}
        told = {name for name, status in last.items() if status is Status.FIRING}
        assert told == set(self.alerts())
        told_as = Counter((one.fingerprint, one.status, one.severity) for one in self.outbox.sent)
        assert max(told_as.values(), default=0) <= most


# Rejected replies are notified at once, rejected requests from the internet in the digest.
REQUEST = file("fl-aa", 1, request(40_001, 0, action="ACCEPT"))
REPLY = file("fl-aa", 2, reply(40_001, 10))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Files delivered before, files that two functions get at once, and packets rejected in all."""

    before: tuple[File, ...] = ()
    one: tuple[File, ...]
    other: tuple[File, ...]
    packets: int


CASES = {
    "one object twice": Case(one=(REPLY,), other=(REPLY,), packets=1),
    "two objects of one window": Case(
        one=(REPLY,), other=(file("fl-aa", 3, reply(40_002, 20)),), packets=2
    ),
    "the request and its reply": Case(one=(REQUEST,), other=(REPLY,), packets=1),
    "the request after its reply": Case(
        before=(REPLY,), one=(REQUEST,), other=(file("fl-aa", 3, reply(40_001, 20)),), packets=2
    ),
    "the request in the window before": Case(
        one=(file("fl-aa", 1, request(40_001, -WINDOW, action="ACCEPT")),),
        other=(REPLY,),
        packets=1,
    ),
    "the request in the second window after": Case(
        before=(REPLY,),
        one=(file("fl-aa", 1, request(40_001, 0, 2 * WINDOW, action="ACCEPT")),),
        other=(file("fl-aa", 3, reply(40_001, 20)),),
        packets=2,
    ),
    "a request in each one": Case(
        before=(REPLY, file("fl-aa", 3, reply(40_002, 20))),
        one=(REQUEST,),
        other=(file("fl-aa", 4, request(40_002, 0, action="ACCEPT")),),
        packets=2,
    ),
    "two flow logs": Case(
        one=(file("fl-aa", 1, reply(40_001, 10, packets=3)),),
        other=(file("fl-bb", 2, wide(reply(40_001, 10, packets=3))),),
        packets=3,
    ),
    # One function adds to the first window what the other retracts: its contents end unchanged.
    "two flow logs whose records end in two windows": Case(
        before=(file("fl-aa", 1, reply(40_002, 20)),),
        one=(file("fl-aa", 2, reply(40_001, 10, packets=3)),),
        other=(file("fl-bb", 3, wide(reply(40_001, 10, WINDOW, packets=3))),),
        packets=4,
    ),
}
_EVERY_DAY = ("two objects of one window", "the request after its reply")
_NAMES = [
    name if name in _EVERY_DAY else pytest.param(name, marks=pytest.mark.slow) for name in CASES
]


def at_once(
    deployment: Deployment, case: Case, switches: Sequence[int], *, other_first: bool
) -> int:
    """Run two functions, one call at a time, with a change before the calls of these numbers.

    Returns the number of calls.
    """
    jobs = [case.other, case.one] if other_first else [case.one, case.other]
    turns = [Semaphore(0), Semaphore(0)]
    running = [True, True]
    errors: list[BaseException] = []
    calls = 0

    def work(me: int) -> None:
        def before(name: str) -> None:
            nonlocal calls
            if name in UNDISTURBED:
                return
            calls += 1
            if calls - 1 in switches and running[1 - me]:
                turns[1 - me].release()
                turns[me].acquire()

        turns[me].acquire()
        try:
            deployment.deliver(*jobs[me], before=before)
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)
        running[me] = False
        turns[1 - me].release()

    threads = [Thread(target=work, args=(me,)) for me in (0, 1)]
    for thread in threads:
        thread.start()
    turns[0].release()
    for thread in threads:
        thread.join()
    for error in errors:
        raise error
    return calls


def after(case: Case) -> Deployment:
    deployment = Deployment()
    for one in case.before:
        deployment.deliver(one)
    return deployment


def in_one(case: Case) -> Deployment:
    """Return the alerts of one function that reads all objects, each once."""
    deployment = Deployment()
    deployment.deliver(*dict.fromkeys((*case.before, *case.one, *case.other)))
    assert deployment.packets() == case.packets
    return deployment


# How often the functions interrupt each other: two interruptions make 20 times as many orders.
@pytest.mark.parametrize("interruptions", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("other_first", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", _NAMES)
def test_two_functions_at_once_miss_nothing_and_count_nothing_twice(
    name: str, *, other_first: bool, interruptions: int
) -> None:
    case = CASES[name]
    expected = in_one(case).alerts()
    tried = 0

    def explore(switches: tuple[int, ...]) -> None:
        nonlocal tried
        deployment = after(case)
        calls = at_once(deployment, case, switches, other_first=other_first)
        tried += 1
        assert deployment.alerts() == expected, f"changed over before calls {switches} of {calls}"
        deployment.check_messages()
        if len(switches) < interruptions:
            for number in range(switches[-1] + 1 if switches else 0, calls):
                explore((*switches, number))

    explore(())
    print(f"{name}: {tried:,} orders")  # noqa: T201 - a figure to read


class Died(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("name", _NAMES)
def test_a_function_that_dies_anywhere_leaves_nothing_uncounted_and_nothing_to_be_counted_twice(
    name: str,
) -> None:
    case = CASES[name]
    expected = in_one(case).alerts()
    for at in range(1_000):
        deployment = after(case)
        left = at
        last = ""

        def die(called: str) -> None:
            nonlocal left, last
            left -= 1
            if left < 0:
                raise Died
            last = called

        try:
            deployment.deliver(*case.one, before=die)
        except Died:
            pass
        else:
            assert at >= 5, "it called nothing, so it died nowhere"
            break
        deployment.deliver(*case.other)
        deployment.deliver(*case.one)
        assert deployment.alerts() == expected, f"died after call {at}, {last}"
        # After a death between SNS and the table, the message is sent again: twice rather than
        # never.
        deployment.check_messages(2 if last == "publish" else 1)
