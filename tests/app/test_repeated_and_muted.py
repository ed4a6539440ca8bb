"""What is measured, delivered again, cut off by the deadline, or muted by the policy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import boto3
import pytest

from flowverdict.app import deadlines
from flowverdict.flowlog.object_key import ObjectRef
from tests.helpers.events import (
    BUCKET,
    KEY,
    SCENARIOS,
    failed,
    notification,
    put_scenario,
    queue_event,
)

if TYPE_CHECKING:
    from flowverdict_cli.local_aws import LocalAws


def test_rejected_flows_are_measured_by_verdict_and_severity_and_alerts_by_their_lag(
    aws: LocalAws,
) -> None:
    told = aws.invoke(queue_event(notification(put_scenario(aws, "outbound-response"))))
    assert (told.counts["records_rejected"], told.metrics["RejectedFlows"]) == (1, 1)
    assert "LagSeconds" in told.metrics
    assert told.metrics["RulesNotRead"] in {0, 1}

    muting = {"version": 1, "expected": [{"match": {"port": 3389}, "reason": "known"}]}
    boto3.client("ssm").put_parameter(Name="/policy", Value=json.dumps(muting), Type="String")
    muted = aws.invoke(
        queue_event(notification(put_scenario(aws, "inbound-request"))), {"POLICY": "ssm:/policy"}
    )
    assert (
        muted.counts["flows_muted"] + muted.metrics.get("RejectedFlows", 0)
        == muted.counts["records_rejected"]
    )


def test_what_is_delivered_again_adds_nothing(aws: LocalAws) -> None:
    event = queue_event(notification(put_scenario(aws, "outbound-response")))
    aws.invoke(event)
    assert len(aws.alerts()) == 1

    again = aws.invoke(event)
    other_message = queue_event({"unlike": "this"}, json.loads(event["Records"][0]["body"]))
    later = aws.invoke(other_message)

    assert failed(again) == []
    assert failed(later) == ["message-0"]
    assert [one.counts["sources_delivered_again"] for one in (again, later)] == [1, 1]
    assert aws.alerts() == []
    aws.later()
    (resolved,) = aws.alerts()
    assert (resolved["status"], resolved["records"]) == ("resolved", 1)


@pytest.mark.slow
def test_what_cannot_be_read_in_time_goes_back_to_the_queue_and_the_rest_is_told(
    aws: LocalAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = [
        notification(put_scenario(aws, name)) for name in ("outbound-response", "outbound-request")
    ]
    opened: list[str] = []
    check = deadlines.ReadDeadline.check

    def over_after_the_first(self: deadlines.ReadDeadline, name: str) -> None:
        if name.startswith("s3://"):  # not the signals of what was read
            opened.append(name)
            if len({*opened}) > 1:
                monkeypatch.setattr(self, "_end", 0.0)
        check(self, name)

    monkeypatch.setattr(deadlines.ReadDeadline, "check", over_after_the_first)
    first = aws.invoke(queue_event(*messages))

    assert failed(first) == ["message-1"]
    assert "not read to its end within" in first.failures[0]
    assert [alert["leg"] for alert in aws.alerts()] == ["response"]

    monkeypatch.undo()
    again = aws.invoke(queue_event(*messages))

    # The first object is skipped and the second is read: nothing is lost or counted twice.
    assert failed(again) == []
    assert again.counts["sources_delivered_again"] == 1
    assert [alert["leg"] for alert in aws.alerts()] == ["request"]


@pytest.mark.slow
def test_what_is_muted_while_it_goes_on_ends_without_a_word(aws: LocalAws) -> None:
    aws.invoke(queue_event(notification(put_scenario(aws, "outbound-response"))))
    assert len(aws.alerts()) == 1
    silence = {"match": {"port": 443}, "until": "2999-01-01T00:00:00Z", "reason": "being mended"}
    boto3.client("ssm").put_parameter(
        Name="/policy", Value=json.dumps({"version": 1, "silences": [silence]}), Type="String"
    )
    key = KEY % "more-of-it"
    aws.put_object(
        ObjectRef(bucket=BUCKET, key=key), (SCENARIOS / "outbound-response.log").read_bytes()
    )

    aws.invoke(queue_event(notification(key)), {"POLICY": "ssm:/policy"})

    aws.later()
    assert aws.alerts() == []

    # The alert was muted and not resolved, so what comes after the silence is not notified as
    # "again".
    unmuted = KEY % "unmuted"
    aws.put_object(
        ObjectRef(bucket=BUCKET, key=unmuted), (SCENARIOS / "outbound-response.log").read_bytes()
    )
    aws.invoke(queue_event(notification(unmuted)))
    (alert,) = aws.alerts()
    assert (alert["status"], alert["status_reason"]) == ("firing", None)


def test_the_policy_mutes_what_it_names_and_a_broken_one_keeps_the_last_good(aws: LocalAws) -> None:
    ssm = boto3.client("ssm")
    muting = {"version": 1, "expected": [{"match": {"port": 443}, "reason": "known"}]}
    ssm.put_parameter(Name="/policy", Value=json.dumps(muting), Type="String")
    environment = {"POLICY": "ssm:/policy"}

    muted = aws.invoke(
        queue_event(notification(put_scenario(aws, "outbound-response"))), environment
    )

    assert aws.alerts() == []
    assert (muted.counts["flows_muted"], muted.metrics["PolicyUnusable"]) == (1, 0)

    ssm.put_parameter(Name="/policy", Value="{", Type="String", Overwrite=True)
    broken = aws.invoke(
        queue_event(notification(put_scenario(aws, "inbound-request"))), environment
    )

    assert aws.alerts() == []
    # The flow muted before lies in the same window, which is evaluated again; it counts once.
    assert (broken.counts["flows_muted"], broken.metrics["PolicyUnusable"]) == (1, 1)
    (line,) = [line for line in broken.log if line["message"] == "policy not usable"]
    assert "the last good one applies" in line["reason"]
