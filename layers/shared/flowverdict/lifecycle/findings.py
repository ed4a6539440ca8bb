"""Find out what decides how open alerts end: rules, feeds, and accepted traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowverdict.alerts.recheck import Passage
from flowverdict.lifecycle.accepted_traffic import NOTHING_ACCEPTED
from flowverdict.lifecycle.feeds import place_of
from flowverdict.lifecycle.passing_time import RULES_NOT_TRIED, Findings, is_read, last_record
from flowverdict.lifecycle.rule_recheck import recheck_rules

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flowverdict.lifecycle.accepted_traffic import AcceptedTraffic
    from flowverdict.lifecycle.intervals import Intervals
    from flowverdict.lifecycle.passing_time import RulesFound
    from flowverdict.lifecycle.state_machine import AlertState
    from flowverdict.lifecycle.store import AlertStore
    from flowverdict.network.ports import ConfigSource


_MOST_UNREAD = 1_000  # sources of a feed that are held back; with more, nothing is known of it


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
        rules = recheck_rules([state for state in states if state.was_sent], configs)
        ending = [state for state in states if self._may_end(state, now)]
        read_to = self._read_to(ending)
        whole = self._without_held_back(ending, read_to)
        accepted = NOTHING_ACCEPTED
        if self._accepted is not None:
            unsure = [state for state in ending if self._is_unsure(state, rules, whole)]
            if unsure:
                accepted = self._accepted.since(unsure, self._store.seed(), now)
        return Findings(
            rules=rules,
            read_to=whole,
            held_back=frozenset(name for name, end in whole.items() if end < read_to[name]),
            accepted_at=accepted.since,
            not_looked_up=accepted.not_read,
        )

    def find_for_digest(
        self, states: Sequence[AlertState], configs: ConfigSource | None
    ) -> Findings:
        """Return what was found out about alerts of the digest; no accepted traffic."""
        read_to = self._read_to(states)
        return Findings(
            rules=recheck_rules(states, configs),
            read_to=self._without_held_back(states, read_to),
            accepted_at={},
        )

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

    def _without_held_back(
        self, states: Sequence[AlertState], read_to: Mapping[str, int]
    ) -> Mapping[str, int]:
        """Return up to when an alert's feeds were read whole since its last record.

        Asked only of alerts that would end as quiet without it.
        """
        asked = [
            state
            for state in states
            if is_read(state, read_to.get(state.fingerprint), self._intervals)
        ]
        first: dict[str, int] = {}
        for state in asked:
            for feed in state.feeds:
                first[feed] = min(first.get(feed, last_record(state)), last_record(state))
                place = "#".join(place_of(feed))
                first[place] = min(first.get(place, last_record(state)), last_record(state))
        unread = {
            feed: self._store.unread(feed, after, _MOST_UNREAD) for feed, after in first.items()
        }
        whole = dict(read_to)
        for state in asked:
            last = last_record(state)
            for feed in {*state.feeds, *("#".join(place_of(feed)) for feed in state.feeds)}:
                spans = unread[feed]
                starts = (
                    [last]  # too many to tell
                    if spans is None
                    else [span.start for span in spans if span.end > last]
                )
                whole[state.fingerprint] = min([whole[state.fingerprint], *starts])
        return whole

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
