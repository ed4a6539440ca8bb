"""Check the decoders of events, policies, snapshots and alerts, and the way to the alerts."""

from __future__ import annotations

import io
import json
import tempfile
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowverdict.alerts.codec import notification_from_json
from flowverdict.alerts.grouping import detections, group
from flowverdict.alerts.model import Alert, Notice
from flowverdict.core.errors import (
    ConfigError,
    EnvelopeError,
    FlowVerdictError,
    NotificationError,
    PolicyError,
)
from flowverdict.core.formatting import isoformat
from flowverdict.delivery import sns
from flowverdict.delivery.renderers import RENDERERS, email, ocsf, pagerduty, slack
from flowverdict.flowlog.s3_events import is_sqs_event, objects_in, objects_in_message, scheduled_at
from flowverdict.network.snapshot import load_snapshot, parse_snapshot
from flowverdict.policy.document import parse_policy
from flowverdict.verdict.batch import Batch, FixedConfig
from flowverdict.verdict.contract import to_json
from flowverdict.verdict.explain import explain_one

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowverdict.alerts.model import Notification
    from flowverdict.flowlog.object_key import ObjectRef
    from flowverdict.flows.model import RejectedFlow
    from flowverdict.network.configuration import NetConfig

from tests.fuzz.flow_log_checks import refused

SCENARIOS = Path(__file__).parents[1] / "scenarios"


# --- events ---------------------------------------------------------------------------------------


def objects_or_none(event: object) -> tuple[ObjectRef, ...] | None:
    try:
        return objects_in(event)
    except EnvelopeError as error:
        refused(error)
        return None


def check_envelope(data: bytes) -> bool:
    """Check that bucket and key are valid for S3, and that SNS changes nothing."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        refs = objects_in_message(text)
    except EnvelopeError as error:
        try:
            event = json.loads(text)
        except (ValueError, RecursionError):
            return refused(error)
        assert is_sqs_event(event) in {True, False}
        assert objects_or_none(event) is None
        return refused(error)
    event = json.loads(text)
    assert objects_or_none(event) == refs
    for ref in refs:
        assert 1 <= len(ref.bucket.encode()) <= 1_024  # S3's limit
        assert 1 <= len(ref.key.encode()) <= 1_024
        assert len(ref.source_id) == 40
    wrapped = objects_or_none({"Type": "Notification", "Message": text})
    through_sns = event.get("Type") == "Notification" or is_of_sns(event)
    assert wrapped == (None if through_sns else refs)
    return True


def is_of_sns(event: Mapping[str, Any]) -> bool:
    records = event.get("Records")
    first = records[0] if isinstance(records, list) and records else None
    return isinstance(first, dict) and first.get("EventSource") == "aws:sns"


def check_scheduled(data: bytes) -> bool:
    """Check that the time of a scheduled event can be rendered."""
    try:
        event = json.loads(data)
    except (ValueError, RecursionError):
        return False
    try:
        at = scheduled_at(event)
    except EnvelopeError as error:
        return refused(error)
    assert isoformat(at) is not None
    assert scheduled_at(event) == at
    return True


# --- documents ------------------------------------------------------------------------------------


def check_policy(data: bytes) -> bool:
    """Check that an accepted policy decides on every flow, whatever the blanks of its JSON."""
    try:
        policy = parse_policy(data)
    except PolicyError as error:
        return refused(error)
    told = json.loads(data)
    assert parse_policy(json.dumps(told, indent=1)) == policy
    assert len(policy.silences) == len(told.get("silences", ()))
    assert len(policy.expected) == len(told.get("expected", ()))
    explanations = [explain_one(flow, None) for flow in sample_flows()]
    sifted = policy.sift(explanations, datetime(2026, 11, 22, tzinfo=UTC))
    assert len(sifted.kept) + len(sifted.muted) == len(explanations)
    assert all(muted.place in policy.matching(muted.explanation) for muted in sifted.muted)
    return True


def check_snapshot(data: bytes) -> bool:
    """Check that accepted rules give every flow a verdict, its text and its fix."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            config = load_snapshot(Path(file.name))
        except ConfigError as error:
            return refused(error)
    assert parse_snapshot(json.loads(data)) == config
    assert bool(config.incomplete) is bool(config.notes)
    assert all(note.isprintable() for note in config.notes)
    assert not any(config.knows_all(attribute) for attribute in config.incomplete)
    explanations = [explain_one(flow, config) for flow in sample_flows()]
    for explanation in explanations:
        assert to_json(explanation).isascii()
    detections = group(explanations)
    for detection in detections:
        assert notification_from_json(detection.notification.to_json()) == detection.notification
        # The other renderers take ten times as long, and have a target of their own.
        assert email.body(detection.notification)
    assert sum(detection.notification.records for detection in detections) == sum(
        flow.traffic.records for flow in sample_flows()
    )
    return True


@cache
def sample_flows() -> tuple[RejectedFlow, ...]:
    """Return rejected flows of several kinds, all described by ``shop.config.json``."""
    batch = Batch()
    for name in (
        "rules-inbound-request",
        "rules-outbound-response",
        "rules-peering",
        "rules-nat-gateway",
        "rules-icmp",
    ):
        with (SCENARIOS / f"{name}.log").open("rb") as file:
            batch.add_file(file, name=name)
    return tuple(batch.flows.rejected())


@cache
def sample_config() -> NetConfig:
    return load_snapshot(SCENARIOS / "shop.config.json")


def check_document(data: bytes) -> bool:
    """Check that an accepted document survives a round trip, and that all renderers show it."""
    try:
        notification = notification_from_json(data)
    except NotificationError as error:
        return refused(error)
    shown_by_every_renderer(notification)
    return True


def shown_by_every_renderer(notification: Notification) -> None:
    assert notification_from_json(notification.to_json()) == notification
    subject = email.subject(notification)
    assert len(subject) < 100  # SNS's limit
    assert subject.isprintable()
    assert email.body(notification)
    for renderer in RENDERERS.values():
        assert renderer.render(notification)
    assert slack.characters(slack.blocks(notification)) > 0
    assert len(sns.attributes(notification)) <= 10  # SNS's limit for raw delivery to queues
    for told in (ocsf.finding(notification, found_at=0), pagerduty.event(notification, "0" * 32)):
        assert json.loads(json.dumps(told)) == told


# --- from a file to its alerts --------------------------------------------------------------------


def check_alerts(data: bytes) -> bool:
    """Check that rejected flows become notifications that all renderers show.

    Each record is in one notification.
    """
    config, content = (sample_config() if data[:1] > b"\x7f" else None), data[1:]
    batch = Batch()
    try:
        batch.add_file(io.BytesIO(content), name="AWSLogs/123456789012/vpcflowlogs/eu-west-1/file")
    except FlowVerdictError as error:
        assert batch.counts.records == 0
        return refused(error)
    explanations = batch.explanations(None if config is None else FixedConfig(config))
    seen = detections(explanations, batch.flows)
    for detection in seen:
        shown_by_every_renderer(detection.notification)
    assert (
        sum(explanation.flow.traffic.records for explanation in explanations)
        == batch.counts.rejected
    )
    assert (
        sum(
            detection.notification.records
            for detection in seen
            if isinstance(detection.notification, Alert)
        )
        == batch.counts.rejected
    )
    assert (
        sum(
            detection.notification.records
            for detection in seen
            if isinstance(detection.notification, Notice)
        )
        == batch.counts.skip_data
    )
    return bool(explanations)
