"""The retention figures of ``docs/personal-data.md`` are those of the template and the code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flowverdict.delivery.slack_thread_items import KEPT as THREADS_KEPT
from flowverdict.lifecycle.dynamodb_source_items import KEPT
from flowverdict.lifecycle.intervals import Intervals
from tests.helpers.sam_template import read_template

ROOT = Path(__file__).parents[2]
TEMPLATE: dict[str, Any] = read_template(ROOT / "template.yaml")
RESOURCES: dict[str, Any] = TEMPLATE["Resources"]
STANDARD: dict[str, Any] = TEMPLATE["Mappings"]["Environments"]["standard"]
TEXT = (ROOT / "docs" / "personal-data.md").read_text()
ROWS = {
    cells[1]: cells[3]
    for line in TEXT.splitlines()
    if line.startswith("| ")
    for cells in [[cell.strip() for cell in line.split("|")]]
}
DAY = 86_400


def _queue_days(name: str) -> int:
    seconds: int = RESOURCES[name]["Properties"]["MessageRetentionPeriod"]
    return seconds // DAY


def _evidence_days() -> int:
    rules = RESOURCES["EvidenceBucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    (days,) = [rule["ExpirationInDays"] for rule in rules if "ExpirationInDays" in rule]
    assert isinstance(days, int)
    return days


@pytest.mark.parametrize(
    ("place", "kept"),
    [
        (
            "Flow logs in the stack's bucket",
            f"{STANDARD['FlowLogRetentionDays']} days",
        ),
        ("Evidence bucket", f"{_evidence_days()} days"),
        ("Alert table: ended alerts", f"{Intervals().keep // DAY} days after the end"),
        ("Alert table: windows and sources", f"{KEPT // DAY} days"),
        ("Alert table: Slack threads", f"{THREADS_KEPT // DAY} days after the last message"),
        ("Logs of the functions", f"{STANDARD['LogRetentionDays']} days"),
        (
            "Queue of objects, and its dead-letter queue",
            f"{_queue_days('FlowLogQueue')} days, then {_queue_days('FlowLogDeadLetterQueue')}",
        ),
        (
            "Dead-letter queue of the existing bucket's events",
            f"{_queue_days('ExistingBucketDeadLetterQueue')} days",
        ),
        (
            "Dead-letter queue of log events",
            f"{_queue_days('ClassifyCloudWatchLogsDeadLetterQueue')} days",
        ),
        (
            "Dead-letter queues of Slack and Teams",
            f"{_queue_days('NotifySlackDeadLetterQueue')} days",
        ),
    ],
)
def test_what_is_kept_is_kept_as_long_as_the_page_says(place: str, kept: str) -> None:
    assert ROWS[place] == kept


def test_every_bucket_table_and_queue_is_on_the_page() -> None:
    stores = {
        name
        for name, resource in RESOURCES.items()
        if resource["Type"] in {"AWS::S3::Bucket", "AWS::DynamoDB::Table", "AWS::SQS::Queue"}
    }
    # A new store needs a row, and its name here. The sweep's queue holds no address: its events
    # say that a minute has passed.
    assert stores == {
        "FlowLogBucket",
        "EvidenceBucket",
        "AlertTable",
        "FlowLogQueue",
        "FlowLogDeadLetterQueue",
        "SignalQueue",
        "SignalDeadLetterQueue",
        "ExistingBucketDeadLetterQueue",
        "ClassifyCloudWatchLogsDeadLetterQueue",
        "NotifySlackDeadLetterQueue",
        "NotifyTeamsDeadLetterQueue",
        "SweepAlertsDeadLetterQueue",
    }


def test_the_page_is_found() -> None:
    assert "personal-data.md" in (ROOT / "docs" / "threat-model.md").read_text()
    assert "personal-data.md" in (ROOT / "README.md").read_text()
