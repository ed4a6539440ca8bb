"""Limit the messages of an hour.

More messages than a person can read are not read at all. Nobody may use up the hour for others:

- the last third of the messages is for critical alerts;
- what hosts outside may have caused gets a third at most, so two thirds are left for the rest;
- an account's VPC gets three quarters, at most, of what all others have left, and the last third of
  that is for its critical alerts.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from flowverdict.alerts.model import Alert, Kind, Notification, Severity
from flowverdict.lifecycle.intervals import HOUR

if TYPE_CHECKING:
    from collections.abc import Mapping


_MAX_TITLES = 20
# Notices that a flood from outside brings about.
_OF_FLOODS = frozenset({Kind.FLOW_OVERFLOW, Kind.RECORDS_LOST})


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """The messages of an hour: how many were sent, and what was held back.

    Parameters
    ----------
    hour
        Start of the hour (Unix seconds).
    used
        Messages that were called for and allowed.
    used_by_outsiders, used_by_place
        How many of these tell what hosts outside may have caused, and how many are of each account
        and VPC.
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
    used_by_outsiders: int = 0
    used_by_place: Mapping[str, int] = field(
        default_factory=lambda: MappingProxyType({}), hash=False
    )
    suppressed: Mapping[Severity, int] = field(
        default_factory=lambda: MappingProxyType({}), hash=False
    )
    titles: tuple[str, ...] = ()
    announced: int = 0

    @property
    def suppressed_count(self) -> int:
        """How many messages were held back in all."""
        return sum(self.suppressed.values())

    def allows(self, notification: Notification, hourly_limit: int) -> bool:
        """Whether one more message may be sent, by the shares of its severity, cause and place."""
        of_place = self.used_by_place.get(place_of(notification), 0)
        left = hourly_limit - (self.used - of_place)
        shares = [(self.used, hourly_limit), (of_place, left - left // 4)]
        if may_be_from_outside(notification):
            shares.append((self.used_by_outsiders, max(hourly_limit // 3, 1)))
        critical = notification.severity is Severity.CRITICAL
        return all(used < (share if critical else share - share // 3) for used, share in shares)

    def use(self, notification: Notification) -> RateLimit:
        """Count a message that is sent."""
        place = place_of(notification)
        return replace(
            self,
            used=self.used + 1,
            used_by_outsiders=self.used_by_outsiders + may_be_from_outside(notification),
            used_by_place=MappingProxyType(
                {**self.used_by_place, place: self.used_by_place.get(place, 0) + 1}
            ),
        )

    def suppress(self, notification: Notification) -> RateLimit:
        """Count a message that is held back."""
        severity = notification.severity
        most = _MAX_TITLES // 2 if may_be_from_outside(notification) else _MAX_TITLES
        titles = (
            self.titles
            if len(self.titles) >= most
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


def may_be_from_outside(notification: Notification) -> bool:
    """Return whether hosts outside may have caused by themselves what a notification tells."""
    if isinstance(notification, Alert):
        return notification.from_outside
    return notification.kind in _OF_FLOODS


def place_of(notification: Notification) -> str:
    """Return the account and VPC that a message counts for; the account where no VPC is known.

    The account is the one that delivered the records: nobody uses up the share of another account.
    """
    account = notification.reported_by or notification.account_id or ""
    return f"{account}/{notification.vpc_id or ''}"


def hour_of(now: int) -> int:
    """Return the start of the hour of ``now`` (Unix seconds)."""
    return now // HOUR * HOUR
