"""Keep what the fixes of open problems offer, so that no two fixes collide.

Alerts are sent one by one, by invocations that know nothing of each other. What a fix offers is
therefore kept for each direction of a network ACL and of a security group, as long as its alert may
be open: which change, for which problem, and with which rule number. The list of a direction is
written on the condition that nobody has changed it since it was read. So at every time

- two different entries of a network ACL have two rule numbers;
- the same entry has the same rule number in every fix and in every evaluation;
- of the fixes that need the same change, the one that was planned first offers it. The others name
  that fix, because EC2 refuses the second command (``InvalidPermission.Duplicate``,
  ``NetworkAclEntryAlreadyExists``:
  https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html).

Without a store, as in the command, this holds among the fixes that are planned together.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from flowverdict.verdict.remediation.model import Change

# Kept of one direction: an item of the store holds them. A network ACL takes 40 entries.
MAX_OFFERS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A change that the fix of a problem offers.

    Parameters
    ----------
    change
        The change as text, without a rule number.
    problem
        16 hexadecimal digits, the same for the same problem whenever it is seen.
    title
        The problem in words.
    rule_number
        Of an entry of a network ACL; ``None`` for a rule of a group.
    until
        When the offer lapses, in Unix seconds.
    """

    change: str
    problem: str
    title: str
    rule_number: int | None
    until: int

    def is_like(self, other: Offer) -> bool:
        """Return whether both are the same command."""
        return (self.change, self.rule_number) == (other.change, other.rule_number)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredOffers:
    """The offers of one direction, the oldest first, and the version that they were read as."""

    version: int = 0
    offers: tuple[Offer, ...] = ()


class OfferStore(Protocol):
    """Where offers are kept. Every method raises ``StateError`` if the store cannot be reached."""

    def load_offers(self, places: Collection[str]) -> Mapping[str, StoredOffers]:
        """Return what is stored of the places, without those of which nothing is stored."""

    def save_offers(self, place: str, stored: StoredOffers) -> bool:
        """Store the offers over ``stored.version``; return ``False`` if that has changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOffer:
    """An offer of a fix that was planned, and where it belongs."""

    place: str
    offer: Offer


@dataclass(slots=True, kw_only=True)
class OpenOffers:
    """What is offered at a time.

    Parameters
    ----------
    store
        ``None`` where nothing is known of other evaluations.
    now
        Unix seconds.
    kept
        For how many seconds an offer counts after it was made last: longer than an alert may be
        open without a detection.
    """

    store: OfferStore | None = None
    now: int = 0
    kept: int = 0
    _read: dict[str, StoredOffers] = field(default_factory=dict)

    def at(self, place: str) -> tuple[Offer, ...]:
        """Return the offers of a place that have not lapsed, the oldest first."""
        self.load([place])
        return tuple(offer for offer in self._read[place].offers if offer.until > self.now)

    def load(self, places: Collection[str]) -> None:
        """Read the offers of several places at once, where they are not known yet."""
        unknown = [place for place in dict.fromkeys(places) if place not in self._read]
        found = {} if self.store is None or not unknown else self.store.load_offers(unknown)
        for place in unknown:
            self._read[place] = found.get(place, StoredOffers())

    def make(self, change: Change, problem: str, title: str) -> NewOffer:
        """Return the offer of a change by a problem's fix."""
        offer = Offer(
            change=change.content,
            problem=problem,
            title=title,
            rule_number=change.rule_number,
            until=self.now + self.kept,
        )
        return NewOffer(place=change.place, offer=offer)

    def keep(self, made: Iterable[NewOffer]) -> bool:
        """Store offers; return ``False`` if another invocation was faster: plan again.

        An offer that was made before keeps its place in the order. What is stored before another
        invocation is met stays stored, and is found again.
        """
        if self.store is None:
            return True
        by_place: dict[str, list[Offer]] = {}
        for each in made:
            by_place.setdefault(each.place, []).append(each.offer)
        for place, offers in by_place.items():
            kept = _with(self.at(place), offers, must_last=self.now + self.kept // 2)
            if kept is None:
                continue
            stored = replace(self._read[place], offers=kept)
            if not self.store.save_offers(place, stored):
                self._read.clear()
                return False
            self._read[place] = replace(stored, version=stored.version + 1)
        return True


def _with(
    present: tuple[Offer, ...], made: Iterable[Offer], *, must_last: int
) -> tuple[Offer, ...] | None:
    """Return the offers with those that were made; ``None`` if all of these last long enough."""
    kept = {(offer.change, offer.rule_number, offer.problem): offer for offer in present}
    is_changed = False
    for offer in made:
        key = (offer.change, offer.rule_number, offer.problem)
        before = kept.get(key)
        if before is None and len(kept) >= MAX_OFFERS:
            continue  # only a rule of a group: no rule number is given beyond so many
        if before is None or before.until < must_last:
            kept[key] = offer
            is_changed = True
    return tuple(kept.values()) if is_changed else None
