"""Estimate what reading flow logs costs on AWS: list prices, and what an object and a record use.

Amounts that were not measured on AWS are constants named ``ASSUMED_...``. ``make cost`` measures
the milliseconds and bytes of a record. A test counts the calls of S3, SQS and DynamoDB at the real
handlers: of the function that reads, and of the function that evaluates. Free tiers, taxes and
discounts are left out, and so are costs that arise without flowverdict too: the flow logs
themselves and their storage.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from flowverdict.flowlog.columnar import WINDOW
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
SQS_FIFO_REQUEST: Final = Price(
    what="SQS, FIFO queue",
    usd=0.50,
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

# A test compares MEMORY_MB, EVIDENCE_DAYS, and those of batches and signals with the template.
MEMORY_MB: Final = 1_024
# Memory of a function at one full vCPU: Lambda assigns CPU in proportion to memory
# (https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html).
VCPU_MB: Final = 1_769
BATCH: Final = 20  # maximum objects of an invocation
SIGNAL_BATCH: Final = 10  # maximum signals of a request, and of an invocation that evaluates
SIGNAL_SECONDS: Final = 60  # in which equal signals are one
MONTH: Final = 30 * 24 * 3_600  # seconds
# Windows of a file. AWS writes one every five minutes, but not at the windows' edges, so its
# records end in two windows.
ASSUMED_WINDOWS: Final = 2
# S3's first byte, the look whether the object was read, and the mark that it was.
ASSUMED_WAIT_MS_PER_OBJECT: Final = 50
ASSUMED_WAIT_MS_PER_PUT: Final = 50  # of the evidence of an invocation and a window
ASSUMED_WAIT_MS_PER_EVIDENCE: Final = 3  # S3's first byte in 30; ten are read at a time
# The windows looked up and stored, and the signals sent.
ASSUMED_WAIT_MS_PER_SIGNALLING: Final = 100
# EC2's Describe calls, whose answers are cached for a minute, and DynamoDB's transactions.
ASSUMED_WAIT_MS_PER_EVALUATION: Final = 500
ASSUMED_WAIT_MS_PER_FEED: Final = 20  # the write up to when a flow log was read
ASSUMED_ALERTS: Final = 3  # alerts of a window, open before
EVIDENCE_DAYS: Final = 15
_KEYS_PER_LIST = 1_000  # the maximum of one ListObjectsV2
# An alert is just under 2 KB packed; units double in a transaction; its index entry moves, which is
# a delete and a put. The window's contribution to the alert costs the same, without an index entry.
_WRITES_PER_ALERT = 2 * 2 + 2 + 2 * 2
_READS_PER_ALERT = 1  # the alert; of the few that another may inhibit, that one too
_WRITES_PER_OBJECT = 1  # the mark that it was read
_READS_PER_OBJECT = 1
# Up to when a flow log was read: in a transaction, and its index entry moves.
_WRITES_PER_FEED = 2 + 2
_READS_PER_FEED = 1
_WRITES_PER_WINDOW = 2  # in a transaction, with its alerts or without
# Before it is signalled; and its list of alerts, with the first alert.
_WRITES_PER_NEW_WINDOW = 2 * 2
_LONGEST_RUN = 6  # windows whose evidence is read together
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
    "recommended": Measured(read_ms=2_600, evaluate_ms=1_700, gzip_bytes=31.0, evidence_bytes=15.7),
    "default": Measured(read_ms=1_700, evaluate_ms=2_400, gzip_bytes=21.6, evidence_bytes=15.3),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Flow logs of one account and Region, whose windows one function evaluates at a time.

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
    minutes
        Different minutes, at the most, in which the objects of the same five minutes are read.
        Equal signals of a minute are one.
    """

    records: float
    objects: int
    batch: int
    flow_logs: float = 1
    windows: int = ASSUMED_WINDOWS
    seen_in: int = MAX_WINDOWS
    minutes: int = WINDOW // SIGNAL_SECONDS

    @property
    def invocations(self) -> int:
        """Number of invocations that read objects."""
        return -(-self.objects // self.batch)

    @property
    def feeds(self) -> int:
        """Flow logs of an invocation that reads: each has one signal, how far it was read."""
        return min(math.ceil(self.flow_logs), math.ceil(self.batch / self.successive))

    @property
    def successive(self) -> int:
        """Files of a flow log, one after the other, that an invocation reads."""
        return max(self.windows - ASSUMED_WINDOWS + 1, 1)

    @property
    def evaluations(self) -> float:
        """How often windows are evaluated: once for all invocations that read in a minute."""
        return self.invocations * min(1, self.minutes * self.batch / self.flow_logs)

    @property
    def evaluating_invocations(self) -> float:
        """Invocations that signals go to, ten at the most: first the windows', then the feeds'."""
        if self.evaluations == 0:
            return 0
        feeds = self.feeds * self.invocations / self.evaluations
        return self.evaluations * math.ceil((self.windows + feeds) / SIGNAL_BATCH)

    @property
    def signalled(self) -> tuple[int, ...]:
        """The signalled windows of an evaluation, by the invocation that they go to."""
        return tuple(
            min(SIGNAL_BATCH, self.windows - first)
            for first in range(0, self.windows, SIGNAL_BATCH)
        )

    @property
    def near(self) -> int:
        """Windows that an evaluation looks up: the signalled ones and those around them."""
        return sum(windows + AFTER + BEFORE for windows in self.signalled)

    @property
    def runs(self) -> int:
        """Consecutive windows whose evidence is listed and read together."""
        return sum(
            math.ceil((windows + AFTER + BEFORE) / _LONGEST_RUN) for windows in self.signalled
        )

    @property
    def evaluated_windows(self) -> int:
        """Windows that an evaluation evaluates: those after the last have no evidence yet."""
        return self.near - BEFORE

    @property
    def evidence(self) -> float:
        """Objects of evidence that an evaluation reads: of the windows near, and those around.

        An invocation puts one object of a window. The last window with records has half of its
        evidence yet, the three after it have none.
        """
        read = self.near + self.runs * (AFTER + BEFORE)
        at_once = math.ceil(self.flow_logs * self.successive / self.batch)
        if self.successive > 1:  # both files with records of a window are read by one invocation
            return at_once * (read - (AFTER + BEFORE) + 1)
        return at_once * (ASSUMED_WINDOWS * (read - (AFTER + BEFORE)) - 1)

    @property
    def evaluated_records(self) -> float:
        """Records of all evaluations: those of a window count once for each evaluation."""
        if self.objects == 0:
            return 0
        records_of_a_window = self.records * self.flow_logs / self.objects
        return self.evaluations * self.evaluated_windows * records_of_a_window


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
    """Return the milliseconds that reading and evaluating take in total.

    Parameters
    ----------
    factor
        How much longer one full vCPU of Lambda takes than the processor of the measurement.
    """
    busy = (
        workload.records / 1e6 * measured.read_ms
        + workload.evaluated_records / 1e6 * measured.evaluate_ms
    )
    reading = workload.objects * ASSUMED_WAIT_MS_PER_OBJECT + workload.invocations * (
        ASSUMED_WAIT_MS_PER_SIGNALLING
        + workload.windows * ASSUMED_WAIT_MS_PER_PUT
        + workload.feeds * ASSUMED_WAIT_MS_PER_FEED
    )
    evaluating = workload.evaluations * (
        len(workload.signalled) * ASSUMED_WAIT_MS_PER_EVALUATION
        + workload.evidence * ASSUMED_WAIT_MS_PER_EVIDENCE
    )
    return busy * factor * VCPU_MB / MEMORY_MB + reading + evaluating


def reading_cost(workload: Workload, measured: Measured, factor: float = 1.0) -> tuple[Line, ...]:
    """Return the lines of the bill that grow with the records."""
    calls, evaluations = workload.invocations, workload.evaluations
    evaluating = workload.evaluating_invocations
    # Evaluations with a new outcome: of the windows with records. Windows next to them mostly have
    # the same outcome as before.
    changed = evaluations * workload.windows
    alerts = changed * ASSUMED_ALERTS
    new_windows = workload.objects / workload.flow_logs
    feeds = calls * workload.feeds
    # Those with records before they are signalled; those and the windows around, each with its list
    # of alerts, when they are evaluated; those with records once more before the write.
    window_reads = calls * workload.windows + evaluations * (2 * workload.near + workload.windows)
    # An alert is rebuilt from the contributions of all its windows.
    contribution_reads = alerts * workload.seen_in
    log_bytes = (
        workload.objects * _LOG_BYTES_PER_OBJECT + (calls + evaluating) * LOG_BYTES_PER_INVOCATION
    )
    lists = (
        evaluations * workload.runs * math.ceil(workload.evidence / workload.runs / _KEYS_PER_LIST)
    )
    return (
        Line(
            price=LAMBDA_DURATION,
            amount=duration_ms(workload, measured, factor) / 1_000 * MEMORY_MB / 1_024,
        ),
        Line(price=LAMBDA_REQUEST, amount=calls + evaluating),
        # S3 sends single messages; Lambda receives and deletes ten messages a call.
        Line(price=SQS_REQUEST, amount=workload.objects + 2 * calls * -(-workload.batch // 10)),
        # A request is paid by each 64 KB; ten signals have less.
        Line(
            price=SQS_FIFO_REQUEST,
            amount=calls * math.ceil((workload.windows + workload.feeds) / SIGNAL_BATCH)
            + 2 * evaluating,
        ),
        Line(price=S3_GET, amount=workload.objects + evaluations * workload.evidence),
        Line(price=S3_PUT, amount=calls * workload.windows + lists),
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
            + evaluations * workload.evaluated_windows * _WRITES_PER_WINDOW
            + alerts * _WRITES_PER_ALERT
            + feeds * _WRITES_PER_FEED,
        ),
        Line(
            price=DYNAMODB_READ,
            amount=workload.objects * _READS_PER_OBJECT
            + window_reads
            + contribution_reads
            + alerts * _READS_PER_ALERT
            + feeds * _READS_PER_FEED,
        ),
        Line(price=LOGS_INGESTED, amount=log_bytes / 2**30),
    )


def total(lines: tuple[Line, ...]) -> float:
    """Return the sum of some lines in dollars."""
    return sum(line.usd for line in lines)
