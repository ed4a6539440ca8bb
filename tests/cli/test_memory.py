"""What ``explain`` keeps of many files: bytes of flows, nothing of files."""

from __future__ import annotations

import gc
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from flowverdict.flows import accepted_index
from flowverdict_cli import explain
from tests.helpers.command import HEADER, write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FLOWS = 4_000  # of a file, which is large enough to be read by column
FEW, MANY = 3, 18


def files(folder: Path, *, same_flows: bool) -> Sequence[str]:
    """Write files of successive five minutes, with the same flows or with flows of their own."""
    names = []
    for number in range(MANY):
        start = 1_795_521_600 + 300 * number
        lines = [
            f"2 123456789012 eni-0a1b2c3d 10.{0 if same_flows else number}.{flow >> 8}.{flow & 255}"
            f" 10.255.1.5 {40_000 + flow} 443 6 4 240 {start} {start + 60} ACCEPT OK\n".encode()
            for flow in range(FLOWS)
        ]
        names.append(str(write(folder / f"{number}.log", HEADER, *lines)))
    return names


def held(names: Sequence[str]) -> int:
    """Return the bytes that are held for files that were read."""
    tracemalloc.start()
    gc.collect()
    read = explain.read_files(names)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert read.batch.counts.accepted == FLOWS * len(names)
    return size


@pytest.mark.slow
def test_flows_that_all_files_have_are_held_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accepted_index, "MERGED_ROWS", 2 * FLOWS)
    names = files(tmp_path, same_flows=True)
    held(names[:FEW])  # what is imported and cached once
    more = held(names) - held(names[:FEW])
    assert more / (FLOWS * (MANY - FEW)) < 2


@pytest.mark.slow
def test_a_file_of_new_flows_takes_20_bytes_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accepted_index, "MERGED_ROWS", 2 * FLOWS)
    names = files(tmp_path, same_flows=False)
    held(names[:FEW])
    more = held(names) - held(names[:FEW])
    assert more / (FLOWS * (MANY - FEW)) < 22
