"""Hold rejected lines back from becoming flows, until it is known which of them stay individual.

This module is imported only where numpy is loaded already, which made the lines.
"""

from __future__ import annotations

from functools import cached_property
from itertools import compress, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from flowverdict.flowlog.columnar import RejectedLines
from flowverdict.flows.flow_limit import flow_group

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from flowverdict.flowlog.object_key import Origin
    from flowverdict.flows.flow_limit import FlowGroup, FlowLimit


class HeldLines:
    """Lines that are not totals of flows yet; their groups are found when first asked for.

    Parameters
    ----------
    groups, numbers
        The groups of the lines' flows, and for each line the number of its group among these.
    """

    def __init__(
        self,
        lines: RejectedLines,
        origin: Origin,
        groups: tuple[list[FlowGroup], NDArray[np.intp]] | None = None,
    ) -> None:
        self.lines = lines
        self.origin = origin
        self._hashes = np.asarray(lines.hashes, np.uint64)
        self._known_groups = groups

    def __len__(self) -> int:
        return self._hashes.size

    @cached_property
    def _groups(self) -> tuple[list[FlowGroup], NDArray[np.intp]]:
        """The groups, and for each line the number of its group."""
        if self._known_groups is not None:
            return self._known_groups
        numbers: dict[FlowGroup, int] = {}
        numbered = (numbers.setdefault(group, len(numbers)) for group in _groups_of(self.lines))
        column = np.fromiter(numbered, np.intp, len(self))
        return [*numbers], column

    def hashes_within(self, limit: FlowLimit) -> Iterator[tuple[FlowGroup, list[int]]]:
        """Iterate over the groups with the hashes that are within the limit, as known so far."""
        groups, numbers = self._groups
        within = np.flatnonzero(~self._beyond(limit))
        order = within[np.argsort(numbers[within], kind="stable")]
        ends = np.searchsorted(numbers[order], np.arange(len(groups)), side="right")
        for group, hashes in zip(groups, np.split(self._hashes[order], ends[:-1]), strict=True):
            yield group, hashes.tolist()

    def _beyond(self, limit: FlowLimit) -> NDArray[np.bool_]:
        groups, numbers = self._groups
        lowest = map(limit.aggregated_from.get, groups)
        # Of a group that has no limit, no hash is beyond the highest.
        limits = np.array([0 if hashed is None else hashed for hashed in lowest], np.uint64)
        has_limit = np.array([group in limit.aggregated_from for group in groups], np.bool_)
        beyond: NDArray[np.bool_] = has_limit[numbers] & (self._hashes >= limits[numbers])
        return beyond

    def parted(self, limit: FlowLimit) -> tuple[HeldLines, RejectedLines]:
        """Return the lines that stay individual, as known so far, and those that are beyond."""
        groups, numbers = self._groups
        beyond = self._beyond(limit)
        related = np.frombuffer(self.lines.related, np.uint64).reshape(len(self), -1)
        texts = self.lines.text.split(b"\n")

        def part(among: NDArray[np.bool_]) -> RejectedLines:
            return RejectedLines(
                record_format=self.lines.record_format,
                hashes=self._hashes[among],
                related=related[among].tobytes(),
                text=b"\n".join(compress(texts, among.tolist())),
            )

        stay = HeldLines(part(~beyond), self.origin, (groups, numbers[~beyond]))
        return stay, part(beyond)


def _groups_of(lines: RejectedLines) -> Iterator[FlowGroup]:
    """Return the group of each line's flow, as ``FlowLimit`` needs it."""
    columns: list[list[Any]] = [
        [*islice(column, len(lines.hashes))]
        for column in lines.values(("interface_id", "resource_id", "srcaddr", "dstaddr"))
    ]
    interfaces, resources, sources, destinations = columns
    names = [
        resource if interface is None else interface
        for interface, resource in zip(interfaces, resources, strict=True)
    ]
    return map(flow_group, names, sources, destinations)
