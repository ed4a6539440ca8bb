"""Show how the memory of ``flowverdict explain`` grows with its files: ``make memory``.

Every file has the records of five minutes of its own, connections from new ports among them, 1 %
rejected. Each row is a process of its own; compare its peak with that of the first row of the same
run. What is kept of a file are the flows that others may need: 20 bytes of each accepted one, and
2 KB of each rejected one up to ``--most``.
"""

from __future__ import annotations

import argparse
import gzip
import os
import sys
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from random import Random
from subprocess import DEVNULL, Popen
from typing import TYPE_CHECKING

from benchmarks.generate import DEFAULT_HEADER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FILES = (1, 20, 60)
_BEGIN, _PERIOD = 1_795_521_600, 300
_INTERFACES, _REJECTED = 100, 0.01
_MAIN = "from flowverdict_cli.commands import run; run()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The peak memory of one process in MiB, and its CPU seconds."""

    files: int
    memory: float
    cpu: float


def write(folder: Path, files: int, records: int) -> list[Path]:
    """Write the files that do not exist yet; return the paths of as many as are wanted."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number}-{records}.log.gz" for number in range(files)]
    for number, path in enumerate(paths):
        if not path.exists():
            text = "\n".join([DEFAULT_HEADER, *_lines(number, records), ""])
            path.write_bytes(gzip.compress(text.encode(), mtime=0))
    return paths


def _lines(number: int, records: int) -> Iterator[str]:
    rng = Random(number)  # noqa: S311 - the same files on any machine
    for _ in range(records // 2):
        place, port = rng.randrange(_INTERFACES), rng.randrange(1024, 65_536)
        near = str(IPv4Address((10 << 24) + 4 + place))
        remote = str(IPv4Address(rng.randrange(0x2C00_0000, 0xDF00_0000)))
        start = _BEGIN + _PERIOD * number + rng.randrange(_PERIOD - 60)
        head, tail = f"2 123456789012 eni-0{place:016x}", f"6 4 240 {start} {start + 60}"
        way = f"{remote} {near} {port} 443"
        if rng.random() < _REJECTED:
            yield from (f"{head} {way} {tail} REJECT OK",) * 2
        else:
            yield f"{head} {way} {tail} ACCEPT OK"
            yield f"{head} {near} {remote} 443 {port} {tail} ACCEPT OK"


def measure(paths: Sequence[Path]) -> Row:
    """Explain the files in a process of its own.

    Raises
    ------
    SystemExit
        The command failed.
    """
    process = Popen(  # noqa: S603 - our own command
        [sys.executable, "-c", _MAIN, "explain", *map(str, paths)], stdout=DEVNULL, stderr=DEVNULL
    )
    # Usage of this process only; RUSAGE_CHILDREN would have the largest of all so far.
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"explain ended with {process.returncode}")
    cpu = usage.ru_utime + usage.ru_stime
    return Row(files=len(paths), memory=usage.ru_maxrss / 1024, cpu=cpu)


def table(rows: Sequence[Row]) -> str:
    """Return the rows as text, each with its ratio to the first."""
    lines = [f"{'files':>6}{'MiB':>8}{'x first':>9}{'MiB more a file':>17}{'CPU s':>8}"]
    first = rows[0]
    for row in rows:
        more = row.files - first.files
        each = f"{(row.memory - first.memory) / more:.2f}" if more else ""
        lines.append(
            f"{row.files:>6}{row.memory:>8.0f}{row.memory / first.memory:>9.2f}{each:>17}"
            f"{row.cpu:>8.2f}"
        )
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=int, default=list(FILES), metavar="FILES")
    parser.add_argument("--records", type=int, default=20_000, help="of each file")
    parser.add_argument("--folder", type=Path, default=Path(".bench/memory"))
    arguments = parser.parse_args()
    paths = write(arguments.folder, max(arguments.files), arguments.records)
    print(f"explain, files of {arguments.records:,} records, {_REJECTED:.0%} rejected")
    print(table([measure(paths[:files]) for files in arguments.files]))


if __name__ == "__main__":
    main()
