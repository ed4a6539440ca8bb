"""TODO flowverdict.lifecycle.rate_limit."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from flowverdict.alerts.model import Notification, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping


HOUR = 3_600


# --- the cap ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """The messages of an hour: how many went out, and what was held back.

    Parameters
    ----------
    hour
        Unix seconds of its start.
    used
        Messages that were called for and allowed.
    held
        How many were held back, by severity.
    titles
        A few of what was held back, the most severe first as far as they came.
    told
        How many held-back ones the cap's message has spoken of.
    """

    hour: int
    version: int = 0
    used: int = 0
    suppressed: Mapping[Severity, int] = field(
        default_factory=lambda: MappingProxyType({}), hash=False
    )
    titles: tuple[str, ...] = ()
    announced: int = 0

    @property
    def suppressed_count(self) -> int:
        """How many messages were held back in all."""
        return sum(self.suppressed.values())

    def allows(self, severity: Severity, hourly_limit: int) -> bool:
        """Whether one more message may go out. The last third is kept for what is critical: noise must not use it up."""
        limit = hourly_limit if severity is Severity.CRITICAL else hourly_limit - hourly_limit // 3
        return self.used < limit

    def use(self) -> RateLimit:
        """Count a message that goes out."""
        return replace(self, used=self.used + 1)

    def suppress(self, notification: Notification) -> RateLimit:
        """Count a message that is held back."""
        severity = notification.severity
        titles = (
            self.titles
            if len(self.titles) >= _MAX_TITLES
            else (*self.titles, f"{severity}: {notification.title}")
        )
        return replace(
            self,
            suppressed=MappingProxyType(
                {**self.suppressed, severity: self.suppressed.get(severity, 0) + 1}
            ),
            titles=titles,
        )

    def is_notice_due(self, now: int) -> bool:
        """Whether the cap should speak now: at once when it begins to hold back, and again after the hour with the whole number."""
        return self.suppressed_count > self.announced and (
            self.announced == 0 or now >= self.hour + HOUR
        )

    def with_notice_sent(self) -> RateLimit:
        """Note that all that is held back has been spoken of."""
        return replace(self, announced=self.suppressed_count)


_MAX_TITLES = 20


def hour_of(now: int) -> int:
    """Give the start of the hour that ``now`` lies in."""
    return now // HOUR * HOUR
