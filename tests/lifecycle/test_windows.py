"""Evaluate windows: what is read, what an error leaves written, what remains without evidence.

What two functions do at once, and what dies in between, is in tests/laws/test_window_laws.py.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from flowverdict.alerts.grouping import detections
from flowverdict.core.errors import EvidenceError, StateError
from flowverdict.flowlog.columnar import WINDOW
from flowverdict.flows.bundle import Section
from flowverdict.flows.evidence import AFTER, BEFORE
from flowverdict.flows.read_source import read_object
from flowverdict.lifecycle.dirty_window import DirtyWindow
from flowverdict.lifecycle.intervals import Intervals
from flowverdict.lifecycle.manager import AlertManager
from flowverdict.lifecycle.windows import (
    WindowEvaluator,
    WindowFindings,
)
from flowverdict.verdict.batch import explain_flows
from tests.helpers.alert_samples import NOW, Outbox
from tests.helpers.flow_log_lines import NUMBER, content_of, reply, request
from tests.helpers.memory_stores import MemoryEvidence, MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from flowverdict.flows.stored_evidence import StoredEvidence

PLACE, OTHER_PLACE = "123456789012#eu-west-1", "123456789012#us-east-1"


class EvidenceByTurns(MemoryEvidence):
    """Evidence that records each read.

    ``broken_from`` is the first window that cannot be read, ``gone`` the windows that were removed,
    ``meanwhile`` what happens after evidence was read.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[tuple[int, int]] = []
        self.broken_from: int | None = None
        self.gone: set[int] = set()
        self.meanwhile: Callable[[], None] | None = None

    def read(self, partition: str, first: int, last: int) -> Mapping[int, Sequence[StoredEvidence]]:
        self.reads.append((first, last))
        if self.broken_from is not None and last >= self.broken_from:
            raise EvidenceError("the bucket is away")
        found = {
            window: some
            for window, some in super().read(partition, first, last).items()
            if window not in self.gone
        }
        if self.meanwhile is not None:
            self.meanwhile()
        return found


class Deployment:
    def __init__(self, store: MemoryStore | None = None) -> None:
        self.store, self.evidence, self.outbox = store or MemoryStore(), EvidenceByTurns(), Outbox()
        manager = AlertManager(self.store, self.outbox, intervals=Intervals(), hourly_limit=1_000)
        self.evaluator = WindowEvaluator(self.evidence, self.store, manager, Intervals())

    def keep(self, name: str, *lines: str, partition: str = PLACE) -> set[DirtyWindow]:
        source = read_object(io.BytesIO(content_of(lines)), name=name, seed=self.store.seed())
        for window, evidence in source.windows.items():
            self.evidence.put(partition, window, [Section.of(name, evidence)])
        rejects = [number for number, each in source.windows.items() if each.flows.rejects]
        self.store.mark_windows([f"{partition}#{number}" for number in rejects], NOW)
        return {
            DirtyWindow(partition=partition, window=window, feed=partition)
            for window in source.windows
        }

    def tell(self, dirty: set[DirtyWindow]) -> None:
        self.evaluator.evaluate(
            dirty,
            lambda flows, rejected: WindowFindings(
                detections=detections(explain_flows(rejected, None), flows)
            ),
            NOW,
        )

    def records(self) -> list[int]:
        return [state.notification.records for state in self.store.states.values() if state.is_open]


def test_windows_thousands_of_years_apart_are_read_apart() -> None:
    deployment = Deployment()
    years = 1_000 * 365 * 86_400 // WINDOW * WINDOW
    deployment.tell(
        deployment.keep(
            "spread", *(reply(40_001, number * years) for number in range(3)), reply(40_001, WINDOW)
        )
    )
    apart = years // WINDOW
    # The first two windows are adjacent. A window without a rejected flow is not evaluated, so no
    # evidence is read for it.
    assert deployment.evidence.reads == [
        (NUMBER - BEFORE, NUMBER + 1 + AFTER),
        *((NUMBER + number * apart - BEFORE, NUMBER + number * apart + AFTER) for number in (1, 2)),
    ]
    assert deployment.records() == [4]


def test_nothing_is_read_where_nothing_was_rejected() -> None:
    deployment = Deployment()
    deployment.tell(
        deployment.keep("accepted", *(request(40_001, at, action="ACCEPT") for at in (0, 300, 600)))
    )
    assert deployment.evidence.reads == []
    assert deployment.store.load_windows([f"{PLACE}#{NUMBER}"]) == {}


def test_the_first_windows_of_all_have_none_before_them() -> None:
    deployment = Deployment()
    epoch = -NUMBER * WINDOW
    deployment.tell(deployment.keep("epoch", reply(40_001, epoch)))
    assert deployment.records() == [1]


def test_what_was_written_before_an_error_is_told_and_the_rest_comes_with_the_next_time() -> None:
    deployment = Deployment()
    dirty = deployment.keep("one", reply(40_001, 0), partition=PLACE)
    dirty |= deployment.keep("other", reply(40_001, 100 * WINDOW), partition=OTHER_PLACE)
    deployment.evidence.broken_from = NUMBER + 100
    with pytest.raises(EvidenceError):
        deployment.tell(dirty)
    (told,) = deployment.outbox.sent
    assert told.records == 1
    deployment.evidence.broken_from = None
    deployment.tell(dirty)
    assert deployment.records() == [2]


def test_what_was_cleared_away_takes_nothing_back() -> None:
    deployment = Deployment()
    deployment.tell(deployment.keep("old", reply(40_001, 0), reply(40_002, WINDOW)))
    told, before = deployment.records(), deployment.store.load_windows([f"{PLACE}#{NUMBER}"])
    assert told == [2]
    deployment.evidence.gone = {NUMBER}
    # New evidence of a window has the window before it evaluated too.
    deployment.tell(deployment.keep("late", reply(40_003, WINDOW)))
    assert deployment.records() == [3]
    assert deployment.store.load_windows([f"{PLACE}#{NUMBER}"]) == before
    assert len(deployment.outbox.sent) == 1


def test_nothing_is_explained_or_written_again_where_nothing_new_is_known() -> None:
    deployment = Deployment()
    dirty = deployment.keep("one", reply(40_001, 0))
    deployment.tell(dirty)
    versions = {name: state.version for name, state in deployment.store.states.items()}

    def explain(*_: object) -> list[object]:
        raise AssertionError("the rules were read though nothing is new")

    deployment.evaluator.evaluate(dirty, explain, NOW)  # type: ignore[arg-type]
    assert {name: state.version for name, state in deployment.store.states.items()} == versions


@pytest.mark.parametrize("news", [True, False])
def test_of_two_evaluations_at_once_one_fails_also_where_it_has_nothing_new(*, news: bool) -> None:
    deployment = Deployment()
    dirty = deployment.keep("one", reply(40_001, 0))
    if not news:
        deployment.tell(dirty)

    def other() -> None:
        deployment.evidence.meanwhile = None
        deployment.tell(dirty)

    deployment.evidence.meanwhile = other
    with pytest.raises(StateError, match="another evaluation changed the same windows"):
        deployment.tell(dirty)
    assert deployment.records() == [1]


def test_every_evaluation_of_a_window_writes_its_version() -> None:
    deployment = Deployment()
    dirty = deployment.keep("one", reply(40_001, 0))
    versions = []
    for _ in range(3):
        deployment.tell(dirty)
        versions.append(deployment.store.version_of(f"{PLACE}#{NUMBER}"))
    assert versions == sorted(set(versions))
    assert deployment.records() == [1]


def test_a_window_is_marked_once_and_its_mark_takes_nothing_from_it() -> None:
    deployment = Deployment()
    deployment.tell(deployment.keep("one", reply(40_001, 0)))
    before = deployment.store.load_windows([f"{PLACE}#{NUMBER}"])
    deployment.store.mark_windows([f"{PLACE}#{NUMBER}"], NOW)
    assert deployment.store.load_windows([f"{PLACE}#{NUMBER}"]) == before
