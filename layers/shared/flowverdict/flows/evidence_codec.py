"""Evidence as bytes: a mark of the format, compressed JSON, and the columns of the accepted flows.

The JSON holds tables, and the names of the accepted flows' columns. A table is an object of columns
by name, so that a name is written once and not in each row. A reader ignores unknown names and uses
the default for missing columns, so that two versions read each other's evidence if one of them adds
a column. Any other change needs a new mark, and bytes of the new format in ``tests/persisted/``: a
version that does not know the mark cannot read such evidence.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from dataclasses import asdict, replace
from itertools import repeat
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from flowverdict.core.addresses import address_of
from flowverdict.core.errors import EvidenceError
from flowverdict.flowlog import flow_hash
from flowverdict.flowlog.flow_key import FlowKey, RecordId
from flowverdict.flowlog.losses import Loss, Span
from flowverdict.flowlog.object_key import Origin
from flowverdict.flowlog.records import FlowDirection
from flowverdict.flowlog.transit_gateway import PacketsLost
from flowverdict.flows import evidence_0_1_0
from flowverdict.flows.accepted_index import AcceptedFlowIndex
from flowverdict.flows.collector import FlowCollector
from flowverdict.flows.evidence import FlowLog
from flowverdict.flows.model import (
    AggregatedRejects,
    Context,
    RejectedTotals,
    TrafficTotals,
)
from flowverdict.flows.observed import NOT_LOGGED, ObservedValues
from flowverdict.flows.stored_evidence import InterfaceRow, StoredEvidence, check_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from flowverdict.core.addresses import Address
    from flowverdict.flows.evidence import Evidence

_MARK = b"FVE2"
_MARK_0_1_0 = b"FVE1"
_LENGTH = 8  # bytes of the JSON's length

# Columns of the tables, each with the value of a row that was written without the column.
_KEY: dict[str, Any] = dict.fromkeys(FlowKey._fields)
_RECORD: dict[str, Any] = dict.fromkeys(f"record_{name}" for name in RecordId._fields)
_TRAFFIC = asdict(TrafficTotals())
_LOST = {f"lost_{name}": value for name, value in _TRAFFIC.items()}
_NOTHING_LOGGED = ObservedValues.of({})
_NOTHING_LOST, _NO_LOSS = TrafficTotals(), tuple(_TRAFFIC.values())
_REJECTS = {
    **_KEY,
    **_TRAFFIC,
    "context": None,
    "observed": None,
    "packet_addresses_logged": False,
    "by_record": False,
    **_RECORD,
    "packets_lost": None,
}
_INTERFACES = {
    "name": None,
    "own": (),
    "shared": None,
    "subnets": (),
    "vpc_id": None,
    "accepts_logged": False,
    **_LOST,
    "context": None,
}
_AGGREGATED = {"interface": None, **_TRAFFIC, "context": None}
_AGGREGATED_RECORDS = {
    "interface": None,
    "direction": None,
    "protocol": None,
    "destination_port": None,
    "records": 0,
}
_LOSSES = dict.fromkeys(("loss", "interface", "account_id", "region", "first", "last"))

_AGGREGATED_FROM = {"interface": None, "is_inside": False, "hash": 0}

_traffic_row = attrgetter(*_TRAFFIC)

type _Table = Mapping[str, Sequence[Any]]


class _Numbering[T]:
    """Numbers values in the order in which they first occur, so that a value is written once."""

    def __init__(self) -> None:
        self.numbers: dict[T, int] = {}

    def __call__(self, value: T) -> int:
        return self.numbers.setdefault(value, len(self.numbers))


# --- writing --------------------------------------------------------------------------------------


def pack(evidence: Evidence) -> bytes:
    """Return evidence as bytes, which ``unpack`` reads."""
    flows = evidence.flows
    contexts: _Numbering[Context] = _Numbering()
    observed: _Numbering[ObservedValues] = _Numbering()
    document = {
        "flow_log": None if evidence.flow_log is None else evidence.flow_log._asdict(),
        "rejects": _rejects_table(flows.rejects, contexts, observed),
        "interfaces": _table(
            _INTERFACES,
            (
                (
                    name,
                    sorted(map(str, interface.own)),
                    None if interface.shared is None else sorted(map(str, interface.shared)),
                    sorted(interface.subnets),
                    interface.vpc_id,
                    interface.accepts_logged,
                    *_traffic_row(interface.lost),
                    contexts(interface.context),
                )
                for name, interface in flows.interfaces.items()
            ),
        ),
        "aggregated": _table(
            _AGGREGATED,
            (
                (name, *_traffic_row(aggregated.traffic), contexts(aggregated.context))
                for name, aggregated in flows.aggregated.items()
            ),
        ),
        "aggregated_records": _table(
            _AGGREGATED_RECORDS,
            (
                (name, *what, records)
                for name, aggregated in flows.aggregated.items()
                for what, records in sorted(aggregated.what.items(), key=str)
            ),
        ),
        "aggregated_from": _table(
            _AGGREGATED_FROM,
            (
                (*group, hashed)
                for group, hashed in sorted(flows.limit.aggregated_from.items(), key=str)
            ),
        ),
        "losses": _table(
            _LOSSES,
            (
                (loss, interface, origin.account_id, origin.region, *span)
                for loss, interface, origin, span in flows.losses
            ),
        ),
        "contexts": [
            {name: value for name, value in asdict(context).items() if value is not None}
            for context in contexts.numbers
        ],
        "object": evidence.object_name,
        "accepted": AcceptedFlowIndex.COLUMNS,
        "hash": flow_hash.VERSION,
        "observed": [
            {
                name: sorted(values, key=str)
                for name, values in together.items()
                if values != NOT_LOGGED  # the default of a name that is missing
            }
            for together in observed.numbers
        ],
    }
    body = zlib.compress(json.dumps(document, separators=(",", ":")).encode(), 1)
    return _MARK + len(body).to_bytes(_LENGTH, "little") + body + flows.accepted_index.pack()


def _table(columns: Iterable[str], rows: Iterable[Sequence[object]]) -> _Table:
    return dict(zip(columns, zip(*rows, strict=True), strict=False))  # without rows: no columns


def _rejects_table(
    rejects: Mapping[tuple[FlowKey, RecordId | None], RejectedTotals],
    contexts: _Numbering[Context],
    observed: _Numbering[ObservedValues],
) -> _Table:
    if not rejects:
        return {}
    table: dict[str, Sequence[Any]] = dict(
        zip(_KEY, zip(*(key for key, _ in rejects), strict=True), strict=True)
    )
    for name in ("source", "destination", "packet_source", "packet_destination"):
        table[name] = [*map(_text, table[name])]
    table.update(_table(_TRAFFIC, (_traffic_row(totals.traffic) for totals in rejects.values())))
    table["context"] = [contexts(totals.context) for totals in rejects.values()]
    table["observed"] = [observed(totals.observed) for totals in rejects.values()]
    table["packet_addresses_logged"] = [
        totals.packet_addresses_logged for totals in rejects.values()
    ]
    records = [record for _, record in rejects]
    if any(record is not None for record in records):
        absent = (None,) * len(_RECORD)
        table["by_record"] = [record is not None for record in records]
        table.update(_table(_RECORD, (absent if record is None else record for record in records)))
    table.update(_packets_lost_column(rejects.values()))
    return table


def _packets_lost_column(rejects: Iterable[RejectedTotals]) -> _Table:
    """Return the column of a transit gateway's flows; nothing where there are none."""
    lost = [totals.packets_lost for totals in rejects]
    return {} if all(packets is None for packets in lost) else {"packets_lost": lost}


# --- reading --------------------------------------------------------------------------------------


def unpack(packed: bytes) -> StoredEvidence:
    """Read evidence from bytes of ``pack``, of this version or of 0.1.0.

    The bytes do not hold the seed of the hashes: merge the result into a collector that has it.

    Raises
    ------
    EvidenceError
        The bytes are damaged, not evidence, or in the format of a later version.
    """
    mark = packed[: len(_MARK)]
    if mark not in {_MARK, _MARK_0_1_0}:
        raise EvidenceError(f"evidence cannot be read: {mark!r} does not begin a known format")
    start = len(_MARK) + _LENGTH
    end = start + int.from_bytes(packed[len(_MARK) : start], "little")
    body, accepted = packed[start:end], packed[end:]
    try:
        if mark == _MARK:
            return _read(body, accepted)
        return _without_accepted(evidence_0_1_0.read_evidence(body, accepted))
    except (
        ValueError,
        KeyError,
        TypeError,
        IndexError,
        AttributeError,
        RecursionError,
        zlib.error,
    ) as error:
        raise EvidenceError(
            f"evidence cannot be read: {type(error).__name__}: {str(error)[:200]}"
        ) from error


def _read(body: bytes, accepted: bytes) -> StoredEvidence:
    document: dict[str, Any] = json.loads(zlib.decompress(body))
    contexts: dict[int | None, Context] = {
        number: _context(values) for number, values in enumerate(document["contexts"])
    }
    contexts[None] = Context()
    flows = FlowCollector()
    flows.rejects.update(_read_rejects(document["rejects"], contexts, document["observed"]))
    names, own, shared, subnets, vpc_ids, accepts_logged, *lost, context = _columns(
        _INTERFACES, document["interfaces"]
    )
    rows = map(
        InterfaceRow,
        own,
        shared,
        subnets,
        vpc_ids,
        map(bool, accepts_logged),
        map(_lost, zip(*lost, strict=True)),
        map(contexts.__getitem__, context),
    )
    interfaces = dict(zip(names, rows, strict=True))
    check_rows(interfaces.values())
    aggregated = flows.aggregated
    for name, *traffic, context in _rows(_AGGREGATED, document["aggregated"]):
        aggregated[name] = AggregatedRejects(
            traffic=TrafficTotals(*traffic), context=contexts[context], what=Counter()
        )
    for name, direction, protocol, port, records in _rows(
        _AGGREGATED_RECORDS, document["aggregated_records"]
    ):
        aggregated[name].what[_direction(direction), protocol, port] = int(records)
    # 0.2.0 and earlier choose by hash alone and have no such table.
    for interface, is_inside, hashed in _rows(
        _AGGREGATED_FROM, document.get("aggregated_from", {})
    ):
        flows.limit.lower({(interface, bool(is_inside)): int(hashed)})
    for loss, interface, account_id, region, *span in _rows(_LOSSES, document.get("losses", {})):
        origin = Origin(account_id=account_id, region=region)
        flows.losses.add(Loss(loss), interface, origin, Span(*span))
    flow_log = document["flow_log"]
    evidence = StoredEvidence(
        flows=flows,
        interfaces=interfaces,
        accepted=AcceptedFlowIndex.unpack(accepted, document["accepted"]),
        flow_log=None if flow_log is None else FlowLog(flow_log["flow_log_id"], flow_log["width"]),
        object_name=document.get("object"),
    )
    return evidence if document.get("hash") == flow_hash.VERSION else _without_accepted(evidence)


def _lost(values: tuple[Any, ...]) -> TrafficTotals:
    return _NOTHING_LOST if values == _NO_LOSS else TrafficTotals(*values)


def _without_accepted(evidence: StoredEvidence) -> StoredEvidence:
    """Take out accepted flows whose hashes are of another version, and say that they are missing.

    That concerns the windows of some minutes, after a deployment.
    """
    if not any(len(column) for column in evidence.accepted.hash_columns()):
        return evidence
    evidence.flows.losses.add(Loss.NOT_READ)
    return replace(evidence, accepted=AcceptedFlowIndex())


def _rows(columns: Mapping[str, object], table: _Table) -> Iterator[tuple[Any, ...]]:
    """Iterate over the rows of a table, with the values of ``columns`` in their order."""
    return zip(*_columns(columns, table), strict=True)


def _columns(columns: Mapping[str, object], table: _Table) -> list[Iterable[Any]]:
    counts = set(map(len, table.values())) or {0}
    if len(counts) > 1:
        raise ValueError("columns of different lengths")
    (count,) = counts
    return [
        table[name] if name in table else repeat(default, count)
        for name, default in columns.items()
    ]


def _read_rejects(
    table: _Table, contexts: Mapping[int | None, Context], observed: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[tuple[FlowKey, RecordId | None], RejectedTotals]]:
    if not table:
        return iter(())
    columns = dict(zip(_REJECTS, _columns(_REJECTS, table), strict=True))
    for name in ("source", "destination", "packet_source", "packet_destination"):
        columns[name] = map(_address, columns[name])
    columns["direction"] = map(_direction, columns["direction"])
    keys = map(FlowKey._make, zip(*(columns[name] for name in _KEY), strict=True))
    traffics = map(TrafficTotals, *(columns[name] for name in _TRAFFIC))
    values: dict[int | None, ObservedValues] = {
        number: ObservedValues.of(by_name) for number, by_name in enumerate(observed)
    }
    values[None] = _NOTHING_LOGGED
    totals = map(
        RejectedTotals,
        traffics,
        map(contexts.__getitem__, columns["context"]),
        map(values.__getitem__, columns["observed"]),
        map(bool, columns["packet_addresses_logged"]),
        repeat(None),
        map(_packets_lost, columns["packets_lost"]),
    )
    records = (
        RecordId._make(record) if by_record else None
        for by_record, *record in zip(
            columns["by_record"], *(columns[name] for name in _RECORD), strict=True
        )
    )
    return zip(zip(keys, records, strict=True), totals, strict=True)


def _context(stored: Mapping[str, Any]) -> Context:
    known = Context.__dataclass_fields__
    return Context(**{name: value for name, value in stored.items() if name in known})


def _packets_lost(stored: Sequence[int] | None) -> PacketsLost | None:
    return None if stored is None else PacketsLost(*map(int, stored))


def _text(address: Address | None) -> str | None:
    return None if address is None else str(address)


def _address(text: str | None) -> Address | None:
    return None if text is None else address_of(text)


def _direction(text: str | None) -> FlowDirection | None:
    return None if text is None else FlowDirection(text)
