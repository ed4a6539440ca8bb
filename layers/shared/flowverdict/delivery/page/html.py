"""Build HTML from elements, so that no text of a record or a tag can become markup.

Text is escaped when the tree is written. Characters that control a terminal or the reading
direction are taken out before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, tostring

from flowverdict.core.untrusted import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable

type Child = Element | str


def element(tag: str, *children: Child, **attributes: str | float) -> Element:
    """Return an element with attributes and children, text among them.

    ``class_`` and ``for_`` stand for the attributes ``class`` and ``for``; an underscore in any
    other name stands for a hyphen.
    """
    made = Element(
        tag,
        {
            name.rstrip("_").replace("_", "-"): one_line(f"{value}")
            for name, value in attributes.items()
        },
    )
    add(made, children)
    return made


def add(parent: Element, children: Iterable[Child]) -> None:
    """Add children to an element, in their order."""
    for child in children:
        if isinstance(child, Element):
            parent.append(child)
        elif len(parent):
            parent[-1].tail = (parent[-1].tail or "") + one_line(child)
        else:
            parent.text = (parent.text or "") + one_line(child)


def document(root: Element) -> str:
    """Return the text of an HTML document."""
    return f"<!DOCTYPE html>\n{tostring(root, encoding='unicode', method='html')}\n"
