"""TODO flowverdict.flowlog.ports."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from flowverdict.flowlog.records import RecordFormat
    from flowverdict.flowlog.s3_events import ObjectRef


class ObjectStore(Protocol):
    """Where flow log objects are kept."""

    def open(self, ref: ObjectRef) -> AbstractContextManager[BinaryIO]:
        """Open an object for reading forward; raises ``ObjectError`` where that cannot be done."""


class FormatSource(Protocol):
    """What knows the formats of the flow logs that write into a log group."""

    def formats(self, log_group: str) -> tuple[RecordFormat, ...]:
        """Give at least one format."""
