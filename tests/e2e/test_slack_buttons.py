"""The buttons of Slack's messages on the deployed stack: signed as Slack signs, by the public URL.

The presses name no address for the answer: the only one that is taken is Slack's own, on the
internet.
"""

from __future__ import annotations

import json
import ssl
import time
import urllib.request
from base64 import b64decode
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from uuid import uuid4

from flowverdict.lifecycle.dynamodb import DynamoDbStore
from flowverdict.lifecycle.intervals import Intervals
from flowverdict.lifecycle.on_call_commits import OnCall
from tests.e2e.contract import valid
from tests.e2e.samples import key, scenario
from tests.e2e.subscribers import function_log, put_object, sweep, wait_until
from tests.helpers.slack_blocks import blocks_of
from tests.helpers.slack_requests import pressed, signed

if TYPE_CHECKING:
    import pytest

    from tests.e2e.conftest import Inboxes
    from tests.e2e.stack import Stack
    from tests.e2e.webhook import Webhook

THREE_SECONDS = 3.0  # that Slack waits


def call(stack: Stack, event: dict[str, Any]) -> int:
    """Send a request to the URL of the stack's output, as Slack does; return the status."""
    # The emulator serves the host names of URLs by this path too.
    name = stack.outputs["SlackActionsUrl"].removeprefix("https://").partition(".")[0]
    place = stack.place
    request = urllib.request.Request(  # noqa: S310 - of the emulator
        f"{place.url}/_aws/lambda-url/{name}/",
        b64decode(event["body"]),
        event["headers"],
        method=event["requestContext"]["http"]["method"],
    )
    context = None
    if place.certificate is not None:
        context = ssl.create_default_context(cafile=str(place.certificate))
    try:
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:  # noqa: S310
            return int(answer.status)
    except HTTPError as error:
        with error:
            return error.code


def press(stack: Stack, act: str, fingerprint: str) -> int:
    # Two presses of a second differ, as Slack's do.
    body = pressed(f"flowverdict:{act}:{fingerprint}", answers_to=None, trigger_id=uuid4().hex)
    return call(stack, signed(body, int(time.time())))


def table(stack: Stack) -> list[dict[str, Any]]:
    """Return all that the table holds but the records of requests."""
    items = stack.place.client("dynamodb").scan(TableName=stack.outputs["AlertTableName"])["Items"]
    found = [item for item in items if not item["pk"]["S"].startswith("request#")]
    return sorted(found, key=lambda item: str(item["pk"]))


def test_a_silence_from_slack_holds_back_until_its_end_and_then_reminds(
    stack: Stack, slack: Webhook, inboxes: Inboxes
) -> None:
    put_object(stack, key(stack.place, "pressed"), scenario("outbound-response"))
    (alert,) = valid(inboxes.alerts.take(1))
    posted = wait_until(lambda: slack.requests or None, "the message with its buttons")
    actions = [
        element["action_id"]
        for block in blocks_of(json.loads(posted[0].body))
        if block["type"] == "actions"
        for element in block["elements"]
    ]
    assert f"flowverdict:silence-1h:{alert['fingerprint']}" in actions

    assert press(stack, "silence-1h", alert["fingerprint"]) == HTTPStatus.OK
    put_object(stack, key(stack.place, "pressed-again"), scenario("outbound-response"))
    wait_until(
        lambda: len(read(stack)) == 2 or None,
        "the second file to have been read",
    )
    sweep(stack, 60)
    assert inboxes.alerts.rest() == []

    store = DynamoDbStore(stack.place.client("dynamodb"), stack.outputs["AlertTableName"])
    (silence,) = store.load_silences().silences
    assert silence.by == "ana (Slack U0ANA)"
    assert 3_500 < silence.until - time.time() <= 3_600
    OnCall(store, Intervals()).lift(silence.silence_id, "the hour is over", int(time.time()))
    time.sleep(1)
    sweep(stack, 5)
    (reminder,) = valid(inboxes.alerts.take(1) + inboxes.alerts.rest())
    assert reminder["status"] == "reminder"
    assert "The silence of ana (Slack U0ANA) has ended" in reminder["status_reason"]
    slack.forget()


def read(stack: Stack) -> list[dict[str, Any]]:
    """Return the log lines about the files of this test."""
    return [
        line
        for line in function_log(stack, "ClassifyS3Function")
        if line["message"] == "flow logs read" and "pressed" in str(line["source"])
    ]


def test_what_slack_has_not_signed_or_sent_before_is_401_and_changes_nothing(
    stack: Stack, inboxes: Inboxes, capsys: pytest.CaptureFixture[str]
) -> None:
    put_object(stack, key(stack.place, "stranger"), scenario("same-subnet-request"))
    (alert,) = valid(inboxes.alerts.take(1))
    fingerprint, now = alert["fingerprint"], int(time.time())
    body = pressed(f"flowverdict:ack:{fingerprint}", answers_to=None)
    acknowledged = signed(body, now)
    started = time.monotonic()
    assert call(stack, acknowledged) == HTTPStatus.OK
    cold = time.monotonic() - started
    before = table(stack)

    assert call(stack, acknowledged) == HTTPStatus.UNAUTHORIZED  # a replay
    silence = pressed(f"flowverdict:silence-1d:{fingerprint}", answers_to=None)
    assert call(stack, signed(silence, now, "another secret")) == HTTPStatus.UNAUTHORIZED
    assert call(stack, signed(silence, now - 301)) == HTTPStatus.UNAUTHORIZED
    assert call(stack, signed("payload=x", now)) == HTTPStatus.BAD_REQUEST
    assert table(stack) == before

    started = time.monotonic()
    assert press(stack, "ack", fingerprint) == HTTPStatus.OK
    warm = time.monotonic() - started
    assert warm < THREE_SECONDS
    with capsys.disabled():
        print(f"\na press is answered after {cold:.2f} s, the next after {warm:.2f} s")  # noqa: T201
