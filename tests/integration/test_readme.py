"""What the README shows is what happens."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from flowverdict.cli.commands import cli
from flowverdict.records import RecordFormat

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"^\.venv/bin/flowverdict (.*)$", README, re.MULTILINE)


def test_the_alert_shown_is_a_real_one() -> None:
    assert (ROOT / "tests" / "golden" / "email-rules-outbound-response.txt").read_text().rstrip() in README


def test_the_readme_names_commands_to_try() -> None:
    assert {command.split()[0] for command in COMMANDS} == {"explain", "replay"}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shown_works(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    words = [str(path) for word in shlex.split(command) for path in (sorted(Path().glob(word)) if "*" in word else [word])]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0, result.output
    assert "network" in result.stdout or "security group" in result.stdout


def test_the_demo_can_be_read_and_its_commands_copied() -> None:
    result = CliRunner().invoke(cli, ["demo"])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert sum(line.startswith("[flowverdict ") for line in lines) == 7
    commands = [line for line in lines if line.startswith("    aws ")]
    assert commands
    assert [line for line in lines if len(line) > 100 and line not in commands and not line.startswith("Fix for ")] == []


def test_the_make_targets_shown_exist() -> None:
    targets = set(re.findall(r"(?:^|`)make ([a-z]+)", README, re.MULTILINE))
    assert targets >= {"demo", "test", "setup", "build"}
    assert targets <= set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_the_recommended_format_has_every_field_that_decides() -> None:
    (log_format,) = re.findall(r"--log-format '([^']+)'", README)
    record_format = RecordFormat.from_log_format(log_format)
    assert record_format.unknown_names == ()
    decisive = {"tcp-flags", "flow-direction", "pkt-srcaddr", "pkt-dstaddr", "subnet-id", "reject-reason"}
    assert decisive <= set(record_format.names)
