"""A record counts once and its alert is sent once, however often and by whichever way it arrives.

The ways: delivered again, in two forms, or by two flow logs.

Requirement: "The same object or log event delivered twice, ten times, concurrently, or
half-processed before a crash adds to counts once and alerts once. The same flow reported by two
overlapping flow logs (VPC and subnet) counts once." Two processes at once are in
tests/faults/test_at_once.py, deaths of a function in tests/faults/test_crash_points.py, every order
of two functions' steps in tests/laws/test_window_laws.py.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import time_machine

from flowverdict.flowlog.columnar import WINDOW
from flowverdict.flowlog.object_key import ObjectRef
from flowverdict.lifecycle.intervals import Intervals
from flowverdict_cli.local_aws import REGION
from scripts.pack_cloudwatch_event import pack
from tests.helpers.alert_samples import NOW
from tests.helpers.at_once import NoRules
from tests.helpers.events import BUCKET, notification, queue_message
from tests.helpers.flow_log_lines import content_of, key_of, reply, request, wide
from tests.helpers.one_fast import one_fast

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flowverdict_cli.local_aws import Email, LocalAws

GOLDEN = Path(__file__).parents[1] / "golden" / "email-corrected.txt"
# An accepted request and its rejected reply, each in a file of its own.
REQUEST, REPLY = [request(40_001, 0, action="ACCEPT")], [reply(40_001, 10, packets=3)]


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("flowverdict.app.alert_wiring.Ec2Config", NoRules)
    # The rate limit counts by the hours of the clock, so no hour may end during a test.
    with time_machine.travel(NOW, tick=True):
        yield


def put(aws: LocalAws, key: str, lines: Sequence[str]) -> str:
    aws.put_object(ObjectRef(bucket=BUCKET, key=key), content_of(lines))
    return key


def by_event_bridge(key: str) -> dict[str, Any]:
    return {
        "version": "0",
        "detail-type": "Object Created",
        "source": "aws.s3",
        "account": "123456789012",
        "time": "2026-11-22T12:00:00Z",
        "region": REGION,
        "detail": {
            "version": "0",
            "bucket": {"name": BUCKET},
            "object": {"key": key, "size": 1},
            "reason": "PutObject",
        },
    }


def queued(*bodies: object) -> dict[str, Any]:
    return {"Records": [queue_message(str(number), body) for number, body in enumerate(bodies)]}


def deliver(aws: LocalAws, *events: dict[str, Any]) -> None:
    for event in events:
        assert (
            aws.invoke(event, {"LOG_FORMAT": DEFAULT} if "awslogs" in event else None).failures
            == ()
        )


DEFAULT = (
    "${version} ${account-id} ${interface-id} ${srcaddr} ${dstaddr} ${srcport} ${dstport} "
    "${protocol} ${packets} ${bytes} ${start} ${end} ${action} ${log-status}"
)


def told(aws: LocalAws) -> list[dict[str, Any]]:
    """Return all messages that subscribers got; those of ended alerts hold the whole counts."""
    now = int(time.time())  # of the travelled clock, which ticks on while a test runs
    aws.sweep(now + Intervals().outbox + 60)
    aws.read_flow_logs_until(now + Intervals().resolve)
    aws.sweep(now + Intervals().resolve + 60)
    return aws.alerts()


def totals(alert: dict[str, Any]) -> tuple[int, ...]:
    return (alert["flows"], alert["records"], alert["packets"], alert["bytes"])


def check_told_once(aws: LocalAws, *, flows: int = 1, records: int = 1, packets: int = 3) -> None:
    fired, resolved = told(aws)
    assert (fired["status"], resolved["status"]) == ("firing", "resolved")
    assert fired["fingerprint"] == resolved["fingerprint"]
    assert totals(resolved) == (flows, records, packets, 40 * packets)
    assert len(aws.emails()) == 2


@pytest.mark.parametrize("times", [2, pytest.param(10, marks=pytest.mark.slow)])
@pytest.mark.parametrize("batches", one_fast(["one batch", "a batch each"], "a batch each"))
def test_an_object_delivered_again_counts_once(aws: LocalAws, times: int, batches: str) -> None:
    bodies = [notification(put(aws, key_of("fl-aa"), REPLY))] * times
    deliver(
        aws, *([queued(*bodies)] if batches == "one batch" else [queued(body) for body in bodies])
    )
    check_told_once(aws)


@pytest.mark.slow
def test_an_object_counts_once_in_whatever_form_it_is_named(aws: LocalAws) -> None:
    key = put(aws, key_of("fl-aa"), REPLY)
    by_sns = {
        "Type": "Notification",
        "TopicArn": "arn:aws:sns:eu-west-1:123456789012:t",
        "Message": json.dumps(notification(key)),
    }
    deliver(
        aws,
        queued(notification(key), by_event_bridge(key), by_sns),
        notification(key),
        by_event_bridge(key),
    )
    check_told_once(aws)


@pytest.mark.parametrize("times", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_a_log_event_delivered_again_counts_once(aws: LocalAws, times: int) -> None:
    event = json.loads(pack(REPLY, log_group="flow-logs", log_stream="eni-1-all"))
    deliver(aws, *[event] * times)
    check_told_once(aws)


@pytest.mark.slow
def test_log_events_count_once_in_whatever_company_they_come(aws: LocalAws) -> None:
    lines = [reply(40_001, at, packets=3) for at in (0, 60, 120)]
    parts = [lines, lines[:1], lines[1:], lines[::-1], lines[1:2] * 2]
    deliver(
        aws,
        *(json.loads(pack(part, log_group="flow-logs", log_stream="eni-1-all")) for part in parts),
    )
    check_told_once(aws, records=3, packets=9)


@pytest.mark.slow
@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("first", ["fl-aa", pytest.param("fl-bb", marks=pytest.mark.slow)])
def test_a_flow_that_two_flow_logs_report_counts_once(
    aws: LocalAws, first: str, *, together: bool
) -> None:
    # The subnet's flow log has the default format, the VPC's has more fields. Both hold the
    # accepted request too.
    lines = [*REQUEST, *REPLY, reply(40_001, WINDOW, packets=2)]
    keys = {
        "fl-aa": put(aws, key_of("fl-aa"), lines),
        "fl-bb": put(aws, key_of("fl-bb"), [wide(line) for line in lines]),
    }
    bodies = [notification(keys.pop(first)), *map(notification, keys.values())]
    deliver(aws, *([queued(*bodies)] if together else [queued(body) for body in bodies]))
    messages = told(aws)
    over = [
        one
        for one in messages
        if one["status"] == "resolved" and not one["status_reason"].startswith("Corrected: ")
    ]
    assert [totals(one) for one in over] == [(2, 2, 5, 200)]
    # If the narrower flow log is read first and alone, its alert is corrected afterwards.
    assert len(messages) == (2 if together or first == "fl-bb" else 4)


@pytest.mark.slow
def test_ten_minutes_records_and_a_minutes_records_count_once(aws: LocalAws) -> None:
    minutes = [reply(40_001, 60 * minute, 59) for minute in range(10)]
    for number, line in enumerate(minutes):
        deliver(aws, queued(notification(put(aws, key_of("fl-aa", number), [line]))))
    deliver(
        aws,
        queued(notification(put(aws, key_of("fl-bb"), [wide(reply(40_001, 0, 599, packets=10))]))),
    )
    (over,) = [
        one
        for one in told(aws)
        if one["status"] == "resolved" and not one["status_reason"].startswith("Corrected: ")
    ]
    assert totals(over) == (1, 1, 10, 400)


# --- what comes late ------------------------------------------------------------------------------


def _mirrored(line: str) -> str:
    """Return a record of a server that connects back to its client, as FTP does from port 20.

    The reply of such a connection looks like a request.
    """
    return line.replace("203.0.113.7", "10.0.2.20").replace(" 22 ", " 20 ")


@pytest.mark.slow
def test_a_request_that_comes_late_corrects_the_alert_and_says_what_it_is(aws: LocalAws) -> None:
    reply_first = _mirrored(request(50_000, 10, packets=3))
    asked_later = _mirrored(reply(50_000, 0, action="ACCEPT"))
    deliver(aws, queued(notification(put(aws, key_of("fl-aa", 1), [reply_first]))))
    (fired,) = aws.alerts()
    assert (fired["leg"], fired["status"]) == ("request", "firing")
    assert len(aws.emails()) == 1

    # The same file holds another problem, whose alert needs no correction.
    other = reply(40_009, 30).replace("eni-1", "eni-2").replace("10.0.0.5", "10.0.0.6")
    deliver(aws, queued(notification(put(aws, key_of("fl-aa", 2), [asked_later, other]))))
    by_title = {one["title"]: one for one in aws.alerts()}
    (corrected,) = [
        one
        for one in by_title.values()
        if one["leg"] == "response" and "eni-1" in one["interfaces"]
    ]
    withdrawn = by_title[fired["title"]]
    (unrelated,) = [one for one in by_title.values() if "eni-2" in one["interfaces"]]
    assert (corrected["status"], corrected["severity"], totals(corrected)) == (
        "firing",
        "critical",
        totals(fired),
    )
    assert corrected["status_reason"].endswith(f"It was notified before as: {fired['title']}")
    assert (withdrawn["status"], withdrawn["fingerprint"]) == ("resolved", fired["fingerprint"])
    assert withdrawn["status_reason"].endswith(f"It is notified as: {corrected['title']}")
    assert (unrelated["status"], unrelated["status_reason"]) == ("firing", None)
    check_golden([email for email in aws.emails() if "10.0.2.20" in email.subject])

    deliver(aws, queued(notification(put(aws, key_of("fl-aa", 1), [reply_first]))))  # and again
    assert aws.alerts() == []
    over = {one["fingerprint"]: totals(one) for one in told(aws) if one["kind"] != "ends"}
    assert over == {
        corrected["fingerprint"]: totals(fired),
        unrelated["fingerprint"]: (1, 1, 1, 40),
    }


def check_golden(emails: Sequence[Email]) -> None:
    text = "\n".join(f"Subject: {email.subject}\n\n{email.body}" for email in emails)
    if "UPDATE_GOLDEN" in os.environ:
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()
    assert [email.subject.partition("]")[0] for email in emails] == [
        "[flowverdict CRITICAL",
        "[flowverdict CORRECTED",
    ]
