"""Build the events that invoke the functions: S3 notifications, SQS and SNS records."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moto.core.models import DEFAULT_ACCOUNT_ID

from flowverdict.flowlog.object_key import ObjectRef
from flowverdict_cli.local_aws import REGION

if TYPE_CHECKING:
    from flowverdict_cli.local_aws import Invocation, LocalAws

SCENARIOS = Path(__file__).parents[1] / "scenarios"
BUCKET = "flow-logs"
KEY = (
    f"AWSLogs/{DEFAULT_ACCOUNT_ID}/vpcflowlogs/{REGION}/2026/11/22/"
    f"{DEFAULT_ACCOUNT_ID}_vpcflowlogs_{REGION}_fl-0a1b_20261122T1200Z_%s.log.gz"
)


def notification(key: str) -> dict[str, Any]:
    """Build S3's notification of a new object, whose key S3 percent-encodes."""
    s3 = {
        "s3SchemaVersion": "1.0",
        "bucket": {"name": BUCKET},
        "object": {"key": key.replace("=", "%3D"), "size": 1},
    }
    return {
        "Records": [
            {
                "eventVersion": "2.6",
                "eventSource": "aws:s3",
                "eventName": "ObjectCreated:Put",
                "s3": s3,
            }
        ]
    }


def queue_message(message_id: str, body: object) -> dict[str, Any]:
    """Build an SQS record as Lambda gets it. A body that is not text becomes JSON."""
    return {
        "messageId": message_id,
        "receiptHandle": "handle",
        "body": body if isinstance(body, str) else json.dumps(body),
        "attributes": {"ApproximateReceiveCount": "1"},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:{REGION}:{DEFAULT_ACCOUNT_ID}:flow-logs",
        "awsRegion": REGION,
    }


def queue_event(*bodies: object) -> dict[str, Any]:
    """Build a batch of SQS records, whose ids are ``message-0`` and so on."""
    return {
        "Records": [queue_message(f"message-{index}", body) for index, body in enumerate(bodies)]
    }


def sns_event(*messages: str, **attributes: str) -> dict[str, Any]:
    """Build the event by which SNS invokes a function, with attributes of each message."""
    return {
        "Records": [
            {
                "EventSource": "aws:sns",
                "EventVersion": "1.0",
                "EventSubscriptionArn": f"arn:aws:sns:{REGION}:{DEFAULT_ACCOUNT_ID}:alerts:1",
                "Sns": {
                    "Type": "Notification",
                    "MessageId": "1",
                    "Subject": "x",
                    "Message": message,
                    "MessageAttributes": {
                        name: {"Type": "String", "Value": text} for name, text in attributes.items()
                    },
                },
            }
            for message in messages
        ]
    }


def put_scenario(aws: LocalAws, name: str) -> str:
    """Store a scenario's flow log as an object of the bucket; return its key."""
    key = KEY % name.replace(".", "-")
    content = (SCENARIOS / f"{name}.log").read_bytes()
    aws.put_object(ObjectRef(bucket=BUCKET, key=key), gzip.compress(content))
    return key


def failed(invocation: Invocation) -> list[str]:
    """Return the ids of the messages that go back to the queue."""
    assert isinstance(invocation.answer, dict)
    return [item["itemIdentifier"] for item in invocation.answer["batchItemFailures"]]
