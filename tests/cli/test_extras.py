"""The distribution and its extras: what each command needs, and what it says without."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, NamedTuple

import pytest
from click.testing import CliRunner

from flowverdict.core.errors import FlowVerdictError
from flowverdict_cli.commands import cli
from flowverdict_cli.extras import EXTRAS, require

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
SCENARIOS = ROOT / "tests" / "scenarios"
GOLDEN = ROOT / "tests" / "golden" / "explain"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
# What each command prints where only the distribution's own dependencies are installed.
MISSING = {
    "snapshot": "flowverdict: snapshot needs boto3: pip install 'flowverdict[aws]'",
    "backfill s3://bucket/": "flowverdict: backfill needs boto3: pip install 'flowverdict[aws]'",
    "replay events/cloudwatch-logs.json": (
        "flowverdict: replay needs moto: pip install 'flowverdict[replay]'"
    ),
    "demo": "flowverdict: demo needs moto: pip install 'flowverdict[replay]'",
    "policy check docs/policy.example.json": (
        "flowverdict: policy check needs pydantic: pip install 'flowverdict[policy]'"
    ),
}


def name_of(requirement: str) -> str:
    """Return the distribution of a requirement, without extras and versions."""
    return re.split(r"[\[>=<~! ;]", requirement, maxsplit=1)[0]


def test_extras_are_those_of_the_distribution() -> None:
    declared = dict(PROJECT["project"]["optional-dependencies"])
    assert declared.pop("all") == [f"flowverdict[{','.join(sorted(EXTRAS))}]"]
    assert {name: set(packages) for name, packages in EXTRAS.items()} == {
        name: set(map(name_of, requirements)) for name, requirements in declared.items()
    }


def test_package_has_one_lower_bound_in_extras_and_layers() -> None:
    groups = PROJECT["dependency-groups"]
    extras = PROJECT["project"]["optional-dependencies"].values()
    bounds: dict[str, set[str]] = {}
    for requirements in (*extras, groups["functions"], groups["engine"]):
        for requirement in requirements:
            bounds.setdefault(name_of(requirement), set()).add(requirement.rpartition(">=")[2])
    del bounds["flowverdict"]  # the extra "all" names the other extras
    assert {name: found for name, found in bounds.items() if len(found) != 1} == {}


def test_extra_that_is_installed_passes() -> None:
    for extra in EXTRAS:
        require(extra, "command")


def test_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXTRAS, "aws", {"boto-four": "boto4"})
    with pytest.raises(FlowVerdictError) as raised:
        require("aws", "snapshot")
    assert str(raised.value) == "snapshot needs boto-four: pip install 'flowverdict[aws]'"


# --- the wheel, in an environment that has nothing else


class Installed(NamedTuple):
    """An environment with the wheel and the distribution's own dependencies."""

    bin: Path
    packages: frozenset[str]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the installed command from the project's root."""
        return run([str(self.bin / "flowverdict"), *arguments])


def run(command: Sequence[str], cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a command in the project's root, without the environment that finds the sources."""
    return subprocess.run(  # noqa: S603 - commands of this test
        command,
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        check=False,
        text=True,
        timeout=300,
    )


def files_of(wheel: Path) -> dict[str, int]:
    """Return the names and checksums of a wheel's files."""
    with zipfile.ZipFile(wheel) as packed:
        return {entry.filename: entry.CRC for entry in packed.infolist()}


def succeed(*command: str, cwd: Path = ROOT) -> str:
    """Run a command that must succeed; return its standard output."""
    finished = run(command, cwd)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Build the wheel and install it, with the versions of requirements/dev.txt."""
    folder = tmp_path_factory.mktemp("wheel")
    uv = which("uv") or str(ROOT / ".uv" / "bin" / "uv")
    # As a release does: the sdist too, and the wheel from what the sdist holds, not from the clone.
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    succeed(*build)
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as packed:
        packed.extractall(folder / "sdist", filter="data")
    (unpacked,) = (folder / "sdist").iterdir()
    (direct,) = folder.glob("*.whl")
    succeed(*build[:-1], str(folder / "again"), "-t", "wheel", cwd=unpacked)
    (wheel,) = (folder / "again").glob("*.whl")
    assert wheel.name == direct.name
    assert files_of(wheel) == files_of(direct)
    environment = folder / "environment"
    succeed(uv, "venv", "--quiet", "--python", sys.executable, str(environment))
    target = ["--python", str(environment / "bin" / "python")]
    pins = ["--constraint", "requirements/dev.txt"]
    succeed(uv, "pip", "install", "--quiet", *target, *pins, str(wheel))
    packages = json.loads(succeed(uv, "pip", "list", "--format", "json", *target))
    return Installed(environment / "bin", frozenset(package["name"] for package in packages))


@pytest.mark.slow
def test_wheel_brings_only_what_reading_text_needs(installed: Installed) -> None:
    assert installed.packages == {
        "click",
        "flowverdict",
        "markdown-it-py",
        "mdurl",
        "pygments",
        "rich",
    }


@pytest.mark.slow
def test_installed_command_shows_its_help_and_version(installed: Installed) -> None:
    finished = installed.run("--help")
    assert (finished.returncode, finished.stderr) == (0, "")
    for command in ("explain", "snapshot", "replay", "demo", "policy", "backfill"):
        assert f"\n  {command} " in finished.stdout
        assert installed.run(command, "--help").returncode == 0
    version = PROJECT["project"]["version"]
    assert installed.run("--version").stdout == f"flowverdict, version {version}\n"


@pytest.mark.slow
def test_installed_command_explains_a_text_file(installed: Installed) -> None:
    finished = installed.run(
        "explain", "--output", "json", str(SCENARIOS / "outbound-response.log")
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == (GOLDEN / "outbound-response.jsonl").read_text()


@pytest.mark.slow
def test_installed_command_reads_a_big_file_without_the_extra_for_speed(
    installed: Installed, tmp_path: Path
) -> None:
    header, *records = (SCENARIOS / "outbound-response.log").read_text().splitlines(keepends=True)
    big = tmp_path / "big.log"
    big.write_text(header + "".join(records) * 1_000)
    assert big.stat().st_size > 200_000
    arguments = ["explain", "--output", "json", str(big)]
    finished = installed.run(*arguments)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == CliRunner().invoke(cli, arguments).stdout


@pytest.mark.slow
@pytest.mark.parametrize("command", MISSING)
def test_installed_command_names_the_missing_extra(installed: Installed, command: str) -> None:
    finished = installed.run(*command.split())
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr == f"{MISSING[command]}\n"


@pytest.mark.slow
def test_installed_command_names_the_extra_for_parquet(
    installed: Installed, tmp_path: Path
) -> None:
    path = tmp_path / "flows.parquet"
    path.write_bytes(b"PAR1" + bytes(100) + b"PAR1")
    finished = installed.run("explain", str(path))
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr == (
        f"flowverdict: {path}: Parquet needs duckdb: pip install 'flowverdict[parquet]'\n"
    )
