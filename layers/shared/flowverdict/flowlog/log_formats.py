"""TODO flowverdict.flowlog.log_formats."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from flowverdict.core.aws_client import error_code, reject_malformed_responses
from flowverdict.core.errors import FormatError, FormatUnknownError
from flowverdict.flowlog.records import DEFAULT_FORMAT, RecordFormat

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_ec2 import EC2Client

    from flowverdict.flowlog.cloudwatch_logs import AnyLogger

# A new flow log may start to write into the group at any time; its format is then known after this many seconds.
FORMATS_KEPT_SECONDS = 900
# Trying again does not help against these; against throttling and outages it does.
_DENIED = {"UnauthorizedOperation", "AccessDenied", "AccessDeniedException"}


class DescribedFormats:
    """The formats of a log group's flow logs, as EC2 describes them; the default format where EC2 does not tell.

    Parameters
    ----------
    client
        A boto3 EC2 client of the log group's account and Region.
    logger
        Told when EC2 does not answer.
    clock
        Seconds, only their differences matter.
    """

    def __init__(
        self, client: EC2Client, logger: AnyLogger, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = reject_malformed_responses(client)
        self._logger = logger
        self._clock = clock
        self._kept: dict[str, tuple[float, tuple[RecordFormat, ...]]] = {}

    def formats(self, log_group: str) -> tuple[RecordFormat, ...]:
        """Give the group's distinct formats, from memory where they were asked for in the last 15 minutes.

        Raises
        ------
        FormatUnknownError
            EC2 could not answer this time. To guess then would misread records that a second try reads right.
        """
        now = self._clock()
        kept = self._kept.get(log_group)
        if kept is not None and now - kept[0] < FORMATS_KEPT_SECONDS:
            return kept[1]
        described = self._describe(log_group)
        if described is None:
            return (
                DEFAULT_FORMAT,
            )  # not kept: the next try of the event, a minute later, may be allowed to ask
        formats = self._readable(described, log_group) or (DEFAULT_FORMAT,)
        self._kept[log_group] = (now, formats)
        return formats

    def _describe(self, log_group: str) -> list[str] | None:
        """Ask EC2; ``None`` where it refuses."""
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
                    f"{log_group}: the format of its flow logs could not be asked: {error}"
                ) from error
            self._logger.warning(
                "flow log format not known, default assumed",
                extra={"log_group": log_group, "reason": str(error)},
            )
            return None

    def _readable(self, log_formats: list[str], log_group: str) -> tuple[RecordFormat, ...]:
        found: dict[
            RecordFormat, None
        ] = {}  # keeps the order in which EC2 named them, and each once
        for text in log_formats:
            try:
                found[RecordFormat.from_log_format(text)] = None
            except FormatError as error:
                self._logger.warning(
                    "flow log format not readable",
                    extra={"log_group": log_group, "reason": str(error)},
                )
        return tuple(found)


class FixedFormat:
    """One configured format for every log group."""

    def __init__(self, record_format: RecordFormat) -> None:
        self._formats = (record_format,)

    def formats(self, log_group: str) -> tuple[RecordFormat, ...]:  # noqa: ARG002 - the same for all, which is its point
        """Give the configured format."""
        return self._formats
