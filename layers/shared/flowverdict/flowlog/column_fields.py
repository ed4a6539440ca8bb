"""Parse the fields of many lines at once, and hash their keys.

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

from flowverdict.flowlog.columnar import NOT_LOGGED
from flowverdict.flowlog.fields import (
    ACCOUNT_DIGITS,
    FIELDS,
    MAX_INT_64,
    MAX_PORT,
    MAX_PROTOCOL,
    UNKNOWN_ACCOUNT,
    FieldKind,
)
from flowverdict.flowlog.flow_hash import MASK, SERVICE_FIELDS, service_of
from flowverdict.flowlog.flow_hash_numpy import (
    ABSENT,
    EGRESS,
    IDENTITY,
    INGRESS,
    MASKS,
    MAX_TOKEN,
    SAME,
    TO_TOP,
    UINT64,
    WORD_BYTES,
    IdentifiedTokens,
    Seed,
    Texts,
    Tokens,
    mixed,
    related,
    repeated,
    word_of,
)
from flowverdict.flowlog.inside_numpy import are_inside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from flowverdict.flowlog.flow_hash_numpy import Flags, Integers, Words
    from flowverdict.flowlog.records import RecordFormat


_MAX_ADDRESS = 39
_SERVICE_BITS = UINT64(service_of(MASK, from_inside=False))

_MAX_DIGIT, _MAX_OCTET, _OCTETS = 9, 255, 4  # of IPv4 addresses

_EPOCH_DIGITS = 10  # until the year 2286
_FLAG_DIGITS = 3

_ZERO_DIGITS, _OVER_NINE, _TOP_BITS, _COLONS, _LOW_SEVEN_BITS = (
    repeated(byte) for byte in (0x30, 0x76, 0x80, 0x3A, 0x7F)
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


_KEY_INTEGERS = {"srcport": MAX_PORT, "dstport": MAX_PORT, "protocol": MAX_PROTOCOL}
_PACKET_FIELDS = ("pkt-srcaddr", "pkt-dstaddr")
ADDRESSES = ("srcaddr", "dstaddr")
_INTERFACES = {"interface-id", "resource-id"}
_IDENTIFIERS = {*_INTERFACES, "vpc-id", "subnet-id"}
_ACCOUNT = "account-id"
_TIMES = ("start", "end")


def _safe_digits(name: str) -> int:
    """Digits that always fit the field's range; integers of the key are also range-checked."""
    if name == "tcp-flags":
        return _FLAG_DIGITS
    maximum = _KEY_INTEGERS.get(name, FIELDS[name].maximum)
    return 2 * WORD_BYTES if maximum == MAX_INT_64 else min(len(str(maximum)), WORD_BYTES)


def _prefixes(names: Iterable[str]) -> dict[str, tuple[np.uint64, np.uint64]]:
    known = {name: FIELDS[name].prefix.encode() for name in names if name in FIELDS}
    return {name: (word_of(prefix), MASKS[len(prefix)]) for name, prefix in known.items() if prefix}


@lru_cache(maxsize=16)
def layout_of(record_format: RecordFormat) -> Layout | None:
    """Return a format's layout; ``None`` if its records lack an action or an interface."""
    at = {name: index for index, name in enumerate(record_format.names)}
    if "action" not in at or not _INTERFACES & at.keys() or record_format.is_transit_gateway:
        return None
    named = [
        name
        for name in at
        if name in FIELDS and FIELDS[name].kind is FieldKind.INTEGER and name not in _TIMES
    ]
    integers = sorted(named, key=lambda name: (name not in _KEY_INTEGERS, name != "tcp-flags"))
    keys = [name for name in integers if name in _KEY_INTEGERS]
    return Layout(
        width=len(at),
        at=at,
        integers=tuple(integers),
        digits=np.array([_safe_digits(name) for name in integers], np.int64)[:, None],
        keys=len(keys),
        maximum=np.array([_KEY_INTEGERS[name] for name in keys], np.uint64)[:, None],
        times=tuple(name for name in _TIMES if name in at),
        prefixes=_prefixes(at),
    )


def are_v4(first: Words, second: Words, lengths: Integers) -> Flags:
    """Whether words are IPv4 addresses: four numbers up to 255 without leading zeros."""
    text = np.stack((first, second), axis=1).view(np.uint8)
    valid: Flags = lengths < text.shape[1]
    text[np.arange(lengths.size), np.minimum(lengths, text.shape[1] - 1)] = ord(".")
    value = np.zeros(lengths.size, np.uint16)
    digits = np.zeros(lengths.size, np.uint8)
    dots = np.zeros(lengths.size, np.uint8)
    for place, column in enumerate(np.ascontiguousarray(text.T)):
        digit = column - np.uint8(ord("0"))
        is_digit = digit <= _MAX_DIGIT
        is_dot = column == ord(".")
        valid &= is_digit | is_dot | (lengths < place)
        valid &= ~(is_digit & (digits > 0) & (value == 0)) & ~(is_dot & (digits == 0))
        value = np.where(is_digit, value * np.uint16(10) + digit, value)
        valid &= value <= _MAX_OCTET
        value[is_dot] = 0
        digits = (digits + is_digit) * ~is_dot
        dots += is_dot
    valid &= dots == _OCTETS  # a dot was appended to each word
    return valid


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


class Fields(Texts):
    """The columns of those lines of a chunk that have as many words as the format has fields.

    All results are columns with one row for each line, and valid for regular lines only.

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

    Attributes
    ----------
    regular
        Which lines are regular (see the module); bool.
    accepted
        Which lines are accepted; bool.
    times
        Unix seconds by field name; int64.
    flags
        TCP flags, -1 where not logged; int32. ``None`` if the format lacks them.
    """

    def __init__(
        self,
        words: Words,
        layout: Layout,
        begins: Integers,
        stops: Integers,
        are_addresses: Callable[[Tokens, Words], Flags],
    ) -> None:
        super().__init__(words, begins.size)
        self.layout = layout
        self._begins = begins
        self._stops = stops
        self._are_addresses = are_addresses
        self.flags: NDArray[np.int32] | None = None
        self.times: dict[str, Integers] = {}
        self.addresses: dict[str, Tokens] = {}
        self._packet_addresses: dict[str, Tokens] = {}
        self._identities: dict[str, Words] = {}
        self.interface = self._interface()
        self.direction = self.tokens("flow-direction") if "flow-direction" in layout.at else None
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
        self._read_addresses()

    def _check_ids(self) -> None:
        for name in (_IDENTIFIERS | self.layout.prefixes.keys()) & self.layout.at.keys():
            starts, lengths = self._places(name)
            if name in _IDENTIFIERS:
                self.regular &= lengths <= MAX_TOKEN
            if name in self.layout.prefixes:
                prefix, mask = self.layout.prefixes[name]
                good = self._words[starts] & mask == prefix
                if not good.all():
                    good |= self.word(starts, lengths) == ABSENT
                    self.regular &= good
        if _ACCOUNT in self.layout.at:
            self._check_accounts(*self._places(_ACCOUNT))

    def _check_accounts(self, starts: Integers, lengths: Integers) -> None:
        # The eight digits at the beginning and those at the end, of twelve.
        first, last = self._words[starts], self._words[starts + (ACCOUNT_DIGITS - WORD_BYTES)]
        if first.size and (first == first[0]).all() and (last == last[0]).all():
            first, last = first[:1], last[:1]  # one account, as in nearly every file
        digits = _all_digits(first ^ _ZERO_DIGITS) & _all_digits(last ^ _ZERO_DIGITS)
        good = digits & (lengths == ACCOUNT_DIGITS)
        if not good.all():
            word = self.word(starts, lengths)
            self.regular &= good | (word == _UNKNOWN) | (word == ABSENT)

    def tokens(self, *names: str) -> Tokens:
        """Return the words of a field, or of several fields in sequence."""
        return self.tokens_at(*self._places(*names))

    def _places(self, *names: str) -> tuple[Integers, Integers]:
        """Return where the words of fields start, and their lengths, field after field."""
        starts, stops = (
            np.empty(self.size * len(names), np.int64),
            np.empty(self.size * len(names), np.int64),
        )
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
        first, last = (
            self._words[starts] ^ _ZERO_DIGITS,
            self._words[starts + (_EPOCH_DIGITS - WORD_BYTES)] ^ _ZERO_DIGITS,
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
        digits = (self._words[starts] ^ _ZERO_DIGITS) & MASKS.take(lengths, mode="clip")
        good = _all_digits(digits) & (lengths <= layout.digits)
        long = np.flatnonzero(lengths.ravel() > WORD_BYTES)
        if long.size:
            rest = self._words[starts.ravel()[long] + WORD_BYTES] ^ _ZERO_DIGITS
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

    def _read_addresses(self) -> None:
        names = [name for name in ADDRESSES if name in self.layout.at]
        if names:
            tokens = self.tokens(*names)
            identities = self._identities_of(tokens)
            good = (tokens.lengths <= _MAX_ADDRESS) & self._are_addresses(tokens, identities)
            for index, name in enumerate(names):
                rows = slice(index * self.size, (index + 1) * self.size)
                self.addresses[name], self._identities[name] = tokens.part(rows), identities[rows]
                self.regular &= good[rows]
        for name, plain in zip(_PACKET_FIELDS, ADDRESSES, strict=True):
            if name in self.layout.at:
                self._packet_addresses[name] = self._read_packet_address(name, plain)

    def _read_packet_address(self, name: str, plain: str) -> Tokens:
        """Return a packet address field as it is hashed: ``=`` if equal to the field ``plain``."""
        tokens = self.tokens(name)
        same = tokens.first == ABSENT
        if (other := self.addresses.get(plain)) is not None:
            same |= (
                (tokens.first == other.first)
                & (tokens.second == other.second)
                & (tokens.lengths == other.lengths)
                & (tokens.lengths <= 2 * WORD_BYTES)
            )
        rows = np.flatnonzero(~same)
        if rows.size:
            some = tokens.part(rows)
            identities = self._identities_of(some)
            self.regular[rows] &= (some.lengths <= _MAX_ADDRESS) & self._are_addresses(
                some, identities
            )
            if plain in self.addresses:
                same[rows] = identities == self._identities[plain][rows]
        return Tokens(
            tokens.starts,
            np.where(same, 1, tokens.lengths),
            np.where(same, SAME, tokens.first),
            np.where(same, UINT64(0), tokens.second),
        )

    def is_v6(self, name: str) -> Flags:
        """Whether addresses are IPv6: only these have a colon among their first eight bytes."""
        v6: Flags = (
            (self.addresses[name].first ^ _COLONS) + _LOW_SEVEN_BITS
        ) & _TOP_BITS != _TOP_BITS
        return v6

    def _identities_of(self, tokens: Tokens) -> Words:
        """Return 64 bits for each word that distinguish the words of a column."""
        state = mixed(mixed(tokens.first * IDENTITY, IDENTITY) ^ tokens.second, IDENTITY)
        return self.with_rest(state, tokens, 2 * WORD_BYTES, IDENTITY)

    def seen(self, name: str) -> IdentifiedTokens:
        """Return a field's words with their identities."""
        if name in self.addresses:
            return self.addresses[name].seen(self._identities[name])
        tokens = self.tokens(name)
        return tokens.seen(self._identities_of(tokens))

    def hashes(self, seed: Seed) -> tuple[Words, Words]:
        """Return the hash states after the interface, and the hashes of the keys; uint64."""
        states = [np.full(self.size, seed.begin, np.uint64)]
        for index, tokens in enumerate(self._key()):
            states.append(self.with_field(states[-1], index, tokens, seed.multiplier))
        direction = self.direction if self.direction is not None else self.constant(ABSENT)
        return states[1], self.with_direction(states[-1], direction, seed.multiplier)

    def services(self, interface_states: Words, seed: Seed) -> NDArray[np.uint32]:
        """Return ``flow_hash.service_hash`` of the lines, from the states after the interface."""
        key, state = self._key(), interface_states
        for place in SERVICE_FIELDS[1:]:
            state = self.with_field(state, place, key[place], seed.multiplier)
        direction = self.direction if self.direction is not None else self.constant(ABSENT)
        hashes = self.with_direction(state, direction, seed.multiplier)
        hashes &= _SERVICE_BITS
        if "srcaddr" in self.addresses:
            hashes |= are_inside(self.addresses["srcaddr"].first)
        return hashes.astype(np.uint32)

    def related(self, rows: Integers, seed: Seed) -> Words:
        """Return ``related_hashes`` of some of the lines; uint64, shape (rows, 6)."""
        return related(
            Texts(self._words, rows.size), [column.part(rows) for column in self._key()], seed
        )

    def _key(self) -> list[Tokens]:
        """Return the fields of the key without the direction, in the order of hashing."""
        plain = (self.addresses.get(name) for name in ADDRESSES)
        packets = (self._packet_addresses.get(name, self.constant(SAME)) for name in _PACKET_FIELDS)
        integers = (self.tokens(name) if name in self.layout.at else None for name in _KEY_INTEGERS)
        columns = (self.interface, *plain, *packets, *integers)
        return [column if column is not None else self.constant(ABSENT) for column in columns]

    def _interface(self) -> Tokens:
        """Return each line's interface ID, or its resource ID where the interface is absent."""
        names = [name for name in ("interface-id", "resource-id") if name in self.layout.at]
        found = self.tokens(names[0])
        if len(names) == 1 or not (absent := found.first == ABSENT).any():
            return found
        other = self.tokens(names[1])
        return Tokens(
            np.where(absent, other.starts, found.starts),
            np.where(absent, other.lengths, found.lengths),
            np.where(absent, other.first, found.first),
            np.where(absent, other.second, found.second),
        )
