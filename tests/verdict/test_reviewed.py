"""Cases that reviews found: each was certain and wrong, lost in silence, or a flood."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flowverdict.alerts import grouping
from flowverdict.alerts.detection import most_severe_first
from flowverdict.alerts.grouping import group
from flowverdict.alerts.model import Alert
from flowverdict.core.availability import NotAvailable
from flowverdict.core.errors import NotAFlowLogError
from flowverdict.flowlog.object_key import Origin
from flowverdict.flowlog.records import DEFAULT_FORMAT
from flowverdict.flows.read_source import read_log_events
from flowverdict.network.snapshot import parse_snapshot
from flowverdict.verdict.batch import Batch, FixedConfig
from flowverdict.verdict.model import Confidence, VerdictKind

if TYPE_CHECKING:
    from flowverdict.network.configuration import NetConfig
    from flowverdict.verdict.explanation import Explanation

SHOP = parse_snapshot(
    json.loads((Path(__file__).parents[1] / "scenarios" / "shop.config.json").read_text())
)
HEADER = " ".join(
    (
        *DEFAULT_FORMAT.names,
        "tcp-flags",
        "pkt-srcaddr",
        "pkt-dstaddr",
        "flow-direction",
        "reject-reason",
    )
)
APP, NAT = "eni-0aaaaaaaaaaaaaaa2", "eni-0ccccccccccccccc3"


def line(interface: str, ends: str, ports: str, tail: str, *, more: str = "6 REJECT") -> str:
    protocol, action = more.split()
    return f"8 123456789012 {interface} {ends} {ports} {protocol} 3 180 1795348800 1795348805 {action} OK {tail}"


def explain(*lines: str, config: NetConfig = SHOP) -> Explanation:
    batch = Batch()
    batch.add_file(io.BytesIO("\n".join([HEADER, *lines]).encode()), name="x")
    (explanation,) = batch.explanations(FixedConfig(config))
    return explanation


def with_interface(interface_id: str, **changes: object) -> NetConfig:
    interfaces = tuple(
        replace(one, **changes) if one.interface_id == interface_id else one  # type: ignore[arg-type]
        for one in SHOP.interfaces or ()
    )
    return replace(SHOP, interfaces=interfaces)


def test_within_a_subnet_is_not_certain_since_a_load_balancer_may_keep_the_clients_address() -> (
    None
):
    verdict = explain(
        line(APP, "10.0.2.77 10.0.2.20", "40000 443", "2 10.0.2.77 10.0.2.20 ingress -")
    ).verdict
    assert (verdict.kind, verdict.confidence) == (VerdictKind.SECURITY_GROUP, Confidence.LIKELY)


def test_a_transit_gateways_interface_has_no_group_and_its_subnets_acl_counts() -> None:
    gateway = with_interface(APP, interface_type="transit_gateway", group_ids=())
    same = explain(
        line(APP, "10.0.2.77 10.0.2.20", "40000 443", "2 10.0.2.77 10.9.0.1 ingress -"),
        config=gateway,
    ).verdict
    assert same.kind is not VerdictKind.SECURITY_GROUP
    assert same.confidence is not Confidence.CERTAIN


def test_a_reply_is_not_certain_whatever_the_rules_as_read_say() -> None:
    # The interface may have had other groups when the connection began, and an untracked one lives by its rules.
    request = line(
        APP,
        "10.0.2.20 203.0.113.9",
        "40000 443",
        "2 10.0.2.20 203.0.113.9 egress -",
        more="6 ACCEPT",
    )
    reply = line(APP, "203.0.113.9 10.0.2.20", "443 40000", "18 203.0.113.9 10.0.2.20 ingress -")
    for config in (SHOP, replace(SHOP, network_acls=None)):
        assert explain(request, reply, config=config).verdict.confidence is not Confidence.CERTAIN


def test_at_a_nat_gateway_it_is_unless_the_asking_side_had_already_finished() -> None:
    reply = line(NAT, "203.0.113.9 10.0.1.220", "443 40000", "18 203.0.113.9 10.0.1.220 ingress -")
    confidences = {}
    for flags in (2, 3, 6):
        request = line(
            NAT,
            "10.0.1.220 203.0.113.9",
            "40000 443",
            f"{flags} 10.0.1.220 203.0.113.9 egress -",
            more="6 ACCEPT",
        )
        confidences[flags] = explain(request, reply).verdict.confidence
    assert confidences == {2: Confidence.CERTAIN, 3: Confidence.LIKELY, 6: Confidence.LIKELY}


def test_which_of_several_icmp_entries_decides_is_said_to_be_open() -> None:
    acl = SHOP.network_acl("acl-0bbb0000000000002")
    assert acl is not None
    assert acl.entries is not None
    (web,) = [
        one for one in SHOP.network_acls or () if one.network_acl_id == "acl-0aaa0000000000001"
    ]
    ping = next(entry for entry in web.entries or () if entry.icmp is not None)
    denying = (
        replace(ping, rule_number=50, action="deny"),
        replace(ping, rule_number=60, action="deny", icmp=None),
    )
    acls = tuple(
        replace(one, entries=(*denying, *(one.entries or ()))) if one is acl else one
        for one in SHOP.network_acls or ()
    )
    config = replace(SHOP, network_acls=acls)
    explanation = explain(
        line(APP, "10.0.1.5 10.0.2.20", "0 0", "- 10.0.1.5 10.0.2.20 ingress -", more="1 REJECT"),
        config=config,
    )
    assert explanation.blocking_entry is None
    assert any(
        "may match before the rule that certainly does" in item.detail
        for item in explanation.verdict.evidence
    )


def test_without_packet_addresses_a_nat_gateways_far_end_is_not_mended() -> None:
    batch = Batch()
    text = (
        " ".join(DEFAULT_FORMAT.names)
        + f"\n2 123456789012 {NAT} 10.0.2.20 10.0.1.220 40000 25 17 3 180 1795348800 1795348805 REJECT OK\n"
    )
    batch.add_file(io.BytesIO(text.encode()), name="123456789012_vpcflowlogs_eu-west-1_fl-0a_x")
    (explanation,) = batch.explanations(FixedConfig(SHOP))
    assert not isinstance(explanation.remediation, NotAvailable)
    assert all("sg-" not in command for command in explanation.remediation.commands(None))


def test_the_internet_from_an_aws_range_is_not_let_in_either() -> None:
    remediation = explain(
        line(APP, "52.218.1.1 10.0.2.20", "40000 22", "2 52.218.1.1 10.0.2.20 ingress -")
    ).remediation
    assert remediation == NotAvailable(
        "none offered: nothing here is meant to answer this from the internet; opening is not the answer"
    )


def test_a_source_none_of_whose_lines_is_a_record_is_refused_and_one_bad_line_is_not() -> None:
    junk = ["nonsense"] * 5
    with pytest.raises(
        NotAFlowLogError,
        match=r"none of its 5 lines is a record of its format; line 1: field-count",
    ):
        read_log_events(
            junk, name="group:stream", formats=(DEFAULT_FORMAT,), origin=Origin(), seed=0
        )
    good = "2 123456789012 eni-1 10.0.0.1 10.0.0.2 40000 443 6 1 40 1795348800 1795348805 ACCEPT OK"
    read = read_log_events(
        [*junk, good], name="group:stream", formats=(DEFAULT_FORMAT,), origin=Origin(), seed=0
    )
    assert (read.reading.counts.accepted, read.reading.counts.malformed.total()) == (1, 5)
    read = read_log_events(
        ["nonsense"], name="group:stream", formats=(DEFAULT_FORMAT,), origin=Origin(), seed=0
    )
    assert read.windows == {}


def test_a_scan_of_thousands_of_ports_is_one_alert_and_every_flow_still_counted() -> None:
    batch = Batch()
    tail = "2 203.0.113.1 10.0.2.20 ingress -"
    scan = (line(APP, "203.0.113.1 10.0.2.20", f"40000 {port}", tail) for port in range(1, 3_001))
    batch.add_file(io.BytesIO("\n".join([HEADER, *scan]).encode()), name="x")
    (detection,) = group(batch.explanations())
    alert = detection.notification
    assert isinstance(alert, Alert)
    assert (alert.kind, alert.severity, alert.service, alert.flows) == (
        "scan",
        "low",
        "several services",
        3_000,
    )
    assert alert.title == "Scan of 3,000 ports on 1 address: 203.0.113.1 -> 10.0.2.20"


def test_more_problems_than_anyone_can_be_told_of_are_folded_and_every_flow_still_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(grouping, "MAX_ALERTS", 100)
    batch = Batch()
    # Each from another address, so that it is no scan.
    clients = ((port, f"10.1.{port // 250}.{port % 250} 10.0.2.20") for port in range(1, 3_001))
    asked = (line(APP, both, f"40000 {port}", f"2 {both} ingress -") for port, both in clients)
    batch.add_file(io.BytesIO("\n".join([HEADER, *asked]).encode()), name="x")
    explanations = batch.explanations()
    notifications = [detection.notification for detection in group(explanations)]
    assert len(notifications) == 101
    with monkeypatch.context() as unbounded:
        unbounded.setattr(grouping, "MAX_ALERTS", 5_000)
        everything = group(explanations)
    assert [
        one.notification for one in sorted(everything, key=most_severe_first)[:100]
    ] == notifications[:100]
    found = [notification for notification in notifications if isinstance(notification, Alert)]
    assert sum(alert.flows for alert in found) == 3_000
    assert (found[-1].service, found[-1].flows) == ("several services", 2_900)


def test_lost_records_make_a_missing_request_say_less() -> None:
    lost = f"8 123456789012 {APP} - - - - - - - 1795348800 1795348860 - SKIPDATA - - - - -"
    seen = line(
        APP, "10.0.1.5 10.0.2.20", "40001 8080", "- 10.0.1.5 10.0.2.20 ingress -", more="6 ACCEPT"
    )
    asked = line(APP, "10.0.1.5 10.0.2.20", "40000 8081", "- 10.0.1.5 10.0.2.20 ingress -")
    batches = {}
    for name, lines in (("whole", (seen, asked)), ("lost", (lost, seen, asked))):
        batch = Batch()
        batch.add_file(io.BytesIO("\n".join([HEADER, *lines]).encode()), name="x")
        (explanation,) = batch.explanations()
        batches[name] = explanation.verdict.confidence
    assert batches == {"whole": Confidence.LIKELY, "lost": Confidence.POSSIBLE}


@pytest.mark.parametrize("flags", [3, 6, 7])
def test_one_record_may_hold_a_late_packet_and_a_new_request(flags: int) -> None:
    verdict = explain(
        line(APP, "10.0.1.5 10.0.2.20", "40000 443", f"{flags} 10.0.1.5 10.0.2.20 ingress -")
    ).verdict
    assert verdict.leg == "request"
    assert verdict.confidence is not Confidence.CERTAIN


def test_a_direction_that_was_guessed_makes_nothing_certain() -> None:
    # A VPC with a public range: the private address is the far one, and nothing in the records or the rules says so.
    public = with_interface(APP, ipv4_addresses=None)
    verdict = explain(
        line(APP, "10.7.0.5 11.0.1.9", "40000 443", "2 10.7.0.5 11.0.1.9 - -"), config=public
    ).verdict
    assert verdict.confidence is not Confidence.CERTAIN


@pytest.mark.parametrize("reasons", [("BPA", "EC"), ("BPA", "-"), ("SOMETHING_NEW",)])
def test_reasons_that_disagree_or_are_unknown_are_said_and_make_nothing_sure(
    reasons: tuple[str, ...],
) -> None:
    verdict = explain(
        *(
            line(APP, "10.0.1.5 10.0.2.20", "40000 443", f"2 10.0.1.5 10.0.2.20 ingress {one}")
            for one in reasons
        )
    ).verdict
    assert verdict.confidence is Confidence.POSSIBLE
    assert any("do not agree, or the value is newer" in item.detail for item in verdict.evidence)
