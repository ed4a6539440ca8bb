"""Draw boxes, arrows and text as SVG that follows the reader's light or dark scheme.

A picture is text without dates or random ids, so that the same source gives the same bytes. It
loads nothing: the font is the reader's own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import Final

_STYLE: Final = """
text{font-family:system-ui,"Segoe UI",Roboto,Helvetica,Arial,sans-serif;font-size:13px;fill:#1f2328}
.small{font-size:11px;fill:#59636e}
.title{font-weight:600}
.box{fill:#f6f8fa;stroke:#818b98}
.store{fill:#fff8e6;stroke:#9a6700}
.work{fill:#e8f2ff;stroke:#0969da}
.good{fill:#e6f6ea;stroke:#1a7f37}
.bad{fill:#ffeceb;stroke:#cf222e}
.outside{fill:none;stroke:#818b98;stroke-dasharray:4 3}
.arrow{fill:none;stroke:#59636e;stroke-width:1.4;marker-end:url(#head)}
.both{marker-start:url(#head)}
.part{fill:none;stroke:#59636e;stroke-width:1.4}
.link{fill:none;stroke:#9a6700;stroke-width:1.1;stroke-dasharray:4 3}
.head{fill:#59636e}
.axis{stroke:#d1d9e0}
.back{fill:#fff}
@media (prefers-color-scheme:dark){
text{fill:#f0f6fc}.small{fill:#9198a1}
.box{fill:#151b23;stroke:#656c76}.store{fill:#2b230f;stroke:#d29922}.work{fill:#0f2440;stroke:#4493f8}
.good{fill:#0f2a17;stroke:#3fb950}.bad{fill:#35110f;stroke:#f85149}.outside{stroke:#656c76}
.arrow,.part{stroke:#9198a1}.link{stroke:#d29922}.head{fill:#9198a1}.axis{stroke:#3d444d}.back{fill:#0d1117}
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A labelled rectangle, by its middle; ``kind`` is a class of the style."""

    x: float
    y: float
    width: float = 200
    height: float = 46
    kind: str = "box"
    title: str
    caption: str = ""

    @property
    def top(self) -> tuple[float, float]:
        """The middle of the upper edge."""
        return self.x, self.y - self.height / 2

    @property
    def bottom(self) -> tuple[float, float]:
        """The middle of the lower edge."""
        return self.x, self.y + self.height / 2

    def side(self, *, right: bool) -> tuple[float, float]:
        """Return the middle of the right or the left edge."""
        return self.x + (self.width / 2 if right else -self.width / 2), self.y


@dataclass(slots=True, kw_only=True)
class Picture:
    """A picture that is being drawn."""

    width: float
    height: float
    about: str
    parts: list[str] = field(default_factory=list)

    def box(self, box: Box) -> None:
        """Draw a box with its title and its caption."""
        x, y = box.x - box.width / 2, box.y - box.height / 2
        self.parts.append(
            f'<rect class="{box.kind}" x="{x:g}" y="{y:g}" width="{box.width:g}" '
            f'height="{box.height:g}" rx="7"/>'
        )
        offset = 4 if not box.caption else -3
        self.text(box.x, box.y + offset, box.title, "title")
        if box.caption:
            self.text(box.x, box.y + 13, box.caption, "small")

    def text(self, x: float, y: float, text: str, kind: str = "", anchor: str = "middle") -> None:
        """Write one line of text."""
        self.parts.append(
            f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'
        )

    def label(self, x: float, y: float, text: str) -> None:
        """Write a small line of text on a ground that hides what is below it."""
        width = 6.0 * len(text) + 6
        self.parts.append(
            f'<rect class="back" x="{x - width / 2:g}" y="{y - 10:g}" width="{width:g}" '
            'height="14"/>'
        )
        self.text(x, y, text, "small")

    def path(self, path: str, kind: str = "arrow") -> None:
        """Draw a line along an SVG path."""
        self.parts.append(f'<path class="{kind}" d="{path}"/>')

    def down(
        self, start: tuple[float, float], end: tuple[float, float], *, head: bool = True
    ) -> None:
        """Draw an arrow, or a part of one, that leaves downwards and arrives from above."""
        (x1, y1), (x2, y2) = start, end
        bend = max(18.0, (y2 - y1) / 2)
        y3 = y2 - 3 if head else y2
        kind = "arrow" if head else "part"
        self.path(f"M{x1:g},{y1:g} C{x1:g},{y1 + bend:g} {x2:g},{y2 - bend:g} {x2:g},{y3:g}", kind)

    def across(self, start: Box, end: Box) -> None:
        """Draw an arrow from the side of a box to the side of another."""
        right = start.x < end.x
        (x1, y1), (x2, y2) = start.side(right=right), end.side(right=not right)
        bend, tip = (50, -3) if right else (-50, 3)
        self.path(f"M{x1:g},{y1:g} C{x1 + bend:g},{y1:g} {x2 - bend:g},{y2:g} {x2 + tip:g},{y2:g}")

    def both(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Draw a line with a head at each end."""
        (x1, y1), (x2, y2) = start, end
        self.path(f"M{x1:g},{y1 + 3:g} L{x2:g},{y2 - 3:g}", "arrow both")

    def __str__(self) -> str:
        """Return the picture as a file."""
        head = (
            '<marker id="head" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" '
            'markerHeight="7" orient="auto-start-reverse"><path class="head" d="M0,0 L8,4 L0,8 z"/>'
            "</marker>"
        )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width:g} {self.height:g}" '
            f'width="{self.width:g}" height="{self.height:g}" role="img" '
            f'aria-label="{escape(self.about)}">\n<style>{_STYLE}</style>\n<defs>{head}</defs>\n'
            f'<rect class="back" width="{self.width:g}" height="{self.height:g}"/>\n'
            + "\n".join(self.parts)
            + "\n</svg>\n"
        )
