"""Laws of the alert lifecycle that hold for any sequence of detections, sweeps and times."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from random import Random  # noqa: TC003 - Hypothesis reads the annotation
from typing import TYPE_CHECKING

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from flowverdict.alerts.detection import fingerprint
from flowverdict.alerts.ending import Ending
from flowverdict.alerts.model import Alert, Kind, Severity, Status
from flowverdict.lifecycle.episodes import EpisodeContext
from flowverdict.lifecycle.intervals import HOUR, Intervals
from flowverdict.lifecycle.manager import AlertManager
from flowverdict.lifecycle.rate_limit import hour_of
from flowverdict.lifecycle.store import Window
from tests.helpers.alert_samples import FEED, NOW, Outbox, a_window, detection, read_on, record
from tests.helpers.hypothesis_weight import examples
from tests.helpers.memory_stores import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowverdict.alerts.detection import Detection
    from flowverdict.alerts.model import Notification

# Shorter than in production, so that a few dozen steps see the end of many intervals.
AROUND = EpisodeContext(window_id="place#1")
INTERVALS = Intervals(repeat=2 * HOUR, resolve=HOUR // 2, digest=6 * HOUR)
SWEEP = 300

# The problems, with the severities that a detection of each may have. A problem is either noise or
# notified, never both.
LOUD = (Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM)
NOISE = (Severity.LOW, Severity.INFO)
PROBLEMS: dict[str, tuple[Severity, ...]] = {
    **{f"fault-{number}": LOUD for number in range(5)},
    "cause": (Severity.CRITICAL,),
    "consequence": (Severity.HIGH,),
    **{f"noise-{number}": NOISE for number in range(3)},
}
SHADOW = "shadow of the cause"


def seen(name: str, severity: Severity, records: int) -> Detection:
    inhibits = (SHADOW,) if name == "cause" else ()
    inhibited_by = (SHADOW,) if name == "consequence" else ()
    return detection(name, severity, records=records, inhibits=inhibits, inhibited_by=inhibited_by)


@st.composite
def a_detection(draw: st.DrawFn) -> tuple[str, Severity, int]:
    name = draw(st.sampled_from(sorted(PROBLEMS)))
    return name, draw(st.sampled_from(PROBLEMS[name])), draw(st.integers(1, 50))


batches = st.lists(a_detection(), min_size=1, max_size=4, unique_by=lambda one: one[0])


@dataclass(slots=True)
class Told:
    at: int
    notification: Notification
    # Whether SNS refused the message when it was due. The rate limit counts it in the hour of that
    # time.
    waited: bool

    @property
    def is_rate_limited(self) -> bool:
        """Whether the rate limit counts this message."""
        return (
            not self.waited
            and not self.notification.is_over
            and self.notification.kind in {Kind.REJECT, Kind.SCAN}
        )


@dataclass(slots=True)
class Episode:
    """What the model knows of an open problem: its messages, and the records detected."""

    records: int = 0
    messages: list[Told] = field(default_factory=list)
    told_as: Severity | None = None


class Life(RuleBasedStateMachine):
    """Detections and sweeps in any order; the laws are checked on every message sent."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore()
        self.outbox = Outbox()
        self.now = NOW
        self.hourly_limit = 30
        self.told: list[Told] = []
        self.episodes: defaultdict[str, Episode] = defaultdict(Episode)
        self.inhibition_until = 0
        self.inhibited = False  # whether the last detection of the consequence was inhibited
        self.noise_seen = self.noise_told = 0
        self.waiting: set[str] = set()
        self.logs_come = True

    @initialize(hourly_limit=st.sampled_from([1, 3, 4, 30]))
    def begin(self, hourly_limit: int) -> None:
        self.hourly_limit = hourly_limit
        self.manager = AlertManager(
            self.store, self.outbox, intervals=INTERVALS, hourly_limit=hourly_limit
        )

    @rule(batch=batches)
    def see(self, batch: list[tuple[str, Severity, int]]) -> None:
        detections = [seen(*one) for one in batch]
        # An episode that has ended in the store opens again with this detection. While the
        # notification of its end still waits, the episode takes the detection in.
        names = {fingerprint(name): name for name, _, _ in batch}
        opened = {
            names[one]
            for one, state in self.store.load(list(names)).items()
            if state.is_open or state.pending
        }
        for name, severity, records in batch:
            if name not in opened:
                self.episodes[name] = Episode()
            self.episodes[name].records += records
            if severity in NOISE:
                self.noise_seen += records
        if any(name == "cause" for name, _, _ in batch):
            self.inhibition_until = self.now + INTERVALS.resolve
        if any(name == "consequence" for name, _, _ in batch):
            self.inhibited = self.now < self.inhibition_until
        self._note_waiting()
        record(self.manager, detections, a_window(), self.now)
        self._collect()

    @rule(minutes=st.integers(0, 180))
    def wait(self, minutes: int) -> None:
        """Let time pass without a detection; the sweeps run as scheduled."""
        for _ in range(max(minutes * 60 // SWEEP, 1)):
            self.now += SWEEP
            self._sweep()

    @rule(batch=batches, times=st.integers(2, 12), away=st.booleans())
    def go_on(self, batch: list[tuple[str, Severity, int]], times: int, away: bool) -> None:  # noqa: FBT001 - drawn
        """Detect the same problems every 20 minutes for hours, between sweeps.

        With ``away``, SNS refuses a message half way.
        """
        for number in range(times):
            if away and number == times // 2:
                self.topic_away()
            self.see(batch)
            for _ in range(3):
                self.now += SWEEP
                self._sweep()
            self.now += SWEEP - 1
            self.see(batch)
            self.now += 1
            self._sweep()

    @rule(seconds=st.integers(1, 240))
    def wait_a_little(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def logs_stop(self) -> None:
        """Deliver no more flow logs: nothing may be told to be over because of that."""
        self.logs_come = False

    @rule()
    def logs_come_again(self) -> None:
        self.logs_come = True

    @rule()
    def topic_away(self) -> None:
        """Refuse the next message: it is sent later, and nothing else changes."""
        self.outbox.broken = 1

    # --- laws of one message ----------------------------------------------------------------------

    def _sweep(self) -> None:
        self._note_waiting()
        if self.logs_come:
            read_on(self.store, self.now)
        self.manager.sweep(self.now, None)
        self._collect()
        for state in self.store.states.values():
            if state.is_open and state.for_digest:
                assert INTERVALS.digest_end(state.opened_at) > self.now, (
                    "noise that goes on never gets into a digest"
                )

    def _note_waiting(self) -> None:
        """Record which messages were due before this step, because SNS refused them."""
        self.waiting = {
            name for name, state in self.store.states.items() if state.pending is not None
        }

    def _collect(self) -> None:
        """Check each message of this step against the messages before it."""
        names = {fingerprint(name): name for name in PROBLEMS}
        for notification in self.outbox.sent:
            told = Told(self.now, notification, notification.fingerprint in self.waiting)
            self.told.append(told)
            if notification.kind is Kind.DIGEST:
                self.noise_told += notification.records
            if notification.fingerprint in names:
                self._check(names[notification.fingerprint], told)
        self.outbox.sent.clear()

    def _check(self, name: str, told: Told) -> None:
        notification, episode = told.notification, self.episodes[name]
        assert isinstance(notification, Alert)
        assert name not in {one for one, severities in PROBLEMS.items() if severities is NOISE}, (
            "noise is told in the digest only"
        )
        if name == "consequence" and not episode.messages and not told.waited:
            assert not self.inhibited, "told although another alert explains it"
        match notification.status if notification.ending is None else notification.ending:
            case Status.FIRING:
                before = episode.told_as
                assert before is None or notification.severity.rank < before.rank, (
                    "told twice, and no worse than before"
                )
            case Status.REMINDER:
                assert episode.messages, "a reminder of what nobody was told"
                # A message that SNS refused arrives late, and so closer to the next message: the
                # interval counts from when the message was due.
                assert (
                    told.at - episode.messages[-1].at >= INTERVALS.repeat - INTERVALS.outbox - SWEEP
                ), "reminded too soon"
            case ending:
                assert episode.messages, "an end of what nobody was told"
                assert not episode.messages[-1].notification.is_over, "ended twice"
                assert ending in {Ending.QUIET, Ending.UNKNOWN}
                if ending is Ending.QUIET:
                    read_to = self.store.feeds[FEED].read_to
                    assert read_to - (notification.last_seen or 0) >= INTERVALS.resolve, (
                        "told as quiet although no flow logs were read"
                    )
        if not episode.messages:
            assert notification.status is Status.FIRING
        assert notification.records == episode.records, (
            "the totals are those of all sightings of the episode"
        )
        episode.messages.append(told)
        # Worse means a higher severity than any that was notified.
        episode.told_as = min(
            (notification.severity, episode.told_as or notification.severity),
            key=lambda one: one.rank,
        )

    # --- laws of all messages ---------------------------------------------------------------------

    @invariant()
    def the_cap_holds(self) -> None:
        hours: defaultdict[int, int] = defaultdict(int)
        for told in self.told:
            hours[hour_of(told.at)] += told.is_rate_limited
        assert all(count <= self.hourly_limit for count in hours.values())
        for hour in hours:
            assert self.store.load_rate_limit(hour).used <= self.hourly_limit

    @invariant()
    def the_store_knows_all_records_of_an_episode(self) -> None:
        for name, episode in self.episodes.items():
            state = self.store.load([fingerprint(name)])[fingerprint(name)]
            assert state.notification.records == episode.records

    def teardown(self) -> None:
        """Let more than a day pass: each open episode ends, each noise record is in one digest."""
        if not hasattr(self, "manager"):
            return
        self.outbox.broken = 0
        self.logs_come = True
        end = self.now + INTERVALS.digest + HOUR
        while self.now < end:
            self.now += SWEEP
            self._sweep()
        assert self.noise_told == self.noise_seen
        for name, episode in self.episodes.items():
            state = self.store.load([fingerprint(name)])[fingerprint(name)]
            assert not state.is_open
            assert state.pending is None
            if episode.messages:
                assert episode.messages[-1].notification.is_over


TestLife = Life.TestCase
# Hypothesis needs minutes to shrink a failure of this machine, and the unshrunk steps are readable.
TestLife.settings = examples(
    0.6,
    settings(stateful_step_count=20, phases=[Phase.explicit, Phase.reuse, Phase.generate]),
)


# --- one batch ------------------------------------------------------------------------------------


@given(batches, st.randoms(use_true_random=False), st.sampled_from([1, 2, 30]))
def test_the_order_of_sightings_in_a_batch_does_not_matter(
    batch: list[tuple[str, Severity, int]], random: Random, hourly_limit: int
) -> None:
    shuffled = list(batch)
    random.shuffle(shuffled)
    assert after(batch, hourly_limit) == after(shuffled, hourly_limit)


def after(batch: Sequence[tuple[str, Severity, int]], hourly_limit: int) -> tuple[object, ...]:
    store, outbox = MemoryStore(), Outbox()
    window = Window(window_id="place#1", judged="what it shows")
    record(
        AlertManager(store, outbox, intervals=INTERVALS, hourly_limit=hourly_limit),
        [seen(*one) for one in batch],
        window,
        NOW,
    )
    return (
        store.states,
        [notification.to_json() for notification in outbox.sent],
        store.load_rate_limit(hour_of(NOW)),
    )


@given(batches, st.integers(1, 5))
def test_the_first_sighting_is_told_at_once_and_more_of_the_same_is_not(
    batch: list[tuple[str, Severity, int]], times: int
) -> None:
    store, outbox = MemoryStore(), Outbox()
    manager = AlertManager(store, outbox, intervals=INTERVALS, hourly_limit=30)
    for number in range(times):
        record(manager, [seen(*one) for one in batch], a_window(), NOW + number)
    names = {name for name, _, _ in batch}
    expected = {fingerprint(name) for name, severity, _ in batch if severity in LOUD}
    if "cause" in names:
        expected -= {fingerprint("consequence")}
    assert sorted(notification.fingerprint for notification in outbox.sent) == sorted(expected)


@given(st.lists(st.sampled_from(LOUD), min_size=1, max_size=8))
def test_another_first_message_only_for_worse(severities: list[Severity]) -> None:
    store, outbox = MemoryStore(), Outbox()
    manager = AlertManager(store, outbox, intervals=INTERVALS, hourly_limit=30)
    for number, severity in enumerate(severities):
        record(manager, [seen("fault-0", severity, 1)], a_window(), NOW + number)
    worst = [severity.rank for severity in severities]
    expected = [rank for index, rank in enumerate(worst) if index == 0 or rank < min(worst[:index])]
    assert [notification.severity.rank for notification in outbox.sent] == expected


@given(st.lists(st.sampled_from(list(Severity)), min_size=1, max_size=60), st.integers(1, 12))
def test_the_cap_lets_the_most_severe_through_and_keeps_a_third_for_what_is_critical(
    severities: list[Severity], hourly_limit: int
) -> None:
    store, outbox = MemoryStore(), Outbox()
    manager = AlertManager(store, outbox, intervals=INTERVALS, hourly_limit=hourly_limit)
    outcome = record(
        manager,
        [detection(str(number), severity) for number, severity in enumerate(severities)],
        a_window(),
        NOW,
    )
    critical = severities.count(Severity.CRITICAL)
    others = sum(severity in {Severity.HIGH, Severity.MEDIUM} for severity in severities)
    of_place = hourly_limit - hourly_limit // 4  # all are of one VPC
    told_critical = min(critical, of_place)
    told_others = min(others, max(of_place - of_place // 3 - told_critical, 0))
    assert len(outcome.notified) == len(outbox.sent) == told_critical + told_others
    assert outcome.suppressed == critical + others - len(outbox.sent)
    rate_limit = store.load_rate_limit(hour_of(NOW))
    assert (rate_limit.used, rate_limit.suppressed_count) == (len(outbox.sent), outcome.suppressed)


# --- what random sequences seldom come by ---------------------------------------------------------


def test_what_the_cap_held_back_is_not_told_later_if_it_is_explained_by_then() -> None:
    outbox = Outbox()
    manager = AlertManager(
        MemoryStore(), outbox, intervals=INTERVALS, hourly_limit=3
    )  # two an hour for what is not critical
    record(
        manager,
        [seen("fault-0", Severity.HIGH, 1), seen("fault-1", Severity.HIGH, 1)],
        a_window(),
        NOW,
    )
    record(manager, [seen("consequence", Severity.HIGH, 1)], a_window(), NOW + 60)
    assert len(outbox.sent) == 2
    for minutes in range(20, 200, 20):
        record(
            manager,
            [seen("cause", Severity.CRITICAL, 1), seen("consequence", Severity.HIGH, 1)],
            a_window(),
            NOW + minutes * 60,
        )
        manager.sweep(NOW + minutes * 60 + SWEEP, None)
    told = {notification.fingerprint for notification in outbox.sent}
    assert fingerprint("cause") in told
    assert fingerprint("consequence") not in told


@pytest.mark.parametrize(
    ("severity", "explained", "status"),
    [
        (Severity.HIGH, True, Status.RESOLVED),
        (Severity.LOW, False, None),  # the digest reports it
        (Severity.HIGH, False, Status.RESOLVED),
    ],
)
def test_an_alert_that_one_window_retracts_and_the_next_one_shows_goes_on(
    severity: Severity, status: Status | None, *, explained: bool
) -> None:
    store, outbox = MemoryStore(), Outbox()
    manager = AlertManager(store, outbox, intervals=INTERVALS, hourly_limit=30)
    before, after = a_window(), a_window()
    record(manager, [seen("consequence", Severity.HIGH, 2)], before, NOW)
    (read,) = store.load_windows([before.window_id]).values()
    others = [seen("cause", Severity.CRITICAL, 1)] if explained else []
    # One invocation: its messages are sent when all its windows are written.
    outcome = manager.notify(
        [
            *manager.apply([], replace(read, judged="nothing"), NOW + 60),
            *manager.apply([*others, seen("consequence", severity, 3)], after, NOW + 60),
        ]
    )
    assert fingerprint("consequence") not in {sent.fingerprint for sent in outcome.notified}
    name = fingerprint("consequence")
    state = store.load([name])[name]
    assert (state.is_open, state.was_sent, state.notification.records) == (True, True, 3)
    assert state.opened_at == (NOW if explained or severity is Severity.LOW else NOW + 60)
    read_on(store, NOW + INTERVALS.resolve + SWEEP)
    manager.sweep(NOW + INTERVALS.resolve + SWEEP, None)
    statuses = [sent.status for sent in outbox.sent if sent.fingerprint == name]
    assert statuses == [Status.FIRING, *([] if status is None else [status])]


@pytest.mark.parametrize("explained", [True, False])
def test_an_alert_that_was_retracted_unsent_is_sent_once_no_other_explains_it(
    *, explained: bool
) -> None:
    store, outbox = MemoryStore(), Outbox()
    manager = AlertManager(store, outbox, intervals=INTERVALS, hourly_limit=30)
    before, after, later = a_window(), a_window(), a_window()
    outbox.broken = 1
    record(manager, [seen("consequence", Severity.HIGH, 2)], before, NOW)
    (read,) = store.load_windows([before.window_id]).values()
    others = [seen("cause", Severity.CRITICAL, 1)] if explained else []
    manager.notify(
        [
            *manager.apply([], replace(read, judged="nothing"), NOW + 60),
            *manager.apply([*others, seen("consequence", Severity.HIGH, 3)], after, NOW + 60),
        ]
    )
    manager.sweep(NOW + 60 + INTERVALS.outbox, None)
    record(manager, [seen("consequence", Severity.HIGH, 1)], later, NOW + INTERVALS.resolve + 61)
    name = fingerprint("consequence")
    assert [sent.status for sent in outbox.sent if sent.fingerprint == name] == [Status.FIRING]


def test_a_reminder_that_the_cap_took_back_makes_nothing_worse() -> None:
    outbox = Outbox()
    manager = AlertManager(
        MemoryStore(), outbox, intervals=INTERVALS, hourly_limit=3
    )  # two an hour for what is not critical
    record(manager, [seen("fault-0", Severity.HIGH, 1)], a_window(), NOW)
    for minutes in range(20, 120, 20):
        record(manager, [seen("fault-0", Severity.MEDIUM, 1)], a_window(), NOW + minutes * 60)
    record(
        manager,
        [seen("fault-1", Severity.HIGH, 1), seen("fault-2", Severity.HIGH, 1)],
        a_window(),
        NOW + 2 * HOUR,
    )
    manager.sweep(NOW + 2 * HOUR, None)  # the reminder is due and held back
    record(manager, [seen("fault-0", Severity.HIGH, 1)], a_window(), NOW + 2 * HOUR + 60)
    assert [
        notification.status
        for notification in outbox.sent
        if notification.fingerprint == fingerprint("fault-0")
    ] == [Status.FIRING]
