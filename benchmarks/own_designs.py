"""The job done with the project's own code, and its readers measured alone."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from benchmarks.generate import write_parquet
from benchmarks.job import Found, group_key

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from flowverdict.core.addresses import Address
    from flowverdict.flowlog.columnar import AcceptedFlows, Column, InterfaceFacts, RejectedLines
    from flowverdict.flowlog.flow_key import FlowKey
    from flowverdict.flowlog.records import FlowRecord

_MOST = 75_000  # flows evaluated individually, as the command's --most


class _Discard:
    """A sink that discards everything."""

    def record(self, record: FlowRecord) -> None:
        pass

    def accepted(self, window: int, flows: AcceptedFlows) -> None:
        pass

    def rejected(self, window: int, lines: RejectedLines) -> None:
        pass

    def learned(self, window: int, interface: str | None, facts: InterfaceFacts) -> None:
        pass


def read_by_column(path: Path) -> Found:
    """Read by column, and discard everything."""
    from flowverdict.flowlog.column_reader import read_columns  # noqa: PLC0415

    with path.open("rb") as file:
        read_columns(file, _Discard(), name=str(path))
    return Found()


def read_quickly(path: Path) -> Found:
    """Read as small files are read, line by line, and discard everything."""
    from flowverdict.flowlog.fast_line_reader import read_file  # noqa: PLC0415

    with path.open("rb") as file:
        read_file(file, _Discard(), name=str(path))
    return Found()


class _Columns(_Discard):
    """A sink that stores what the job needs."""

    def __init__(self) -> None:
        self.rejects: list[FlowRecord] = []
        self.accepts: list[tuple[Column, Column]] = []

    def record(self, record: FlowRecord) -> None:
        if record.action == "REJECT":
            self.rejects.append(record)

    def rejected(self, window: int, lines: RejectedLines) -> None:  # noqa: ARG002 - all windows are one here
        self.rejects += map(lines.record_format.parse, lines.text.decode().split("\n"))

    def accepted(self, window: int, flows: AcceptedFlows) -> None:  # noqa: ARG002 - all windows are one here
        self.accepts.append((flows.hashes, flows.starts))


def engine(path: Path) -> Found:
    """Do the job with the column reader alone: columns of hashes, and rejects as records."""
    from flowverdict.flowlog.column_reader import read_columns  # noqa: PLC0415
    from flowverdict.flowlog.flow_hash_numpy import related_hashes  # noqa: PLC0415
    from flowverdict.flowlog.flow_key import key_of  # noqa: PLC0415
    from flowverdict.flowlog.line_reader import LineReader  # noqa: PLC0415

    sink, reader = _Columns(), LineReader(())
    with path.open("rb") as file:
        read_columns(file, sink, name=str(path), reader=reader)
    groups = Counter(
        group_key(
            str(record.interface_id),
            (str(record.srcaddr), str(record.dstaddr)),
            (record.srcport or 0, record.dstport or 0),
            record.protocol or 0,
            record.flow_direction,
        )
        for record in sink.rejects
    )
    # A mirror may be logged under three keys; the job needs the key that is logged as the reject
    # is.
    keys = [key_of(record) for record in sink.rejects]
    directions = [
        0 if key.direction is None else 2 if key.direction == "ingress" else 1 for key in keys
    ]
    starts = _earliest(related_hashes(keys, 0)[range(len(keys)), directions], sink.accepts)
    counts = reader.counts
    return Found(
        accepted=counts.accepted,
        rejected=counts.rejected,
        no_data=counts.no_data + counts.skip_data,
        malformed=counts.malformed.total(),
        groups=len(groups),
        mirrored=int(starts.size),
        starts=int(starts.sum()),
    )


def _earliest(
    required: np.ndarray[Any, Any], accepts: list[tuple[Column, Column]]
) -> np.ndarray[Any, Any]:
    """Return the earliest start for each required hash that was accepted."""
    import numpy as np  # noqa: PLC0415

    distinct, where = np.unique(required, return_inverse=True)
    never = np.iinfo(np.int64).max
    earliest = np.full(distinct.size, never)
    bits = np.uint64(40)
    maybe = np.zeros(1 << 24, np.bool_)
    maybe[(distinct >> bits).view(np.int64)] = True
    for column, starts in accepts:
        hashes = np.asarray(column)
        rows = np.flatnonzero(maybe[(hashes >> bits).view(np.int64)])
        places = np.minimum(np.searchsorted(distinct, hashes[rows]), distinct.size - 1)
        found = distinct[places] == hashes[rows]
        np.minimum.at(earliest, places[found], np.asarray(starts)[rows[found]])
    all_starts = earliest[where]
    return all_starts[all_starts < never]


def _group_of(key: FlowKey) -> tuple[object, ...]:
    """Return the same as ``group_key``, from parsed addresses."""
    direction: str | None = key.direction
    if direction is None:
        direction = (
            "egress" if _is_inside(key.source) and not _is_inside(key.destination) else "ingress"
        )
    remote = key.destination if direction == "egress" else key.source
    return (key.interface, direction, remote, key.source_port, key.destination_port, key.protocol)


def _is_inside(address: Address | None) -> bool:
    if address is None:
        return False
    return address.packed.startswith(b"\x0a" if address.version == 4 else b"\x2a\x05")  # noqa: PLR2004 - the other version is 6


def flowverdict(path: Path) -> Found:
    """Collect rejected flows as the command does; of more than 75,000, the rest are aggregated."""
    return _collected(path, _MOST)


def every_flow(path: Path) -> Found:
    """Collect rejected flows as the command does, without a limit."""
    return _collected(path, None)


def _collected(path: Path, most: int | None) -> Found:
    from flowverdict.core.garbage_collection import collect_rarely  # noqa: PLC0415
    from flowverdict.verdict.batch import Batch  # noqa: PLC0415

    collect_rarely()
    batch = Batch(most)
    with path.open("rb") as file:
        counts = batch.add_file(file, name=str(path)).counts
    flows = list(batch.flows.rejected())
    if batch.flows.aggregated:
        records = sum(flow.traffic.records for flow in flows) + sum(
            rest.traffic.records for rest in batch.flows.aggregated.values()
        )
        if (len(flows), records) != (most, counts.rejected):
            raise SystemExit(
                f"{len(flows):,} flows, and {records:,} of {counts.rejected:,} rejected records"
                " accounted for"
            )
        return Found()
    groups = {_group_of(flow.key) for flow in flows}
    mirrored = [
        (flow.traffic.records, flow.mirror.first_start or 0)
        for flow in flows
        if flow.mirror is not None
    ]
    return Found(
        accepted=counts.accepted,
        rejected=counts.rejected,
        no_data=counts.no_data + counts.skip_data,
        malformed=counts.malformed.total(),
        groups=len(groups),
        mirrored=sum(records for records, _ in mirrored),
        starts=sum(records * start for records, start in mirrored),
    )


def whole_command_json(path: Path) -> Found:
    """Become ``flowverdict explain --output json``, whose process is measured to its end."""
    return _command(path, "json")


def whole_command_text(path: Path) -> Found:
    """Become ``flowverdict explain``, as above."""
    return _command(path, "table")


def _command(path: Path, output: str) -> Found:
    print(json.dumps(asdict(Found())))
    print(0)  # the command does not print its peak of memory
    sys.stdout.flush()
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nothing, stream)
    command = "from flowverdict_cli.commands import run; run()"
    os.execv(  # noqa: S606 - our own command, in place of this process
        sys.executable, [sys.executable, "-c", command, "explain", "--output", output, str(path)]
    )


def parquet(path: Path) -> Found:
    """Collect rejected flows as the command does, from the Parquet file of the same records."""
    return flowverdict(write_parquet(path))
