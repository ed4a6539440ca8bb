"""What a stack is made of, by the parameters that it is deployed with."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from scripts.choose_processor import PROCESSORS, choose_processor
from tests.helpers.evaluated_template import Evaluated
from tests.helpers.sam_template import read_template

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "template.yaml").read_text()
TEMPLATE = read_template(ROOT / "template.yaml")
PARAMETERS: dict[str, dict[str, Any]] = TEMPLATE["Parameters"]


def stack(**given: str) -> Evaluated:
    """Return the template for a stack in eu-west-1 with these parameters."""
    return Evaluated(TEMPLATE, given)


# --- what kind of stack ---------------------------------------------------------------------------


# Environment, and what a stack of it has: log level, days of logs and of flow logs, alarms,
# dashboard, traces.
ENVIRONMENTS = {
    "standard": ("INFO", 30, 90, True, True, "PassThrough"),
    "dev": ("DEBUG", 3, 7, False, False, "Active"),
    "prod": ("INFO", 90, 365, True, True, "PassThrough"),
}


def kind(evaluated: Evaluated) -> tuple[Any, ...]:
    function = evaluated.value(TEMPLATE["Globals"]["Function"])
    (expiry, _) = evaluated.properties("FlowLogBucket")["LifecycleConfiguration"]["Rules"]
    days = {
        resource["Properties"]["RetentionInDays"]
        for resource in evaluated.resources.values()
        if resource["Type"] == "AWS::Logs::LogGroup"
    }
    (retention,) = days
    return (
        function["Environment"]["Variables"]["POWERTOOLS_LOG_LEVEL"],
        int(retention),
        int(expiry["ExpirationInDays"]),
        "SweepAlertsErrorAlarm" in evaluated.resources,
        "OperationsDashboard" in evaluated.resources,
        function["Tracing"],
    )


@pytest.mark.parametrize("environment", PARAMETERS["Environment"]["AllowedValues"])
def test_one_word_says_what_kind_of_stack_it_is_beside_any_other_parameter(
    environment: str,
) -> None:
    """What is given on the command line replaces the list of samconfig.toml."""
    assert (
        kind(stack(Environment=environment, AlertEmail="a@example.com"))
        == (ENVIRONMENTS[environment])
    )


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_each_setting_of_an_environment_can_be_said_by_itself(environment: str) -> None:
    said = {
        "LogLevel": "ERROR",
        "LogRetentionDays": "14",
        "FlowLogRetentionDays": "21",
        "Alarms": "no",
        "Dashboard": "yes",
        "Tracing": "Active",
    }
    assert kind(stack(Environment=environment, **said)) == (
        *("ERROR", 14, 21, False, True, "Active"),
    )


def test_no_list_of_parameters_stands_where_the_command_line_would_replace_it() -> None:
    text = (ROOT / "samconfig.toml").read_text()
    environments = tomllib.loads(text)
    assert set(environments) == {"version", "default"}
    assert "parameter_overrides" not in re.sub(r"^#.*", "", text, flags=re.MULTILINE)
    for document in ("README.md", "samconfig.toml"):
        assert "--parameter-overrides Environment=prod" in (ROOT / document).read_text(), document
        assert "--config-env" not in (ROOT / document).read_text(), document


# --- the processor --------------------------------------------------------------------------------


def processors(template: dict[str, Any]) -> set[str]:
    """Return every processor that the template names, wherever it does."""
    named = [
        *template["Parameters"]["Architecture"]["AllowedValues"],
        template["Parameters"]["Architecture"]["Default"],
        *template["Globals"]["Function"]["Architectures"],
    ]
    for name in ("DependenciesLayer", "EngineLayer"):  # what has compiled packages
        layer = template["Resources"][name]
        named += [layer["Metadata"]["BuildArchitecture"]]
        named += layer["Properties"]["CompatibleArchitectures"]
    return set(named)


@pytest.mark.parametrize("processor", PROCESSORS)
def test_a_build_names_its_processor_in_all_places_and_takes_no_other(
    processor: str, tmp_path: Path
) -> None:
    built = tmp_path / "template.yaml"
    built.write_text(choose_processor(TEXT, processor))
    assert processors(read_template(built)) == {processor}


def test_a_plain_sam_build_has_one_processor_and_another_is_refused() -> None:
    assert processors(TEMPLATE) == {"arm64"}
    assert "Ref Architecture]" not in TEXT, "two switches that nobody compares"
    with pytest.raises(ValueError, match="'riscv' is none of arm64, x86_64"):
        choose_processor(TEXT, "riscv")
    (build,) = re.findall(
        r"^build:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE
    )
    assert "scripts/choose_processor.py" in build
    assert "--parameter-overrides" not in build
