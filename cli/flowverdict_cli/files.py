"""Replace files atomically."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def replace_whole(path: Path, text: str) -> None:
    """Replace the content of a file; a reader sees the old or the new content, never a part.

    Only the file's owner may read it.

    Raises
    ------
    OSError
        The file cannot be written; the old content is still there.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
