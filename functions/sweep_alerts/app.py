"""Notify about open alerts as time passes: reminders, resolved alerts, the digest.

Nothing happens at import.

What it needs is loaded at import, while Lambda gives the start a whole processor, and not with the
first event.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

import flowverdict.app.sweep
import flowverdict.lifecycle.manager
import flowverdict.network.ec2  # noqa: F401 - loaded at import, as said above
from flowverdict.app import wiring

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def _handler() -> wiring.LambdaHandler:
    return wiring.sweep_alerts(os.environ)


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Process the alerts that are due; a failure raises, and the next sweep continues."""
    _handler()(event, context)
