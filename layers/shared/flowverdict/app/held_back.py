"""Hold back what failed: no alert ends as quiet while a source that may show it is not judged.

Other sources of the same feed go on being read, so "read up to" alone would say too much.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from flowverdict.core.errors import EmptyObjectError, FlowVerdictError, StateError
from flowverdict.lifecycle.feeds import UnreadSpan

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from flowverdict.app.deadlines import Clock
    from flowverdict.app.observability import Observability
    from flowverdict.app.sources import IngestResult
    from flowverdict.lifecycle.notifier import Outcome
    from flowverdict.lifecycle.store import AlertStore


class HeldBack:
    """Notes sources that are not read or not judged, until they are."""

    def __init__(self, store: AlertStore, observability: Observability, clock: Clock) -> None:
        self._store = store
        self._observability = observability
        self._clock = clock

    @contextmanager
    def unless_read(self, source_id: str, name: str, feed: str) -> Iterator[None]:
        """Hold back a source if reading it fails; recording it as read ends that.

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

    def unless_judged(
        self, results: Collection[IngestResult], evaluate: Callable[[], Outcome]
    ) -> Outcome:
        """Evaluate; hold back the sources whose windows are not evaluated, or have to wait.

        Raises
        ------
        FlowVerdictError
            As ``evaluate`` does, or ``StateError`` where that could not be noted.
        """
        try:
            outcome = evaluate()
        except FlowVerdictError as error:
            try:
                self._hold_back(results)
            except StateError:
                self._observability.event_failed(error)
                raise
            raise
        waiting = [
            result for result in results if not result.partitions.isdisjoint(outcome.postponed)
        ]
        self._hold_back(waiting)
        for result in results:
            if result.came_again and result not in waiting:
                self._store.release(result.source_id, result.feed)
        return outcome

    def _hold_back(self, results: Collection[IngestResult]) -> None:
        for result in results:
            if result.dirty:
                span = UnreadSpan.of_windows({window.window for window in result.dirty})
                self._store.hold_back(result.source_id, result.feed, span, int(self._clock()))
