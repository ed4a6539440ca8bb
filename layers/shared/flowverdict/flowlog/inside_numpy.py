"""Tell by the first eight bytes of addresses' texts which are inside, as ``addresses.is_inside``.

The ranges are wide: the first two numbers of an IPv4 address, or the first group of an IPv6
address, show whether it is in one of them.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from flowverdict.core.addresses import INSIDE_V4, INSIDE_V6
from flowverdict.flowlog.flow_hash_numpy import IDENTITY, MASKS, UINT64, word_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowverdict.flowlog.flow_hash_numpy import Flags, Integers, Words

_SHOWN = 16  # bits of an address that its beginning shows
_LOOKED_AT = 4  # bytes: each beginning but ``10.`` has more


def _beginnings() -> Iterator[str]:
    """Yield what the texts of addresses inside begin with: ``10.``, ``172.16.``, ``fc00:``."""
    for network in INSIDE_V4:
        first, second, *_ = network.network_address.packed
        if network.prefixlen <= _SHOWN // 2:
            yield f"{first}."
        else:
            last = second + (1 << _SHOWN - network.prefixlen)
            yield from (f"{first}.{number}." for number in range(second, last))
    for wide in INSIDE_V6:
        group = int.from_bytes(wide.network_address.packed[:2])
        last = group + (1 << _SHOWN - wide.prefixlen)
        yield from (f"{number:x}:" for number in range(group, last))


def _by_length() -> list[tuple[np.uint64, Words]]:
    """Return the beginnings of each length, sorted, with their mask."""
    words: defaultdict[int, set[int]] = defaultdict(set)
    for text in _beginnings():
        words[len(text)].add(int(word_of(text.encode())))
    return [(MASKS[length], np.array(sorted(known), np.uint64)) for length, known in words.items()]


def _hashed(first: Words) -> Integers:
    """Return 16 bits for the first four bytes of each word."""
    hashed: Words = (first & MASKS[_LOOKED_AT]) * IDENTITY >> UINT64(64 - 16)
    return hashed.view(np.int64)


_TEN = word_of(b"10.")
_OTHERS = [(mask, words) for mask, words in _by_length() if _TEN not in words]
_MAY_BE_OTHERS = np.zeros(1 << 16, np.bool_)
for _, _words in _OTHERS:
    _MAY_BE_OTHERS[_hashed(_words)] = True


def are_inside(first: Words) -> Flags:
    """Return which addresses are inside; ``first`` are the first words of canonical texts."""
    inside: Flags = first & MASKS[3] == _TEN
    rows = np.flatnonzero(_MAY_BE_OTHERS[_hashed(first)])  # few
    for mask, known in _OTHERS:
        words = first[rows] & mask
        inside[rows] |= known.take(np.searchsorted(known, words), mode="clip") == words
    return inside
