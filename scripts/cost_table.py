"""Measure the costs of a record, and print what months of records cost: ``make cost``.

One flow log file with 1 % rejected records is processed without AWS in two steps: from gzip over
records to evidence, and from evidence over flows and verdicts to alerts. The median CPU time of a
few runs goes into the cost model (``flowverdict_cli.cost_model``).
"""

from __future__ import annotations

import argparse
import gzip
import io
import random
import re
import statistics
import sys
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from flowverdict.alerts.grouping import detections
from flowverdict.flowlog.columnar import WINDOW
from flowverdict.flows.evidence import flows_of
from flowverdict.flows.evidence_codec import pack, unpack
from flowverdict.flows.read_source import read_object
from flowverdict.flows.stored_evidence import evidence_for
from flowverdict.lifecycle.episodes import MAX_WINDOWS
from flowverdict.verdict.batch import explain_flows
from flowverdict_cli import cost_model
from flowverdict_cli.cost_model import Line, Measured, Workload
from scripts.cost_prices import ALARM, FIREHOSE, METRIC, SNS_EMAIL, SNS_PUBLISH, prices_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TEMPLATE = Path(__file__).parents[1] / "template.yaml"
_DEFAULT_FORMAT = (
    "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes"
    " start end action log-status"
)
# The recommended format (docs/start/deploy.md), and AWS's default.
FORMATS = {
    "recommended": (
        f"{_DEFAULT_FORMAT} vpc-id subnet-id instance-id tcp-flags type pkt-srcaddr pkt-dstaddr"
        " region pkt-src-aws-service pkt-dst-aws-service flow-direction traffic-path reject-reason"
        " resource-id interface-type"
    ),
    "default": _DEFAULT_FORMAT,
}
# A flow log writes a file every five minutes, if it has records.
_FILES_A_MONTH = cost_model.MONTH // WINDOW
IDLE = "no"
WORKLOADS = {
    IDLE: Workload(records=0, objects=0, batch=1),
    "1 M": Workload(records=1e6, objects=_FILES_A_MONTH, batch=1),
    "100 M": Workload(records=1e8, objects=10 * _FILES_A_MONTH, batch=2, flow_logs=10),
    "10 G": Workload(records=1e10, objects=100 * _FILES_A_MONTH, batch=20, flow_logs=100),
    "1 T": Workload(records=1e12, objects=5_000 * _FILES_A_MONTH, batch=20, flow_logs=5_000),
}
# Flow logs of one account and Region, with files of as many records.
FLOW_LOGS = (1, 10, 100, 1_000, 5_000)
RECORDS_OF_A_FILE = 1_000
SWEEP_SECONDS = 300  # between two sweeps; a test compares it with the template
ASSUMED_SWEEP_MS = 500
ASSUMED_OPEN_PROBLEMS = 20  # the page is taken to change with each sweep
# Half a unit for each query of the index: of nine keys of what is due, and of one of feeds or of
# what ended, once to look after alerts and once for the page. The turn, two rate limits, and the
# silences twice are a unit each.
READS_OF_A_SWEEP = 2 * (9 + 1) / 2 + 5
_READS_OF_A_PROBLEM = 3  # to find out how it stands, to write that, and for the page
ASSUMED_MESSAGES = 1_000  # a month; the limit of 30 an hour allows 21,600
# Lambda asks a queue with five pollers, each of which waits up to 20 s, and with no fewer where
# little comes, since both functions have a maximum concurrency
# (https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html). AWS says this of
# standard queues, and nothing of FIFO queues: as many are assumed there.
_IDLE_RECEIVES = 5 * cost_model.MONTH // 20
# Metrics that have data in every hour, if records come in every hour and many are rejected: one of
# classify_s3 (read), three of evaluate_windows (lag, published, rules) with three severities of
# RejectedFlows, and one of the sweep. The others have data in hours with trouble only, and none in
# those without records.
ASSUMED_METRICS = 8
_ALARMS_OF_A_STACK = ("HasAlarms", "HasS3Alarms")  # with every answer left as it is
_TOPICS = 2  # a message goes to the topic for machines and to the topic for email
SEED = 1  # of the flows' hashes; a secret in a deployed stack
REJECTED = 0.01
NAME = "123456789012_vpcflowlogs_us-east-1_fl-0a1b2c3d4e5f60718_20261122T1200Z_0123abcd.log.gz"


class _Packet(NamedTuple):
    source: str
    target: str
    source_port: int
    target_port: int
    flags: int
    direction: str
    action: str


def flow_logs(records: int, fields: str, seed: int = 20261122) -> bytes:
    """Return a gzipped file: servers that answer clients on the internet, and rejected requests."""
    rng = random.Random(seed)  # noqa: S311 - the same file each time
    names = fields.split()
    lines = [fields]
    while len(lines) <= records:
        server = f"10.0.{rng.randrange(4)}.{rng.randrange(4, 250)}"
        network = f"{rng.choice((198, 203))}.{rng.randrange(60)}"
        client = f"{network}.{rng.randrange(256)}.{rng.randrange(1, 255)}"
        port = rng.choice((443, 443, 443, 80, 5432, 8443))
        other = rng.randrange(1024, 65_536)
        at = 1_795_348_800 + len(lines) * 300 // records
        # An accepted connection makes two records, a rejected request makes one.
        if rng.random() < REJECTED * 2:
            packets = [_Packet(client, server, other, 23, 2, "ingress", "REJECT")]
        else:
            packets = [
                _Packet(client, server, other, port, 3, "ingress", "ACCEPT"),
                _Packet(server, client, port, other, 19, "egress", "ACCEPT"),
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
        "flow-direction": packet.direction,
        "traffic-path": 8 if packet.direction == "egress" else "-",
        "reject-reason": "-",
        "interface-type": "interface",
    }
    return " ".join(str(values.get(name, "-")) for name in names)


def measure(records: int, fields: str, runs: int) -> Measured:
    """Return the medians of some runs, in CPU milliseconds for a million records."""
    content = flow_logs(records, fields)
    reading, evaluating = [], []
    evidence_bytes = 0
    for _ in range(runs):
        began = time.process_time()
        source = read_object(io.BytesIO(content), name=NAME, seed=SEED)
        stored = {window: pack(evidence) for window, evidence in source.windows.items()}
        read = time.process_time()
        window, packed = max(stored.items(), key=lambda item: len(item[1]))
        near = {number: [unpack(packed)] for number in (window - 1, window, window + 1)}
        flows = flows_of(window, evidence_for([window], near, SEED), SEED)
        alerts = detections(explain_flows([*flows.rejected()], None), flows)
        evaluated = time.process_time()
        counts = source.reading.counts
        if counts.accepted + counts.rejected != records or not alerts:
            raise AssertionError(f"the file was not read correctly: {counts}")
        evidence_bytes = sum(map(len, stored.values()))
        reading.append(read - began)
        # The window has most of the file's records; the share is that of its bytes.
        evaluating.append((evaluated - read) * evidence_bytes / len(packed))
    return Measured(
        read_ms=statistics.median(reading) * 1_000 * 1e6 / records,
        evaluate_ms=statistics.median(evaluating) * 1_000 * 1e6 / records,
        gzip_bytes=len(content) / records,
        evidence_bytes=evidence_bytes / records,
    )


def measured_table(measured: Mapping[str, Measured]) -> str:
    """Return the costs of a record as a Markdown table."""
    columns = (
        "format",
        "bytes a record, gzipped",
        "bytes of evidence",
        "s to read a million",
        "s to evaluate a million",
    )
    rows = [f"| {' | '.join(columns)} |", "|---|---|---|---|---|"]
    rows += [
        f"| {name} | {figures.gzip_bytes:.1f} | {figures.evidence_bytes:.1f} "
        f"| {figures.read_ms / 1_000:.1f} | {figures.evaluate_ms / 1_000:.1f} |"
        for name, figures in measured.items()
    ]
    return "\n".join(rows)


def alarms() -> int:
    """Return how many alarms a stack has with every answer left as it is."""
    conditions = re.findall(
        r"Type: AWS::CloudWatch::Alarm\n    Condition: (\w+)\n", TEMPLATE.read_text()
    )
    return sum(condition in _ALARMS_OF_A_STACK for condition in conditions)


def fixed_monthly_cost(*, is_idle: bool = False) -> tuple[Line, ...]:
    """Return the lines of a month's bill that do not grow; an idle stack reads and tells none."""
    messages, problems = (0, 0) if is_idle else (ASSUMED_MESSAGES, ASSUMED_OPEN_PROBLEMS)
    sweeps = cost_model.MONTH // SWEEP_SECONDS
    gb_seconds = sweeps * ASSUMED_SWEEP_MS / 1_000 * cost_model.MEMORY_MB / 1_024
    return (
        Line(price=cost_model.LAMBDA_DURATION, amount=gb_seconds),
        Line(price=cost_model.LAMBDA_REQUEST, amount=sweeps),
        Line(price=cost_model.SQS_REQUEST, amount=_IDLE_RECEIVES),
        Line(price=cost_model.SQS_FIFO_REQUEST, amount=_IDLE_RECEIVES),
        Line(
            price=cost_model.LOGS_INGESTED,
            amount=sweeps * cost_model.LOG_BYTES_PER_INVOCATION / 2**30,
        ),
        # The page: what it was written from, and what its problems became.
        Line(price=cost_model.S3_GET, amount=sweeps),
        Line(price=cost_model.S3_PUT, amount=cost_model.MONTH // 86_400 if is_idle else sweeps),
        Line(
            price=cost_model.DYNAMODB_READ,
            amount=sweeps * (READS_OF_A_SWEEP + problems * _READS_OF_A_PROBLEM),
        ),
        Line(price=SNS_PUBLISH, amount=_TOPICS * messages),
        Line(price=SNS_EMAIL, amount=messages),
        Line(price=METRIC, amount=0 if is_idle else ASSUMED_METRICS),
        Line(price=ALARM, amount=alarms()),
    )


def monthly_usd(name: str, measured: Measured, factor: float = 1.0) -> float:
    """Return the dollars of a month with one of the ``WORKLOADS``."""
    reading = cost_model.reading_cost(WORKLOADS[name], measured, factor)
    return cost_model.total(reading) + cost_model.total(fixed_monthly_cost(is_idle=name == IDLE))


# --- a log group ----------------------------------------------------------------------------------

INTERFACES = (1, 10, 100, 1_000)
# An interface's log stream sends its records once a minute.
ASSUMED_EVENTS_A_MONTH = cost_model.MONTH // 60
ASSUMED_EVENT_RECORDS = 25
# Share of the interfaces; each of their events has a rejected record, those of the others none.
ASSUMED_REJECTING = 0.1
ASSUMED_EVENT_CPU_MS = 25  # of an invocation
# Of two invocations, and the line "flow logs read".
_EVENT_LOG_BYTES = 2 * cost_model.LOG_BYTES_PER_INVOCATION + 600
_FIREHOSE_BYTES = 5 * 1_024  # a batch of 25 records is smaller, packed
_FIREHOSE_ALARMS = 3
EVENTS_OF_A_WINDOW = WINDOW // 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """What the log events of a window make a function call, in billed units; a test counts them.

    ``requests`` are those of the FIFO queue. ``wait_ms`` is assumed: the calls follow each other.
    """

    read_units: int
    write_units: int
    gets: int = 0
    puts: int = 0
    requests: int
    wait_ms: int


# Of the function that reads, and of the function that evaluates. An event is looked up and
# recorded, its evidence put and its signals sent. Then its window and the three around it are
# looked up, and once in a window the feed is read, and written with an index entry. An event is an
# invocation of each: at the most, since SQS may hand out signals of several interfaces together.
QUIET_EVENTS = (
    Calls(read_units=5, write_units=5, puts=5, requests=5, wait_ms=400),
    Calls(read_units=41, write_units=4, requests=10, wait_ms=150),
)
# Besides, an alert is rebuilt from the contributions of all its windows.
REJECTING_EVENTS = (
    Calls(read_units=10, write_units=7, puts=5, requests=5, wait_ms=500),
    Calls(
        read_units=51 + EVENTS_OF_A_WINDOW * MAX_WINDOWS,
        write_units=86,
        gets=90,
        puts=5,
        requests=10,
        wait_ms=1_500,
    ),
)


def direct_usd(interfaces: int, factor: float = 1.0) -> float:
    """Return the dollars of a month for log events that a function reads as they come."""
    usd = 0.0
    for functions, share in (
        (QUIET_EVENTS, 1 - ASSUMED_REJECTING),
        (REJECTING_EVENTS, ASSUMED_REJECTING),
    ):
        windows = interfaces * ASSUMED_EVENTS_A_MONTH * share / EVENTS_OF_A_WINDOW
        usd += windows * (
            sum(_window_usd(calls, factor) for calls in functions)
            + cost_model.LOGS_INGESTED.of(EVENTS_OF_A_WINDOW * _EVENT_LOG_BYTES / 2**30)
        )
    return usd


def _window_usd(calls: Calls, factor: float) -> float:
    """Return the dollars of a function for the log events of a window."""
    ms = EVENTS_OF_A_WINDOW * ASSUMED_EVENT_CPU_MS * factor + calls.wait_ms
    return (
        cost_model.LAMBDA_DURATION.of(ms / 1_000 * cost_model.MEMORY_MB / 1_024)
        + cost_model.LAMBDA_REQUEST.of(EVENTS_OF_A_WINDOW)
        + cost_model.SQS_FIFO_REQUEST.of(calls.requests)
        + cost_model.S3_GET.of(calls.gets)
        + cost_model.S3_PUT.of(calls.puts)
        + cost_model.DYNAMODB_WRITE.of(calls.write_units)
        + cost_model.DYNAMODB_READ.of(calls.read_units)
    )


def files_usd(interfaces: int, measured: Measured, factor: float = 1.0) -> float:
    """Return the dollars of a month for the same records in files of one flow log in S3."""
    records = interfaces * ASSUMED_EVENTS_A_MONTH * ASSUMED_EVENT_RECORDS
    workload = Workload(records=records, objects=_FILES_A_MONTH, batch=1)
    return cost_model.total(cost_model.reading_cost(workload, measured, factor))


def firehose_usd(interfaces: int, measured: Measured, factor: float = 1.0) -> float:
    """Return the dollars of a month for the same records in objects of Firehose.

    They are taken to be read as fast as files; unpacking their JSON was not measured.
    """
    gathered = interfaces * ASSUMED_EVENTS_A_MONTH * _FIREHOSE_BYTES
    return files_usd(interfaces, measured, factor) + cost_model.total(
        (
            Line(price=FIREHOSE, amount=gathered / 2**30),
            Line(price=cost_model.S3_PUT, amount=_FILES_A_MONTH),
            Line(price=ALARM, amount=_FIREHOSE_ALARMS),
        )
    )


def cheaper_from(usd: Callable[[int], float]) -> int:
    """Return from how many interfaces on a way costs less than an invocation for each log event."""
    return next(number for number in count(1) if usd(number) < direct_usd(number))


def log_group_table(measured: Measured, factor: float) -> str:
    """Return what reading costs by the way that records take, as a Markdown table."""
    ways: dict[str, Callable[[int], float]] = {
        "CloudWatch Logs, `LogGroupDelivery=direct`": lambda number: direct_usd(number, factor),
        "CloudWatch Logs, `LogGroupDelivery=firehose`": lambda number: firehose_usd(
            number, measured, factor
        ),
        "S3": lambda number: files_usd(number, measured, factor),
    }
    rows = [
        f"| interfaces | {' | '.join(f'{number:,}' for number in INTERFACES)} |",
        f"|---|{'---:|' * len(INTERFACES)}",
    ]
    rows += [
        f"| {name} | {' | '.join(f'${usd(number):,.2f}' for number in INTERFACES)} |"
        for name, usd in ways.items()
    ]
    return "\n".join(rows)


def bill(measured: Measured, factor: float) -> str:
    """Return the costs of a month as a Markdown table, for each workload."""
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
    fixed = {name: fixed_monthly_cost(is_idle=name == IDLE) for name in WORKLOADS}
    rows.append(f"| **reading them** | {' | '.join(f'**${usd:,.2f}**' for usd in sums)} |")
    for index, line in enumerate(fixed[IDLE]):
        label = f"besides: {line.price.what}: {line.price.unit}"
        rows.append(f"| {label} | {' | '.join(_cell(lines[index]) for lines in fixed.values())} |")
    months = [monthly_usd(name, measured, factor) for name in WORKLOADS]
    rows.append(f"| **a month** | {' | '.join(f'**${usd:,.2f}**' for usd in months)} |")
    return "\n".join(rows)


def flow_logs_table(measured: Measured, factor: float) -> str:
    """Return what reading a month costs by the flow logs of an account's Region, as Markdown."""
    workloads = [
        Workload(
            records=number * _FILES_A_MONTH * RECORDS_OF_A_FILE,
            objects=number * _FILES_A_MONTH,
            batch=min(max(number // 5, 1), cost_model.BATCH),
            flow_logs=number,
        )
        for number in FLOW_LOGS
    ]
    bills = [cost_model.reading_cost(workload, measured, factor) for workload in workloads]
    files = [each.objects for each in workloads]
    requests = [
        sum(line.amount for line in lines if line.price in {cost_model.S3_GET, cost_model.S3_PUT})
        for lines in bills
    ]
    sums = [cost_model.total(lines) for lines in bills]
    rows = {
        "flow logs": [f"{number:,}" for number in FLOW_LOGS],
        "|": [],
        "requests of S3, a file": [
            f"{made / number:.1f}" for made, number in zip(requests, files, strict=True)
        ],
        "$ for a million files": [
            f"{usd / number * 1e6:,.2f}" for usd, number in zip(sums, files, strict=True)
        ],
        "**reading a month**": [f"**${usd:,.2f}**" for usd in sums],
    }
    return "\n".join(
        f"| {name} | {' | '.join(cells)} |" if cells else f"|---|{'---:|' * len(FLOW_LOGS)}"
        for name, cells in rows.items()
    )


def _cell(line: Line) -> str:
    amount = f"{line.amount:,.0f}" if line.amount >= 10 else f"{line.amount:.2f}"  # noqa: PLR2004 - two digits at least
    return f"{amount} = ${line.usd:,.2f}"


def main() -> None:
    """Measure, or with ``--stated`` take the stated figures, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--records",
        type=int,
        default=200_000,
        help="number of records of the measured file (default: %(default)s)",
    )
    parser.add_argument(
        "--runs",
        type=int,
        default=3,
        help="number of runs; the median counts (default: %(default)s)",
    )
    parser.add_argument(
        "--factor",
        type=float,
        default=1.0,
        help="how much longer Lambda's processor takes than this machine's (default: %(default)s)",
    )
    parser.add_argument(
        "--stated",
        action="store_true",
        help="use the figures that docs/cost.md states, and measure nothing",
    )
    given = parser.parse_args()
    measured = (
        cost_model.MEASURED
        if given.stated
        else {name: measure(given.records, fields, given.runs) for name, fields in FORMATS.items()}
    )
    tables = (
        measured_table(measured),
        bill(measured["recommended"], given.factor),
        flow_logs_table(measured["recommended"], given.factor),
        log_group_table(measured["recommended"], given.factor),
        prices_table(),
    )
    sys.stdout.write("\n\n".join(tables) + "\n")


if __name__ == "__main__":
    main()
