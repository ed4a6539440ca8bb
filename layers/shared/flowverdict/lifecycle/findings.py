"""Find out what decides how open alerts end: rules, feeds, and accepted traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowverdict.alerts.recheck import Passage
from flowverdict.lifecycle.passing_time import RULES_NOT_TRIED, Findings, is_read
from flowverdict.lifecycle.rule_recheck import recheck_rules

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flowverdict.lifecycle.accepted_traffic import AcceptedTraffic
    from flowverdict.lifecycle.passing_time import RulesFound
    from flowverdict.lifecycle.state_machine import AlertState, Intervals
    from flowverdict.lifecycle.store import AlertStore
    from flowverdict.network.ports import ConfigSource


class Finder:
    """Reads rules in every sweep, feeds and evidence only of alerts that may end.

    ``accepted`` is ``None`` where no accepted traffic is looked for.
    """

    def __init__(
        self, store: AlertStore, accepted: AcceptedTraffic | None, intervals: Intervals
    ) -> None:
        self._store = store
        self._accepted = accepted
        self._intervals = intervals

    def find(
        self, states: Sequence[AlertState], configs: ConfigSource | None, now: int
    ) -> Findings:
        """Return what was found out about the alerts."""
        rules = recheck_rules(states, configs)
        ending = [state for state in states if self._may_end(state, now)]
        read_to = self._read_to(ending)
        accepted_at: Mapping[str, int] = {}
        if self._accepted is not None:
            unsure = [state for state in ending if self._is_unsure(state, rules, read_to)]
            if unsure:
                accepted_at = self._accepted.since(unsure, self._store.seed(), now)
        return Findings(rules=rules, read_to=read_to, accepted_at=accepted_at)

    def _may_end(self, state: AlertState, now: int) -> bool:
        return (
            state.is_open
            and state.pending is None
            and now - state.observed_at >= self._intervals.resolve
        )

    def _read_to(self, states: Sequence[AlertState]) -> Mapping[str, int]:
        """Return up to when all feeds of an alert were read, where all are known."""
        names = {feed for state in states for feed in state.feeds}
        feeds = self._store.load_feeds(sorted(names)) if names else {}
        return {
            state.fingerprint: min(feeds[name].read_to for name in state.feeds)
            for state in states
            if state.feeds and feeds.keys() >= set(state.feeds)
        }

    def _is_unsure(
        self,
        state: AlertState,
        rules: Mapping[str, RulesFound],
        read_to: Mapping[str, int],
    ) -> bool:
        """Whether it ends now, and only its traffic can show that it is fixed."""
        return (
            state.was_sent
            and bool(state.probes)
            and rules.get(state.fingerprint, RULES_NOT_TRIED).passage is Passage.UNKNOWN
            and is_read(state, read_to.get(state.fingerprint), self._intervals)
        )
