"""The permissions of every function, with IAM enforced, for EC2 as well.

The functions are allowed all that they need, and the published table has every statement. Account
and Region differ from those of the other tests.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.emulator import ROOT
from tests.e2e.permission_trial import Trial, trial
from tests.e2e.permissions import NOT_MADE, TRIALS, markdown
from tests.e2e.policies import Policy, Statement, policy_statements, without
from tests.helpers.sam_template import read_template

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.connections import Watch
    from tests.e2e.stack import Build


STATEMENT = Statement(
    function="SomeFunction", policy=Policy(role_name="role", name="policy"), sid="PublishAlerts"
)
# One statement of each function that the function needs.
NEEDED = {
    "ClassifyCloudWatchLogsFunction": "SignalWindows",
    "ClassifyS3Function": "SignalWindows",
    "EvaluateWindowsFunction": "PublishAlerts",
    "NotifySlackFunction": "ReadWebhookSecret",
    "NotifyTeamsFunction": "ReadWebhookSecret",
    "SlackActionsFunction": "WriteWhatIsPressed",
    "SweepAlertsFunction": "FindWhatIsDue",
}


@pytest.fixture(scope="module")
def permitted(built: Build, watch: Watch) -> Iterator[Trial]:  # noqa: ARG001 - watched, as everything
    with trial(built) as started:
        yield started


def template_sids(built: Build) -> set[str]:
    """Return the Sids of the functions' statements in the template, conditional ones included."""
    notifications = []
    for resource in read_template(built.template)["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            notifications += [
                policy
                for policy in resource["Properties"].get("Policies", [])
                if "Statement" in policy
            ]
        elif resource["Type"] == "AWS::IAM::ManagedPolicy":
            notifications.append(resource["Properties"]["PolicyDocument"])
    return {
        statement["Sid"]
        for notification in notifications
        for choice in notification["Statement"]
        for statement in chosen(choice)
    }


def chosen(statement: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a statement, or both statements between which a condition chooses."""
    return (
        [choice for choice in statement["Fn::If"][1:] if "Sid" in choice]
        if "Fn::If" in statement
        else [statement]
    )


def test_every_function_has_its_trial(permitted: Trial) -> None:
    assert set(TRIALS) == set(permitted.stack.of_type("AWS::Lambda::Function"))


@pytest.mark.parametrize("function", sorted(TRIALS))
def test_with_all_its_permissions_a_function_does_everything_and_is_refused_nothing(
    permitted: Trial, function: str
) -> None:
    assert TRIALS[function](permitted) == []


@pytest.mark.parametrize("function", sorted(TRIALS))
def test_without_a_permission_that_it_needs_a_function_fails_its_trial(
    permitted: Trial, function: str
) -> None:
    """Take one statement out, which shows that a missing permission is noticed.

    ``make e2e-iam`` asks IAM about all of them.
    """
    statements = [*policy_statements(permitted.stack)]
    (statement,) = [
        candidate
        for candidate in statements
        if (candidate.function, str(candidate)) == (function, NEEDED[function])
    ]
    with without(permitted.stack, statement):
        missed = TRIALS[function](permitted)
    assert "nothing is refused" in missed
    assert len(missed) > 1
    assert [*policy_statements(permitted.stack)] == statements


def rows() -> list[tuple[str, str]]:
    """Return function and statement of each row of the published table."""
    table = (ROOT / "docs" / "permissions.md").read_text()
    assert "**nothing**" not in table
    return re.findall(r"^\| (\w+Function) \| ([^|]+) \|", table, re.MULTILINE)


def test_the_table_has_every_statement_that_is_deployed(permitted: Trial) -> None:
    assert {
        (statement.function, str(statement)) for statement in policy_statements(permitted.stack)
    } <= {*rows()}, "run `make e2e-iam`"


def test_the_table_has_every_statement_of_the_template_whatever_the_parameters(
    built: Build,
) -> None:
    assert template_sids(built) <= {statement.partition(":")[0] for _, statement in rows()}, (
        "add to VARIANTS, run `make e2e-iam`"
    )


def test_a_statement_that_nothing_misses_stands_out() -> None:
    (needless,) = [
        line for line in markdown([(STATEMENT, [])]).splitlines() if "PublishAlerts" in line
    ]
    assert needless.endswith("| **nothing** |")
    assert "PublishAlerts" not in NOT_MADE
