"""The rules of the Adaptive Card schema for the elements that the renderer uses.

See https://adaptivecards.io/explorer/ (version 1.4).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from flowverdict.delivery.renderers import teams

if TYPE_CHECKING:
    from collections.abc import Iterator

    type Element = dict[str, Any]

# Type of an element -> its required keys, and the keys that it may have besides.
_KEYS = {
    "TextBlock": ({"text"}, {"color", "size", "weight", "wrap", "spacing"}),
    "RichTextBlock": ({"inlines"}, {"spacing"}),
    "TextRun": ({"text"}, {"weight", "isSubtle", "fontType"}),
    "FactSet": ({"facts"}, {"spacing"}),
    "Container": ({"items"}, {"style", "spacing"}),
    "ActionSet": ({"actions"}, {"spacing"}),
    "Action.OpenUrl": ({"url"}, {"title"}),
}
_VALUES: dict[str, set[str | bool]] = {
    "color": {"default", "dark", "light", "accent", "good", "warning", "attention"},
    "size": {"default", "small", "medium", "large", "extraLarge"},
    "weight": {"default", "lighter", "bolder"},
    "fontType": {"default", "monospace"},
    "spacing": {"default", "none", "small", "medium", "large", "extraLarge", "padding"},
    "style": {"default", "emphasis", "good", "attention", "warning", "accent"},
    "wrap": {True, False},
    "isSubtle": {True, False},
}
_CHILDREN: dict[str, tuple[str, set[str]]] = {
    "RichTextBlock": ("inlines", {"TextRun"}),
    "ActionSet": ("actions", {"Action.OpenUrl"}),
    "Container": ("items", {"RichTextBlock"}),
}
BODY = {"TextBlock", "RichTextBlock", "FactSet", "Container", "ActionSet"}


def card(message: Element) -> Element:
    """Return the one card of a message."""
    (attachment,) = message["attachments"]
    assert set(attachment) == {"contentType", "contentUrl", "content"}
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert attachment["contentUrl"] is None
    content: Element = attachment["content"]
    return content


def assert_valid_message(message: Element) -> None:
    """Check a message against the trigger's shape, the schema and the size limit."""
    assert set(message) == {"type", "attachments"}
    assert message["type"] == "message"
    content = card(message)
    assert set(content) == {"$schema", "type", "version", "msteams", "body"}
    assert (content["type"], content["version"]) == ("AdaptiveCard", "1.4")
    assert content["body"]
    for element in content["body"]:
        assert element["type"] in BODY
        _check(element)
    assert len(json.dumps(message).encode()) <= teams.MAX_BYTES


def _check(element: Element) -> None:
    required, optional = _KEYS[element["type"]]
    keys = set(element) - {"type"}
    assert required <= keys <= required | optional, element
    for key in keys & set(_VALUES):
        assert element[key] in _VALUES[key], element
    if "text" in keys:
        assert isinstance(element["text"], str)
        assert element["text"]
    if element["type"] == "FactSet":
        assert element["facts"]
        for fact in element["facts"]:
            assert set(fact) == {"title", "value"}
            assert fact["title"]
            assert fact["value"]
    if element["type"] == "Action.OpenUrl":
        assert element["url"].startswith("https://")
        assert element["title"]
    children, types = _CHILDREN.get(element["type"], ("", set()))
    if children:
        assert 1 <= len(element[children]) <= (6 if children == "actions" else 1_000)
        for child in element[children]:
            assert child["type"] in types
            _check(child)


def _elements(value: object) -> Iterator[Element]:
    if isinstance(value, dict):
        yield value
        for child in value.values():
            yield from _elements(child)
    elif isinstance(value, list):
        for child in value:
            yield from _elements(child)


def strings_with_markdown(message: Element) -> list[str]:
    """Return the texts in which Teams reads Markdown."""
    found = list(_elements(card(message)["body"]))
    blocks = [element["text"] for element in found if element.get("type") == "TextBlock"]
    return blocks + [element["value"] for element in found if "value" in element]


def strings_without(message: Element) -> list[str]:
    """Return the texts and titles in which Teams reads no Markdown."""
    found = list(_elements(card(message)["body"]))
    runs = [element["text"] for element in found if element.get("type") == "TextRun"]
    return runs + [element["title"] for element in found if element.get("type") == "Action.OpenUrl"]


def commands(message: Element) -> list[list[str]]:
    """Return the lines of each block of monospace text."""
    return [
        [block["inlines"][0]["text"] for block in element["items"]]
        for element in _elements(card(message)["body"])
        if element.get("type") == "Container"
    ]
