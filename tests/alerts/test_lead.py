"""The lead: one line for people, with names in the place of ids."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flowverdict.alerts.counts import Remote
from flowverdict.alerts.lead import lead, name_of_end
from flowverdict.alerts.model import (
    Alert,
)
from tests.helpers.notification_samples import NOTIFICATIONS, scenario


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "rules-outbound-response",
            (
                "shop-web :443 (HTTPS): replies to 203.0.113.12 dropped by network ACL shop-public "
                "(default deny)"
            ),
        ),
        (
            "rules-inbound-request",
            "RDS database :5432 (PostgreSQL): requests from shop-app dropped by security group db",
        ),
        (
            "rules-gateway-endpoint",
            "shop-app: requests to 52.218.24.10:443 (HTTPS) dropped by security group app",
        ),
        (
            "rules-denied-by-number",
            (
                "shop-web :443 (HTTPS): requests from 198.51.100.77 dropped by network ACL "
                "shop-public (rule 90)"
            ),
        ),
        (
            "rules-both-layers",
            (
                "RDS database :3306 (MySQL): requests from shop-web dropped by network ACL shop-db "
                "(default deny) and security group db"
            ),
        ),
        (
            "rules-icmp",
            (
                "shop-web: ICMP requests from 203.0.113.12 dropped by the network ACL or the "
                "security groups"
            ),
        ),
        (
            "udp-reply-too-late",
            (
                "shop-web: UDP replies from 10.0.8.8:53 (DNS) possibly dropped by network ACL "
                "shop-public (default deny)"
            ),
        ),
        (
            "block-public-access",
            "shop-web :443 (HTTPS): requests from 203.0.113.12 dropped by VPC Block Public Access",
        ),
        (
            "closed-connection",
            (
                "shop-web :443 (HTTPS): late packets from 203.0.113.12 rejected, their connections "
                "were most likely over"
            ),
        ),
        (
            "rules-allow-now",
            (
                "shop-web :443 (HTTPS): requests from 203.0.113.12 rejected, but the rules allow "
                "them now"
            ),
        ),
        (
            "ecs-task",
            (
                "ECS service shop-web :8080 (HTTP): requests from 10.0.2.20 dropped by the network "
                "ACL or the security groups"
            ),
        ),
    ],
)
def test_who_what_and_by_what(name: str, told: str) -> None:
    assert lead(scenario(name)) == told


@pytest.mark.parametrize("name", ["scan", "transit-gateway"])
def test_the_title_stands_where_no_line_is_better(name: str) -> None:
    alert = NOTIFICATIONS[name]()
    assert isinstance(alert, Alert)
    assert lead(alert) == alert.title


def test_without_names_ids_and_addresses_stand_in_the_line() -> None:
    alert = replace(scenario("rules-outbound-response"), names=(), local_end=None)
    assert lead(alert) == (
        "10.0.1.5:443 (HTTPS): replies to 203.0.113.12 dropped by network ACL "
        "acl-0aaa0000000000001 (default deny)"
    )


def test_several_clients_are_counted_and_never_called_all() -> None:
    alert = scenario("rules-outbound-response")
    remotes = tuple(Remote(address=f"203.0.113.{n}", flows=1, packets=1) for n in (12, 13, 14))
    several = replace(
        alert, top_remotes=remotes, remote_count=3, far_network="203.0.113.12/30", near_others=2
    )
    assert lead(several).startswith(
        "shop-web :443 (HTTPS) and 2 more: replies to 3 clients in 203.0.113.12/30 dropped by "
    )
    assert " all " not in lead(several)
    assert lead(several, brief=True) == (
        "shop-web:443 and 2 more: replies to 3 clients dropped by network ACL shop-public"
    )


def test_many_groups_are_counted() -> None:
    alert = replace(
        scenario("rules-inbound-request"),
        security_groups=("sg-0ccc0000000000003", "sg-1", "sg-2", "sg-3"),
    )
    assert lead(alert).endswith("dropped by security groups db, sg-1, 2 more")


@pytest.mark.parametrize(
    ("end", "name"),
    [
        (None, None),
        ("instance i-0aaa (shop-web), eni-0aaa", "shop-web"),
        ("instance i-0aaa, eni-0aaa", "instance i-0aaa"),
        ("eni-0aaa (shop-web)", "shop-web"),
        ("eni-0aaa", None),
        ("RDS database, eni-0aaa", "RDS database"),
        ("203.0.113.12, on the internet", "203.0.113.12"),
        ("ECS task 4f0c of service web (cluster prod), eni-0aaa", "ECS service web"),
        ("ECS task 4f0c of task definition web:12, eni-0aaa", "ECS task definition web:12"),
    ],
)
def test_what_names_an_end(end: str | None, name: str | None) -> None:
    assert name_of_end(end) == name
