"""The page of open problems: what it shows, when it is written, and that nothing depends on it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from flowverdict.alerts.ending import Ending
from flowverdict.alerts.model import Kind, Severity
from flowverdict.app.observability import Metric
from flowverdict.app.problem_page import MAX_READ, ProblemPage, page_of
from flowverdict.core.errors import DeliveryError
from flowverdict.delivery.message_settings import PAGE_KEY
from flowverdict.delivery.page.page import MAX_ROWS, MAX_SPANS, MAX_WHOLE, render
from flowverdict.delivery.page.stored import StoredPage
from flowverdict.lifecycle.dynamodb import DynamoDbStore
from flowverdict.lifecycle.intervals import Intervals
from flowverdict.lifecycle.manager import AlertManager
from flowverdict.lifecycle.on_call import Silence, Silences
from flowverdict.lifecycle.on_call_commits import OnCall, Person
from tests.helpers.alert_samples import NOW, Outbox, a_window, detection, record
from tests.helpers.at_once import NoRules
from tests.helpers.memory_stores import MemoryStore
from tests.helpers.pages import assert_inert
from tests.helpers.problem_page import PERSON, opened, over, sample_page, sample_problems

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from flowverdict.lifecycle.state_machine import AlertState
    from flowverdict_cli.local_aws import LocalAws

GOLDEN = Path(__file__).parents[1] / "golden" / "problems-page.html"
MINUTE, HOUR, DAY = 60, 3_600, 86_400


# --- what it shows --------------------------------------------------------------------------------


def test_the_page_equals_the_golden_file() -> None:
    """``UPDATE_GOLDEN=1`` writes the file; read the difference before you commit it."""
    page = sample_page()
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(page)
    assert GOLDEN.read_text() == page


def test_it_shows_who_what_stands_between_what_happened_and_what_ended() -> None:
    parsed = assert_inert(sample_page())
    for said in (
        "Who could not reach whom",
        "network ACL shop-public",
        "Time line",
        f"acknowledged by {PERSON}: the network team is on it",
        f"silenced until 2026-11-22T13:00:00Z by {PERSON}: a change runs",
        "Ended in the last day",
        "Fixed: the rules let it pass now.",
        "1,204 low or informational problems",
        "written 2026-11-22T12:00:00Z",
    ):
        assert said in parsed.text
    assert "STILL" not in parsed.text  # the words of a last message are of the time of that message
    assert parsed.elements.count("details") == len(sample_problems().shown)


class Many:
    """Implements what the page reads of a store, with very many problems."""

    def __init__(self, count: int, ended: int = 0) -> None:
        sample = opened("high", NOW - HOUR)
        done = over(sample, NOW - HOUR, Ending.FIXED, "Fixed.")
        self.states = {
            f"{number:032x}": replace(
                sample if number < count else done,
                fingerprint=f"{number:032x}",
                notification=replace(
                    (sample if number < count else done).notification, fingerprint=f"{number:032x}"
                ),
            )
            for number in range(count + ended)
        }
        self._count = count

    def due(self, now: int, limit: int) -> list[str]:
        assert now > NOW
        return [*self.states][: min(self._count, limit)]

    def ended(self, since: int, limit: int) -> list[str]:
        assert since == NOW - DAY
        return [*self.states][self._count :][:limit]

    def load(self, fingerprints: Collection[str]) -> Mapping[str, AlertState]:
        return {name: self.states[name] for name in fingerprints}

    def load_silences(self) -> Silences:
        return Silences()


class Taken:
    """Takes pages in place of S3."""

    def __init__(self) -> None:
        self.pages: list[str] = []
        self._digest: str | None = None

    def digest(self) -> str | None:
        return self._digest

    def put(self, page: str, digest: str) -> None:
        self.pages.append(page)
        self._digest = digest


def written(store: Any) -> str:  # noqa: ANN401 - a part of a store
    taken: Any = Taken()
    assert ProblemPage(store, taken).write_if_changed(NOW, 300)
    (page,) = taken.pages
    return str(page)


@pytest.mark.slow
def test_ten_thousand_problems_are_a_page_of_bounded_size_that_says_what_it_leaves_out() -> None:
    page = written(Many(MAX_READ, ended=300))
    assert len(page) < 5_000_000
    parsed = assert_inert(page)
    assert parsed.elements.count("details") == MAX_WHOLE
    assert f"and {MAX_READ - MAX_WHOLE - MAX_ROWS:,} more problems" in parsed.text
    assert "and 100 more problems" in parsed.text  # that have ended
    assert "10,000 open" in parsed.text
    assert "300 ended in the last day" in parsed.text
    assert "There are more than 10,000 problems" in parsed.text
    assert parsed.text.count("goes on") == MAX_SPANS


# --- when it is written ---------------------------------------------------------------------------


class Stack:
    """A stack on moto whose sweep writes the page."""

    def __init__(self, aws: LocalAws) -> None:
        self.aws = aws
        self.store = DynamoDbStore(boto3.client("dynamodb"), aws.table)
        self.manager = AlertManager(
            self.store, Outbox(), intervals=Intervals(), hourly_limit=30, wait=lambda _: None
        )
        self.s3 = boto3.client("s3")

    def sweep(self, at: int, bucket: str | None = None) -> Mapping[str, int]:
        """Run the sweep and return its metrics."""
        made = self.aws.sweep(at, {"PAGE_BUCKET": bucket or self.aws.evidence_bucket})
        assert made.failures == ()
        self.log = [line["message"] for line in made.log]
        return made.metrics

    @property
    def page(self) -> tuple[str, str]:
        """The page, and its version as far as S3 tells: who wrote it last."""
        found = self.s3.get_object(Bucket=self.aws.evidence_bucket, Key=PAGE_KEY)
        assert found["ContentType"] == "text/html; charset=utf-8"
        return found["Body"].read().decode(), found["ETag"]


@pytest.fixture
def stack(aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> Stack:
    monkeypatch.setattr("flowverdict.app.alert_wiring.Ec2Config", NoRules)
    return Stack(aws)


def test_it_is_written_when_something_changed_and_only_then(stack: Stack) -> None:
    record(stack.manager, [detection("one")], a_window(), NOW - 10 * MINUTE)
    stack.sweep(NOW)
    first, version = stack.page
    name = detection("one").notification.fingerprint
    assert name in assert_inert(first).text
    assert "written 2026-11-22T12:00:00Z" in first
    stack.sweep(NOW + 5 * MINUTE)
    assert stack.page == (first, version)
    OnCall(stack.store, Intervals()).acknowledge(
        name, Person(by=PERSON, reason="on it", now=NOW + 6 * MINUTE)
    )
    stack.sweep(NOW + 10 * MINUTE)
    assert f"acknowledged by {PERSON}: on it" in stack.page[0]
    OnCall(stack.store, Intervals()).close(
        name, Person(by=PERSON, reason="done", now=NOW + 11 * MINUTE)
    )
    stack.sweep(NOW + 15 * MINUTE)  # it sends the message
    assert f"Closed by {PERSON}: done" in assert_inert(stack.page[0]).text
    assert "0 open" in assert_inert(stack.page[0]).text
    stack.sweep(NOW + DAY + 20 * MINUTE)
    assert "done" not in assert_inert(stack.page[0]).text


def test_a_page_that_somebody_deleted_is_written_again(stack: Stack) -> None:
    stack.sweep(NOW)
    before = stack.page
    stack.s3.delete_object(Bucket=stack.aws.evidence_bucket, Key=PAGE_KEY)
    stack.sweep(NOW)
    assert stack.page == before
    assert "Nothing here needs a fix." in before[0]


def test_a_page_that_cannot_be_written_is_counted_and_stops_nothing(stack: Stack) -> None:
    metrics = stack.sweep(NOW, "no-such-bucket")
    assert metrics[Metric.PAGE_NOT_WRITTEN] == 1
    assert "page of problems not written" in stack.log
    assert stack.sweep(NOW + MINUTE)[Metric.PAGE_NOT_WRITTEN] == 0


def test_without_a_bucket_there_is_no_page(stack: Stack) -> None:
    assert stack.aws.sweep(NOW).failures == ()
    with pytest.raises(ClientError, match="NoSuchKey"):
        assert stack.page


def test_without_time_it_is_not_begun() -> None:
    with pytest.raises(DeliveryError, match="too little time"):
        ProblemPage(Many(1), Taken()).write_if_changed(NOW, 44)  # type: ignore[arg-type]  # parts of them


def boto3_client() -> Any:  # noqa: ANN401 - a client of any service
    return boto3.client(
        "s3",
        region_name="eu-west-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",  # noqa: S106 - nobody's
    )


def test_what_s3_does_not_tell_counts_as_another_page() -> None:
    client = boto3_client()
    with Stubber(client) as stub:
        stub.add_client_error("head_object", "403", http_status_code=403)
        stub.add_response("head_object", {"Metadata": {}})
        stub.add_response("head_object", {"Metadata": {"shows": "x"}})
        stored = StoredPage(client, "b")
        assert [stored.digest() for _ in range(3)] == [None, None, "x"]


# --- the digest, and the index of what has ended --------------------------------------------------


def test_the_digest_is_another_for_each_thing_that_the_page_shows() -> None:
    problems = sample_problems()
    silence = Silence(
        silence_id="s2", asked={}, until=NOW + 1, reason="r", by=PERSON, created_at=NOW
    )
    others = [
        problems._replace(for_digest=0),
        problems._replace(is_cut=True),
        problems._replace(day=problems.day + 1),
        problems._replace(silences=Silences(silences=(silence,))),
        problems._replace(versions=[*problems.versions[:-1], (problems.versions[-1][0], 2)]),
        problems._replace(versions=problems.versions[:-1]),
    ]
    assert len({problems.digest, *(other.digest for other in others)}) == 1 + len(others)
    assert problems._replace(versions=problems.versions[::-1]).digest == problems.digest


@pytest.mark.parametrize("kind", ["moto", "memory"])
def test_what_ended_is_found_by_when_it_ended(kind: str, request: pytest.FixtureRequest) -> None:
    store: DynamoDbStore | MemoryStore = MemoryStore()
    if kind == "moto":
        aws: LocalAws = request.getfixturevalue("aws")
        store = DynamoDbStore(boto3.client("dynamodb"), aws.table)
    outbox = Outbox()
    manager = AlertManager(
        store, outbox, intervals=Intervals(), hourly_limit=30, wait=lambda _: None
    )
    seen = [detection("one"), detection("two"), detection("low", Severity.LOW)]
    record(manager, seen, a_window(), NOW)
    one, two, low = (each.notification.fingerprint for each in seen)
    people = OnCall(store, Intervals())
    people.close(one, Person(by=PERSON, reason="r", now=NOW + MINUTE))
    people.close(low, Person(by=PERSON, reason="r", now=NOW + MINUTE))
    assert [*store.ended(0, 10)] == []  # its last message is not sent
    manager.sweep(NOW + 2 * MINUTE, None)
    people.close(two, Person(by=PERSON, reason="r", now=NOW + 3 * MINUTE))
    manager.sweep(NOW + 4 * MINUTE, None)
    assert [*store.ended(0, 10)] == [one, two]
    assert [*store.ended(NOW + MINUTE, 10)] == [two]
    assert [*store.ended(0, 1)] == [one]
    assert [*store.due(10**11, 10)] == []
    again = replace(seen[0].notification, last_seen=NOW + HOUR)
    record(manager, [replace(seen[0], notification=again)], a_window(), NOW + HOUR)
    assert [*store.ended(0, 10)] == [two]


def test_notices_about_other_alerts_are_no_problems() -> None:
    limit = opened("records-lost", NOW)
    store = Many(1)
    (name,) = store.states
    store.states[name] = replace(
        limit, fingerprint=name, notification=replace(limit.notification, kind=Kind.RATE_LIMITED)
    )
    assert "0 open" in assert_inert(written(store)).text


def test_a_page_of_nothing_says_so() -> None:
    nothing = sample_problems()._replace(
        shown=(), ended=(), by_severity=type(sample_problems().by_severity)()
    )
    text = assert_inert(render(page_of(nothing._replace(ended_count=0), NOW))).text
    assert "Nothing here needs a fix." in text
    assert "None." in text
