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

from flowverdict.flowlog.column_fields import INTERFACES, KEY_INTEGERS, Fields
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
    repeated,
    word_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flowverdict.flowlog.flow_hash_numpy import Flags, Integers, Tokens, Words
    from flowverdict.flowlog.records import RecordFormat


_EPOCH_DIGITS = 10  # until the year 2286
_FLAG_DIGITS = 3

_ZERO_DIGITS, _OVER_NINE = repeated(0x30), repeated(0x76)
_TOP_BITS = repeated(0x80)

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
    at
        The index of each field's word.
    integers
        Integer fields without start and end: first those of the key, then ``tcp-flags``.
    digits
        The largest number of digits of each integer; shape (integers, 1).
    keys
        How many of the integers belong to the key.
    maximum
        The largest value of each of these; shape (keys, 1).
    times
        Those of ``start`` and ``end`` that the format has.
    prefixes
        What the IDs begin with, and as many bytes of ones, by field name.
    """

    width: int
    at: dict[str, int]
    integers: tuple[str, ...]
    digits: Integers
    keys: int
    maximum: Words
    times: tuple[str, ...]
    prefixes: dict[str, tuple[np.uint64, np.uint64]]


_IDENTIFIERS = {*INTERFACES, "vpc-id", "subnet-id"}
_ACCOUNT = "account-id"
_TIMES = ("start", "end")


def _safe_digits(name: str) -> int:
    """Digits that always fit the field's range; integers of the key are also range-checked."""
    if name == "tcp-flags":
        return _FLAG_DIGITS
    maximum = KEY_INTEGERS.get(name, FIELDS[name].maximum)
    return 2 * WORD_BYTES if maximum == MAX_INT_64 else min(len(str(maximum)), WORD_BYTES)


def _prefixes(names: Iterable[str]) -> dict[str, tuple[np.uint64, np.uint64]]:
    known = {name: FIELDS[name].prefix.encode() for name in names if name in FIELDS}
    return {name: (word_of(prefix), MASKS[len(prefix)]) for name, prefix in known.items() if prefix}


@lru_cache(maxsize=16)
def layout_of(record_format: RecordFormat) -> Layout | None:
    """Return a format's layout; ``None`` if its records lack an action or an interface."""
    at = {name: index for index, name in enumerate(record_format.names)}
    if "action" not in at or at.keys().isdisjoint(INTERFACES) or record_format.is_transit_gateway:
        return None
    named = [
        name
        for name in at
        if name in FIELDS and FIELDS[name].kind is FieldKind.INTEGER and name not in _TIMES
    ]
    integers = sorted(named, key=lambda name: (name not in KEY_INTEGERS, name != "tcp-flags"))
    keys = [name for name in integers if name in KEY_INTEGERS]
    return Layout(
        width=len(at),
        at=at,
        integers=tuple(integers),
        digits=np.array([_safe_digits(name) for name in integers], np.int64)[:, None],
        keys=len(keys),
        maximum=np.array([KEY_INTEGERS[name] for name in keys], np.uint64)[:, None],
        times=tuple(name for name in _TIMES if name in at),
        prefixes=_prefixes(at),
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
        Every eight bytes of the chunk; see ``every_word``.
    begins
        Where each line begins; int64, shape (lines,).
    stops
        Where each word ends; int64, shape (lines, words).
    are_addresses
        Whether words are addresses, from their tokens and identities.
    """

    def __init__(
        self,
        words: Words,
        layout: Layout,
        begins: Integers,
        stops: Integers,
        are_addresses: Callable[[Tokens, Words], Flags],
    ) -> None:
        self.layout = layout
        self._begins = begins
        # A word's places are read from two columns, each several times.
        self._stops = np.ascontiguousarray(stops.T)
        super().__init__(words, begins.size, layout.at.keys(), are_addresses)
        action = self._first_words("action")
        self.accepted = action == _ACCEPT
        self.regular = self.accepted | (action == _REJECT)
        if "log-status" in layout.at:
            self.regular &= self._first_words("log-status") == _OK
        if self.direction is not None:
            known = (
                (self.direction.first == INGRESS)
                | (self.direction.first == EGRESS)
                | (self.direction.first == ABSENT)
            )
            self.regular &= known
        self._check_ids()
        if layout.times:
            self._read_times()
        if layout.integers:
            self._read_integers()
        self.read_addresses()

    def _check_ids(self) -> None:
        for name in (_IDENTIFIERS | self.layout.prefixes.keys()) & self.layout.at.keys():
            if name in _IDENTIFIERS:
                tokens = self.tokens(name)
                self.regular &= tokens.lengths <= MAX_TOKEN
                words = tokens.first
            else:
                words = self.words[self._places(name)[0]]
            if name in self.layout.prefixes:
                prefix, mask = self.layout.prefixes[name]
                good = words & mask == prefix
                if not good.all():
                    good |= self._first_words(name) == ABSENT
                    self.regular &= good
        if _ACCOUNT in self.layout.at:
            self._check_accounts(*self._places(_ACCOUNT))

    def _check_accounts(self, starts: Integers, lengths: Integers) -> None:
        # The eight digits at the beginning and those at the end, of twelve.
        first, last = self.words[starts], self.words[starts + (ACCOUNT_DIGITS - WORD_BYTES)]
        if first.size and (first == first[0]).all() and (last == last[0]).all():
            first, last = first[:1], last[:1]  # one account, as in nearly every file
        digits = _all_digits(first ^ _ZERO_DIGITS) & _all_digits(last ^ _ZERO_DIGITS)
        good = digits & (lengths == ACCOUNT_DIGITS)
        if not good.all():
            word = self.word(starts, lengths)
            self.regular &= good | (word == _UNKNOWN) | (word == ABSENT)

    def _places(self, *names: str) -> tuple[Integers, Integers]:
        if len(names) == 1:
            column = self.layout.at[names[0]]
            starts = self._stops[column - 1] + 1 if column else self._begins
            return starts, self._stops[column] - starts
        starts, lengths = zip(*(self._places(name) for name in names), strict=True)
        return np.concatenate(starts), np.concatenate(lengths)

    def _first_words(self, name: str) -> Words:
        return self.word(*self._places(name))

    def _read_times(self) -> None:
        starts, lengths = self._places(*self.layout.times)
        # Ten digits: the first eight and the last eight.
        first, last = (
            self.words[starts] ^ _ZERO_DIGITS,
            self.words[starts + (_EPOCH_DIGITS - WORD_BYTES)] ^ _ZERO_DIGITS,
        )
        good = _all_digits(first) & _all_digits(last)
        good &= lengths == _EPOCH_DIGITS
        rows = (len(self.layout.times), -1)
        self.regular &= good.reshape(rows).all(axis=0)
        leading = (first & UINT64(0xFF)) * UINT64(10) + (first >> UINT64(8) & UINT64(0xFF))
        values = (leading * UINT64(10**WORD_BYTES) + _numbers(last)).view(np.int64)
        self.times = dict(zip(self.layout.times, values.reshape(rows), strict=True))

    def _read_integers(self) -> None:
        layout = self.layout
        starts, lengths = (
            places.reshape(len(layout.integers), -1) for places in self._places(*layout.integers)
        )
        digits = (self.words[starts] ^ _ZERO_DIGITS) & MASKS.take(lengths, mode="clip")
        good = _all_digits(digits) & (lengths <= layout.digits)
        long = np.flatnonzero(lengths.ravel() > WORD_BYTES)
        if long.size:
            rest = self.words[starts.ravel()[long] + WORD_BYTES] ^ _ZERO_DIGITS
            good.ravel()[long] &= _all_digits(
                rest & MASKS.take(lengths.ravel()[long] - WORD_BYTES, mode="clip")
            )
        absent = (digits[layout.keys :] == (ABSENT ^ UINT64(ord("0")))) & (
            lengths[layout.keys :] == 1
        )
        good[layout.keys :] |= absent
        flagged = "tcp-flags" in layout.integers
        valued = layout.keys + flagged
        values = _numbers(digits[:valued] << TO_TOP.take(lengths[:valued], mode="clip"))
        good[: layout.keys] &= values[: layout.keys] <= layout.maximum
        zero_first = (digits[: layout.keys] & UINT64(0xFF) == 0) & (lengths[: layout.keys] > 1)
        good[: layout.keys] &= ~zero_first
        self.regular &= good.all(axis=0)
        if flagged:
            self.flags = np.where(absent[0], NOT_LOGGED, values[-1].view(np.int64)).astype(np.int32)
