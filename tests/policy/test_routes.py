"""To whose topic and channel of Slack an alert goes, and which routes are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from flowverdict.core.errors import PolicyError
from flowverdict.policy.document import parse_policy
from tests.helpers.alert_samples import ALERT, LOST

if TYPE_CHECKING:
    from flowverdict.policy.model import Policy

TOPIC = "arn:aws:sns:eu-west-1:123456789012:team"
PAYMENTS = replace(ALERT, owners=(("Team", "payments"),))


def policy(*routes: tuple[dict[str, object], str]) -> Policy:
    entries = [{"match": match, "topic": topic} for match, topic in routes]
    return parse_policy(json.dumps({"version": 1, "routes": entries}))


def test_the_first_route_that_matches_gets_the_alert() -> None:
    routed = policy(
        ({"account_id": "210987654321"}, f"{TOPIC}-other"),
        ({"owner": "team=payments"}, f"{TOPIC}-payments"),
        ({"vpc_id": "vpc-0a1b"}, f"{TOPIC}-shop"),
    )
    for alert, place, topic in (
        (PAYMENTS, "routes[1]", f"{TOPIC}-payments"),
        (ALERT, "routes[2]", f"{TOPIC}-shop"),
        (replace(ALERT, account_id="210987654321"), "routes[0]", f"{TOPIC}-other"),
    ):
        found = routed.route_of(alert)
        assert found is not None
        assert (found[0], found[1].topic, found[1].slack_channel) == (place, topic, None)
    assert routed.route_of(replace(ALERT, vpc_id=None)) is None


@pytest.mark.parametrize("channel", ["C012AB3CD", "G012AB3CD", "#payments", "#pay_ments-2"])
def test_a_route_names_a_topic_a_channel_or_both(channel: str) -> None:
    for places in ({"slack_channel": channel}, {"slack_channel": channel, "topic": TOPIC}):
        route = {"match": {"owner": "payments"}} | places
        found = parse_policy(json.dumps({"version": 1, "routes": [route]})).route_of(PAYMENTS)
        assert found is not None
        assert (found[1].slack_channel, found[1].topic) == (channel, places.get("topic"))


@pytest.mark.parametrize(
    ("places", "problem"),
    [
        ({}, "routes[0]: goes nowhere; give a topic, a slack_channel, or both"),
        ({"topic": None}, "routes[0].topic: null is not the ARN"),
        *(
            ({"slack_channel": odd}, "routes[0].slack_channel: ")
            for odd in (
                "payments",
                "#Payments",
                "#pay ments",
                "# payments",
                "#pay\nments",
                "#<!channel>",
                "#p\u00e4yments",
                "#pay\u202ements",
                f"#{'x' * 81}",
                "U012AB3CD",
                "D012AB3CD",
                "@ana",
                "https://hooks.slack.com/services/T0/B0/secret",
                "",
                None,
                7,
                ["#payments"],
            )
        ),
    ],
)
def test_a_route_to_nowhere_or_to_no_channel_is_refused(
    places: dict[str, object], problem: str
) -> None:
    route = {"match": {"owner": "payments"}} | places
    with pytest.raises(PolicyError) as refused:
        parse_policy(json.dumps({"version": 1, "routes": [route]}))
    assert str(refused.value).startswith(problem)
    assert str(refused.value).isascii()


def test_notices_and_what_no_route_matches_stay_with_the_email_topic() -> None:
    assert policy().route_of(PAYMENTS) is None
    assert policy(({"owner": "payments"}, TOPIC)).route_of(LOST) is None


@pytest.mark.parametrize(
    ("match", "topic", "problem"),
    [
        ({}, TOPIC, "routes[0].match: empty"),
        ({"owner": "payments"}, "payments", 'routes[0].topic: "payments" is not the ARN'),
        ({"owner": "payments"}, f"{TOPIC}.fifo", "is not the ARN of an SNS topic"),
        ({"owner": "two\nlines"}, TOPIC, "routes[0].match.owner"),
        ({"team": "payments"}, TOPIC, "routes[0].match.team: no such key"),
    ],
)
def test_a_wrong_route_is_refused_with_its_place(
    match: dict[str, object], topic: str, problem: str
) -> None:
    with pytest.raises(PolicyError) as refused:
        policy((match, topic))
    assert problem in str(refused.value)
