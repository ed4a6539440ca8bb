"""The job done with other tools: flowlogs-reader, DuckDB, Polars and the standard library."""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.job import Found, Group, group_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def flowlogs_reader(path: Path) -> Found:
    """Do the job with flowlogs-reader 5, which makes an object of every line."""
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
    groups: Counter[Group] = Counter()
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
            group_key(
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
    """Do the job in DuckDB's SQL on one thread: rejects first, then their mirrors."""
    import duckdb as engine  # noqa: PLC0415

    with gzip.open(path, "rt") as file:
        names = [name.replace("-", "_") for name in next(file).split()]
    numbers = {"srcport", "dstport", "protocol", "start", "end"}
    types = {name: "BIGINT" if name in numbers else "VARCHAR" for name in names}
    direction = "flow_direction" if "flow_direction" in names else "NULL"
    inside = "(starts_with({0}, '10.') OR starts_with({0}, '2a05:'))"
    connection = engine.connect(config={"threads": 1})
    columns = ", ".join(f"'{name}': '{kind}'" for name, kind in types.items())
    connection.execute(f"""
        CREATE VIEW lines AS FROM read_csv('{path}', delim=' ', header=true, quote='', escape='',
            nullstr='-', columns={{{columns}}}, auto_detect=false,
            ignore_errors=true, store_rejects=false);
        CREATE TABLE rejects AS
            SELECT interface_id, srcaddr, dstaddr, srcport, dstport, protocol, {direction} AS logged
            FROM lines WHERE action = 'REJECT';
        CREATE TABLE mirrors AS
            SELECT interface_id, srcaddr, dstaddr, srcport, dstport, protocol, min(start) AS start
            FROM lines SEMI JOIN rejects ON lines.interface_id = rejects.interface_id
                AND lines.srcaddr = rejects.dstaddr AND lines.dstaddr = rejects.srcaddr
                AND lines.srcport = rejects.dstport AND lines.dstport = rejects.srcport
                AND lines.protocol = rejects.protocol
            WHERE action = 'ACCEPT' GROUP BY ALL;
    """)  # noqa: S608 - our own file
    counted = connection.execute(
        "SELECT coalesce(action, log_status), count(*) FROM lines GROUP BY 1"
    ).fetchall()
    counts: dict[str, int] = dict(counted)
    groups = connection.execute(f"""
        WITH directed AS (SELECT *, coalesce(logged, if({inside.format("srcaddr")}
            AND NOT {inside.format("dstaddr")}, 'egress', 'ingress')) AS direction FROM rejects)
        SELECT interface_id, direction, if(direction = 'egress', dstaddr, srcaddr), srcport,
            dstport, protocol, count(*)
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
    """Do the job with lazy Polars: one pass for rejects and counts, one for their mirrors."""
    import polars as pl  # noqa: PLC0415

    with gzip.open(path, "rt") as file:
        names = next(file).split()
    numbers = {"srcport", "dstport", "protocol", "start", "end"}
    schema = {name: pl.Int64 if name in numbers else pl.String for name in names}
    lines = pl.scan_csv(
        path, separator=" ", schema=schema, null_values="-", quote_char=None, ignore_errors=True
    )
    logged = pl.col("flow-direction") if "flow-direction" in names else pl.lit(None, pl.String)
    key = ["interface-id", "srcaddr", "dstaddr", "srcport", "dstport", "protocol"]
    mirror_key = ["interface-id", "dstaddr", "srcaddr", "dstport", "srcport", "protocol"]
    rejects = (
        lines.filter(pl.col("action") == "REJECT")
        .select(*key, logged.alias("logged"))
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
        rejects.with_columns(pl.coalesce("logged", guessed).alias("direction"))
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
    """Do the job with the standard library, in two passes: rejects first, then their mirrors."""
    first = _first_pass(path)
    earliest = _earliest_accepts(path, set(first.mirrors))
    starts = [earliest[mirror] for mirror in first.mirrors if mirror in earliest]
    counts = first.counts
    accepted = counts["lines"] - 1 - len(first.mirrors) - counts["no_data"] - counts["malformed"]
    return Found(
        accepted=accepted,
        rejected=len(first.mirrors),
        no_data=counts["no_data"],
        malformed=counts["malformed"],
        groups=len(first.groups),
        mirrored=len(starts),
        starts=sum(starts),
    )


_KEY = ("interface-id", "srcaddr", "dstaddr", "srcport", "dstport", "protocol")


@dataclass(slots=True)
class _FirstPass:
    """What the rejected records are: the key of each mirror, the groups, and counts of lines."""

    mirrors: list[bytes] = field(default_factory=list)
    groups: Counter[Group] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)


def _first_pass(path: Path) -> _FirstPass:
    found = _FirstPass()
    index = _field_index(path)
    at = [index[name] for name in _KEY]
    direction_at = index.get("flow-direction")
    for chunk in _chunks(path):
        found.counts["lines"] += chunk.count(b"\n")
        found.counts["no_data"] += chunk.count(b" NODATA") + chunk.count(b" SKIPDATA")
        for line in _lines_with(chunk, b" REJECT "):
            words = line.split()
            if len(words) != len(index):
                found.counts["malformed"] += 1
                continue
            interface, source, destination, srcport, dstport, protocol = (
                words[place] for place in at
            )
            found.mirrors.append(
                b" ".join((interface, destination, source, dstport, srcport, protocol))
            )
            group = group_key(
                interface.decode(),
                (source.decode(), destination.decode()),
                (int(srcport), int(dstport)),
                int(protocol),
                None if direction_at is None else words[direction_at].decode(),
            )
            found.groups[group] += 1
    return found


def _earliest_accepts(path: Path, keys: set[bytes]) -> dict[bytes, int]:
    """Return the earliest start of the accepted records with these keys."""
    index = _field_index(path)
    at = [index[name] for name in _KEY]
    earliest: dict[bytes, int] = {}
    for chunk in _chunks(path):
        for line in chunk.splitlines():
            words = line.split()
            key = b" ".join([words[place] for place in at])
            if key in keys and words[index["action"]] == b"ACCEPT":
                start = int(words[index["start"]])
                earliest[key] = min(start, earliest.get(key, start))
    return earliest


def _field_index(path: Path) -> dict[str, int]:
    with gzip.open(path, "rt") as file:
        return {name: place for place, name in enumerate(next(file).split())}


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
