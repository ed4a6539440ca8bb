"""Read the sources of an invocation once, store their evidence, signal the dirty windows.

What the sources of an invocation show of a window is stored as one bundle. After that the alert
table records the sources, so a source that is delivered again is not read again; its windows are
signalled again, because an earlier invocation may have ended in between.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from flowverdict.app.held_back import HeldBack
from flowverdict.app.signals import FeedRead, SourceJudged
from flowverdict.app.sources import IngestResult, SourcePlace
from flowverdict.core.errors import FlowVerdictError
from flowverdict.flowlog.columnar import WINDOW
from flowverdict.flowlog.object_key import time_of
from flowverdict.flowlog.record_counts import RecordCounts
from flowverdict.flows.bundle import Section
from flowverdict.flows.collector import FlowCollector
from flowverdict.flows.evidence import Evidence
from flowverdict.lifecycle.feeds import end_of_windows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from flowverdict.app.deadlines import Clock
    from flowverdict.app.observability import Observability
    from flowverdict.app.signals import Signal, Signals
    from flowverdict.flows.ports import EvidenceStore
    from flowverdict.flows.read_source import SourceRead
    from flowverdict.lifecycle.store import SourceStore


# Evidence that an invocation holds before it is stored. A million records have some 12 MB.
_MAX_HELD = 64 * 2**20  # bytes


class IngestService:
    """What sources are read with; ``begin`` starts an invocation.

    ``held_back`` takes the sources that cannot be read.
    """

    def __init__(
        self,
        *,
        store: SourceStore,
        evidence: EvidenceStore,
        signals: Signals,
        observability: Observability,
        clock: Clock = time.time,
    ) -> None:
        self.store = store
        self.evidence = evidence
        self.signals = signals
        self.observability = observability
        self.clock = clock
        self.held_back = HeldBack(store, observability, clock)

    def begin(self) -> Ingestion:
        """Begin an invocation."""
        return Ingestion(self)


class Ingestion:
    """The sources of one invocation: read first, then ``finish`` stores and signals them all."""

    def __init__(self, service: IngestService) -> None:
        self._service = service
        self._bundles = _Bundles(service.evidence)
        self._found: dict[str, IngestResult] = {}
        self._missed: list[IngestResult] = []

    def ingest(
        self,
        source_id: str,
        name: str,
        place: SourcePlace,
        read: Callable[[int], SourceRead],
    ) -> None:
        """Read a source, unless that was done before.

        Raises
        ------
        FlowVerdictError
            The source cannot be read. Nothing is recorded, and the source is read again when it is
            delivered again.
        """
        service = self._service
        if source_id in self._found:
            service.observability.already_counted(name)
            return
        known = service.store.windows_of(source_id)
        if known is None:
            self._found[source_id] = self._read(source_id, name, place, read)
            return
        service.observability.already_counted(name)
        result = IngestResult(
            source_id=source_id,
            name=name,
            place=place,
            counts=RecordCounts(),
            dirty=place.dirty(known),
            with_rejects=frozenset(known),  # which of them have any is not known
            windows=frozenset(known),
            was_held_back=True,
        )
        self._found[source_id] = self._without_loss(result)

    def _read(
        self,
        source_id: str,
        name: str,
        place: SourcePlace,
        read: Callable[[int], SourceRead],
    ) -> IngestResult:
        source = read(self._service.store.seed())
        self._service.observability.read(source.reading)
        for window, evidence in source.windows.items():
            self._bundles.add(place.partition, window, Section.of(source_id, evidence))
        return IngestResult(
            source_id=source_id,
            name=name,
            place=place,
            counts=source.reading.counts,
            dirty=place.dirty(source.windows),
            with_rejects=frozenset(
                window
                for window, evidence in source.windows.items()
                if evidence.flows.rejects or any(evidence.flows.lost())
            ),
            windows=source.windows_read,
            evidence_of=frozenset(source.windows),
        )

    def _without_loss(self, result: IngestResult) -> IngestResult:
        """Replace what ``not_read`` stored where the source, now read, has no records."""
        first = time_of(result.name)
        if first is None or result.place.dirty([first // WINDOW]) <= result.dirty:
            return result
        window = first // WINDOW
        empty = Section.of(result.source_id, Evidence(flows=FlowCollector()))
        self._bundles.add(result.place.partition, window, empty)
        return replace(result, dirty=result.dirty | result.place.dirty([window]))

    def not_read(self, source_id: str, name: str, place: SourcePlace) -> None:
        """Note that a source could not be read, for the window that its name shows.

        What was not seen shows little there until the source is read, which replaces this evidence.

        Raises
        ------
        EvidenceError
            The evidence could not be stored.
        """
        first = time_of(name)
        windows = () if first is None else (first // WINDOW,)
        for window in windows:
            section = Section.of(source_id, Evidence.not_read(name), was_read=False)
            self._bundles.add(place.partition, window, section)
        self._missed.append(
            IngestResult(
                source_id=source_id,
                name=name,
                place=place,
                counts=RecordCounts(),
                dirty=place.dirty(windows),
                windows=frozenset(),
            )
        )

    def finish(self) -> Mapping[str, FlowVerdictError]:
        """Store the evidence, record the sources, and signal their windows and what was read.

        Returns
        -------
        Mapping[str, FlowVerdictError]
            The sources that could not be recorded and have to come again, by their ids.

        Raises
        ------
        FlowVerdictError
            The evidence could not be stored, or the windows not be signalled; the sources are held
            back, and have to come again.
        """
        service = self._service
        failed: dict[str, FlowVerdictError] = {}
        with service.held_back.unless_signalled([*self._found.values(), *self._missed]):
            self._bundles.put()
            results = [*self._recorded(failed), *self._missed]
            self._bundles.put()
            counts = RecordCounts()
            for result in results:
                counts.merge(result.counts)
            service.observability.counted(counts)
            now = int(service.clock())
            marked: defaultdict[str, set[int]] = defaultdict(set)
            for result in results:
                marked[result.place.partition] |= result.with_rejects
            for partition, numbers in sorted(marked.items()):
                service.store.mark_windows([f"{partition}#{number}" for number in numbers], now)
            signals = _signals_of(results, now)
            if signals:
                service.signals.send(signals)
        return failed

    def _recorded(self, failed: dict[str, FlowVerdictError]) -> Iterator[IngestResult]:
        """Record the sources that were read now, and yield all but those that ``failed`` gets."""
        service = self._service
        for source_id, result in self._found.items():
            if result.evidence_of is None:
                yield result
                continue
            try:
                with service.held_back.unless_read(source_id, result.name, result.place.feed_name):
                    was_held_back = service.store.record_source(
                        source_id, result.evidence_of, int(service.clock())
                    )
            except FlowVerdictError as error:
                failed[source_id] = error
                continue
            yield (
                self._without_loss(replace(result, was_held_back=True)) if was_held_back else result
            )


class _Bundles:
    """Sections by partition and window, each of which becomes one object."""

    def __init__(self, evidence: EvidenceStore) -> None:
        self._evidence = evidence
        self._sections: defaultdict[tuple[str, int], list[Section]] = defaultdict(list)
        self._held = 0

    def add(self, partition: str, window: int, section: Section) -> None:
        """Hold a section; store all that are held if they are many bytes.

        Raises
        ------
        EvidenceError
            They could not be stored.
        """
        self._sections[partition, window].append(section)
        self._held += len(section.packed)
        if self._held > _MAX_HELD:
            self.put()

    def put(self) -> None:
        """Store all that is held.

        Raises
        ------
        EvidenceError
            Not all could be stored; the rest is still held.
        """
        for (partition, window), sections in sorted(self._sections.items()):
            self._evidence.put(partition, window, sections)
            del self._sections[partition, window]
        self._held = 0


def _signals_of(results: Sequence[IngestResult], now: int) -> list[Signal]:
    """Return the signals of sources: their windows first, then what holds once they are judged."""
    windows = {window for result in results for window in result.dirty}
    read: dict[tuple[str, str], int] = {}
    for result in results:
        end = end_of_windows(result.windows, now)
        if end is not None:
            name = result.place.partition, result.place.feed_name
            read[name] = max(end, read.get(name, end))
    return [
        *sorted(windows, key=lambda window: (window.partition, window.window)),
        *(
            FeedRead(partition=partition, feed=feed, read_to=end)
            for (partition, feed), end in sorted(read.items())
        ),
        *(
            SourceJudged(
                partition=result.place.partition,
                feed=result.place.feed_name,
                source_id=result.source_id,
            )
            for result in results
            if result.was_held_back
        ),
    ]
