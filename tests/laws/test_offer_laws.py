"""Fixes that several invocations plan at once, in any order and again, never collide."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from flowverdict.verdict.remediation.model import Remediation
from flowverdict.verdict.remediation.offers import OpenOffers, StoredOffers
from flowverdict.verdict.service import service_port
from tests.helpers.fix_records import records
from tests.helpers.fixes import explained
from tests.helpers.hypothesis_weight import examples
from tests.helpers.memory_stores import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable

NOW, KEPT = 1_795_349_000, 86_400
type Fixes = list[tuple[object, Remediation]]  # each with its problem


class Interrupted(MemoryStore):
    """A store into which other invocations write, just before this one does."""

    def __init__(self, shared: MemoryStore, others: list[Callable[[], object]]) -> None:
        super().__init__()
        self._offers = shared._offers  # noqa: SLF001 - the same table, seen by two invocations
        self._others = others

    def save_offers(self, place: str, stored: StoredOffers) -> bool:
        """Let another invocation run to its end, then write."""
        if self._others:
            self._others.pop()()
        return super().save_offers(place, stored)


def plan(store: MemoryStore, given_: list[str]) -> Fixes:
    """Return the fixes that an invocation makes."""
    open_offers = OpenOffers(store=store, now=NOW, kept=KEPT)
    return [
        (
            (
                *(one.flow.direction, one.verdict.kind, one.verdict.leg, one.blocker),
                *(one.flow.key.protocol, service_port(one.flow, one.verdict.leg)),
            ),
            one.remediation,
        )
        for one in explained(*given_, open_offers=open_offers)
        if isinstance(one.remediation, Remediation)
    ]


def collide(fixes: Fixes) -> set[tuple[str, int | None, str]]:
    """Check that a number stands for one entry, and that no two fixes offer one change."""
    contents: dict[tuple[str, int], str] = {}
    offering: defaultdict[tuple[str, str], set[object]] = defaultdict(set)
    for problem, fix in fixes:
        for change in fix.changes:
            offering[change.place, change.content].add(problem)
        for change in fix.needed:
            if change.rule_number is not None:
                known = contents.setdefault((change.place, change.rule_number), change.content)
                assert known == change.content
    assert all(len(problems) == 1 for problems in offering.values())
    return offered_in(fixes)


def offered_in(fixes: Fixes) -> set[tuple[str, int | None, str]]:
    return {
        (each.place, each.rule_number, each.content) for _, fix in fixes for each in fix.changes
    }


@examples(2)
@given(
    batches=st.lists(st.lists(records(), min_size=1, max_size=4), min_size=2, max_size=3),
    data=st.data(),
)
def test_fixes_of_invocations_at_once_do_not_collide(
    batches: list[list[str]], data: st.DataObject
) -> None:
    table = MemoryStore()
    first, *others = batches
    made: list[Fixes] = []
    waiting: list[Callable[[], object]] = [
        lambda batch=batch: made.append(plan(table, batch))  # type: ignore[misc]
        for batch in others
    ]
    made.append(plan(Interrupted(table, waiting), first))
    for run in waiting:  # of invocations that met nobody
        run()
    # Delivered again, in any order: each problem has the numbers that it had.
    again = [plan(table, batch) for batch in data.draw(st.permutations(batches))]
    offered = collide([fix for fixes in again for fix in fixes])
    for fixes in made:
        assert offered_in(fixes) <= offered


@examples(2)
@given(batches=st.lists(st.lists(records(), min_size=1, max_size=3), min_size=2, max_size=3))
def test_what_is_needed_does_not_depend_on_who_came_first(batches: list[list[str]]) -> None:
    one, other = MemoryStore(), MemoryStore()
    forwards = [plan(one, batch) for batch in batches]
    backwards = [plan(other, batch) for batch in reversed(batches)][::-1]
    for first, second in zip(forwards, backwards, strict=True):
        needed = [
            [{(each.place, each.content) for each in fix.needed} for _, fix in fixes]
            for fixes in (first, second)
        ]
        assert needed[0] == needed[1]
