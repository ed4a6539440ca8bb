"""Merged alerts, titles, links, the query, and whether the current rules let a packet pass."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flowverdict.alerts.codec import notification_from_json
from flowverdict.alerts.console_links import console_links, logs_query
from flowverdict.alerts.counts import MAX_REMOTES, Remote
from flowverdict.alerts.model import (
    MAX_INTERFACES,
    Alert,
    Kind,
    Notice,
    RemediationText,
)
from flowverdict.alerts.recheck import Passage, Sample, passage
from flowverdict.core.errors import NotificationError
from flowverdict.core.formatting import common_network
from flowverdict.network.snapshot import parse_snapshot
from tests.helpers.alert_samples import ALERT, LOST, NOW, SAMPLE

SCENARIOS = Path(__file__).parents[1] / "scenarios"


def remotes(*addresses: str) -> tuple[Remote, ...]:
    return tuple(Remote(address=address, flows=1, packets=1) for address in addresses)


# --- merging --------------------------------------------------------------------------------------


def test_totals_add_up_and_times_widen() -> None:
    newer = replace(
        ALERT, records=2, flows=3, packets=5, bytes=7, first_seen=1_000, last_seen=2_000_000_000
    )
    both = ALERT.merged_with(newer)
    assert (both.records, both.flows, both.packets, both.bytes) == (3, 4, 9, 247)
    assert (both.first_seen, both.last_seen) == (1_000, 2_000_000_000)
    assert (
        ALERT.merged_with(replace(newer, first_seen=None, last_seen=None)).last_seen
        == ALERT.last_seen
    )


def test_words_are_the_newer_ones_and_sureness_is_the_weakest() -> None:
    newer = replace(
        ALERT,
        summary="Newer.",
        last_seen=NOW,
        confidence="likely",
        confidences=(("certain", 2), ("likely", 1)),
    )
    both = ALERT.merged_with(newer)
    assert (both.summary, both.confidence, both.confidences) == (
        "Newer.",
        "likely",
        (("certain", 3), ("likely", 1)),
    )
    assert newer.merged_with(ALERT).confidence == "likely"


def test_remotes_add_up_by_address_and_the_busiest_are_kept() -> None:
    newer = replace(
        ALERT,
        top_remotes=(Remote(address="10.0.2.20", flows=2, packets=9), *remotes("10.0.2.21")),
        remote_count=2,
    )
    both = ALERT.merged_with(newer)
    assert both.top_remotes == (
        Remote(address="10.0.2.20", flows=3, packets=13),
        *remotes("10.0.2.21"),
    )
    assert both.remote_count == 2
    crowd = replace(
        ALERT,
        top_remotes=remotes(*(f"10.0.9.{last}" for last in range(MAX_REMOTES))),
        remote_count=250,
    )
    assert len(ALERT.merged_with(crowd).top_remotes) == MAX_REMOTES
    assert ALERT.merged_with(crowd).remote_count == 250


def test_what_it_is_about_and_since_when_stays() -> None:
    older = replace(ALERT, opened_at=1_000, owners=(("team", "shop"),), explains=("A", "B"))
    both = older.merged_with(
        replace(
            ALERT,
            near="10.0.3.31:5432",
            opened_at=2_000,
            owners=(("owner", "Ann"),),
            explains=("B", "C"),
        )
    )
    assert (both.near, both.near_others, both.opened_at) == ("10.0.3.30:5432", 1, 1_000)
    assert both.owners == (("team", "shop"), ("owner", "Ann"))
    assert both.explains == ("A", "B", "C")


def test_interfaces_are_put_together_and_counted() -> None:
    many = replace(
        ALERT,
        interfaces=tuple(f"eni-{number:02}" for number in range(MAX_INTERFACES)),
        interface_count=40,
    )
    both = ALERT.merged_with(many)
    assert (len(both.interfaces), both.interface_count) == (MAX_INTERFACES, 40)
    assert LOST.merged_with(replace(LOST, records=4)).records == 5


@pytest.mark.parametrize("targets", [(None, (3, 9)), ((3, 9), None), ((3, 2), (1, 9))])
def test_of_a_scan_the_most_doors_are_kept(
    targets: tuple[tuple[int, int] | None, tuple[int, int] | None],
) -> None:
    assert replace(ALERT, targets=targets[0]).merged_with(
        replace(ALERT, targets=targets[1])
    ).targets == (3, 9)


@pytest.mark.parametrize(
    "notification",
    [
        ALERT,
        LOST,
        replace(
            ALERT,
            remediation=RemediationText(commands=("aws ec2",), opens="all"),
            targets=(2, 3),
            owners=(("a", "b"),),
            opened_at=7,
        ),
    ],
)
def test_a_document_comes_back_from_json_as_it_was(notification: Any) -> None:  # noqa: ANN401 - an alert or a notice
    assert notification_from_json(notification.to_json()) == notification
    document = json.loads(notification.to_json())
    assert notification_from_json(json.dumps(document | {"of_a_newer_version": 1})) == notification


@pytest.mark.parametrize(
    ("interfaces", "kind"), [(("eni-0a1b",), Kind.FLOW_OVERFLOW), ((), Kind.RATE_LIMITED)]
)
def test_a_flood_of_schema_version_1_is_read_as_one_of_two_kinds(
    interfaces: tuple[str, ...], kind: Kind
) -> None:
    notice = replace(LOST, kind=kind, interfaces=interfaces, interface_count=len(interfaces))
    version_2 = json.loads(notice.to_json())
    assert (version_2["schema_version"], version_2["kind"]) == (2, kind)
    assert notification_from_json(json.dumps(version_2)) == notice
    flood = version_2 | {"kind": "flood"}
    assert notification_from_json(json.dumps(flood | {"schema_version": 1})) == notice
    with pytest.raises(NotificationError):
        notification_from_json(json.dumps(flood))


@pytest.mark.parametrize("notification", [ALERT, LOST])
def test_schema_version_1_is_read(notification: Alert | Notice) -> None:
    version_1 = json.loads(notification.to_json()) | {"schema_version": 1}
    assert notification_from_json(json.dumps(version_1)) == notification


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema_version": 3}', '{"schema_version": 2, "kind": "reject"}']
)
def test_what_is_no_document_is_one_clear_line(text: str) -> None:
    with pytest.raises(NotificationError, match="alert") as raised:
        notification_from_json(text)
    assert "\n" not in str(raised.value)


def far_side(*addresses: str) -> dict[str, Any]:
    network = common_network(addresses)
    return {
        "top_remotes": remotes(*addresses),
        "remote_count": len(addresses),
        "far_network": None if network is None else str(network),
    }


@pytest.mark.parametrize(
    ("network", "other", "both"),
    [
        ("203.0.113.4/31", "203.0.113.128/32", "203.0.113.0/24"),
        ("203.0.113.4/32", "203.0.113.4/32", "203.0.113.4/32"),
        ("203.0.113.0/24", "198.51.100.0/24", None),
        ("203.0.113.0/24", None, None),
    ],
)
def test_two_sightings_ranges_become_the_one_that_holds_both(
    network: str | None, other: str | None, both: str | None
) -> None:
    merged = replace(ALERT, far_network=network).merged_with(replace(ALERT, far_network=other))
    assert merged.far_network == both


# --- titles ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "ends"),
    [
        ({}, "10.0.2.20 -> 10.0.3.30:5432"),
        ({"near_others": 2}, "10.0.2.20 -> 10.0.3.30:5432 (+2 more)"),
        (far_side("203.0.113.1", "203.0.113.254"), "203.0.113.0/24 -> 10.0.3.30:5432"),
        (far_side("203.0.113.4", "203.0.113.5"), "203.0.113.4/31 -> 10.0.3.30:5432"),
        (far_side("203.0.113.1", "198.51.100.1"), "2 addresses -> 10.0.3.30:5432"),
        # Not all addresses are shown: the title has their range or, without a range, their number.
        (
            far_side("203.0.113.1", "203.0.113.2") | {"remote_count": 1_200},
            "203.0.113.0/30 -> 10.0.3.30:5432",
        ),
        (
            far_side("203.0.113.1", "10.0.0.1") | {"remote_count": 1_200},
            "1,200 addresses -> 10.0.3.30:5432",
        ),
        (far_side("2001:db8::1", "2001:db8::2"), "2001:db8::/126 -> 10.0.3.30:5432"),
        ({"outbound": True, "near": "10.0.1.5", "far_port": 443}, "10.0.1.5 -> 10.0.2.20:443"),
        (
            far_side("203.0.113.1", "203.0.113.9")
            | {"outbound": True, "near": "10.0.1.5", "far_port": 443},
            "10.0.1.5 -> 203.0.113.0/28 port 443",
        ),
        ({"outbound": None, "far": "[2001:db8::1]:443"}, "10.0.3.30:5432 -> [2001:db8::1]:443"),
        ({"top_remotes": (), "remote_count": 0}, "10.0.3.30:5432"),
    ],
)
def test_a_title_names_both_ends(changes: dict[str, Any], ends: str) -> None:
    assert replace(ALERT, **changes).title == f"Requests blocked by sg-0a1b: {ends}"


@pytest.mark.parametrize(
    ("addresses", "network"),
    [
        (["10.0.0.1", "10.0.255.1"], "10.0.0.0/16"),
        (["10.0.0.1", "10.1.0.1"], None),
        (["10.0.0.1"], "10.0.0.1/32"),
        (["2001:db8::1", "2001:db8:0:ffff::1"], "2001:db8::/48"),
        (["2001:db8::1", "2001:db8:1::1"], None),
        (["10.0.0.1", "2001:db8::1"], None),
        (["10.0.0.1", "?"], None),
    ],
)
def test_the_range_that_addresses_have_in_common(addresses: list[str], network: str | None) -> None:
    found = common_network(addresses)
    assert (None if found is None else str(found)) == network


# --- where to look --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("eu-west-1", "eu-west-1.console.aws.amazon.com"),
        ("us-gov-west-1", "us-gov-west-1.console.amazonaws-us-gov.com"),
        ("cn-north-1", "cn-north-1.console.amazonaws.cn"),
    ],
)
def test_links_lead_to_the_console_of_the_partition(region: str, host: str) -> None:
    links = console_links(
        region, network_acl_id="acl-0a1b", security_groups=("sg-0a1b",), interface_id="eni-0a1b"
    )
    assert [link.title for link in links] == [
        "network ACL acl-0a1b",
        "security group sg-0a1b",
        "interface eni-0a1b",
    ]
    assert all(
        link.url.startswith(f"https://{host}/") and f"region={region}" in link.url for link in links
    )
    assert links[0].url.endswith("#NetworkAclDetails:networkAclId=acl-0a1b")


@pytest.mark.parametrize("region", [None, "evil.example/", "eu-west-1.evil.example", ""])
def test_no_link_for_what_is_no_region(region: str | None) -> None:
    assert (
        console_links(region, network_acl_id="acl-0a1b", security_groups=(), interface_id=None)
        == ()
    )


def test_no_link_for_what_is_no_id_and_no_more_than_five_groups() -> None:
    groups = tuple(f"sg-{number}" for number in range(9))
    links = console_links(
        "eu-west-1",
        network_acl_id="acl-1&x=<script>",
        security_groups=groups,
        interface_id="10.0.0.1",
    )
    assert [link.title for link in links] == [f"security group sg-{number}" for number in range(5)]


def test_the_query_finds_whole_fields_and_no_parts_of_them() -> None:
    query = logs_query("eni-0a1b", 443, "203.0.113.7")
    assert query is not None
    assert query.count("@message like") == 4
    for required in (
        "/(^| )REJECT( |$)/",
        "/(^| )eni-0a1b( |$)/",
        "/(^| )443( |$)/",
        "/(^| )203[.]0[.]113[.]7( |$)/",
    ):
        assert required in query


@pytest.mark.parametrize("interface", ["eni/ or 1", "eni'", "eni a", ""])
def test_no_query_is_made_of_what_could_be_one(interface: str) -> None:
    assert logs_query(interface, 443, None) is None
    assert logs_query(None, None, None) is None
    assert logs_query(None, 0, None) is not None  # port 0 is a value


# --- whether the current rules let it pass --------------------------------------------------------


def shop(*, groups: bool = True, acl: bool = True) -> dict[str, Any]:
    """Return the sample shop's configuration.

    ``groups`` and ``acl``: whether the database's security groups and network ACL allow the app.
    """
    config: dict[str, Any] = json.loads((SCENARIOS / "shop.config.json").read_text())
    opened = {
        "IpProtocol": "tcp",
        "FromPort": 5432,
        "ToPort": 5432,
        "IpRanges": [{"CidrIp": "10.0.2.20/32"}],
    }
    for group in config["SecurityGroups"]:
        if group["GroupId"] == "sg-0ccc0000000000003":
            group["IpPermissions"] = [opened] if groups else []
            group["IpPermissionsEgress"] = []
    if not acl:
        for network_acl in config["NetworkAcls"]:
            network_acl["Entries"] = [
                entry for entry in network_acl["Entries"] if entry["RuleAction"] == "deny"
            ]
    return config


REQUEST = replace(SAMPLE, interface_id="eni-0bbbbbbbbbbbbbbb2")
REPLY = replace(
    REQUEST,
    source=REQUEST.destination,
    destination=REQUEST.source,
    source_port=REQUEST.destination_port,
    destination_port=REQUEST.source_port,
    direction="egress",
    leg="response",
)


@pytest.mark.parametrize(
    ("sample", "shut", "passing"),
    [
        (REQUEST, None, True),
        (REQUEST, "groups", False),
        (REQUEST, "acl", False),
        (REPLY, "groups", True),  # a reply needs no rule of a security group
        (REPLY, "acl", False),
    ],
)
def test_a_request_has_to_pass_both_layers_and_a_reply_the_network_acl(
    sample: Sample, shut: str | None, *, passing: bool
) -> None:
    assert (
        passage(sample, parse_snapshot(shop(groups=shut != "groups", acl=shut != "acl")))
        is Passage.PASSES
    ) is passing


def test_an_interface_that_is_gone_lets_nothing_pass() -> None:
    config = shop()
    config["NetworkInterfaces"] = []
    assert passage(REQUEST, parse_snapshot(config)) is Passage.UNKNOWN


@pytest.mark.parametrize("missing", ["SecurityGroups", "NetworkAcls"])
def test_rules_that_were_not_read_let_nothing_pass(missing: str) -> None:
    config = shop()
    del config[missing]
    assert passage(REQUEST, parse_snapshot(config)) is Passage.UNKNOWN
