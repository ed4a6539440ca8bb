"""Hash a flow's key to 64 bits, so that millions of accepted flows fit into memory.

Among *n* keys, two have the same hash with a probability of about n² / 2⁶⁵: 7 in ten million for 5
million flows. A look-up among *n* hashes finds a wrong flow with a probability of n / 2⁶⁴: 10,000
rejects with six look-ups each among 5 million flows find a wrong flow once in 60 million such
files.
The hash is not cryptographic, but it begins with a secret seed, which the functions store in their
table: a sender of traffic cannot search for addresses and ports with equal hashes.

``flow_hash_numpy`` computes the same hashes for columns; a test compares both.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from flowverdict.flowlog.records import ABSENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from flowverdict.flowlog.flow_key import FlowKey


MASK = (1 << 64) - 1
WORD = 8
# Odd, with bits all over: 2^64 divided by the golden ratio.
MULTIPLIER = 0x9E3779B97F4A7C15
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


def mix(value: int) -> int:
    """Return 64 bits in which each half of the value has influenced the other."""
    value = value * MULTIPLIER & MASK
    return value ^ value >> 32


def with_fields(state: int, index: int, tokens: Iterable[bytes]) -> int:
    """Return the state after more fields; ``index`` is the first field's place in the key."""
    # mix() is written out, also for a token of one word: calls and a loop took half of the time.
    for place, token in enumerate(tokens, start=index):
        if 0 < len(token) <= WORD:
            state = (state ^ int.from_bytes(token, "little")) * MULTIPLIER & MASK
            state ^= state >> 32
        else:
            for at in range(0, len(token), WORD):
                state = (
                    state ^ int.from_bytes(token[at : at + WORD], "little")
                ) * MULTIPLIER & MASK
                state ^= state >> 32
        state = (state + AFTER_FIELD[place]) * MULTIPLIER & MASK
        state ^= state >> 32
    return state


def finished(state: int) -> int:
    """Return the hash of a state: the last field influences all of its bits."""
    return mix(mix(state))


def key_hash(key: FlowKey, seed: int = 0) -> int:
    """Return a key's 64-bit hash: equal for equal seeds on every machine and in every run."""
    return _with_direction(_but_direction(key, seed), key)


def related_hashes(key: FlowKey, seed: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the hashes of ``key.mirrors()`` and of ``key.same()``.

    The keys of each group differ in the direction alone, so their other fields are hashed once.
    """
    mirrors, same = (
        tuple(_with_direction(state, related) for related in keys)
        for keys in (key.mirrors(), key.same())
        for state in (_but_direction(keys[0], seed),)
    )
    return mirrors, same


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
    return with_fields(seed & MASK, 0, (token for (token,) in columns_of_tokens([key])))


def _with_direction(state: int, key: FlowKey) -> int:
    return finished(with_fields(state, DIRECTION, (_token(key.direction),)))


# A file repeats few addresses; to format an address takes longer than to hash it.
@lru_cache(maxsize=65_536)
def _token(value: object) -> bytes:
    return ABSENT.encode() if value is None else str(value).encode()
