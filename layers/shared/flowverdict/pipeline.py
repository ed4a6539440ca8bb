"""One batch of flow logs from bytes to alerts.

Everything one invocation (or one command) reads is judged together, because a request and its reply may lie in different
objects. An object counts whole or not at all: it is read into a batch of its own, which is merged once it was read to its
end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from flowverdict.alerts import Sighting, group, lost_records
from flowverdict.errors import NotAFlowLogError
from flowverdict.explain import Explanation, explain_one
from flowverdict.flows import FlowCollector, RejectedFlow
from flowverdict.records import RecordCounts, RecordFormat
from flowverdict.sources.origin import Origin, origin_of
from flowverdict.sources.text import LineReader, read_file, read_messages

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from flowverdict.netconfig.model import NetConfig
    from flowverdict.ports import ConfigSource
    from flowverdict.records import FlowRecord


# A line that is no record is counted and passed over; where no line is one, the format is wrong, and nobody should have to
# find that out from a metric. Fewer lines than this may all be broken by accident.
_NO_ACCIDENT = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What came of one source: its counts, and a few of its malformed lines with their reasons."""

    name: str
    counts: RecordCounts
    samples: tuple[str, ...]
    unknown_fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FixedConfig:
    """One configuration for every account and Region, as a snapshot file holds it."""

    config: NetConfig

    def read(
        self,
        account_id: str | None,  # noqa: ARG002 - the same for all, as below
        region: str | None,  # noqa: ARG002
        flows: Sequence[RejectedFlow],  # noqa: ARG002
    ) -> NetConfig:
        """Give the configuration."""
        return self.config


@dataclass(slots=True)
class Batch:
    """Everything that is judged together."""

    flows: FlowCollector = field(default_factory=FlowCollector)
    counts: RecordCounts = field(default_factory=RecordCounts)

    def add_file(self, stream: BinaryIO, *, name: str, headerless: tuple[RecordFormat, ...] = ()) -> Reading:
        """Read one text flow log file; account and Region come from its name where the records lack them.

        Raises
        ------
        ObjectError
            The file is no flow log or cannot be read to its end. The batch is then as it was.
        """
        reader = LineReader(headerless)
        return self._add(name, origin_of(name), reader, read_file(stream, name=name, reader=reader, headerless=headerless))

    def add_messages(self, messages: Sequence[str], *, name: str, formats: tuple[RecordFormat, ...], origin: Origin) -> Reading:
        """Read the messages of one log stream.

        Raises
        ------
        NotAFlowLogError
            None of them is a record of any of the formats.
        """
        reader = LineReader(formats, headers=False)
        return self._add(name, origin, reader, read_messages(messages, reader))

    def _add(self, name: str, origin: Origin, reader: LineReader, records: Iterable[FlowRecord]) -> Reading:
        flows = FlowCollector()
        for record in records:
            flows.add(record, origin)
        malformed = reader.counts.malformed.total()
        if malformed >= _NO_ACCIDENT and malformed == reader.counts.records:
            raise NotAFlowLogError(name, f"none of its {malformed:,} lines is a record of its format; {reader.samples[0]}")
        self.flows.merge(flows)
        self.counts.merge(reader.counts)
        unknown = {unknown: None for record_format in reader.formats for unknown in record_format.unknown_names}
        return Reading(name=name, counts=reader.counts, samples=tuple(reader.samples), unknown_fields=tuple(unknown))

    def merge(self, other: Batch) -> None:
        """Take in everything another batch holds."""
        self.flows.merge(other.flows)
        self.counts.merge(other.counts)

    def explanations(self, configs: ConfigSource | None = None) -> list[Explanation]:
        """Explain every rejected flow, in the order they were first seen; the rules are read once an account and Region."""
        flows = list(self.flows.rejected())
        places: dict[tuple[str | None, str | None], list[RejectedFlow]] = {}
        for flow in flows:
            places.setdefault((flow.context.account_id, flow.context.region), []).append(flow)
        read: dict[tuple[str | None, str | None], NetConfig | str | None] = {
            place: None if configs is None else configs.read(*place, its_flows) for place, its_flows in places.items()
        }
        return [explain_one(flow, read[flow.context.account_id, flow.context.region]) for flow in flows]

    def sightings(self, explanations: Iterable[Explanation]) -> list[Sighting]:
        """Group explanations into alerts, most severe first, and add what AWS lost of this batch's records."""
        return [*group(explanations), *lost_records(self.flows.lost())]
