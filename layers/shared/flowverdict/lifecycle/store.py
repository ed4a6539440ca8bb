"""What is remembered between invocations, as values and as the port that a store implements.

A commit is all or nothing and holds only if nobody changed in between what it was computed from. What a window adds to an alert is
in the same commit as the alert itself, so that judging a window again, after a crash or with more evidence, adds the difference and
nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from flowverdict.alerts.model import Notification
    from flowverdict.lifecycle.rate_limit import RateLimit
    from flowverdict.lifecycle.state_machine import Intervals, State


# Of a commit: DynamoDB takes 100 writes in a transaction. An alert is two of them, its state and its part, and shadows, the window
# and the budget want room.
MAX_WRITES = 90
MAX_STATES = MAX_WRITES // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Inhibition:
    """Says until when (Unix seconds) an alert is seen that explains others; ``key`` as in ``alerts.Detection.inhibits``."""

    key: str
    until: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A window of a place, and what it was judged to be.

    Parameters
    ----------
    window_id
        Identifies it among all places and times.
    judged
        Digest of the rejected flows whose alerts are all written down; ``None`` where writing has begun and not ended.
    sources
        How many sources it was judged from at the most.
    fingerprints
        All alerts that it may have added something to; ``None`` in a commit leaves them as they are: there may be 10,000.
    muted_flows
        How many of its rejected flows the policy muted, by policy entry, when it was last written whole.
    """

    window_id: str
    version: int = 0
    judged: str | None = None
    sources: int = 0
    fingerprints: frozenset[str] | None = frozenset()
    muted_flows: Mapping[str, int] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """What a window shows of a problem; ``None`` where it was found to be something else."""

    window_id: str
    fingerprint: str
    notification: Notification | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """Changes that hold together or not at all.

    Parameters
    ----------
    states
        Each with the version it was computed from; its own is one higher once written.
    budget, window
        As for states.
    parts
        Of the window.
    """

    states: tuple[State, ...] = ()
    inhibitions: tuple[Inhibition, ...] = ()
    rate_limit: RateLimit | None = None
    window: Window | None = None
    contributions: tuple[Contribution, ...] = ()


class ConflictError(Exception):
    """Somebody else changed in between what a commit was computed from; nothing was written. Compute it again."""


class WindowChangedError(Exception):
    """Somebody else has written into a window, or kept evidence of it, since it was read; judge it again."""


class AlertStore(Protocol):
    """Where alerts are remembered. Every method raises ``StateError`` where the store cannot be reached."""

    def load(self, fingerprints: Collection[str]) -> Mapping[str, State]:
        """Give the states there are, as last written."""

    def active_inhibitions(self, keys: Collection[str], now: int) -> frozenset[str]:
        """Give those of the keys whose shadow is still there."""

    def load_rate_limit(self, hour: int) -> RateLimit:
        """Give the budget of an hour, an unused one if there is none."""

    def commit(self, commit: Commit, now: int, intervals: Intervals) -> None:
        """Write it all; raises ``ConflictError`` where something has changed in between."""

    def mark_sent(self, state: State, intervals: Intervals) -> None:
        """Take away the mark that ``state.pending`` is to be sent, if it still stands for the same message."""

    def due(self, now: int, limit: int) -> Iterable[str]:
        """Give the fingerprints that the sweep has to look at, those due longest first."""

    def load_windows(self, window_ids: Collection[str]) -> Mapping[str, Window]:
        """Give the windows there are."""

    def version_of(self, window_id: str) -> int:
        """Give the version of a window, 0 where there is none."""

    def load_contributions(
        self, of: Collection[tuple[str, str]]
    ) -> Mapping[tuple[str, str], Notification]:
        """Give what windows have added to alerts, by the window's id and the fingerprint, where they have."""

    def windows_of(self, source_id: str) -> tuple[int, ...] | None:
        """Give the numbers of the windows that a source had evidence for; ``None`` for a source that was not read before."""

    def note_read(self, source_id: str, windows: Collection[int], now: int) -> None:
        """Note that all evidence of a source has been kept."""

    def seed(self) -> int:
        """Give what the hashes of flows begin with (64 bits): the same for as long as the store lives, and a secret."""


class AlertPublisher(Protocol):
    """Where alerts go."""

    def publish(self, notification: Notification) -> None:
        """Publish one alert or notice; raises ``DeliveryError`` where that cannot be done."""
