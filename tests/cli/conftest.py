"""The command, and a stage for backfills."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.helpers.backfill_stage import Stage
from tests.helpers.command import Runner

if TYPE_CHECKING:
    from pathlib import Path

    from flowverdict_cli.local_aws import LocalAws


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runner:
    """Return the command."""
    return Runner(monkeypatch, capsys)


@pytest.fixture
def stage(
    aws: LocalAws,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Stage:
    """Return the stage; the state file goes to the test's folder."""
    monkeypatch.chdir(tmp_path)
    return Stage(aws, monkeypatch, capsys)
