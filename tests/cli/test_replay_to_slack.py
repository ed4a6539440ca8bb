"""``flowverdict replay --slack-webhook``: Slack accepts the messages, and failures are printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from slack_sdk.models.blocks import Block, HeaderBlock, SectionBlock

from flowverdict.core.errors import FlowVerdictError
from flowverdict_cli.commands import cli
from tests.helpers.slack_blocks import blocks_of
from tests.helpers.webhook_server import Answer, WebhookServer, webhook_server

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

EVENTS = Path(__file__).parents[2] / "events"
DELIVERY = str(EVENTS / "sqs-s3-delivery.json")


@pytest.fixture
def slack() -> Iterator[WebhookServer]:
    with webhook_server() as server:
        yield server


@pytest.mark.slow  # what follows says what the command does
def test_alerts_reach_the_listener_as_blocks_that_slacks_own_models_take(
    slack: WebhookServer,
) -> None:
    result = CliRunner().invoke(
        cli, ["replay", "--later", "--slack-webhook", slack.address, DELIVERY]
    )

    assert result.exit_code == 0, result.output
    headers = []
    for message in slack.received:
        shown = blocks_of(message)
        blocks = Block.parse_all(shown)
        assert len(blocks) == len(shown)
        assert [block.to_dict() for block in blocks] == shown  # validates lengths and counts
        assert message["text"]
        assert len(json.dumps(shown)) <= 13_000
        (header,) = [block for block in blocks if isinstance(block, HeaderBlock)]
        assert header.text is not None
        headers.append(header.text.text)
        assert any(isinstance(block, SectionBlock) for block in blocks)
    assert ["CRITICAL" in header for header in headers[:3]] == [True, True, False]
    # What hosts outside may have caused is not told with the others.
    assert sum("QUIET: 3 problems went quiet" in header for header in headers) == 1
    assert sum("QUIET" in header.upper() for header in headers) == 2
    assert sum("noise" in header.lower() for header in headers) == 1
    # Five at once, four of them quiet later (lost records stay lost), and the digest.
    assert len(headers) == 8


@pytest.mark.slow
def test_a_message_that_slack_does_not_take_is_one_clear_line_and_the_others_arrive(
    slack: WebhookServer,
) -> None:
    slack.answers = [Answer(status=400, body="invalid_blocks")]

    result = CliRunner().invoke(cli, ["replay", "--slack-webhook", slack.address, DELIVERY])

    assert result.exit_code == 1
    (line,) = [line for line in result.stderr.splitlines() if line]
    assert "400" in line
    assert "invalid_blocks" in line
    assert slack.address not in result.output
    assert len(slack.received) == 5


@pytest.mark.parametrize(
    "address",
    ["http://hooks.slack.com/services/T/B/x", "ftp://127.0.0.1/", "https://", "not an address"],
)
def test_address_that_is_not_valid_is_refused_first(address: str) -> None:
    result = CliRunner().invoke(cli, ["replay", "--slack-webhook", address, DELIVERY])
    assert result.exit_code != 0
    assert result.stdout == ""
    assert isinstance(result.exception, FlowVerdictError)
    assert address not in str(result.exception)
