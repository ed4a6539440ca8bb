"""Text flow logs read a chunk at a time, by column: for big files.

Nearly all lines of a flow log are accepted traffic of which little is wanted. Lines that are surely fine records, and written as
this program would write them, are checked and hashed by the thousand with numpy; of the rejected ones the text is handed on. Every
other line - without data, malformed, a header, or only unusual (``080``, two blanks, an IPv6 address in capitals) - goes to
``LineReader``, which stays the one place that says what a line is. Tests hold both ways to the same result.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from isal import igzip, igzip_lib

from flowverdict import keyhash
from flowverdict.fields import FIELDS, MAX_INT_64, MAX_PORT, MAX_PROTOCOL, FieldKind
from flowverdict.records import ABSENT
from flowverdict.sources.accepted import (
    NOT_LOGGED,
    RELATED_BYTES,
    WINDOW,
    AcceptedFlows,
    InterfaceFacts,
    RejectedLines,
    Windows,
    canonical_address,
)
from flowverdict.sources.text import MAX_LINE_BYTES, LineReader, first_record, lines_of, plain_bytes, unpacking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from flowverdict.flows import FlowKey
    from flowverdict.records import Address, RecordFormat
    from flowverdict.sources.accepted import Sink
    from flowverdict.sources.text import BufferedBytes

    type Words = np.ndarray[Any, np.dtype[np.uint64]]
    type Integers = np.ndarray[Any, np.dtype[np.int64]]
    type Flags = np.ndarray[Any, np.dtype[np.bool_]]

CHUNK_BYTES = 1 << 21
# Freed once, a block of this size has glibc keep twice as much for what is allocated next, instead of giving a chunk's columns
# back to the system every time: a quarter of the run time was page faults.
_KEPT_BYTES = 1 << 24
# Lines that are read one by one after a header, so that a file of nothing but headers costs no more than a slow one.
_LINES_AFTER_HEADER = 64
# A line may be read past its end by the words of its last token.
_PADDING = 128
_MAX_FINE_LINE = 2_048  # no text in it can be too long
_MAX_TOKEN = 64  # of what is hashed: an interface's or a subnet's id
_MAX_ADDRESS = 39
_MEMO_BITS = 16

_WORD = keyhash.WORD
_BLANK, _NEWLINE, _DASH = 0x20, 0x0A, 0x2D
_PRINTABLE_FROM, _PRINTABLES = 0x21, 0x7E - 0x21
_EPOCH_DIGITS = 10  # until the year 2286
_FLAG_DIGITS = 3


def _repeated(byte: int) -> np.uint64:
    return np.uint64(byte * 0x0101010101010101)


def _word(text: bytes) -> np.uint64:
    return np.uint64(int.from_bytes(text, "little"))


_U = np.uint64
_MASKS = np.array([(1 << 8 * length) - 1 for length in range(_WORD + 1)], np.uint64)
_TO_TOP = np.array([8 * (_WORD - length) if length else 0 for length in range(_WORD + 1)], np.uint64)
_ZEROS, _OVER_NINE, _TOP_BITS, _COLONS, _LOW_SEVEN = (_repeated(byte) for byte in (0x30, 0x76, 0x80, 0x3A, 0x7F))
_MULTIPLIER, _HALF = _U(keyhash.MULTIPLIER), _U(32)
_AFTER_FIELD = np.array(keyhash.AFTER_FIELD, np.uint64)
_ACCEPT, _REJECT, _OK = (_word(text) for text in (b"ACCEPT", b"REJECT", b"OK"))
_INGRESS, _EGRESS, _ABSENT = (_word(text) for text in (b"ingress", b"egress", b"-"))
_SAME = _word(keyhash.SAME)


def _mixed(words: Words) -> Words:
    """Multiply and shift a column as ``keyhash`` does; it is overwritten."""
    words *= _MULTIPLIER
    words ^= words >> _HALF
    return words


def _after_field(state: Words, index: int) -> Words:
    state += _AFTER_FIELD[index]
    return _mixed(state)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the columns that matter stand in a format's lines.

    ``integers`` begin with those of the key, then ``tcp-flags``; start and end are read by themselves.
    """

    width: int
    at: dict[str, int]
    integers: tuple[str, ...]
    digits: Integers
    keys: int
    maximum: Words
    times: tuple[str, ...]


_KEY_INTEGERS = {"srcport": MAX_PORT, "dstport": MAX_PORT, "protocol": MAX_PROTOCOL}
_PACKET_ADDRESSES = ("pkt-srcaddr", "pkt-dstaddr")
_ADDRESSES = ("srcaddr", "dstaddr")
_INTERFACES = {"interface-id", "resource-id"}
_IDENTIFIERS = {*_INTERFACES, "vpc-id", "subnet-id"}
_TIMES = ("start", "end")


def _fine_digits(name: str) -> int:
    """How many digits an integer may have to be surely within its field's range; the key's are compared besides."""
    if name == "tcp-flags":
        return _FLAG_DIGITS
    maximum = _KEY_INTEGERS.get(name, FIELDS[name].maximum)
    return 2 * _WORD if maximum == MAX_INT_64 else min(len(str(maximum)), _WORD)


@lru_cache(maxsize=16)
def _layout(record_format: RecordFormat) -> _Layout | None:
    """Plan how a format is read; ``None`` where no line can be an accepted record, or none says of which interface."""
    at = {name: index for index, name in enumerate(record_format.names)}
    if "action" not in at or not _INTERFACES & at.keys() or record_format.is_transit_gateway:
        return None
    named = [name for name in at if name in FIELDS and FIELDS[name].kind is FieldKind.INTEGER and name not in _TIMES]
    integers = sorted(named, key=lambda name: (name not in _KEY_INTEGERS, name != "tcp-flags"))
    keys = [name for name in integers if name in _KEY_INTEGERS]
    return _Layout(
        width=len(at),
        at=at,
        integers=tuple(integers),
        digits=np.array([_fine_digits(name) for name in integers], np.int64)[:, None],
        keys=len(keys),
        maximum=np.array([_KEY_INTEGERS[name] for name in keys], np.uint64)[:, None],
        times=tuple(name for name in _TIMES if name in at),
    )


def read_columns(  # noqa: PLR0913 - text.read_file's, and what its columns need besides
    stream: BinaryIO,
    sink: Sink,
    *,
    name: str,
    reader: LineReader | None = None,
    headerless: tuple[RecordFormat, ...] = (),
    seed: int = 0,
    windows: Windows | None = None,
) -> None:
    """Read one text flow log file into a sink; what ``text.read_file`` yields, with most accepted records as columns.

    Parameters
    ----------
    stream, name, reader, headerless
        As for ``text.read_file``, whose errors are raised as well.
    seed
        What the keys' hashes begin with.
    windows
        What tells windows apart; all is in window 0 without.
    """
    reader = reader if reader is not None else LineReader(headerless)
    columns = _Columns(reader, sink, seed, Windows(apart=False) if windows is None else windows)
    plain = plain_bytes(stream, _Gunzip)
    lines = lines_of(plain, reader, name)
    for record in first_record(lines, reader, name, headerless):
        sink.record(record)
    with unpacking(name):
        columns.read(plain)
    for window, interfaces in columns.interfaces.items():
        interfaces.hand_over(window, sink)


class _Gunzip(igzip.IGzipFile):
    """ISA-L's reader with the standard library's errors; a header's name that is longer than its buffer overflows."""

    def read(self, size: int | None = -1) -> bytes:
        try:
            return super().read(size)
        except (igzip_lib.IsalError, OverflowError) as error:  # type: ignore[misc]  # its stub has an instance for a class
            raise gzip.BadGzipFile(str(error)) from error


@dataclass(slots=True)
class _Tokens:
    """One column of words: where they start, how long they are (as far as that matters), and their first 16 bytes."""

    starts: Integers
    lengths: Integers
    first: Words
    second: Words

    def part(self, rows: slice | Integers) -> _Tokens:
        """Give some of them."""
        return _Tokens(self.starts[rows], self.lengths[rows], self.first[rows], self.second[rows])

    def seen(self, identities: Words) -> _Seen:
        """Give them under 64 bits each."""
        return _Seen(identities, self.starts, self.lengths)


class _Columns:
    """One file's chunks to columns."""

    def __init__(self, reader: LineReader, sink: Sink, seed: int, windows: Windows) -> None:
        np.empty(_KEPT_BYTES, np.uint8)
        self._reader = reader
        self._sink = sink
        self._seed = _U(seed & keyhash.MASK)
        self._windows = windows
        self._buffer = bytearray(MAX_LINE_BYTES + CHUNK_BYTES + _PADDING)
        self._bytes = np.frombuffer(self._buffer, np.uint8)
        self._words = _every_word(self._buffer)
        self._shifted = np.empty(len(self._buffer), np.uint8)
        self._no_print = np.empty(len(self._buffer), np.bool_)
        self._one_by_one = 0
        self._known_addresses: Words = np.zeros(1 << _MEMO_BITS, np.uint64)
        self.interfaces: dict[int, _Interfaces] = {}

    def read(self, stream: BufferedBytes) -> None:
        """Read all that is left of a file."""
        view = memoryview(self._buffer)
        held = 0  # bytes of a line whose end was not read yet
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

    def _text(self, start: int, length: int) -> bytes:
        return bytes(self._buffer[start : start + length])

    def _read_lines(self, begin: int, end: int) -> None:
        while begin < end:
            formats = self._reader.formats
            layout = _layout(formats[0]) if len(formats) == 1 else None
            if layout is not None and not self._one_by_one:
                begin = self._read_columns(layout, begin, end)
                continue
            line_end = self._buffer.index(b"\n", begin) + 1
            self._read_line(begin, line_end)
            self._one_by_one = max(0, self._one_by_one - 1)
            begin = line_end

    def _read_line(self, begin: int, end: int) -> None:
        if end - begin > MAX_LINE_BYTES:
            self._reader.skip_overlong()
            return
        formats = self._reader.formats
        if (record := self._reader.read(self._text(begin, end - begin))) is not None:
            self._sink.record(record)
        if self._reader.formats is not formats:
            self._one_by_one = _LINES_AFTER_HEADER

    def _read_columns(self, layout: _Layout, begin: int, end: int) -> int:
        """Read lines by column as far as they have one format, and say how far that was."""
        size = end - begin
        np.subtract(self._bytes[begin:end], _PRINTABLE_FROM, out=self._shifted[:size])
        np.greater(self._shifted[:size], _PRINTABLES, out=self._no_print[:size])
        stops = np.flatnonzero(self._no_print[:size])
        stops += begin
        stopped_by = self._bytes[stops]
        newlines = stopped_by == _NEWLINE
        lasts = np.flatnonzero(newlines)
        line_ends = stops[lasts] + 1
        line_starts = np.concatenate(([begin], line_ends[:-1]))
        regular = np.diff(lasts, prepend=-1) == layout.width
        if lasts.size + np.count_nonzero(stopped_by == _BLANK) < stops.size:
            regular[np.searchsorted(lasts, np.flatnonzero(~newlines & (stopped_by != _BLANK)))] = False
        lines = np.flatnonzero(regular)
        if lines.size == lasts.size:
            table = stops.reshape(-1, layout.width)
        else:
            table = stops[lasts[lines][:, None] + np.arange(1 - layout.width, 1)]
        fine = line_ends[lines] - line_starts[lines] <= _MAX_FINE_LINE
        # Two blanks, or a line that begins with one: an empty word.
        blanks = np.logical_and(self._no_print[: size - 1], self._no_print[1:size], out=self._shifted[: size - 1].view(np.bool_))
        if self._no_print[0] or blanks.any():
            fine &= (np.diff(table, axis=1, prepend=line_starts[lines][:, None] - 1) > 1).all(axis=1)
        fields = _Fields(self._words, layout, line_starts[lines], table, self._are_addresses)
        fine &= fields.fine
        is_fine = np.zeros(lasts.size, np.bool_)
        is_fine[lines[fine]] = True
        record_format = self._reader.formats[0]  # which a header among the others changes for what comes after it
        read = self._read_others(np.flatnonzero(~is_fine), line_starts, line_ends)
        fine &= lines < read
        if (rows := np.flatnonzero(fine)).size:
            accepted = int(np.count_nonzero(fields.accepted[rows]))
            self._reader.counts.accepted += accepted
            self._reader.counts.rejected += rows.size - accepted
            self._hand_over(record_format, fields, rows, line_starts[lines], line_ends[lines] - 1)
        return int(line_ends[read - 1])

    def _read_others(self, others: Integers, line_starts: Integers, line_ends: Integers) -> int:
        """Read the lines that are not surely fine, up to the first that changes the format; give how many lines that makes."""
        done: int = 0
        for number, begin, end in zip(others.tolist(), line_starts[others].tolist(), line_ends[others].tolist(), strict=True):
            self._reader.pass_over(number - done)
            self._read_line(begin, end)
            done = number + 1
            if self._one_by_one:
                return done
        lines = len(line_starts)
        self._reader.pass_over(lines - done)
        return lines

    def _hand_over(
        self, record_format: RecordFormat, fields: _Fields, rows: Integers, line_begins: Integers, line_ends: Integers
    ) -> None:
        interfaces, hashes = fields.hashes(self._seed)
        starts, ends = fields.times.get("start"), fields.times.get("end", fields.times.get("start"))
        for window, its_rows in self._by_window(ends, rows):
            its_interfaces = self.interfaces.setdefault(window, _Interfaces(self._text))
            its_interfaces.learn(fields, interfaces, its_rows)
            among = fields.accepted[its_rows]
            if (rejected := its_rows[~among]).size:
                text = b"\n".join(map(self._line, line_begins[rejected].tolist(), line_ends[rejected].tolist()))
                related = fields.related(rejected, self._seed).tobytes()
                lines = RejectedLines(record_format=record_format, hashes=hashes[rejected], related=related, text=text)
                self._sink.rejected(window, lines)
            accepted = its_rows[among] if rejected.size else its_rows
            if accepted.size:
                nowhere = np.full(accepted.size, NOT_LOGGED, np.int32)
                flows = AcceptedFlows(
                    hashes=hashes[accepted],
                    starts=nowhere if starts is None else _narrow(starts[accepted]),
                    ends=nowhere if ends is None else _narrow(ends[accepted]),
                    flags=nowhere if fields.flags is None else fields.flags[accepted],
                )
                self._sink.accepted(window, flows)

    def _line(self, begin: int, end: int) -> bytearray:
        return self._buffer[begin:end]

    def _by_window(self, ends: Integers | None, rows: Integers) -> Iterator[tuple[int, Integers]]:
        """Give the rows of each window."""
        if ends is None or not self._windows.are_apart:
            yield 0, rows
            return
        numbers = ends[rows] // WINDOW
        distinct = np.unique(numbers)
        stand_for = np.array([self._windows.numbered(number) for number in distinct.tolist()])[np.searchsorted(distinct, numbers)]
        for number in np.unique(stand_for).tolist():
            yield number, rows[stand_for == number]

    def _are_addresses(self, tokens: _Tokens, identities: Words) -> Flags:
        """Whether words are addresses as ``ipaddress`` writes them; those seen lately are known."""
        known: Flags = self._known_addresses[_first_place(identities)] == identities
        unknown = np.flatnonzero(~known)
        known[unknown] = self._known_addresses[_second_place(identities[unknown])] == identities[unknown]
        unknown = unknown[~known[unknown]]
        if not unknown.size:
            return known
        lengths = tokens.lengths[unknown]
        valid = _are_v4(tokens.first[unknown], tokens.second[unknown], lengths)
        others = np.flatnonzero(~valid)
        if others.size:
            distinct, rows, where = np.unique(identities[unknown[others]], return_index=True, return_inverse=True)
            places_of = unknown[others[rows]]
            texts = zip(tokens.starts[places_of].tolist(), tokens.lengths[places_of].tolist(), strict=True)
            canonical = np.fromiter((canonical_address(self._text(*place)) is not None for place in texts), np.bool_, distinct.size)
            valid[others] = canonical[where]
        known[unknown] = valid
        new = identities[unknown[valid]]
        # Who stood there moves to a second place of its own, or nearly every chunk would have some to be checked again.
        moved = self._known_addresses[_first_place(new)]
        self._known_addresses[_second_place(moved)] = moved
        self._known_addresses[_first_place(new)] = new
        return known


def _narrow(times: Integers) -> NDArray[np.integer]:
    """Give times in four bytes, as long as they fit: until 2038. Of five million records that is 40 MB less."""
    return times.astype(np.int32) if times.max(initial=0) <= np.iinfo(np.int32).max else times


def _first_place(identities: Words) -> Integers:
    return (identities >> _U(64 - _MEMO_BITS)).view(np.int64)


def _second_place(identities: Words) -> Integers:
    return (identities & _U((1 << _MEMO_BITS) - 1)).view(np.int64)


def _are_v4(first: Words, second: Words, lengths: Integers) -> Flags:
    """Whether words are IPv4 addresses: four numbers up to 255, without zeros before them."""
    text = np.stack((first, second), axis=1).view(np.uint8)
    valid: Flags = lengths < text.shape[1]
    text[np.arange(lengths.size), np.minimum(lengths, text.shape[1] - 1)] = ord(".")
    value = np.zeros(lengths.size, np.uint16)
    digits = np.zeros(lengths.size, np.uint8)
    dots = np.zeros(lengths.size, np.uint8)
    for place, column in enumerate(np.ascontiguousarray(text.T)):
        digit = column - np.uint8(ord("0"))
        is_digit = digit <= 9  # noqa: PLR2004
        is_dot = column == ord(".")
        valid &= is_digit | is_dot | (lengths < place)
        valid &= ~(is_digit & (digits > 0) & (value == 0)) & ~(is_dot & (digits == 0))
        value = np.where(is_digit, value * np.uint16(10) + digit, value)
        valid &= value <= 255  # noqa: PLR2004
        value[is_dot] = 0
        digits = (digits + is_digit) * ~is_dot
        dots += is_dot
    valid &= dots == 4  # noqa: PLR2004
    return valid


def _numbers(digits: Words) -> Words:
    """Give what eight decimal digits (0-9 a byte, the first in the lowest one) say; three multiplications for all eight."""
    digits = digits * _U(10) + (digits >> _U(8))
    low = (digits & _U(0x000000FF000000FF)) * _U(0x000F424000000064)
    high = (digits >> _U(16) & _U(0x000000FF000000FF)) * _U(0x0000271000000001)
    return (low + high) >> _U(32)


def _all_digits(digits: Words) -> Flags:
    digits_only: Flags = (digits + _OVER_NINE) & _TOP_BITS == 0
    return digits_only


class _Texts:
    """Words in a buffer, and what is made of columns of them."""

    def __init__(self, words: Words, size: int) -> None:
        self._words = words
        self.size = size

    def word(self, starts: Integers, lengths: Integers) -> Words:
        """Give the eight bytes from each place, with zeros after the length."""
        return self._words[starts] & _MASKS.take(lengths, mode="clip")

    def tokens_at(self, starts: Integers, lengths: Integers) -> _Tokens:
        """Give the words that start there."""
        second = self.word(starts + _WORD, lengths - _WORD) if (lengths > _WORD).any() else np.zeros(starts.size, np.uint64)
        return _Tokens(starts, lengths, self.word(starts, lengths), second)

    def with_rest(self, state: Words, tokens: _Tokens, offset: int) -> Words:
        """Mix in what a token has from an offset on; few have any."""
        if tokens.lengths.min(initial=_MAX_TOKEN) > offset:
            state = _mixed(state ^ self.word(tokens.starts + offset, tokens.lengths - offset))
            offset += _WORD
        rows = np.flatnonzero(tokens.lengths > offset)
        while rows.size and offset < _MAX_TOKEN:
            starts, lengths = tokens.starts[rows] + offset, tokens.lengths[rows] - offset
            state[rows] = _mixed(state[rows] ^ self.word(starts, lengths))
            offset += _WORD
            rows = rows[lengths > _WORD]
        return state

    def with_field(self, state: Words, index: int, tokens: _Tokens) -> Words:
        """``keyhash.with_fields`` of one field, for a column."""
        state = _mixed(state ^ tokens.first)
        more = tokens.lengths > _WORD
        if more.any():
            longer = _mixed(state ^ tokens.second)
            state = self.with_rest(longer if more.all() else np.where(more, longer, state), tokens, 2 * _WORD)
        return _after_field(state, index)

    def constant(self, word: np.uint64) -> _Tokens:
        """Give a column of one and the same word of eight bytes at most."""
        zeros = np.zeros(self.size, np.int64)
        return _Tokens(zeros, np.ones(self.size, np.int64), np.full(self.size, word), zeros.view(np.uint64))


def related_hashes(keys: Sequence[FlowKey], seed: int) -> Words:
    """Give the hashes that ``keyhash.related_hashes`` gives, of many keys at once.

    Returns
    -------
    array
        One row a key: three hashes of its mirrors - without a direction, ``ingress`` and ``egress`` - and three such of itself.
    """
    tokens = [token for column in keyhash.columns_of_tokens(keys) for token in column]
    lengths = np.fromiter(map(len, tokens), np.int64, len(tokens))
    starts = np.cumsum(lengths) - lengths
    texts = _Texts(_every_word(b"".join([*tokens, bytes(_PADDING)])), len(keys))
    places = zip(starts.reshape(keyhash.DIRECTION, -1), lengths.reshape(keyhash.DIRECTION, -1), strict=True)
    columns = [texts.tokens_at(*its_places) for its_places in places]
    return _related(texts, columns, _U(seed & keyhash.MASK))


def related_table(known: Sequence[bytes | None], keys: Sequence[FlowKey], seed: int) -> Words:
    """Give ``related_hashes`` of keys, of which some are known as bytes."""
    table: Words = np.frombuffer(
        bytearray().join([bytes(RELATED_BYTES) if hashes is None else hashes for hashes in known]), np.uint64
    )
    table = table.reshape(len(keys), -1)
    unknown = [row for row, hashes in enumerate(known) if hashes is None]
    if unknown:
        table[unknown] = related_hashes([keys[row] for row in unknown], seed)
    return table


def _related(texts: _Texts, columns: Sequence[_Tokens], seed: np.uint64) -> Words:
    interface, source, destination, packet_source, packet_destination, source_port, destination_port, protocol = columns
    mirrored = [interface, destination, source, packet_destination, packet_source, destination_port, source_port, protocol]
    related = []
    for fields in (mirrored, columns):
        state = np.full(texts.size, seed, np.uint64)
        for index, column in enumerate(fields):
            state = texts.with_field(state, index, column)
        directions = (texts.with_field(state, keyhash.DIRECTION, texts.constant(word)) for word in (_ABSENT, _INGRESS, _EGRESS))
        related += [_mixed(_mixed(direction)) for direction in directions]
    return np.stack(related, axis=1)


def _every_word(buffer: bytes | bytearray) -> Words:
    """Give every 8 bytes that follow one another, at every place: numpy reads unaligned words as fast as aligned ones."""
    return np.ndarray((len(buffer) - _WORD + 1,), "<u8", buffer=buffer, strides=(1,))


class _Fields(_Texts):
    """The lines of one chunk that have as many words as the format has fields.

    ``fine`` says which of them surely are accepted or rejected records, written as ``RecordFormat.render`` would write them;
    what the rest gives is true of these.
    """

    def __init__(
        self,
        words: Words,
        layout: _Layout,
        begins: Integers,
        stops: Integers,
        are_addresses: Callable[[_Tokens, Words], Flags],
    ) -> None:
        super().__init__(words, begins.size)
        self.layout = layout
        self._begins = begins
        self._stops = stops
        self._are_addresses = are_addresses
        self.flags: NDArray[np.int32] | None = None
        self.times: dict[str, Integers] = {}
        self.addresses: dict[str, _Tokens] = {}
        self._packet_addresses: dict[str, _Tokens] = {}
        self._identities: dict[str, Words] = {}
        self.interface = self._interface()
        self.direction = self.tokens("flow-direction") if "flow-direction" in layout.at else None
        action = self._first_words("action")
        self.accepted = action == _ACCEPT
        self.fine = self.accepted | (action == _REJECT)
        if "log-status" in layout.at:
            self.fine &= self._first_words("log-status") == _OK
        if self.direction is not None:
            known = (self.direction.first == _INGRESS) | (self.direction.first == _EGRESS) | (self.direction.first == _ABSENT)
            self.fine &= known
        for name in _IDENTIFIERS & layout.at.keys():
            self.fine &= self._places(name)[1] <= _MAX_TOKEN
        if layout.times:
            self._read_times()
        if layout.integers:
            self._read_integers()
        self._read_addresses()

    def tokens(self, *names: str) -> _Tokens:
        """Give the words of a field, or those of several one after another."""
        return self.tokens_at(*self._places(*names))

    def _places(self, *names: str) -> tuple[Integers, Integers]:
        """Give where the words of fields start and how long they are, one field after another."""
        starts, stops = np.empty(self.size * len(names), np.int64), np.empty(self.size * len(names), np.int64)
        for index, name in enumerate(names):
            rows, column = slice(index * self.size, (index + 1) * self.size), self.layout.at[name]
            starts[rows] = self._stops[:, column - 1] + 1 if column else self._begins
            stops[rows] = self._stops[:, column]
        return starts, stops - starts

    def _first_words(self, name: str) -> Words:
        return self.word(*self._places(name))

    def _read_times(self) -> None:
        starts, lengths = self._places(*self.layout.times)
        # Ten digits: the first eight and the last eight.
        first, last = self._words[starts] ^ _ZEROS, self._words[starts + (_EPOCH_DIGITS - _WORD)] ^ _ZEROS
        good = _all_digits(first) & _all_digits(last)
        good &= lengths == _EPOCH_DIGITS
        rows = (len(self.layout.times), -1)
        self.fine &= good.reshape(rows).all(axis=0)
        leading = (first & _U(0xFF)) * _U(10) + (first >> _U(8) & _U(0xFF))
        values = (leading * _U(10**_WORD) + _numbers(last)).view(np.int64)
        self.times = dict(zip(self.layout.times, values.reshape(rows), strict=True))

    def _read_integers(self) -> None:
        layout = self.layout
        starts, lengths = (places.reshape(len(layout.integers), -1) for places in self._places(*layout.integers))
        digits = (self._words[starts] ^ _ZEROS) & _MASKS.take(lengths, mode="clip")
        good = _all_digits(digits) & (lengths <= layout.digits)
        long = np.flatnonzero(lengths.ravel() > _WORD)
        if long.size:
            rest = self._words[starts.ravel()[long] + _WORD] ^ _ZEROS
            good.ravel()[long] &= _all_digits(rest & _MASKS.take(lengths.ravel()[long] - _WORD, mode="clip"))
        absent = (digits[layout.keys :] == (_ABSENT ^ _U(ord("0")))) & (lengths[layout.keys :] == 1)
        good[layout.keys :] |= absent
        flagged = "tcp-flags" in layout.integers
        valued = layout.keys + flagged
        values = _numbers(digits[:valued] << _TO_TOP.take(lengths[:valued], mode="clip"))
        good[: layout.keys] &= values[: layout.keys] <= layout.maximum
        zero_first = (digits[: layout.keys] & _U(0xFF) == 0) & (lengths[: layout.keys] > 1)
        good[: layout.keys] &= ~zero_first
        self.fine &= good.all(axis=0)
        if flagged:
            self.flags = np.where(absent[0], NOT_LOGGED, values[-1].view(np.int64)).astype(np.int32)

    def _read_addresses(self) -> None:
        names = [name for name in _ADDRESSES if name in self.layout.at]
        if names:
            tokens = self.tokens(*names)
            identities = self._identities_of(tokens)
            good = (tokens.lengths <= _MAX_ADDRESS) & self._are_addresses(tokens, identities)
            for index, name in enumerate(names):
                rows = slice(index * self.size, (index + 1) * self.size)
                self.addresses[name], self._identities[name] = tokens.part(rows), identities[rows]
                self.fine &= good[rows]
        for name, plain in zip(_PACKET_ADDRESSES, _ADDRESSES, strict=True):
            if name in self.layout.at:
                self._packet_addresses[name] = self._read_packet_address(name, plain)

    def _read_packet_address(self, name: str, plain: str) -> _Tokens:
        """Give the packets' addresses as they are hashed; mostly they are the interface's."""
        tokens = self.tokens(name)
        same = tokens.first == _ABSENT
        if (other := self.addresses.get(plain)) is not None:
            same |= (
                (tokens.first == other.first)
                & (tokens.second == other.second)
                & (tokens.lengths == other.lengths)
                & (tokens.lengths <= 2 * _WORD)
            )
        rows = np.flatnonzero(~same)
        if rows.size:
            some = tokens.part(rows)
            identities = self._identities_of(some)
            self.fine[rows] &= (some.lengths <= _MAX_ADDRESS) & self._are_addresses(some, identities)
            if plain in self.addresses:
                same[rows] = identities == self._identities[plain][rows]
        return _Tokens(
            tokens.starts,
            np.where(same, 1, tokens.lengths),
            np.where(same, _SAME, tokens.first),
            np.where(same, _U(0), tokens.second),
        )

    def is_v6(self, name: str) -> Flags:
        """Whether addresses are IPv6: a colon is among their first eight bytes then, and in no IPv4 address."""
        v6: Flags = ((self.addresses[name].first ^ _COLONS) + _LOW_SEVEN) & _TOP_BITS != _TOP_BITS
        return v6

    def _identities_of(self, tokens: _Tokens) -> Words:
        """Tell words of one column from another by 64 bits each."""
        return self.with_rest(_mixed(_mixed(tokens.first * _MULTIPLIER) ^ tokens.second), tokens, 2 * _WORD)

    def seen(self, name: str) -> _Seen:
        """Give a field's words to be told apart."""
        if name in self.addresses:
            return self.addresses[name].seen(self._identities[name])
        tokens = self.tokens(name)
        return tokens.seen(self._identities_of(tokens))

    def hashes(self, seed: np.uint64) -> tuple[Words, Words]:
        """Give what the interface's field alone makes of the seed, and the hash of the whole key."""
        states = [np.full(self.size, seed, np.uint64)]
        for index, tokens in enumerate((*self._key(), self.direction if self.direction is not None else self.constant(_ABSENT))):
            states.append(self.with_field(states[-1], index, tokens))
        return states[1], _mixed(_mixed(states[-1]))

    def related(self, rows: Integers, seed: np.uint64) -> Words:
        """Give ``related_hashes`` of some of the lines."""
        return _related(_Texts(self._words, rows.size), [column.part(rows) for column in self._key()], seed)

    def _key(self) -> list[_Tokens]:
        """Give the key's fields but for the direction."""
        plain = (self.addresses.get(name) for name in _ADDRESSES)
        packets = (self._packet_addresses.get(name, self.constant(_SAME)) for name in _PACKET_ADDRESSES)
        integers = (self.tokens(name) if name in self.layout.at else None for name in _KEY_INTEGERS)
        columns = (self.interface, *plain, *packets, *integers)
        return [column if column is not None else self.constant(_ABSENT) for column in columns]

    def _interface(self) -> _Tokens:
        """Give the interface's id, or where it has none the resource's."""
        names = [name for name in ("interface-id", "resource-id") if name in self.layout.at]
        found = self.tokens(names[0])
        if len(names) == 1 or not (absent := found.first == _ABSENT).any():
            return found
        other = self.tokens(names[1])
        return _Tokens(
            np.where(absent, other.starts, found.starts),
            np.where(absent, other.lengths, found.lengths),
            np.where(absent, other.first, found.first),
            np.where(absent, other.second, found.second),
        )


def _longer[T: np.generic](column: NDArray[T], size: int) -> NDArray[T]:
    """Give a column with zeros up to a size."""
    grown = np.zeros(size, column.dtype)
    grown[: column.size] = column
    return grown


@dataclass(slots=True)
class _Seen:
    """Words of some lines: 64 bits to tell them apart by, and where their text is."""

    identities: Words
    starts: Integers
    lengths: Integers

    def pick(self, rows: Integers | Flags) -> _Seen:
        """Give some of them."""
        return _Seen(self.identities[rows], self.starts[rows], self.lengths[rows])


class _Known:
    """For each interface what a column mostly has for it, and all texts that it ever had."""

    def __init__(self, text: Callable[[int, int], bytes]) -> None:
        self.texts: dict[int, set[bytes]] = {}
        self._text = text
        self._usual: Words = np.zeros(1, np.uint64)

    def learn(self, places: Integers, seen: _Seen, among: Flags | None = None) -> None:
        """Take in what the column has for interfaces, perhaps only where ``among`` says so."""
        if (needed := int(places.max(initial=0)) + 1) > self._usual.size:
            self._usual = _longer(self._usual, 2 * needed)
        new = self._usual[places] != seen.identities
        news = np.flatnonzero(new if among is None else new & among)
        pairs = _mixed(places[news].view(np.uint64) * _MULTIPLIER) ^ seen.identities[news]
        for row in news[np.unique(pairs, return_index=True)[1]].tolist():
            self.texts.setdefault(int(places[row]), set()).add(self._text(seen.starts[row], seen.lengths[row]))
            self._usual[places[row]] = seen.identities[row]


class _Shared:
    """For each interface the addresses that all its lines have in common: two at first, soon one or none."""

    def __init__(self, text: Callable[[int, int], bytes]) -> None:
        self.texts: dict[int, dict[int, bytes]] = {}
        self._text = text
        self._one: Words = np.zeros(1, np.uint64)
        self._other: Words = np.zeros(1, np.uint64)
        self._none = np.zeros(1, np.int64)  # nothing can change that

    def learn(self, places: Integers, sources: _Seen, destinations: _Seen, among: Flags) -> None:
        """Take in both addresses of lines, where ``among`` says so."""
        if (needed := int(places.max(initial=0)) + 1) > self._none.size:
            self._one, self._other = _longer(self._one, 2 * needed), _longer(self._other, 2 * needed)
            self._none = _longer(self._none, 2 * needed)
        while places.size:
            one, other = self._one[places], self._other[places]
            both = (sources.identities == one) | (destinations.identities == one)
            both &= (sources.identities == other) | (destinations.identities == other)
            news = np.flatnonzero(~both & (self._none[places] == 0) & among)
            places, sources, destinations, among = places[news], sources.pick(news), destinations.pick(news), among[news]
            for row in np.unique(places, return_index=True)[1].tolist():
                self._learn_one(int(places[row]), {int(seen.identities[row]): seen for seen in (sources, destinations)}, row)

    def _learn_one(self, place: int, ends: dict[int, _Seen], row: int) -> None:
        shared = self.texts.get(place)
        if shared is None:
            shared = {identity: self._text(seen.starts[row], seen.lengths[row]) for identity, seen in ends.items()}
        else:
            shared = {identity: text for identity, text in shared.items() if identity in ends}
        self.texts[place] = shared
        if shared:
            self._one[place], self._other[place] = min(shared), max(shared)
        else:
            self._none[place] = 1


class _Interfaces:
    """What the columns told about interfaces in one window, so that ``InterfaceFacts`` come out as if learned record by record.

    An interface has one subnet, one VPC and mostly one address of its own. So what is known is compared with whole columns,
    and only the lines that say something new are looked at. Words are told apart by their 64-bit identities.
    """

    def __init__(self, text: Callable[[int, int], bytes]) -> None:
        self._text = text
        self._names: list[bytes] = [b""]  # place 0 is nobody's
        self._by_state: dict[int, int] = {}
        self._states: Words = np.zeros(1, np.uint64)
        self._likely = np.zeros(1 << _MEMO_BITS, np.int64)
        self._accepts = np.zeros(1, np.int64)
        self._own, self._subnets, self._vpcs = _Known(text), _Known(text), _Known(text)
        self._shared = _Shared(text)

    def learn(self, fields: _Fields, states: Words, rows: Integers) -> None:
        """Take in lines of a chunk; ``states`` is what the hashes of their interfaces are."""
        places = self._places(fields.interface.seen(states).pick(rows))
        self._accepts += np.bincount(places[fields.accepted[rows]], minlength=self._accepts.size)
        for name, known in (("subnet-id", self._subnets), ("vpc-id", self._vpcs)):
            if name in fields.layout.at:
                known.learn(places, fields.seen(name).pick(rows))
        if len(fields.addresses) < len(_ADDRESSES):
            return
        v4 = ~fields.is_v6("srcaddr")[rows]
        sources, destinations = fields.seen("srcaddr").pick(rows), fields.seen("dstaddr").pick(rows)
        untold = v4
        if fields.direction is not None:
            outgoing, incoming = (v4 & (fields.direction.first[rows] == word) for word in (_EGRESS, _INGRESS))
            untold = v4 & ~outgoing & ~incoming
            self._own.learn(places, sources, outgoing)
            self._own.learn(places, destinations, incoming)
        self._shared.learn(places, sources, destinations, untold)

    def _places(self, seen: _Seen) -> Integers:
        """Give the place of each line's interface among the interfaces."""
        likely = _first_place(seen.identities)
        places = self._likely[likely]
        news = np.flatnonzero(self._states[places] != seen.identities)
        if news.size:
            states, rows, where = np.unique(seen.identities[news], return_index=True, return_inverse=True)
            found = [self._place(int(state), seen, row) for state, row in zip(states, news[rows].tolist(), strict=True)]
            places[news] = np.array(found)[where]
            self._likely[likely[news]] = places[news]
        return places

    def _place(self, state: int, seen: _Seen, row: int) -> int:
        place = self._by_state.setdefault(state, len(self._names))
        if place == len(self._names):
            self._names.append(self._text(seen.starts[row], seen.lengths[row]))
            if place >= self._states.size:
                self._states, self._accepts = _longer(self._states, 2 * place), _longer(self._accepts, 2 * place)
            self._states[place] = state
        return place

    def hand_over(self, window: int, sink: Sink) -> None:
        """Give the sink what was learned in a window."""
        for place, name in enumerate(self._names[1:], start=1):
            shared = self._shared.texts.get(place)
            sink.learned(
                window,
                _text_of(name),
                InterfaceFacts(
                    accepts=int(self._accepts[place]),
                    own=_addresses(self._own.texts.get(place, ())),
                    shared=None if shared is None else _addresses(shared.values()),
                    subnets=_texts_of(self._subnets.texts.get(place, set())),
                    vpc_id=min(_texts_of(self._vpcs.texts.get(place, set())), default=None),
                ),
            )


def _addresses(words: Iterable[bytes]) -> set[Address]:
    return {address for word in words if (address := canonical_address(word)) is not None}


def _text_of(token: bytes) -> str | None:
    return None if token == ABSENT.encode() else token.decode("ascii")


def _texts_of(tokens: set[bytes]) -> set[str]:
    return {text for token in tokens if (text := _text_of(token)) is not None}
