"""Decide what is told of feeds that are silent: one notice for an account's Region.

The notice opens with the first silent feed, is told again when another one falls silent, and ends
when all are read again. It has no reminders. A feed that is silent for ``GIVEN_UP_AFTER`` was
deleted: nobody waits for it any more.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from flowverdict.alerts.ending import Ending
from flowverdict.alerts.model import Status
from flowverdict.alerts.notices import no_flow_logs
from flowverdict.core.formatting import counted, isoformat
from flowverdict.lifecycle.feeds import GIVEN_UP_AFTER
from flowverdict.lifecycle.passing_time import is_overdue
from flowverdict.lifecycle.state_machine import (
    AlertState,
    calls_for,
    calls_for_end,
    closed_without_message,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flowverdict.lifecycle.feeds import Feed
    from flowverdict.lifecycle.intervals import Intervals


def on_silence(
    state: AlertState | None,
    place: tuple[str, str],
    feeds: Mapping[str, Feed],
    now: int,
    intervals: Intervals,
) -> AlertState | None:
    """Return the state of a place's notice; the same if nothing is to be told or to be kept.

    Parameters
    ----------
    state
        ``None`` if the place never had a notice.
    feeds
        The feeds that may be silent, and those that the open notice names.
    """
    if state is not None and state.pending is not None:
        # Sent first; what has changed since is told by the next sweep.
        return replace(state, pending_at=now) if is_overdue(state, now, intervals) else state
    silent = [feed for feed in feeds.values() if _is_missed(feed, now)]
    if silent:
        return _silent(state, place, silent, now, intervals)
    return state if state is None or not state.is_open else _ended(state, feeds, now)


def _is_missed(feed: Feed, now: int) -> bool:
    return feed.is_silent(now) and now - feed.read_at < GIVEN_UP_AFTER


def _silent(
    state: AlertState | None,
    place: tuple[str, str],
    silent: Sequence[Feed],
    now: int,
    intervals: Intervals,
) -> AlertState:
    """Return the notice's state while feeds are silent."""
    longest_first = sorted(silent, key=lambda feed: (feed.read_to, feed.name))
    notice = no_flow_logs(
        *place,
        [(feed.source or "flow logs without an ID", feed.read_to) for feed in longest_first],
        read_at=longest_first[0].read_at,
    )
    names = tuple(sorted(feed.name for feed in silent))
    if state is None or not state.is_open:
        opened = AlertState(
            fingerprint=notice.fingerprint,
            version=0 if state is None else state.version,
            notification=notice,
            feeds=names,
            observed_at=now,
        )
        return calls_for(opened, Status.FIRING, None, now)
    more = len(set(names) - set(state.feeds))
    if more or _was_held_back(state, now, intervals):
        reason = f"{counted(more, 'more flow log or log group')} fell silent." if more else None
        changed = replace(state, notification=notice, feeds=names)
        return calls_for(changed, Status.FIRING, reason, now)
    if names == state.feeds:
        return state
    return replace(state, notification=notice.with_status_of(state.notification), feeds=names)


def _was_held_back(state: AlertState, now: int, intervals: Intervals) -> bool:
    return (
        not state.was_sent
        and state.notified_at is not None
        and now - state.notified_at >= intervals.repeat
    )


def _ended(state: AlertState, feeds: Mapping[str, Feed], now: int) -> AlertState:
    read = [
        feed.read_to
        for name, feed in feeds.items()
        if name in state.feeds and not feed.is_silent(now)
    ]
    if not read or not state.was_sent:
        return closed_without_message(state, now)
    reason = (
        f"Fixed: flow logs are read again, up to {isoformat(max(read))}. What was rejected "
        "meanwhile is notified as those flow logs come."
    )
    return calls_for_end(state, Ending.FIXED, reason, now)
