"""Read from EC2 the current configuration that rejected flows need, in any account and Region.

Only what can matter to the flows is read: their interfaces, the interfaces at the remote ends, and
the security groups, network ACLs, subnets, VPCs, peering connections, endpoints, route tables and
prefix lists around them. Where a rule refers to a security group, *all* interfaces that hold the
group are read, since a reference is a list of addresses. Network load balancers that may be in
front of the interfaces are read by ``network.elb``.

A verdict stands without configuration, so nothing here raises for what AWS answers: a list that
AWS refuses, or that would come too late, is *not known*, and the evaluation of the rest says so.
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, cast

from botocore.exceptions import BotoCoreError, ClientError

from flowverdict.core.availability import NotAvailable, NotSetUp
from flowverdict.core.errors import ConfigError, NotReadError
from flowverdict.core.untrusted import is_account_id, is_region, is_resource_id
from flowverdict.network.describe import not_read
from flowverdict.network.ec2_cache import (
    CACHE_SECONDS,
    AccountRegion,
    Ec2Access,
    QueryCache,
    Refusal,
)
from flowverdict.network.ec2_clients import ClientFactory, Credentials, ReaderRole, StsClient
from flowverdict.network.ec2_reading import Reading, ReadingContext, gather

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from botocore.client import BaseClient

    from flowverdict.flows.model import RejectedFlow
    from flowverdict.network.configuration import NetConfig
    from flowverdict.network.ec2_reading import AnyLogger


# A sixth of the functions' time-out; the verdicts and their delivery need the rest.
BUDGET_SECONDS = 10.0

# Accounts x Regions whose client and credentials are cached.
MAX_ACCOUNT_REGIONS = 64

_CREDENTIALS_SPARE = timedelta(minutes=5)  # clocks differ, and a reading takes time
_SESSION_NAME = "flowverdict"
_SHOWN = 40  # characters of a wrong account id or Region; enough to find it by


class Ec2Config:
    """Reads configuration from EC2, in the function's own account and, through a role, in others.

    Not safe for threads; a Lambda function's environment has one thread.

    Parameters
    ----------
    clients
        Creates the clients, each when it is first needed.
    logger
        Logs a warning for every list that could not be read.
    default_region
        The Region of records that name none, and the Region where STS is called.
    own_account
        The account that is read with the process's own credentials; ``None`` reads every account
        with them.
    reader_role
        The role to assume in other accounts.
    budget_seconds
        How long one reading may make calls.
    cache_seconds
        How long results are used again.
    clock, now
        Seconds of which only differences matter, and the time of day.
    """

    def __init__(  # noqa: PLR0913 - all by name, and all but three have a default
        self,
        *,
        clients: ClientFactory,
        logger: AnyLogger,
        default_region: str | None,
        own_account: str | None = None,
        reader_role: ReaderRole | None = None,
        budget_seconds: float = BUDGET_SECONDS,
        cache_seconds: float = CACHE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._context = ReadingContext(
            cache=QueryCache(clock),
            logger=logger,
            budget_seconds=budget_seconds,
            cache_seconds=cache_seconds,
            clock=clock,
            now=now,
        )
        self._clients = clients
        self._default_region = default_region
        self._own_account = own_account
        self._reader_role = reader_role
        self._accesses: dict[AccountRegion, Ec2Access] = {}
        self._roles: dict[str, Credentials | Refusal] = {}

    def has_seen(self, account_id: str) -> bool:
        """Return whether an account is listed, or its role was assumed lately."""
        role = self._reader_role
        is_listed = role is not None and account_id in role.accounts
        return is_listed or isinstance(self._roles.get(account_id), Credentials)

    def read(
        self,
        account_id: str | None,
        region: str | None,
        flows: Sequence[RejectedFlow],
        *,
        seconds: float | None = None,
    ) -> NetConfig | NotAvailable:
        """Return the configuration that the flows, all of one account and Region, need.

        ``seconds`` shortens the time for reading. ``NotAvailable`` gives the reason in one line
        where it cannot be read.
        """
        interface_ids = {
            flow.interface_id
            for flow in flows
            if flow.interface_id is not None and is_resource_id(flow.interface_id, "eni")
        }
        if not interface_ids:
            return NotSetUp("no network interface is named")
        region = self._default_region if region is None else region
        if region is None:
            return NotAvailable("no Region is named")
        if (reason := self._why_not(account_id, region)) is not None:
            return NotSetUp(reason)
        context = self._context
        if seconds is not None:
            context = replace(context, budget_seconds=min(seconds, context.budget_seconds))
        deadline = context.clock() + context.budget_seconds
        try:
            access = self._access(account_id, region)
            reading = Reading(context, access, deadline)
            config = gather(reading, flows, interface_ids)
        except NotReadError as error:
            return NotAvailable(str(error), retry_helps=not error.denied)
        except ConfigError as error:
            return NotAvailable(f"AWS's answer is not of a known shape: {error}")
        if all(failure.denied for failure in reading.failures):
            return config
        return replace(config, retry_helps=True)

    def _is_own(self, account_id: str | None) -> bool:
        return self._own_account is None or account_id in {None, self._own_account}

    def _why_not(self, account_id: str | None, region: str) -> str | None:
        """Return why nobody has set up this account and Region to be read; ``None`` if one has."""
        if account_id is not None and not is_account_id(account_id):
            return f"{ascii(account_id)[:_SHOWN]} is not an account id"
        if not is_region(region):
            return f"{ascii(region)[:_SHOWN]} is not a Region"
        if self._is_own(account_id):
            return None
        if self._reader_role is None:
            return (
                f"the interface belongs to account {account_id}, and no reader role is configured"
            )
        if self._reader_role.accounts and account_id not in self._reader_role.accounts:
            return f"account {account_id} is not one whose rules are to be read"
        return None

    def _access(self, account_id: str | None, region: str) -> Ec2Access:
        account_region = AccountRegion(
            account_id=None if self._is_own(account_id) else account_id, region=region
        )
        role_account = account_region.account_id
        credentials = None if role_account is None else self._credentials(role_account)
        access = self._accesses.pop(account_region, None)
        if access is None or access.credentials != credentials:
            access = Ec2Access(
                account_region=account_region,
                credentials=credentials,
                make_client=partial(self._client, region=region, credentials=credentials),
            )
        # Back at the end: the least recently used is removed first.
        self._accesses[account_region] = access
        if len(self._accesses) > MAX_ACCOUNT_REGIONS:
            del self._accesses[next(iter(self._accesses))]
        return access

    def _client(self, service: str, region: str, credentials: Credentials | None) -> BaseClient:
        try:
            return self._clients(service, region, credentials)
        except BotoCoreError as error:
            raise not_read(f"client of {service} in {region}", error) from error

    def _credentials(self, account_id: str) -> Credentials:
        cached = self._roles.get(account_id)
        if (
            isinstance(cached, Credentials)
            and cached.expires_at - _CREDENTIALS_SPARE > self._context.now()
        ):
            return cached
        if isinstance(cached, Refusal) and self._context.clock() < cached.until:
            raise cached.error
        try:
            credentials = self._assume_role(account_id)
        except NotReadError as error:
            self._context.logger.warning(
                "reader role not assumed", extra={"account_id": account_id, "reason": error.reason}
            )
            until = self._context.clock() + self._context.cache_seconds
            self._store_role(account_id, Refusal(error=error, until=until))
            raise
        self._store_role(account_id, credentials)
        return credentials

    def _store_role(self, account_id: str, outcome: Credentials | Refusal) -> None:
        self._roles.pop(account_id, None)
        self._roles[account_id] = outcome
        if len(self._roles) > MAX_ACCOUNT_REGIONS:
            # First what refused: hundreds of accounts that a record names push no known one out.
            refused = (name for name, held in self._roles.items() if isinstance(held, Refusal))
            del self._roles[next(refused, next(iter(self._roles)))]

    def _assume_role(self, account_id: str) -> Credentials:
        role, region = self._reader_role, self._default_region
        if role is None or region is None:
            raise NotReadError(
                "sts:AssumeRole", "no reader role is configured, or no Region to ask in"
            )
        client = cast("StsClient", self._client("sts", region, None))
        external_id = role.external_id_for(account_id)
        arguments = {} if external_id is None else {"ExternalId": external_id}
        try:
            answer = client.assume_role(
                RoleArn=role.arn(account_id), RoleSessionName=_SESSION_NAME, **arguments
            )
        except (ClientError, BotoCoreError) as error:
            raise not_read(f"sts:AssumeRole of {role.arn(account_id)}", error) from error
        issued = answer["Credentials"]
        return Credentials(
            access_key_id=issued["AccessKeyId"],
            secret_access_key=issued["SecretAccessKey"],
            session_token=issued["SessionToken"],
            expires_at=issued["Expiration"],
        )
