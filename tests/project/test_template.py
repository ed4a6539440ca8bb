"""The promises of the SAM templates, read from the templates themselves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from flowverdict.alerts.model import Severity
from flowverdict.app.flow_log_queue import SOON_RECEIVES
from flowverdict.app.settings import MESSAGES_PER_HOUR, Settings
from flowverdict.flowlog.columnar import WINDOW
from flowverdict.flowlog.object_key import Origin, origin_of, why_foreign
from flowverdict.flowlog.records import RecordFormat
from flowverdict.lifecycle.dynamodb_source_items import KEPT
from flowverdict.lifecycle.intervals import HOUR, Intervals
from flowverdict_cli.local_stack import TABLE
from tests.helpers.evaluated_template import Evaluated
from tests.helpers.sam_template import read_template

ROOT = Path(__file__).parents[2]
NAMES = ("template.yaml", "templates/reader-role.yaml")
TEMPLATE, READER = (read_template(ROOT / name) for name in NAMES)
TEXTS = {name: (ROOT / name).read_text() for name in NAMES}
PARAMETERS: dict[str, dict[str, Any]] = TEMPLATE["Parameters"]
RESOURCES: dict[str, dict[str, Any]] = TEMPLATE["Resources"]


def of_type(kind: str) -> dict[str, dict[str, Any]]:
    return {
        name: resource["Properties"]
        for name, resource in RESOURCES.items()
        if resource["Type"] == kind
    }


FUNCTIONS = of_type("AWS::Serverless::Function")


# --- parameters and rules -------------------------------------------------------------------------


@pytest.mark.parametrize("template", [TEMPLATE, READER], ids=list(TEXTS))
def test_every_parameter_is_explained_bounded_and_in_a_group(template: dict[str, Any]) -> None:
    for name, parameter in template["Parameters"].items():
        assert parameter["Description"], name
        assert {"AllowedValues", "AllowedPattern", "MinValue"} & set(parameter), name
        assert "AllowedPattern" not in parameter or parameter["ConstraintDescription"].startswith(
            "must be"
        ), name
        assert (
            parameter["Type"] != "Number"
            or "AllowedValues" in parameter
            or parameter["MinValue"] < parameter["MaxValue"]
        ), name
    grouped = [
        name
        for group in template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
        for name in group["Parameters"]
    ]
    assert sorted(grouped) == sorted(template["Parameters"])


def test_a_stack_can_be_made_with_every_answer_left_as_it_is() -> None:
    for name, parameter in PARAMETERS.items():
        default = parameter["Default"]
        assert re.fullmatch(parameter.get("AllowedPattern", ".*"), str(default)), name
        assert default in parameter.get("AllowedValues", [default]), name
        if "MinValue" in parameter:
            assert parameter["MinValue"] <= default <= parameter["MaxValue"], name


@pytest.mark.parametrize(
    ("parameter", "good", "bad"),
    [
        (
            "AlertEmail",
            ["", "ops@example.com"],
            ["ops", "ops@example", "a b@example.com", "@example.com"],
        ),
        (
            "SlackWebhookSecretArn",
            ["", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:slack-AbCdEf"],
            [
                "http://hooks.slack.com/services/T/B/X",
                "https://hooks.slack.com/services/T/B/X",
                "slack",
            ],
        ),
        (
            "SlackWebhookParameter",
            ["", "/flowverdict/slack"],
            ["flowverdict/slack", "https://hooks.slack.com/services/T/B/X"],
        ),
        (
            "TeamsWebhookSecretArn",
            ["", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:teams-AbCdEf"],
            ["https://x.api.powerplatform.com/workflows/x?sig=y", "teams"],
        ),
        (
            "TeamsWebhookParameter",
            ["", "/flowverdict/teams"],
            ["flowverdict/teams", "https://x.api.powerplatform.com/workflows/x?sig=y"],
        ),
        (
            "DeliveringAccounts",
            ["", "123456789012", "123456789012,210987654321"],
            ["12345", "123456789012, 210987654321", "*"],
        ),
        (
            "FlowLogResourceId",
            [
                "",
                "vpc-0123456789abcdef0",
                "subnet-01234567",
                "eni-0123456789abcdef0",
                "tgw-01234567",
                "vpc-01234567,nat-0123456789abcdef0",
            ],
            [
                "vpc-01234567, vpc-01234568",
                "i-0123456789abcdef0",
                "vpc-",
                "vpc-0123456789abcdefg",
                "tgw-attach-01234567",
            ],
        ),
        (
            "ExistingBucketName",
            ["", "central-flow-logs", "one,two"],
            ["one, two", "arn:aws:s3:::central", "Central", "a"],
        ),
        ("ExistingBucketPrefix", ["", "AWSLogs/123456789012/"], ["*", "AWSLogs/?"]),
        ("ExistingBucketRegion", ["", "eu-west-1", "us-gov-west-1"], ["Ireland", "eu-west"]),
        (
            "EncryptionKeyArn",
            ["", "arn:aws:kms:eu-west-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef"],
            [
                "alias/flowverdict",
                "01234567-89ab-cdef-0123-456789abcdef",
                "arn:aws:kms:eu-west-1:123456789012:alias/x",
            ],
        ),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_pattern(
    parameter: str, good: list[str], bad: list[str]
) -> None:
    pattern = re.compile(PARAMETERS[parameter]["AllowedPattern"])
    assert [text for text in good if not pattern.fullmatch(text)] == []
    assert [text for text in bad if pattern.fullmatch(text)] == []


def stack(**given: str) -> Evaluated:
    """Return the template for a stack in eu-west-1 with these parameters."""
    return Evaluated(TEMPLATE, given)


@pytest.mark.parametrize(
    ("changed", "by"),
    [
        ({}, set()),
        ({"OwnBucket": "no"}, {"SomeSource"}),
        ({"OwnBucket": "no", "FlowLogGroupName": "/vpc/flow-logs"}, set()),
        ({"OwnBucket": "no", "ExistingBucketName": "central"}, set()),
        (
            {"ExistingBucketName": "central", "FlowLogGroupName": "/vpc/flow-logs"},
            set(),
        ),  # several at once
        ({"ExistingBucketName": "central", "ExistingBucketRegion": "eu-west-1"}, set()),
        (
            {"ExistingBucketName": "central", "ExistingBucketRegion": "us-east-1"},
            {"ExistingBucketIsHere"},
        ),
        ({"ExistingBucketRegion": "eu-west-1"}, {"ExistingBucketIsHere"}),
        ({"ExistingBucketPrefix": "AWSLogs/"}, {"ExistingBucketIsNamed"}),
        ({"FlowLogResourceId": "vpc-01234567"}, set()),
        (
            {
                "FlowLogResourceId": "vpc-01234567",
                "OwnBucket": "no",
                "ExistingBucketName": "central",
            },
            {"FlowLogNeedsOwnBucket"},
        ),
        (
            {"DeliveringAccounts": "123456789012", "OwnBucket": "no", "ExistingBucketName": "b"},
            {"DeliveriesNeedOwnBucket"},
        ),
        ({"SlackWebhookSecretArn": "arn", "SlackWebhookParameter": "/slack"}, {"OneWebhook"}),
        ({"TeamsWebhookSecretArn": "arn", "TeamsWebhookParameter": "/x"}, {"OneTeamsWebhook"}),
        ({"FlowLogGroupName": "/vpc", "LogGroupDelivery": "firehose"}, set()),
        ({"LogGroupDelivery": "firehose"}, {"FirehoseNeedsGroupAndBucket"}),
        (
            {"FlowLogGroupName": "/vpc", "LogGroupDelivery": "firehose", "OwnBucket": "no"},
            {"FirehoseNeedsGroupAndBucket"},
        ),
        ({"FlowLogFormat": "srcaddr dstaddr"}, {"FormatNeedsGroup"}),
        ({"ReaderExternalId": "id"}, {"ExternalIdNeedsRole", "ExternalIdNeedsAccounts"}),
        ({"ReaderExternalId": "id", "ReaderRoleName": "r"}, {"ExternalIdNeedsAccounts"}),
        ({"ReaderExternalId": "id", "ReaderRoleName": "r", "ReaderAccounts": "1"}, set()),
        ({"ReaderExternalId": "id", "ReaderRoleName": "r", "OrganizationId": "o-1"}, set()),
        ({"OrganizationId": "o-1"}, {"OrganizationNeedsRole"}),
        ({"SubnetIds": "subnet-01234567"}, {"SubnetsNeedGroups"}),
        ({"SecurityGroupIds": "sg-01234567"}, {"SubnetsNeedGroups"}),
        ({"SubnetIds": "subnet-01234567", "SecurityGroupIds": "sg-01234567"}, set()),
        ({"ExistingBucketAccounts": "123456789012"}, {"ExistingBucketIsNamed"}),
        ({"SourceTopicArns": "arn:aws:sns:eu-west-1:123456789012:t"}, {"ExistingBucketIsNamed"}),
        ({"ReaderAccounts": "123456789012"}, {"ReaderAccountsNeedRole"}),
    ],
)
def test_combinations_that_cannot_work_are_refused(changed: dict[str, str], by: set[str]) -> None:
    assert stack(**changed).refusals == by


def test_every_interval_has_a_default_that_is_the_programs_own() -> None:
    defaults = {
        name: PARAMETERS[name]["Default"]
        for name in ("RepeatMinutes", "ResolveMinutes", "DigestHours")
    }
    own = Intervals()
    assert defaults == {
        "RepeatMinutes": own.repeat // 60,
        "ResolveMinutes": own.resolve // 60,
        "DigestHours": own.digest // HOUR,
    }
    assert PARAMETERS["MessagesPerHour"]["Default"] == MESSAGES_PER_HOUR


# --- sources --------------------------------------------------------------------------------------


def test_the_queue_waits_six_timeouts_and_the_window_and_has_a_dead_letter_queue() -> None:
    queue = RESOURCES["FlowLogQueue"]["Properties"]
    assert queue["VisibilityTimeout"] == {
        "FindInMap": ["Waits", {"Ref": "S3FunctionTimeout"}, "Visibility"]
    }
    assert FUNCTIONS["ClassifyS3Function"]["Timeout"] == {"Ref": "S3FunctionTimeout"}
    assert list(TEMPLATE["Mappings"]["Waits"]) == PARAMETERS["S3FunctionTimeout"]["AllowedValues"]
    trigger = FUNCTIONS["ClassifyS3Function"]["Events"]["FlowLogs"]["Properties"]
    window = trigger["MaximumBatchingWindowInSeconds"]
    for timeout, waits in TEMPLATE["Mappings"]["Waits"].items():
        assert waits["Visibility"] == 6 * int(timeout) + window
        assert waits["Visibility"] <= 43_200, "SQS hides no message for longer than 12 hours"
        assert waits["TwoTries"] == 2 * waits["Visibility"]
    assert queue["RedrivePolicy"] == {
        "deadLetterTargetArn": {"GetAtt": "FlowLogDeadLetterQueue.Arn"},
        "maxReceiveCount": 5,
    }
    assert SOON_RECEIVES <= 5 - 2  # one whole wait is left before the last try


def test_the_queue_trigger_reports_single_failures_and_waits_for_a_delivery() -> None:
    trigger = FUNCTIONS["ClassifyS3Function"]["Events"]["FlowLogs"]["Properties"]
    assert trigger["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert 0 < trigger["MaximumBatchingWindowInSeconds"] <= 300
    assert trigger["BatchSize"] > 10
    assert trigger["ScalingConfig"] == {"MaximumConcurrency": {"Ref": "S3FunctionConcurrency"}}


def test_the_flow_log_that_is_made_has_the_format_that_the_guide_recommends() -> None:
    flow_log = RESOURCES["FlowLog"]["Properties"]
    (recommended,) = re.findall(
        r"--log-format '([^']+)'", (ROOT / "docs" / "start" / "deploy.md").read_text()
    )
    assert stack().value(flow_log["LogFormat"]) == recommended
    names = RecordFormat.from_log_format(recommended).names
    assert {
        "tcp-flags",
        "flow-direction",
        "pkt-srcaddr",
        "pkt-dstaddr",
        "subnet-id",
        "reject-reason",
        "traffic-path",
    } <= set(names)
    assert (flow_log["TrafficType"], flow_log["MaxAggregationInterval"]) == ("ALL", 60)


def test_the_flow_log_of_a_transit_gateway_has_what_ec2_takes_and_nothing_else() -> None:
    vpc = RESOURCES["FlowLog"]["Properties"]
    gateway = RESOURCES["TransitGatewayFlowLog"]["Properties"]
    assert (gateway["ResourceType"], gateway["MaxAggregationInterval"]) == ("TransitGateway", 60)
    assert vpc.keys() - gateway.keys() == {"TrafficType", "LogFormat"}
    assert {name: gateway[name] for name in gateway if name != "ResourceType"} == {
        name: vpc[name] for name in gateway if name != "ResourceType"
    }


def test_objects_of_the_existing_bucket_reach_the_same_queue() -> None:
    rule = RESOURCES["ExistingBucketRule"]["Properties"]
    assert rule["EventPattern"] == {
        "source": ["aws.s3"],
        "detail-type": ["Object Created"],
        "detail": {
            "bucket": {"name": {"Split": [",", {"Ref": "ExistingBucketName"}]}},
            "object": {"key": [{"wildcard": {"Sub": "${ExistingBucketPrefix}*_vpcflowlogs_*"}}]},
        },
    }
    assert rule["Targets"] == [
        {
            "Id": "queue",
            "Arn": {"GetAtt": "FlowLogQueue.Arn"},
            "DeadLetterConfig": {"Arn": {"GetAtt": "ExistingBucketDeadLetterQueue.Arn"}},
        }
    ]
    policy = RESOURCES["ExistingBucketDeadLetterQueuePolicy"]["Properties"]["PolicyDocument"]
    (statement,) = policy["Statement"]
    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    assert statement["Condition"] == {
        "ArnEquals": {"aws:SourceArn": {"GetAtt": "ExistingBucketRule.Arn"}}
    }


def test_firehose_gathers_a_log_group_under_keys_that_name_the_place_and_errors_are_not_read() -> (
    None
):
    stream = RESOURCES["LogGroupStream"]["Properties"]
    to = stream["ExtendedS3DestinationConfiguration"]
    assert to["CompressionFormat"] == "UNCOMPRESSED"  # CloudWatch Logs packs what it sends
    assert "ProcessingConfiguration" not in to
    prefix = to["Prefix"]["Sub"]
    for name, value in (("AccountId", "123456789012"), ("Region", "eu-west-1")):
        prefix = prefix.replace(f"${{AWS::{name}}}", value)
    key = f"{prefix}2026/11/22/12/stream-1-2026-11-22-12-05-00-uuid"
    assert origin_of(key) == Origin(account_id="123456789012", region="eu-west-1")
    assert why_foreign(key) is None
    assert why_foreign(f"{to['ErrorOutputPrefix']}2026/11/22/12/x") is not None
    assert to["BufferingHints"]["IntervalInSeconds"] == WINDOW
    (writes, *_) = RESOURCES["LogGroupStreamRole"]["Properties"]["Policies"][0]["PolicyDocument"][
        "Statement"
    ]
    assert [resource["Sub"].partition("/")[2] for resource in writes["Resource"]] == [
        f"{prefix.partition('/')[0]}/*",
        f"{to['ErrorOutputPrefix'].partition('/')[0]}/*",
    ]
    subscription = RESOURCES["LogGroupSubscription"]["Properties"]
    assert subscription["DestinationArn"] == {"GetAtt": "LogGroupStream.Arn"}
    assert subscription["FilterPattern"] == ""


def test_firehose_and_the_function_never_read_the_same_log_group() -> None:
    conditions = TEMPLATE["Conditions"]
    (_, direct), (_, gathered) = (
        conditions[name]["And"] for name in ("HasFlowLogGroup", "HasFirehose")
    )
    assert direct == {"Equals": [{"Ref": "LogGroupDelivery"}, "direct"]}
    assert gathered == {"Equals": [{"Ref": "LogGroupDelivery"}, "firehose"]}
    assert PARAMETERS["LogGroupDelivery"]["Default"] == "direct"


def test_a_reader_role_may_read_what_the_functions_may() -> None:
    own = {
        statement["Sid"]: statement
        for statement in RESOURCES["JudgePolicy"]["Properties"]["PolicyDocument"]["Statement"]
        if "Sid" in statement
    }
    role = READER["Resources"]["ReaderRole"]["Properties"]
    (policy,) = role["Policies"]
    assert policy["PolicyDocument"]["Statement"] == [
        own["ReadNetworkRules"],
        own["ReadLoadBalancers"],
        own["ReadPrefixLists"],
    ]
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert set(trust["Condition"]["StringEquals"]) == {"sts:ExternalId"}
    assert Evaluated(
        READER, {"TrustedRoles": "network/a,b", "TrustedAccountId": "123456789012"}
    ).value(trust["Condition"]["ArnLike"]) == {
        "aws:PrincipalArn": [
            f"arn:aws:iam::123456789012:role/{name}" for name in ("network/a", "b", "network/a")
        ]
    }
    assert "Default" not in READER["Parameters"]["ExternalId"]


# --- functions and alerts -------------------------------------------------------------------------


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_has_its_code(name: str) -> None:
    assert (ROOT / FUNCTIONS[name]["CodeUri"] / "app.py").is_file()


@pytest.mark.parametrize("text", TEXTS.values(), ids=list(TEXTS))
def test_every_statement_has_its_reason(text: str) -> None:
    statements = re.findall(r"^ *- Sid: (.*)$", text, re.MULTILINE)
    assert [
        statement for statement in statements if not re.fullmatch(r"\w+ # .{8,}", statement)
    ] == []
    assert len(statements) == len(re.findall(r"^ *(?:- )?Effect: ", text, re.MULTILINE))


def test_an_object_that_is_gone_can_be_told_from_one_that_is_forbidden() -> None:
    (policy,) = RESOURCES["ClassifyS3Role"]["Properties"]["Policies"]
    (allowed,) = [
        statement
        for statement in policy["PolicyDocument"]["Statement"]
        if statement.get("Action") == "s3:ListBucket"
    ]
    assert {
        "If": ["HasOwnBucket", {"GetAtt": "FlowLogBucket.Arn"}, {"Ref": "AWS::NoValue"}]
    } in allowed["Resource"]


def test_the_table_is_the_one_that_replays_use() -> None:
    (table,) = of_type("AWS::DynamoDB::Table").values()
    assert {name: value for name, value in table.items() if name in TABLE} == TABLE
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}


def test_evidence_is_kept_as_long_as_the_table_knows_its_source_and_goes_by_itself() -> None:
    bucket = RESOURCES["EvidenceBucket"]
    (expiry,) = [
        rule
        for rule in bucket["Properties"]["LifecycleConfiguration"]["Rules"]
        if "ExpirationInDays" in rule
    ]
    assert (expiry["Status"], expiry["ExpirationInDays"] * 86_400) == ("Enabled", KEPT)
    assert "Prefix" not in expiry
    assert "VersioningConfiguration" not in bucket["Properties"], (
        "an old version would outlive the expiry"
    )
    # CloudFormation fails to delete a bucket that holds objects, and `sam delete` with it.
    assert "Condition" not in bucket
    # A first deployment that fails leaves no bucket behind.
    for kept in RESOURCES.values():
        if kept["Type"] != "AWS::S3::Bucket":
            continue
        assert (kept["DeletionPolicy"], kept["UpdateReplacePolicy"]) == (
            "RetainExceptOnCreate",
            "Retain",
        )


def test_the_functions_get_every_variable_they_read() -> None:
    given = set(TEMPLATE["Globals"]["Function"]["Environment"]["Variables"])
    read = set(re.findall(r"``([A-Z][A-Z_]+)``", Settings.__doc__ or "")) - {"AWS_REGION"}
    assert read - given == {"LOG_FORMAT", "EVIDENCE_BUCKET", "QUEUE_URL", "MISSING"} | (
        {"OPERATOR_TOPIC_ARN", "SIGNAL_QUEUE_URL", "SIGNAL_DELAY_SECONDS", "WEEKLY_SUMMARY"}
    )
    assert FUNCTIONS["ClassifyS3Function"]["Environment"]["Variables"] == {
        "EVIDENCE_BUCKET": {"Ref": "EvidenceBucket"},
        "LOG_FORMAT": {"If": ["HasFirehose", {"Ref": "FlowLogFormat"}, ""]},
        "QUEUE_URL": {"Ref": "FlowLogQueue"},
        "SIGNAL_QUEUE_URL": {"Ref": "SignalQueue"},
        "SIGNAL_DELAY_SECONDS": {"Ref": "EvaluationDelaySeconds"},
    }
    assert FUNCTIONS["EvaluateWindowsFunction"]["Environment"]["Variables"] == {
        "EVIDENCE_BUCKET": {"Ref": "EvidenceBucket"},
        "QUEUE_URL": {"Ref": "SignalQueue"},
    }
    assert FUNCTIONS["ClassifyCloudWatchLogsFunction"]["Environment"]["Variables"] == {
        "EVIDENCE_BUCKET": {"Ref": "EvidenceBucket"},
        "LOG_FORMAT": {"Ref": "FlowLogFormat"},
        "SIGNAL_QUEUE_URL": {"Ref": "SignalQueue"},
        "SIGNAL_DELAY_SECONDS": {"Ref": "EvaluationDelaySeconds"},
    }


def test_filters_by_severity_let_the_more_severe_through() -> None:
    levels = TEMPLATE["Mappings"]["Severities"]["From"]
    for parameter in ("EmailFromSeverity", "SlackFromSeverity", "TeamsFromSeverity"):
        assert set(PARAMETERS[parameter]["AllowedValues"]) == set(levels)
    for level, passing in levels.items():
        wanted = [severity.value for severity in Severity if severity.rank <= Severity(level).rank]
        assert passing == ([*wanted, "info"] if level == "low" else wanted)


def test_the_dashboard_knows_every_severity() -> None:
    body = RESOURCES["OperationsDashboard"]["Properties"]["DashboardBody"]["Sub"][0]
    assert set(re.findall(r'"RejectedFlows", "severity", "([a-z]+)"', body)) == set(Severity)


@pytest.mark.parametrize("name", ["Logs", "Slack", "SlackActions", "Teams"])
def test_functions_that_run_for_single_events_can_be_limited(name: str) -> None:
    function = {"Logs": "ClassifyCloudWatchLogs", "SlackActions": name}.get(name, f"Notify{name}")
    assert FUNCTIONS[f"{function}Function"]["ReservedConcurrentExecutions"] == {
        "If": [f"Has{name}Reserved", {"Ref": f"{name}FunctionReserved"}, {"Ref": "AWS::NoValue"}]
    }


def test_every_check_that_the_scan_leaves_out_has_its_reason() -> None:
    skipped = (ROOT / ".checkov.yaml").read_text().partition("skip-check:\n")[2].splitlines()
    assert skipped
    assert [line for line in skipped if not re.fullmatch(r"  - CKV\w+ # .{40,}", line)] == []


def test_the_shared_layer_holds_the_package_and_nothing_else() -> None:
    (layer,) = [
        layer
        for name, layer in of_type("AWS::Serverless::LayerVersion").items()
        if name == "SharedLayer"
    ]
    assert [path.name for path in (ROOT / layer["ContentUri"]).iterdir()] == ["flowverdict"]
