"""Find the formats of the flow logs that write into a log group.

CloudWatch Logs messages carry no header. EC2's ``DescribeFlowLogs`` returns the format of each flow
log (https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_FlowLog.html); the format never
changes once the flow log is created.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from flowverdict.core.aws_client import error_code, reject_malformed_responses
from flowverdict.core.errors import FormatError, FormatUnknownError
from flowverdict.flowlog.records import DEFAULT_FORMATS, RecordFormat

if TYPE_CHECKING:
    from collections.abc import Callable
    from logging import LoggerAdapter

    from aws_lambda_powertools import Logger
    from mypy_boto3_ec2 import EC2Client


type AnyLogger = Logger | LoggerAdapter[Any]

# A new flow log may start to write into the group at any time; its format is known this much later.
FORMAT_CACHE_SECONDS = 900
# Another try cannot succeed after these errors; after throttling and outages it may.
_DENIED = {"UnauthorizedOperation", "AccessDenied", "AccessDeniedException"}


class DescribedFormats:
    """The formats of a log group's flow logs, as EC2 describes them.

    The default formats, of VPC flow logs and of transit gateways, stand in where EC2 denies access
    or describes no readable format.

    Parameters
    ----------
    client
        A boto3 EC2 client of the log group's account and Region.
    logger
        Logs a warning when a default format is assumed, and for each format that cannot be read.
    clock
        Returns seconds; only their differences matter.
    """

    def __init__(
        self, client: EC2Client, logger: AnyLogger, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = reject_malformed_responses(client)
        self._logger = logger
        self._clock = clock
        self._cache: dict[str, tuple[float, tuple[RecordFormat, ...]]] = {}

    def formats(self, log_group: str) -> tuple[RecordFormat, ...]:
        """Return the group's distinct formats; an answer is cached for 15 minutes.

        Raises
        ------
        FormatUnknownError
            EC2 did not answer this time. An assumed format could misread records that a second try
            reads correctly.
        """
        now = self._clock()
        cached = self._cache.get(log_group)
        if cached is not None and now - cached[0] < FORMAT_CACHE_SECONDS:
            return cached[1]
        described = self._describe(log_group)
        if described is None:  # not cached: permission may be granted before the next try
            return DEFAULT_FORMATS
        formats = self._readable(described, log_group)
        if not formats:
            self._warn_of_default(log_group, "EC2 describes no readable flow log into this group")
            formats = DEFAULT_FORMATS
        self._cache[log_group] = (now, formats)
        return formats

    def _describe(self, log_group: str) -> list[str] | None:
        """Return the format texts from EC2; ``None`` if EC2 denies access."""
        try:
            pages = self._client.get_paginator("describe_flow_logs").paginate(
                Filters=[{"Name": "log-group-name", "Values": [log_group]}]
            )
            return [
                text
                for page in pages
                for flow_log in page["FlowLogs"]
                if (text := flow_log.get("LogFormat"))
            ]
        except (ClientError, BotoCoreError) as error:
            if not (isinstance(error, ClientError) and error_code(error) in _DENIED):
                raise FormatUnknownError(
                    f"{log_group}: the format of its flow logs could not be described: {error}"
                ) from error
            self._warn_of_default(log_group, str(error))
            return None

    def _warn_of_default(self, log_group: str, reason: str) -> None:
        self._logger.warning(
            "flow log format not known, default assumed",
            extra={"log_group": log_group, "reason": reason},
        )

    def _readable(self, log_formats: list[str], log_group: str) -> tuple[RecordFormat, ...]:
        found: dict[RecordFormat, None] = {}  # an ordered set: distinct formats in EC2's order
        for text in log_formats:
            try:
                found[RecordFormat.from_log_format(text)] = None
            except FormatError as error:
                self._logger.warning(
                    "flow log format cannot be read",
                    extra={"log_group": log_group, "reason": str(error)},
                )
        return tuple(found)


class FixedFormat:
    """One configured format for every log group."""

    def __init__(self, record_format: RecordFormat) -> None:
        self._formats = (record_format,)

    def formats(self, log_group: str) -> tuple[RecordFormat, ...]:  # noqa: ARG002 - the same for all groups
        """Return the configured format."""
        return self._formats
