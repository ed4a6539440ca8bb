"""Read evidence in the format of version 0.1.0 (rows by position), which is no longer written."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from typing import Any

from flowverdict.core.addresses import address_of
from flowverdict.flowlog.flow_key import FlowKey, RecordId
from flowverdict.flowlog.records import FlowDirection
from flowverdict.flows.accepted_index import AcceptedFlowIndex
from flowverdict.flows.collector import FlowCollector
from flowverdict.flows.evidence import FlowLog
from flowverdict.flows.model import (
    AggregatedRejects,
    Context,
    RejectedTotals,
    TrafficTotals,
)
from flowverdict.flows.observed import ObservedValues
from flowverdict.flows.stored_evidence import InterfaceRow, StoredEvidence, check_rows

_ACCEPTED_COLUMNS = ("hashes", "starts", "ends", "flags")


def read_evidence(body: bytes, accepted: bytes) -> StoredEvidence:
    """Read evidence from its compressed JSON and its packed accepted flows.

    Raises
    ------
    ValueError, KeyError, TypeError, IndexError, zlib.error
        The bytes are not evidence in this format.
    """
    stored: dict[str, Any] = json.loads(zlib.decompress(body))
    contexts = [Context(**values) for values in stored["contexts"]]
    flows = FlowCollector()
    flows.rejects.update(_read_row(row, contexts) for row in stored["rejects"])
    interfaces = {name: _read_interface(values, contexts) for name, *values in stored["interfaces"]}
    check_rows(interfaces.values())
    for name, traffic, context, counts in stored["folded"]:
        flows.aggregated[name] = AggregatedRejects(
            traffic=TrafficTotals(*traffic),
            context=contexts[context],
            what=Counter(dict(map(_read_count, counts))),
        )
    flow_log = stored["flow_log"]
    return StoredEvidence(
        flows=flows,
        interfaces=interfaces,
        accepted=AcceptedFlowIndex.unpack(accepted, _ACCEPTED_COLUMNS),
        flow_log=None if flow_log is None else FlowLog(*flow_log),
    )


def _read_count(
    packed: list[Any],
) -> tuple[tuple[FlowDirection | None, int | None, int | None], int]:
    (direction, protocol, port), records = packed
    return (None if direction is None else FlowDirection(direction), protocol, port), int(records)


def _read_row(
    row: list[Any], contexts: list[Context]
) -> tuple[tuple[FlowKey, RecordId | None], RejectedTotals]:
    (
        interface,
        *texts,
        source_port,
        destination_port,
        protocol,
        direction,
        record,
        traffic,
        context,
        reasons,
        logged,
    ) = row
    source, destination, packet_source, packet_destination = (
        None if text is None else address_of(text) for text in texts
    )
    key = FlowKey(
        interface,
        source,
        destination,
        packet_source,
        packet_destination,
        source_port,
        destination_port,
        protocol,
        None if direction is None else FlowDirection(direction),
    )
    rejects = RejectedTotals(
        traffic=TrafficTotals(*traffic),
        context=contexts[context],
        observed=ObservedValues.of({"reject-reason": reasons}),
        packet_addresses_logged=bool(logged),
    )
    return (key, None if record is None else RecordId(*record)), rejects


def _read_interface(values: list[Any], contexts: list[Context]) -> InterfaceRow:
    own, shared, subnets, vpc_id, accepts_logged, lost, context = values
    return InterfaceRow(
        own, shared, subnets, vpc_id, bool(accepts_logged), TrafficTotals(*lost), contexts[context]
    )
