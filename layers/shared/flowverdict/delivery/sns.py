"""Publishes alerts to SNS: one topic for machines, one for people's mail, one for Amazon Q Developer in chat applications.

Each message is of one structure, so that its attributes are surely there for filter policies: AWS says of a message with a version
for each protocol (``MessageStructure=json``) that attributes are not sent with it
(https://docs.aws.amazon.com/sns/latest/dg/sns-message-attributes.html). Message and attributes together may be 256 KiB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from flowverdict.alerts.model import Alert
from flowverdict.core.aws_client import reject_malformed_responses
from flowverdict.core.errors import DeliveryError
from flowverdict.delivery.renderers import amazon_q, email

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sns.type_defs import MessageAttributeValueTypeDef

    from flowverdict.alerts.model import Notification

MAX_MESSAGE_BYTES = 262_144


def attributes(notification: Notification) -> Mapping[str, MessageAttributeValueTypeDef]:
    """Give what subscription filter policies can ask for."""
    values = {
        "kind": notification.kind.value,
        "status": notification.status.value,
        "severity": notification.severity.value,
    }
    if isinstance(notification, Alert):
        values |= {
            "verdict": notification.verdict,
            "leg": notification.leg,
            "direction": notification.flow_direction or "unknown",
        }
    return {name: {"DataType": "String", "StringValue": value} for name, value in values.items()}


class SnsTopics:
    """Where alerts go.

    Parameters
    ----------
    client
        A boto3 SNS client of the topics' Region.
    alert_topic_arn
        Gets the JSON document.
    email_topic_arn
        Gets the text that people read, with its subject; ``None`` for nobody.
    chat_topic_arn
        Gets what Amazon Q Developer in chat applications understands; ``None`` for nobody.
    """

    def __init__(
        self,
        client: SNSClient,
        alert_topic_arn: str,
        email_topic_arn: str | None = None,
        chat_topic_arn: str | None = None,
    ) -> None:
        self._client = reject_malformed_responses(client)
        self._alert_topic_arn = alert_topic_arn
        self._email_topic_arn = email_topic_arn
        self._chat_topic_arn = chat_topic_arn

    def publish(self, notification: Notification) -> None:
        """Publish one document to every topic.

        Raises
        ------
        DeliveryError
            SNS did not take a message, after botocore's retries; another topic may have had it.
        """
        self._send(self._alert_topic_arn, notification, notification.to_json())
        if self._email_topic_arn is not None:
            self._send(self._email_topic_arn, notification, email.body(notification))
        if self._chat_topic_arn is not None:
            self._send(self._chat_topic_arn, notification, amazon_q.message(notification))

    def _send(self, topic_arn: str, notification: Notification, message: str) -> None:
        try:
            self._client.publish(
                TopicArn=topic_arn,
                Subject=email.subject(notification),
                Message=message,
                MessageAttributes=attributes(notification),
            )
        except (BotoCoreError, ClientError) as error:
            raise DeliveryError(
                f"{topic_arn}: {notification.kind} {notification.fingerprint} not published: {error}"
            ) from error
