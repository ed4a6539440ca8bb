"""The page of problems, as a browser would read it."""

from __future__ import annotations

from html.parser import HTMLParser

# What the page is made of: nothing that runs, loads, or sends.
ELEMENTS = {
    *("html", "head", "meta", "title", "style", "body", "main", "header", "section", "h1", "h2"),
    *("h3", "p", "ul", "li", "b", "dl", "dt", "dd", "pre", "code", "a", "details", "summary"),
    *("span", "div", "figure", "figcaption", "table", "thead", "tbody", "tr", "th", "td"),
    *("svg", "g", "rect", "path", "text"),
}


class Parsed(HTMLParser):
    """The elements, the addresses and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep an element and its attributes."""
        self.elements.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        """Keep a text."""
        self.words.append(data)

    @property
    def text(self) -> str:
        """All text of the page."""
        return "".join(self.words)


def assert_inert(page: str) -> Parsed:
    """Assert that a page runs, loads and sends nothing; return what it is made of."""
    parsed = Parsed(page)
    assert set(parsed.elements) <= ELEMENTS
    assert not [name for name, _ in parsed.attributes if name.startswith("on")]
    assert {"src", "style", "action", "formaction", "srcdoc", "data"}.isdisjoint(
        name for name, _ in parsed.attributes
    )
    assert all(value.startswith("https://") for name, value in parsed.attributes if name == "href")
    assert ("http-equiv", "Content-Security-Policy") in parsed.attributes
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in parsed.attributes
    return parsed
