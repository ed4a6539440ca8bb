"""Sixty-four bits that stand for a flow's key, so that millions of accepted flows fit into memory.

Two different keys of *n* have the same hash with a chance of about n² / 2⁶⁵: 7 in ten million for 5 million flows. What a
reject is looked up with meets a wrong one among them with n / 2⁶⁴ a look-up: 10,000 rejects, six look-ups each among 5 million
flows, are misled once in 60 million such files. It is no cryptographic hash, but it begins with a seed that the functions keep in
their table: whoever chooses addresses and ports cannot look for two flows that meet.

The functions that read many records at once do the same on columns (``sources.columns``); a test holds both to this.
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
# What is added after each field, so that no token can pass for a part of its neighbour: eight digits of pi each.
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
DIRECTION = 8  # its place among the fields of a key
# A packet's address that is the interface's, or was not logged.
SAME = b"="


def mix(value: int) -> int:
    """Let every bit of the lower half reach the upper one, and the upper half the lower."""
    value = value * MULTIPLIER & MASK
    return value ^ value >> 32


def with_fields(state: int, index: int, tokens: Iterable[bytes]) -> int:
    """Take more fields into the state; ``index`` is the first one's place among the key's fields."""
    # mix() written out, and the usual token's one word: calls and a loop for them took half of the time.
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
    """Let the last field's bits reach everywhere too."""
    return mix(mix(state))


def key_hash(key: FlowKey, seed: int = 0) -> int:
    """Give the key's 64 bits; the same for the same seed, on every machine and in every run."""
    return _with_direction(_but_direction(key, seed), key)


def related_hashes(key: FlowKey, seed: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Give the hashes of ``key.mirrors()`` and of ``key.same()``, each of which differ in nothing but the direction."""
    mirrors, same = (
        tuple(_with_direction(state, one) for one in keys)
        for keys in (key.mirrors(), key.same())
        for state in (_but_direction(keys[0], seed),)
    )
    return mirrors, same


def columns_of_tokens(keys: Sequence[FlowKey]) -> list[list[bytes]]:
    """Give all fields but the direction as the text a flow log has for them, field by field in the order they are hashed."""
    *fields, _ = zip(*keys, strict=True)
    columns = [list(map(_token, field)) for field in fields]
    for packet, plain in ((3, 1), (4, 2)):
        columns[packet] = [
            SAME if one == other else one
            for one, other in zip(columns[packet], columns[plain], strict=True)
        ]
    return columns


def _but_direction(key: FlowKey, seed: int) -> int:
    return with_fields(seed & MASK, 0, (token for (token,) in columns_of_tokens([key])))


def _with_direction(state: int, key: FlowKey) -> int:
    return finished(with_fields(state, DIRECTION, (_token(key.direction),)))


# A file names few addresses over and over; to write one out takes longer than to hash it.
@lru_cache(maxsize=65_536)
def _token(value: object) -> bytes:
    return ABSENT.encode() if value is None else str(value).encode()
