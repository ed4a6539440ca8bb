"""What the fixes of open problems offer: each change once, each rule number once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flowverdict.core.errors import StateError
from flowverdict.verdict.remediation.model import AclChange, Remediation
from flowverdict.verdict.remediation.offers import MAX_OFFERS, Offer, OpenOffers, StoredOffers
from tests.helpers.fixes import NETWORK, explained, rejected, with_acl
from tests.helpers.memory_stores import MemoryStore

NOW, KEPT = 1_795_349_000, 3_600
# Both need the same rule of sg-0f60api; the first needs an entry of its network ACL too.
BOTH_LAYERS = rejected("api", "10.60.1.21", "10.60.2.10", (40_130, 9000), "ingress")
GROUP_ONLY = rejected("denied", "10.60.1.21", "10.60.4.10", (40_131, 9000), "ingress")
TO_API = rejected("api", "10.60.1.20", "10.60.2.10", (40_100, 8443), "ingress")
PLACE = "acl-0f60closed ingress"


def fix(store: MemoryStore, record: str, *, now: int = NOW) -> Remediation:
    """Return the fix that an invocation makes that sees nothing but this record."""
    (one,) = explained(record, open_offers=OpenOffers(store=store, now=now, kept=KEPT))
    assert isinstance(one.remediation, Remediation)
    return one.remediation


def entry_of(fix: Remediation) -> AclChange:
    (change,) = (each for each in fix.needed if isinstance(each, AclChange))
    return change


def test_of_two_invocations_the_first_offers_the_change() -> None:
    store = MemoryStore()
    first, second = fix(store, BOTH_LAYERS), fix(store, GROUP_ONLY)
    assert len(first.changes) == 2
    assert second.changes == ()
    assert second.shared == first.changes[1:]
    assert second.shared_with == ("TCP 9000 requests blocked by acl-0f60closed rule *, sg-0f60api")
    assert second.undo("eu-central-1") == ()
    # Each of them is the same when it is evaluated again.
    assert (fix(store, BOTH_LAYERS), fix(store, GROUP_ONLY)) == (first, second)


def test_seen_together_the_small_plain_fix_offers_the_change() -> None:
    both, group_only = explained(BOTH_LAYERS, GROUP_ONLY)
    assert isinstance(both.remediation, Remediation)
    assert isinstance(group_only.remediation, Remediation)
    assert both.remediation.shared == group_only.remediation.changes
    assert group_only.remediation.shared == ()


def test_once_an_offer_has_lapsed_the_other_fix_offers_the_change() -> None:
    store = MemoryStore()
    fix(store, BOTH_LAYERS)
    second = fix(store, GROUP_ONLY, now=NOW + KEPT // 2)
    assert second.shared
    later = fix(store, GROUP_ONLY, now=NOW + KEPT)
    assert later.changes == second.shared


def test_while_a_problem_goes_on_its_offer_does_not_lapse() -> None:
    store = MemoryStore()
    first = fix(store, BOTH_LAYERS)
    for now in range(NOW, NOW + 5 * KEPT, KEPT // 3):
        assert fix(store, BOTH_LAYERS, now=now) == first
    assert fix(store, GROUP_ONLY, now=NOW + 5 * KEPT).shared == first.changes[1:]


def taken_by(number: int, change: str = "6 1 None 192.0.2.0/24") -> Offer:
    return Offer(change=change, problem="0" * 16, title="x", rule_number=number, until=NOW + KEPT)


def test_a_number_that_an_open_fix_has_is_not_given_again() -> None:
    store = MemoryStore()
    number = entry_of(fix(MemoryStore(), TO_API)).rule_number
    store.save_offers(PLACE, StoredOffers(offers=(taken_by(number),)))
    given = entry_of(fix(store, TO_API)).rule_number
    assert given == number + 10
    assert entry_of(fix(store, TO_API)).rule_number == given


def test_a_number_that_the_network_acl_has_by_now_is_not_given() -> None:
    store = MemoryStore()
    change = entry_of(fix(store, TO_API))
    other = replace(change.entry, network=change.entry.network, action="allow", protocol="17")
    config = with_acl(
        "acl-0f60closed", lambda acl: replace(acl, entries=(*(acl.entries or ()), other))
    )
    (one,) = explained(
        TO_API, config=config, open_offers=OpenOffers(store=store, now=NOW, kept=KEPT)
    )
    assert isinstance(one.remediation, Remediation)
    assert entry_of(one.remediation).rule_number > change.rule_number


def test_beyond_a_thousand_offers_no_number_is_given() -> None:
    store = MemoryStore()
    offers = tuple(taken_by(number, str(number)) for number in range(1, MAX_OFFERS + 1))
    store.save_offers(PLACE, StoredOffers(offers=offers))
    (one,) = explained(TO_API, open_offers=OpenOffers(store=store, now=NOW, kept=KEPT))
    assert "has no free rule number" in str(one.remediation)


class Overtaken(MemoryStore):
    """A store that another invocation always writes first."""

    def save_offers(self, place: str, stored: StoredOffers) -> bool:  # noqa: ARG002 - refuses all
        """Refuse."""
        return False


def test_whoever_is_overtaken_again_and_again_gives_up_loudly() -> None:
    with pytest.raises(StateError, match="other invocations planned fixes"):
        fix(Overtaken(), TO_API)


def test_without_a_store_nothing_is_known_of_other_evaluations() -> None:
    assert explained(TO_API)[0].remediation == explained(TO_API, config=NETWORK)[0].remediation
    assert OpenOffers().at(PLACE) == ()
