"""What the pipeline needs from outside, as protocols; adapters and test doubles implement them."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from flowverdict.document import Document
    from flowverdict.evidence import Evidence
    from flowverdict.flows import RejectedFlow
    from flowverdict.netconfig.model import NetConfig
    from flowverdict.records import RecordFormat
    from flowverdict.sources.envelope import ObjectRef


class ObjectStore(Protocol):
    """Where flow log objects are kept."""

    def open(self, ref: ObjectRef) -> AbstractContextManager[BinaryIO]:
        """Open an object for reading forward; raises ``ObjectError`` where that cannot be done."""


class EvidenceStore(Protocol):
    """Where the evidence of sources is kept; every method raises ``EvidenceError`` where it cannot be reached."""

    def put(self, place: str, window: int, source_id: str, evidence: Evidence) -> None:
        """Keep what a source shows of a window; the same again changes nothing."""

    def read(self, place: str, first: int, last: int) -> Mapping[int, Sequence[Evidence]]:
        """Give what is kept of the windows from ``first`` to ``last``, in the order of the sources."""

    def count(self, place: str, first: int, last: int) -> int:
        """Give how many pieces of evidence are kept of these windows, without reading them."""


class AlertPublisher(Protocol):
    """Where alerts go."""

    def publish(self, document: Document) -> None:
        """Publish one alert or notice; raises ``DeliveryError`` where that cannot be done."""


class FormatSource(Protocol):
    """What knows the formats of the flow logs that write into a log group."""

    def formats(self, log_group: str) -> tuple[RecordFormat, ...]:
        """Give at least one format."""


class ConfigSource(Protocol):
    """What knows the rules that applied to rejected flows."""

    def read(self, account_id: str | None, region: str | None, flows: Sequence[RejectedFlow]) -> NetConfig | str:
        """Give what the flows, all of one account and Region, need to be judged; or say in one line why it cannot be read.

        Never raises for what AWS answers or what the records name: a verdict stands without configuration.
        """


class LastGood(Protocol):
    """Where the last valid policy document outlives the process that read it."""

    def load(self) -> str | None:
        """Give the document saved last, ``None`` if none ever was; raises ``FlowVerdictError`` where that cannot be told."""

    def save(self, text: str) -> None:
        """Keep a valid document instead of the one before; raises ``FlowVerdictError`` where that cannot be done."""
