"""Records as they are handed on when there are too many for an object each.

All that is asked of an accepted flow later is whether there was one of a key, when, and with which TCP flags: columns of hashes,
times and flags. Of a rejected one everything may be asked, so its line is kept until it is known whether it is told by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from flowverdict.core.addresses import address_of

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np

    from flowverdict.core.addresses import Address
    from flowverdict.flowlog.records import FlowRecord, RecordFormat


type Column = array[int] | np.ndarray[Any, np.dtype[np.integer]]

NOT_LOGGED = -1
RELATED_BYTES = 6 * 8
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
        address = address_of(text)
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
        Unix seconds, signed; -1 where not logged. The end is the start where only that is.
    flags
        ``tcp-flags`` in signed 32 bits; -1 where not logged.
    """

    hashes: Column
    starts: Column
    ends: Column
    flags: Column


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedLines:
    """Lines of one format that are rejected records with traffic, and the hashes of their flows.

    Parameters
    ----------
    hashes
        Unsigned 64 bits, see ``keyhash``; one a line.
    related
        Bytes of the hashes of related flows, ``RELATED_BYTES`` a line; see ``columns.related_hashes``.
    text
        The lines, a newline between each two: printable ASCII, one blank between words, no word that is not its field's.
    """

    record_format: RecordFormat
    hashes: Column
    related: bytes
    text: bytes

    def values(self, attributes: Sequence[str]) -> Sequence[Iterable[object]]:
        """Give attributes of ``FlowRecord``, each a value a line or ``None`` without end; see ``RecordFormat.values_of``."""
        return self.record_format.values_of(self.text.decode("ascii").split(), attributes)

    def each_related(self) -> Iterator[bytes]:
        """Give the related hashes line by line."""
        return (
            self.related[at : at + RELATED_BYTES]
            for at in range(0, len(self.related), RELATED_BYTES)
        )


@dataclass(slots=True)
class InterfaceFacts:
    """What records in columns told about an interface, as ``flows`` learns it record by record.

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
        """Take a record that is given by itself: one without traffic, or written unusually, or all that was not accepted."""

    def accepted(self, window: int, flows: AcceptedFlows) -> None:
        """Take accepted records that ended in one window."""

    def rejected(self, window: int, lines: RejectedLines) -> None:
        """Take rejected records that ended in one window."""

    def learned(self, window: int, interface: str | None, facts: InterfaceFacts) -> None:
        """Take what these two told about an interface; called once for each and for each window, at the end."""
