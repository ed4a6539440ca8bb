"""Read sources into evidence, for the functions and the command alike.

A source counts entirely or not at all: it is read into collectors of its own, which are merged only
after the source was read to its end.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, BinaryIO, cast

from flowverdict.core.errors import EmptyObjectError, NotAFlowLogError
from flowverdict.flowlog.fast_line_reader import read_file, read_messages
from flowverdict.flowlog.firehose import is_log_object, is_of_subscription, log_batches
from flowverdict.flowlog.line_reader import MAX_SAMPLES, Continued, LineReader, fitting_formats
from flowverdict.flowlog.object_key import Origin, flow_log_of, is_of_firehose, origin_of
from flowverdict.flowlog.record_counts import RecordCounts
from flowverdict.flowlog.records import DEFAULT_FORMATS
from flowverdict.flowlog.shapes import PARQUET_MAGIC, Wrapping, recognise
from flowverdict.flows.evidence import Evidence, FlowLog, FlowsByWindow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from flowverdict.flowlog.ports import FormatSource
    from flowverdict.flowlog.records import RecordFormat


# A malformed line is counted and skipped. If all lines are malformed, the format is wrong: that is
# an error, not only a metric. Fewer lines than this may all be broken by accident.
_NO_ACCIDENT = 5
# Bytes of a stored file: about 8,000 records, gzipped. For larger files, reading by column saves
# more time than loading numpy costs.
_SMALL_BYTES = 200_000
_SNIFFED_BYTES = 4_096  # of a stored object, to tell JSON from a flow log; its first gzip block
_MESSAGES_AT_ONCE = 20_000  # of a log group in an object of Firehose; a few MB


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


def read_object(
    stream: BinaryIO, *, name: str, seed: int, log_groups: LogGroups | None = None
) -> SourceRead:
    """Read one flow log object; account and Region come from its name where the records lack them.

    Parameters
    ----------
    log_groups
        What to know of log groups whose messages Firehose put into the object; without it such an
        object is refused.

    Raises
    ------
    ObjectError
        The object is not a flow log or cannot be read to its end.
    FormatUnknownError
        EC2 did not describe the format of a log group this time.
    """
    if log_groups is not None:
        start = stream.read(_SNIFFED_BYTES)
        stream = cast("BinaryIO", Continued(start, stream))
        if is_log_object(start) and is_of_subscription(start):
            return _read_log_object(stream, name=name, seed=seed, log_groups=log_groups)
    flows = FlowsByWindow(seed, origin_of(name), name=name)
    reader = LineReader(())
    assumed = DEFAULT_FORMATS if log_groups is None else log_groups.assumed
    reading = read_text(stream, flows, reader, name=name, seed=seed, assumed=assumed)
    flow_log_id = flow_log_of(name)
    flow_log = (
        None
        if flow_log_id is None
        else FlowLog(flow_log_id, max(len(record_format.names) for record_format in reader.formats))
    )
    return _read(reading, flows, flow_log, object_name=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogGroups:
    """What is known of log groups, whose messages name neither their format nor their Region.

    ``formats`` makes what knows the formats, when it is first needed; ``assumed`` are those of
    records whose log group is not known either: of what CloudWatch Logs exported, or a flow log
    sent to Firehose.
    """

    formats: Callable[[], FormatSource]
    region: str | None
    assumed: tuple[RecordFormat, ...] = DEFAULT_FORMATS


def _read_log_object(
    stream: BinaryIO, *, name: str, seed: int, log_groups: LogGroups
) -> SourceRead:
    """Read an object of Firehose; the envelopes name the account, the key may name the Region.

    In the folder of another account's flow logs, an envelope cannot speak for its account.

    A message that comes twice, in an object or in two, is an equal record, which counts once.
    """
    claimed = origin_of(name)
    region = claimed.region or log_groups.region
    allowed = None if is_of_firehose(name) else claimed.account_id
    known = log_groups.formats()
    flows = FlowsByWindow(seed, Origin(region=region), name=name, distinct=True)
    readers: dict[tuple[str, str], LineReader] = {}
    waiting: defaultdict[tuple[str, str], list[str]] = defaultdict(list)

    def read(place: tuple[str, str]) -> None:
        flows.origin = Origin(account_id=place[0], region=region)
        read_messages(waiting.pop(place), readers[place], flows, seed, flows.numbers)

    for batch in log_batches(stream, name):
        if allowed is not None and batch.account_id != allowed:
            raise NotAFlowLogError(
                name, f"its key names account {allowed}, an envelope in it {batch.account_id}"
            )
        place = batch.account_id, batch.log_group
        if place not in readers:
            readers[place] = LineReader(known.formats(batch.log_group), headers=False)
        waiting[place].extend(batch.messages)
        if len(waiting[place]) >= _MESSAGES_AT_ONCE:
            read(place)
    for place in [*waiting]:
        read(place)
    readings = [
        _checked(f"{name} ({log_group})", reader) for (_, log_group), reader in readers.items()
    ]
    return _read(_together(name, readings), flows, None, object_name=name)


def _together(name: str, readings: Sequence[Reading]) -> Reading:
    counts = RecordCounts()
    for reading in readings:
        counts.merge(reading.counts)
    return Reading(
        name=name,
        counts=counts,
        samples=tuple(sample for reading in readings for sample in reading.samples)[:MAX_SAMPLES],
        unknown_fields=tuple(
            dict.fromkeys(field for reading in readings for field in reading.unknown_fields)
        ),
    )


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


def _read(
    reading: Reading,
    flows: FlowsByWindow,
    flow_log: FlowLog | None,
    *,
    object_name: str | None = None,
) -> SourceRead:
    windows = {
        number: Evidence(flows=collector, flow_log=flow_log, object_name=object_name)
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
    assumed: tuple[RecordFormat, ...] = DEFAULT_FORMATS,
) -> Reading:
    """Read one flow log file: text, Parquet, or another shape (``flowlog/shapes.py``).

    Parameters
    ----------
    headerless
        Formats that bare lines may have; without them, a file of bare lines is refused.
    assumed
        Formats of records inside another shape, where ``headerless`` is empty.

    Raises
    ------
    ObjectError
        The object is not a flow log or cannot be read to its end.
    """
    start = b""
    while len(start) < _SMALL_BYTES and (more := stream.read(_SMALL_BYTES - len(start))):
        start += more  # a pipe may return fewer bytes than asked for
    whole = cast("BinaryIO", Continued(start, stream))
    if start.startswith(PARQUET_MAGIC):
        # Imported here because numpy and DuckDB take 100 ms to load, and one function has them.
        from flowverdict.flowlog.parquet import read_parquet  # noqa: PLC0415 - see above

        read_parquet(whole, flows, name=name, reader=reader, seed=seed, windows=flows.numbers)
        flows.lost(reader.losses)
        return _checked(name, reader)
    formats = headerless or assumed
    shape = recognise(start, name=name, formats=formats, bare=bool(headerless))
    reader.strays = reader.headers and (shape is not None or bool(headerless))
    with nullcontext(whole) if shape is None else shape.as_text(whole, name) as text:
        if shape is not None and shape.wrapping is not Wrapping.TEXT:
            reader.wrapped = True
        # A list of events may be empty, as an hour without traffic is.
        with suppress(EmptyObjectError) if reader.wrapped else nullcontext():
            _read_lines(
                text,
                flows,
                reader,
                name=name,
                seed=seed,
                headerless=formats if reader.wrapped else headerless,
                is_small=len(start) < _SMALL_BYTES,
            )
    flows.lost(reader.losses)
    return _checked(name, reader, asked=bool(headerless))


def _read_lines(  # noqa: PLR0913 - the parameters of the readers that it calls
    stream: BinaryIO,
    flows: FlowsByWindow,
    reader: LineReader,
    *,
    name: str,
    seed: int,
    headerless: tuple[RecordFormat, ...],
    is_small: bool,
) -> None:
    if is_small or not _columns_installed():
        read = read_file
    else:
        # Imported here because numpy takes 65 ms to load.
        from flowverdict.flowlog.column_reader import read_columns  # noqa: PLC0415 - see above

        read = read_columns
    read(
        stream,
        flows,
        name=name,
        reader=reader,
        headerless=headerless,
        seed=seed,
        windows=flows.numbers,
    )


@cache
def _columns_installed() -> bool:
    """Whether the column reader's packages (engine layer or extra ``fast``) are installed."""
    return all(find_spec(package) is not None for package in ("numpy", "isal"))


def _checked(name: str, reader: LineReader, *, asked: bool = False) -> Reading:
    """Return the reading of a source.

    ``asked`` says whether a person can give the format with an option of the command.

    Raises
    ------
    NotAFlowLogError
        None of the lines is a record.
    """
    malformed = reader.counts.malformed.total()
    if reader.wrapped and malformed and malformed == reader.counts.records:
        why = reader.why_no_format(asked=asked)
        raise NotAFlowLogError(name, f"none of its records can be read: {why}")
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
