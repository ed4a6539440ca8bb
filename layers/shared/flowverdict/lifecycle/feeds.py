"""Know up to when the flow logs of each feed were read, and when a feed is silent.

A *feed* is what flow logs come from: a flow log (by the names of its files), or a log group, of one
account's Region. "Nothing more was seen" means something only where flow logs were read.

A feed's rhythm is learned from the gaps between its deliveries. It is silent after ``_TIMES`` the
longest gap seen, at least 30 minutes and at most a day. A gap is forgotten with a half-life of
a week, and one gap at most doubles what is known, so that an outage does not become the rhythm.
Flow logs of a backfill are not a rhythm: only those count that end less than an hour before they
are read.

A source that failed, or whose windows wait for the rules, is *held back*: what its feed showed at
that time is not known until it is read and judged.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flowverdict.flowlog.columnar import WINDOW
from flowverdict.flowlog.object_key import time_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


UNKNOWN = "unknown"  # as in the names of partitions
_LIVE = 3_600  # seconds; AWS delivers within ten minutes or so, and a queue may be behind
_TIMES = 3
_SHORTEST, _LONGEST = 1_800, 86_400  # seconds
_ENOUGH = 3  # gaps, after which the rhythm is known
_HALF_LIFE = 7 * 86_400
# A feed that was silent for so long has been deleted: nobody waits for it any more.
GIVEN_UP_AFTER = 14 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """What is known of a feed. Times are Unix seconds.

    Parameters
    ----------
    name
        Account, Region, and the flow log's ID or the log group's name, joined by ``#``.
    read_to
        The end of the latest five minutes that flow logs were read of.
    read_at
        When they were read, by this program's clock.
    gaps, longest_gap
        How many gaps between two deliveries were seen, and the longest in seconds.
    """

    name: str
    version: int = 0
    read_to: int
    read_at: int
    gaps: int = 0
    longest_gap: int = 0

    def after_reading(self, read_to: int, now: int) -> Feed:
        """Return the feed after flow logs up to ``read_to`` were read; itself if it knew them."""
        if read_to <= self.read_to:
            return self
        advanced = replace(self, read_to=read_to, read_at=max(now, self.read_at))
        if now - read_to > _LIVE or self.read_at - self.read_to > _LIVE:
            return advanced
        gap = max(now - self.read_at, 0)
        if self.gaps >= _ENOUGH:
            gap = min(gap, 2 * max(self.longest_gap, _SHORTEST // _TIMES))
        remembered = int(self.longest_gap * 0.5 ** (gap / _HALF_LIFE))
        return replace(advanced, gaps=self.gaps + 1, longest_gap=max(gap, remembered))

    @property
    def silent_from(self) -> int | None:
        """When it counts as silent if no flow logs come; ``None`` while its rhythm is not known."""
        if self.gaps < _ENOUGH:
            return None
        return self.read_at + min(max(_TIMES * self.longest_gap, _SHORTEST), _LONGEST)

    def is_silent(self, now: int) -> bool:
        """Whether its flow logs are missing for longer than is usual."""
        silent_from = self.silent_from
        return silent_from is not None and silent_from <= now

    @property
    def source(self) -> str | None:
        """The flow log's ID or the log group's name."""
        _, _, *source = self.name.split("#", 2)
        return source[0] if source else None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadSpan:
    """The time (Unix seconds) in which the records of a source ended that is not read."""

    start: int
    end: int

    @classmethod
    def of_source(cls, name: str, now: int) -> UnreadSpan:
        """Return the five minutes that the name of a file shows, else the hour before ``now``."""
        start = time_of(name)
        if start is None:
            return cls(start=now - _LIVE, end=now)
        return cls(start=start, end=start + WINDOW)

    @classmethod
    def of_windows(cls, windows: Collection[int]) -> UnreadSpan:
        """Return the time from the first window to the end of the last."""
        return cls(start=min(windows) * WINDOW, end=(max(windows) + 1) * WINDOW)


def feed_name(base: str, flow_log_id: str | None) -> str:
    """Return the name of a feed; ``base`` has the account, the Region, and a log group if any."""
    return base if flow_log_id is None else f"{base}#{flow_log_id}"


def place_of(name: str) -> tuple[str, str]:
    """Return account and Region of a feed; the word ``unknown`` where its files name none."""
    account_id, region, *_ = [*name.split("#", 2), UNKNOWN, UNKNOWN]
    return account_id, region


def end_of_windows(windows: Iterable[int], now: int) -> int | None:
    """Return the end of the latest window, in Unix seconds and at most ``now``.

    Windows in the future count for nothing, because a broken record may claim any time.
    """
    latest = max((window for window in windows if window * WINDOW <= now), default=None)
    return None if latest is None else min((latest + 1) * WINDOW, now)
