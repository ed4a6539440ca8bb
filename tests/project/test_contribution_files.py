"""The files for contributors: workflows, forms, hooks before a commit, and CHANGELOG."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from check_jsonschema import main as check_jsonschema
from click.testing import CliRunner, Result

from scripts.check_large_files import MAX_BYTES, main

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = [ROOT / ".github" / "ISSUE_TEMPLATE" / name for name in ("bug.yml", "feature.yml")]
ISSUE_CONFIG = ROOT / ".github" / "ISSUE_TEMPLATE" / "config.yml"
HOOKS = ROOT / ".pre-commit-config.yaml"
# What a job may do beyond reading: publish the pages, and create the release of a tag.
MAY_WRITE = {
    "pages.yml": {"publish": {"pages": "write", "id-token": "write"}},
    "release.yml": {"release": {"contents": "write"}},
}
MAKEFILE = (ROOT / "Makefile").read_text()
GATE = (ROOT / ".ci" / "run").read_text()
SCHEMAS = dict.fromkeys(WORKFLOWS, "vendor.github-workflows") | {
    **dict.fromkeys(FORMS, "vendor.github-issue-forms"),
    ISSUE_CONFIG: "vendor.github-issue-config",
}


def check_schema(path: Path, schema: str) -> Result:
    """Check a file against a schema that check-jsonschema ships; nothing is fetched."""
    return CliRunner().invoke(check_jsonschema, ["--builtin-schema", schema, str(path)])


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.name)
def test_file_fits_the_schema_of_github(path: Path) -> None:
    checked = check_schema(path, SCHEMAS[path])
    assert checked.exit_code == 0, checked.output


def test_schema_of_github_refuses_a_wrong_workflow(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(WORKFLOWS[0].read_text().replace("runs-on", "runs-at"))
    assert check_schema(wrong, "vendor.github-workflows").exit_code == 1


def test_workflows_are_the_gate_the_nightly_run_the_pages_and_the_release() -> None:
    assert [path.name for path in WORKFLOWS] == [
        "ci.yml",
        "nightly.yml",
        "pages.yml",
        "release.yml",
    ]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflow_may_only_read_has_a_time_limit_and_pins_its_actions(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    granted = {name: job.get("permissions", {}) for name, job in workflow["jobs"].items()}
    assert {name: given for name, given in granted.items() if given} == MAY_WRITE.get(path.name, {})
    version = (ROOT / ".python-version").read_text().strip()
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 180
        actions = [step["uses"] for step in job["steps"] if "uses" in step]
        assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", action) for action in actions)
        pythons = [
            step["with"]["python-version"]
            for step in job["steps"]
            if "setup-python" in step.get("uses", "")
        ]
        runs_ours = any(re.match(r"make|\.ci", step.get("run", "")) for step in job["steps"])
        assert pythons == ([version] if runs_ours or "matrix" in str(job) else [])


def test_gate_runs_on_every_push_and_pull_request() -> None:
    workflow = yaml.safe_load(WORKFLOWS[0].read_text())
    assert set(workflow[True]) == {"push", "pull_request"}  # YAML 1.1 reads "on" as true
    assert [step.get("run") for step in workflow["jobs"]["gate"]["steps"]][-1] == ".ci/run"


def test_nightly_run_calls_targets_that_exist() -> None:
    job = yaml.safe_load(WORKFLOWS[1].read_text())["jobs"]["run"]
    commands = [entry["command"].split() for entry in job["strategy"]["matrix"]["include"]]
    assert {command[1] for command in commands} == {"test-all", "fuzz", "soak", "bench"}
    assert job["env"] == {"HYPOTHESIS_PROFILE": "nightly", "SIMULATOR_SEEDS": "10"}
    for make, target, *_ in commands:
        assert make == "make"
        assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), target


def test_gate_runs_what_the_fast_check_runs_and_all_tests() -> None:
    (check,) = re.findall(r"^check: ([a-z -]+) ##", MAKEFILE, re.MULTILINE)
    lines = re.findall(r"\bmake ([^\n\"'&#]+)", GATE)
    called = {target for line in lines for target in line.split() if "=" not in target}
    assert {*check.split()} - {"test"} <= called
    assert "test" in check.split()
    assert "test-all" in called


def test_hooks_are_the_projects_own_tools() -> None:
    repositories = yaml.safe_load(HOOKS.read_text())["repos"]
    assert [repository["repo"] for repository in repositories] == ["local"]
    entries = [hook["entry"].split() for hook in repositories[0]["hooks"]]
    assert {entry[0] for entry in entries} == {
        ".venv/bin/mypy",
        ".venv/bin/python",
        ".venv/bin/ruff",
    }
    scripts = [entry[1] for entry in entries if entry[0].endswith("python")]
    assert all((ROOT / script).is_file() for script in scripts)


def test_large_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(bytes(MAX_BYTES))
    large.write_bytes(bytes(MAX_BYTES + 1))
    assert main([str(small), str(tmp_path / "deleted")]) == 0
    assert main([str(small), str(large)]) == 1
    assert capsys.readouterr().out == f"{large}: 500,001 bytes, at most 500,000\n"


def test_changelog_has_a_dated_section_for_the_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    changelog = (ROOT / "CHANGELOG.md").read_text()
    releases = re.findall(
        r"^## \[(\d+\.\d+\.\d+)\]( - \d{4}-\d{2}-\d{2})?$", changelog, re.MULTILINE
    )
    assert releases[0][0] == project["version"]
    assert releases[0][1]
