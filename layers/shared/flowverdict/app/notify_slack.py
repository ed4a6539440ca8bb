"""The function ``notify_slack`` put together: documents of the alert topic to a Slack channel.

It stands beside ``application`` and imports neither the pipeline nor what reads the network's
rules, so that it starts fast.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
from aws_lambda_powertools.utilities.data_classes import SNSEvent
from aws_lambda_powertools.utilities.parameters import SecretsProvider, SSMProvider
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError
from botocore.config import Config

from flowverdict.alerts.codec import notification_from_json
from flowverdict.app.observability import Metric, Observability
from flowverdict.core.aws_client import reject_malformed_responses
from flowverdict.core.errors import DeliveryError, EnvelopeError, SettingsError, WebhookRefusedError
from flowverdict.delivery.renderers import slack
from flowverdict.delivery.slack_webhook import SlackWebhook, is_webhook_address

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flowverdict.alerts.model import Notification


# A rotated webhook is noticed by Slack's refusal, at which it is read afresh; so the age only
# bounds how long a webhook that still works stays in use after it was replaced. 5 minutes are 300
# reads a day and instance at most.
MAX_AGE_SECONDS = 300

# Three tries of at most 3 + 5 s: with the webhook's own at most 90 s this stays below a time-out of
# 120 s.
_CLIENT_CONFIG = Config(
    connect_timeout=3, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3}
)
_REFERENCE = re.compile(r"(?P<store>secretsmanager|ssm):(?P<name>[A-Za-z0-9/_+=.@:-]{1,2048})")


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretReference:
    """Where a secret is kept: ``secretsmanager:NAME_OR_ARN`` or ``ssm:/NAME``."""

    store: str
    name: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], variable: str) -> SecretReference:
        """Read and check a reference.

        Raises
        ------
        SettingsError
            It is missing or none. Its value is not told: somebody may have put the secret itself
            there.
        """
        reference = _REFERENCE.fullmatch(environment.get(variable, ""))
        if reference is None:
            state = "is no reference" if environment.get(variable) else "is not set"
            raise SettingsError(
                f"{variable}: {state}; it should be secretsmanager:NAME_OR_ARN or ssm:/NAME"
            )
        return cls(store=reference["store"], name=reference["name"])

    def __str__(self) -> str:
        return f"{self.store}:{self.name}"


class WebhookAddress:
    """The address of a webhook, cached for ``MAX_AGE_SECONDS``.

    Read from Secrets Manager, or from a SecureString of Parameter Store.
    """

    def __init__(self, reference: SecretReference) -> None:
        self._reference = reference
        self._read: Callable[[bool], object]
        if reference.store == "ssm":
            parameters = SSMProvider(
                boto3_client=reject_malformed_responses(boto3.client("ssm", config=_CLIENT_CONFIG))
            )
            self._read = lambda afresh: parameters.get(
                reference.name, max_age=MAX_AGE_SECONDS, decrypt=True, force_fetch=afresh
            )
        else:
            secrets = SecretsProvider(
                boto3_client=reject_malformed_responses(
                    boto3.client("secretsmanager", config=_CLIENT_CONFIG)
                )
            )
            self._read = lambda afresh: secrets.get(
                reference.name, max_age=MAX_AGE_SECONDS, force_fetch=afresh
            )

    def read(self, *, afresh: bool = False) -> str:
        """Give the address.

        Raises
        ------
        DeliveryError
            It cannot be read.
        SettingsError
            What is kept there is no webhook's address; it is not told what.
        """
        try:
            kept = self._read(afresh)
        except GetParameterError as error:
            raise DeliveryError(
                f"SLACK_WEBHOOK: {self._reference} cannot be read: {error}"
            ) from error
        address = kept.strip() if isinstance(kept, str) else ""
        if not is_webhook_address(address):
            hint = "; keep the address alone, not JSON" if address.startswith("{") else ""
            raise SettingsError(
                f"SLACK_WEBHOOK: what {self._reference} holds is no webhook's https address{hint}"
            )
        return address


class NotifySlack:
    """Posts alerts and notices of the alert topic to Slack.

    A failure fails the event: Lambda retries it, then moves it to the DLQ.
    """

    def __init__(self, address: WebhookAddress, observability: Observability) -> None:
        self._address = address
        self._observability = observability

    def handle(self, event: dict[str, Any], _seconds: float) -> None:
        """Post every message of the event.

        SNS sends one message with each event; of several, those before a failure are posted again.


        Raises
        ------
        EnvelopeError
            The event is not of SNS.
        NotificationError
            A message is no document of this program's.
        DeliveryError
            Slack did not take one.
        SettingsError
            What is kept as the webhook's address is none.
        """
        try:
            messages = [record.sns.message for record in SNSEvent(event).records]
        except (KeyError, TypeError) as error:
            raise EnvelopeError(f"no event of SNS: {type(error).__name__} {error}") from error
        for message in messages:
            self._post(notification_from_json(message))

    def _post(self, notification: Notification) -> None:
        text, blocks = slack.message(notification)
        address = self._address.read()
        try:
            SlackWebhook(address).post(text, blocks)
        except WebhookRefusedError:
            # The webhook may have been replaced since its address was read.
            fresh = self._address.read(afresh=True)
            if fresh == address:
                raise
            SlackWebhook(fresh).post(text, blocks)
        self._observability.count(Metric.SLACK_MESSAGES_POSTED)
        told = {
            "fingerprint": notification.fingerprint,
            "kind": notification.kind,
            "status": notification.status,
            "title": notification.title,
        }
        self._observability.logger.info("posted to Slack", extra=told)


def notify_slack(environment: Mapping[str, str]) -> Callable[[dict[str, Any], Any], Any]:
    """Build the function ``notify_slack``; raises ``SettingsError`` for a wrong environment."""
    reference = SecretReference.from_environment(environment, "SLACK_WEBHOOK")
    observability = Observability("notify_slack")
    return observability.wrap(NotifySlack(WebhookAddress(reference), observability).handle)
