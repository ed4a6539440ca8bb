"""Every seed passes its target, without a fuzzer. An input that once broke a promise is a seed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

SEEDS = Path(__file__).parent / "seeds"
FILES = sorted(SEEDS.glob("*/*"))
MAX_SEED_BYTES = 16_384  # a snapshot with every kind of element has 11 KB


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_seed_keeps_what_its_target_promises(path: Path) -> None:
    TARGETS[path.parent.name].check(path.read_bytes())


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_a_target_has_small_seeds_of_both_outcomes(name: str) -> None:
    contents = [path.read_bytes() for path in FILES if path.parent.name == name]
    assert {TARGETS[name].check(content) for content in contents} == {True, False}
    assert all(len(content) <= MAX_SEED_BYTES for content in contents)


def test_every_folder_of_seeds_has_its_target() -> None:
    assert {path.parent.name for path in FILES} == {*TARGETS}


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_a_target_notices_what_escapes_its_decoder(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RecursionError

    module = sys.modules[TARGETS[name].check.__module__]
    monkeypatch.setattr(module, TARGETS[name].breaks, broken)
    contents = [path.read_bytes() for path in FILES if path.parent.name == name]
    with pytest.raises(RecursionError):
        any(TARGETS[name].check(content) for content in contents)
