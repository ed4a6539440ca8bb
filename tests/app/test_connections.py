"""How much of how much in the functions' messages: failed connections among all to the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import time_machine

from flowverdict.flowlog.object_key import ObjectRef
from tests.helpers.alert_samples import NOW
from tests.helpers.events import BUCKET, failed, notification, queue_message
from tests.helpers.small_company import ACCOUNT, HEADER, REGION, SHOP, Company

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flowverdict_cli.local_aws import LocalAws

SYN, SYN_ACK, CLOSED = 2, 18, 19
OUTSIDER = "203.0.113.66"


@pytest.fixture(autouse=True)
def noon() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


class Shop:
    """The shop of the small company, whose network ACL drops replies to high ports."""

    def __init__(self, aws: LocalAws) -> None:
        company = Company.found()
        company.keep_replies_in()
        self.aws = aws
        self.at = company.places[SHOP]

    def line(
        self, source: str, destination: str, ports: tuple[int, int], flags: int = CLOSED
    ) -> str:
        way = "ingress" if destination == SHOP else "egress"
        action = "REJECT" if flags == SYN_ACK else "ACCEPT"
        return (
            f"8 {ACCOUNT} {self.at.interface_id} {source} {destination} {ports[0]} {ports[1]} 6 4 "
            f"240 {NOW - 600} {NOW - 580} {action} OK {self.at.vpc_id} {self.at.subnet_id} - "
            f"{flags} IPv4 {source} {destination} {REGION} {way} -"
        )

    def broken(self, clients: Iterable[str]) -> list[str]:
        """Return connections whose replies are dropped."""
        return [
            each
            for client in clients
            for each in (
                self.line(client, SHOP, (50_122, 443), SYN),
                self.line(SHOP, client, (443, 50_122), SYN_ACK),
            )
        ]

    def whole(self, clients: Iterable[str], port: int = 443) -> list[str]:
        """Return connections whose replies pass."""
        return [
            each
            for client in clients
            for each in (
                self.line(client, SHOP, (2_000, port)),
                self.line(SHOP, client, (port, 2_000)),
            )
        ]

    def deliver(self, name: str, lines: Iterable[str]) -> list[dict[str, Any]]:
        key = (
            f"AWSLogs/{ACCOUNT}/vpcflowlogs/{REGION}/2026/11/22/"
            f"{ACCOUNT}_vpcflowlogs_{REGION}_fl-0a1b_20261122T1150Z_{name}.log"
        )
        body = "\n".join([HEADER, *lines]).encode()
        self.aws.put_object(ObjectRef(bucket=BUCKET, key=key), body)
        read = self.aws.invoke({"Records": [queue_message(name, notification(key))]})
        assert failed(read) == []
        return self.aws.alerts()


def colleagues(count: int, first: int = 1) -> list[str]:
    return [f"10.0.9.{last}" for last in range(first, first + count)]


def test_message_says_how_many_connections_of_how_many_failed(aws: LocalAws) -> None:
    shop = Shop(aws)
    lines = [*shop.broken(colleagues(2)), *shop.whole(colleagues(30, first=50))]
    lines += [*shop.whole(colleagues(5, first=90), port=22), *shop.whole([OUTSIDER])]
    (told,) = shop.deliver("logs", lines)
    assert (told["flows"], told["connections"]) == (2, 32)
    assert any("2 of 32 inbound connections failed" in mail.body for mail in aws.emails())


def test_connections_of_a_later_file_are_counted_and_nobody_is_told_again(aws: LocalAws) -> None:
    shop = Shop(aws)
    (told,) = shop.deliver("one", shop.broken(colleagues(2)))
    assert told["connections"] == 2
    assert shop.deliver("two", shop.whole(colleagues(30, first=50))) == []
    # Connections from outside are not counted among those from inside.
    assert shop.deliver("three", [*shop.broken([OUTSIDER]), *shop.whole(["203.0.113.7"])]) == []
    aws.later()
    (ended,) = [one for one in aws.alerts() if one["kind"] == "reject"]
    assert (ended["flows"], ended["connections"]) == (2, 32)


def test_nothing_is_said_where_accepted_traffic_is_not_logged(aws: LocalAws) -> None:
    shop = Shop(aws)
    (told,) = shop.deliver(
        "logs", [line for line in shop.broken(colleagues(2)) if "REJECT" in line]
    )
    assert "connections" not in told
