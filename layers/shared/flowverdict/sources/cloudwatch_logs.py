"""Flow log records out of CloudWatch Logs subscriptions.

The payload is base64 of gzip of JSON (https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/SubscriptionFilters.html);
each message is one bare record, without a header. What its fields are only the flow log itself says: ``DescribeFlowLogs``
gives the format of every flow log that writes into the group, and a format never changes once its flow log is made.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from flowverdict.errors import EnvelopeError, FormatError, FormatUnknownError
from flowverdict.records import DEFAULT_FORMAT, RecordFormat
from flowverdict.sdk import guarded

if TYPE_CHECKING:
    from collections.abc import Callable
    from logging import LoggerAdapter

    from aws_lambda_powertools import Logger
    from mypy_boto3_ec2 import EC2Client

    type AnyLogger = Logger | LoggerAdapter[Any]

# Eight times what CloudWatch Logs takes in one batch: 1,048,576 bytes of messages and 26 for each, of which there are 10,000 at
# most (https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html). Around each, JSON puts some 130.
MAX_PAYLOAD_BYTES = 8 << 20
# A new flow log may start to write into the group at any time; its format is then known after this many seconds.
FORMATS_KEPT_SECONDS = 900
# Trying again does not help against these; against throttling and outages it does.
_DENIED = {"UnauthorizedOperation", "AccessDenied", "AccessDeniedException"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogBatch:
    """The messages of one log stream, and the account that owns it.

    ``event_ids`` are CloudWatch Logs' own, which stay the same when a batch is delivered again.
    """

    account_id: str
    log_group: str
    log_stream: str
    messages: tuple[str, ...]
    event_ids: tuple[str, ...]

    @property
    def source_id(self) -> str:
        """Identify it among all that is counted once."""
        told = json.dumps([self.account_id, self.log_group, self.log_stream, *sorted(self.event_ids)])
        return hashlib.sha256(told.encode()).hexdigest()[:40]

    @property
    def name(self) -> str:
        """What errors and logs call it."""
        return f"{self.log_group}:{self.log_stream}"


def decode(event: dict[str, Any]) -> LogBatch | None:
    """Give the messages of a subscription event; ``None`` for CloudWatch Logs' own check that the function is there.

    Raises
    ------
    EnvelopeError
        The payload is not base64, not gzip, not JSON, of another shape, or unpacks to more than ``MAX_PAYLOAD_BYTES``.
    """
    try:
        payload = json.loads(_unpacked(event["awslogs"]["data"]))
        if payload["messageType"] == "CONTROL_MESSAGE":
            return None
        log_events = payload["logEvents"]
        return LogBatch(
            account_id=_name(payload["owner"]),
            log_group=_name(payload["logGroup"]),
            log_stream=_name(payload["logStream"]),
            messages=tuple(_text(log_event["message"]) for log_event in log_events),
            event_ids=tuple(_text(log_event["id"]) for log_event in log_events),
        )
    except (ValueError, KeyError, TypeError, EOFError, gzip.BadGzipFile, zlib.error, RecursionError) as error:
        # binascii.Error, UnicodeDecodeError and JSONDecodeError are ValueErrors.
        raise EnvelopeError(f"no CloudWatch Logs subscription event: {type(error).__name__}: {str(error)[:200]}") from error


def _unpacked(data: str) -> bytes:
    with gzip.open(io.BytesIO(base64.b64decode(data, validate=True))) as packed:
        text = packed.read(MAX_PAYLOAD_BYTES + 1)
    if len(text) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"it unpacks to more than {MAX_PAYLOAD_BYTES:,} bytes")
    return text


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("what should be text is none")
    return value


def _name(value: object) -> str:
    text = _text(value)
    text.encode()  # half a surrogate pair, which JSON can write, is no character, and the SDK could not send it
    return text


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

    def __init__(self, client: EC2Client, logger: AnyLogger, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = guarded(client)
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
            return (DEFAULT_FORMAT,)  # not kept: the next try of the event, a minute later, may be allowed to ask
        formats = self._readable(described, log_group) or (DEFAULT_FORMAT,)
        self._kept[log_group] = (now, formats)
        return formats

    def _describe(self, log_group: str) -> list[str] | None:
        """Ask EC2; ``None`` where it refuses."""
        try:
            pages = self._client.get_paginator("describe_flow_logs").paginate(
                Filters=[{"Name": "log-group-name", "Values": [log_group]}]
            )
            return [text for page in pages for flow_log in page["FlowLogs"] if (text := flow_log.get("LogFormat"))]
        except (ClientError, BotoCoreError) as error:
            code = error.response.get("Error", {}).get("Code") if isinstance(error, ClientError) else None
            if code not in _DENIED:
                raise FormatUnknownError(f"{log_group}: the format of its flow logs could not be asked: {error}") from error
            self._logger.warning("flow log format not known, default assumed", extra={"log_group": log_group, "reason": str(error)})
            return None

    def _readable(self, log_formats: list[str], log_group: str) -> tuple[RecordFormat, ...]:
        found: dict[RecordFormat, None] = {}  # keeps the order in which EC2 named them, and each once
        for text in log_formats:
            try:
                found[RecordFormat.from_log_format(text)] = None
            except FormatError as error:
                self._logger.warning("flow log format not readable", extra={"log_group": log_group, "reason": str(error)})
        return tuple(found)


class FixedFormat:
    """One configured format for every log group."""

    def __init__(self, record_format: RecordFormat) -> None:
        self._formats = (record_format,)

    def formats(self, log_group: str) -> tuple[RecordFormat, ...]:  # noqa: ARG002 - the same for all, which is its point
        """Give the configured format."""
        return self._formats
