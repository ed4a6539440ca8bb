"""A time of the week: that of the weekly summary."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import tzinfo

_DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_WHEN = re.compile(rf"({'|'.join(_DAYS)}) ([01][0-9]|2[0-3]):([0-5][0-9])")


@dataclass(frozen=True, slots=True, kw_only=True)
class WeeklyTime:
    """A time of the week: ``day`` is 0 for Monday."""

    day: int
    hour: int
    minute: int
    zone: tzinfo = UTC

    @classmethod
    def parse(cls, text: str, zone: tzinfo = UTC) -> WeeklyTime:
        """Parse ``MON 07:00``.

        Raises
        ------
        ValueError
            The text is not such a time.
        """
        found = _WHEN.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is not a time of the week like MON 07:00")
        day, hour, minute = found.groups()
        return cls(day=_DAYS.index(day), hour=int(hour), minute=int(minute), zone=zone)

    def last(self, now: int) -> int:
        """Return when it was last that time, at ``now`` at the latest (Unix seconds)."""
        local = datetime.fromtimestamp(now, tz=self.zone)
        that_day = local - timedelta(days=(local.weekday() - self.day) % 7)
        found = that_day.replace(hour=self.hour, minute=self.minute, second=0, microsecond=0)
        if found > local:
            found -= timedelta(days=7)
        return int(found.timestamp())
