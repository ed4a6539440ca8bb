"""Hand on what columns of checked records say: to a sink, whichever way the columns were read.

``column_reader`` reads the columns of text, ``parquet_columns`` those of Parquet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flowverdict.flowlog.column_fields import are_v4
from flowverdict.flowlog.column_interfaces import MEMO_BITS, Interfaces, first_place, second_place
from flowverdict.flowlog.columnar import (
    NOT_LOGGED,
    WINDOW,
    AcceptedFlows,
    RejectedLines,
    Windows,
    canonical_address,
)
from flowverdict.flowlog.flow_hash_numpy import Seed, narrow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flowverdict.flowlog.column_fields import Fields
    from flowverdict.flowlog.columnar import Sink
    from flowverdict.flowlog.flow_hash_numpy import Flags, Integers, Tokens, Words
    from flowverdict.flowlog.line_reader import LineReader
    from flowverdict.flowlog.records import RecordFormat

    type Text = Callable[[int, int], bytes]


_NOT_LOGGED = np.int32(NOT_LOGGED)
# After a block of this size was freed once, glibc keeps twice as much memory for later allocations.
# Otherwise each chunk's columns go back to the system: a quarter of the run time was page faults.
_FREED_ONCE_BYTES = 1 << 24


class ColumnSink:
    """Hands the records of one file to a sink, and counts them.

    Parameters
    ----------
    seed
        Where the hashes of the keys begin.
    windows
        Numbers the windows that records ended in; without it every record is in window 0.
    text
        Returns the bytes of a word, from its start in the buffer and its length.
    """

    def __init__(
        self, reader: LineReader, sink: Sink, *, seed: int, windows: Windows | None, text: Text
    ) -> None:
        np.empty(_FREED_ONCE_BYTES, np.uint8)
        self._reader = reader
        self._sink = sink
        self._seed = Seed.of(seed)
        self._windows = Windows(apart=False) if windows is None else windows
        self._text = text
        self._interfaces: dict[int, Interfaces] = {}

    def hand_over(
        self,
        record_format: RecordFormat,
        fields: Fields,
        rows: Integers,
        lines: Callable[[Integers], bytes],
    ) -> None:
        """Hand over the records of some rows; ``lines`` returns the lines of rejected ones."""
        accepts = int(np.count_nonzero(fields.accepted[rows]))
        self._reader.counts.accepted += accepts
        self._reader.counts.rejected += rows.size - accepts
        interfaces, hashes, services = fields.hashes(self._seed)
        starts, ends = fields.times.get("start"), fields.times.get("end", fields.times.get("start"))
        for window, window_rows in self._by_window(ends, rows):
            facts = self._interfaces.setdefault(window, Interfaces(self._text))
            facts.learn(fields, interfaces, window_rows)
            is_accepted = fields.accepted[window_rows]
            if (rejected := window_rows[~is_accepted]).size:
                related = fields.related(rejected, self._seed).tobytes()
                flows = RejectedLines(
                    record_format=record_format,
                    hashes=hashes[rejected],
                    related=related,
                    text=lines(rejected),
                )
                self._sink.rejected(window, flows)
            accepted = window_rows[is_accepted] if rejected.size else window_rows
            if accepted.size:
                not_logged = np.broadcast_to(_NOT_LOGGED, accepted.size)  # takes no memory
                columns = AcceptedFlows(
                    hashes=hashes[accepted],
                    starts=not_logged if starts is None else narrow(starts[accepted], np.int32),
                    ends=not_logged if ends is None else narrow(ends[accepted], np.int32),
                    flags=not_logged
                    if fields.flags is None
                    else narrow(fields.flags[accepted], np.int16),
                    services=services[accepted],
                )
                self._sink.accepted(window, columns)

    def _by_window(self, ends: Integers | None, rows: Integers) -> Iterator[tuple[int, Integers]]:
        """Yield the number and the rows of each window."""
        if ends is None or not self._windows.are_apart:
            yield 0, rows
            return
        numbers = ends[rows] // WINDOW
        first = numbers.min()
        # Counting takes a tenth of the time of sorting, but as many places as there are numbers.
        if numbers.max() - first < numbers.size:
            distinct = np.flatnonzero(np.bincount(numbers - first)) + first
        else:
            distinct = np.unique(numbers)
        stand_for = np.array([self._windows.numbered(number) for number in distinct.tolist()])[
            np.searchsorted(distinct, numbers)
        ]
        for number in np.unique(stand_for).tolist():
            yield number, rows[stand_for == number]

    def finish(self) -> None:
        """Hand the facts of each interface and window to the sink."""
        for window, interfaces in self._interfaces.items():
            interfaces.hand_over(window, self._sink)


class KnownAddresses:
    """Says which words are addresses, and remembers recent ones; ``text`` as for ``ColumnSink``."""

    def __init__(self, text: Text) -> None:
        self._text = text
        self._known: Words = np.zeros(1 << MEMO_BITS, np.uint64)

    def are_addresses(self, tokens: Tokens, identities: Words) -> Flags:
        """Whether words are addresses as ``ipaddress`` spells them; recent addresses are cached.

        ``identities`` are 64 bits that stand for each word.
        """
        known: Flags = self._known[first_place(identities)] == identities
        unknown = np.flatnonzero(~known)
        known[unknown] = self._known[second_place(identities[unknown])] == identities[unknown]
        unknown = unknown[~known[unknown]]
        if not unknown.size:
            return known
        lengths = tokens.lengths[unknown]
        valid = are_v4(tokens.first[unknown], tokens.second[unknown], lengths)
        others = np.flatnonzero(~valid)
        if others.size:
            distinct, rows, where = np.unique(
                identities[unknown[others]], return_index=True, return_inverse=True
            )
            places = unknown[others[rows]]
            texts = zip(
                tokens.starts[places].tolist(), tokens.lengths[places].tolist(), strict=True
            )
            canonical = np.fromiter(
                (canonical_address(self._text(*place)) is not None for place in texts),
                np.bool_,
                distinct.size,
            )
            valid[others] = canonical[where]
        known[unknown] = valid
        new = identities[unknown[valid]]
        # An address that is replaced moves to its second place in the cache; otherwise nearly every
        # chunk would have some addresses to check again.
        moved = self._known[first_place(new)]
        self._known[second_place(moved)] = moved
        self._known[first_place(new)] = new
        return known


def texts_of(buffer: bytearray) -> Text:
    """Return what copies text from the buffer, by its start and length.

    A method of the reader would make the reader and its interfaces refer to each other, and the
    garbage collector, which runs rarely, would have to free the reader's buffers.
    """
    return lambda start, length: bytes(buffer[start : start + length])
