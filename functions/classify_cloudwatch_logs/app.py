"""Turn records of a CloudWatch Logs subscription into alerts. Nothing happens at import."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

from flowverdict.app import wiring

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def _handler() -> wiring.LambdaHandler:
    return wiring.classify_cloudwatch_logs(os.environ)


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Classify the records; a failure raises, so that Lambda tries again."""
    _handler()(event, context)
