"""Events of SNS for the functions that post notifications, and a notice to post."""

from __future__ import annotations

from typing import Any

from flowverdict.alerts.model import Kind, Notice, Section, Severity
from flowverdict_cli.local_aws import REGION

NOTICE = Notice(
    kind=Kind.RECORDS_LOST,
    fingerprint="e" * 32,
    severity=Severity.MEDIUM,
    severity_reason="what was rejected there cannot be known",
    title="Flow log records lost at eni-1",
    summary="AWS could not log all traffic of eni-1.",
    sections=(Section(heading="What to do", lines=("No rule has to change.",)),),
)


def sns_event(*messages: str) -> dict[str, Any]:
    """Return the event of a function that is subscribed to the alert topic."""
    return {
        "Records": [
            {
                "EventSource": "aws:sns",
                "EventVersion": "1.0",
                "EventSubscriptionArn": f"arn:aws:sns:{REGION}:123456789012:alerts:1",
                "Sns": {
                    "Type": "Notification",
                    "MessageId": "1",
                    "Subject": "x",
                    "Message": message,
                    "MessageAttributes": {},
                },
            }
            for message in messages
        ]
    }
