"""The life of the stack: deployed, deployed a second time, changed, deleted."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from scripts.choose_processor import PROCESSORS
from tests.e2e.contract import valid
from tests.e2e.inventory import inventory
from tests.e2e.samples import key, scenario, shop_delivery
from tests.e2e.stack import HOST_ARCHITECTURE, SamError, Stack
from tests.e2e.subscribers import (
    deployed_filter,
    function_log,
    posted,
    put_object,
    raw_log,
    sweep,
    wait_until,
)
from tests.helpers.sam_template import read_template

if TYPE_CHECKING:
    from tests.e2e.conftest import Inboxes
    from tests.e2e.emulator import Emulator
    from tests.e2e.stack import Build

(OTHER_ARCHITECTURE,) = {*PROCESSORS} - {HOST_ARCHITECTURE}
# For a changed layer SAM generates another logical id, and retains the old version.
_KEPT_BY_SAM = "AWS::Serverless::LayerVersion"


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"FlowLogGroupName": "no such: name"}, "FlowLogGroupName"),
        ({"SlackWebhookParameter": "/slack"}, "as a secret or as a parameter, not both"),
        (
            {"SlackWebhookSecretArn": "http://hooks.slack.com/services/T0/B0/x"},
            "SlackWebhookSecretArn",
        ),
        ({"AlertEmail": "not an address"}, "AlertEmail"),
        # The build is for this machine's processor.
        ({"Architecture": OTHER_ARCHITECTURE}, "Architecture"),
        ({"OwnBucket": "no", "FlowLogGroupName": ""}, "There is nothing to read"),
        (
            {"ExistingBucketName": "elsewhere", "ExistingBucketRegion": "ap-south-2"},
            "in another Region",
        ),
        ({"OwnBucket": "no", "FlowLogResourceId": "vpc-0123456789abcdef0"}, "say OwnBucket=yes"),
    ],
)
def test_parameters_that_make_no_sense_are_refused_before_anything_changes(
    stack: Stack, parameters: dict[str, str], changed: dict[str, str], named: str
) -> None:
    before = stack.resources

    with pytest.raises(SamError, match=named):
        stack.deploy(parameters | changed)

    assert stack.resources == before


def test_what_is_optional_is_not_there_unless_asked_for_and_the_schedule_starts_the_sweep(
    built: Build, aws: Emulator
) -> None:
    """Deploy a second stack beside the first, without destinations for messages, and delete it."""
    second = Stack(build=built, place=aws.place, name="flowverdict-second")
    before = inventory(aws.place)
    second.deploy({"SweepMinutes": "60"})  # the rate that the emulator hurries
    made = inventory(aws.place) - before
    resources = second.resources

    functions = {
        resource["LogicalResourceId"]
        for resource in resources
        if resource["ResourceType"] == "AWS::Lambda::Function"
    }
    assert functions == {"ClassifyS3Function", "EvaluateWindowsFunction", "SweepAlertsFunction"}
    wait_until(
        lambda: raw_log(second, "SweepAlertsFunction") or None,
        "the schedule to start the sweep",
    )
    # Deleting a bucket that holds an object would fail.
    put_object(second, key(second.place, "kept"), scenario("outbound-response"))
    # A function that ran on would make its log group again. The rule fires once in the emulator,
    # and a function's log is there when the function has ended.
    wait_until(
        lambda: function_log(second, "EvaluateWindowsFunction") or None,
        "the object to be read and evaluated",
    )
    wait_until(lambda: second.waiting_messages() == 0 or None, "all messages to be done with")

    second.delete()

    left = inventory(aws.place) - before
    assert {thing.name for thing in left} == documented(built, resources)
    assert left <= made


def come_to_rest(stack: Stack) -> None:
    """Wait until no function logs any more.

    A function that runs while the stack is deleted would make its log group again.
    """
    events = stack.place.client("events")
    for rule in stack.of_type("AWS::Events::Rule").values():
        events.disable_rule(Name=rule)
    functions = [*stack.of_type("AWS::Lambda::Function")]
    lines = -1
    for _ in range(20):
        before, lines = lines, sum(len(raw_log(stack, name)) for name in functions)
        if lines == before:
            return
        time.sleep(1.5)  # longer than an invocation takes that has begun
    raise TimeoutError("the functions go on logging")


def documented(built: Build, resources: list[dict[str, Any]]) -> set[str]:
    """Return what remains after `sam delete` according to docs/start/deploy.md.

    The buckets remain, and SAM retains the versions of the layers.
    """
    template = read_template(built.template)["Resources"]
    retained = {
        logical_id
        for logical_id, resource in template.items()
        if resource.get("DeletionPolicy", "").startswith("Retain")
    }
    layers = tuple(
        logical_id for logical_id, resource in template.items() if resource["Type"] == _KEPT_BY_SAM
    )
    kept = [
        resource
        for resource in resources
        if resource["LogicalResourceId"] in retained
        or resource["LogicalResourceId"].startswith(layers)
    ]
    return {resource["PhysicalResourceId"] for resource in kept}


def test_more_messages_than_an_hour_may_have_are_counted_and_a_message_says_so(
    stack: Stack, inboxes: Inboxes, parameters: dict[str, str]
) -> None:
    """Deploy other parameters over the stack, which take effect at once.

    The tests after this one do not need the old parameters.
    """
    moved = {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"]
        for resource in stack.resources
    }

    stack.deploy(
        parameters | {"MessagesPerHour": "3", "EmailFromSeverity": "critical", "LogLevel": "DEBUG"}
    )

    assert {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"]
        for resource in stack.resources
    } == moved
    before = posted(stack)
    put_object(stack, key(stack.place, "capped"), shop_delivery())
    # One of the three messages is reserved for critical alerts; two critical ones use up the rest.
    told = valid(inboxes.alerts.take(2))
    assert [alert["severity"] for alert in told] == ["critical", "critical"]
    sweep(stack, 0)
    (held_back,) = valid(inboxes.alerts.take(1) + inboxes.alerts.rest())
    assert held_back["kind"] == "rate-limited"
    assert held_back["title"].startswith(
        "3 alerts held back"
    )  # the high and the medium one, and that AWS lost records
    subscribed = deployed_filter(stack.place, stack.outputs["EmailTopicArn"], "email")
    assert subscribed == {"severity": ["critical"]}
    # A function that ran on while the stack is deleted would make its log group again.
    wait_until(lambda: posted(stack) >= before + 3 or None, "all three to be posted", 40)


def test_the_whole_stack_is_removed_but_for_what_is_documented(
    built: Build, aws: Emulator, stack: Stack
) -> None:
    """Delete the stack of the other tests; this test runs last."""
    before = inventory(aws.place)
    resources = stack.resources
    come_to_rest(stack)

    stack.delete()

    gone = before - inventory(aws.place)
    # The inventory knows some resources by other names than CloudFormation does. Only the names
    # that the inventory had before are compared.
    expected = {resource["PhysicalResourceId"] for resource in resources} & {
        thing.name for thing in before
    }
    assert {thing.name for thing in gone} >= expected - documented(built, resources)
    assert documented(built, resources) <= {thing.name for thing in inventory(aws.place)}
    assert len(expected) > len(resources) / 2
