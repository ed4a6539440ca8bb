"""Dashboard, alarms and runbooks cover all metrics of the code, and no others."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

import flowverdict
from flowverdict.alerts.model import Kind, Notice, Severity
from flowverdict.app.deadlines import BudgetedConfigSource
from flowverdict.app.observability import Metric, Observability
from flowverdict.core.availability import NotAvailable
from flowverdict.flowlog.records import RecordCounts
from flowverdict.lifecycle.notifier import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from flowverdict.flows.model import RejectedFlow

ROOT = Path(__file__).parents[2]
PACKAGE = Path(flowverdict.__file__).parent
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
TEMPLATE = (ROOT / "template.yaml").read_text()
COLD_START = "ColdStart"  # Powertools' own
OF_AWS = ("AWS/Lambda", "AWS/SQS", "AWS/SNS", "AWS/DynamoDB", "AWS/Logs", "AWS/Events")


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
RESOURCES: dict[str, dict[str, Any]] = yaml.load(TEMPLATE, Loader=_Loader)["Resources"]  # noqa: S506 - a safe loader
ALARMS = {
    name: resource["Properties"]
    for name, resource in RESOURCES.items()
    if resource["Type"] == "AWS::CloudWatch::Alarm"
}
BOARD: dict[str, Any] = json.loads(
    RESOURCES["OperationsDashboard"]["Properties"]["DashboardBody"][0]
)


def on_dashboard() -> set[str]:
    """Return the names of the project's own metrics that the dashboard shows."""
    names: set[str] = set()
    for widget in BOARD["widgets"]:
        for metric in widget["properties"].get("metrics", []):
            if isinstance(metric[0], dict):
                names.update(re.findall(r'MetricName="(\w+)"', metric[0]["expression"]))
            elif metric[0] not in OF_AWS:
                assert metric[0] == "${AWS::StackName}"
                names.add(metric[1])
    return names


def test_every_metric_is_measured_shown_and_explained() -> None:
    sources = "".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    assert [metric for metric in Metric if f"Metric.{metric.name}" not in sources] == []
    assert re.findall(r'add_metric\(name="', sources) == []
    measured = {*Metric, COLD_START}
    assert on_dashboard() == measured
    assert set(re.findall(r"^\| `(\w+)` \|", OPERATIONS, re.MULTILINE)) == measured
    watched = {alarm["MetricName"] for alarm in ALARMS.values() if alarm["Namespace"] not in OF_AWS}
    assert watched == {Metric.RECORDS_READ, Metric.RULES_NOT_READ, Metric.POLICY_UNUSABLE}


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
    observability = Observability("classify_s3")
    told = Outcome(notified=[notice(1_000), notice(2_000), notice(None)])
    observability.finished(RecordCounts(), told, 1_600.0)
    (line,) = measured(capsys, observability)
    assert line["LagSeconds"] == [600.0, 0.0]
    assert line["service"] == "classify_s3"


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
    """A source of rules that reads none."""

    def read(
        self, account_id: str | None, region: str | None, flows: Sequence[RejectedFlow]
    ) -> NotAvailable:
        del region, flows
        return NotAvailable(f"{account_id}: AccessDenied")


def test_what_was_not_read_is_measured_once_a_place_with_its_reason(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configs = BudgetedConfigSource(Refusing())
    for account_id in ("123456789012", "210987654321", "123456789012"):
        configs.read(account_id, "eu-west-1", ())
    observability = Observability("classify_s3")
    observability.rules_not_read(configs.refused)
    observability.metrics.flush_metrics()
    *told, metrics = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert metrics["RulesNotRead"] == [2.0]
    assert [(line["message"], line["account_id"], line["reason"]) for line in told] == [
        ("rules not read", "123456789012", "123456789012: AccessDenied"),
        ("rules not read", "210987654321", "210987654321: AccessDenied"),
    ]
