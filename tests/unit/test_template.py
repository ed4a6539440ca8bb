"""What the SAM template promises, read from the template itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from flowverdict.cli.local_aws import TABLE
from flowverdict.document import Severity
from flowverdict.lifecycle import HOUR, Intervals
from flowverdict.settings import MESSAGES_PER_HOUR, Settings

ROOT = Path(__file__).parents[2]


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's short intrinsic functions as ``{"Fn::Name": value}``."""


def _intrinsic(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        return {suffix: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {suffix: loader.construct_sequence(node, deep=True)}
    raise TypeError(node)


_Loader.add_multi_constructor("!", _intrinsic)
TEMPLATE: dict[str, Any] = yaml.load((ROOT / "template.yaml").read_text(), Loader=_Loader)  # noqa: S506 - a SafeLoader
RESOURCES: dict[str, dict[str, Any]] = TEMPLATE["Resources"]


def of_type(kind: str) -> dict[str, dict[str, Any]]:
    return {name: resource["Properties"] for name, resource in RESOURCES.items() if resource["Type"] == kind}


FUNCTIONS = of_type("AWS::Serverless::Function")


def test_the_queue_waits_six_function_timeouts_and_has_a_dead_letter_queue() -> None:
    queue = RESOURCES["FlowLogQueue"]["Properties"]
    assert queue["VisibilityTimeout"] >= 6 * TEMPLATE["Globals"]["Function"]["Timeout"]
    assert queue["RedrivePolicy"] == {"deadLetterTargetArn": {"GetAtt": "FlowLogDeadLetterQueue.Arn"}, "maxReceiveCount": 3}


def test_the_queue_trigger_reports_single_failures_and_waits_for_a_delivery() -> None:
    trigger = FUNCTIONS["ClassifyS3Function"]["Events"]["FlowLogs"]["Properties"]
    assert trigger["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert 0 < trigger["MaximumBatchingWindowInSeconds"] <= 300
    assert trigger["BatchSize"] > 10


def test_a_log_event_that_keeps_failing_is_kept() -> None:
    destination = FUNCTIONS["ClassifyCloudWatchLogsFunction"]["EventInvokeConfig"]["DestinationConfig"]["OnFailure"]
    assert destination == {"Type": "SQS", "Destination": {"GetAtt": "ClassifyCloudWatchLogsDeadLetterQueue.Arn"}}


def test_compiled_packages_are_built_for_the_processor_that_the_functions_run_on() -> None:
    layer = RESOURCES["DependenciesLayer"]
    architecture = TEMPLATE["Globals"]["Function"]["Architectures"]
    assert architecture == [{"Ref": "Architecture"}]
    assert [layer["Metadata"]["BuildArchitecture"]] == layer["Properties"]["CompatibleArchitectures"] == architecture


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_has_its_code_and_a_log_group_that_expires(name: str) -> None:
    function = FUNCTIONS[name]
    assert (ROOT / function["CodeUri"] / "app.py").is_file()
    log_group = RESOURCES[function["LoggingConfig"]["LogGroup"]["Ref"]]["Properties"]
    assert log_group["RetentionInDays"] > 0


def statements(function: dict[str, Any]) -> list[dict[str, Any]]:
    """Give every statement a function may get, whatever the conditions."""
    found: list[dict[str, Any]] = []
    for listed in function["Policies"]:
        policy = RESOURCES[listed["Ref"]]["Properties"]["PolicyDocument"] if "Ref" in listed else listed
        for statement in policy["Statement"]:
            variants = statement["If"][1:] if "If" in statement else [statement]
            found += [variant for variant in variants if "Sid" in variant]
    return found


@pytest.mark.parametrize("name", FUNCTIONS)
def test_describe_actions_alone_may_concern_everything(name: str) -> None:
    found = statements(FUNCTIONS[name])
    assert found
    for statement in found:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        assert statement["Resource"] != "*" or all(action.startswith("ec2:Describe") for action in actions)
        assert not any("*" in action for action in actions)


def test_an_object_that_is_gone_can_be_told_from_one_that_is_forbidden() -> None:
    allowed = {
        statement["Action"]: statement["Resource"]
        for statement in statements(FUNCTIONS["ClassifyS3Function"])
        if isinstance(statement["Action"], str)
    }
    assert allowed["s3:ListBucket"] == {"GetAtt": "FlowLogBucket.Arn"}


def test_the_table_is_the_one_that_replays_use() -> None:
    (table,) = of_type("AWS::DynamoDB::Table").values()
    assert {name: value for name, value in table.items() if name in TABLE} == TABLE
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}


def test_every_interval_has_a_default_that_is_the_programs_own() -> None:
    defaults = {name: TEMPLATE["Parameters"][name]["Default"] for name in ("RepeatMinutes", "ResolveMinutes", "DigestHours")}
    own = Intervals()
    assert defaults == {"RepeatMinutes": own.repeat // 60, "ResolveMinutes": own.resolve // 60, "DigestHours": own.digest // HOUR}
    assert TEMPLATE["Parameters"]["MessagesPerHour"]["Default"] == MESSAGES_PER_HOUR


def test_the_functions_get_every_variable_they_read() -> None:
    given = set(TEMPLATE["Globals"]["Function"]["Environment"]["Variables"])
    read = set(re.findall(r"``([A-Z][A-Z_]+)``", Settings.__doc__ or "")) - {"AWS_REGION"}
    assert read - given == {"LOG_FORMAT"}
    assert "LOG_FORMAT" in FUNCTIONS["ClassifyCloudWatchLogsFunction"]["Environment"]["Variables"]


def test_filters_by_severity_let_the_more_severe_through() -> None:
    levels = TEMPLATE["Mappings"]["Severities"]["From"]
    for parameter in ("EmailFromSeverity", "SlackFromSeverity"):
        assert set(TEMPLATE["Parameters"][parameter]["AllowedValues"]) == set(levels)
    for level, passing in levels.items():
        wanted = [severity.value for severity in Severity if severity.rank <= Severity(level).rank]
        assert passing == ([*wanted, "info"] if level == "low" else wanted)


def test_every_queue_is_encrypted_and_every_parameter_explained() -> None:
    assert all(queue["SqsManagedSseEnabled"] is True for queue in of_type("AWS::SQS::Queue").values())
    assert all(parameter["Description"] for parameter in TEMPLATE["Parameters"].values())


def test_the_shared_layer_holds_the_package_and_nothing_else() -> None:
    (layer,) = [one for name, one in of_type("AWS::Serverless::LayerVersion").items() if name == "SharedLayer"]
    assert [path.name for path in (ROOT / layer["ContentUri"]).iterdir()] == ["flowverdict"]
