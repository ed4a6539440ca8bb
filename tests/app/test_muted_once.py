"""A muted flow counts once in ``FlowsMuted``, however often its window is evaluated."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import time_machine

from flowverdict.flowlog.object_key import ObjectRef
from flowverdict.lifecycle.windows import muted_flows_added
from tests.helpers.alert_samples import NOW
from tests.helpers.at_once import NoRules
from tests.helpers.events import BUCKET, notification, queue_message
from tests.helpers.flow_log_lines import content_of, key_of, request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowverdict_cli.local_aws import Invocation, LocalAws

POLICY = {"version": 1, "expected": [{"match": {"port": 22}, "reason": "a filter does its work"}]}


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("flowverdict.app.alert_wiring.Ec2Config", NoRules)
    with time_machine.travel(NOW, tick=True):
        yield


def put_policy(policy: object) -> None:
    boto3.client("ssm").put_parameter(
        Name="/policy", Value=json.dumps(policy), Type="String", Overwrite=True
    )


def put(aws: LocalAws, number: int) -> dict[str, Any]:
    """Store a file with one rejected request, on a port of its own; return the S3 notification.

    The requests of all numbers lie in one window.
    """
    key = key_of("fl-aa", number)
    ref = ObjectRef(bucket=BUCKET, key=key)
    aws.put_object(ref, content_of([request(40_000 + number, number)]))
    return notification(key)


def deliver(aws: LocalAws, *bodies: object) -> Invocation:
    records = [queue_message(str(number), body) for number, body in enumerate(bodies)]
    invocation = aws.invoke({"Records": records}, {"POLICY": "ssm:/policy"})
    assert invocation.failures == ()
    return invocation


def logged(invocation: Invocation) -> list[tuple[str, int]]:
    return [
        (line["entry"], line["flows"])
        for line in invocation.log
        if line["message"] == "muted by the policy"
    ]


@pytest.mark.slow
def test_five_files_of_one_window_with_a_muted_flow_each_count_five(aws: LocalAws) -> None:
    put_policy(POLICY)
    bodies = [put(aws, number) for number in range(5)]
    deliveries = [deliver(aws, body) for body in bodies]
    assert [one.counts["flows_muted"] for one in deliveries] == [1, 1, 1, 1, 1]
    assert [logged(one) for one in deliveries] == [[("expected[0]", 1)]] * 5

    again = deliver(aws, bodies[2])
    assert (again.counts["flows_muted"], logged(again)) == (0, [])
    assert aws.alerts() == []


@pytest.mark.slow
def test_five_files_in_one_batch_count_five(aws: LocalAws) -> None:
    put_policy(POLICY)
    delivery = deliver(aws, *(put(aws, number) for number in range(5)))
    assert (delivery.counts["flows_muted"], logged(delivery)) == (5, [("expected[0]", 5)])


@pytest.mark.slow
def test_flows_that_another_entry_mutes_after_an_edit_are_not_counted_again(aws: LocalAws) -> None:
    put_policy(POLICY)
    deliver(aws, put(aws, 0), put(aws, 1))
    silence = {"match": {"port": 22}, "until": "2027-01-01T00:00:00Z", "reason": "a test"}
    put_policy({**POLICY, "silences": [silence]})
    third = deliver(aws, put(aws, 2))
    assert (third.counts["flows_muted"], logged(third)) == (1, [("silences[0]", 1)])


@pytest.mark.slow
def test_flows_counted_as_muted_are_those_that_came_to_a_window(aws: LocalAws) -> None:
    # Without a policy the flow is not muted. With the policy, the next evaluation of the window
    # counts both flows.
    first = put(aws, 0)
    records = [queue_message("first", first)]
    assert aws.invoke({"Records": records}).counts["flows_muted"] == 0
    put_policy(POLICY)
    assert deliver(aws, first).counts["flows_muted"] == 0
    assert deliver(aws, put(aws, 1)).counts["flows_muted"] == 2


@pytest.mark.parametrize(
    ("before", "after", "added"),
    [
        ({}, {}, {}),
        ({}, {"expected[0]": 2}, {"expected[0]": 2}),
        ({"expected[0]": 2}, {"expected[0]": 5}, {"expected[0]": 3}),
        ({"expected[0]": 2}, {}, {}),
        ({"expected[0]": 2}, {"expected[0]": 1}, {}),
        ({"expected[0]": 2}, {"silences[0]": 2}, {}),
        ({"expected[0]": 2}, {"silences[0]": 3}, {"silences[0]": 1}),
        (
            {"expected[0]": 3},
            {"silences[0]": 2, "silences[1]": 3},
            {"silences[1]": 2},
        ),
    ],
)
def test_growth_of_muted_flows_is_the_difference_of_the_totals(
    before: dict[str, int], after: dict[str, int], added: dict[str, int]
) -> None:
    assert muted_flows_added(before, after) == added
