"""Columns of numpy's: of accepted flows the same as ``accepted_index`` does with those of ``array``. Loaded where numpy is already."""

from __future__ import annotations

from itertools import compress
from typing import TYPE_CHECKING

import numpy as np

from flowverdict.flowlog.columnar import NOT_LOGGED, AcceptedFlows, RejectedLines

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from flowverdict.flowlog.columnar import Column


_MOST_BITS = 24  # 16 MB


def rows_of(
    columns: Sequence[AcceptedFlows], wanted: Collection[int]
) -> Iterator[tuple[int, int, int, int]]:
    """Give the rows, as (hash, start, end, flags), of the flows with these hashes."""
    known = np.sort(np.fromiter(wanted, np.uint64, len(wanted)))
    perhaps = _Likely(known)
    for flows in columns:
        hashes = np.asarray(flows.hashes)
        rows = np.flatnonzero(perhaps.have(hashes))
        places = np.searchsorted(known, hashes[rows])
        rows = rows[known[np.minimum(places, known.size - 1)] == hashes[rows]]
        yield from zip(
            hashes[rows].tolist(),
            np.asarray(flows.starts)[rows].tolist(),
            np.asarray(flows.ends)[rows].tolist(),
            np.asarray(flows.flags)[rows].tolist(),
            strict=True,
        )


def rows_among(hashes: NDArray[np.uint64], columns: Iterable[Column]) -> list[int]:
    """Give the rows of a table that have a hash which is in any of the columns."""
    perhaps = _Likely(hashes)
    found = [
        some[perhaps.have(some)] for some in (np.asarray(column, np.uint64) for column in columns)
    ]
    there = np.concatenate([*found, np.zeros(0, np.uint64)])
    among = _Likely(there).have(hashes)
    among[among] = np.isin(hashes[among], there)
    rows: list[int] = np.flatnonzero(among.any(axis=1)).tolist()
    return rows


class _Likely:
    """Tells most hashes apart from some by their highest bits, before anything is searched: sixteen places or so for each."""

    def __init__(self, hashes: NDArray[np.uint64]) -> None:
        bits = min(max((16 * hashes.size).bit_length(), 1), _MOST_BITS)
        self._shift = np.uint64(64 - bits)
        self._there = np.zeros(1 << bits, np.bool_)
        self._there[(hashes >> self._shift).view(np.int64)] = True

    def have(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Say of each whether it may be one of them."""
        return self._there[(hashes >> self._shift).view(np.int64)]


def summed_up(columns: Sequence[AcceptedFlows]) -> AcceptedFlows:
    """Give each flow once, in the order of the hashes: its earliest start, latest end, and all flags."""
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
        return np.concatenate([np.asarray(one, np.int64) for one in values])[order]

    starts = column([flows.starts for flows in columns])
    # Not logged is smaller than any time, and must not be the earliest.
    starts[starts == NOT_LOGGED] = np.iinfo(np.int64).max
    starts = np.minimum.reduceat(starts, firsts)
    starts[starts == np.iinfo(np.int64).max] = NOT_LOGGED
    flags = column([flows.flags for flows in columns])
    logged = np.maximum.reduceat(flags, firsts) != NOT_LOGGED
    flags[flags == NOT_LOGGED] = 0
    return AcceptedFlows(
        hashes=hashes[firsts],
        starts=starts,
        ends=np.maximum.reduceat(column([flows.ends for flows in columns]), firsts),
        flags=np.where(logged, np.bitwise_or.reduceat(flags, firsts), NOT_LOGGED).astype(np.int32),
    )


def nth_smallest(number: int, hashes: Sequence[Column]) -> int | None:
    """Give the largest of so many smallest ones among different hashes; ``None`` where there are no more than that."""
    distinct = np.unique(np.concatenate([np.asarray(column, np.uint64) for column in hashes]))
    return int(distinct[number - 1]) if distinct.size > number else None


def parted(lines: RejectedLines, highest: int) -> tuple[RejectedLines, RejectedLines]:
    """Part lines into those whose hashes are at most so high, and the others."""
    hashes = np.asarray(lines.hashes, np.uint64)
    related = np.frombuffer(lines.related, np.uint64).reshape(hashes.size, -1)
    texts = lines.text.split(b"\n")

    def part(among: NDArray[np.bool_]) -> RejectedLines:
        return RejectedLines(
            record_format=lines.record_format,
            hashes=hashes[among],
            related=related[among].tobytes(),
            text=b"\n".join(compress(texts, among.tolist())),
        )

    kept = hashes <= np.uint64(highest)
    return part(kept), part(~kept)
