"""``flowverdict replay --teams-webhook``: the cards that arrive at a listener are valid."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from flowverdict_cli.commands import cli
from tests.helpers.teams_cards import assert_valid_message, card
from tests.helpers.webhook_answers import TOOLS
from tests.helpers.webhook_server import webhook_server

DELIVERY = Path(__file__).parents[2] / "events" / "sqs-s3-delivery.json"


@pytest.mark.slow
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_alerts_reach_the_listener_as_valid_cards() -> None:
    with webhook_server(otherwise=TOOLS["teams"].accepted) as teams:
        command = ["replay", "--output", "teams", "--teams-webhook", teams.address, str(DELIVERY)]
        result = CliRunner().invoke(cli, command)

    assert result.exit_code == 0, result.output
    assert len(teams.received) == len(result.stdout.splitlines()) == 5
    for message in teams.received:
        assert_valid_message(message)
    severities = [card(message)["body"][0]["text"].split(":")[0] for message in teams.received]
    assert severities[:3] == ["CRITICAL", "CRITICAL", "HIGH"]
