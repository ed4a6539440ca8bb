"""Rejected records in columns, as totals by flow or aggregated by interface."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import reduce
from itertools import islice, repeat
from operator import and_, or_
from typing import TYPE_CHECKING, Any

from flowverdict.flowlog.flow_key import FlowKey, RecordId
from flowverdict.flows.model import AggregatedRejects, RejectedTotals, TrafficTotals, context_at
from flowverdict.flows.observed import OBSERVED_ATTRIBUTES, observed_values

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flowverdict.flowlog.columnar import RejectedLines
    from flowverdict.flowlog.object_key import Origin
    from flowverdict.flowlog.records import RecordFormat

_OF_A_KEY = (
    "interface_id",
    "resource_id",
    "srcaddr",
    "dstaddr",
    "pkt_srcaddr",
    "pkt_dstaddr",
    "srcport",
    "dstport",
    "protocol",
    "flow_direction",
)
_OF_TRAFFIC = ("start", "end", "tcp_flags", "packets", "bytes")
_OF_A_CONTEXT = (
    "account_id",
    "region",
    "vpc_id",
    "subnet_id",
    "instance_id",
    "interface_type",
    "resource_id",
    "pkt_src_aws_service",
    "pkt_dst_aws_service",
)


def rejects_of(
    lines: RejectedLines, origin: Origin, *, distinct: bool
) -> Iterator[tuple[tuple[FlowKey, RecordId | None], RejectedTotals]]:
    """Return the same totals as ``FlowCollector.add`` of each record, in a third of the time.

    With ``distinct``, each total comes with the id of its record.
    """
    count = len(lines.hashes)
    values: list[list[Any]] = [
        [*islice(column, count)]
        for column in lines.values((*_OF_A_KEY, *_OF_TRAFFIC, *OBSERVED_ATTRIBUTES, *_OF_A_CONTEXT))
    ]
    (
        interfaces,
        resources,
        sources,
        destinations,
        packet_sources,
        packet_destinations,
        *ports_and_direction,
        starts,
        ends,
        flags,
        packets,
        octets,
    ) = values[: len(_OF_A_KEY) + len(_OF_TRAFFIC)]
    observed = values[len(_OF_A_KEY) + len(_OF_TRAFFIC) : -len(_OF_A_CONTEXT)]
    logged = [
        source is not None and destination is not None
        for source, destination in zip(packet_sources, packet_destinations, strict=True)
    ]
    fields = (
        _filled(interfaces, resources),
        sources,
        destinations,
        _filled(packet_sources, sources),
        _filled(packet_destinations, destinations),
        *ports_and_direction,
    )
    keys = map(FlowKey._make, zip(*fields, strict=True))
    places = [*zip(*values[-len(_OF_A_CONTEXT) :], strict=True)]
    contexts = {place: context_at(origin, *place) for place in {*places}}
    zeros, single = [0] * count, [1] * count
    sums = (_filled(packets, zeros), _filled(octets, zeros))
    traffics = map(
        TrafficTotals, starts, _filled(ends, starts), flags, single, *sums, _filled(flags, zeros)
    )
    rejects = map(
        RejectedTotals,
        traffics,
        map(contexts.__getitem__, places),
        map(observed_values, *observed),
        logged,
        lines.each_related(),
    )
    records = map(RecordId, starts, ends, packets, octets, flags) if distinct else repeat(None)
    return zip(zip(keys, records, strict=False), rejects, strict=True)


def _filled(column: Sequence[Any], others: Sequence[Any]) -> list[Any]:
    """Fill the values that a column lacks from another column."""
    return [other if value is None else value for value, other in zip(column, others, strict=True)]


def aggregated_lines(
    record_format: RecordFormat, text: bytes, origin: Origin
) -> Iterator[tuple[str | None, AggregatedRejects]]:
    """Count rejected records by interface and context; ``text`` is that of ``RejectedLines``."""
    words, lines = text.decode("ascii").split(), text.count(b"\n") + 1
    places: Iterator[tuple[str | None, ...]] = zip(
        *record_format.values_of(words, ("interface_id", *_OF_A_CONTEXT)), strict=False
    )
    rows_of: defaultdict[tuple[str | None, ...], list[int]] = defaultdict(list)
    for row, place in enumerate(islice(places, lines)):
        rows_of[place].append(row)
    counted = record_format.values_of(
        words, ("flow_direction", "protocol", "dstport", *_OF_TRAFFIC)
    )
    columns: list[list[Any]] = [[*islice(column, lines)] for column in counted]
    for (interface, *context), rows in rows_of.items():
        directions, protocols, ports, *numbers = (
            [column[row] for row in rows] for column in columns
        )
        starts, ends, flags, packets, octets = (
            [number for number in column if number is not None] for column in numbers
        )
        traffic = TrafficTotals(
            min(starts, default=None),
            max(ends or starts, default=None),
            reduce(or_, flags) if flags else None,
            len(rows),
            sum(packets),
            sum(octets),
            reduce(and_, flags) if len(flags) == len(rows) else 0,
        )
        context_of_all = context_at(origin, *context)
        interface_or_resource = interface if interface is not None else context_of_all.resource_id
        yield (
            interface_or_resource,
            AggregatedRejects(
                traffic, context_of_all, Counter(zip(directions, protocols, ports, strict=True))
            ),
        )
