"""Tell by the first eight bytes of addresses' texts which are inside, as ``addresses.is_inside``.

The ranges are wide: the first two numbers of an IPv4 address, or the first group of an IPv6
address, show whether it is in one of them.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from flowverdict.core.addresses import INSIDE_V4, INSIDE_V6
from flowverdict.flowlog.flow_hash_numpy import MASKS, word_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowverdict.flowlog.flow_hash_numpy import Flags, Words

_SHOWN = 16  # bits of an address that its beginning shows


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


def _by_first_byte() -> dict[np.uint64, list[tuple[np.uint64, Words]]]:
    """Return the beginnings by their first byte, those of one length with their mask."""
    lengths: defaultdict[tuple[int, int], list[np.uint64]] = defaultdict(list)
    for text in _beginnings():
        lengths[ord(text[0]), len(text)].append(word_of(text.encode()))
    found: defaultdict[np.uint64, list[tuple[np.uint64, Words]]] = defaultdict(list)
    for (byte, length), words in sorted(lengths.items()):
        found[np.uint64(byte)].append((MASKS[length], np.array(words, np.uint64)))
    return dict(found)


_TEN, _TEN_MASK = word_of(b"10."), MASKS[3]
_OTHERS = _by_first_byte()


def are_inside(first: Words) -> Flags:
    """Return which addresses are inside; ``first`` are the first words of canonical texts."""
    inside: Flags = first & _TEN_MASK == _TEN
    # Most addresses begin with 10, or with another digit than the rest of the ranges.
    rows = np.flatnonzero(~inside)
    words = first[rows]
    bytes_ = words & MASKS[1]
    for byte, beginnings in _OTHERS.items():
        some = np.flatnonzero(bytes_ == byte)
        for mask, known in beginnings:
            inside[rows[some]] |= np.isin(words[some] & mask, known)
    return inside
