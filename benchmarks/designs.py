"""One job, done in different ways; ``python -m benchmarks.designs <design> <file>`` does it once and prints what it found.

The job: find every rejected record; for each, the earliest accepted record of the mirrored 5-tuple on the same interface in the
file; aggregate by interface, direction, remote address, ports and protocol; count records without data, and malformed lines.
Every way must find the same. Where the format has no direction, an address of the VPC's tells it.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import sys
import zlib
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.generate import write_parquet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np

    from flowverdict.core.addresses import Address
    from flowverdict.flowlog.columnar import AcceptedFlows, Column, InterfaceFacts, RejectedLines
    from flowverdict.flowlog.flow_key import FlowKey
    from flowverdict.flowlog.records import FlowRecord

_READ_BYTES = 1 << 18
_INSIDE = ("10.", "2a05:")
_MOST = 75_000  # as the command has it


@dataclass(frozen=True, slots=True)
class Found:
    """What the job comes to: enough to tell whether two ways did the same."""

    accepted: int = 0
    rejected: int = 0
    no_data: int = 0
    malformed: int = 0
    groups: int = 0
    mirrored: int = 0
    starts: int = 0  # sum of the mirrors' earliest starts


type _Group = tuple[str, str, str, int, int, int]


def _group(
    interface: str,
    ends: tuple[str, str],
    ports: tuple[int, int],
    protocol: int,
    direction: str | None,
) -> _Group:
    source, destination = ends
    if direction is None:
        outgoing = source.startswith(_INSIDE) and not destination.startswith(_INSIDE)
        direction = "egress" if outgoing else "ingress"
    return (
        interface,
        direction,
        destination if direction == "egress" else source,
        *ports,
        protocol,
    )


def gunzip(path: Path) -> Found:
    """Unpack with Python's zlib, and do nothing with it: the floor for whoever unpacks with it."""
    unpacker = zlib.decompressobj(wbits=31)
    with path.open("rb") as file:
        while packed := file.read(_READ_BYTES):
            unpacker.decompress(packed)
    return Found()


def unpack_isal(path: Path) -> Found:
    """Unpack with ISA-L."""
    from isal import isal_zlib  # noqa: PLC0415 - each design loads its own

    unpacker = isal_zlib.decompressobj(wbits=31)
    with path.open("rb") as file:
        while packed := file.read(_READ_BYTES):
            unpacker.decompress(packed)
    return Found()


def flowlogs_reader(path: Path) -> Found:
    """flowlogs-reader 5, a record object for every line."""
    from flowlogs_reader.flowlogs_reader import FlowRecord  # noqa: PLC0415

    accepted: dict[tuple[str, ...], float] = {}
    rejects: list[Any] = []
    counts: Counter[str] = Counter()
    with gzip.open(path, "rt") as file:
        # As S3FlowLogsReader does with an object.
        rows = csv.DictReader(file, delimiter=" ")
        rows.fieldnames = [name.replace("-", "_") for name in rows.fieldnames or ()]
        for row in rows:
            record = FlowRecord(row)
            if record.log_status in {"NODATA", "SKIPDATA"}:
                counts["no_data"] += 1
            elif record.action == "ACCEPT":
                counts["accepted"] += 1
                key = (
                    record.interface_id,
                    record.srcaddr,
                    record.dstaddr,
                    record.srcport,
                    record.dstport,
                    record.protocol,
                )
                start = record.start.timestamp()
                if start < accepted.get(key, float("inf")):
                    accepted[key] = start
            else:
                rejects.append(record)
    mirrors: list[float] = []
    groups: Counter[_Group] = Counter()
    for record in rejects:
        mirror = (
            record.interface_id,
            record.dstaddr,
            record.srcaddr,
            record.dstport,
            record.srcport,
            record.protocol,
        )
        if (start := accepted.get(mirror)) is not None:
            mirrors.append(start)
        ports = (record.srcport, record.dstport)
        groups[
            _group(
                record.interface_id,
                (record.srcaddr, record.dstaddr),
                ports,
                record.protocol,
                record.flow_direction,
            )
        ] += 1
    return Found(
        accepted=counts["accepted"],
        rejected=len(rejects),
        no_data=counts["no_data"],
        groups=len(groups),
        mirrored=len(mirrors),
        starts=int(sum(mirrors)),
    )


def duckdb(path: Path) -> Found:
    """DuckDB's SQL, one thread: the rejects, then the accepts that mirror one."""
    import duckdb as engine  # noqa: PLC0415

    with gzip.open(path, "rt") as file:
        names = [name.replace("-", "_") for name in next(file).split()]
    numbers = {"srcport", "dstport", "protocol", "start", "end"}
    types = {name: "BIGINT" if name in numbers else "VARCHAR" for name in names}
    told = "flow_direction" if "flow_direction" in names else "NULL"
    inside = "(starts_with({0}, '10.') OR starts_with({0}, '2a05:'))"
    connection = engine.connect(config={"threads": 1})
    columns = ", ".join(f"'{name}': '{kind}'" for name, kind in types.items())
    connection.execute(f"""
        CREATE VIEW lines AS FROM read_csv('{path}', delim=' ', header=true, quote='', escape='', nullstr='-',
            columns={{{columns}}}, auto_detect=false,
            ignore_errors=true, store_rejects=false);
        CREATE TABLE rejects AS SELECT interface_id, srcaddr, dstaddr, srcport, dstport, protocol, {told} AS told
            FROM lines WHERE action = 'REJECT';
        CREATE TABLE mirrors AS SELECT interface_id, srcaddr, dstaddr, srcport, dstport, protocol, min(start) AS start
            FROM lines SEMI JOIN rejects ON lines.interface_id = rejects.interface_id AND lines.srcaddr = rejects.dstaddr
                AND lines.dstaddr = rejects.srcaddr AND lines.srcport = rejects.dstport AND lines.dstport = rejects.srcport
                AND lines.protocol = rejects.protocol
            WHERE action = 'ACCEPT' GROUP BY ALL;
    """)  # noqa: S608 - our own file
    counted = connection.execute(
        "SELECT coalesce(action, log_status), count(*) FROM lines GROUP BY 1"
    ).fetchall()
    counts: dict[str, int] = dict(counted)
    groups = connection.execute(f"""
        WITH directed AS (SELECT *, coalesce(told, if({inside.format("srcaddr")} AND NOT {inside.format("dstaddr")},
            'egress', 'ingress')) AS direction FROM rejects)
        SELECT interface_id, direction, if(direction = 'egress', dstaddr, srcaddr), srcport, dstport, protocol, count(*)
        FROM directed GROUP BY ALL
    """).fetchall()  # noqa: S608
    mirrored = connection.execute("""
        SELECT count(*), coalesce(sum(mirrors.start), 0) FROM rejects JOIN mirrors
            ON mirrors.interface_id = rejects.interface_id AND mirrors.srcaddr = rejects.dstaddr
            AND mirrors.dstaddr = rejects.srcaddr AND mirrors.srcport = rejects.dstport
            AND mirrors.dstport = rejects.srcport AND mirrors.protocol = rejects.protocol
    """).fetchone() or (0, 0)
    return Found(
        accepted=counts.get("ACCEPT", 0),
        rejected=counts.get("REJECT", 0),
        no_data=counts.get("NODATA", 0) + counts.get("SKIPDATA", 0),
        groups=len(groups),
        mirrored=mirrored[0],
        starts=int(mirrored[1]),
    )


def polars(path: Path) -> Found:
    """Polars, lazily: one pass for the rejects and counts, one for what mirrors them."""
    import polars as pl  # noqa: PLC0415

    with gzip.open(path, "rt") as file:
        names = next(file).split()
    numbers = {"srcport", "dstport", "protocol", "start", "end"}
    schema = {name: pl.Int64 if name in numbers else pl.String for name in names}
    lines = pl.scan_csv(
        path, separator=" ", schema=schema, null_values="-", quote_char=None, ignore_errors=True
    )
    told = pl.col("flow-direction") if "flow-direction" in names else pl.lit(None, pl.String)
    key = ["interface-id", "srcaddr", "dstaddr", "srcport", "dstport", "protocol"]
    mirror_key = ["interface-id", "dstaddr", "srcaddr", "dstport", "srcport", "protocol"]
    rejects = (
        lines.filter(pl.col("action") == "REJECT")
        .select(*key, told.alias("told"))
        .collect(engine="streaming")
    )
    accepted = lines.filter(pl.col("action") == "ACCEPT")
    counts = dict(
        lines.group_by(pl.coalesce("action", "log-status").alias("kind"))
        .len()
        .collect(engine="streaming")
        .iter_rows()
    )
    mirrors = (
        accepted.select(*key, "start")
        .join(rejects.lazy().select(*key), left_on=key, right_on=mirror_key, how="semi")
        .group_by(key)
        .agg(pl.col("start").min())
        .collect(engine="streaming")
    )
    matched = rejects.join(mirrors, left_on=mirror_key, right_on=key, how="inner")

    def inside(name: str) -> pl.Expr:
        return pl.col(name).str.starts_with("10.") | pl.col(name).str.starts_with("2a05:")

    guessed = (
        pl.when(inside("srcaddr") & ~inside("dstaddr"))
        .then(pl.lit("egress"))
        .otherwise(pl.lit("ingress"))
    )
    groups = (
        rejects.with_columns(pl.coalesce("told", guessed).alias("direction"))
        .with_columns(
            pl.when(pl.col("direction") == "egress")
            .then("dstaddr")
            .otherwise("srcaddr")
            .alias("remote")
        )
        .group_by("interface-id", "direction", "remote", "srcport", "dstport", "protocol")
        .len()
        .rows()
    )
    return Found(
        accepted=counts.get("ACCEPT", 0),
        rejected=len(rejects),
        no_data=counts.get("NODATA", 0) + counts.get("SKIPDATA", 0),
        groups=len(groups),
        mirrored=len(matched),
        starts=int(matched["start"].sum()),
    )


def stdlib(path: Path) -> Found:
    """Use the standard library alone, in two passes: chunks are searched for rejects, then for what mirrors them."""
    wanted: dict[bytes, int] = {}
    rejects: list[tuple[bytes, list[bytes]]] = []
    counts: Counter[str] = Counter()
    groups: Counter[_Group] = Counter()
    names, index = _names(path)
    at = [
        index[name]
        for name in ("interface-id", "srcaddr", "dstaddr", "srcport", "dstport", "protocol")
    ]
    told = index.get("flow-direction")
    for chunk in _chunks(path):
        counts["lines"] += chunk.count(b"\n")
        counts["no_data"] += chunk.count(b" NODATA") + chunk.count(b" SKIPDATA")
        for line in _lines_with(chunk, b" REJECT "):
            words = line.split()
            if len(words) != len(names):
                counts["malformed"] += 1
                continue
            interface, source, destination, srcport, dstport, protocol = (
                words[place] for place in at
            )
            mirror = b" ".join((interface, destination, source, dstport, srcport, protocol))
            wanted[mirror] = 0
            rejects.append((mirror, words))
            direction = words[told].decode() if told is not None else None
            ports = (int(srcport), int(dstport))
            groups[
                _group(
                    interface.decode(),
                    (source.decode(), destination.decode()),
                    ports,
                    int(protocol),
                    direction,
                )
            ] += 1
    start_at = index["start"]
    accept_at = index["action"]
    for chunk in _chunks(path):
        for line in chunk.splitlines():
            words = line.split()
            key = b" ".join([words[place] for place in at])
            if key in wanted and words[accept_at] == b"ACCEPT":
                start = int(words[start_at])
                if wanted[key] == 0 or start < wanted[key]:
                    wanted[key] = start
    starts = [wanted[mirror] for mirror, _ in rejects if wanted[mirror]]
    accepted = counts["lines"] - 1 - len(rejects) - counts["no_data"] - counts["malformed"]
    return Found(
        accepted,
        len(rejects),
        counts["no_data"],
        counts["malformed"],
        len(groups),
        len(starts),
        sum(starts),
    )


def _names(path: Path) -> tuple[list[str], dict[str, int]]:
    with gzip.open(path, "rt") as file:
        names = next(file).split()
    return names, {name: place for place, name in enumerate(names)}


def _chunks(path: Path) -> Iterator[bytes]:
    held = b""
    with gzip.open(path, "rb") as file:
        while read := file.read(1 << 20):
            end = read.rfind(b"\n") + 1
            yield held + read[:end]
            held = read[end:]


def _lines_with(chunk: bytes, word: bytes) -> Iterator[bytes]:
    place = chunk.find(word)
    while place >= 0:
        end = chunk.find(b"\n", place)
        yield chunk[chunk.rfind(b"\n", 0, place) + 1 : end]
        place = chunk.find(word, end)


class _Nothing:
    """A sink that keeps nothing."""

    def record(self, record: FlowRecord) -> None:
        pass

    def accepted(self, window: int, flows: AcceptedFlows) -> None:
        pass

    def rejected(self, window: int, lines: RejectedLines) -> None:
        pass

    def learned(self, window: int, interface: str | None, facts: InterfaceFacts) -> None:
        pass


def read_by_column(path: Path) -> Found:
    """Read with the engine, and do nothing with it."""
    from flowverdict.flowlog.column_reader import read_columns  # noqa: PLC0415

    with path.open("rb") as file:
        read_columns(file, _Nothing(), name=str(path))
    return Found()


def read_quickly(path: Path) -> Found:
    """Read as few lines are read, and do nothing with it."""
    from flowverdict.flowlog.fast_line_reader import read_file  # noqa: PLC0415

    with path.open("rb") as file:
        read_file(file, _Nothing(), name=str(path))
    return Found()


class _Columns(_Nothing):
    """What the engine gives, as far as the job asks for it."""

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
    """Flowverdict's engine by itself: columns of hashes, and rejects as records."""
    from flowverdict.flowlog.column_reader import read_columns  # noqa: PLC0415
    from flowverdict.flowlog.flow_hash_numpy import related_hashes  # noqa: PLC0415
    from flowverdict.flowlog.flow_key import key_of  # noqa: PLC0415
    from flowverdict.flowlog.line_reader import LineReader  # noqa: PLC0415

    sink, reader = _Columns(), LineReader(())
    with path.open("rb") as file:
        read_columns(file, sink, name=str(path), reader=reader)
    groups = Counter(
        _group(
            str(record.interface_id),
            (str(record.srcaddr), str(record.dstaddr)),
            (record.srcport or 0, record.dstport or 0),
            record.protocol or 0,
            record.flow_direction,
        )
        for record in sink.rejects
    )
    # Of the three keys a mirror may have, the job asks for the one that is logged as the reject is.
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
    wanted: np.ndarray[Any, Any], accepts: list[tuple[Column, Column]]
) -> np.ndarray[Any, Any]:
    """Give the earliest start for each wanted hash that is there."""
    import numpy as np  # noqa: PLC0415

    distinct, where = np.unique(wanted, return_inverse=True)
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
    """Give what ``_group`` does, of addresses that are no texts."""
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
    return address.packed.startswith(b"\x0a" if address.version == 4 else b"\x2a\x05")  # noqa: PLR2004 - the other one is 6


def flowverdict(path: Path) -> Found:
    """Collect rejected flows as the command does, with all that is kept of them; of a flood, most are counted together."""
    return _collected(path, _MOST)


def every_flow(path: Path) -> Found:
    """Do the same without a bound."""
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
        told = sum(flow.traffic.records for flow in flows) + sum(
            one.traffic.records for one in batch.flows.aggregated.values()
        )
        if (len(flows), told) != (most, counts.rejected):
            raise SystemExit(
                f"{len(flows):,} flows, and {told:,} of {counts.rejected:,} rejected records accounted for"
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


def parquet(path: Path) -> Found:
    """Do the same with the Parquet file of the same records."""
    return flowverdict(write_parquet(path))


DESIGNS: dict[str, Callable[[Path], Found]] = {
    "gunzip": gunzip,
    "unpack-isal": unpack_isal,
    "flowlogs-reader": flowlogs_reader,
    "duckdb": duckdb,
    "polars": polars,
    "stdlib": stdlib,
    "engine": engine,
    "flowverdict": flowverdict,
    "every-flow": every_flow,
    "parquet": parquet,
    "read-by-column": read_by_column,
    "read-quickly": read_quickly,
}


def main() -> None:
    """Do the job once, on one core."""
    os.sched_setaffinity(0, {int(sys.argv[3])})
    print(json.dumps(asdict(DESIGNS[sys.argv[1]](Path(sys.argv[2])))))
    # What wait4 tells is at least what the parent had when it made this process.
    (peak,) = (
        line.split()[1]
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM:")
    )
    print(peak)


if __name__ == "__main__":
    main()
