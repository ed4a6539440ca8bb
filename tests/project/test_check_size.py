"""The gate for the length of modules and the complexity of functions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from scripts.check_size import MAX_COMPLEXITY, MAX_LINES, main

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[2]


def function(branches: int, *, indent: str = "") -> str:
    """Return the text of a function with so many branches; its complexity is one more."""
    body = "".join(
        f"{indent}    if x == {number}:\n{indent}        x += 1\n" for number in range(branches)
    )
    return f"{indent}def decide(x):\n{body}{indent}    return x\n"


def test_modules_within_the_limits_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "fine.py").write_text(function(MAX_COMPLEXITY - 1))
    (tmp_path / "long.py").write_text("x = 1\n" * MAX_LINES)
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == "2 modules, 0 over the limits\n"


def test_complex_function_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "complex.py"
    path.write_text(f"class Rule:\n{function(MAX_COMPLEXITY, indent='    ')}")
    assert main([str(path)]) == 1
    assert capsys.readouterr().out == (
        f"{path}:2: Rule.decide has a complexity of 16, at most 15\n1 modules, 1 over the limits\n"
    )


def test_long_module_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "long.py"
    path.write_text("x = 1\n" * (MAX_LINES + 1))
    assert main([str(tmp_path)]) == 1
    assert f"{path}: 501 lines, at most 500\n" in capsys.readouterr().out


def test_assertions_are_not_branches(tmp_path: Path) -> None:
    path = tmp_path / "asserts.py"
    path.write_text("def test(x):\n" + "    assert x\n" * (MAX_COMPLEXITY + 1))
    assert main([str(path)]) == 0


def test_modules_are_listed_by_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "short.py").write_text("x = 1\n")
    (tmp_path / "long.py").write_text("x = 1\n" * 12)
    assert main(["--list", str(tmp_path)]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["12", "1"]


def test_make_lint_runs_the_gate() -> None:
    lint = (ROOT / "Makefile").read_text().split("\nlint:")[1].split("\n\n")[0]
    assert "scripts/check_size.py" in lint
