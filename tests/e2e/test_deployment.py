"""A stack as accounts with rules of their own ask for it, and a deployment that is only looked at.

The emulator stores neither the boundary of a role nor the VPC of a function: that the template asks
for both is held by ``tests/project/test_deployment.py``.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.e2e.contract import valid
from tests.e2e.emulator import ROOT, Place
from tests.e2e.samples import key, notification, scenario
from tests.e2e.stack import SamError, Stack
from tests.e2e.subscribers import subscribe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.e2e.emulator import Emulator
    from tests.e2e.stack import Build

BUCKETS = ("archive-one", "archive-two")
GROUPS = ("/archive/one", "/archive/two")
VPC_ID, NAT_ID = "vpc-0aaaaaaaaaaaaaaa1", "nat-0aaaaaaaaaaaaaaa1"


@pytest.fixture(scope="module")
def source_topic(aws: Emulator) -> str:
    return str(aws.place.client("sns").create_topic(Name="archive-objects")["TopicArn"])


@pytest.fixture(scope="module")
def parameters_of_account(aws: Emulator, source_topic: str) -> dict[str, str]:
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    boundary = aws.place.client("iam").create_policy(
        PolicyName="boundary",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [everything]}),
    )["Policy"]["Arn"]
    return {
        "Environment": "dev",
        "ExistingBucketName": ",".join(BUCKETS),
        "SourceTopicArns": source_topic,
        "FlowLogGroupName": ",".join(GROUPS),
        "FlowLogResourceId": f"{VPC_ID},{NAT_ID}",
        "FlowLogFields": "v5",
        "PermissionsBoundaryArn": boundary,
        "RolePath": "/network/",
        "RoleNamePrefix": "team",
        "SubnetIds": "subnet-01234567",
        "SecurityGroupIds": "sg-01234567",
        "OperatorTopicArn": source_topic,
        "Alarms": "yes",
    }


@pytest.fixture(scope="module")
def bounded(
    built: Build, aws: Emulator, parameters_of_account: Mapping[str, str]
) -> Iterator[Stack]:
    s3, logs = aws.place.client("s3"), aws.place.client("logs")
    for bucket in BUCKETS:
        s3.create_bucket(
            Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": aws.place.region}
        )
    for group in GROUPS:
        logs.create_log_group(logGroupName=group)
    s3.put_bucket_notification_configuration(
        Bucket=BUCKETS[1], NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    stack = Stack(build=built, place=aws.place, name="flowverdict-bounded")
    stack.deploy(parameters_of_account, "--tags", "Owner=network")
    yield stack
    for rule in stack.of_type("AWS::Events::Rule").values():
        aws.place.client("events").disable_rule(Name=rule)
    stack.delete()


def test_objects_that_a_topic_and_the_second_of_two_buckets_tell_of_are_read(
    bounded: Stack, source_topic: str
) -> None:
    place = bounded.place
    alerts = subscribe(place, bounded.outputs["AlertTopicArn"], "alerts-of-bounded")
    told_by_topic, told_by_rule = (key(place, f"bounded-{number}") for number in (1, 2))
    for bucket, name, log in (
        (BUCKETS[0], told_by_topic, "outbound-response"),
        (BUCKETS[1], told_by_rule, "outbound-request"),
    ):
        place.client("s3").put_object(
            Bucket=bucket, Key=name, Body=gzip.compress(scenario(log).encode())
        )
    (told,) = valid(alerts.take(1))
    assert (told["leg"], told["service_port"]) == ("request", 5432)

    sns = place.client("sns")
    sns.subscribe(
        TopicArn=source_topic, Protocol="sqs", Endpoint=bounded.outputs["FlowLogQueueArn"]
    )
    sns.publish(TopicArn=source_topic, Message=json.dumps(notification(BUCKETS[0], told_by_topic)))
    (told,) = valid(alerts.take(1))
    assert (told["leg"], told["service_port"]) == ("response", 443)


def test_both_log_groups_are_subscribed_to(bounded: Stack) -> None:
    logs = bounded.place.client("logs")
    destinations = {
        entry["destinationArn"].rpartition(":")[2]
        for group in GROUPS
        for entry in logs.describe_subscription_filters(logGroupName=group)["subscriptionFilters"]
    }
    assert destinations == {bounded.physical_id("ClassifyCloudWatchLogsFunction")}


def test_roles_lie_on_their_path_with_their_prefix_and_are_named_to_reader_roles(
    bounded: Stack,
) -> None:
    iam, region = bounded.place.client("iam"), bounded.place.region
    names = set(bounded.of_type("AWS::IAM::Role").values())
    assert names == {
        f"team-{region}-{name}"
        for name in ("sweep-alerts", "evaluate-windows", "classify-s3", "classify-logs")
    }
    arns = {iam.get_role(RoleName=name)["Role"]["Arn"].partition(":role/")[2] for name in names}
    assert arns == {f"network/{name}" for name in names}
    judging = {arn for arn in arns if not arn.partition("classify")[1]}
    assert set(bounded.outputs["FunctionRoleNames"].split(",")) == judging


def test_alarms_go_to_the_topic_that_exists_and_tags_to_the_stack(
    bounded: Stack, source_topic: str
) -> None:
    place = bounded.place
    alarms = place.client("cloudwatch").describe_alarms(
        AlarmNames=[*bounded.of_type("AWS::CloudWatch::Alarm").values()]
    )["MetricAlarms"]
    assert alarms
    assert {action for alarm in alarms for action in alarm["AlarmActions"]} == {source_topic}
    assert bounded.outputs["OperatorTopicArn"] == source_topic
    # Alarms were asked for; the dashboard is as the environment dev has it.
    assert bounded.of_type("AWS::CloudWatch::Dashboard") == {}
    (found,) = place.client("cloudformation").describe_stacks(StackName=bounded.name)["Stacks"]
    assert {"Key": "Owner", "Value": "network"} in found["Tags"]


def test_a_flow_log_is_not_replaced_in_its_place_but_into_another_folder(
    bounded: Stack, aws: Emulator, parameters_of_account: dict[str, str]
) -> None:
    before = aws.kept("AWS::EC2::FlowLog", bounded.name)
    assert {log["ResourceType"] for log in before} == {"VPC", "RegionalNatGateway"}
    changed = parameters_of_account | {"FlowLogFields": "all"}
    with pytest.raises(SamError):
        bounded.deploy(changed)
    events = bounded.place.client("cloudformation").describe_stack_events(StackName=bounded.name)
    assert any(
        "existing Flow Log with the same configuration" in event.get("ResourceStatusReason", "")
        for event in events["StackEvents"]
    )
    assert aws.kept("AWS::EC2::FlowLog", bounded.name) == before, "the update was rolled back"

    bounded.deploy(changed | {"FlowLogFolder": "second"})

    after = aws.kept("AWS::EC2::FlowLog", bounded.name)
    assert all("${interface-type}" in log["LogFormat"] for log in after)
    bucket = bounded.outputs["FlowLogBucketArn"]
    assert {log["LogDestination"] for log in after} == {f"{bucket}/second/"}


def test_an_environment_is_kept_whatever_else_the_command_line_says(
    built: Build, aws: Emulator
) -> None:
    """Look at a deployment without making it."""
    stack = Stack(build=built, place=aws.place, name="flowverdict-looked-at")
    stack.deploy({"Environment": "dev", "MessagesPerHour": "7"}, "--no-execute-changeset")

    cloudformation = aws.place.client("cloudformation")
    (change_set,) = cloudformation.list_change_sets(StackName=stack.name)["Summaries"]
    found = cloudformation.describe_change_set(ChangeSetName=change_set["ChangeSetId"])
    given = {entry["ParameterKey"]: entry["ParameterValue"] for entry in found["Parameters"]}
    assert (given["Environment"], given["MessagesPerHour"]) == ("dev", "7")
    cloudformation.delete_stack(StackName=stack.name)


# --- who deploys ----------------------------------------------------------------------------------

POLICY: Final[dict[str, Any]] = json.loads((ROOT / "docs" / "deployer-policy.json").read_text())


@dataclass(frozen=True, slots=True, kw_only=True)
class UsersPlace(Place):
    """A place where the SAM CLI works with a user's keys; clients stay the account's."""

    access_key: str
    secret_key: str

    def environment(self) -> dict[str, str]:
        return Place.environment(self) | {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
        }


def deployer(place: Place, name: str, *, without: str | None = None) -> UsersPlace:
    """Return the place of a new user that has the documented policy, less one statement."""
    statements = [entry for entry in POLICY["Statement"] if entry["Sid"] != without]
    iam = place.client("iam")
    iam.create_user(UserName=name)
    iam.put_user_policy(
        UserName=name,
        PolicyName="deploy",
        PolicyDocument=json.dumps(POLICY | {"Statement": statements}),
    )
    made = iam.create_access_key(UserName=name)["AccessKey"]
    return UsersPlace(
        url=place.url,
        account_id=place.account_id,
        region=place.region,
        certificate=place.certificate,
        access_key=made["AccessKeyId"],
        secret_key=made["SecretAccessKey"],
    )


def test_the_documented_policy_deploys_and_deletes_a_stack(built: Build, aws: Emulator) -> None:
    """The emulator checks the SAM CLI's calls.

    What CloudFormation does with the user's permissions is held by the schemas of AWS's handlers,
    in ``tests/project/test_deployer_policy.py``.
    """
    stack = Stack(
        build=built, place=deployer(aws.place, "deployer"), name="flowverdict-by-a-deployer"
    )
    stack.deploy({"Environment": "dev"})
    assert "SweepAlertsFunction" in stack.of_type("AWS::Lambda::Function")
    for rule in stack.of_type("AWS::Events::Rule").values():
        aws.place.client("events").disable_rule(Name=rule)
    stack.delete()


@pytest.mark.parametrize("statement", ["DeployStack", "UploadCode"])
def test_without_a_statement_for_the_sam_cli_nothing_is_deployed(
    built: Build, aws: Emulator, statement: str
) -> None:
    place = deployer(aws.place, f"without-{statement}", without=statement)
    stack = Stack(build=built, place=place, name=f"flowverdict-{statement.lower()}")
    with pytest.raises(SamError, match=r"(?i)denied|not authorized|forbidden"):
        stack.deploy({"Environment": "dev"}, "--no-execute-changeset")
