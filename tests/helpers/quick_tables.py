"""Make moto's DynamoDB fast enough for thousands of items.

Before a transaction moto copies the whole table deeply, once for each item written, to be able to
restore it. A transaction of puts replaces items and changes none, so a shallow copy is enough.
Before a query moto sorts the whole table, and decides at each comparison of what type the keys are.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, cast

from moto.dynamodb.models.table import Table

if TYPE_CHECKING:
    import pytest
    from moto.dynamodb.models.dynamo_type import Item


def quick_transactions(patch: pytest.MonkeyPatch) -> None:
    """Let moto restore a table from a shallow copy."""

    def flat(table: Table, _: dict[int, object]) -> Table:
        twin = copy.copy(table)
        twin.items = copy.copy(table.items)
        return twin

    patch.setattr(Table, "__deepcopy__", flat, raising=False)


def quick_queries(patch: pytest.MonkeyPatch) -> None:
    """Let moto sort a table whose only key is a text by that text."""
    sort = Table.all_items

    def by_text(table: Table) -> list[Item]:
        if table.range_key_attr or table.hash_key_type != "S":
            return sort(table)
        # Without a second key the values are items, other than moto declares.
        items = cast("list[Item]", [*table.items.values()])
        return sorted(items, key=lambda item: str(item.hash_key.value))

    patch.setattr(Table, "all_items", by_text)
