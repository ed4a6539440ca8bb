"""Turn signals of windows that there is new evidence of into alerts. Nothing happens at import."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

from flowverdict.app import wiring

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def _handler() -> wiring.LambdaHandler:
    return wiring.evaluate_windows(os.environ)


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Evaluate the windows; return the signals that have to come again."""
    answer: PartialItemFailureResponse = _handler()(event, context)
    return answer
