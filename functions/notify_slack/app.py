"""Post notifications of the alert topic to a channel of Slack. Nothing happens at import."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

from flowverdict.app import notify_slack

if TYPE_CHECKING:
    from collections.abc import Callable

    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def _handler() -> Callable[[dict[str, Any], Any], Any]:
    return notify_slack.notify_slack(os.environ)


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Post the notifications; a failure raises, so that Lambda tries again."""
    _handler()(event, context)
