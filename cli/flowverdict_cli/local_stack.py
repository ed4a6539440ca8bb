"""The resources of the deployed stack that the functions use, made by hand in a local AWS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import boto3
from moto.core.models import DEFAULT_ACCOUNT_ID

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

TABLE_NAME: Final = "flowverdict-alerts"
EVIDENCE_BUCKET: Final = "flowverdict-evidence"
# The alerts table of the template; a test compares both.
TABLE: Final[Any] = {
    "BillingMode": "PAY_PER_REQUEST",
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
    "AttributeDefinitions": [
        {"AttributeName": "pk", "AttributeType": "S"},
        {"AttributeName": "due", "AttributeType": "S"},
        {"AttributeName": "due_at", "AttributeType": "N"},
    ],
    "GlobalSecondaryIndexes": [
        {
            "IndexName": "due",
            "KeySchema": [
                {"AttributeName": "due", "KeyType": "HASH"},
                {"AttributeName": "due_at", "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        }
    ],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalStack:
    """What AWS names itself of the resources, and clients to use them with."""

    s3: S3Client
    sqs: SQSClient
    topic_arn: str
    subscriber_url: str
    email_topic_arn: str
    signal_queue_url: str


def make_stack() -> LocalStack:
    """Create the two topics, one with a subscribed queue, and what keeps alerts and evidence."""
    s3, sns, sqs = boto3.client("s3"), boto3.client("sns"), boto3.client("sqs")
    topic_arn = sns.create_topic(Name="flowverdict-alerts")["TopicArn"]
    subscriber_url = sqs.create_queue(QueueName="alert-subscriber")["QueueUrl"]
    sns.subscribe(
        TopicArn=topic_arn,
        Protocol="sqs",
        Endpoint=f"arn:aws:sqs:{sqs.meta.region_name}:{DEFAULT_ACCOUNT_ID}:alert-subscriber",
        Attributes={"RawMessageDelivery": "true"},
    )
    email_topic_arn = sns.create_topic(Name="flowverdict-emails")["TopicArn"]
    boto3.client("dynamodb").create_table(TableName=TABLE_NAME, **TABLE)
    create_bucket(s3, EVIDENCE_BUCKET)
    signal_queue_url = sqs.create_queue(
        QueueName="flowverdict-signals.fifo",
        # As long as in the template, for its default time-out.
        Attributes={"FifoQueue": "true", "VisibilityTimeout": "1860"},
    )["QueueUrl"]
    return LocalStack(
        s3=s3,
        sqs=sqs,
        topic_arn=topic_arn,
        subscriber_url=subscriber_url,
        email_topic_arn=email_topic_arn,
        signal_queue_url=signal_queue_url,
    )


def create_bucket(s3: S3Client, name: str) -> None:
    """Create a bucket in the client's Region."""
    region: Any = s3.meta.region_name  # one of those that the stubs list
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": region})
