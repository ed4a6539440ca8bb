"""Read the records of a Parquet file from columns, as ``column_reader`` reads those of text."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from flowverdict.flowlog.column_fields import (
    ADDRESSES,
    KEY_INTEGERS,
    PACKET_FIELDS,
    Fields,
    have_colon,
)
from flowverdict.flowlog.column_sink import ColumnSink, KnownAddresses, texts_of
from flowverdict.flowlog.fields import MAX_PORT
from flowverdict.flowlog.flow_hash_numpy import (
    MAX_TOKEN,
    PADDING,
    UINT64,
    Tokens,
    aligned_words,
)
from flowverdict.flowlog.line_reader import MAX_LINE_BYTES
from flowverdict.flowlog.parquet_query import KIND, LINE, Kind
from flowverdict.flowlog.records import ABSENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from flowverdict.flowlog.arrow import Batch
    from flowverdict.flowlog.columnar import Sink, Windows
    from flowverdict.flowlog.flow_hash_numpy import Flags, Integers, Words
    from flowverdict.flowlog.line_reader import LineReader


ROWS = 16_384  # that are read at once: their columns fit into the processor's cache


@cache
def _decimals() -> Words:
    """Return the word of each port's number as text."""
    rest = np.arange(MAX_PORT + 1, dtype=np.uint64)
    words = np.zeros_like(rest)
    more = np.ones_like(rest, np.bool_)
    while more.any():
        words[more] = words[more] << UINT64(8) | rest[more] % UINT64(10) + UINT64(ord("0"))
        rest //= UINT64(10)
        more = rest > 0
    return words


class _ParquetFields(Fields):
    """The columns of some rows of a batch; ``regular`` rows have no address that is none.

    Parameters
    ----------
    rows
        Which rows of the batch.
    buffer
        Where the texts are put, from the second byte on; the first is ``-``.
    words
        The words of the buffer; see ``aligned_words``.
    """

    def __init__(
        self,
        batch: Batch,
        rows: slice,
        buffer: np.ndarray[tuple[int], np.dtype[np.uint8]],
        words: Words,
        are_addresses: Callable[[Tokens, Words], Flags],
    ) -> None:
        self._batch = batch
        self._rows = rows
        self._texts: dict[str, tuple[Integers, Integers]] = {}
        size = rows.stop - rows.start
        at = 1
        integers: dict[str, Integers] = {}
        for name in batch.columns.keys() - {KIND, LINE}:
            if name in KEY_INTEGERS or name in _NUMBERS:
                integers[name] = batch.integers(name)[rows].astype(np.int64)
                continue
            column = batch.text(name)
            offsets = column.offsets[rows.start : rows.stop + 1].astype(np.int64)
            begin, end = int(offsets[0]), int(offsets[-1])
            # A zero would pass for the end of a word.
            np.maximum(column.data[begin:end], 1, out=buffer[at : at + end - begin])
            starts, lengths = offsets[:-1] + (at - begin), np.diff(offsets)
            if column.valid is not None and not (valid := column.valid[rows]).all():
                starts[~valid], lengths[~valid] = 0, 1
            self._texts[name] = starts, lengths
            at += end - begin
        self._integers = integers
        kinds = batch.integers(KIND)[rows]
        self.accepted = kinds != Kind.REJECTED
        self.regular = kinds != Kind.LINE
        super().__init__(words, size, self._texts.keys() | integers.keys(), are_addresses)
        self.times = {name: integers[name] for name in ("start", "end") if name in integers}
        if "tcp-flags" in integers:
            self.flags = integers["tcp-flags"].astype(np.int32)
        self.read_addresses()

    def tokens(self, *names: str) -> Tokens:
        """Return the words of a field, or of several fields of text in sequence."""
        if names[0] not in KEY_INTEGERS:
            return super().tokens(*names)
        # Whatever a row that is not regular has. No number has more than a word, so that its length
        # matters to nobody.
        words = _decimals().take(self._integers[names[0]] & MAX_PORT)
        zeros = np.zeros(self.size, np.int64)
        return Tokens(zeros, zeros, words, zeros.view(np.uint64))

    def are_v4(self) -> Flags:
        """Whether all addresses of regular rows are IPv4, or ``-`` at the level of packets."""
        v4 = self.regular.copy()
        for name in (*ADDRESSES, *PACKET_FIELDS):
            if name in self._texts:
                v4 &= ~have_colon(self.tokens(name).first)
        return v4

    def _places(self, *names: str) -> tuple[Integers, Integers]:
        starts, lengths = zip(*(self._texts[name] for name in names), strict=True)
        return np.concatenate(starts), np.concatenate(lengths)


_NUMBERS = ("start", "end", "tcp-flags")


class ParquetReader:
    """Reads the records of one file into a sink; the reader has the format of the lines.

    Parameters
    ----------
    kinds
        The columns of the batches.
    lines
        Returns the lines that batches lack, in their order; see ``parquet_query.Query``.
    """

    def __init__(  # noqa: PLR0913 - as column_reader.read_columns
        self,
        reader: LineReader,
        sink: Sink,
        *,
        seed: int,
        windows: Windows | None,
        kinds: Mapping[str, str],
        lines: Callable[[], Iterator[bytes]],
    ) -> None:
        self._reader = reader
        self._sink = sink
        self._has_columns = len(kinds) > len((KIND, LINE))
        buffer = bytearray(1 + ROWS * MAX_TOKEN * list(kinds.values()).count("u") + PADDING)
        buffer[:1] = ABSENT.encode()
        self._bytes = np.frombuffer(buffer, np.uint8)
        self._words = aligned_words(buffer)
        self._known = KnownAddresses(texts_of(buffer))
        self._columns = ColumnSink(reader, sink, seed=seed, windows=windows, text=texts_of(buffer))
        self._lines = lines
        self._lacking: Iterator[bytes] | None = None
        self._passed = 0  # lacking lines that were not asked for since the last that was

    def read(self, batch: Batch, begin: int, end: int) -> None:
        """Read some rows of a batch, at most ``ROWS``."""
        rows = slice(begin, end)
        kinds = batch.integers(KIND)[rows]
        lines = batch.text(LINE)
        fields = None
        regular = lacks = np.zeros(end - begin, np.bool_)
        if lines.valid is not None:
            lacks = ~lines.valid[rows]
        if self._has_columns:
            fields = _ParquetFields(
                batch, rows, self._bytes, self._words, self._known.are_addresses
            )
            # A long rejected record is read by its line.
            regular = fields.regular & ~(lacks & (kinds == Kind.REJECTED))
            lacks &= (kinds != Kind.ACCEPTED) | ~fields.are_v4()
        done = 0
        passed = np.concatenate(([0], np.cumsum(lacks)))
        counted = 0
        for row in np.flatnonzero(~regular).tolist():
            self._reader.pass_over(row - done)
            if lacks[row]:
                self._passed += int(passed[row]) - counted
                line = self._next_lacking()
                counted = int(passed[row]) + 1
            else:
                line = lines.text(begin + row) or b""
            self._read_line(line)
            done = row + 1
        self._passed += int(passed[-1]) - counted
        self._reader.pass_over(end - begin - done)
        if fields is not None and (some := np.flatnonzero(regular)).size:
            self._columns.hand_over(
                self._reader.formats[0],
                fields,
                some,
                lambda rejected: b"\n".join(lines.texts(rejected + begin)),
            )

    def finish(self) -> None:
        """Hand what was learned about interfaces to the sink."""
        self._columns.finish()

    def _read_line(self, line: bytes) -> None:
        if len(line) > MAX_LINE_BYTES:
            self._reader.skip_overlong()
        elif (record := self._reader.read(line)) is not None:
            self._sink.record(record)

    def _next_lacking(self) -> bytes:
        """Return the line after those that were passed by."""
        if self._lacking is None:
            self._lacking = self._lines()
        for _ in range(self._passed):
            next(self._lacking)
        self._passed = 0
        return next(self._lacking)
