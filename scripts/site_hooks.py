"""Hooks of MkDocs: fill folders into the navigation, and lead links out of ``docs`` to the sources.

MkDocs loads this file by its path (https://www.mkdocs.org/user-guide/configuration/#hooks); it
imports nothing of the project, which is not installed beside MkDocs.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

_LINK = re.compile(
    r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!https?://|#|mailto:)([^)\s#]+)(#[^)\s]*)?\)"
)


def on_config(config: Any) -> Any:  # noqa: ANN401 - MkDocs is not installed where types are checked
    """Replace each ``FOLDER/*`` of the navigation by the folder's pages that it does not name."""
    config["nav"] = _filled(config["nav"], Path(config["docs_dir"]))
    return config


def on_page_markdown(
    markdown: str,
    page: Any,  # noqa: ANN401 - as above
    config: Any,  # noqa: ANN401 - as above
    **_: object,
) -> str:
    """Lead links out of the documentation to the repository, or show them as text without one."""
    folder = posixpath.dirname(page.file.src_uri)
    repository = str(config["repo_url"] or "").rstrip("/")

    def led(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, link[3]))
        if link[1] or not target.startswith("../"):
            return link[0]
        if not repository:
            return link[2]
        return f"[{link[2]}]({repository}/blob/main/{target.removeprefix('../')}{link[4] or ''})"

    return _LINK.sub(led, markdown)


def _filled(entries: list[Any], docs: Path) -> list[Any]:
    named = {entry for entry in entries if isinstance(entry, str)}
    filled: list[Any] = []
    for entry in entries:
        if isinstance(entry, dict):
            filled.append({title: _filled(below, docs) for title, below in entry.items()})
        elif entry.endswith("/*"):
            pages = [str(path.relative_to(docs)) for path in sorted(docs.glob(f"{entry}.md"))]
            filled += [page for page in pages if page not in named]
        else:
            filled.append(entry)
    return filled
