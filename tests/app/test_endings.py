"""The three endings through the real functions: fixed, quiet and unknown are never confused."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import time_machine

from flowverdict.flowlog.object_key import ObjectRef
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
    from collections.abc import Iterator, Sequence

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

    def deliver(self, *lines: str) -> None:
        """Deliver a file; without lines, one without traffic."""
        start = self.now - LATE - EVERY
        self.files += 1
        idle = (
            f"8 {ACCOUNT} {self.company.places[SHOP].interface_id} - - - - - - - {start} "
            f"{start + EVERY - 1} - NODATA {'- ' * 9}-"
        )
        stamp = f"{datetime.fromtimestamp(start, tz=UTC):%Y%m%dT%H%MZ}"
        key = (
            f"AWSLogs/{ACCOUNT}/vpcflowlogs/{REGION}/2026/11/24/"
            f"{ACCOUNT}_vpcflowlogs_{REGION}_fl-0a1b_{stamp}_{self.files:08x}.log.gz"
        )
        content = gzip.compress("\n".join([HEADER, *(lines or (idle,))]).encode(), mtime=0)
        self.aws.put_object(ObjectRef(bucket=BUCKET, key=key), content)
        assert self.aws.invoke(queue_event(notification(key))).failures == ()
        self._collect()

    def wait(self, minutes: int, *, logs: bool) -> None:
        """Let time pass, with a sweep every five minutes, and idle flow logs if they come."""
        for _ in range(minutes // 5):
            self.now += EVERY
            self.clock.move_to(self.now)
            if logs:
                self.deliver()
            assert self.aws.sweep(self.now).failures == ()
            self._collect()

    def _collect(self) -> None:
        told = self.aws.alerts()
        self.told += told
        self.messages += [(one["kind"], one["status"], one["ending"]) for one in told]

    def take(self) -> list[tuple[str, str, str | None]]:
        """Return the messages since the last call: kind, status and ending."""
        messages, self.messages = self.messages, []
        return messages


@pytest.fixture
def office(aws: LocalAws) -> Iterator[Office]:
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
    subjects = [email.subject for email in office.aws.emails()]
    assert [subject.split("]")[0] for subject in subjects[-2:]] == ["[flowverdict UNKNOWN"] * 2

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
    office.wait(10, logs=False)
    assert office.take() == [("reject", "resolved", "fixed")] * 2
    assert office.told[-1]["status_reason"].startswith("Fixed: the rules let it pass now")


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
    monkeypatch.setattr("flowverdict.app.wiring.Ec2Config", NoRules)
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
    monkeypatch.setattr("flowverdict.app.wiring.Ec2Config", NoRules)
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
    monkeypatch.setattr("flowverdict.app.wiring.Ec2Config", NoRules)
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
def test_evidence_that_cannot_be_read_ends_an_alert_as_quiet_and_is_counted(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowverdict.app.wiring.Ec2Config", NoRules)
    office.deliver(*blocked(office, [APP]))
    office.wait(25, logs=True)
    office.take()
    office.now += EVERY
    office.clock.move_to(office.now)
    office.deliver()
    swept = office.aws.invoke(
        {
            "detail-type": "Scheduled Event",
            "source": "aws.events",
            "time": f"{datetime.fromtimestamp(office.now, tz=UTC):%Y-%m-%dT%H:%M:%SZ}",
            "detail": {},
        },
        {"EVIDENCE_BUCKET": "gone-away"},
    )
    assert swept.failures == ()
    (told,) = office.aws.alerts()
    assert told["ending"] == "quiet"
    assert swept.metrics["EvidenceUnreadable"] == 1
