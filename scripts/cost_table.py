"""Measure what a record takes, and print what months of records cost: ``make cost``.

One file of flow logs, 1 % of it rejected, goes the whole way without AWS, in two steps: from gzip over records to evidence, and
from evidence over flows and verdicts to alerts. The median of a few runs, in processor time, is put into the cost model
(``flowverdict_cli.cost_model``).
"""

from __future__ import annotations

import argparse
import gzip
import io
import random
import statistics
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowverdict.alerts.grouping import detections
from flowverdict.flows.evidence import flows_of
from flowverdict.flows.evidence_codec import pack, unpack
from flowverdict.flows.read_source import read_object
from flowverdict.verdict.batch import explain_flows
from flowverdict_cli import cost_model
from flowverdict_cli.cost_model import Line, Measured, Workload

if TYPE_CHECKING:
    from collections.abc import Mapping

# What the README recommends, and what AWS writes where no one asks for more.
FORMATS = {
    "recommended": (
        "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status vpc-id "
        "subnet-id instance-id tcp-flags type pkt-srcaddr pkt-dstaddr region pkt-src-aws-service pkt-dst-aws-service "
        "flow-direction traffic-path reject-reason resource-id interface-type"
    ),
    "default": (
        "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status"
    ),
}
# A flow log writes a file every five minutes, if there is anything to write.
WORKLOADS = {
    "1 M": Workload(records=1e6, objects=cost_model.WINDOWS_A_MONTH, batch=1),
    "100 M": Workload(records=1e8, objects=10 * cost_model.WINDOWS_A_MONTH, batch=2, flow_logs=10),
    "10 G": Workload(
        records=1e10, objects=100 * cost_model.WINDOWS_A_MONTH, batch=20, flow_logs=100
    ),
}
SEED = 1  # of the flows' hashes; a secret where it matters
REJECTED = 0.01
NAME = "123456789012_vpcflowlogs_us-east-1_fl-0a1b2c3d4e5f60718_20261122T1200Z_0123abcd.log.gz"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Packet:
    source: str
    target: str
    source_port: int
    target_port: int
    flags: int
    egress: bool
    action: str


def flow_logs(records: int, fields: str, seed: int = 20261122) -> bytes:
    """Make a gzipped file: servers of one subnet that answer clients on the internet, and what knocks in vain."""
    rng = random.Random(seed)  # noqa: S311 - the same file each time
    names = fields.split()
    lines = [fields]
    while len(lines) <= records:
        server = f"10.0.{rng.randrange(4)}.{rng.randrange(4, 250)}"
        client = f"{rng.choice((198, 203))}.{rng.randrange(60)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"
        port = rng.choice((443, 443, 443, 80, 5432, 8443))
        other = rng.randrange(1024, 65_536)
        at = 1_795_348_800 + len(lines) * 300 // records
        if (
            rng.random() < REJECTED * 2
        ):  # a connection that is let in makes two records, one that is not makes one
            packets = [
                _Packet(
                    source=client,
                    target=server,
                    source_port=other,
                    target_port=23,
                    flags=2,
                    egress=False,
                    action="REJECT",
                )
            ]
        else:
            packets = [
                _Packet(
                    source=client,
                    target=server,
                    source_port=other,
                    target_port=port,
                    flags=3,
                    egress=False,
                    action="ACCEPT",
                ),
                _Packet(
                    source=server,
                    target=client,
                    source_port=port,
                    target_port=other,
                    flags=19,
                    egress=True,
                    action="ACCEPT",
                ),
            ]
        lines += [_line(names, packet, server, rng, at) for packet in packets]
    return gzip.compress("\n".join([*lines[: records + 1], ""]).encode(), compresslevel=6, mtime=0)


def _line(names: list[str], packet: _Packet, server: str, rng: random.Random, at: int) -> str:
    number = f"{int(server.split('.')[2]):01x}{int(server.split('.')[3]):02x}"
    count = rng.randrange(1, 200)
    values = {
        "version": 5 if len(names) > 14 else 2,  # noqa: PLR2004 - the default format has 14 fields
        "account-id": 123456789012,
        "interface-id": f"eni-0a1b2c3d4e5f60{number}",
        "srcaddr": packet.source,
        "dstaddr": packet.target,
        "srcport": packet.source_port,
        "dstport": packet.target_port,
        "protocol": 6,
        "packets": count,
        "bytes": count * rng.randrange(40, 1_500),
        "start": at,
        "end": at + rng.randrange(1, 60),
        "action": packet.action,
        "log-status": "OK",
        "vpc-id": "vpc-0123456789abcdef0",
        "subnet-id": "subnet-0123456789abcdef0",
        "instance-id": f"i-0a1b2c3d4e5f60{number}",
        "tcp-flags": packet.flags,
        "type": "IPv4",
        "pkt-srcaddr": packet.source,
        "pkt-dstaddr": packet.target,
        "region": "us-east-1",
        "flow-direction": "egress" if packet.egress else "ingress",
        "traffic-path": 8 if packet.egress else "-",
        "reject-reason": "-",
        "interface-type": "interface",
    }
    return " ".join(str(values.get(name, "-")) for name in names)


def measure(records: int, fields: str, runs: int) -> Measured:
    """Give the median of the runs' processor time, for a million records."""
    content = flow_logs(records, fields)
    reading, judging = [], []
    evidence_bytes = 0
    for _ in range(runs):
        began = time.process_time()
        source = read_object(io.BytesIO(content), name=NAME, seed=SEED)
        kept = {window: pack(evidence) for window, evidence in source.windows.items()}
        read = time.process_time()
        window, packed = max(kept.items(), key=lambda item: len(item[1]))
        near = [unpack(packed)]
        flows = flows_of(window, {window - 1: near, window: near, window + 1: near}, SEED)
        alerts = detections(explain_flows([*flows.rejected()], None), flows)
        judged = time.process_time()
        counts = source.reading.counts
        if counts.accepted + counts.rejected != records or not alerts:
            raise AssertionError(f"the file was not read as it should be: {counts}")
        evidence_bytes = sum(map(len, kept.values()))
        reading.append(read - began)
        # The window has most of the file's records; what it has of the bytes says how many.
        judging.append((judged - read) * evidence_bytes / len(packed))
    return Measured(
        read_ms=statistics.median(reading) * 1_000 * 1e6 / records,
        judge_ms=statistics.median(judging) * 1_000 * 1e6 / records,
        gzip_bytes=len(content) / records,
        evidence_bytes=evidence_bytes / records,
    )


def measured_table(measured: Mapping[str, Measured]) -> str:
    """Show what a record takes."""
    rows = [
        "| format | bytes a record, gzipped | bytes of evidence | s to read a million | s to judge a million |",
        "|---|---|---|---|---|",
    ]
    rows += [
        f"| {name} | {one.gzip_bytes:.1f} | {one.evidence_bytes:.1f} | {one.read_ms / 1_000:.1f} | {one.judge_ms / 1_000:.1f} |"
        for name, one in measured.items()
    ]
    return "\n".join(rows)


def bill(measured: Measured, factor: float) -> str:
    """Show what a month costs, line by line and for each workload."""
    reading = {
        name: cost_model.reading_cost(workload, measured, factor)
        for name, workload in WORKLOADS.items()
    }
    rows = [
        f"| | {' | '.join(f'{name} records' for name in WORKLOADS)} |",
        f"|---|{'---:|' * len(WORKLOADS)}",
    ]
    for index, line in enumerate(next(iter(reading.values()))):
        label = f"{line.price.what}: {line.price.unit}"
        rows.append(
            f"| {label} | {' | '.join(_cell(lines[index]) for lines in reading.values())} |"
        )
    sums = [cost_model.total(lines) for lines in reading.values()]
    fixed = cost_model.fixed_monthly_cost()
    rows.append(f"| **reading them** | {' | '.join(f'**${one:,.2f}**' for one in sums)} |")
    for line in fixed:
        label = f"standing there: {line.price.what}: {line.price.unit}"
        rows.append(f"| {label} | {' | '.join([_cell(line)] * len(sums))} |")
    rows.append(
        f"| **a month** | {' | '.join(f'**${one + cost_model.total(fixed):,.2f}**' for one in sums)} |"
    )
    return "\n".join(rows)


def _cell(line: Line) -> str:
    amount = f"{line.amount:,.0f}" if line.amount >= 10 else f"{line.amount:.2f}"  # noqa: PLR2004 - as many digits as say something
    return f"{amount} = ${line.usd:,.2f}"


def prices_table() -> str:
    """Show the prices and where they come from."""
    rows = [f"| {cost_model.REGION}, {cost_model.CHECKED} | dollars | read in |", "|---|---|---|"]
    rows += [
        f"| [{price.what}]({price.page}) | {price.usd:.10f}".rstrip("0").rstrip(".")
        + f" for {price.per:,} {price.unit} | <{price.seen.split(' ')[0]}>{price.seen[len(price.seen.split(' ')[0]) :]} |"
        for price in cost_model.PRICES
    ]
    return "\n".join(rows)


def main() -> None:
    """Measure, unless told not to, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--records",
        type=int,
        default=200_000,
        help="of the file that is measured (default: %(default)s)",
    )
    parser.add_argument(
        "--runs", type=int, default=3, help="of which the median counts (default: %(default)s)"
    )
    parser.add_argument(
        "--factor",
        type=float,
        default=1.0,
        help="how much longer Lambda's processor takes than this one (default: %(default)s)",
    )
    parser.add_argument(
        "--stated",
        action="store_true",
        help="take the figures that docs/cost.md states, and measure nothing",
    )
    given = parser.parse_args()
    measured = (
        cost_model.MEASURED
        if given.stated
        else {name: measure(given.records, fields, given.runs) for name, fields in FORMATS.items()}
    )
    sys.stdout.write(
        f"{measured_table(measured)}\n\n{bill(measured['recommended'], given.factor)}\n\n{prices_table()}\n"
    )


if __name__ == "__main__":
    main()
