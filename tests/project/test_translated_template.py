"""The template that is really deployed: AWS's translation, with all conditions at once."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.permissions import NOT_MADE
from tests.helpers.sam_template import translated_resources

if TYPE_CHECKING:
    from collections.abc import Iterator


# A function's queue of what it failed at, and its alarms, where they are not called after it.
QUEUES = {"ClassifyS3": "FlowLogDeadLetterQueue", "EvaluateWindows": "SignalDeadLetterQueue"}
ALARMS = {
    "ClassifyS3": ("ClassifyS3ErrorAlarm", "FlowLogDeadLetterAlarm", "FlowLogAgeAlarm"),
    "EvaluateWindows": ("EvaluateWindowsErrorAlarm", "SignalDeadLetterAlarm", "SignalAgeAlarm"),
    "SweepAlerts": (
        "SweepAlertsErrorAlarm",
        "SweepAlertsDeadLetterAlarm",
        "SweepAlertsStoppedAlarm",
    ),
}
CHANNELS = ("NotifySlack", "NotifyTeams")
READERS = ("ClassifyS3", "ClassifyCloudWatchLogs")
JUDGES = ("EvaluateWindows", "SweepAlerts")
ANSWERS = ("SlackActions",)  # who waits is told at once, so nothing is kept
FUNCTIONS = (*READERS, *JUDGES, *CHANNELS, *ANSWERS)


@pytest.fixture(scope="session")
def resources() -> dict[str, dict[str, Any]]:
    return translated_resources()


def of_type(resources: dict[str, dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {
        name: resource["Properties"]
        for name, resource in resources.items()
        if resource["Type"] == kind
    }


def statements(value: object) -> Iterator[dict[str, Any]]:
    """Yield every statement of a policy document, whatever its conditions."""
    if isinstance(value, list):
        for entry in value:
            yield from statements(entry)
    elif isinstance(value, dict):
        if "Effect" in value:
            yield value
        else:
            yield from statements(value.get("Fn::If", [])[1:])


def listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def own_policies(resources: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return all statements of the policies of roles."""
    notifications = [
        policy["PolicyDocument"]
        for policy in of_type(resources, "AWS::IAM::ManagedPolicy").values()
    ]
    for role in of_type(resources, "AWS::IAM::Role").values():
        notifications += [policy["PolicyDocument"] for policy in role.get("Policies", [])]
    return [
        statement
        for notification in notifications
        for statement in statements(notification["Statement"])
    ]


def test_there_are_these_functions_and_no_other(resources: dict[str, dict[str, Any]]) -> None:
    assert sorted(of_type(resources, "AWS::Lambda::Function")) == sorted(
        f"{name}Function" for name in FUNCTIONS
    )


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_has_its_neighbours(resources: dict[str, dict[str, Any]], name: str) -> None:
    function = resources[f"{name}Function"]
    role, log_group = f"{name}Role", f"{name}LogGroup"
    assert function["Properties"]["Role"] == {"Fn::GetAtt": [role, "Arn"]}
    assert function["Properties"]["LoggingConfig"] == {"LogGroup": {"Ref": log_group}}
    errors = resources[f"{name}ErrorAlarm"]["Properties"]
    assert (errors["Namespace"], errors["MetricName"]) == ("AWS/Lambda", "Errors")
    assert errors["Dimensions"] == [{"Name": "FunctionName", "Value": {"Ref": f"{name}Function"}}]
    if name in ANSWERS:
        neighbours = (role, log_group, f"{name}FunctionUrl")
        assert {resources[each]["Condition"] for each in neighbours} == {function["Condition"]}
        return
    queue = QUEUES.get(name, f"{name}DeadLetterQueue")
    alarms = ALARMS.get(name, (f"{name}ErrorAlarm", f"{name}DeadLetterAlarm", f"{name}AgeAlarm"))
    assert {resources[neighbour].get("Condition") for neighbour in (role, log_group, queue)} == {
        function.get("Condition")
    }
    assert alarms[0] == f"{name}ErrorAlarm"
    letters, waiting = (resources[alarm]["Properties"] for alarm in alarms[1:])
    assert (letters["Namespace"], letters["MetricName"]) == (
        "AWS/SQS",
        "ApproximateNumberOfMessagesVisible",
    )
    assert letters["Dimensions"] == [
        {"Name": "QueueName", "Value": {"Fn::GetAtt": [queue, "QueueName"]}}
    ]
    assert waiting["MetricName"] in {
        "ApproximateAgeOfOldestMessage",
        "AsyncEventAge",
        "Invocations",
    }


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name not in ANSWERS])
def test_what_a_function_fails_at_is_kept(resources: dict[str, dict[str, Any]], name: str) -> None:
    arn = {"Fn::GetAtt": [QUEUES.get(name, f"{name}DeadLetterQueue"), "Arn"]}
    if name in QUEUES:
        queue = {"ClassifyS3": "FlowLogQueue", "EvaluateWindows": "SignalQueue"}[name]
        assert resources[queue]["Properties"]["RedrivePolicy"]["deadLetterTargetArn"] == arn
        return
    invocation = resources[f"{name}FunctionEventInvokeConfig"]["Properties"]
    assert invocation["DestinationConfig"]["OnFailure"]["Destination"] == arn
    (policy,) = resources[f"{name}Role"]["Properties"]["Policies"]
    allowed = statements(policy["PolicyDocument"]["Statement"])
    assert [
        statement["Resource"] for statement in allowed if statement["Action"] == "sqs:SendMessage"
    ] == [arn]


def test_every_alarm_tells_the_operators(resources: dict[str, dict[str, Any]]) -> None:
    made, existing = {"Ref": "OperatorTopic"}, {"Ref": "OperatorTopicArn"}
    topic = {"Fn::If": ["MakesOperatorTopic", made, existing]}
    for name, alarm in of_type(resources, "AWS::CloudWatch::Alarm").items():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [topic], name
        assert alarm["AlarmDescription"].endswith(f"Runbook: docs/operations.md#{name.lower()}"), (
            name
        )
        # Each metric of an alarm costs as much as an alarm.
        math = {metric["Id"] for metric in metrics_of(alarm)}
        assert ("Metrics" in alarm) == (name in MATH), name
        assert len(math) <= 4, name


# A share, and sums over functions and topics, which would be an alarm each.
MATH = {
    "ClassifyS3MalformedAlarm",
    "ClassifyCloudWatchLogsMalformedAlarm",
    "FailedEventsLostAlarm",
    "NotDeliveredAlarm",
}


def metrics_of(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the metrics that the expression of an alarm is made of, whatever the conditions."""
    parts = (
        metric["Fn::If"][1] if "Fn::If" in metric else metric for metric in alarm.get("Metrics", ())
    )
    return [part for part in parts if "MetricStat" in part]


def test_only_describe_actions_may_concern_everything(resources: dict[str, dict[str, Any]]) -> None:
    # The functions are denied what Lambda does for them in a VPC.
    found = [
        statement
        for statement in own_policies(resources)
        if statement["Sid"] != "AttachesNothingItself"
    ]
    assert len(found) > 20
    for statement in found:
        actions = listed(statement["Action"])
        assert not any("*" in action for action in actions), statement
        assert statement["Effect"] == "Allow"
        if "*" in listed(statement["Resource"]):
            traces = statement["Sid"] == "SendTraces" and all(
                action.startswith("xray:Put") for action in actions
            )
            assert traces or all(
                action.startswith(("ec2:Describe", "elasticloadbalancing:Describe"))
                for action in actions
            ), statement


def test_tracing_is_allowed_only_where_it_is_on(resources: dict[str, dict[str, Any]]) -> None:
    text = json.dumps(
        [role["Properties"] for role in resources.values() if role["Type"].startswith("AWS::IAM::")]
    )
    assert (
        text.count('"SendTraces"')
        == text.count('{"Fn::If": ["HasTracing", {"Sid": "SendTraces"')
        == 2 + len(CHANNELS) + len(ANSWERS)
    )


def test_no_role_has_a_policy_of_awss(resources: dict[str, dict[str, Any]]) -> None:
    for name, role in of_type(resources, "AWS::IAM::Role").items():
        own = [
            {"Ref": "ClassifyPolicy"},
            {"Ref": "JudgePolicy"},
            {"Ref": "EvidencePolicy"},
            {"Fn::If": ["HasVpc", {"Ref": "VpcPolicy"}, {"Ref": "AWS::NoValue"}]},
        ]
        attached = role.get("ManagedPolicyArns", [])
        if isinstance(attached, dict):
            assert attached == {
                "Fn::If": ["HasVpc", [{"Ref": "VpcPolicy"}], {"Ref": "AWS::NoValue"}]
            }
            continue
        assert [arn for arn in attached if arn not in own] == [], (
            f"{name}: AWS's policies say Resource *"
        )


def test_every_queue_topic_table_and_bucket_is_encrypted(
    resources: dict[str, dict[str, Any]],
) -> None:
    key, none = {"Ref": "EncryptionKeyArn"}, {"Ref": "AWS::NoValue"}
    for queue in of_type(resources, "AWS::SQS::Queue").values():
        assert queue["SqsManagedSseEnabled"] == {"Fn::If": ["HasKey", none, True]}
        assert queue["KmsMasterKeyId"] == {"Fn::If": ["HasKey", key, none]}
    for name, topic in of_type(resources, "AWS::SNS::Topic").items():
        # CloudWatch's alarms cannot publish to a topic under SNS's own key.
        otherwise = none if name == "OperatorTopic" else "alias/aws/sns"
        assert topic["KmsMasterKeyId"] == {"Fn::If": ["HasKey", key, otherwise]}
    for table in of_type(resources, "AWS::DynamoDB::Table").values():
        assert [choice["SSEEnabled"] for choice in table["SSESpecification"]["Fn::If"][1:]] == [
            True,
            True,
        ]
    for bucket in of_type(resources, "AWS::S3::Bucket").values():
        (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        condition, with_key, without = rule["Fn::If"]
        assert condition == "HasKey"
        assert with_key["ServerSideEncryptionByDefault"] == {
            "SSEAlgorithm": "aws:kms",
            "KMSMasterKeyID": key,
        }
        assert without == {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}


def test_no_bucket_is_public_or_reached_without_tls(resources: dict[str, dict[str, Any]]) -> None:
    buckets, policies = (
        of_type(resources, "AWS::S3::Bucket"),
        of_type(resources, "AWS::S3::BucketPolicy"),
    )
    assert set(buckets) == {"FlowLogBucket", "EvidenceBucket"}
    for name, bucket in buckets.items():
        assert bucket["PublicAccessBlockConfiguration"] == dict.fromkeys(
            ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"),
            True,
        )
        (policy,) = [policy for policy in policies.values() if policy["Bucket"] == {"Ref": name}]
        (denied,) = [
            statement
            for statement in statements(policy["PolicyDocument"]["Statement"])
            if statement["Effect"] == "Deny"
        ]
        assert (denied["Principal"], denied["Action"]) == ("*", "s3:*")
        assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        arn = {"Fn::GetAtt": [name, "Arn"]}
        assert denied["Resource"] == [arn, {"Fn::Sub": f"${{{name}.Arn}}/*"}]


def test_who_classifies_writes_the_evidence_and_who_judges_reads_it_and_nobody_else(
    resources: dict[str, dict[str, Any]],
) -> None:
    objects = {"Fn::Sub": "${EvidenceBucket.Arn}/evidence/*"}
    wanted = {
        "PutEvidence": ("s3:PutObject", objects, None),
        "ReadEvidence": ("s3:GetObject", objects, None),
        "ListEvidence": (
            "s3:ListBucket",
            {"Fn::GetAtt": ["EvidenceBucket", "Arn"]},
            {"StringLike": {"s3:prefix": "evidence/*"}},
        ),
        "WritePage": (
            ["s3:GetObject", "s3:PutObject"],
            {"Fn::Sub": "${EvidenceBucket.Arn}/pages/problems.html"},
            None,
        ),
    }
    for name in FUNCTIONS:
        found = {
            sid: (statement["Action"], statement["Resource"], statement.get("Condition"))
            for sid, statement in role_statements(resources, f"{name}Role").items()
            if "EvidenceBucket" in str(statement["Resource"])
        }
        bucket = resources[f"{name}Function"]["Properties"]["Environment"]["Variables"].get(
            "EVIDENCE_BUCKET"
        )
        # The sweep looks in the evidence whether traffic that was rejected is accepted by now.
        may = {"PutEvidence"} if name in READERS else {"ReadEvidence", "ListEvidence"}
        if name in {*CHANNELS, *ANSWERS}:
            may = set()
        if name == "SweepAlerts":
            may |= {"WritePage"}
        assert found == {sid: wanted[sid] for sid in may}
        assert bucket == ({"Ref": "EvidenceBucket"} if may else None)


def test_logs_expire_and_are_encrypted(resources: dict[str, dict[str, Any]]) -> None:
    for group in of_type(resources, "AWS::Logs::LogGroup").values():
        assert group["RetentionInDays"]["Fn::If"][2] == {"Ref": "LogRetentionDays"}
        assert group["KmsKeyId"] == {
            "Fn::If": ["HasKey", {"Ref": "EncryptionKeyArn"}, {"Ref": "AWS::NoValue"}]
        }
    # Each function's, and that of flow logs.
    assert len(of_type(resources, "AWS::Logs::LogGroup")) == len(FUNCTIONS) + 1


def test_only_what_reads_objects_or_evaluates_them_has_the_engine(
    resources: dict[str, dict[str, Any]],
) -> None:
    layers = of_type(resources, "AWS::Lambda::LayerVersion")
    description = {name: layer["Description"] for name, layer in layers.items()}
    assert len(description) == 3
    for name, function in of_type(resources, "AWS::Lambda::Function").items():
        found = [description[layer["Ref"]] for layer in function["Layers"]]
        engine = (
            ["What reads big objects fast, pinned with hashes"]
            if name in {"ClassifyS3Function", "EvaluateWindowsFunction"}
            else []
        )
        assert found == [
            "Third-party packages, pinned with hashes",
            "The flowverdict package",
            *engine,
        ]


REFERENCES = ("SLACK_TOKEN", "SLACK_WEBHOOK", "TEAMS_WEBHOOK", "SLACK_SIGNING_SECRET")


def test_no_secret_is_in_a_variable(resources: dict[str, dict[str, Any]]) -> None:
    for function in of_type(resources, "AWS::Lambda::Function").values():
        variables = function["Environment"]["Variables"]
        assert "{{resolve:" not in json.dumps(variables)
        strange = {
            name for name in variables if re.search("PASSWORD|SECRET|TOKEN|KEY|WEBHOOK", name)
        } - {*REFERENCES}
        assert strange == set()
        for name in REFERENCES:
            assert all(
                re.match(r"(secretsmanager|ssm):\$", place["Fn::Sub"])
                for place in choices(variables.get(name, ""))
            )


def choices(value: object) -> Iterator[Any]:
    """Yield what a value may be, whatever the conditions; not an empty text."""
    if isinstance(value, dict) and "Fn::If" in value:
        for choice in value["Fn::If"][1:]:
            yield from choices(choice)
    elif value:
        yield value


def test_numbers_of_functions_are_the_users_to_choose(resources: dict[str, dict[str, Any]]) -> None:
    for function in of_type(resources, "AWS::Lambda::Function").values():
        assert set(function["MemorySize"]) == set(function["Timeout"]) == {"Ref"}
        assert function["TracingConfig"] == {
            "Mode": {"Fn::If": ["HasTracing", "Active", "PassThrough"]}
        }
        assert function["Architectures"] == ["arm64"]


def role_statements(resources: dict[str, dict[str, Any]], role: str) -> dict[str, dict[str, Any]]:
    """Return the statements of a role and of its managed policy, by Sid."""
    properties = resources[role]["Properties"]
    notifications = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
    notifications += [
        resources[policy["Ref"]]["Properties"]["PolicyDocument"]
        for policy in properties.get("ManagedPolicyArns", [])
        if "Ref" in policy  # the one of a VPC is for Lambda
    ]
    return {
        statement["Sid"]: statement
        for notification in notifications
        for statement in statements(notification["Statement"])
    }


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_has_the_permissions_that_no_emulator_checks(
    resources: dict[str, dict[str, Any]], name: str
) -> None:
    """Each statement exists; in ``make e2e-iam`` nobody makes the calls that these are for."""
    found = role_statements(resources, f"{name}Role")
    key_and_traces = {
        "UseKey": {"kms:Decrypt", "kms:GenerateDataKey"},
        "SendTraces": {"xray:PutTelemetryRecords", "xray:PutTraceSegments"},
    }
    wanted = {"WriteLogs": {"logs:CreateLogStream", "logs:PutLogEvents"}, **key_and_traces}
    if name in QUEUES:
        wanted |= {
            "TakeFromQueue": {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"},
            "GiveBackSoon": {"sqs:ChangeMessageVisibility"},
        }
    elif name not in ANSWERS:
        wanted["KeepFailedEvents"] = {"sqs:SendMessage"}
    if name in ANSWERS:
        wanted["UseKey"] = {"kms:Decrypt"}
    if name == "ClassifyS3":
        wanted["TellMissingFromForbidden"] = {"s3:ListBucket"}
    if name in JUDGES:
        wanted["ReadPolicyConfiguration"] = {
            "appconfig:StartConfigurationSession",
            "appconfig:GetLatestConfiguration",
        }
        wanted["PublishToOwners"] = {"sns:Publish"}
    assert {sid: set(listed(found[sid]["Action"])) for sid in wanted} == wanted
    assert set(NOT_MADE) & set(found) == set(wanted)
    assert found["WriteLogs"]["Resource"] == {"Fn::GetAtt": [f"{name}LogGroup", "Arn"]}
    if "KeepFailedEvents" in wanted:
        assert found["KeepFailedEvents"]["Resource"] == {
            "Fn::GetAtt": [f"{name}DeadLetterQueue", "Arn"]
        }
