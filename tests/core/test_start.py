"""A process that reads a file has one thread: numpy's linear algebra, unused, starts none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_THREADS = Path("/proc/self/task")
_COUNT = "import os, flowverdict.flowlog.column_reader; print(len(os.listdir('/proc/self/task')))"


@pytest.mark.skipif(not _THREADS.exists(), reason="counts threads as Linux lists them")
def test_reading_by_column_starts_no_threads() -> None:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS")
    }
    command = [sys.executable, "-c", _COUNT]
    finished = subprocess.run(  # noqa: S603 - this Python
        command, env=environment, capture_output=True, text=True, check=True
    )
    assert finished.stdout == "1\n"
