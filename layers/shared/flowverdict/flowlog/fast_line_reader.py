"""Read text flow logs line by line without a record object for each accepted line.

For CloudWatch Logs and small files. One regular expression per format matches the lines that are
accepted records as this program would write them; ``LineReader`` reads all other lines.
``column_reader`` does the same for big files with numpy, which takes as long to load as some 8,000
lines take to read here (``make bench``).
"""

from __future__ import annotations

import re
from array import array
from collections import defaultdict
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from flowverdict.flowlog.columnar import (
    NOT_LOGGED,
    AcceptedFlows,
    InterfaceFacts,
    Windows,
    canonical_address,
)
from flowverdict.flowlog.fields import (
    ACCOUNT_DIGITS,
    FIELDS,
    MAX_INT_64,
    UNKNOWN_ACCOUNT,
    FieldKind,
)
from flowverdict.flowlog.flow_hash import SAME, KeyHashes
from flowverdict.flowlog.line_reader import (
    MAX_LINE_BYTES,
    LineReader,
    first_record,
    lines_of,
    plain_bytes,
)
from flowverdict.flowlog.records import ABSENT, MAX_TEXT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from flowverdict.core.addresses import Address
    from flowverdict.flowlog.columnar import Sink
    from flowverdict.flowlog.records import RecordFormat


_CAPTURED_FIELDS = (
    "interface-id",
    "resource-id",
    "srcaddr",
    "dstaddr",
    "pkt-srcaddr",
    "pkt-dstaddr",
    "srcport",
    "dstport",
    "protocol",
    "flow-direction",
    "start",
    "end",
    "tcp-flags",
    "subnet-id",
    "vpc-id",
)
_ADDRESSES = slice(2, 6)  # places among them
_START, _END = 10, 11
_ADDRESS = "[0-9a-f.:]{2,39}"
_UP_TO_255 = "25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9]"
_UP_TO_65535 = (
    "6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3}|0"
)
# A number of so many digits cannot be above its field's maximum.
_WORDS = {
    "srcaddr": _ADDRESS,
    "dstaddr": _ADDRESS,
    "pkt-srcaddr": f"{_ADDRESS}|-",
    "pkt-dstaddr": f"{_ADDRESS}|-",
    "srcport": _UP_TO_65535,
    "dstport": _UP_TO_65535,
    "protocol": _UP_TO_255,
    "flow-direction": "ingress|egress|-",
    "start": "[0-9]{1,11}",
    "end": "[0-9]{1,11}",
    "tcp-flags": "[0-9]{1,3}|-",
    "action": "ACCEPT",
    "log-status": "OK",
}
_DASH = ABSENT.encode()
_MAX_ROWS = 2_000  # accepted lines that are held before they are summed up: 2 MB

type _Words = tuple[bytes, ...]
type _About = tuple[bytes, bytes, bytes, bytes]  # interface, direction, subnet, VPC
type _Ends = tuple[bytes, bytes]  # source, destination


class _LinePattern(NamedTuple):
    """The pattern of a format's accepted lines.

    ``in_order`` puts the groups of a match into the order of ``_CAPTURED_FIELDS``.
    """

    accepted_line: re.Pattern[bytes]
    in_order: Callable[[tuple[bytes, ...]], tuple[bytes, ...]]


def _word(name: str) -> str:
    if name in _WORDS:
        return _WORDS[name]
    if (known := FIELDS.get(name)) is None:
        return "[!-~]++"
    if known.kind is FieldKind.INTEGER:
        return f"[0-9]{{1,{18 if known.maximum == MAX_INT_64 else 9}}}|-"
    if known.kind is FieldKind.ACCOUNT:
        return f"[0-9]{{{ACCOUNT_DIGITS}}}|{UNKNOWN_ACCOUNT}|-"
    if known.kind is FieldKind.ID:
        return f"{known.prefix}[!-~]{{0,{MAX_TEXT - len(known.prefix)}}}+|-"
    return f"[!-~]{{1,{MAX_TEXT}}}+"


def _pattern_of(formats: tuple[RecordFormat, ...]) -> _LinePattern | None:
    """Return the pattern of the only format; ``None`` for several."""
    return _line_pattern(formats[0]) if len(formats) == 1 else None


@lru_cache(maxsize=16)
def _line_pattern(record_format: RecordFormat) -> _LinePattern | None:
    """Return the pattern of a format's accepted lines; ``None`` for a format without ``action``."""
    if "action" not in record_format.names or record_format.is_transit_gateway:
        return None
    words = [
        f"(?P<{FIELDS[name].attribute}>{_word(name)})"
        if name in _CAPTURED_FIELDS
        else f"(?:{_word(name)})"
        for name in record_format.names
    ]
    # For a field that the format lacks, a group that never matches.
    lacking = [
        f"(?:|(?P<{FIELDS[name].attribute}>-))"
        for name in _CAPTURED_FIELDS
        if name not in record_format.names
    ]
    pattern = re.compile(f"{' '.join(words)}(?:\r?\n)?{''.join(lacking)}".encode())
    places = [pattern.groupindex[FIELDS[name].attribute] - 1 for name in _CAPTURED_FIELDS]
    return _LinePattern(pattern, itemgetter(*places))


def read_file(  # noqa: PLR0913 - as column_reader.read_columns
    stream: BinaryIO,
    sink: Sink,
    *,
    name: str,
    reader: LineReader | None = None,
    headerless: tuple[RecordFormat, ...] = (),
    seed: int = 0,
    windows: Windows | None = None,
) -> None:
    """Read one text flow log file into a sink; parameters and errors are ``read_columns``'s."""
    reader = reader if reader is not None else LineReader(headerless)
    fast = _FastLineReader(reader, sink, seed, Windows(apart=False) if windows is None else windows)
    lines = lines_of(plain_bytes(stream), reader, name)
    for record in first_record(lines, reader, name, headerless):
        sink.record(record)
    fast.read(lines)


def read_messages(
    messages: Iterable[str], reader: LineReader, sink: Sink, seed: int, windows: Windows
) -> None:
    """Read CloudWatch Logs messages, one bare record line each, into a sink.

    Parameters
    ----------
    reader
        Knows the formats that the messages may have, and counts them.
    seed
        Where the hashes of the keys begin.
    windows
        Numbers the windows that records ended in.
    """
    _FastLineReader(reader, sink, seed, windows).read(_lines_in(messages, reader))


def _lines_in(messages: Iterable[str], reader: LineReader) -> Iterator[bytes]:
    for message in messages:
        line = message.encode("utf-8", "surrogatepass")
        if len(line) > MAX_LINE_BYTES:
            reader.skip_overlong()
        else:
            yield line


class _FastLineReader:
    """Reads lines of one source into a sink.

    Accepted flows go to the sink in columns of at most ``_MAX_ROWS`` rows; what they show about
    interfaces follows at the end.
    """

    def __init__(self, reader: LineReader, sink: Sink, seed: int, windows: Windows) -> None:
        self._reader = reader
        self._sink = sink
        self._seed = seed
        self._windows = windows
        # The words of accepted lines by window, which their last time says.
        self._rows: defaultdict[int, list[tuple[bytes, ...]]] = defaultdict(list)
        self._held = 0
        # Of the rows, so that few words are looked at twice.
        self._windows_by_time: dict[bytes, int] = {}
        self._canonical = {_DASH}
        self._facts: defaultdict[tuple[int, str | None], InterfaceFacts] = defaultdict(
            InterfaceFacts
        )

    def read(self, lines: Iterable[bytes]) -> None:
        """Read all lines; ``LineReader`` reads those that do not match the format's pattern."""
        reader = self._reader
        formats, pattern = reader.formats, _pattern_of(reader.formats)
        for line in lines:
            if (
                pattern is not None
                and (match := pattern.accepted_line.fullmatch(line)) is not None
                and self._accept(pattern.in_order(match.groups(_DASH)))
            ):
                reader.pass_over(1)
                continue
            if (record := reader.read(line)) is not None:
                self._sink.record(record)
            if reader.formats is not formats:
                formats, pattern = reader.formats, _pattern_of(reader.formats)
        self._flush()
        for (window, name), facts in self._facts.items():
            self._sink.learned(window, name, facts)

    def _accept(self, words: tuple[bytes, ...]) -> bool:
        """Hold an accepted line; return ``False`` if an address is not spelled canonically.

        ``words`` are those of ``_CAPTURED_FIELDS``, ``-`` where the format lacks the field.
        """
        addresses = words[_ADDRESSES]
        if not self._canonical.issuperset(addresses):
            if any(word != _DASH and canonical_address(word) is None for word in addresses):
                return False
            self._canonical.update(addresses)
        time = _last_time(words[_START], words[_END])
        window = self._windows_by_time.get(time)
        if window is None:
            window = self._windows.of(None if time == _DASH else int(time))
            self._windows_by_time[time] = window
        self._rows[window].append(words)
        self._held += 1
        if self._held >= _MAX_ROWS:
            self._flush()
        return True

    def _flush(self) -> None:
        """Hand the rows to the sink in columns, and sum up what they show about interfaces."""
        self._reader.counts.accepted += self._held
        for window, rows in self._rows.items():
            columns = _Columns._make(zip(*rows, strict=True))
            self._sink.accepted(window, columns.flows(self._seed))
            for (interface, *about), ends in columns.ends_by_interface().items():
                _learn(self._facts[window, _text(interface)], ends, *about)
        self._rows.clear()
        self._held = 0
        self._windows_by_time.clear()
        self._canonical = {_DASH}


class _Columns(NamedTuple):
    """The words of accepted lines by field, in the order of ``_CAPTURED_FIELDS``."""

    interfaces: _Words
    resources: _Words
    sources: _Words
    destinations: _Words
    packet_sources: _Words
    packet_destinations: _Words
    source_ports: _Words
    destination_ports: _Words
    protocols: _Words
    directions: _Words
    starts: _Words
    ends: _Words
    flags: _Words
    subnets: _Words
    vpcs: _Words

    def names(self) -> Sequence[bytes]:
        """Return the ID of each interface, or of the resource where the interface is absent."""
        if _DASH not in self.interfaces:
            return self.interfaces
        return [
            resource if interface == _DASH else interface
            for interface, resource in zip(self.interfaces, self.resources, strict=True)
        ]

    def flows(self, seed: int) -> AcceptedFlows:
        """Return the flows."""
        hashes = KeyHashes(
            (
                self.names(),
                self.sources,
                self.destinations,
                _packet_addresses(self.packet_sources, self.sources),
                _packet_addresses(self.packet_destinations, self.destinations),
                self.source_ports,
                self.destination_ports,
                self.protocols,
                self.directions,
            ),
            seed,
        )
        return AcceptedFlows(
            hashes=array("Q", hashes.of_flows()),
            starts=array("q", _numbers(self.starts)),
            ends=array("q", _numbers(map(_last_time, self.starts, self.ends))),
            flags=array("i", _numbers(self.flags)),
            services=array("I", hashes.of_services()),
        )

    def ends_by_interface(self) -> Mapping[_About, Sequence[_Ends]]:
        """Return the addresses of lines by interface, direction, subnet and VPC."""
        found: defaultdict[_About, list[_Ends]] = defaultdict(list)
        about = zip(self.names(), self.directions, self.subnets, self.vpcs, strict=True)
        ends = zip(self.sources, self.destinations, strict=True)
        for of_line, pair in zip(about, ends, strict=True):
            found[of_line].append(pair)
        return found


def _packet_addresses(words: Sequence[bytes], plain: Sequence[bytes]) -> Sequence[bytes]:
    """Return packet addresses as they are hashed."""
    return [
        SAME if packet in (word, _DASH) else packet
        for packet, word in zip(words, plain, strict=True)
    ]


def _last_time(start: bytes, end: bytes) -> bytes:
    return start if end == _DASH else end


def _numbers(words: Iterable[bytes]) -> list[int]:
    return [NOT_LOGGED if word == _DASH else int(word) for word in words]


def _learn(
    facts: InterfaceFacts, ends: Sequence[_Ends], direction: bytes, subnet: bytes, vpc: bytes
) -> None:
    """Add what lines of an interface show that have the same direction, subnet and VPC."""
    facts.accepts += len(ends)
    if (subnet_id := _text(subnet)) is not None:
        facts.subnets.add(subnet_id)
    if (vpc_id := _text(vpc)) is not None:
        facts.vpc_id = vpc_id if facts.vpc_id is None else min(facts.vpc_id, vpc_id)
    of_ipv4 = [pair for pair in ends if b":" not in pair[0] and _DASH not in pair]
    if direction != _DASH:
        place = 0 if direction == b"egress" else 1
        facts.own |= _addresses({pair[place] for pair in of_ipv4})
    elif of_ipv4:
        # A canonical spelling is that of one address.
        shared = _addresses(set(of_ipv4[0]).intersection(*of_ipv4))
        facts.shared = shared if facts.shared is None else facts.shared & shared


def _addresses(words: set[bytes]) -> set[Address]:
    return {address for word in words if (address := canonical_address(word)) is not None}


def _text(word: bytes) -> str | None:
    return None if word == _DASH else word.decode("ascii")
