"""Transit Gateway Flow Logs through the functions: every form, grouping, and an alert's life."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import time_machine

from flowverdict.flowlog.object_key import ObjectRef
from flowverdict.flowlog.records import TRANSIT_GATEWAY_FORMAT
from scripts.pack_cloudwatch_event import pack
from tests.helpers.events import BUCKET, SCENARIOS, failed, notification, put_scenario, queue_event
from tests.helpers.parquet_files import parquet_of
from tests.helpers.published_schemas import validator
from tests.helpers.transit_gateway import ATTACHMENT, GATEWAY, NAME, file_of, line
from tests.helpers.wire import Call, When, Wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowverdict_cli.local_aws import LocalAws

VERDICTS = ("no-route", "blackhole-route", "mtu-exceeded", "ttl-expired")
NOON = int(datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp())


def deliver(aws: LocalAws, content: bytes, name: str = NAME) -> None:
    aws.put_object(ObjectRef(bucket=BUCKET, key=name), content)
    assert failed(aws.invoke(queue_event(notification(name)))) == []


def the_alerts(aws: LocalAws) -> list[dict[str, Any]]:
    alerts = aws.alerts()
    for alert in alerts:
        validator("alert").validate(alert)
    return alerts


@pytest.mark.parametrize("verdict", VERDICTS)
def test_an_object_of_a_transit_gateway_reaches_the_subscriber(aws: LocalAws, verdict: str) -> None:
    event = queue_event(notification(put_scenario(aws, f"transit-gateway-{verdict}")))
    assert failed(aws.invoke(event)) == []

    (alert,) = the_alerts(aws)
    assert (alert["verdict"], alert["confidence"]) == (verdict, "certain")
    assert alert["interfaces"] == [ATTACHMENT]
    assert (alert["path"], alert["path_id"]) == ("transit-gateway", GATEWAY)
    assert alert["remedy"] is None
    assert alert["next_steps"]
    (email,) = aws.emails()
    assert "\nWhy\n  - Packets dropped by a transit gateway: " in email.body


@pytest.mark.slow
def test_a_parquet_file_says_what_the_text_file_says(aws: LocalAws) -> None:
    text = file_of([line(packets_lost_no_route=5), line(dstaddr="10.2.0.9")])
    deliver(aws, gzip.compress(text))
    deliver(aws, parquet_of(text), NAME.replace("_5f1a", "_6f1a").removesuffix(".gz"))

    from_text, *more = the_alerts(aws)
    assert more == []  # counted, and told once
    assert from_text["packets"] == 5


@pytest.mark.slow
def test_a_parquet_file_alone_is_read(aws: LocalAws) -> None:
    deliver(aws, parquet_of((SCENARIOS / "transit-gateway-blackhole-route.log").read_bytes()))

    (alert,) = the_alerts(aws)
    assert (alert["verdict"], alert["packets"], alert["bytes"]) == ("blackhole-route", 2, 160)


def log_event(lines: Sequence[str]) -> dict[str, Any]:
    start_field = TRANSIT_GATEWAY_FORMAT.names.index("start")
    packed = pack(lines, log_group="/unknown", log_stream=GATEWAY, start_field=start_field)
    event: dict[str, Any] = json.loads(packed)
    return event


def test_a_log_event_of_a_transit_gateway_is_read_in_its_default_format(aws: LocalAws) -> None:
    aws.invoke(log_event([line(dstaddr="10.2.0.9"), line(packets_lost_no_route=5)]))

    (alert,) = the_alerts(aws)
    assert (alert["verdict"], alert["interfaces"]) == ("no-route", [ATTACHMENT])


def test_no_rules_are_read_of_ec2(aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Call] = []

    def listen(call: Call, when: When) -> None:
        if when is When.BEFORE:
            calls.append(call)

    with Wire(monkeypatch).listening(listen):
        deliver(aws, gzip.compress(file_of([line(packets_lost_no_route=5)])))
    assert calls
    assert [call for call in calls if call.service in {"ec2", "sts"}] == []


def test_one_missing_route_is_one_alert_whatever_the_service(aws: LocalAws) -> None:
    lines = [
        line(dstaddr=f"10.9.{third}.7", dstport=port, packets_lost_no_route=1, packets=1, bytes=60)
        for third in range(3)
        for port in (22, 443, 5432)
    ]
    other = line(dstaddr="10.12.0.7", packets_lost_no_route=1)
    elsewhere = line(tgw_attachment_id="tgw-attach-0aaaaaaaaaaaaaaa9", packets_lost_no_route=1)
    deliver(aws, gzip.compress(file_of([*lines, other, elsewhere])))

    assert sorted((alert["flows"], alert["service"]) for alert in the_alerts(aws)) == [
        (1, "TCP 5432 (PostgreSQL)"),
        (1, "TCP 5432 (PostgreSQL)"),
        (9, "several services"),
    ]


def test_an_alert_is_resolved_when_no_more_such_records_come(aws: LocalAws) -> None:
    with time_machine.travel(datetime.fromtimestamp(NOON + 360, UTC), tick=False) as clock:
        deliver(aws, gzip.compress(file_of([line(packets_lost_no_route=5)])))
        (fired,) = the_alerts(aws)
        assert (fired["status"], fired["severity"]) == ("firing", "high")

        clock.move_to(NOON + 900)
        aws.sweep(NOON + 900)
        assert the_alerts(aws) == []

        clock.move_to(NOON + 7_200)
        aws.read_flow_logs_until(NOON + 7_000)
        aws.sweep(NOON + 7_200)
        (resolved,) = the_alerts(aws)
    assert (resolved["status"], resolved["fingerprint"]) == ("resolved", fired["fingerprint"])
    assert resolved["ending"] == "quiet"
    assert "nothing more of it was seen" in resolved["status_reason"]
