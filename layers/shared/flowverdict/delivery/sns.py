"""Publishes alerts to an SNS topic: one message an alert.

``MessageStructure=json`` lets each kind of subscriber have its own text (``default`` for machines, ``email`` for people):
https://docs.aws.amazon.com/sns/latest/api/API_Publish.html. All versions and attributes together may be 256 KiB.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from flowverdict.delivery import email
from flowverdict.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sns.type_defs import MessageAttributeValueTypeDef

    from flowverdict.alerts import Alert

MAX_MESSAGE_BYTES = 262_144


def message(alert: Alert) -> str:
    """Give the message with its versions by protocol."""
    return json.dumps({"default": alert.to_json(), "email": email.body(alert)})


def attributes(alert: Alert) -> Mapping[str, MessageAttributeValueTypeDef]:
    """Give what subscription filter policies can ask for."""
    values = {
        "severity": alert.severity.value,
        "verdict": alert.key.verdict.value,
        "leg": alert.key.leg.value,
        "direction": "unknown" if alert.key.direction is None else alert.key.direction.value,
    }
    return {name: {"DataType": "String", "StringValue": value} for name, value in values.items()}


class SnsTopic:
    """The topic alerts go to.

    Parameters
    ----------
    client
        A boto3 SNS client of the topic's Region.
    topic_arn
        Where to publish.
    """

    def __init__(self, client: SNSClient, topic_arn: str) -> None:
        self._client = client
        self._topic_arn = topic_arn

    def publish(self, alert: Alert) -> None:
        """Publish one alert.

        Raises
        ------
        DeliveryError
            SNS did not take the message, after botocore's retries.
        """
        try:
            self._client.publish(
                TopicArn=self._topic_arn,
                Subject=email.subject(alert),
                Message=message(alert),
                MessageStructure="json",
                MessageAttributes=attributes(alert),
            )
        except (BotoCoreError, ClientError) as error:
            raise DeliveryError(f"{self._topic_arn}: alert {alert.key.fingerprint} not published: {error}") from error
