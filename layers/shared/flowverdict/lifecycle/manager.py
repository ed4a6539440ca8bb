"""The book of alerts: what a batch shows is written into it, and what has to be told is told.

What a batch shows is one window's problems, whole: of a window that was judged before, only the difference is added or taken back.
Every change is computed from what the store has, written on the condition that it still has it, and computed again where somebody
else was faster. Two functions that see the same new fault at once therefore send one message. A message is marked in the same
commit that calls for it, sent, and the mark taken away; what a crash leaves marked the sweep sends.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import batched
from typing import TYPE_CHECKING

from flowverdict.alerts.detection import most_severe_first
from flowverdict.alerts.recheck import passes
from flowverdict.core.errors import DeliveryError, StateError
from flowverdict.core.retry import full_jitter
from flowverdict.lifecycle.digest import digest_fingerprint, digest_of, rate_limited_notice
from flowverdict.lifecycle.rate_limit import HOUR, hour_of
from flowverdict.lifecycle.state_machine import (
    MAX_WINDOWS,
    EpisodeContext,
    Intervals,
    State,
    Suppressed,
    carried_over,
    closed_silently,
    on_detection,
    on_retraction,
    on_sweep,
    rate_limited,
    single_message_state,
)
from flowverdict.lifecycle.store import (
    MAX_STATES,
    Commit,
    ConflictError,
    Contribution,
    Inhibition,
    Window,
    WindowChangedError,
)
from flowverdict.lifecycle.transitions import (
    MAX_EXPLAINED,
    StateChange,
    Transition,
    chunks,
    count_flows_added,
    goes_on,
    is_leftover,
    takes_place_of,
    with_explained,
)
from flowverdict.network.configuration import NetConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from flowverdict.alerts.detection import Detection
    from flowverdict.alerts.model import Notification, Severity
    from flowverdict.lifecycle.rate_limit import RateLimit
    from flowverdict.lifecycle.store import AlertPublisher, AlertStore
    from flowverdict.network.ports import ConfigSource


_TRIES = 12  # with a wait of up to a second before each: more functions than that never meet at one alert
_FIRST_WAIT = 0.02  # seconds; doubled with each try
_LONGEST_WAIT = 1.0

_MAX_DUE = 10_000  # looked at in one sweep; the rest is due at the next one, longest first
_MAX_RECHECKED = 200  # alerts whose rules are read again in one sweep


@dataclass(slots=True)
class Outcome:
    """What came of writing into the book.

    Parameters
    ----------
    told
        Messages sent.
    counted, shaded, held
        Problems that were counted without a message; that another alert explains; whose message the cap held back.
    unsent
        Why messages could not be sent, one line each; the sweep tries again.
    flows
        Rejected flows that came to the alerts, by verdict and severity.
    """

    notified: list[Notification] = field(default_factory=list)
    counted: int = 0
    inhibited: int = 0
    suppressed: int = 0
    undelivered: list[str] = field(default_factory=list)
    flows: Counter[tuple[str, Severity]] = field(default_factory=Counter)
    muted_flows: Counter[str] = field(default_factory=Counter)


class AlertManager:
    """Writes sightings and the passing of time into the store, and publishes what comes of it.

    Parameters
    ----------
    cap
        Alerts and reminders an hour at the most; an alert that was told may always be told to be resolved.
    wait
        Sleeps for so many seconds before another try.
    """

    def __init__(
        self,
        store: AlertStore,
        publisher: AlertPublisher,
        *,
        intervals: Intervals,
        hourly_limit: int,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._intervals = intervals
        self._hourly_limit = hourly_limit
        self._wait = wait

    def apply(
        self,
        detections: Sequence[Detection],
        window: Window,
        now: int,
        *,
        muted_flows: Mapping[str, int] | None = None,
    ) -> Iterator[Transition]:
        """Count a window's sightings in and take back what it no longer shows; ``notify`` sends what the steps call for.

        Parameters
        ----------
        sightings
            Everything that the window shows.
        window
            As it was read before its evidence was, with what it is judged to be now.

        Yields
        ------
        Step
            What was written; what comes before an error stays written.

        Raises
        ------
        WindowChangedError
            Somebody else judges the window too, perhaps with more evidence: read it again.
        StateError
            The store cannot be reached, or others were faster again and again. Judging the window again adds what is missing.
        """
        ordered = with_explained(sorted(detections, key=most_severe_first))
        cast = frozenset(key for detection in ordered for key in detection.inhibits)
        seen = {detection.notification.fingerprint for detection in ordered}
        known = window.fingerprints or frozenset()
        gone = sorted(known - seen)
        retracted = self._retracted(window, gone)
        shown = tuple(detection.notification for detection in ordered if retracted)
        # All that may be written is named first: what a crash leaves written is taken back if it is no longer seen.
        named = None if seen <= known else known | seen
        change = StateChange(
            window=window, known=known, cast=cast, retracted=retracted, shown=shown
        )
        changes = [replace(change, detections=some) for some in chunks(ordered)]
        changes += [replace(change, gone=some) for some in batched(gone, MAX_STATES, strict=False)]
        changes = changes or [change]
        for number, some in enumerate(changes):
            is_last = some is changes[-1]
            its_window = replace(
                window,
                version=window.version + number,
                judged=window.judged if is_last else None,
                fingerprints=named if number == 0 else None,
                muted_flows=muted_flows
                if is_last and muted_flows is not None
                else window.muted_flows,
            )
            yield from self._apply(
                partial(self._window_commit, replace(some, window=its_window), now), now
            )

    def notify(self, transitions: Sequence[Transition]) -> Outcome:
        """Send what was written down to be sent, each problem once and as it was written last."""
        outcome = Outcome(flows=count_flows_added(transitions))
        by_problem: defaultdict[str, list[Transition]] = defaultdict(list)
        for transition in transitions:
            by_problem[transition.after.fingerprint].append(transition)
        self._notify(
            [
                self._once(transitions_of_problem, outcome)
                for transitions_of_problem in by_problem.values()
            ],
            outcome,
            stopped=False,
        )
        return outcome

    def _once(self, transitions: Sequence[Transition], outcome: Outcome) -> Transition:
        """Give what has become of a problem, with the one message that is due for it, if one is."""
        last = transitions[-1]
        if goes_on(transitions):
            self._note_sent(last.after, outcome)
            return replace(last, called=False)
        return replace(
            last,
            called=any(transition.calls_for_message for transition in transitions)
            and last.after.pending is not None,
        )

    def _retracted(self, window: Window, gone: Sequence[str]) -> tuple[Notification, ...]:
        """Give what was told and of which nothing will be left."""
        found = []
        for some in batched(gone, MAX_STATES, strict=False):
            contributions = self._store.load_contributions(
                [(window.window_id, name) for name in some]
            )
            for fingerprint, state in self._store.load(some).items():
                contribution = contributions.get((window.window_id, fingerprint))
                notified = contribution is not None and state.is_open and state.was_sent
                if (
                    notified
                    and contribution is not None
                    and state.notification.records <= contribution.records
                ):
                    found.append(state.notification)
        return tuple(found)

    def mute(self, fingerprints: Collection[str], now: int) -> None:
        """Close without a word what the policy wants to hear no more of: to say that it was resolved would be false.

        Raises
        ------
        StateError
            The store cannot be reached.
        """
        for some in batched(sorted(fingerprints), MAX_STATES, strict=False):
            self._apply(partial(self._mute_commit, some, now), now)

    def sweep(self, now: int, configs: ConfigSource | None) -> Outcome:
        """Tell what time brings: resolved, still happening, the digest, what the cap held back, and what was not sent.

        Raises
        ------
        StateError
            The store cannot be reached; the next sweep goes on.
        """
        outcome = Outcome()
        due = list(self._store.due(now, _MAX_DUE))
        stopped = False
        digestible: list[State] = []
        for fingerprints in batched(due, MAX_STATES, strict=False):
            states = self._store.load(fingerprints)
            digestible += [state for state in states.values() if state.is_open and state.for_digest]
            others = [
                state for state in states.values() if not (state.is_open and state.for_digest)
            ]
            passing = self._passing(others, configs)
            names = tuple(state.fingerprint for state in others)
            transitions = self._apply(partial(self._sweep_commit, names, passing, now), now)
            stopped = self._notify(transitions, outcome, stopped=stopped)
        for transitions in self._digest(digestible, now):
            stopped = self._notify(transitions, outcome, stopped=stopped)
        for hour in (hour_of(now) - HOUR, hour_of(now)):
            transitions = self._apply(partial(self._flood_commit, hour, now), now)
            stopped = self._notify(transitions, outcome, stopped=stopped)
        return outcome

    # --- commits --------------------------------------------------------------------------------------------------

    def _window_commit(self, change: StateChange, now: int) -> tuple[Commit, list[Transition]]:
        window = change.window
        if self._store.version_of(window.window_id) != window.version:
            raise WindowChangedError(window.window_id)
        names = [
            *(detection.notification.fingerprint for detection in change.detections),
            *change.gone,
        ]
        states = self._store.load(names)
        contributions = self._store.load_contributions(
            [(window.window_id, name) for name in names if name in change.known]
        )
        inhibited_by = {key for detection in change.detections for key in detection.inhibited_by}
        inhibitions = (inhibited_by & change.cast) | self._store.active_inhibitions(
            sorted(inhibited_by - change.cast), now
        )
        transitions: list[Transition] = []
        for detection in change.detections:
            notification = detection.notification
            state = states.get(notification.fingerprint)
            known = (
                None
                if state is None
                else contributions.get((window.window_id, notification.fingerprint))
            )
            if known == notification:
                continue
            context = self._episode_context(state, known, window.window_id)
            inhibited = not inhibitions.isdisjoint(detection.inhibited_by)
            corrects = next(
                (old.title for old in change.retracted if takes_place_of(notification, old)), None
            )
            after = on_detection(
                state, detection, now, inhibited=inhibited, context=context, corrects=corrects
            )
            flows_added = notification.counts.flows - (0 if known is None else known.counts.flows)
            contribution = Contribution(
                window_id=window.window_id,
                fingerprint=notification.fingerprint,
                notification=notification,
            )
            transitions.append(
                Transition(
                    before=state, after=after, contribution=contribution, flows_added=flows_added
                )
            )
        for fingerprint in change.gone:
            state, known = (
                states.get(fingerprint),
                contributions.get((window.window_id, fingerprint)),
            )
            if state is not None and known is not None:
                titles = [
                    notification.title
                    for notification in change.shown
                    if takes_place_of(notification, state.notification)
                ]
                context = self._episode_context(state, known, window.window_id)
                after = on_retraction(state, known, context, now, titles[:MAX_EXPLAINED])
                contribution = Contribution(
                    window_id=window.window_id, fingerprint=fingerprint, notification=None
                )
                # Somebody may be sending what is pending: that it was wrong is told by the sweep, when nobody can be any more.
                called = None if state.pending is None else False
                transitions.append(
                    Transition(before=state, after=after, contribution=contribution, called=called)
                )
        rate_limit, transitions = self._apply_rate_limit(transitions, now)
        until = now + self._intervals.resolve
        thrown = tuple(
            Inhibition(key=key, until=until)
            for key in sorted({key for one in change.detections for key in one.inhibits})
        )
        return Commit(
            states=tuple(transition.after for transition in transitions),
            inhibitions=thrown,
            rate_limit=rate_limit,
            window=window,
            contributions=tuple(
                transition.contribution
                for transition in transitions
                if transition.contribution is not None
            ),
        ), transitions

    def _episode_context(
        self, state: State | None, before: Notification | None, window_id: str
    ) -> EpisodeContext:
        """Return what the episode's other windows contribute, where that is known of each by itself.

        ``before`` may be missing for a window that contributed, if its contribution is not readable.
        Put together from all windows, the totals are right nevertheless.
        """
        windows = () if state is None or not state.is_open else state.windows
        others = [other for other in windows if other != window_id]
        is_apart = before is None or window_id in windows
        if state is None or not is_apart or len(others) >= MAX_WINDOWS - 1:
            return EpisodeContext(window_id=window_id, before=before, others=None)
        contributions = self._store.load_contributions(
            [(other, state.fingerprint) for other in others]
        )
        # The entry for a part of a window has no contribution of its own.
        return EpisodeContext(
            window_id=window_id,
            before=before,
            others=tuple(contributions.values()) if len(contributions) == len(others) else None,
        )

    def _mute_commit(
        self, fingerprints: Sequence[str], now: int
    ) -> tuple[Commit, list[Transition]]:
        states = [state for state in self._store.load(fingerprints).values() if state.is_open]
        return Commit(states=tuple(closed_silently(state, now) for state in states)), []

    def _sweep_commit(
        self, fingerprints: Sequence[str], passing: frozenset[str], now: int
    ) -> tuple[Commit, list[Transition]]:
        states = self._store.load(fingerprints)
        transitions = [
            Transition(
                before=state,
                after=on_sweep(state, now, self._intervals, passes=state.fingerprint in passing),
            )
            for state in states.values()
        ]
        changed = [
            transition for transition in transitions if transition.after is not transition.before
        ]
        rate_limit, changed = self._apply_rate_limit(changed, now)
        return Commit(
            states=tuple(transition.after for transition in changed), rate_limit=rate_limit
        ), changed

    def _apply_rate_limit(
        self, transitions: list[Transition], now: int
    ) -> tuple[RateLimit | None, list[Transition]]:
        """Let the cap decide on the messages that steps call for, the most severe first; ``None`` where none does."""
        asking = [
            transition
            for transition in transitions
            if transition.calls_for_message
            and transition.after.is_open
            and not is_leftover(transition)
        ]
        if not asking:
            return None, transitions
        before = rate_limit = self._store.load_rate_limit(hour_of(now))
        suppressed: dict[str, State] = {}
        for transition in sorted(
            asking, key=lambda transition: transition.after.notification.severity.rank
        ):
            notification = transition.after.notification
            if rate_limit.allows(notification.severity, self._hourly_limit):
                rate_limit = rate_limit.use()
            else:
                rate_limit = rate_limit.suppress(notification)
                suppressed[transition.after.fingerprint] = rate_limited(transition.after)
        decided = [
            replace(
                transition, after=suppressed.get(transition.after.fingerprint, transition.after)
            )
            for transition in transitions
        ]
        return (None if rate_limit is before else rate_limit), decided

    def _flood_commit(self, hour: int, now: int) -> tuple[Commit, list[Transition]]:
        rate_limit = self._store.load_rate_limit(hour)
        if not rate_limit.is_notice_due(now):
            return Commit(), []
        state = single_message_state(rate_limited_notice(rate_limit, self._hourly_limit, now), now)
        return Commit(states=(state,), rate_limit=rate_limit.with_notice_sent()), [
            Transition(before=None, after=state)
        ]

    def _digest(self, states: list[State], now: int) -> Iterator[list[Transition]]:
        """Put what is due into one digest.

        It is written with the first part, so that a crash in between makes no second one. What it does not tell - seen again
        while it was put together, or due once it had been - waits for the next one: nothing is lost, and little told twice.
        """
        if not states:
            return
        end = now // self._intervals.digest * self._intervals.digest
        fingerprint = digest_fingerprint(end)
        digest = (
            None
            if fingerprint in self._store.load([fingerprint])
            else single_message_state(digest_of(states, end, self._intervals), now)
        )
        is_notified = digest is not None
        for some in batched(states, MAX_STATES - 1, strict=False):
            notified = {state.fingerprint: state.version if is_notified else None for state in some}
            yield self._apply(partial(self._digest_commit, notified, digest, now), now)
            digest = None

    def _digest_commit(
        self, notified: Mapping[str, int | None], digest: State | None, now: int
    ) -> tuple[Commit, list[Transition]]:
        """Close what the digest tells, each in the version that it tells of."""
        states = [
            state
            for state in self._store.load([*notified]).values()
            if state.is_open and state.for_digest
        ]
        done = [
            closed_silently(state, now)
            if state.version == notified[state.fingerprint]
            else carried_over(state, now)
            for state in states
        ]
        new = [] if digest is None else [digest]
        return Commit(states=(*new, *done)), [Transition(before=None, after=state) for state in new]

    def _apply(
        self, compute: Callable[[], tuple[Commit, list[Transition]]], now: int
    ) -> list[Transition]:
        """Compute a commit and write it, again where somebody was faster; give the steps with what was written."""
        for tried in range(_TRIES):
            commit, transitions = compute()
            if commit == Commit():
                return transitions
            try:
                self._store.commit(commit, now, self._intervals)
            except ConflictError:
                # Somebody may be writing many: waiting differently long keeps two from meeting again and again.
                self._wait(full_jitter(tried, first=_FIRST_WAIT, longest=_LONGEST_WAIT))
                continue
            return [
                replace(
                    transition,
                    after=replace(transition.after, version=transition.after.version + 1),
                )
                for transition in transitions
            ]
        raise StateError(f"the alerts table changed {_TRIES} times while it was to be written")

    # --- telling --------------------------------------------------------------------------------------------------

    def _notify(self, transitions: list[Transition], outcome: Outcome, *, stopped: bool) -> bool:
        """Publish what the steps call for. After a failure nothing more is tried: SNS is away, and time is short."""
        for transition in transitions:
            state = transition.after
            if not transition.calls_for_message:
                outcome.counted += state.suppressed is None
                outcome.inhibited += state.suppressed is Suppressed.INHIBITED
                outcome.suppressed += state.suppressed is Suppressed.RATE_LIMITED
                continue
            if stopped:
                outcome.undelivered.append(
                    f"{state.fingerprint}: not tried, since the one before could not be sent"
                )
                continue
            try:
                self._publisher.publish(state.notification)
            except DeliveryError as error:
                outcome.undelivered.append(str(error))
                stopped = True
                continue
            outcome.notified.append(state.notification)
            self._note_sent(state, outcome)
        return stopped

    def _note_sent(self, state: State, outcome: Outcome) -> None:
        try:
            self._store.mark_sent(state, self._intervals)
        except StateError as error:
            # The rest must still be told; the sweep sends this one again.
            outcome.undelivered.append(
                f"{state.fingerprint}: sent, but that it was could not be noted: {error}"
            )

    def _passing(self, states: Sequence[State], configs: ConfigSource | None) -> frozenset[str]:
        """Give the open alerts that the rules, read now, would not cause any more."""
        asked = [
            state
            for state in states
            if state.is_open and state.samples and state.was_sent and state.pending is None
        ]
        asked = sorted(
            asked, key=lambda state: (state.notification.severity.rank, state.observed_at)
        )[:_MAX_RECHECKED]
        if configs is None or not asked:
            return frozenset()
        places: defaultdict[tuple[str | None, str | None], list[State]] = defaultdict(list)
        for state in asked:
            places[state.samples[0].account_id, state.samples[0].region].append(state)
        passing = set()
        for (account_id, region), its_states in places.items():
            config = configs.read(
                account_id,
                region,
                [sample.flow() for state in its_states for sample in state.samples],
            )
            if isinstance(config, NetConfig):
                passing |= {
                    state.fingerprint
                    for state in its_states
                    if all(passes(sample, config) for sample in state.samples)
                }
        return frozenset(passing)
