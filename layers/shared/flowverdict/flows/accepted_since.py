"""Find the accepted flows of a packet among evidence, whatever the source port.

Evidence has accepted flows as hashes of their keys. All 65,536 source ports are hashed where any
port counts.
"""

from __future__ import annotations

from itertools import batched
from typing import TYPE_CHECKING

from flowverdict.flowlog.flow_hash import KeyHashes, columns_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowverdict.flowlog.flow_key import FlowKey
    from flowverdict.flows.accepted_index import AcceptedFlowIndex, Activity

_SOURCE_PORT = 5  # its place among the fields of a key
_PORTS = range(1, 65_536)
_AT_ONCE = 4_096  # ports whose hashes are found together, in 2 MB


def hashes_of(key: FlowKey, seed: int, *, any_source_port: bool) -> frozenset[int]:
    """Return the hashes that accepted flows of a key have, of all source ports if any counts."""
    columns = columns_of([key])
    if not any_source_port:
        return frozenset(KeyHashes(columns, seed).of_flows())
    hashes: set[int] = set()
    for ports in batched(_PORTS, _AT_ONCE, strict=False):
        columns = [column[:1] * len(ports) for column in columns]
        columns[_SOURCE_PORT] = [str(port).encode() for port in ports]
        hashes.update(KeyHashes(columns, seed).of_flows())
    return frozenset(hashes)


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
