"""TODO flowverdict.flows.ports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flowverdict.flows.evidence import Evidence


class EvidenceStore(Protocol):
    """Where the evidence of sources is kept; every method raises ``EvidenceError`` where it cannot be reached."""

    def put(self, partition: str, window: int, source_id: str, evidence: Evidence) -> None:
        """Keep what a source shows of a window; the same again changes nothing."""

    def read(self, partition: str, first: int, last: int) -> Mapping[int, Sequence[Evidence]]:
        """Give what is kept of the windows from ``first`` to ``last``, in the order of the sources."""

    def count(self, partition: str, first: int, last: int) -> int:
        """Give how many pieces of evidence are kept of these windows, without reading them."""
