"""Bound the time that an invocation spends on reading rules and flow logs.

Lambda ends a function at its time-out without warning, so what was read but not written is lost.
Both budgets end well before the time-out. The accounts whose rules are read come from records:
whoever writes a record may name hundreds, so the better an account is known, the more of the time
it may use.
"""

from __future__ import annotations

import time
from collections import defaultdict
from enum import Enum
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


class Standing(Enum):
    """How well an account is known; the value is the share of the time that may be spent then.

    The shares contain each other: what less known accounts have used up leaves the rest to those
    that are known better.
    """

    OWN = 1.0
    SEEN = 0.75  # listed by the operator, or its role was assumed before
    DELIVERS = 0.5  # its own flow logs name it
    NAMED = 0.25  # another account's flow logs name it


_SLICE = 0.25  # of the time, for each account and Region that is not the function's own


class BudgetedConfigSource:
    """Reads configurations for one invocation, until the time for reading them is spent.

    Parameters
    ----------
    own_account
        The function's own account; ``None`` counts every account as its own.
    seen
        Whether an account is known from before.

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
        clock: Clock | None = None,
        *,
        own_account: str | None = None,
        seen: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._configs = configs
        self._seconds = seconds
        self._clock = time.monotonic if clock is None else clock
        self._own_account = own_account
        self._seen = seen
        self._spent: defaultdict[tuple[str | None, str | None], float] = defaultdict(float)
        self.refused: dict[tuple[str | None, str | None], NotAvailable] = {}
        self.has_asked = False

    def read(
        self,
        account_id: str | None,
        region: str | None,
        flows: Sequence[RejectedFlow],
        *,
        seconds: float | None = None,
    ) -> NetConfig | NotAvailable:
        """Return the configuration, or the reason why it was not read."""
        place = (account_id, region)
        standing = self._standing(account_id, flows)
        share = standing.value * self._seconds
        left = share - sum(self._spent.values())
        if standing is not Standing.OWN:
            left = min(left, _SLICE * self._seconds - self._spent[place])
        if seconds is not None:
            left = min(left, seconds)
        config: NetConfig | NotAvailable
        if left <= 0:
            config = NotAvailable(
                f"the rules were not read: {share:g} s for reading those of other accounts "
                "and Regions were spent",
                retry_helps=True,
            )
        else:
            started = self._clock()
            config = self._configs.read(account_id, region, flows, seconds=left)
            self._spent[place] += self._clock() - started
        self.has_asked |= not isinstance(config, NotSetUp)
        if isinstance(config, NotAvailable):
            self.refused[place] = config
        return config

    def _standing(self, account_id: str | None, flows: Sequence[RejectedFlow]) -> Standing:
        if self._own_account is None or account_id in {None, self._own_account}:
            return Standing.OWN
        if account_id is not None and self._seen(account_id):
            return Standing.SEEN
        if any(flow.context.reported_by is None for flow in flows):
            return Standing.DELIVERS
        return Standing.NAMED


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
