"""Note up to when the flow logs of each feed were read."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from flowverdict.core.errors import StateError
from flowverdict.core.retry import full_jitter
from flowverdict.lifecycle.feeds import Feed
from flowverdict.lifecycle.store import Commit, ConflictError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flowverdict.lifecycle.intervals import Intervals
    from flowverdict.lifecycle.store import AlertStore


_MOST_KNOWN = 10_000  # names come from files
_TRIES = 8
_FIRST_WAIT = 0.02  # seconds; doubled with each try
_LONGEST_WAIT = 1.0


class FeedReadings:
    """Notes up to when the flow logs of feeds were read: one write for a feed in five minutes.

    Parameters
    ----------
    wait
        Sleeps for a number of seconds.
    """

    def __init__(
        self,
        store: AlertStore,
        intervals: Intervals,
        *,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._intervals = intervals
        self._wait = wait
        # What this execution environment knows to be stored: it is not read again.
        self._known: dict[str, int] = {}

    def note(self, read: Mapping[str, int], now: int) -> None:
        """Note up to when flow logs were read, by the name of the feed (Unix seconds).

        Call this after the windows were evaluated: what a feed has shown counts by then.

        Raises
        ------
        StateError
            The store cannot be reached, or other invocations were faster again and again.
        """
        new = {name: end for name, end in read.items() if end > self._known.get(name, -1)}
        for attempt in range(_TRIES):
            if not new:
                return
            stored = self._store.load_feeds(sorted(new))
            for name, end in sorted(new.items()):
                feed = stored.get(name)
                after = (
                    Feed(name=name, read_to=end, read_at=now)
                    if feed is None
                    else feed.after_reading(end, now)
                )
                try:
                    if after != feed:
                        self._store.commit(Commit(feed=after), now, self._intervals)
                except ConflictError:
                    continue
                if len(self._known) >= _MOST_KNOWN:
                    self._known.clear()
                self._known[name] = after.read_to
                del new[name]
            if new:
                self._wait(full_jitter(attempt, first=_FIRST_WAIT, longest=_LONGEST_WAIT))
        if new:
            raise StateError(
                f"other invocations wrote the same feeds in each of {_TRIES} tries to write them"
            )
