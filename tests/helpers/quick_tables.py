"""moto's DynamoDB made fast enough for thousands of items.

Before a transaction moto copies the whole table deeply, once for each item that is written, to be able to put it back. Items are
replaced and never changed by a transaction of puts, so a copy of the table's outermost level serves as well.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from moto.dynamodb.models.table import Table

if TYPE_CHECKING:
    import pytest


def quick_transactions(patch: pytest.MonkeyPatch) -> None:
    """Let moto put a table back from a flat copy."""

    def flat(table: Table, _: dict[int, object]) -> Table:
        twin = copy.copy(table)
        twin.items = copy.copy(table.items)
        return twin

    patch.setattr(Table, "__deepcopy__", flat, raising=False)
