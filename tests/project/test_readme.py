"""The README shows commands that work, and real output."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from flowverdict.flowlog.records import RecordFormat
from flowverdict_cli.commands import cli
from tests.helpers.sam_template import read_template

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"^\.venv/bin/flowverdict (.*)$", README, re.MULTILINE)


def test_the_alert_shown_is_a_real_one() -> None:
    assert (
        ROOT / "tests" / "golden" / "email-rules-outbound-response.txt"
    ).read_text().rstrip() in README


def test_the_readme_names_commands_to_try() -> None:
    assert {command.split()[0] for command in COMMANDS} == {"explain", "policy", "replay"}


# Other tests replay the events; whether the README's words are right is for `make test-all`.
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, marks=pytest.mark.slow) if command.startswith("replay") else command
        for command in COMMANDS
    ],
)
def test_every_command_shown_works(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    given = shlex.split(command, comments=True)
    words = [
        str(path)
        for word in given
        for path in (sorted(Path().glob(word)) if "*" in word else [word])
    ]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0, result.output
    assert any(word in result.stdout for word in ("network", "security group", "silence"))


@pytest.mark.slow
def test_the_demo_can_be_read_and_its_commands_copied() -> None:
    result = CliRunner().invoke(cli, ["demo", "--output", "email"])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    subjects = [line for line in lines if line.startswith("[flowverdict ")]
    assert [subject.split("]")[0] for subject in subjects] == [
        "[flowverdict CRITICAL",
        "[flowverdict CRITICAL",
        "[flowverdict HIGH",
        "[flowverdict MEDIUM",
        "[flowverdict MEDIUM",
        "[flowverdict MEDIUM",
        "[flowverdict LOW",  # the digest
    ]
    assert sum(line.startswith("  [flowverdict QUIET]") for line in lines) == 5
    whole = (
        "    aws ",
        "    fields ",
        "    https://",
        "Fix for ",
        "  [flowverdict QUIET]",
        "    Quiet, still blocked: ",
        "sqs-s3-delivery.json -> ",
    )
    assert [line for line in lines if line.startswith("    aws ")]
    assert [line for line in lines if len(line) > 100 and not line.startswith(whole)] == []


def test_the_make_targets_shown_exist() -> None:
    targets = set(re.findall(r"(?:^|`)make ([a-z0-9-]+)", README, re.MULTILINE))
    assert targets >= {"demo", "test", "setup", "build"}
    assert targets <= set(
        re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    )


def test_the_recommended_format_has_every_field_that_decides() -> None:
    (log_format,) = re.findall(r"--log-format '([^']+)'", README)
    record_format = RecordFormat.from_log_format(log_format)
    assert record_format.unknown_names == ()
    decisive = {
        "tcp-flags",
        "flow-direction",
        "pkt-srcaddr",
        "pkt-dstaddr",
        "subnet-id",
        "reject-reason",
    }
    assert decisive <= set(record_format.names)


def test_the_variables_for_sam_local_are_the_templates() -> None:
    named = json.loads((ROOT / "docs" / "env-vars.example.json").read_text())["Parameters"]
    template = read_template(ROOT / "template.yaml")
    own = [function.get("Properties", {}) for function in template["Resources"].values()]
    functions = [template["Globals"]["Function"], *own]
    known = {
        name
        for function in functions
        if "Environment" in function
        for name in function["Environment"]["Variables"]
    }
    assert set(named) <= known
