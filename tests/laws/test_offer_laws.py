"""Fixes that several invocations plan at once, in any order and again, never collide."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from ipaddress import ip_network
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from flowverdict.network.model import NetworkAclEntry
from flowverdict.verdict.remediation.model import Remediation
from flowverdict.verdict.remediation.offers import OpenOffers, StoredOffers
from flowverdict.verdict.service import service_port
from tests.helpers.fix_records import records
from tests.helpers.fixes import NETWORK, crowded, explained
from tests.helpers.hypothesis_weight import examples
from tests.helpers.memory_stores import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowverdict.network.configuration import NetConfig
    from flowverdict.network.model import NetworkAcl

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


def plan(store: MemoryStore, given_: list[str], config: NetConfig = NETWORK) -> Fixes:
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
        for one in explained(*given_, config=config, open_offers=open_offers)
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


def _numbered(acl: NetworkAcl, *, egress: bool) -> int:
    entries = (entry for entry in acl.entries or () if entry.egress is egress)
    return sum(not entry.is_closing for entry in entries)


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


# One rule fits into each group, and one entry into each network ACL that was not full.
NEARLY_FULL = replace(
    NETWORK,
    security_groups=tuple(crowded(group, 59) for group in NETWORK.security_groups or ()),
    network_acls=tuple(
        replace(
            acl,
            entries=(
                *(acl.entries or ()),
                *(
                    NetworkAclEntry(
                        rule_number=number,
                        egress=egress,
                        action="allow",
                        protocol="50",
                        network=ip_network("192.0.2.0/24"),
                    )
                    for egress in (False, True)
                    for number in range(1, 19 - _numbered(acl, egress=egress))
                ),
            ),
        )
        for acl in NETWORK.network_acls or ()
    ),
)


@examples(2)
@given(batches=st.lists(st.lists(records(), min_size=1, max_size=3), min_size=2, max_size=4))
def test_all_that_open_fixes_offer_together_fits_into_the_quotas(batches: list[list[str]]) -> None:
    table = MemoryStore()
    made = [fix for batch in batches for _, fix in plan(table, batch, NEARLY_FULL)]
    offered: defaultdict[str, set[tuple[int | None, str]]] = defaultdict(set)
    for fix in made:
        for change in fix.needed:
            offered[change.place].add((change.rule_number, change.content))
    for place, changes in offered.items():
        if place.startswith("acl-") or place.endswith("ingress"):
            assert len(changes) == 1, place
