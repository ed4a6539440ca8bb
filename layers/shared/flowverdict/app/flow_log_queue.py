"""Give messages that failed for a passing reason back to their queue for a minute only.

A message that a function does not finish stays invisible for the queue's visibility time-out, half
an hour and more. What fails because of throttling or lack of time mostly succeeds much sooner
(https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html).
"""

from __future__ import annotations

from itertools import batched
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from flowverdict.core.aws_client import reject_malformed_responses
from flowverdict.core.errors import FlowVerdictError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
    from mypy_boto3_sqs import SQSClient

    from flowverdict.flowlog.log_formats import AnyLogger


SOON_SECONDS = 60
# Receives after which a message comes again soon. Then it waits for the whole visibility time-out,
# so that an outage of half an hour does not bring it into the dead-letter queue.
SOON_RECEIVES = 3
_MAX_ENTRIES = 10  # of a request


def comes_soon(message: SQSRecord) -> bool:
    """Return whether a message comes again within a minute if it fails for a passing reason."""
    attributes = message.get("attributes") or {}
    received = attributes.get("ApproximateReceiveCount", "1")
    return int(received) <= SOON_RECEIVES


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

    def give_back_soon(self, messages: Sequence[SQSRecord]) -> None:
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
