"""What hosts outside may have caused, where neither a direction nor the path says it."""

from __future__ import annotations

import io

import pytest

from flowverdict.alerts.severity import severity_of
from flowverdict.flowlog.records import DEFAULT_FORMATS
from flowverdict.network.snapshot import load_snapshot
from flowverdict.verdict.batch import Batch, FixedConfig
from tests.helpers.shop import SCENARIOS

OUTSIDER, HOST = "2a00:bad::1", "2001:db8:1::5"


def seen(text: str, config: str | None = None) -> list[tuple[str, bool]]:
    """Return the severity of each rejected flow, and whether an outsider may have caused it."""
    batch = Batch()
    batch.add_file(io.BytesIO(text.encode()), name="log", headerless=DEFAULT_FORMATS)
    rules = None if config is None else FixedConfig(load_snapshot(SCENARIOS / config))
    return [(severity_of(one)[0], one.is_from_outside) for one in batch.explanations(rules)]


@pytest.mark.parametrize(("port", "severity"), [(25, "low"), (40_000, "critical")])
def test_a_handshake_over_ipv6_is_an_outsiders_where_no_direction_is_logged(
    port: int, severity: str
) -> None:
    start = "2 123456789012 eni-0aaaaaaaaaaaaaaa1"
    request = f"{start} {OUTSIDER} {HOST} {port} 443 6 4 240 1795348808 1795348828 ACCEPT OK"
    reply = f"{start} {HOST} {OUTSIDER} 443 {port} 6 4 240 1795348808 1795348828 REJECT OK"
    assert seen(f"{request}\n{reply}\n") == [(severity, True)]


@pytest.mark.parametrize(
    ("source", "is_from_outside"), [("203.0.113.5", True), ("10.0.1.5", False)]
)
def test_what_a_transit_gateway_drops_is_an_outsiders_by_its_addresses(
    source: str, *, is_from_outside: bool
) -> None:
    text = (SCENARIOS / "transit-gateway-no-route.log").read_text().replace("10.0.1.5", source)
    assert [outside for _, outside in seen(text)] == [is_from_outside]


@pytest.mark.parametrize(
    ("name", "sender", "severity"),
    [
        ("own-public-address", "198.51.100.50", "medium"),
        ("own-public-address", "198.51.100.51", "low"),
        ("fix-offered-over-ipv4-alone", "2001:db8:1::9", "low"),  # anybody can send that
        ("fix-partner-other-port", "203.0.113.4", "medium"),
        ("fix-partner-other-port", "203.0.113.5", "low"),
    ],
)
def test_a_sender_whom_the_rules_know_is_no_noise(name: str, sender: str, severity: str) -> None:
    known = {"own-public-address": "198.51.100.50", "fix-partner-other-port": "203.0.113.4"}
    text = (SCENARIOS / f"{name}.log").read_text().replace(known.get(name, sender), sender)
    assert seen(text, f"{name}.config.json") == [(severity, True)]
