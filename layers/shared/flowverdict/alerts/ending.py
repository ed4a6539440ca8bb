"""How an alert ends: five ways that no message may confuse."""

from __future__ import annotations

from enum import StrEnum


class Ending(StrEnum):
    """How an episode of an alert ended.

    ``fixed``: the rules, read again, let its packets pass, or its traffic was seen accepted.
    ``quiet``: flow logs were read and show nothing more of it; it may still be blocked.
    ``unknown``: no flow logs that could show it were read; nobody knows whether it goes on.
    ``closed``: a person closed it, with a reason; whether it still happens is not checked.
    ``corrected``: later records show that it was something else, or nothing.
    """

    FIXED = "fixed"
    QUIET = "quiet"
    UNKNOWN = "unknown"
    CLOSED = "closed"
    CORRECTED = "corrected"
