"""Turn signals of windows that there is new evidence of into alerts. Nothing happens at import.

What it needs is loaded at import, while Lambda gives the start a whole processor, and not with the
first event.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

import flowverdict.alerts.grouping
import flowverdict.verdict.batch  # noqa: F401 - loaded at import, as said above
from flowverdict.app.alert_wiring import evaluate_windows

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from flowverdict.app.clients import LambdaHandler


@cache
def _handler() -> LambdaHandler:
    return evaluate_windows(os.environ)


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Evaluate the windows; return the signals that have to come again."""
    answer: PartialItemFailureResponse = _handler()(event, context)
    return answer
