"""No module of the project makes a client or reads the environment at import."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import flowverdict
import flowverdict_cli

PACKAGE = Path(flowverdict.__file__).resolve().parent
COMMAND = Path(flowverdict_cli.__file__).resolve().parent
PROJECT = PACKAGE.parents[2]
FUNCTIONS = sorted((PROJECT / "functions").glob("*/app.py"))
RECORDER = Path(__file__).parents[1] / "helpers" / "record_imports.py"


def module_names() -> list[str]:
    """Return the names of all modules of both packages, without importing one."""
    relative = [
        path.relative_to(package.parent).with_suffix("")
        for package in (PACKAGE, COMMAND)
        for path in sorted(package.rglob("*.py"))
    ]
    return [".".join(path.parts).removesuffix(".__init__") for path in relative]


def import_and_record(own: list[Path], targets: list[str]) -> dict[str, list[str]]:
    """Import the targets in a fresh process and return the recorded entries."""
    command = [sys.executable, str(RECORDER), *map(str, own), "--", *targets]
    finished = subprocess.run(command, capture_output=True, check=True, text=True, timeout=60)  # noqa: S603
    recorded: dict[str, list[str]] = json.loads(finished.stdout)
    return recorded


@pytest.mark.slow
def test_importing_every_module_and_function_makes_no_client_and_reads_no_environment() -> None:
    names = module_names()
    recorded = import_and_record(
        [PACKAGE, COMMAND, PROJECT / "functions"], [*names, *map(str, FUNCTIONS)]
    )
    assert recorded["environment_reads"] == []
    assert recorded["clients"] == []
    assert recorded["modules"] == sorted(names)


@pytest.mark.slow
@pytest.mark.parametrize(("channel", "other"), [("slack", "teams"), ("teams", "slack")])
def test_a_function_that_posts_loads_neither_the_pipeline_nor_another_renderer(
    channel: str, other: str
) -> None:
    loaded = import_and_record([PACKAGE], [f"flowverdict.app.notify_{channel}"])["modules"]
    unwanted = {
        "alerts.grouping",
        "app.settings",
        "app.alert_wiring",
        "app.reader_wiring",
        "flowlog.line_reader",
        "flowlog.s3_objects",
        "flows.read_source",
        "network.ec2",
        "verdict.explain",
        *(f"delivery.renderers.{name}" for name in (other, "email", "amazon_q", "ocsf")),
    }
    assert unwanted & {name.removeprefix("flowverdict.") for name in loaded} == set()
    assert f"flowverdict.delivery.renderers.{channel}" in loaded


@pytest.mark.slow
def test_the_function_that_answers_slack_does_not_load_the_pipeline() -> None:
    loaded = import_and_record([PACKAGE], ["flowverdict.app.slack_actions"])["modules"]
    unwanted = {
        "app.alert_wiring",
        "app.ingest",
        "network.ec2",
        "policy.document",
        "delivery.page.page",
    }
    assert unwanted & {name.removeprefix("flowverdict.") for name in loaded} == set()


@pytest.mark.slow
def test_the_functions_that_read_flow_logs_load_nothing_of_alerts_and_rules() -> None:
    loaded = import_and_record([PACKAGE], ["flowverdict.app.reader_wiring"])["modules"]
    rooms = {"alerts", "delivery", "network", "policy", "verdict"}
    unwanted = {name for name in loaded if name.split(".")[1:2] and name.split(".")[1] in rooms}
    assert unwanted == {"flowverdict.delivery", "flowverdict.delivery.message_settings"}
    assert "flowverdict.app.ingest" in loaded


def test_all_functions_are_among_what_is_imported() -> None:
    assert [path.parent.name for path in FUNCTIONS] == [
        "classify_cloudwatch_logs",
        "classify_s3",
        "evaluate_windows",
        "notify_slack",
        "notify_teams",
        "slack_actions",
        "sweep_alerts",
    ]
    assert "flowverdict.app.alert_wiring" in module_names()
    assert "flowverdict_cli.local_aws" in module_names()


# What a module's top level may do, and what of it must be found out.
READS = {
    "subscript": ("os.environ['PATH']", ["PATH"]),
    "get": ("os.environ.get('NO_SUCH')", ["NO_SUCH"]),
    "contains": ("found = 'NO_SUCH' in os.environ", ["NO_SUCH"]),
    "getenv": ("os.getenv('NO_SUCH')", ["NO_SUCH"]),
    "iteration": ("list(os.environ)", ["all"]),
    "call": ("def read():\n    return os.getenv('NO_SUCH')\nread()", ["NO_SUCH"]),
    "class": ("class Defaults:\n    value = os.getenv('NO_SUCH')", ["NO_SUCH"]),
    "default": ("def read(value=os.getenv('NO_SUCH')):\n    return value", ["NO_SUCH"]),
    # only might happen, once it is called
    "function": ("def read():\n    return os.getenv('NO_SUCH')", []),
    "reference": ("environment = os.environ", []),
    "locale": ("import gettext\ngettext.gettext('word')", []),
    "imports": ("import third_party_that_reads", []),
}
CLIENTS = {
    "client": ("boto3.client('sns', region_name='eu-west-1')", ["client", "create_client"]),
    "resource": ("boto3.resource('sns', region_name='eu-west-1')", ["resource", "create_client"]),
    "session": ("boto3.Session(region_name='eu-west-1').client('sns')", ["create_client"]),
    "maker": ("def make():\n    return boto3.client('sns')", []),
}


@pytest.fixture(scope="module")
def offences(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Import one small module for each case above, in one process: a start takes a second."""
    ours, theirs = tmp_path_factory.mktemp("ours"), tmp_path_factory.mktemp("theirs")
    (theirs / "third_party_that_reads.py").write_text("import os\nos.environ.get('NO_SUCH')\n")
    for name, (code, _) in (READS | CLIENTS).items():
        (ours / f"{name}.py").write_text(
            f"import os, sys\nimport boto3\nsys.path.insert(0, {str(theirs)!r})\n{code}\n"
        )
    return import_and_record([ours], [str(ours / f"{name}.py") for name in (READS | CLIENTS)])


def of(module: str, found: list[str]) -> list[str]:
    """Return the entries of one module."""
    return [
        entry.removeprefix(f"{module}.py: ")
        for entry in found
        if entry.startswith(f"{module}.py: ")
    ]


@pytest.mark.parametrize("module", READS)
def test_module_that_reads_the_environment_at_import_is_found_out(
    module: str, offences: dict[str, list[str]]
) -> None:
    assert of(module, offences["environment_reads"]) == READS[module][1]


@pytest.mark.parametrize("module", CLIENTS)
def test_module_that_makes_a_client_at_import_is_found_out(
    module: str, offences: dict[str, list[str]]
) -> None:
    assert of(module, offences["clients"]) == CLIENTS[module][1]
