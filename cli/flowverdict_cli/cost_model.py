"""Estimate what reading flow logs costs on AWS: list prices, and what an object and a record use.

Amounts that were not measured on AWS are constants named ``ASSUMED_...``. ``make cost`` measures
the milliseconds and bytes of a record. A test counts the calls of S3 and DynamoDB at the real
handlers. Free tiers, taxes and discounts are left out, and so are costs that arise without
flowverdict too: the flow logs themselves and their storage.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from flowverdict.flows.evidence import AFTER, BEFORE
from flowverdict.lifecycle.episodes import MAX_WINDOWS

REGION: Final = "us-east-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """A list price.

    Parameters
    ----------
    usd, per, unit
        The price in dollars of ``per`` units.
    page
        AWS's page with the price.
    """

    what: str
    usd: float
    per: int
    unit: str
    page: str

    def of(self, amount: float) -> float:
        """Return the dollars for an amount of the unit."""
        return amount / self.per * self.usd


LAMBDA_DURATION: Final = Price(
    what="Lambda, arm64, first tier",
    usd=0.0000133334,
    per=1,
    unit="GB-second",
    page="https://aws.amazon.com/lambda/pricing/",
)
LAMBDA_REQUEST: Final = Price(
    what="Lambda",
    usd=0.20,
    per=1_000_000,
    unit="requests",
    page="https://aws.amazon.com/lambda/pricing/",
)
SQS_REQUEST: Final = Price(
    what="SQS, standard queue",
    usd=0.40,
    per=1_000_000,
    unit="requests",
    page="https://aws.amazon.com/sqs/pricing/",
)
S3_GET: Final = Price(
    what="S3 Standard, GET",
    usd=0.0004,
    per=1_000,
    unit="requests",
    page="https://aws.amazon.com/s3/pricing/",
)
S3_PUT: Final = Price(
    what="S3 Standard, PUT and LIST",
    usd=0.005,
    per=1_000,
    unit="requests",
    page="https://aws.amazon.com/s3/pricing/",
)
S3_STORED: Final = Price(
    what="S3 Standard, first tier",
    usd=0.023,
    per=1,
    unit="GB-month",
    page="https://aws.amazon.com/s3/pricing/",
)
DYNAMODB_WRITE: Final = Price(
    what="DynamoDB, on demand",
    usd=0.625,
    per=1_000_000,
    unit="write units",
    page="https://aws.amazon.com/dynamodb/pricing/on-demand/",
)
DYNAMODB_READ: Final = Price(
    what="DynamoDB, on demand",
    usd=0.125,
    per=1_000_000,
    unit="read units",
    page="https://aws.amazon.com/dynamodb/pricing/on-demand/",
)
LOGS_INGESTED: Final = Price(
    what="CloudWatch Logs, first tier",
    usd=0.50,
    per=1,
    unit="GB",
    page="https://aws.amazon.com/cloudwatch/pricing/",
)

# A test compares MEMORY_MB, BATCH and EVIDENCE_DAYS with the template.
MEMORY_MB: Final = 1_024
# Memory of a function at one full vCPU: Lambda assigns CPU in proportion to memory
# (https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html).
VCPU_MB: Final = 1_769
BATCH: Final = 20  # maximum objects of an invocation
MONTH: Final = 30 * 24 * 3_600  # seconds
# Windows of a file. AWS writes one every five minutes, but not at the windows' edges, so its
# records end in two windows.
ASSUMED_WINDOWS: Final = 2
# S3's first byte, two pieces of evidence put, and the mark in DynamoDB that the object was read.
ASSUMED_WAIT_MS_PER_OBJECT: Final = 150
ASSUMED_WAIT_MS_PER_EVIDENCE: Final = 3  # S3's first byte in 30; ten are read at a time
# EC2's Describe calls, whose answers are cached for a minute, and DynamoDB's transactions.
ASSUMED_WAIT_MS_PER_INVOCATION: Final = 500
ASSUMED_ALERTS: Final = 3  # alerts of a window, open before
EVIDENCE_DAYS: Final = 15
_KEYS_PER_LIST = 1_000  # the maximum of one ListObjectsV2
# An alert is just under 2 KB packed; units double in a transaction; its index entry moves, which is
# a delete and a put. The window's contribution to the alert costs the same, without an index entry.
_WRITES_PER_ALERT = 2 * 2 + 2 + 2 * 2
_READS_PER_ALERT = 1  # the alert; of the few that another may inhibit, that one too
# The mark that it was read, and up to when its flow log was read, with an index entry.
_WRITES_PER_OBJECT = 1 + 2
_READS_PER_OBJECT = 1 + 1
_WRITES_PER_WINDOW = 2  # in a transaction, with its alerts or before them
# Before its evidence is read; and its list of alerts, with the first alert.
_WRITES_PER_NEW_WINDOW = 2 * 2
_LOG_BYTES_PER_OBJECT = 800  # the line "flow logs read", as replays write it
LOG_BYTES_PER_INVOCATION: Final = 1_500  # the metrics, and Lambda's own START, END and REPORT


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Costs of a record, as ``make cost`` measures them.

    Parameters
    ----------
    read_ms
        CPU milliseconds for a million records, from gzip to evidence.
    evaluate_ms
        CPU milliseconds for evaluating a window of a million records between two others of the same
        size, from evidence to alerts.
    gzip_bytes, evidence_bytes
        Bytes of a gzipped record, and of its part of the stored evidence.
    """

    read_ms: float
    evaluate_ms: float
    gzip_bytes: float
    evidence_bytes: float


# By `make cost` on 2026-11-24: Python 3.13, one core of a shared and busy two-core x86_64 machine,
# median of 3 runs of 200,000 records, 1 % rejected. "recommended" is the format of
# docs/start/deploy.md, "default" AWS's own.
MEASURED: Final = {
    "recommended": Measured(read_ms=2_600, evaluate_ms=1_700, gzip_bytes=31.0, evidence_bytes=12.3),
    "default": Measured(read_ms=1_700, evaluate_ms=2_400, gzip_bytes=21.6, evidence_bytes=11.9),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Flow logs of one account and Region, where every invocation reads the evidence of the others.

    Parameters
    ----------
    batch
        Objects of an invocation.
    flow_logs
        Number of flow logs; each writes an object every five minutes.
    windows
        Windows that the objects of an invocation have records of.
    seen_in
        Windows that contributed to an open alert, up to the number that is stored.
    """

    records: float
    objects: int
    batch: int
    flow_logs: float = 1
    windows: int = ASSUMED_WINDOWS
    seen_in: int = MAX_WINDOWS

    @property
    def invocations(self) -> int:
        """Number of invocations."""
        return -(-self.objects // self.batch)

    @property
    def evaluated_windows(self) -> int:
        """Windows that an invocation evaluates: the windows of its records, and the two before.

        The window after them has no evidence yet.
        """
        return self.windows + AFTER

    @property
    def evidence(self) -> float:
        """Pieces of evidence that an invocation reads: of the evaluated windows and those around.

        The last window with records has half of its evidence yet, the window after it none.
        """
        return self.flow_logs * (ASSUMED_WINDOWS * self.evaluated_windows + ASSUMED_WINDOWS - 1)

    @property
    def evaluated_records(self) -> float:
        """Records of all evaluations: those of a window count once for each evaluation."""
        if self.objects == 0:
            return 0
        records_of_a_window = self.records * self.flow_logs / self.objects
        return self.invocations * self.evaluated_windows * records_of_a_window


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the bill."""

    price: Price
    amount: float

    @property
    def usd(self) -> float:
        """The dollars of this line."""
        return self.price.of(self.amount)


def duration_ms(workload: Workload, measured: Measured, factor: float = 1.0) -> float:
    """Return the milliseconds that the function runs in total.

    Parameters
    ----------
    factor
        How much longer one full vCPU of Lambda takes than the processor of the measurement.
    """
    busy = (
        workload.records / 1e6 * measured.read_ms
        + workload.evaluated_records / 1e6 * measured.evaluate_ms
    )
    waiting = workload.objects * ASSUMED_WAIT_MS_PER_OBJECT + workload.invocations * (
        ASSUMED_WAIT_MS_PER_INVOCATION + workload.evidence * ASSUMED_WAIT_MS_PER_EVIDENCE
    )
    return busy * factor * VCPU_MB / MEMORY_MB + waiting


def reading_cost(workload: Workload, measured: Measured, factor: float = 1.0) -> tuple[Line, ...]:
    """Return the lines of the bill that grow with the records."""
    calls = workload.invocations
    # Evaluations with a new outcome: of the windows with records. Windows next to them mostly have
    # the same outcome as before.
    changed = calls * workload.windows
    alerts = changed * ASSUMED_ALERTS
    new_windows = workload.objects / workload.flow_logs
    # The windows with records and those around, each with its list of alerts; those with records
    # once more before the write.
    window_reads = calls * (2 * (workload.windows + AFTER + BEFORE) + workload.windows)
    # An alert is rebuilt from the contributions of all its windows.
    contribution_reads = alerts * workload.seen_in
    log_bytes = workload.objects * _LOG_BYTES_PER_OBJECT + calls * LOG_BYTES_PER_INVOCATION
    return (
        Line(
            price=LAMBDA_DURATION,
            amount=duration_ms(workload, measured, factor) / 1_000 * MEMORY_MB / 1_024,
        ),
        Line(price=LAMBDA_REQUEST, amount=calls),
        # S3 sends single messages; Lambda receives and deletes ten messages a call.
        Line(price=SQS_REQUEST, amount=workload.objects + 2 * calls * -(-workload.batch // 10)),
        Line(price=S3_GET, amount=workload.objects + calls * workload.evidence),
        Line(
            price=S3_PUT,
            amount=workload.objects * ASSUMED_WINDOWS
            + 2 * calls * math.ceil(workload.evidence / _KEYS_PER_LIST),
        ),
        Line(
            price=S3_STORED,
            amount=workload.records
            * measured.evidence_bytes
            * EVIDENCE_DAYS
            * 86_400
            / MONTH
            / 2**30,
        ),
        Line(
            price=DYNAMODB_WRITE,
            amount=workload.objects * _WRITES_PER_OBJECT
            + new_windows * _WRITES_PER_NEW_WINDOW
            + changed * _WRITES_PER_WINDOW
            + alerts * _WRITES_PER_ALERT,
        ),
        Line(
            price=DYNAMODB_READ,
            amount=workload.objects * _READS_PER_OBJECT
            + window_reads
            + contribution_reads
            + alerts * _READS_PER_ALERT,
        ),
        Line(price=LOGS_INGESTED, amount=log_bytes / 2**30),
    )


def total(lines: tuple[Line, ...]) -> float:
    """Return the sum of some lines in dollars."""
    return sum(line.usd for line in lines)
