"""Give messages that failed for a passing reason back to their queue for a minute only.

A message that a function does not finish stays invisible for the queue's visibility time-out, half
an hour and more. What fails because of throttling or lack of time mostly succeeds much sooner
(https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import batched
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from flowverdict.core.aws_client import reject_malformed_responses
from flowverdict.core.errors import FlowVerdictError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mypy_boto3_sqs import SQSClient

    from flowverdict.flowlog.log_formats import AnyLogger


SOON_SECONDS = 60
# Receives after which a message comes again soon. Then it waits for the whole visibility time-out,
# so that an outage of half an hour does not bring it into the dead-letter queue.
SOON_RECEIVES = 3
_MAX_ENTRIES = 10  # of a request


@dataclass(frozen=True, slots=True)
class QueueMessage:
    """A message as SQS's event has it.

    To import the class that Powertools has for it takes a tenth of a cold start.
    """

    record: Mapping[str, Any]

    @property
    def message_id(self) -> str:
        """The message's ID, by which its failure is reported."""
        return str(self.record["messageId"])

    @property
    def body(self) -> object:
        """The text of the message."""
        return self.record.get("body")

    @property
    def receipt_handle(self) -> str:
        """What names this receive of the message."""
        return str(self.record["receiptHandle"])

    @property
    def receives(self) -> int:
        """How often the message was received, this time among them."""
        attributes = self.record.get("attributes") or {}
        return int(attributes.get("ApproximateReceiveCount", "1"))


def comes_soon(message: QueueMessage) -> bool:
    """Return whether a message comes again within a minute if it fails for a passing reason."""
    return message.receives <= SOON_RECEIVES


def are_passing(errors: Sequence[Exception]) -> bool:
    """Whether a message may succeed soon that failed for these reasons."""
    return bool(errors) and all(
        isinstance(error, FlowVerdictError) and error.passing for error in errors
    )


class FlowLogQueue:
    """A queue that messages come from: those that name flow log objects, or signals."""

    def __init__(self, client: SQSClient, url: str, logger: AnyLogger) -> None:
        self._client = reject_malformed_responses(client)
        self._url = url
        self._logger = logger

    def give_back_soon(self, messages: Sequence[QueueMessage]) -> None:
        """Make messages visible in a minute that have not come often.

        Where that fails, they come back later by themselves. The minute begins now.
        """
        soon = filter(comes_soon, messages)
        for batch in batched(soon, _MAX_ENTRIES, strict=False):
            try:
                answer = self._client.change_message_visibility_batch(
                    QueueUrl=self._url,
                    Entries=[
                        {
                            "Id": str(number),
                            "ReceiptHandle": message.receipt_handle,
                            "VisibilityTimeout": SOON_SECONDS,
                        }
                        for number, message in enumerate(batch)
                    ],
                )
            except (BotoCoreError, ClientError) as error:
                self._warn(len(batch), str(error))
                continue
            if failed := answer.get("Failed", []):
                self._warn(len(failed), failed[0]["Code"])

    def _warn(self, messages: int, reason: str) -> None:
        self._logger.warning(
            "messages come back late", extra={"messages": messages, "reason": reason}
        )
