"""Hold back what failed: no alert ends as quiet while a source that may show it is not judged.

Other sources of the same feed go on being read, so "read up to" alone would say too much.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from flowverdict.core.errors import EmptyObjectError, FlowVerdictError, StateError
from flowverdict.lifecycle.feeds import UnreadSpan

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from flowverdict.app.deadlines import Clock
    from flowverdict.app.observability import Observability
    from flowverdict.app.sources import IngestResult
    from flowverdict.lifecycle.dirty_window import DirtyWindow
    from flowverdict.lifecycle.store import SourceStore


class HeldBack:
    """Notes sources that are not read or not judged, until they are."""

    def __init__(self, store: SourceStore, observability: Observability, clock: Clock) -> None:
        self._store = store
        self._observability = observability
        self._clock = clock

    @contextmanager
    def unless_read(self, source_id: str, name: str, feed: str) -> Iterator[None]:
        """Hold back a source if reading it fails, until it is read and judged.

        Raises
        ------
        StateError
            That could not be noted. The reason why the source failed is logged.
        """
        try:
            yield
        except EmptyObjectError:
            raise  # it shows nothing
        except Exception as error:
            now = int(self._clock())
            try:
                self._store.hold_back(source_id, feed, UnreadSpan.of_source(name, now), now)
            except StateError:
                self._observability.event_failed(error)
                raise
            raise

    @contextmanager
    def unless_signalled(self, results: Collection[IngestResult]) -> Iterator[None]:
        """Hold back sources if their evidence cannot be stored or their windows not be signalled.

        Raises
        ------
        StateError
            That could not be noted. The reason why signalling failed is logged.
        """
        try:
            yield
        except FlowVerdictError as error:
            try:
                for result in results:
                    if result.dirty:
                        span = UnreadSpan.of_windows({window.window for window in result.dirty})
                        self._note(result.source_id, result.place.feed_name, span)
            except StateError:
                self._observability.event_failed(error)
                raise
            raise

    def not_judged(self, windows: Iterable[DirtyWindow]) -> None:
        """Hold back what all feeds of the windows' places have shown in them.

        Raises
        ------
        StateError
            That could not be noted.
        """
        for window in windows:
            self._note(_name_of(window), window.feed, UnreadSpan.of_windows({window.window}))

    def judged(self, windows: Iterable[DirtyWindow]) -> None:
        """End what ``not_judged`` began.

        Raises
        ------
        StateError
            That could not be noted.
        """
        for window in windows:
            self._store.release(_name_of(window), window.feed)

    def _note(self, name: str, feed: str, span: UnreadSpan) -> None:
        self._store.hold_back(name, feed, span, int(self._clock()))


def _name_of(window: DirtyWindow) -> str:
    return f"window#{window.partition}#{window.window}"
