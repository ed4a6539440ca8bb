"""Fit a chat message into its limits: leave out the parts that matter least, and name them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# An alert is useful without its links, but not without its fix.
_DROP_FIRST = (
    "logs query",
    "links",
    "remote addresses",
    "what this explains",
    "evidence",
    "details",
    "next steps",
    "fix",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part[Element]:
    """Elements shown together or left out together; a part without a name is never left out."""

    name: str = ""
    elements: Sequence[Element]


def fitting[Element](
    parts: Sequence[Part[Element]], fits: Callable[[Sequence[Part[Element]], Sequence[str]], bool]
) -> tuple[Sequence[Part[Element]], Sequence[str]]:
    """Return the parts that fit, in their order, and the names of the parts left out.

    ``fits`` says whether these parts fit together with a line that names those left out. After the
    known names, further parts are left out from the end.
    """
    left_out: list[str] = []
    remaining = parts
    for name in (*_DROP_FIRST, *(part.name for part in reversed(parts))):
        if fits(remaining, left_out):
            break
        others = [part for part in remaining if part.name != name or not name]
        if len(others) < len(remaining):
            left_out.append(name)
            remaining = others
    return remaining, left_out
