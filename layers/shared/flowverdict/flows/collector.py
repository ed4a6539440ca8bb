"""Collect records into rejected flows, each with the accepted traffic of its connection.

A flow is a 5-tuple on an interface. Where logged, the direction and the packet-level addresses are
part of the flow too, because pods and NAT share interface addresses. The *mirror* of a flow has
source and destination swapped. The model is AWS's ping example
(https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-records-examples.html): an accepted
request and its rejected reply are two records of one interface, which may be in different files.
All collected values are minima, maxima, sums or sets, so neither the order of records nor their
split over files changes the result.
"""

from __future__ import annotations

import sys
from array import array
from collections import defaultdict
from itertools import chain
from typing import TYPE_CHECKING

from flowverdict.flowlog.flow_hash import KeyHashes, key_hash, related_hashes
from flowverdict.flowlog.flow_key import FlowKey, RecordId, end_of, key_of, record_id
from flowverdict.flowlog.losses import NOTHING_MISSING, Loss, Losses, Span
from flowverdict.flowlog.object_key import Origin
from flowverdict.flowlog.records import Action, FlowDirection, FlowRecord, LogStatus, RecordFormat
from flowverdict.flowlog.transit_gateway import packets_lost
from flowverdict.flows.accepted_index import AcceptedFlowIndex, Activity
from flowverdict.flows.flow_limit import FlowLimit, flow_group
from flowverdict.flows.model import (
    AggregatedRejects,
    Interface,
    LostRecords,
    RejectedFlow,
    RejectedTotals,
    TrafficTotals,
    agreed,
    context_of,
)
from flowverdict.flows.observed import observed_of
from flowverdict.flows.rejected_flows import (
    activity_of,
    by_time,
    direction_from_addresses,
    same_subnet,
)
from flowverdict.flows.rejected_lines import aggregated_lines, rejects_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from flowverdict.core.addresses import Address
    from flowverdict.flowlog.columnar import InterfaceFacts, RejectedLines
    from flowverdict.flows.flow_limit import FlowGroup
    from flowverdict.flows.held_lines import HeldLines

_MOST_HELD = 50_000  # lines that wait without a limit on flows: about 15 MB
_MANY = 200  # from this number of keys on, hashing them in columns is faster
# Flows evaluated individually per window (about 250 MB of a function's memory, 20 s); the rest are
# only aggregated.
MAX_FLOWS = 100_000
_NO_HASH = 1 << 64  # higher than any
# Where the hash of a flow's own key is among its related hashes.
_OWN_HASH = {None: 3 * 8, FlowDirection.INGRESS: 4 * 8, FlowDirection.EGRESS: 5 * 8}


class FlowCollector:
    """Collects records in any order and returns the rejected flows.

    Each object has a collector of its own, which is merged once the object was read to its end: an
    object that proves broken half-way leaves no trace.

    Parameters
    ----------
    seed
        The seed of the hashes of flows (64 bits); collectors that are merged have the same seed.
    distinct
        Count two equal records of a flow once. AWS writes one record of a flow in an interval, so
        the second comes from another flow log in the same log stream.
    most
        Maximum number of individual flows, ``None`` for no limit. The rest are aggregated;
        ``FlowLimit`` chooses.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        distinct: bool = False,
        most: int | None = None,
    ) -> None:
        self.seed = seed
        self._aggregated: dict[str | None, AggregatedRejects] = {}
        # Lines that are not aggregated yet, and their number.
        self._to_aggregate: defaultdict[tuple[RecordFormat, Origin], list[bytes]] = defaultdict(
            list
        )
        self._lines_to_aggregate = 0
        self.limit = FlowLimit(most)
        self._is_settled = True  # no individual flow is beyond what ``limit`` has chosen so far
        self._rejects: dict[tuple[FlowKey, RecordId | None], RejectedTotals] = {}
        self._held: list[HeldLines] = []  # not in _rejects yet
        self.accepted_index = AcceptedFlowIndex()
        # All accepted flows, where the index has only what the rejects need; by ``flows_of``.
        self.all_accepted: AcceptedFlowIndex | None = None
        self.interfaces: dict[str | None, Interface] = {}
        self.accepts_elsewhere = False  # whether interfaces that were left out have accepted flows
        self.losses = Losses()  # those of SKIPDATA are with the interfaces
        self._distinct = distinct

    def add(self, record: FlowRecord, origin: Origin = Origin()) -> None:  # noqa: B008 - frozen, nothing to share
        """Collect a record; ``origin`` supplies the account and Region that it lacks."""
        if record.log_status is LogStatus.SKIPDATA:
            skipped = self.interfaces.setdefault(record.interface_id, Interface())
            skipped.lost.merge(TrafficTotals.of(record))
            skipped.context = skipped.context.filled_from(context_of(record, origin))
        if record.action is None or record.log_status in {LogStatus.NODATA, LogStatus.SKIPDATA}:
            return
        key = key_of(record)
        interface = self.interfaces.setdefault(key.interface, Interface())
        interface.vpc_id = agreed(interface.vpc_id, record.vpc_id)
        lost = packets_lost(record)
        if lost is None:  # neither address of a transit gateway's record is the attachment's own
            interface.learn(record)
            if record.subnet_id is not None:
                interface.subnets.add(record.subnet_id)
        if record.action is Action.ACCEPT:
            interface.accepts_logged = True
            hashes = KeyHashes.of([key], self.seed)
            (hashed,), (service,) = hashes.of_flows(), hashes.of_services()
            self.accepted_index.add(hashed, record.start, end_of(record), record.tcp_flags, service)
            return
        rejects = RejectedTotals(
            TrafficTotals.of(record),
            context_of(record, origin),
            observed_of(record),
            record.pkt_srcaddr is not None and record.pkt_dstaddr is not None,
            packets_lost=lost,
        )
        self._reject((key, record_id(record) if self._distinct else None), rejects)

    def add_lines(self, lines: RejectedLines, origin: Origin = Origin()) -> None:  # noqa: B008 - as above
        """Collect rejected records; the facts about their interfaces come with ``learn``."""
        from flowverdict.flows.held_lines import HeldLines  # noqa: PLC0415 - numpy made these lines

        self._held.append(self._without_aggregated(HeldLines(lines, origin)))
        most = self.limit.most
        most_held = _MOST_HELD if most is None else most + most // 4
        if self._lines_held() > most_held:
            self._settle()
            if self._lines_held() > most_held:
                self._take_in()

    @property
    def rejects(self) -> dict[tuple[FlowKey, RecordId | None], RejectedTotals]:
        """Totals of the individual flows, by flow and, with ``distinct``, by record."""
        self._settle()
        self._take_in()
        return self._rejects

    def _lines_held(self) -> int:
        return sum(map(len, self._held))

    def _take_in(self) -> None:
        all_held, self._held = self._held, []
        for held in all_held:
            for row, rejects in rejects_of(held.lines, held.origin, distinct=self._distinct):
                self._count(row, rejects)

    def _count(self, row: tuple[FlowKey, RecordId | None], rejects: RejectedTotals) -> None:
        known = self._rejects.setdefault(row, rejects)
        if known is not rejects and row[1] is None:
            known.merge(rejects)

    def learn(self, interface: str | None, facts: InterfaceFacts) -> None:
        """Add what records in columns show about an interface."""
        known = self.interfaces.get(interface)
        if known is None:
            known = self.interfaces[interface] = Interface()
        known.learn_from(facts)

    def _reject(self, row: tuple[FlowKey, RecordId | None], rejects: RejectedTotals) -> None:
        if self.limit.aggregated_from and self.limit.is_beyond(*self._place(row[0], rejects)):
            self._aggregate(row[0], rejects)
            return
        self._count(row, rejects)
        most = self.limit.most
        if most is not None and len(self._rejects) > most + most // 4:
            self._settle()

    def _place(self, key: FlowKey, rejects: RejectedTotals) -> tuple[FlowGroup, int]:
        """Return the group and the hash of a flow, which its related hashes hold."""
        group = flow_group(key.interface, key.source, key.destination)
        if rejects.related is None:
            return group, key_hash(key, self.seed)
        at = _OWN_HASH[key.direction]
        return group, int.from_bytes(rejects.related[at : at + 8], sys.byteorder)

    def _settle(self) -> None:
        """Aggregate the flows beyond the limit, if any."""
        most = self.limit.most
        is_within = most is None or len(self._rejects) + self._lines_held() <= most
        if is_within and self._is_settled:
            return
        places = {key: self._place(key, rejects) for (key, _), rejects in self._rejects.items()}
        hashes: defaultdict[FlowGroup, list[int]] = defaultdict(list)
        lowest = self.limit.aggregated_from.get
        for group, hashed in places.values():
            if hashed < lowest(group, _NO_HASH):
                hashes[group].append(hashed)
        for group, within in chain(*(held.hashes_within(self.limit) for held in self._held)):
            hashes[group] += within
        if not self.limit.choose(hashes) and self._is_settled:
            return
        self._is_settled = True
        for row in [row for row in self._rejects if self.limit.is_beyond(*places[row[0]])]:
            self._aggregate(row[0], self._rejects.pop(row))
        self._held = [self._without_aggregated(held) for held in self._held]

    def _without_aggregated(self, held: HeldLines) -> HeldLines:
        """Aggregate the lines beyond the limit; return the rest."""
        if not self.limit.aggregated_from or not held.lines.text:
            return held
        rest, aggregated = held.parted(self.limit)
        if aggregated.text:
            self._to_aggregate[aggregated.record_format, held.origin].append(aggregated.text)
            self._lines_to_aggregate += len(aggregated.hashes)
            if self._lines_to_aggregate > _MOST_HELD:
                self._aggregate_lines()
        return rest

    @property
    def aggregated(self) -> dict[str | None, AggregatedRejects]:
        """Rejects beyond the limit, aggregated by interface."""
        self._settle()
        self._aggregate_lines()
        return self._aggregated

    def _aggregate_lines(self) -> None:
        # Many lines at once: a few hundred lines may be of a hundred interfaces.
        for (record_format, origin), texts in self._to_aggregate.items():
            for interface, aggregated in aggregated_lines(record_format, b"\n".join(texts), origin):
                self._aggregated.setdefault(interface, AggregatedRejects()).merge(aggregated)
        self._to_aggregate.clear()
        self._lines_to_aggregate = 0

    def _aggregate(self, key: FlowKey, rejects: RejectedTotals) -> None:
        aggregated = self._aggregated.setdefault(key.interface, AggregatedRejects())
        aggregated.traffic.merge(rejects.traffic)
        aggregated.context = aggregated.context.filled_from(rejects.context)
        aggregated.what[key.direction, key.protocol, key.destination_port] += (
            rejects.traffic.records
        )

    def merge(self, other: FlowCollector, *, spent: bool = False) -> None:
        """Add everything that another collector holds.

        With ``spent``, the totals of ``other`` are reused instead of copied: do not use ``other``
        afterwards.
        """
        self.accepted_index.merge(other.accepted_index)
        self.accepts_elsewhere |= other.accepts_elsewhere
        self.losses.merge(other.losses)
        for name, interface in other.interfaces.items():
            self.interfaces.setdefault(name, Interface()).merge(interface)
        for name, aggregated in other.aggregated.items():
            self._aggregated.setdefault(name, AggregatedRejects()).merge(aggregated)
        if other.limit.aggregated_from:
            self.limit.lower(other.limit.aggregated_from)
            self._is_settled = not (self._rejects or self._held)
        for row, rejects in other._rejects.items():
            self._reject(row, rejects if spent else _copied(rejects))
        for held in other._held:
            self.add_lines(held.lines, held.origin)

    def without_facts(self) -> FlowCollector:
        """Return the same rejects and losses, without interfaces and accepted flows."""
        flows = FlowCollector(self.seed, distinct=self._distinct)
        flows._rejects = self.rejects
        flows._aggregated = self.aggregated
        flows.limit, flows.losses = self.limit, self.losses
        return flows

    def learn_from(self, other: FlowCollector) -> None:
        """Add the accepted flows and interface facts of another collector, and what it lacks.

        The rejects of ``other``, and the records that AWS lost there, are not counted here.
        """
        self.accepted_index.merge(other.accepted_index)
        self.accepts_elsewhere |= other.accepts_elsewhere
        self.losses.merge(other.all_losses())
        for name, interface in other.interfaces.items():
            self.interfaces.setdefault(name, Interface()).learn_from(interface)

    def rejected(self) -> Iterator[RejectedFlow]:
        """Iterate over the rejected flows: earliest first, then by key, never by input order."""
        flows = sorted(self._by_flow(), key=by_time)
        own = {name: interface.own_addresses() for name, interface in self.interfaces.items()}
        forwards = {
            name: interface.shows_several_addresses for name, interface in self.interfaces.items()
        }
        subnets = self._subnets_by_address()
        accepts_logged = self.accepts_elsewhere or any(
            interface.accepts_logged for interface in self.interfaces.values()
        )
        losses = self.all_losses()
        for (key, rejects), (mirror, same) in zip(flows, self._accepted_of(flows), strict=True):
            interface = self.interfaces[key.interface]
            direction = key.direction
            if direction is None and rejects.packets_lost is None:
                direction = direction_from_addresses(key, own[key.interface])
            yield RejectedFlow(
                key=key,
                traffic=rejects.traffic,
                context=rejects.context,
                direction=direction,
                direction_logged=key.direction is not None,
                mirror=mirror,
                same=same,
                accepts_logged=interface.accepts_logged,
                losses=losses.concerning(
                    key.interface,
                    Origin(account_id=rejects.context.account_id, region=rejects.context.region),
                    rejects.traffic.last_end,
                )
                if losses  # else not even the origin is needed
                else NOTHING_MISSING,
                forwards=forwards[key.interface],
                accepts_logged_elsewhere=accepts_logged and not interface.accepts_logged,
                same_subnet=same_subnet(key, direction, interface, subnets),
                observed=rejects.observed,
                packet_addresses_logged=rejects.packet_addresses_logged,
                packets_lost=rejects.packets_lost,
            )

    def _accepted_of(
        self, flows: Sequence[tuple[FlowKey, RejectedTotals]]
    ) -> Sequence[tuple[Activity | None, Activity | None]]:
        """Return the accepted activity of the mirror of each flow, and of the flow itself."""
        keys = [key for key, _ in flows]
        if len(keys) < _MANY or "numpy" not in sys.modules:
            rows: Sequence[int] = range(len(keys))
            unknown = [key for key, rejects in flows if rejects.related is None]
            found = related_hashes(unknown, self.seed)
            related: Sequence[tuple[Collection[int], Collection[int]]] = [
                next(found)
                if rejects.related is None
                else _of_direction(key.direction, array("Q", rejects.related))
                for key, rejects in flows
            ]
        else:
            from flowverdict.flowlog import flow_hash_numpy  # noqa: PLC0415 - as above
            from flowverdict.flows import accepted_numpy  # noqa: PLC0415 - numpy takes 65 ms to load

            table = flow_hash_numpy.related_table(
                [rejects.related for _, rejects in flows], keys, self.seed
            )
            rows = accepted_numpy.rows_among(table, self.accepted_index.hash_columns())
            related = [
                _of_direction(keys[row].direction, hashes)
                for row, hashes in zip(rows, table[rows].tolist(), strict=True)
            ]
        activities = self.accepted_index.lookup(
            {hashed for hashes in related for some in hashes for hashed in some}
        )
        accepted: list[tuple[Activity | None, Activity | None]] = [(None, None)] * len(keys)
        for row, (mirrored, own) in zip(rows, related, strict=True):
            accepted[row] = activity_of(mirrored, activities), activity_of(own, activities)
        return accepted

    def _by_flow(self) -> list[tuple[FlowKey, RejectedTotals]]:
        rows = self.rejects
        if not self._distinct and all(record is None for _, record in rows):
            return [(key, rejects) for (key, _), rejects in rows.items()]
        flows: dict[FlowKey, RejectedTotals] = {}
        for (key, record), rejects in rows.items():
            if record is None:
                flows[key] = rejects
            elif key in flows:
                flows[key].merge(rejects)
            else:
                flows[key] = _copied(rejects)
        return [*flows.items()]

    def all_losses(self) -> Losses:
        """Return all losses, those of SKIPDATA among them."""
        losses = Losses()
        losses.merge(self.losses)
        for name, interface in self.interfaces.items():
            if interface.records_lost:
                context, lost = interface.context, interface.lost
                losses.add(
                    Loss.SKIPPED,
                    name,
                    Origin(account_id=context.account_id, region=context.region),
                    Span(lost.first_start, lost.last_end),
                )
        return losses

    def lost(self) -> Iterator[LostRecords]:
        """Iterate over the records that AWS lost (SKIPDATA) by interface, sorted by its id."""
        for interface_id, interface in sorted(
            self.interfaces.items(), key=lambda item: str(item[0])
        ):
            if interface.records_lost:
                yield LostRecords(
                    account_id=interface.context.account_id,
                    region=interface.context.region,
                    vpc_id=agreed(interface.vpc_id, interface.context.vpc_id),
                    interface_id=interface_id,
                    records=interface.lost.records,
                    first_start=interface.lost.first_start,
                    last_end=interface.lost.last_end,
                    reported_by=interface.context.reported_by,
                )

    def _subnets_by_address(self) -> dict[tuple[str | None, Address], set[str]]:
        subnets: dict[tuple[str | None, Address], set[str]] = {}
        for interface in self.interfaces.values():
            # An interface stays in one subnet for life. Records that name two subnets (a hostile
            # file) are ignored.
            if len(interface.subnets) == 1:
                for address in interface.own_addresses():
                    subnets.setdefault((interface.vpc_id, address), set()).update(interface.subnets)
        return subnets


def _of_direction(
    direction: FlowDirection | None, hashes: Sequence[int]
) -> tuple[Sequence[int], Sequence[int]]:
    """Return the hashes of mirrors and of the flow itself that agree with the flow's direction.

    Both have three: without a direction, ingress, egress.
    """
    if direction is None:
        return hashes[:3], hashes[3:]
    opposite, own = (2, 4) if direction is FlowDirection.INGRESS else (1, 5)
    return (hashes[0], hashes[opposite]), (hashes[3], hashes[own])


def _copied(rejects: RejectedTotals) -> RejectedTotals:
    return RejectedTotals(
        rejects.traffic.copied(),
        rejects.context,
        rejects.observed,
        rejects.packet_addresses_logged,
        rejects.related,
        rejects.packets_lost,
    )
