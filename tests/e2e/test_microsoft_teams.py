"""Microsoft Teams, as a listener on 127.0.0.1: the cards that arrive, and a refused message."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from tests.e2e.samples import key, scenario, shop_delivery
from tests.e2e.subscribers import Queue, function_log, put_object, raw_log, wait_until
from tests.e2e.webhook import Answer
from tests.helpers.teams_cards import assert_valid_message, card
from tests.helpers.webhook_server import SECRET_PATH

if TYPE_CHECKING:
    from tests.e2e.conftest import Inboxes
    from tests.e2e.stack import Stack
    from tests.e2e.webhook import Webhook

_SLOW = 240.0  # seconds for several messages: each may start a worker of its own


def headings(teams: Webhook) -> list[str]:
    """Return the heading of each card, after a check against the schema."""
    found = []
    for request in teams.requests:
        assert request.path == SECRET_PATH
        message = json.loads(request.body)
        assert_valid_message(message)
        found.append(card(message)["body"][0]["text"])
    return found


def test_alerts_from_the_chosen_severity_are_posted(
    stack: Stack, teams: Webhook, inboxes: Inboxes, parameters: dict[str, str]
) -> None:
    assert parameters["TeamsFromSeverity"] == "high"
    put_object(stack, key(stack.place, "posted-to-teams"), shop_delivery())
    inboxes.alerts.take(5)
    wait_until(lambda: len(teams.requests) >= 3 or None, "the three severe alerts", _SLOW)

    # The two alerts of medium severity were published at the same time and filtered out.
    assert Counter(heading.partition(":")[0] for heading in headings(teams)) == {
        "CRITICAL": 2,
        "HIGH": 1,
    }
    messages = [line["message"] for line in function_log(stack, "NotifyTeamsFunction")]
    assert "posted to Teams" in messages


def test_a_deleted_workflow_leaves_the_message_in_a_queue_and_its_address_in_no_log(
    stack: Stack, teams: Webhook, inboxes: Inboxes
) -> None:
    body = json.dumps({"error": {"code": "WorkflowNotFound", "message": "x"}}).encode()
    teams.script(otherwise=Answer(status=404, body=body))

    put_object(stack, key(stack.place, "refused-by-teams"), scenario("outbound-response"))
    (alert,) = inboxes.alerts.take(1)
    dead_letters = Queue(place=stack.place, url=stack.physical_id("NotifyTeamsDeadLetterQueue"))
    (letter,) = dead_letters.take(1)

    record = json.loads(letter)
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestPayload"]["Records"][0]["Sns"]["Message"] == alert
    assert len(teams.requests) == 3  # Lambda's two retries
    log = raw_log(stack, "NotifyTeamsFunction")
    assert any("WorkflowNotFound" in line for line in log)
    secret = SECRET_PATH.rpartition("/")[2]
    assert not [line for line in log if secret in line]
    assert secret not in letter
