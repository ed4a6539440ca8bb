"""The pins: hashes, no addresses, the versions of the layers in the tests; and their audit."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from scripts.audit import Audit, judge, report

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
LAYERS = sorted((ROOT / "layers").glob("*/requirements.txt"))
FILES = [*LAYERS, *sorted((ROOT / "requirements").glob("*.txt"))]
_PIN = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9._-]*)(\[[a-z0-9,_-]+\])?==(?P<version>[A-Za-z0-9.+!]+)"
    r"( ; (?P<marker>[^\\]+?))?"
)
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def entries(path: Path) -> list[str]:
    """Return the requirements: continued lines joined, comments removed."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    return [entry for entry in "\n".join(lines).replace("\\\n", " ").split("\n") if entry.strip()]


def pins(path: Path) -> dict[str, str]:
    found = [_PIN.match(entry) for entry in entries(path)]
    return {pin["name"]: pin["version"] for pin in found if pin is not None}


def test_all_files_are_checked() -> None:
    names = [
        "audit.txt",
        "bench.txt",
        "dev.txt",
        "docs.txt",
        "emulator.txt",
        "fuzz.txt",
        "runtime.txt",
        "sam.txt",
        "scan.txt",
        "uv.txt",
    ]
    assert [path.parent.name for path in LAYERS] == ["dependencies", "engine"]
    assert [path.name for path in FILES[len(LAYERS) :]] == names
    makefile = (ROOT / "Makefile").read_text()
    for name in names:
        assert f"--output-file requirements/{name}" in makefile


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_pin_has_hashes_and_no_line_names_an_index(path: Path) -> None:
    found = entries(path)
    assert found
    for entry in found:
        pin, *hashes = re.split(r"\s+(?=--hash)", entry.strip())
        assert _PIN.fullmatch(pin), entry
        assert hashes, entry
        assert all(_HASH.fullmatch(text) for text in hashes), entry
    text = path.read_text()
    assert not re.search(
        r"https?://|file:|git\+|\b[\w.-]+\s*@\s|index-url|find-links|trusted-host", text
    )


def test_the_layers_pins_are_those_that_are_tested() -> None:
    dependencies, engine = map(pins, LAYERS)
    tested = pins(ROOT / "requirements" / "dev.txt")
    assert {"pydantic", "slack-sdk", "aws-lambda-powertools", "tzdata"} <= dependencies.keys()
    assert {"numpy", "isal"} <= engine.keys()
    # Of a package in both layers, Python would load the first layer's.
    assert dependencies.keys() & engine.keys() == set()
    assert {name: tested.get(name) for name in dependencies | engine} == dependencies | engine


def test_every_environment_is_installed_with_hashes() -> None:
    commands = [
        line
        for line in (ROOT / "Makefile").read_text().splitlines()
        if re.search(r"pip (sync|install)", line)
    ]
    assert len(commands) >= len(FILES)
    for command in commands:
        assert (
            "--require-hashes" in command
            or "--no-deps --no-build-isolation --editable ." in command
        )


# --- what pip-audit prints

CLEAN = {"name": "uv", "version": "0.13.9", "vulns": []}
FOUND = {
    "name": "jinja2",
    "version": "2.4.1",
    "vulns": [{"id": "PYSEC-2014-8", "fix_versions": ["2.7.2"], "aliases": []}],
}
UNKNOWN = {
    "name": "six",
    "skip_reason": "Dependency not found on PyPI and could not be audited: six (1.17.0)",
}


def judged(*listed: Mapping[str, object]) -> Audit:
    return judge(
        "x.txt", json.dumps({"dependencies": listed, "fixes": []}), "No known vulnerabilities found"
    )


def test_summary_of_the_audit_is_last() -> None:
    assert report([judged(CLEAN), judged(CLEAN)], "osv", required=True) == (
        ["audited 1 pins with osv, 2 of 2 files whole: 0 known vulnerabilities"],
        0,
    )


@pytest.mark.parametrize("required", [False, True])
def test_a_known_vulnerability_fails(*, required: bool) -> None:
    lines, status = report([judged(CLEAN, FOUND, UNKNOWN)], "pypi", required=required)
    assert status == 1
    assert lines[0] == "VULNERABLE: x.txt: jinja2 2.4.1: PYSEC-2014-8, fixed in 2.7.2"
    assert "1 known vulnerabilities" in lines[-1]


@pytest.mark.parametrize(
    "audit",
    [
        # The answer of a mirror without the database: pip-audit reports nothing and exits with 0.
        judged(UNKNOWN),
        judged(CLEAN, UNKNOWN),
        judged(),
        judge("x.txt", "", "Traceback\nrequests.exceptions.ConnectionError: no way there"),
        judge("x.txt", "", ""),
    ],
    ids=["none known", "some known", "no pins", "not reached", "silent"],
)
@pytest.mark.parametrize(("required", "status"), [(False, 0), (True, 1)])
def test_missing_audit_is_printed_and_fails_only_if_required(
    audit: Audit, *, required: bool, status: int
) -> None:
    lines, ended = report([judged(CLEAN), audit], "pypi", required=required)
    assert ended == status
    assert lines[0].startswith("NOT AUDITED: x.txt: ")
    assert "1 of 2 files whole" in lines[-1]
    assert "; NOT AUDITED: 1 files (" in lines[-1]


def test_audit_without_files_fails() -> None:
    assert report([], "pypi", required=True)[1] == 1
    assert "NOT AUDITED" in report([], "pypi", required=False)[0][-1]
