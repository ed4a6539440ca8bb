"""What each source shows of each window, stored by source, so that alerts do not depend on delivery.

A source is an object or a log event. A window is five minutes, by the end of the records, as AWS
makes its files (https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-s3-path.html). What a
source shows of a window is its evidence. A window is evaluated from the evidence of all its sources
and from what the windows around it show of its flows. Evidence follows from its source, so storing
it twice changes nothing. All of it is minima, maxima, sums and sets, so that neither order nor split
changes the outcome.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from flowverdict.core.errors import ObjectError
from flowverdict.flowlog.columnar import Windows
from flowverdict.flowlog.flow_key import FlowKey, end_of
from flowverdict.flows.collector import MAX_FLOWS, FlowCollector

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from flowverdict.core.addresses import Address
    from flowverdict.flowlog.columnar import AcceptedFlows, InterfaceFacts, RejectedLines
    from flowverdict.flowlog.object_key import Origin
    from flowverdict.flowlog.records import FlowRecord


# Windows before and after a rejected flow's window that may hold records of its connection. The
# record of an accepted request may end before the record of its rejected reply, or up to ten minutes
# after: for so long a record aggregates packets
# (https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html, "Aggregation interval").
# The same holds for the record of another flow log with a longer interval.
BEFORE, AFTER = 1, 2
# A function of 1,024 MB has room for so many accepted records: 20 bytes each, and several times as
# much while they are sorted.
# AWS's files have half of them at the most, 75 MB gzipped.
MAX_RECORDS = 6_000_000


class FlowLog(NamedTuple):
    """A flow log, as the names of its files tell it.

    ``width`` is how many fields its records have: of two flow logs that report one flow, the wider one says more.
    """

    flow_log_id: str
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a source shows of one window.

    Parameters
    ----------
    flow_log
        The flow log that wrote the source, ``None`` where its name does not tell.
    is_readable
        False for an empty collector in place of stored evidence that cannot be read.
    """

    flows: FlowCollector
    flow_log: FlowLog | None = None
    is_readable: bool = True

    @classmethod
    def unreadable(cls) -> Evidence:
        """Return what stands for stored evidence that cannot be read: no flows."""
        return cls(flows=FlowCollector(), is_readable=False)


class FlowsByWindow:
    """Collects what a source holds, each record in the window that it ended in; a sink of ``sources``.

    Where windows are told apart, which the functions do, a source of more than ``MAX_RECORDS`` is refused with an ``ObjectError``.
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
        self._origin = origin
        self._distinct = distinct
        self._most = MAX_FLOWS if apart else most

    def record(self, record: FlowRecord) -> None:
        """Collect a record."""
        self._count(1)
        self._window(self.numbers.of(end_of(record))).add(record, self._origin)

    def accepted(self, window: int, flows: AcceptedFlows) -> None:
        """Collect accepted records."""
        self._count(len(flows.hashes))
        self._window(window).accepted_index.add_columns(flows)

    def rejected(self, window: int, lines: RejectedLines) -> None:
        """Collect rejected records."""
        self._count(len(lines.hashes))
        self._window(window).add_lines(lines, self._origin)

    def learned(self, window: int, interface: str | None, facts: InterfaceFacts) -> None:
        """Collect what these records tell about an interface."""
        self._window(window).learn(interface, facts)

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
    """Put together what is known of a window's flows.

    Parameters
    ----------
    evidence
        By window, of this one and of those from ``BEFORE`` to ``AFTER``.
    """
    near = range(window - BEFORE, window + AFTER + 1)
    told_by = _told_by(one for number in near for one in evidence.get(number, ()))
    flows = FlowCollector(seed, most=MAX_FLOWS)
    for one in evidence.get(window, ()):
        flows.merge(_told_only(one, told_by))
    for number in near:
        if number != window:
            for one in evidence.get(number, ()):
                flows.learn_from(one.flows)
    return flows


type _Ends = tuple[str | None, Address | None, Address | None, int | None, int | None, int | None]


def _told_by(near: Iterable[Evidence]) -> dict[_Ends, str]:
    """Give, for each flow that several flow logs report, the one that it is counted from: the widest."""
    logs: defaultdict[_Ends, set[FlowLog]] = defaultdict(set)
    for one in near:
        if one.flow_log is not None:
            for key, _ in one.flows.rejects:
                logs[_ends(key)].add(one.flow_log)
    return {
        ends: min(flow_logs, key=lambda log: (-log.width, log.flow_log_id)).flow_log_id
        for ends, flow_logs in logs.items()
        if len({log.flow_log_id for log in flow_logs}) > 1
    }


def _told_only(one: Evidence, told_by: Mapping[_Ends, str]) -> FlowCollector:
    """Give the evidence without the rejects that another flow log tells."""
    if one.flow_log is None or not told_by:
        return one.flows
    mine = one.flow_log.flow_log_id
    kept = FlowCollector()
    kept.accepted_index, kept.interfaces = one.flows.accepted_index, one.flows.interfaces
    kept.aggregated.update(one.flows.aggregated)
    kept.rejects.update(
        (row, rejects)
        for row, rejects in one.flows.rejects.items()
        if told_by.get(_ends(row[0]), mine) == mine
    )
    return kept


def _ends(key: FlowKey) -> _Ends:
    """Give what every format tells of a flow: not its direction, nor the packets' own addresses."""
    return (
        key.interface,
        key.source,
        key.destination,
        key.source_port,
        key.destination_port,
        key.protocol,
    )
