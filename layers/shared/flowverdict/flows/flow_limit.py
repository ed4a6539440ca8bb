"""Choose which rejected flows stay individual where there are more than can be evaluated.

The flows of an interface that stay inside private ranges are a group, and its other flows are one.
A flow's rank is its place among the hashes of its group. The flows with the lowest ranks stay, and
of those with the same rank the ones with the lowest hashes. So a group with few flows keeps all of
them, however many flows another interface has, or strangers send to the same one.

The choice is the same in whatever order and in however many sources flows arrive, because a flow
that stays in the end has, among the flows of each source, no higher rank, and no more flows before
it. A flow that goes takes along the flows of its group with higher hashes: ``aggregated_from``
keeps its hash, so that such a flow of another source does not take its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowverdict.core.addresses import is_inside

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from flowverdict.core.addresses import Address

# An interface, and whether both ends of its flows are in private ranges.
type FlowGroup = tuple[str | None, bool]


def flow_group(
    interface: str | None, source: Address | None, destination: Address | None
) -> FlowGroup:
    """Return the group of a flow with these ends."""
    return interface, (
        source is not None
        and destination is not None
        and is_inside(source)
        and is_inside(destination)
    )


class FlowLimit:
    """Which flows stay individual, of at most so many; ``None`` for no limit."""

    def __init__(self, most: int | None) -> None:
        self.most = most
        # The lowest hash of each group that does not stay individual.
        self.aggregated_from: dict[FlowGroup, int] = {}

    def is_beyond(self, group: FlowGroup, hashed: int) -> bool:
        """Whether a flow does not stay individual, as known so far."""
        lowest = self.aggregated_from.get(group)
        return lowest is not None and hashed >= lowest

    def lower(self, aggregated_from: Mapping[FlowGroup, int]) -> None:
        """Add what another source does not keep."""
        for group, hashed in aggregated_from.items():
            self.aggregated_from[group] = min(hashed, self.aggregated_from.get(group, hashed))

    def choose(self, hashes: Mapping[FlowGroup, Collection[int]]) -> bool:
        """Choose among flows; return whether there are more than may stay."""
        ranked = {group: sorted(set(values)) for group, values in hashes.items()}
        if self.most is None or sum(map(len, ranked.values())) <= self.most:
            return False
        rank, left = _shared_out(self.most, sorted(map(len, ranked.values())))
        further = sorted(
            (values[rank], str(group), group)
            for group, values in ranked.items()
            if len(values) > rank
        )
        for place, (_, _, group) in enumerate(further):
            stay = rank + (place < left)
            if len(ranked[group]) > stay:
                self.lower({group: ranked[group][stay]})
        return True


def _shared_out(most: int, sizes: Collection[int]) -> tuple[int, int]:
    """Return up to which rank each group keeps its flows, and how many flows of the next rank.

    ``sizes`` are the numbers of the groups' flows in ascending order, more than ``most`` together.
    """
    left = most
    for done, size in enumerate(sizes):
        share = left // (len(sizes) - done)
        if size > share:
            return share, left - share * (len(sizes) - done)
        left -= size
    raise ValueError(f"{sum(sizes)} flows are not more than {most}")
