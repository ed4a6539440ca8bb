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
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowverdict.core.errors import EnvelopeError

if TYPE_CHECKING:
    from logging import LoggerAdapter

    from aws_lambda_powertools import Logger


type AnyLogger = Logger | LoggerAdapter[Any]

# Eight times what CloudWatch Logs takes in one batch: 1,048,576 bytes of messages and 26 for each, of which there are 10,000 at
# most (https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html). EpisodeContext each, JSON puts some 130.
MAX_PAYLOAD_BYTES = 8 << 20


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
        told = json.dumps(
            [self.account_id, self.log_group, self.log_stream, *sorted(self.event_ids)]
        )
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
    except (
        ValueError,
        KeyError,
        TypeError,
        EOFError,
        gzip.BadGzipFile,
        zlib.error,
        RecursionError,
    ) as error:
        # binascii.Error, UnicodeDecodeError and JSONDecodeError are ValueErrors.
        raise EnvelopeError(
            f"no CloudWatch Logs subscription event: {type(error).__name__}: {str(error)[:200]}"
        ) from error


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
