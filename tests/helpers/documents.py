"""The documents that people read: their commands and their links."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
# Pages that a user follows step by step. Runbooks for alarms (operations.md) have a test of theirs.
GUIDES = (
    README,
    *sorted((DOCS / "start").glob("*.md")),
    *sorted((DOCS / "how-to").glob("*.md")),
    *sorted((DOCS / "understand").glob("*.md")),
    *sorted((DOCS / "runbooks").glob("*.md")),
)
DOCUMENTS = (
    README,
    *(ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")),
    *sorted(DOCS.rglob("*.md")),
)
_BLOCK = re.compile(r"^( *)```sh\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"^ *```.*?^ *```|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_PICTURE = re.compile(r"\b(?:src|srcset)=\"([^\"]+)\"")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command line of a code block: continued lines joined, the comment removed."""

    page: str
    line: str


def commands(page: Path) -> Iterator[Command]:
    """Yield the commands of the page's shell blocks."""
    for indent, block in _BLOCK.findall(page.read_text()):
        text = re.sub(rf"^{indent}", "", block, flags=re.MULTILINE).replace("\\\n", " ")
        for line in text.splitlines():
            command = re.sub(r"\s+# .*$", "", line).strip()
            if command and not command.startswith("#"):
                yield Command(page=str(page.relative_to(ROOT)), line=command)


def links(page: Path) -> Iterator[str]:
    """Yield the targets of the page's links and pictures, outside code."""
    text = _CODE.sub("", page.read_text())
    yield from _LINK.findall(text)
    yield from _PICTURE.findall(text)


def anchors(page: Path) -> set[str]:
    """Return the anchors of the page's headings, as GitHub and MkDocs make them."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    found = set()
    for heading in _HEADING.findall(text):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        found.add(re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-"))
    return found
