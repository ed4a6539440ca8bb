"""Write files that scripts generate, or compare them with what would be written."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def write_or_check(files: Iterable[tuple[Path, str]], target: str, arguments: list[str]) -> int:
    """Write the files that differ from their texts, or with ``--check`` name them.

    Return the status to exit with: 1 if ``--check`` finds a difference. ``target`` is what ``make``
    writes them with.
    """
    is_check = "--check" in arguments
    differing = []
    for path, text in files:
        if path.is_file() and path.read_text() == text:
            continue
        differing.append(path)
        if not is_check:
            path.write_text(text)
    state = f"differs from the code: make {target}" if is_check else "written"
    sys.stderr.writelines(f"{path}: {state}\n" for path in differing)
    return 1 if differing and is_check else 0
