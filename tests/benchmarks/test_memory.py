"""``make memory`` compares the memory of the command over few and over many files."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

from benchmarks.memory import Row, table, write

if TYPE_CHECKING:
    from pathlib import Path


def test_files_are_written_once_and_each_has_its_own_records(tmp_path: Path) -> None:
    first, second = write(tmp_path, 2, 400)
    texts = [gzip.decompress(path.read_bytes()).decode().splitlines() for path in (first, second)]
    assert [len(text) for text in texts] == [401, 401]
    assert set(texts[0]) & set(texts[1]) == {texts[0][0]}
    assert any(line.endswith("REJECT OK") for line in texts[0])
    first.write_bytes(b"")
    assert write(tmp_path, 1, 400)[0].read_bytes() == b""


def test_rows_are_compared_with_the_first() -> None:
    rows = [Row(files=1, memory=60.0, cpu=1.0), Row(files=21, memory=90.0, cpu=3.0)]
    assert table(rows).splitlines()[1:] == [
        "     1      60     1.00                     1.00",
        "    21      90     1.50             1.50    3.00",
    ]
