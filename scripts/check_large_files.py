"""Check that no file is too large for the repository: a hook before each commit."""

from __future__ import annotations

import sys
from pathlib import Path

MAX_BYTES = 500_000  # the largest text, the lock file of an environment, has half of that


def main(names: list[str]) -> int:
    """Print the files that are too large; return 1 if there are any, else 0."""
    sizes = {name: Path(name).stat().st_size for name in names if Path(name).is_file()}
    large = {name: size for name, size in sizes.items() if size > MAX_BYTES}
    for name, size in large.items():
        sys.stdout.write(f"{name}: {size:,} bytes, at most {MAX_BYTES:,}\n")
    return 1 if large else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
