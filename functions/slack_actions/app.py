"""Answer the buttons of Slack's messages. Nothing happens at import."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

from flowverdict.app import slack_actions

if TYPE_CHECKING:
    from collections.abc import Callable

    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def _handler() -> Callable[[dict[str, Any], Any], Any]:
    return slack_actions.slack_actions(os.environ)


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer an HTTP request of the function's URL; a failure raises, and Slack shows a warning."""
    answer: dict[str, Any] = _handler()(event, context)
    return answer
