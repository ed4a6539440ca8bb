"""Small alerts and detections, and a publisher that stores what it gets."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

from flowverdict.alerts.counts import Remote
from flowverdict.alerts.detection import Detection, fingerprint
from flowverdict.alerts.matching import Key
from flowverdict.alerts.model import (
    Alert,
    Kind,
    Notice,
    Severity,
)
from flowverdict.alerts.recheck import Sample
from flowverdict.core.errors import DeliveryError
from flowverdict.lifecycle.feed_readings import FeedReadings
from flowverdict.lifecycle.intervals import Intervals
from flowverdict.lifecycle.store import Window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowverdict.alerts.model import Notification
    from flowverdict.lifecycle.manager import AlertManager
    from flowverdict.lifecycle.notifier import Outcome
    from flowverdict.lifecycle.store import AlertStore

FEED = "123456789012#eu-west-1#fl-0a1b"
NOW = 1_795_348_800  # 2026-11-22T12:00:00Z

ALERT = Alert(
    kind=Kind.REJECT,
    fingerprint=fingerprint("one"),
    severity=Severity.HIGH,
    severity_reason="traffic between private addresses, inside the organisation",
    summary="Inbound request rejected.",
    account_id="123456789012",
    region="eu-west-1",
    vpc_id="vpc-0a1b",
    interfaces=("eni-0a1b",),
    interface_count=1,
    records=1,
    first_seen=NOW - 600,
    last_seen=NOW - 300,
    headline="Requests blocked by sg-0a1b",
    near="10.0.3.30:5432",
    outbound=False,
    connection="TCP 10.0.2.20:41200 -> 10.0.3.30:5432",
    flow_direction="ingress",
    leg="request",
    verdict="security-group",
    verdict_caption="security group",
    confidence="certain",
    confidences=(("certain", 1),),
    protocol=6,
    service_port=5432,
    service="TCP 5432 (PostgreSQL)",
    top_remotes=(Remote(address="10.0.2.20", flows=1, packets=4),),
    remote_count=1,
    flows=1,
    packets=4,
    bytes=240,
)
# A value of each key that a silence or a policy entry may ask for, as text.
ONE_OF_EACH = {
    Key.VERDICT: "security-group",
    Key.ACCOUNT: "123456789012",
    Key.REGION: "eu-west-1",
    Key.VPC: "vpc-0a1b",
    Key.SUBNET: "subnet-0a1b",
    Key.INTERFACE: "eni-0a1b",
    Key.PROTOCOL: "6",
    Key.PORT: "5432",
    Key.CIDR: "10.0.2.0/24",
    Key.SECURITY_GROUP: "sg-0a1b",
    Key.NETWORK_ACL: "acl-0a1b",
    Key.OWNER: "team=payments",
    Key.SEVERITY: "high",
    Key.FINGERPRINT: ALERT.fingerprint,
}
LOST = Notice(
    kind=Kind.RECORDS_LOST,
    fingerprint=fingerprint("lost"),
    severity=Severity.MEDIUM,
    severity_reason="what was rejected there in that time cannot be known",
    summary="AWS could not log all traffic.",
    title="Flow log records lost at eni-0a1b",
    records=1,
)
SAMPLE = Sample(
    account_id="123456789012",
    region="eu-west-1",
    interface_id="eni-0a1b",
    source="10.0.2.20",
    destination="10.0.3.30",
    source_port=41_200,
    destination_port=5_432,
    protocol=6,
    direction="ingress",
    leg="request",
)


_numbers = count()


def a_window() -> Window:
    """Return a window that was not evaluated before."""
    return Window(window_id=f"place#{next(_numbers)}", judged="what it shows", sources=1)


def record(
    manager: AlertManager, detections: Sequence[Detection], window: Window, now: int
) -> Outcome:
    """Apply the detections of a window, and send the notifications."""
    return manager.notify([*manager.apply(detections, window, now)])


def read_on(store: AlertStore, until: int) -> None:
    """Note that flow logs of the detections' feed were read up to ``until`` (Unix seconds)."""
    FeedReadings(store, Intervals(), wait=lambda _: None).note({FEED: until}, until)


def detection(
    name: str = "one",
    severity: Severity = Severity.HIGH,
    *,
    records: int = 1,
    inhibits: tuple[str, ...] = (),
    inhibited_by: tuple[str, ...] = (),
) -> Detection:
    """Build a detection of the problem ``name``."""
    notification = replace(
        ALERT,
        fingerprint=fingerprint(name),
        severity=severity,
        records=records,
        near=f"10.0.3.30:{name}",
    )
    return Detection(
        notification=notification,
        feeds=(FEED,),
        inhibits=inhibits,
        inhibited_by=inhibited_by,
    )


class Outbox:
    """Publishes into a list, but refuses the next ``broken`` notifications."""

    def __init__(self) -> None:
        self.sent: list[Notification] = []
        self.broken = 0

    def publish(self, notification: Notification) -> None:
        """Store the notification, or raise ``DeliveryError``."""
        if self.broken > 0:
            self.broken -= 1
            raise DeliveryError(f"{notification.fingerprint}: the topic is away")
        self.sent.append(notification)

    def publish_ends(self, alerts: Sequence[Alert]) -> None:
        """Store the alerts, or raise ``DeliveryError``."""
        for alert in alerts:
            self.publish(alert)
