"""A window that there is new evidence of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DirtyWindow:
    """A window that a source has evidence of.

    Parameters
    ----------
    feed
        The name of the partition's feed (``lifecycle.feeds``), without the ID of a flow log.
    """

    partition: str
    window: int
    feed: str
