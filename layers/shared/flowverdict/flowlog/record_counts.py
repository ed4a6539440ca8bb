"""Count everything that is read of flow logs, by what it is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flowverdict.flowlog.records import Action, LogStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowverdict.flowlog.records import FlowRecord


@dataclass(slots=True, kw_only=True)
class RecordCounts:
    """Counts of everything that was read; nothing is dropped without being counted here.

    ``records`` is the number of lines that should be records. Header lines, blank lines and stray
    lines (comments, prompts, frames of tables around pasted records) are counted separately.
    ``transit_gateway`` counts the records of a transit gateway that report no lost packet; those
    that do are ``rejected``.
    """

    accepted: int = 0
    rejected: int = 0
    no_data: int = 0
    skip_data: int = 0
    no_action: int = 0
    transit_gateway: int = 0
    malformed: Counter[str] = field(default_factory=Counter)
    header_lines: int = 0
    blank_lines: int = 0
    stray_lines: int = 0

    @property
    def records(self) -> int:
        """The number of all lines except header lines, blank lines and stray lines."""
        read = (
            self.accepted
            + self.rejected
            + self.no_data
            + self.skip_data
            + self.no_action
            + self.transit_gateway
        )
        return read + self.malformed.total()

    def count(self, record: FlowRecord) -> None:
        """Count a record under its status and action."""
        if record.log_status is LogStatus.NODATA:
            self.no_data += 1
        elif record.log_status is LogStatus.SKIPDATA:
            self.skip_data += 1
        elif record.action is Action.ACCEPT:
            self.accepted += 1
        elif record.action is Action.REJECT:
            self.rejected += 1
        else:
            self.no_action += 1

    def merge(self, other: RecordCounts) -> None:
        """Add the counts of another source to these counts."""
        self.accepted += other.accepted
        self.rejected += other.rejected
        self.no_data += other.no_data
        self.skip_data += other.skip_data
        self.no_action += other.no_action
        self.transit_gateway += other.transit_gateway
        self.malformed.update(other.malformed)
        self.header_lines += other.header_lines
        self.blank_lines += other.blank_lines
        self.stray_lines += other.stray_lines

    def as_mapping(self) -> Mapping[str, int]:
        """Return the counts by name, with malformed lines also as ``malformed.<reason>``."""
        flat = {
            "records": self.records,
            "accepted": self.accepted,
            "rejected": self.rejected,
            "no_data": self.no_data,
            "skip_data": self.skip_data,
            "no_action": self.no_action,
            "transit_gateway": self.transit_gateway,
            "malformed": self.malformed.total(),
            "header_lines": self.header_lines,
            "blank_lines": self.blank_lines,
            "stray_lines": self.stray_lines,
        }
        return flat | {
            f"malformed.{reason}": count for reason, count in sorted(self.malformed.items())
        }
