"""What reading flow logs needs from the outside: objects, and the formats of log groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from flowverdict.flowlog.object_key import ObjectRef
    from flowverdict.flowlog.records import RecordFormat


class ObjectStore(Protocol):
    """Stores flow log objects."""

    def open(self, ref: ObjectRef) -> AbstractContextManager[BinaryIO]:
        """Open an object for reading forward; raise ``ObjectError`` if it cannot be read."""


class FormatSource(Protocol):
    """Knows the formats of the flow logs that write into a log group."""

    def formats(self, log_group: str) -> tuple[RecordFormat, ...]:
        """Return at least one format; raise ``FormatUnknownError`` if another try may succeed."""
