"""The JSON of ``explain`` and ``replay`` for every scenario and every event, byte for byte."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import time_machine
from click.testing import CliRunner

from flowverdict_cli.commands import cli

ROOT = Path(__file__).parents[2]
SCENARIOS = sorted(
    path
    for path in (ROOT / "tests" / "scenarios").glob("*.json")
    if not path.name.endswith(".config.json")
)
EVENTS = sorted((ROOT / "events").glob("*.json"))
GOLDEN = ROOT / "tests" / "golden"


def check(golden: Path, printed: str) -> None:
    """Compare with the golden file, or write it where ``UPDATE_GOLDEN`` is set."""
    if os.environ.get("UPDATE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(printed)
    assert printed == golden.read_text()


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_explain_prints_what_it_printed(path: Path) -> None:
    scenario = json.loads(path.read_text())
    options = ["--config", str(path.parent / scenario["config"])] if "config" in scenario else []
    files = [str(path.parent / name) for name in scenario["files"]]
    result = CliRunner().invoke(cli, ["explain", "--output", "json", *options, *files])
    assert result.exit_code == 0, result.output
    check(GOLDEN / "explain" / f"{path.stem}.jsonl", result.stdout)


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.stem)
def test_replay_prints_what_it_printed(path: Path) -> None:
    with time_machine.travel("2026-11-22T12:06:00Z", tick=False):
        result = CliRunner().invoke(cli, ["replay", "--output", "json", str(path)])
    check(GOLDEN / "replay" / f"{path.stem}.txt", f"{result.stdout}exit {result.exit_code}\n")
