"""The Slack parameters of the template: their shapes, and what excludes what."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from flowverdict.core.untrusted import SLACK_CHANNEL
from flowverdict.delivery.slack_thread_items import PREFIX
from tests.helpers.evaluated_template import Evaluated
from tests.helpers.sam_template import read_template

TEMPLATE: dict[str, Any] = read_template(Path(__file__).parents[2] / "template.yaml")
TOKEN = "xoxb-1234567890-s3cr3t"  # noqa: S105 - of no real workspace
ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:slack-AbCdEf"


@pytest.mark.parametrize(
    ("parameter", "good", "bad"),
    [
        ("SlackTokenSecretArn", ["", ARN], [TOKEN, "slack"]),
        ("SlackTokenParameter", ["", "/flowverdict/slack"], ["flowverdict/slack", TOKEN]),
        (
            "SlackChannel",
            ["", "C012AB3CD", "#network-alerts"],
            ["network", "# network", "#Network", "@U012AB3CD", TOKEN],
        ),
    ],
)
def test_a_token_is_no_parameter_and_a_channel_is_an_id_or_a_name(
    parameter: str, good: list[str], bad: list[str]
) -> None:
    pattern = re.compile(TEMPLATE["Parameters"][parameter]["AllowedPattern"])
    assert [text for text in good if not pattern.fullmatch(text)] == []
    assert [text for text in bad if pattern.fullmatch(text)] == []


def test_the_function_takes_the_channels_that_the_template_takes() -> None:
    pattern = TEMPLATE["Parameters"]["SlackChannel"]["AllowedPattern"]
    assert {part.strip("^$") for part in pattern.split("|")} - {""} == {
        *SLACK_CHANNEL.pattern.split("|")
    }


@pytest.mark.parametrize(
    ("changed", "by"),
    [
        ({"SlackTokenSecretArn": ARN, "SlackChannel": "#network"}, set()),
        ({"SlackTokenParameter": "/slack", "SlackChannel": "#network"}, set()),
        (
            {"SlackTokenSecretArn": ARN, "SlackTokenParameter": "/s", "SlackChannel": "#network"},
            {"OneSlackToken"},
        ),
        ({"SlackTokenSecretArn": ARN}, {"SlackTokenNeedsChannel"}),
        (
            {"SlackTokenParameter": "/t", "SlackChannel": "#x", "SlackWebhookParameter": "/w"},
            {"SlackTokenNeedsChannel"},
        ),
        ({"SlackChannel": "#network"}, {"SlackChannelNeedsToken"}),
    ],
)
def test_what_excludes_each_other_is_refused(changed: dict[str, str], by: set[str]) -> None:
    assert Evaluated(TEMPLATE, changed).refusals == by


def test_the_function_with_a_token_reaches_the_items_of_threads_and_no_others() -> None:
    with_token = Evaluated(TEMPLATE, {"SlackTokenSecretArn": ARN, "SlackChannel": "#network"})
    variables = with_token.properties("NotifySlackFunction")["Environment"]["Variables"]
    assert variables["SLACK_TOKEN"] == f"secretsmanager:{ARN}"
    assert variables["SLACK_CHANNEL"] == "#network"
    assert not variables["SLACK_WEBHOOK"]
    (policy,) = with_token.properties("NotifySlackRole")["Policies"]
    found = {each["Sid"]: each for each in policy["PolicyDocument"]["Statement"] if "Sid" in each}
    assert {"ReadWebhookSecret", "ReadWebhookParameter"} & set(found) == set()
    assert found["ReadToken"]["Action"] == "secretsmanager:GetSecretValue"
    assert found["RememberThreads"]["Action"] == ["dynamodb:GetItem", "dynamodb:PutItem"]
    assert found["RememberThreads"]["Condition"] == {
        "ForAllValues:StringLike": {"dynamodb:LeadingKeys": f"{PREFIX}*"}
    }
