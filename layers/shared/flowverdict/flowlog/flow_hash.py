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

``flow_hash_numpy`` computes the same hashes for columns; a test compares both.
"""

from __future__ import annotations

from array import array
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING

from flowverdict.core.addresses import is_inside
from flowverdict.flowlog.records import ABSENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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


def with_fields(state: int, multiplier: int, index: int, tokens: Iterable[bytes]) -> int:
    """Return the state after more fields; ``index`` is the first field's place in the key."""
    # Mixing is written out, also for a token of one word: calls and a loop took half of the time.
    for place, token in enumerate(tokens, start=index):
        length = len(token)
        if 0 < length <= WORD:
            state = (state ^ int.from_bytes(token, "little")) * multiplier & MASK
            state ^= state >> 32
        else:
            for at in range(0, length, WORD):
                if at:
                    state = state * multiplier & MASK
                    state ^= state >> 32
                state = (
                    state ^ int.from_bytes(token[at : at + WORD], "little")
                ) * multiplier & MASK
                state ^= state >> 32
        state = (state + AFTER_FIELD[place]) * multiplier & MASK
        state ^= state >> 32
    return state


def finished(state: int, multiplier: int) -> int:
    """Return the hash of a state: the last field influences all of its bits."""
    state = state * multiplier & MASK
    state = (state ^ state >> 32) * multiplier & MASK
    return state ^ state >> 32


def key_hash(key: FlowKey, seed: int = 0) -> int:
    """Return a key's 64-bit hash: equal for equal seeds on every machine and in every run."""
    return _with_direction(_but_direction(key, seed), multiplier_of(seed), key)


def related_hashes(key: FlowKey, seed: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the hashes of ``key.mirrors()`` and of ``key.same()``.

    The keys of each group differ in the direction alone, so their other fields are hashed once.
    """
    mirrors, same = (
        tuple(_with_direction(state, multiplier_of(seed), related) for related in keys)
        for keys in (key.mirrors(), key.same())
        for state in (_but_direction(keys[0], seed),)
    )
    return mirrors, same


# The fields of a key that name a service at an interface, by their places in it.
SERVICE_FIELDS = (0, 2, 6, 7)  # interface, destination, destination port, protocol
_SERVICE_MASK = (1 << 32) - 2


def service_hash(key: FlowKey, seed: int = 0) -> int:
    """Return 32 bits for what a flow goes to: address and port at an interface, in a direction.

    The last bit says whether the flow comes from inside (``addresses.is_inside``), so that flows of
    the organisation's own hosts can be counted without those that anybody can send.

    Four bytes for each accepted flow are enough to count the flows of few services: among a million
    flows, one flow of another service is counted once in 2,000 services.
    """
    multiplier = multiplier_of(seed)
    state = seed & MASK
    for place in SERVICE_FIELDS:
        state = with_fields(state, multiplier, place, (_token(key[place]),))
    from_inside = key.source is not None and is_inside(key.source)
    return service_of(_with_direction(state, multiplier, key), from_inside=from_inside)


def service_of(hashed: int, *, from_inside: bool) -> int:
    """Return ``service_hash`` by the 64-bit hash of its fields."""
    return hashed & _SERVICE_MASK | from_inside


def related_bytes(key: FlowKey, seed: int) -> bytes:
    """Return the hashes of related flows as ``columnar.RejectedLines`` has them: any direction."""
    mirrors, same = related_hashes(key._replace(direction=None), seed)
    return array("Q", (*mirrors, *same)).tobytes()


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


def _but_direction(key: FlowKey, seed: int) -> int:
    tokens = (token for (token,) in columns_of_tokens([key]))
    return with_fields(seed & MASK, multiplier_of(seed), 0, tokens)


def _with_direction(state: int, multiplier: int, key: FlowKey) -> int:
    state = with_fields(state, multiplier, DIRECTION, (_token(key.direction),))
    return finished(state, multiplier)


# A file repeats few addresses; to format an address takes longer than to hash it.
@lru_cache(maxsize=65_536)
def _token(value: object) -> bytes:
    return ABSENT.encode() if value is None else str(value).encode()
