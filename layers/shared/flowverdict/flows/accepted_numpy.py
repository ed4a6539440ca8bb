"""Search and merge numpy columns, as ``accepted_index`` does with ``array`` columns.

This module is imported only where numpy is loaded already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flowverdict.flowlog.columnar import NOT_LOGGED, AcceptedFlows
from flowverdict.flowlog.flow_hash_numpy import narrow

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from flowverdict.flowlog.columnar import Column


_ONE_OF = np.uint64(64)
_MOST_BITS = 24  # 16 MB
# A binary search for one hash takes as long as looking at this many hashes of a column.
_SEARCHED_BEYOND = 100


def rows_of(
    columns: Sequence[AcceptedFlows], required: Collection[int]
) -> Iterator[tuple[int, int, int, int]]:
    """Iterate over the rows (hash, start, end, flags) of the flows with these hashes."""
    known = np.sort(np.fromiter(required, np.uint64, len(required)))
    prefilter = _Prefilter(known)
    for flows in columns:
        hashes = np.asarray(flows.hashes)
        rows = np.flatnonzero(prefilter.may_contain(hashes))
        places = np.searchsorted(known, hashes[rows])
        rows = rows[known[np.minimum(places, known.size - 1)] == hashes[rows]]
        yield from zip(
            hashes[rows].tolist(),
            np.asarray(flows.starts)[rows].tolist(),
            np.asarray(flows.ends)[rows].tolist(),
            np.asarray(flows.flags)[rows].tolist(),
            strict=True,
        )


def of_services(
    known: Column, services: Collection[int], hashes: Callable[[], Column]
) -> Iterator[tuple[int, int]]:
    """Iterate over service and hash of the flows that go to one of these services.

    ``known`` are the services of the rows; the ``hashes`` are read if there are such flows.
    """
    column = np.asarray(known, np.uint32)
    wanted = np.sort(np.fromiter(services, np.uint32, len(services)))
    may_be = np.zeros(1 << 16, np.bool_)
    may_be[wanted >> 16] = True
    rows = np.flatnonzero(may_be[column >> 16])
    rows = rows[np.isin(column[rows], wanted)]
    if rows.size:
        yield from zip(column[rows].tolist(), np.asarray(hashes())[rows].tolist(), strict=True)


def search(required: Collection[int]) -> Callable[[Column], list[int]]:
    """Return what finds the rows of a sorted column of hashes that hold one of these."""
    required_hashes = np.sort(np.fromiter(required, np.uint64, len(required)))
    prefilter = _Prefilter(required_hashes)

    def rows(column: Column) -> list[int]:
        known = np.asarray(column, np.uint64)
        if known.size > _SEARCHED_BEYOND * required_hashes.size:
            places = np.minimum(np.searchsorted(known, required_hashes), known.size - 1)
            found = places[known[places] == required_hashes]
        else:
            found = np.flatnonzero(prefilter.may_contain(known))
            places = np.searchsorted(required_hashes, known[found])
            found = found[
                required_hashes[np.minimum(places, required_hashes.size - 1)] == known[found]
            ]
        chosen: list[int] = found.tolist()
        return chosen

    return rows


def rows_among(hashes: NDArray[np.uint64], columns: Iterable[Column]) -> list[int]:
    """Return the rows of a table that have a hash which is in any of the columns."""
    prefilter = _Prefilter(hashes)
    found = [
        some[prefilter.may_contain(some)]
        for some in (np.asarray(column, np.uint64) for column in columns)
    ]
    present = np.concatenate([*found, np.zeros(0, np.uint64)])
    among = _Prefilter(present).may_contain(hashes)
    among[among] = np.isin(hashes[among], present)
    rows: list[int] = np.flatnonzero(among.any(axis=1)).tolist()
    return rows


class _Prefilter:
    """Excludes most hashes that are not in a set by their highest bits, before a search.

    The table has about 16 places for each hash of the set.
    """

    def __init__(self, hashes: NDArray[np.uint64]) -> None:
        bits = min(max((16 * hashes.size).bit_length(), 1), _MOST_BITS)
        self._shift = np.uint64(64 - bits)
        self._present = np.zeros(1 << bits, np.bool_)
        self._present[(hashes >> self._shift).view(np.int64)] = True

    def may_contain(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return for each hash whether it may be in the set."""
        return self._present[(hashes >> self._shift).view(np.int64)]


def summed_up(columns: Sequence[AcceptedFlows]) -> AcceptedFlows:
    """Merge the rows of each flow (earliest start, latest end, OR of flags); sort them by hash."""
    hashes = np.concatenate([np.asarray(flows.hashes, np.uint64) for flows in columns])
    order = np.argsort(hashes, kind="stable")
    hashes = hashes[order]
    firsts = (
        np.flatnonzero(np.concatenate(([True], hashes[1:] != hashes[:-1])))
        if hashes.size
        else np.zeros(0, np.int64)
    )
    if not firsts.size:
        return columns[0]

    def column(values: Sequence[Column]) -> NDArray[np.int64]:
        return np.concatenate([np.asarray(part, np.int64) for part in values])[order]

    starts = column([flows.starts for flows in columns])
    # NOT_LOGGED is smaller than any time and must not win the minimum.
    starts[starts == NOT_LOGGED] = np.iinfo(np.int64).max
    starts = np.minimum.reduceat(starts, firsts)
    starts[starts == np.iinfo(np.int64).max] = NOT_LOGGED
    flags = column([flows.flags for flows in columns])
    logged = np.maximum.reduceat(flags, firsts) != NOT_LOGGED
    flags[flags == NOT_LOGGED] = 0
    services = np.concatenate([np.asarray(flows.services, np.uint32) for flows in columns])
    return AcceptedFlows(
        hashes=hashes[firsts],
        starts=starts,
        ends=np.maximum.reduceat(column([flows.ends for flows in columns]), firsts),
        flags=np.where(logged, np.bitwise_or.reduceat(flags, firsts), NOT_LOGGED).astype(np.int32),
        services=services[order[firsts]],
    )


def without_repetition(columns: Sequence[AcceptedFlows]) -> AcceptedFlows | None:
    """Return one row for each flow, with its service; ``None`` where few flows are repeated.

    Whether many are is found by one flow of 64, chosen by its hash. Where few are, merging would
    take more memory for a while than is saved by it.
    """
    chosen = [
        hashes[hashes % _ONE_OF == 0]
        for hashes in (np.asarray(flows.hashes, np.uint64) for flows in columns)
    ]
    sample = np.concatenate(chosen)
    if np.unique(sample).size * 2 > sample.size:
        return None
    merged = summed_up(columns)
    return AcceptedFlows(
        hashes=merged.hashes,
        starts=narrow(np.asarray(merged.starts), np.int32),
        ends=narrow(np.asarray(merged.ends), np.int32),
        flags=narrow(np.asarray(merged.flags), np.int16),
        services=merged.services,
    )
