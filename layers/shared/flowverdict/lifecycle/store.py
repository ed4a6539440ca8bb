"""Define what is stored between invocations, as values and as the port that a store implements.

A commit is written whole or not at all, and only if what it was computed from has not changed
since. What a window contributes to an alert is in the same commit as the alert. Evaluating a window
again, after a crash or with more evidence, therefore adds the difference and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from flowverdict.alerts.model import Alert, Notification, Status
    from flowverdict.lifecycle.feeds import Feed, UnreadSpan
    from flowverdict.lifecycle.intervals import Intervals
    from flowverdict.lifecycle.on_call import Silences
    from flowverdict.lifecycle.rate_limit import RateLimit
    from flowverdict.lifecycle.state_machine import AlertState
    from flowverdict.verdict.remediation.offers import StoredOffers


# Writes of a commit. DynamoDB takes 100 in a transaction. An alert is two writes, its state and its
# contribution; the others are for inhibitions, the window and the rate limit.
MAX_WRITES = 90
MAX_STATES = MAX_WRITES // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Inhibition:
    """Until when (Unix seconds) an alert inhibits others; ``key`` as in ``Detection.inhibits``."""

    key: str
    until: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Five minutes of a partition, and what the last evaluation found.

    Parameters
    ----------
    window_id
        Identifies the window among all partitions and times.
    judged
        Digest of the rejected flows whose alerts are all written; ``None`` while some are not.
    sources
        The highest number of sources in any evaluation.
    settled
        Whether no part of the rules was missing for a passing reason in the last evaluation.
    fingerprints
        All alerts that the window may contribute to. ``None`` in a commit leaves them as they are,
        because there may be 10,000.
    muted_flows
        Rejected flows that the policy muted in the last whole evaluation, by policy entry.
    """

    window_id: str
    version: int = 0
    judged: str | None = None
    sources: int = 0
    settled: bool = False
    fingerprints: frozenset[str] | None = frozenset()
    muted_flows: Mapping[str, int] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """What a window contributes to an alert; ``None`` if the window shows the alert no longer."""

    window_id: str
    fingerprint: str
    notification: Notification | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """Changes that are written together or not at all.

    Parameters
    ----------
    states
        Each with the version that it was computed from; the stored version is higher by 1.
    rate_limit, window
        As for states.
    contributions
        Of the window.
    feed, silences
        As for states.
    """

    states: tuple[AlertState, ...] = ()
    inhibitions: tuple[Inhibition, ...] = ()
    rate_limit: RateLimit | None = None
    window: Window | None = None
    contributions: tuple[Contribution, ...] = ()
    feed: Feed | None = None
    silences: Silences | None = None


class Pending(NamedTuple):
    """The mark of a message to send, and since when (Unix seconds); ``None`` once it is sent."""

    status: Status | None
    at: int | None


class ConflictError(Exception):
    """What a commit was computed from has changed; nothing was written. Compute it again."""


class WindowChangedError(Exception):
    """A window or its evidence has changed since the window was read; evaluate it again."""


class SourceStore(Protocol):
    """What readers need of the store. Every method raises ``StateError`` if it cannot be reached.

    What is stored and cannot be read counts as absent.
    """

    def seed(self) -> int:
        """Return the secret seed of flow hashes (64 bits), the same as long as the store exists."""

    def windows_of(self, source_id: str) -> tuple[int, ...] | None:
        """Return the numbers of the windows of a source; ``None`` for a source not read before."""

    def record_source(self, source_id: str, windows: Collection[int], now: int) -> bool:
        """Record that all evidence of a source is stored; return whether it is held back."""

    def hold_back(self, source_id: str, feed: str, span: UnreadSpan, now: int) -> None:
        """Note that the records of a source are not read, or not judged, unless that is noted.

        ``release`` ends it.
        """

    def release(self, source_id: str, feed: str) -> None:
        """Note that a source that was held back is read and judged."""

    def mark_windows(self, window_ids: Collection[str], now: int) -> None:
        """Store the windows that are not stored yet, as not evaluated."""


class AlertStore(SourceStore, Protocol):
    """Where alerts are stored."""

    def load(self, fingerprints: Collection[str]) -> Mapping[str, AlertState]:
        """Return the states that exist, by fingerprint, as last written."""

    def pending_of(self, fingerprint: str) -> Pending | None:
        """Return the mark of an alert as last written; ``None`` for one that is not stored."""

    def active_inhibitions(self, keys: Collection[str], now: int) -> frozenset[str]:
        """Return the keys whose inhibition has not ended."""

    def load_rate_limit(self, hour: int) -> RateLimit:
        """Return the rate limit of an hour, an unused one if none is stored."""

    def commit(self, commit: Commit, now: int, intervals: Intervals) -> None:
        """Write all changes; raises ``ConflictError`` if what they were computed from changed."""

    def mark_sent(self, state: AlertState, intervals: Intervals) -> None:
        """Remove the pending message from the stored state, if it is still the same message.

        With that, store ``state.notified_severity``, and nothing else of ``state``.
        """

    def due(self, now: int, limit: int) -> Iterable[str]:
        """Return the fingerprints of alerts that are due at ``now``, the longest due first."""

    def due_in_turn(self, now: int, limit: int) -> Sequence[str]:
        """Return alerts that are due at ``now``, those that earlier calls left out first.

        Each alert that is due comes once before any comes again. Of those that did not come yet,
        the longest due come first.
        """

    def ended(self, since: int, limit: int) -> Iterable[str]:
        """Return the fingerprints of alerts and notices that ended after a time, the first first.

        Without those that wait for the digest, and those whose last message is not sent yet.
        """

    def load_silences(self) -> Silences:
        """Return the silences of people on call, none if none are stored."""

    def load_feeds(self, names: Collection[str]) -> Mapping[str, Feed]:
        """Return the feeds that exist, by name."""

    def silent_feeds(self, now: int, limit: int) -> Iterable[str]:
        """Return the names of feeds that are silent at ``now``, the longest silent first."""

    def load_windows(self, window_ids: Collection[str]) -> Mapping[str, Window]:
        """Return the windows that exist, by id."""

    def version_of(self, window_id: str) -> int:
        """Return the version of a window, 0 for a window that is not stored."""

    def load_contributions(
        self, of: Collection[tuple[str, str]]
    ) -> Mapping[tuple[str, str], Notification]:
        """Return what windows contribute to alerts, by window id and fingerprint."""

    def unread(self, feed: str, after: int, limit: int) -> Sequence[UnreadSpan] | None:
        """Return the spans of a feed that end after a time (Unix seconds) and are held back.

        ``None`` where there are more than ``limit``.
        """

    def load_offers(self, places: Collection[str]) -> Mapping[str, StoredOffers]:
        """Return what fixes offer in these places, without those of which nothing is stored."""

    def save_offers(self, place: str, stored: StoredOffers) -> bool:
        """Store the offers over ``stored.version``; return ``False`` if that has changed."""


class AlertPublisher(Protocol):
    """Where alerts and notices are published."""

    def publish(self, notification: Notification) -> None:
        """Publish one alert or notice; raises ``DeliveryError`` if that is not possible."""

    def publish_ends(self, alerts: Sequence[Alert]) -> None:
        """Publish two or more alerts that ended alike, to people in one message.

        Raises ``DeliveryError`` if that is not possible; some of it may be published then.
        """
