"""Charts of the page as inline SVG: bars over time, and who could not reach whom."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from flowverdict.core.formatting import isoformat
from flowverdict.delivery.page.html import element

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from xml.etree.ElementTree import Element

_WIDTH, _HEIGHT = 720, 160
_ABOVE, _BELOW = 14, 24  # the axis' labels
_ROW = 34
_COLUMNS = (0, 260, 520)
_BOX = 200
_LABEL = 29  # characters that fit into a box


class Bars(NamedTuple):
    """Counts over time: for each series a count for each interval.

    ``start`` is Unix seconds, ``step`` seconds. A series has the color of its place in the mapping,
    also where it counts nothing.
    """

    start: int
    step: int
    series: Mapping[str, Sequence[int]]

    @property
    def intervals(self) -> int:
        """How many intervals there are."""
        return max(map(len, self.series.values()), default=0)


class Link(NamedTuple):
    """One problem of the map: who, what stands between, to whom; and the style of the line."""

    source: str
    rule: str
    destination: str
    style: str
    records: int


def bars(title: str, shown: Bars) -> Element:
    """Return stacked bars with a legend."""
    count = shown.intervals
    totals = [sum(counts[at] for counts in shown.series.values()) for at in range(count)]
    highest = max((1, *totals))
    width = _WIDTH / max(count, 1)
    parts = [element("title", title)]
    for at in range(count):
        top = float(_ABOVE + _HEIGHT)
        for number, (name, counts) in enumerate(shown.series.items()):
            if counts[at] == 0:
                continue
            height = max(counts[at] / highest * _HEIGHT, 1.0)
            top -= height
            time = isoformat(shown.start + at * shown.step)
            parts.append(
                element(
                    "rect",
                    element("title", f"{time}: {counts[at]:,} {name}"),
                    x=round(at * width, 2),
                    y=round(top, 2),
                    width=round(max(width - 1, 1), 2),
                    height=round(height, 2),
                    class_=f"s{number}",
                )
            )
    baseline = _ABOVE + _HEIGHT + _BELOW - 8
    parts += [
        element("text", isoformat(shown.start) or "", x=0, y=baseline),
        element(
            "text",
            isoformat(shown.start + count * shown.step) or "",
            x=_WIDTH,
            y=baseline,
            text_anchor="end",
        ),
        element("text", f"{highest:,}", x=_WIDTH, y=10, text_anchor="end"),
    ]
    legend = [
        element("li", element("span", class_=f"key s{number}"), f" {name}: {sum(counts):,}")
        for number, (name, counts) in enumerate(shown.series.items())
        if any(counts)
    ]
    return element(
        "figure",
        element("figcaption", title),
        drawing(parts, _ABOVE + _HEIGHT + _BELOW, title),
        element("ul", *legend, class_="legend"),
    )


def flow_map(title: str, links: Sequence[Link]) -> Element:
    """Return who (left) could not reach whom (right), and which rule stands between."""
    columns = [
        list(dict.fromkeys(names))
        for names in (
            (link.source for link in links),
            (link.rule for link in links),
            (link.destination for link in links),
        )
    ]
    tallest = max(map(len, columns), default=0)
    height = tallest * _ROW + 30
    middles = [
        {name: 34 + (at + 0.5) * (tallest * _ROW / len(names)) for at, name in enumerate(names)}
        for names in columns
    ]
    heads = ("from", "stopped by", "to")
    parts = [element("title", title)]
    parts += [
        element("text", head, x=x, y=14, class_="head")
        for head, x in zip(heads, _COLUMNS, strict=True)
    ]
    for link in links:
        width = round(1.5 + min(math.log10(link.records + 1) * 1.5, 6), 2)
        ends = (link.source, link.rule, link.destination)
        ys = [middle[name] for middle, name in zip(middles, ends, strict=True)]
        parts += [
            element(
                "path",
                d=_curve(_COLUMNS[at] + _BOX, ys[at], _COLUMNS[at + 1], ys[at + 1]),
                stroke_width=width,
                class_=f"line {link.style}",
            )
            for at in (0, 1)
        ]
    for at, middle in enumerate(middles):
        for name, y in middle.items():
            parts.append(_box(name, _COLUMNS[at], y, "rule" if at == 1 else "end"))
    return element("figure", element("figcaption", title), drawing(parts, height, title))


def _curve(x: float, y: float, to_x: float, to_y: float) -> str:
    """Return the path of a line that leaves and arrives level."""
    middle = (x + to_x) / 2
    return f"M{x} {y:.1f} C{middle} {y:.1f} {middle} {to_y:.1f} {to_x} {to_y:.1f}"


def _box(name: str, x: float, y: float, kind: str) -> Element:
    shown = name if len(name) <= _LABEL else f"{name[: _LABEL - 1]}\N{HORIZONTAL ELLIPSIS}"
    return element(
        "g",
        element("title", name),
        element("rect", x=x, y=round(y - 12, 1), width=_BOX, height=24, rx=4, class_=f"box {kind}"),
        element("text", shown, x=x + 8, y=round(y + 4, 1)),
    )


def drawing(parts: Sequence[Element], height: float, label: str) -> Element:
    """Return a drawing as wide as its place, which scrolls where the place is too narrow."""
    drawn = element(
        "svg",
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {_WIDTH} {height:g}",
        role="img",
        aria_label=label,
    )
    return element("div", drawn, class_="wide")
