"""What people on call say of alerts, on moto's table and in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import boto3
import pytest

from flowverdict.alerts.counts import Remote
from flowverdict.alerts.ending import Ending
from flowverdict.alerts.matching import Asked, Key, parse_value
from flowverdict.alerts.model import (
    Alert,
    Kind,
    Notice,
    Severity,
    Status,
)
from flowverdict.alerts.notices import no_flow_logs_fingerprint
from flowverdict.core.errors import StateError
from flowverdict.lifecycle.dynamodb import DynamoDbStore
from flowverdict.lifecycle.history import What
from flowverdict.lifecycle.intervals import Intervals
from flowverdict.lifecycle.manager import AlertManager
from flowverdict.lifecycle.on_call import (
    MAX_REASON,
    MAX_SILENCE,
    MAX_SILENCES,
    Silence,
    Silences,
    author_from,
    reason_from,
)
from flowverdict.lifecycle.on_call_commits import OnCall, Person
from flowverdict.lifecycle.store import ConflictError
from tests.helpers.alert_samples import (
    ALERT,
    FEED,
    LOST,
    NOW,
    ONE_OF_EACH,
    Outbox,
    a_window,
    detection,
    read_on,
    record,
)
from tests.helpers.memory_stores import MemoryStore

if TYPE_CHECKING:
    from flowverdict.alerts.model import Notification
    from flowverdict.lifecycle.state_machine import AlertState
    from flowverdict.lifecycle.store import AlertStore, Commit
    from flowverdict_cli.local_aws import LocalAws

INTERVALS = Intervals()
MINUTE, HOUR = 60, 3_600
EVERY = 20 * MINUTE  # less than the time after which an alert ends
ONE = detection().notification.fingerprint
ANA = "arn:aws:iam::123456789012:user/ana"


def ana(now: int, reason: str = "on it") -> Person:
    return Person(by=ANA, reason=reason, now=now)


# The items of the table are tried in every fast run by ``tests/app/test_on_call``.
@pytest.fixture(params=[pytest.param("table", marks=pytest.mark.slow), "memory"])
def store(request: pytest.FixtureRequest) -> AlertStore:
    if request.param == "memory":
        return MemoryStore()
    aws: LocalAws = request.getfixturevalue("aws")
    return DynamoDbStore(boto3.client("dynamodb"), aws.table)


class Shift:
    """A manager, its outbox, and a person on call; the problem is seen again and again."""

    def __init__(self, store: AlertStore) -> None:
        self.store = store
        self.outbox = Outbox()
        self.manager = AlertManager(
            store, self.outbox, intervals=INTERVALS, hourly_limit=30, wait=lambda _: None
        )
        self.people = OnCall(store, INTERVALS, wait=lambda _: None)

    def detect(self, now: int, severity: Severity = Severity.HIGH) -> None:
        found = detection(severity=severity)
        later = replace(found.notification, first_seen=now - 300, last_seen=now - 60)
        record(self.manager, [replace(found, notification=later)], a_window(), now)

    def go_on(self, start: int, end: int) -> None:
        for now in range(start, end, EVERY):
            self.detect(now)
            self.manager.sweep(now + 1, None)

    @property
    def messages(self) -> list[tuple[Status, str | None]]:
        return [(sent.status, sent.status_reason) for sent in self.outbox.sent]

    @property
    def state(self) -> AlertState:
        return self.store.load([ONE])[ONE]

    @property
    def history(self) -> list[What]:
        return [event.what for event in self.state.history]


# --- acknowledged ---------------------------------------------------------------------------------


def test_what_is_acknowledged_is_not_reminded_of_and_still_ends(store: AlertStore) -> None:
    shift = Shift(store)
    shift.detect(NOW)
    shift.people.acknowledge(ONE, ana(NOW + 60))
    shift.go_on(NOW + 5 * MINUTE, NOW + 5 * HOUR)
    assert [status for status, _ in shift.messages] == [Status.FIRING]
    end = NOW + 6 * HOUR
    read_on(store, end)
    shift.manager.sweep(end, None)
    assert [status for status, _ in shift.messages] == [Status.FIRING, Status.RESOLVED]
    assert shift.outbox.sent[-1].ending is Ending.QUIET
    assert shift.history == [What.FIRING, What.ACKNOWLEDGED, What.QUIET]
    assert shift.state.history[1].by == ANA


def test_what_is_acknowledged_and_gets_worse_is_told(store: AlertStore) -> None:
    shift = Shift(store)
    shift.detect(NOW)
    shift.people.acknowledge(ONE, ana(NOW + 60))
    shift.detect(NOW + 120, Severity.CRITICAL)
    assert shift.messages[1:] == [(Status.FIRING, "This was high before.")]


def test_the_next_episode_is_not_acknowledged(store: AlertStore) -> None:
    shift = Shift(store)
    shift.detect(NOW)
    shift.people.acknowledge(ONE, ana(NOW + 60))
    read_on(store, NOW + HOUR)
    shift.manager.sweep(NOW + HOUR, None)
    shift.go_on(NOW + 2 * HOUR, NOW + 7 * HOUR)
    assert [status for status, _ in shift.messages[2:]] == [Status.FIRING, Status.REMINDER]
    assert shift.state.acknowledged is None


# --- closed by hand -------------------------------------------------------------------------------


def test_what_a_person_closes_is_told_as_closed_and_not_as_fixed(store: AlertStore) -> None:
    shift = Shift(store)
    shift.detect(NOW)
    shift.people.close(ONE, ana(NOW + 120, "it was our test"))
    assert not shift.state.is_open
    shift.manager.sweep(NOW + 180, None)
    shift.manager.sweep(NOW + 480, None)
    assert shift.messages[1:] == [(Status.RESOLVED, f"Closed by {ANA}: it was our test")]
    assert shift.outbox.sent[-1].ending is Ending.CLOSED
    assert shift.history == [What.FIRING, What.CLOSED]


def test_records_from_before_the_closing_change_nothing_and_later_ones_fire_again(
    store: AlertStore,
) -> None:
    shift = Shift(store)
    shift.detect(NOW)
    shift.people.close(ONE, ana(NOW + 120))
    shift.detect(NOW + 150)  # its last record ended before
    assert not shift.state.is_open
    shift.manager.sweep(NOW + 180, None)
    shift.detect(NOW + 10 * MINUTE)
    assert shift.state.is_open
    assert shift.messages[2:] == [
        (Status.FIRING, "Again: this was closed by hand at 2026-11-22T12:02:00Z.")
    ]


def test_an_alert_that_was_never_told_is_closed_without_a_message(store: AlertStore) -> None:
    shift = Shift(store)
    shift.people.silence({Key.FINGERPRINT: (ONE,)}, NOW + HOUR, ana(NOW))
    shift.detect(NOW)
    shift.people.close(ONE, ana(NOW + 60))
    shift.manager.sweep(NOW + 120, None)
    assert shift.messages == []
    assert (shift.state.is_open, shift.state.notification.ending) == (False, Ending.CLOSED)


@pytest.mark.parametrize("known", [False, True])
def test_only_what_is_open_is_acknowledged_or_closed(store: AlertStore, *, known: bool) -> None:
    shift = Shift(store)
    if known:
        shift.detect(NOW)
        shift.people.close(ONE, ana(NOW + 60))
    text = "is not open" if known else "no alert"
    with pytest.raises(ValueError, match=text):
        shift.people.acknowledge(ONE, ana(NOW + 60))
    with pytest.raises(ValueError, match=text):
        shift.people.close(ONE, ana(NOW + 60))


# --- silenced -------------------------------------------------------------------------------------


def test_a_silence_holds_back_messages_and_its_end_brings_a_reminder(store: AlertStore) -> None:
    shift = Shift(store)
    shift.detect(NOW)
    silence = shift.people.silence(
        {Key.FINGERPRINT: (ONE,)}, NOW + 6 * HOUR, ana(NOW + 60, "a change runs")
    )
    shift.go_on(NOW + 5 * MINUTE, NOW + 6 * HOUR)
    assert len(shift.messages) == 1  # no reminder after four hours
    shift.go_on(NOW + 6 * HOUR, NOW + 7 * HOUR)
    (reminder,) = shift.messages[1:]
    assert reminder == (
        Status.REMINDER,
        f"Still happening, for 6 h by now. The silence of {ANA} has ended (a change runs).",
    )
    assert shift.history == [What.FIRING, What.SILENCE_SET, What.REMINDER]
    assert store.load_silences().silences == (silence,)


def test_what_begins_while_it_is_silenced_is_told_at_the_end_of_the_silence(
    store: AlertStore,
) -> None:
    shift = Shift(store)
    asked: Asked = {Key.PORT: (5432,), Key.VPC: ("vpc-0a1b",)}
    shift.people.silence(asked, NOW + HOUR, ana(NOW - 60))
    shift.go_on(NOW, NOW + HOUR)
    assert shift.messages == []
    assert shift.history == [What.SILENCED]  # said once
    assert shift.state.notification.records == 3
    shift.manager.sweep(NOW + HOUR, None)
    assert shift.messages == [
        (Status.FIRING, f"This was held back. The silence of {ANA} has ended (on it).")
    ]
    shift.go_on(NOW + HOUR + 60, NOW + 2 * HOUR)
    assert len(shift.messages) == 1


def test_what_ended_while_it_was_silenced_brings_no_message(store: AlertStore) -> None:
    shift = Shift(store)
    shift.people.silence({Key.SEVERITY: ("high",)}, NOW + 2 * HOUR, ana(NOW - 60))
    shift.detect(NOW)
    read_on(store, NOW + HOUR)
    shift.manager.sweep(NOW + HOUR, None)
    shift.manager.sweep(NOW + 2 * HOUR, None)
    assert shift.messages == []
    assert not shift.state.is_open


def test_the_end_of_what_was_told_is_told_in_spite_of_a_silence(store: AlertStore) -> None:
    shift = Shift(store)
    shift.detect(NOW)
    shift.people.silence({Key.FINGERPRINT: (ONE,)}, NOW + 2 * HOUR, ana(NOW + 60))
    read_on(store, NOW + HOUR)
    shift.manager.sweep(NOW + HOUR, None)
    assert [status for status, _ in shift.messages] == [Status.FIRING, Status.RESOLVED]


def test_a_lifted_silence_ends_at_once_and_others_go_on(store: AlertStore) -> None:
    shift = Shift(store)
    first = shift.people.silence({Key.FINGERPRINT: (ONE,)}, NOW + HOUR, ana(NOW - 60))
    other = shift.people.silence({Key.PORT: (5432,)}, NOW + 2 * HOUR, ana(NOW - 50))
    shift.detect(NOW)
    assert shift.people.lift(first.silence_id, ANA, NOW + 60).until == NOW + 60
    shift.manager.sweep(NOW + 90, None)
    assert shift.messages == []
    shift.people.lift(other.silence_id, ANA, NOW + 120)
    shift.manager.sweep(NOW + 150, None)
    assert [status for status, _ in shift.messages] == [Status.FIRING]
    with pytest.raises(ValueError, match="no silence"):
        shift.people.lift(other.silence_id, ANA, NOW + 200)


def test_what_is_acknowledged_is_not_reminded_of_at_the_end_of_a_silence(
    store: AlertStore,
) -> None:
    shift = Shift(store)
    shift.detect(NOW)
    shift.people.acknowledge(ONE, ana(NOW + 60))
    shift.people.silence({Key.FINGERPRINT: (ONE,)}, NOW + HOUR, ana(NOW + 60))
    shift.go_on(NOW + 5 * MINUTE, NOW + 2 * HOUR)
    assert len(shift.messages) == 1


def test_a_silence_ends_has_a_reason_and_asks_for_something(store: AlertStore) -> None:
    people = OnCall(store, INTERVALS, wait=lambda _: None)
    for until in (NOW, NOW - 1, NOW + MAX_SILENCE + 1):
        with pytest.raises(ValueError, match="within 30 days"):
            people.silence({Key.PORT: (22,)}, until, ana(NOW))
    for asked in ({}, {Key.PORT: ()}):
        with pytest.raises(ValueError, match="of what"):
            people.silence(asked, NOW + 60, ana(NOW))
    assert store.load_silences() == Silences()


def test_there_are_only_so_many_silences_and_old_ones_are_forgotten() -> None:
    one = Silence(
        silence_id="0" * 8,
        asked={Key.PORT: (22,)},
        until=NOW + 60,
        reason="a test",
        by=ANA,
        created_at=NOW,
    )
    full = Silences(silences=(one,) * MAX_SILENCES)
    with pytest.raises(ValueError, match="lift one first"):
        full.with_silence(one, NOW)
    later = NOW + 2 * 86_400
    fresh = replace(one, until=later + 60, created_at=later)
    assert full.with_silence(fresh, later).silences == (fresh,)


def test_the_digest_names_who_silenced_what_though_there_is_no_noise(store: AlertStore) -> None:
    shift = Shift(store)
    midnight = NOW + 12 * HOUR
    shift.people.silence({Key.PORT: (22, 3389)}, NOW + 20 * HOUR, ana(NOW + 60, "a scan"))
    shift.detect(midnight - 600)
    shift.people.acknowledge(ONE, ana(midnight - 300))
    shift.manager.sweep(midnight - 60, None)
    shift.manager.sweep(midnight + 60, None)
    shift.manager.sweep(midnight + 360, None)
    (digest,) = [sent for sent in shift.outbox.sent if sent.kind is Kind.DIGEST]
    assert isinstance(digest, Notice)
    (section,) = digest.sections
    assert section.heading == "Silenced and acknowledged"
    silenced, acknowledged = section.lines
    assert silenced.startswith("silenced until 2026-11-23T08:00:00Z: port 22 or 3389 - ")
    assert f"{ANA}: a scan (id " in silenced
    assert acknowledged.startswith("acknowledged 2026-11-22T23:55:00Z: Requests blocked by sg-0a1b")


# --- at once --------------------------------------------------------------------------------------


class Disturbed(MemoryStore):
    """A store in which others are faster a few times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def commit(self, commit: Commit, now: int, intervals: Intervals) -> None:
        """Write, or raise ``ConflictError`` as if another had written first."""
        if self.times > 0:
            self.times -= 1
            raise ConflictError
        super().commit(commit, now, intervals)


def test_what_others_changed_meanwhile_is_computed_again_and_not_for_ever() -> None:
    calm = Disturbed(0)
    people = OnCall(calm, INTERVALS, wait=lambda _: None)
    calm.times = 3
    people.silence({Key.PORT: (22,)}, NOW + 60, ana(NOW))
    assert len(calm.load_silences().silences) == 1
    calm.times = 100
    with pytest.raises(StateError, match="changed in each of 8 tries"):
        people.silence({Key.PORT: (22,)}, NOW + 60, ana(NOW))


# --- which alerts a silence matches ---------------------------------------------------------------


def matches(asked: dict[Key, str], notification: Notification) -> bool:
    silence = Silence(
        silence_id="0" * 8,
        asked={key: (parse_value(key, text),) for key, text in asked.items()},
        until=NOW + 60,
        reason="a test",
        by=ANA,
        created_at=NOW,
    )
    return bool(Silences(silences=(silence,)).matching(notification))


FULL = replace(
    ALERT,
    subnet_id="subnet-0a1b",
    security_groups=("sg-0a1b", "sg-0c2d"),
    owners=(("Team", "payments"),),
)
OTHERS = {
    Key.VERDICT: "network-acl",
    Key.ACCOUNT: "210987654321",
    Key.REGION: "eu-west-2",
    Key.VPC: "vpc-1",
    Key.SUBNET: "subnet-1",
    Key.INTERFACE: "eni-1",
    Key.PROTOCOL: "udp",
    Key.PORT: "22",
    Key.CIDR: "10.0.2.21",
    Key.SECURITY_GROUP: "sg-1",
    Key.NETWORK_ACL: "acl-1",
    Key.OWNER: "team=shop",
    Key.SEVERITY: "low",
    Key.FINGERPRINT: "0" * 32,
}


@pytest.mark.parametrize("key", Key)
def test_each_key_matches_its_value_and_no_other(key: Key) -> None:
    assert matches({key: ONE_OF_EACH[key]}, FULL) is (key is not Key.NETWORK_ACL)
    assert not matches({key: OTHERS[key]}, FULL)
    # What an alert or notice does not have never matches.
    bare = replace(ALERT, vpc_id=None, interfaces=(), interface_count=0, top_remotes=())
    bare = replace(bare, protocol=None, service_port=None, region=None, account_id=None)
    if key not in {Key.VERDICT, Key.SEVERITY, Key.FINGERPRINT}:
        assert not matches({key: ONE_OF_EACH[key]}, bare)
    assert not matches({key: ONE_OF_EACH[key]}, LOST)


def test_all_keys_have_to_match() -> None:
    assert matches({Key.PORT: "5432", Key.OWNER: "payments"}, FULL)
    assert not matches({Key.PORT: "5432", Key.OWNER: "shop"}, FULL)


@pytest.mark.parametrize(
    ("cidr", "expected"),
    [("10.0.2.0/24", True), ("10.0.2.20", False), ("10.0.0.0/8", True), ("2001:db8::/32", False)],
)
def test_a_silence_of_one_client_does_not_hold_back_what_hits_another(
    cidr: str, *, expected: bool
) -> None:
    two = (*ALERT.top_remotes, Remote(address="10.0.2.99", flows=1, packets=1))
    assert matches({Key.CIDR: cidr}, replace(ALERT, top_remotes=two, remote_count=2)) is expected
    many = replace(ALERT, remote_count=200, far_network="10.0.2.0/24")
    assert matches({Key.CIDR: cidr}, many) is expected
    scattered = replace(ALERT, remote_count=200, far_network=None)
    assert not matches({Key.CIDR: cidr}, scattered)


def test_a_silence_of_one_interface_does_not_hold_back_what_hits_another() -> None:
    two = replace(ALERT, interfaces=("eni-0a1b", "eni-1"), interface_count=2)
    assert not matches({Key.INTERFACE: "eni-0a1b"}, two)
    assert not matches({Key.INTERFACE: "eni-0a1b"}, replace(ALERT, interface_count=12))


def test_a_stored_address_that_is_none_matches_no_range() -> None:
    odd = replace(ALERT, top_remotes=(Remote(address="nowhere", flows=1, packets=1),))
    assert isinstance(odd, Alert)
    assert not matches({Key.CIDR: "0.0.0.0/0"}, odd)


# --- text of strangers ----------------------------------------------------------------------------


def test_a_reason_is_one_line_of_bounded_length() -> None:
    assert reason_from(" the\x1b[31m\n\u202edeploy\t of\u2028 today ") == "the[31m deploy of today"
    for blank in ("", " \n\t", "\x00\x1b"):
        with pytest.raises(ValueError, match="a reason is needed"):
            reason_from(blank)
    with pytest.raises(ValueError, match="10,240 characters"):
        reason_from("x" * 10_240)
    assert len(reason_from("x" * MAX_REASON)) == MAX_REASON
    assert author_from("arn:\n" + "x" * 10_000).isprintable()


# --- a notice -------------------------------------------------------------------------------------


def test_a_notice_that_flow_logs_are_missing_can_be_silenced(store: AlertStore) -> None:
    shift = Shift(store)
    place = ("123456789012", "eu-west-1")
    for minute in range(0, 60, 5):
        read_on(store, NOW + minute * MINUTE)
    name = no_flow_logs_fingerprint(*place)
    shift.people.silence({Key.FINGERPRINT: (name,)}, NOW + 5 * HOUR, ana(NOW + HOUR))
    shift.manager.sweep(NOW + 4 * HOUR, None)
    assert shift.messages == []
    assert store.load([name])[name].feeds == (FEED,)
    shift.manager.sweep(NOW + 5 * HOUR, None)
    assert [sent.kind for sent in shift.outbox.sent] == [Kind.NO_FLOW_LOGS]
