"""Hash a flow's key to 64 bits, so that millions of accepted flows fit into memory.

Among *n* keys, two have the same hash with a probability of about n² / 2⁶⁵: 7 in ten million for 5
million flows. A look-up among *n* hashes finds a wrong flow with a probability of n / 2⁶⁴: 10,000
rejects with six look-ups each among 5 million flows find a wrong flow once in 60 million such
files.
The hash is not cryptographic, but it has a secret seed, which the functions store in their table:
it begins with the seed, and multiplies by a number that is derived from the seed. Whoever does not
know the seed cannot choose two addresses of which a difference in one word undoes a difference in
the word before: between two words of a field the state is mixed twice, so that 40 of its bits
depend on the secret number.

``flow_hash_numpy`` computes the same hashes with numpy; a test compares both.
"""

from __future__ import annotations

from array import array
from functools import lru_cache
from hashlib import blake2b
from itertools import batched, chain, islice
from struct import Struct
from typing import TYPE_CHECKING

from flowverdict.core.addresses import is_inside
from flowverdict.flowlog.columnar import canonical_address
from flowverdict.flowlog.records import ABSENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from flowverdict.flowlog.flow_key import FlowKey


MASK = (1 << 64) - 1
WORD = 8
# The version of the hash, kept with stored hashes: other versions' hashes say nothing here.
VERSION = 2
# Added after each field, so that a token's end cannot pass for its neighbour's start: digits of pi.
AFTER_FIELD = (
    0x243F6A8885A308D3,
    0x13198A2E03707344,
    0xA4093822299F31D0,
    0x082EFA98EC4E6C89,
    0x452821E638D01377,
    0xBE5466CF34E90C6C,
    0xC0AC29B7C97C50DD,
    0x3F84D5B5B5470917,
    0x9216D5D98979FB1B,
)
DIRECTION = 8  # the index of the direction among the fields of a key
# Stands for a packet address that equals the record's address or was not logged.
SAME = b"="


# Few seeds are in use: one, and in tests some more.
@lru_cache(maxsize=1_024)
def multiplier_of(seed: int) -> int:
    """Return the odd number of 64 bits that a seed multiplies by."""
    digest = blake2b((seed & MASK).to_bytes(WORD, "little"), digest_size=WORD).digest()
    return int.from_bytes(digest, "little") | 1


# The fields of a key that name a service at an interface, by their places in it.
SERVICE_FIELDS = (0, 2, 6, 7)  # interface, destination, destination port, protocol
_SOURCE = 1
_SERVICE_MASK = (1 << 32) - 2
_FIRST_BYTE, _LAST_BYTE = 0xFF, 0xFF << 56  # of a word
_AT_ONCE = 500  # keys whose related hashes are found together, in some MB


class KeyHashes:
    """Hashes many keys at once, whose states stand side by side in one integer.

    One operation of Python's mixes them all, which takes a fifth of the time of one after another.
    A state has 64 bits and stands in 128, as its product with the multiplier needs.

    Parameters
    ----------
    columns
        For each field of a key, in its order, the texts that the keys have: not empty, without NUL.
        A packet address that equals the record's address or was not logged is ``SAME``.
    """

    def __init__(self, columns: Sequence[Sequence[bytes]], seed: int) -> None:
        self._sources = columns[_SOURCE]
        keys = len(self._sources)
        self._firsts = Struct("<" + "8s8x" * keys)  # the first eight bytes of each token
        self._hashes = Struct("<" + "Q8x" * keys)
        self._ones = self._word((b"\1",) * keys)
        self._mask = self._ones * MASK
        self._multiplier = multiplier_of(seed)
        self._words = [self._words_of(tokens) for tokens in columns]
        self._at_interface = self._after_field(self._ones * (seed & MASK), 0)

    @classmethod
    def of(cls, keys: Sequence[FlowKey], seed: int) -> KeyHashes:
        """Hash keys, at least one."""
        return cls(columns_of(keys), seed)

    def of_flows(self) -> tuple[int, ...]:
        """Return the 64-bit hash of each key: equal for equal seeds on every machine."""
        return self._hashes_of(range(1, len(AFTER_FIELD)))

    def of_services(self) -> list[int]:
        """Return 32 bits for what each flow goes to: address and port at an interface, and how.

        The direction is part of it, and the last bit says whether the flow comes from inside
        (``addresses.is_inside``), so that flows of the organisation's own hosts can be counted
        without those that anybody can send.

        Four bytes for each accepted flow are enough to count the flows of few services: among a
        million flows, one flow of another service is counted once in 2,000 services.
        """
        hashes = self._hashes_of((*SERVICE_FIELDS[1:], DIRECTION))
        return [
            service_of(hashed, from_inside=_is_inside(source))
            for hashed, source in zip(hashes, self._sources, strict=True)
        ]

    def _hashes_of(self, fields: Iterable[int]) -> tuple[int, ...]:
        """Return the hashes of the interface and more fields."""
        states = self._at_interface
        for field in fields:
            states = self._after_field(states, field)
        states = self._mixed(self._mixed(states))  # the last field influences all bits
        return self._hashes.unpack(states.to_bytes(self._hashes.size, "little"))

    def _after_field(self, states: int, field: int) -> int:
        first, *more = self._words[field]
        states = self._mixed(states ^ first)
        for word in more:
            # A token that has ended has no byte here, and its state stays.
            byte = self._ones * _FIRST_BYTE
            has_word = (word & byte) + byte >> 8 & self._ones
            states ^= (states ^ self._mixed(self._mixed(states) ^ word)) & has_word * MASK
        return self._mixed(states + self._ones * AFTER_FIELD[field] & self._mask)

    def _mixed(self, states: int) -> int:
        states = states * self._multiplier & self._mask
        return states ^ states >> 32 & self._mask

    def _words_of(self, tokens: Sequence[bytes]) -> list[int]:
        words = [self._word(tokens)]
        while words[-1] & self._ones * _LAST_BYTE:  # else no token has another word
            tokens = [token[WORD:] for token in tokens]
            words.append(self._word(tokens))
        return words

    def _word(self, tokens: Sequence[bytes]) -> int:
        return int.from_bytes(self._firsts.pack(*tokens), "little")


def service_of(hashed: int, *, from_inside: bool) -> int:
    """Return the hash of a service by the 64-bit hash of its fields."""
    return hashed & _SERVICE_MASK | from_inside


@lru_cache(maxsize=65_536)
def _is_inside(word: bytes) -> bool:
    address = canonical_address(word)
    return address is not None and is_inside(address)


def key_hash(key: FlowKey, seed: int = 0) -> int:
    """Return the hash of one key."""
    return KeyHashes.of([key], seed).of_flows()[0]


def related_hashes(
    keys: Sequence[FlowKey], seed: int
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Iterate over the hashes of ``mirrors()`` and of ``same()`` of each key."""
    for some in batched(keys, _AT_ONCE, strict=False):
        related = [(key.mirrors(), key.same()) for key in some]
        hashes = iter(KeyHashes.of([*chain(*chain(*related))], seed).of_flows())
        for mirrors, same in related:
            yield tuple(islice(hashes, len(mirrors))), tuple(islice(hashes, len(same)))


def related_bytes(keys: Sequence[FlowKey], seed: int) -> Iterator[bytes]:
    """Iterate over the hashes as ``columnar.RejectedLines`` has them: any direction."""
    plain = [key._replace(direction=None) for key in keys]
    for mirrors, same in related_hashes(plain, seed):
        yield array("Q", (*mirrors, *same)).tobytes()


def columns_of(keys: Sequence[FlowKey]) -> list[list[bytes]]:
    """Return the columns that ``KeyHashes`` takes."""
    return [*columns_of_tokens(keys), [_token(key.direction) for key in keys]]


def columns_of_tokens(keys: Sequence[FlowKey]) -> list[list[bytes]]:
    """Return the keys' fields without the direction, as the text in a flow log.

    One list for each field, in the order of hashing, with one token for each key.
    """
    *fields, _ = zip(*keys, strict=True)
    columns = [list(map(_token, field)) for field in fields]
    for packet, plain in ((3, 1), (4, 2)):  # packet_source and source, then the destinations
        columns[packet] = [
            SAME if packet_token == plain_token else packet_token
            for packet_token, plain_token in zip(columns[packet], columns[plain], strict=True)
        ]
    return columns


# A file repeats few addresses; to format an address takes longer than to hash it.
@lru_cache(maxsize=65_536)
def _token(value: object) -> bytes:
    return ABSENT.encode() if value is None else str(value).encode()
