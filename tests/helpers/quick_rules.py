"""Let moto's EC2 describe what has not changed only once.

A network is read every few minutes and changes a few times a day. moto spends most of such a
reading on writing the same XML, and the SDK on reading that.
"""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING, Any

from botocore.client import BaseClient

if TYPE_CHECKING:
    import pytest


def quick_descriptions(patch: pytest.MonkeyPatch) -> None:
    """Answer EC2's calls that describe from memory until a call changes something."""
    make = vars(BaseClient)["_make_api_call"]  # by which every call of every client is made
    known: dict[str, bytes] = {}

    def remembered(client: BaseClient, operation: str, arguments: dict[str, Any]) -> object:
        if client.meta.service_model.service_name != "ec2":
            return make(client, operation, arguments)
        if not operation.startswith("Describe"):
            known.clear()
            return make(client, operation, arguments)
        call = f"{operation} {client.meta.region_name} {json.dumps(arguments, sort_keys=True)}"
        if call not in known:
            known[call] = pickle.dumps(make(client, operation, arguments))
        return pickle.loads(known[call])  # noqa: S301 - written above

    patch.setattr(BaseClient, "_make_api_call", remembered)
