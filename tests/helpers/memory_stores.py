"""Implement the stores as dictionaries, for tests: the same guarantees, nothing persisted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from flowverdict.flows.bundle import Piece, chosen, name_of, pack_bundle, pieces_in, sources_in
from flowverdict.lifecycle.dynamodb_items import (
    pack_rate_limit,
    pack_state,
    unpack_rate_limit,
    unpack_state,
)
from flowverdict.lifecycle.on_call import Silences
from flowverdict.lifecycle.rate_limit import RateLimit
from flowverdict.lifecycle.store import Commit, ConflictError, Pending, Window
from flowverdict.verdict.remediation.offers import StoredOffers

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from flowverdict.alerts.model import Notification
    from flowverdict.flows.bundle import Section
    from flowverdict.flows.stored_evidence import StoredEvidence
    from flowverdict.lifecycle.feeds import Feed, UnreadSpan
    from flowverdict.lifecycle.intervals import Intervals
    from flowverdict.lifecycle.state_machine import AlertState


class MemoryEvidence:
    """Implements ``EvidenceStore``. Values go through the same bytes as in the bucket."""

    def __init__(self) -> None:
        self._stored: dict[tuple[str, int, str], bytes] = {}

    def put(self, partition: str, window: int, sections: Sequence[Section]) -> None:
        """Store what sources show of a window."""
        self._stored[partition, window, name_of(sections)] = pack_bundle(sections)

    def read(self, partition: str, first: int, last: int) -> Mapping[int, Sequence[StoredEvidence]]:
        """Return the evidence of these windows."""
        found: dict[int, list[Piece]] = {}
        for (stored_partition, window, name), packed in sorted(self._stored.items()):
            if stored_partition == partition and first <= window <= last:
                found.setdefault(window, []).extend(pieces_in(name, packed))
        return {
            window: [piece.evidence for piece in chosen(pieces)] for window, pieces in found.items()
        }

    def count(self, partition: str, first: int, last: int) -> int:
        """Count the pieces of evidence of these windows."""
        return sum(
            sources_in(name)
            for stored_partition, window, name in self._stored
            if stored_partition == partition and first <= window <= last
        )


class MemoryStore:
    """Implements ``AlertStore``. Values go through the same bytes as in the table."""

    def __init__(self) -> None:
        self.states: dict[str, AlertState] = {}
        self._due: dict[str, int | None] = {}
        self._inhibitions: dict[str, int] = {}
        self._rate_limits: dict[int, RateLimit] = {}
        self._windows: dict[str, Window] = {}
        self._contributions: dict[tuple[str, str], Notification] = {}
        self.feeds: dict[str, Feed] = {}
        self._sources: dict[str, tuple[int, ...]] = {}
        self._offers: dict[str, StoredOffers] = {}
        self._held_back: dict[str, tuple[str, UnreadSpan]] = {}
        self.silences = Silences()

    def load(self, fingerprints: Collection[str]) -> Mapping[str, AlertState]:
        """Return the states that exist."""
        return {name: self.states[name] for name in fingerprints if name in self.states}

    def pending_of(self, fingerprint: str) -> Pending | None:
        """Return the mark of an alert."""
        state = self.states.get(fingerprint)
        return None if state is None else Pending(state.pending, state.pending_at)

    def active_inhibitions(self, keys: Collection[str], now: int) -> frozenset[str]:
        """Return the keys whose inhibition has not ended."""
        return frozenset(key for key in keys if self._inhibitions.get(key, now) > now)

    def load_rate_limit(self, hour: int) -> RateLimit:
        """Return the rate limit of an hour."""
        return self._rate_limits.get(hour, RateLimit(hour=hour))

    def load_silences(self) -> Silences:
        """Return the silences of people on call."""
        return self.silences

    def commit(self, commit: Commit, now: int, intervals: Intervals) -> None:  # noqa: ARG002 - nothing expires here
        """Write all changes, or raise ``ConflictError``."""
        if self._is_stale(commit):
            raise ConflictError
        self._write_states(commit, intervals)
        for inhibition in commit.inhibitions:
            self._inhibitions[inhibition.key] = inhibition.until
        if commit.rate_limit is not None:
            rate_limit = commit.rate_limit
            self._rate_limits[rate_limit.hour] = unpack_rate_limit(
                rate_limit.hour, rate_limit.version + 1, pack_rate_limit(rate_limit)
            )
        if commit.window is not None:
            self._write_window(commit.window)
        if commit.feed is not None:
            feed = commit.feed
            self.feeds[feed.name] = replace(feed, version=feed.version + 1)
        if commit.silences is not None:
            self.silences = replace(commit.silences, version=commit.silences.version + 1)
        for contribution in commit.contributions:
            self._contributions.pop((contribution.window_id, contribution.fingerprint), None)
            if contribution.notification is not None:
                self._contributions[contribution.window_id, contribution.fingerprint] = (
                    contribution.notification
                )

    def _is_stale(self, commit: Commit) -> bool:
        stale = any(state.version != self._version(state.fingerprint) for state in commit.states)
        rate_limit = commit.rate_limit
        stale = stale or (
            rate_limit is not None
            and rate_limit.version != self.load_rate_limit(rate_limit.hour).version
        )
        window = commit.window
        stale = stale or (
            window is not None
            and window.version != self._windows.get(window.window_id, window).version
        )
        feed = commit.feed
        if feed is not None:
            stale = stale or (
                feed.version != (self.feeds[feed.name].version if feed.name in self.feeds else 0)
            )
        silences = commit.silences
        return stale or (silences is not None and silences.version != self.silences.version)

    def _write_states(self, commit: Commit, intervals: Intervals) -> None:
        for state in commit.states:
            self.states[state.fingerprint] = unpack_state(
                state.fingerprint,
                state.version + 1,
                pack_state(state),
                state.pending,
                state.pending_at,
            )
            self._due[state.fingerprint] = state.due_at(intervals)

    def _write_window(self, window: Window) -> None:
        before = self._windows.get(window.window_id, Window(window_id=window.window_id))
        fingerprints = before.fingerprints if window.fingerprints is None else window.fingerprints
        self._windows[window.window_id] = replace(
            window, version=window.version + 1, fingerprints=fingerprints
        )

    def mark_windows(self, window_ids: Collection[str], now: int) -> None:  # noqa: ARG002 - nothing expires here
        """Store the windows that are not stored yet."""
        for window_id in sorted(set(window_ids) - self._windows.keys()):
            self._write_window(Window(window_id=window_id))

    def _version(self, fingerprint: str) -> int:
        return self.states[fingerprint].version if fingerprint in self.states else 0

    def mark_sent(self, state: AlertState, intervals: Intervals) -> None:
        """Remove the pending message."""
        stored = self.states[state.fingerprint]
        if (stored.pending, stored.pending_at) == (state.pending, state.pending_at):
            sent = replace(stored.sent(), notified_severity=state.notified_severity)
            self.states[state.fingerprint] = unpack_state(
                stored.fingerprint, stored.version + 1, pack_state(sent), None, None
            )
            self._due[state.fingerprint] = sent.due_at(intervals)

    def due(self, now: int, limit: int) -> list[str]:
        """Return what is due, the longest due first."""
        waiting = sorted(
            (at, name) for name, at in self._due.items() if at is not None and at <= now
        )
        return [name for _, name in waiting[:limit]]

    def due_in_turn(self, now: int, limit: int) -> list[str]:
        """Return what is due; there is never more than one call takes."""
        taken = self.due(now, limit)
        assert len(taken) < limit
        return taken

    def ended(self, since: int, limit: int) -> list[str]:
        """Return what ended, the first first."""
        over = sorted(
            (state.closed_at, name)
            for name, state in self.states.items()
            if state.closed_at is not None and state.pending is None and not state.for_digest
        )
        return [name for at, name in over if at > since][:limit]

    def load_feeds(self, names: Collection[str]) -> Mapping[str, Feed]:
        """Return the feeds that exist."""
        return {name: self.feeds[name] for name in names if name in self.feeds}

    def silent_feeds(self, now: int, limit: int) -> list[str]:
        """Return the names of silent feeds, the longest silent first."""
        silent = [
            (feed.silent_from, name)
            for name, feed in self.feeds.items()
            if feed.silent_from is not None and feed.silent_from <= now
        ]
        return [name for _, name in sorted(silent)[:limit]]

    def load_windows(self, window_ids: Collection[str]) -> Mapping[str, Window]:
        """Return the windows that exist."""
        return {
            window_id: self._windows[window_id]
            for window_id in window_ids
            if window_id in self._windows
        }

    def version_of(self, window_id: str) -> int:
        """Return the version of a window."""
        return self._windows.get(window_id, Window(window_id=window_id)).version

    def load_contributions(
        self, of: Collection[tuple[str, str]]
    ) -> Mapping[tuple[str, str], Notification]:
        """Return what windows contribute to alerts."""
        return {name: self._contributions[name] for name in of if name in self._contributions}

    def windows_of(self, source_id: str) -> tuple[int, ...] | None:
        """Return the windows of a source."""
        return self._sources.get(source_id)

    def record_source(self, source_id: str, windows: Collection[int], now: int) -> bool:  # noqa: ARG002 - nothing expires here
        """Record that a source was read."""
        self._sources[source_id] = tuple(windows)
        return source_id in self._held_back

    def hold_back(self, source_id: str, feed: str, span: UnreadSpan, now: int) -> None:  # noqa: ARG002 - nothing expires here
        """Note that a source is not read."""
        self._held_back.setdefault(source_id, (feed, span))

    def release(self, source_id: str, feed: str) -> None:  # noqa: ARG002 - a source has one feed
        """Note that a source is read and judged."""
        self._held_back.pop(source_id, None)

    def unread(self, feed: str, after: int, limit: int) -> list[UnreadSpan] | None:
        """Return the spans of a feed that are held back; ``None`` for more than ``limit``."""
        found = [span for of, span in self._held_back.values() if of == feed and span.end > after]
        return None if len(found) > limit else found

    def load_offers(self, places: Collection[str]) -> Mapping[str, StoredOffers]:
        """Return what fixes offer in these places."""
        return {place: self._offers[place] for place in places if place in self._offers}

    def save_offers(self, place: str, stored: StoredOffers) -> bool:
        """Store the offers, unless another version is stored by now."""
        if self._offers.get(place, StoredOffers()).version != stored.version:
            return False
        self._offers[place] = replace(stored, version=stored.version + 1)
        return True

    def seed(self) -> int:
        """Return a seed that is not a secret."""
        return 0
