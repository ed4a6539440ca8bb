"""Dashboard, alarms and runbooks cover all metrics of the code, and no others."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yaml

import flowverdict
from flowverdict.alerts.model import Kind, Notice, Severity
from flowverdict.app.deadlines import BudgetedConfigSource
from flowverdict.app.observability import (
    COUNTS_LINE,
    VERDICTS,
    ZEROS,
    LogCount,
    Metric,
    Observability,
)
from flowverdict.core.availability import NotAvailable, NotSetUp
from flowverdict.core.errors import EnvelopeError
from flowverdict.lifecycle.notifier import Outcome
from flowverdict.verdict.model import VerdictKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowverdict.flows.model import RejectedFlow

ROOT = Path(__file__).parents[2]
PACKAGE = Path(flowverdict.__file__).parent
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
TEMPLATE = (ROOT / "template.yaml").read_text()
OF_AWS = (
    "AWS/Lambda",
    "AWS/SQS",
    "AWS/SNS",
    "AWS/DynamoDB",
    "AWS/Logs",
    "AWS/Events",
    "AWS/Firehose",
)


CONTEXT = SimpleNamespace(
    function_name="any",
    memory_limit_in_mb=512,
    aws_request_id="00000000-0000-0000-0000-000000000000",
    invoked_function_arn="arn:aws:lambda:eu-west-1:123456789012:function:any",
    get_remaining_time_in_millis=lambda: 60_000,
)


class _Loader(yaml.CSafeLoader):
    """Reads CloudFormation's short functions as their arguments."""


_Loader.add_multi_constructor(
    "!",
    lambda loader, _, node: (
        loader.construct_sequence(node, deep=True)
        if isinstance(node, yaml.SequenceNode)
        else loader.construct_scalar(node)
    ),
)
TEMPLATE_DATA: dict[str, Any] = yaml.load(TEMPLATE, Loader=_Loader)  # noqa: S506 - a safe loader
RESOURCES: dict[str, dict[str, Any]] = TEMPLATE_DATA["Resources"]
ALARMS = {
    name: resource["Properties"]
    for name, resource in RESOURCES.items()
    if resource["Type"] == "AWS::CloudWatch::Alarm"
}
BOARD: dict[str, Any] = json.loads(
    RESOURCES["OperationsDashboard"]["Properties"]["DashboardBody"][0]
)


SUBSCRIPTIONS = "Email subscriptions"  # a widget of the sweep's own log line


def on_dashboard() -> set[str]:
    """Return the names of the project's own metrics that the dashboard shows."""
    names: set[str] = set()
    for widget in BOARD["widgets"]:
        for metric in widget["properties"].get("metrics", []):
            if not isinstance(metric[0], dict) and metric[0] not in OF_AWS:
                assert metric[0] == "${AWS::StackName}"
                names.add(metric[1])
    return names


def asked_of_logs() -> list[str]:
    """Return the fields that the dashboard asks the invocations' own log line for."""
    queries = [
        widget["properties"]["query"]
        for widget in BOARD["widgets"]
        if widget["type"] == "log" and widget["properties"]["title"] != SUBSCRIPTIONS
    ]
    assert all(f'filter message = "{COUNTS_LINE}"' in query for query in queries)
    return re.findall(r"sum\(([a-z_.]+)\)", "".join(queries))


def test_every_metric_is_measured_shown_and_explained() -> None:
    sources = "".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    assert [metric for metric in Metric if f"Metric.{metric.name}" not in sources] == []
    assert re.findall(r'add_metric\(name="', sources) == []
    assert on_dashboard() == {*Metric}
    asked = asked_of_logs()
    assert {name for name in asked if "." not in name} == {*LogCount}
    assert {name for name in asked if "." in name} == {
        f"{VERDICTS}.{kind.replace('-', '_')}" for kind in VerdictKind
    }
    explained = set(re.findall(r"^\| `(\w+)` \|", OPERATIONS, re.MULTILINE))
    assert explained == {*Metric, *LogCount, VERDICTS}
    watched = {
        metric["MetricName"]
        for alarm in ALARMS.values()
        for metric in metrics_of(alarm)
        if metric["Namespace"] not in OF_AWS
    }
    assert watched == {
        Metric.RULES_NOT_READ,
        Metric.POLICY_UNUSABLE,
        Metric.RECORDS_READ,
        Metric.RECORDS_MALFORMED,
    }


def metrics_of(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the metrics of an alarm: its own, or those of its expression."""
    if "Metrics" not in alarm:
        return [alarm]
    # A condition is a list here: its name, the metric, and nothing instead.
    parts = [part[1] if isinstance(part, list) else part for part in alarm["Metrics"]]
    return [part["MetricStat"]["Metric"] for part in parts if "MetricStat" in part]


def test_the_share_of_malformed_lines_is_watched_for_every_source() -> None:
    for function in ("ClassifyS3", "ClassifyCloudWatchLogs"):
        alarm = ALARMS[f"{function}MalformedAlarm"]
        share, *parts = alarm["Metrics"]
        assert share["Expression"] == "100 * malformed / read"
        assert {part["Id"]: part["MetricStat"]["Metric"]["MetricName"] for part in parts} == {
            "malformed": Metric.RECORDS_MALFORMED,
            "read": Metric.RECORDS_READ,
        }
        # Over time: five lines of one event, which fail it, may never come on a quiet stream.
        assert {part["MetricStat"]["Period"] for part in parts} == {3_600}


def test_the_last_hops_are_watched() -> None:
    keeping = {
        name
        for name, resource in RESOURCES.items()
        if "OnFailure" in str(resource.get("Properties", {}).get("EventInvokeConfig"))
    }
    lost = metrics_of(ALARMS["FailedEventsLostAlarm"])
    assert {metric["MetricName"] for metric in lost} == {"DestinationDeliveryFailures"}
    assert {metric["Dimensions"][0]["Value"] for metric in lost} == keeping
    topics = {name for name, one in RESOURCES.items() if one["Type"] == "AWS::SNS::Topic"}
    failed = metrics_of(ALARMS["NotDeliveredAlarm"])
    assert {metric["MetricName"] for metric in failed} == {"NumberOfNotificationsFailed"}
    watched = re.findall(r"(\w+)[.]TopicName", str([metric["Dimensions"] for metric in failed]))
    assert sorted(watched) == sorted(topics)


def test_a_failed_log_event_with_its_wrapper_fits_into_its_queue() -> None:
    queue = RESOURCES["ClassifyCloudWatchLogsDeadLetterQueue"]["Properties"]
    assert queue["MaximumMessageSize"] == 1 << 20  # the most SQS takes; beyond it the alarm above


def test_the_dashboard_shows_how_many_email_subscriptions_are_confirmed() -> None:
    (widget,) = [
        widget for widget in BOARD["widgets"] if widget["properties"].get("title") == SUBSCRIPTIONS
    ]
    query = widget["properties"]["query"]
    assert '"email subscriptions"' in query
    assert "latest(confirmed)" in query
    assert "latest(pending)" in query


def test_a_zero_is_sent_only_where_an_alarm_stands_on_a_minimum() -> None:
    assert {
        (alarm["Dimensions"][0]["Value"], alarm["MetricName"])
        for alarm in ALARMS.values()
        if alarm.get("Statistic") == "Minimum" and alarm["Namespace"] not in OF_AWS
    } == ZEROS


# --- alarms stand while the trouble goes on, and end when it is over ------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """How an alarm looks: seconds of a period, periods looked at, and how many of them may not be.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html
    """

    period: int
    periods: int
    needed: int

    @classmethod
    def of(cls, name: str, **parameters: int) -> Watch:
        alarm = ALARMS[name]
        periods = alarm["EvaluationPeriods"]
        if isinstance(periods, list):  # FindInMap
            mapping, key, value = periods
            periods = TEMPLATE_DATA["Mappings"][mapping][str(parameters[key])][value]
        periods = int(parameters.get(periods, periods))
        return cls(
            period=alarm["Period"],
            periods=periods,
            needed=alarm.get("DatapointsToAlarm", periods),
        )

    def stands(self, bad: Sequence[int], at: int) -> bool:
        """Whether the alarm stands at a second, with trouble measured at the seconds ``bad``."""
        newest = at // self.period  # the period that is not over yet is looked at later
        looked_at = range(newest - self.periods, newest)
        return sum(number in {second // self.period for second in bad} for number in looked_at) >= (
            self.needed
        )


def assert_no_flapping(watch: Watch, every: int) -> None:
    """Check that trouble every so many seconds is one alarm, which ends after the last."""
    assert 60 <= watch.period * watch.periods <= 86_400, "CloudWatch looks back a day"
    bad = range(7, 20 * every, every)
    first = bad[0] + watch.period
    last = bad[-1]
    assert all(watch.stands(bad, at) for at in range(first, last, 30))
    assert not watch.stands(bad, last + watch.period * (watch.periods + 1))


@pytest.mark.parametrize("alarm", ["SweepAlertsErrorAlarm", "PolicyInvalidAlarm"])
@pytest.mark.parametrize("minutes", [2, 5, 7, 30, 60])
def test_what_every_sweep_finds_is_one_alarm_however_rare_sweeps_are(
    alarm: str, minutes: int
) -> None:
    watch = Watch.of(alarm, SweepMinutes=minutes)
    assert_no_flapping(watch, 60 * minutes)
    assert watch.period * watch.periods <= 2 * 60 * minutes


@pytest.mark.parametrize("timeout", [60, 120, 300, 600, 900])
def test_a_batch_that_fails_whole_again_and_again_is_one_alarm(timeout: int) -> None:
    # SQS's waiting time and the 60 s in which Lambda gathers a batch, and the invocation.
    visibility = TEMPLATE_DATA["Mappings"]["Waits"][str(timeout)]["Visibility"]
    for watch in (
        Watch.of("ClassifyS3ErrorAlarm", S3FunctionTimeout=timeout),
        Watch.of("EvaluateWindowsErrorAlarm", EvaluateFunctionTimeout=timeout),
    ):
        assert_no_flapping(watch, visibility + 60 + timeout)


def test_the_failed_sweeps_wait_longer_than_the_rarest_sweep() -> None:
    kept = RESOURCES["SweepAlertsDeadLetterQueue"]["Properties"]["MessageRetentionPeriod"]
    assert kept >= 2 * 60 * TEMPLATE_DATA["Parameters"]["SweepMinutes"]["MaxValue"]


@pytest.mark.parametrize("function", ["Logs", "Slack", "Teams"])
def test_events_are_old_only_when_they_are_older_than_three_tries_take(function: str) -> None:
    (threshold,) = [
        alarm["Threshold"]
        for alarm in ALARMS.values()
        if f"${{{function}FunctionTimeout}}" in str(alarm["Threshold"])
    ]
    bounds = TEMPLATE_DATA["Parameters"][f"{function}FunctionTimeout"]
    for timeout in (bounds["MinValue"], bounds["MaxValue"]):
        milliseconds = int(threshold.replace(f"${{{function}FunctionTimeout}}", str(timeout)))
        # Lambda waits one minute and two between the tries
        # (https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html).
        assert milliseconds > (3 * timeout + 3 * 60) * 1_000


def test_every_alarm_has_a_runbook_with_a_command_and_every_runbook_an_alarm() -> None:
    chapter = OPERATIONS.partition("\n## Alarms\n")[2].partition("\n## ")[0]
    runbooks = dict(re.findall(r"^### (\w+)\n(.*?)(?=^### |\Z)", chapter, re.MULTILINE | re.DOTALL))
    assert set(runbooks) == set(ALARMS)
    for name, runbook in runbooks.items():
        assert "```sh\naws " in runbook, name
    named = set(re.findall(r"resource (\w+)\)", OPERATIONS))
    assert named - set(RESOURCES) == {"SweepAlertsFunctionSchedule"}  # made by SAM


def test_every_saved_query_is_named_and_asks_for_lines_that_are_written() -> None:
    queries = {
        name: resource["Properties"]
        for name, resource in RESOURCES.items()
        if resource["Type"] == "AWS::Logs::QueryDefinition"
    }
    assert len(queries) == 7
    sources = "".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    flowing = " ".join(OPERATIONS.split())
    for query in queries.values():
        title = query["Name"].removeprefix("${AWS::StackName}/")
        assert f"*{title}*" in flowing
        for line in re.findall(r'message (?:=|in) (\[.*?\]|".*?")', query["QueryString"]):
            for text in re.findall(r'"(.*?)"', line):
                assert f'"{text}"' in sources, text


def test_widgets_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for widget in BOARD["widgets"]:
        area = {
            (column, row)
            for column in range(widget["x"], widget["x"] + widget["width"])
            for row in range(widget["y"], widget["y"] + widget["height"])
        }
        assert not area & taken
        assert widget["x"] + widget["width"] <= 24
        taken |= area


# --- what is measured -----------------------------------------------------------------------------


def measured(
    capsys: pytest.CaptureFixture[str], observability: Observability
) -> list[dict[str, Any]]:
    """Return the lines of metrics that one invocation writes."""
    observability.metrics.flush_metrics()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [line for line in lines if "_aws" in line]


def notice(last_seen: int | None) -> Notice:
    return Notice(
        kind=Kind.RECORDS_LOST,
        fingerprint="0" * 32,
        severity=Severity.MEDIUM,
        severity_reason="records are missing",
        summary="Records were lost",
        title="Records lost",
        last_seen=last_seen,
    )


def test_lag_is_measured_for_each_alert_that_is_told_and_never_negative(
    capsys: pytest.CaptureFixture[str],
) -> None:
    observability = Observability("evaluate_windows")
    told = Outcome(notified=[notice(1_000), notice(2_000), notice(None)])
    observability.told(told, 1_600.0)
    (line,) = measured(capsys, observability)
    assert line["LagSeconds"] == [600.0, 0.0]
    assert line["service"] == "evaluate_windows"


def test_only_rejected_flows_count_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    observability = Observability("classify_s3")
    observability.rejected({})
    assert [line for line in capsys.readouterr().out.splitlines() if "RejectedFlows" in line] == []


def test_each_stack_has_a_namespace_of_its_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "flowverdict-dev")
    observability = Observability("sweep_alerts")
    observability.count(Metric.ALERTS_PUBLISHED)
    (line,) = measured(capsys, observability)
    assert line["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "flowverdict-dev"


class Refusing:
    """A source of rules that reads none; account 333333333333 was never to be read."""

    def read(
        self,
        account_id: str | None,
        region: str | None,
        flows: Sequence[RejectedFlow],
        *,
        seconds: float | None = None,
    ) -> NotAvailable:
        del region, flows, seconds
        kind = NotSetUp if account_id == "333333333333" else NotAvailable
        return kind(f"{account_id}: AccessDenied")


def test_what_was_not_read_is_measured_once_a_place_with_its_reason_if_it_should_be(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configs = BudgetedConfigSource(Refusing())
    for account_id in ("123456789012", "210987654321", "123456789012", "333333333333"):
        configs.read(account_id, "eu-west-1", ())
    observability = Observability("classify_s3")
    observability.rules_not_read(configs)
    observability.metrics.flush_metrics()
    *told, metrics = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert metrics["RulesNotRead"] == [2.0]
    assert [(line["message"], line["account_id"], line["reason"]) for line in told] == [
        ("rules not read", "123456789012", "123456789012: AccessDenied"),
        ("rules not read", "210987654321", "210987654321: AccessDenied"),
        ("rules not set up to be read", "333333333333", "333333333333: AccessDenied"),
    ]


def test_accounts_that_nobody_means_to_read_neither_raise_nor_end_the_alarm() -> None:
    configs = BudgetedConfigSource(Refusing())
    configs.read("333333333333", "eu-west-1", ())
    observability = Observability("classify_s3")
    observability.rules_not_read(configs)
    assert observability.metrics.metric_set == {}


def test_counters_are_sent_only_above_zero_and_an_invocation_without_news_writes_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    observability = Observability("sweep_alerts")
    handler = observability.wrap(lambda _event, _seconds: observability.notified(Outcome()))
    handler({}, CONTEXT)
    assert capsys.readouterr().out == ""

    observability.count(Metric.RULES_NOT_READ, 0)
    assert observability.metrics.metric_set == {}
    judge = Observability("evaluate_windows")
    judge.count(Metric.RULES_NOT_READ, 0)  # its alarm stands on the hour's minimum
    assert [*judge.metrics.metric_set] == [Metric.RULES_NOT_READ]


def test_what_has_no_alarm_is_one_log_line_also_of_an_invocation_that_fails(
    capsys: pytest.CaptureFixture[str],
) -> None:
    observability = Observability("classify_s3")

    def handle(_event: dict[str, Any], _seconds: float) -> None:
        observability.rejected(
            {("network-acl", Severity.HIGH): 2, ("security-group", Severity.HIGH): 3}
        )
        observability.notified(Outcome(counted=4, inhibited=1))
        raise EnvelopeError("broken")

    with pytest.raises(EnvelopeError):
        observability.wrap(handle)({}, CONTEXT)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (flows,) = [line for line in lines if "RejectedFlows" in line]
    assert (flows["RejectedFlows"], flows["severity"]) == ([5.0], "high")
    assert flows["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["severity"]]
    (finished,) = [line for line in lines if line.get("message") == COUNTS_LINE]
    assert finished["verdicts"] == {"network_acl": 2, "security_group": 3}
    assert (finished["alerts_counted"], finished["alerts_explained"]) == (4, 1)
    assert "alerts_held_back" not in finished
