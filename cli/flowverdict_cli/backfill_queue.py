"""Objects of the past to the stack's queue: the message, the pace, the queue's refusals, and how far it has got.

The message is S3's own notification
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html), so that
the function needs to know nothing of this; its ``configurationId`` says who sent it.
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
BATCH = 10  # messages that one call takes
_TRIES = (
    4  # of a message that the queue did not take although it took the call; 3.5 s of waiting in all
)
_FIRST_WAIT = 0.5  # seconds; doubled with each try
_NO_QUEUE = {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}
_VERSION = 1


def message(bucket: str, sent: HistoryObject, region: str) -> str:
    """Give the message for one object. One alone, so that a broken object fails alone."""
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
            # S3 encodes keys like a form's fields, but for the slash.
            "object": {"key": quote_plus(sent.key, safe="/"), "size": sent.size},
        },
    }
    return json.dumps({"Records": [record]}, separators=(",", ":"))


class Pace:
    """A token bucket: lets ``rate`` objects a second pass and no more than one batch at once.

    Parameters
    ----------
    clock, sleep
        Seconds of which only differences matter, and what waits for them.
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
        """Wait until ``count`` objects, a batch at the most, may pass."""
        missing = count - self._refilled()
        if missing > 0:
            self._sleep(missing / self._rate)
            self._refilled()
        self._tokens -= count  # below nothing by what the clock rounds: it is missing the next time

    def _refilled(self) -> float:
        now = self._clock()
        self._tokens = min(self.batch, self._tokens + (now - self._at) * self._rate)
        self._at = now
        return self._tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An object whose message the queue did not take, and why."""

    refused: HistoryObject
    reason: str


class Queue:
    """Sends messages, at least once each.

    Parameters
    ----------
    wait
        Sleeps for so many seconds before another try.
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
        """Send a message for each object; give those that the queue did not take after a few tries.

        Raises
        ------
        FlowVerdictError
            The call failed: there is no such queue, it may not be sent to, or it cannot be reached.
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
            Refusal(refused=one, reason=reasons.get(number, "no answer"))
            for number, one in pending.items()
        ]
        return refusals

    def _call(self, pending: Mapping[int, HistoryObject]) -> Mapping[str, Any]:
        region = self._client.meta.region_name
        try:
            return self._client.send_message_batch(
                QueueUrl=self._url,
                Entries=[
                    {"Id": str(number), "MessageBody": message(self._bucket, one, region)}
                    for number, one in pending.items()
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


# --- how far it has got -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is sent where: a state of one is of no use to another."""

    location: Location
    queue_url: str
    selection: Selection

    def described(self) -> dict[str, object]:
        """Give it as the state file says it."""
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
    """How far it has got.

    Parameters
    ----------
    last_key
        All objects up to this one are sent, but for the refused ones.
    sent, size
        Objects the queue has taken, and their bytes.
    refused
        Objects whose messages it has not; the next run tries them first.
    """

    last_key: str | None = None
    sent: int = 0
    size: int = 0
    refused: list[HistoryObject] = field(default_factory=list)

    def note(
        self, batch: Sequence[HistoryObject], refusals: Sequence[Refusal], *, again: bool = False
    ) -> None:
        """Note what became of a batch; ``again`` says that it is of those refused before."""
        refused = [refusal.refused for refusal in refusals]
        taken = [one for one in batch if one not in refused]
        self.sent += len(taken)
        self.size += sum(one.size for one in taken)
        if again:
            self.refused = [one for one in self.refused if one not in taken]
        else:
            self.refused += refused
            self.last_key = batch[-1].key


def default_state_path(location: Location) -> str:
    """Give the name of a source's state file, in the current directory, where the one who has to know of it sees it."""
    return f"flowverdict-backfill-{location.bucket}-{hashlib.sha256(str(location).encode()).hexdigest()[:8]}.json"


class StateFile:
    """Keeps a task's state in a file, which is replaced whole."""

    def __init__(self, path: Path, task: Task) -> None:
        self.path = path
        self._task = task

    def load(self) -> State:
        """Give the state; a new one where there is no file.

        Raises
        ------
        FlowVerdictError
            The file cannot be read, is something else, or is of another task.
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
            raise FlowVerdictError(f"{self.path}: no state of a backfill: {error}") from error
        if not isinstance(written, dict) or written.get("version") != _VERSION:
            raise FlowVerdictError(f"{self.path}: no state of a backfill (of this version)")
        for name, ours in self._task.described().items():
            if written.get(name) != ours:
                theirs = json.dumps(written.get(name))
                raise FlowVerdictError(
                    f"{self.path}: of another backfill: its {name} is {theirs}, not {json.dumps(ours)}; "
                    "give another --state, or remove it"
                )
        try:
            return State(
                last_key=None if written["last_key"] is None else str(written["last_key"]),
                sent=int(written["sent"]),
                size=int(written["bytes"]),
                refused=[
                    HistoryObject(
                        key=str(one["key"]),
                        size=int(one["bytes"]),
                        modified=datetime.fromisoformat(one["modified"]),
                    )
                    for one in written["refused"]
                ],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise FlowVerdictError(f"{self.path}: no state of a backfill: {error!r}") from error

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
                {"key": one.key, "bytes": one.size, "modified": one.modified.isoformat()}
                for one in state.refused
            ],
        }
        try:
            replace_whole(self.path.resolve(), json.dumps(written, indent=1) + "\n")
        except OSError as error:
            raise FlowVerdictError(
                f"{self.path}: {(error.strerror or str(error)).lower()}"
            ) from error
