"""The endings of an alert, and the notice that flow logs are missing, as pure decisions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from flowverdict.alerts.detection import fingerprint
from flowverdict.alerts.ending import Ending
from flowverdict.alerts.model import Kind, Notice, Severity, Status
from flowverdict.alerts.probe import MAX_PROBES, Probe, probes_of_both
from flowverdict.alerts.recheck import Passage
from flowverdict.lifecycle.digest import digest_of
from flowverdict.lifecycle.episodes import EpisodeContext, on_detection
from flowverdict.lifecycle.feed_readings import FeedReadings
from flowverdict.lifecycle.feeds import GIVEN_UP_AFTER, Feed, UnreadSpan, end_of_windows
from flowverdict.lifecycle.intervals import Intervals
from flowverdict.lifecycle.manager import AlertManager
from flowverdict.lifecycle.passing_time import (
    Findings,
    RulesFound,
    ending_in_words,
    on_sweep,
)
from tests.helpers.alert_samples import (
    FEED,
    NOW,
    Outbox,
    a_window,
    detection,
    read_on,
    record,
)
from tests.helpers.memory_stores import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowverdict.lifecycle.state_machine import (
        AlertState,
    )

AROUND = EpisodeContext(window_id="place#1")
INTERVALS = Intervals()
ONE = fingerprint("one")
LAST_SEEN = NOW - 300  # of the detection


def told() -> AlertState:
    return on_detection(None, detection(), NOW, inhibited=False, context=AROUND).sent()


def found(
    passage: Passage = Passage.UNKNOWN,
    read_to: int | None = None,
    accepted_at: int | None = None,
) -> Findings:
    return Findings(
        rules={ONE: RulesFound(passage=passage, reason="nobody may read them")},
        read_to={} if read_to is None else {ONE: read_to},
        accepted_at={} if accepted_at is None else {ONE: accepted_at},
    )


ENOUGH = LAST_SEEN + INTERVALS.resolve
HALF_AN_HOUR, FOUR_HOURS = NOW + INTERVALS.resolve, NOW + INTERVALS.repeat


@pytest.mark.parametrize(
    ("findings", "at", "ending", "words"),
    [
        (found(Passage.PASSES), NOW + 300, Ending.FIXED, "Fixed: the rules let it pass now"),
        (found(Passage.BLOCKED, ENOUGH), HALF_AN_HOUR, Ending.QUIET, "Quiet, still blocked: "),
        (found(read_to=ENOUGH), HALF_AN_HOUR, Ending.QUIET, "is not known: nobody may read them"),
        (found(read_to=ENOUGH, accepted_at=NOW), HALF_AN_HOUR, Ending.FIXED, "accepted again"),
        # Accepted traffic proves nothing where a packet of the alert is certainly blocked.
        (
            found(Passage.BLOCKED, ENOUGH, NOW),
            HALF_AN_HOUR,
            Ending.QUIET,
            "Quiet, still blocked: ",
        ),
        # Without flow logs the alert stays open, and nobody says that it still happens.
        (found(), HALF_AN_HOUR, None, ""),
        (found(read_to=ENOUGH - 1), HALF_AN_HOUR, None, ""),
        (found(read_to=ENOUGH - 1), FOUR_HOURS - 1, None, ""),
        (found(read_to=ENOUGH - 1), FOUR_HOURS, Ending.UNKNOWN, "Unknown: nobody can say"),
        (found(), FOUR_HOURS, Ending.UNKNOWN, "No flow logs that could show it were read since"),
        (found(Passage.BLOCKED), FOUR_HOURS, Ending.UNKNOWN, "still deny it"),
        (found(accepted_at=NOW), FOUR_HOURS, Ending.UNKNOWN, "Unknown: "),
    ],
)
def test_how_an_alert_ends(findings: Findings, at: int, ending: Ending | None, words: str) -> None:
    state = told()
    after = on_sweep(state, at, INTERVALS, findings)
    assert after.notification.ending is ending
    if ending is None:
        assert after is state
        return
    assert words in (after.notification.status_reason or "")
    assert not after.is_open
    # Whoever reads only the status takes an unknown end for what it is: not over.
    expected = Status.REMINDER if ending is Ending.UNKNOWN else Status.RESOLVED
    assert (after.pending, after.notification.status) == (expected, expected)


def test_an_alert_whose_accepted_traffic_could_not_be_read_waits_for_the_next_sweep() -> None:
    state, findings = told(), replace(found(read_to=ENOUGH), not_looked_up=frozenset({ONE}))
    assert on_sweep(state, FOUR_HOURS - 1, INTERVALS, findings) is state
    over = on_sweep(state, FOUR_HOURS, INTERVALS, findings)
    assert over.notification.ending is Ending.QUIET


def test_more_files_that_failed_than_can_be_told_leave_the_end_unknown() -> None:
    store, outbox = MemoryStore(), Outbox()
    manager = AlertManager(store, outbox, intervals=INTERVALS, hourly_limit=30)
    record(manager, [detection()], a_window(), NOW)
    read_on(store, FOUR_HOURS)
    for number in range(1_001):
        store.hold_back(str(number), FEED, UnreadSpan(start=FOUR_HOURS, end=FOUR_HOURS + 1), NOW)
    manager.sweep(HALF_AN_HOUR, None)
    assert len(outbox.sent) == 1
    manager.sweep(FOUR_HOURS, None)
    assert outbox.sent[-1].ending is Ending.UNKNOWN


LOW = detection(severity=Severity.LOW)
RECENT = INTERVALS.resolve - 1


@pytest.mark.parametrize(
    ("findings", "after", "was_sent", "words"),
    [
        (found(), RECENT, False, "goes on"),
        (found(Passage.PASSES), RECENT, False, "fixed"),
        (found(read_to=ENOUGH), INTERVALS.resolve, False, "quiet"),
        (found(Passage.BLOCKED, ENOUGH), INTERVALS.resolve, False, "quiet, still blocked"),
        (found(read_to=ENOUGH - 1), INTERVALS.resolve, False, "unknown"),
        (found(), INTERVALS.resolve, False, "unknown"),
        # Told as severe, then taken back in part: what is left waits for the digest.
        (found(read_to=ENOUGH), INTERVALS.resolve, True, "corrected: notified as high"),
    ],
)
def test_each_line_of_the_digest_says_how_it_ended(
    findings: Findings, after: int, words: str, *, was_sent: bool
) -> None:
    state = on_detection(None, LOW, NOW, inhibited=False, context=AROUND)
    if was_sent:
        state = replace(state, messages=1, notified_severity=Severity.HIGH)
    now = NOW + after
    in_words = ending_in_words(state, now, INTERVALS, findings)
    assert in_words == words
    other = replace(state, notification=replace(LOW.notification, fingerprint="other"))
    for endings, end in (
        ({ONE: in_words}, words),
        ({ONE: in_words, "other": in_words}, words),
        ({ONE: in_words, "other": "zzz"}, f"1 {words}; 1 zzz"),
    ):
        states = [each for each in (state, other) if each.notification.fingerprint in endings]
        (section,) = digest_of(states, endings, now, INTERVALS).sections
        assert [line.rpartition(" - ")[2] for line in section.lines] == [end]


@pytest.mark.parametrize(("read_for", "ending"), [(INTERVALS.resolve, "quiet"), (None, "unknown")])
def test_the_digest_asks_what_was_read_of_each_alert(read_for: int | None, ending: str) -> None:
    store, outbox = MemoryStore(), Outbox()
    manager = AlertManager(store, outbox, intervals=INTERVALS, hourly_limit=30)
    record(manager, [LOW], a_window(), NOW)
    if read_for is not None:
        read_on(store, NOW + read_for)
    manager.sweep(INTERVALS.digest_end(NOW) + 60, None)
    (digest,) = outbox.sent
    assert isinstance(digest, Notice)
    assert [line.rpartition(" - ")[2] for line in digest.sections[0].lines] == [ending]


def test_what_comes_after_an_end_says_how_that_was_told() -> None:
    over = on_sweep(told(), FOUR_HOURS, INTERVALS, found()).sent()
    again = on_detection(over, detection(), FOUR_HOURS + 60, inhibited=False, context=AROUND)
    assert again.notification.ending is None
    assert (again.notification.status_reason or "").startswith(
        "Again: whether this goes on was notified as unknown at "
    )


@pytest.mark.parametrize(("ends", "opens"), [(-1, False), (60, False), (61, True)])
def test_records_that_end_before_the_traffic_was_accepted_open_nothing(
    ends: int, *, opens: bool
) -> None:
    accepted = NOW + 600
    over = on_sweep(told(), HALF_AN_HOUR, INTERVALS, found(read_to=ENOUGH, accepted_at=accepted))
    late = detection()
    after = on_detection(
        over.sent(),
        replace(late, notification=replace(late.notification, last_seen=accepted + ends)),
        HALF_AN_HOUR + 60,
        inhibited=False,
        context=AROUND,
    )
    assert after.is_open is opens
    assert after.notification.ending is (None if opens else Ending.FIXED)


@pytest.mark.parametrize(("ends", "opens"), [(-300, False), (60, False), (61, True)])
def test_records_that_come_late_open_nothing_that_the_rules_have_ended(
    ends: int, *, opens: bool
) -> None:
    # A record may end up to a minute after its last packet, so a record that seems to end after the
    # fix may be from before the fix.
    mended = NOW + 1_800
    state = on_detection(None, detection(), NOW, inhibited=False, context=AROUND).sent()
    passing = Findings(
        rules={state.fingerprint: RulesFound(passage=Passage.PASSES)}, read_to={}, accepted_at={}
    )
    over = on_sweep(state, mended, INTERVALS, passing).sent()
    assert over.closed_by_rules
    late = detection()
    after_it = on_detection(
        over,
        replace(late, notification=replace(late.notification, last_seen=mended + ends)),
        mended + 420,
        inhibited=False,
        context=AROUND,
    )
    assert after_it.is_open is opens
    assert after_it.notification.records == (1 if opens else 2)


# --- feeds ----------------------------------------------------------------------------------------


def fed(every: int, times: int, start: int = NOW) -> Feed:
    """Return a feed after regular deliveries, each read seven minutes after its window."""
    feed = Feed(name=FEED, read_to=start - 420, read_at=start)
    for number in range(1, times):
        now = start + number * every
        feed = feed.after_reading(now - 420, now)
    return feed


@pytest.mark.parametrize(
    ("every", "silent_after"),
    [(300, 1_800), (600, 1_800), (1_200, 3_600), (12 * 3_600, 86_400)],
)
def test_silence_is_three_times_the_longest_gap_and_bounded(every: int, silent_after: int) -> None:
    feed = fed(every, 10)
    assert feed.silent_from == feed.read_at + silent_after
    assert not feed.is_silent(feed.read_at + silent_after - 1)
    assert feed.is_silent(feed.read_at + silent_after)


def test_a_feed_of_few_deliveries_or_of_a_backfill_is_never_silent() -> None:
    assert fed(300, 3).silent_from is None
    old = Feed(name=FEED, read_to=NOW - 90 * 86_400, read_at=NOW)
    for number in range(1, 50):
        old = old.after_reading(NOW - 90 * 86_400 + 300 * number, NOW + number)
    assert old.silent_from is None


def test_an_outage_does_not_become_the_rhythm() -> None:
    feed = fed(300, 10)
    after = feed.read_at + 10 * 3_600
    feed = feed.after_reading(after - 420, after)
    assert feed.silent_from is not None
    assert feed.silent_from - feed.read_at <= 2 * 1_800


def test_what_is_read_again_or_out_of_order_changes_nothing() -> None:
    feed = fed(300, 10)
    assert feed.after_reading(feed.read_to, feed.read_at + 60) is feed
    assert feed.after_reading(feed.read_to - 300, feed.read_at + 60) is feed


def test_windows_of_the_future_read_nothing() -> None:
    assert end_of_windows([NOW // 300 - 2, NOW // 300 + 10**6], NOW) == (NOW // 300 - 1) * 300
    assert end_of_windows([NOW // 300 + 1], NOW) is None
    assert end_of_windows([NOW // 300], NOW) == NOW


def test_a_feed_is_written_once_in_five_minutes_by_however_many_functions() -> None:
    store = MemoryStore()
    functions = [FeedReadings(store, INTERVALS, wait=lambda _: None) for _ in range(3)]
    for second in range(300):
        for readings in functions:
            readings.note({FEED: NOW}, NOW + second)
    assert store.feeds[FEED].version == 1


# --- the notice of missing flow logs --------------------------------------------------------------


class Stack:
    """A manager, its feeds, and what it sends."""

    def __init__(self, feeds: Iterable[str] = (FEED,)) -> None:
        self.store, self.outbox = MemoryStore(), Outbox()
        self.manager = AlertManager(
            self.store, self.outbox, intervals=INTERVALS, hourly_limit=30, wait=lambda _: None
        )
        self.now = NOW
        self.feeds = set(feeds)

    def run(self, seconds: int) -> list[tuple[str, str | None]]:
        """Let deliveries come and sweeps run every five minutes; return kinds and endings."""
        for _ in range(seconds // 300):
            self.now += 300
            readings = FeedReadings(self.store, INTERVALS, wait=lambda _: None)
            readings.note(dict.fromkeys(self.feeds, self.now - 420), self.now)
            self.manager.sweep(self.now, None)
        sent, self.outbox.sent = self.outbox.sent, []
        return [(str(one.kind), one.ending) for one in sent]


SILENCE = Kind.NO_FLOW_LOGS.value


def test_missing_flow_logs_are_told_once_and_end_when_they_come_again() -> None:
    stack = Stack()
    assert stack.run(3_600) == []
    read_to = stack.store.feeds[FEED].read_to
    stack.feeds.clear()
    assert stack.run(1_500) == []
    stack.now += 300
    stack.manager.sweep(stack.now, None)
    (notice,) = stack.outbox.sent
    assert isinstance(notice, Notice)
    assert (notice.kind, notice.severity, notice.last_seen) == (
        Kind.NO_FLOW_LOGS,
        Severity.HIGH,
        read_to,
    )
    assert notice.title.startswith("No flow logs from account 123456789012, eu-west-1 since 2026-")
    assert "fl-0a1b: " in notice.sections[0].lines[0]
    stack.outbox.sent.clear()
    assert stack.run(86_400) == []  # no reminders
    stack.feeds.add(FEED)
    assert stack.run(3_600) == [(SILENCE, Ending.FIXED)]


def test_all_flow_logs_of_a_place_are_one_notice_and_one_more_is_told() -> None:
    other, elsewhere = FEED.replace("0a1b", "0c2d"), FEED.replace("eu-west-1", "us-east-1")
    stack = Stack([FEED, other, elsewhere])
    stack.run(3_600)
    stack.feeds -= {FEED, elsewhere}
    assert stack.run(3_600) == [(SILENCE, None), (SILENCE, None)]  # one for each Region
    stack.feeds.clear()
    assert stack.run(3_600) == [(SILENCE, None)]
    stack.feeds.add(FEED)
    assert stack.run(3_600) == []  # the other one is still missing
    stack.feeds |= {other, elsewhere}
    assert stack.run(3_600) == [(SILENCE, Ending.FIXED), (SILENCE, Ending.FIXED)]


def test_a_flow_log_that_was_deleted_is_given_up_without_a_word() -> None:
    stack = Stack()
    stack.run(3_600)
    stack.feeds.clear()
    stack.run(3_600)
    stack.now += GIVEN_UP_AFTER
    assert stack.run(600) == []
    assert not any(state.is_open for state in stack.store.states.values())


def test_while_flow_logs_are_missing_their_alerts_stay_open_without_a_word() -> None:
    stack = Stack()
    stack.run(3_600)
    shown = detection(severity=Severity.CRITICAL)
    seen_now = replace(shown, notification=replace(shown.notification, last_seen=stack.now - 420))
    record(stack.manager, [seen_now], a_window(), stack.now)
    assert stack.run(300) == [("reject", None)]
    stack.feeds.clear()
    assert stack.run(2 * 3_600) == [(SILENCE, None)]
    assert stack.store.states[ONE].is_open
    assert stack.run(3 * 3_600) == [("reject", Ending.UNKNOWN)]


# --- probes ---------------------------------------------------------------------------------------


def a_probe(number: int) -> Probe:
    return Probe(
        interface="eni-1",
        source=f"10.0.0.{number}",
        destination="10.0.1.1",
        packet_source=f"10.0.0.{number}",
        packet_destination="10.0.1.1",
        source_port=None,
        destination_port=443,
        direction="ingress",
    )


def test_probes_add_up_and_prove_nothing_where_one_detection_has_none_or_there_are_too_many() -> (
    None
):
    first, second = (a_probe(1),), (a_probe(1), a_probe(2))
    assert probes_of_both(first, second) == second
    assert probes_of_both(first, ()) == ()
    assert probes_of_both((), second) == ()
    many = tuple(a_probe(number) for number in range(1, MAX_PROBES + 1))
    assert len(probes_of_both(many, first)) == MAX_PROBES
    assert probes_of_both(many, (a_probe(99),)) == ()
