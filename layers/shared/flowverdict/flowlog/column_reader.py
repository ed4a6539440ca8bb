"""Read big text flow logs by column, a chunk at a time.

Nearly all lines of a flow log are accepted traffic, of which little is needed. Lines that are valid
records in this program's own spelling are *regular*: they are checked and hashed by the thousand
with numpy, and of rejected lines the text is handed on. ``LineReader`` reads every other line:
without data, malformed, a header, or in another spelling (``080``, two blanks, an IPv6 address in
capitals). So one class alone decides what a line is. Tests compare the results of both ways.
"""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from isal import igzip, igzip_lib

from flowverdict.flowlog.column_fields import Fields, Layout, are_v4, layout_of
from flowverdict.flowlog.column_interfaces import MEMO_BITS, Interfaces, first_place, second_place
from flowverdict.flowlog.columnar import (
    NOT_LOGGED,
    WINDOW,
    AcceptedFlows,
    RejectedLines,
    Windows,
    canonical_address,
)
from flowverdict.flowlog.flow_hash_numpy import (
    PADDING,
    Flags,
    Integers,
    Seed,
    Tokens,
    Words,
    every_word,
    narrow,
)
from flowverdict.flowlog.line_reader import (
    MAX_LINE_BYTES,
    LineReader,
    first_record,
    lines_of,
    plain_bytes,
    unpacking,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flowverdict.flowlog.columnar import Sink
    from flowverdict.flowlog.line_reader import BufferedBytes
    from flowverdict.flowlog.records import RecordFormat


CHUNK_BYTES = 1 << 21
# After a block of this size was freed once, glibc keeps twice as much memory for later allocations.
# Otherwise each chunk's columns go back to the system: a quarter of the run time was page faults.
_FREED_ONCE_BYTES = 1 << 24
# Lines that are read individually after a header, so that a file of nothing but headers costs no
# more than one that is read line by line.
_LINES_AFTER_HEADER = 64

_MAX_REGULAR_LINE = 2_048  # bytes; no text in such a line can be too long

_NOT_LOGGED = np.int32(NOT_LOGGED)
_BLANK, _NEWLINE, _DASH = 0x20, 0x0A, 0x2D
_PRINTABLE_FROM, _PRINTABLES = 0x21, 0x7E - 0x21


def read_columns(  # noqa: PLR0913 - all but stream and sink are options
    stream: BinaryIO,
    sink: Sink,
    *,
    name: str,
    reader: LineReader | None = None,
    headerless: tuple[RecordFormat, ...] = (),
    seed: int = 0,
    windows: Windows | None = None,
) -> None:
    """Read one text flow log file, gzipped or not, into a sink.

    Parameters
    ----------
    stream
        The file's bytes, read forward only.
    name
        The file's name in errors: ``s3://bucket/key`` or a path.
    reader
        Counts the lines; pass a reader to use its counts and samples afterwards.
    headerless
        Formats to assume if the first line is a record. Files in S3 always have a header, pasted
        lines do not.
    seed
        Where the hashes of the keys begin.
    windows
        Numbers the windows that records ended in; without it every record is in window 0.

    Raises
    ------
    NotAFlowLogError
        The file is empty, or its first line is neither a header nor (if allowed) a record.
    ObjectError
        The gzip is truncated or broken.
    """
    reader = reader if reader is not None else LineReader(headerless)
    chunks = _ChunkReader(reader, sink, seed, Windows(apart=False) if windows is None else windows)
    plain = plain_bytes(stream, _Gunzip)
    lines = lines_of(plain, reader, name)
    for record in first_record(lines, reader, name, headerless):
        sink.record(record)
    with unpacking(name):
        chunks.read(plain)
    for window, interfaces in chunks.interfaces.items():
        interfaces.hand_over(window, sink)


class _Gunzip(igzip.IGzipFile):
    """ISA-L's gzip reader with the standard library's errors.

    ISA-L raises ``OverflowError`` for a file name in the gzip header that exceeds its buffer.
    """

    def read(self, size: int | None = -1) -> bytes:
        try:
            return super().read(size)
        except (igzip_lib.IsalError, OverflowError) as error:  # type: ignore[misc]  # the stub declares an instance
            raise gzip.BadGzipFile(str(error)) from error


class _ChunkReader:
    """Reads the chunks of one file into columns."""

    def __init__(self, reader: LineReader, sink: Sink, seed: int, windows: Windows) -> None:
        np.empty(_FREED_ONCE_BYTES, np.uint8)
        self._reader = reader
        self._sink = sink
        self._seed = Seed.of(seed)
        self._windows = windows
        self._buffer = bytearray(MAX_LINE_BYTES + CHUNK_BYTES + PADDING)
        self._text = _texts_of(self._buffer)
        self._bytes = np.frombuffer(self._buffer, np.uint8)
        self._words = every_word(self._buffer)
        self._shifted = np.empty(len(self._buffer), np.uint8)
        self._is_stop = np.empty(len(self._buffer), np.bool_)
        self._single_lines = 0  # lines to read individually before the next columns
        self._known_addresses: Words = np.zeros(1 << MEMO_BITS, np.uint64)
        self.interfaces: dict[int, Interfaces] = {}

    def read(self, stream: BufferedBytes) -> None:
        """Read the rest of a file."""
        view = memoryview(self._buffer)
        held = 0  # bytes at the start of the buffer, of a line whose end was not read yet
        overlong = False
        while size := stream.readinto(view[held : held + CHUNK_BYTES]):
            begin, end = 0, held + size
            if overlong:
                begin = self._buffer.find(b"\n", 0, end) + 1
                overlong = begin == 0
                if overlong:
                    continue
            whole = self._buffer.rfind(b"\n", max(begin, held), end) + 1
            if whole:
                self._read_lines(begin, whole)
                begin = whole
            self._buffer[: end - begin] = self._buffer[begin:end]
            held = end - begin
            if held > MAX_LINE_BYTES:
                self._reader.skip_overlong()
                overlong, held = True, 0
        if held:
            self._read_line(0, held)

    def _read_lines(self, begin: int, end: int) -> None:
        while begin < end:
            formats = self._reader.formats
            layout = layout_of(formats[0]) if len(formats) == 1 else None
            if layout is not None and not self._single_lines:
                begin = self._read_columns(layout, begin, end)
                continue
            line_end = self._buffer.index(b"\n", begin) + 1
            self._read_line(begin, line_end)
            self._single_lines = max(0, self._single_lines - 1)
            begin = line_end

    def _read_line(self, begin: int, end: int) -> None:
        if end - begin > MAX_LINE_BYTES:
            self._reader.skip_overlong()
            return
        formats = self._reader.formats
        if (record := self._reader.read(self._text(begin, end - begin))) is not None:
            self._sink.record(record)
        if self._reader.formats is not formats:
            self._single_lines = _LINES_AFTER_HEADER

    def _read_columns(self, layout: Layout, begin: int, end: int) -> int:
        """Read lines by column while they have one format; return where the next line begins."""
        size = end - begin
        np.subtract(self._bytes[begin:end], _PRINTABLE_FROM, out=self._shifted[:size])
        np.greater(self._shifted[:size], _PRINTABLES, out=self._is_stop[:size])
        stops = np.flatnonzero(self._is_stop[:size])
        stops += begin
        stopped_by = self._bytes[stops]
        newlines = stopped_by == _NEWLINE
        lasts = np.flatnonzero(newlines)
        line_ends = stops[lasts] + 1
        line_starts = np.concatenate(([begin], line_ends[:-1]))
        has_width = np.diff(lasts, prepend=-1) == layout.width
        if lasts.size + np.count_nonzero(stopped_by == _BLANK) < stops.size:
            odd_stops = np.flatnonzero(~newlines & (stopped_by != _BLANK))
            has_width[np.searchsorted(lasts, odd_stops)] = False
        lines = np.flatnonzero(has_width)
        if lines.size == lasts.size:
            table = stops.reshape(-1, layout.width)
        else:
            table = stops[lasts[lines][:, None] + np.arange(1 - layout.width, 1)]
        regular = line_ends[lines] - line_starts[lines] <= _MAX_REGULAR_LINE
        # Two blanks, or a line that begins with a blank: an empty word.
        blanks = np.logical_and(
            self._is_stop[: size - 1],
            self._is_stop[1:size],
            out=self._shifted[: size - 1].view(np.bool_),
        )
        if self._is_stop[0] or blanks.any():
            regular &= (np.diff(table, axis=1, prepend=line_starts[lines][:, None] - 1) > 1).all(
                axis=1
            )
        fields = Fields(self._words, layout, line_starts[lines], table, self._are_addresses)
        regular &= fields.regular
        is_regular = np.zeros(lasts.size, np.bool_)
        is_regular[lines[regular]] = True
        record_format = self._reader.formats[0]  # a header among the other lines replaces it
        read = self._read_others(np.flatnonzero(~is_regular), line_starts, line_ends)
        regular &= lines < read
        if (rows := np.flatnonzero(regular)).size:
            accepted = int(np.count_nonzero(fields.accepted[rows]))
            self._reader.counts.accepted += accepted
            self._reader.counts.rejected += rows.size - accepted
            self._hand_over(record_format, fields, rows, line_starts[lines], line_ends[lines] - 1)
        return int(line_ends[read - 1])

    def _read_others(self, others: Integers, line_starts: Integers, line_ends: Integers) -> int:
        """Read the irregular lines up to the first that changes the format.

        Returns the number of all lines up to there.
        """
        done: int = 0
        for number, begin, end in zip(
            others.tolist(), line_starts[others].tolist(), line_ends[others].tolist(), strict=True
        ):
            self._reader.pass_over(number - done)
            self._read_line(begin, end)
            done = number + 1
            if self._single_lines:
                return done
        lines = len(line_starts)
        self._reader.pass_over(lines - done)
        return lines

    def _hand_over(
        self,
        record_format: RecordFormat,
        fields: Fields,
        rows: Integers,
        line_begins: Integers,
        line_ends: Integers,
    ) -> None:
        interfaces, hashes = fields.hashes(self._seed)
        services = fields.services(interfaces, self._seed)
        starts, ends = fields.times.get("start"), fields.times.get("end", fields.times.get("start"))
        for window, window_rows in self._by_window(ends, rows):
            facts = self.interfaces.setdefault(window, Interfaces(self._text))
            facts.learn(fields, interfaces, window_rows)
            is_accepted = fields.accepted[window_rows]
            if (rejected := window_rows[~is_accepted]).size:
                text = b"\n".join(
                    map(self._line, line_begins[rejected].tolist(), line_ends[rejected].tolist())
                )
                related = fields.related(rejected, self._seed).tobytes()
                lines = RejectedLines(
                    record_format=record_format, hashes=hashes[rejected], related=related, text=text
                )
                self._sink.rejected(window, lines)
            accepted = window_rows[is_accepted] if rejected.size else window_rows
            if accepted.size:
                not_logged = np.broadcast_to(_NOT_LOGGED, accepted.size)  # takes no memory
                flows = AcceptedFlows(
                    hashes=hashes[accepted],
                    starts=not_logged if starts is None else narrow(starts[accepted], np.int32),
                    ends=not_logged if ends is None else narrow(ends[accepted], np.int32),
                    flags=not_logged
                    if fields.flags is None
                    else narrow(fields.flags[accepted], np.int16),
                    services=services[accepted],
                )
                self._sink.accepted(window, flows)

    def _line(self, begin: int, end: int) -> bytearray:
        return self._buffer[begin:end]

    def _by_window(self, ends: Integers | None, rows: Integers) -> Iterator[tuple[int, Integers]]:
        """Yield the number and the rows of each window."""
        if ends is None or not self._windows.are_apart:
            yield 0, rows
            return
        numbers = ends[rows] // WINDOW
        distinct = np.unique(numbers)
        stand_for = np.array([self._windows.numbered(number) for number in distinct.tolist()])[
            np.searchsorted(distinct, numbers)
        ]
        for number in np.unique(stand_for).tolist():
            yield number, rows[stand_for == number]

    def _are_addresses(self, tokens: Tokens, identities: Words) -> Flags:
        """Whether words are addresses as ``ipaddress`` spells them; recent addresses are cached.

        ``identities`` are 64 bits that stand for each word.
        """
        known: Flags = self._known_addresses[first_place(identities)] == identities
        unknown = np.flatnonzero(~known)
        known[unknown] = (
            self._known_addresses[second_place(identities[unknown])] == identities[unknown]
        )
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
        moved = self._known_addresses[first_place(new)]
        self._known_addresses[second_place(moved)] = moved
        self._known_addresses[first_place(new)] = new
        return known


def _texts_of(buffer: bytearray) -> Callable[[int, int], bytes]:
    """Return what copies text from the buffer, by its start and length.

    A method of the reader would make the reader and its interfaces refer to each other, and the
    garbage collector, which runs rarely, would have to free the reader's buffers.
    """
    return lambda start, length: bytes(buffer[start : start + length])
