"""The registry of sources: which function reads flow logs from which event.

A new source is one module that parses its event, one line in ``SOURCES`` and one test file
(``docs/recipes/source.md``). ``flowverdict replay`` and the tests choose the function of an event
by this registry, as AWS's triggers do in the deployed stack.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowverdict.flowlog.cloudwatch_logs import is_subscription_event
from flowverdict.flowlog.s3_events import is_object_event

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A source of flow logs.

    Parameters
    ----------
    function
        The Lambda function: a folder of ``functions/``, built in ``app.reader_wiring``.
    takes
        Whether an event has the shape that triggers this function.
    """

    function: str
    takes: Callable[[Mapping[str, object]], bool]


SOURCES = (
    Source(function="classify_cloudwatch_logs", takes=is_subscription_event),
    Source(function="classify_s3", takes=is_object_event),
)


def source_of(event: Mapping[str, object]) -> Source | None:
    """Return the source that takes an event; ``None`` for an event of another kind."""
    return next((source for source in SOURCES if source.takes(event)), None)
