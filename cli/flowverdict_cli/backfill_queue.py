"""Send objects to the stack's queue: the message, the rate, refused messages, and the progress.

The message is S3's own notification
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html), so the
function needs no code for backfills. The message's ``configurationId`` identifies a backfill.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

from botocore.exceptions import BotoCoreError, ClientError

from flowverdict.core.aws_client import error_code
from flowverdict.core.errors import FlowVerdictError
from flowverdict_cli.backfill_listing import HistoryObject
from flowverdict_cli.files import replace_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from mypy_boto3_sqs import SQSClient

    from flowverdict_cli.backfill_listing import Location, Selection


CONFIGURATION_ID = "flowverdict-backfill"
BATCH = 10  # messages of one SendMessageBatch call
_TRIES = 4  # of a message that the queue refused in a successful call; 3.5 s of waiting in total
_FIRST_WAIT = 0.5  # seconds; doubled with each try
_NO_QUEUE = {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}
_VERSION = 1


def message(bucket: str, sent: HistoryObject, region: str) -> str:
    """Return the message for one object; a message has one only, so a broken object fails alone."""
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": region,
        "eventTime": f"{sent.modified.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.000Z",
        "eventName": "ObjectCreated:Put",
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": CONFIGURATION_ID,
            "bucket": {"name": bucket},
            # S3 encodes keys like the fields of a form, except for the slash.
            "object": {"key": quote_plus(sent.key, safe="/"), "size": sent.size},
        },
    }
    return json.dumps({"Records": [record]}, separators=(",", ":"))


class Pace:
    """A token bucket: allows ``rate`` objects a second, and at most one batch at once.

    Parameters
    ----------
    clock
        Returns seconds; only differences matter.
    sleep
        Waits for some seconds.
    """

    def __init__(
        self,
        rate: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self.batch = max(1, min(BATCH, int(rate)))  # at 3 a second, three at a time
        self._tokens = 0.0
        self._at = clock()

    def take(self, count: int) -> None:
        """Wait until ``count`` objects, at most a batch, may be sent."""
        missing = count - self._refilled()
        if missing > 0:
            self._sleep(missing / self._rate)
            self._refilled()
        self._tokens -= count  # may fall below zero by the clock's rounding error

    def _refilled(self) -> float:
        now = self._clock()
        self._tokens = min(self.batch, self._tokens + (now - self._at) * self._rate)
        self._at = now
        return self._tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An object whose message the queue refused, and the reason."""

    refused: HistoryObject
    reason: str


class Queue:
    """Sends each message at least once.

    Parameters
    ----------
    wait
        Waits for some seconds before another try.
    """

    def __init__(
        self,
        client: SQSClient,
        url: str,
        bucket: str,
        *,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._url = url
        self._bucket = bucket
        self._wait = wait

    def send(self, objects: Sequence[HistoryObject]) -> list[Refusal]:
        """Send a message for each object; return the refusals that are left after a few tries.

        Raises
        ------
        FlowVerdictError
            The call failed: the queue does not exist, access is denied, or SQS cannot be reached.
        """
        pending = dict(enumerate(objects))
        refusals: list[Refusal] = []
        reasons: dict[int, str] = {}
        for tried in range(_TRIES):
            if tried:
                self._wait(_FIRST_WAIT * 2 ** (tried - 1))
            answer = self._call(pending)
            for taken in answer.get("Successful", []):
                del pending[int(taken["Id"])]
            for failed in answer.get("Failed", []):
                number = int(failed["Id"])
                reasons[number] = f"{failed['Code']}: {failed.get('Message') or 'no reason given'}"
                if failed["SenderFault"]:
                    refusals.append(Refusal(refused=pending.pop(number), reason=reasons[number]))
            if not pending:
                break
        refusals += [
            Refusal(refused=refused, reason=reasons.get(number, "no answer"))
            for number, refused in pending.items()
        ]
        return refusals

    def _call(self, pending: Mapping[int, HistoryObject]) -> Mapping[str, Any]:
        region = self._client.meta.region_name
        try:
            return self._client.send_message_batch(
                QueueUrl=self._url,
                Entries=[
                    {"Id": str(number), "MessageBody": message(self._bucket, listed, region)}
                    for number, listed in pending.items()
                ],
            )
        except ClientError as error:
            code = error_code(error)
            reason = (
                f"no such queue in {region}" if code in _NO_QUEUE else f"cannot be sent to: {code}"
            )
            raise FlowVerdictError(f"{self._url}: {reason}") from error
        except BotoCoreError as error:
            raise FlowVerdictError(f"{self._url}: cannot be sent to: {error}") from error


# --- the progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is sent to which queue; a state belongs to one task."""

    location: Location
    queue_url: str
    selection: Selection

    def described(self) -> dict[str, object]:
        """Return the task as the state file stores it."""
        selection = self.selection
        return {
            "source": str(self.location),
            "queue": self.queue_url,
            "since": None if selection.since is None else selection.since.isoformat(),
            "until": None if selection.until is None else selection.until.isoformat(),
            "all_objects": selection.all_objects,
        }


@dataclass(slots=True)
class State:
    """The progress of a task.

    Parameters
    ----------
    last_key
        All objects up to this key are sent, except for the refused ones.
    sent, size
        Number of objects that the queue accepted, and their bytes.
    refused
        Objects whose messages the queue refused; the next run tries them first.
    """

    last_key: str | None = None
    sent: int = 0
    size: int = 0
    refused: list[HistoryObject] = field(default_factory=list)

    def record(
        self, batch: Sequence[HistoryObject], refusals: Sequence[Refusal], *, again: bool = False
    ) -> None:
        """Record the outcome of a batch; ``again`` marks objects that were refused before."""
        refused = [refusal.refused for refusal in refusals]
        accepted = [sent for sent in batch if sent not in refused]
        self.sent += len(accepted)
        self.size += sum(sent.size for sent in accepted)
        if again:
            self.refused = [before for before in self.refused if before not in accepted]
        else:
            self.refused += refused
            self.last_key = batch[-1].key


def default_state_path(location: Location) -> str:
    """Return the name of a source's state file in the current directory, where the user sees it."""
    digest = hashlib.sha256(str(location).encode()).hexdigest()
    return f"flowverdict-backfill-{location.bucket}-{digest[:8]}.json"


class StateFile:
    """Stores a task's state in a file, which is replaced atomically."""

    def __init__(self, path: Path, task: Task) -> None:
        self.path = path
        self._task = task

    def load(self) -> State:
        """Return the stored state, or a new state if the file does not exist.

        Raises
        ------
        FlowVerdictError
            The file cannot be read, is not a state, or belongs to another task.
        """
        try:
            written = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return State()
        except OSError as error:
            raise FlowVerdictError(
                f"{self.path}: {(error.strerror or str(error)).lower()}"
            ) from error
        except ValueError as error:
            raise FlowVerdictError(f"{self.path}: not the state of a backfill: {error}") from error
        if not isinstance(written, dict) or written.get("version") != _VERSION:
            raise FlowVerdictError(f"{self.path}: not the state of a backfill of this version")
        for name, ours in self._task.described().items():
            if written.get(name) != ours:
                theirs = json.dumps(written.get(name))
                raise FlowVerdictError(
                    f"{self.path}: the state of another backfill: {name} is {theirs}, "
                    f"not {json.dumps(ours)}; use another --state, or remove the file"
                )
        try:
            return State(
                last_key=None if written["last_key"] is None else str(written["last_key"]),
                sent=int(written["sent"]),
                size=int(written["bytes"]),
                refused=[
                    HistoryObject(
                        key=str(refused["key"]),
                        size=int(refused["bytes"]),
                        modified=datetime.fromisoformat(refused["modified"]),
                    )
                    for refused in written["refused"]
                ],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise FlowVerdictError(
                f"{self.path}: not the state of a backfill: {error!r}"
            ) from error

    def save(self, state: State) -> None:
        """Write the state.

        Raises
        ------
        FlowVerdictError
            The file cannot be written.
        """
        written = {
            "version": _VERSION,
            **self._task.described(),
            "last_key": state.last_key,
            "sent": state.sent,
            "bytes": state.size,
            "refused": [
                {
                    "key": refused.key,
                    "bytes": refused.size,
                    "modified": refused.modified.isoformat(),
                }
                for refused in state.refused
            ],
        }
        try:
            replace_whole(self.path.resolve(), json.dumps(written, indent=1) + "\n")
        except OSError as error:
            raise FlowVerdictError(
                f"{self.path}: {(error.strerror or str(error)).lower()}"
            ) from error
