"""The scenarios of tests/scenarios, through the real command: records in, verdicts out."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flowverdict.verdict.batch import Batch
from flowverdict_cli.commands import cli
from tests.helpers.published_schemas import validator

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests" / "scenarios"
SCENARIOS = sorted(path for path in FOLDER.glob("*.json") if not path.name.endswith(".config.json"))


def load(path: Path) -> dict[str, Any]:
    scenario: dict[str, Any] = json.loads(path.read_text())
    return scenario


def explained(files: list[str], config: str | None = None) -> list[dict[str, Any]]:
    options = [] if config is None else ["--config", str(FOLDER / config)]
    result = CliRunner().invoke(
        cli, ["explain", "--output", "json", *options, *(str(FOLDER / name) for name in files)]
    )
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def shown_of(value: Any, expected: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return the parts of a JSON value that the expectation names, in nested objects too."""
    if isinstance(value, dict) and isinstance(expected, dict):
        return {key: shown_of(value[key], expected[key]) for key in expected}
    return value


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_explain_says_what_the_scenario_expects(path: Path) -> None:
    scenario = load(path)
    for files in permutations(scenario["files"]):
        verdicts = explained(list(files), scenario.get("config"))
        shown = [
            shown_of(verdict, expected)
            for verdict, expected in zip(verdicts, scenario["verdicts"], strict=False)
        ]
        assert shown == scenario["verdicts"], [verdict["evidence"] for verdict in verdicts]
        assert len(verdicts) == len(scenario["verdicts"])
        for verdict in verdicts:
            validator("explanation").validate(verdict)
            assert verdict["evidence"], "a verdict without evidence"


@pytest.mark.parametrize(
    "path", [path for path in SCENARIOS if "counts" in load(path)], ids=lambda path: path.stem
)
def test_everything_read_is_counted(path: Path) -> None:
    scenario = load(path)
    batch = Batch()
    for name in scenario["files"]:
        with (FOLDER / name).open("rb") as stream:
            batch.add_file(stream, name=name)
    counts = batch.counts.as_mapping()
    assert {key: counts[key] for key in scenario["counts"]} == scenario["counts"]
    assert counts["records"] == sum(
        counts[key]
        for key in (
            "accepted",
            "rejected",
            "no_data",
            "skip_data",
            "no_action",
            "transit_gateway",
            "malformed",
        )
    )


def test_every_log_file_belongs_to_a_scenario() -> None:
    named = {name for path in SCENARIOS for name in load(path)["files"]}
    assert named == {path.name for path in FOLDER.glob("*.log")}
