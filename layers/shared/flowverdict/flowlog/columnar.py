"""Define the columns in which readers hand on records, when an object for each is too expensive.

An accepted flow is needed only for its key, time range and TCP flags: columns of hashes, times and
flags. Of a rejected flow any field may be needed, so its line is stored until the flow is either
evaluated individually or aggregated.
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
RELATED_BYTES = 6 * 8  # three hashes of a key's mirrors and three of the key itself
# Seconds. AWS writes a file of the records that ended in five minutes
# (https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-s3-path.html).
WINDOW = 300
# A file that spans more than two hours was made by hand or by an attacker: records of further
# windows go into the nearest of the first 24.
MAX_WINDOWS = 24


class Windows:
    """Numbers the windows that records ended in: at most ``MAX_WINDOWS``.

    Parameters
    ----------
    apart
        Whether to distinguish windows; otherwise every record is in window 0.
    """

    def __init__(self, *, apart: bool) -> None:
        self._apart = apart
        self._known: set[int] = set()

    def of(self, end: int | None) -> int:
        """Return the window of a record that ended at ``end`` (Unix seconds)."""
        return self.numbered(0 if end is None or not self._apart else end // WINDOW)

    def numbered(self, number: int) -> int:
        """Return the window that records of window ``number`` go into."""
        if number in self._known:
            return number
        if len(self._known) < MAX_WINDOWS:
            self._known.add(number)
            return number
        return min(self._known, key=lambda known: (abs(known - number), known))

    @property
    def are_apart(self) -> bool:
        """Whether windows are distinguished."""
        return self._apart


# Cached as in ``records``: a file repeats few addresses.
@lru_cache(maxsize=65_536)
def canonical_address(word: bytes) -> Address | None:
    """Return the address that a word is, ``None`` if ``ipaddress`` would spell it differently."""
    text = word.decode("ascii", "replace")
    try:
        address = address_of(text)
    except ValueError:
        return None
    return address if str(address) == text and "%" not in text else None


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedFlows:
    """Columns of equal length, one row for each record: ``numpy`` arrays or ``array`` objects.

    Parameters
    ----------
    hashes
        The hashes of the keys (``flow_hash``), unsigned 64 bits.
    starts, ends
        Unix seconds, signed; -1 where not logged. The end is the start if only the start is logged.
    flags
        ``tcp-flags`` in signed 32 bits; -1 where not logged.
    services
        What each flow goes to (``KeyHashes.of_services``), unsigned 32 bits.
    """

    hashes: Column
    starts: Column
    ends: Column
    flags: Column
    services: Column


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedLines:
    """Rejected records with traffic, as lines of one format, and the hashes of their flows.

    Parameters
    ----------
    hashes
        The hash of each line's key (``flow_hash``), unsigned 64 bits.
    related
        The hashes of related flows, ``RELATED_BYTES`` for each line; see
        ``flow_hash_numpy.related_hashes``.
    text
        The lines, separated by newlines: printable ASCII, one blank between words, each word a
        valid value of its field.
    """

    record_format: RecordFormat
    hashes: Column
    related: bytes
    text: bytes

    def values(self, attributes: Sequence[str]) -> Sequence[Iterable[object]]:
        """Return attributes of ``FlowRecord`` for all lines; see ``RecordFormat.values_of``."""
        return self.record_format.values_of(self.text.decode("ascii").split(), attributes)

    def each_related(self) -> Iterator[bytes]:
        """Return the bytes of the related hashes line by line."""
        return (
            self.related[at : at + RELATED_BYTES]
            for at in range(0, len(self.related), RELATED_BYTES)
        )


@dataclass(slots=True)
class InterfaceFacts:
    """What the columns show about an interface, as package ``flows`` learns it from single records.

    Parameters
    ----------
    accepts
        The number of accepted records.
    own
        IPv4 addresses of the interface by the logged direction.
    shared
        Addresses that all IPv4 records without a direction have in common; ``None`` without such a
        record.
    subnets
        The logged subnet IDs.
    vpc_id
        The logged VPC ID, the alphabetically first of several.
    """

    accepts: int = 0
    own: set[Address] = field(default_factory=set)
    shared: set[Address] | None = None
    subnets: set[str] = field(default_factory=set)
    vpc_id: str | None = None

    @property
    def accepts_logged(self) -> bool:
        """Whether there is an accepted record."""
        return self.accepts > 0


class Sink(Protocol):
    """Receives what was read."""

    def record(self, record: FlowRecord) -> None:
        """Receive a single record: without traffic, with an unusual spelling, or not accepted."""

    def accepted(self, window: int, flows: AcceptedFlows) -> None:
        """Receive accepted records that ended in one window."""

    def rejected(self, window: int, lines: RejectedLines) -> None:
        """Receive rejected records that ended in one window."""

    def learned(self, window: int, interface: str | None, facts: InterfaceFacts) -> None:
        """Receive what accepted and rejected lines show about an interface.

        Called at the end, once for each interface and window.
        """
