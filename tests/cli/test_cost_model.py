"""The cost model: its sums, the template's settings in it, and the tables of docs/cost.md."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flowverdict.app.observability import Metric
from flowverdict.app.signals import CLOCKS_DIFFER
from flowverdict_cli import cost_model
from flowverdict_cli.cost_model import Measured, Workload
from scripts import cost_table
from tests.helpers.sam_template import read_template

if TYPE_CHECKING:
    from flowverdict_cli.cost_model import Line

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "cost.md").read_text()
TEMPLATE = (ROOT / "template.yaml").read_text()
ONE_SECOND = Measured(read_ms=1_000, evaluate_ms=100, gzip_bytes=30, evidence_bytes=10)


def by_unit(lines: tuple[Line, ...]) -> dict[str, float]:
    return {f"{line.price.what}: {line.price.unit}": line.amount for line in lines}


def default_of(parameter: str) -> str:
    (default,) = re.findall(rf"  {parameter}:\n    Type: Number\n    Default: (\d+)", TEMPLATE)
    return str(default)


def test_cpu_time_is_scaled_by_the_share_of_a_vcpu_and_by_the_factor() -> None:
    workload = Workload(records=1e6, objects=0, batch=20)
    assert cost_model.duration_ms(workload, ONE_SECOND) == pytest.approx(1_000 * 1_769 / 1_024)
    assert cost_model.duration_ms(workload, ONE_SECOND, factor=2) == pytest.approx(
        2_000 * 1_769 / 1_024
    )


def test_a_window_is_evaluated_once_for_what_is_read_in_a_minute() -> None:
    # Ten flow logs and five minutes: five invocations of two files each, each in a minute of its
    # own. An evaluation has four windows of 10,000 records.
    workload = Workload(records=10_000, objects=10, batch=2, flow_logs=10)
    assert (workload.invocations, workload.evaluations) == (5, 5)
    assert workload.evaluated_records == 5 * 4 * 10_000
    assert workload.evidence == 5 * (2 * 4 + 1)
    reading = 10 * 50 + 5 * (100 + 2 * 50 + 2 * 20)
    evaluating = 5 * (500 + 45 * 3)
    busy = 10_000 / 1e6 * 1_000 + 200_000 / 1e6 * 100
    assert cost_model.duration_ms(workload, ONE_SECOND) == pytest.approx(
        busy * 1_769 / 1_024 + reading + evaluating
    )
    # Ten invocations in the same five minutes are two in each minute.
    assert Workload(records=0, objects=10, batch=1, flow_logs=10).evaluations == 5


def test_ten_signals_go_to_an_invocation_those_of_windows_first() -> None:
    # Two windows, and each flow log's own signal.
    ten = Workload(records=0, objects=8, batch=8, flow_logs=8)
    assert (ten.signalled, ten.evaluating_invocations) == ((2,), 1)
    eleven = Workload(records=0, objects=9, batch=9, flow_logs=9)
    assert (eleven.signalled, eleven.evaluating_invocations) == ((2,), 2)
    # Two invocations that read in the same minute: their windows' signals are one.
    merged = Workload(records=0, objects=10, batch=1, flow_logs=10)
    assert merged.evaluating_invocations == 5
    # Twenty successive files of a flow log have 21 windows.
    successive = Workload(records=0, objects=20, batch=20, windows=21)
    assert (successive.feeds, successive.signalled) == (1, (10, 10, 1))
    assert successive.evaluating_invocations == 3


def test_waiting_counts_objects_invocations_evaluations_and_evidence() -> None:
    workload = Workload(records=0, objects=45, batch=20)
    assert workload.invocations == 3
    assert cost_model.duration_ms(workload, ONE_SECOND) == (
        45 * 50 + 3 * (100 + 2 * 50 + 20) + 3 * (500 + 9 * 3)
    )


def test_reading_is_billed_by_what_it_uses() -> None:
    amounts = by_unit(
        cost_model.reading_cost(
            Workload(records=2**30, objects=1_000, batch=20, flow_logs=100), ONE_SECOND
        )
    )
    # 22 signals of an invocation: of two windows, and of twenty flow logs.
    assert amounts["Lambda: requests"] == 50 + 50 * 3
    assert amounts["S3 Standard, GET: requests"] == 1_000 + 50 * 5 * 9
    assert amounts["S3 Standard, PUT and LIST: requests"] == 50 * 2 + 50
    assert amounts["S3 Standard, first tier: GB-month"] == 10 * 15 / 30
    assert amounts["SQS, standard queue: requests"] == 1_000 + 50 * 2 * 2
    assert amounts["SQS, FIFO queue: requests"] == 50 * 3 + 50 * 3 * 2
    # A mark per object, and up to when its flow log was read; ten new windows; four windows
    # evaluated, of which two have a new outcome, with three alerts in each.
    assert amounts["DynamoDB, on demand: write units"] == (
        1_000 * (1 + 4) + 10 * 4 + 50 * 4 * 2 + 100 * 3 * 10
    )
    assert amounts["DynamoDB, on demand: read units"] == (
        1_000 * 2 + 50 * 2 + 50 * 12 + 100 * 3 * 12 + 100 * 3
    )


def test_a_file_that_is_listed_takes_a_page_of_a_thousand_keys() -> None:
    workload = Workload(records=0, objects=200, batch=40, flow_logs=200)
    assert workload.evaluations == 5
    assert workload.evidence == 5 * 9
    assert (
        by_unit(cost_model.reading_cost(workload, ONE_SECOND))[
            "S3 Standard, PUT and LIST: requests"
        ]
        == 5 * 2 + 5
    )


def test_nothing_read_costs_nothing() -> None:
    workload = Workload(records=0, objects=0, batch=1)
    assert cost_model.total(cost_model.reading_cost(workload, ONE_SECOND)) == 0


def test_price_is_per_number_of_units() -> None:
    assert cost_model.LAMBDA_REQUEST.of(5_000_000) == pytest.approx(1.0)
    assert cost_model.S3_GET.of(10_000) == pytest.approx(0.004)
    assert cost_model.total(()) == 0


def test_model_has_the_settings_of_the_template() -> None:
    assert cost_table.alarms() == len(
        [
            name
            for name, resource in read_template(ROOT / "template.yaml")["Resources"].items()
            if resource["Type"] == "AWS::CloudWatch::Alarm"
            and resource["Condition"] in {"HasAlarms", "HasS3Alarms"}
        ]
    )
    for function in ("S3", "Evaluate", "Logs"):
        assert int(default_of(f"{function}FunctionMemory")) == cost_model.MEMORY_MB
    assert int(default_of("EvaluationDelaySeconds")) == cost_model.SIGNAL_SECONDS + CLOCKS_DIFFER
    assert f"BatchSize: {cost_model.BATCH} #" in TEMPLATE
    assert f"BatchSize: {cost_model.SIGNAL_BATCH} #" in TEMPLATE
    assert f"ExpirationInDays: {cost_model.EVIDENCE_DAYS} #" in TEMPLATE
    assert 60 * int(default_of("SweepMinutes")) == cost_table.SWEEP_SECONDS
    assert re.search(r"Architecture:\n    Type: String\n    Default: arm64", TEMPLATE)


@pytest.mark.slow
def test_measured_file_has_the_stated_records() -> None:
    for fields in cost_table.FORMATS.values():
        measured = cost_table.measure(3_000, fields, runs=1)  # raises where a record is not read
        assert measured.read_ms > 0 < measured.evaluate_ms
    content = cost_table.flow_logs(20_000, cost_table.FORMATS["default"])
    assert content == cost_table.flow_logs(20_000, cost_table.FORMATS["default"])
    text = gzip.decompress(content)
    assert text.count(b"\n") == 20_001
    assert text.count(b" REJECT ") / 20_000 == pytest.approx(0.01, abs=0.002)


def test_the_recommended_format_is_the_guides() -> None:
    (log_format,) = re.findall(
        r"--log-format '([^']+)'", (ROOT / "docs" / "start" / "deploy.md").read_text()
    )
    assert re.sub(r"[${}]", "", log_format) == cost_table.FORMATS["recommended"]


@pytest.mark.slow
def test_the_bytes_of_a_record_are_as_stated() -> None:
    for name, fields in cost_table.FORMATS.items():
        measured = cost_table.measure(20_000, fields, runs=1)
        assert measured.gzip_bytes == pytest.approx(cost_model.MEASURED[name].gzip_bytes, rel=0.05)
        assert measured.evidence_bytes == pytest.approx(
            cost_model.MEASURED[name].evidence_bytes, rel=0.1
        )


@pytest.mark.slow
def test_the_document_shows_what_the_command_prints() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "scripts.cost_table", "--stated"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    tables = printed.stdout.strip().split("\n\n")
    assert len(tables) == 5
    assert [table for table in tables if table not in DOCUMENT] == []


def test_a_stack_that_reads_nothing_costs_under_3_dollars_and_a_small_one_under_7() -> None:
    measured = cost_model.MEASURED["recommended"]
    idle, small = (cost_table.monthly_usd(name, measured) for name in (cost_table.IDLE, "1 M"))
    assert 0 < idle < 3
    assert idle < small < 7
    printed = cost_table.bill(measured, 1.0)
    assert f"**${idle:,.2f}** | **${small:,.2f}**" in printed
    assert f"${idle:,.2f}" in DOCUMENT


def test_metrics_cost_nothing_where_nothing_is_read() -> None:
    idle, busy = (
        by_unit(cost_table.fixed_monthly_cost(is_idle=is_idle)) for is_idle in (True, False)
    )
    assert idle["CloudWatch, custom metric: metric and month"] == 0
    # Every metric that has data without trouble, and three severities in place of one.
    steady = {Metric.RECORDS_READ, Metric.LAG, Metric.RULES_NOT_READ, Metric.ALERTS_PUBLISHED}
    assert busy["CloudWatch, custom metric: metric and month"] == len(steady) + 1 + 3


def test_guide_says_from_how_many_interfaces_on_s3_is_the_better_source() -> None:
    measured = cost_model.MEASURED["recommended"]
    files = cost_table.cheaper_from(lambda number: cost_table.files_usd(number, measured))
    gathered = cost_table.cheaper_from(lambda number: cost_table.firehose_usd(number, measured))
    assert files <= gathered
    guide = " ".join((ROOT / "docs" / "start" / "deploy.md").read_text().split())
    assert f"from {files} interfaces on, and Firehose from {gathered}" in guide


def test_the_factor_and_the_size_are_options() -> None:
    low, high = (
        cost_table.bill(cost_model.MEASURED["recommended"], factor) for factor in (1.0, 3.0)
    )
    assert low != high
    assert "10 G records" in low
