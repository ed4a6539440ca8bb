"""Read sources into evidence, for the functions and the command alike.

A source counts entirely or not at all: it is read into collectors of its own, which are merged only
after the source was read to its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, BinaryIO, cast

from flowverdict.core.errors import NotAFlowLogError
from flowverdict.flowlog.fast_line_reader import read_file, read_messages
from flowverdict.flowlog.line_reader import Continued, LineReader, fitting_formats
from flowverdict.flowlog.object_key import Origin, flow_log_of, origin_of
from flowverdict.flowlog.parquet import MAGIC, as_text
from flowverdict.flows.evidence import Evidence, FlowLog, FlowsByWindow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flowverdict.flowlog.record_counts import RecordCounts
    from flowverdict.flowlog.records import RecordFormat


# A malformed line is counted and skipped. If all lines are malformed, the format is wrong: that is
# an error, not only a metric. Fewer lines than this may all be broken by accident.
_NO_ACCIDENT = 5
# Bytes of a stored file: about 5,000 records, gzipped. For larger files, reading by column saves
# more time than loading numpy costs.
_SMALL_BYTES = 130_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The counts of a source, and a few of its malformed lines with their reasons."""

    name: str
    counts: RecordCounts
    samples: tuple[str, ...]
    unknown_fields: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRead:
    """A source that was read to its end: its counts, and its evidence by window.

    ``windows_read`` are all windows that its records ended in, those without traffic among them.
    """

    reading: Reading
    windows: Mapping[int, Evidence]
    windows_read: frozenset[int]


def read_object(stream: BinaryIO, *, name: str, seed: int) -> SourceRead:
    """Read one flow log object; account and Region come from its name where the records lack them.

    Raises
    ------
    ObjectError
        The object is not a flow log or cannot be read to its end.
    """
    flows = FlowsByWindow(seed, origin_of(name), name=name)
    reader = LineReader(())
    reading = read_text(stream, flows, reader, name=name, seed=seed)
    flow_log_id = flow_log_of(name)
    flow_log = (
        None
        if flow_log_id is None
        else FlowLog(flow_log_id, max(len(record_format.names) for record_format in reader.formats))
    )
    return _read(reading, flows, flow_log)


def read_log_events(
    messages: Sequence[str],
    *,
    name: str,
    formats: tuple[RecordFormat, ...],
    origin: Origin,
    seed: int,
) -> SourceRead:
    """Read the messages of one log stream; ``name`` holds the names of its group and stream.

    Raises
    ------
    NotAFlowLogError
        No message is a record in any of the formats.
    """
    flows = FlowsByWindow(seed, origin, distinct=True)
    reader = LineReader(fitting_formats(formats, messages), headers=False)
    read_messages(messages, reader, flows, seed, flows.numbers)
    flows.lost(reader.losses)
    return _read(_checked(name, reader), flows, None)


def partition_key(origin: Origin, stream: str | None = None) -> str:
    """Return the name of a partition: an account's Region, or one log stream of that Region."""
    return "#".join(
        filter(None, (origin.account_id or "unknown", origin.region or "unknown", stream))
    )


def _read(reading: Reading, flows: FlowsByWindow, flow_log: FlowLog | None) -> SourceRead:
    windows = {
        number: Evidence(flows=collector, flow_log=flow_log)
        for number, collector in flows.windows.items()
        # Else a window of NODATA only; nothing to store.
        if collector.interfaces or collector.losses
    }
    return SourceRead(reading=reading, windows=windows, windows_read=frozenset(flows.windows))


def read_text(  # noqa: PLR0913 - the parameters of the readers that it calls
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
        The object is not a flow log or cannot be read to its end.
    """
    start = b""
    while len(start) < _SMALL_BYTES and (more := stream.read(_SMALL_BYTES - len(start))):
        start += more  # a pipe may return fewer bytes than asked for
    whole = cast("BinaryIO", Continued(start, stream))
    if start.startswith(MAGIC):
        reader.headers = False  # all lines after the first are records
        with as_text(whole, name) as text:
            return read_text(text, flows, reader, name=name, seed=seed)
    if len(start) < _SMALL_BYTES or not _columns_installed():
        read = read_file
    else:
        # Imported here because numpy takes 65 ms to load.
        from flowverdict.flowlog.column_reader import read_columns  # noqa: PLC0415 - see above

        read = read_columns
    read(
        whole,
        flows,
        name=name,
        reader=reader,
        headerless=headerless,
        seed=seed,
        windows=flows.numbers,
    )
    flows.lost(reader.losses)
    return _checked(name, reader)


@cache
def _columns_installed() -> bool:
    """Whether the column reader's packages (engine layer or extra ``fast``) are installed."""
    return all(find_spec(package) is not None for package in ("numpy", "isal"))


def _checked(name: str, reader: LineReader) -> Reading:
    malformed = reader.counts.malformed.total()
    if malformed >= _NO_ACCIDENT and malformed == reader.counts.records:
        raise NotAFlowLogError(
            name, f"none of its {malformed:,} lines is a record of its format; {reader.samples[0]}"
        )
    unknown = {
        unknown: None for record_format in reader.formats for unknown in record_format.unknown_names
    }
    return Reading(
        name=name,
        counts=reader.counts,
        samples=tuple(reader.samples),
        unknown_fields=tuple(unknown),
    )
