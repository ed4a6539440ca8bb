"""The port behind which the evidence of sources is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flowverdict.flows.bundle import Section
    from flowverdict.flows.stored_evidence import StoredEvidence


class EvidenceStore(Protocol):
    """Stores the evidence of sources; each method raises ``EvidenceError`` if the store fails."""

    def put(self, partition: str, window: int, sections: Sequence[Section]) -> None:
        """Store what sources show of a window; to store it again changes nothing."""

    def read(self, partition: str, first: int, last: int) -> Mapping[int, Sequence[StoredEvidence]]:
        """Return the evidence of the windows ``first`` to ``last``, in the order of the sources.

        Evidence that cannot be read is ``StoredEvidence.unreadable()``, reported once and not
        raised: the other sources still count.
        """

    def count(self, partition: str, first: int, last: int) -> int:
        """Count the pieces of evidence of these windows, readable or not, without reading them.

        A source that is stored several times counts several times.
        """
