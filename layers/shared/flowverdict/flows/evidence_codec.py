"""TODO flowverdict.flows.evidence_codec."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from dataclasses import asdict, astuple
from typing import Any

from flowverdict.core.addresses import address_of
from flowverdict.core.errors import EvidenceError
from flowverdict.flowlog.flow_key import FlowKey, RecordId
from flowverdict.flowlog.records import FlowDirection
from flowverdict.flows.accepted_index import AcceptedFlowIndex
from flowverdict.flows.collector import FlowCollector
from flowverdict.flows.evidence import Evidence, FlowLog
from flowverdict.flows.model import (
    AggregatedRejects,
    Context,
    Interface,
    RejectedTotals,
    TrafficTotals,
)

_MAGIC = b"FVE1"
_LENGTH = 8  # bytes


# --- as bytes ---------------------------------------------------------------------------------------------------------


def pack(evidence: Evidence) -> bytes:
    """Give evidence as bytes; ``unpack`` reads them."""
    flows = evidence.flows
    contexts: dict[Context, int] = {}
    rows = [_packed_row(row, rejects, contexts) for row, rejects in flows.rejects.items()]
    told = {
        "flow_log": evidence.flow_log,
        "rejects": rows,
        "interfaces": [
            [name, *_packed_interface(interface, contexts)]
            for name, interface in flows.interfaces.items()
        ],
        "folded": [
            [
                name,
                astuple(aggregated.traffic),
                contexts.setdefault(aggregated.context, len(contexts)),
                sorted(aggregated.what.items(), key=str),
            ]
            for name, aggregated in flows.aggregated.items()
        ],
        "contexts": [asdict(context) for context in contexts],
    }
    body = zlib.compress(json.dumps(told).encode(), 1)
    return _MAGIC + len(body).to_bytes(_LENGTH, "little") + body + flows.accepted_index.pack()


def unpack(packed: bytes) -> Evidence:
    """Read what ``pack`` gave. It is to be merged with more; what its hashes began with it does not know.

    Raises
    ------
    EvidenceError
        It is something else.
    """
    if not packed.startswith(_MAGIC):
        raise EvidenceError("kept evidence cannot be read: it is none of this version")
    try:
        start = len(_MAGIC) + _LENGTH
        end = start + int.from_bytes(packed[len(_MAGIC) : start], "little")
        told: dict[str, Any] = json.loads(zlib.decompress(packed[start:end]))
        contexts = [Context(**values) for values in told["contexts"]]
        flows = FlowCollector()
        flows.rejects.update(_read_row(row, contexts) for row in told["rejects"])
        flows.interfaces = {
            name: _read_interface(values, contexts) for name, *values in told["interfaces"]
        }
        for name, traffic, context, what in told["folded"]:
            what_there_was = Counter(dict(map(_read_what, what)))
            flows.aggregated[name] = AggregatedRejects(
                traffic=TrafficTotals(*traffic), context=contexts[context], what=what_there_was
            )
        flows.accepted_index = AcceptedFlowIndex.unpack(packed[end:])
        return Evidence(
            flows=flows, flow_log=None if told["flow_log"] is None else FlowLog(*told["flow_log"])
        )
    except (ValueError, KeyError, TypeError, IndexError, zlib.error) as error:
        raise EvidenceError(
            f"kept evidence cannot be read: {type(error).__name__}: {str(error)[:200]}"
        ) from error


def _read_what(
    packed: list[Any],
) -> tuple[tuple[FlowDirection | None, int | None, int | None], int]:
    (direction, protocol, port), records = packed
    return (None if direction is None else FlowDirection(direction), protocol, port), int(records)


def _packed_row(
    row: tuple[FlowKey, RecordId | None], rejects: RejectedTotals, contexts: dict[Context, int]
) -> list[object]:
    key, record = row
    return [
        *(str(part) if part is not None and not isinstance(part, int) else part for part in key),
        record,
        astuple(rejects.traffic),
        contexts.setdefault(rejects.context, len(contexts)),
        sorted(rejects.reasons, key=str),
        rejects.packet_addresses_logged,
    ]


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
        reasons=frozenset(reasons),
        packet_addresses_logged=bool(logged),
    )
    return (key, None if record is None else RecordId(*record)), rejects


def _packed_interface(interface: Interface, contexts: dict[Context, int]) -> list[object]:
    return [
        sorted(map(str, interface.own)),
        None if interface.shared is None else sorted(map(str, interface.shared)),
        sorted(interface.subnets),
        interface.vpc_id,
        interface.accepts_logged,
        astuple(interface.lost),
        contexts.setdefault(interface.context, len(contexts)),
    ]


def _read_interface(values: list[Any], contexts: list[Context]) -> Interface:
    own, shared, subnets, vpc_id, accepts_logged, lost, context = values
    return Interface(
        own=set(map(address_of, own)),
        shared=None if shared is None else set(map(address_of, shared)),
        subnets=set(subnets),
        vpc_id=vpc_id,
        accepts_logged=bool(accepts_logged),
        lost=TrafficTotals(*lost),
        context=contexts[context],
    )
