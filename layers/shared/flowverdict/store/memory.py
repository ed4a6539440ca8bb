"""The store as a dictionary, for tests: the same promises, nothing kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowverdict.lifecycle import Budget, State
from flowverdict.state import Claim, Commit, ConflictError, Source
from flowverdict.store.items import pack_budget, pack_state, unpack_budget, unpack_state

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from flowverdict.lifecycle import Intervals


class MemoryStore:
    """Implements ``AlertStore``. What it is given goes through the same bytes as in the table."""

    def __init__(self) -> None:
        self.states: dict[str, State] = {}
        self._due: dict[str, int | None] = {}
        self._shadows: dict[str, int] = {}
        self._budgets: dict[int, Budget] = {}
        self._owners: dict[str, tuple[str, int]] = {}
        self._counted: set[str] = set()

    def load(self, fingerprints: Collection[str]) -> Mapping[str, State]:
        """Give the states there are."""
        return {name: self.states[name] for name in fingerprints if name in self.states}

    def live_shadows(self, keys: Collection[str], now: int) -> frozenset[str]:
        """Give those of the keys whose shadow is still there."""
        return frozenset(key for key in keys if self._shadows.get(key, now) > now)

    def load_budget(self, hour: int) -> Budget:
        """Give the budget of an hour."""
        return self._budgets.get(hour, Budget(hour=hour))

    def commit(self, commit: Commit, now: int, intervals: Intervals) -> None:  # noqa: ARG002 - nothing expires here
        """Write it all, or raise ``ConflictError``."""
        stale = any(state.version != self._version(state.fingerprint) for state in commit.states)
        budget = commit.budget
        stale = stale or (budget is not None and budget.version != self.load_budget(budget.hour).version)
        lost = any(
            source.source_id in self._counted or self._owners.get(source.source_id, ("", 0))[0] != source.owner
            for source in commit.sources
        )
        if stale or lost:
            raise ConflictError
        for state in commit.states:
            self.states[state.fingerprint] = unpack_state(
                state.fingerprint, state.version + 1, pack_state(state), state.pending, state.pending_at
            )
            self._due[state.fingerprint] = state.due_at(intervals)
        for shadow in commit.shadows:
            self._shadows[shadow.key] = shadow.until
        if budget is not None:
            self._budgets[budget.hour] = unpack_budget(budget.hour, budget.version + 1, pack_budget(budget))
        self._counted |= {source.source_id for source in commit.sources}

    def _version(self, fingerprint: str) -> int:
        return self.states[fingerprint].version if fingerprint in self.states else 0

    def mark_sent(self, state: State, intervals: Intervals) -> None:
        """Take away the mark."""
        kept = self.states[state.fingerprint]
        if kept.pending_at == state.pending_at:
            sent = kept.sent()
            self.states[state.fingerprint] = unpack_state(kept.fingerprint, kept.version + 1, pack_state(sent), None, None)
            self._due[state.fingerprint] = sent.due_at(intervals)

    def due(self, now: int, limit: int) -> list[str]:
        """Give what is due, longest first."""
        waiting = sorted((at, name) for name, at in self._due.items() if at is not None and at <= now)
        return [name for _, name in waiting[:limit]]

    def claim(self, source: Source, now: int, lease: int) -> Claim:
        """Claim a source."""
        if source.source_id in self._counted:
            return Claim.DONE
        owner, until = self._owners.get(source.source_id, (source.owner, now))
        if owner != source.owner and until > now:
            return Claim.BUSY
        self._owners[source.source_id] = (source.owner, now + lease)
        return Claim.OURS
