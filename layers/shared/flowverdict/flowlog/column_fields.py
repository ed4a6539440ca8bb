"""Hash the keys of many records at once, and tell their addresses: of text or of Parquet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flowverdict.flowlog.fields import MAX_PORT, MAX_PROTOCOL
from flowverdict.flowlog.flow_hash import MASK, SERVICE_FIELDS, service_of
from flowverdict.flowlog.flow_hash_numpy import (
    ABSENT,
    IDENTITY,
    SAME,
    UINT64,
    WORD_BYTES,
    IdentifiedTokens,
    Seed,
    Texts,
    Tokens,
    mixed,
    related,
    repeated,
    with_direction,
)
from flowverdict.flowlog.inside_numpy import are_inside

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

    from flowverdict.flowlog.flow_hash_numpy import Flags, Integers, Words


MAX_ADDRESS = 39
_SERVICE_BITS = UINT64(service_of(MASK, from_inside=False))

_MAX_DIGIT, _MAX_OCTET, _OCTETS = 9, 255, 4  # of IPv4 addresses

_TOP_BITS, _COLONS, _LOW_SEVEN_BITS = (repeated(byte) for byte in (0x80, 0x3A, 0x7F))

KEY_INTEGERS = {"srcport": MAX_PORT, "dstport": MAX_PORT, "protocol": MAX_PROTOCOL}
PACKET_FIELDS = ("pkt-srcaddr", "pkt-dstaddr")
ADDRESSES = ("srcaddr", "dstaddr")
INTERFACES = ("interface-id", "resource-id")


def are_v4(first: Words, second: Words, lengths: Integers) -> Flags:
    """Whether words are IPv4 addresses: four numbers up to 255 without leading zeros."""
    text = np.stack((first, second), axis=1).view(np.uint8)
    text[np.arange(lengths.size), np.minimum(lengths, text.shape[1] - 1)] = ord(".")
    digits = text - np.uint8(ord("0"))
    is_digit, is_dot = digits <= _MAX_DIGIT, text == ord(".")
    begins = np.ones_like(is_dot)  # of numbers
    begins[:, 1:] = is_dot[:, :-1]
    bad = begins & is_dot
    bad[:, :-1] |= begins[:, :-1] & (digits[:, :-1] == 0) & is_digit[:, 1:]
    three = is_digit[:, :-2] & is_digit[:, 1:-1] & is_digit[:, 2:]
    values = digits[:, :-2] * np.uint16(100) + digits[:, 1:-1] * np.uint16(10) + digits[:, 2:]
    bad[:, :-2] |= three & ((values > _MAX_OCTET) | ~begins[:, :-2])
    valid: Flags = lengths < text.shape[1]
    valid &= ~bad.any(axis=1)
    valid &= (is_digit | is_dot).sum(axis=1) == lengths + 1
    valid &= is_dot.sum(axis=1) == _OCTETS  # a dot was appended to each word
    return valid


def have_colon(words: Words) -> Flags:
    """Whether any of a word's eight bytes is a colon; all bytes are ASCII."""
    some: Flags = ((words ^ _COLONS) + _LOW_SEVEN_BITS) & _TOP_BITS != _TOP_BITS
    return some


class Fields(Texts):
    """The columns of some records.

    All results are columns with one row for each record, and valid for regular records only.

    Parameters
    ----------
    words
        The words of the buffer that the texts stand in; see ``aligned_words``.
    size
        The number of records.
    names
        The fields that the format has.
    are_addresses
        Whether words are addresses, from their tokens and identities.

    Attributes
    ----------
    regular
        Which records can be handed on by column; bool.
    accepted
        Which records are accepted; bool.
    times
        Unix seconds by field name; int64.
    flags
        TCP flags, -1 where not logged; int32. ``None`` if the format lacks them.
    """

    regular: Flags
    accepted: Flags

    def __init__(
        self,
        words: Words,
        size: int,
        names: AbstractSet[str],
        are_addresses: Callable[[Tokens, Words], Flags],
    ) -> None:
        super().__init__(words, size)
        self.names = names
        self._are_addresses = are_addresses
        self.flags: NDArray[np.int32] | None = None
        self.times: dict[str, Integers] = {}
        self.addresses: dict[str, Tokens] = {}
        self._packet_addresses: dict[str, Tokens] = {}
        self._identities: dict[str, Words] = {}
        self._tokens: dict[tuple[str, ...], Tokens] = {}
        self._hashed: list[Tokens] | None = None
        self.interface = self._interface()
        self.direction = self.tokens("flow-direction") if "flow-direction" in names else None

    def tokens(self, *names: str) -> Tokens:
        """Return the words of a field, or of several fields in sequence."""
        if names not in self._tokens:
            self._tokens[names] = self.tokens_at(*self._places(*names))
        return self._tokens[names]

    def _places(self, *names: str) -> tuple[Integers, Integers]:
        """Return where the words of fields start, and their lengths, field after field."""
        raise NotImplementedError

    def read_addresses(self) -> None:
        """Read the addresses; a record with a word that is none is not regular."""
        names = [name for name in ADDRESSES if name in self.names]
        if names:
            tokens = self.tokens(*names)
            identities = self._identities_of(tokens)
            good = (tokens.lengths <= MAX_ADDRESS) & self._are_addresses(tokens, identities)
            for index, name in enumerate(names):
                rows = slice(index * self.size, (index + 1) * self.size)
                self.addresses[name], self._identities[name] = tokens.part(rows), identities[rows]
                self.regular &= good[rows]
        for name, plain in zip(PACKET_FIELDS, ADDRESSES, strict=True):
            if name in self.names:
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
            self.regular[rows] &= (some.lengths <= MAX_ADDRESS) & self._are_addresses(
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
        return have_colon(self.addresses[name].first)

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

    def hashes(self, seed: Seed) -> tuple[Words, Words, NDArray[np.uint32]]:
        """Return states after the interface, and hashes of keys and services.

        States and hashes of keys are uint64; services are as of ``KeyHashes.of_services``.
        """
        interface, *others = self._key()
        begin = np.full(self.size, seed.begin, np.uint64)
        states = self.with_field(begin, 0, interface, seed.multiplier)
        both = np.stack((states, states))  # of the key, and of the service
        for index, tokens in enumerate(others, start=1):
            some = both if index in SERVICE_FIELDS else both[:1]
            some[:] = self.with_field(some, index, tokens, seed.multiplier)
        direction = ABSENT if self.direction is None else self.direction.first
        hashes, services = with_direction(both, direction, seed.multiplier)
        services &= _SERVICE_BITS
        if "srcaddr" in self.addresses:
            services |= are_inside(self.addresses["srcaddr"].first)
        return states, hashes, services.astype(np.uint32)

    def related(self, rows: Integers, seed: Seed) -> Words:
        """Return ``related_hashes`` of some of the lines; uint64, shape (rows, 6)."""
        return related(
            Texts(self.words, rows.size), [column.part(rows) for column in self._key()], seed
        )

    def _key(self) -> list[Tokens]:
        """Return the fields of the key without the direction, in the order of hashing."""
        if self._hashed is not None:
            return self._hashed
        plain = (self.addresses.get(name) for name in ADDRESSES)
        packets = (self._packet_addresses.get(name, self.constant(SAME)) for name in PACKET_FIELDS)
        integers = (self.tokens(name) if name in self.names else None for name in KEY_INTEGERS)
        columns = (self.interface, *plain, *packets, *integers)
        self._hashed = [
            column if column is not None else self.constant(ABSENT) for column in columns
        ]
        return self._hashed

    def _interface(self) -> Tokens:
        """Return each line's interface ID, or its resource ID where the interface is absent."""
        names = [name for name in INTERFACES if name in self.names]
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
