"""Rules for the tests themselves."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).parents[1]


@cache
def text_of(path: Path) -> str:
    return path.read_text()


def parsed(part: str) -> Iterator[tuple[Path, ast.Module]]:
    """Parse the modules that hold a text: to parse all of them takes seconds."""
    for path in TESTS.rglob("*.py"):
        if part in text_of(path):
            yield path, ast.parse(text_of(path))


def imported_names(module: ast.Module) -> set[str]:
    """Return every dotted name that a module imports, the names of ``from`` imports included."""
    names: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_nothing_imports_a_test_module() -> None:
    """Shared code belongs in ``tests/helpers``; each test module can be moved or removed alone."""
    imports = {
        str(path.relative_to(TESTS)): sorted(
            name
            for name in imported_names(module)
            if name.startswith("tests.")
            and any(part.startswith("test_") for part in name.split(".")[:-1])
        )
        for path, module in parsed(".test_")
    }
    assert {path: names for path, names in imports.items() if names} == {}


def test_profiles_alone_set_the_number_of_examples() -> None:
    """``tests/conftest.py`` has the profiles; a law sets only its weight (`examples`)."""
    allowed = {TESTS / "conftest.py", TESTS / "helpers" / "hypothesis_weight.py"}
    fixed = [
        f"{path.relative_to(TESTS)}:{node.value.lineno}"
        for setting in ("max_examples", "deadline")
        for path, module in parsed(f"{setting}=")
        if path not in allowed
        for node in ast.walk(module)
        if isinstance(node, ast.keyword) and node.arg == setting
    ]
    assert fixed == []
