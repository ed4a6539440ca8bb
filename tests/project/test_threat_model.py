"""The threat model and the promises name tests and files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "threat-model.md").read_text()
RELIABILITY = (ROOT / "docs" / "reliability.md").read_text()


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(?:[\w/]+/)?(\w+[.]py)`", TEXT))))
def test_every_file_that_it_names_is_there(name: str) -> None:
    assert [
        path for folder in ("tests", "layers", "scripts") for path in (ROOT / folder).rglob(name)
    ]


WHO = (
    "A host on the internet",
    "A tenant that delivers",
    "A writer of one record",
    "A namer of resources",
    "An operator",
    "A stranger at the URL of Slack's buttons",
)


def test_every_test_that_it_names_is_there() -> None:
    written = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    there = set(re.findall(r"^def (test_\w+)", written, re.MULTILINE))
    named = set(re.findall(r"`(test_\w+)`", TEXT))
    assert len(named) > 40
    assert named - there == set()


@pytest.mark.parametrize("who", WHO)
def test_every_row_names_who_can_try_it_what_stops_it_and_the_test_that_holds_it(who: str) -> None:
    (section,) = re.findall(rf"^### {who}$(.*?)^##", TEXT, re.MULTILINE | re.DOTALL)
    head, _, *rows = re.findall(r"^\|(.*)\|$", section, re.MULTILINE)
    assert head.split("|") == [" can try ", " what stops it ", " held by "]
    assert rows
    for row in rows:
        tried, stopped, held = row.split(" | ")
        assert tried.strip()
        assert stopped.strip()
        assert re.search(r"`test_\w+`", held), row


def test_everybody_has_a_section() -> None:
    assert tuple(re.findall(r"^### (.*)$", TEXT, re.MULTILINE)) == WHO


def test_every_file_that_holds_a_promise_exists() -> None:
    named = set(re.findall(r"`(?:tests/)?((?:\w+/)*test_\w+\.py)`", RELIABILITY))
    assert len(named) > 15
    assert [name for name in named if not list((ROOT / "tests").rglob(name))] == []


def test_it_is_found() -> None:
    assert "docs/threat-model.md" in (ROOT / "README.md").read_text()
    assert "docs/threat-model.md" in (ROOT / "SECURITY.md").read_text()


def test_the_promise_on_errors_of_aws_counts_the_calls_of_the_table() -> None:
    table = (ROOT / "docs" / "aws-errors.md").read_text()
    calls = len(re.findall(r"^\| [a-z0-9]+:\w+ \|", table, re.MULTILINE))
    faults = table.partition("| function, call |")[2].partition("\n")[0].count("|")
    assert f"{calls} calls, {faults} faults: {calls * faults} cases" in RELIABILITY
