"""``flowverdict demo``: in short by default, whole messages if asked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.helpers.command import Runner

COLUMNS = 80


@pytest.mark.slow
def test_demo_says_what_was_seen_and_what_to_try_next_on_few_lines(run: Runner) -> None:
    outcome = run("demo")
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert sum(max(1, -(-len(line) // COLUMNS)) for line in lines) < 100
    assert [line.split()[0] for line in lines if line[:1].isupper() and line[9:10] == " "] == [
        *["CRITICAL", "CRITICAL", "HIGH", "MEDIUM", "MEDIUM", "HIGH"],
        *["QUIET"] * 5,
        "DIGEST",
    ]
    assert outcome.out.count("Fix: aws ec2 ") == 5
    assert "- 6 messages, 4 of them urgent. 5 have a fix" in outcome.out
    end = lines[lines.index("What to try next") + 1 :]
    assert end[0].startswith("  flowverdict demo --output email ")
    assert all(len(line) <= COLUMNS for line in end)


@pytest.mark.slow
@pytest.mark.parametrize("output", ["slack", "json"])
def test_demo_shows_whole_messages_if_asked(run: Runner, output: str) -> None:
    outcome = run("demo", "--output", output)
    assert (outcome.code, outcome.err) == (0, "")
    messages = [json.loads(line) for line in outcome.out.splitlines()]
    assert len(messages) > 6
    if output == "slack":
        assert messages[0]["blocks"][0]["type"] == "header"
    else:
        assert messages[0]["severity"] == "critical"
