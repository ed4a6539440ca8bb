"""What reading flow logs costs on AWS: list prices, what an object and a record use, and the sum.

Amounts that no one has measured on AWS are constants named ``ASSUMED_...``; the milliseconds and bytes of a record are measured by
``make cost``, and how often S3 and DynamoDB are called is what a test counts at the real handlers. Free tiers, taxes and discounts
are left out, and so is what is paid without flowverdict too: the flow logs themselves and their storage.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from flowverdict.flowlog.columnar import WINDOW
from flowverdict.flows.evidence import AFTER, BEFORE
from flowverdict.lifecycle.state_machine import MAX_WINDOWS

REGION: Final = "us-east-1"
CHECKED: Final = "2026-11"


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """A list price.

    Parameters
    ----------
    usd, per, unit
        So many dollars for ``per`` of the unit.
    page
        Where AWS tells it.
    seen
        Where the figure was read: AWS's pages fill theirs in by script.
    """

    what: str
    usd: float
    per: int
    unit: str
    page: str
    seen: str

    def of(self, amount: float) -> float:
        """Give the dollars for an amount of the unit."""
        return amount / self.per * self.usd


LAMBDA_DURATION: Final = Price(
    what="Lambda, arm64, first tier",
    usd=0.0000133334,
    per=1,
    unit="GB-second",
    page="https://aws.amazon.com/lambda/pricing/",
    seen="https://cloudchipr.com/blog/aws-lambda-pricing",
)
LAMBDA_REQUEST: Final = Price(
    what="Lambda",
    usd=0.20,
    per=1_000_000,
    unit="requests",
    page="https://aws.amazon.com/lambda/pricing/",
    seen="https://git.mcrn.ar/mariano/lambda_local_runner (docs/lambdas-md/lambda-13-cost.md)",
)
SQS_REQUEST: Final = Price(
    what="SQS, standard queue",
    usd=0.40,
    per=1_000_000,
    unit="requests",
    page="https://aws.amazon.com/sqs/pricing/",
    seen="https://cloudburn.io/blog/amazon-sqs-pricing (2026-03)",
)
S3_GET: Final = Price(
    what="S3 Standard, GET",
    usd=0.0004,
    per=1_000,
    unit="requests",
    page="https://aws.amazon.com/s3/pricing/",
    seen="https://c3x.dev/blog/s3-request-fees-explained",
)
S3_PUT: Final = Price(
    what="S3 Standard, PUT and LIST",
    usd=0.005,
    per=1_000,
    unit="requests",
    page="https://aws.amazon.com/s3/pricing/",
    seen="https://c3x.dev/blog/s3-request-fees-explained",
)
S3_STORED: Final = Price(
    what="S3 Standard, first tier",
    usd=0.023,
    per=1,
    unit="GB-month",
    page="https://aws.amazon.com/s3/pricing/",
    seen="https://c3x.dev/blog/s3-storage-class-comparison",
)
DYNAMODB_WRITE: Final = Price(
    what="DynamoDB, on demand",
    usd=0.625,
    per=1_000_000,
    unit="write units",
    page="https://aws.amazon.com/dynamodb/pricing/on-demand/",
    seen="https://airbyte.com/data-engineering-resources/dynamodb-pricing (2025-07)",
)
DYNAMODB_READ: Final = Price(
    what="DynamoDB, on demand",
    usd=0.125,
    per=1_000_000,
    unit="read units",
    page="https://aws.amazon.com/dynamodb/pricing/on-demand/",
    seen="https://airbyte.com/data-engineering-resources/dynamodb-pricing (2025-07)",
)
SNS_PUBLISH: Final = Price(
    what="SNS, standard topic",
    usd=0.50,
    per=1_000_000,
    unit="publishes",
    page="https://aws.amazon.com/sns/pricing/",
    seen="https://www.factualminds.com/blog/amazon-sns-pricing-publishes-fanout-protocols/ (2026-06)",
)
SNS_EMAIL: Final = Price(
    what="SNS, email",
    usd=2.00,
    per=100_000,
    unit="deliveries",
    page="https://aws.amazon.com/sns/pricing/",
    seen="https://www.factualminds.com/blog/amazon-sns-pricing-publishes-fanout-protocols/ (2026-06)",
)
LOGS_INGESTED: Final = Price(
    what="CloudWatch Logs, first tier",
    usd=0.50,
    per=1,
    unit="GB",
    page="https://aws.amazon.com/cloudwatch/pricing/",
    seen="https://c3x.dev/blog/cloudwatch-logs-cost-optimization (2026-06)",
)
METRIC: Final = Price(
    what="CloudWatch, custom metric",
    usd=0.30,
    per=1,
    unit="metric and month",
    page="https://aws.amazon.com/cloudwatch/pricing/",
    seen="https://hivebook.wiki/wiki/cloudwatch-logs-cost-never-expire-retention-and-cardinality-blowups",
)
ALARM: Final = Price(
    what="CloudWatch, alarm",
    usd=0.10,
    per=1,
    unit="alarm and month",
    page="https://aws.amazon.com/cloudwatch/pricing/",
    seen="https://c3x.dev/resources/aws/aws_cloudwatch_metric_alarm",
)
PRICES: Final = (
    LAMBDA_DURATION,
    LAMBDA_REQUEST,
    SQS_REQUEST,
    S3_GET,
    S3_PUT,
    S3_STORED,
    DYNAMODB_WRITE,
    DYNAMODB_READ,
    SNS_PUBLISH,
    SNS_EMAIL,
    LOGS_INGESTED,
    METRIC,
    ALARM,
)

MEMORY_MB: Final = 1_024  # the template's; a test compares the two
# A function gets processor in proportion to its memory (https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html).
VCPU_MB: Final = 1_769
BATCH: Final = 20  # objects an invocation at the most: the template's; a test compares the two
MONTH: Final = 30 * 24 * 3_600  # seconds
WINDOWS_A_MONTH: Final = MONTH // WINDOW
SWEEP_SECONDS: Final = 300  # between two sweeps: the template's; a test compares the two
# A file is written every five minutes, but not on the windows' own edges: it has records that ended in two of them.
ASSUMED_WINDOWS: Final = 2
ASSUMED_WAIT_MS_PER_OBJECT: Final = (
    150  # S3's first byte, two pieces of evidence put, and the note in DynamoDB
)
ASSUMED_WAIT_MS_PER_EVIDENCE: Final = 3  # S3's first byte in 30; ten are read at a time
ASSUMED_WAIT_MS_PER_INVOCATION: Final = (
    500  # EC2's Describe calls, kept for a minute, and DynamoDB's transactions
)
ASSUMED_SWEEP_MS: Final = 500
ASSUMED_ALERTS: Final = 3  # problems of a window that are seen again
ASSUMED_MESSAGES: Final = 1_000  # a month; the cap of 30 an hour would let 21,600 through
EVIDENCE_DAYS: Final = 15  # the template's; a test compares the two
_LISTED = 1_000  # keys in an answer of S3
# An alert is just under 2 KB packed, twice as dear in a transaction, and its entry in the index moves: deleted and put. So is what
# the window has added to it, which has no entry there.
_WRITES_PER_ALERT = 2 * 2 + 2 + 2 * 2
_READS_PER_ALERT = 2  # itself, and its shadow
_WRITES_PER_OBJECT = 1  # the note that it was read
_READS_PER_OBJECT = 1  # whether there is one
_WRITES_PER_WINDOW = 2  # in a transaction, with its alerts or before them
_WRITES_PER_BEGUN = (
    2 * 2
)  # before its evidence is read; and which alerts it has, with the first of them
_LOG_BYTES_PER_OBJECT = 800  # the line "flow logs read", as replays write it
_LOG_BYTES_PER_INVOCATION = 1_500  # the metrics, and Lambda's own START, END and REPORT
# Lambda asks the queue with five pollers, each of which waits up to 20 s
# (https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html; with little traffic it may go down to two).
_IDLE_RECEIVES = 5 * MONTH // 20
# Some 15 of classify_s3, 8 of the sweep and a handful of RejectedFlows, by verdict and severity: docs/operations.md.
_METRICS = 28
_ALARMS = 19  # with every source, Slack and Teams: the template's; a test compares the two
_TOPICS = 2  # a message goes to the topic of machines and to that of mail


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a record takes, as ``make cost`` measures it.

    Parameters
    ----------
    read_ms
        Milliseconds of processor for a million records, from gzip to evidence.
    judge_ms
        The same for judging a window of a million records between two others of as many, from evidence to alerts.
    gzip_bytes, evidence_bytes
        Bytes of a gzipped record, and of what is kept of it as evidence.
    """

    read_ms: float
    judge_ms: float
    gzip_bytes: float
    evidence_bytes: float


# By `make cost` on 2026-11-24: Python 3.13, one core of a shared and busy two-core x86_64 machine, median of 3 runs of 200,000
# records, 1 % rejected. "recommended" is the README's format, "default" AWS's own.
MEASURED: Final = {
    "recommended": Measured(read_ms=2_600, judge_ms=1_700, gzip_bytes=31.0, evidence_bytes=12.3),
    "default": Measured(read_ms=1_700, judge_ms=2_400, gzip_bytes=21.6, evidence_bytes=11.9),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What there is to read, all of one account and Region: there every invocation reads what the others have kept.

    Parameters
    ----------
    batch
        Objects an invocation.
    flow_logs
        Each writes an object every five minutes.
    touched
        Windows that the objects of an invocation have records of.
    seen_in
        Windows that an open problem was seen in, as far as that is remembered.
    """

    records: float
    objects: int
    batch: int
    flow_logs: float = 1
    touched: int = ASSUMED_WINDOWS
    seen_in: int = MAX_WINDOWS

    @property
    def invocations(self) -> int:
        """How often the function is called."""
        return -(-self.objects // self.batch)

    @property
    def judged(self) -> int:
        """Windows that an invocation judges: those it touches, and the two before them; the one after has nothing yet."""
        return self.touched + AFTER

    @property
    def evidence(self) -> float:
        """Pieces of evidence that an invocation reads, of the judged windows, the one before them and those after.

        The last one that is touched has half of its own, the one after it none.
        """
        return self.flow_logs * (ASSUMED_WINDOWS * self.judged + ASSUMED_WINDOWS - 1)

    @property
    def judged_records(self) -> float:
        """Records of all windows that are judged, each as often as it is."""
        return (
            self.invocations * self.judged * self.records * self.flow_logs / self.objects
            if self.objects
            else 0
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the bill."""

    price: Price
    amount: float

    @property
    def usd(self) -> float:
        """What it comes to."""
        return self.price.of(self.amount)


def duration_ms(workload: Workload, measured: Measured, factor: float = 1.0) -> float:
    """Give the milliseconds for which functions run to read it all.

    Parameters
    ----------
    factor
        How much longer Lambda's processor takes, a whole one, than the one that was measured.
    """
    busy = (
        workload.records / 1e6 * measured.read_ms
        + workload.judged_records / 1e6 * measured.judge_ms
    )
    waiting = workload.objects * ASSUMED_WAIT_MS_PER_OBJECT + workload.invocations * (
        ASSUMED_WAIT_MS_PER_INVOCATION + workload.evidence * ASSUMED_WAIT_MS_PER_EVIDENCE
    )
    return busy * factor * VCPU_MB / MEMORY_MB + waiting


def reading_cost(workload: Workload, measured: Measured, factor: float = 1.0) -> tuple[Line, ...]:
    """Give what grows with what is read."""
    calls = workload.invocations
    judged = (
        calls * workload.touched
    )  # with another outcome than before; what lies next to them mostly has the same
    alerts = judged * ASSUMED_ALERTS
    begun = workload.objects / workload.flow_logs
    # What was touched and what lies around it, with the alerts that each has; the touched ones once more before they are written.
    read = calls * (2 * (workload.touched + AFTER + BEFORE) + workload.touched)
    anew = (
        alerts * workload.seen_in
    )  # each is put together anew from what all windows have added to it
    log_bytes = workload.objects * _LOG_BYTES_PER_OBJECT + calls * _LOG_BYTES_PER_INVOCATION
    return (
        Line(
            price=LAMBDA_DURATION,
            amount=duration_ms(workload, measured, factor) / 1_000 * MEMORY_MB / 1_024,
        ),
        Line(price=LAMBDA_REQUEST, amount=calls),
        # S3 sends one by one; Lambda receives and deletes a batch at a time, ten messages a call.
        Line(price=SQS_REQUEST, amount=workload.objects + 2 * calls * -(-workload.batch // 10)),
        Line(price=S3_GET, amount=workload.objects + calls * workload.evidence),
        Line(
            price=S3_PUT,
            amount=workload.objects * ASSUMED_WINDOWS
            + 2 * calls * math.ceil(workload.evidence / _LISTED),
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
            + begun * _WRITES_PER_BEGUN
            + judged * _WRITES_PER_WINDOW
            + alerts * _WRITES_PER_ALERT,
        ),
        Line(
            price=DYNAMODB_READ,
            amount=workload.objects * _READS_PER_OBJECT + read + anew + alerts * _READS_PER_ALERT,
        ),
        Line(price=LOGS_INGESTED, amount=log_bytes / 2**30),
    )


def fixed_monthly_cost() -> tuple[Line, ...]:
    """Give what a month costs even if nothing is read, and the messages."""
    sweeps = MONTH // SWEEP_SECONDS
    return (
        Line(price=LAMBDA_DURATION, amount=sweeps * ASSUMED_SWEEP_MS / 1_000 * MEMORY_MB / 1_024),
        Line(price=LAMBDA_REQUEST, amount=sweeps),
        Line(price=SQS_REQUEST, amount=_IDLE_RECEIVES),
        Line(price=LOGS_INGESTED, amount=sweeps * _LOG_BYTES_PER_INVOCATION / 2**30),
        Line(price=SNS_PUBLISH, amount=_TOPICS * ASSUMED_MESSAGES),
        Line(price=SNS_EMAIL, amount=ASSUMED_MESSAGES),
        Line(price=METRIC, amount=_METRICS),
        Line(price=ALARM, amount=_ALARMS),
    )


def total(lines: tuple[Line, ...]) -> float:
    """Give the dollars of some lines."""
    return sum(line.usd for line in lines)
