"""Compute commits: what a window, the sweep, the digest and the policy change in the store.

Every commit is computed from what the store holds and written on the condition that the store still
holds it. Whoever calls computes the commit again after a ``ConflictError``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from flowverdict.alerts.notices import no_flow_logs_fingerprint
from flowverdict.lifecycle.digest import rate_limited_notice
from flowverdict.lifecycle.episodes import (
    MAX_WINDOWS,
    EpisodeContext,
    on_detection,
    on_retraction,
)
from flowverdict.lifecycle.on_call import held_back, on_silence_end
from flowverdict.lifecycle.passing_time import on_sweep
from flowverdict.lifecycle.rate_limit import hour_of, may_be_from_outside
from flowverdict.lifecycle.silence import on_silence
from flowverdict.lifecycle.state_machine import (
    closed_without_message,
    deferred_to_next_digest,
    notice_state,
    rate_limited,
)
from flowverdict.lifecycle.store import Commit, Contribution, Inhibition, WindowChangedError
from flowverdict.lifecycle.transitions import (
    MAX_TITLES,
    Transition,
    may_replace,
    was_due_before,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from flowverdict.alerts.detection import Detection
    from flowverdict.alerts.model import Notification
    from flowverdict.lifecycle.intervals import Intervals
    from flowverdict.lifecycle.on_call import Silences
    from flowverdict.lifecycle.passing_time import Findings
    from flowverdict.lifecycle.rate_limit import RateLimit
    from flowverdict.lifecycle.state_machine import AlertState
    from flowverdict.lifecycle.store import AlertStore
    from flowverdict.lifecycle.transitions import WindowChange


type Computed = tuple[Commit, list[Transition]]
type Contributions = Mapping[tuple[str, str], Notification]  # by window id and fingerprint


class CommitBuilder:
    """Computes commits and the transitions in them; reads the store and never writes it."""

    def __init__(self, store: AlertStore, intervals: Intervals, hourly_limit: int) -> None:
        self._store = store
        self._intervals = intervals
        self._hourly_limit = hourly_limit

    # --- a window -----------------------------------------------------------------------------

    def window(self, change: WindowChange, now: int) -> Computed:
        """Add what a window shows to its alerts, and take back what it shows no longer.

        Raises
        ------
        WindowChangedError
            The window was written since it was read.
        """
        window = change.window
        if self._store.version_of(window.window_id) != window.version:
            raise WindowChangedError(window.window_id)
        detected = [detection.notification.fingerprint for detection in change.detections]
        names = [*detected, *change.gone]
        states = self._store.load(names)
        contributions = self._store.load_contributions(
            [(window.window_id, name) for name in names if name in change.known]
        )
        inhibitions = self._inhibitions(change, now)
        contexts = self._episode_contexts(change, states, contributions)
        transitions = [
            *self._detections(change, states, contexts, inhibitions, now),
            *self._retractions(change, states, contexts, now),
        ]
        rate_limit, transitions = self._limited(self._silenced(transitions, now), now)
        inhibiting = {key for detection in change.detections for key in detection.inhibits}
        until = now + self._intervals.resolve
        return Commit(
            states=tuple(transition.after for transition in transitions),
            inhibitions=tuple(Inhibition(key=key, until=until) for key in sorted(inhibiting)),
            rate_limit=rate_limit,
            window=window,
            contributions=tuple(
                transition.contribution
                for transition in transitions
                if transition.contribution is not None
            ),
        ), transitions

    def _inhibitions(self, change: WindowChange, now: int) -> frozenset[str]:
        """Return the active inhibitions of detections, from this window and from the store."""
        asked = {key for detection in change.detections for key in detection.inhibited_by}
        stored = self._store.active_inhibitions(sorted(asked - change.inhibiting), now)
        return stored | (asked & change.inhibiting)

    def _detections(
        self,
        change: WindowChange,
        states: Mapping[str, AlertState],
        contexts: Mapping[str, EpisodeContext],
        inhibitions: frozenset[str],
        now: int,
    ) -> Iterator[Transition]:
        """Return a transition for each detection that the window did not contribute before."""
        for detection in change.detections:
            name = detection.notification.fingerprint
            state = states.get(name)
            context = contexts.get(name)
            if state is None:
                context = EpisodeContext(window_id=change.window.window_id)
            if context is not None:
                inhibited = not inhibitions.isdisjoint(detection.inhibited_by)
                yield self._detected(change, detection, state, context, now, inhibited=inhibited)

    def _retractions(
        self,
        change: WindowChange,
        states: Mapping[str, AlertState],
        contexts: Mapping[str, EpisodeContext],
        now: int,
    ) -> Iterator[Transition]:
        """Return a transition for each alert to which the window contributes no longer."""
        for name in change.gone:
            context = contexts.get(name)
            if context is not None and context.before is not None:
                yield self._retracted(change, states[name], context, context.before, now)

    def _detected(  # noqa: PLR0913 - the alert before, what is new, and what is around it
        self,
        change: WindowChange,
        detection: Detection,
        state: AlertState | None,
        context: EpisodeContext,
        now: int,
        *,
        inhibited: bool,
    ) -> Transition:
        notification, before = detection.notification, context.before
        corrects = next(
            (old.title for old in change.retracted if may_replace(notification, old)), None
        )
        after = on_detection(
            state, detection, now, inhibited=inhibited, context=context, corrects=corrects
        )
        flows_before = 0 if before is None else before.counts.flows
        return Transition(
            before=state,
            after=after,
            contribution=Contribution(
                window_id=context.window_id,
                fingerprint=notification.fingerprint,
                notification=notification,
            ),
            flows_added=notification.counts.flows - flows_before,
        )

    def _retracted(
        self,
        change: WindowChange,
        state: AlertState,
        context: EpisodeContext,
        before: Notification,
        now: int,
    ) -> Transition:
        titles = [
            notification.title
            for notification in change.shown
            if may_replace(notification, state.notification)
        ]
        return Transition(
            before=state,
            after=on_retraction(state, before, context, now, titles[:MAX_TITLES]),
            contribution=Contribution(
                window_id=context.window_id, fingerprint=state.fingerprint, notification=None
            ),
            # Another invocation may be sending the pending message; the sweep sends the correction
            # later, when no invocation can be sending any more.
            must_notify=None if state.pending is None else False,
        )

    def _episode_contexts(
        self,
        change: WindowChange,
        states: Mapping[str, AlertState],
        contributions: Contributions,
    ) -> Mapping[str, EpisodeContext]:
        """Return what the other windows of each changed alert contribute, if known by itself.

        What all alerts need is read at once: a call for each of them would take longer.
        """
        window_id = change.window.window_id
        shown = {
            detection.notification.fingerprint: detection.notification
            for detection in change.detections
        }
        befores = {name: contributions.get((window_id, name)) for name in states}
        others = {
            name: _other_windows(state, befores[name], window_id)
            for name, state in states.items()
            if befores[name] != shown.get(name)
        }
        found = self._store.load_contributions(
            [(other, name) for name, windows in others.items() for other in windows or ()]
        )
        contexts = {}
        for name, windows in others.items():
            known = [found.get((other, name)) for other in windows or ()]
            parts = tuple(part for part in known if part is not None)
            # The entry for a part of a window has no contribution of its own.
            is_whole = windows is not None and len(parts) == len(known)
            contexts[name] = EpisodeContext(
                window_id=window_id, before=befores[name], others=parts if is_whole else None
            )
        return contexts

    # --- the rate limit -----------------------------------------------------------------------

    def _limited(
        self, transitions: list[Transition], now: int
    ) -> tuple[RateLimit | None, list[Transition]]:
        """Hold back messages over the hour's limit, the most severe and inside ones pass first.

        The rate limit is ``None`` where no message is due.
        """
        due = [transition for transition in transitions if _calls_anew(transition)]
        if not due:
            return None, transitions
        before = rate_limit = self._store.load_rate_limit(hour_of(now))
        suppressed: dict[str, AlertState] = {}
        for transition in sorted(
            due,
            key=lambda transition: (
                transition.after.notification.severity.rank,
                may_be_from_outside(transition.after.notification),
            ),
        ):
            notification = transition.after.notification
            if rate_limit.allows(notification, self._hourly_limit):
                rate_limit = rate_limit.use(notification)
            else:
                rate_limit = rate_limit.suppress(notification)
                suppressed[transition.after.fingerprint] = rate_limited(transition.after)
        limited = [
            replace(transition, after=suppressed[transition.after.fingerprint])
            if transition.after.fingerprint in suppressed
            else transition
            for transition in transitions
        ]
        return (None if rate_limit is before else rate_limit), limited

    # --- people on call -----------------------------------------------------------------------

    def _silenced(self, transitions: list[Transition], now: int) -> list[Transition]:
        """Hold back messages of open alerts that a silence of the table matches."""
        if not any(_calls_anew(transition) for transition in transitions):
            return transitions
        silences = self._store.load_silences().active(now)
        if not silences.silences:
            return transitions
        held = []
        for transition in transitions:
            after = transition.after
            if _calls_anew(transition):
                for silence in silences.matching(after.notification)[:1]:
                    counts_more = transition.contribution is not None
                    after = held_back(transition.before, after, silence, counts_more=counts_more)
            held.append(replace(transition, after=after))
        return held

    def after_silences(self, fingerprints: Sequence[str], silences: Silences, now: int) -> Computed:
        """Notify and remind of what goes on after the end of silences."""
        transitions = []
        for state in self._store.load(fingerprints).values():
            for silence in silences.matching(state.notification)[:1]:
                after = on_silence_end(state, silence, now, self._intervals)
                transitions.append(Transition(before=state, after=after))
        return self._told(transitions, now)

    def rate_limited(self, hour: int, now: int) -> Computed:
        """Create the notice of what the rate limit of an hour held back, if it is due."""
        rate_limit = self._store.load_rate_limit(hour)
        if not rate_limit.is_notice_due(now):
            return Commit(), []
        state = notice_state(rate_limited_notice(rate_limit, self._hourly_limit, now), now)
        return Commit(states=(state,), rate_limit=rate_limit.with_notice_sent()), [
            Transition(before=None, after=state)
        ]

    # --- time and policy ----------------------------------------------------------------------

    def mute(self, fingerprints: Sequence[str], now: int) -> Computed:
        """Close the open alerts among these without a message."""
        states = [state for state in self._store.load(fingerprints).values() if state.is_open]
        return Commit(states=tuple(closed_without_message(state, now) for state in states)), []

    def sweep(self, fingerprints: Sequence[str], findings: Findings, now: int) -> Computed:
        """End alerts, remind of alerts, and take up overdue messages."""
        states = self._store.load(fingerprints)
        transitions = [
            Transition(
                before=state,
                after=on_sweep(state, now, self._intervals, findings),
            )
            for state in states.values()
        ]
        return self._told(transitions, now)

    def _told(self, transitions: list[Transition], now: int) -> Computed:
        """Return the transitions that change an alert, without messages that are held back."""
        changed = [each for each in transitions if each.after is not each.before]
        silenced = self._silenced(changed, now)
        rate_limit, changed = self._limited(
            [each for each in silenced if each.after is not each.before], now
        )
        return Commit(states=tuple(each.after for each in changed), rate_limit=rate_limit), changed

    def silence(self, place: tuple[str, str], silent: Collection[str], now: int) -> Computed:
        """Tell that feeds of a place are silent, that more are, or that all are read again.

        ``silent`` are the names of feeds that may be silent.
        """
        name = no_flow_logs_fingerprint(*place)
        state = self._store.load([name]).get(name)
        told = () if state is None or not state.is_open else state.feeds
        feeds = self._store.load_feeds(sorted({*silent, *told}))
        after = on_silence(state, place, feeds, now, self._intervals)
        if after is None:
            return Commit(), []
        return self._told([Transition(before=state, after=after)], now)

    def digest(
        self, reported: Mapping[str, int | None], digest: AlertState | None, now: int
    ) -> Computed:
        """Close what the digest reports, each alert in the version that the digest reports.

        An alert that changed since waits for the next digest.
        """
        states = [
            state
            for state in self._store.load([*reported]).values()
            if state.is_open and state.for_digest
        ]
        after = [
            closed_without_message(state, now)
            if state.version == reported[state.fingerprint]
            else deferred_to_next_digest(state, now)
            for state in states
        ]
        new = [] if digest is None else [digest]
        return Commit(states=(*new, *after)), [
            Transition(before=None, after=state) for state in new
        ]

    def once(self, notice: AlertState) -> Computed:
        """Create a notice, unless it was created before."""
        if self._store.load([notice.fingerprint]):
            return Commit(), []
        return Commit(states=(notice,)), [Transition(before=None, after=notice)]


def _other_windows(
    state: AlertState, before: Notification | None, window_id: str
) -> Sequence[str] | None:
    """Return the other windows of an episode; ``None`` where it is not known from them alone.

    ``before`` may be missing for a window that contributed, if its contribution is not readable.
    Put together from all windows, the totals are right nevertheless.
    """
    windows = state.windows if state.is_open else ()
    others = [other for other in windows if other != window_id]
    is_apart = before is None or window_id in windows
    return others if is_apart and len(others) < MAX_WINDOWS - 1 else None


def _calls_anew(transition: Transition) -> bool:
    """Whether a transition calls for a message of an open alert that was not called for before."""
    return transition.is_message_due and transition.after.is_open and not was_due_before(transition)
