"""The recipe for a renderer works as written: three files, and the registry-driven tests pass."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECIPE = (ROOT / "docs" / "recipes" / "renderer.md").read_text()
RENDERERS = Path("layers/shared/flowverdict/delivery/renderers")
TESTS = ("tests/delivery/test_plain.py", "tests/delivery/test_renderers.py")
COPIED = ("layers/shared", "cli", "functions", "events", "tests", "pyproject.toml")


def code_blocks() -> list[str]:
    """Return the Python code of the recipe: module, line, test file."""
    found = re.findall(r"^ *```python\n(.*?)^ *```", RECIPE, re.MULTILINE | re.DOTALL)
    return [re.sub(r"^ {3}", "", block, flags=re.MULTILINE) for block in found]


def contents(folder: Path) -> dict[Path, bytes]:
    """Return the files of a copy, without what Python and pytest write."""
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.mark.slow
def test_a_renderer_is_one_module_one_line_and_one_test_file(tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=ignored)
        else:
            shutil.copy(source, tmp_path / name)
    before = contents(tmp_path)

    module, line, test = code_blocks()
    (tmp_path / RENDERERS / "plain.py").write_text(module)
    registry = tmp_path / RENDERERS / "__init__.py"
    lines = registry.read_text().splitlines(keepends=True)
    registry.write_text("".join([*lines[:-1], line, lines[-1]]))
    (tmp_path / TESTS[0]).write_text(test)
    after = contents(tmp_path)
    touched = {path for path in before | after if before.get(path) != after.get(path)}

    ran = subprocess.run(  # noqa: S603 - our own files
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *TESTS, "-k", "plain"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{tmp_path / 'layers/shared'}:{tmp_path / 'cli'}"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    # Its own test, and the registry's test for each of thirteen sample notifications.
    assert re.search(r"\b14 passed\b|^\.{14} ", ran.stdout, re.MULTILINE), ran.stdout
    assert touched == {RENDERERS / "plain.py", RENDERERS / "__init__.py", Path(TESTS[0])}
