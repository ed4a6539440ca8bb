"""Parse the fields of many lines of text at once.

Every check is one numpy expression over a column: numbers within their field's range, addresses,
actions, ``log-status`` OK. A line that passes all of them is *regular*: an accepted or rejected
record with traffic, in the spelling of ``RecordFormat.render``. Fields and ranges are AWS's
(https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from flowverdict.flowlog.column_fields import (
    ADDRESSES,
    INTERFACES,
    KEY_INTEGERS,
    PACKET_FIELDS,
    Fields,
)
from flowverdict.flowlog.columnar import NOT_LOGGED
from flowverdict.flowlog.fields import (
    ACCOUNT_DIGITS,
    FIELDS,
    MAX_INT_64,
    UNKNOWN_ACCOUNT,
    FieldKind,
)
from flowverdict.flowlog.flow_hash_numpy import (
    ABSENT,
    EGRESS,
    INGRESS,
    MASKS,
    MAX_TOKEN,
    TO_TOP,
    UINT64,
    WORD_BYTES,
    Texts,
    Tokens,
    repeated,
    word_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

    from flowverdict.flowlog.flow_hash_numpy import Flags, Integers, Words
    from flowverdict.flowlog.records import RecordFormat


_EPOCH_DIGITS = 10  # until the year 2286
_FLAG_DIGITS = 3

_ZERO_DIGITS, _OVER_NINE = repeated(0x30), repeated(0x76)
_TOP_BITS = repeated(0x80)

# The digits of an account and of a time after the first eight.
_ACCOUNT_END, _EPOCH_END = (
    _ZERO_DIGITS & MASKS[digits - WORD_BYTES] for digits in (ACCOUNT_DIGITS, _EPOCH_DIGITS)
)

_ACCEPT, _REJECT, _OK, _UNKNOWN = (
    word_of(text) for text in (b"ACCEPT", b"REJECT", b"OK", UNKNOWN_ACCOUNT.encode())
)


@dataclass(frozen=True, slots=True)
class Layout:
    """The places and limits of a format's columns.

    Parameters
    ----------
    width
        The number of words in a line.
    long, short
        The row of each field in a table of those fields of which up to 16 bytes are read, and in a
        table of those of which eight are. Neither has a field whose text may be anything.
    long_columns, short_columns
        The index of each row's word in a line.
    prefixes
        What the IDs begin with, and as many bytes of ones, by field name.
    integers
        The rows of integers without start and end, the last of ``short``: first those of the key,
        then ``tcp-flags``.
    digits
        The largest number of digits of each integer; shape (integers, 1).
    keys
        How many of the integers belong to the key.
    maximum
        The largest value of each of these; shape (keys, 1).
    """

    width: int
    long: dict[str, int]
    short: dict[str, int]
    long_columns: Integers
    short_columns: Integers
    prefixes: dict[str, tuple[np.uint64, np.uint64]]
    integers: slice
    digits: Integers
    keys: int
    maximum: Words


_ACCOUNT = "account-id"
_TIMES = ("start", "end")
_IDENTIFIERS = (*INTERFACES, "vpc-id", "subnet-id")
_LONG = (*ADDRESSES, *PACKET_FIELDS, *_TIMES, *_IDENTIFIERS, _ACCOUNT)
_WORDS = ("action", "log-status", "flow-direction")


def _safe_digits(name: str) -> int:
    """Digits that always fit the field's range; integers of the key are also range-checked."""
    if name == "tcp-flags":
        return _FLAG_DIGITS
    maximum = KEY_INTEGERS.get(name, FIELDS[name].maximum)
    return 2 * WORD_BYTES if maximum == MAX_INT_64 else min(len(str(maximum)), WORD_BYTES)


def _prefixes(names: Iterable[str]) -> dict[str, tuple[np.uint64, np.uint64]]:
    known = {name: FIELDS[name].prefix.encode() for name in names if name in FIELDS}
    return {name: (word_of(prefix), MASKS[len(prefix)]) for name, prefix in known.items() if prefix}


def _integers(names: Iterable[str]) -> list[str]:
    """Return the integers of a format but start and end, in the order of ``Layout.integers``."""
    integers = (name for name in names if name in FIELDS and FIELDS[name].kind is FieldKind.INTEGER)
    return sorted(
        (name for name in integers if name not in _TIMES),
        key=lambda name: (name not in KEY_INTEGERS, name != "tcp-flags"),
    )


def _rows(names: Iterable[str], known: Container[str]) -> dict[str, int]:
    """Return the row of each known field in a table of them, in the order of the names."""
    return {name: row for row, name in enumerate(name for name in names if name in known)}


@lru_cache(maxsize=16)
def layout_of(record_format: RecordFormat) -> Layout | None:
    """Return a format's layout; ``None`` if its records lack an action or an interface."""
    at = {name: index for index, name in enumerate(record_format.names)}
    if "action" not in at or at.keys().isdisjoint(INTERFACES) or record_format.is_transit_gateway:
        return None
    prefixes, integers = _prefixes(at), _integers(at)
    keys = [name for name in integers if name in KEY_INTEGERS]
    long = _rows(_LONG, at)
    short = _rows((*_WORDS, *prefixes.keys() - long.keys(), *integers), at)
    return Layout(
        width=len(at),
        long=long,
        short=short,
        long_columns=np.array([at[name] for name in long], np.int64),
        short_columns=np.array([at[name] for name in short], np.int64),
        prefixes=prefixes,
        integers=slice(len(short) - len(integers), len(short)),
        digits=np.array([_safe_digits(name) for name in integers], np.int64)[:, None],
        keys=len(keys),
        maximum=np.array([KEY_INTEGERS[name] for name in keys], np.uint64)[:, None],
    )


def _numbers(digits: Words) -> Words:
    """Return the numbers of eight decimal digits each, with three multiplications.

    Each byte holds a digit 0-9, the lowest byte the first digit.
    """
    digits = digits * UINT64(10) + (digits >> UINT64(8))
    low = (digits & UINT64(0x000000FF000000FF)) * UINT64(0x000F424000000064)
    high = (digits >> UINT64(16) & UINT64(0x000000FF000000FF)) * UINT64(0x0000271000000001)
    return (low + high) >> UINT64(32)


def _all_digits(digits: Words) -> Flags:
    digits_only: Flags = (digits + _OVER_NINE) & _TOP_BITS == 0
    return digits_only


class TextFields(Fields):
    """The columns of those lines of a chunk that have as many words as the format has fields.

    Parameters
    ----------
    words
        The words of the chunk; see ``aligned_words``.
    stops
        Where the word before each line ends, then each word of the line; int64, shape
        (words + 1, lines).
    are_addresses
        Whether words are addresses, from their tokens and identities.
    """

    def __init__(
        self,
        words: Words,
        layout: Layout,
        stops: Integers,
        are_addresses: Callable[[Tokens, Words], Flags],
    ) -> None:
        Texts.__init__(self, words, stops.shape[1])
        self.layout = layout
        self._long = self.tokens_at(*_places(stops, layout.long_columns))
        starts, lengths = _places(stops, layout.short_columns)
        (first,) = self.words_at(starts, 1)
        masks = MASKS.take(lengths, mode="clip")
        first &= masks
        self._short = Tokens(starts, lengths, first, np.broadcast_to(UINT64(0), first.shape))
        super().__init__(words, self.size, layout.long.keys() | layout.short.keys(), are_addresses)
        action = self._first_words("action")
        self.accepted = action == _ACCEPT
        self.regular = self.accepted | (action == _REJECT)
        if "log-status" in layout.short:
            self.regular &= self._first_words("log-status") == _OK
        if self.direction is not None:
            known = (
                (self.direction.first == INGRESS)
                | (self.direction.first == EGRESS)
                | (self.direction.first == ABSENT)
            )
            self.regular &= known
        self._check_ids()
        if not layout.long.keys().isdisjoint(_TIMES):
            self._read_times([name for name in _TIMES if name in layout.long])
        if layout.digits.size:
            self._read_integers(masks[layout.integers])
        self.read_addresses()

    def tokens(self, *names: str) -> Tokens:
        """Return the words of a field, or of neighbours in the layout's order in sequence."""
        table, rows = (
            (self._long, self.layout.long)
            if names[0] in self.layout.long
            else (self._short, self.layout.short)
        )
        some = table.part(slice(rows[names[0]], rows[names[-1]] + 1))
        return Tokens(
            some.starts.ravel(), some.lengths.ravel(), some.first.ravel(), some.second.ravel()
        )

    def _first_words(self, name: str) -> Words:
        return self.tokens(name).first

    def _check_ids(self) -> None:
        for name in _IDENTIFIERS:
            if name in self.layout.long:
                self.regular &= self._long.lengths[self.layout.long[name]] <= MAX_TOKEN
        for name, (prefix, mask) in self.layout.prefixes.items():
            words = self._first_words(name)
            good = words & mask == prefix
            if not good.all():
                self.regular &= good | (words == ABSENT)
        if _ACCOUNT in self.layout.long:
            self._check_accounts(self.tokens(_ACCOUNT))

    def _check_accounts(self, tokens: Tokens) -> None:
        good = _all_digits(tokens.first ^ _ZERO_DIGITS)
        good &= _all_digits(tokens.second ^ _ACCOUNT_END)
        good &= tokens.lengths == ACCOUNT_DIGITS
        if not good.all():
            self.regular &= good | (tokens.first == _UNKNOWN) | (tokens.first == ABSENT)

    def _read_times(self, names: list[str]) -> None:
        tokens = self.tokens(*names)
        first, second = tokens.first ^ _ZERO_DIGITS, tokens.second ^ _EPOCH_END
        good = _all_digits(first) & _all_digits(second)
        good &= tokens.lengths == _EPOCH_DIGITS
        rows = (len(names), -1)
        self.regular &= good.reshape(rows).all(axis=0)
        values = _numbers(first) * UINT64(100)
        values += (second & UINT64(0xFF)) * UINT64(10) + (second >> UINT64(8))
        self.times = dict(zip(names, values.view(np.int64).reshape(rows), strict=True))

    def _read_integers(self, masks: Words) -> None:
        layout = self.layout
        some = self._short.part(layout.integers)
        lengths = some.lengths
        digits = (some.first ^ _ZERO_DIGITS) & masks
        good = _all_digits(digits) & (lengths <= layout.digits)
        long = np.flatnonzero(lengths > WORD_BYTES)
        if long.size:
            rest_lengths = lengths.ravel()[long] - WORD_BYTES
            (rest,) = self.words_at(some.starts.ravel()[long] + WORD_BYTES, 1)
            rest ^= _ZERO_DIGITS
            good.ravel()[long] &= _all_digits(rest & MASKS.take(rest_lengths, mode="clip"))
        absent = some.first[layout.keys :] == ABSENT
        good[layout.keys :] |= absent
        flagged = "tcp-flags" in layout.short
        valued = layout.keys + flagged
        values = _numbers(digits[:valued] << TO_TOP.take(lengths[:valued], mode="clip"))
        good[: layout.keys] &= values[: layout.keys] <= layout.maximum
        zero_first = (digits[: layout.keys] & UINT64(0xFF) == 0) & (lengths[: layout.keys] > 1)
        good[: layout.keys] &= ~zero_first
        self.regular &= good.all(axis=0)
        if flagged:
            self.flags = np.where(absent[0], NOT_LOGGED, values[-1].view(np.int64)).astype(np.int32)


def _places(stops: Integers, columns: Integers) -> tuple[Integers, Integers]:
    """Return where the words of columns start, and their lengths; int64, shape (columns, lines)."""
    starts = stops[columns]
    starts += 1
    lengths = stops[columns + 1]
    lengths -= starts
    return starts, lengths
