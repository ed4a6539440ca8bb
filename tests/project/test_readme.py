"""The README and the guides show commands that work, figures that are printed, and real output.

Commands on the project's own files are run. Of those that need an account, ``sam deploy`` is
checked against the template's parameters, ``aws`` against the SDK's models, and ``flowverdict``
against its own parser.
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore.session
import click
import pytest
from botocore import xform_name
from click.testing import CliRunner

from flowverdict.flowlog.records import RecordFormat
from flowverdict_cli.commands import cli
from tests.helpers.documents import DOCS, GUIDES, README, ROOT, commands
from tests.helpers.sam_template import read_template

if TYPE_CHECKING:
    from botocore.model import ServiceModel

TEXT = README.read_text()
DEPLOY = (DOCS / "start" / "deploy.md").read_text()
COMMANDS = [command for page in GUIDES for command in commands(page)]
TEMPLATE = read_template(ROOT / "template.yaml")
# Of the AWS CLI alone: no operation of a service.
CUSTOM = {
    ("cloudformation", "deploy"),
    ("logs", "tail"),
    ("s3", "cp"),
    ("s3", "ls"),
    ("s3", "rb"),
    ("s3", "sync"),
}
# The AWS CLI's own name of the member Endpoint, which would hide its global option.
RENAMED_BY_THE_CLI = {("sns", "subscribe"): {"--notification-endpoint"}}
GLOBAL_OPTIONS = {"--query", "--output", "--region", "--cli-binary-format"}


def of(*words: str) -> list[str]:
    """Return the arguments of all commands that begin with one of these words."""
    return sorted(
        {
            command.line.removeprefix(word).strip()
            for command in COMMANDS
            for word in words
            if command.line.startswith(f"{word} ")
        }
    )


FLOWVERDICT = of(".venv/bin/flowverdict", "flowverdict")


def words_of(line: str) -> list[str]:
    """Return the arguments, with patterns replaced by the project's files that they fit."""
    return [
        str(path)
        for word in shlex.split(line)
        for path in (sorted(Path().glob(word)) if "*" in word else [word])
    ]


def names_our_files(line: str) -> bool:
    return any(word.startswith(("tests/", "events/")) for word in shlex.split(line))


def test_the_readme_is_one_screen_after_another_not_a_book() -> None:
    assert len(TEXT.encode()) < 10_000


def test_the_alert_shown_is_a_real_one() -> None:
    alert = (ROOT / "tests" / "golden" / "email-rules-outbound-response.txt").read_text().rstrip()
    assert alert in (DOCS / "start" / "first-alert.md").read_text()


def test_every_kind_of_command_is_known() -> None:
    kinds = ("make", ".venv/bin/flowverdict", "flowverdict", ".venv-sam/bin/sam", "aws", "pipx")
    unknown = [
        command
        for command in COMMANDS
        if not re.match(r"[A-Z_]+=\S+$", command.line)
        and command.line.split()[0] not in (*kinds, "tofu", "sam")
    ]
    assert unknown == []


def test_the_readme_names_commands_to_try() -> None:
    shown = [command.line.split()[:2] for command in commands(README)]
    assert ["make", "demo"] in shown
    assert ["flowverdict", "explain"] in shown
    assert {line.split()[0] for line in FLOWVERDICT} >= {"explain", "policy", "replay", "backfill"}


# Other tests replay the events; whether the guides' words are right is for `make test-all`.
@pytest.mark.parametrize(
    "line",
    [
        pytest.param(line, marks=pytest.mark.slow) if line.startswith("replay") else line
        for line in FLOWVERDICT
        if names_our_files(line)
    ],
)
def test_every_command_on_files_of_the_project_works(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    result = CliRunner().invoke(cli, words_of(line))
    assert result.exit_code == 0, result.output
    assert any(
        word in result.stdout for word in ("network", "security group", "silence", "verdict")
    )


@pytest.mark.parametrize("line", [line for line in FLOWVERDICT if not names_our_files(line)])
def test_every_other_command_is_parsed(line: str) -> None:
    context = cli.make_context("flowverdict", shlex.split(line))
    while isinstance(context.command, click.Group):
        name, command, arguments = context.command.resolve_command(
            context,
            [*context._protected_args, *context.args],  # noqa: SLF001 - Click's own way on
        )
        assert command is not None
        context = command.make_context(name, arguments, parent=context)


def test_the_make_targets_shown_exist() -> None:
    shown = {line.split()[0] for line in of("make")}
    shown |= set(re.findall(r"`(?:\w+=\S+ )?make ([a-z0-9-]+)", TEXT))
    assert shown >= {"demo", "test", "build", "local"}
    assert shown <= set(
        re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    )


@pytest.mark.parametrize("line", of(".venv-sam/bin/sam", "sam"))
def test_every_sam_command_gives_parameters_of_the_template(line: str) -> None:
    words = shlex.split(line)
    assert words[0] in {"deploy", "local", "package"}
    if words[0] == "local":
        assert words[2] in TEMPLATE["Resources"]
        assert (ROOT / words[words.index("--event") + 1]).is_file()
    has_parameters = "--parameter-overrides" in words
    for word in words[words.index("--parameter-overrides") + 1 :] if has_parameters else []:
        name, _, value = word.partition("=")
        parameter = TEMPLATE["Parameters"][name]
        assert re.search(parameter.get("AllowedPattern", ""), value), word
        assert value in parameter.get("AllowedValues", [value]), word


@cache
def models() -> tuple[Any, set[str]]:
    session = botocore.session.Session()
    return session, set(session.get_available_services())


def options_of(model: ServiceModel, operation: str) -> set[str]:
    """Return the options that the AWS CLI makes of an operation's members."""
    names = {xform_name(name, "-"): name for name in model.operation_names}
    members = model.operation_model(names[operation]).input_shape
    assert members is not None
    options = {f"--{xform_name(name, '-')}" for name in members.members}
    return options | {f"--no-{option[2:]}" for option in options}


@pytest.mark.slow
@pytest.mark.parametrize("line", of("aws"))
def test_every_aws_command_is_one_of_its_service(line: str) -> None:
    words = shlex.split(re.sub(r"\$\([^()]*\)", "x", line.split(" | ", maxsplit=1)[0]))
    service, operation = words[:2]
    if (service, operation) in CUSTOM:
        return
    session, known = models()
    assert service in known
    options = options_of(session.get_service_model(service), operation) | GLOBAL_OPTIONS
    options |= RENAMED_BY_THE_CLI.get((service, operation), set())
    assert {word for word in words if word.startswith("--")} <= options


@pytest.mark.parametrize("line", of("pipx"))
def test_what_pipx_installs_is_this_project(line: str) -> None:
    verb, what = shlex.split(line)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert verb == "install"
    assert what in {".", *(f".[{name}]" for name in extras["optional-dependencies"])}


# --- figures --------------------------------------------------------------------------------------


def test_the_costs_are_those_of_the_cost_page() -> None:
    costs = (DOCS / "cost.md").read_text()
    (row,) = re.findall(r"^\| \*\*a month\*\* .*$", TEXT, re.MULTILINE)
    (heading,) = re.findall(r"^\| \| no records .*$", TEXT, re.MULTILINE)
    assert row in costs
    assert heading in costs


def test_the_accuracy_is_that_of_the_page() -> None:
    truth = " ".join((DOCS / "truth.md").read_text().split())
    (figures,) = re.findall(
        r"([\d.]+) % of ([\d,]+) verdicts are right .*?, ([\d.]+) % unsure, ([\d.]+) %\s+wrong",
        " ".join(TEXT.split()),
    )
    right, flows, unsure, wrong = figures
    assert f"Of all {flows} flows" in truth
    assert f"with the rules {right} %, {unsure} % and {wrong} %" in truth
    assert "SIMULATOR_SEEDS=3 make accuracy" in TEXT
    assert "SIMULATOR_SEEDS=3 make accuracy" in truth


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
        "[flowverdict HIGH",
        "[flowverdict LOW",  # the digest
    ]
    quiet = [line for line in lines if line.startswith("  [flowverdict QUIET] ")]
    assert len(quiet) == 2  # of four problems, and of one that hosts outside may have caused
    assert quiet[0].endswith(" 4 problems went quiet")
    # Each on a line of its own, whole: what is pasted has no line break in it.
    commands_shown = [line for line in lines if line.startswith("    aws ")]
    assert commands_shown
    assert not any(line.endswith(("\\", "-", ",")) for line in commands_shown)
    assert all(line.count("aws ec2 ") == 1 for line in commands_shown)


def test_the_recommended_format_has_every_field_that_decides() -> None:
    (log_format,) = re.findall(r"--log-format '([^']+)'", DEPLOY)
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
    named = json.loads((DOCS / "env-vars.example.json").read_text())["Parameters"]
    own = [function.get("Properties", {}) for function in TEMPLATE["Resources"].values()]
    functions = [TEMPLATE["Globals"]["Function"], *own]
    known = {
        name
        for function in functions
        if "Environment" in function
        for name in function["Environment"]["Variables"]
    }
    assert set(named) <= known


def test_commands_are_found_in_indented_blocks_and_joined() -> None:
    (deploy, _) = commands(DOCS / "how-to" / "other-accounts.md")
    assert deploy.line.startswith("aws cloudformation deploy ")
    assert "--parameter-overrides TrustedAccountId" in deploy.line
