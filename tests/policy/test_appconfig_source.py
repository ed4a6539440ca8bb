"""The policy document from AppConfig, on responses of the shape that its data plane gives."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.response import StreamingBody
from botocore.stub import Stubber

from flowverdict.policy.document import parse_policy
from flowverdict.policy.model import Policy
from flowverdict.policy.source import PolicySource
from tests.helpers.policy_sources import HIGH, KEPT, LOW, NONE, Clock, outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_appconfigdata import AppConfigDataClient

    from flowverdict.policy.source import Service
    from flowverdict_cli.local_aws import LocalAws


class AppConfig:
    """AppConfig's data plane with scripted responses; a client has one session after the other."""

    def __init__(self) -> None:
        self._client: AppConfigDataClient = boto3.client(
            "appconfigdata", config=Config(retries={"total_max_attempts": 1})
        )
        self.stub = Stubber(self._client)
        self.clients_made = 0

    def client(self, service: Service) -> Any:  # noqa: ANN401 - as PolicySource takes it
        assert service == "appconfigdata"
        self.clients_made += 1
        return self._client

    def session(self, token: str) -> None:
        self.stub.add_response(
            "start_configuration_session",
            {"InitialConfigurationToken": token},
            {
                "ApplicationIdentifier": "net",
                "EnvironmentIdentifier": "prod",
                "ConfigurationProfileIdentifier": "policy",
            },
        )

    def configuration(self, token: str, following: str, content: bytes) -> None:
        self.stub.add_response(
            "get_latest_configuration",
            {
                "NextPollConfigurationToken": following,
                "NextPollIntervalInSeconds": 60,
                "ContentType": "application/json",
                "Configuration": StreamingBody(io.BytesIO(content), len(content)),
            },
            {"ConfigurationToken": token},
        )

    def refuse(self, operation: str, code: str) -> None:
        self.stub.add_client_error(
            operation, code, "User: arn:aws:sts::123456789012:assumed-role/x is not authorized"
        )


@pytest.fixture
def appconfig(aws: LocalAws) -> Iterator[AppConfig]:  # noqa: ARG001 - it stands for AWS
    one = AppConfig()
    with one.stub:
        yield one
        one.stub.assert_no_pending_responses()


@pytest.fixture
def configured(appconfig: AppConfig, clock: Clock) -> PolicySource:
    return PolicySource("appconfig:net/prod/policy", client=appconfig.client, clock=clock)


def test_an_empty_answer_means_that_nothing_changed(
    appconfig: AppConfig, configured: PolicySource, clock: Clock
) -> None:
    appconfig.session("1")
    appconfig.configuration("1", "2", LOW.encode("utf-8-sig"))
    appconfig.configuration("2", "3", b"")
    appconfig.configuration("3", "4", HIGH.encode())
    for text in (LOW, LOW, HIGH):
        assert outcome(configured) == (parse_policy(text), None)
        clock.a_minute_later()


def test_after_a_failure_a_new_session_is_started(
    appconfig: AppConfig, configured: PolicySource, clock: Clock
) -> None:
    appconfig.session("1")
    appconfig.configuration("1", "2", LOW.encode())
    appconfig.refuse(
        "get_latest_configuration", "BadRequestException"
    )  # a token older than 24 hours
    appconfig.session("3")
    appconfig.configuration("3", "4", HIGH.encode())
    assert outcome(configured) == (parse_policy(LOW), None)
    clock.a_minute_later()
    unread = "policy appconfig:net/prod/policy: cannot be read: BadRequestException"
    assert outcome(configured) == (parse_policy(LOW), f"{unread}{KEPT}")
    clock.a_minute_later()
    assert outcome(configured) == (parse_policy(HIGH), None)
    assert appconfig.clients_made == 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "cannot be read: it has no content"),
        (b"\xff\xfe\xff", "is not text in UTF-8"),
        (b" " * 65_537, "the document: larger than 65,536 bytes"),
        (b"not json", "the document: not JSON: Expecting value at line 1, column 1"),
        (b"{}", "version: missing"),
    ],
)
def test_a_configuration_that_is_no_policy_mutes_nothing_and_says_so(
    appconfig: AppConfig, configured: PolicySource, content: bytes, reason: str
) -> None:
    appconfig.session("1")
    appconfig.configuration("1", "2", content)
    assert outcome(configured) == (Policy(), f"policy appconfig:net/prod/policy: {reason}{NONE}")


def test_what_is_forbidden_is_told_by_its_code_alone(
    appconfig: AppConfig, configured: PolicySource
) -> None:
    appconfig.refuse("start_configuration_session", "AccessDeniedException")
    assert outcome(configured) == (
        Policy(),
        f"policy appconfig:net/prod/policy: cannot be read: AccessDeniedException{NONE}",
    )
