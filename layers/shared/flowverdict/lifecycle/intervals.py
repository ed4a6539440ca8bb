"""How long things of an alert's life take."""

from __future__ import annotations

from dataclasses import dataclass

HOUR = 3_600  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """Intervals of an alert's life, in seconds.

    Parameters
    ----------
    repeat
        Between two messages of an alert that goes on. Four hours are twice in a working day, so
        that the alert is not forgotten.
    resolve
        Of flow logs without a detection, after which an alert ends as quiet. Records are aggregated
        for up to ten minutes and delivered up to ten minutes later, so thirty minutes mean a missed
        delivery and not a late one.
    digest
        Between two digests. A day, because noise is worth one look a day.
    outbox
        After which the sweep sends a message that is still pending: the longest time that a
        function may run.
    keep
        For which a closed alert is stored, so that it can be notified as "again" and is in the
        weekly summary: a day more than a week.
    """

    repeat: int = 4 * HOUR
    resolve: int = HOUR // 2
    digest: int = 24 * HOUR
    outbox: int = 300
    keep: int = 8 * 24 * HOUR

    def digest_end(self, now: int) -> int:
        """Return the end of the digest period of ``now``.

        Periods are counted from the Unix epoch, so those of a day end at midnight UTC.
        """
        return (now // self.digest + 1) * self.digest
