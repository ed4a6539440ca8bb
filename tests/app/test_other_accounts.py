"""One account cannot speak for another: what is delivered as one account's is told as its own."""

from __future__ import annotations

import base64
import gzip
import io
import json
import time
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto.core.models import DEFAULT_ACCOUNT_ID

from flowverdict.core.errors import NotAFlowLogError
from flowverdict.flowlog.object_key import ObjectRef
from flowverdict.verdict.batch import Batch
from flowverdict.verdict.contract import to_json
from flowverdict_cli.local_aws import REGION
from tests.helpers.events import (
    BUCKET,
    KEY,
    SCENARIOS,
    failed,
    notification,
    put_scenario,
    queue_event,
)
from tests.helpers.firehose_objects import envelope, members
from tests.helpers.published_schemas import validator

if TYPE_CHECKING:
    from flowverdict_cli.local_aws import Invocation, LocalAws

TENANT = "222222222222"
OWN = f"AWSLogs/{DEFAULT_ACCOUNT_ID}/vpcflowlogs/{REGION}/2026/11/22/"
OF_TENANT = OWN.replace(DEFAULT_ACCOUNT_ID, TENANT)
NAME = KEY.removeprefix(OWN)
NAME_OF_TENANT = NAME.replace(DEFAULT_ACCOUNT_ID, TENANT)


def deliver(aws: LocalAws, key: str, scenario: str, **changes: str) -> Invocation:
    """Deliver a scenario's flow log under a key, with words replaced."""
    text = (SCENARIOS / f"{scenario}.log").read_text()
    for old, new in changes.items():
        text = text.replace(old, new)
    aws.put_object(ObjectRef(bucket=BUCKET, key=key), gzip.compress(text.encode()))
    return aws.invoke(queue_event(notification(key)))


def evidence_of(aws: LocalAws) -> list[str]:
    listed = boto3.client("s3").list_objects_v2(Bucket=aws.evidence_bucket)
    return [content["Key"] for content in listed.get("Contents", [])]


def told(aws: LocalAws) -> list[dict[str, Any]]:
    alerts = aws.alerts()
    for alert in alerts:
        validator("alert").validate(alert)
    return alerts


@pytest.mark.parametrize(
    "key",
    [
        OF_TENANT + NAME % "x",
        OWN + NAME_OF_TENANT % "x",
        OF_TENANT + OWN + NAME % "x",
        f"AWSLogs/{TENANT}/vpcflowlogs/anywhere/{NAME % 'x'}",
        f"AWSLogs/{TENANT}/{NAME % 'x'}",
        f"AWSLogs/aws-account-id={TENANT}/aws-service=vpcflowlogs/aws-region={REGION}/{NAME % 'x'}",
        f"AWSLogs/aws-account-id={TENANT}/vpcflowlogs/{NAME % 'x'}",
        f"AWSLogs/{TENANT}/vpcflowlogs/cloudwatch-logs/{DEFAULT_ACCOUNT_ID}/{REGION}/x",
        OWN.replace(REGION, "us-east-1") + NAME % "x",
    ],
)
def test_a_key_whose_parts_disagree_is_refused_and_leaves_nothing(aws: LocalAws, key: str) -> None:
    invocation = deliver(aws, key, "outbound-response")

    assert failed(invocation) == ["message-0"]
    assert "do not agree about the " in invocation.failures[0]
    assert (told(aws), evidence_of(aws)) == ([], [])


def test_an_envelope_in_a_folder_of_flow_logs_speaks_for_no_other_account(aws: LocalAws) -> None:
    aws.make_samples()
    key = OF_TENANT + NAME_OF_TENANT % "x"
    lines = (SCENARIOS / "outbound-response.log").read_text().splitlines()[1:]
    documents = [envelope(lines, log_group="/sample/vpc-flow-logs", log_stream="eni")]
    aws.put_object(ObjectRef(bucket=BUCKET, key=key), members(documents))

    invocation = aws.invoke(queue_event(notification(key)))

    assert f"key names account {TENANT}" in invocation.failures[0]
    assert told(aws) == []


def test_another_accounts_interface_is_told_with_who_reported_it(aws: LocalAws) -> None:
    """The owner of a shared subnet logs the interfaces of the accounts that use the subnet."""
    invocation = deliver(aws, OF_TENANT + NAME_OF_TENANT % "x", "outbound-response")

    assert failed(invocation) == []
    (alert,) = told(aws)
    assert (alert["account_id"], alert["reported_by"]) == (DEFAULT_ACCOUNT_ID, TENANT)
    (email,) = aws.emails()
    assert f"account {DEFAULT_ACCOUNT_ID}, reported by {TENANT}, {REGION}" in email.body


def test_a_log_group_of_another_account_is_named_too(aws: LocalAws) -> None:
    header, *lines = (SCENARIOS / "outbound-response.log").read_text().splitlines()
    batch = envelope(lines, log_group="/any", log_stream="eni", owner=TENANT)
    data = base64.b64encode(gzip.compress(json.dumps(batch).encode())).decode()
    aws.invoke({"awslogs": {"data": data}}, {"LOG_FORMAT": header})
    (alert,) = told(aws)
    assert (alert["account_id"], alert["reported_by"]) == (DEFAULT_ACCOUNT_ID, TENANT)


def test_explain_names_both_accounts_too() -> None:
    content = (SCENARIOS / "outbound-response.log").read_bytes()
    batch = Batch()
    batch.add_file(io.BytesIO(content), name=OF_TENANT + NAME_OF_TENANT % "x")
    (explained,) = [json.loads(to_json(each)) for each in batch.explanations()]
    validator("explanation").validate(explained)
    assert (explained["account_id"], explained["reported_by"]) == (DEFAULT_ACCOUNT_ID, TENANT)

    with pytest.raises(NotAFlowLogError, match="do not agree about the account"):
        batch.add_file(io.BytesIO(content), name=OF_TENANT + NAME % "x")


def test_what_its_own_account_reports_keeps_its_fingerprint(aws: LocalAws) -> None:
    """An open alert of before there were reporters is not told anew."""
    aws.invoke(queue_event(notification(put_scenario(aws, "inbound-request"))))
    (alert,) = told(aws)
    assert alert["fingerprint"] == "0812e00dc422e8618bfe8c8b73595638"
    assert "reported_by" not in alert


def test_another_accounts_records_hold_back_no_alert(aws: LocalAws) -> None:
    """Blocked replies of one reporter explain nothing of another's."""
    deliver(aws, OF_TENANT + NAME_OF_TENANT % "x", "outbound-response")
    assert [alert["severity"] for alert in told(aws)] == ["critical"]

    deliver(aws, OWN + NAME % "x", "inbound-request")

    (alert,) = told(aws)
    assert (alert["severity"], "reported_by" in alert) == ("high", False)


@pytest.mark.parametrize(
    "changes",
    [
        {"REJECT": "ACCEPT"},  # as if all of it passed
        # The same again, to add to the alert and take it back.
        pytest.param({}, marks=pytest.mark.slow),
        pytest.param({"vpc-0123456789abcdef0": "vpc-0fedcba9876543210"}, marks=pytest.mark.slow),
    ],
)
def test_another_accounts_records_neither_change_nor_end_an_alert(
    aws: LocalAws, changes: dict[str, str]
) -> None:
    deliver(aws, OWN + NAME % "x", "outbound-response")
    (before,) = told(aws)

    deliver(aws, OF_TENANT + NAME_OF_TENANT % "x", "outbound-response", **changes)
    deliver(aws, OF_TENANT + NAME_OF_TENANT % "y", "inbound-response", **changes)
    aws.sweep(int(time.time()) + 60)

    assert before["fingerprint"] not in {alert["fingerprint"] for alert in told(aws)}
    aws.later()
    (ended,) = [alert for alert in told(aws) if alert.get("fingerprint") == before["fingerprint"]]
    assert (ended["records"], ended["ending"]) == (before["records"], "quiet")


@pytest.mark.slow
def test_a_notice_of_lost_records_is_its_reporters(aws: LocalAws) -> None:
    lost = {"203.0.113.12 10.0.1.5 50122 443 6 4 240": "- - - - - - -", "ACCEPT OK": "- SKIPDATA"}
    for key in (OWN + NAME % "x", OF_TENANT + NAME_OF_TENANT % "x"):
        deliver(aws, key, "outbound-response", **lost)
    notices = [alert for alert in told(aws) if alert["kind"] == "records-lost"]
    assert [notice.get("reported_by") for notice in notices] == [None, TENANT]
    assert len({notice["fingerprint"] for notice in notices}) == 2


@pytest.mark.slow
def test_no_flow_log_displaces_the_reject_reason_of_another(aws: LocalAws) -> None:
    """Of two flow logs of one account, the wider one is counted, and both are heard."""
    outbound = {
        "203.0.113.12 10.0.1.5 50122 443": "10.0.1.5 203.0.113.12 50122 443",
        "203.0.113.12 10.0.1.5 eu-west-1 ingress": "10.0.1.5 203.0.113.12 eu-west-1 egress",
    }
    deliver(aws, OWN + NAME % "x", "block-public-access", **outbound)
    assert [alert["verdict"] for alert in told(aws)] == ["block-public-access"]

    another = OWN + NAME.replace("fl-0a1b", "fl-0c2d") % "x"
    wider = {"resource-id": "resource-id traffic-path", "BPA - -": "- - - -"}
    deliver(aws, another, "block-public-access", **outbound, **wider)
    aws.later()

    details = {
        alert["verdict"]: str(alert["evidence"]) for alert in told(aws) if "verdict" in alert
    }
    assert "the flow's records do not agree" in details["undetermined"]
