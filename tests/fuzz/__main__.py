"""Fuzz every target for a while, one after the other; ``make fuzz`` runs this.

python -m tests.fuzz [--seconds 60] [TARGET ...]      prints the totals at the end
python -m tests.fuzz --merge [TARGET ...]             adds to the seeds the inputs found so far that
                                                      reach more code than the seeds

The folder ``.fuzz/TARGET/`` stores what a run finds: ``corpus/`` for the next run, ``log.txt``, and
the inputs that crashed the target.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
FOUND = ROOT / ".fuzz"
SEEDS = Path(__file__).parent / "seeds"
# An input that takes longer, or a target that needs more memory, is a crash: the functions have
# 1,024 MB by default.
MAX_SECONDS = 10
MAX_MEGABYTES = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The result of fuzzing one target.

    ``inputs`` were tried, ``coverage`` is the number of places reached in the code (libFuzzer's
    ``cov``), ``crashes`` are the inputs that crashed the target.
    """

    name: str
    inputs: int
    coverage: int
    peak_megabytes: int
    crashes: tuple[Path, ...]
    failed: bool


def engine(name: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the fuzzer of one target to its end; store its output in ``log.txt`` too."""
    command = [sys.executable, "-m", "tests.fuzz.engine", name, *options]
    done = subprocess.run(  # noqa: S603 - ourselves
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    (FOUND / name / "log.txt").write_text(done.stdout)
    return done


def folders(name: str) -> tuple[Path, Path]:
    """Return the folder of the inputs found so far, which is made, and that of the seeds."""
    corpus = FOUND / name / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    return corpus, SEEDS / name


def fuzz(name: str, seconds: int) -> Run:
    """Fuzz one target, beginning with its seeds and what earlier runs have found."""
    corpus, seeds = folders(name)
    place = FOUND / name
    words = place / "words.dict"
    words.write_text(
        "".join(f'"{word.replace('"', '\\"')}"\n' for word in TARGETS[name].tokens.split())
    )
    done = engine(
        name,
        f"-max_total_time={seconds}",
        f"-timeout={MAX_SECONDS}",
        f"-rss_limit_mb={MAX_MEGABYTES}",
        "-print_final_stats=1",
        *([f"-dict={words}"] if TARGETS[name].tokens else []),
        f"-artifact_prefix={place}/",
        str(corpus),
        str(seeds),
    )
    tried = [int(number) for number in re.findall(r"^#(\d+)\t", done.stdout, re.MULTILINE)]
    tried += [int(number) for number in re.findall(r"number_of_executed_units: (\d+)", done.stdout)]
    covered = [int(number) for number in re.findall(r" cov: (\d+)", done.stdout)]
    memory = [int(number) for number in re.findall(r"(?: rss: |peak_rss_mb: +)(\d+)", done.stdout)]
    return Run(
        name=name,
        inputs=max(tried, default=0),
        coverage=max(covered, default=0),
        peak_megabytes=max(memory, default=0),
        crashes=tuple(sorted(place.glob("*-*"))) if done.returncode else (),
        failed=done.returncode != 0,
    )


def merge(name: str) -> None:
    """Copy to the seeds the fewest files that reach code which the seeds do not reach."""
    corpus, seeds = folders(name)
    before = len([*seeds.iterdir()])
    # Only places in the code count: with the number of passes there would be hundreds of seeds.
    done = engine(name, "-set_cover_merge=1", "-use_counters=0", str(seeds), str(corpus))
    if done.returncode:
        sys.exit(f"{name}: {done.stdout[-500:]}")
    print(f"{name}: {len([*seeds.iterdir()]) - before} seeds more")  # noqa: T201 - a command


def main() -> None:
    """Fuzz or merge as the command line requests; exit 1 if any target crashed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument(
        "--merge", action="store_true", help="add what was found to the seeds, instead of fuzzing"
    )
    given = parser.parse_args()
    names = given.targets or [*TARGETS]
    if unknown := {*names} - {*TARGETS}:
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    if given.merge:
        for name in names:
            merge(name)
        return
    started = time.monotonic()
    runs = []
    for name in names:
        run = fuzz(name, given.seconds)
        runs.append(run)
        figures = f"{run.inputs:,} inputs, {run.coverage:,} places reached, {run.peak_megabytes} MB"
        print(f"{name}: {figures}, {'broken' if run.failed else 'no crash'}", flush=True)  # noqa: T201
        if run.failed:
            log = (FOUND / name / "log.txt").relative_to(ROOT)
            print(f"  what happened: {log}")  # noqa: T201
        python = Path(sys.executable).relative_to(ROOT)
        again = f"PYTHONPATH=layers/shared:cli {python} -m tests.fuzz.engine {name}"
        for crash in run.crashes:
            print(f"  again: {again} {crash.relative_to(ROOT)}")  # noqa: T201
    inputs, crashes = sum(run.inputs for run in runs), sum(run.failed for run in runs)
    seconds = time.monotonic() - started
    print(  # noqa: T201
        f"fuzzed: {len(runs)} targets, {inputs:,} inputs tried in {seconds:.0f} s, "
        f"{crashes} crashes"
    )
    sys.exit(1 if crashes else 0)


if __name__ == "__main__":
    main()
