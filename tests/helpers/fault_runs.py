"""Run one invocation in which AWS fails, and observe what the function does about it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from flowverdict_cli.local_aws import EVALUATE
from tests.helpers.aws_faults import Broken, Fault, appconfig
from tests.helpers.fault_records import Outcome
from tests.helpers.wire import Call, Try, When

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botocore.awsrequest import AWSResponse
    from botocore.client import BaseClient

    from flowverdict_cli.local_aws import Invocation
    from tests.helpers.fault_records import Delivery, Episode
    from tests.helpers.fault_world import World


@dataclass(slots=True, kw_only=True)
class RunResult:
    """What an invocation did, and the outcome in the end.

    Parameters
    ----------
    sequence
        All calls, in the order made.
    calls
        Each call once, in the order made.
    tries
        How often each call that met the fault was tried.
    waits
        Seconds that each sleep would have taken.
    failed
        Whether the function raised an error, or gave messages back.
    unforeseen
        Exceptions that are not the project's own.
    log
        Message and reason of every line above the level INFO.
    clients
        The time-outs and tries of each client made.
    at_once
        The outcome when the invocation was over.
    """

    sequence: list[Call] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    tries: list[int] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    failed: bool = False
    unforeseen: list[str] = field(default_factory=list)
    log: list[tuple[str, str]] = field(default_factory=list)
    metrics: Mapping[str, float] = field(default_factory=dict)
    clients: set[Patience] = field(default_factory=set)
    at_once: Outcome = field(default_factory=Outcome)
    outcome: Outcome = field(default_factory=Outcome)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a client waits, in seconds, and how often it tries."""

    service: str
    connect: float
    read: float
    mode: str
    tries: int

    @classmethod
    def of(cls, client: BaseClient) -> Patience:
        """Read the settings of a client."""
        config: Any = client.meta.config  # the stubs lack its options
        return cls(
            service=client.meta.service_model.service_name,
            connect=config.connect_timeout,
            read=config.read_timeout,
            mode=config.retries["mode"],
            tries=config.retries["total_max_attempts"],
        )


class Run:
    """One observed invocation, in which calls may fail.

    Parameters
    ----------
    broken
        How the calls fail; ``None`` for not at all.
    where
        The call that fails at every try; ``None`` for the first try of every call.
    """

    def __init__(
        self,
        world: World,
        episode: Episode,
        *,
        broken: Broken | None = None,
        where: Call | None = None,
    ) -> None:
        self._world = world
        self._episode = episode
        self._broken = broken
        self._where = where
        self._result = RunResult()

    def result(self) -> RunResult:
        """Invoke the function, end the fault, and let AWS deliver what is still due."""
        result, world = self._result, self._world
        world.wire.clients.clear()
        world.aws.keep_warm = True  # an error leaves the function's process alive
        with pytest.MonkeyPatch.context() as patch, world.wire.listening(self._hear, self._answer):
            patch.setattr(time, "sleep", result.waits.append)
            again = self._record(self._invocation())
        result.clients = {Patience.of(client) for client in world.wire.clients}
        result.at_once = world.outcome()
        with world.wire.listening(lambda *_: None, appconfig):
            world.play(self._episode, again)
        result.outcome = world.outcome()
        return result

    def _invocation(self) -> Invocation | None:
        try:
            return self._world.invoke(self._episode.first)
        except Exception as error:  # noqa: BLE001 - unforeseen errors are looked for
            self._result.unforeseen.append(f"{type(error).__name__}: {error}"[:200])
            return None

    def _record(self, invocation: Invocation | None) -> list[Delivery]:
        again = self._world.again(self._episode.first, invocation)
        if invocation is None:
            self._result.failed = True
            return again
        lines = [line for line in invocation.log if line["level"] != "INFO"]
        self._result.unforeseen += [str(line["exception"]) for line in lines if "exception" in line]
        self._result.log = [(str(line["message"]), str(line.get("reason", ""))) for line in lines]
        self._result.metrics = invocation.metrics
        # The third message is delivered again in any case: it names the object of the first one.
        messages = [
            message["messageId"]
            for delivery in again
            for message in delivery.event.get("Records", [])
            if "messageId" in message
        ]
        self._result.failed = (
            invocation.error is not None
            or any(message != "3" for message in messages)
            or any(delivery.function == EVALUATE and delivery.received > 1 for delivery in again)
        )
        return again

    def _hear(self, call: Call, when: When) -> None:
        if when is When.AFTER:
            return
        self._result.sequence.append(call)
        if call not in self._result.calls:
            self._result.calls.append(call)
        if self._where in {call, None}:
            self._result.tries.append(0)

    def _answer(self, tried: Try) -> AWSResponse | None:
        if self._broken is not None and self._where in {tried.call, None}:
            self._result.tries[-1] += 1
            if self._where is not None or self._result.tries[-1] == 1:
                return self._broken.answer(tried)
        return appconfig(tried)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A function, one of its calls, and the run of each fault; ``well`` is the run without one."""

    function: str
    call: Call
    well: RunResult
    results: dict[Fault, RunResult]

    @property
    def patience(self) -> list[Patience]:
        """The settings of the clients that may have made the call."""
        return [client for client in self.well.clients if client.service == self.call.service]


def lacks(result: RunResult, well: RunResult) -> list[str]:
    """Describe what a run lost or sent in error, compared with a run without fault."""
    outcome, expected = result.outcome, well.outcome
    lacking = [
        *outcome.lost,
        *(f"not sent: {about}" for about in sorted(expected.about - outcome.about)),
    ]
    if is_degraded(result, well):
        return (
            lacking if result.log != well.log else [*lacking, "degraded, and no log line says why"]
        )
    lacking += [
        f"not sent: {message}"
        for message in sorted(expected.messages.keys() - outcome.messages.keys())
    ]
    lacking += [
        f"sent in error: {message}"
        for message in sorted(outcome.messages.keys() - expected.messages.keys())
    ]
    lacking += [
        f"sent {count} times: {message}" for message, count in outcome.messages.items() if count > 2
    ]
    if outcome.counts != expected.counts:
        lacking.append(f"counted {outcome.counts} and not {expected.counts}")
    return lacking


def is_degraded(result: RunResult, well: RunResult) -> bool:
    """Whether alerts were sent that a run without fault does not send: they know less."""
    return not result.failed and not result.outcome.messages.keys() <= well.outcome.messages.keys()
