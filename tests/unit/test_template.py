"""What the SAM template promises, read from the template itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

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


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_has_its_code_and_a_log_group_that_expires(name: str) -> None:
    function = FUNCTIONS[name]
    assert (ROOT / function["CodeUri"] / "app.py").is_file()
    log_group = RESOURCES[function["LoggingConfig"]["LogGroup"]["Ref"]]["Properties"]
    assert log_group["RetentionInDays"] > 0


@pytest.mark.parametrize("name", FUNCTIONS)
def test_describe_actions_alone_may_concern_everything(name: str) -> None:
    for policy in FUNCTIONS[name]["Policies"]:
        for listed in policy["Statement"]:
            statement = listed["If"][1] if "If" in listed else listed
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            assert statement["Sid"]
            assert statement["Resource"] != "*" or all(action.startswith("ec2:Describe") for action in actions)
            assert not any("*" in action for action in actions)


def test_an_object_that_is_gone_can_be_told_from_one_that_is_forbidden() -> None:
    statements = FUNCTIONS["ClassifyS3Function"]["Policies"][0]["Statement"]
    allowed = {statement["Action"]: statement["Resource"] for statement in statements if isinstance(statement.get("Action"), str)}
    assert allowed["s3:ListBucket"] == {"GetAtt": "FlowLogBucket.Arn"}


def test_every_queue_is_encrypted_and_every_parameter_explained() -> None:
    assert all(queue["SqsManagedSseEnabled"] is True for queue in of_type("AWS::SQS::Queue").values())
    assert all(parameter["Description"] for parameter in TEMPLATE["Parameters"].values())


def test_the_shared_layer_holds_the_package_and_nothing_else() -> None:
    (layer,) = [one for name, one in of_type("AWS::Serverless::LayerVersion").items() if name == "SharedLayer"]
    assert [path.name for path in (ROOT / layer["ContentUri"]).iterdir()] == ["flowverdict"]
