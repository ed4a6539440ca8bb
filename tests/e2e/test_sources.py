"""A stack that reads from an existing bucket, with a flow log, an encryption key and traces.

The test of the translated template asserts that every resource uses the key: the emulator does not
store this setting.
"""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from flowverdict.flowlog.records import RecordFormat
from tests.e2e.contract import valid
from tests.e2e.samples import key, scenario
from tests.e2e.stack import Stack
from tests.e2e.subscribers import function_log, put_object, subscribe, wait_until
from tests.helpers.firehose_objects import CONTROL, envelope, members

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.emulator import Emulator
    from tests.e2e.stack import Build

BUCKET = "logs-of-years"
PREFIX = "archive/AWSLogs/"
LOG_GROUP = "/gathered/vpc-flow-logs"
RECORDS = scenario(
    "inbound-request"
).splitlines()  # the header, which log groups do not have, first
VPC_ID = "vpc-0123456789abcdef0"
DECISIVE = {
    "tcp-flags",
    "flow-direction",
    "pkt-srcaddr",
    "pkt-dstaddr",
    "subnet-id",
    "reject-reason",
    "traffic-path",
}


@pytest.fixture(scope="module")
def sources(built: Build, aws: Emulator) -> Iterator[Stack]:
    s3 = aws.place.client("s3")
    s3.create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": aws.place.region}
    )
    s3.put_bucket_notification_configuration(
        Bucket=BUCKET, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    aws.place.client("logs").create_log_group(logGroupName=LOG_GROUP)
    stack = Stack(build=built, place=aws.place, name="flowverdict-sources")
    stack.deploy(
        {
            "ExistingBucketName": BUCKET,
            "ExistingBucketPrefix": PREFIX,
            "ExistingBucketRegion": aws.place.region,
            "FlowLogResourceId": VPC_ID,
            "FlowLogGroupName": LOG_GROUP,
            "FlowLogFormat": RECORDS[0],
            "LogGroupDelivery": "firehose",
            "EncryptionKeyArn": aws.place.client("kms").create_key()["KeyMetadata"]["Arn"],
            "Tracing": "Active",
        }
    )
    yield stack
    # A function that ran on would make its log group again.
    for rule in stack.of_type("AWS::Events::Rule").values():
        aws.place.client("events").disable_rule(Name=rule)
    stack.delete()


def test_an_object_of_the_existing_bucket_and_one_of_the_stacks_own_are_both_read(
    sources: Stack,
) -> None:
    alerts = subscribe(sources.place, sources.outputs["AlertTopicArn"], "alerts-of-sources")
    name = PREFIX + key(sources.place, "from-the=archive+1")
    body = gzip.compress(scenario("outbound-response").encode())

    sources.place.client("s3").put_object(Bucket=BUCKET, Key=name, Body=body)
    (told,) = valid(alerts.take(1))
    assert (told["leg"], told["verdict"], told["service_port"]) == ("response", "network-acl", 443)

    put_object(sources, key(sources.place, "own"), scenario("outbound-request"))
    (told,) = valid(alerts.take(1))
    assert (told["leg"], told["service_port"]) == ("request", 5432)
    read = [
        line["source"]
        for line in function_log(sources, "ClassifyS3Function")
        if line["message"] == "flow logs read"
    ]
    assert f"s3://{BUCKET}/{name}" in read


def test_an_object_as_firehose_writes_it_is_read(sources: Stack) -> None:
    """The emulator's subscriptions do not deliver to Firehose, so the object is put by hand."""
    (stream,) = sources.of_type("AWS::KinesisFirehose::DeliveryStream").values()
    described = sources.place.client("firehose").describe_delivery_stream(
        DeliveryStreamName=stream
    )["DeliveryStreamDescription"]
    (destination,) = described["Destinations"]
    prefix = destination["ExtendedS3DestinationDescription"]["Prefix"]
    assert "LogGroupSubscription" in {
        resource["LogicalResourceId"] for resource in sources.resources
    }
    alerts = subscribe(sources.place, sources.outputs["AlertTopicArn"], "alerts-of-firehose")
    # Of another VPC than the other objects' records, whose alerts would explain these.
    records = [
        line.replace("eni-0", "eni-9").replace("vpc-0", "vpc-9").replace("subnet-0", "subnet-9")
        for line in RECORDS[1:]
    ]
    batch = envelope(records, log_group=LOG_GROUP, log_stream="eni-9-all")

    sources.place.client("s3").put_object(
        Bucket=sources.outputs["FlowLogBucketName"],
        Key=f"{prefix}2026/11/22/12/{stream}-1-2026-11-22-12-05-00-x",
        Body=members([CONTROL, batch, batch]),
    )

    (told,) = valid(alerts.take(1))
    assert (told["leg"], told["service_port"]) == ("request", 443)


def test_what_does_not_begin_with_the_prefix_is_nobodys_business(sources: Stack) -> None:
    s3 = sources.place.client("s3")
    s3.put_object(Bucket=BUCKET, Key="elsewhere/x.log", Body=scenario("inbound-request").encode())
    after = PREFIX + key(sources.place, "after")
    s3.put_object(
        Bucket=BUCKET, Key=after, Body=gzip.compress(scenario("inbound-request").encode())
    )

    def read() -> list[str]:
        return [
            line["source"]
            for line in function_log(sources, "ClassifyS3Function")
            if line["message"] == "flow logs read"
        ]

    wait_until(
        lambda: f"s3://{BUCKET}/{after}" in read() or None, "the object with the prefix to be read"
    )
    assert not any("elsewhere" in line for line in read())


def test_foreign_objects_in_the_existing_bucket_fail_nothing(sources: Stack) -> None:
    s3 = sources.place.client("s3")
    own = f"{PREFIX}{sources.place.account_id}/"
    for name, body in {
        f"{own}CloudTrail/{sources.place.region}/2026/11/22/trail.json.gz": b'{"Records": []}',
        f"{own}Config/ConfigWritabilityCheckFile": b"",
        f"{own}vpcflowlogs/": b"",
    }.items():
        s3.put_object(Bucket=BUCKET, Key=name, Body=body)
    # These come to the function: one through the rule, for its name, and one from the stack's own
    # bucket, whose notifications know no such names.
    empty = PREFIX + key(sources.place, "empty")
    s3.put_object(Bucket=BUCKET, Key=empty, Body=b"")
    trail = "AWSLogs/123456789012/CloudTrail/eu-west-1/2026/11/22/trail.json.gz"
    s3.put_object(Bucket=sources.outputs["FlowLogBucketName"], Key=trail, Body=b"{}")

    def passed_over() -> list[str]:
        return [
            line["source"].partition("//")[2].partition("/")[2]
            for line in function_log(sources, "ClassifyS3Function")
            if line["message"] == "not a flow log, passed over" and line.get("source") is not None
        ]

    wait_until(lambda: {empty, trail} <= {*passed_over()} or None, "both to be passed over")
    assert {*passed_over()} == {empty, trail}  # the rule let nothing else through
    assert "message failed" not in [
        line["message"] for line in function_log(sources, "ClassifyS3Function")
    ]


def test_the_flow_log_asks_for_all_that_decides(sources: Stack, aws: Emulator) -> None:
    (flow_log,) = aws.kept("AWS::EC2::FlowLog", sources.name)
    assert (flow_log["ResourceId"], flow_log["ResourceType"], flow_log["TrafficType"]) == (
        VPC_ID,
        "VPC",
        "ALL",
    )
    assert int(flow_log["MaxAggregationInterval"]) == 60
    assert flow_log["LogDestination"] == sources.outputs["FlowLogBucketArn"]
    fields = RecordFormat.from_log_format(flow_log["LogFormat"])
    assert fields.unknown_names == ()
    assert set(fields.names) >= DECISIVE
