"""Read the policy document from Parameter Store or AppConfig at run time.

A document that cannot be read or is not valid changes nothing: the last good document stays in
force, and the reading reports the problem. Without a last good document nothing is muted, since one
alert too many does less harm than one that is missing.

AppConfig returns tokens, each valid for one call
(https://docs.aws.amazon.com/appconfig/latest/userguide/appconfig-retrieving-the-configuration.html).
After a failure a new session is started, because the token may be used up or older than its 24
hours.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from flowverdict.core.aws_client import error_code, reject_malformed_responses
from flowverdict.core.errors import FlowVerdictError, PolicyError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from botocore.client import BaseClient

    from flowverdict.policy.model import Policy


# A change is in force within a minute, which is soon enough for a person who waits for it, and
# AppConfig's default for how often to ask. A busy function asks once a minute and instance, far
# below Parameter Store's 40 calls a second.
MAX_AGE_SECONDS = 60.0

# Two tries of at most 1 + 2 s: the policy is small and read beside everything else that an
# invocation does.
CLIENT_CONFIG = Config(
    connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 2}
)

_PARAMETER = re.compile(
    r"ssm:(?P<name>(/[A-Za-z0-9_.-]+){1,15})"
)  # 15 levels is Parameter Store's limit
_CONFIGURATION = re.compile(
    r"appconfig:(?P<application>[A-Za-z0-9_.-]{1,64})/(?P<environment>[A-Za-z0-9_.-]{1,64})"
    r"/(?P<profile>[A-Za-z0-9_.-]{1,128})"
)

type Service = Literal["ssm", "appconfigdata"]

_MAX_REASON = 200  # characters of an SDK's error


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter of Parameter Store."""

    name: str

    def __str__(self) -> str:
        return f"ssm:{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """A configuration profile of AppConfig, deployed to an environment; each by name or id."""

    application: str
    environment: str
    profile: str

    def __str__(self) -> str:
        return f"appconfig:{self.application}/{self.environment}/{self.profile}"


def parse_reference(text: str) -> Parameter | Configuration:
    """Parse where the policy is.

    ``ssm:/name/of/parameter`` or ``appconfig:application/environment/configuration-profile``.

    Raises
    ------
    SettingsError
        The text is neither.
    """
    if parameter := _PARAMETER.fullmatch(text):
        return Parameter(name=parameter["name"])
    if found := _CONFIGURATION.fullmatch(text):
        return Configuration(
            application=found["application"],
            environment=found["environment"],
            profile=found["profile"],
        )
    raise SettingsError(
        f"{text[:_MAX_REASON]!a} is neither ssm:/NAME "
        "nor appconfig:APPLICATION/ENVIRONMENT/CONFIGURATION-PROFILE"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyReading:
    """The policy in force, and in one line the problem of reading it; ``None`` without one."""

    policy: Policy
    problem: str | None


class _UnreadableError(FlowVerdictError):
    """The document could not be fetched; never raised out of this module."""


def make_client(service: Service) -> BaseClient:
    """Create a client with short time-outs."""
    import boto3  # noqa: PLC0415 - as above

    return reject_malformed_responses(boto3.client(service, config=CLIENT_CONFIG))


class PolicySource:
    """Returns the policy in force, read again when the last reading is older than a minute.

    Parameters
    ----------
    reference
        Where the document is, as ``parse_reference`` parses it.
    last_good
        Where the last good document is stored. Without, a new process starts with none.
    client
        Makes the client of a service; asked when the document is first read, and again after a
        failure.
    clock
        Monotonic seconds.

    Raises
    ------
    SettingsError
        The reference cannot be parsed.
    """

    def __init__(
        self,
        reference: str,
        *,
        last_good: LastGood | None = None,
        client: Callable[[Service], Any] = make_client,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reference = parse_reference(reference)
        self._store = last_good
        self._client = client
        self._clock = clock
        self._provider: _Fetch | None = None
        self._good: tuple[str, Policy] | None = (
            None  # the text of the policy in force, and the policy
        )
        self._saved: str | None = None  # the document that the store holds
        self._saved_known = last_good is None
        self._reading: PolicyReading | None = None
        self._until = 0.0

    def current(self) -> PolicyReading:
        """Return the policy in force; a success and a failure are both cached for at most a minute.

        Never raises for what AWS answers, what the document holds, or what the store of the last
        good one does.
        """
        if self._reading is None or self._clock() >= self._until:
            self._reading = self._read()
            self._until = self._clock() + MAX_AGE_SECONDS
        return self._reading

    def _read(self) -> PolicyReading:
        try:
            text = self._fetch()
            policy = self._parsed(text)
        except (_UnreadableError, PolicyError) as error:
            return self._fallen_back(f"policy {self._reference}: {error}")
        self._good = (text, policy)
        return PolicyReading(policy=policy, problem=self._remember(text))

    def _fetch(self) -> str:
        from aws_lambda_powertools.utilities.parameters import GetParameterError  # noqa: PLC0415 - as above

        try:
            if self._provider is None:
                self._provider = _provider(self._reference, self._client)
            value = self._provider()
        except (GetParameterError, BotoCoreError, ClientError) as error:
            self._provider = None
            raise _UnreadableError(f"cannot be read: {_reason(error)}") from error
        if isinstance(value, bytes):
            try:
                return value.decode("utf-8-sig")
            except UnicodeDecodeError as error:
                raise _UnreadableError("is not text in UTF-8") from error
        return value

    def _parsed(self, text: str) -> Policy:
        from flowverdict.policy.document import parse_policy  # noqa: PLC0415 - as above

        if self._good is not None and self._good[0] == text:
            return self._good[1]
        return parse_policy(text)

    def _fallen_back(self, problem: str) -> PolicyReading:
        from flowverdict.policy.model import Policy  # noqa: PLC0415 - as above

        if self._good is None and self._store is not None:
            try:
                stored = self._load(self._store)
                if stored is not None:
                    self._good = (stored, self._parsed(stored))
            except FlowVerdictError as error:
                problem = f"{problem}; the last good one: {error}"
        if self._good is not None:
            return PolicyReading(
                policy=self._good[1], problem=f"{problem}; the last good one applies"
            )
        return PolicyReading(
            policy=Policy(), problem=f"{problem}; no good one is known, so nothing is muted"
        )

    def _load(self, store: LastGood) -> str | None:
        stored = store.load()
        self._saved, self._saved_known = stored, True
        return stored

    def _remember(self, text: str) -> str | None:
        """Store a good document unless it is stored; return the problem, if any.

        The next reading tries again.
        """
        if self._store is None:
            return None
        try:
            if not self._saved_known:
                self._load(self._store)
            if self._saved != text:
                self._store.save(text)
                self._saved = text
        except FlowVerdictError as error:
            return f"policy {self._reference}: in force, but not kept for later: {error}"
        return None


type _Fetch = Callable[[], str | bytes]


def _provider(reference: Parameter | Configuration, client: Callable[[Service], Any]) -> _Fetch:
    """Return a function that fetches the document from AWS at each call, without a cache."""
    from aws_lambda_powertools.utilities.parameters import AppConfigProvider, SSMProvider  # noqa: PLC0415 - as above

    if isinstance(reference, Parameter):
        parameters = SSMProvider(boto3_client=client("ssm"))
        name = reference.name
        # Decrypting does nothing to a plain parameter, and one that is encrypted must not be taken
        # for broken JSON.
        return lambda: _text(parameters.get(name, decrypt=True, force_fetch=True))
    configurations = AppConfigProvider(
        environment=reference.environment,
        application=reference.application,
        boto3_client=client("appconfigdata"),
    )
    profile = reference.profile
    return lambda: _text(configurations.get(profile, force_fetch=True))


def _text(value: object) -> str | bytes:
    if not isinstance(value, str | bytes):
        raise _UnreadableError("has no content")
    return value


def _reason(error: Exception) -> str:
    """Return the error code of AWS; the error text would name roles and accounts."""
    cause = error
    if not isinstance(error, BotoCoreError | ClientError) and isinstance(
        error.__context__, Exception
    ):
        # Powertools raises its own error over the exact one.
        cause = error.__context__
    if isinstance(cause, ClientError):
        return error_code(cause)
    if isinstance(cause, BotoCoreError):
        return " ".join(str(cause).split())[:_MAX_REASON]
    # Powertools raises KeyError where AppConfig's first answer is empty.
    return "it has no content" if isinstance(cause, KeyError) else type(cause).__name__


class LastGood(Protocol):
    """Where the last valid policy document is stored for later processes."""

    def load(self) -> str | None:
        """Return the document saved last, ``None`` if none was; raises ``FlowVerdictError``."""

    def save(self, text: str) -> None:
        """Store a valid document in place of the last; raises ``FlowVerdictError``."""
