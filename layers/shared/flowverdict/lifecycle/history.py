"""Remember what happened to an alert: messages, what was held back, and what people said of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

MAX_EVENTS = 50  # of an alert; the latest are kept


class What(StrEnum):
    """What happened: a message was called for, an episode ended, or a person said something."""

    FIRING = "firing"
    REMINDER = "reminder"
    FIXED = "fixed"
    QUIET = "quiet"
    UNKNOWN = "unknown"
    CORRECTED = "corrected"
    CLOSED = "closed"
    ENDED_UNTOLD = "ended without a message"
    OVER_LIMIT = "held back by the hourly limit"
    SILENCED = "held back by a silence"
    ACKNOWLEDGED = "acknowledged"
    SILENCE_SET = "silence set"
    SILENCE_LIFTED = "silence lifted"
    ENTRY_SHOWN = "policy entry shown"
    EVIDENCE_SHOWN = "evidence shown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to an alert, at a time (Unix seconds).

    ``by`` names the person, as AWS or the chat tool does; ``None`` for this program.
    """

    at: int
    what: What
    by: str | None = None
    reason: str | None = None


def with_event(history: tuple[Event, ...], event: Event) -> tuple[Event, ...]:
    """Return the history with one more event, without the oldest where there are too many."""
    return (*history, event)[-MAX_EVENTS:]
