"""Signal the windows that there is new evidence of to the function that evaluates them.

The signals go through a FIFO queue. A place is a message group, of which SQS hands out no message
while another one is in flight, so a place has one evaluator
(https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/FIFO-key-terms.html).
Equal signals of the same minute have equal deduplication ids: SQS keeps the first. The queue's
delay is as long as that minute and the difference of two senders' clocks, so that the signal that
stays is handed out after the evidence of all that it stands for was stored. The minute is therefore
read from the clock after the evidence was stored. It is a minute with the template's default delay;
another delay changes its length.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from itertools import batched
from typing import TYPE_CHECKING, Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from flowverdict.core.aws_client import reject_malformed_responses
from flowverdict.core.errors import EnvelopeError, SignalError
from flowverdict.lifecycle.dirty_window import DirtyWindow

if TYPE_CHECKING:
    from collections.abc import Collection

    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

    from flowverdict.app.deadlines import Clock


CLOCKS_DIFFER = 30  # seconds at the most, between two functions
_MAX_ENTRIES = 10  # of a request
_MAX_WINDOW = 10**12  # evidence has twelve digits for the number of a window


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedRead:
    """Up to when (Unix seconds) a feed was read; said after its windows were signalled."""

    partition: str
    feed: str
    read_to: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceJudged:
    """A source that is not to be held back any more; said after its windows were signalled."""

    partition: str
    feed: str
    source_id: str


type Signal = DirtyWindow | FeedRead | SourceJudged


class Signals(Protocol):
    """Where signals are sent to."""

    def send(self, signals: Collection[Signal]) -> None:
        """Send signals, which arrive in their order for each partition.

        Raises
        ------
        SignalError
            Not all signals were sent. Sending them again does no harm.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A signal as it was received; ``sent_at`` is Unix seconds of the sender's clock."""

    signal: Signal
    sent_at: int


class SqsSignals:
    """Implements ``Signals`` with a FIFO queue of SQS, whose delay is ``delay`` seconds."""

    def __init__(self, client: SQSClient, url: str, delay: int, clock: Clock = time.time) -> None:
        self._client = reject_malformed_responses(client)
        self._url = url
        self._same = max(delay - CLOCKS_DIFFER, 1)
        self._clock = clock

    def send(self, signals: Collection[Signal]) -> None:
        """Send signals, ten in a request."""
        now = int(self._clock())
        for batch in batched(signals, _MAX_ENTRIES, strict=False):
            try:
                answer = self._client.send_message_batch(
                    QueueUrl=self._url,
                    Entries=[
                        _entry(number, each, now, now // self._same)
                        for number, each in enumerate(batch)
                    ],
                )
            except (BotoCoreError, ClientError) as error:
                raise SignalError(f"windows could not be signalled: {error}") from error
            if failed := answer.get("Failed", []):
                raise SignalError(
                    f"{len(failed)} of {len(batch)} signals were not taken: {failed[0]['Code']}"
                )


def group_of(partition: str) -> str:
    """Return the message group of a partition, whose name may have any characters."""
    return hashlib.sha256(partition.encode()).hexdigest()


def message_of(signal: Signal, sent_at: int) -> str:
    """Return the body of a message."""
    return json.dumps(_fields(signal) | {"sent_at": sent_at})


def signal_in(body: object) -> Received:
    """Read the body of a message.

    Raises
    ------
    EnvelopeError
        The body is not a signal.
    """
    read: Any
    try:
        read = json.loads(body) if isinstance(body, str) else None
    except (ValueError, RecursionError) as error:
        raise EnvelopeError("not a signal: not JSON") from error
    match read:
        case {"partition": str(partition), "feed": str(feed), "sent_at": int(sent_at)}:
            signal = _signal(partition, feed, read)
        case _:
            signal = None
    if signal is None:
        raise EnvelopeError("not a signal: fields are missing or wrong")
    return Received(signal=signal, sent_at=sent_at)


def _signal(partition: str, feed: str, read: dict[str, object]) -> Signal | None:
    match read:
        case {"window": int(window)} if 0 <= window < _MAX_WINDOW:
            return DirtyWindow(partition=partition, feed=feed, window=window)
        case {"read_to": int(read_to)}:
            return FeedRead(partition=partition, feed=feed, read_to=read_to)
        case {"source": str(source_id)}:
            return SourceJudged(partition=partition, feed=feed, source_id=source_id)
        case _:
            return None


def _fields(signal: Signal) -> dict[str, str | int]:
    fields: dict[str, str | int] = {"partition": signal.partition, "feed": signal.feed}
    match signal:
        case DirtyWindow():
            return fields | {"window": signal.window}
        case FeedRead():
            return fields | {"read_to": signal.read_to}
        case SourceJudged():
            return fields | {"source": signal.source_id}


def _entry(
    number: int, signal: Signal, now: int, minute: int
) -> SendMessageBatchRequestEntryTypeDef:
    same = json.dumps(_fields(signal) | {"minute": minute}, sort_keys=True)
    return {
        "Id": str(number),
        "MessageBody": message_of(signal, now),
        "MessageGroupId": group_of(signal.partition),
        "MessageDeduplicationId": hashlib.sha256(same.encode()).hexdigest(),
    }
