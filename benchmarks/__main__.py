"""Measure the designs on generated files and print their costs as ratios.

Every run is a process of its own on one core.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import flowverdict
from benchmarks.designs import DESIGNS
from benchmarks.generate import FILES, write, write_parquet
from benchmarks.latency import EVENTS, FLOOD, Latency
from benchmarks.start import FUNCTIONS, Start

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.generate import Spec

FLOOR = "gunzip"
OURS = "flowverdict"
# These take minutes, so they are measured once, and not at all on the largest files.
_SLOW = {"flowlogs-reader", "read-quickly"}
_SLOW_RECORDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one design: seconds of wall clock and CPU, peak memory in MiB, and the result."""

    wall: float
    cpu: float
    memory: float
    found: dict[str, Any]


def measure(design: str, path: Path, core: int) -> Run:
    """Run a design once.

    Raises
    ------
    SystemExit
        The design failed.
    """
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "benchmarks.designs",
        design,
        str(path),
        str(core),
    ]
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)  # noqa: S603 - our own module
    if process.stdout is None:
        raise SystemExit("no pipe")
    output = process.stdout.read()
    # Usage of this process only; RUSAGE_CHILDREN would sum up all processes so far.
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{design} failed on {path}")
    found, peak = output.splitlines()
    memory = (int(peak) or usage.ru_maxrss) / 1024
    return Run(wall, usage.ru_utime + usage.ru_stime, memory, json.loads(found))


def compare(path: Path, designs: list[str], times: int, core: int) -> dict[str, list[Run]]:
    """Run every design some times, in turns, so that a slow machine affects all designs.

    Raises
    ------
    SystemExit
        Two designs found different things.
    """
    runs: dict[str, list[Run]] = {design: [] for design in designs}
    for turn in range(times):
        for design in designs:
            if turn == 0 or design not in _SLOW:
                runs[design].append(measure(design, path, core))
    found = {
        json.dumps(run.found) for design in designs for run in runs[design] if run.found["accepted"]
    }
    if len(found) > 1:
        raise SystemExit(f"{path}: not all designs found the same: {', '.join(found)}")
    return runs


def print_latencies(core: int, events: Iterable[str]) -> None:
    """Measure the latency of single events, each kind in a process of its own, and print a table.

    Raises
    ------
    SystemExit
        An event failed.
    """
    print("\nwhole handlers, from an event to its alerts; AWS's time is not in it")
    print(f"{'':<40}{'cold ms':>10}{'warm ms':>10}{'first alert after ms':>22}")
    for event in events:
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.latency", str(core), event]
        finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603 - our own module
        if finished.returncode:
            raise SystemExit(f"{event}: failed")
        latency = Latency(**json.loads(finished.stdout))
        first_alert = "" if latency.first_alert is None else f"{latency.first_alert:.0f}"
        print(f"{event:<40}{latency.cold:>10.0f}{latency.warm:>10.1f}{first_alert:>22}")


def print_starts(core: int, times: int) -> None:
    """Start each function some times, each time in a new process, and print a table of medians.

    Raises
    ------
    SystemExit
        A function did not start.
    """
    print("\nstarts of functions, milliseconds of CPU time")
    print(f"{'':<28}{'Python':>8}{'SDK':>8}{'modules':>9}{'clients of the SDK':>20}{'all':>8}")
    for function in FUNCTIONS:
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.start", str(core), function]
        starts = []
        for _ in range(times):
            finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603 - our own module
            if finished.returncode:
                raise SystemExit(f"{function}: did not start")
            starts.append(Start(**json.loads(finished.stdout)))
        of_medians = median_of(starts)
        print(
            f"{function:<28}{of_medians.python:>8.0f}{of_medians.sdk:>8.0f}"
            f"{of_medians.modules:>9.0f}{of_medians.clients:>20.0f}{of_medians.total:>8.0f}"
        )


def median_of(starts: Sequence[Start]) -> Start:
    """Return the median of each part."""
    return Start(
        **{
            part.name: statistics.median(getattr(start, part.name) for start in starts)
            for part in fields(Start)
        }
    )


def machine() -> str:
    """Return the processor and the Python of this machine."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = next(
        (
            line.partition(":")[2].strip()
            for line in cpuinfo.splitlines()
            if line.startswith("model name")
        ),
        "unknown",
    )
    return f"{model}, one core; Python {platform.python_version()}; medians"


def main() -> None:
    """Print one table for each file, one for the latencies of events, and one for starts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "files", nargs="*", default=list(FILES), metavar="FILE", help=f"of {', '.join(FILES)}"
    )
    parser.add_argument("--designs", nargs="+", default=list(DESIGNS), choices=DESIGNS)
    parser.add_argument("--times", type=int, default=3, help="runs of each design")
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path(".bench"))
    parser.add_argument("--check", action="store_true", help="fail where the ratios are far off")
    arguments = parser.parse_args()
    designs = [FLOOR, *(design for design in arguments.designs if design != FLOOR)]
    # The installed packages have bytecode too; without it, an import takes three times as long.
    compileall.compile_dir(flowverdict.__path__[0], quiet=1)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # progress is visible during the minutes that this takes
    print(machine())
    missed = []
    for name in arguments.files:
        cpus = _compare_file(FILES[name], designs, arguments)
        if arguments.check and OURS in cpus:
            missed += _far_off(name, cpus)
    print_latencies(arguments.core, EVENTS if arguments.check else [*EVENTS, FLOOD])
    print_starts(arguments.core, arguments.times)
    if missed:
        raise SystemExit("\n".join(missed))


def _compare_file(
    spec: Spec, designs: list[str], arguments: argparse.Namespace
) -> dict[str, float]:
    """Measure the designs on one file, print a table and return their median CPU seconds."""
    path = write(spec, arguments.folder)
    if "parquet" in designs:
        write_parquet(path)
    chosen = [design for design in designs if design not in _SLOW or spec.records <= _SLOW_RECORDS]
    runs = compare(path, chosen, arguments.times, arguments.core)
    # CPU seconds, because wall seconds include what other processes did on the core meanwhile.
    cpus = {design: statistics.median(run.cpu for run in runs[design]) for design in chosen}
    print(
        f"\n{spec.name}: {spec.records:,} records, {spec.reject_share:.1%} rejected, "
        f"{path.stat().st_size / 1e6:.1f} MB gzipped"
    )
    print(
        f"{'':<20}{'x gunzip':>10}{'x ' + OURS:>15}{'CPU s':>10}{'wall s':>8}"
        f"{'records/s':>12}{'MiB':>8}"
    )
    for design in chosen:
        wall = statistics.median(run.wall for run in runs[design])
        memory = max(run.memory for run in runs[design])
        ours = cpus[design] / cpus[OURS] if OURS in cpus else float("nan")
        print(
            f"{design:<20}{cpus[design] / cpus[FLOOR]:>10.2f}{ours:>15.2f}{cpus[design]:>10.2f}"
            f"{wall:>8.2f}{spec.records / cpus[design]:>12,.0f}{memory:>8.0f}"
        )
    return cpus


def _far_off(name: str, cpus: dict[str, float]) -> list[str]:
    """Return a line for each ratio that a slow machine does not explain.

    The limits are wide, since imports are a large part of the time in files as small as these.
    """
    limits = {FLOOR: 1 / 16, "flowlogs-reader": 4.0, "duckdb": 0.6}
    return [
        f"{name}: {other} takes {cpus[other] / cpus[OURS]:.2f} times as long as {OURS}, "
        f"expected {least:.2f} or more"
        for other, least in limits.items()
        if other in cpus and cpus[other] / cpus[OURS] < least
    ]


if __name__ == "__main__":
    main()
