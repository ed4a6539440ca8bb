"""Read a secret, such as a webhook's address, from where AWS stores it, and cache it.

No error text of this module holds a secret.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from aws_lambda_powertools.utilities.parameters import SecretsProvider, SSMProvider
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError
from botocore.config import Config

from flowverdict.core.aws_client import reject_malformed_responses
from flowverdict.core.errors import DeliveryError, SettingsError
from flowverdict.delivery.webhook import is_webhook_address

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


# An address that the chat tool refuses is read again at once. The maximum age only bounds how long
# an address that still works stays in use after its replacement. 5 minutes are at most 300 reads a
# day for each instance of the function.
MAX_AGE_SECONDS = 300

# Three tries of at most 3 + 5 s: with at most 90 s for the webhook, below a time-out of 120 s.
_CLIENT_CONFIG = Config(
    connect_timeout=3, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3}
)
_REFERENCE = re.compile(r"(?P<store>secretsmanager|ssm):(?P<name>[A-Za-z0-9/_+=.@:-]{1,2048})")


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretReference:
    """Where a secret is stored: ``secretsmanager:NAME_OR_ARN`` or ``ssm:/NAME``.

    Parameters
    ----------
    variable
        The environment variable that holds the reference; error texts name it.
    """

    variable: str
    store: str
    name: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], variable: str) -> SecretReference:
        """Read and check a reference.

        Raises
        ------
        SettingsError
            The variable is missing or not a reference. The error text does not hold its value,
            which may be the secret itself.
        """
        reference = _REFERENCE.fullmatch(environment.get(variable, ""))
        if reference is None:
            state = "is not a reference" if environment.get(variable) else "is not set"
            raise SettingsError(
                f"{variable}: {state}; it should be secretsmanager:NAME_OR_ARN or ssm:/NAME"
            )
        return cls(variable=variable, store=reference["store"], name=reference["name"])

    def __str__(self) -> str:
        return f"{self.store}:{self.name}"


class StoredSecret:
    """A secret in Secrets Manager or in a SecureString of Parameter Store.

    The secret is cached for ``MAX_AGE_SECONDS``.

    Parameters
    ----------
    is_right
        Whether a text is such a secret.
    what
        What the secret is, for errors.
    config
        How long the client waits, and how often it tries.
    """

    def __init__(
        self,
        reference: SecretReference,
        *,
        is_right: Callable[[str], bool] = is_webhook_address,
        what: str = "a webhook's https address",
        config: Config = _CLIENT_CONFIG,
    ) -> None:
        self._reference = reference
        self._is_right = is_right
        self._what = what
        self._read: Callable[[bool], object]
        if reference.store == "ssm":
            parameters = SSMProvider(
                boto3_client=reject_malformed_responses(boto3.client("ssm", config=config))
            )
            self._read = lambda afresh: parameters.get(
                reference.name, max_age=MAX_AGE_SECONDS, decrypt=True, force_fetch=afresh
            )
        else:
            secrets = SecretsProvider(
                boto3_client=reject_malformed_responses(
                    boto3.client("secretsmanager", config=config)
                )
            )
            self._read = lambda afresh: secrets.get(
                reference.name, max_age=MAX_AGE_SECONDS, force_fetch=afresh
            )

    def read(self, *, afresh: bool = False) -> str:
        """Return the secret; ``afresh`` ignores the cache.

        Raises
        ------
        DeliveryError
            The secret cannot be read.
        SettingsError
            The secret is not what it should be; the error text does not hold it.
        """
        reference = self._reference
        try:
            stored = self._read(afresh)
        except GetParameterError as error:
            raise DeliveryError(
                f"{reference.variable}: {reference} cannot be read: {error}"
            ) from error
        secret = stored.strip() if isinstance(stored, str) else ""
        if not self._is_right(secret):
            hint = "; store it alone, not JSON" if secret.startswith("{") else ""
            raise SettingsError(
                f"{reference.variable}: {reference} does not hold {self._what}{hint}"
            )
        return secret
