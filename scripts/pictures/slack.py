"""Draw a Slack message from its blocks, as text in a picture that follows light and dark.

It stands for Slack's look and is no copy of it; the words are those of the message.
"""

from __future__ import annotations

import re
from html import escape
from math import ceil
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_WIDTH: Final = 640
_SHOWN: Final = 8  # blocks; the rest is "more"
_LINE: Final = 21.0
_STYLE: Final = """
.m{font:15px/21px "Lato","Slack-Lato",system-ui,"Segoe UI",Roboto,Helvetica,Arial,sans-serif;
color:#1d1c1d;background:#fff;border:1px solid #ddd;border-radius:8px;padding:14px 18px;
box-sizing:border-box}
.m h1{font-size:17px;line-height:23px;margin:2px 0 8px}
.m p{margin:0 0 9px;overflow-wrap:anywhere}
.m pre{font:12px/18px ui-monospace,Menlo,Consolas,monospace;background:#f8f8f8;
border:1px solid #ddd;border-radius:4px;padding:8px;margin:0 0 9px;white-space:pre-wrap;
overflow-wrap:anywhere}
.m .fields{display:grid;grid-template-columns:1fr 1fr;gap:6px 14px;margin:0 0 9px}
.m .who{font-weight:700;margin:0 0 4px}.m .who span{font-weight:400;color:#616061;font-size:12px}
.m .less{color:#616061;font-size:12px}.m a{color:#1264a3;text-decoration:none}
.m b{font-weight:700}
.m .button{display:inline-block;border:1px solid #ccc;border-radius:4px;padding:2px 10px;
margin:0 6px 6px 0;font-weight:700;font-size:13px}
@media (prefers-color-scheme:dark){.m{color:#d1d2d3;background:#1a1d21;border-color:#35373b}
.m pre{background:#222529;border-color:#35373b}.m .less,.m .who span{color:#ababad}
.m a{color:#1d9bd1}.m .button{border-color:#565856}}
"""


def draw_slack(message: Mapping[str, Any]) -> str:
    """Return a Slack message as SVG; ``message`` is what is posted to a webhook."""
    blocks: list[Mapping[str, Any]] = message["blocks"]
    html = list(_blocks(blocks[:_SHOWN]))
    if len(blocks) > _SHOWN:
        html.append('<p class="less">and the evidence, the addresses and where to look</p>')
    height = ceil(62 + sum(map(_height, blocks[:_SHOWN])) + 30)
    body = '<p class="who">flowverdict <span>App</span></p>' + "".join(html)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" role="img" aria-label="{escape(message["text"])}">\n'
        f"<style>{_STYLE}</style>\n"
        f'<foreignObject width="{_WIDTH}" height="{height}">'
        f'<div xmlns="http://www.w3.org/1999/xhtml" class="m">{body}</div>'
        "</foreignObject>\n</svg>\n"
    )


def _section(section: Mapping[str, Any]) -> Iterator[str]:
    if "text" in section:
        yield f"<p>{_mrkdwn(section['text']['text'])}</p>"
    if "fields" in section:
        fields = "".join(f"<div>{_mrkdwn(field['text'])}</div>" for field in section["fields"])
        yield f'<div class="fields">{fields}</div>'


def _blocks(blocks: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for block in blocks:
        match block["type"]:
            case "header":
                yield f"<h1>{escape(block['text']['text'])}</h1>"
            case "section":
                yield from _section(block)
            case "rich_text":
                for part in block["elements"]:
                    text = "".join(piece.get("text", "") for piece in part["elements"])
                    tag = "pre" if part["type"] == "rich_text_preformatted" else "p"
                    yield f"<{tag}>{escape(text)}</{tag}>"
            case "context":
                text = " ".join(_mrkdwn(part["text"]) for part in block["elements"])
                yield f'<p class="less">{text}</p>'
            case "actions":
                buttons = "".join(
                    f'<span class="button">{escape(part["text"]["text"])}</span>'
                    for part in block["elements"]
                )
                yield f"<div>{buttons}</div>"
            case "divider":
                yield "<hr/>"
            case kind:
                raise ValueError(f"a block of type {kind} has no look here")


def _mrkdwn(text: str) -> str:
    """Return Slack's markup as HTML. Its own ``&amp;``, ``&lt;`` and ``&gt;`` stay as they are."""
    text = re.sub(r"<!date\^[^|>]*\|([^>]*)>", r"\1", text)
    text = re.sub(r"<https?://[^|>]*\|([^>]*)>", r"[[\1]]", text)
    text = text.replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"\[\[(.*?)\]\]", r"<a>\1</a>", text)
    text = re.sub(r"(?<!\S)\*([^*\n]+)\*(?!\w)", r"<b>\1</b>", text)
    text = re.sub(r"`([^`\n]+)`", r"<code>\1</code>", text)
    return text.replace("\n", "<br/>")


def _lines(text: str, characters: int) -> int:
    return sum(max(1, ceil(len(line) / characters)) for line in text.split("\n"))


def _height(block: Mapping[str, Any]) -> float:
    """Return about how high a block is; a little too much is only more room at the end."""
    match block["type"]:
        case "header":
            return 10 + 23.0 * _lines(block["text"]["text"], 66)
        case "section":
            text = 9 + _LINE * _lines(block["text"]["text"], 82) if "text" in block else 0.0
            fields = [_lines(field["text"], 38) for field in block.get("fields", ())]
            pairs = [max(fields[place : place + 2]) for place in range(0, len(fields), 2)]
            return text + sum(6 + _LINE * lines for lines in pairs) + (9 if pairs else 0)
        case "rich_text":
            return sum(
                27 + 18.0 * _lines("".join(piece.get("text", "") for piece in part["elements"]), 80)
                for part in block["elements"]
            )
        case _:
            return 36.0
