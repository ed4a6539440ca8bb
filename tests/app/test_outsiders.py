"""An outsider through the real functions: it pages nobody, mutes nothing and writes no fix."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest
import time_machine

from flowverdict.app.settings import MESSAGES_PER_HOUR
from flowverdict.flowlog.object_key import ObjectRef
from flowverdict_cli.local_aws import local_aws
from tests.helpers.alert_samples import NOW
from tests.helpers.at_once import NoRules
from tests.helpers.events import BUCKET, failed, notification, queue_message
from tests.helpers.quick_tables import quick_transactions
from tests.helpers.small_company import ACCOUNT, DATABASE, HEADER, REGION, SHOP, Company

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flowverdict_cli.local_aws import LocalAws

pytestmark = pytest.mark.slow

OUTSIDER, COLLEAGUE = "203.0.113.66", "10.0.9.9"
SYN, SYN_ACK = 2, 18


@pytest.fixture(autouse=True)
def noon() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


def line(  # noqa: PLR0913 - the parts of a record
    place: tuple[str, str, str],
    ends: tuple[str, str],
    ports: tuple[int, int],
    way: str,
    *,
    action: str = "REJECT",
    flags: int = SYN,
    packets: int = 4,
) -> str:
    vpc, subnet, interface = place
    return (
        f"8 {ACCOUNT} {interface} {ends[0]} {ends[1]} {ports[0]} {ports[1]} 6 {packets} "
        f"{packets * 60} {NOW - 600} {NOW - 580} {action} OK {vpc} {subnet} - {flags} IPv4 "
        f"{ends[0]} {ends[1]} {REGION} {way} -"
    )


def handshake(
    place: tuple[str, str, str], server: str, client: str, port: int, *, packets: int = 4
) -> list[str]:
    """Return an accepted request from a client's port to 443, and the reply that is rejected."""
    request = line(place, (client, server), (port, 443), "ingress", action="ACCEPT")
    reply = line(place, (server, client), (443, port), "egress", flags=SYN_ACK, packets=packets)
    return [request, reply]


def deliver(
    aws: LocalAws, name: str, lines: Sequence[str], header: str = HEADER
) -> list[dict[str, Any]]:
    """Deliver a file and return the messages that follow."""
    key = (
        f"AWSLogs/{ACCOUNT}/vpcflowlogs/{REGION}/2026/11/22/"
        f"{ACCOUNT}_vpcflowlogs_{REGION}_fl-0a1b_20261122T1150Z_{name}.log"
    )
    aws.put_object(ObjectRef(bucket=BUCKET, key=key), "\n".join([header, *lines]).encode())
    read = aws.invoke({"Records": [queue_message(name, notification(key))]})
    assert failed(read) == []
    return aws.alerts()


def place(company: Company, address: str) -> tuple[str, str, str]:
    at = company.places[address]
    return at.vpc_id, at.subnet_id, at.interface_id


# The network ACL of the shop: everything in, and TCP to ports 1024-65535 out.


def test_a_handshake_from_a_port_that_no_client_sends_from_pages_nobody(aws: LocalAws) -> None:
    shop = place(Company.found(), SHOP)
    lines = [line for port in (25, 443, 1_023) for line in handshake(shop, SHOP, OUTSIDER, port)]
    assert deliver(aws, "attack", lines) == []
    aws.later()
    (digest,) = aws.alerts()
    assert (digest["kind"], digest["records"]) == ("digest", 3)
    assert "create-network-acl-entry" not in str(digest)


def test_a_service_that_anybody_can_use_pages_nobody(aws: LocalAws) -> None:
    database = place(Company.found(), DATABASE)
    lines = [
        f"{line(database, (address, DATABASE), (41_000, 5432), 'ingress')} {service}"
        for address, service in (
            ("15.177.1.1", "ROUTE53_HEALTHCHECKS"),
            ("130.176.1.1", "CLOUDFRONT_ORIGIN_FACING"),
            ("198.51.100.1", "CODEBUILD"),
        )
    ]
    assert deliver(aws, "services", lines, f"{HEADER} pkt-src-aws-service") == []
    aws.later()
    (digest,) = aws.alerts()
    assert (digest["kind"], digest["records"]) == ("digest", 3)


def test_answers_that_an_outsider_has_services_give_page_nobody(aws: LocalAws) -> None:
    """It sends requests to them in the name of the database."""
    database = place(Company.found(), DATABASE)
    lines = [
        f"{line(database, (address, DATABASE), (443, 41_000), 'ingress', flags=SYN_ACK)} {service}"
        for address, service in (("52.95.1.1", "S3"), ("52.94.1.1", "DYNAMODB"))
    ]
    assert deliver(aws, "backscatter", lines, f"{HEADER} pkt-src-aws-service") == []


@pytest.mark.parametrize(("protocol", "port"), [(17, 53), (17, 443), (17, 123), (1, 0)])
def test_what_may_be_the_reply_to_a_port_that_an_outsider_chose_gets_no_command(
    aws: LocalAws, protocol: int, port: int
) -> None:
    """Only rejects are logged, so a request to a resolver looks the same."""
    company = Company.found()
    company.keep_replies_in()
    record = line(place(company, SHOP), (SHOP, OUTSIDER), (51_820, port), "egress", flags=0)
    (told,) = deliver(aws, "replies", [record.replace(" 6 4 ", f" {protocol} 4 ")])
    assert (told["severity"], told["remedy"], told["from_outside"]) == ("medium", None, True)


def test_the_reply_to_a_ping_is_no_reply_to_a_port(aws: LocalAws) -> None:
    company = Company.found()
    company.keep_replies_in()
    shop = place(company, SHOP)
    ends = (
        line(shop, (OUTSIDER, SHOP), (0, 0), "ingress", action="ACCEPT", flags=0),
        line(shop, (SHOP, OUTSIDER), (0, 0), "egress", flags=0),
    )
    (told,) = deliver(aws, "ping", [each.replace(" 6 4 ", " 1 4 ") for each in ends])
    assert told["remedy"] is None
    assert "port 0" not in told["remedy_reason"]


def outage(company: Company) -> list[str]:
    """Return what an outage shows: replies to colleagues are dropped, and a database is shut."""
    shop, database = place(company, SHOP), place(company, DATABASE)
    colleagues = [f"10.0.9.{last}" for last in range(1, 6)]
    return [
        *(record for each in colleagues for record in handshake(shop, SHOP, each, 50_122)),
        line(database, (SHOP, DATABASE), (41_000, 5432), "ingress"),
    ]


def attack(company: Company) -> list[str]:
    """Return what an outsider adds to it: handshakes at the same entry, many packets, a scan."""
    shop, database = place(company, SHOP), place(company, DATABASE)
    return [
        *handshake(shop, SHOP, OUTSIDER, 25, packets=9_000_000),
        *handshake(shop, SHOP, OUTSIDER, 50_122, packets=9_000_000),
        *(line(database, (OUTSIDER, DATABASE), (41_000, 5432 + n), "ingress") for n in range(20)),
        line(database, (OUTSIDER, DATABASE), (41_000, 5432), "ingress", packets=9_000_000),
    ]


def told_of(*, attacked: bool) -> list[dict[str, Any]]:
    """Return the messages of an outage in a company of its own."""
    with local_aws() as aws:
        company = Company.found()
        company.keep_replies_in()
        lines = outage(company)
        return deliver(aws, "logs", [*attack(company), *lines] if attacked else lines)


def test_an_outage_is_told_as_it_would_be_without_an_attack() -> None:
    alone, attacked = told_of(attacked=False), told_of(attacked=True)
    assert [(one["severity"], one["service_port"]) for one in alone] == [
        ("critical", 443),
        ("high", 5432),
    ]
    assert alone[0]["remedy"] is not None
    for one in attacked:
        # The broken entry drops the replies to the outsider too, which is told there.
        one["explains"] = [title for title in one["explains"] if OUTSIDER not in title]
    assert attacked == alone


# --- text in the place of an id -------------------------------------------------------------------


def test_a_name_in_the_place_of_an_interface_is_no_link_in_any_mail(aws: LocalAws) -> None:
    hostile = ("vpc-evil.example", "subnet-0a1b", "eni-evil.example/x")
    lost = f"8 {ACCOUNT} eni-evil.example/y - - - - - - - {NOW - 600} {NOW - 580} - SKIPDATA"
    told = deliver(
        aws,
        "names",
        [
            line(hostile, (COLLEAGUE, "10.1.0.5"), (41_000, 5432), "ingress"),
            line(hostile, (OUTSIDER, "10.1.0.5"), (41_000, 5432), "ingress"),
            f"{lost} {hostile[0]} {hostile[1]} - - - - - {REGION} - -",
        ],
    )
    assert {one["kind"] for one in told} == {"reject", "records-lost"}
    aws.later()
    assert any(one["kind"] == "digest" for one in aws.alerts())
    mails = aws.emails()
    assert len(mails) >= 3
    for mail in mails:
        assert "evil.example" not in mail.subject
        assert "evil.example" not in mail.body
    assert any("not an id: eni-evil[.]example[/]y" in mail.subject for mail in mails)


# --- the hour's messages --------------------------------------------------------------------------


def vpc(number: int) -> tuple[str, str, str]:
    return f"vpc-{number:017x}", f"subnet-{number:017x}", f"eni-{number:017x}"


def test_handshakes_in_thirty_vpcs_leave_an_outage_its_messages(
    aws: LocalAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowverdict.app.alert_wiring.Ec2Config", NoRules)
    quick_transactions(monkeypatch)
    flood = [
        line
        for number in range(30)
        for line in handshake(vpc(number), f"10.{number}.0.5", OUTSIDER, 50_122)
    ]
    told = deliver(aws, "attack", flood)
    assert {one["severity"] for one in told} == {"critical"}
    assert len(told) == MESSAGES_PER_HOUR // 3
    outages = [
        handshake(vpc(number), f"10.{number}.0.5", COLLEAGUE, 50_122) for number in range(15)
    ]
    requests = [
        line(vpc(number), (COLLEAGUE, f"10.{number}.0.6"), (41_000, 5432), "ingress")
        for number in range(5)
    ]
    told = deliver(aws, "outages", [*chain.from_iterable(outages[:5]), *requests])
    assert [one["severity"] for one in told] == ["critical"] * 5 + ["high"] * 5
    told = deliver(aws, "more", [*chain.from_iterable(outages[5:])])
    assert [one["severity"] for one in told] == ["critical"] * 10
    assert not any("from_outside" in one for one in told)


def test_one_vpc_leaves_messages_to_the_others(
    aws: LocalAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowverdict.app.alert_wiring.Ec2Config", NoRules)
    quick_transactions(monkeypatch)
    many = [
        record
        for port in range(2_000, 2_040)
        for record in (
            line(vpc(1), (COLLEAGUE, "10.1.0.5"), (50_122, port), "ingress", action="ACCEPT"),
            line(vpc(1), ("10.1.0.5", COLLEAGUE), (port, 50_122), "egress", flags=SYN_ACK),
        )
    ]
    assert len(deliver(aws, "many", many)) == MESSAGES_PER_HOUR - MESSAGES_PER_HOUR // 4
    others = [handshake(vpc(number), f"10.{number}.0.5", COLLEAGUE, 50_122) for number in (2, 3)]
    assert len(deliver(aws, "others", [*chain.from_iterable(others)])) == 2
