"""What is due is spread over keys of the index, and taken in turn where a sweep takes not all."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from benchmarks.counted_aws import Simulation, Table
from flowverdict.alerts.detection import fingerprint
from flowverdict.alerts.model import Status
from flowverdict.lifecycle import manager as manager_module
from flowverdict.lifecycle.dynamodb import DynamoDbStore
from flowverdict.lifecycle.dynamodb_items import pack_state
from flowverdict.lifecycle.episodes import EpisodeContext, on_detection
from flowverdict.lifecycle.intervals import Intervals
from flowverdict.lifecycle.manager import AlertManager
from flowverdict.lifecycle.store import Commit
from tests.helpers.alert_samples import NOW, Outbox, detection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowverdict.lifecycle.state_machine import AlertState
    from flowverdict_cli.local_aws import LocalAws

INTERVALS = Intervals()
OLD_KEY = "1"  # under which version 0.2.0 stored all that is due


def fresh(name: str, now: int = NOW) -> AlertState:
    context = EpisodeContext(window_id="place#1")
    return on_detection(None, detection(name), now, inhibited=False, context=context).sent()


class Counted:
    """A store on a table in memory, with alerts that are due at stated times."""

    def __init__(self) -> None:
        self.simulation = Simulation(0, lambda: 0.0)
        self.table = Table(self.simulation)
        self.reports: list[str] = []
        client: Any = self.table
        self.store = DynamoDbStore(
            client, "alerts", on_unreadable=lambda key, _: self.reports.append(key)
        )
        self._body = pack_state(fresh("one"))
        self._numbers = count()

    def add(self, due_at: int, key: str | None = None) -> str:
        """Add an alert; return its fingerprint."""
        number = next(self._numbers)
        name = f"{number:032x}"
        self.table.items[f"alert#{name}"] = {
            "pk": {"S": f"alert#{name}"},
            "body": {"B": self._body},
            "version": {"N": "1"},
            "due": {"S": f"due#{number % 8}" if key is None else key},
            "due_at": {"N": str(due_at)},
        }
        return name

    def again(self, name: str, due_at: int) -> None:
        """Let an alert be due at another time."""
        self.table.items[f"alert#{name}"]["due_at"] = {"N": str(due_at)}

    def sweeps(self, now: int, limit: int) -> Iterator[list[str]]:
        """Take what is due every five minutes."""
        for number in count():
            yield [*self.store.due_in_turn(now + 300 * number, limit)]


def test_alerts_are_spread_over_keys_of_the_index(aws: LocalAws) -> None:
    client = boto3.client("dynamodb")
    store = DynamoDbStore(client, aws.table)
    names = [f"{number}" for number in range(60)]
    for at in range(0, 60, 20):
        states = tuple(fresh(name) for name in names[at : at + 20])
        store.commit(Commit(states=states), NOW, INTERVALS)
    keys = Counter(item["due"]["S"] for item in client.scan(TableName=aws.table)["Items"])
    assert sorted(keys) == [f"due#{number}" for number in range(8)]
    assert max(keys.values()) < 20
    assert {*store.due(NOW + INTERVALS.resolve, 100)} == {fingerprint(name) for name in names}


def test_what_an_earlier_version_stored_is_due_with_the_rest_and_moves_when_it_is_written(
    aws: LocalAws,
) -> None:
    client = boto3.client("dynamodb")
    store = DynamoDbStore(client, aws.table)
    for name, seen in (("third", 30), ("first", 10), ("second", 20), ("fourth", 40)):
        store.commit(Commit(states=(fresh(name, NOW + seen),)), NOW, INTERVALS)
    for name in ("first", "third"):
        client.update_item(
            TableName=aws.table,
            Key={"pk": {"S": f"alert#{fingerprint(name)}"}},
            UpdateExpression="SET due = :old",
            ExpressionAttributeValues={":old": {"S": OLD_KEY}},
        )
    ordered = [fingerprint(name) for name in ("first", "second", "third", "fourth")]
    then = NOW + 40 + INTERVALS.resolve
    assert [*store.due(then, 10)] == [*store.due_in_turn(then, 10)] == ordered
    assert [*store.due(then, 3)] == ordered[:3]
    store.commit(Commit(states=tuple(store.load(ordered[:1]).values())), NOW, INTERVALS)
    items = client.scan(TableName=aws.table)["Items"]
    assert [item["pk"]["S"] for item in items if item["due"]["S"] == OLD_KEY] == [
        f"alert#{ordered[2]}"
    ]
    assert [*store.due(then, 10)] == ordered


def test_a_table_goes_on_behind_what_was_taken(aws: LocalAws) -> None:
    client = boto3.client("dynamodb")
    store = DynamoDbStore(client, aws.table)
    names = [f"{number}" for number in range(7)]
    states = tuple(fresh(name, NOW + number) for number, name in enumerate(names))
    store.commit(Commit(states=states), NOW, INTERVALS)
    ordered = [fingerprint(name) for name in names]
    then = NOW + 10 + INTERVALS.resolve
    assert [*store.due_in_turn(then, 3)] == ordered[:3]
    client.delete_item(TableName=aws.table, Key={"pk": {"S": f"alert#{ordered[2]}"}})
    # Another store, as the next sweep may run in another environment.
    assert [*DynamoDbStore(client, aws.table).due_in_turn(then + 300, 3)] == ordered[3:6]
    assert [*store.due_in_turn(then + 600, 3)] == [ordered[6], *ordered[:2]]
    assert [*store.due_in_turn(then + 900, 10)] == [*ordered[3:], *ordered[:2]]
    assert [*store.due_in_turn(then + 1200, 10)] == [*ordered[:2], *ordered[3:]]


@pytest.mark.slow
def test_of_fifty_thousand_open_alerts_each_comes_within_five_sweeps() -> None:
    counted = Counted()
    # A fifth is stored by this version, the others by 0.2.0.
    keys = (None, OLD_KEY, OLD_KEY, OLD_KEY, OLD_KEY)
    names = [counted.add(NOW - 9 * number, keys[number % 5]) for number in range(50_000)]
    sweeps = counted.sweeps(NOW, 10_000)
    taken = [next(sweeps) for _ in range(5)]
    assert taken[0] == names[:-10_001:-1]  # the longest due first
    assert [name for sweep in taken for name in sweep] == names[::-1]
    # Entries of 90 bytes; half a unit for 4 KB, of 10,000 entries of a key at the most.
    assert counted.simulation.calls["read units"] < 5 * 2_000


def test_what_becomes_due_in_masses_keeps_nothing_waiting() -> None:
    counted = Counted()
    old = [counted.add(NOW - 100 + number) for number in range(50)]
    counted.again(old[0], NOW + 10)
    sweeps = counted.sweeps(NOW, 20)
    seen: Counter[str] = Counter()
    for number in range(12):
        seen.update(next(sweeps))
        for _ in range(30):  # more than a sweep takes
            counted.add(NOW + 300 * number + 150)
    assert min(seen[name] for name in old) >= 1


def test_fewer_than_a_sweep_takes_need_no_turn() -> None:
    counted = Counted()
    names = [counted.add(NOW - 10 + number) for number in range(5)]
    assert next(counted.sweeps(NOW, 10)) == names
    assert "turn" not in counted.table.items
    writes = counted.simulation.calls["transaction"]
    assert next(counted.sweeps(NOW, 3)) == names[:3]
    assert next(counted.sweeps(NOW + 300, 10)) == [*names[3:], *names[:3]]
    assert next(counted.sweeps(NOW + 600, 10)) == names
    assert counted.simulation.calls["transaction"] == writes + 2  # stored, and ended


@pytest.mark.parametrize(
    ("until", "places"),
    [
        (NOW, "no JSON"),
        (NOW, "[]"),
        (NOW, '{"due#0": 7}'),
        (NOW, '{"due#0": [7, ""]}'),
        (NOW, f'{{"due#0": [{NOW + 1}, "alert#a"]}}'),  # beyond what is asked for
        (NOW, '{"due#0": [true, 5]}'),
        ("soon", "{}"),
    ],
)
def test_a_turn_that_cannot_be_read_begins_anew(until: object, places: str) -> None:
    counted = Counted()
    names = [counted.add(NOW - 10 + number) for number in range(5)]
    counted.table.items["turn"] = {
        "pk": {"S": "turn"},
        "version": {"N": "4"},
        "until": {"N": str(until)},
        "places": {"S": places},
    }
    sweeps = counted.sweeps(NOW, 3)
    assert next(sweeps) == names[:3]
    assert counted.reports == ["turn"]
    assert next(sweeps) == [*names[3:], names[0]]


def test_a_turn_means_what_it_meant() -> None:
    counted = Counted()
    names = [
        counted.add(NOW - 10 + number, OLD_KEY if number == 2 else None) for number in range(5)
    ]
    path = Path(__file__).parents[1] / "persisted" / "0.3.0" / "turn.json"
    counted.table.items["turn"] = json.loads(path.read_text())
    assert next(counted.sweeps(NOW, 2)) == names[3:]
    assert counted.reports == []
    assert next(counted.sweeps(NOW, 2)) == names[:2]


def test_an_event_of_an_earlier_time_begins_anew() -> None:
    counted = Counted()
    names = [counted.add(NOW - 10 + number) for number in range(5)]
    assert next(counted.sweeps(NOW, 3)) == names[:3]
    assert next(counted.sweeps(NOW - 6, 3)) == names[:3]
    assert next(counted.sweeps(NOW, 3)) == names[3:] + names[:1]


def test_two_sweeps_at_once_take_the_same_and_the_next_goes_on() -> None:
    counted = Counted()
    names = [counted.add(NOW - 10 + number) for number in range(5)]
    client: Any = counted.table
    other = DynamoDbStore(client, "alerts")
    write = counted.table.transact_write_items
    taken: list[object] = []

    def interrupted(**writes: Any) -> None:  # noqa: ANN401 - what boto3 takes
        if not taken:
            taken.append(None)
            taken[0] = [*other.due_in_turn(NOW, 3)]
        write(**writes)

    counted.table.transact_write_items = interrupted  # type: ignore[method-assign]
    sweeps = counted.sweeps(NOW, 3)
    assert next(sweeps) == names[:3]
    assert taken == [names[:3]]
    assert next(sweeps) == [*names[3:], names[0]]


def test_a_sweep_that_takes_not_all_sends_what_the_others_left(
    monkeypatch: pytest.MonkeyPatch, aws: LocalAws
) -> None:
    monkeypatch.setattr(manager_module, "_MAX_DUE", 4)
    store, outbox = DynamoDbStore(boto3.client("dynamodb"), aws.table), Outbox()
    manager = AlertManager(store, outbox, intervals=INTERVALS, hourly_limit=100)
    # No flow logs come, so these stay due for hours.
    stay = tuple(fresh(f"{number}", NOW + number) for number in range(8))
    unsent = replace(fresh("unsent", NOW + 500), pending=Status.FIRING, pending_at=NOW + 2_000)
    store.commit(Commit(states=(*stay, unsent)), NOW, INTERVALS)
    sent = []
    for number in range(3):
        manager.sweep(NOW + 2_400 + 300 * number, None)
        sent.append([notification.fingerprint for notification in outbox.sent])
    assert sent == [[], [], [unsent.fingerprint]]
