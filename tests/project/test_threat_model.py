"""The threat model names tests and files that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "threat-model.md").read_text()
LAWS, RUNS = (
    ROOT / "tests" / "laws" / "test_untrusted_text.py",
    ROOT / "tests" / "faults" / "test_untrusted_input.py",
)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(?:[\w/]+/)?(\w+[.]py)`", TEXT))))
def test_every_file_that_it_names_is_there(name: str) -> None:
    assert [
        path for folder in ("tests", "layers", "scripts") for path in (ROOT / folder).rglob(name)
    ]


def test_every_test_that_it_names_is_there() -> None:
    written = (
        LAWS.read_text()
        + RUNS.read_text()
        + "".join(path.read_text() for path in (ROOT / "tests").rglob("test_ec2.py"))
    )
    named = re.findall(r"`(test_\w+?)_?(?:[.]{3})?`", TEXT)
    assert len(named) > 8
    assert [name for name in named if f"def {name}" not in written] == []


def test_it_is_found() -> None:
    assert "docs/threat-model.md" in (ROOT / "README.md").read_text()
    assert "docs/threat-model.md" in (ROOT / "SECURITY.md").read_text()
