"""The three endings through the real functions: fixed, quiet and unknown are never confused."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import time_machine

from flowverdict.flowlog.object_key import ObjectRef
from flowverdict.lifecycle.notifier import Outcome
from flowverdict.lifecycle.windows import WindowEvaluator
from flowverdict_cli.local_aws import REGION, LocalAws
from tests.helpers.at_once import NoRules
from tests.helpers.events import BUCKET, notification, queue_event
from tests.helpers.small_company import (
    ACCOUNT,
    APP,
    DATABASE,
    HEADER,
    SHOP,
    SYN,
    SYN_ACK,
    Company,
    at,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from flowverdict.lifecycle.dirty_window import DirtyWindow

EVERY = 300  # seconds of a file, as AWS writes them
LATE = 120  # seconds from the end of a file's records to its delivery
CUSTOMER, OTHER = "203.0.113.7", "203.0.113.8"
PARTNER = "10.0.2.21"


@dataclass(slots=True)
class Office:
    """The company, its one flow log, and a clock that deliveries and sweeps move."""

    aws: LocalAws
    company: Company
    clock: time_machine.Traveller
    now: int = at(12)
    files: int = 0
    messages: list[tuple[str, str, str | None]] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)

    def line(  # noqa: PLR0913 - a record has many fields
        self,
        near: str,
        far: str,
        ports: tuple[int, int],
        flags: int,
        *,
        egress: bool = False,
        accepted: bool = False,
    ) -> str:
        """Return a record of the five minutes that are delivered next."""
        place, start = self.company.places[near], self.now - LATE - EVERY + 10
        source, destination = (near, far) if egress else (far, near)
        return (
            f"8 {ACCOUNT} {place.interface_id} {source} {destination} {ports[0]} {ports[1]} "
            f"6 1 60 {start} {start + 10} {'ACCEPT' if accepted else 'REJECT'} OK {place.vpc_id} "
            f"{place.subnet_id} - {flags} IPv4 {source} {destination} {REGION} "
            f"{'egress' if egress else 'ingress'} -"
        )

    def replies_blocked(self) -> list[str]:
        """Return the records of replies that the shop's network ACL drops, of two services."""
        return [
            text
            for port in (443, 8443)
            for text in (
                self.line(SHOP, CUSTOMER, (50_000, port), SYN, accepted=True),
                self.line(SHOP, CUSTOMER, (port, 50_000), SYN_ACK, egress=True),
            )
        ]

    def idle(self) -> str:
        """Return the record of an interface without traffic in the next five minutes."""
        start = self.now - LATE - EVERY
        return (
            f"8 {ACCOUNT} {self.company.places[SHOP].interface_id} - - - - - - - {start} "
            f"{start + EVERY - 1} - NODATA {'- ' * 9}-"
        )

    @staticmethod
    def content(*lines: str) -> bytes:
        """Return the content of a file."""
        return gzip.compress("\n".join([HEADER, *lines]).encode(), mtime=0)

    def put(self, content: bytes, *, flow_log: str = "fl-0a1b", minutes: int = 0) -> str:
        """Put a file of the next five minutes, or of minutes later; return its key."""
        self.files += 1
        start = self.now - LATE - EVERY + 60 * minutes
        stamp = f"{datetime.fromtimestamp(start, tz=UTC):%Y%m%dT%H%MZ}"
        key = (
            f"AWSLogs/{ACCOUNT}/vpcflowlogs/{REGION}/2026/11/24/"
            f"{ACCOUNT}_vpcflowlogs_{REGION}_{flow_log}_{stamp}_{self.files:08x}.log.gz"
        )
        self.aws.put_object(ObjectRef(bucket=BUCKET, key=key), content)
        return key

    def deliver(self, *lines: str) -> None:
        """Deliver a file; without lines, one without traffic."""
        key = self.put(self.content(*(lines or (self.idle(),))))
        assert self.aws.invoke(queue_event(notification(key))).failures == ()
        self._collect()

    def tick(self, seconds: int = EVERY) -> None:
        """Let time pass in which nothing happens."""
        self.now += seconds
        self.clock.move_to(self.now)

    def wait(self, minutes: int, *, logs: bool) -> None:
        """Let time pass, with a sweep every five minutes, and idle flow logs if they come."""
        for _ in range(minutes // 5):
            self.tick()
            if logs:
                self.deliver()
            assert self.aws.sweep(self.now).failures == ()
            self._collect()

    def _collect(self) -> None:
        # Each end by itself: people are told together what ended alike.
        told = [one for one in self.aws.alerts() if one["kind"] != "ends"]
        self.told += told
        self.messages += [(one["kind"], one["status"], one["ending"]) for one in told]

    def take(self) -> list[tuple[str, str, str | None]]:
        """Return the messages since the last call: kind, status and ending."""
        messages, self.messages = self.messages, []
        return messages


@pytest.fixture
def office(aws: LocalAws) -> Iterator[Office]:
    aws.keep_warm = True
    with time_machine.travel(at(12), tick=False) as clock:
        yield Office(aws, Company.found(), clock)


FIRED = ("reject", "firing", None)


@pytest.mark.slow
def test_half_an_hour_without_flow_logs_resolves_nothing(office: Office) -> None:
    office.wait(30, logs=True)
    office.company.keep_replies_in()
    office.deliver(*office.replies_blocked())
    assert office.take() == [FIRED, FIRED]
    assert {one["severity"] for one in office.told} == {"critical"}

    office.wait(40, logs=False)

    # Two critical alerts are open. One message says that nothing is known of them.
    assert office.take() == [("no-flow-logs", "firing", None)]
    notice = office.told[-1]
    assert (
        notice["title"]
        == f"No flow logs from account {ACCOUNT}, {REGION} since 2026-11-24T12:30:00Z"
    )
    assert notice["severity"] == "high"

    office.wait(240, logs=False)
    assert office.take() == [("reject", "reminder", "unknown")] * 2
    assert office.told[-1]["status_reason"].startswith(
        "Unknown: nobody can say whether this goes on. Flow logs of it were read up to "
        "2026-11-24T12:30:00Z only; "
    )
    assert "still deny it" in office.told[-1]["status_reason"]
    *_, last = office.aws.emails()
    assert last.subject.startswith("[flowverdict UNKNOWN] 2 problems may go on")
    assert last.body.count("Unknown: nobody can say whether this goes on.") == 2

    office.wait(10, logs=True)
    assert office.take() == [("no-flow-logs", "resolved", "fixed")]


@pytest.mark.slow
def test_flow_logs_that_come_again_let_the_alerts_end_as_they_are(office: Office) -> None:
    office.wait(30, logs=True)
    office.company.keep_replies_in()
    office.deliver(*office.replies_blocked())
    office.wait(60, logs=False)
    assert office.take() == [FIRED, FIRED, ("no-flow-logs", "firing", None)]
    office.wait(10, logs=True)
    assert ("no-flow-logs", "resolved", "fixed") in (ended := office.take())
    assert ended.count(("reject", "resolved", "quiet")) == 2


@pytest.mark.slow
def test_customers_who_gave_up_while_the_rule_still_denies_are_quiet_and_not_fixed(
    office: Office,
) -> None:
    office.company.keep_replies_in()
    office.deliver(*office.replies_blocked())
    assert office.take() == [FIRED, FIRED]

    office.wait(45, logs=True)

    assert office.take() == [("reject", "resolved", "quiet")] * 2
    assert office.told[-1]["status_reason"].startswith(
        "Quiet, still blocked: the rules as read 2026-11-24T12:3"
    )
    assert all("FIXED" not in email.subject for email in office.aws.emails())


def test_rules_that_let_it_pass_end_it_at_once_as_fixed(office: Office) -> None:
    office.company.keep_replies_in()
    office.deliver(*office.replies_blocked())
    office.company.let_replies_out()
    office.take()
    office.aws.emails()
    office.wait(10, logs=False)
    assert office.take() == [("reject", "resolved", "fixed")] * 2
    assert office.told[-1]["status_reason"].startswith("Fixed: the rules let it pass now")
    (mail,) = office.aws.emails()
    assert mail.subject == "[flowverdict FIXED] 2 problems are fixed"
    for each in office.told[-2:]:
        assert f"Fingerprint {each['fingerprint']}" in mail.body
    assert mail.body.count("Fixed: the rules let it pass now") == 2


# --- accepted traffic, where nobody may read the rules --------------------------------------------


def blocked(office: Office, remotes: Sequence[str], port: int = 33_000) -> list[str]:
    return [office.line(DATABASE, remote, (port, 5432), SYN) for remote in remotes]


def accepted(office: Office, remote: str, port: int = 34_567, flags: int = SYN) -> str:
    return office.line(DATABASE, remote, (port, 5432), flags, accepted=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("remotes", "later", "ending"),
    [
        # A new connection to the same port, from another source port.
        ([APP], [(APP, 34_567, SYN)], "fixed"),
        ([APP, PARTNER], [(APP, 34_567, SYN), (PARTNER, 40_000, SYN | 1)], "fixed"),
        # Of two clients one is seen accepted: nothing is known of the other one.
        ([APP, PARTNER], [(APP, 34_567, SYN)], "quiet"),
        # Packets of a connection that was tracked before the rule was taken away.
        ([APP], [(APP, 34_567, 0)], "quiet"),
        # A reply to a connection that the database itself has opened.
        ([APP], [(APP, 34_567, SYN_ACK)], "quiet"),
        ([APP], [], "quiet"),
    ],
)
def test_accepted_connections_of_every_client_are_fixed(
    office: Office,
    monkeypatch: pytest.MonkeyPatch,
    remotes: list[str],
    later: list[tuple[str, int, int]],
    ending: str,
) -> None:
    monkeypatch.setattr("flowverdict.app.alert_wiring.Ec2Config", NoRules)
    office.deliver(*blocked(office, remotes))
    assert office.take() == [FIRED]
    office.wait(10, logs=True)
    office.deliver(*(accepted(office, *one) for one in later))
    office.wait(40, logs=True)
    assert office.take() == [("reject", "resolved", ending)]
    reason = office.told[-1]["status_reason"]
    if ending == "fixed":
        assert reason.startswith(
            "Fixed: all of its traffic was accepted again, since 2026-11-24T12:0"
        )
    else:
        assert "the rules were not read: the rules were not asked for" in reason or (
            "no packet of it is kept" in reason
        )


@pytest.mark.slow
def test_what_was_accepted_before_the_last_reject_proves_nothing(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowverdict.app.alert_wiring.Ec2Config", NoRules)
    office.deliver(*blocked(office, [APP]))
    office.wait(10, logs=True)
    office.deliver(accepted(office, APP))
    office.wait(5, logs=True)
    office.deliver(*blocked(office, [APP], port=36_000))
    office.take()
    office.wait(45, logs=True)
    assert office.take() == [("reject", "resolved", "quiet")]


@pytest.mark.slow
@pytest.mark.parametrize(("port", "ending"), [(50_000, "fixed"), (50_001, "quiet")])
def test_a_reply_is_fixed_only_by_a_reply_to_the_same_port(
    office: Office, monkeypatch: pytest.MonkeyPatch, port: int, ending: str
) -> None:
    # The network ACL looks at the client's port: a reply to another one says nothing of it.
    monkeypatch.setattr("flowverdict.app.alert_wiring.Ec2Config", NoRules)
    office.deliver(
        office.line(SHOP, CUSTOMER, (50_000, 443), SYN, accepted=True),
        office.line(SHOP, CUSTOMER, (443, 50_000), SYN_ACK, egress=True),
    )
    assert office.take() == [FIRED]
    office.wait(10, logs=True)
    office.deliver(office.line(SHOP, CUSTOMER, (443, port), SYN_ACK, egress=True, accepted=True))
    office.wait(45, logs=True)
    assert office.take() == [("reject", "resolved", ending)]


@pytest.mark.slow
@pytest.mark.parametrize("for_ever", [False, True])
def test_evidence_that_cannot_be_read_lets_an_alert_wait_and_is_counted(
    office: Office, monkeypatch: pytest.MonkeyPatch, *, for_ever: bool
) -> None:
    monkeypatch.setattr("flowverdict.app.alert_wiring.Ec2Config", NoRules)
    office.aws.keep_warm = False  # the environment changes
    office.deliver(*blocked(office, [APP]))
    office.wait(10, logs=True)
    office.deliver(accepted(office, APP))
    office.wait(15, logs=True)
    office.take()
    office.tick()
    office.deliver()
    swept = office.aws.sweep(office.now, {"EVIDENCE_BUCKET": "gone-away"})
    assert swept.failures == ()
    assert office.aws.alerts() == []  # neither "quiet" nor "fixed" is known
    assert swept.metrics["EvidenceUnreadable"] == 1
    if not for_ever:
        office.wait(5, logs=True)
        assert office.take() == [("reject", "resolved", "fixed")]
        return
    office.tick(4 * 3_600)
    office.deliver()
    office.aws.sweep(office.now, {"EVIDENCE_BUCKET": "gone-away"})
    (told,) = office.aws.alerts()
    assert told["ending"] == "quiet"


# --- a file that failed ---------------------------------------------------------------------------


@pytest.mark.slow
def test_a_file_that_was_not_read_holds_back_quiet_until_it_is_read(office: Office) -> None:
    office.company.keep_replies_in()
    office.deliver(*office.replies_blocked())
    office.take()
    office.wait(10, logs=True)
    office.tick()
    key = office.put(b"no flow log")
    assert office.aws.invoke(queue_event(notification(key))).failures != ()
    # The files after it are read, and show nothing of the alerts.
    office.wait(60, logs=True)
    assert office.take() == []

    # Whatever was wrong with the file is put right, and the dead-letter queue is emptied.
    office.aws.put_object(ObjectRef(bucket=BUCKET, key=key), office.content(office.idle()))
    assert office.aws.invoke(queue_event(notification(key))).failures == ()
    office.wait(5, logs=True)
    assert office.take() == [("reject", "resolved", "quiet")] * 2


@pytest.mark.slow
def test_a_file_that_is_never_read_lets_an_alert_end_as_unknown(office: Office) -> None:
    office.company.keep_replies_in()
    office.deliver(*office.replies_blocked())
    office.take()
    office.wait(10, logs=True)
    office.tick()
    end = f"{datetime.fromtimestamp(office.now - LATE - EVERY, tz=UTC):%Y-%m-%dT%H:%M:%SZ}"
    assert office.aws.invoke(queue_event(notification(office.put(b"no flow log")))).failures != ()
    office.tick(4 * 3_600)
    office.deliver()
    office.wait(5, logs=True)
    assert office.take() == [("reject", "reminder", "unknown")] * 2
    reason = office.told[-1]["status_reason"]
    assert f"Flow logs of it were read up to {end} only; " in reason
    assert reason.endswith(" A part of its later flow logs could not be read or judged.")


@pytest.mark.slow
@pytest.mark.parametrize("minutes", [-10, 45])
def test_a_file_of_another_time_holds_nothing_back(office: Office, minutes: int) -> None:
    # One from before the alert's last record, and one that failed when the half hour was read.
    office.tick(600)
    office.company.keep_replies_in()
    office.deliver(*office.replies_blocked())
    office.take()
    key = office.put(b"no flow log", minutes=minutes)
    assert office.aws.invoke(queue_event(notification(key))).failures != ()
    office.wait(45, logs=True)
    assert office.take() == [("reject", "resolved", "quiet")] * 2


@pytest.mark.slow
def test_a_file_of_another_flow_log_holds_nothing_back(office: Office) -> None:
    office.company.keep_replies_in()
    office.deliver(*office.replies_blocked())
    office.take()
    office.wait(10, logs=True)
    key = office.put(b"no flow log", flow_log="fl-0c1d")
    assert office.aws.invoke(queue_event(notification(key))).failures != ()
    office.wait(35, logs=True)
    assert office.take() == [("reject", "resolved", "quiet")] * 2


@pytest.mark.slow
def test_a_file_whose_windows_waited_for_the_rules_is_judged_with_the_next_one(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.company.keep_replies_in()
    office.deliver(*office.replies_blocked())
    office.take()
    office.wait(10, logs=True)
    office.tick()
    with monkeypatch.context() as patch:
        patch.setattr(WindowEvaluator, "evaluate", _all_postponed)
        key = office.put(office.content(accepted(office, APP)))
        assert office.aws.invoke(queue_event(notification(key))).failures != ()
        assert held_back(office) != []  # so no alert ends as quiet
    office.wait(5, logs=True)
    assert held_back(office) == []
    office.wait(30, logs=True)
    assert office.take() == [("reject", "resolved", "quiet")] * 2


def held_back(office: Office) -> list[str]:
    """Return the keys of the sources that are held back."""
    items = boto3.client("dynamodb").scan(TableName=office.aws.table)["Items"]
    return [item["pk"]["S"] for item in items if "unread_from" in item]


def _all_postponed(
    _: object, dirty: Collection[DirtyWindow], *__: object, can_wait: bool
) -> Outcome:
    assert can_wait
    return Outcome(postponed={window.partition for window in dirty})
