"""What a stack is made of, by the parameters that it is deployed with."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from flowverdict.alerts.console_links import console_links
from flowverdict.app.settings import Settings
from scripts.choose_processor import PROCESSORS, choose_processor
from tests.helpers.evaluated_template import Evaluated
from tests.helpers.sam_template import read_template

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "template.yaml").read_text()
TEMPLATE = read_template(ROOT / "template.yaml")
PARAMETERS: dict[str, dict[str, Any]] = TEMPLATE["Parameters"]


def stack(**given: str) -> Evaluated:
    """Return the template for a stack in eu-west-1 with these parameters."""
    return Evaluated(TEMPLATE, given)


# --- what kind of stack ---------------------------------------------------------------------------


# Environment, and what a stack of it has: log level, days of logs and of flow logs, alarms,
# dashboard, traces.
ENVIRONMENTS = {
    "standard": ("INFO", 30, 90, True, True, "PassThrough"),
    "dev": ("DEBUG", 3, 7, False, False, "Active"),
    "prod": ("INFO", 90, 365, True, True, "PassThrough"),
}


def kind(evaluated: Evaluated) -> tuple[Any, ...]:
    function = evaluated.value(TEMPLATE["Globals"]["Function"])
    (expiry, _) = evaluated.properties("FlowLogBucket")["LifecycleConfiguration"]["Rules"]
    days = {
        resource["Properties"]["RetentionInDays"]
        for resource in evaluated.resources.values()
        if resource["Type"] == "AWS::Logs::LogGroup"
    }
    (retention,) = days
    return (
        function["Environment"]["Variables"]["POWERTOOLS_LOG_LEVEL"],
        int(retention),
        int(expiry["ExpirationInDays"]),
        "SweepAlertsErrorAlarm" in evaluated.resources,
        "OperationsDashboard" in evaluated.resources,
        function["Tracing"],
    )


@pytest.mark.parametrize("environment", PARAMETERS["Environment"]["AllowedValues"])
def test_one_word_says_what_kind_of_stack_it_is_beside_any_other_parameter(
    environment: str,
) -> None:
    """What is given on the command line replaces the list of samconfig.toml."""
    assert (
        kind(stack(Environment=environment, AlertEmail="a@example.com"))
        == (ENVIRONMENTS[environment])
    )


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_each_setting_of_an_environment_can_be_said_by_itself(environment: str) -> None:
    said = {
        "LogLevel": "ERROR",
        "LogRetentionDays": "14",
        "FlowLogRetentionDays": "21",
        "Alarms": "no",
        "Dashboard": "yes",
        "Tracing": "Active",
    }
    assert kind(stack(Environment=environment, **said)) == (
        *("ERROR", 14, 21, False, True, "Active"),
    )


def test_no_list_of_parameters_stands_where_the_command_line_would_replace_it() -> None:
    text = (ROOT / "samconfig.toml").read_text()
    environments = tomllib.loads(text)
    assert set(environments) == {"version", "default"}
    assert "parameter_overrides" not in re.sub(r"^#.*", "", text, flags=re.MULTILINE)
    for document in ("docs/start/deploy.md", "samconfig.toml"):
        assert "--parameter-overrides Environment=prod" in (ROOT / document).read_text(), document
        assert "--config-env" not in (ROOT / document).read_text(), document


# --- the processor --------------------------------------------------------------------------------


def processors(template: dict[str, Any]) -> set[str]:
    """Return every processor that the template names, wherever it does."""
    named = [
        *template["Parameters"]["Architecture"]["AllowedValues"],
        template["Parameters"]["Architecture"]["Default"],
        *template["Globals"]["Function"]["Architectures"],
    ]
    for name in ("DependenciesLayer", "EngineLayer"):  # what has compiled packages
        layer = template["Resources"][name]
        named += [layer["Metadata"]["BuildArchitecture"]]
        named += layer["Properties"]["CompatibleArchitectures"]
    return set(named)


@pytest.mark.parametrize("processor", PROCESSORS)
def test_a_build_names_its_processor_in_all_places_and_takes_no_other(
    processor: str, tmp_path: Path
) -> None:
    built = tmp_path / "template.yaml"
    built.write_text(choose_processor(TEXT, processor))
    assert processors(read_template(built)) == {processor}


def test_a_plain_sam_build_has_one_processor_and_another_is_refused() -> None:
    assert processors(TEMPLATE) == {"arm64"}
    assert "Ref Architecture]" not in TEXT, "two switches that nobody compares"
    with pytest.raises(ValueError, match="'riscv' is none of arm64, x86_64"):
        choose_processor(TEXT, "riscv")
    (build,) = re.findall(
        r"^build:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE
    )
    assert "scripts/choose_processor.py" in build
    assert "--parameter-overrides" not in build


# --- names and roles ------------------------------------------------------------------------------

ALL_FUNCTIONS = {
    "FlowLogGroupName": "/flow/logs",
    "SlackWebhookParameter": "/slack",
    "SlackSigningParameter": "/signing",
    "TeamsWebhookParameter": "/teams",
}
IAM_NAME = 64  # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
LONGEST_REGION = "ap-southeast-1"


def roles(evaluated: Evaluated) -> dict[str, dict[str, Any]]:
    return {
        name: resource["Properties"]
        for name, resource in evaluated.resources.items()
        if resource["Type"] == "AWS::IAM::Role"
    }


def test_two_stacks_of_an_account_have_layers_of_their_own() -> None:
    layers = [
        {
            resource["Properties"]["LayerName"]
            for resource in stack(**{"AWS::StackName": name}).resources.values()
            if resource["Type"] == "AWS::Serverless::LayerVersion"
        }
        for name in ("flowverdict", "flowverdict-dev")
    ]
    assert [len(names) for names in layers] == [3, 3]
    assert not layers[0] & layers[1]


def test_no_role_is_named_placed_or_bounded_unless_it_is_asked_for() -> None:
    found = roles(stack(**ALL_FUNCTIONS))
    assert len(found) == 7
    for role in found.values():
        assert {"RoleName", "Path", "PermissionsBoundary"} & set(role) == set()


def test_every_role_has_the_boundary_the_path_and_the_prefix_that_an_account_asks_for() -> None:
    boundary = "arn:aws:iam::123456789012:policy/boundary"
    evaluated = stack(
        **ALL_FUNCTIONS,
        PermissionsBoundaryArn=boundary,
        RolePath="/network/",
        RoleNamePrefix="team",
    )
    found = roles(evaluated)
    for role in found.values():
        assert (role["PermissionsBoundary"], role["Path"]) == (boundary, "/network/")
    # IAM knows no Regions, so the name has to tell two stacks of one prefix apart.
    names = {role["RoleName"] for role in found.values()}
    assert len(names) == len(found)
    assert all(name.startswith("team-eu-west-1-") for name in names)
    for name, resource in evaluated.resources.items():
        if resource["Type"] == "AWS::IAM::ManagedPolicy":
            assert resource["Properties"]["Path"] == "/network/", name
            assert resource["Properties"]["ManagedPolicyName"].startswith("team-eu-west-1-"), name


def test_the_longest_prefix_makes_names_that_iam_takes() -> None:
    (longest,) = re.findall(r"\{1,(\d+)\}", PARAMETERS["RoleNamePrefix"]["AllowedPattern"])
    evaluated = stack(
        **ALL_FUNCTIONS, **{"RoleNamePrefix": int(longest) * "x", "AWS::Region": LONGEST_REGION}
    )
    assert max(len(role["RoleName"]) for role in roles(evaluated).values()) <= IAM_NAME


def test_a_reader_role_learns_the_roles_by_their_names_however_long_the_stacks_is() -> None:
    """CloudFormation cuts the stack's name in a role's, so no pattern of it holds."""
    assert "StackName" not in str(TEMPLATE["Outputs"]["FunctionRoleNames"]["Value"])
    for given, path in (({}, ""), ({"RolePath": "/network/"}, "network/")):
        evaluated = stack(**ALL_FUNCTIONS, **given)
        text, variables = TEMPLATE["Outputs"]["FunctionRoleNames"]["Value"]["Sub"]
        assert text == "${Path}${SweepAlertsRole},${Path}${EvaluateWindowsRole}"
        assert evaluated.value(variables) == {"Path": path}


@pytest.mark.parametrize(
    ("partition", "region", "host"),
    [
        ("aws", "eu-west-1", "eu-west-1.console.aws.amazon.com"),
        ("aws-us-gov", "us-gov-west-1", "us-gov-west-1.console.amazonaws-us-gov.com"),
        ("aws-cn", "cn-north-1", "cn-north-1.console.amazonaws.cn"),
    ],
)
def test_the_dashboard_is_where_its_partition_has_its_console(
    partition: str, region: str, host: str
) -> None:
    given = {"AWS::Partition": partition, "AWS::Region": region}
    address = stack(**given).outputs["DashboardUrl"]
    assert address.startswith(f"https://{host}/cloudwatch/home?region={region}#dashboards/")
    (link,) = console_links(
        region, network_acl_id="acl-01234567", security_groups=(), interface_id=None
    )
    assert link.url.startswith(f"https://{host}/"), "the alerts' links agree"


# --- nobody and nothing ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "outputs", "logged"),
    [
        ({}, {"NobodyIsTold", "NothingIsRead"}, "recipient source"),
        ({"AlertEmail": "a@example.com"}, {"NothingIsRead"}, " source"),
        ({"ChatTopic": "yes"}, {"NothingIsRead"}, " source"),
        ({"FlowLogResourceId": "vpc-01234567"}, {"NobodyIsTold"}, "recipient "),
        ({"DeliveringAccounts": "123456789012"}, {"NobodyIsTold"}, "recipient "),
        ({"SlackWebhookParameter": "/slack", "FlowLogGroupName": "/flow/logs"}, set(), " "),
        (
            {"SlackTokenParameter": "/slack", "SlackChannel": "#x", "FlowLogGroupName": "/logs"},
            set(),
            " ",
        ),
        ({"TeamsWebhookParameter": "/teams", "ExistingBucketName": "central"}, set(), " "),
    ],
)
def test_a_stack_without_recipient_or_source_says_so_by_an_output_and_to_its_log(
    given: dict[str, str], outputs: set[str], logged: str
) -> None:
    evaluated = stack(**given)
    assert {"NobodyIsTold", "NothingIsRead"} & set(evaluated.outputs) == outputs
    variables = evaluated.properties("SweepAlertsFunction")["Environment"]["Variables"]
    assert variables["MISSING"] == logged
    assert Settings.from_environment(
        {"ALERT_TOPIC_ARN": "arn:aws:sns:eu-west-1:123456789012:t", "ALERT_TABLE": "t" * 3}
        | {"MISSING": logged}
    ).missing == tuple(logged.split())


# What an account with rules of its own, or with other sources, asks for. A stack without them is
# what it was before they came.
ASKED_FOR = (
    *("OperatorTopicArn", "PermissionsBoundaryArn", "RolePath", "RoleNamePrefix"),
    *("SubnetIds", "SecurityGroupIds", "ExistingBucketName", "ExistingBucketAccounts"),
    *("SourceTopicArns", "FlowLogGroupName", "FlowLogResourceId", "FlowLogFolder"),
)


def test_no_parameter_changes_a_stack_that_does_not_ask_for_it() -> None:
    assert {name: PARAMETERS[name]["Default"] for name in ASKED_FOR} == dict.fromkeys(ASKED_FOR, "")
    evaluated = stack()
    kinds = {resource["Type"] for resource in evaluated.resources.values()}
    assert not kinds & {
        *("AWS::EC2::FlowLog", "AWS::Events::Rule", "AWS::KinesisFirehose::DeliveryStream"),
        "AWS::Logs::SubscriptionFilter",
    }
    assert "OperatorTopic" in evaluated.resources
    statements = evaluated.properties("FlowLogQueuePolicy")["PolicyDocument"]["Statement"]
    senders = {str(one["Principal"]) for one in statements if one["Effect"] == "Allow"}
    assert senders == {str({"Service": "s3.amazonaws.com"})}


def test_a_first_deployment_that_fails_leaves_no_bucket_and_a_later_one_keeps_each() -> None:
    buckets = {
        name: one["DeletionPolicy"]
        for name, one in TEMPLATE["Resources"].items()
        if one["Type"] == "AWS::S3::Bucket"
    }
    assert buckets == dict.fromkeys(("EvidenceBucket", "FlowLogBucket"), "RetainExceptOnCreate")


@pytest.mark.parametrize(
    ("given", "alarms"),
    [
        ({}, set()),
        ({"SilenceAlarmMinutes": "90"}, {"ClassifyS3SilenceAlarm"}),
        (
            {"SilenceAlarmMinutes": "90", "FlowLogGroupName": "/flow/logs"},
            {"ClassifyS3SilenceAlarm", "ClassifyCloudWatchLogsSilenceAlarm"},
        ),
    ],
)
def test_a_silent_source_is_an_alarm_if_it_is_asked_for(
    given: dict[str, str], alarms: set[str]
) -> None:
    evaluated = stack(**given)
    assert {name for name in evaluated.resources if name.endswith("SilenceAlarm")} == alarms
    for name in alarms:
        alarm = evaluated.properties(name)
        # Nothing is what a source that is silent sends.
        assert alarm["TreatMissingData"] == "breaching"
        assert alarm["Period"] * int(alarm["EvaluationPeriods"]) == 90 * 60
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
    assert PARAMETERS["SilenceAlarmMinutes"]["MaxValue"] * 60 <= 86_400


# --- a VPC ----------------------------------------------------------------------------------------


def test_functions_run_in_a_vpc_if_they_are_told_where() -> None:
    outside = stack(**ALL_FUNCTIONS)
    assert "VpcConfig" not in outside.value(TEMPLATE["Globals"]["Function"])
    assert "VpcPolicy" not in outside.resources
    inside = stack(
        **ALL_FUNCTIONS,
        SubnetIds="subnet-01234567,subnet-89abcdef",
        SecurityGroupIds="sg-01234567",
    )
    assert inside.value(TEMPLATE["Globals"]["Function"]["VpcConfig"]) == {
        "SubnetIds": ["subnet-01234567", "subnet-89abcdef"],
        "SecurityGroupIds": ["sg-01234567"],
    }
    for role in roles(inside).values():
        assert {"Ref": "VpcPolicy"} in role["ManagedPolicyArns"]
    for role in roles(outside).values():
        assert {"Ref": "VpcPolicy"} not in role.get("ManagedPolicyArns", [])


def test_an_existing_topic_of_operators_stands_in_for_the_stacks_own() -> None:
    arn = "arn:aws:sns:eu-west-1:123456789012:on-call"
    evaluated = stack(OperatorTopicArn=arn, OperatorEmail="ops@example.com")
    alarms = [
        resource["Properties"]
        for resource in evaluated.resources.values()
        if resource["Type"] == "AWS::CloudWatch::Alarm"
    ]
    assert len(alarms) > 5
    assert all(alarm["AlarmActions"] == alarm["OKActions"] == [arn] for alarm in alarms)
    assert "OperatorTopic" not in evaluated.resources
    assert evaluated.properties("OperatorEmailSubscription")["TopicArn"] == arn
    assert evaluated.outputs["OperatorTopicArn"] == arn


def test_every_service_that_functions_call_has_its_endpoint_in_the_table() -> None:
    """Lambda itself writes logs and traces, and takes events; keys are used by the services."""
    actions: set[str] = {"sts", "secretsmanager"}  # with other parameters
    for resource in stack(**ALL_FUNCTIONS, Policy="appconfig:a/e/p").resources.values():
        if not resource["Type"].startswith("AWS::IAM::"):
            continue
        properties = resource["Properties"]
        documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
        documents += [properties["PolicyDocument"]] if "PolicyDocument" in properties else []
        for statement in (entry for document in documents for entry in document["Statement"]):
            found = statement["Action"]
            actions |= {found} if isinstance(found, str) else set(found)
    called = {action.partition(":")[0] for action in actions}
    chapter = (ROOT / "docs" / "operations.md").read_text().partition("### Functions in a VPC")[2]
    rows = re.findall(r"^\| (?:gateway|interface) \| ([^|]*) \|", chapter, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([a-z0-9]+)`", row)}
    assert called - {"logs", "kms", "xray"} == {
        name.removesuffix("data") if name == "appconfigdata" else name for name in named
    }
