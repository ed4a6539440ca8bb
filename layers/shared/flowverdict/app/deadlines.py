"""Bound the time that an invocation spends on reading rules and flow logs.

Lambda ends a function at its time-out without warning, so what was read but not written is lost.
Both budgets end well before the time-out.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, BinaryIO, cast

from flowverdict.core.availability import NotAvailable, NotSetUp
from flowverdict.core.errors import OutOfTimeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flowverdict.flows.model import RejectedFlow
    from flowverdict.network.configuration import NetConfig
    from flowverdict.network.ports import ConfigSource


# One account and Region may take 10 s, and its last call's retries half a minute: together well
# below the time-out.
_RULES_SECONDS = 15.0

# Evaluation takes a fraction of reading, the rules 15 s and half a minute at the worst, writing and
# sending some seconds.
_READING_SHARE = 0.6


class BudgetedConfigSource:
    """Reads configurations for one invocation, until the time for reading them is spent.

    Accounts and Regions come from log records: a forged log may name hundreds, and each takes time
    to be refused.

    Attributes
    ----------
    refused
        Why a configuration was not read, by account and Region.
    has_asked
        Whether a configuration was asked for that is set up to be read.
    """

    def __init__(
        self,
        configs: ConfigSource,
        seconds: float = _RULES_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._configs = configs
        self._seconds = seconds
        self._clock = clock
        self._deadline = clock() + seconds
        self.refused: dict[tuple[str | None, str | None], NotAvailable] = {}
        self.has_asked = False

    def read(
        self, account_id: str | None, region: str | None, flows: Sequence[RejectedFlow]
    ) -> NetConfig | NotAvailable:
        """Return the configuration, or the reason why it was not read."""
        config: NetConfig | NotAvailable
        if self._clock() >= self._deadline:
            config = NotAvailable(
                f"the rules were not read: {self._seconds:g} s for reading those of other accounts "
                "and Regions were spent",
                retry_helps=True,
            )
        else:
            config = self._configs.read(account_id, region, flows)
        self.has_asked |= not isinstance(config, NotSetUp)
        if isinstance(config, NotAvailable):
            self.refused[account_id, region] = config
        return config


class ReadDeadline:
    """The time that an invocation has for reading; the rest is for evaluating and notifying.

    A function that Lambda ends has counted and notified nothing, so reading stops before.
    """

    def __init__(self, seconds: float, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._seconds = seconds * _READING_SHARE
        self._end = clock() + self._seconds

    def check(self, name: str) -> None:
        """Raise ``OutOfTimeError`` when the time is over."""
        if self._clock() >= self._end:
            raise OutOfTimeError(
                f"{name}: not read to its end within the {self._seconds:.0f} s that an invocation "
                "may read; it is tried again. "
                "What alone takes longer needs a longer time-out or more memory."
            )

    def limit(self, stream: BinaryIO, name: str) -> BinaryIO:
        """Return a stream that raises ``OutOfTimeError`` when the time is over."""
        return cast("BinaryIO", _Timed(stream, self, name))


class _Timed:
    """A stream with ``read(size)`` alone, which is all that reading a flow log needs."""

    def __init__(self, stream: BinaryIO, time_left: ReadDeadline, name: str) -> None:
        self._stream = stream
        self._time_left = time_left
        self._name = name

    def read(self, size: int) -> bytes:
        self._time_left.check(self._name)
        return self._stream.read(size)


type Clock = Callable[[], float]
