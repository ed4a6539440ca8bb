"""Where a source belongs, and what was read of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowverdict.flowlog.object_key import flow_log_of, origin_of
from flowverdict.flows.read_source import partition_key
from flowverdict.lifecycle.dirty_window import DirtyWindow
from flowverdict.lifecycle.feeds import feed_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from flowverdict.flowlog.object_key import Origin
    from flowverdict.flowlog.record_counts import RecordCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePlace:
    """Where a source belongs.

    Parameters
    ----------
    partition
        An account's Region, or one log stream of that Region.
    feed
        The feed without the ID of a flow log: an account's Region, or a log group of it.
    flow_log_id
        ``None`` if the name of the source does not show it.
    """

    partition: str
    feed: str
    flow_log_id: str | None = None

    @classmethod
    def of_object(cls, key: str) -> SourcePlace:
        """Return the place of an object, as its key shows it."""
        partition = partition_key(origin_of(key))
        return cls(partition=partition, feed=partition, flow_log_id=flow_log_of(key))

    @classmethod
    def of_stream(cls, origin: Origin, log_group: str, name: str) -> SourcePlace:
        """Return the place of a log stream; ``name`` holds the names of its group and stream."""
        return cls(partition=partition_key(origin, name), feed=partition_key(origin, log_group))

    @property
    def feed_name(self) -> str:
        """The name of the feed that the source is of."""
        return feed_name(self.feed, self.flow_log_id)

    def dirty(self, windows: Iterable[int]) -> frozenset[DirtyWindow]:
        """Return windows of which the source has evidence."""
        return frozenset(
            DirtyWindow(partition=self.partition, window=window, feed=self.feed)
            for window in windows
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestResult:
    """What a source held, if it was read now, and the windows that it has evidence of.

    Parameters
    ----------
    source_id
        Identifies the source.
    name
        Its name in errors and logs.
    with_rejects
        The windows that it may have rejected flows or lost records of.
    windows
        The windows that its records ended in, those without traffic among them.
    evidence_of
        The windows that it was found to have evidence of, if it was read now and is to be recorded.
    was_held_back
        Whether it may be held back until its windows are judged.
    """

    source_id: str
    name: str
    place: SourcePlace
    counts: RecordCounts
    dirty: frozenset[DirtyWindow]
    windows: frozenset[int]
    with_rejects: frozenset[int] = frozenset()
    evidence_of: frozenset[int] | None = None
    was_held_back: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """The sources that an event names, and why others could not be read."""

    source_ids: tuple[str, ...] = ()
    errors: tuple[Exception, ...] = ()

    def errors_with(self, failed: Mapping[str, Exception]) -> tuple[Exception, ...]:
        """Return the errors, with those of sources that failed later."""
        return self.errors + tuple(failed[each] for each in self.source_ids if each in failed)
