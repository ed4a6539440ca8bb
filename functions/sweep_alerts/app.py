"""Notify about open alerts as time passes: reminders, resolved alerts, the digest.

Nothing happens at import.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

from flowverdict.app.alert_wiring import sweep_alerts

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from flowverdict.app.clients import LambdaHandler


@cache
def _handler() -> LambdaHandler:
    return sweep_alerts(os.environ)


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Process the alerts that are due; a failure raises, and the next sweep continues."""
    _handler()(event, context)
