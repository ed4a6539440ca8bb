"""Links from a message to the records and to the page on what to do."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest

from flowverdict.alerts.counts import Remote
from flowverdict.alerts.ending import Ending
from flowverdict.alerts.model import (
    Status,
)
from flowverdict.delivery.message_settings import DEFAULTS, MessageSettings
from flowverdict.delivery.record_links import athena_query, further_links, records_query
from flowverdict.delivery.renderers import email, slack, teams
from flowverdict.delivery.text import safe_url
from tests.helpers.notification_samples import NOTIFICATIONS, digest, records_lost, scenario
from tests.helpers.slack_blocks import texts

if TYPE_CHECKING:
    from flowverdict.alerts.model import Alert

CHOSEN = MessageSettings(
    runbook_url="https://wiki.example.com/flowverdict/",
    athena_table="vpc_flow_logs",
    log_groups=("/vpc/flow_logs", "other"),
    region="eu-west-1",
)


def alert() -> Alert:
    return scenario("rules-outbound-response")


def insights(shown: Alert, settings: MessageSettings = CHOSEN) -> str | None:
    links = further_links(shown, settings)
    return next((link.url for link in links if "Insights" in link.title), None)


def decoded(url: str) -> str:
    """Decode as the console does: ``$`` is ``%``, twice; then ``*`` within values."""
    once = unquote(url.partition("logs-insights")[2].replace("$", "%"))
    return unquote(unquote(once).replace("*", "%"))


def test_the_page_of_problems_is_linked_where_there_is_one() -> None:
    page = replace(CHOSEN, page_bucket="flowverdict-evidence")
    titles = [[link.title for link in further_links(alert(), each)] for each in (CHOSEN, page)]
    assert {*titles[1]} - {*titles[0]} == {"the page of all problems"}
    (url,) = [link.url for link in further_links(alert(), page) if "problems" in link.title]
    assert url == (
        "https://eu-west-1.console.aws.amazon.com/s3/object/flowverdict-evidence"
        "?region=eu-west-1&prefix=pages/problems.html"
    )
    for render in (email.render, slack.render, teams.render):
        assert "pages/problems.html" in render(alert(), page)
    for region in (None, "eu-west-1.example.com"):
        assert further_links(digest(), replace(page, region=region)) == ()


def test_the_console_gets_the_log_groups_the_range_and_the_query() -> None:
    url = insights(alert())
    assert url is not None
    assert url.startswith(
        "https://eu-west-1.console.aws.amazon.com/cloudwatch/home?region=eu-west-1#"
    )
    assert safe_url(url) == url
    query = records_query(alert())
    assert decoded(url) == (
        "?queryDetail=~(end~'2026-11-22T12:10:25.000Z~start~'2026-11-22T11:50:05.000Z"
        f"~timeType~'ABSOLUTE~tz~'UTC~editorString~'{query}~source~(~'/vpc/flow_logs~'other))"
    )
    # What an address line of the console shows: brackets are encoded twice, values by stars.
    assert "$3FqueryDetail$3D$257E$2528end$257E$25272026-11-22T12*3a10*3a25.000Z$257E" in url
    assert re.fullmatch(r"[A-Za-z0-9$*.-]+", url.partition("logs-insights")[2])


@pytest.mark.parametrize(
    "settings",
    [
        DEFAULTS,
        replace(CHOSEN, log_groups=()),
        replace(CHOSEN, region=None),
        replace(CHOSEN, region="us-east-1"),  # the groups do not have another Region's records
    ],
)
def test_no_link_leads_to_a_log_group_that_is_not_known_to_have_the_records(
    settings: MessageSettings,
) -> None:
    assert insights(alert(), settings) is None


def test_the_query_asks_for_all_remotes_or_for_none_where_there_are_more() -> None:
    remotes = tuple(Remote(address=f"203.0.113.{n}", flows=1, packets=1) for n in (12, 13))
    both = replace(alert(), top_remotes=remotes, remote_count=2)
    assert "/(^| )(203[.]0[.]113[.]12|203[.]0[.]113[.]13)( |$)/" in str(records_query(both))
    more = replace(both, remote_count=3)
    assert "203[.]0" not in str(records_query(more))
    assert "eni-0aaaaaaaaaaaaaaa1" in str(records_query(more))


@pytest.mark.parametrize("text", ["x' OR '1'='1", "eni-1) | delete", "", "203.0.113.12\n"])
def test_what_is_no_id_and_no_address_is_in_no_query(text: str) -> None:
    odd = replace(alert(), interfaces=(text,), interface_count=1)
    assert records_query(odd) == odd.logs_query
    assert athena_query(odd, CHOSEN) is None
    remote = (Remote(address=text, flows=1, packets=1),)
    odd = replace(alert(), top_remotes=remote, account_id=text, region=text)
    assert text == "" or text not in f"{records_query(odd)} {athena_query(odd, CHOSEN)}"
    assert insights(odd) is None


def test_athena_is_asked_for_the_partition_of_the_day() -> None:
    assert athena_query(alert(), DEFAULTS) is None
    assert athena_query(alert(), CHOSEN) == (
        "SELECT * FROM \"vpc_flow_logs\" WHERE day IN ('2026/11/22') AND accid = '123456789012' "
        "AND region = 'eu-west-1' AND interface_id IN ('eni-0aaaaaaaaaaaaaaa1') AND "
        "action = 'REJECT' AND start BETWEEN 1795348805 AND 1795348825 AND "
        "(srcport = 443 OR dstport = 443) ORDER BY start LIMIT 100"
    )


@pytest.mark.parametrize(
    ("first", "last", "days"),
    [
        (1_795_391_700, 1_795_391_999, "'2026/11/22', '2026/11/23'"),  # 23:55 to 23:59
        (1_795_348_805, 1_795_348_805 + 86_400, "'2026/11/22', '2026/11/23'"),
    ],
)
def test_a_file_that_is_delivered_after_midnight_is_asked_for(
    first: int, last: int, days: str
) -> None:
    late = replace(alert(), first_seen=first, last_seen=last)
    assert f"day IN ({days})" in str(athena_query(late, CHOSEN))


def test_of_a_long_time_only_the_latest_month_is_asked_for() -> None:
    long = replace(alert(), first_seen=1_700_000_000)
    assert str(athena_query(long, CHOSEN)).count("/") == 2 * 31


@pytest.mark.parametrize(
    ("notification", "page"),
    [
        (alert, "network-acl"),
        (NOTIFICATIONS["scan"], "network-acl-and-security-group"),
        (NOTIFICATIONS["resolved"], "fixed"),
        (NOTIFICATIONS["quiet"], "quiet"),
        (NOTIFICATIONS["unknown"], "unknown"),
        (lambda: alert().with_status(Status.RESOLVED, "Corrected: x"), "corrected"),
        (lambda: alert().with_status(Status.RESOLVED, "x", Ending.CORRECTED), "corrected"),
        (records_lost, None),
    ],
)
def test_the_runbook_is_of_the_ending_else_of_the_verdict(
    notification: object, page: str | None
) -> None:
    assert callable(notification)
    links = further_links(notification(), replace(CHOSEN, log_groups=()))
    expected = [] if page is None else [f"https://wiki.example.com/flowverdict/{page}"]
    assert [link.url for link in links if link.title != "who changed it"] == expected
    links = further_links(notification(), DEFAULTS)
    assert [link for link in links if link.title != "who changed it"] == []


def test_every_face_has_the_links() -> None:
    runbook = "https://wiki.example.com/flowverdict/network-acl"
    mail = email.body(alert(), CHOSEN)
    assert f"    {runbook}\n" in mail
    assert f"    {insights(alert())}\n" in mail
    assert f"    {athena_query(alert(), CHOSEN)}\n" in mail
    shown = "\n".join(texts(slack.blocks(alert(), CHOSEN)))
    assert f"<{runbook}|runbook>" in shown
    assert f"<{insights(alert())}|" in shown
    card = teams.render(alert(), CHOSEN)
    assert f'"{runbook}"' in card
    assert f'"{insights(alert())}"' in card


# --- objects in S3, and who changed what ----------------------------------------------------------

FOLDER = "AWSLogs/123456789012/vpcflowlogs/eu-west-1/2026/11/22"
FILE = "123456789012_vpcflowlogs_eu-west-1_fl-0a1b_20261122T1200Z_1a2b3c4d.log.gz"


def object_links(name: str, region: str | None = "eu-west-1") -> list[tuple[str, str]]:
    settings = replace(DEFAULTS, region=region)
    links = further_links(replace(alert(), objects=(name,)), settings)
    return [(link.title, link.url) for link in links if "/s3/object/" in link.url]


def test_the_records_in_s3_are_the_consoles_page_of_the_object() -> None:
    name = f"s3://flow-logs/{FOLDER}/{FILE}"
    page = "https://eu-west-1.console.aws.amazon.com/s3/object/flow-logs?region=eu-west-1"
    title = "the records, in S3: 20261122T1200Z_1a2b3c4d"
    assert object_links(name) == [(title, f"{page}&prefix={FOLDER}/{FILE}")]
    told, settings = replace(alert(), objects=(name,)), replace(DEFAULTS, region="eu-west-1")
    for shown in (
        email.body(told, settings),
        str([block.to_dict() for block in slack.blocks(told, settings)]),
    ):
        assert f"prefix={FOLDER}/{FILE}" in shown


@pytest.mark.parametrize(
    "key", ["x&prefix=other", "a b|c>.log", "\u202egol.exe", "x\n*bold*", "[x](javascript:1)"]
)
def test_a_hostile_key_stays_within_its_link(key: str) -> None:
    ((title, url),) = object_links(f"s3://flow-logs/{key}")
    assert title == "the records, in S3"
    assert re.fullmatch(r"https://[a-z0-9.-]+/s3/object/flow-logs\?[\w=&-]+prefix=[\w%.-]+", url)
    assert unquote(url.rpartition("prefix=")[2]) == key


@pytest.mark.parametrize(
    ("name", "region"),
    [
        (f"s3://flow-logs/{FILE}", None),
        (f"s3://flow-logs/{FILE}", "evil.example/"),
        (f"s3://evil.example/x/../{FILE}?a".replace("evil.example", "Evil_"), "eu-west-1"),
        ("s3://flow-logs/", "eu-west-1"),
        ("https://evil.example/", "eu-west-1"),
        (f"s3://flow-logs/{'x' * 1025}", "eu-west-1"),
    ],
)
def test_what_is_no_object_of_the_region_has_no_link(name: str, region: str | None) -> None:
    assert object_links(name, region) == []


def test_who_changed_what_blocks_is_asked_of_cloudtrail() -> None:
    def changes(of: Alert) -> list[str]:
        links = further_links(of, DEFAULTS)
        return [link.url for link in links if link.title == "who changed it"]

    page = "https://eu-west-1.console.aws.amazon.com/cloudtrailv2/home?region=eu-west-1#/events"
    assert changes(alert()) == [f"{page}?ResourceName=acl-0aaa0000000000001"]
    groups = replace(alert(), network_acl_entry=None, security_groups=("sg-0a1b", "sg-0c2d"))
    assert changes(groups) == [f"{page}?ResourceName=sg-0a1b"]
    nothing = replace(alert(), network_acl_entry=None)
    for each in (nothing, replace(alert(), region="x.example"), NOTIFICATIONS["resolved"]()):
        assert changes(each) == []  # type: ignore[arg-type]
    assert changes(replace(groups, security_groups=("sg-x?evil",))) == []
