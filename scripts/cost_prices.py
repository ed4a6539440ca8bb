"""Prices that only the tables of ``make cost`` need, and where all prices were read."""

from __future__ import annotations

from flowverdict_cli import cost_model
from flowverdict_cli.cost_model import Price

CHECKED = "2026-11"
_SNS = "https://aws.amazon.com/sns/pricing/"
_CLOUDWATCH = "https://aws.amazon.com/cloudwatch/pricing/"
SNS_PUBLISH = Price(
    what="SNS, standard topic", usd=0.50, per=1_000_000, unit="publishes", page=_SNS
)
SNS_EMAIL = Price(what="SNS, email", usd=2.00, per=100_000, unit="deliveries", page=_SNS)
METRIC = Price(
    what="CloudWatch, custom metric", usd=0.30, per=1, unit="metric and month", page=_CLOUDWATCH
)
ALARM = Price(what="CloudWatch, alarm", usd=0.10, per=1, unit="alarm and month", page=_CLOUDWATCH)
FIREHOSE = Price(
    what="Firehose, first tier",
    usd=0.029,
    per=1,
    unit="GB, each batch rounded up to 5 KB",
    page="https://aws.amazon.com/firehose/pricing/",
)
_AIRBYTE = "https://airbyte.com/data-engineering-resources/dynamodb-pricing (2025-07)"
_FACTUAL_MINDS = (
    "https://www.factualminds.com/blog/amazon-sns-pricing-publishes-fanout-protocols/ (2026-06)"
)
# Where the figure of each price was read: AWS's pages fill in theirs by script.
SOURCES = {
    cost_model.LAMBDA_DURATION: "https://cloudchipr.com/blog/aws-lambda-pricing",
    cost_model.LAMBDA_REQUEST: (
        "https://git.mcrn.ar/mariano/lambda_local_runner (docs/lambdas-md/lambda-13-cost.md)"
    ),
    cost_model.SQS_REQUEST: "https://cloudburn.io/blog/amazon-sqs-pricing (2026-03)",
    cost_model.SQS_FIFO_REQUEST: "https://cloudburn.io/blog/amazon-sqs-pricing (2026-03)",
    cost_model.S3_GET: "https://c3x.dev/blog/s3-request-fees-explained",
    cost_model.S3_PUT: "https://c3x.dev/blog/s3-request-fees-explained",
    cost_model.S3_STORED: "https://c3x.dev/blog/s3-storage-class-comparison",
    cost_model.DYNAMODB_WRITE: _AIRBYTE,
    cost_model.DYNAMODB_READ: _AIRBYTE,
    SNS_PUBLISH: _FACTUAL_MINDS,
    SNS_EMAIL: _FACTUAL_MINDS,
    cost_model.LOGS_INGESTED: "https://c3x.dev/blog/cloudwatch-logs-cost-optimization (2026-06)",
    METRIC: (
        "https://hivebook.wiki/wiki/"
        "cloudwatch-logs-cost-never-expire-retention-and-cardinality-blowups"
    ),
    FIREHOSE: "https://github.com/i05nagai/memorandum (cloud/aws/kinesis_firehose.md, no date)",
    ALARM: "https://c3x.dev/resources/aws/aws_cloudwatch_metric_alarm",
}


def prices_table() -> str:
    """Return the prices and their sources as a Markdown table."""
    rows = [f"| {cost_model.REGION}, {CHECKED} | dollars | read in |", "|---|---|---|"]
    for price, source in SOURCES.items():
        address, space, remark = source.partition(" ")
        usd = f"{price.usd:.10f}".rstrip("0").rstrip(".")
        rows.append(
            f"| [{price.what}]({price.page}) | {usd} for {price.per:,} {price.unit} "
            f"| <{address}>{space}{remark} |"
        )
    return "\n".join(rows)
