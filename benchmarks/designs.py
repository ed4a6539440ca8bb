"""Every design by its name.

``python -m benchmarks.designs <design> <file> <core>`` does the job once, and prints what it found
and the peak of its memory in KiB. The designs that begin with "whole command" print a verdict for
each flow, or the answer, as the command does.
"""

from __future__ import annotations

import json
import os
import sys
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.job import Found
from benchmarks.other_designs import duckdb, flowlogs_reader, polars, stdlib
from benchmarks.own_designs import (
    engine,
    every_flow,
    flowverdict,
    parquet,
    read_by_column,
    read_quickly,
    whole_command_json,
    whole_command_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_READ_BYTES = 1 << 18


def gunzip(path: Path) -> Found:
    """Unpack with Python's zlib only: the floor of all designs that unpack with zlib."""
    unpacker = zlib.decompressobj(wbits=31)
    with path.open("rb") as file:
        while packed := file.read(_READ_BYTES):
            unpacker.decompress(packed)
    return Found()


def unpack_isal(path: Path) -> Found:
    """Unpack with ISA-L only."""
    from isal import isal_zlib  # noqa: PLC0415 - each design loads its own

    unpacker = isal_zlib.decompressobj(wbits=31)
    with path.open("rb") as file:
        while packed := file.read(_READ_BYTES):
            unpacker.decompress(packed)
    return Found()


DESIGNS: dict[str, Callable[[Path], Found]] = {
    "gunzip": gunzip,
    "unpack-isal": unpack_isal,
    "flowlogs-reader": flowlogs_reader,
    "duckdb": duckdb,
    "polars": polars,
    "stdlib": stdlib,
    "engine": engine,
    "flowverdict": flowverdict,
    "every-flow": every_flow,
    "parquet": parquet,
    "read-by-column": read_by_column,
    "read-quickly": read_quickly,
    "whole command, json": whole_command_json,
    "whole command, text": whole_command_text,
}


def main() -> None:
    """Do the job once, on one core."""
    os.sched_setaffinity(0, {int(sys.argv[3])})
    print(json.dumps(asdict(DESIGNS[sys.argv[1]](Path(sys.argv[2])))))
    # The peak that wait4 reports is at least the parent's when it started this process.
    (peak,) = (
        line.split()[1]
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM:")
    )
    print(peak)


if __name__ == "__main__":
    main()
