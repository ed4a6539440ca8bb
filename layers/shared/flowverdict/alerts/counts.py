"""What adds up over the detections of a problem and can be taken back."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowverdict.alerts.merging import difference

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_REMOTES = 10  # shown: more is not read


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A remote address, and how much of its traffic was rejected."""

    address: str
    flows: int
    packets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What adds up over the detections of a problem and can be taken back."""

    records: int = 0
    flows: int = 0
    packets: int = 0
    bytes: int = 0
    connections: int | None = None
    confidences: tuple[tuple[str, int], ...] = ()
    remotes: tuple[Remote, ...] = ()

    def minus(self, other: Counts) -> Counts:
        """Return what must be added to ``other`` to have these counts."""
        levels, other_levels = dict(self.confidences), dict(other.confidences)
        remotes = {remote.address: remote for remote in self.remotes}
        other_addresses = {remote.address for remote in other.remotes}
        return Counts(
            records=self.records - other.records,
            flows=self.flows - other.flows,
            packets=self.packets - other.packets,
            bytes=self.bytes - other.bytes,
            connections=difference(self.connections, other.connections),
            confidences=tuple(
                (level, levels.get(level, 0) - other_levels.get(level, 0))
                for level in {**levels, **other_levels}
            ),
            remotes=(
                *(remote for remote in self.remotes if remote.address not in other_addresses),
                *(_remote_minus(remotes.get(remote.address), remote) for remote in other.remotes),
            ),
        )


def _remote_minus(remote: Remote | None, other: Remote) -> Remote:
    flows, packets = (0, 0) if remote is None else (remote.flows, remote.packets)
    return Remote(address=other.address, flows=flows - other.flows, packets=packets - other.packets)


def merged_remotes(remotes: Iterable[Remote]) -> tuple[Remote, ...]:
    """Add up by address, the busiest first; without addresses that count no flow any more."""
    flows: Counter[str] = Counter()
    packets: Counter[str] = Counter()
    for remote in remotes:
        flows[remote.address] += remote.flows
        packets[remote.address] += remote.packets
    every = (Remote(address=each, flows=flows[each], packets=packets[each]) for each in flows)
    return tuple(sorted((remote for remote in every if remote.flows > 0), key=busiest))


def busiest(remote: Remote) -> tuple[int, str]:
    """Return the sort key of a remote: most packets first, then by address."""
    return (-remote.packets, remote.address)
