"""Where a stack's records come from, by the parameters that it is deployed with."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.evaluated_template import Evaluated
from tests.helpers.sam_template import read_template

TEMPLATE = read_template(Path(__file__).parents[2] / "template.yaml")
PARAMETERS: dict[str, dict[str, Any]] = TEMPLATE["Parameters"]


def stack(**given: str) -> Evaluated:
    """Return the template for a stack in eu-west-1 with these parameters."""
    return Evaluated(TEMPLATE, given)


# --- flow logs that the stack makes ---------------------------------------------------------------

RESOURCES_OF_EC2 = {
    "vpc-01234567": "VPC",
    "subnet-01234567": "Subnet",
    "eni-01234567": "NetworkInterface",
    "tgw-01234567": "TransitGateway",
    "nat-0123456789abcdef0": "RegionalNatGateway",
}


def flow_logs(evaluated: Evaluated) -> list[dict[str, Any]]:
    return [
        resource["Properties"]
        for resource in evaluated.resources.values()
        if resource["Type"] == "AWS::EC2::FlowLog"
    ]


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("turn", range(5))
def test_each_of_several_resources_has_a_flow_log_of_its_type(number: int, turn: int) -> None:
    ids = [*RESOURCES_OF_EC2][turn:] + [*RESOURCES_OF_EC2][:turn]
    found = flow_logs(stack(FlowLogResourceId=",".join(ids[:number])))
    assert {log["ResourceId"]: log["ResourceType"] for log in found} == {
        resource_id: RESOURCES_OF_EC2[resource_id] for resource_id in ids[:number]
    }
    for log in found:
        of_vpc = log["ResourceType"] != "TransitGateway"  # which takes neither of these
        assert ("TrafficType" in log, "LogFormat" in log) == (of_vpc, of_vpc)
        assert log["LogDestination"] == {"GetAtt": "FlowLogBucket.Arn"}


def test_the_first_flow_log_keeps_its_name_in_the_stack() -> None:
    """Another logical id would replace it, and EC2 refuses the second of the same destination."""
    for resource_id, name in (
        ("vpc-01234567", "FlowLog"),
        ("tgw-01234567", "TransitGatewayFlowLog"),
    ):
        assert name in stack(FlowLogResourceId=f"{resource_id},vpc-89abcdef").resources


# The version that brought a field: https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html
LATER_FIELDS = {
    "all": {"reject-reason", "resource-id", "interface-type"},
    "v10": {"reject-reason", "resource-id"},
    "v5": set(),
}


@pytest.mark.parametrize("fields", PARAMETERS["FlowLogFields"]["AllowedValues"])
def test_a_flow_log_has_the_fields_that_its_region_has(fields: str) -> None:
    formats = {
        name: set(re.findall(r"\$\{([a-z-]+)\}", log["LogFormat"]))
        for name in ("all", fields)
        for log in flow_logs(stack(FlowLogResourceId="vpc-01234567", FlowLogFields=name))
    }
    assert formats["all"] - formats[fields] == LATER_FIELDS["all"] - LATER_FIELDS[fields]
    assert formats[fields] < formats["all"] or fields == "all"


def test_fields_of_ones_own_are_taken_as_they_are() -> None:
    own = "${srcaddr} ${dstaddr} ${action} ${ecs-task-id}"
    assert re.fullmatch(PARAMETERS["FlowLogOwnFields"]["AllowedPattern"], own)
    given = {"FlowLogOwnFields": own, "FlowLogResourceId": "vpc-01234567,eni-01234567"}
    assert [log["LogFormat"] for log in flow_logs(stack(**given))] == [own, own]


def test_another_folder_lets_a_flow_log_be_replaced() -> None:
    """EC2 refuses two flow logs of one resource, traffic and destination."""
    found = flow_logs(stack(FlowLogResourceId="vpc-01234567,tgw-01234567", FlowLogFolder="second"))
    assert [log["LogDestination"] for log in found] == ["${FlowLogBucket.Arn}/second/"] * 2
    assert not re.fullmatch(PARAMETERS["FlowLogFolder"]["AllowedPattern"], "AWSLogs/x")


def test_flow_logs_go_into_a_log_group_of_the_stack_with_a_role_that_delivers() -> None:
    evaluated = stack(
        FlowLogResourceId="vpc-01234567,tgw-01234567", FlowLogDestination="cloud-watch-logs"
    )
    for log in flow_logs(evaluated):
        assert log["LogDestinationType"] == "cloud-watch-logs"
        assert log["LogGroupName"] == {"Ref": "FlowLogGroup"}
        assert log["DeliverLogsPermissionArn"] == {"GetAtt": "FlowLogDeliveryRole.Arn"}
        assert {"LogDestination", "DestinationOptions"} & set(log) == set()
    (trust,) = evaluated.properties("FlowLogDeliveryRole")["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "vpc-flow-logs.amazonaws.com"}
    assert trust["Condition"]["StringEquals"] == {"aws:SourceAccount": "123456789012"}
    function = evaluated.properties("ClassifyCloudWatchLogsFunction")
    source = function["Events"]["FlowLogs"]["Properties"]
    assert source == {"LogGroupName": {"Ref": "FlowLogGroup"}, "FilterPattern": ""}
    assert "FlowLogDeliveryRole" not in stack(FlowLogResourceId="vpc-01234567").resources


def test_the_bucket_has_awss_own_statements_so_that_none_is_added_beside_them() -> None:
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/AWS-logs-infrastructure-V2-S3.html"""
    document = stack().properties("FlowLogBucketPolicy")["PolicyDocument"]
    write, check, _ = document["Statement"]
    assert (write["Sid"], write["Action"]) == ("AWSLogDeliveryWrite", "s3:PutObject")
    assert (check["Sid"], check["Action"]) == (
        "AWSLogDeliveryAclCheck",
        ["s3:GetBucketAcl", "s3:ListBucket"],
    )
    for statement in (write, check):
        assert statement["Principal"] == {"Service": "delivery.logs.amazonaws.com"}
        assert statement["Condition"]["StringEquals"]["aws:SourceAccount"] == "123456789012"
        assert statement["Condition"]["ArnLike"] == {"aws:SourceArn": "arn:aws:logs:*:*:*"}
    assert write["Condition"]["StringEquals"]["s3:x-amz-acl"] == "bucket-owner-full-control"


# --- what exists already --------------------------------------------------------------------------


def role_statement(evaluated: Evaluated, role: str, sid: str) -> dict[str, Any]:
    (policy,) = evaluated.properties(role)["Policies"]
    (found,) = [
        statement for statement in policy["PolicyDocument"]["Statement"] if statement["Sid"] == sid
    ]
    return dict(found)


@pytest.mark.parametrize("number", range(1, 6))
def test_several_existing_buckets_are_heard_and_read(number: int) -> None:
    names = [f"bucket-{index}" for index in range(number)]
    evaluated = stack(
        OwnBucket="no", ExistingBucketName=",".join(names), ExistingBucketPrefix="AWSLogs/"
    )
    pattern = evaluated.properties("ExistingBucketRule")["EventPattern"]
    assert pattern["detail"]["bucket"] == {"name": names}
    arns = [f"arn:aws:s3:::{name}" for name in names]
    read = role_statement(evaluated, "ClassifyS3Role", "ReadFlowLogs")
    assert read["Resource"] == [f"{arn}/AWSLogs/*" for arn in arns]
    seen = role_statement(evaluated, "ClassifyS3Role", "TellMissingFromForbidden")
    assert seen["Resource"] == arns


@pytest.mark.parametrize("number", range(1, 6))
@pytest.mark.parametrize("own", [False, True])
def test_several_log_groups_are_subscribed_to(number: int, own: bool) -> None:  # noqa: FBT001 - a parameter
    names = [f"/flow/{index}" for index in range(number)]
    made = {"FlowLogResourceId": "vpc-01234567", "FlowLogDestination": "cloud-watch-logs"}
    evaluated = stack(FlowLogGroupName=",".join(names), **(made if own else {}))
    function = evaluated.properties("ClassifyCloudWatchLogsFunction")
    filters = [
        function["Events"]["FlowLogs"]["Properties"],
        *(
            resource["Properties"]
            for resource in evaluated.resources.values()
            if resource["Type"] == "AWS::Logs::SubscriptionFilter"
        ),
    ]
    subscribed = [entry["LogGroupName"] for entry in filters]
    assert sorted(map(str, subscribed)) == sorted(
        map(str, [*names, *([{"Ref": "FlowLogGroup"}] if own else [])])
    )
    assert {entry["FilterPattern"] for entry in filters} == {""}
    several = len(filters) > 1
    assert ("MoreGroupsPermission" in evaluated.resources) == several
    query = evaluated.properties("RejectedRecordsQuery")
    assert query["LogGroupNames"] == names


def queue_statements(**given: str) -> dict[str, dict[str, Any]]:
    document = stack(**given).properties("FlowLogQueuePolicy")["PolicyDocument"]
    return {statement["Sid"]: statement for statement in document["Statement"]}


def test_a_bucket_of_another_account_and_a_topic_may_send_to_the_queue_if_they_are_named() -> None:
    assert set(queue_statements()) == {"BucketsOfThisAccountNotify"}
    topics = [f"arn:aws:sns:eu-west-1:{account}:objects" for account in (2 * "345678", 12 * "1")]
    found = queue_statements(
        OwnBucket="no",
        ExistingBucketName="central",
        ExistingBucketAccounts="345678345678,111111111111",
        SourceTopicArns=",".join(topics),
    )
    bucket, topic = found["BucketsOfOtherAccountsNotify"], found["TopicsNotify"]
    assert bucket["Principal"] == {"Service": "s3.amazonaws.com"}
    assert bucket["Condition"]["StringEquals"] == {
        "aws:SourceAccount": ["345678345678", "111111111111"]
    }
    assert topic["Principal"] == {"Service": "sns.amazonaws.com"}
    assert topic["Condition"] == {"ArnEquals": {"aws:SourceArn": topics}}
    assert {"FlowLogQueueArn", "ClassifyS3RoleArn"} <= set(stack().outputs)
