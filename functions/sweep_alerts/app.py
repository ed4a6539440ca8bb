"""What time brings to alerts: still happening, resolved, the digest. Nothing happens at import."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

from flowverdict.app import wiring

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def _handler() -> wiring.LambdaHandler:
    return wiring.sweep_alerts(os.environ)


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Look at what is due; a failure raises, and the next sweep goes on."""
    _handler()(event, context)
