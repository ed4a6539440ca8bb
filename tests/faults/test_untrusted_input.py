"""No function reveals a secret or a whole event, at any log level, even when something fails."""

from __future__ import annotations

import base64
import gzip
import io
import json
import logging
import traceback
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from flowverdict.app.ingestion import Ingestion
from flowverdict.core.errors import FlowVerdictError
from flowverdict.flowlog.object_key import ObjectRef
from flowverdict.lifecycle.manager import AlertManager
from flowverdict_cli.local_aws import REGION, load_function
from tests.helpers.alert_samples import LOST
from tests.helpers.events import (
    BUCKET,
    KEY,
    SCENARIOS,
    notification,
    queue_event,
    sns_event,
)
from tests.helpers.hostile_text import hostile_log
from tests.helpers.webhook_server import Answer, WebhookServer, webhook_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flowverdict_cli.local_aws import Invocation, LocalAws

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

# Marks what no log line or message may contain: credentials, the webhook's path, and fields of
# events and records that no output shows.
MARK = "m4rk3d"
WEBHOOK = "s3cr3t"  # in the path of tests.helpers.webhook_server
OBJECT = KEY % "marked"
LOG = SCENARIOS / "rules-outbound-response.log"


class Output:
    """All output: standard output and error, the root logger's lines, messages and errors."""

    def __init__(self, capfd: pytest.CaptureFixture[str], logged: io.StringIO) -> None:
        self._capfd = capfd
        self._logged = logged
        self.texts: list[str] = []

    def run(self, call: Callable[[], object]) -> BaseException | None:
        """Call ``call``, and store the text of an error and its causes, as Lambda reports them."""
        try:
            call()
        except Exception as error:  # noqa: BLE001 - whatever it is, Lambda reports it
            self.texts.append("".join(traceback.format_exception(error)))
            return error
        return None

    def forget(self) -> None:
        """Drop what was written so far: the requests by which a test prepares its world."""
        self._capfd.readouterr()
        self._logged.seek(0)
        self._logged.truncate()

    def everything(self) -> str:
        written = self._capfd.readouterr()
        self.texts += [written.out, written.err, self._logged.getvalue()]
        return "\n".join(self.texts)


# The level DEBUG writes most.
@pytest.fixture(
    params=["DEBUG", *(pytest.param(level, marks=pytest.mark.slow) for level in ("INFO", "ERROR"))]
)
def output(
    request: pytest.FixtureRequest,
    aws: LocalAws,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Iterator[Output]:
    """Set the level of the functions' logger and of the root logger, and marked credentials."""
    del aws  # needed for its world alone
    monkeypatch.setenv("POWERTOOLS_LOG_LEVEL", request.param)
    monkeypatch.setenv("POWERTOOLS_LOGGER_LOG_EVENT", "true")  # which would log whole events
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"{MARK}-secret-key")
    monkeypatch.setenv("AWS_SESSION_TOKEN", f"{MARK}-token")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    logged = io.StringIO()
    handler = logging.StreamHandler(logged)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(request.param)
    try:
        yield Output(capfd, logged)
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def marked_log() -> bytes:
    """Return a flow log with marked fields that no decision uses and no output shows."""
    header, *lines = LOG.read_text().splitlines()
    extra = "az-id sublocation-type sublocation-id some-new-field"
    return gzip.compress(
        "\n".join(
            [f"{header} {extra}", *(f"{line} {MARK} {MARK} {MARK} {MARK}" for line in lines)]
        ).encode()
    )


def marked_queue_event(*bodies: object) -> dict[str, Any]:
    event = queue_event(*bodies)
    for record in event["Records"]:
        record |= {
            "receiptHandle": MARK,
            "messageAttributes": {"x": {"stringValue": MARK, "dataType": "String"}},
        }
    return event


def marked_notification(key: str) -> dict[str, Any]:
    event = notification(key)
    record = event["Records"][0]
    record |= {
        "userIdentity": {"principalId": MARK},
        "requestParameters": {"sourceIPAddress": MARK},
        "responseElements": {"x": MARK},
    }
    record["s3"] |= {"configurationId": MARK}
    return event


def marked_subscription(*messages: str) -> dict[str, Any]:
    payload = {
        "messageType": "DATA_MESSAGE",
        "owner": "123456789012",
        "logGroup": "/sample/vpc-flow-logs",
        "logStream": "eni-1-all",
        "subscriptionFilters": [MARK],
        "logEvents": [
            {"id": str(number), "timestamp": 1, "message": text}
            for number, text in enumerate(messages)
        ],
    }
    return {
        "awslogs": {"data": base64.b64encode(gzip.compress(json.dumps(payload).encode())).decode()},
        "marked": MARK,
    }


SWEEP = {
    "detail-type": "Scheduled Event",
    "source": "aws.events",
    "time": "2026-11-22T14:00:00Z",
    "detail": {"x": MARK},
    "resources": [MARK],
}


def broken(*_: object, **__: object) -> None:
    raise ZeroDivisionError("a defect")


def prepare(aws: LocalAws, monkeypatch: pytest.MonkeyPatch, trouble: str) -> dict[str, str]:
    """Cause the trouble, and return the environment of the functions."""
    environment = {"LOG_FORMAT": LOG.read_text().splitlines()[0]}
    match trouble:
        case "no topic":
            boto3.client("sns").delete_topic(TopicArn=aws.topic_arn)
        case "no table":
            boto3.client("dynamodb").delete_table(TableName=aws.table)
        case "a defect":
            monkeypatch.setattr(Ingestion, "ingest", broken)
            monkeypatch.setattr(AlertManager, "sweep", broken)
        case "a broken policy":
            policy = {
                "version": 1,
                "expected": [{"match": {"port": "a port"}, "reason": MARK}],
            }
            boto3.client("ssm").put_parameter(
                Name="/policy", Type="String", Value=json.dumps(policy)
            )
            environment["POLICY"] = "ssm:/policy"
    if trouble != "no such object":
        aws.put_object(
            ObjectRef(bucket=BUCKET, key=OBJECT),
            MARK.encode() if trouble == "no flow log" else marked_log(),
        )
    return environment


def events(trouble: str) -> list[dict[str, Any]]:
    if trouble == "no event":
        return [
            marked_queue_event({"x": MARK}, MARK, "{"),
            {"awslogs": {"data": f"{MARK}!"}},
            SWEEP | {"time": "then"},
        ]
    record = LOG.read_text().splitlines()[1]
    messages = [f"{MARK} {number}" for number in range(6)] if trouble == "no flow log" else [record]
    return [marked_queue_event(marked_notification(OBJECT)), marked_subscription(*messages), SWEEP]


def outcome(invocation: Invocation) -> tuple[str, bool]:
    """Return all output of an invocation, and whether it or one of its messages failed."""
    error = (
        "" if invocation.error is None else "".join(traceback.format_exception(invocation.error))
    )
    failed = invocation.error is not None or (
        isinstance(invocation.answer, dict) and bool(invocation.answer["batchItemFailures"])
    )
    return json.dumps([invocation.log, invocation.metrics, invocation.answer, error]), failed


@pytest.mark.parametrize(
    ("trouble", "fails"),
    [
        ("none", 0),
        pytest.param("a broken policy", 0, marks=pytest.mark.slow),
        # What is not sent is marked so, and the sweep sends it.
        pytest.param("no topic", 0, marks=pytest.mark.slow),
        pytest.param("no such object", 1, marks=pytest.mark.slow),
        pytest.param("no flow log", 2, marks=pytest.mark.slow),
        pytest.param("no table", 3, marks=pytest.mark.slow),
        ("a defect", 3),
        pytest.param("no event", 3, marks=pytest.mark.slow),
    ],
)
def test_the_classifying_functions_tell_no_secret_and_no_whole_event(
    aws: LocalAws, output: Output, monkeypatch: pytest.MonkeyPatch, trouble: str, fails: int
) -> None:
    environment = prepare(aws, monkeypatch, trouble)
    output.forget()
    failed = 0
    for event in events(trouble):
        invocations: list[Invocation] = []
        error = output.run(
            partial(
                lambda made, event: made.append(aws.invoke(event, environment)), invocations, event
            )
        )
        said = [outcome(invocation) for invocation in invocations]
        output.texts += [text for text, _ in said]
        failed += error is not None or any(it_failed for _, it_failed in said)
    messages = (
        []
        if trouble == "no topic"
        else [json.dumps(aws.alerts()), *(f"{email.subject}{email.body}" for email in aws.emails())]
    )
    output.texts += messages
    assert failed == fails
    assert MARK not in output.everything()
    if trouble == "none":
        assert "Replies blocked" in "".join(messages)


@pytest.fixture
def server() -> Iterator[WebhookServer]:
    with webhook_server() as started:
        yield started


@pytest.mark.parametrize(
    ("store", "answers"),
    [
        ("ssm", []),
        ("secretsmanager", []),
        ("ssm", [Answer(status=404, body="no_service")]),
        ("secretsmanager", [Answer(status=302, headers={"Location": "http://127.0.0.1:9/"})]),
        ("ssm", [Answer(status=500)] * 3),
        ("secretsmanager", [Answer(body=f"/services/T000/B000/{WEBHOOK}")]),
    ],
    ids=["taken, ssm", "taken, secret", "refused", "redirected", "failing", "echoing"],
)
def test_the_function_that_posts_tells_neither_the_webhook_nor_the_event(
    output: Output,
    server: WebhookServer,
    monkeypatch: pytest.MonkeyPatch,
    answers: list[Answer],
    store: str,
) -> None:
    monkeypatch.setattr(
        "time.sleep", lambda _: None
    )  # the waiting between tries shows nothing here
    if store == "ssm":
        boto3.client("ssm").put_parameter(
            Name="/slack/webhook", Type="SecureString", Value=server.address
        )
        monkeypatch.setenv("SLACK_WEBHOOK", "ssm:/slack/webhook")
    else:
        boto3.client("secretsmanager").create_secret(
            Name="slack/webhook", SecretString=server.address
        )
        monkeypatch.setenv("SLACK_WEBHOOK", "secretsmanager:slack/webhook")
    output.forget()
    server.answers = [*answers]
    event = sns_event(LOST.to_json())
    event["Records"][0]["Sns"] |= {
        "Signature": MARK,
        "UnsubscribeUrl": f"https://sns/{MARK}",
        "MessageAttributes": {MARK: {}},
    }
    context = SimpleNamespace(
        function_name="notify_slack",
        memory_limit_in_mb=256,
        aws_request_id="1",
        invoked_function_arn=f"arn:aws:lambda:{REGION}:123456789012:function:notify_slack",
        get_remaining_time_in_millis=lambda: 120_000,
    )
    error = output.run(lambda: load_function("notify_slack").lambda_handler(event, context))
    assert (error is None) is (not answers)
    assert error is None or isinstance(error, FlowVerdictError)
    assert server.received
    posted = json.dumps(server.received)
    for secret in (MARK, WEBHOOK):
        assert secret not in output.everything()
        assert secret not in posted


@pytest.mark.parametrize("output", ["DEBUG"], indirect=True)
def test_without_our_floor_the_sdk_would_tell_the_webhook(
    output: Output, server: WebhookServer
) -> None:
    logging.getLogger("botocore").setLevel(logging.NOTSET)
    boto3.client("ssm").put_parameter(
        Name="/slack/webhook", Type="SecureString", Value=server.address
    )
    boto3.client("ssm").get_parameter(Name="/slack/webhook", WithDecryption=True)
    assert WEBHOOK in output.everything()


# --- requests to AWS ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("account", "region"),
    [
        ("210987654321", "evil.com/#"),
        pytest.param("210987654321", "eu-west-1.evil.com", marks=pytest.mark.slow),
        pytest.param("210987654321", "--region", marks=pytest.mark.slow),
        pytest.param("210987654321:role/admin", REGION, marks=pytest.mark.slow),
        pytest.param("*", REGION, marks=pytest.mark.slow),
        pytest.param("21098765432", REGION, marks=pytest.mark.slow),
        ("210987654321", REGION),
    ],
)
def test_accounts_and_regions_of_records_and_keys_reach_no_client_unless_they_are_such(
    aws: LocalAws, monkeypatch: pytest.MonkeyPatch, account: str, region: str
) -> None:
    clients: list[tuple[str, str | None]] = []
    make = boto3.client

    def recorded(service: str, **options: Any) -> Any:  # noqa: ANN401 - boto3's own
        clients.append((service, options.get("region_name")))
        client = make(service, **options)  # type: ignore[call-overload]
        client.meta.events.register(
            "before-call.sts.AssumeRole",
            lambda params, **_: roles.append(params["body"]["RoleArn"]),
        )
        return client

    roles: list[str] = []
    monkeypatch.setattr(boto3, "client", recorded)
    log = gzip.compress(
        hostile_log("rules-outbound-response", {"account-id": account, "region": region})
    )
    for key in (
        KEY % "a",
        f"AWSLogs/{account}/vpcflowlogs/{region}/2026/{account}_vpcflowlogs_{region}_fl-0_x.log.gz",
    ):
        aws.put_object(ObjectRef(bucket=BUCKET, key=key), log)
        event = {
            "detail-type": "Object Created",
            "source": "aws.s3",
            "detail": {"bucket": {"name": BUCKET}, "object": {"key": key}},
        }
        aws.invoke(event, {"READER_ROLE_NAME": "reader", "READER_EXTERNAL_ID": "shared"})
    assert {region for _, region in clients} <= {None, REGION}
    assert set(roles) <= {"arn:aws:iam::210987654321:role/reader"}
    assert bool(roles) is ((account, region) == ("210987654321", REGION))
