"""The time line of the page as inline SVG: a bar for each problem, with marks for what happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from flowverdict.core.formatting import isoformat
from flowverdict.delivery.page.charts import drawing
from flowverdict.delivery.page.html import element

if TYPE_CHECKING:
    from collections.abc import Sequence
    from xml.etree.ElementTree import Element

_LEFT, _RIGHT = 240, 712  # of the bars, right of the labels; a mark at the end is whole
_ROW = 22
_BAR = 8
_LABEL = 38  # characters of a label that fit
_ABOVE, _BELOW = 6, 22  # the axis' labels are below
_MARK = 5  # half of a mark's width


class Moment(NamedTuple):
    """Something that happened at a time (Unix seconds), in words; ``by_person`` not by itself."""

    at: int
    words: str
    by_person: bool


class Span(NamedTuple):
    """A problem from when it began until it ended; ``None`` while it goes on. Unix seconds."""

    label: str
    style: str
    begin: int
    end: int | None
    moments: Sequence[Moment] = ()


class TimeLine(NamedTuple):
    """Problems between two times (Unix seconds)."""

    begin: int
    end: int
    spans: Sequence[Span] = ()


def time_line(title: str, shown: TimeLine) -> Element:
    """Return a row for each problem, from the left to the right of the time that is shown."""
    length = max(shown.end - shown.begin, 1)

    def place(at: int) -> float:
        share = (min(max(at, shown.begin), shown.end) - shown.begin) / length
        return round(_LEFT + share * (_RIGHT - _LEFT), 1)

    parts = [element("title", title)]
    for number, span in enumerate(shown.spans):
        middle = _ABOVE + (number + 0.5) * _ROW
        left, right = place(span.begin), place(shown.end if span.end is None else span.end)
        until = "goes on" if span.end is None else f"ended {isoformat(span.end)}"
        parts += [
            element("text", _cut(span.label), element("title", span.label), x=0, y=middle + 4),
            element(
                "rect",
                element("title", f"{span.label}: from {isoformat(span.begin)}, {until}"),
                x=left,
                y=middle - _BAR / 2,
                width=max(round(right - left, 1), 2),
                height=_BAR,
                class_=f"span {span.style}{'' if span.end is None else ' over'}",
            ),
        ]
        parts += [
            element(
                "path",
                element("title", f"{isoformat(moment.at)}: {moment.words}"),
                d=_diamond(place(moment.at), middle),
                class_="mark person" if moment.by_person else "mark",
            )
            for moment in span.moments
            if shown.begin <= moment.at <= shown.end
        ]
    below = _ABOVE + len(shown.spans) * _ROW + 14
    times = (shown.begin, shown.begin + length // 2, shown.end)
    for at, anchor in zip(times, ("start", "middle", "end"), strict=True):
        parts.append(
            element("text", _minute(at), x=place(at), y=below, text_anchor=anchor, class_="head")
        )
    height = _ABOVE + len(shown.spans) * _ROW + _BELOW
    return element("figure", element("figcaption", title), drawing(parts, height, title))


def _cut(label: str) -> str:
    return label if len(label) <= _LABEL else f"{label[: _LABEL - 1]}\N{HORIZONTAL ELLIPSIS}"


def _minute(seconds: int) -> str:
    text = isoformat(seconds) or ""
    return f"{text[:10]} {text[11:16]}Z"


def _diamond(x: float, y: float) -> str:
    return f"M{x} {y - _MARK} L{x + _MARK} {y} L{x} {y + _MARK} L{x - _MARK} {y} Z"
