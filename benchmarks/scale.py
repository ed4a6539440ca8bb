"""Show how the work for a file grows with the files of an account's Region: ``make scale``.

The application's real classes read files of as many flow logs, on stores in memory that count
(``counted_aws``), in simulated time. Every flow log writes a file in five minutes. Files of three
periods were read before; those of the fourth come one after the other, and functions at once read
them, up to twenty files at a time, as the queue hands them over. Two functions at once evaluate
what is signalled, after the queue's delay. Rules are not asked for. Where the processor time runs
out, the row says how far the functions came, and its figures are a lower bound.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
import tracemalloc
from collections import deque
from contextlib import redirect_stdout
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.counted_aws import LATENCY, Bucket, SignalQueue, Simulation, Table, Topic
from benchmarks.scale_files import BEGIN, PERIODS, Files, Load, event_of
from flowverdict.app.deadlines import BudgetedConfigSource
from flowverdict.app.evaluate import EvaluateWindows
from flowverdict.app.ingest import ClassifyObjects
from flowverdict.app.ingestion import IngestService
from flowverdict.app.observability import Observability
from flowverdict.app.signals import SqsSignals
from flowverdict.core.availability import NotAvailable
from flowverdict.core.errors import FlowVerdictError
from flowverdict.core.garbage_collection import collect_rarely
from flowverdict.flowlog.columnar import WINDOW
from flowverdict.flows.evidence_s3 import S3Evidence
from flowverdict.lifecycle.dynamodb import DynamoDbStore
from flowverdict.lifecycle.feed_readings import FeedReadings
from flowverdict.lifecycle.intervals import Intervals
from flowverdict.lifecycle.manager import AlertManager
from flowverdict.lifecycle.windows import WindowEvaluator

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from flowverdict.flows.model import RejectedFlow
    from flowverdict.flows.stored_evidence import StoredEvidence

_ARRIVING = 60  # seconds in which the files of a period arrive: most do within a minute
_BATCHING = 60  # seconds that the queue waits for more files, as in the template
_GIVEN_BACK = 60  # seconds until a batch that failed comes again
_DELAY = 90  # seconds until signals are handed out, as in the template
_SIGNALS = 10  # of a batch
_EVALUATORS = 2
_POLL = 1  # second between two looks at the queue of signals
_RECEIVES = 5
_SECONDS = 100_000.0  # that an invocation has, so that none breaks off
_CALLS = ("GET", "PUT", "LIST")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What the files of one period took.

    Parameters
    ----------
    calls
        Calls, units, bytes and tries by their names.
    begun
        Files that functions began to read: all, unless the processor time was spent.
    done
        Invocations that read files and ended well, of ``invocations``.
    latency
        Seconds from a file's arrival until its alerts were told, median and longest.
    finished
        Seconds from the first file's arrival until the last function ended.
    longest
        Seconds of the longest invocation.
    judging, memory
        Seconds of the processor, and MiB, that an invocation takes which judges the last window
        and those around once more.
    """

    files: int
    begun: int
    invocations: int
    done: int
    calls: Mapping[str, int]
    cpu: float
    latency: tuple[float, float]
    finished: float
    longest: float
    judging: float
    memory: float

    @property
    def requests(self) -> float:
        """GET, PUT and LIST of a file."""
        return sum(self.calls.get(call, 0) for call in _CALLS) / max(self.begun, 1)

    @property
    def cpu_of_a_file(self) -> float:
        """Seconds of the processor for a file."""
        return self.cpu / max(self.begun, 1)


class _NoRules:
    """A source of rules without an answer."""

    def read(
        self,
        account_id: str | None,
        region: str | None,
        flows: Sequence[RejectedFlow],
        *,
        seconds: float | None = None,
    ) -> NotAvailable:
        del account_id, region, flows, seconds
        return NotAvailable("not asked")


class _Evidence(S3Evidence):
    """Counts how often evidence is read for judging."""

    simulation: Simulation

    def read(self, partition: str, first: int, last: int) -> Mapping[int, Sequence[StoredEvidence]]:
        self.simulation.count("evaluations")
        return super().read(partition, first, last)


@dataclass(slots=True)
class _Batch:
    """Files that come to one invocation; ``at`` is when, in Unix seconds."""

    at: float
    keys: list[str]
    arrived: list[float]
    received: int = 0


def _batches(keys: Sequence[str], start: float, most: int) -> list[_Batch]:
    """Return the files as the queue hands them over: after a minute, or once there are enough."""
    batches: list[_Batch] = []
    for number, key in enumerate(keys):
        at = start + _ARRIVING * number / len(keys)
        last = batches[-1] if batches else None
        if last is None or len(last.keys) == most or at > last.arrived[0] + _BATCHING:
            last = _Batch(0, [], [])
            batches.append(last)
        last.keys.append(key)
        last.arrived.append(at)
        last.at = at if len(last.keys) == most else last.arrived[0] + _BATCHING
    return batches


class _Stack:
    """The functions on stores that count."""

    def __init__(self, load: Load, cpu_seconds: Callable[[], float]) -> None:
        self.simulation = Simulation(BEGIN + WINDOW, cpu_seconds)
        self.files = Files(load, self.simulation)
        self.topic = Topic(self.simulation)
        self.signals = SignalQueue(self.simulation, _DELAY)
        self._bucket: Any = Bucket(self.simulation)
        self._table: Any = Table(self.simulation)
        self.simulation.forget_cpu()

    def reader(self) -> Callable[[dict[str, Any]], object]:
        """Return a new execution environment of ``classify_s3``."""
        simulation = self.simulation
        store = DynamoDbStore(self._table, "alerts", wait=self._wait)
        observability = Observability("scale")
        queue: Any = self.signals
        service = IngestService(
            store=store,
            evidence=S3Evidence(self._bucket, "evidence", _unreadable),
            signals=SqsSignals(queue, "signals", _DELAY, simulation.now),
            observability=observability,
            clock=simulation.now,
        )
        classify = ClassifyObjects(self.files, service, observability)
        return lambda event: classify.handle(event, _SECONDS)

    def evaluator(self) -> Callable[[dict[str, Any]], Collection[str]]:
        """Return a new execution environment of ``evaluate_windows``.

        It returns the ids of the messages that failed.
        """
        simulation, intervals = self.simulation, Intervals()
        store = DynamoDbStore(self._table, "alerts", wait=self._wait)
        evidence = _Evidence(self._bucket, "evidence", _unreadable)
        evidence.simulation = simulation
        manager = AlertManager(
            store, self.topic, intervals=intervals, hourly_limit=1_000_000, wait=self._wait
        )
        evaluate = EvaluateWindows(
            evaluator=WindowEvaluator(evidence, store, manager, intervals),
            store=store,
            feeds=FeedReadings(store, intervals, wait=self._wait),
            intervals=intervals,
            configs=lambda: BudgetedConfigSource(_NoRules(), clock=simulation.now),
            policies=None,
            observability=Observability("scale"),
            clock=simulation.now,
        )

        def handle(event: dict[str, Any]) -> Collection[str]:
            answer = evaluate.handle(event, _SECONDS)
            return {str(failure["itemIdentifier"]) for failure in answer["batchItemFailures"]}

        return handle

    def evaluate_all(self, evaluate: Callable[[dict[str, Any]], Collection[str]]) -> None:
        """Evaluate what is signalled, once it may be taken."""
        while not self.signals.is_empty:
            event = self.signals.take(_SIGNALS)
            if event is None:
                self.simulation.wait(_POLL)
            else:
                self.signals.done(event, evaluate(event), _GIVEN_BACK)

    def _wait(self, seconds: float) -> None:
        self.simulation.call("tries again", seconds=seconds)


def _unreadable(name: str, reason: str) -> None:
    raise AssertionError(f"{name}: {reason}")


class _Period:
    """The last period: functions at once that take one batch after the other, and evaluators."""

    def __init__(self, stack: _Stack, keys: Sequence[str], batch: int) -> None:
        self._stack = stack
        self._simulation = stack.simulation
        self.start = self._simulation.now()
        self._waiting = deque(_batches(keys, self.start, batch))
        self.invocations = len(self._waiting)
        self.begun = self.done = self._reading = 0
        self.latencies: list[float] = []
        self.durations: list[float] = []
        # Files that are read and not evaluated: when they arrived, and when they were read.
        self._read: list[tuple[float, float]] = []

    def evaluate(self) -> None:
        """Evaluate batches of signals until all files are read and evaluated."""
        handle, signals = self._stack.evaluator(), self._stack.signals
        while self._waiting or self._reading or not signals.is_empty:
            event = signals.take(_SIGNALS)
            if event is None:
                self._simulation.wait(_POLL)
                continue
            began = self._simulation.now()
            self._simulation.count("batches of signals")
            failed = handle(event)
            self._simulation.count("gave up", 1 if failed else 0)
            now = self._simulation.now()
            signals.done(event, failed, _GIVEN_BACK)
            self.durations.append(now - began)
            if not failed:
                told = [(at, read) for at, read in self._read if read <= began]
                self._read = [(at, read) for at, read in self._read if read > began]
                self.latencies += [now - at for at, _ in told]

    def work(self) -> None:
        """Read batches as one execution environment after the other does."""
        self._reading += 1
        try:
            self._read_batches()
        finally:
            self._reading -= 1

    def _read_batches(self) -> None:
        handle = self._stack.reader()
        while self._waiting:
            batch = self._waiting.popleft()
            if batch.at > self._simulation.now():
                self._simulation.wait(batch.at - self._simulation.now())
            if batch.received == 0:
                self.begun += len(batch.keys)
            self._simulation.count("messages", len(batch.keys))
            began = self._simulation.now()
            try:
                handle(event_of(batch.keys))
            except FlowVerdictError:
                self._simulation.count("gave up")
                batch.received += 1
                batch.at = self._simulation.now() + _GIVEN_BACK
                if batch.received < _RECEIVES:
                    self._waiting.append(batch)
                continue
            finally:
                self.durations.append(self._simulation.now() - began)
            self.done += 1
            self._read += [(at, self._simulation.now()) for at in batch.arrived]


def measure(
    load: Load, cpu_budget: float, cpu_seconds: Callable[[], float] = time.process_time
) -> Figures:
    """Read the files of four periods; return what those of the last took.

    Parameters
    ----------
    cpu_budget
        Seconds of the processor that the last period may take.
    cpu_seconds
        Returns the processor time used so far, as in ``Simulation``.
    """
    with redirect_stdout(_Nowhere()):
        stack = _Stack(load, cpu_seconds)
        simulation = stack.simulation
        for keys in stack.files.keys[:-1]:
            stack.reader()(event_of(keys))
            stack.evaluate_all(stack.evaluator())
        simulation.wait(max(0, BEGIN + PERIODS * WINDOW - simulation.now()))
        before, cpu_before = simulation.calls.copy(), simulation.cpu
        simulation.cpu_budget = cpu_before + cpu_budget
        period = _Period(stack, stack.files.keys[-1], load.batch)
        simulation.run([*[period.work] * load.at_once, *[period.evaluate] * _EVALUATORS])
        finished = simulation.now() - period.start
        calls, cpu = simulation.calls - before, simulation.cpu - cpu_before
        simulation.cpu_budget = float("inf")
        once_more = event_of(stack.files.keys[-1][-1:])
        stack.reader()(once_more)
        simulation.wait(_DELAY)
        cpu_before = simulation.cpu
        stack.evaluate_all(stack.evaluator())
        simulation.wait(0)
        judging = simulation.cpu - cpu_before
        simulation.wait(WINDOW)  # else the same signals would be those of before
        stack.reader()(once_more)
        simulation.wait(_DELAY)
        tracemalloc.start()
        stack.evaluate_all(stack.evaluator())
        memory = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
    return Figures(
        files=load.files,
        begun=period.begun,
        invocations=period.invocations,
        done=period.done,
        calls=calls,
        cpu=cpu,
        latency=(median(period.latencies or [0]), max(period.latencies, default=0)),
        finished=finished,
        longest=max(period.durations, default=0),
        judging=judging,
        memory=memory,
    )


class _Nowhere(io.StringIO):
    """Takes the functions' logs and metrics, and keeps nothing."""

    def write(self, text: str) -> int:
        return len(text)


_COLUMNS: Mapping[str, Callable[[Figures], str]] = {
    "files": lambda figures: f"{figures.files:,}",
    "invocations": lambda figures: f"{figures.done:,} of {figures.invocations:,}",
    **{
        name: lambda figures, name=name: f"{figures.calls.get(name, 0):,}"  # type: ignore[misc]  # a default binds the name
        for name in (*_CALLS, "read units", "write units", "messages", "signals")
    },
    "MB read back": lambda figures: f"{figures.calls.get('bytes read back', 0) / 1e6:,.1f}",
    "evaluations": lambda figures: f"{figures.calls.get('evaluations', 0):,}",
    "tries again": lambda figures: f"{figures.calls.get('tries again', 0):,}",
    "gave up": lambda figures: f"{figures.calls.get('gave up', 0):,}",
    "CPU s": lambda figures: f"{figures.cpu:,.1f}",
    "one judging, s": lambda figures: f"{figures.judging:,.2f}",
    "one judging, MiB": lambda figures: f"{figures.memory:,.0f}",
    "longest s": lambda figures: f"{figures.longest:,.0f}",
    "file to alert s": lambda figures: "{:,.0f}, at most {:,.0f}".format(*figures.latency),
    "done after s": lambda figures: f"{figures.finished:,.0f}",
}


def table(measured: Sequence[Figures]) -> str:
    """Return the figures, a line for each number; the last line compares a file's share."""
    rows = [
        f"{name:<16}{''.join(f'{text(figures):>20}' for figures in measured)}"
        for name, text in _COLUMNS.items()
    ]
    fewest, most = measured[0], measured[-1]
    at_least = "at least " if most.begun < most.files or most.done < most.invocations else ""
    rows.append(
        f"per file, {most.files:,} against {fewest.files:,}: {at_least}"
        f"{most.requests:,.1f} calls of S3 against {fewest.requests:,.1f}"
        f" ({most.requests / fewest.requests:.1f} x), "
        f"{1_000 * most.cpu_of_a_file:,.1f} ms of CPU against {1_000 * fewest.cpu_of_a_file:,.1f}"
        f" ({most.cpu_of_a_file / fewest.cpu_of_a_file:.1f} x)"
    )
    return "\n".join(rows)


def main() -> None:
    """Print a table of all numbers of files, and as the last line a file's share."""
    usual = Load(files=1)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", type=int, default=[10, 100, 1_000, 5_000])
    parser.add_argument("--records", type=int, default=usual.records, help="of a file")
    parser.add_argument("--interfaces", type=int, default=usual.interfaces, help="of a file")
    parser.add_argument("--rejected", type=float, default=usual.rejected, help="share of records")
    parser.add_argument("--alerts", type=int, default=usual.alerts, help="open before")
    parser.add_argument("--at-once", type=int, default=usual.at_once, help="functions at once")
    parser.add_argument(
        "--batch", type=int, default=usual.batch, help="files of an invocation at the most"
    )
    parser.add_argument(
        "--cpu", type=float, default=300, help="seconds after which one number of files stops"
    )
    arguments = parser.parse_args()
    collect_rarely()
    measured = []
    for files in sorted(arguments.files):
        load = Load(
            files=files,
            records=arguments.records,
            interfaces=arguments.interfaces,
            rejected=arguments.rejected,
            alerts=arguments.alerts,
            at_once=arguments.at_once,
            batch=arguments.batch,
        )
        measured.append(measure(load, arguments.cpu))
        print(f"{files:,} files: {measured[-1].cpu:,.1f} s of CPU", file=sys.stderr)
    print(
        f"files of {WINDOW} s, {load.records} records and {load.interfaces} interfaces each, "
        f"{load.rejected:.0%} rejected, {load.alerts} alerts, {load.at_once} functions at once; "
        f"ms of a call: {', '.join(f'{call} {ms}' for call, ms in LATENCY.items())}"
    )
    print(table(measured))


if __name__ == "__main__":
    main()
