"""The life of an alert on the deployed stack: sent once, counted, ended.

Also the sweep, the digest, and the mutes of the policy.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from flowverdict.flowlog.columnar import WINDOW
from flowverdict.flowlog.records import DEFAULT_FORMATS
from scripts.pack_cloudwatch_event import pack
from tests.e2e.contract import valid
from tests.e2e.policies import start_anew
from tests.e2e.samples import (
    A_DAY,
    FOUR_HOURS,
    POLICY_NAME,
    SILENT_ON_NOTHING,
    key,
    notification,
    scenario,
    shop_delivery,
)
from tests.e2e.subscribers import function_log, metric, put_object, sweep, wait_until
from tests.helpers.parquet_files import parquet_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import Inboxes
    from tests.e2e.stack import Stack
    from tests.e2e.subscribers import Queue

FLOWS_OF_ONE = RECORDS_OF_ONE = (
    1  # what tests/scenarios/same-subnet-request.log has of its one fault
)


def end_of(stack: Stack, alerts: Queue) -> dict[str, Any]:
    """Sweep as of four hours later and return the last message of the alert.

    The message has the totals of the whole episode.
    """
    sweep(stack, FOUR_HOURS)
    (ended,) = [
        message
        for message in valid(alerts.take(1) + alerts.rest())
        if message["ending"] == "unknown"
    ]
    return ended


def passed_over(stack: Stack, function: str) -> int:
    """Count how often a function has logged that a source was read before."""
    return sum(
        line["message"] == "read before, not read again" for line in function_log(stack, function)
    )


def test_an_object_that_is_told_of_again_adds_nothing(stack: Stack, alerts: Queue) -> None:
    name = put_object(stack, key(stack.place, "redelivered"), scenario("same-subnet-request"))
    (alert,) = valid(alerts.take(1))
    before = passed_over(stack, "ClassifyS3Function")

    body = json.dumps(notification(stack.outputs["FlowLogBucketName"], name))
    for _ in range(2):
        stack.place.client("sqs").send_message(
            QueueUrl=stack.physical_id("FlowLogQueue"), MessageBody=body
        )
    wait_until(
        lambda: passed_over(stack, "ClassifyS3Function") == before + 2 or None,
        "both to have been passed over",
    )

    assert alerts.rest() == []
    assert (alert["flows"], end_of(stack, alerts)["flows"]) == (FLOWS_OF_ONE, FLOWS_OF_ONE)


def test_a_log_event_that_is_delivered_again_adds_nothing(stack: Stack, alerts: Queue) -> None:
    line = (
        "2 123456789012 eni-0bbbbbbbbbbbbbbb2 10.0.1.5 10.0.1.9 41200 3306 6 4 240 "
        "1795348808 1795348828 REJECT OK"
    )
    event = pack([line], log_group="/other/group", log_stream="eni-0bbbbbbbbbbbbbbb2-all").encode()
    client, name = stack.place.client("lambda"), stack.physical_id("ClassifyCloudWatchLogsFunction")
    before = passed_over(stack, "ClassifyCloudWatchLogsFunction")

    for _ in range(2):
        assert "FunctionError" not in client.invoke(FunctionName=name, Payload=event)

    (alert,) = valid(alerts.take(1) + alerts.rest())
    wait_until(
        lambda: passed_over(stack, "ClassifyCloudWatchLogsFunction") == before + 1 or None,
        "the second to be passed over",
    )
    assert (alert["flows"], end_of(stack, alerts)["flows"]) == (1, 1)


def test_the_same_new_fault_in_two_objects_at_one_moment_is_one_message(
    stack: Stack, alerts: Queue
) -> None:
    names = [key(stack.place, f"twin-{number}") for number in (1, 2)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda name: put_object(stack, name, scenario("same-subnet-request")), names))

    (alert,) = valid(alerts.take(1))
    wait_until(lambda: {*names} <= read_by(stack) or None, "both to have been read")
    ended = end_of(stack, alerts)

    assert ended["fingerprint"] == alert["fingerprint"]
    # One flow, of which both files have records: the alerts of a window are of all its files,
    # whichever worker reads a file at whatever time.
    assert (ended["flows"], ended["records"]) == (FLOWS_OF_ONE, 2 * RECORDS_OF_ONE)


def read_by(stack: Stack) -> set[str]:
    """Return the keys of the objects that classify_s3 has read."""
    sources = [
        str(line["source"])
        for line in function_log(stack, "ClassifyS3Function")
        if line["message"] == "flow logs read"
    ]
    return {
        source.removeprefix(f"s3://{stack.outputs['FlowLogBucketName']}/") for source in sources
    }


def test_what_is_over_is_told_and_what_is_noise_comes_in_the_digest(
    stack: Stack, inboxes: Inboxes
) -> None:
    put_object(stack, key(stack.place, "lived"), shop_delivery())
    told = {
        alert["fingerprint"] for alert in valid(inboxes.alerts.take(5)) if alert["kind"] == "reject"
    }  # the fifth: AWS lost records
    inboxes.mail.take(5)
    inboxes.chat.take(5)

    sweep(stack, FOUR_HOURS)
    sweep(stack, A_DAY)

    # Machines get each end, people one message about all.
    found = valid(inboxes.alerts.take(6) + inboxes.alerts.rest())
    ends = [alert for alert in found if alert["ending"] == "unknown"]
    ended = {alert["fingerprint"]: alert for alert in ends if alert["kind"] == "reject"}
    (together,) = [alert for alert in ends if alert["kind"] == "ends"]
    (digest,) = [alert for alert in found if alert["kind"] == "digest"]
    assert len(found) == 6
    # The fourth may be caused by hosts outside, and is told by itself.
    assert together["title"] == "3 problems may go on: no flow logs show it"
    assert ended.keys() == told
    assert all("nobody can say" in alert["status_reason"] for alert in ended.values())
    assert digest["severity"] == "low"
    mails = inboxes.mail.take_whole(3)
    assert sorted(mail.attributes["status"] for mail in mails) == ["firing", *["reminder"] * 2]
    unknown = "".join(mail.body for mail in mails if "UNKNOWN" in str(mail.subject))
    assert all(fingerprint in unknown for fingerprint in told)
    assert len(inboxes.chat.take(3)) == 3
    assert inboxes.mail.rest() == []

    sweep(stack, A_DAY)
    assert inboxes.alerts.rest() == []


def deliver(stack: Stack, window: int, *actions: str) -> None:
    """Put a file of five minutes, with one record of each action; wait until it is evaluated."""
    start = window * WINDOW
    stamp = f"{datetime.fromtimestamp(start, UTC):%Y%m%dT%H%MZ}"
    name = key(stack.place, f"live-{stamp}").replace("fl-0a1b_20261122T1200Z", f"fl-0c2d_{stamp}")
    header, *records = scenario("same-subnet-request").splitlines()
    lines = [
        record.replace("1795348808", str(start)).replace("1795348828", str(start + 20))
        for record in records
        if any(f" {action} " in record for action in actions)
    ]
    put_object(stack, name, "".join(f"{line}\n" for line in (header, *lines)))
    wait_until(lambda: name in read_by(stack) or None, "the file to be read")
    wait_until(lambda: stack.waiting_messages() == 0 or None, "its signals to be evaluated")


def test_a_source_that_falls_silent_is_a_problem_of_its_own_until_it_comes_again(
    stack: Stack, alerts: Queue
) -> None:
    """Deliver files often enough for a rhythm; then only the clock of the sweeps goes on."""
    latest = int(time.time()) // WINDOW - 1
    deliver(stack, latest - 4, "REJECT", "ACCEPT")
    (alert,) = valid(alerts.take(1))
    for window in range(latest - 3, latest):
        deliver(stack, window, "ACCEPT")

    silent_from = time.time() + 1_801  # half an hour, which ends no alert without flow logs
    sweep(stack, silent_from - time.time())
    (silent,) = valid(alerts.take(1) + alerts.rest())
    assert (silent["kind"], silent["status"]) == ("no-flow-logs", "firing")
    assert silent["severity"] == "high"
    place = stack.place
    assert f"from account {place.account_id}, {place.region} since 20" in silent["title"]

    sweep(stack, FOUR_HOURS)
    (ended,) = valid(alerts.take(1) + alerts.rest())
    assert (ended["fingerprint"], ended["ending"]) == (alert["fingerprint"], "unknown")

    wait_until(lambda: time.time() > silent_from - 1_798 or None, "a later second")
    deliver(stack, latest, "ACCEPT")
    sweep(stack, silent_from - time.time())
    (again,) = valid(alerts.take(1) + alerts.rest())
    assert (again["fingerprint"], again["status"]) == (silent["fingerprint"], "resolved")
    assert again["ending"] == "fixed"


def test_two_flow_logs_of_different_formats_show_one_traffic(stack: Stack, alerts: Queue) -> None:
    """Put the same flow as text in the default format, and as Parquet with all fields."""
    header, *records = scenario("same-subnet-request").splitlines()
    fields = DEFAULT_FORMATS[0].names
    short = [
        {**dict(zip(header.split(), record.split(), strict=True)), "version": "2"}
        for record in records
    ]
    lines = (" ".join(fields), *(" ".join(record[name] for name in fields) for record in short))
    put_object(stack, key(stack.place, "default"), "".join(f"{line}\n" for line in lines))
    (alert,) = valid(alerts.take(1))
    columns = key(stack.place, "all").replace("fl-0a1b", "fl-0c2d").replace("log.gz", "log.parquet")
    stack.place.client("s3").put_object(
        Bucket=stack.outputs["FlowLogBucketName"],
        Key=columns,
        Body=parquet_of(scenario("same-subnet-request").encode()),
    )
    told = {one["status"]: one for one in valid(alerts.take(2) + alerts.rest())}

    assert alert["vpc_id"] is None  # the default format has no VPC, and no word that decides
    assert told.keys() == {"firing", "resolved"}
    assert told["resolved"]["fingerprint"] == alert["fingerprint"]
    assert all(one["status_reason"].startswith("Corrected: ") for one in told.values())
    assert (told["firing"]["verdict"], told["firing"]["flows"]) == ("security-group", FLOWS_OF_ONE)


@pytest.fixture
def _policy_of_its_own(stack: Stack) -> Iterator[None]:
    yield
    put_policy(stack, SILENT_ON_NOTHING, "EvaluateWindowsFunction", "SweepAlertsFunction")


def put_policy(stack: Stack, text: str, *functions: str) -> None:
    """Change the policy and start the functions anew.

    A running function may use the policy that it has cached for another minute.
    """
    stack.place.client("ssm").put_parameter(
        Name=POLICY_NAME, Value=text, Type="String", Overwrite=True
    )
    for function in functions:
        start_anew(stack, function)


@pytest.mark.usefixtures("_policy_of_its_own")
def test_the_policy_mutes_and_a_broken_one_is_measured_while_the_last_good_one_holds(
    stack: Stack, alerts: Queue
) -> None:
    expected = {"match": {"port": 5432}, "reason": "a wanted reject"}
    put_policy(stack, json.dumps({"version": 1, "expected": [expected]}), "EvaluateWindowsFunction")
    put_object(stack, key(stack.place, "muted"), scenario("same-subnet-request"))
    wait_until(
        lambda: sum(metric(stack, "EvaluateWindowsFunction", "flows_muted")) or None,
        "the flow to be muted",
    )
    assert alerts.rest() == []
    assert sum(metric(stack, "SweepAlertsFunction", "PolicyUnusable")) == 0

    put_policy(stack, "{", "EvaluateWindowsFunction", "SweepAlertsFunction")
    sweep(stack, 0)

    wait_until(
        lambda: sum(metric(stack, "SweepAlertsFunction", "PolicyUnusable")) == 1 or None,
        "the metric that the alarm is on",
    )
    (line,) = [
        line
        for line in function_log(stack, "SweepAlertsFunction")
        if line["message"] == "policy not usable"
    ]
    assert POLICY_NAME in line["reason"]
    another_flow = scenario("same-subnet-request").replace(" 41200 ", " 41201 ")
    put_object(stack, key(stack.place, "still-muted"), another_flow)
    wait_until(
        lambda: (
            sum(metric(stack, "EvaluateWindowsFunction", "flows_muted")) == 2 * FLOWS_OF_ONE or None
        ),
        "it to be muted too",
    )
    assert alerts.rest() == []


def test_the_alarm_stands_on_the_metric_that_is_measured(stack: Stack) -> None:
    (alarm,) = [
        alarm
        for alarm in stack.place.client("cloudwatch").describe_alarms()["MetricAlarms"]
        if alarm["MetricName"] == "PolicyUnusable"
    ]
    assert alarm["Namespace"] == "flowverdict"
    assert alarm["Dimensions"] == [{"Name": "service", "Value": "sweep_alerts"}]
    assert alarm["AlarmActions"] == [stack.outputs["OperatorTopicArn"]]
