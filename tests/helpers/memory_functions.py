"""The functions that read sources and evaluate windows, on stores in memory, and their signals."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowverdict.app.evaluate import EvaluateWindows
from flowverdict.app.ingestion import IngestService
from flowverdict.app.observability import Observability
from flowverdict.app.signals import group_of, message_of
from flowverdict.lifecycle.feed_readings import FeedReadings
from flowverdict.lifecycle.intervals import Intervals
from flowverdict.lifecycle.manager import AlertManager
from flowverdict.lifecycle.windows import WindowEvaluator

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from flowverdict.app.deadlines import BudgetedConfigSource, Clock
    from flowverdict.app.signals import Signal
    from flowverdict.flows.ports import EvidenceStore
    from flowverdict.lifecycle.store import AlertPublisher, AlertStore

_SECONDS = 300.0  # that an invocation has
_MOST = 10  # messages of a batch, as in the template
_TRIES = 12


class MemorySignals:
    """Implements ``Signals``: keeps messages until they are taken, equal ones too."""

    def __init__(self, clock: Clock = time.time) -> None:
        self._clock = clock
        self._number = 0
        self.messages: list[dict[str, Any]] = []

    def send(self, signals: Collection[Signal]) -> None:
        """Keep the signals in their order."""
        for signal in signals:
            self._number += 1
            attributes = {
                "MessageGroupId": group_of(signal.partition),
                "ApproximateReceiveCount": "0",
            }
            self.messages.append(
                {
                    "messageId": str(self._number),
                    "receiptHandle": str(self._number),
                    "body": message_of(signal, int(self._clock())),
                    "attributes": attributes,
                }
            )

    def take(self) -> dict[str, Any] | None:
        """Return the event of the next ten messages; ``None`` for none."""
        taken, self.messages = self.messages[:_MOST], self.messages[_MOST:]
        for message in taken:
            attributes = message["attributes"]
            received = int(attributes["ApproximateReceiveCount"]) + 1
            attributes["ApproximateReceiveCount"] = str(received)
        return {"Records": taken} if taken else None

    def give_back(self, event: dict[str, Any], failed: Collection[str]) -> None:
        """Keep messages of an event again, before all others."""
        back = [message for message in event["Records"] if message["messageId"] in failed]
        self.messages = [*back, *self.messages]

    def evaluate_some(self, evaluate: EvaluateWindows) -> bool:
        """Let a function evaluate the next batch; return whether all of it is done.

        A function that dies gives all of it back.
        """
        event = self.take()
        if event is None:
            return True
        failed: set[str] = {message["messageId"] for message in event["Records"]}
        try:
            answer = evaluate.handle(event, _SECONDS)
            failed = {str(failure["itemIdentifier"]) for failure in answer["batchItemFailures"]}
        finally:
            self.give_back(event, failed)
        return not failed

    def evaluate_all(self, evaluate: EvaluateWindows) -> None:
        """Let a function evaluate all messages, again what fails."""
        tries: defaultdict[str, int] = defaultdict(int)
        while self.messages:
            first = self.messages[0]["messageId"]
            tries[first] += 1
            assert tries[first] <= _TRIES, f"given up: {self.messages[0]['body']}"
            self.evaluate_some(evaluate)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryFunctions:
    """One execution environment of each of the two functions."""

    reader: IngestService
    evaluate: EvaluateWindows
    signals: MemorySignals

    def evaluate_all(self) -> None:
        """Evaluate all that is signalled."""
        self.signals.evaluate_all(self.evaluate)


def memory_functions(  # noqa: PLR0913 - what they are made of, each by its name
    *,
    store: AlertStore,
    evidence: EvidenceStore,
    publisher: AlertPublisher,
    configs: Callable[[], BudgetedConfigSource],
    signals: MemorySignals | None = None,
    hourly_limit: int = 1_000,
    clock: Clock = time.time,
    wait: Callable[[float], None] = time.sleep,
) -> MemoryFunctions:
    """Build the functions on these stores."""
    intervals, observability = Intervals(), Observability("tried")
    signals = MemorySignals(clock) if signals is None else signals
    manager = AlertManager(
        store, publisher, intervals=intervals, hourly_limit=hourly_limit, wait=wait
    )
    return MemoryFunctions(
        reader=IngestService(
            store=store,
            evidence=evidence,
            signals=signals,
            observability=observability,
            clock=clock,
        ),
        evaluate=EvaluateWindows(
            evaluator=WindowEvaluator(evidence, store, manager, intervals),
            store=store,
            feeds=FeedReadings(store, intervals, wait=wait),
            intervals=intervals,
            configs=configs,
            policies=None,
            observability=observability,
            clock=clock,
        ),
        signals=signals,
    )
