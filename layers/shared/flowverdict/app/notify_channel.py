"""Build the functions that post notifications of the alert topic to a message channel.

This module imports neither the pipeline nor the reading of network rules, so that these functions
start fast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.data_classes import SNSEvent

from flowverdict.alerts.codec import notification_from_json
from flowverdict.alerts.model import Kind
from flowverdict.app.message_settings import log_unknown_zone, message_settings
from flowverdict.app.observability import LogCount, Observability
from flowverdict.app.webhook_address import SecretReference, StoredSecret
from flowverdict.core.errors import EnvelopeError, WebhookRefusedError
from flowverdict.delivery.message_settings import IN_ENDS_ATTRIBUTE, SLACK_CHANNEL_ATTRIBUTE
from flowverdict.delivery.webhook import Webhook

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aws_lambda_powertools.utilities.data_classes.sns_event import SNSMessage

    from flowverdict.alerts.model import Notification
    from flowverdict.delivery.webhook import Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyChannel:
    """Posts notifications of the alert topic to a channel.

    A failure fails the event: Lambda tries again twice, then sends the event to the dead-letter
    queue.

    Parameters
    ----------
    title
        The chat tool's name.
    secret
        The webhook's address, or the token.
    post
        Posts a notification with that secret, to the channel of Slack that a route of the policy
        names, if one does; returns whether it was posted now, and not before.
    is_thread
        Whether each problem has a thread: it tells its own end, and no message tells several.
    """

    title: str
    secret: StoredSecret
    post: Callable[[str, Notification, str | None], bool]
    observability: Observability
    is_thread: bool = False

    def handle(self, event: dict[str, Any], _seconds: float) -> None:
        """Post every notification of the event.

        SNS sends one in each event; of several, those before a failure are posted again.

        Raises
        ------
        EnvelopeError
            The event is not an event of SNS.
        NotificationError
            A message is not a notification of this program.
        DeliveryError
            The chat tool did not accept a message.
        SettingsError
            The secret is not what it should be.
        """
        try:
            messages = [
                (record.sns.message, _attribute(record.sns, SLACK_CHANNEL_ATTRIBUTE))
                for record in SNSEvent(event).records
                if self.is_thread or _attribute(record.sns, IN_ENDS_ATTRIBUTE) is None
            ]
        except (KeyError, TypeError, AttributeError) as error:
            raise EnvelopeError(f"not an event of SNS: {type(error).__name__} {error}") from error
        for message, channel in messages:
            notification = notification_from_json(message)
            if not (self.is_thread and notification.kind is Kind.ENDS):
                self._post(notification, channel)

    def _post(self, notification: Notification, channel: str | None) -> None:
        secret = self.secret.read()
        try:
            is_new = self.post(secret, notification, channel)
        except WebhookRefusedError:
            # The secret may have been replaced since it was read.
            fresh = self.secret.read(afresh=True)
            if fresh == secret:
                raise
            is_new = self.post(fresh, notification, channel)
        about = {
            "fingerprint": notification.fingerprint,
            "kind": notification.kind,
            "status": notification.status,
            "title": notification.title,
        }
        if is_new:
            self.observability.note(LogCount.MESSAGES_POSTED)
            self.observability.logger.info("posted to %s", self.title, extra=about)
        else:
            self.observability.logger.info("posted to %s before", self.title, extra=about)


def _attribute(message: SNSMessage, name: str) -> str | None:
    """Return the value of one of the message's attributes; ``None`` if it is not there."""
    attributes: Any = message.get("MessageAttributes", {})
    attribute = attributes.get(name)
    return None if attribute is None else str(attribute["Value"])


def notify_channel(
    environment: Mapping[str, str],
    *,
    service: str,
    variable: str,
    channel: Channel,
) -> Callable[[dict[str, Any], Any], Any]:
    """Build a function that posts to a channel by a webhook.

    Parameters
    ----------
    service
        The function's name in log lines and metrics.
    variable
        The environment variable that holds the reference to the webhook's address.

    Raises
    ------
    SettingsError
        The variable is missing or not a reference, or a setting of the messages is wrong.
    """
    reference = SecretReference.from_environment(environment, variable)
    observability = Observability(service)
    settings = message_settings(environment)
    log_unknown_zone(settings, observability.logger)

    def post(address: str, notification: Notification, _channel: str | None) -> bool:
        # A webhook has a channel of its own.
        Webhook(channel, address, settings=settings).post(notification)
        return True

    notify = NotifyChannel(
        title=channel.title,
        secret=StoredSecret(reference),
        post=post,
        observability=observability,
    )
    return observability.wrap(notify.handle)
