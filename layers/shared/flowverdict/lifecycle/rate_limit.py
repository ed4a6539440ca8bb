"""Limit the messages of an hour.

More messages than a person can read are not read at all. The last third of an hour's messages is
reserved for critical alerts, so that noise cannot use it up.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from flowverdict.alerts.model import Notification, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping


HOUR = 3_600
_MAX_TITLES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """The messages of an hour: how many were sent, and what was held back.

    Parameters
    ----------
    hour
        Start of the hour (Unix seconds).
    used
        Messages that were called for and allowed.
    suppressed
        How many messages were held back, by severity.
    titles
        Titles of the first messages that were held back.
    announced
        How many messages that were held back the notice of the rate limit has reported.
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
        """Whether one more message may be sent; the last third is reserved for critical alerts."""
        limit = hourly_limit if severity is Severity.CRITICAL else hourly_limit - hourly_limit // 3
        return self.used < limit

    def use(self) -> RateLimit:
        """Count a message that is sent."""
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
        """Whether a notice is due: with the first message held back, and again after the hour."""
        return self.suppressed_count > self.announced and (
            self.announced == 0 or now >= self.hour + HOUR
        )

    def with_notice_sent(self) -> RateLimit:
        """Record that the notice reports all messages held back so far."""
        return replace(self, announced=self.suppressed_count)


def hour_of(now: int) -> int:
    """Return the start of the hour of ``now`` (Unix seconds)."""
    return now // HOUR * HOUR
