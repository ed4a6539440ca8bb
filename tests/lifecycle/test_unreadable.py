"""Items of the alert table that cannot be read fail no batch, and no alert is falsely resolved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest
import time_machine

from flowverdict.alerts.detection import fingerprint
from flowverdict.alerts.model import Severity, Status
from flowverdict.flowlog.object_key import ObjectRef
from flowverdict.lifecycle.dynamodb import DynamoDbStore
from flowverdict.lifecycle.intervals import Intervals
from flowverdict.lifecycle.manager import AlertManager
from flowverdict.lifecycle.rate_limit import hour_of
from flowverdict.lifecycle.store import Window
from flowverdict.verdict.remediation.offers import Offer, StoredOffers
from tests.helpers.alert_samples import NOW, Outbox, detection, read_on, record
from tests.helpers.at_once import NoRules
from tests.helpers.events import BUCKET, notification, queue_message
from tests.helpers.flow_log_lines import content_of, key_of, reply

if TYPE_CHECKING:
    from flowverdict_cli.local_aws import Invocation, LocalAws

INTERVALS = Intervals()
ONE = fingerprint("one")


class Deployment:
    """A table, a manager on it, and what was published and reported."""

    def __init__(self, aws: LocalAws) -> None:
        self.table, self.outbox = aws.table, Outbox()
        self.client = boto3.client("dynamodb")
        self.reports: list[str] = []
        self.store = DynamoDbStore(
            self.client, aws.table, on_unreadable=lambda key, _: self.reports.append(key)
        )
        self.manager = AlertManager(
            self.store, self.outbox, intervals=INTERVALS, hourly_limit=30, wait=lambda _: None
        )

    def damage(self, key: str, attribute: str = "body", value: Any = None) -> None:  # noqa: ANN401 - an attribute's value
        self.client.update_item(
            TableName=self.table,
            Key={"pk": {"S": key}},
            UpdateExpression="SET #attribute = :value",
            ConditionExpression="attribute_exists(pk)",
            ExpressionAttributeNames={"#attribute": attribute},
            ExpressionAttributeValues={":value": value or {"B": b"of a later version"}},
        )

    def window(self, number: int) -> Window:
        window_id = f"place#{number}"
        return self.store.load_windows([window_id]).get(window_id, Window(window_id=window_id))

    def show(self, number: int, *names: str, records: int = 1, now: int = NOW) -> None:
        """Let a window show these problems and nothing else."""
        detections = [detection(name, records=records) for name in names]
        record(self.manager, detections, self.window(number), now)

    def records(self) -> int:
        return self.store.load([ONE])[ONE].notification.records


@pytest.fixture
def deployment(aws: LocalAws) -> Deployment:
    return Deployment(aws)


def test_an_unreadable_alert_is_opened_again_and_never_resolved_before(
    deployment: Deployment,
) -> None:
    deployment.show(1, "one")
    deployment.damage(f"alert#{ONE}")
    for minutes in (10, 40, 300):
        outcome = deployment.manager.sweep(NOW + 60 * minutes, None)
        assert outcome.undelivered == []
    assert [sent.status for sent in deployment.outbox.sent] == [Status.FIRING]

    now = NOW + 60 * 301
    deployment.show(2, "one", now=now)
    read_on(deployment.store, now + INTERVALS.resolve)
    deployment.manager.sweep(now + INTERVALS.resolve, None)
    statuses = [sent.status for sent in deployment.outbox.sent]
    assert statuses == [Status.FIRING, Status.FIRING, Status.RESOLVED]
    assert deployment.reports == [f"alert#{ONE}"]


def test_an_unreadable_alert_beside_others_stops_none_of_them(deployment: Deployment) -> None:
    deployment.show(1, "one", "two")
    deployment.damage(f"alert#{ONE}")
    deployment.show(1, "one", "two", "three", records=2, now=NOW + 60)
    assert {sent.fingerprint for sent in deployment.outbox.sent} == {
        fingerprint(name) for name in ("one", "two", "three")
    }


def test_an_unreadable_contribution_counts_nothing_twice_and_takes_nothing_back(
    deployment: Deployment,
) -> None:
    deployment.show(1, "one", records=3)
    deployment.show(2, "one", records=4)
    deployment.damage(f"part#place#1#{ONE}")
    deployment.show(1, "one", records=5, now=NOW + 60)  # more evidence of the same window
    assert deployment.records() == 9

    deployment.damage(f"part#place#2#{ONE}")
    deployment.show(2, now=NOW + 120)  # no longer shows the problem
    assert deployment.records() == 9
    assert [sent.status for sent in deployment.outbox.sent] == [Status.FIRING]
    assert deployment.reports == [f"part#place#1#{ONE}", f"part#place#2#{ONE}"]


def test_an_unreadable_rate_limit_is_an_unused_one(deployment: Deployment) -> None:
    deployment.show(1, "one")
    assert deployment.store.load_rate_limit(hour_of(NOW)).used == 1
    deployment.damage(f"budget#{hour_of(NOW)}")
    deployment.show(2, "two")
    assert deployment.store.load_rate_limit(hour_of(NOW)).used == 1
    assert len(deployment.outbox.sent) == 2
    assert deployment.reports == [f"budget#{hour_of(NOW)}"]


def test_a_digest_whose_state_is_unreadable_is_sent_again_and_no_more(
    deployment: Deployment,
) -> None:
    record(deployment.manager, [detection("low", Severity.LOW)], deployment.window(1), NOW)
    end = INTERVALS.digest_end(NOW)
    deployment.manager.sweep(end, None)
    (digest,) = deployment.outbox.sent
    deployment.damage(f"alert#{digest.fingerprint}")
    deployment.manager.sweep(end + 300, None)
    assert deployment.outbox.sent == [digest]


# --- through the function -------------------------------------------------------------------------


def deliver(aws: LocalAws, number: int) -> Invocation:
    key = key_of("fl-aa", number)
    aws.put_object(ObjectRef(bucket=BUCKET, key=key), content_of([reply(40_000 + number, number)]))
    invocation = aws.invoke({"Records": [queue_message(str(number), notification(key))]})
    assert invocation.failures == ()
    return invocation


@pytest.mark.parametrize(
    "prefix",
    [
        "alert#",
        *(
            pytest.param(prefix, marks=pytest.mark.slow)
            for prefix in ("window#", "alerts#", "part#", "source#", "feed#")
        ),
    ],
)
def test_a_batch_around_a_deployment_does_not_fail(
    aws: LocalAws, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    monkeypatch.setattr("flowverdict.app.alert_wiring.Ec2Config", NoRules)
    attributes: dict[str, tuple[str, Any]] = {
        "window#": ("sources", {"S": "two"}),
        "alerts#": ("fingerprints", {"S": "as texts"}),
        "source#": ("windows", {"S": "from 1 to 2"}),
        "feed#": ("read_to", {"S": "some time"}),
    }
    with time_machine.travel(NOW, tick=True):
        first = deliver(aws, 1)
        assert "StateUnreadable" not in first.metrics
        deployment = Deployment(aws)
        items = deployment.client.scan(TableName=aws.table)["Items"]
        keys = [item["pk"]["S"] for item in items if item["pk"]["S"].startswith(prefix)]
        assert keys
        for key in keys:
            deployment.damage(key, *attributes.get(prefix, ()))

        second = deliver(aws, 1 if prefix == "source#" else 2)
        lines = [line for line in second.log if line["message"] == "stored state unreadable"]
        # A window's alerts are read once more before they are written.
        assert {(line["level"], line["key"]) for line in lines} == {
            ("WARNING", key) for key in keys
        }
        assert second.metrics["StateUnreadable"] == len(lines)
        deliver(aws, 3)
        assert aws.sweep(NOW + 60).failures == ()
        fired = aws.alerts()
        assert {one["status"] for one in fired} == {"firing"}
        assert len(fired) == (2 if prefix == "alert#" else 1)

        aws.read_flow_logs_until(NOW + INTERVALS.resolve + 60)
        aws.sweep(NOW + INTERVALS.resolve + 60)
        (resolved,) = aws.alerts()
        assert resolved["status"] == "resolved"
        assert resolved["records"] == (2 if prefix == "source#" else 3)


@pytest.mark.slow
def test_offers_that_cannot_be_read_count_as_not_made(aws: LocalAws) -> None:
    deployed, place = Deployment(aws), "acl-0a1b ingress"
    offer = Offer(change="tcp", problem="0" * 16, title="x", rule_number=110, until=NOW)
    assert deployed.store.save_offers(place, StoredOffers(offers=(offer,)))
    deployed.damage(f"offers#{place}")
    assert deployed.store.load_offers([place]) == {}
    assert deployed.reports == [f"offers#{place}"]
    # A new list takes the place of the unreadable one, unless that was replaced meanwhile.
    assert deployed.store.save_offers(place, StoredOffers(offers=(offer,)))
    assert deployed.store.load_offers([place])[place].offers == (offer,)
