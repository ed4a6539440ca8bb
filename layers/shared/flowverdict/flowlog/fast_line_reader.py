"""Text flow logs read line by line, without a record for what was accepted: for CloudWatch Logs and small files.

As ``columns`` does it, only that one regular expression a format says which lines are surely fine. Nothing has to be loaded for it:
to load numpy takes as long as some 5,000 lines do here (``make bench``).
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, BinaryIO

from flowverdict.flowlog import flow_hash
from flowverdict.flowlog.columnar import (
    NOT_LOGGED,
    AcceptedFlows,
    InterfaceFacts,
    Windows,
    canonical_address,
)
from flowverdict.flowlog.fields import FIELDS, MAX_INT_64, MAX_PORT, MAX_PROTOCOL, FieldKind
from flowverdict.flowlog.line_reader import (
    MAX_LINE_BYTES,
    LineReader,
    first_record,
    lines_of,
    plain_bytes,
)
from flowverdict.flowlog.records import ABSENT, MAX_TEXT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowverdict.flowlog.columnar import Sink
    from flowverdict.flowlog.records import RecordFormat


_WANTED = (
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
_ADDRESS = "[0-9a-f.:]{2,39}"
# Numbers with as many digits are below their field's maximum; of ports and protocols that is asked besides.
_WORDS = {
    "srcaddr": _ADDRESS,
    "dstaddr": _ADDRESS,
    "pkt-srcaddr": f"{_ADDRESS}|-",
    "pkt-dstaddr": f"{_ADDRESS}|-",
    "srcport": "0|[1-9][0-9]{0,4}",
    "dstport": "0|[1-9][0-9]{0,4}",
    "protocol": "0|[1-9][0-9]{0,2}",
    "flow-direction": "ingress|egress|-",
    "start": "[0-9]{1,11}",
    "end": "[0-9]{1,11}",
    "tcp-flags": "[0-9]{1,3}|-",
    "action": "ACCEPT",
    "log-status": "OK",
}
_DASH = ABSENT.encode()
IPV4 = 4
# What is remembered of routes and interfaces before it is summed up.
_KEPT = 50_000

type _Columns = tuple[array[int], array[int], array[int], array[int]]
type _Route = tuple[
    bytes | None, bytes | None, bytes | None, bytes | None, bytes | None, bytes | None
]


def _word(name: str) -> str:
    if name in _WORDS:
        return _WORDS[name]
    if (known := FIELDS.get(name)) is None:
        return "[!-~]++"
    if known.kind is FieldKind.INTEGER:
        return f"[0-9]{{1,{18 if known.maximum == MAX_INT_64 else 9}}}|-"
    return f"[!-~]{{1,{MAX_TEXT}}}+"


@lru_cache(maxsize=16)
def _fine_line(record_format: RecordFormat) -> re.Pattern[bytes] | None:
    """Give what only an accepted record matches that is written as this program would; every field wanted is a group."""
    if "action" not in record_format.names or record_format.is_transit_gateway:
        return None
    words = [
        f"({'?P<' + FIELDS[name].attribute + '>' if name in _WANTED else '?:'}{_word(name)})"
        for name in record_format.names
    ]
    # A group that matches nothing stands for a field that the format lacks.
    lacking = [
        f"(?:|(?P<{FIELDS[name].attribute}>-))"
        for name in _WANTED
        if name not in record_format.names
    ]
    return re.compile(f"{' '.join(words)}(?:\r?\n)?{''.join(lacking)}".encode())


_GROUPS = tuple(FIELDS[name].attribute for name in _WANTED)


def read_file(  # noqa: PLR0913 - as columns.read_columns
    stream: BinaryIO,
    sink: Sink,
    *,
    name: str,
    reader: LineReader | None = None,
    headerless: tuple[RecordFormat, ...] = (),
    seed: int = 0,
    windows: Windows | None = None,
) -> None:
    """Read one text flow log file into a sink; as ``columns.read_columns``."""
    reader = reader if reader is not None else LineReader(headerless)
    quick = _QuickReader(reader, sink, seed, Windows(apart=False) if windows is None else windows)
    lines = lines_of(plain_bytes(stream), reader, name)
    for record in first_record(lines, reader, name, headerless):
        sink.record(record)
    for line in lines:
        quick.read(line)
    quick.hand_over()


def read_messages(
    messages: Iterable[str], reader: LineReader, sink: Sink, seed: int, windows: Windows
) -> None:
    """Read CloudWatch Logs messages, one bare record line each, into a sink."""
    quick = _QuickReader(reader, sink, seed, windows)
    for message in messages:
        line = message.encode("utf-8", "surrogatepass")
        if len(line) > MAX_LINE_BYTES:
            reader.skip_overlong()
        else:
            quick.read(line)
    quick.hand_over()


class _QuickReader:
    """Lines to a sink."""

    def __init__(self, reader: LineReader, sink: Sink, seed: int, windows: Windows) -> None:
        self._reader = reader
        self._sink = sink
        self._seed = seed & flow_hash.MASK
        self._formats: tuple[RecordFormat, ...] = ()
        self._fine_line: re.Pattern[bytes] | None = None
        self._interfaces: dict[bytes, int] = {}
        self._states: dict[_Route, int | None] = {}
        self._windows = windows
        self._seen: Counter[tuple[int, _Route, bytes | None, bytes | None, bytes | None]] = (
            Counter()
        )
        self._facts: dict[tuple[int, str | None], InterfaceFacts] = {}
        self._columns: dict[int, _Columns] = {}
        self._rows = 0

    def read(self, line: bytes) -> None:
        """Read one line; what is not surely fine as ``LineReader`` does."""
        if self._reader.formats is not self._formats:
            self._formats = self._reader.formats
            self._fine_line = _fine_line(self._formats[0]) if len(self._formats) == 1 else None
        if (
            self._fine_line is None
            or (match := self._fine_line.fullmatch(line)) is None
            or not self._accept(match.group(*_GROUPS))
        ):
            if (record := self._reader.read(line)) is not None:
                self._sink.record(record)
            return
        self._reader.pass_over(1)
        self._reader.counts.accepted += 1

    def _accept(self, words: tuple[bytes | None, ...]) -> bool:
        """Take a line that matched, if its addresses, ports and protocol are fine too; ``words`` are its groups."""
        interface, resource, source, destination, packet_source, packet_destination, *rest = words
        source_port, destination_port, protocol, direction, start, end, flags, subnet, vpc = rest
        route = (interface, resource, source, destination, packet_source, packet_destination)
        if route in self._states:
            state = self._states[route]
        else:
            state = self._states[route] = self._state(*route)
        if (
            state is None
            or int(source_port or 0) > MAX_PORT
            or int(destination_port or 0) > MAX_PORT
        ):
            return False
        if int(protocol or 0) > MAX_PROTOCOL:
            return False
        told = (
            source_port or _DASH,
            destination_port or _DASH,
            protocol or _DASH,
            direction or _DASH,
        )
        state = flow_hash.with_fields(state, 5, told)
        last = end if end is not None else start
        window = self._windows.of(None if last is None else int(last))
        columns = self._columns.get(window)
        if columns is None:
            columns = self._columns[window] = (array("Q"), array("q"), array("q"), array("i"))
        hashes, starts, ends, all_flags = columns
        hashes.append(flow_hash.finished(state))
        starts.append(NOT_LOGGED if start is None else int(start))
        ends.append(NOT_LOGGED if last is None else int(last))
        all_flags.append(NOT_LOGGED if flags is None or flags == _DASH else int(flags))
        self._rows += 1
        self._seen[window, route, direction, subnet, vpc] += 1
        if len(self._seen) >= _KEPT or len(self._states) >= _KEPT or self._rows >= _KEPT:
            self._sum_up()
        return True

    def _state(
        self, interface: bytes | None, resource: bytes | None, *ends: bytes | None
    ) -> int | None:
        """Give what the first five fields make of the seed; ``None`` where they are not surely fine."""
        for end in ends:
            if end is not None and end != _DASH and canonical_address(end) is None:
                return None
        source, destination, *packet_ends = ends
        name = _interface(interface, resource)
        state = self._interfaces.get(name)
        if state is None:
            state = self._interfaces[name] = flow_hash.with_fields(self._seed, 0, (name,))
        packets = (
            flow_hash.SAME if token is None or token in {plain, _DASH} else token
            for token, plain in zip(packet_ends, (source, destination), strict=True)
        )
        return flow_hash.with_fields(state, 1, (source or _DASH, destination or _DASH, *packets))

    def _sum_up(self) -> None:
        for window, (hashes, starts, ends, flags) in self._columns.items():
            self._sink.accepted(
                window, AcceptedFlows(hashes=hashes, starts=starts, ends=ends, flags=flags)
            )
        self._columns.clear()
        self._rows = 0
        for (window, route, direction, subnet, vpc), accepts in self._seen.items():
            name = _text(_interface(*route[:2]))
            facts = self._facts.setdefault((window, name), InterfaceFacts())
            _learn(facts, route[2:4], direction)
            facts.accepts += accepts
            if (text := _text(subnet)) is not None:
                facts.subnets.add(text)
            if (text := _text(vpc)) is not None:
                facts.vpc_id = text if facts.vpc_id is None else min(facts.vpc_id, text)
        self._seen.clear()
        self._states.clear()
        self._interfaces.clear()

    def hand_over(self) -> None:
        """Give the sink what it has not got yet."""
        self._sum_up()
        for (window, name), facts in self._facts.items():
            self._sink.learned(window, name, facts)


def _interface(interface: bytes | None, resource: bytes | None) -> bytes:
    return resource or _DASH if interface is None or interface == _DASH else interface


def _learn(facts: InterfaceFacts, ends: tuple[bytes | None, ...], direction: bytes | None) -> None:
    source, destination = (None if end is None else canonical_address(end) for end in ends)
    if source is None or destination is None or source.version != IPV4:
        return
    if direction is None or direction == _DASH:
        facts.shared = (
            {source, destination} if facts.shared is None else facts.shared & {source, destination}
        )
    else:
        facts.own.add(source if direction == b"egress" else destination)


def _text(token: bytes | None) -> str | None:
    return None if token is None or token == _DASH else token.decode("ascii")
