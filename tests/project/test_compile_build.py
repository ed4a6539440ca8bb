"""The deployed bytecode is used whatever the time of the source, and is always complete."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from scripts.compile_build import compile_build

if TYPE_CHECKING:
    from pathlib import Path


def test_bytecode_is_used_though_packing_changes_the_times_of_sources(tmp_path: Path) -> None:
    source = tmp_path / "Layer" / "python" / "compiled.py"
    source.parent.mkdir(parents=True)
    source.write_text("print('compiled')")
    compile_build(tmp_path)
    source.write_text("print('read')")  # shows which of the two is run
    os.utime(source, (0, 0))

    finished = subprocess.run(
        [sys.executable, "-c", "import compiled"],
        cwd=source.parent,
        capture_output=True,
        check=True,
        text=True,
    )

    assert finished.stdout == "compiled\n"


def test_bytecode_does_not_contain_the_folder_of_the_build(tmp_path: Path) -> None:
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "module.py").write_text("def function():\n    return 1\n")
        compile_build(tmp_path / place)
    here, there = tmp_path.rglob("*.pyc")
    assert here.read_bytes() == there.read_bytes()


def test_file_that_does_not_compile_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def")
    with pytest.raises(RuntimeError, match="do not compile"):
        compile_build(tmp_path)
