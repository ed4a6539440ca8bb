"""The evidence that each source holds of each window, merged into the flows of a window.

Evidence is stored by source, so that alerts do not depend on the order or repetition of delivery. A
source is an object or a log event. A window is five minutes, by the end of the records, as in
AWS's files (https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-s3-path.html). A window is
evaluated from the evidence of all its sources, and from what the windows around it show of its
flows. Evidence depends on its source alone, so storing it twice changes nothing. All values are
minima, maxima, sums and sets, so neither order nor split changes the result.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from flowverdict.core.errors import ObjectError
from flowverdict.flowlog.columnar import WINDOW, Windows
from flowverdict.flowlog.flow_key import FlowKey, end_of
from flowverdict.flowlog.losses import Loss, Span, span_of_file
from flowverdict.flowlog.object_key import Origin, origin_of
from flowverdict.flows.accepted_index import AcceptedFlowIndex
from flowverdict.flows.collector import MAX_FLOWS, FlowCollector
from flowverdict.flows.observed import NOT_LOGGED, ObservedValues

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from flowverdict.core.addresses import Address
    from flowverdict.flowlog.columnar import AcceptedFlows, InterfaceFacts, RejectedLines
    from flowverdict.flowlog.losses import Losses
    from flowverdict.flowlog.records import FlowRecord
    from flowverdict.flows.observed import ObservedValue


# Windows before and after a rejected flow's window that may hold records of its connection. The
# record of an accepted request may end before the record of its rejected reply, or up to ten
# minutes after, because a record aggregates packets for up to ten minutes
# (https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html, "Aggregation interval").
# The same holds for the record of another flow log with a longer interval.
BEFORE, AFTER = 1, 2
# Accepted records that fit into a function of 1,024 MB: 20 bytes each, and several times as much
# while they are sorted. AWS's files hold at most half as many, 75 MB gzipped.
MAX_RECORDS = 6_000_000
_REASON = "reject-reason"
_SEVERAL = 2


class FlowLog(NamedTuple):
    """A flow log, identified by the names of its files.

    ``width`` is the number of fields of its records. If two flow logs report a flow, the wider flow
    log is counted, because its records have more fields; the reject reasons of both are kept.
    """

    flow_log_id: str
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a source shows of one window.

    Parameters
    ----------
    flow_log
        The flow log that wrote the source; ``None`` if the name of the source does not show it.
    is_readable
        False for an empty collector in place of stored evidence that cannot be read.
    all_accepted
        All accepted flows, where ``flows`` has only what the rejects need.
    object_name
        The object that is the source, as ``s3://bucket/key``; ``None`` for log events.
    """

    flows: FlowCollector
    flow_log: FlowLog | None = None
    is_readable: bool = True
    all_accepted: AcceptedFlowIndex | None = None
    object_name: str | None = None

    @classmethod
    def unreadable(cls) -> Evidence:
        """Return the placeholder for stored evidence that cannot be read; it has no flows."""
        return cls(flows=_nothing_but_a_loss(Origin(), Span()), is_readable=False)

    @classmethod
    def not_read(cls, name: str) -> Evidence:
        """Return evidence that a source, by its name, was not read; it has no flows."""
        return cls(flows=_nothing_but_a_loss(origin_of(name), span_of_file(name)))


def _nothing_but_a_loss(origin: Origin, span: Span) -> FlowCollector:
    flows = FlowCollector()
    flows.losses.add(Loss.NOT_READ, None, origin, span)
    return flows


class FlowsByWindow:
    """Collects the records of a source by the window in which they end; readers write to it.

    With ``apart``, as in the functions, a source of more than ``MAX_RECORDS`` records raises
    ``ObjectError``; without, all records go to one window.
    """

    def __init__(  # noqa: PLR0913 - each by its name
        self,
        seed: int,
        origin: Origin,
        *,
        name: str = "",
        apart: bool = True,
        distinct: bool = False,
        most: int | None = None,
    ) -> None:
        self.windows: dict[int, FlowCollector] = {}
        self.numbers = Windows(apart=apart)
        self._name = name
        self._read = 0
        self._seed = seed
        # Account and Region of the records that come next.
        self.origin = origin
        self._distinct = distinct
        self._most = MAX_FLOWS if apart else most

    def record(self, record: FlowRecord) -> None:
        """Collect a record."""
        self._count(1)
        self._window(self.numbers.of(end_of(record))).add(record, self.origin)

    def accepted(self, window: int, flows: AcceptedFlows) -> None:
        """Collect accepted records."""
        self._count(len(flows.hashes))
        self._window(window).accepted_index.add_columns(flows)

    def rejected(self, window: int, lines: RejectedLines) -> None:
        """Collect rejected records."""
        self._count(len(lines.hashes))
        self._window(window).add_lines(lines, self.origin)

    def learned(self, window: int, interface: str | None, facts: InterfaceFacts) -> None:
        """Collect what these records show about an interface."""
        self._window(window).learn(interface, facts)

    def lost(self, losses: Losses) -> None:
        """Collect what is missing from the source, in each window that it may concern.

        What names no time is of the file's time, as far as the file's name shows it, and may
        concern all windows of the source.
        """
        of_file = span_of_file(self._name)
        for loss, interface, _, named in losses:
            known = named.first is not None and named.last is not None
            span = named if known else of_file
            for number in self._windows_of(span, everywhere=not known):
                self._window(number).losses.add(loss, interface, self.origin, span)

    def _windows_of(self, span: Span, *, everywhere: bool) -> set[int]:
        """Return the windows of a loss: ``everywhere`` in the source, or only in its time."""
        if not self.numbers.are_apart:
            return {self.numbers.of(None)}
        numbers = {*self.windows}
        if span.first is None or span.last is None:
            return numbers
        if not everywhere:
            first, last = span.first // WINDOW, span.last // WINDOW
            numbers = {number for number in numbers if first <= number <= last}
        return numbers | {self.numbers.of(span.last)}

    def _count(self, records: int) -> None:
        self._read += records
        if self.numbers.are_apart and self._read > MAX_RECORDS:
            raise ObjectError(
                self._name, f"more than {MAX_RECORDS:,} records, which are not read at once"
            )

    def _window(self, number: int) -> FlowCollector:
        if number not in self.windows:
            self.windows[number] = FlowCollector(
                self._seed, distinct=self._distinct, most=self._most
            )
        return self.windows[number]


def flows_of(window: int, evidence: Mapping[int, Iterable[Evidence]], seed: int) -> FlowCollector:
    """Merge the evidence of a window's flows.

    Parameters
    ----------
    evidence
        Evidence by window: of this window, ``BEFORE`` windows earlier and ``AFTER`` windows later.
    """
    near = range(window - BEFORE, window + AFTER + 1)
    reporters = _reporters(piece for number in near for piece in evidence.get(number, ()))
    flows = FlowCollector(seed, most=MAX_FLOWS)
    flows.all_accepted = AcceptedFlowIndex()
    for piece in evidence.get(window, ()):
        flows.merge(_reported_only(piece, reporters))
        flows.all_accepted.merge(piece.all_accepted or piece.flows.accepted_index)
    _add_reasons(flows, (piece for number in near for piece in evidence.get(number, ())), reporters)
    for number in near:
        if number != window:
            for piece in evidence.get(number, ()):
                flows.learn_from(piece.flows)
    return flows


type _Ends = tuple[str | None, Address | None, Address | None, int | None, int | None, int | None]


def _reporters(near: Iterable[Evidence]) -> dict[_Ends, str]:
    """Return, for each flow that several flow logs report, the widest of these flow logs."""
    of_flow_logs = [(each.flow_log, each.flows) for each in near if each.flow_log is not None]
    if len({flow_log.flow_log_id for flow_log, _ in of_flow_logs}) < _SEVERAL:
        return {}
    logs: defaultdict[_Ends, set[FlowLog]] = defaultdict(set)
    for flow_log, flows in of_flow_logs:
        for key, _ in flows.rejects:
            logs[_ends(key)].add(flow_log)
    return {
        ends: min(flow_logs, key=lambda log: (-log.width, log.flow_log_id)).flow_log_id
        for ends, flow_logs in logs.items()
        if len({log.flow_log_id for log in flow_logs}) > 1
    }


def _reported_only(evidence: Evidence, reporters: Mapping[_Ends, str]) -> FlowCollector:
    """Return the evidence without the rejects that are counted from another flow log."""
    flows = evidence.flows
    if evidence.flow_log is None or not reporters:
        return flows
    reporter = evidence.flow_log.flow_log_id
    reported = FlowCollector()
    reported.accepted_index, reported.interfaces = flows.accepted_index, flows.interfaces
    reported.accepts_elsewhere = flows.accepts_elsewhere
    reported.losses = flows.losses
    reported.aggregated.update(flows.aggregated)
    reported.limit.lower(flows.limit.aggregated_from)
    reported.rejects.update(
        (row, rejects)
        for row, rejects in flows.rejects.items()
        if reporters.get(_ends(row[0]), reporter) == reporter
    )
    return reported


def _add_reasons(
    flows: FlowCollector, near: Iterable[Evidence], reporters: Mapping[_Ends, str]
) -> None:
    """Add the reject reasons that the flow logs which are not counted name.

    Where two flow logs do not agree, the evidence rules see both; a flow log without the field says
    nothing.
    """
    if not reporters:
        return
    named: defaultdict[_Ends, set[ObservedValue]] = defaultdict(set)
    for piece in near:
        if piece.flow_log is not None:
            for (key, _), rejects in piece.flows.rejects.items():
                if reporters.get(_ends(key)) not in {None, piece.flow_log.flow_log_id}:
                    named[_ends(key)] |= rejects.observed[_REASON] - NOT_LOGGED
    for (key, _), rejects in flows.rejects.items():
        if more := named.get(_ends(key)):
            reasons = (rejects.observed[_REASON] - NOT_LOGGED) | more
            rejects.observed = ObservedValues.of({**rejects.observed, _REASON: reasons})


def _ends(key: FlowKey) -> _Ends:
    """Return a flow's fields that every format has: no direction, no packet-level addresses."""
    return (
        key.interface,
        key.source,
        key.destination,
        key.source_port,
        key.destination_port,
        key.protocol,
    )
