"""The guarantees of the store, checked on the table (moto) and on the in-memory store."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from flowverdict.alerts.detection import fingerprint
from flowverdict.alerts.model import Severity, Status
from flowverdict.lifecycle.dynamodb import DynamoDbStore
from flowverdict.lifecycle.episodes import EpisodeContext, on_detection
from flowverdict.lifecycle.intervals import Intervals
from flowverdict.lifecycle.manager import AlertManager
from flowverdict.lifecycle.passing_time import Findings, on_sweep
from flowverdict.lifecycle.rate_limit import RateLimit, hour_of
from flowverdict.lifecycle.store import (
    MAX_STATES,
    AlertStore,
    Commit,
    ConflictError,
    Contribution,
    Inhibition,
    Window,
)
from flowverdict.verdict.remediation.offers import Offer, StoredOffers
from tests.helpers.alert_samples import ALERT, NOW, SAMPLE, Outbox, a_window, detection, record
from tests.helpers.memory_stores import MemoryStore

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from flowverdict.lifecycle.state_machine import (
        AlertState,
    )
    from flowverdict_cli.local_aws import LocalAws

AROUND = EpisodeContext(window_id="place#1")
INTERVALS = Intervals()


@pytest.fixture(params=["table", "memory"])
def store(request: pytest.FixtureRequest) -> AlertStore:
    if request.param == "memory":
        return MemoryStore()
    aws: LocalAws = request.getfixturevalue("aws")
    return DynamoDbStore(boto3.client("dynamodb"), aws.table)


def fresh(name: str = "one", severity: Severity = Severity.HIGH, now: int = NOW) -> AlertState:
    return on_detection(None, detection(name, severity), now, inhibited=False, context=AROUND)


def commit(store: AlertStore, *states: AlertState, now: int = NOW, **rest: Any) -> None:  # noqa: ANN401 - the fields of a commit
    store.commit(Commit(states=states, **rest), now, INTERVALS)


def load(store: AlertStore, name: str = "one") -> AlertState:
    return store.load([fingerprint(name)])[fingerprint(name)]


# --- states ---------------------------------------------------------------------------------------


def test_a_state_comes_back_as_it_was_but_one_version_higher(store: AlertStore) -> None:
    state = replace(fresh(), samples=(SAMPLE,))
    commit(store, state)
    assert store.load([state.fingerprint, fingerprint("another")]) == {
        state.fingerprint: replace(state, version=1)
    }


def test_what_is_asked_for_twice_or_not_at_all_is_no_trouble(store: AlertStore) -> None:
    commit(store, fresh())
    assert len(store.load([fingerprint("one")] * 3)) == 1
    assert store.load([]) == {}
    assert store.active_inhibitions([], NOW) == frozenset()


@pytest.mark.parametrize("version", [0, 1, 3])
def test_a_state_computed_from_another_version_is_refused(store: AlertStore, version: int) -> None:
    commit(store, fresh())
    commit(store, load(store))
    before = load(store)
    assert before.version == 2
    with pytest.raises(ConflictError):
        commit(store, replace(before, version=version, messages=7))
    assert load(store) == before


def test_a_state_that_is_not_there_cannot_be_changed(store: AlertStore) -> None:
    with pytest.raises(ConflictError):
        commit(store, replace(fresh(), version=1))


def test_a_commit_is_all_or_nothing(store: AlertStore) -> None:
    commit(store, fresh("stale"))
    with pytest.raises(ConflictError):
        commit(
            store,
            fresh("new"),
            fresh("stale"),
            inhibitions=(Inhibition(key="shadow", until=NOW + 10),),
            rate_limit=RateLimit(hour=hour_of(NOW), used=3),
            window=WINDOW,
        )
    assert store.load([fingerprint("new")]) == {}
    assert store.active_inhibitions(["shadow"], NOW) == frozenset()
    assert store.load_rate_limit(hour_of(NOW)).used == 0
    assert store.load_windows([WINDOW.window_id]) == {}


def test_the_largest_commit_that_the_book_makes_fits(store: AlertStore) -> None:
    states = [fresh(str(number)) for number in range(MAX_STATES)]
    contributions = tuple(
        Contribution(window_id=WINDOW.window_id, fingerprint=state.fingerprint, notification=ADDED)
        for state in states
    )
    inhibitions = tuple(Inhibition(key=str(number), until=NOW) for number in range(2))
    commit(
        store,
        *states,
        rate_limit=RateLimit(hour=hour_of(NOW)),
        window=WINDOW,
        contributions=contributions,
        inhibitions=inhibitions,
    )
    assert len(store.load([state.fingerprint for state in states])) == MAX_STATES


# --- shadows, budget ------------------------------------------------------------------------------


def test_a_shadow_lives_until_its_time_and_can_be_cast_anew(store: AlertStore) -> None:
    commit(
        store,
        inhibitions=(Inhibition(key="a", until=NOW + 10), Inhibition(key="b", until=NOW + 20)),
    )
    assert store.active_inhibitions(["a", "b", "c"], NOW + 9) == {"a", "b"}
    assert store.active_inhibitions(["a", "b", "c"], NOW + 10) == {"b"}
    commit(store, inhibitions=(Inhibition(key="a", until=NOW + 40),))
    assert store.active_inhibitions(["a", "b"], NOW + 30) == {"a"}


def test_an_hour_has_one_budget_and_nobody_writes_over_anothers(store: AlertStore) -> None:
    hour = hour_of(NOW)
    unused = store.load_rate_limit(hour)
    assert (unused.used, unused.version) == (0, 0)
    message = ALERT
    outside = replace(message, from_outside=True, vpc_id=None)
    held = unused.use(message).use(outside).suppress(message)
    commit(store, rate_limit=held)
    kept = store.load_rate_limit(hour)
    assert dict(kept.used_by_place) == {"123456789012/vpc-0a1b": 1, "123456789012/": 1}
    assert kept.used_by_outsiders == 1
    assert (kept.used, dict(kept.suppressed), kept.titles, kept.version) == (
        2,
        {Severity.HIGH: 1},
        held.titles,
        1,
    )
    assert store.load_rate_limit(hour - 3_600).used == 0
    with pytest.raises(ConflictError):
        commit(store, rate_limit=unused.use(message))
    assert store.load_rate_limit(hour) == kept


# --- windows and sources --------------------------------------------------------------------------

ONE = fingerprint("one")
WINDOW = Window(
    window_id="123456789012#eu-west-1#5984496",
    judged="digest",
    sources=3,
    fingerprints=frozenset({ONE}),
)
ADDED = detection(records=3).notification


def test_a_window_comes_back_as_it_was_but_one_version_higher(store: AlertStore) -> None:
    assert store.load_windows([WINDOW.window_id]) == {}
    commit(store, window=WINDOW)
    assert store.load_windows([WINDOW.window_id, "another"]) == {
        WINDOW.window_id: replace(WINDOW, version=1)
    }
    begun = Window(window_id="begun")
    commit(store, window=begun)
    assert store.load_windows(["begun"]) == {"begun": replace(begun, version=1)}


def test_nobody_writes_over_a_window_that_another_has_judged(store: AlertStore) -> None:
    commit(store, window=WINDOW)
    with pytest.raises(ConflictError):
        commit(
            store,
            fresh(),
            window=WINDOW,
            contributions=(
                Contribution(window_id=WINDOW.window_id, fingerprint=ONE, notification=ADDED),
            ),
        )
    assert store.load([fingerprint("one")]) == {}
    assert store.load_contributions([(WINDOW.window_id, ONE)]) == {}


def test_what_a_window_has_added_is_known_of_it_alone(store: AlertStore) -> None:
    contribution = Contribution(window_id=WINDOW.window_id, fingerprint=ONE, notification=ADDED)
    commit(store, fresh(), window=WINDOW, contributions=(contribution,))
    assert store.load_contributions(
        [(WINDOW.window_id, ONE), (WINDOW.window_id, fingerprint("two"))]
    ) == {(WINDOW.window_id, ONE): ADDED}
    assert store.load_contributions([("123456789012#eu-west-1#598449", ONE)]) == {}


def test_what_a_window_takes_back_is_forgotten(store: AlertStore) -> None:
    contribution = Contribution(window_id=WINDOW.window_id, fingerprint=ONE, notification=ADDED)
    commit(store, fresh(), window=WINDOW, contributions=(contribution,))
    commit(
        store,
        window=replace(WINDOW, version=1),
        contributions=(replace(contribution, notification=None),),
    )
    assert store.load_contributions([(WINDOW.window_id, ONE)]) == {}


def test_a_source_is_known_by_the_windows_that_it_had_evidence_for(store: AlertStore) -> None:
    assert store.windows_of("object") is None
    store.record_source("object", (5_984_497, 5_984_496), NOW)
    assert set(store.windows_of("object") or ()) == {5_984_496, 5_984_497}
    store.record_source("empty", (), NOW)
    assert store.windows_of("empty") == ()


def test_a_table_has_one_seed_however_often_it_is_asked(aws: LocalAws) -> None:
    seeds = {DynamoDbStore(boto3.client("dynamodb"), aws.table).seed() for _ in range(3)}
    assert len(seeds) == 1
    (seed,) = seeds
    assert 0 <= seed < 2**64


# --- what is due ----------------------------------------------------------------------------------


def test_what_is_due_comes_longest_first_and_no_more_than_asked_for(store: AlertStore) -> None:
    for name, seen in (("third", 30), ("first", 10), ("second", 20), ("later", 5_000)):
        commit(store, fresh(name, now=NOW + seen).sent())
    names = {fingerprint(name): name for name in ("first", "second", "third", "later")}
    then = NOW + 30 + INTERVALS.resolve
    assert [names[one] for one in store.due(then, 10)] == ["first", "second", "third"]
    assert [names[one] for one in store.due(then - 1, 10)] == ["first", "second"]
    assert [names[one] for one in store.due(then, 2)] == ["first", "second"]


def test_a_message_that_waits_is_due_when_its_function_must_have_ended(store: AlertStore) -> None:
    commit(store, fresh())
    assert list(store.due(NOW + INTERVALS.outbox - 1, 10)) == []
    assert list(store.due(NOW + INTERVALS.outbox, 10)) == [fingerprint("one")]


def test_noise_is_due_at_the_end_of_the_day_in_which_it_began_however_often_it_is_seen(
    store: AlertStore,
) -> None:
    midnight = INTERVALS.digest_end(NOW)
    commit(store, fresh(severity=Severity.LOW))
    commit(
        store,
        on_detection(
            load(store),
            detection(severity=Severity.LOW),
            midnight + 1,
            inhibited=False,
            context=AROUND,
        ),
    )
    assert list(store.due(midnight - 1, 10)) == []
    assert list(store.due(midnight, 10)) == [fingerprint("one")]


def test_what_is_over_is_never_due(store: AlertStore) -> None:
    commit(store, fresh().sent())
    read = Findings(rules={}, read_to={fingerprint("one"): NOW + INTERVALS.resolve}, accepted_at={})
    over = on_sweep(load(store), NOW + INTERVALS.resolve, INTERVALS, read)
    assert over.pending is Status.RESOLVED
    commit(store, over)
    store.mark_sent(load(store), INTERVALS)
    assert list(store.due(NOW + 10**7, 10)) == []
    assert load(store).closed_at == NOW + INTERVALS.resolve


# --- messages -------------------------------------------------------------------------------------


def test_a_sent_message_does_not_wait_any_more_and_the_alert_is_due_by_its_own_times(
    store: AlertStore,
) -> None:
    commit(store, fresh())
    state = load(store)
    assert (state.pending, state.pending_at) == (Status.FIRING, NOW)
    store.mark_sent(state, INTERVALS)
    after = load(store)
    assert (after.pending, after.pending_at, after.version) == (None, None, 2)
    assert replace(after, version=state.version) == state.sent()
    assert list(store.due(NOW + INTERVALS.outbox, 10)) == []
    assert list(store.due(NOW + INTERVALS.resolve, 10)) == [fingerprint("one")]


def test_the_mark_of_a_message_is_read_by_itself(store: AlertStore) -> None:
    assert store.pending_of(fingerprint("one")) is None
    commit(store, fresh())
    assert store.pending_of(fingerprint("one")) == (Status.FIRING, NOW)
    store.mark_sent(load(store), INTERVALS)
    assert store.pending_of(fingerprint("one")) == (None, None)


def test_only_the_message_that_was_sent_is_marked_so(store: AlertStore) -> None:
    commit(store, fresh())
    sent = load(store)
    commit(store, replace(sent, pending_at=NOW + 400))  # a sweep took the message in between
    store.mark_sent(sent, INTERVALS)
    assert load(store).pending_at == NOW + 400


def test_what_was_counted_while_the_message_was_sent_stays_counted(store: AlertStore) -> None:
    commit(store, fresh())
    sent = load(store)
    commit(
        store, on_detection(sent, detection(records=5), NOW + 2, inhibited=False, context=AROUND)
    )
    store.mark_sent(sent, INTERVALS)
    after = load(store)
    assert (after.pending, after.notification.records, after.version) == (None, 6, 3)


def manager_of(store: AlertStore, outbox: Outbox) -> AlertManager:
    return AlertManager(store, outbox, intervals=INTERVALS, hourly_limit=30)


def messages_of(outbox: Outbox) -> list[tuple[Severity, str | None]]:
    return [(sent.severity, sent.status_reason) for sent in outbox.sent]


def test_an_alert_that_gets_worse_before_its_message_is_sent_is_notified_once(
    store: AlertStore,
) -> None:
    outbox = Outbox()
    manager = manager_of(store, outbox)
    # Two windows of one invocation: the message is sent after the second window.
    manager.notify(
        [
            transition
            for severity in (Severity.MEDIUM, Severity.HIGH)
            for transition in manager.apply([detection(severity=severity)], a_window(), NOW)
        ]
    )
    record(manager, [detection(severity=Severity.HIGH)], a_window(), NOW + 10)
    assert messages_of(outbox) == [(Severity.HIGH, None)]
    record(manager, [detection(severity=Severity.CRITICAL)], a_window(), NOW + 20)
    assert messages_of(outbox)[1:] == [(Severity.CRITICAL, "This was high before.")]


def test_an_alert_that_gets_worse_while_the_topic_is_away_is_notified_once(
    store: AlertStore,
) -> None:
    outbox = Outbox()
    outbox.broken = 1
    manager = manager_of(store, outbox)
    for number, severity in enumerate((Severity.MEDIUM, Severity.HIGH)):
        record(manager, [detection(severity=severity)], a_window(), NOW + number)
    manager.sweep(NOW + INTERVALS.outbox, None)
    record(manager, [detection(severity=Severity.HIGH)], a_window(), NOW + INTERVALS.outbox + 1)
    assert messages_of(outbox) == [(Severity.HIGH, None)]


def test_an_alert_that_gets_less_severe_before_its_message_is_sent_may_get_worse_again(
    store: AlertStore,
) -> None:
    outbox = Outbox()
    manager = manager_of(store, outbox)
    window = a_window()
    # Evidence that came meanwhile: the window is evaluated again before the message is sent.
    transitions = [*manager.apply([detection(severity=Severity.HIGH)], window, NOW)]
    again = store.load_windows([window.window_id])[window.window_id]
    transitions += manager.apply([detection(severity=Severity.MEDIUM)], again, NOW)
    manager.notify(transitions)
    record(manager, [detection(severity=Severity.HIGH)], a_window(), NOW + 10)
    assert messages_of(outbox) == [
        (Severity.MEDIUM, None),
        (Severity.HIGH, "This was medium before."),
    ]


def test_an_alert_that_gets_worse_while_another_invocation_sends_it_is_notified_again(
    store: AlertStore,
) -> None:
    outbox = Outbox()
    manager = manager_of(store, outbox)
    sending = [*manager.apply([detection(severity=Severity.MEDIUM)], a_window(), NOW)]
    record(manager, [detection(severity=Severity.HIGH)], a_window(), NOW + 1)
    manager.notify(sending)
    record(manager, [detection(severity=Severity.HIGH)], a_window(), NOW + 2)
    assert messages_of(outbox) == [
        (Severity.MEDIUM, None),
        (Severity.HIGH, "This was medium before."),
    ]


def test_an_alert_that_goes_on_in_another_window_without_a_message_keeps_its_severity(
    store: AlertStore,
) -> None:
    outbox = Outbox()
    manager = manager_of(store, outbox)
    window = a_window()
    record(manager, [detection(severity=Severity.HIGH)], window, NOW)
    again = store.load_windows([window.window_id])[window.window_id]
    transitions = [*manager.apply([], again, NOW + 10)]
    transitions += manager.apply([detection(severity=Severity.MEDIUM)], a_window(), NOW + 10)
    manager.notify(transitions)
    record(manager, [detection(severity=Severity.HIGH)], a_window(), NOW + 20)
    assert messages_of(outbox) == [(Severity.HIGH, None)]
    assert load(store).is_open


# --- what it costs --------------------------------------------------------------------------------


def counting(client: DynamoDBClient) -> Counter[str]:
    calls: Counter[str] = Counter()

    def count(model: Any, **_: object) -> None:  # noqa: ANN401 - botocore's
        calls[model.name] += 1

    client.meta.events.register("before-call.dynamodb", count)
    return calls


def test_what_a_quiet_batch_and_an_alert_cost(aws: LocalAws) -> None:
    client = boto3.client("dynamodb")
    calls = counting(client)
    store = DynamoDbStore(client, aws.table)
    manager = AlertManager(store, Outbox(), intervals=INTERVALS, hourly_limit=30)

    assert store.windows_of("object") is None
    store.record_source("object", (1,), NOW)
    # One read to see that the object is new, one write to mark it as read.
    assert calls == {"BatchGetItem": 1, "UpdateItem": 1}

    calls.clear()
    record(manager, [detection()], a_window(), NOW)
    # The window, the state, the silences and the hour's budget are read, and the state again before
    # the message is sent; the message's mark is taken away.
    assert calls == {"UpdateItem": 1, "BatchGetItem": 5, "TransactWriteItems": 1}

    calls.clear()
    record(manager, [detection()], a_window(), NOW + 60)
    # More of the same problem: the contribution of the other window is read too. Nothing is
    # notified, so the hour's budget is not read.
    assert calls == {"BatchGetItem": 3, "TransactWriteItems": 1}

    calls.clear()
    manager.sweep(NOW + 90, None)
    # Nothing is due: queries of the nine keys of alerts and of feeds, and a read of the silences,
    # of the turn, and of the rate limits of this hour and the hour before.
    assert calls == {"Query": 9 + 1, "BatchGetItem": 4}


# --- offers of fixes ------------------------------------------------------------------------------


def test_of_two_who_read_the_same_offers_one_writes(store: AlertStore) -> None:
    place = "acl-0a1b ingress"
    offer = Offer(change="tcp", problem="0" * 16, title="x", rule_number=110, until=NOW)
    assert store.load_offers([place]) == {}
    assert store.save_offers(place, StoredOffers(offers=(offer,)))
    assert not store.save_offers(place, StoredOffers(offers=(replace(offer, rule_number=120),)))
    stored = store.load_offers([place, "acl-0a1b egress"])
    assert stored == {place: StoredOffers(version=1, offers=(offer,))}
    assert store.save_offers(place, stored[place])
