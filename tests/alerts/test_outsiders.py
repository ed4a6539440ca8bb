"""What hosts of the internet can cause decides nothing of what hosts inside show."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flowverdict.alerts import grouping
from flowverdict.alerts.grouping import group
from flowverdict.alerts.model import Alert
from flowverdict.verdict.batch import FixedConfig
from tests.helpers.fixes import NETWORK, explained, rejected
from tests.helpers.shop import SHOP, WEB, batch_of, line

WEB_ADDRESS, POD = "10.0.1.5", "10.0.1.7"  # at one interface
INSIDE = "172.16.0.9"  # the network ACL of the web server lets no reply out to it
FLAGS = {6: (2, 18), 17: (0, 0)}


def exchange(
    client: str,
    ports: tuple[int, int],
    *,
    server: str = WEB_ADDRESS,
    protocol: int = 6,
    packets: int = 3,
) -> list[str]:
    """Write an accepted request from a client's port to a server's, and the rejected reply."""
    request, reply = FLAGS[protocol]
    ends, back = f"{client} {server}", f"{server} {client}"
    written = [
        line(
            WEB,
            ends,
            f"{ports[0]} {ports[1]}",
            f"{request} {ends} ingress -",
            more=f"{protocol} ACCEPT",
        ),
        line(
            WEB,
            back,
            f"{ports[1]} {ports[0]}",
            f"{reply} {back} egress -",
            more=f"{protocol} REJECT",
        ),
    ]
    return [record.replace(" 3 180 ", f" {packets} {60 * packets} ") for record in written]


def alerts(*records: str, rules: bool = True) -> list[Alert]:
    found = group(batch_of(*records).explanations(FixedConfig(SHOP) if rules else None))
    return [one.notification for one in found if isinstance(one.notification, Alert)]


# --- replies to low ports -------------------------------------------------------------------------


@pytest.mark.parametrize("rules", [True, False])
@pytest.mark.parametrize("port", [1, 25, 80, 1_023])
@pytest.mark.parametrize("protocol", [6, 17])
def test_a_reply_to_a_port_that_no_client_sends_from_is_noise(
    port: int, protocol: int, *, rules: bool
) -> None:
    records = exchange("203.0.113.12", (port, 8443), protocol=protocol)
    (alert,) = alerts(*records, rules=rules)
    assert (alert.leg, alert.severity, alert.remediation) == ("response", "low", None)
    (detection,) = group(batch_of(*records).explanations(FixedConfig(SHOP) if rules else None))
    assert detection.inhibits == ()


@pytest.mark.parametrize("port", [53, 123, 500])
def test_a_protocol_with_one_low_port_at_both_ends_is_not(port: int) -> None:
    (alert,) = alerts(*exchange("203.0.113.12", (port, port), protocol=17), rules=False)
    # Without flags, two ports alike leave open whether it is a reply.
    assert (alert.leg, alert.severity) == ("response", "high")
    (alert,) = alerts(*exchange("203.0.113.12", (port, 8443), protocol=17), rules=False)
    assert alert.severity == "low"
    (alert,) = alerts(*exchange("203.0.113.12", (port, port)), rules=False)
    assert alert.severity == "low"


@pytest.mark.parametrize("client", ["10.0.2.99", INSIDE])
def test_a_host_inside_may_send_from_a_low_port(client: str) -> None:
    (alert,) = alerts(*exchange(client, (700, 443)), rules=False)
    assert alert.severity == "critical"


# --- one alert for outsiders, one for all others --------------------------------------------------


def test_clients_inside_have_an_alert_that_no_outsider_is_in() -> None:
    within = exchange(INSIDE, (50_122, 443))
    (alone,) = alerts(*within)
    attack = exchange("203.0.113.12", (50_122, 443), packets=9_000_000)
    both = alerts(*attack, *within)
    assert alone in both
    (outside,) = (alert for alert in both if alert != alone)
    assert (alone.from_outside, outside.from_outside) == (False, True)
    assert alone.remediation is not None
    assert alone.remediation.commands  # the fix for outsiders, who need the same entry, names it
    assert outside.remediation is not None
    assert (outside.remediation.commands, outside.remediation.shared) == (
        (),
        alone.remediation.commands,
    )


def test_only_the_alert_of_outsiders_says_so_in_json() -> None:
    (within,) = alerts(*exchange(INSIDE, (50_122, 443)))
    (outside,) = alerts(*exchange("203.0.113.12", (50_122, 443)))
    assert '"from_outside": true' in outside.to_json()
    assert "from_outside" not in within.to_json()


# --- services that anybody can use ----------------------------------------------------------------

CLOUDFRONT, S3, LATTICE = "130.176.10.10", "3.5.134.9", "169.254.171.7"


@pytest.mark.parametrize("server", [("web", "10.60.1.10"), ("cdn", "10.60.1.43")])
def test_a_request_of_a_service_that_anybody_can_use_is_noise(server: tuple[str, str]) -> None:
    interface, address = server
    explanations = explained(rejected(interface, CLOUDFRONT, address, (40_117, 80), "ingress"))
    (alert,) = (detection.notification for detection in group(explanations))
    assert isinstance(alert, Alert)
    assert (alert.severity, alert.path, alert.from_outside) == ("low", "internet", True)
    assert alert.remote_end == (
        f"{CLOUDFRONT}, on the internet: origin-facing (pl-0f60cloudfront), which anybody can use"
    )


@pytest.mark.parametrize(
    ("remote", "port", "way", "path"),
    [
        (CLOUDFRONT, 443, "ingress", "aws-service"),  # the group lets the list in there
        (CLOUDFRONT, 444, "ingress", "internet"),
        (CLOUDFRONT, 444, "egress", "aws-service"),
        (S3, 80, "ingress", "aws-service"),  # begins no connection
        (LATTICE, 80, "ingress", "aws-service"),  # only for the VPC's own users
    ],
)
def test_a_service_is_one_where_a_group_expects_it_or_no_stranger_uses_it(
    remote: str, port: int, way: str, path: str
) -> None:
    ends = (remote, "10.60.1.43") if way == "ingress" else ("10.60.1.43", remote)
    config = replace(NETWORK, endpoints=(), route_tables=())
    (one,) = explained(rejected("cdn", *ends, (40_117, port), way), config=config)
    assert one.endpoints is not None
    assert one.endpoints.path == path


# --- what stands for an alert ---------------------------------------------------------------------


def test_the_host_that_most_clients_miss_stands_for_all_whatever_an_outsider_sends() -> None:
    customers = [
        record
        for last in range(1, 4)
        for record in exchange(f"198.51.100.{last}", (50_122, 443), packets=1)
    ]
    attack = exchange("192.0.2.1", (50_122, 443), server=POD, packets=9_000_000)
    for records in ([*attack, *customers], [*customers, *attack]):
        (alert,) = alerts(*records, rules=False)
        assert "10.0.1.5:443 -> 198.51.100.1:50122" in alert.connection
        assert alert.near == "10.0.1.5:443"
        assert alert.logs_query is not None
        assert "198[.]51[.]100[.]1" in alert.logs_query


def test_among_hosts_inside_the_busiest_stands_for_all() -> None:
    quiet, busy = (exchange(f"10.0.2.{last}", (50_122, 443), packets=last) for last in (1, 9))
    (alert,) = alerts(*quiet, *busy, rules=False)
    assert "10.0.2.9:" in alert.connection


# --- more alerts than can be told apart -----------------------------------------------------------


def test_what_outsiders_cause_leaves_the_others_their_services(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(grouping, "MAX_ALERTS", 3)
    attack = [
        record
        for port in range(2_000, 2_009)
        for record in exchange("203.0.113.12", (50_122, port))
    ]
    requests = [
        line(WEB, ends, f"41000 {port}", f"2 {ends} ingress -")
        for port in (22, 5432)
        for ends in (f"172.16.0.9 {WEB_ADDRESS}",)
    ]
    found = alerts(*attack, *requests, rules=False)
    assert [one.service_port for one in found if not one.from_outside] == [22, 5432]
    assert found[0].from_outside  # the most severe first, nevertheless
