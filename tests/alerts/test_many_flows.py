"""Thousands of rejected flows become few alerts, and every flow is counted."""

from __future__ import annotations

import pytest

from flowverdict.alerts import grouping
from flowverdict.alerts.detection import most_severe_first
from flowverdict.alerts.grouping import group
from flowverdict.alerts.model import Alert
from tests.helpers.shop import APP, batch_of, line


@pytest.mark.slow
def test_a_scan_of_thousands_of_ports_is_one_alert_and_every_flow_is_counted() -> None:
    tail = "2 203.0.113.1 10.0.2.20 ingress -"
    scan = (line(APP, "203.0.113.1 10.0.2.20", f"40000 {port}", tail) for port in range(1, 3_001))
    (detection,) = group(batch_of(*scan).explanations())
    alert = detection.notification
    assert isinstance(alert, Alert)
    assert (alert.kind, alert.severity, alert.service, alert.flows) == (
        "scan",
        "low",
        "several services",
        3_000,
    )
    assert alert.title == "Scan of 3,000 ports on 1 address: 203.0.113.1 -> 10.0.2.20"


@pytest.mark.slow
def test_problems_beyond_the_limit_are_grouped_without_their_service_and_every_flow_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(grouping, "MAX_ALERTS", 100)
    # Each from another address, so that this is not a scan.
    clients = ((port, f"10.1.{port // 250}.{port % 250} 10.0.2.20") for port in range(1, 3_001))
    asked = (line(APP, both, f"40000 {port}", f"2 {both} ingress -") for port, both in clients)
    explanations = batch_of(*asked).explanations()
    notifications = [detection.notification for detection in group(explanations)]
    assert len(notifications) == 101
    with monkeypatch.context() as unbounded:
        unbounded.setattr(grouping, "MAX_ALERTS", 5_000)
        everything = group(explanations)
    assert [
        detection.notification for detection in sorted(everything, key=most_severe_first)[:100]
    ] == notifications[:100]
    found = [notification for notification in notifications if isinstance(notification, Alert)]
    assert sum(alert.flows for alert in found) == 3_000
    assert (found[-1].service, found[-1].flows) == ("several services", 2_900)
