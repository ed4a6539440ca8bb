"""Create SDK clients with the process's credentials or those of a reader role.

Clients retry throttled calls with backoff and wait at most 2 seconds for a connection and 5 for an
answer, because a verdict also stands without configuration.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

from botocore.config import Config

from flowverdict.core.aws_client import reject_malformed_responses

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from botocore.client import BaseClient


# Four tries wait at most 1 + 2 + 4 s in total
# (https://docs.aws.amazon.com/boto3/latest/guide/retries.html). A bucket that refills with 20 calls
# a second has room for a call long before that.
_TRIES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Temporary credentials of a role."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expires_at: datetime


class ClientFactory(Protocol):
    """Creates SDK clients; without credentials, with those of the process."""

    def __call__(self, service: str, region: str, credentials: Credentials | None) -> BaseClient:
        """Return a client of ``ec2``, ``elbv2`` or ``sts``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderRole:
    """The role that lets this account read another account; it has the same name in each.

    Parameters
    ----------
    accounts
        Those that have the role; empty for all. Account ids come from records.
    organization
        The organization outside which IAM refuses to assume the role; ``None`` if it is not known.
    """

    name: str
    external_id: str | None = None
    partition: str = "aws"
    accounts: frozenset[str] = frozenset()
    organization: str | None = None

    def arn(self, account_id: str) -> str:
        """Return the ARN of the role in an account."""
        return f"arn:{self.partition}:iam::{account_id}:role/{self.name}"

    def external_id_for(self, account_id: str) -> str | None:
        """Return the external id for an account that is listed or, by IAM, in the organization.

        A role of this name in any other account would learn it.
        """
        is_ours = account_id in self.accounts or self.organization is not None
        return self.external_id if is_ours else None


def client_factory(config: Config | None = None) -> ClientFactory:
    """Return a factory of boto3 clients.

    By default they retry throttled calls with backoff, and time out after 2 seconds for a
    connection and 5 seconds for an answer.
    """
    import boto3  # noqa: PLC0415 - takes half a second, needed only where clients are created

    used = config or Config(
        connect_timeout=2,
        read_timeout=5,
        retries={"mode": "standard", "total_max_attempts": _TRIES},
    )

    def make(service: str, region: str, credentials: Credentials | None) -> BaseClient:
        secrets = {}
        if credentials is not None:
            secrets = {
                "aws_access_key_id": credentials.access_key_id,
                "aws_secret_access_key": credentials.secret_access_key,
                "aws_session_token": credentials.session_token,
            }
        untyped = cast("Callable[..., BaseClient]", boto3.client)
        return reject_malformed_responses(
            untyped(service, region_name=region, config=used, **secrets)
        )

    return make


class StsClient(Protocol):
    """The part of the SDK's STS client that is used."""

    def assume_role(
        self,
        *,
        RoleArn: str,  # noqa: N803 - AWS's names
        RoleSessionName: str,  # noqa: N803 - AWS's names
        **arguments: str,
    ) -> Mapping[str, Any]:
        """Return temporary credentials of the role under the key ``Credentials``."""
