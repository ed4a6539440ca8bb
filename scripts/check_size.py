"""Check that no module is too long and no function too complex: part of ``make lint``.

Complexity is McCabe's cyclomatic complexity as radon counts it, without assertions, which are a
test's expectations and not branches. ``--list`` prints all modules by their number of lines
instead.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from radon.complexity import cc_visit
from radon.visitors import Function

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

FOLDERS = ("layers", "cli", "functions", "scripts", "benchmarks", "tests")
MAX_LINES = 500  # of a module: what is longer decides more than one thing
MAX_COMPLEXITY = 15  # of a function, closures included; radon's grades end here with "moderate"


def modules(places: Iterable[Path]) -> list[Path]:
    """Return the Python modules at and below some places, sorted by path."""
    return sorted(
        {path for place in places for path in (place.rglob("*.py") if place.is_dir() else [place])}
    )


def line_count(path: Path) -> int:
    """Return the number of lines of a module."""
    return len(path.read_text(encoding="utf-8").splitlines())


def offenders(path: Path) -> Iterator[str]:
    """Yield one line for each limit that a module exceeds: the place, the measure and the limit."""
    lines = line_count(path)
    if lines > MAX_LINES:
        yield f"{path}: {lines} lines, at most {MAX_LINES}"
    blocks = cc_visit(path.read_text(encoding="utf-8"), no_assert=True)
    functions = (block for block in blocks if isinstance(block, Function))
    for function in sorted(functions, key=lambda function: int(function.lineno)):
        if function.complexity > MAX_COMPLEXITY:
            yield (
                f"{path}:{function.lineno}: {function.fullname} has a complexity of "
                f"{function.complexity}, at most {MAX_COMPLEXITY}"
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the offenders, or the modules by lines; return 1 if there are offenders, else 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("places", nargs="*", type=Path, default=[*map(Path, FOLDERS)])
    parser.add_argument("--list", action="store_true", help="print the modules by lines")
    options = parser.parse_args(arguments)
    paths = modules(options.places)
    if options.list:
        for lines, path in sorted(((line_count(path), path) for path in paths), reverse=True):
            print(f"{lines:>6}  {path}")
        return 0
    found = [line for path in paths for line in offenders(path)]
    for line in found:
        print(line)
    print(f"{len(paths)} modules, {len(found)} over the limits")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
