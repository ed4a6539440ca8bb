"""An alert is sent once, however long the function that found it takes to send it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flowverdict.lifecycle.manager import AlertManager
from tests.helpers.events import failed, notification, put_scenario, queue_event
from tests.helpers.one_fast import one_fast
from tests.helpers.sam_template import read_template

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowverdict.lifecycle.notifier import Outcome
    from flowverdict.lifecycle.transitions import Transition
    from flowverdict_cli.local_aws import LocalAws

TIMEOUTS = "600 900 300"


# The second is a minute below the longest time-out, since the invocation itself takes some seconds.
@pytest.mark.parametrize("seconds", one_fast([301, 840, 901], 901))
def test_an_alert_is_sent_once_when_judging_takes_over_300_seconds(
    aws: LocalAws, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    environment = {"FUNCTION_SECONDS": TIMEOUTS}
    notify = AlertManager.notify

    def notify_late(manager: AlertManager, transitions: Sequence[Transition]) -> Outcome:
        monkeypatch.setattr(AlertManager, "notify", notify)
        at = int(time.time()) + seconds
        assert aws.sweep(at, environment).error is None
        # Only after the longest time-out the sweep takes the message for left behind.
        assert len(aws.alerts()) == (1 if seconds > 900 else 0)
        return notify(manager, transitions)

    monkeypatch.setattr(AlertManager, "notify", notify_late)
    event = queue_event(notification(put_scenario(aws, "outbound-response")))
    invocation = aws.invoke(event, environment)

    assert failed(invocation) == []
    assert len(aws.emails()) == 1
    assert len(aws.alerts()) == (0 if seconds > 900 else 1)
    assert aws.sweep(int(time.time()) + 1_700, environment).error is None
    assert aws.alerts() == []


def test_the_functions_know_the_time_outs_of_all_that_send_alerts() -> None:
    template = read_template(Path(__file__).parents[2] / "template.yaml")
    resources = template["Resources"]
    senders = {
        f"{name}.Arn"
        for name, resource in resources.items()
        if "'JudgePolicy'" in str(resource.get("Properties", {}).get("ManagedPolicyArns"))
    }
    timeouts = {
        function["Properties"]["Timeout"]["Ref"]
        for function in resources.values()
        if function["Type"] == "AWS::Serverless::Function"
        and function["Properties"]["Role"]["GetAtt"] in senders
    }
    assert len(senders) == len(timeouts) == 2
    variables = template["Globals"]["Function"]["Environment"]["Variables"]
    told = variables["FUNCTION_SECONDS"]["Sub"]
    assert {f"${{{timeout}}}" for timeout in timeouts} == {*told.split()}
