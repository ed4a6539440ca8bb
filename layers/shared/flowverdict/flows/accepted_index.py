"""A compact index of accepted flows: hash, earliest start, latest end and TCP flags of each.

95 to 99.9 % of all records are accepted. An accepted flow matters only if it mirrors a rejected
flow, which may be in a later file.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from itertools import pairwise, repeat
from typing import TYPE_CHECKING

from flowverdict.flowlog.columnar import NOT_LOGGED, AcceptedFlows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from flowverdict.flowlog.columnar import Column


_LENGTH = 8  # bytes of a column's length
# A binary search for one hash takes as long as looking at this many hashes of a column.
_SEARCH_AS_LONG_AS = 10
MERGED_ROWS = 500_000  # 10 MB; to merge fewer rows saves too little
_MANY = 100  # hashes from which numpy, where it is loaded, searches faster
_MANY_ROWS = 1_000  # the same, rows of services
# A hash, two times of 63 bits, flags of 31 (Parquet's INT_32), and what the flow goes to.
_KINDS = "QqqiI"
_SERVICES = 4  # the index of that column


@dataclass(slots=True)
class Activity:
    """The time range and the TCP flags of a flow's records.

    ``first_start`` and ``last_end`` are Unix seconds; ``tcp_flags`` is the OR over all records.
    Each is ``None`` if not logged.
    """

    first_start: int | None = None
    last_end: int | None = None
    tcp_flags: int | None = None

    def widen(self, start: int | None, end: int | None, flags: int | None) -> None:
        """Include a record, or the activity of more records."""
        if start is not None and (self.first_start is None or start < self.first_start):
            self.first_start = start
        if end is not None and (self.last_end is None or end > self.last_end):
            self.last_end = end
        if flags is not None:
            self.tcp_flags = flags if self.tcp_flags is None else flags | self.tcp_flags


class HashSearch:
    """Searches sorted columns for hashes."""

    def __init__(self, hashes: AbstractSet[int]) -> None:
        self.hashes = hashes
        self.rows: Callable[[array[int]], Sequence[int]] = partial(_rows_among, hashes)
        if len(hashes) >= _MANY and "numpy" in sys.modules:
            from flowverdict.flows import accepted_numpy  # noqa: PLC0415 - numpy takes 65 ms to load

            self.rows = accepted_numpy.search(hashes)


def _rows_among(required: AbstractSet[int], known: array[int]) -> Sequence[int]:
    if len(known) <= _SEARCH_AS_LONG_AS * len(required):
        return [row for row, hashed in enumerate(known) if hashed in required]
    found = ((bisect_left(known, hashed), hashed) for hashed in required)
    return [row for row, hashed in found if row < len(known) and known[row] == hashed]


class AcceptedFlowIndex:
    """Accepted flows of any number of sources, by the hashes of ``keyhash``.

    Unpacked columns stay compressed until a lookup: ten files of a million records each take about
    30 MB.
    """

    # Of AcceptedFlows, in the order of pack. Versions before 0.3.0 wrote no services.
    COLUMNS = ("hashes", "starts", "ends", "flags", "services")

    def __init__(self) -> None:
        self._table: dict[int, Activity] = {}
        self._columns: list[AcceptedFlows] = []
        self._packed: list[tuple[bytes | None, ...]] = []
        self._services: dict[int, int] = {}  # of the flows in the table, by their hashes
        self._merge_from = MERGED_ROWS  # rows of columns

    def add(
        self, hashed: int, start: int | None, end: int | None, flags: int | None, service: int
    ) -> None:
        """Add a record of a flow; ``service`` is what it goes to (``KeyHashes.of_services``)."""
        self._table.setdefault(hashed, Activity()).widen(start, end, flags)
        self._services[hashed] = service

    def add_columns(self, flows: AcceptedFlows) -> None:
        """Add many records, in any order."""
        self._columns.append(flows)

    def merge(self, other: AcceptedFlowIndex) -> None:
        """Add the flows of another index."""
        for hashed, seen in other._table.items():
            known = self._table.setdefault(hashed, Activity())
            known.widen(seen.first_start, seen.last_end, seen.tcp_flags)
        self._services |= other._services
        self._columns += other._columns
        self._packed += other._packed

    def shrink(self) -> None:
        """Merge the rows of flows that many sources have, as those of a long connection.

        Memory grows with the flows then, not with the sources: by 20 bytes for each flow, 22 with
        TCP flags.
        """
        rows = sum(len(flows.hashes) for flows in self._columns)
        if rows < self._merge_from or find_spec("numpy") is None:
            return
        from flowverdict.flows import accepted_numpy  # noqa: PLC0415 - as below

        merged = accepted_numpy.without_repetition(self._columns)
        if merged is not None:
            self._columns = [merged]
            rows = len(merged.hashes)
        self._merge_from = max(MERGED_ROWS, 2 * rows)

    def hash_columns(self) -> Iterator[Column]:
        """Iterate over columns with the hashes of all flows; a hash may occur several times."""
        yield array("Q", self._table)
        yield from (flows.hashes for flows in self._columns)
        yield from (_hashes_in(packed) for packed in self._packed)

    def lookup(self, hashes: AbstractSet[int]) -> dict[int, Activity]:
        """Return the activity of the flows with these hashes; unknown hashes are left out."""
        return self._found(HashSearch(hashes))

    def among(self, search: HashSearch) -> AcceptedFlowIndex:
        """Return an index of the flows with the hashes of a search."""
        chosen = AcceptedFlowIndex()
        chosen._table = self._found(search)
        return chosen

    def _found(self, search: HashSearch) -> dict[int, Activity]:
        found: dict[int, Activity] = {}
        if not search.hashes:
            return found
        if self._table:
            for hashed in search.hashes:
                if (seen := self._table.get(hashed)) is not None:
                    found[hashed] = replace(seen)
        for hashed, start, end, flags in _rows_of(self._columns, search.hashes):
            found.setdefault(hashed, Activity()).widen(
                _or_none(start), _or_none(end), _or_none(flags)
            )
        for packed in self._packed:
            known = _hashes_in(packed)
            # Most columns have none of the flows, so the others stay compressed until one is found.
            if not (rows := search.rows(known)):
                continue
            starts, ends, flag_column = _activity_in(packed, len(known))
            for row in rows:
                found.setdefault(known[row], Activity()).widen(
                    _or_none(starts[row]), _or_none(ends[row]), _or_none(flag_column[row])
                )
        return found

    @property
    def knows_services(self) -> bool:
        """Whether it is known of all flows what they go to."""
        return all(packed[_SERVICES] is not None for packed in self._packed)

    def by_service(self, services: AbstractSet[int]) -> dict[int, set[int]]:
        """Return the hashes of the flows that go to each of these services; without flows, none.

        It takes 60 bytes for each of these flows.
        """
        found: defaultdict[int, set[int]] = defaultdict(set)
        if not services:
            return found
        for hashed, service in self._services.items():
            if service in services:
                found[service].add(hashed)
        for flows in self._columns:
            _add_rows(found, services, flows.services, partial(getattr, flows, "hashes"))
        for packed in self._packed:
            if (column := packed[_SERVICES]) is not None:
                known = _uncompressed(_KINDS[_SERVICES], column)
                _add_rows(found, services, known, partial(_hashes_in, packed))
        return found

    def pack(self) -> bytes:
        """Return the added flows as bytes, sorted by hash: equal flows give equal bytes.

        Raises
        ------
        ValueError
            The index holds unpacked flows.
        """
        if self._packed:
            raise ValueError("what was unpacked is packed already")
        flows = _columns_of(self._table, self._services)
        if self._columns:
            flows = _summed_up([flows, *self._columns])
        columns = [
            _compressed(kind, getattr(flows, name))
            for kind, name in zip(_KINDS, self.COLUMNS, strict=True)
        ]
        return b"".join(len(column).to_bytes(_LENGTH, "little") + column for column in columns)

    @classmethod
    def unpack(cls, packed: bytes, names: Sequence[str] = COLUMNS) -> AcceptedFlowIndex:
        """Read columns that ``pack`` wrote; ``names`` are their names.

        Columns that another version added are ignored. Missing columns of times or flags count as
        not logged.

        Raises
        ------
        ValueError, KeyError, zlib.error
            The bytes are not such columns, or have no hashes.
        """
        unpacked = cls()
        by_name = dict(zip(names, _split(packed), strict=True))
        columns = (by_name["hashes"], *map(by_name.get, cls.COLUMNS[1:]))
        lengths = {
            len(_uncompressed(kind, column))
            for kind, column in zip(_KINDS, columns, strict=True)
            if column is not None
        }
        if len(lengths) != 1:
            raise ValueError("columns of different lengths")
        unpacked._packed.append(columns)
        return unpacked


def _or_absent(value: int | None) -> int:
    return NOT_LOGGED if value is None else value


def _or_none(value: int) -> int | None:
    return None if value == NOT_LOGGED else value


def _rows_of(
    columns: Sequence[AcceptedFlows], required: AbstractSet[int]
) -> Iterator[tuple[int, int, int, int]]:
    """Iterate over the rows (hash, start, end, flags) of the flows with these hashes."""
    few = [flows for flows in columns if isinstance(flows.hashes, array)]
    for flows in few:
        for row, hashed in enumerate(flows.hashes):
            if hashed in required:
                yield hashed, flows.starts[row], flows.ends[row], flows.flags[row]
    if len(few) < len(columns):
        # Columns of numpy exist only where it is loaded already.
        from flowverdict.flows import accepted_numpy  # noqa: PLC0415 - as above

        yield from accepted_numpy.rows_of(
            [flows for flows in columns if not isinstance(flows.hashes, array)], required
        )


def _add_rows(
    found: defaultdict[int, set[int]],
    services: AbstractSet[int],
    column: Column,
    hashes: Callable[[], Column],
) -> None:
    """Add the hashes of the rows that go to one of the services; they are read if there are any."""
    if isinstance(column, array) and (len(column) < _MANY_ROWS or "numpy" not in sys.modules):
        rows = [row for row, service in enumerate(column) if service in services]
        if rows:
            known = hashes()
            for row in rows:
                found[column[row]].add(known[row])
        return
    from flowverdict.flows import accepted_numpy  # noqa: PLC0415 - as above

    for service, hashed in accepted_numpy.of_services(column, services, hashes):
        found[service].add(hashed)


def _summed_up(columns: Sequence[AcceptedFlows]) -> AcceptedFlows:
    """Merge the rows of each flow; sort them by hash."""
    if not all(isinstance(flows.hashes, array) for flows in columns):
        from flowverdict.flows import accepted_numpy  # noqa: PLC0415 - as above

        return accepted_numpy.summed_up(columns)
    rows = sorted(
        row
        for flows in columns
        for row in zip(
            flows.hashes, flows.starts, flows.ends, flows.flags, flows.services, strict=True
        )
    )
    # Often true of few lines; then no object is needed for each row.
    if all(row[0] != following[0] for row, following in pairwise(rows)):
        return AcceptedFlows(
            **{
                name: array(kind, values)
                for name, kind, values in zip(
                    AcceptedFlowIndex.COLUMNS,
                    _KINDS,
                    zip(*rows, strict=True) if rows else repeat(()),
                    strict=False,
                )
            }
        )
    table: dict[int, Activity] = {}
    services: dict[int, int] = {}
    for hashed, start, end, flags, service in rows:
        table.setdefault(hashed, Activity()).widen(_or_none(start), _or_none(end), _or_none(flags))
        services[hashed] = service
    return _columns_of(table, services)


def _columns_of(table: Mapping[int, Activity], services: Mapping[int, int]) -> AcceptedFlows:
    rows = sorted(table.items())
    return AcceptedFlows(
        hashes=array("Q", (hashed for hashed, _ in rows)),
        starts=array("q", (_or_absent(seen.first_start) for _, seen in rows)),
        ends=array("q", (_or_absent(seen.last_end) for _, seen in rows)),
        flags=array("i", (_or_absent(seen.tcp_flags) for _, seen in rows)),
        services=array("I", (services[hashed] for hashed, _ in rows)),
    )


def _compressed(kind: str, values: Column) -> bytes:
    # ``values`` is an array, or a numpy column whose items have as many bytes.
    column = array(kind)
    column.frombytes(memoryview(values).cast("B"))
    if sys.byteorder == "big":
        column.byteswap()
    return zlib.compress(column.tobytes(), 1)


def _hashes_in(packed: tuple[bytes | None, ...]) -> array[int]:
    hashes = packed[0]
    if hashes is None:  # unpack sees to it
        raise ValueError("columns without hashes")
    return _uncompressed(_KINDS[0], hashes)


def _activity_in(packed: tuple[bytes | None, ...], size: int) -> list[array[int]]:
    """Return the columns of starts, ends and flags."""
    return [
        array(kind, [NOT_LOGGED]) * size if column is None else _uncompressed(kind, column)
        for kind, column in zip(_KINDS[1:_SERVICES], packed[1:_SERVICES], strict=True)
    ]


def _uncompressed(kind: str, packed: bytes) -> array[int]:
    column = array(kind)
    column.frombytes(zlib.decompress(packed))
    if sys.byteorder == "big":
        column.byteswap()
    return column


def _split(packed: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(packed):
        length = int.from_bytes(packed[at : at + _LENGTH], "little")
        yield packed[at + _LENGTH : at + _LENGTH + length]
        at += _LENGTH + length
