"""Read text flow logs line by line without a record object for each accepted line.

For CloudWatch Logs and small files. One regular expression per format matches the lines that are
accepted records as this program would write them; ``LineReader`` reads all other lines.
``column_reader`` does the same for big files with numpy, which takes as long to load as some 5,000
lines take to read here (``make bench``).
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from flowverdict.core.addresses import is_inside
from flowverdict.flowlog import flow_hash
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
from flowverdict.flowlog.flow_hash import DIRECTION, SERVICE_FIELDS, service_of
from flowverdict.flowlog.line_reader import (
    MAX_LINE_BYTES,
    LineReader,
    first_record,
    lines_of,
    plain_bytes,
)
from flowverdict.flowlog.records import ABSENT, MAX_TEXT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flowverdict.flowlog.columnar import Sink
    from flowverdict.flowlog.records import RecordFormat


# The first six say which interface saw which addresses: a route.
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
_ROUTE_FIELDS = 6
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
IPV4 = 4
# Accepted rows, and with them routes and interfaces, that are held before they are summed up.
_MAX_ROWS = 50_000

type _Columns = tuple[array[int], array[int], array[int], array[int], array[int]]
type _Route = tuple[bytes, ...]  # the words of the first six captured fields


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
    for line in lines:
        fast.read(line)
    fast.finish()


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
    fast = _FastLineReader(reader, sink, seed, windows)
    for message in messages:
        line = message.encode("utf-8", "surrogatepass")
        if len(line) > MAX_LINE_BYTES:
            reader.skip_overlong()
        else:
            fast.read(line)
    fast.finish()


class _FastLineReader:
    """Reads lines of one source into a sink.

    Accepted flows go to the sink in columns of at most ``_MAX_ROWS`` rows; what they show about
    interfaces follows at the end.
    """

    def __init__(self, reader: LineReader, sink: Sink, seed: int, windows: Windows) -> None:
        self._reader = reader
        self._sink = sink
        self._seed = seed & flow_hash.MASK
        self._multiplier = flow_hash.multiplier_of(seed)
        self._windows = windows
        self._formats: tuple[RecordFormat, ...] = ()
        self._line_pattern: _LinePattern | None = None
        # Hash states after the interface, and after the interface and the four addresses.
        self._interface_states: dict[bytes, int] = {}
        self._route_states: dict[_Route, int] = {}
        self._services: dict[tuple[bytes | bool, ...], int] = {}
        self._columns: dict[int, _Columns] = {}
        self._rows = 0
        # Rows by window, route, direction, subnet and VPC.
        self._row_counts: Counter[tuple[int, _Route, bytes, bytes, bytes]] = Counter()
        self._facts: dict[tuple[int, str | None], InterfaceFacts] = {}

    def read(self, line: bytes) -> None:
        """Read a line; ``LineReader`` reads each line that does not match the format's pattern."""
        if self._reader.formats is not self._formats:
            self._formats = self._reader.formats
            self._line_pattern = (
                _line_pattern(self._formats[0]) if len(self._formats) == 1 else None
            )
        pattern = self._line_pattern
        if (
            pattern is None
            or (match := pattern.accepted_line.fullmatch(line)) is None
            or not self._accept(pattern.in_order(match.groups(_DASH)))
        ):
            if (record := self._reader.read(line)) is not None:
                self._sink.record(record)
            return
        self._reader.pass_over(1)
        self._reader.counts.accepted += 1

    def _accept(self, words: tuple[bytes, ...]) -> bool:
        """Add a line to the columns; return ``False`` if an address is not spelled canonically.

        ``words`` are those of ``_CAPTURED_FIELDS``, ``-`` where the format lacks the field.
        """
        route = words[:_ROUTE_FIELDS]
        source_port, destination_port, protocol, direction, *rest = words[_ROUTE_FIELDS:]
        start, end, flags, subnet, vpc = rest
        state = self._route_states.get(route)
        if state is None:
            if (state := self._route_state(*route)) is None:
                return False
            self._route_states[route] = state
        state = flow_hash.with_fields(
            state, self._multiplier, 5, (source_port, destination_port, protocol, direction)
        )
        last = start if end == _DASH else end
        window = self._windows.of(None if last == _DASH else int(last))
        columns = self._columns.get(window)
        if columns is None:
            columns = self._columns[window] = (
                array("Q"),
                array("q"),
                array("q"),
                array("i"),
                array("I"),
            )
        hashes, starts, ends, all_flags, services = columns
        hashes.append(flow_hash.finished(state, self._multiplier))
        starts.append(NOT_LOGGED if start == _DASH else int(start))
        ends.append(NOT_LOGGED if last == _DASH else int(last))
        all_flags.append(NOT_LOGGED if flags == _DASH else int(flags))
        services.append(
            self._service(
                _interface_name(*route[:2]), *route[2:4], destination_port, protocol, direction
            )
        )
        self._row_counts[window, route, direction, subnet, vpc] += 1
        self._rows += 1
        if self._rows >= _MAX_ROWS:
            self._flush()
        return True

    def _route_state(self, interface: bytes, resource: bytes, *addresses: bytes) -> int | None:
        """Return the hash state after a key's first five fields.

        ``None`` if a word is not an address in its canonical spelling: ``LineReader`` decides then.
        """
        for address in addresses:
            if address != _DASH and canonical_address(address) is None:
                return None
        source, destination, packet_source, packet_destination = addresses
        name = _interface_name(interface, resource)
        state = self._interface_states.get(name)
        if state is None:
            state = self._interface_states[name] = flow_hash.with_fields(
                self._seed, self._multiplier, 0, (name,)
            )
        packet_addresses = (
            flow_hash.SAME if packet in {plain, _DASH} else packet
            for packet, plain in ((packet_source, source), (packet_destination, destination))
        )
        return flow_hash.with_fields(
            state, self._multiplier, 1, (source, destination, *packet_addresses)
        )

    def _service(self, interface: bytes, source: bytes, *words: bytes) -> int:
        """Return ``flow_hash.service_hash`` by the words of its fields and of the direction."""
        from_inside = _is_inside(source)
        known = self._services.get((interface, from_inside, *words))
        if known is None:
            state = self._interface_states[interface]
            for place, word in zip((*SERVICE_FIELDS[1:], DIRECTION), words, strict=True):
                state = flow_hash.with_fields(state, self._multiplier, place, (word,))
            hashed = flow_hash.finished(state, self._multiplier)
            known = service_of(hashed, from_inside=from_inside)
            self._services[interface, from_inside, *words] = known
        return known

    def _flush(self) -> None:
        """Hand the columns to the sink, and sum up what they show about interfaces."""
        for window, (hashes, starts, ends, flags, services) in self._columns.items():
            flows = AcceptedFlows(
                hashes=hashes,
                starts=starts,
                ends=ends,
                flags=flags,
                services=services,
            )
            self._sink.accepted(window, flows)
        for (window, route, direction, subnet, vpc), rows in self._row_counts.items():
            interface, resource, source, destination, *_ = route
            name = _text(_interface_name(interface, resource))
            facts = self._facts.setdefault((window, name), InterfaceFacts())
            _learn_addresses(facts, source, destination, direction)
            facts.accepts += rows
            if (subnet_id := _text(subnet)) is not None:
                facts.subnets.add(subnet_id)
            if (vpc_id := _text(vpc)) is not None:
                facts.vpc_id = vpc_id if facts.vpc_id is None else min(facts.vpc_id, vpc_id)
        self._columns.clear()
        self._rows = 0
        self._row_counts.clear()
        self._route_states.clear()
        self._interface_states.clear()
        self._services.clear()

    def finish(self) -> None:
        """Hand the remaining rows to the sink, then the facts of each interface and window."""
        self._flush()
        for (window, name), facts in self._facts.items():
            self._sink.learned(window, name, facts)


@lru_cache(maxsize=65_536)
def _is_inside(word: bytes) -> bool:
    address = canonical_address(word)
    return address is not None and is_inside(address)


def _interface_name(interface: bytes, resource: bytes) -> bytes:
    return resource if interface == _DASH else interface


def _learn_addresses(
    facts: InterfaceFacts, source_word: bytes, destination_word: bytes, direction: bytes
) -> None:
    source, destination = canonical_address(source_word), canonical_address(destination_word)
    if source is None or destination is None or source.version != IPV4:
        return
    if direction == _DASH:
        pair = {source, destination}
        facts.shared = pair if facts.shared is None else facts.shared & pair
    else:
        facts.own.add(source if direction == b"egress" else destination)


def _text(word: bytes) -> str | None:
    return None if word == _DASH else word.decode("ascii")
