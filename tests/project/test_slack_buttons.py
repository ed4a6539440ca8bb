"""The buttons of Slack in the template: only where they are asked for, and what they may."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.evaluated_template import Evaluated
from tests.helpers.sam_template import read_template, translated_resources

TEMPLATE = read_template(Path(__file__).parents[2] / "template.yaml")
PARAMETERS: dict[str, dict[str, Any]] = TEMPLATE["Parameters"]


@pytest.fixture(scope="module")
def resources() -> dict[str, dict[str, Any]]:
    return translated_resources()


@pytest.mark.parametrize(
    ("given", "by"),
    [
        ({"SlackWebhookParameter": "/slack", "SlackSigningParameter": "/signing"}, set()),
        ({"SlackSigningParameter": "/signing"}, {"ButtonsNeedSlack"}),
        (
            {"SlackSigningSecretArn": "arn", "SlackSigningParameter": "/signing"},
            {"OneSigningSecret", "ButtonsNeedSlack"},
        ),
    ],
)
def test_combinations_that_cannot_work_are_refused(given: dict[str, str], by: set[str]) -> None:
    assert Evaluated(TEMPLATE, given).refusals == by


@pytest.mark.parametrize(
    ("parameter", "good"),
    [
        (
            "SlackSigningSecretArn",
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:slack-signing-AbCdEf",
        ),
        ("SlackSigningParameter", "/flowverdict/slack-signing"),
    ],
)
def test_the_secret_itself_is_no_parameter(parameter: str, good: str) -> None:
    pattern = re.compile(PARAMETERS[parameter]["AllowedPattern"])
    assert pattern.fullmatch(good)
    assert pattern.fullmatch("")
    assert not pattern.fullmatch("8f742231b10e8888abcd99yyyzzz85a5")


def test_who_calls_the_public_url_cannot_use_up_the_accounts_runs() -> None:
    assert 1 <= PARAMETERS["SlackActionsFunctionReserved"]["Default"] <= 5


def test_slacks_messages_have_buttons_where_something_answers_them() -> None:
    for given, deployed in (
        ({"SlackWebhookParameter": "/slack"}, False),
        ({"SlackWebhookParameter": "/slack", "SlackSigningParameter": "/signing"}, True),
    ):
        evaluated = Evaluated(TEMPLATE, given)
        variables = evaluated.properties("NotifySlackFunction")["Environment"]["Variables"]
        assert variables["SLACK_BUTTONS"] == ("yes" if deployed else "")
        assert ("SlackActionsFunction" in evaluated.resources) is deployed
        assert ("SlackActionsUrl" in evaluated.outputs) is deployed


def test_what_answers_slack_has_the_token_where_the_stack_has_one() -> None:
    signing = {"SlackSigningParameter": "/signing"}
    for given, reference, action in (
        ({"SlackWebhookParameter": "/slack"}, "", None),
        ({"SlackTokenParameter": "/token", "SlackChannel": "#x"}, "ssm:/token", "ssm:GetParameter"),
    ):
        evaluated = Evaluated(TEMPLATE, signing | given)
        function = evaluated.properties("SlackActionsFunction")
        assert function["Environment"]["Variables"]["SLACK_TOKEN"] == reference
        (policy,) = evaluated.properties("SlackActionsRole")["Policies"]
        found = [
            each["Action"]
            for each in policy["PolicyDocument"]["Statement"]
            if each.get("Sid") == "ReadToken"
        ]
        assert found == ([] if action is None else [action])


def test_the_public_url_exists_only_where_it_is_asked_for_and_reaches_one_function(
    resources: dict[str, dict[str, Any]],
) -> None:
    (url,) = [
        each["Properties"] for each in resources.values() if each["Type"] == "AWS::Lambda::Url"
    ]
    assert url["AuthType"] == "NONE"
    assert url["TargetFunctionArn"] == {"Ref": "SlackActionsFunction"}
    public = {
        name: permission["Properties"]
        for name, permission in resources.items()
        if permission["Type"] == "AWS::Lambda::Permission"
        and permission["Properties"]["Principal"] == "*"
    }
    # Since October 2025 a function URL needs both
    # (https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html).
    assert {each["Action"] for each in public.values()} == {
        "lambda:InvokeFunctionUrl",
        "lambda:InvokeFunction",
    }
    for name, permission in public.items():
        assert resources[name]["Condition"] == "HasSlackActions"
        assert permission["FunctionName"] == {"Ref": "SlackActionsFunction"}
        assert (
            permission.get("FunctionUrlAuthType") == "NONE"
            or permission.get("InvokedViaFunctionUrl") is True
        )


def test_what_answers_slack_reaches_alerts_silences_and_records_of_requests_alone(
    resources: dict[str, dict[str, Any]],
) -> None:
    (policy,) = resources["SlackActionsRole"]["Properties"]["Policies"]
    found = {
        each["Sid"]: each
        for choice in policy["PolicyDocument"]["Statement"]
        for each in (choice["Fn::If"][1:] if "Fn::If" in choice else [choice])
        if "Sid" in each
    }
    own = {
        sid: (statement["Action"], statement["Condition"])
        for sid, statement in found.items()
        if "AlertTable" in str(statement["Resource"])
    }
    keys = "dynamodb:LeadingKeys"
    assert own == {
        "WriteWhatIsPressed": (
            ["dynamodb:BatchGetItem", "dynamodb:PutItem"],
            {"ForAllValues:StringLike": {keys: ["alert#*", "silences"]}},
        ),
        "TakeRequestsOnce": (
            "dynamodb:UpdateItem",
            {"ForAllValues:StringLike": {keys: ["request#*"]}},
        ),
    }
    assert found.keys() - own.keys() == {
        "WriteLogs",
        "ReadSigningSecret",
        "ReadSigningParameter",
        "ReadToken",
        "UseKey",
        "SendTraces",
    }
