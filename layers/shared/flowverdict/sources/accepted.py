"""Accepted records as they are handed on when there are too many for an object each: hashes of keys, times and flags.

All that is asked of an accepted flow later is whether there was one of a key, when, and with which TCP flags.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from array import array

    import numpy as np

    from flowverdict.records import Address, FlowRecord

    type Column = array[int] | np.ndarray[Any, np.dtype[np.integer]]

NOT_LOGGED = -1
# Seconds. AWS makes a file of the records that ended in five minutes
# (https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-s3-path.html).
WINDOW = 300
# One that spans more than two hours was made by hand or by an enemy: what is further off goes into the nearest.
MAX_WINDOWS = 24


class Windows:
    """Numbers of the windows that records ended in, at most ``MAX_WINDOWS`` of them; all 0 where none are told apart."""

    def __init__(self, *, apart: bool) -> None:
        self._apart = apart
        self._known: set[int] = set()

    def of(self, end: int | None) -> int:
        """Give the window of what ended then (Unix seconds)."""
        return self.numbered(0 if end is None or not self._apart else end // WINDOW)

    def numbered(self, number: int) -> int:
        """Give the window that stands for this one."""
        if number in self._known:
            return number
        if len(self._known) < MAX_WINDOWS:
            self._known.add(number)
            return number
        return min(self._known, key=lambda known: (abs(known - number), known))

    @property
    def are_apart(self) -> bool:
        """Whether there is more than one."""
        return self._apart


# Cached as in ``records``: a file names few addresses over and over.
@lru_cache(maxsize=65_536)
def canonical_address(word: bytes) -> Address | None:
    """Give the address that a word is, if it is written as ``ipaddress`` would, of all ways to write it."""
    text = word.decode("ascii", "replace")
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return address if str(address) == text and "%" not in text else None


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedFlows:
    """Columns of one length: a ``numpy`` array each, or an ``array``.

    Parameters
    ----------
    hashes
        Unsigned 64 bits, see ``keyhash``.
    starts, ends
        Unix seconds, signed; -1 where not logged.
    flags
        ``tcp-flags`` in signed 32 bits; -1 where not logged.
    """

    hashes: Column
    starts: Column
    ends: Column
    flags: Column


@dataclass(slots=True)
class InterfaceFacts:
    """What accepted records told about an interface, as ``flows`` learns it record by record.

    ``own`` are its addresses by the logged direction, ``shared`` those that all its IPv4 records without a direction have in
    common (``None``: there was no such record).
    """

    accepts: int = 0
    own: set[Address] = field(default_factory=set)
    shared: set[Address] | None = None
    subnets: set[str] = field(default_factory=set)
    vpc_id: str | None = None


class Sink(Protocol):
    """Where what was read goes."""

    def record(self, record: FlowRecord) -> None:
        """Take a record that is not among the columns: all that was not accepted, and accepted ones written unusually."""

    def accepted(self, window: int, flows: AcceptedFlows) -> None:
        """Take accepted records that ended in one window; see ``window_of``."""

    def learned(self, window: int, interface: str | None, facts: InterfaceFacts) -> None:
        """Take what the columns told about an interface; called once for each and for each window, at the end."""
