"""The policy document from Parameter Store (on moto), and each way in which reading may fail."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ConnectTimeoutError

from flowverdict.core.errors import FlowVerdictError, SettingsError
from flowverdict.policy.document import parse_policy
from flowverdict.policy.model import Policy
from flowverdict.policy.source import MAX_AGE_SECONDS, PolicySource, make_client, parse_reference
from tests.helpers.policy_sources import HIGH, KEPT, LOW, NONE, Clock, outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowverdict.policy.source import Service
    from flowverdict_cli.local_aws import LocalAws

NAME = "/flowverdict/policy"
BAD = '{"version": 1, "minimum_severity": "none"}'
WHY_BAD = "minimum_severity: \"none\" is not one of 'critical', 'high', 'medium', 'low' or 'info'"


class Store:
    """Store of the last good document; each call fails while ``broken``."""

    def __init__(self, text: str | None = None) -> None:
        self.text = text
        self.calls: list[str] = []
        self.broken = False

    def load(self) -> str | None:
        self._called("load")
        return self.text

    def save(self, text: str) -> None:
        self._called("save")
        self.text = text

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.broken:
            raise FlowVerdictError(f"table: {name} was throttled")


class Parameters:
    """Parameter Store with one document or none, and the number of its reads."""

    def __init__(self) -> None:
        self._client = boto3.client("ssm")
        self.asked = 0
        self._client.meta.events.register("before-call.ssm.GetParameter", self._count)

    def _count(self, **_: object) -> None:
        self.asked += 1

    def client(self, service: Service) -> Any:  # noqa: ANN401 - as PolicySource takes it
        assert service == "ssm"
        return self._client

    def put(self, text: str) -> None:
        self._client.put_parameter(
            Name=NAME, Value=text, Type="String", Tier="Advanced", Overwrite=True
        )

    def delete(self) -> None:
        self._client.delete_parameter(Name=NAME)


@pytest.fixture
def parameters(aws: LocalAws) -> Parameters:  # noqa: ARG001 - it stands for AWS
    return Parameters()


@pytest.fixture
def source_of(parameters: Parameters, clock: Clock) -> Callable[[Store | None], PolicySource]:
    def make(store: Store | None = None) -> PolicySource:
        return PolicySource(f"ssm:{NAME}", last_good=store, client=parameters.client, clock=clock)

    return make


type Sources = Callable[[Store | None], PolicySource]


# --- Parameter Store ------------------------------------------------------------------------------


def test_the_document_is_read_once_a_minute(
    parameters: Parameters, clock: Clock, source_of: Sources
) -> None:
    parameters.put(LOW)
    source = source_of(None)
    assert parameters.asked == 0
    first = outcome(source)
    assert first == (parse_policy(LOW), None)
    parameters.put(HIGH)
    clock.seconds += MAX_AGE_SECONDS - 1
    assert outcome(source) == first
    assert parameters.asked == 1
    clock.seconds += 1
    assert outcome(source) == (parse_policy(HIGH), None)
    assert parameters.asked == 2


def test_a_document_that_stays_the_same_is_not_parsed_again(
    parameters: Parameters, clock: Clock, source_of: Sources
) -> None:
    parameters.put(LOW)
    source = source_of(None)
    policy, _ = outcome(source)
    clock.a_minute_later()
    assert outcome(source)[0] is policy
    assert parameters.asked == 2


def test_an_encrypted_parameter_is_decrypted(parameters: Parameters, source_of: Sources) -> None:
    parameters.client("ssm").put_parameter(Name=NAME, Value=LOW, Type="SecureString")
    assert outcome(source_of(None)) == (parse_policy(LOW), None)


def test_a_bad_document_leaves_the_good_one_in_force_until_it_is_mended(
    parameters: Parameters, clock: Clock, source_of: Sources
) -> None:
    parameters.put(LOW)
    source = source_of(None)
    source.current()
    parameters.put(BAD)
    clock.a_minute_later()
    assert outcome(source) == (parse_policy(LOW), f"policy ssm:{NAME}: {WHY_BAD}{KEPT}")
    parameters.delete()
    clock.a_minute_later()
    assert outcome(source) == (
        parse_policy(LOW),
        f"policy ssm:{NAME}: cannot be read: ParameterNotFound{KEPT}",
    )
    parameters.put(HIGH)
    clock.a_minute_later()
    assert outcome(source) == (parse_policy(HIGH), None)


def test_a_failure_is_kept_for_a_minute_and_no_longer(
    parameters: Parameters, clock: Clock, source_of: Sources
) -> None:
    source = source_of(None)
    assert outcome(source) == (
        Policy(),
        f"policy ssm:{NAME}: cannot be read: ParameterNotFound{NONE}",
    )
    parameters.put(LOW)
    clock.seconds += MAX_AGE_SECONDS - 1
    source.current()
    assert parameters.asked == 1
    clock.seconds += 1
    assert outcome(source) == (parse_policy(LOW), None)


def test_a_parameter_that_is_something_else_is_not_told(
    parameters: Parameters, source_of: Sources
) -> None:
    for secret in ("hunter2", '"hunter2"', '["hunter2"]', '{"password": "hunter2"}'):
        parameters.put(secret)
        policy, problem = outcome(source_of(None))
        assert policy == Policy()
        assert problem is not None
        assert "hunter2" not in problem


# --- the last good one ----------------------------------------------------------------------------


def test_a_good_document_is_saved_once(
    parameters: Parameters, clock: Clock, source_of: Sources
) -> None:
    store = Store()
    parameters.put(LOW)
    source = source_of(store)
    for _ in range(3):
        assert outcome(source) == (parse_policy(LOW), None)
        clock.a_minute_later()
    assert (store.text, store.calls) == (LOW, ["load", "save"])
    parameters.put(HIGH)
    source.current()
    assert (store.text, store.calls) == (HIGH, ["load", "save", "save"])


@pytest.mark.slow
def test_a_new_process_does_not_save_what_is_saved_already(
    parameters: Parameters, source_of: Sources
) -> None:
    store = Store(LOW)
    parameters.put(LOW)
    source_of(store).current()
    assert store.calls == ["load"]


@pytest.mark.parametrize("text", [BAD, None])
def test_a_new_process_goes_on_with_the_last_good_one(
    parameters: Parameters, clock: Clock, source_of: Sources, text: str | None
) -> None:
    store = Store(LOW)
    if text is not None:
        parameters.put(text)
    source = source_of(store)
    for _ in range(2):
        policy, problem = outcome(source)
        assert policy == parse_policy(LOW)
        assert problem is not None
        assert problem.endswith(KEPT)
        clock.a_minute_later()
    assert (store.text, store.calls) == (LOW, ["load"])


def test_a_store_without_a_good_one_mutes_nothing(source_of: Sources) -> None:
    assert outcome(source_of(Store())) == (
        Policy(),
        f"policy ssm:{NAME}: cannot be read: ParameterNotFound{NONE}",
    )


def test_a_last_good_one_that_this_version_does_not_understand_is_told(source_of: Sources) -> None:
    policy, problem = outcome(source_of(Store(BAD)))
    assert policy == Policy()
    assert (
        problem == f"policy ssm:{NAME}: cannot be read: ParameterNotFound; "
        f"the last good one: {WHY_BAD}{NONE}"
    )


def test_a_store_that_fails_stops_nothing_and_is_tried_again(
    parameters: Parameters, clock: Clock, source_of: Sources
) -> None:
    store = Store()
    store.broken = True
    parameters.put(LOW)
    source = source_of(store)
    told = f"policy ssm:{NAME}: in force, but not kept for later: table: load was throttled"
    assert outcome(source) == (parse_policy(LOW), told)
    store.broken = False
    clock.a_minute_later()
    assert outcome(source) == (parse_policy(LOW), None)
    store.broken = True
    parameters.put(HIGH)
    clock.a_minute_later()
    assert outcome(source) == (parse_policy(HIGH), told.replace("load", "save"))
    store.broken = False
    clock.a_minute_later()
    assert outcome(source) == (parse_policy(HIGH), None)
    assert store.text == HIGH


def test_a_store_that_fails_when_it_is_needed_is_told_and_tried_again(
    clock: Clock, source_of: Sources
) -> None:
    store = Store(LOW)
    store.broken = True
    source = source_of(store)
    unread = f"policy ssm:{NAME}: cannot be read: ParameterNotFound"
    assert outcome(source) == (
        Policy(),
        f"{unread}; the last good one: table: load was throttled{NONE}",
    )
    store.broken = False
    clock.a_minute_later()
    assert outcome(source) == (parse_policy(LOW), f"{unread}{KEPT}")


# --- neither --------------------------------------------------------------------------------------


def test_an_endpoint_that_cannot_be_reached_is_told(
    parameters: Parameters, source_of: Sources
) -> None:
    def unreachable(**_: object) -> None:
        raise ConnectTimeoutError(endpoint_url="https://ssm")

    parameters.client("ssm").meta.events.register_first("before-send.ssm", unreachable)
    policy, problem = outcome(source_of(None))
    assert (policy, problem) == (
        Policy(),
        f'policy ssm:{NAME}: cannot be read: Connect timeout on endpoint URL: "https://ssm"{NONE}',
    )


def test_a_client_that_cannot_be_made_is_told(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    assert outcome(PolicySource("ssm:/a", clock=clock)) == (
        Policy(),
        f"policy ssm:/a: cannot be read: You must specify a region.{NONE}",
    )


def test_the_clients_made_leave_an_invocation_its_time(aws: LocalAws) -> None:  # noqa: ARG001 - it stands for AWS
    services: tuple[Service, ...] = ("ssm", "appconfigdata")
    for service in services:
        config: Any = make_client(service).meta.config  # its options are set at run time
        assert (
            config.retries["total_max_attempts"] * (config.connect_timeout + config.read_timeout)
            <= 10
        )


@pytest.mark.parametrize(
    "reference",
    [
        "ssm:/a",
        "ssm:/flowverdict/prod/policy.v1",
        "appconfig:a/b/c",
        "appconfig:net-watch/prod.eu/policy_1",
    ],
)
def test_references_are_read_and_written_alike(reference: str) -> None:
    assert str(parse_reference(reference)) == reference


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "ssm:",
        "ssm:name",
        "ssm:/",
        "ssm:/a/",
        "ssm://a",
        "ssm:/a b",
        "ssm:/a:3",
        "appconfig:a/b",
        "appconfig:a/b/c/d",
        "s3://a",
        "/a",
    ],
)
def test_a_reference_that_makes_no_sense_is_refused(reference: str) -> None:
    with pytest.raises(
        SettingsError,
        match="is neither ssm:/NAME nor appconfig:APPLICATION/ENVIRONMENT/CONFIGURATION-PROFILE",
    ):
        PolicySource(reference)


@pytest.mark.slow
def test_pydantic_is_imported_only_where_there_is_a_policy() -> None:
    code = (
        "import json, sys\n"
        "import flowverdict.app.alert_wiring, flowverdict.policy.source as source\n"
        "policies = source.PolicySource('ssm:/a', client="
        "lambda service: (_ for _ in ()).throw(source.BotoCoreError()))\n"
        "before = 'pydantic' in sys.modules\n"
        "policies.current()\n"
        "print(json.dumps([before, 'pydantic' in sys.modules]))\n"
    )
    finished = subprocess.run(  # noqa: S603 - ours
        [sys.executable, "-c", code], capture_output=True, check=True, text=True, timeout=60
    )
    assert json.loads(finished.stdout) == [False, True]
