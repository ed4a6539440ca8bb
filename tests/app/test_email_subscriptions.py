"""The sweep says how many subscriptions to email are confirmed: scanners unsubscribe in silence."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import boto3
import pytest
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.sns.models import sns_backends

from flowverdict_cli.local_aws import REGION

if TYPE_CHECKING:
    from flowverdict_cli.local_aws import LocalAws


@pytest.fixture
def operators(aws: LocalAws) -> str:
    del aws
    return boto3.client("sns").create_topic(Name="operators")["TopicArn"]


def test_the_sweep_says_how_many_email_subscriptions_are_confirmed(
    aws: LocalAws, operators: str
) -> None:
    topic = sns_backends[DEFAULT_ACCOUNT_ID][REGION].topics[aws.email_topic_arn]
    topic.subscriptions_confimed, topic.subscriptions_pending = 2, 1  # moto counts none itself
    sweep = aws.sweep(int(time.time()), {"OPERATOR_TOPIC_ARN": operators})
    assert sweep.error is None
    told = {
        line["topic"]: (line["confirmed"], line["pending"])
        for line in sweep.log
        if line["message"] == "email subscriptions"
    }
    assert told == {aws.email_topic_arn: (2, 1), operators: (0, 0)}


def test_a_sweep_that_cannot_count_subscriptions_does_its_work_and_says_so(
    aws: LocalAws, operators: str
) -> None:
    boto3.client("sns").delete_topic(TopicArn=operators)
    sweep = aws.sweep(int(time.time()), {"OPERATOR_TOPIC_ARN": operators})
    assert sweep.error is None
    (line,) = [line for line in sweep.log if line["message"] == "email subscriptions not counted"]
    assert operators in line["reason"]
