"""Where one account ends and another begins, as the templates have it."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.helpers.evaluated_template import Evaluated
from tests.helpers.sam_template import read_template

ROOT = Path(__file__).parents[2]
TEMPLATE, READER = (
    read_template(ROOT / name) for name in ("template.yaml", "templates/reader-role.yaml")
)
OWN, OTHER, THIRD, STRANGER = "123456789012", "111122223333", "444455556666", "999999999999"
DELIVERING = {"DeliveringAccounts": f"{OTHER},{THIRD}"}


def test_deliveries_come_from_named_accounts_only() -> None:
    evaluated = Evaluated(TEMPLATE, DELIVERING)
    own, of_others, check, tls = evaluated.properties("FlowLogBucketPolicy")["PolicyDocument"][
        "Statement"
    ]
    assert [
        statement["Condition"]["StringEquals"]["aws:SourceAccount"]
        for statement in (own, of_others, check)
    ] == [OWN, [OTHER, THIRD], [OWN, OTHER, THIRD]]
    assert (tls["Effect"], tls["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


@pytest.mark.parametrize(
    ("account", "key", "may"),
    [
        (OWN, f"AWSLogs/{OWN}/vpcflowlogs/x", True),
        (OWN, f"second/AWSLogs/{OWN}/vpcflowlogs/x", True),
        (OWN, f"AWSLogs/aws-account-id={OWN}/aws-service=vpcflowlogs/x", True),
        (OWN, f"AWSLogs/{OTHER}/vpcflowlogs/x", False),
        (OTHER, f"AWSLogs/{OTHER}/vpcflowlogs/x", True),
        (OTHER, f"second/AWSLogs/{OTHER}/vpcflowlogs/x", True),
        (OTHER, f"AWSLogs/aws-account-id={OTHER}/service=vpcflowlogs/x", True),
        (OTHER, f"AWSLogs/{OWN}/vpcflowlogs/x", False),
        (OTHER, f"AWSLogs/{THIRD}/vpcflowlogs/x", False),
        (OTHER, f"AWSLogs/aws-account-id={OWN}/aws-service=vpcflowlogs/x", False),
        (OTHER, f"{OTHER}_vpcflowlogs_eu-west-1_fl-0a1b_x", False),
        (OTHER, f"cloudwatch-logs/{OWN}/eu-west-1/x", False),
        (STRANGER, f"AWSLogs/{STRANGER}/vpcflowlogs/x", False),
    ],
)
def test_each_account_delivers_below_its_own_id_alone(account: str, key: str, *, may: bool) -> None:
    """IAM puts the account on whose behalf AWS delivers in place of ``${aws:SourceAccount}``."""
    evaluated = Evaluated(TEMPLATE, DELIVERING)
    statements = evaluated.properties("FlowLogBucketPolicy")["PolicyDocument"]["Statement"]
    assert may is any(
        statement["Effect"] == "Allow"
        and statement["Action"] == "s3:PutObject"
        and account in str(statement["Condition"]["StringEquals"]["aws:SourceAccount"])
        and any(
            fnmatchcase(
                f"${{FlowLogBucket.Arn}}/{key}", resource.replace("${aws:SourceAccount}", account)
            )
            for resource in statement["Resource"]
        )
        for statement in statements
    )


def test_without_delivering_accounts_nobody_else_may_write() -> None:
    statements = Evaluated(TEMPLATE, {}).properties("FlowLogBucketPolicy")["PolicyDocument"][
        "Statement"
    ]
    assert [statement["Sid"] for statement in statements] == [
        "AWSLogDeliveryWrite",
        "AWSLogDeliveryAclCheck",
        "OnlyOverTls",
    ]


@pytest.mark.parametrize("organization", ["", "o-a1b2c3d4e5"])
def test_iam_refuses_the_roles_of_accounts_outside_the_organization(organization: str) -> None:
    given = {"ReaderRoleName": "reader", "OrganizationId": organization}
    statements = Evaluated(TEMPLATE, given).properties("JudgePolicy")["PolicyDocument"]["Statement"]
    (assume,) = [each for each in statements if each["Action"] == "sts:AssumeRole"]
    assert assume.get("Condition") == (
        {"StringEquals": {"aws:ResourceOrgID": organization}} if organization else None
    )


def test_a_reader_role_trusts_the_stacks_own_roles_by_default() -> None:
    """Of a stack with the name that ``samconfig.toml`` gives; no other role of that account."""
    default = READER["Parameters"]["TrustedRoles"]["Default"]
    given = {"TrustedRoles": default, "TrustedAccountId": OWN}
    (trust,) = READER["Resources"]["ReaderRole"]["Properties"]["AssumeRolePolicyDocument"][
        "Statement"
    ]
    (patterns,) = Evaluated(READER, given).value(trust["Condition"]["ArnLike"]).values()
    (stack,) = re.findall(
        r'^stack_name = "(.*)"$', (ROOT / "samconfig.toml").read_text(), re.MULTILINE
    )
    reading = {"SweepAlertsRole", "EvaluateWindowsRole"}
    for role in [name for name in TEMPLATE["Resources"] if name.endswith("Role")]:
        arn = f"arn:aws:iam::{OWN}:role/{stack}-{role}-1A2B3C4D5E6F"
        assert any(fnmatchcase(arn, pattern) for pattern in patterns) is (role in reading)
    assert not any(fnmatchcase(f"arn:aws:iam::{OWN}:role/admin", pattern) for pattern in patterns)
