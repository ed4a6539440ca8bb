"""The threat model and the promises name tests and files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "threat-model.md").read_text()
RELIABILITY = (ROOT / "docs" / "reliability.md").read_text()


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(?:[\w/]+/)?(\w+[.]py)`", TEXT))))
def test_every_file_that_it_names_is_there(name: str) -> None:
    assert [
        path for folder in ("tests", "layers", "scripts") for path in (ROOT / folder).rglob(name)
    ]


def test_every_test_that_it_names_is_there() -> None:
    written = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = re.findall(r"`(test_\w+?)_?(?:[.]{3})?`", TEXT)
    assert len(named) > 8
    assert [name for name in named if f"def {name}" not in written] == []


def test_every_file_that_holds_a_promise_exists() -> None:
    named = set(re.findall(r"`(?:tests/)?((?:\w+/)*test_\w+\.py)`", RELIABILITY))
    assert len(named) > 15
    assert [name for name in named if not list((ROOT / "tests").rglob(name))] == []


def test_it_is_found() -> None:
    assert "docs/threat-model.md" in (ROOT / "README.md").read_text()
    assert "docs/threat-model.md" in (ROOT / "SECURITY.md").read_text()
