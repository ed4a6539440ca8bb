"""Signals that are lost, doubled, late, out of order or senseless change no alert in the end."""

from __future__ import annotations

import io
import json
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowverdict.app.deadlines import BudgetedConfigSource
from flowverdict.app.signals import (
    CLOCKS_DIFFER,
    FeedRead,
    SourceJudged,
    SqsSignals,
    message_of,
    signal_in,
)
from flowverdict.app.sources import SourcePlace
from flowverdict.core.availability import NotAvailable
from flowverdict.core.errors import EnvelopeError, EvidenceError, SignalError
from flowverdict.flowlog.columnar import WINDOW
from flowverdict.flows.read_source import read_object
from flowverdict.lifecycle.dirty_window import DirtyWindow
from tests.helpers.alert_samples import NOW, Outbox
from tests.helpers.flow_log_lines import NUMBER, content_of, key_of, reply, request
from tests.helpers.memory_functions import MemoryFunctions, MemorySignals, memory_functions
from tests.helpers.memory_stores import MemoryEvidence, MemoryStore

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flowverdict.app.signals import Signal
    from flowverdict.flows.read_source import SourceRead
    from flowverdict.flows.stored_evidence import StoredEvidence

DELAY = 90
PLACE = "123456789012#eu-west-1"
FEED = f"{PLACE}#fl-aa"


# --- the messages ---------------------------------------------------------------------------------


class Sent:
    """A client of SQS that keeps what is sent; ``refused`` are the ids of entries not taken."""

    def __init__(self, refused: Sequence[str] = ()) -> None:
        self.batches: list[list[dict[str, str]]] = []
        self._refused = refused
        self.meta: Any = type("Meta", (), {"events": self})

    def register(self, *_: object, **__: object) -> None:
        """Take a handler of botocore's and call it never."""

    def send_message_batch(self, *, QueueUrl: str, Entries: list[dict[str, str]]) -> object:  # noqa: N803 - boto3's
        assert QueueUrl == "queue"
        self.batches.append(Entries)
        return {"Failed": [{"Id": name, "Code": "Busy"} for name in self._refused]}


def entries(*signals: Signal, at: float = NOW) -> list[Any]:
    client: Any = Sent()
    SqsSignals(client, "queue", DELAY, lambda: at).send(signals)
    return [entry for batch in client.batches for entry in batch]


def window(number: int = NUMBER, partition: str = PLACE) -> DirtyWindow:
    return DirtyWindow(partition=partition, window=number, feed=partition)


def test_signals_go_ten_in_a_request_and_come_as_they_were_sent() -> None:
    signals: list[Signal] = [window(number) for number in range(11)]
    signals_after: list[Signal] = [
        FeedRead(partition=PLACE, feed=FEED, read_to=NOW),
        SourceJudged(partition=PLACE, feed=FEED, source_id="object"),
    ]
    client: Any = Sent()
    SqsSignals(client, "queue", DELAY, lambda: NOW).send([*signals, *signals_after])
    assert [len(batch) for batch in client.batches] == [10, 3]
    received = [signal_in(entry["MessageBody"]) for batch in client.batches for entry in batch]
    assert [each.signal for each in received] == [*signals, *signals_after]
    assert {each.sent_at for each in received} == {NOW}


def test_what_is_not_the_same_has_another_id_and_a_place_is_a_group() -> None:
    many: list[Signal] = [
        window(),
        window(NUMBER + 1),
        window(partition=f"{PLACE}x"),
        FeedRead(partition=PLACE, feed=FEED, read_to=NOW),
        FeedRead(partition=PLACE, feed=FEED, read_to=NOW + 1),
        FeedRead(partition=PLACE, feed=PLACE, read_to=NOW),
        SourceJudged(partition=PLACE, feed=FEED, source_id="object"),
    ]
    sent = entries(*many)
    assert len({entry["MessageDeduplicationId"] for entry in sent}) == len(many)
    assert len({entry["MessageGroupId"] for entry in sent}) == 2
    assert (
        entries(*many, at=NOW + 59 - NOW % 60)[0]["MessageDeduplicationId"]
        == (sent[0]["MessageDeduplicationId"])
    )


@given(
    first=st.floats(0, 600),
    later=st.floats(0, 600),
    clocks=st.tuples(st.floats(0, CLOCKS_DIFFER), st.floats(0, CLOCKS_DIFFER)),
)
def test_whatever_a_signal_stands_for_was_stored_before_it_is_handed_out(
    first: float, later: float, clocks: tuple[float, float]
) -> None:
    """The evidence of the second is stored before its clock is read."""
    one, other = (
        entries(window(), at=NOW + at + clock)[0]["MessageDeduplicationId"]
        for at, clock in zip((first, later), clocks, strict=True)
    )
    if one == other:
        assert later <= first + DELAY


def test_a_signal_that_is_not_taken_fails_the_invocation() -> None:
    client: Any = Sent(refused=["0"])
    with pytest.raises(SignalError, match="1 of 1 signals were not taken: Busy"):
        SqsSignals(client, "queue", DELAY, lambda: NOW).send([window()])


@pytest.mark.parametrize(
    "body",
    [
        None,
        "",
        "[" * 100_000,
        "[]",
        "{}",
        message_of(window(), NOW).replace(str(NUMBER), "-1"),
        message_of(window(), NOW).replace(str(NUMBER), "1" + "0" * 12),
        message_of(window(), NOW).replace(str(NUMBER), '"x"'),
        json.dumps({"partition": PLACE, "feed": FEED, "sent_at": NOW}),
    ],
)
def test_what_is_not_a_signal_is_refused_in_one_line(body: object) -> None:
    with pytest.raises(EnvelopeError, match=r"^not a signal: [a-zA-Z ]+$"):
        signal_in(body)


# --- what becomes of them -------------------------------------------------------------------------


class NoRules:
    def read(self, *_: object, seconds: float | None = None) -> NotAvailable:
        del seconds
        return NotAvailable("the rules were not asked for")


class BrokenPlaces(MemoryEvidence):
    """Evidence that cannot be read of the places ``broken``."""

    def __init__(self) -> None:
        super().__init__()
        self.broken: set[str] = set()

    def read(self, partition: str, first: int, last: int) -> Mapping[int, Sequence[StoredEvidence]]:
        if partition in self.broken:
            raise EvidenceError("the bucket is away")
        return super().read(partition, first, last)


class Stack:
    def __init__(self) -> None:
        self.store, self.evidence, self.outbox = MemoryStore(), BrokenPlaces(), Outbox()
        self.now = NOW
        self.signals = MemorySignals(lambda: self.now)
        self.functions: MemoryFunctions = memory_functions(
            store=self.store,
            evidence=self.evidence,
            publisher=self.outbox,
            signals=self.signals,
            configs=lambda: BudgetedConfigSource(NoRules()),
            clock=lambda: self.now,
            wait=lambda _: None,
        )

    def deliver(self, number: int, *lines: str, region: str = "eu-west-1") -> None:
        """Let a function read a file."""
        key = key_of("fl-aa", number).replace("eu-west-1", region)

        def read(seed: int) -> SourceRead:
            return read_object(io.BytesIO(content_of(lines)), name=key, seed=seed)

        ingestion = self.functions.reader.begin()
        ingestion.ingest(key, key, SourcePlace.of_object(key), read)
        assert ingestion.finish() == {}

    def alerts(self) -> dict[str, tuple[object, ...]]:
        return {
            name: (state.notification.severity, state.notification.counts)
            for name, state in self.store.states.items()
            if state.is_open
        }


FILES: list[tuple[int, tuple[str, ...]]] = [
    (1, (request(40_001, 0, action="ACCEPT"),)),
    (2, (reply(40_001, 10),)),
    (3, (reply(40_002, 20), reply(40_001, WINDOW))),
    (4, (request(40_002, -WINDOW, action="ACCEPT"),)),
]


def in_order() -> Stack:
    stack = Stack()
    for number, lines in FILES:
        stack.deliver(number, *lines)
        stack.functions.evaluate_all()
    return stack


@pytest.mark.parametrize("seed", range(4))
def test_signals_that_come_twice_late_and_in_any_order_change_nothing(seed: int) -> None:
    random = Random(seed)  # noqa: S311 - the same order each time
    stack = Stack()
    for number, lines in FILES:
        stack.deliver(number, *lines)
        if random.random() < 0.5:
            stack.functions.evaluate_all()
    stack.signals.messages *= 2
    for number, message in enumerate(stack.signals.messages):
        stack.signals.messages[number] = {**message, "messageId": f"copy-{number}"}
    random.shuffle(stack.signals.messages)
    stack.functions.evaluate_all()
    assert stack.alerts() == in_order().alerts()
    assert len(stack.outbox.sent) >= len(stack.alerts())


def test_one_signal_does_for_all_that_it_stands_for() -> None:
    stack = Stack()
    for number, lines in FILES:
        stack.deliver(number, *lines)
    kept: dict[object, dict[str, Any]] = {}
    for message in stack.signals.messages:
        kept.setdefault(signal_in(message["body"]).signal, message)
    assert len(kept) < len(stack.signals.messages)
    stack.signals.messages = [*kept.values()]
    stack.functions.evaluate_all()
    assert stack.alerts() == in_order().alerts()


@pytest.mark.parametrize("number", [0, NUMBER, NUMBER - 3_000_000, NUMBER + 3_000_000])
def test_a_signal_without_evidence_of_any_time_does_nothing(number: int) -> None:
    stack = Stack()
    stack.signals.send([window(number)])
    assert stack.signals.evaluate_some(stack.functions.evaluate)
    assert stack.store.load_windows([f"{PLACE}#{number}"]) == {}
    assert stack.outbox.sent == []


def test_evidence_without_a_signal_is_judged_with_the_next_signal_of_its_neighbours() -> None:
    stack = Stack()
    stack.deliver(1, reply(40_001, 10))
    stack.signals.messages.clear()
    stack.functions.evaluate_all()
    assert stack.alerts() == {}
    stack.deliver(2, request(40_003, WINDOW, action="ACCEPT"))
    stack.functions.evaluate_all()
    assert len(stack.alerts()) == 1


def test_a_place_that_fails_for_hours_comes_again_and_the_others_go_on() -> None:
    stack = Stack()
    stack.evidence.broken = {PLACE}
    stack.deliver(1, reply(40_001, 10))
    stack.deliver(2, reply(40_001, 10), region="us-east-1")
    for _ in range(5):
        stack.signals.evaluate_some(stack.functions.evaluate)
    waiting = [signal_in(message["body"]).signal for message in stack.signals.messages]
    assert {signal.partition for signal in waiting} == {PLACE}
    assert len(stack.alerts()) == 1
    # Nothing of it counts as read, and what its feeds show then is not known.
    assert FEED not in stack.store.feeds
    assert stack.store.unread(PLACE, 0, 10) != []
    stack.evidence.broken = set()
    stack.now += 7_200
    stack.functions.evaluate_all()
    assert len(stack.alerts()) == 2
    assert FEED in stack.store.feeds
    assert stack.store.unread(PLACE, 0, 10) == []


def test_a_window_from_the_dead_letter_queue_is_judged_and_holds_back_no_longer() -> None:
    stack = Stack()
    stack.evidence.broken = {PLACE}
    stack.deliver(1, reply(40_001, 10))
    stack.signals.evaluate_some(stack.functions.evaluate)
    assert stack.store.unread(PLACE, 0, 10) != []
    stack.evidence.broken = set()
    stack.now += 86_400
    for message in stack.signals.messages:  # put back, a message is as new
        message["attributes"]["ApproximateReceiveCount"] = "0"
    stack.functions.evaluate_all()
    assert len(stack.alerts()) == 1
    assert stack.store.unread(PLACE, 0, 10) == []


def test_no_signal_overtakes_one_of_its_place_that_fails() -> None:
    stack = Stack()
    stack.deliver(1, reply(40_001, 10))
    first, *rest = stack.signals.messages
    broken = {**first, "messageId": "broken", "body": "{}"}
    stack.signals.messages = [first, broken, *rest]
    event = stack.signals.take()
    assert event is not None
    answer = stack.functions.evaluate.handle(event, 300)
    failed = [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]
    assert failed == ["broken", *(message["messageId"] for message in rest)]
    assert len(stack.alerts()) == 1


def test_a_place_whose_turn_comes_too_late_comes_again() -> None:
    stack = Stack()
    stack.deliver(1, reply(40_001, 10))
    event = stack.signals.take()
    assert event is not None
    assert len(stack.functions.evaluate.handle(event, 0)["batchItemFailures"]) == len(
        event["Records"]
    )
    assert stack.alerts() == {}
