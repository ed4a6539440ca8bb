"""The recipe docs/recipes/evidence-rule.md, followed in a copy with the rule that it describes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
COPIED = ("layers/shared", "cli", "tests/scenarios", "docs/understand/evidence.md")
RECIPE = (ROOT / "docs" / "recipes" / "evidence-rule.md").read_text()
PAGE = "docs/understand/evidence.md"
FIELDS = "layers/shared/flowverdict/flowlog/fields.py"
FAMILY = "layers/shared/flowverdict/verdict/evidence_rules/reject_reasons.py"
TABLE = "REASONS_NAMED: tuple[Rule, ...] = (\n"  # the module's first table

# Prints the scenarios whose verdicts are not the expected ones, and the table of the
# evidence page.
PROGRAM = """
import json, sys
from pathlib import Path
from click.testing import CliRunner
from flowverdict.verdict.evidence_rules import decision_table
from flowverdict_cli.commands import cli

def shown(value, expected):
    if isinstance(value, dict) and isinstance(expected, dict):
        return {key: shown(value[key], expected[key]) for key in expected}
    return value

folder, failed = Path("tests/scenarios"), []
for path in sorted(folder.glob(sys.argv[1])):
    if path.name.endswith(".config.json"):
        continue
    scenario = json.loads(path.read_text())
    config = ["--config", str(folder / scenario["config"])] if "config" in scenario else []
    files = [str(folder / name) for name in scenario["files"]]
    result = CliRunner().invoke(cli, ["explain", "--output", "json", *config, *files])
    verdicts = [json.loads(line) for line in result.stdout.splitlines()]
    expected = scenario["verdicts"]
    if len(verdicts) != len(expected) or any(
        shown(*pair) != pair[1] for pair in zip(verdicts, expected)
    ):
        failed.append(path.stem)
print(json.dumps({"failed": failed, "table": decision_table()}))
"""

FORMAT = (
    "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes "
    "start end action log-status tcp-flags pkt-srcaddr pkt-dstaddr flow-direction type"
)


# Without the rule, and in the scenario that must not trigger it.
SYN = {
    "kind": "tcp-syn",
    "detail": "tcp-flags have SYN without ACK: the rejected packets open a connection",
}
NOT_LOGGED = {
    "kind": "reject-reason",
    "detail": "reject-reason is not logged; Block Public Access and Encryption Controls are "
    "assumed to be off",
}
FABRIC = {
    "kind": "private-addresses",
    "detail": "type is EFA: such traffic does not leave the VPC",
}


def block(title: str) -> str:
    """Return the code block below a heading of the recipe."""
    found = re.search(rf"^## [^\n]*{title}.*?^```\w+\n(.*?)^```", RECIPE, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


def scenario_files(name: str, types: str, evidence: list[dict[str, str]]) -> dict[str, str]:
    """Return the two files of a scenario: a flow with one record for each of the types."""
    lines = [
        f"5 123456789012 eni-0a1b 10.0.1.5 203.0.113.12 52344 443 6 1 60 {at} {at} REJECT OK 2 "
        f"10.0.1.5 203.0.113.12 egress {kind}"
        for at, kind in enumerate(types.split(), 1_795_348_800)
    ]
    scenario = {
        "title": f"Egress to a public address, type {types}",
        "files": [f"{name}.log"],
        "verdicts": [{"evidence": evidence}],
    }
    return {
        f"tests/scenarios/{name}.log": "\n".join([FORMAT, *lines, ""]),
        f"tests/scenarios/{name}.json": json.dumps(scenario, indent=2) + "\n",
    }


def run(folder: Path, pattern: str) -> dict[str, Any]:
    """Run the scenarios of a copy in a process of their own."""
    path = os.pathsep.join([str(folder / "layers/shared"), str(folder / "cli")])
    finished = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-c", PROGRAM, pattern],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        check=True,
        capture_output=True,
        text=True,
    )
    answer: dict[str, Any] = json.loads(finished.stdout)
    return answer


def contents(folder: Path) -> dict[Path, bytes]:
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, f"{path.name}: {old!r}"
    path.write_text(text.replace(old, new))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in COPIED:
        source, target = ROOT / name, tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    return tmp_path


@pytest.mark.slow
def test_an_evidence_rule_costs_its_field_the_rule_its_row_and_two_scenarios(
    copy: Path,
) -> None:
    before = contents(copy)
    scenarios = {
        **scenario_files("type-fabric-adapter", "EFA EFA", [SYN, NOT_LOGGED, FABRIC]),
        **scenario_files("type-mixed", "EFA IPv4", [SYN, NOT_LOGGED]),
    }
    for name, text in scenarios.items():
        (copy / name).write_text(text)
    without = run(copy, "type-*.json")
    assert without["failed"] == ["type-fabric-adapter"]

    # 1. The field.
    line = block("The field")
    edit(copy / FIELDS, line.replace(", observed=True", ""), line)
    # 2. The rule: its function before the family's table, its row at the end of the table.
    function, _, row = block("The rule").partition("# In the table of the family:\n")
    edit(copy / FAMILY, TABLE, f"{function}{TABLE}")
    text = (copy / FAMILY).read_text().rstrip()
    assert text.endswith("\n)")
    (copy / FAMILY).write_text(f"{text[:-1]}{row})\n")
    # 3. The table of the evidence page.
    with_rule = run(copy, "type-*.json")
    edit(copy / PAGE, without["table"], with_rule["table"])

    assert run(copy, "*.json")["failed"] == []
    after = contents(copy)
    assert before.keys() <= after.keys()
    touched = {str(path) for path in after if after[path] != before.get(path)}
    assert touched == {FIELDS, FAMILY, PAGE, *scenarios}
    assert len(scenarios) == 2 * 2
