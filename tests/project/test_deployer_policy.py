"""The policy of whoever deploys, against what AWS's own handlers of the resource types ask for.

cfn-lint has a copy of the schemas of the CloudFormation registry; each names the permissions that
CloudFormation uses with the credentials of whoever deploys.
"""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.helpers.sam_template import translated_resources

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
POLICY: dict[str, Any] = json.loads((ROOT / "docs" / "deployer-policy.json").read_text())
HANDLERS: Final = ("create", "read", "update", "delete")
# The AWS SAM CLI's own calls: the stack, and the bucket that it uploads code to.
OF_SAM: Final = {"DeployStack", "TransformTemplate", "ReadTemplates", "UploadCode"}
INLINE_CHARACTERS: Final = 10_240  # of a role, without white space; IAM's quota

# What a handler asks for properties that no resource of the template has.
NOT_USED: Final = {
    "another resource type does it": ["iam:Attach*Policy", "iam:Detach*Policy", "sns:*ubscribe"],
    "of every type: a role that the service assumes": ["iam:GetRole", "iam:PassRole"],
    "EncryptionKeyArn, of which docs/operations.md says what it needs": ["kms:*"],
    "of DynamoDB: replicas, imports, streams, resource policies, backups": [
        *("dynamodb:*Item", "dynamodb:*TableReplica", "dynamodb:DescribeImport"),
        *("dynamodb:ImportTable", "dynamodb:*able*KinesisStreamingDestination"),
        *("dynamodb:UpdateKinesisStreamingDestination", "dynamodb:PutResourcePolicy"),
        *("dynamodb:DeleteResourcePolicy", "dynamodb:UpdateContinuousBackups", "dynamodb:Query"),
        *("dynamodb:UpdateContributorInsights", "dynamodb:Scan", "kinesis:*", "s3:GetObject*"),
        *("logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"),
    ],
    "of flow logs: tags of others, delivery to Firehose": [
        *("autoscaling:DescribeTags", "iam:CreateServiceLinkedRole"),
    ],
    "of functions: file systems, code signing, versions, capacity providers": [
        *("elasticfilesystem:*", "s3files:*", "lambda:*CodeSigningConfig", "lambda:PublishVersion"),
        *("lambda:PassCapacityProvider", "lambda:PutFunctionScalingConfig"),
        *("lambda:PutFunctionRecursionConfig", "lambda:PutRuntimeManagementConfig"),
        "lambda:AssociateRuntimeAlias",
    ],
    "of log groups: data protection, indexes, deliveries, tokens": [
        *(
            "firehose:*",
            "logs:*DataProtectionPolicy",
            "logs:*IndexPolicy",
            "logs:PutResourcePolicy",
        ),
        *("logs:DeleteResourcePolicy", "logs:PutBearerTokenAuthentication", "s3:REST.PUT.OBJECT"),
        "logs:PutLogGroupDeletionProtection",
    ],
    "of buckets: everything but encryption, expiry, notifications, public access": [
        *("s3tables:*", "s3:*MetadataTableConfiguration", "s3:UpdateBucketMetadata*"),
        *("s3:Put*Configuration", "s3:Delete*", "s3:PutBucket*", "s3:PutObjectAcl"),
    ],
    "of topics": ["sns:PutDataProtectionPolicy"],
}


@pytest.fixture(scope="session")
def resources() -> dict[str, dict[str, Any]]:
    return translated_resources()


@cache
def schemas() -> Path:
    (folder,) = ROOT.glob(".venv-sam/lib/python3*/site-packages/cfnlint/data/schemas")
    return folder


def handler_permissions(kind: str) -> set[str]:
    index = json.loads((schemas() / "providers" / "us-east-1.json").read_text())
    schema = json.loads((schemas() / "resources" / f"{index[kind]}.json").read_text())
    return {
        permission
        for handler in HANDLERS
        for permission in schema["handlers"].get(handler, {}).get("permissions", [])
    }


def actions(*, of_sam: bool) -> Iterator[str]:
    for statement in POLICY["Statement"]:
        if (statement["Sid"] in OF_SAM) == of_sam:
            yield from statement["Action"]


def test_the_deployer_may_do_all_that_the_resources_of_the_template_need(
    resources: dict[str, dict[str, Any]],
) -> None:
    allowed = set(actions(of_sam=False))
    unused = [pattern for patterns in NOT_USED.values() for pattern in patterns]
    for kind in sorted({resource["Type"] for resource in resources.values()}):
        missing = {
            permission
            for permission in handler_permissions(kind) - allowed
            if not any(fnmatchcase(permission, pattern) for pattern in unused)
        }
        assert missing == set(), kind


# Of each property that the buckets have; the list of what is not used cannot hide these.
BUCKET_PROPERTIES: Final = {
    "BucketEncryption": "s3:PutEncryptionConfiguration",
    "LifecycleConfiguration": "s3:PutLifecycleConfiguration",
    "NotificationConfiguration": "s3:PutBucketNotification",
    "PublicAccessBlockConfiguration": "s3:PutBucketPublicAccessBlock",
}


def test_the_deployer_may_set_every_property_of_the_buckets(
    resources: dict[str, dict[str, Any]],
) -> None:
    used = {
        name
        for resource in resources.values()
        if resource["Type"] == "AWS::S3::Bucket"
        for name in resource["Properties"]
    }
    assert used == set(BUCKET_PROPERTIES)
    assert set(BUCKET_PROPERTIES.values()) <= set(actions(of_sam=False))


def test_the_deployer_may_do_nothing_that_no_resource_needs(
    resources: dict[str, dict[str, Any]],
) -> None:
    needed: set[str] = set()
    for kind in {resource["Type"] for resource in resources.values()}:
        needed |= handler_permissions(kind)
    assert set(actions(of_sam=False)) - needed == set()
    assert not [action for action in actions(of_sam=True) if "*" in action]


def test_no_permission_concerns_other_stacks_where_aws_lets_it_be_narrowed() -> None:
    for statement in POLICY["Statement"]:
        of_everything = statement["Resource"] == "*"
        assert of_everything == (
            statement["Sid"]
            in {
                *("ReadTemplates", "ReadNetwork", "LogDeliveries", "EventSources"),
                *("ReadLogGroups", "Queries"),
            }
        ), statement["Sid"]
    (passing,) = [part for part in POLICY["Statement"] if "iam:PassRole" in part["Action"]]
    assert set(passing["Condition"]["StringEquals"]) == {"iam:PassedToService"}


def test_flow_logs_can_be_made_and_the_policy_fits_a_role() -> None:
    assert {"logs:CreateLogDelivery", "logs:DeleteLogDelivery", "ec2:CreateFlowLogs"} <= set(
        actions(of_sam=False)
    )
    assert len(json.dumps(POLICY, separators=(",", ":"))) <= INLINE_CHARACTERS
    assert "deployer-policy.json" in (ROOT / "docs" / "operations.md").read_text()
