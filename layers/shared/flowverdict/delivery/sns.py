"""Publish notifications to SNS: a topic each for machines, for email and for Amazon Q Developer.

A message has one text for all protocols, so that filter policies can use its attributes: SNS does
not send attributes with a message that has a text for each protocol (``MessageStructure=json``,
https://docs.aws.amazon.com/sns/latest/dg/sns-message-attributes.html). Message and attributes
together may be 256 KiB.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from flowverdict.alerts.ends import ends_of
from flowverdict.alerts.model import Alert
from flowverdict.core.aws_client import reject_malformed_responses
from flowverdict.core.errors import DeliveryError
from flowverdict.delivery.message_settings import (
    DEFAULTS,
    IN_ENDS_ATTRIBUTE,
    SLACK_CHANNEL_ATTRIBUTE,
    MessageSettings,
)
from flowverdict.delivery.renderers import amazon_q, email

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sns.type_defs import MessageAttributeValueTypeDef

    from flowverdict.alerts.model import Notification

MAX_MESSAGE_BYTES = 262_144


def attributes(notification: Notification) -> Mapping[str, MessageAttributeValueTypeDef]:
    """Return the message attributes that subscription filter policies can use."""
    values = {
        "kind": notification.kind.value,
        "status": notification.status.value,
        "severity": notification.severity.value,
    }
    if notification.ending is not None:
        values["ending"] = notification.ending.value
    if isinstance(notification, Alert):
        values |= {
            "verdict": notification.verdict,
            "leg": notification.leg,
            "direction": notification.flow_direction or "unknown",
        }
    return {name: {"DataType": "String", "StringValue": value} for name, value in values.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriptions:
    """How many subscriptions of a topic are confirmed, and how many wait for that."""

    topic_arn: str
    confirmed: int
    pending: int


def subscriptions_of(client: SNSClient, topic_arn: str) -> Subscriptions:
    """Count the subscriptions of a topic.

    Raises
    ------
    DeliveryError
        SNS did not answer.
    """
    try:
        told = client.get_topic_attributes(TopicArn=topic_arn)["Attributes"]
        return Subscriptions(
            topic_arn=topic_arn,
            confirmed=int(told["SubscriptionsConfirmed"]),
            pending=int(told["SubscriptionsPending"]),
        )
    except (BotoCoreError, ClientError, KeyError, ValueError) as error:
        raise DeliveryError(f"{topic_arn}: subscriptions not counted: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Where the alerts of an owner go; ``None`` for what stays as it is.

    Parameters
    ----------
    topic_arn
        Gets the text in place of the email topic.
    slack_channel
        Has the thread in place of the stack's channel. ``notify_slack`` reads it from the message
        attribute of the same name.
    """

    topic_arn: str | None = None
    slack_channel: str | None = None


NOBODY = Owner()


def _no_owner(_: Notification) -> Owner:
    """Return nobody."""
    return NOBODY


def _ignore(topic_arn: str, reason: str) -> None:
    """Report nothing."""


class SnsTopics:
    """The topics of alerts and notices.

    Parameters
    ----------
    client
        A boto3 SNS client of the topics' Region.
    alert_topic_arn
        Receives the JSON document.
    email_topic_arn
        Receives the text of an email with its subject; ``None`` for no email.
    chat_topic_arn
        Receives custom notifications of Amazon Q Developer in chat applications; ``None`` for none.
    settings
        The time zone of the mail, and where its links lead.
    owner_of
        Returns where a notification goes. A topic that does not take the text costs nobody a
        message: the email topic gets the text then.
    on_refused
        Called with an owner's topic and the reason where the topic did not take a text.
    """

    def __init__(  # noqa: PLR0913 - a topic for each form, each by its name
        self,
        client: SNSClient,
        alert_topic_arn: str,
        email_topic_arn: str | None = None,
        chat_topic_arn: str | None = None,
        settings: MessageSettings = DEFAULTS,
        *,
        owner_of: Callable[[Notification], Owner] = _no_owner,
        on_refused: Callable[[str, str], None] = _ignore,
    ) -> None:
        self._client = reject_malformed_responses(client)
        self._alert_topic_arn = alert_topic_arn
        self._email_topic_arn = email_topic_arn
        self._chat_topic_arn = chat_topic_arn
        self._owner_of = owner_of
        self._on_refused = on_refused
        self._settings = settings

    def publish(self, notification: Notification) -> None:
        """Publish one notification to every topic.

        Raises
        ------
        DeliveryError
            SNS did not accept a message after the retries of botocore; another topic may have
            accepted it.
        """
        owner = self._owner_of(notification)
        self._send(self._alert_topic_arn, notification, notification.to_json(), owner.slack_channel)
        if not self._is_sent_to(owner, notification) and self._email_topic_arn is not None:
            self._send(
                self._email_topic_arn, notification, email.body(notification, self._settings)
            )
        if self._chat_topic_arn is not None:
            self._send(self._chat_topic_arn, notification, amazon_q.render(notification))

    def publish_ends(self, alerts: Sequence[Alert]) -> None:
        """Publish alerts that ended alike: each by itself to machines, one text to people.

        Raises
        ------
        DeliveryError
            As ``publish``; the text goes first, since a person can read it twice.
        """
        by_owner: defaultdict[Owner, list[Alert]] = defaultdict(list)
        for alert in alerts:
            by_owner[replace(self._owner_of(alert), slack_channel=None)].append(alert)
        for owner, its in by_owner.items():
            told = its[0] if len(its) == 1 else ends_of(its)
            if not self._is_sent_to(owner, told) and self._email_topic_arn is not None:
                self._send(self._email_topic_arn, told, email.body(told, self._settings))
        together = ends_of(alerts)
        if self._chat_topic_arn is not None:
            self._send(self._chat_topic_arn, together, amazon_q.render(together))
        self._send(self._alert_topic_arn, together, together.to_json())
        for alert in alerts:
            channel = self._owner_of(alert).slack_channel
            self._send(self._alert_topic_arn, alert, alert.to_json(), channel, in_ends=True)

    def _is_sent_to(self, owner: Owner, notification: Notification) -> bool:
        """Send the text to the topic of its owner, if it has one; return whether that took it."""
        if owner.topic_arn is None:
            return False
        try:
            self._send(owner.topic_arn, notification, email.body(notification, self._settings))
        except DeliveryError as error:
            self._on_refused(owner.topic_arn, str(error))
            return False
        return True

    def _send(
        self,
        topic_arn: str,
        notification: Notification,
        message: str,
        slack_channel: str | None = None,
        *,
        in_ends: bool = False,
    ) -> None:
        named = attributes(notification)
        if in_ends:
            named = {**named, IN_ENDS_ATTRIBUTE: {"DataType": "String", "StringValue": "true"}}
        if slack_channel is not None:
            channel: MessageAttributeValueTypeDef = {
                "DataType": "String",
                "StringValue": slack_channel,
            }
            named = {**named, SLACK_CHANNEL_ATTRIBUTE: channel}
        try:
            self._client.publish(
                TopicArn=topic_arn,
                Subject=email.subject(notification),
                Message=message,
                MessageAttributes=named,
            )
        except (BotoCoreError, ClientError) as error:
            raise DeliveryError(
                f"{topic_arn}: {notification.kind} {notification.fingerprint} "
                f"not published: {error}"
            ) from error
