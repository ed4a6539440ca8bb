"""S3, DynamoDB and SNS in memory: they count calls, bytes and units, and take simulated time.

The application's own stores (``S3Evidence``, ``DynamoDbStore``) run on these clients, which know
only the calls and expressions that those stores use. Functions that run at once take turns: before
each call the function whose clock is behind goes on. A call happens in one moment, so that two
transactions never overlap (DynamoDB's ``TransactionConflict``); conditions that no longer hold
fail as they do on AWS.
"""

from __future__ import annotations

import io
import re
import time
from bisect import bisect_right, insort
from collections import Counter, defaultdict, deque
from itertools import batched
from threading import Lock, Semaphore, Thread, get_ident
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from flowverdict_cli.cost_model import MEMORY_MB, VCPU_MB

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from flowverdict.alerts.model import Alert, Notification

type _Item = dict[str, dict[str, Any]]

# Assumed milliseconds of a call. S3's are those of the cost model, a GET without its bytes; ten
# GETs are under way at once.
LATENCY = {
    "GET": 30,
    "PUT": 40,
    "LIST": 40,
    "table read": 5,
    "table write": 8,
    "transaction": 20,
    "messages": 30,
}
_GETS_AT_ONCE = 10
# AWS's units: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
_READ_UNIT, _WRITE_UNIT = 4_096, 1_024
_KEYS_A_PAGE = 1_000
_ENTRIES_A_PAGE = 10_000  # some 100 bytes each; a page has 1 MB
_DEDUPLICATED = 300.0  # seconds
_SECTION = re.compile(r"\b(SET|REMOVE|ADD)\b")


class BudgetSpentError(BaseException):
    """The processor time of a simulation is spent: every function ends at its next call."""


class Simulation:
    """Functions at once in simulated time; one of them runs at any moment, on its own clock.

    Parameters
    ----------
    start
        Unix seconds.
    cpu_seconds
        Returns the processor time used so far. It counts for the clock of the function that used
        it, as on a Lambda function of the template's memory.
    """

    def __init__(self, start: float, cpu_seconds: Callable[[], float] = time.process_time) -> None:
        self.calls: Counter[str] = Counter()
        self.cpu = 0.0
        self.cpu_budget = float("inf")  # seconds of ``cpu`` after which all functions end
        self._cpu_seconds = cpu_seconds
        self._used = cpu_seconds()
        self._clocks = {get_ident(): start}
        self._turns: dict[int, Semaphore] = {}
        self._running = get_ident()
        self._lock = Lock()

    def now(self) -> float:
        """Return the time of the function that runs, in Unix seconds."""
        return self._clocks[self._running]

    def count(self, call: str, amount: int = 1) -> None:
        """Count without taking time."""
        with self._lock:
            self.calls[call] += amount

    def call(self, call: str, *, seconds: float = 0.0) -> None:
        """Count a call that a function makes, and let its time pass."""
        self.count(call)
        self.wait(LATENCY.get(call, 0) / 1_000 + seconds)

    def at_once(self, call: str) -> None:
        """Count a call of those that a function makes several of at once, from any thread."""
        with self._lock:
            self.calls[call] += 1
            self._clocks[self._running] += LATENCY[call] / 1_000 / _GETS_AT_ONCE

    def wait(self, seconds: float) -> None:
        """Let time pass for the function that runs; then the one whose clock is behind goes on."""
        self._charge()
        self._clocks[self._running] += seconds
        self._next()
        if self.cpu > self.cpu_budget:
            raise BudgetSpentError

    def forget_cpu(self) -> None:
        """Leave out the processor time since the last call: it was not a function's."""
        self._used = self._cpu_seconds()

    def _charge(self) -> None:
        used = self._cpu_seconds()
        self.cpu += used - self._used
        self._clocks[self._running] += (used - self._used) * VCPU_MB / MEMORY_MB
        self._used = used

    def _next(self) -> None:
        """Give the turn to the function whose clock is behind, and wait for one's own."""
        me = get_ident()
        behind = min(self._clocks, key=self._clocks.__getitem__)
        if behind != me:
            self._running = behind
            self._turns[behind].release()
            self._turns[me].acquire()

    def run(self, functions: Sequence[Callable[[], None]]) -> bool:
        """Run functions at once, from now on; return whether the budget sufficed for them.

        Raises what a function raises, once all have ended.
        """
        main = get_ident()
        start = self._clocks.pop(main)
        errors: list[BaseException] = []
        latest = start

        def body(function: Callable[[], None], ready: Semaphore) -> None:
            nonlocal latest
            me = get_ident()
            self._turns[me] = Semaphore(0)
            self._clocks[me] = start
            ready.release()
            self._turns[me].acquire()
            try:
                function()
                self._charge()
            except BaseException as error:  # noqa: BLE001 - raised below
                errors.append(error)
            latest = max(latest, self._clocks.pop(me))
            self._turns.pop(me)
            if self._clocks:
                self._running = min(self._clocks, key=self._clocks.__getitem__)
                self._turns[self._running].release()

        threads = []
        for function in functions:
            ready = Semaphore(0)
            threads.append(Thread(target=body, args=(function, ready)))
            threads[-1].start()
            ready.acquire()
        self._running = min(self._clocks, key=self._clocks.__getitem__)
        self._turns[self._running].release()
        for thread in threads:
            thread.join()
        self._clocks[main], self._running = latest, main
        self.forget_cpu()
        for error in errors:
            if not isinstance(error, BudgetSpentError):
                raise error
        return not errors


class _Client:
    """What the stores ask of every client."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self.meta = SimpleNamespace(events=SimpleNamespace(register=lambda *_, **__: None))

    def get_paginator(self, operation: str) -> SimpleNamespace:
        """Return the pages of an operation."""
        return SimpleNamespace(paginate=getattr(self, f"_pages_of_{operation}"))


class Bucket(_Client):
    """A bucket of evidence."""

    def __init__(self, simulation: Simulation) -> None:
        super().__init__(simulation)
        self._objects: dict[str, bytes] = {}
        self._keys: list[str] = []

    def put_object(self, *, Bucket: str, Key: str, Body: bytes) -> None:  # noqa: N803 - boto3's
        """Store an object."""
        del Bucket
        self._simulation.call("PUT")
        if Key not in self._objects:
            insort(self._keys, Key)
        self._objects[Key] = Body

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, io.BytesIO]:  # noqa: N803 - as above
        """Return an object, as bytes of their own."""
        del Bucket
        body = self._objects[Key]
        self._simulation.at_once("GET")
        self._simulation.count("bytes read back", len(body))
        return {"Body": io.BytesIO(body)}

    def _pages_of_list_objects_v2(
        self,
        *,
        Bucket: str,  # noqa: N803 - as above
        Prefix: str,  # noqa: N803
        StartAfter: str,  # noqa: N803
    ) -> Iterator[dict[str, list[dict[str, str]]]]:
        del Bucket
        while True:
            self._simulation.call("LIST")
            at = bisect_right(self._keys, StartAfter)
            keys = [key for key in self._keys[at : at + _KEYS_A_PAGE] if key.startswith(Prefix)]
            yield {"Contents": [{"Key": key} for key in keys]}
            if len(keys) < _KEYS_A_PAGE:
                return
            StartAfter = keys[-1]  # noqa: N806 - as above


class _CancelledError(ClientError):
    """A transaction whose conditions do not hold."""


class _ConditionError(ClientError):
    """A write whose condition does not hold."""


class Table(_Client):
    """The alert table, with its index of what is due."""

    def __init__(self, simulation: Simulation) -> None:
        super().__init__(simulation)
        self.items: dict[str, _Item] = {}
        self.exceptions = SimpleNamespace(
            TransactionCanceledException=_CancelledError,
            ConditionalCheckFailedException=_ConditionError,
            TransactionConflictException=_ConditionError,
        )

    def batch_get_item(self, *, RequestItems: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N803 - boto3's
        """Return the items that exist, read consistently."""
        self._simulation.call("table read")
        ((table, asked),) = RequestItems.items()
        found = []
        for key in asked["Keys"]:
            item = self.items.get(key["pk"]["S"])
            self._simulation.count(
                "read units", 1 if item is None else -(-_size(item) // _READ_UNIT)
            )
            if item is not None:
                found.append(dict(item))
        return {"Responses": {table: found}}

    def transact_write_items(self, *, TransactItems: Sequence[Mapping[str, Any]]) -> None:  # noqa: N803 - as above
        """Write all items, or none if a condition does not hold."""
        self._simulation.call("transaction")
        puts = [write["Put"] for write in TransactItems]
        fails = [not self._holds(put) for put in puts]
        for put in puts:
            self._count_write(put["Item"], times=2)
        if any(fails):
            codes = [{"Code": "ConditionalCheckFailed" if failed else "None"} for failed in fails]
            answer: Any = {"CancellationReasons": codes, "Error": {"Code": "Canceled"}}
            raise _CancelledError(answer, "TransactWriteItems")
        for put in puts:
            self._put(put["Item"])

    def put_item(self, *, TableName: str, Item: _Item) -> None:  # noqa: N803 - as above
        """Write an item."""
        del TableName
        self._simulation.call("table write")
        self._count_write(Item, times=1)
        self._put(Item)

    def update_item(self, **update: Any) -> dict[str, Any]:  # noqa: ANN401 - boto3's
        """Change an item."""
        self._simulation.call("table write")
        key = update["Key"]["pk"]["S"]
        item = dict(self.items.get(key, {"pk": {"S": key}}))
        values, names = update["ExpressionAttributeValues"], update.get("ExpressionAttributeNames")
        for condition in filter(None, update.get("ConditionExpression", "").split(" AND ")):
            name, value = condition.split(" = ")
            if item.get(name) != values[value]:
                answer: Any = {"Error": {"Code": "ConditionalCheckFailedException"}}
                raise _ConditionError(answer, "UpdateItem")
        _update(item, update["UpdateExpression"], values, names or {})
        self._count_write(item, times=1)
        self._put(item)
        return {"Attributes": item}

    def _pages_of_query(
        self,
        *,
        ExpressionAttributeValues: Mapping[str, Any],  # noqa: N803 - boto3's
        KeyConditionExpression: str,  # noqa: N803 - as above
        PaginationConfig: Mapping[str, int],  # noqa: N803
        ExclusiveStartKey: Mapping[str, Any] | None = None,  # noqa: N803
        **_: object,
    ) -> Iterator[dict[str, list[_Item]]]:
        """Yield what the index has of a key up to a time, those with the earliest ``due_at`` first.

        Of the conditions, it knows the one by which the sweep finds what is due.
        """
        if KeyConditionExpression != "#due = :due AND due_at <= :at":
            raise ValueError(KeyConditionExpression)
        due, until = ExpressionAttributeValues[":due"], int(ExpressionAttributeValues[":at"]["N"])
        after = _place(ExclusiveStartKey) if ExclusiveStartKey is not None else (-1, "")
        found = sorted(
            place
            for item in self.items.values()
            if item.get("due") == due and after < (place := _place(item)) and place[0] <= until
        )
        for entries in batched(
            found[: PaginationConfig["MaxItems"]], _ENTRIES_A_PAGE, strict=False
        ):
            self._simulation.call("table read")
            items = [{"pk": {"S": key}, "due_at": {"N": str(at)}} for at, key in entries]
            size = sum(_size(item | {"due": due}) for item in items)
            self._simulation.count("read units", -(-size // (2 * _READ_UNIT)))  # not consistent
            yield {"Items": items}

    def _holds(self, put: Mapping[str, Any]) -> bool:
        condition = put.get("ConditionExpression")
        known = self.items.get(put["Item"]["pk"]["S"], {})
        if condition is None:
            return True
        if condition == "attribute_not_exists(version)":
            return "version" not in known
        if condition == "version = :version":
            return bool(known.get("version") == put["ExpressionAttributeValues"][":version"])
        raise ValueError(condition)

    def _count_write(self, item: _Item, *, times: int) -> None:
        before = self.items.get(item["pk"]["S"], {})
        size = max(_size(item), _size(before))
        entries = [_entry(before), _entry(item)]
        # A changed entry of the index is deleted and put.
        changed = sum(entry is not None for entry in entries) if entries[0] != entries[1] else 0
        self._simulation.count("write units", times * -(-size // _WRITE_UNIT) + changed)

    def _put(self, item: _Item) -> None:
        self.items[item["pk"]["S"]] = item


def _entry(item: _Item) -> tuple[object, object] | None:
    return (item["due"], item["due_at"]) if "due" in item else None


def _place(item: Mapping[str, Any]) -> tuple[int, str]:
    return int(item["due_at"]["N"]), item["pk"]["S"]


def _size(item: _Item) -> int:
    return sum(
        len(name) + (len(value) if isinstance(value, str | bytes) else 1)
        for name, typed in item.items()
        for value in typed.values()
    )


def _update(
    item: _Item, expression: str, values: Mapping[str, Any], names: Mapping[str, str]
) -> None:
    """Apply an update expression of the forms that the stores use."""
    _, *parts = _SECTION.split(expression)
    for section, body in zip(parts[::2], parts[1::2], strict=True):
        for clause in re.split(r",\s*(?![^(]*\))", body.strip()):
            name, _, value = clause.replace(" = ", " ").partition(" ")
            name = names.get(name, name)
            if section == "REMOVE":
                item.pop(name, None)
            elif section == "ADD":
                item[name] = {
                    "N": str(int(item.get(name, {"N": "0"})["N"]) + int(values[value]["N"]))
                }
            elif value.startswith("if_not_exists("):
                item.setdefault(name, values[value.rstrip(")").rpartition(" ")[2]])
            else:
                item[name] = values[value]


class SignalQueue(_Client):
    """A FIFO queue of SQS with a delay, and how Lambda takes batches from it.

    Of a message group one batch is under way at a time. Equal deduplication ids of five minutes are
    one message.
    """

    def __init__(self, simulation: Simulation, delay: float) -> None:
        super().__init__(simulation)
        self._delay = delay
        self._seen: dict[str, float] = {}
        self._busy: set[str] = set()
        self._number = 0
        # By message group, since all of thousands may be of one that is under way.
        self._waiting: defaultdict[str, deque[tuple[float, dict[str, Any]]]] = defaultdict(deque)

    def send_message_batch(self, *, QueueUrl: str, Entries: Sequence[Mapping[str, str]]) -> object:  # noqa: N803 - boto3's
        """Keep the messages that are not equal to others."""
        del QueueUrl
        self._simulation.call("messages")
        now = self._simulation.now()
        for entry in Entries:
            same = entry["MessageDeduplicationId"]
            if now - self._seen.get(same, -_DEDUPLICATED) < _DEDUPLICATED:
                continue
            self._seen[same] = now
            self._number += 1
            self._simulation.count("signals")
            attributes = {
                "MessageGroupId": entry["MessageGroupId"],
                "ApproximateReceiveCount": "0",
            }
            message = {
                "messageId": str(self._number),
                "receiptHandle": "",
                "body": entry["MessageBody"],
                "attributes": attributes,
            }
            self._waiting[entry["MessageGroupId"]].append((now + self._delay, message))
        return {"Successful": [], "Failed": []}

    @property
    def is_empty(self) -> bool:
        """Whether no message waits, and none is under way."""
        return not any(self._waiting.values()) and not self._busy

    def take(self, most: int) -> dict[str, Any] | None:
        """Return the event of up to ``most`` messages; ``None`` for none that may be taken now."""
        now = self._simulation.now()
        taken: list[dict[str, Any]] = []
        for group, waiting in self._waiting.items():
            while group not in self._busy and waiting and waiting[0][0] <= now:
                if len(taken) == most:
                    break
                message = waiting.popleft()[1]
                received = int(message["attributes"]["ApproximateReceiveCount"]) + 1
                message["attributes"]["ApproximateReceiveCount"] = str(received)
                taken.append(message)
        self._busy |= {message["attributes"]["MessageGroupId"] for message in taken}
        return {"Records": taken} if taken else None

    def done(self, event: Mapping[str, Any], failed: Collection[str], wait: float) -> None:
        """Delete the messages of an event, but keep those that failed, for ``wait`` seconds."""
        again = self._simulation.now() + wait
        records = event["Records"]
        for message in reversed(records):
            if message["messageId"] in failed:
                group = message["attributes"]["MessageGroupId"]
                self._waiting[group].appendleft((again, message))
        self._busy -= {message["attributes"]["MessageGroupId"] for message in records}


class Topic:
    """Counts messages."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def publish(self, notification: Notification) -> None:
        """Count a message."""
        del notification
        self._simulation.call("messages")

    def publish_ends(self, alerts: Sequence[Alert]) -> None:
        """Count messages."""
        for alert in alerts:
            self.publish(alert)
