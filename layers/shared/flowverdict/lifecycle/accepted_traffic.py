"""Find the alerts whose traffic was accepted after their last reject, in the stored evidence.

Looked for when an alert would end as quiet, once if it can be read. ``alerts.probe`` says what an
accepted flow must be, so that "fixed" is never false. An accepted flow counts if its first record
begins after the last reject ended, and a request only if the flow opened a connection: its TCP
flags have SYN, and not the SYN-ACK of a reply
(https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html, "tcp-flags").
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from flowverdict.core.errors import EvidenceError
from flowverdict.flowlog.columnar import WINDOW
from flowverdict.flows.accepted_since import accepted_among, hashes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from flowverdict.alerts.probe import Probe
    from flowverdict.flows.accepted_index import AcceptedFlowIndex, Activity
    from flowverdict.flows.ports import EvidenceStore
    from flowverdict.lifecycle.state_machine import AlertState


_MAX_WINDOWS = 12  # an hour after the last reject
# What one sweep reads and computes at the most. What is beyond ends as quiet, which is not false.
_MAX_PIECES = 1_000  # of evidence
_MAX_PROBES = 40  # 0.2 s of a core each
_SYN, _ACK = 2, 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """Since when traffic is accepted (Unix seconds), and whose traffic could not be read.

    Both by fingerprint. An alert in neither has traffic that was not seen accepted.
    """

    since: Mapping[str, int]
    not_read: frozenset[str] = frozenset()


NOTHING_ACCEPTED = Accepted(since={})


class AcceptedTraffic(Protocol):
    """Knows since when the traffic of alerts is accepted."""

    def since(self, states: Sequence[AlertState], seed: int, now: int) -> Accepted:
        """Return since when. Never raises: what cannot be read is named."""


class AcceptedInEvidence:
    """Implements ``AcceptedTraffic`` with the evidence of sources.

    Parameters
    ----------
    on_unreadable
        Called with the partition and the reason where evidence cannot be read.
    """

    def __init__(self, evidence: EvidenceStore, on_unreadable: Callable[[str, str], None]) -> None:
        self._evidence = evidence
        self._on_unreadable = on_unreadable

    def since(self, states: Sequence[AlertState], seed: int, now: int) -> Accepted:
        """Return since when the traffic of alerts is accepted."""
        by_partition: defaultdict[str, list[AlertState]] = defaultdict(list)
        probes = 0
        for state in states:
            partitions = {window.rpartition("#")[0] for window in state.windows} - {""}
            probes += len(state.probes)
            if len(partitions) == 1 and state.probes and probes <= _MAX_PROBES:
                by_partition[partitions.pop()].append(state)
        found: dict[str, int] = {}
        not_read: set[str] = set()
        pieces = 0
        for partition, alerts in sorted(by_partition.items()):
            first = min(_last_reject(state) for state in alerts) // WINDOW
            last = min(now // WINDOW, first + _MAX_WINDOWS)
            try:
                pieces += self._evidence.count(partition, first, last)
                if pieces > _MAX_PIECES:
                    break
                evidence = self._evidence.read(partition, first, last)
            except EvidenceError as error:
                # The alerts wait for the next sweep; reminders and the digest go on.
                self._on_unreadable(partition, str(error))
                not_read.update(state.fingerprint for state in alerts)
                continue
            indexes = [piece.accepted for window in evidence.values() for piece in window]
            for state in alerts:
                since = _accepted_since(state, indexes, seed)
                if since is not None:
                    found[state.fingerprint] = since
        return Accepted(since=found, not_read=frozenset(not_read))


def _last_reject(state: AlertState) -> int:
    last_seen = state.notification.last_seen
    return state.observed_at if last_seen is None else last_seen


def _accepted_since(
    state: AlertState, indexes: Sequence[AcceptedFlowIndex], seed: int
) -> int | None:
    """Return since when every probe is accepted; ``None`` if one is not."""
    last_reject = state.notification.last_seen
    if last_reject is None:
        return None
    begun: list[int] = []
    for probe in state.probes:
        hashes = hashes_of(probe.key(), seed, any_source_port=probe.source_port is None)
        starts = [
            start
            for seen in accepted_among(indexes, hashes).values()
            if (start := _start_after(seen, probe, last_reject)) is not None
        ]
        if not starts:
            return None
        begun.append(min(starts))
    return max(begun)


def _start_after(seen: Activity, probe: Probe, last_reject: int) -> int | None:
    """Return when the accepted flow began, if it shows that the probe's packet passes by now."""
    if seen.first_start is None or seen.first_start <= last_reject:
        return None
    if probe.source_port is None:
        flags = seen.tcp_flags or 0
        if not flags & _SYN or flags & _ACK:
            return None
    return seen.first_start
