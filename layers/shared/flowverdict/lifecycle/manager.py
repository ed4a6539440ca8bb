"""Write detections and the passing of time into the store, and send the messages that follow.

A window is written whole: of a window that was evaluated before, only the difference is added or
taken back. Every change is computed from what the store holds, written on the condition that the
store still holds it, and computed again where another invocation was faster. Two invocations that
detect the same new fault at once therefore send one message. A message is marked as pending in the
commit that calls for it, then sent, then the mark is removed; the sweep sends what a crash leaves
marked.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import replace
from functools import partial
from itertools import batched
from typing import TYPE_CHECKING

from flowverdict.alerts.detection import most_severe_first
from flowverdict.alerts.model import Alert, Kind
from flowverdict.core.errors import StateError
from flowverdict.core.retry import full_jitter
from flowverdict.lifecycle.commits import CommitBuilder
from flowverdict.lifecycle.digest import digest_fingerprint, digest_of
from flowverdict.lifecycle.feeds import UNKNOWN, place_of
from flowverdict.lifecycle.findings import Finder
from flowverdict.lifecycle.intervals import HOUR, Intervals
from flowverdict.lifecycle.notifier import Notifier, Outcome
from flowverdict.lifecycle.on_call import digest_section
from flowverdict.lifecycle.passing_time import ending_in_words
from flowverdict.lifecycle.rate_limit import hour_of
from flowverdict.lifecycle.state_machine import AlertState, notice_state
from flowverdict.lifecycle.store import MAX_STATES, Commit, ConflictError, Window
from flowverdict.lifecycle.transitions import (
    Transition,
    WindowChange,
    split_for_commits,
    with_inhibited_titles,
)
from flowverdict.lifecycle.weekly import WEEK, belongs, seen_of, weekly_fingerprint, weekly_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from flowverdict.alerts.detection import Detection
    from flowverdict.alerts.model import Notification
    from flowverdict.lifecycle.accepted_traffic import AcceptedTraffic
    from flowverdict.lifecycle.commits import Computed
    from flowverdict.lifecycle.on_call import Silences
    from flowverdict.lifecycle.store import AlertPublisher, AlertStore
    from flowverdict.lifecycle.weekly import Seen
    from flowverdict.lifecycle.weekly_time import WeeklyTime
    from flowverdict.network.ports import ConfigSource


_TRIES = 12  # with a wait of up to a second before each: more invocations never meet at one alert
_FIRST_WAIT = 0.02  # seconds; doubled with each try
_LONGEST_WAIT = 1.0

_MAX_DUE = 10_000  # alerts of one sweep; the next begins with the others
_MAX_SILENT = 1_000  # feeds of one sweep
_SUMMARY_DUE = 86_400  # seconds; a stack that stood still for longer tells of the next week
_FOREVER = 10**11  # seconds: later than any alert is due


class AlertManager:
    """Writes detections and the passing of time into the store, and publishes messages.

    Parameters
    ----------
    hourly_limit
        Alerts and reminders an hour at most. The end of a notified alert is always sent.
    accepted
        Knows since when traffic is accepted; ``None`` looks for none.
    weekly
        When the weekly summary is due; ``None`` makes none.
    wait
        Sleeps for a number of seconds before another try.
    """

    def __init__(  # noqa: PLR0913 - what it is made of, each by its name
        self,
        store: AlertStore,
        publisher: AlertPublisher,
        *,
        intervals: Intervals,
        hourly_limit: int,
        accepted: AcceptedTraffic | None = None,
        weekly: WeeklyTime | None = None,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._intervals = intervals
        self._finder = Finder(store, accepted, intervals)
        self._weekly = weekly
        self._wait = wait
        self._commits = CommitBuilder(store, intervals, hourly_limit)
        self._notifier = Notifier(store, publisher, intervals)

    def apply(
        self,
        detections: Sequence[Detection],
        window: Window,
        now: int,
        *,
        muted_flows: Mapping[str, int] | None = None,
    ) -> Iterator[Transition]:
        """Write what a window shows; ``notify`` sends the messages that the transitions call for.

        Parameters
        ----------
        detections
            Everything that the window shows.
        window
            As read before its evidence was read, with the digest of its present evaluation.
        muted_flows
            The flows of the window that the policy mutes, stored with the last commit.

        Yields
        ------
        Transition
            What was written. What is yielded before an error stays written.

        Raises
        ------
        WindowChangedError
            Another invocation evaluates the window too, perhaps with more evidence: read it again.
        StateError
            The store cannot be reached, or other invocations were faster again and again. Another
            evaluation of the window adds what is missing.
        """
        changes = [*self._changes(detections, window)]
        known = window.fingerprints or frozenset()
        detected = {detection.notification.fingerprint for detection in detections}
        for number, change in enumerate(changes):
            part = replace(window, version=window.version + number, judged=None, fingerprints=None)
            if number == 0 and not detected <= known:
                # All alerts are named first, so that what a crash leaves written is taken back
                # later.
                part = replace(part, fingerprints=known | detected)
            if number == len(changes) - 1:
                muted = window.muted_flows if muted_flows is None else muted_flows
                part = replace(part, judged=window.judged, muted_flows=muted)
            compute = partial(self._commits.window, replace(change, window=part), now)
            yield from self._apply(compute, now)

    def _changes(self, detections: Sequence[Detection], window: Window) -> Iterator[WindowChange]:
        """Return what a window shows and no longer shows, in parts that fit into a commit each."""
        ordered = with_inhibited_titles(sorted(detections, key=most_severe_first))
        known = window.fingerprints or frozenset()
        gone = sorted(known - {detection.notification.fingerprint for detection in ordered})
        retracted = self._retracted(window, gone)
        whole = WindowChange(
            window=window,
            known=known,
            inhibiting=frozenset(key for detection in ordered for key in detection.inhibits),
            retracted=retracted,
            shown=tuple(detection.notification for detection in ordered if retracted),
        )
        for part in split_for_commits(ordered):
            yield replace(whole, detections=part)
        for names in batched(gone, MAX_STATES, strict=False):
            yield replace(whole, gone=names)
        if not (ordered or gone):
            yield whole

    def _retracted(self, window: Window, gone: Sequence[str]) -> tuple[Notification, ...]:
        """Return the notified alerts of which nothing is left without this window."""
        found = []
        for names in batched(gone, MAX_STATES, strict=False):
            contributions = self._store.load_contributions(
                [(window.window_id, name) for name in names]
            )
            for fingerprint, state in self._store.load(names).items():
                contribution = contributions.get((window.window_id, fingerprint))
                if contribution is None or not (state.is_open and state.was_sent):
                    continue
                if state.notification.records <= contribution.records:
                    found.append(state.notification)
        return tuple(found)

    def notify(self, transitions: Sequence[Transition]) -> Outcome:
        """Send the messages that are due, one for each alert, as the alert was written last."""
        return self._notifier.notify(transitions)

    def mute(self, fingerprints: Collection[str], now: int) -> None:
        """Close alerts that the policy mutes, without a message: "resolved" would be false.

        Raises
        ------
        StateError
            The store cannot be reached.
        """
        for names in batched(sorted(fingerprints), MAX_STATES, strict=False):
            self._apply(partial(self._commits.mute, names, now), now)

    def sweep(self, now: int, configs: ConfigSource | None) -> Outcome:
        """Send what time brings: ended alerts, reminders, the digest and unsent messages.

        Raises
        ------
        StateError
            The store cannot be reached; the next sweep goes on.
        """
        outcome = Outcome()
        has_failed = False
        for_digest: list[AlertState] = []
        silent_places: set[tuple[str, str]] = set()
        ended: list[Transition] = []
        silences = self._store.load_silences()
        for transitions in self._after_silences(silences.ended(now), now):
            has_failed = self._notifier.send(transitions, outcome, has_failed=has_failed)
        due = self._store.due_in_turn(now, _MAX_DUE)
        for fingerprints in batched(due, MAX_STATES, strict=False):
            others: list[AlertState] = []
            for state in self._store.load(fingerprints).values():
                if state.is_open and state.for_digest:
                    for_digest.append(state)
                elif state.notification.kind is Kind.NO_FLOW_LOGS:
                    silent_places.add(_place(state))
                else:
                    others.append(state)
            findings = self._finder.find(others, configs, now)
            names = tuple(state.fingerprint for state in others)
            transitions = self._apply(partial(self._commits.sweep, names, findings, now), now)
            ended += filter(_is_end, transitions)
            others_due = [each for each in transitions if not _is_end(each)]
            has_failed = self._notifier.send(others_due, outcome, has_failed=has_failed)
        has_failed = self._notifier.send_ends(ended, outcome, has_failed=has_failed)
        for transitions in self._silence(silent_places, now):
            has_failed = self._notifier.send(transitions, outcome, has_failed=has_failed)
        for transitions in self._digest(for_digest, silences, configs, now):
            has_failed = self._notifier.send(transitions, outcome, has_failed=has_failed)
        for transitions in self._weekly_summary(silences, now):
            has_failed = self._notifier.send(transitions, outcome, has_failed=has_failed)
        for hour in (hour_of(now) - HOUR, hour_of(now)):
            transitions = self._apply(partial(self._commits.rate_limited, hour, now), now)
            has_failed = self._notifier.send(transitions, outcome, has_failed=has_failed)
        return outcome

    def _silence(self, told: Collection[tuple[str, str]], now: int) -> Iterator[list[Transition]]:
        """Tell which places have silent feeds; ``told`` are those with an open notice."""
        silent: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for name in self._store.silent_feeds(now, _MAX_SILENT):
            silent[place_of(name)].append(name)
        for place in sorted({*silent, *told}):
            yield self._apply(partial(self._commits.silence, place, silent[place], now), now)

    def _after_silences(self, ended: Silences, now: int) -> Iterator[list[Transition]]:
        """Notify and remind of the open alerts that silences matched until lately."""
        if not ended.silences:
            return
        every = [*self._store.due(_FOREVER, _MAX_DUE)]  # each open alert is due at some time
        for fingerprints in batched(every, MAX_STATES, strict=False):
            compute = partial(self._commits.after_silences, fingerprints, ended, now)
            yield self._apply(compute, now)

    def _digest(
        self,
        states: list[AlertState],
        silences: Silences,
        configs: ConfigSource | None,
        now: int,
    ) -> Iterator[list[Transition]]:
        """Close the alerts that are due for the digest, and create the digest with the first part.

        Created with the first part, so that a crash in between creates no second digest. What the
        digest does not report - an alert seen again meanwhile, or due later - waits for the next
        digest: nothing is lost, and little is reported twice.
        """
        end = now // self._intervals.digest * self._intervals.digest
        # What people silenced is reported although there may be no noise.
        if not states and all(each.created_at >= end for each in silences.active(now).silences):
            return
        fingerprint = digest_fingerprint(end)
        is_new = fingerprint not in self._store.load([fingerprint])
        digest = None
        if is_new:
            findings = self._finder.find_for_digest(states, configs)
            endings = {
                state.fingerprint: ending_in_words(state, now, self._intervals, findings)
                for state in states
            }
            people = digest_section(silences, self._acknowledged(), now)
            notice = digest_of(states, endings, end, self._intervals, people)
            digest = notice_state(notice, now)
            if not states:
                yield self._apply(partial(self._commits.digest, {}, digest, now), now)
        for part in batched(states, MAX_STATES - 1, strict=False):
            reported = {state.fingerprint: state.version if is_new else None for state in part}
            yield self._apply(partial(self._commits.digest, reported, digest, now), now)
            digest = None

    def _weekly_summary(self, silences: Silences, now: int) -> Iterator[list[Transition]]:
        """Create the summary of the week, once, within a day after its time."""
        end = now if self._weekly is None else self._weekly.last(now)
        is_due = self._weekly is not None and now - end < _SUMMARY_DUE
        if not is_due or self._store.load([weekly_fingerprint(end)]):
            return
        due = [*self._store.due(_FOREVER, _MAX_DUE)]
        over = [*self._store.ended(end - WEEK, _MAX_DUE)]
        seen: list[Seen] = []
        for names in batched(dict.fromkeys((*due, *over)), MAX_STATES, strict=False):
            states = self._store.load(names).values()
            seen += [seen_of(state) for state in states if belongs(state, end)]
        notice = weekly_of(seen, silences, end, is_cut=_MAX_DUE in {len(due), len(over)})
        yield self._apply(partial(self._commits.once, notice_state(notice, now)), now)

    def _acknowledged(self) -> list[AlertState]:
        """Return the alerts of which somebody said so, among the first that are due."""
        found: list[AlertState] = []
        due = self._store.due(_FOREVER, _MAX_SILENT)
        for fingerprints in batched(due, MAX_STATES, strict=False):
            states = self._store.load(fingerprints).values()
            found += [state for state in states if state.acknowledged is not None]
        return found

    def _apply(self, compute: Callable[[], Computed], now: int) -> list[Transition]:
        """Compute a commit and write it; compute it again where another invocation was faster."""
        for attempt in range(_TRIES):
            commit, transitions = compute()
            if commit == Commit():
                return transitions
            try:
                self._store.commit(commit, now, self._intervals)
            except ConflictError:
                # Random waits keep two invocations with many writes from meeting again and again.
                self._wait(full_jitter(attempt, first=_FIRST_WAIT, longest=_LONGEST_WAIT))
                continue
            return [
                replace(
                    transition,
                    after=replace(transition.after, version=transition.after.version + 1),
                )
                for transition in transitions
            ]
        raise StateError(f"the alert table changed in each of {_TRIES} tries to write it")


def _place(state: AlertState) -> tuple[str, str]:
    """Return the place of a notice that flow logs are missing."""
    return state.notification.account_id or UNKNOWN, state.notification.region or UNKNOWN


def _is_end(transition: Transition) -> bool:
    """Whether a transition calls for the message that an alert ended."""
    ended = transition.after.notification
    return isinstance(ended, Alert) and ended.is_over and transition.is_message_due
