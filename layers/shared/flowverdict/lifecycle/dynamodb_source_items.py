"""Items of sources and windows, and what all items of the alert table have.

Readers of items raise ``StateError``, ``KeyError`` or ``ValueError`` for an unreadable item.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from flowverdict.lifecycle.feeds import UnreadSpan
from flowverdict.lifecycle.store import Window

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef


# A dead-letter queue keeps messages for 14 days and may return them at any time.
KEPT = 15 * 86_400
DUE_UNREAD = "unread"  # first word of the key of the index "due" of sources that are not read

type Item = Mapping[str, AttributeValueTypeDef]


def name_of(item: Item) -> str:
    """Return the key of an item without the prefix that says what the item is."""
    return item["pk"]["S"].partition("#")[2]


def version_of_item(item: Item) -> int:
    """Return the version of an item, 0 where it has none."""
    return int(item["version"]["N"]) if "version" in item else 0


def windows_of_source(item: Item) -> tuple[int, ...] | None:
    """Read the windows that a source has evidence for; ``None`` for a source not read yet."""
    if "windows" not in item and "unread_from" in item:
        return None
    return tuple(int(number) for number in item["windows"]["S"].split())


def unread_span_of(item: Item) -> UnreadSpan | None:
    """Read which time a source is held back for; ``None`` for one that is read."""
    if "unread_from" not in item:
        return None
    return UnreadSpan(start=int(item["unread_from"]["N"]), end=int(item["due_at"]["N"]))


def window_of(item: Item) -> Window:
    """Read a window, without its fingerprints."""
    return Window(
        window_id=name_of(item),
        version=version_of_item(item),
        judged=item["judged"]["S"] if "judged" in item else None,
        sources=int(item["sources"]["N"]) if "sources" in item else 0,
        settled=item["settled"]["BOOL"] if "settled" in item else False,
        muted_flows={entry: int(count["N"]) for entry, count in item["muted"]["M"].items()}
        if "muted" in item
        else {},
    )


def item_of_window(window: Window, now: int) -> dict[str, AttributeValueTypeDef]:
    """Return the item of a window, without its version."""
    item: dict[str, AttributeValueTypeDef] = {
        "pk": {"S": f"window#{window.window_id}"},
        "sources": {"N": str(window.sources)},
        "settled": {"BOOL": window.settled},
        "expires_at": {"N": str(now + KEPT)},
    }
    if window.judged is not None:
        item["judged"] = {"S": window.judged}
    if window.muted_flows:
        item["muted"] = {
            "M": {entry: {"N": str(count)} for entry, count in window.muted_flows.items()}
        }
    return item
