"""Find the deployed stack's alerts, and who asks, with the user's own AWS credentials."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import click
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from flowverdict.core.aws_client import error_code
from flowverdict.core.errors import FlowVerdictError, StateError
from flowverdict.core.untrusted import one_line
from flowverdict.delivery.message_settings import PAGE_KEY
from flowverdict.lifecycle.dynamodb import SILENCES, DynamoDbStore
from flowverdict.lifecycle.intervals import HOUR, Intervals
from flowverdict.lifecycle.on_call import Silences, author_from
from flowverdict_cli.stack import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from botocore.client import BaseClient

    from flowverdict.lifecycle.state_machine import AlertState

TABLE_OUTPUT = "AlertTableName"
BUCKET_OUTPUT = "EvidenceBucketName"
_MAX_OPEN = 10_000
_FOREVER = 10**11  # seconds: later than any alert is due
_FINGERPRINT = re.compile(r"[0-9a-f]{32}")
_PREFIX = re.compile(r"[0-9a-f]{1,32}")
# A person waits: a few tries within seconds.
_CONFIG = Config(
    connect_timeout=5, read_timeout=15, retries={"mode": "standard", "total_max_attempts": 4}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which stack: its name, or its table alone; Region and profile, ``None`` for the default."""

    stack_name: str
    table: str | None = None
    region: str | None = None
    profile: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """The alerts of a deployed stack.

    ``policy`` says where its policy document is, as the parameter of the stack does; ``None`` where
    there is none, or where only the table is known.
    """

    store: DynamoDbStore
    intervals: Intervals
    policy: str | None
    caller: Callable[[], str]

    def silences_to_show(self) -> Silences:
        """Return the silences; none, with a remark, where this version cannot read them."""
        try:
            return self.store.load_silences()
        except StateError as error:
            click.echo(f"flowverdict: {error}", err=True)
            return Silences()

    def open_alerts(self) -> list[AlertState]:
        """Return the open alerts, the most severe and oldest first.

        Raises
        ------
        StateError
            The table cannot be read.
        """
        names = [*self.store.due(_FOREVER, _MAX_OPEN)]  # each open alert is due at some time
        states = [state for state in self.store.load(names).values() if state.is_open]
        return sorted(
            states,
            key=lambda state: (
                state.notification.severity.rank,
                state.opened_at,
                state.fingerprint,
            ),
        )

    def find(self, text: str) -> AlertState:
        """Return the alert with a fingerprint, or the open alert whose fingerprint begins so.

        Raises
        ------
        FlowVerdictError
            No alert has it, or several begin so.
        StateError
            The table cannot be read.
        """
        wanted = text.strip().casefold()
        if not _PREFIX.fullmatch(wanted):
            raise FlowVerdictError(
                f"{text[:40]!a} is not a fingerprint, nor the beginning of one: hexadecimal digits"
            )
        if _FINGERPRINT.fullmatch(wanted):
            state = self.store.load([wanted]).get(wanted)
            if state is None:
                raise FlowVerdictError(f"no alert {wanted} is stored")
            return state
        names = [*self.store.due(_FOREVER, _MAX_OPEN)]
        found = [name for name in names if name.startswith(wanted)]
        states = [state for state in self.store.load(found).values() if state.is_open]
        if not states:
            raise FlowVerdictError(
                f"no open alert begins with {wanted}; of one that has ended, give all 32 digits"
            )
        if len(states) > 1:
            several = ", ".join(sorted(state.fingerprint for state in states)[:5])
            raise FlowVerdictError(f"{len(states):,} open alerts begin with {wanted}: {several}")
        return states[0]


def deployed(place: Place) -> Deployed:
    """Return the alerts of a stack.

    Raises
    ------
    FlowVerdictError
        The stack does not exist, cannot be described or has no table; or the profile or Region
        does not.
    """
    clients = _clients(place)
    parameters: Mapping[str, str] = {}
    table = place.table
    if table is None:
        stack = describe(clients("cloudformation"), place.stack_name, "--table avoids this call")
        parameters = stack.parameters
        table = stack.outputs.get(TABLE_OUTPUT)
        if table is None:
            raise FlowVerdictError(
                f"stack {place.stack_name} has no output {TABLE_OUTPUT}: is it flowverdict's?"
            )
    default = Intervals()
    return Deployed(
        store=DynamoDbStore(
            cast("Any", clients("dynamodb")), table, on_unreadable=_refuse_unreadable
        ),
        intervals=Intervals(
            repeat=60 * _number(parameters, "RepeatMinutes", default.repeat // 60),
            resolve=60 * _number(parameters, "ResolveMinutes", default.resolve // 60),
            digest=HOUR * _number(parameters, "DigestHours", default.digest // HOUR),
        ),
        policy=parameters.get("Policy") or None,
        caller=lambda: _caller(clients("sts")),
    )


def read_page(place: Place, bucket: str | None) -> str:
    """Return the page of problems of a stack; a bucket that is given is read without asking.

    Raises
    ------
    FlowVerdictError
        The stack has no bucket, the bucket has no page, or the page cannot be read.
    """
    clients = _clients(place)
    if bucket is None:
        stack = describe(clients("cloudformation"), place.stack_name, "--bucket avoids this call")
        bucket = stack.outputs.get(BUCKET_OUTPUT)
        if bucket is None:
            raise FlowVerdictError(
                f"stack {place.stack_name} has no output {BUCKET_OUTPUT}: is it flowverdict's?"
            )
    address = f"s3://{bucket}/{PAGE_KEY}"
    try:
        answer = cast("Any", clients("s3")).get_object(Bucket=bucket, Key=PAGE_KEY)
        return bytes(answer["Body"].read()).decode()
    except ClientError as error:
        raise FlowVerdictError(f"{address}: {_why_no_page(error_code(error))}") from error
    except (BotoCoreError, ValueError) as error:
        raise FlowVerdictError(f"{address}: could not be read: {error}") from error


def _why_no_page(code: str) -> str:
    """Say what an error means: S3 hides what is not there from whoever may not list the bucket.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
    """
    if code == "NoSuchKey":
        return "there is no page yet: the next sweep writes it"
    if code == "AccessDenied":
        return (
            "AccessDenied: you may not read it (s3:GetObject), or there is no page yet, which S3 "
            "tells only to those who may list the bucket"
        )
    return code


def _clients(place: Place) -> Callable[[str], BaseClient]:
    import boto3  # noqa: PLC0415 - half a second, only where a client is made

    def client(service: str) -> BaseClient:
        try:
            session = boto3.Session(region_name=place.region, profile_name=place.profile)
            return cast("BaseClient", cast("Any", session).client(service, config=_CONFIG))
        except BotoCoreError as error:
            raise FlowVerdictError(f"AWS: {error}") from error

    return client


def _caller(client: BaseClient) -> str:
    """Return who asks: the ARN of the user's own credentials."""
    try:
        answer = cast("Any", client).get_caller_identity()
    except ClientError as error:
        raise FlowVerdictError(f"sts:GetCallerIdentity: {error_code(error)}") from error
    except BotoCoreError as error:
        raise FlowVerdictError(f"sts:GetCallerIdentity: {error}") from error
    return author_from(str(answer["Arn"]))


def _number(parameters: Mapping[str, str], name: str, default: int) -> int:
    text = parameters.get(name, "")
    return int(text) if re.fullmatch(r"[0-9]{1,6}", text, re.ASCII) else default


def _refuse_unreadable(key: str, reason: str) -> None:
    """Name what cannot be read; refuse to go on where it would be written over."""
    text = f"{key} cannot be read by this version: {reason}"
    if key == SILENCES:
        raise StateError(text)
    click.echo(one_line(f"flowverdict: {text}"), err=True)
