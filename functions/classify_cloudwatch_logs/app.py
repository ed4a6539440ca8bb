"""Turn records of a CloudWatch Logs subscription into alerts. Nothing happens at import."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

from flowverdict.app.reader_wiring import classify_cloudwatch_logs

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from flowverdict.app.clients import LambdaHandler


@cache
def _handler() -> LambdaHandler:
    return classify_cloudwatch_logs(os.environ)


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Classify the records; a failure raises, so that Lambda tries again."""
    _handler()(event, context)
