"""The configuration that rejected flows need, as EC2 has it now.

Only what can bear on the flows is asked for: their interfaces, what lies at the other end, and the groups, network ACLs,
subnets, VPCs, peering connections, endpoints, route tables and prefix lists around those. Where a rule refers to a group,
*all* interfaces that hold the group are read, since a reference is a list of addresses.

A verdict stands without configuration, so nothing here raises for what AWS answers: a list that is refused, or that comes
too late, is *not known*, and the evaluation of the rest says so.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast

from botocore.exceptions import BotoCoreError, ClientError

from flowverdict.core.availability import NotAvailable
from flowverdict.core.errors import ConfigError, NotReadError
from flowverdict.core.untrusted import is_account_id, is_region, is_resource_id
from flowverdict.network.describe import not_read
from flowverdict.network.ec2_cache import Answers, Place, PlaceKey
from flowverdict.network.ec2_clients import ClientFactory, Credentials, ReaderRole, StsClient
from flowverdict.network.ec2_reading import KEPT_SECONDS, SHOWN, Reading, ReadingContext, gather

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from botocore.client import BaseClient

    from flowverdict.flows.model import RejectedFlow
    from flowverdict.network.configuration import NetConfig
    from flowverdict.network.ec2_reading import AnyLogger


BUDGET_SECONDS = (
    10.0  # a sixth of the functions' time-out; the verdicts and their delivery need the rest
)

MAX_PLACES = 64  # accounts x Regions whose client and credentials are kept

_CREDENTIALS_SPARE = timedelta(minutes=5)  # clocks differ, and a reading takes its time
_SESSION_NAME = "flowverdict"


# --- the source -------------------------------------------------------------------------------------------------------


class Ec2Config:
    """Reads configuration from EC2, in the function's own account and, through a role, in others.

    Not safe for threads; a Lambda function's environment has one.

    Parameters
    ----------
    clients
        Makes the clients, each when it is first needed.
    logger
        Told of every list that could not be read.
    default_region
        Where to read for records that name no Region, and where STS is asked.
    own_account
        Its configuration is read with the process's own credentials; ``None`` reads that of every account so.
    reader_role
        What to assume in other accounts.
    budget_seconds
        After this long a reading makes no further calls.
    kept_seconds
        How long answers are used again.
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
        kept_seconds: float = KEPT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._context = ReadingContext(
            answers=Answers(clock),
            logger=logger,
            budget_seconds=budget_seconds,
            kept_seconds=kept_seconds,
            clock=clock,
            now=now,
        )
        self._clients = clients
        self._default_region = default_region
        self._own_account = own_account
        self._reader_role = reader_role
        self._places: dict[PlaceKey, Place] = {}
        self._roles: dict[str, Credentials | tuple[float, NotReadError]] = {}

    def read(
        self, account_id: str | None, region: str | None, flows: Sequence[RejectedFlow]
    ) -> NetConfig | NotAvailable:
        """Give what the flows, all of one account and Region, need to be judged; or say in one line why it cannot be read."""
        interface_ids = {
            one
            for flow in flows
            if (one := flow.interface_id) is not None and is_resource_id(one, "eni")
        }
        if not interface_ids:
            return NotAvailable("no network interface is named")
        region = self._default_region if region is None else region
        if account_id is not None and not is_account_id(account_id):
            return NotAvailable(f"{ascii(account_id)[:SHOWN]} is no account id")
        if region is None:
            return NotAvailable("no Region is named")
        if not is_region(region):
            return NotAvailable(f"{ascii(region)[:SHOWN]} is no Region")
        if self._reader_role is None and not self._is_own(account_id):
            return NotAvailable(
                f"the interface belongs to account {account_id}, and no reader role is configured"
            )
        deadline = self._context.clock() + self._context.budget_seconds
        try:
            return gather(
                Reading(self._context, self._place(account_id, region), deadline),
                flows,
                interface_ids,
            )
        except NotReadError as error:
            return NotAvailable(str(error))
        except ConfigError as error:
            return NotAvailable(f"AWS's answer is not of a known shape: {error}")

    def _is_own(self, account_id: str | None) -> bool:
        return self._own_account is None or account_id in {None, self._own_account}

    def _place(self, account_id: str | None, region: str) -> Place:
        key = PlaceKey(None if self._is_own(account_id) else account_id, region)
        credentials = None if key.account_id is None else self._credentials(key.account_id)
        place = self._places.pop(key, None)
        if place is None or place.credentials != credentials:
            place = Place(key, self._client("ec2", region, credentials), credentials)
        self._places[key] = place  # back at the end: the one not used for longest is dropped first
        if len(self._places) > MAX_PLACES:
            del self._places[next(iter(self._places))]
        return place

    def _client(self, service: str, region: str, credentials: Credentials | None) -> BaseClient:
        try:
            return self._clients(service, region, credentials)
        except BotoCoreError as error:
            raise not_read(f"client of {service} in {region}", error) from error

    def _credentials(self, account_id: str) -> Credentials:
        kept = self._roles.get(account_id)
        if (
            isinstance(kept, Credentials)
            and kept.expires_at - _CREDENTIALS_SPARE > self._context.now()
        ):
            return kept
        if isinstance(kept, tuple) and self._context.clock() < kept[0]:
            raise kept[1]
        try:
            credentials = self._assume(account_id)
        except NotReadError as error:
            self._context.logger.warning(
                "reader role not assumed", extra={"account_id": account_id, "reason": error.reason}
            )
            self._remember_role(
                account_id, (self._context.clock() + self._context.kept_seconds, error)
            )
            raise
        self._remember_role(account_id, credentials)
        return credentials

    def _remember_role(
        self, account_id: str, outcome: Credentials | tuple[float, NotReadError]
    ) -> None:
        self._roles.pop(account_id, None)
        self._roles[account_id] = outcome
        if len(self._roles) > MAX_PLACES:
            del self._roles[next(iter(self._roles))]

    def _assume(self, account_id: str) -> Credentials:
        role, region = self._reader_role, self._default_region
        if role is None or region is None:
            raise NotReadError(
                "sts:AssumeRole", "no reader role is configured, or no Region to ask in"
            )
        client = cast("StsClient", self._client("sts", region, None))
        external_id = {} if role.external_id is None else {"ExternalId": role.external_id}
        try:
            answer = client.assume_role(
                RoleArn=role.arn(account_id), RoleSessionName=_SESSION_NAME, **external_id
            )
        except (ClientError, BotoCoreError) as error:
            raise not_read(f"sts:AssumeRole of {role.arn(account_id)}", error) from error
        given = answer["Credentials"]
        return Credentials(
            access_key_id=given["AccessKeyId"],
            secret_access_key=given["SecretAccessKey"],
            session_token=given["SessionToken"],
            expires_at=given["Expiration"],
        )
