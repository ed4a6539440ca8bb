"""``make scale`` counts what the application calls, on stores that behave as AWS's."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest

from benchmarks.counted_aws import BudgetSpentError, Simulation, Table
from benchmarks.scale import measure, table
from benchmarks.scale_files import Load
from flowverdict.lifecycle.dynamodb import DynamoDbStore
from flowverdict.lifecycle.intervals import Intervals
from flowverdict.lifecycle.store import Commit, ConflictError, Window

LOAD = Load(files=3, records=20, interfaces=2, rejected=0.1, alerts=1, at_once=2)


def test_the_calls_of_a_period_are_counted_and_compared_by_file() -> None:
    figures = measure(LOAD, 60, lambda: 0.0)
    assert (figures.begun, figures.done, figures.invocations) == (3, 1, 1)
    # A bundle of each window; judging reads those of the four periods, the first of which has one.
    assert figures.calls["PUT"] == 2
    assert figures.calls["GET"] == 3 + (1 + 2 + 2 + 2 + 1)
    assert figures.calls["LIST"] == 1
    assert figures.calls["evaluations"] == figures.calls["batches of signals"] == 1
    assert figures.calls["signals"] == 2 + 3  # two windows, and how far three feeds were read
    assert figures.calls["write units"] > 3
    assert figures.calls["messages"] == 3 + 1  # the queue's; the alerts were told before
    assert figures.calls["bytes read back"] > 0
    assert figures.calls["tries again"] == figures.calls["gave up"] == 0
    assert 90 < figures.latency[0] < 180
    assert figures.memory > 0
    one, more = replace(figures, cpu=0.03), replace(figures, cpu=0.03, files=6, begun=6)
    last = table([one, more]).splitlines()[-1]
    assert last == (
        "per file, 6 against 3: 2.3 calls of S3 against 4.7 (0.5 x), "
        "5.0 ms of CPU against 10.0 (0.5 x)"
    )


def test_functions_take_turns_by_their_clocks() -> None:
    simulation = Simulation(100, lambda: 0.0)
    order = []

    def function(name: str, seconds: float) -> None:
        for step in range(2):
            simulation.wait(seconds)
            order.append((name, step, simulation.now()))

    assert simulation.run([lambda: function("slow", 5), lambda: function("fast", 2)])
    assert order == [("fast", 0, 102), ("fast", 1, 104), ("slow", 0, 105), ("slow", 1, 110)]
    assert simulation.now() == 110


def test_a_period_ends_when_the_processor_time_is_spent() -> None:
    simulation = Simulation(0, count().__next__)
    simulation.cpu_budget = 10

    def function() -> None:
        while True:
            simulation.wait(1)

    assert not simulation.run([function, function])
    assert simulation.cpu <= 13


def test_what_a_function_raises_comes_out_and_no_other_waits_for_it() -> None:
    simulation = Simulation(0, lambda: 0.0)

    def breaks() -> None:
        simulation.wait(1)
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        simulation.run([breaks, lambda: simulation.wait(5)])
    simulation.cpu_budget = -1
    with pytest.raises(BudgetSpentError):
        simulation.wait(1)


def test_a_version_that_is_gone_is_a_conflict_as_on_the_table() -> None:
    client: object = Table(Simulation(0, lambda: 0.0))
    store = DynamoDbStore(client, "alerts")  # type: ignore[arg-type]  # has the calls that are used
    first = Commit(window=Window(window_id="place#1"))
    store.commit(first, 0, Intervals())
    with pytest.raises(ConflictError):
        store.commit(first, 0, Intervals())
    assert store.version_of("place#1") == 1
    assert store.seed() == DynamoDbStore(client, "alerts").seed()  # type: ignore[arg-type]  # as above
