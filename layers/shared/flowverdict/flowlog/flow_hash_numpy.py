"""Hash the keys of many flows at once, as ``flow_hash`` hashes one key.

A *word* is eight bytes of a buffer as a little-endian number; a *token* is a field's text, given by
its start in the buffer, its length and its first two words. A test compares the hashes with those
of ``flow_hash``.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from flowverdict.flowlog import flow_hash
from flowverdict.flowlog.columnar import RELATED_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from flowverdict.flowlog.flow_key import FlowKey

# Bytes after the text in a buffer: words of the last token may reach past its end.
PADDING = 128

MAX_TOKEN = 64  # bytes of a hashed token: the ID of an interface or a subnet

WORD_BYTES = flow_hash.WORD
_WORD_BITS = WORD_BYTES.bit_length() - 1  # of a place in a buffer, within its word


def repeated(byte: int) -> np.uint64:
    """Return a word of eight equal bytes."""
    return np.uint64(byte * 0x0101010101010101)


def word_of(text: bytes) -> np.uint64:
    """Return a text of at most eight bytes as a word, zeros after its end."""
    return np.uint64(int.from_bytes(text, "little"))


UINT64 = np.uint64
# By length: the mask of a word's first bytes, and the shift that moves them to the top.
MASKS = np.array([(1 << 8 * length) - 1 for length in range(WORD_BYTES + 1)], np.uint64)
TO_TOP = np.array(
    [8 * (WORD_BYTES - length) if length else 0 for length in range(WORD_BYTES + 1)], np.uint64
)

_HALF = UINT64(32)
# Multiplies where 64 bits stand for a word within one file: odd, 2^64 divided by the golden ratio.
IDENTITY = UINT64(0x9E3779B97F4A7C15)
_AFTER_FIELD = np.array(flow_hash.AFTER_FIELD, np.uint64)

INGRESS, EGRESS, ABSENT = (word_of(text) for text in (b"ingress", b"egress", b"-"))
_DIRECTIONS = np.array((ABSENT, INGRESS, EGRESS))[:, None]
SAME = word_of(flow_hash.SAME)


def mixed(words: Words, multiplier: np.uint64) -> Words:
    """Mix a column as ``flow_hash`` mixes a state; the column is overwritten and returned."""
    words *= multiplier
    words ^= words >> _HALF
    return words


@dataclass(frozen=True, slots=True)
class Seed:
    """Where hashes begin, and what they multiply by."""

    begin: np.uint64
    multiplier: np.uint64

    @classmethod
    def of(cls, seed: int) -> Seed:
        """Return the seed of ``flow_hash.key_hash``."""
        return cls(UINT64(seed & flow_hash.MASK), UINT64(flow_hash.multiplier_of(seed)))


@dataclass(slots=True)
class Tokens:
    """A column of tokens: starts and lengths (int64), first and second words (uint64).

    All have the same shape (rows,).
    """

    starts: Integers
    lengths: Integers
    first: Words
    second: Words

    def part(self, rows: slice | Integers) -> Tokens:
        """Return the tokens of some rows."""
        return Tokens(self.starts[rows], self.lengths[rows], self.first[rows], self.second[rows])

    def before(self, other: Tokens) -> Tokens:
        """Return the tokens with another column's after them."""
        return Tokens(
            np.concatenate((self.starts, other.starts)),
            np.concatenate((self.lengths, other.lengths)),
            np.concatenate((self.first, other.first)),
            np.concatenate((self.second, other.second)),
        )

    def seen(self, identities: Words) -> IdentifiedTokens:
        """Return the tokens with an identity of 64 bits for each."""
        return IdentifiedTokens(identities, None, self)


class Texts:
    """Tokens in a buffer of ``size`` rows, and hash states of columns of them."""

    def __init__(self, words: Words, size: int) -> None:
        self.words = words
        self.size = size

    def words_at(self, starts: Integers, count: int) -> list[Words]:
        """Return the first words from each start, then the second, up to ``count``.

        numpy takes aligned words five times as fast as unaligned, so each is joined from two.
        """
        places = starts >> _WORD_BITS
        found: list[Words] = [
            self.words[place:].take(places, mode="clip") for place in range(count + 1)
        ]
        shifts = np.bitwise_and(starts, WORD_BYTES - 1, out=places).view(np.uint64)
        shifts <<= UINT64(_WORD_BITS)
        rest = UINT64(8 * WORD_BYTES) - shifts  # numpy shifts by 64 bits to 0
        for word, after in pairwise(found):
            np.right_shift(word, shifts, out=word)
            np.bitwise_or(word, after << rest, out=word)
        return found[:-1]

    def word(self, starts: Integers, lengths: Integers) -> Words:
        """Return the word from each start, with zeros after the length."""
        (word,) = self.words_at(starts, 1)
        word &= MASKS.take(lengths, mode="clip")
        return word

    def tokens_at(self, starts: Integers, lengths: Integers) -> Tokens:
        """Return the tokens at starts and lengths."""
        first, second = self.words_at(starts, 2)
        first &= MASKS.take(lengths, mode="clip")
        second &= MASKS.take(lengths - WORD_BYTES, mode="clip")
        return Tokens(starts, lengths, first, second)

    def with_rest(self, state: Words, tokens: Tokens, offset: int, multiplier: np.uint64) -> Words:
        """Return the states after the tokens' bytes from ``offset`` on; few tokens are so long."""
        more = tokens.lengths > offset
        if more.all():
            word = self.word(tokens.starts + offset, tokens.lengths - offset)
            state = mixed(mixed(state, multiplier) ^ word, multiplier)
            offset += WORD_BYTES
            more = tokens.lengths > offset
        rows = np.flatnonzero(more)
        while rows.size and offset < MAX_TOKEN:
            starts, lengths = tokens.starts[rows] + offset, tokens.lengths[rows] - offset
            word = self.word(starts, lengths)
            state[..., rows] = mixed(mixed(state[..., rows], multiplier) ^ word, multiplier)
            offset += WORD_BYTES
            rows = rows[lengths > WORD_BYTES]
        return state

    def with_field(self, state: Words, index: int, tokens: Tokens, multiplier: np.uint64) -> Words:
        """Return the states after one field, as ``flow_hash.KeyHashes`` does.

        The state may have several rows of columns.
        """
        state = mixed(state ^ tokens.first, multiplier)
        more = tokens.lengths > WORD_BYTES
        if more.any():
            longer = mixed(mixed(state.copy(), multiplier) ^ tokens.second, multiplier)
            state = self.with_rest(
                longer if more.all() else np.where(more, longer, state),
                tokens,
                2 * WORD_BYTES,
                multiplier,
            )
        state += _AFTER_FIELD[index]
        return mixed(state, multiplier)

    def constant(self, word: np.uint64) -> Tokens:
        """Return a column of one repeated token of at most eight bytes."""
        zeros = np.zeros(self.size, np.int64)
        return Tokens(
            zeros, np.ones(self.size, np.int64), np.full(self.size, word), zeros.view(np.uint64)
        )


def with_direction(state: Words, directions: Words | np.uint64, multiplier: np.uint64) -> Words:
    """Return the hashes of states after their last field, of at most eight bytes."""
    state = mixed(state ^ directions, multiplier)
    state += _AFTER_FIELD[flow_hash.DIRECTION]
    for _ in range(3):
        mixed(state, multiplier)
    return state


def related_hashes(keys: Sequence[FlowKey], seed: int) -> Words:
    """Return the hashes of ``flow_hash.related_hashes`` for many keys.

    Returns
    -------
    array
        uint64, shape (keys, 6). Three hashes of the key's mirrors (without a direction,
        ``ingress``, ``egress``), then three hashes of the key itself.
    """
    tokens = [token for column in flow_hash.columns_of_tokens(keys) for token in column]
    lengths = np.fromiter(map(len, tokens), np.int64, len(tokens))
    starts = np.cumsum(lengths) - lengths
    texts = Texts(aligned_words(b"".join([*tokens, bytes(PADDING)])), len(keys))
    places = zip(
        starts.reshape(flow_hash.DIRECTION, -1),
        lengths.reshape(flow_hash.DIRECTION, -1),
        strict=True,
    )
    columns = [texts.tokens_at(*field_places) for field_places in places]
    return related(texts, columns, Seed.of(seed))


def related_table(known: Sequence[bytes | None], keys: Sequence[FlowKey], seed: int) -> Words:
    """Return ``related_hashes`` of keys, of which some are known as bytes; shape (keys, 6)."""
    table: Words = np.frombuffer(
        bytearray().join([bytes(RELATED_BYTES) if hashes is None else hashes for hashes in known]),
        np.uint64,
    )
    table = table.reshape(len(keys), -1)
    unknown = [row for row, hashes in enumerate(known) if hashes is None]
    if unknown:
        table[unknown] = related_hashes([keys[row] for row in unknown], seed)
    return table


def related(texts: Texts, columns: Sequence[Tokens], seed: Seed) -> Words:
    """Return ``related_hashes`` of a key's eight columns without the direction; shape (rows, 6)."""
    (
        interface,
        source,
        destination,
        packet_source,
        packet_destination,
        source_port,
        destination_port,
        protocol,
    ) = columns
    mirrored = [
        interface,
        destination,
        source,
        packet_destination,
        packet_source,
        destination_port,
        source_port,
        protocol,
    ]
    # Both hashed as one column, since few lines at a time are rejected.
    size = columns[0].lengths.size
    both = Texts(texts.words, 2 * size)
    state = np.full(2 * size, seed.begin, np.uint64)
    for index, (first, second) in enumerate(zip(mirrored, columns, strict=True)):
        state = both.with_field(state, index, first.before(second), seed.multiplier)
    hashes = with_direction(state, _DIRECTIONS, seed.multiplier)
    return hashes.reshape(-1, 2, size).transpose(2, 1, 0).reshape(size, -1)


def aligned_words(buffer: bytes | bytearray) -> Words:
    """Return a buffer's words: a view, uint64, one for eight bytes."""
    return np.frombuffer(buffer, "<u8", len(buffer) // WORD_BYTES)


def narrow(values: NDArray[np.integer], kind: type[np.signedinteger]) -> NDArray[np.integer]:
    """Return times or flags in a smaller kind if they fit: 4 bytes for times until 2038."""
    return values.astype(kind) if values.max(initial=0) <= np.iinfo(kind).max else values


@dataclass(slots=True)
class IdentifiedTokens:
    """Some of a column's tokens: identities of 64 bits (uint64), and which rows they are of."""

    identities: Words
    rows: Integers | None  # None: all
    tokens: Tokens

    def pick(self, rows: Integers) -> IdentifiedTokens:
        """Return the tokens of some of these rows."""
        picked = rows if self.rows is None else self.rows[rows]
        return IdentifiedTokens(self.identities[rows], picked, self.tokens)

    def place(self, row: int) -> tuple[int, int]:
        """Return start and length of the token of one of these rows."""
        at = row if self.rows is None else self.rows[row]
        return int(self.tokens.starts[at]), int(self.tokens.lengths[at])


type Words = np.ndarray[Any, np.dtype[np.uint64]]


type Integers = np.ndarray[Any, np.dtype[np.int64]]


type Flags = np.ndarray[Any, np.dtype[np.bool_]]
