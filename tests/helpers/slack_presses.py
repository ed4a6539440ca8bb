"""A channel with a message about one open problem, and the function behind its buttons."""

from __future__ import annotations

import io
import json
import time
from dataclasses import replace
from email.message import Message
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.response import addinfourl

import boto3

from flowverdict.lifecycle.dynamodb import DynamoDbStore
from flowverdict.lifecycle.intervals import Intervals
from flowverdict.lifecycle.manager import AlertManager
from tests.helpers.alert_samples import NOW, Outbox, a_window, detection, record
from tests.helpers.slack_requests import ANSWERS_TO, SIGNING_SECRET, pressed, signed

if TYPE_CHECKING:
    import urllib.request

    from time_machine import Traveller

    from flowverdict.alerts.model import Status
    from flowverdict.lifecycle.state_machine import AlertState
    from flowverdict_cli.local_aws import Invocation, LocalAws

MINUTE, HOUR = 60, 3_600
ONE = detection().notification.fingerprint
BY = "ana (Slack U0ANA)"


class Slack:
    """The channel and the function; ``variables`` are more of the function's environment."""

    def __init__(self, aws: LocalAws, clock: Traveller) -> None:
        self.aws = aws
        self.clock = clock
        self.answers: list[tuple[str, dict[str, Any]]] = []
        self.is_down = False
        self.variables: dict[str, str] = {}
        aws.keep_warm = True
        boto3.client("secretsmanager").create_secret(
            Name="slack/signing", SecretString=f"{SIGNING_SECRET}\n"
        )
        self.store = DynamoDbStore(boto3.client("dynamodb"), aws.table)
        self.outbox = Outbox()
        self.manager = AlertManager(
            self.store, self.outbox, intervals=Intervals(), hourly_limit=30, wait=lambda _: None
        )
        self.detect(NOW)

    def open(self, request: urllib.request.Request, **_: object) -> addinfourl:
        """Take what the function posts."""
        if self.is_down:
            raise URLError("down")
        assert isinstance(request.data, bytes)
        self.answers.append((request.full_url, json.loads(request.data)))
        return addinfourl(io.BytesIO(b"ok"), Message(), request.full_url, 200)

    def detect(self, now: int) -> None:
        """Let the problem be seen."""
        found = detection()
        later = replace(found.notification, first_seen=now - 300, last_seen=now - 60)
        record(self.manager, [replace(found, notification=later)], a_window(), now)

    def send(self, event: dict[str, Any], **variables: str) -> Invocation:
        """Invoke the function."""
        environment = {"SLACK_SIGNING_SECRET": "secretsmanager:slack/signing"}
        environment |= self.variables | variables
        return self.aws.invoke(event, environment, function="slack_actions")

    def status(self, event: dict[str, Any]) -> int:
        """Return the HTTP status of the answer to a request."""
        invocation = self.send(event)
        assert invocation.error is None
        assert isinstance(invocation.answer, dict)
        return int(invocation.answer["statusCode"])

    def press(self, act: str, fingerprint: str = ONE, **changed: object) -> str:
        """Press a button now; return the text of its answer."""
        body = pressed(f"flowverdict:{act}:{fingerprint}", **changed)
        assert self.status(signed(body, int(time.time()))) == 200
        to, message = self.answers[-1]
        assert to == ANSWERS_TO
        text: str = message["blocks"][0]["text"]["text"]
        assert message["blocks"][0]["text"]["type"] == "plain_text"
        return text

    @property
    def state(self) -> AlertState:
        """Return the stored problem."""
        return self.store.load([ONE])[ONE]

    @property
    def table(self) -> list[dict[str, Any]]:
        """Return all that the table holds but the records of requests."""
        items = boto3.client("dynamodb").scan(TableName=self.aws.table)["Items"]
        return sorted(
            (dict(item) for item in items if not item["pk"]["S"].startswith("request#")),
            key=lambda item: str(item["pk"]),
        )

    @property
    def told(self) -> list[Status]:
        """Return what was told of the problem."""
        return [sent.status for sent in self.outbox.sent if sent.fingerprint == ONE]

    def go_on(self, start: int, end: int) -> None:
        """Let the problem go on, and sweep, every half an hour."""
        for now in range(start, end, HOUR // 2):
            self.clock.move_to(now)
            self.detect(now)
            self.manager.sweep(now + 1, None)
