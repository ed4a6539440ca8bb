"""Read flow logs with nothing but ``LineReader``: the result that the faster readers must equal.

Also the example lines of AWS that tests of the readers share
(https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-records-examples.html).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from flowverdict.flowlog.line_reader import (
    MAX_LINE_BYTES,
    LineReader,
    first_record,
    lines_of,
    plain_bytes,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flowverdict.flowlog.records import FlowRecord, RecordFormat

HEADER = (
    b"version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes "
    b"start end action log-status\n"
)
SSH = (
    b"2 123456789010 eni-1235b8ca123456789 172.31.16.139 172.31.16.21 20641 22 6 20 4249 "
    b"1418530010 1418530070 ACCEPT OK\n"
)
RDP = (
    b"2 123456789010 eni-1235b8ca123456789 172.31.9.69 172.31.9.12 49761 3389 6 20 4249 "
    b"1418530010 1418530070 REJECT OK\n"
)
NODATA = b"2 123456789010 eni-1235b8ca123456789 - - - - - - - 1431280876 1431280934 - NODATA\n"
SKIPDATA = b"2 123456789010 eni-11111111aaaaaaaaa - - - - - - - 1431280876 1431280934 - SKIPDATA\n"
FILE = HEADER + SSH + RDP

TRANSIT_GATEWAY_HEADER = (
    b"version resource-type account-id tgw-id srcaddr dstaddr srcport dstport protocol log-status\n"
)
TRANSIT_GATEWAY_RECORD = (
    b"6 TransitGateway 123456789010 tgw-0123456789abcdef0 10.0.0.1 10.1.0.1 49761 443 6 OK\n"
)


def read_file(
    stream: BinaryIO,
    *,
    name: str,
    reader: LineReader | None = None,
    headerless: tuple[RecordFormat, ...] = (),
) -> Iterator[FlowRecord]:
    """Yield the records of one text flow log file; parameters and errors are ``read_columns``'s."""
    reader = reader if reader is not None else LineReader(headerless)
    lines = lines_of(plain_bytes(stream), reader, name)
    yield from first_record(lines, reader, name, headerless)
    for line in lines:
        if (record := reader.read(line)) is not None:
            yield record


def read_messages(messages: Iterable[str], reader: LineReader) -> Iterator[FlowRecord]:
    """Yield the records of CloudWatch Logs messages, one bare record line each."""
    for message in messages:
        encoded = message.encode("utf-8", "surrogatepass")
        if len(encoded) > MAX_LINE_BYTES:
            reader.skip_overlong()
        elif (record := reader.read(encoded)) is not None:
            yield record


def nonzero_counts(reader: LineReader) -> dict[str, int]:
    """Return the counters of a reader that are not zero."""
    return {name: count for name, count in reader.counts.as_mapping().items() if count}
