"""Bytes to evidence, and evidence to alerts: what the functions and the command share.

A source counts whole or not at all: it is read into collectors of its own, which are merged once it was read to its end.
"""

from __future__ import annotations

import gc
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, cast

from flowverdict.alerts import Sighting, folded_flows, group, lost_records
from flowverdict.errors import NotAFlowLogError
from flowverdict.evidence import Evidence, FlowLog, FlowsByWindow
from flowverdict.explain import Explanation, explain_one
from flowverdict.flows import FlowCollector, RejectedFlow
from flowverdict.records import RecordCounts, RecordFormat
from flowverdict.sources.origin import Origin, flow_log_of, origin_of
from flowverdict.sources.parquet import MAGIC, as_text
from flowverdict.sources.quick import read_file, read_messages
from flowverdict.sources.text import Continued, LineReader

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from flowverdict.netconfig.model import NetConfig
    from flowverdict.ports import ConfigSource


# A line that is no record is counted and passed over; where no line is one, the format is wrong, and nobody should have to
# find that out from a metric. Fewer lines than this may all be broken by accident.
_NO_ACCIDENT = 5
# Of a file as it is stored: some 5,000 records, gzipped, from which on reading by column saves more than loading numpy costs.
_SMALL_BYTES = 130_000


def collect_rarely() -> None:
    """Have Python look for garbage after a million new objects and not after 2,000.

    Nothing of what stands for a record refers to itself in a circle, so it is freed without. To look through it again and again
    took a quarter of the time where every fifth record is rejected, and after each 100,000 still a tenth.
    """
    gc.set_threshold(1_000_000, 50, 1_000)


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
    """Everything that is judged together by the command.

    Parameters
    ----------
    most
        How many flows are judged one by one at the most, ``None`` for all; see ``FlowCollector``.
    """

    most: int | None = None
    flows: FlowCollector = field(init=False)
    counts: RecordCounts = field(init=False, default_factory=RecordCounts)

    def __post_init__(self) -> None:
        self.flows = FlowCollector(secrets.randbits(64), most=self.most)

    def add_file(self, stream: BinaryIO, *, name: str, headerless: tuple[RecordFormat, ...] = ()) -> Reading:
        """Read one flow log file; account and Region come from its name where the records lack them.

        Raises
        ------
        ObjectError
            The file is no flow log or cannot be read to its end. The batch is then as it was.
        """
        flows = FlowsByWindow(self.flows.seed, origin_of(name), apart=False, most=self.most)
        reading = read_text(stream, flows, LineReader(headerless), name=name, seed=self.flows.seed, headerless=headerless)
        for its_flows in flows.windows.values():
            self.flows.merge(its_flows, spent=True)
        self.counts.merge(reading.counts)
        return reading

    def explanations(self, configs: ConfigSource | None = None) -> list[Explanation]:
        """Explain every rejected flow, in the order they were first seen."""
        return explain_flows([*self.flows.rejected()], configs)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRead:
    """One source, read to its end: what it holds, and its evidence by window."""

    reading: Reading
    windows: Mapping[int, Evidence]


def read_object(stream: BinaryIO, *, name: str, seed: int) -> SourceRead:
    """Read one flow log object; account and Region come from its name where the records lack them.

    Raises
    ------
    ObjectError
        It is no flow log or cannot be read to its end.
    """
    flows = FlowsByWindow(seed, origin_of(name), name=name)
    reader = LineReader(())
    reading = read_text(stream, flows, reader, name=name, seed=seed)
    flow_log_id = flow_log_of(name)
    flow_log = None if flow_log_id is None else FlowLog(flow_log_id, max(len(one.names) for one in reader.formats))
    return _read(reading, flows, flow_log)


def read_log_events(
    messages: Sequence[str], *, name: str, formats: tuple[RecordFormat, ...], origin: Origin, seed: int
) -> SourceRead:
    """Read the messages of one log stream, ``name`` being the group's and the stream's.

    Raises
    ------
    NotAFlowLogError
        None of them is a record of any of the formats.
    """
    flows = FlowsByWindow(seed, origin, distinct=True)
    reader = LineReader(formats, headers=False)
    read_messages(messages, reader, flows, seed, flows.numbers)
    return _read(_checked(name, reader), flows, None)


def place_of(origin: Origin, stream: str | None = None) -> str:
    """Name what is judged together: an account's Region, or one log stream of it."""
    return "#".join(filter(None, (origin.account_id or "unknown", origin.region or "unknown", stream)))


def _read(reading: Reading, flows: FlowsByWindow, flow_log: FlowLog | None) -> SourceRead:
    windows = {
        number: Evidence(flows=its_flows, flow_log=flow_log)
        for number, its_flows in flows.windows.items()
        if its_flows.interfaces  # else there was nothing but the word that there was nothing
    }
    return SourceRead(reading=reading, windows=windows)


def read_text(  # noqa: PLR0913 - as the readers that it chooses from
    stream: BinaryIO,
    flows: FlowsByWindow,
    reader: LineReader,
    *,
    name: str,
    seed: int,
    headerless: tuple[RecordFormat, ...] = (),
) -> Reading:
    """Read one flow log file, text or Parquet.

    Raises
    ------
    ObjectError
        It is no flow log or cannot be read to its end.
    """
    start = b""
    while len(start) < _SMALL_BYTES and (more := stream.read(_SMALL_BYTES - len(start))):
        start += more  # a pipe gives what it has
    whole = cast("BinaryIO", Continued(start, stream))
    if start.startswith(MAGIC):
        reader.headers = False  # what comes after the first line are records, whatever they look like
        with as_text(whole, name) as text:
            return read_text(text, flows, reader, name=name, seed=seed)
    if len(start) < _SMALL_BYTES:
        read = read_file
    else:
        from flowverdict.sources.columns import read_columns  # noqa: PLC0415 - numpy takes 65 ms to load

        read = read_columns
    read(whole, flows, name=name, reader=reader, headerless=headerless, seed=seed, windows=flows.numbers)
    return _checked(name, reader)


def _checked(name: str, reader: LineReader) -> Reading:
    malformed = reader.counts.malformed.total()
    if malformed >= _NO_ACCIDENT and malformed == reader.counts.records:
        raise NotAFlowLogError(name, f"none of its {malformed:,} lines is a record of its format; {reader.samples[0]}")
    unknown = {unknown: None for record_format in reader.formats for unknown in record_format.unknown_names}
    return Reading(name=name, counts=reader.counts, samples=tuple(reader.samples), unknown_fields=tuple(unknown))


def explain_flows(flows: Sequence[RejectedFlow], configs: ConfigSource | None) -> list[Explanation]:
    """Explain rejected flows, in their order; the rules are read once an account and Region."""
    places: dict[tuple[str | None, str | None], list[RejectedFlow]] = {}
    for flow in flows:
        places.setdefault((flow.context.account_id, flow.context.region), []).append(flow)
    read: dict[tuple[str | None, str | None], NetConfig | str | None] = {
        place: None if configs is None else configs.read(*place, its_flows) for place, its_flows in places.items()
    }
    return [explain_one(flow, read[flow.context.account_id, flow.context.region]) for flow in flows]


def sightings(explanations: Iterable[Explanation], collected: FlowCollector) -> list[Sighting]:
    """Group explanations into alerts, most severe first; add what AWS lost of the records, and what is too much to be judged."""
    return [*group(explanations), *lost_records(collected.lost()), *folded_flows(collected.folded)]
