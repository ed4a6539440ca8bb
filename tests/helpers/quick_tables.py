"""Make moto's DynamoDB fast enough for thousands of items.

Before a transaction moto copies the whole table deeply, once for each item written, to be able to
restore it. A transaction of puts replaces items and changes none, so a shallow copy is enough.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from moto.dynamodb.models.table import Table

if TYPE_CHECKING:
    import pytest


def quick_transactions(patch: pytest.MonkeyPatch) -> None:
    """Let moto restore a table from a shallow copy."""

    def flat(table: Table, _: dict[int, object]) -> Table:
        twin = copy.copy(table)
        twin.items = copy.copy(table.items)
        return twin

    patch.setattr(Table, "__deepcopy__", flat, raising=False)
