"""What is remembered between invocations, as values and as the port that a store implements.

A commit is all or nothing and holds only if nobody changed in between what it was computed from. What a source (an object, a log
event) contributed is in the same commit as the note that it has been counted, so it counts once however often it is delivered. What
takes several commits (more than MAX_STATES alerts, or MAX_SOURCES sources) has the note in the last ones: a crash in between counts
the first ones' part again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from flowverdict.lifecycle import Budget, Intervals, State

MAX_STATES = 60  # of a commit: DynamoDB takes 100 writes in a transaction, and shadows, sources and the budget want room
MAX_SOURCES = 25  # of a commit


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """Says until when (Unix seconds) an alert is seen that explains others; ``key`` as in ``alerts.Sighting.casts``."""

    key: str
    until: int


class Claim(StrEnum):
    """What a source is to an invocation that wants to read it."""

    OURS = "ours"
    DONE = "done"  # counted before
    BUSY = "busy"  # another invocation is at it


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Something that is counted once: an object or a log event, and who reads it.

    The owner is what Lambda keeps the same when it tries again (a queue message's id, an asynchronous event's request id), so that
    a second try may take up what the first one claimed.
    """

    source_id: str
    owner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """Changes that hold together or not at all.

    Parameters
    ----------
    states
        Each with the version it was computed from; its own is one higher once written.
    budget
        As for states.
    sources
        Claimed ones that are counted with this.
    """

    states: tuple[State, ...] = ()
    shadows: tuple[Shadow, ...] = ()
    budget: Budget | None = None
    sources: tuple[Source, ...] = ()


class ConflictError(Exception):
    """Somebody else changed in between what a commit was computed from; nothing was written. Compute it again."""


class AlertStore(Protocol):
    """Where alerts are remembered. Every method raises ``StateError`` where the store cannot be reached."""

    def load(self, fingerprints: Collection[str]) -> Mapping[str, State]:
        """Give the states there are, as last written."""

    def live_shadows(self, keys: Collection[str], now: int) -> frozenset[str]:
        """Give those of the keys whose shadow is still there."""

    def load_budget(self, hour: int) -> Budget:
        """Give the budget of an hour, an unused one if there is none."""

    def commit(self, commit: Commit, now: int, intervals: Intervals) -> None:
        """Write it all; raises ``ConflictError`` where something has changed in between or a claim was lost."""

    def mark_sent(self, state: State, intervals: Intervals) -> None:
        """Take away the mark that ``state.pending`` is to be sent, if it still stands for the same message."""

    def due(self, now: int, limit: int) -> Iterable[str]:
        """Give the fingerprints that the sweep has to look at, those due longest first."""

    def claim(self, source: Source, now: int, lease: int) -> Claim:
        """Claim a source for ``lease`` seconds; its owner may claim it again."""
