"""Decode the event of a CloudWatch Logs subscription.

The payload is base64 of gzip of JSON
(https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/SubscriptionFilters.html). Each message is
one bare record, without a header. ``DescribeFlowLogs`` returns the format of each flow log that
writes into the log group (``log_formats``).
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from flowverdict.core.errors import EnvelopeError

if TYPE_CHECKING:
    from collections.abc import Mapping


# Eight times what CloudWatch Logs accepts in one batch: 1,048,576 bytes, 26 of them for each of at
# most 10,000 messages
# (https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html). JSON adds
# about 130 bytes to each message.
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
        """The batch's ID among all sources: a source is counted once, however often it comes."""
        identity = json.dumps(
            [self.account_id, self.log_group, self.log_stream, *sorted(self.event_ids)]
        )
        return hashlib.sha256(identity.encode()).hexdigest()[:40]

    @property
    def name(self) -> str:
        """The batch's name in errors and logs."""
        return f"{self.log_group}:{self.log_stream}"


def is_subscription_event(event: Mapping[str, object]) -> bool:
    """Whether the event is one that a subscription of CloudWatch Logs sends to a function."""
    return "awslogs" in event


def decode(event: dict[str, Any]) -> LogBatch | None:
    """Return the messages of a subscription event; ``None`` for CloudWatch Logs' control message.

    Raises
    ------
    EnvelopeError
        The payload is not base64, not gzip, not JSON, of another shape, or unpacks to more than
        ``MAX_PAYLOAD_BYTES``.
    """
    try:
        return batch_of(json.loads(_unpacked(event["awslogs"]["data"])))
    except (*UNFIT, EOFError, gzip.BadGzipFile, zlib.error, RecursionError) as error:
        # binascii.Error, UnicodeDecodeError and JSONDecodeError are ValueErrors.
        raise EnvelopeError(
            f"not a CloudWatch Logs subscription event: {type(error).__name__}: {str(error)[:200]}"
        ) from error


UNFIT: Final = (ValueError, KeyError, TypeError)  # raised by ``batch_of``


def batch_of(document: Any) -> LogBatch | None:  # noqa: ANN401 - JSON of any shape
    """Return the messages of one envelope; ``None`` for CloudWatch Logs' control message.

    Raises one of ``UNFIT`` for a document of another shape.
    """
    if document["messageType"] == "CONTROL_MESSAGE":
        return None
    log_events = document["logEvents"]
    return LogBatch(
        account_id=_name(document["owner"]),
        log_group=_name(document["logGroup"]),
        log_stream=_name(document["logStream"]),
        messages=tuple(_text(log_event["message"]) for log_event in log_events),
        event_ids=tuple(_text(log_event["id"]) for log_event in log_events),
    )


def _unpacked(data: str) -> bytes:
    with gzip.open(io.BytesIO(base64.b64decode(data, validate=True))) as packed:
        text = packed.read(MAX_PAYLOAD_BYTES + 1)
    if len(text) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"it unpacks to more than {MAX_PAYLOAD_BYTES:,} bytes")
    return text


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a value that should be text is not text")
    return value


def _name(value: object) -> str:
    text = _text(value)
    text.encode()  # raises for half a surrogate pair, which JSON can hold and the SDK cannot send
    return text
