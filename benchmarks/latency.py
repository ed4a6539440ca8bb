"""How long the functions take from an event to its first alert, without the time of AWS's services.

``python -m benchmarks.latency <core> <kind>`` starts cold, passes events to the handlers as the
functions do, and prints milliseconds. Stores and topics are in memory, so the figures are those of
this program and its libraries, including the import of the SDK.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import statistics
import sys
import time
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from benchmarks.generate import DEFAULT_HEADER, Spec, lines
from scripts.pack_cloudwatch_event import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from flowverdict.alerts.model import Alert, Notification
    from flowverdict.core.availability import NotAvailable
    from flowverdict.flowlog.object_key import ObjectRef
    from flowverdict.flows.model import RejectedFlow
    from flowverdict.lifecycle.intervals import Intervals
    from flowverdict.lifecycle.state_machine import AlertState
    from flowverdict.lifecycle.store import Commit
    from flowverdict.network.configuration import NetConfig
    from tests.helpers.memory_stores import MemoryStore

_TIMES = 15
_WINDOW = 300
_APART = 10  # windows between two events, so that the events are independent
_INTERFACE, _START, _END = 2, 10, 11  # positions in a line of the default format
_DRAWN = 250_000  # records, of 300 interfaces


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Milliseconds of one kind of event.

    Parameters
    ----------
    cold
        CPU time until the first answer of a new process.
    warm
        CPU time of a later answer, the median.
    first_alert
        Wall-clock time until the first alert; ``None`` where nothing was rejected.
    """

    name: str
    cold: float
    warm: float
    first_alert: float | None


class _Channel:
    """Accepts notifications and records the time of the first."""

    def __init__(self) -> None:
        self.first: float | None = None

    def publish(self, notification: Notification) -> None:
        del notification
        if self.first is None:
            self.first = time.perf_counter()

    def publish_ends(self, alerts: Sequence[Alert]) -> None:
        for alert in alerts:
            self.publish(alert)


def _empty_store() -> MemoryStore:
    """Return a store that packs what is written and unpacks what is read, as that of the table."""
    from flowverdict.lifecycle import dynamodb_items as items  # noqa: PLC0415 - as in _handler
    from tests.helpers.memory_stores import MemoryStore  # noqa: PLC0415

    class Store(MemoryStore):
        def __init__(self) -> None:
            super().__init__()
            self._bodies: dict[str, bytes] = {}

        def load(self, fingerprints: Collection[str]) -> Mapping[str, AlertState]:
            return {
                name: items.unpack_state(
                    name, state.version, self._bodies[name], state.pending, state.pending_at
                )
                for name, state in super().load(fingerprints).items()
            }

        def commit(self, commit: Commit, now: int, intervals: Intervals) -> None:
            super().commit(commit, now, intervals)
            for contribution in commit.contributions:
                if contribution.notification is not None:
                    items.pack_contribution(contribution.notification)

        def _write_states(self, commit: Commit, intervals: Intervals) -> None:
            for state in commit.states:
                self._bodies[state.fingerprint] = items.pack_state(state)
                self._keep(state, intervals)

        def mark_sent(self, state: AlertState, intervals: Intervals) -> None:
            self._keep(self.states[state.fingerprint].sent(), intervals)  # a change of attributes

        def _keep(self, state: AlertState, intervals: Intervals) -> None:
            self.states[state.fingerprint] = replace(state, version=state.version + 1)
            self._due[state.fingerprint] = state.due_at(intervals)

    return Store()


class _NoRules:
    """A source of rules without an answer: EC2's time is not measured here."""

    def read(
        self,
        account_id: str | None,
        region: str | None,
        flows: Sequence[RejectedFlow],
        *,
        seconds: float | None = None,
    ) -> NetConfig | NotAvailable:
        from flowverdict.core.availability import NotAvailable  # noqa: PLC0415 - as below

        del account_id, region, flows, seconds
        return NotAvailable("not asked")


class _Objects:
    """A bucket of one object."""

    def __init__(self) -> None:
        self.content = b""

    @contextmanager
    def open(self, ref: ObjectRef) -> Iterator[BinaryIO]:
        del ref
        yield cast("BinaryIO", io.BytesIO(self.content))


def _moved(records: Sequence[str], number: int) -> list[str]:
    """Return the same records some windows later."""
    moved = []
    for record in records:
        words = record.split()
        for place in (_START, _END):
            words[place] = str(
                int(words[place]) % _WINDOW + 1_795_521_600 + number * _APART * _WINDOW
            )
        moved.append(" ".join(words))
    return moved


def _object_event(number: int) -> dict[str, Any]:
    key = (
        "AWSLogs/123456789012/vpcflowlogs/eu-west-1/2026/11/24/"
        f"123456789012_vpcflowlogs_eu-west-1_fl-1_{number}.log.gz"
    )
    record = {"eventSource": "aws:s3", "awsRegion": "eu-west-1", "eventName": "ObjectCreated:Put"}
    entity = {"bucket": {"name": "logs"}, "object": {"key": key, "size": 1, "eTag": str(number)}}
    return {"Records": [record | {"eventVersion": "2.1", "s3": entity}]}


@dataclass(frozen=True, slots=True)
class Event:
    """A kind of event: log events or an object, with so many records.

    ``times`` is how often the event is measured.
    """

    is_logs: bool
    records: int
    reject_share: float
    times: int = _TIMES


EVENTS = {
    "500 log events, none rejected": Event(is_logs=True, records=500, reject_share=0),
    "500 log events, 1 % rejected": Event(is_logs=True, records=500, reject_share=0.01),
    "object of 500 records, 1 % rejected": Event(is_logs=False, records=500, reject_share=0.01),
    "object of 50,000 records, 1 % rejected": Event(
        is_logs=False, records=50_000, reject_share=0.01
    ),
}
FLOOD = "object of 200,000 flows, all rejected"
_ALL_EVENTS = EVENTS | {FLOOD: Event(is_logs=False, records=200_000, reject_share=1, times=2)}


def _handler(
    channel: _Channel, objects: _Objects, *, is_logs: bool
) -> Callable[[dict[str, Any]], object]:
    """Build a handler as ``wiring`` builds it for Lambda, with empty stores."""
    from flowverdict.app import ingest  # noqa: PLC0415 - a cold start's import, to be measured
    from flowverdict.app.deadlines import BudgetedConfigSource  # noqa: PLC0415
    from flowverdict.app.observability import Observability  # noqa: PLC0415
    from flowverdict.core.garbage_collection import collect_rarely  # noqa: PLC0415
    from flowverdict.flowlog.log_formats import FixedFormat  # noqa: PLC0415
    from flowverdict.flowlog.records import DEFAULT_FORMAT  # noqa: PLC0415
    from tests.helpers.memory_functions import memory_functions  # noqa: PLC0415
    from tests.helpers.memory_stores import MemoryEvidence  # noqa: PLC0415

    collect_rarely()
    observability = Observability("benchmark")
    functions = memory_functions(
        store=_empty_store(),
        evidence=MemoryEvidence(),
        publisher=channel,
        configs=lambda: BudgetedConfigSource(_NoRules()),
        hourly_limit=1_000_000,
    )
    service, seconds = functions.reader, 300.0
    if is_logs:
        logs = ingest.ClassifyLogEvents(
            FixedFormat(DEFAULT_FORMAT), service, observability, region="eu-west-1"
        )
        reader: ingest.ClassifyLogEvents | ingest.ClassifyObjects = logs
    else:
        reader = ingest.ClassifyObjects(objects, service, observability)

    def read_and_evaluate(event: dict[str, Any]) -> object:
        answer = reader.handle(event, seconds)
        functions.evaluate_all()
        return answer

    return read_and_evaluate


def _drawn(event: Event) -> list[str]:
    """Draw records: of one interface for a log stream, of many interfaces for an object."""
    all_rejected = event.reject_share == 1
    spec = Spec("events", "default", _DRAWN, max(event.reject_share, 0.01), distinct=all_rejected)
    drawn = (line.rstrip() for line in lines(spec) if line.endswith(" OK\n"))
    interface = next(drawn).split()[_INTERFACE]
    action = " REJECT " if all_rejected else " ACCEPT " if event.reject_share == 0 else " "
    chosen = (
        line
        for line in drawn
        if action in line and (not event.is_logs or line.split()[_INTERFACE] == interface)
    )
    return list(islice(chosen, event.records))


def main() -> None:
    """Measure one kind of event in this process: ``argv`` has the core and the kind."""
    os.sched_setaffinity(0, {int(sys.argv[1])})
    name = sys.argv[2]
    event_kind = _ALL_EVENTS[name]
    used = time.process_time()
    records = _drawn(event_kind)
    if len(records) < event_kind.records:
        raise SystemExit(f"{name}: only {len(records)} records were drawn")
    preparing = time.process_time() - used  # a function has no such work
    channel, objects = _Channel(), _Objects()
    _handler(channel, objects, is_logs=event_kind.is_logs)
    started = time.process_time() - preparing
    milliseconds, alerted = list[float](), list[float]()
    for number in range(event_kind.times):
        handle = _handler(channel, objects, is_logs=event_kind.is_logs)
        moved = _moved(records, number)
        objects.content = gzip.compress("\n".join([DEFAULT_HEADER, *moved, ""]).encode())
        event = (
            json.loads(pack(moved, log_group="flow-logs", log_stream="eni"))
            if event_kind.is_logs
            else _object_event(number)
        )
        channel.first = None
        began, used = time.perf_counter(), time.process_time()
        with redirect_stdout(io.StringIO()):  # metrics and logs
            handle(event)
        milliseconds.append(1_000 * (time.process_time() - used))
        if channel.first is not None:
            alerted.append(1_000 * (channel.first - began))
    if len(alerted) != (0 if event_kind.reject_share == 0 else event_kind.times):
        raise SystemExit(f"{name}: {len(alerted)} of {event_kind.times} events were alerted")
    latency = Latency(
        name=name,
        cold=1_000 * started + milliseconds[0],
        warm=statistics.median(milliseconds[1:]),
        first_alert=statistics.median(alerted[1:]) if alerted else None,
    )
    print(json.dumps(asdict(latency)))


if __name__ == "__main__":
    main()
