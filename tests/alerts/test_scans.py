"""Which rejects are a scan, and which alert inhibits another alert."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flowverdict.alerts.ending import Ending
from flowverdict.alerts.grouping import group
from flowverdict.alerts.model import Alert, Kind, Severity
from flowverdict.alerts.scans import split_scans
from flowverdict.lifecycle.intervals import HOUR, Intervals
from flowverdict.lifecycle.manager import AlertManager
from flowverdict.lifecycle.state_machine import Suppressed
from flowverdict.network.snapshot import load_snapshot
from flowverdict.verdict.attempts import SCAN_TARGETS
from flowverdict.verdict.batch import Batch, FixedConfig
from tests.helpers.alert_samples import NOW, Outbox, a_window, record
from tests.helpers.memory_stores import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowverdict.alerts.detection import Detection
    from flowverdict.alerts.scans import Scan
    from flowverdict.network.configuration import NetConfig
    from flowverdict.verdict.explanation import Explanation

SHOP = load_snapshot(Path(__file__).parents[1] / "scenarios" / "shop.config.json")
FIELDS = (
    "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes "
    "start end action log-status vpc-id tcp-flags "
    "pkt-srcaddr pkt-dstaddr region flow-direction reject-reason"
)
SYN, RST, SYN_ACK = 2, 4, 18
WEB, APP, DATABASE = "10.0.1.5", "10.0.2.20", "10.0.3.30"
INTERFACES = {
    WEB: "eni-0aaaaaaaaaaaaaaa1",
    APP: "eni-0aaaaaaaaaaaaaaa2",
    DATABASE: "eni-0bbbbbbbbbbbbbbb2",
}
INTERNET = "198.51.100.7"


def line(  # noqa: PLR0913 - a record has many fields
    source: str,
    destination: str,
    ports: tuple[int, int],
    *,
    flags: int = SYN,
    action: str = "REJECT",
    egress: bool = False,
    reason: str = "-",
    vpc: str = "vpc-0123456789abcdef0",
) -> str:
    near, direction = (source, "egress") if egress else (destination, "ingress")
    interface = INTERFACES.get(near, "eni-0" + near.replace(".", ""))
    return (
        f"8 123456789012 {interface} {source} {destination} {ports[0]} {ports[1]} 6 4 240 "
        f"{NOW} {NOW + 20} {action} OK {vpc} {flags} {source} {destination} eu-west-1 "
        f"{direction} {reason}"
    )


def explained(lines: Iterable[str], config: NetConfig | None = None) -> list[Explanation]:
    batch = Batch()
    batch.add_file(io.BytesIO("\n".join([FIELDS, *lines]).encode()), name="x")
    return batch.explanations(None if config is None else FixedConfig(config))


def scans_in(lines: Iterable[str]) -> list[Scan]:
    return split_scans(explained(lines))[0]


def detections(lines: Iterable[str], config: NetConfig | None = None) -> list[Detection]:
    return group(explained(lines, config))


def alert(detection: Detection) -> Alert:
    assert isinstance(detection.notification, Alert)
    return detection.notification


def tries(source: str, ports: Iterable[int], hosts: Iterable[str] = (WEB,)) -> list[str]:
    hosts = list(hosts)
    return [line(source, host, (41_000, port)) for port in ports for host in hosts]


HOSTS = [f"10.0.7.{last}" for last in range(1, 31)]
PORTS = range(1, 31)


# --- from the internet ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ports", "hosts"),
    [
        (PORTS[:SCAN_TARGETS], [WEB]),
        (PORTS[:1], HOSTS[:SCAN_TARGETS]),
        (PORTS[:5], HOSTS[:2]),
        (range(40_000, 40_000 + SCAN_TARGETS), [WEB]),
    ],
    ids=["ports", "hosts", "both", "high ports"],
)
def test_an_internet_source_that_tries_ten_doors_scans(ports: range, hosts: list[str]) -> None:
    (scan,) = scans_in(tries(INTERNET, ports, hosts))
    assert (scan.sources, scan.ports, scan.addresses) == (1, len(ports), len(hosts))
    assert len(scan.members) == SCAN_TARGETS
    (detection,) = detections(tries(INTERNET, ports, hosts))
    assert (detection.notification.kind, detection.notification.severity) == (
        Kind.SCAN,
        Severity.LOW,
    )


def test_below_ten_doors_it_is_knocking() -> None:
    lines = tries(INTERNET, PORTS[: SCAN_TARGETS - 1])
    assert scans_in(lines) == []
    assert {
        (detection.notification.kind, detection.notification.severity)
        for detection in detections(lines)
    } == {(Kind.REJECT, Severity.LOW)}


def test_one_door_tried_often_is_no_scan() -> None:
    assert scans_in(line(INTERNET, WEB, (41_000 + number, 22)) for number in range(50)) == []


def test_two_sources_of_few_doors_each_are_no_scan_together() -> None:
    assert scans_in(tries(INTERNET, PORTS[:6]) + tries("198.51.100.8", PORTS[6:12])) == []


# --- from inside ----------------------------------------------------------------------------------


def test_an_inside_source_that_cannot_reach_one_port_of_many_hosts_is_a_fault_and_no_scan() -> None:
    lines = tries(APP, [5432], HOSTS)
    assert scans_in(lines) == []
    (detection,) = detections(lines)
    assert (
        detection.notification.kind,
        detection.notification.severity,
        alert(detection).flows,
    ) == (
        Kind.REJECT,
        Severity.HIGH,
        len(HOSTS),
    )


def test_an_inside_source_that_tries_many_ports_scans_and_is_told() -> None:
    (scan,) = scans_in(tries(APP, PORTS[:SCAN_TARGETS], ["10.0.7.1"]))
    assert scan.scope.inside
    (detection,) = detections(tries(APP, PORTS[:SCAN_TARGETS], ["10.0.7.1"]))
    assert (detection.notification.kind, detection.notification.severity) == (
        Kind.SCAN,
        Severity.MEDIUM,
    )
    assert alert(detection).next_steps


def test_high_ports_count_as_one_inside() -> None:
    high = range(45_000, 45_030)
    assert scans_in(tries(APP, high, ["10.0.7.1"])) == []
    assert scans_in(tries(APP, [*high, *PORTS[: SCAN_TARGETS - 2]], ["10.0.7.1"])) == []
    (scan,) = scans_in(tries(APP, [*high, *PORTS[: SCAN_TARGETS - 1]], ["10.0.7.1"]))
    assert scan.ports == len(high) + SCAN_TARGETS - 1


def test_from_inside_and_from_the_internet_are_two_scans() -> None:
    lines = tries(INTERNET, PORTS, ["10.0.7.1"]) + tries(APP, PORTS, ["10.0.7.1"])
    assert sorted(scan.scope.inside for scan in scans_in(lines)) == [False, True]
    assert len({detection.notification.fingerprint for detection in detections(lines)}) == 2


# --- not attempts ---------------------------------------------------------------------------------


def test_backscatter_is_no_scan() -> None:
    assert (
        scans_in(line(INTERNET, WEB, (443, 40_000 + number), flags=SYN_ACK) for number in range(30))
        == []
    )


def test_blocked_replies_are_no_scan() -> None:
    lines = []
    for number in range(30):
        lines += [
            line(INTERNET, WEB, (50_000 + number, 443), action="ACCEPT"),
            line(WEB, INTERNET, (443, 50_000 + number), flags=SYN_ACK, egress=True),
        ]
    assert scans_in(lines) == []
    (detection,) = detections(lines)
    assert (detection.notification.kind, detection.notification.severity) == (
        Kind.REJECT,
        Severity.CRITICAL,
    )


def test_what_block_public_access_rejects_is_told_as_that() -> None:
    assert scans_in(line(INTERNET, WEB, (41_000, port), reason="BPA") for port in PORTS) == []


# --- one alert for all of them --------------------------------------------------------------------


def test_scanners_of_one_place_are_one_alert_that_no_address_is_part_of() -> None:
    (detection,) = detections(tries(INTERNET, PORTS))
    (other,) = detections(tries("203.0.113.99", PORTS[5:25], HOSTS[:2]))
    (both,) = detections(tries(INTERNET, PORTS) + tries("203.0.113.99", PORTS[5:25], HOSTS[:2]))
    assert (
        detection.notification.fingerprint
        == other.notification.fingerprint
        == both.notification.fingerprint
    )
    assert alert(both).remote_count == 2
    assert alert(both).targets == (30, 3)
    assert alert(both).summary.startswith(
        "2 sources tried 30 ports on 3 addresses and were rejected."
    )
    (elsewhere,) = detections(
        [
            text.replace("vpc-0123456789abcdef0", "vpc-0fedcba9876543210")
            for text in tries(INTERNET, PORTS)
        ]
    )
    assert elsewhere.notification.fingerprint != detection.notification.fingerprint


def test_a_scan_takes_its_doors_out_of_the_other_alerts_and_leaves_what_others_tried() -> None:
    lines = tries(INTERNET, PORTS) + tries("203.0.113.99", [22])
    kinds = [
        (detection.notification.kind, alert(detection).service_port, alert(detection).flows)
        for detection in detections(lines)
    ]
    assert sorted(kinds, key=str) == [(Kind.REJECT, 22, 1), (Kind.SCAN, None, len(PORTS))]


def test_nothing_is_lost_or_counted_twice() -> None:
    lines = (
        tries(INTERNET, PORTS, HOSTS) + tries("203.0.113.99", [22, 23]) + tries(APP, [5432], HOSTS)
    )
    assert sum(alert(detection).flows for detection in detections(lines)) == len(lines)


# --- the internet and a colleague at the same port ------------------------------------------------


def test_noise_and_a_fault_at_one_port_are_two_alerts_so_that_neither_hides_the_other() -> None:
    inside, outside = line(APP, DATABASE, (41_000, 22)), line(INTERNET, DATABASE, (41_000, 22))
    found = detections([inside, outside])
    assert [detection.notification.severity for detection in found] == [Severity.HIGH, Severity.LOW]
    assert [detections([text])[0].notification.fingerprint for text in (inside, outside)] == [
        detection.notification.fingerprint for detection in found
    ]

    manager = AlertManager(
        store := MemoryStore(), outbox := Outbox(), intervals=Intervals(), hourly_limit=30
    )
    record(manager, detections([inside]), a_window(), NOW)
    record(manager, detections([outside]), a_window(), NOW + 60)
    # Nothing is known of the flow logs: the end is unknown, and not told before four hours.
    for minutes in (30, 31, 40, 240):
        manager.sweep(NOW + 60 * minutes, None)
    # Attempts that continue neither keep the fault open nor move the fault into the digest.
    assert [notification.ending for notification in outbox.sent] == [None, Ending.UNKNOWN]
    assert sum(state.is_open for state in store.states.values()) == 1


# --- inhibition -----------------------------------------------------------------------------------


def inhibits(cause: Iterable[str], other: Iterable[str], config: NetConfig | None = None) -> bool:
    """Whether the alert of the first lines inhibits that of the others.

    It must do so in the same batch and in a batch 10 minutes later alike, and never after an hour.
    """
    causes, others = detections(cause, config), detections(other, config)
    assert len(causes) == len(others) == 1
    name = others[0].notification.fingerprint
    outcomes = []
    for later, apart in ((0, False), (600, True), (HOUR, True)):
        manager = AlertManager(
            store := MemoryStore(), Outbox(), intervals=Intervals(), hourly_limit=30
        )
        for number, batch in enumerate([causes, others] if apart else [causes + others]):
            record(manager, batch, a_window(), NOW + number * later)
        outcomes.append(store.states[name].suppressed is Suppressed.INHIBITED)
    together, soon, late = outcomes
    assert together == soon
    assert not late
    return together


def blocked_replies(
    client: str = "203.0.113.12", *, vpc: str = "vpc-0123456789abcdef0", port: int = 443
) -> list[str]:
    return [
        line(client, WEB, (50_122, port), action="ACCEPT", vpc=vpc),
        line(WEB, client, (port, 50_122), flags=SYN_ACK, egress=True, vpc=vpc),
    ]


def test_replies_to_clients_inside_explain_those_to_clients_outside_and_not_the_reverse() -> None:
    within, outside = blocked_replies("172.16.0.9"), blocked_replies()
    assert inhibits(within, outside, SHOP)
    assert not inhibits(outside, within, SHOP)


@pytest.mark.parametrize("port", [22, 8443])
def test_they_explain_no_other_service(port: int) -> None:
    assert not inhibits(blocked_replies("172.16.0.9"), blocked_replies(port=port), SHOP)


@pytest.mark.parametrize(
    "other",
    [
        blocked_replies(),
        [line(APP, WEB, (41_000, 443))],
        [line(APP, WEB, (41_000, 443), vpc="vpc-0fedcba9876543210")],
    ],
    ids=["replies outside", "requests", "another VPC"],
)
def test_an_entry_that_is_not_known_explains_nothing(other: list[str]) -> None:
    assert not inhibits(blocked_replies("172.16.0.9"), other)


def test_an_entry_explains_nothing_that_another_entry_or_network_acl_drops() -> None:
    (cause,) = detections(blocked_replies("172.16.0.9"), SHOP)
    entry = alert(cause).network_acl_entry
    assert entry is not None
    assert entry.network_acl_id == "acl-0aaa0000000000001"
    # Dropped by the database's own network ACL: another service and another network ACL.
    (elsewhere,) = detections([line("10.0.1.5", DATABASE, (41_200, 3306))], SHOP)
    assert set(cause.inhibits).isdisjoint(elsewhere.inhibited_by)
    # The same network ACL and the same service: a range that rule 90 denies on the way in.
    (same,) = detections([line("198.51.100.7", WEB, (41_200, 443))], SHOP)
    blocking = alert(same).network_acl_entry
    assert blocking is not None
    assert (blocking.network_acl_id, blocking.rule_number) == ("acl-0aaa0000000000001", 90)
    assert set(cause.inhibits).isdisjoint(same.inhibited_by)


def test_what_a_security_group_blocks_it_does_not_explain() -> None:
    (cause,) = detections(blocked_replies(port=22), SHOP)
    (group_blocks,) = detections([line(APP, WEB, (41_000, 22))], SHOP)
    assert alert(group_blocks).verdict == "security-group"
    assert set(cause.inhibits).isdisjoint(group_blocks.inhibited_by)


def without_reasons(text: str) -> list[Detection]:
    """Read a line as a flow log without the field ``reject-reason`` writes it."""
    batch = Batch()
    batch.add_file(
        io.BytesIO(f"{FIELDS.rpartition(' ')[0]}\n{text.rpartition(' ')[0]}".encode()), name="x"
    )
    return group(batch.explanations())


def test_block_public_access_explains_what_the_log_does_not_say_the_reason_of() -> None:
    (cause,) = detections([line(INTERNET, WEB, (41_000, 443), reason="BPA")])
    assert alert(cause).verdict == "block-public-access"
    (unsaid,) = without_reasons(line(INTERNET, WEB, (41_000, 80)))
    assert not set(cause.inhibits).isdisjoint(unsaid.inhibited_by)
    unrelated = [
        *without_reasons(line(APP, WEB, (41_000, 80))),  # does not come from the internet
        *without_reasons(line(INTERNET, WEB, (41_000, 80), vpc="vpc-0fedcba9876543210")),
        # The log shows that it was not Block Public Access.
        *detections([line(INTERNET, WEB, (41_000, 80))]),
    ]
    assert len(unrelated) == 3
    assert all(set(cause.inhibits).isdisjoint(detection.inhibited_by) for detection in unrelated)


def test_block_public_access_does_not_explain_what_a_rule_is_known_to_block() -> None:
    (cause,) = detections([line(INTERNET, WEB, (41_000, 443), reason="BPA")], SHOP)
    (known,) = detections([line("203.0.113.7", WEB, (41_000, 22))], SHOP)
    assert alert(known).blocker is not None
    assert set(cause.inhibits).isdisjoint(known.inhibited_by)


def test_a_shaded_alert_is_named_by_the_one_that_explains_it() -> None:
    outbox = Outbox()
    record(
        AlertManager(MemoryStore(), outbox, intervals=Intervals(), hourly_limit=30),
        detections([*blocked_replies("172.16.0.9"), *blocked_replies()], SHOP),
        a_window(),
        NOW,
    )
    (sent,) = outbox.sent
    assert isinstance(sent, Alert)
    assert len(sent.explains) == 1
    assert "10.0.1.5:443 -> 203.0.113.12" in sent.explains[0]
