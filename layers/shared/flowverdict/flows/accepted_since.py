"""Find the accepted flows of a packet among evidence, whatever the source port.

Evidence has accepted flows as hashes of their keys. All 65,536 source ports are hashed where any
port counts; the fields before the port are hashed once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowverdict.flowlog.flow_hash import (
    MASK,
    columns_of_tokens,
    finished,
    key_hash,
    multiplier_of,
    with_fields,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowverdict.flowlog.flow_key import FlowKey
    from flowverdict.flows.accepted_index import AcceptedFlowIndex, Activity

_SOURCE_PORT = 5  # its place among the fields of a key
_PORTS = range(1, 65_536)


def hashes_of(key: FlowKey, seed: int, *, any_source_port: bool) -> frozenset[int]:
    """Return the hashes that accepted flows of a key have, of all source ports if any counts."""
    if not any_source_port:
        return frozenset({key_hash(key, seed)})
    multiplier = multiplier_of(seed)
    tokens = [token for (token,) in columns_of_tokens([key])]
    multiplier = multiplier_of(seed)
    before = with_fields(seed & MASK, multiplier, 0, tokens[:_SOURCE_PORT])
    after = [*tokens[_SOURCE_PORT + 1 :], b"-" if key.direction is None else key.direction.encode()]
    states = (
        with_fields(before, multiplier, _SOURCE_PORT, (str(port).encode(), *after))
        for port in _PORTS
    )
    return frozenset(finished(state, multiplier) for state in states)


def accepted_among(
    indexes: Iterable[AcceptedFlowIndex], hashes: frozenset[int]
) -> dict[int, Activity]:
    """Return the activity of the flows with these hashes, over all indexes."""
    found: dict[int, Activity] = {}
    for index in indexes:
        known = frozenset(
            hashed for column in index.hash_columns() for hashed in hashes.intersection(column)
        )
        for hashed, seen in index.lookup(known).items():
            if hashed in found:
                found[hashed].widen(seen.first_start, seen.last_end, seen.tcp_flags)
            else:
                found[hashed] = seen
    return found
