"""Turn flow log objects that S3 events name into alerts. Nothing happens at import.

The events come through a queue or directly.

What it needs is loaded at import, while Lambda gives the start a whole processor, and not with the
first event.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

import aws_lambda_powertools.utilities.data_classes  # noqa: F401 - loaded at import, as said above

from flowverdict.app.reader_wiring import classify_s3

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from flowverdict.app.clients import LambdaHandler


@cache
def _handler() -> LambdaHandler:
    return classify_s3(os.environ)


def lambda_handler(
    event: dict[str, Any], context: LambdaContext
) -> PartialItemFailureResponse | None:
    """Classify the objects; return the messages of a queue's batch that failed."""
    answer: PartialItemFailureResponse | None = _handler()(event, context)
    return answer
