"""The lines of a file: each is read or counted by its reason, within bounds of memory and time."""

from __future__ import annotations

import gzip
import io
import tracemalloc
from itertools import pairwise
from typing import TYPE_CHECKING, BinaryIO, cast

import pytest

from flowverdict.flowlog.line_reader import MAX_LINE_BYTES, MAX_SAMPLES, LineReader
from tests.helpers.line_by_line import (
    FILE,
    HEADER,
    NODATA,
    RDP,
    SKIPDATA,
    SSH,
    TRANSIT_GATEWAY_HEADER,
    TRANSIT_GATEWAY_RECORD,
    nonzero_counts,
    read_file,
)

if TYPE_CHECKING:
    from flowverdict.flowlog.records import FlowRecord


def read(content: bytes) -> tuple[list[FlowRecord], LineReader]:
    """Read a file's bytes; return its records and the reader that counted them."""
    reader = LineReader(())
    records = read_file(io.BytesIO(content), name="flow.log", reader=reader)
    return list(records), reader


class Endless(io.RawIOBase):
    """A header, then one line of the given length, then a record."""

    def __init__(self, length: int) -> None:
        self._left = length
        self._before = HEADER
        self._after = b"\n" + RDP

    def read(self, size: int = -1, /) -> bytes:
        if self._before:
            chunk, self._before = self._before, b""
            return chunk
        if self._left:
            chunk = b"x" * min(size, self._left)
            self._left -= len(chunk)
            return chunk
        chunk, self._after = self._after, b""
        return chunk


def test_crlf_blank_lines_and_double_blanks_are_read_and_counted() -> None:
    records, reader = read(
        b"\r\n" + FILE.replace(b"\n", b"\r\n") + b"\r\n \t \n" + RDP.replace(b" ", b"  ")
    )
    assert [record.dstport for record in records] == [22, 3389, 3389]
    assert nonzero_counts(reader) == {
        "records": 3,
        "accepted": 1,
        "rejected": 2,
        "header_lines": 1,
        "blank_lines": 3,
    }


def test_repeated_header_is_counted_and_is_not_a_record() -> None:
    records, reader = read(FILE + FILE + HEADER.replace(b"\n", b"\r\n"))
    assert len(records) == 4
    assert nonzero_counts(reader) == {"records": 4, "accepted": 2, "rejected": 2, "header_lines": 3}


def test_another_header_in_the_middle_applies_to_the_lines_after_it() -> None:
    records, reader = read(
        b"srcport dstport action\n50122 443 REJECT\ndstport srcport action\n443 50122 REJECT\n"
    )
    assert [(record.srcport, record.dstport) for record in records] == [
        (50_122, 443),
        (50_122, 443),
    ]
    assert nonzero_counts(reader) == {"records": 2, "rejected": 2, "header_lines": 2}


def test_another_header_of_another_width_applies_to_the_lines_after_it() -> None:
    records, reader = read(FILE + b"action vpc-id\nREJECT vpc-1\n" + FILE)
    assert [record.vpc_id for record in records] == [None, None, "vpc-1", None, None]
    assert not reader.counts.malformed


def test_misspelt_header_in_the_middle_is_a_malformed_line() -> None:
    records, reader = read(FILE + HEADER.replace(b"srcaddr", b"scraddr") + RDP)
    assert len(records) == 3
    assert reader.counts.malformed.total() == 1
    assert reader.counts.header_lines == 1


def test_nodata_and_skipdata_are_records_and_counted_separately() -> None:
    records, reader = read(HEADER + NODATA + SKIPDATA + SKIPDATA + RDP)
    assert len(records) == 4
    assert nonzero_counts(reader) == {
        "records": 4,
        "no_data": 1,
        "skip_data": 2,
        "rejected": 1,
        "header_lines": 1,
    }


def test_transit_gateway_records_are_counted_and_skipped() -> None:
    records, reader = read(
        TRANSIT_GATEWAY_HEADER + TRANSIT_GATEWAY_RECORD * 2 + b"6 TransitGateway\n"
    )
    assert records == []
    assert nonzero_counts(reader) == {
        "records": 3,
        "transit_gateway": 2,
        "malformed": 1,
        "malformed.field-count": 1,
        "header_lines": 1,
    }


def test_vpc_records_after_those_of_a_transit_gateway_are_read() -> None:
    records, reader = read(TRANSIT_GATEWAY_HEADER + TRANSIT_GATEWAY_RECORD + FILE)
    assert [record.dstport for record in records] == [22, 3389]
    assert nonzero_counts(reader) == {
        "records": 3,
        "transit_gateway": 1,
        "accepted": 1,
        "rejected": 1,
        "header_lines": 2,
    }


def test_vpc_records_of_the_same_width_after_those_of_a_transit_gateway_are_read() -> None:
    header = b"interface-id srcaddr dstaddr srcport dstport protocol packets bytes start action\n"
    record = b"eni-1 10.0.0.1 10.0.0.2 50122 443 6 1 40 1418530010 REJECT\n"
    assert len(header.split()) == len(TRANSIT_GATEWAY_HEADER.split())
    records, reader = read(TRANSIT_GATEWAY_HEADER + TRANSIT_GATEWAY_RECORD + header + record)
    assert len(records) == 1
    assert nonzero_counts(reader) == {
        "records": 2,
        "transit_gateway": 1,
        "rejected": 1,
        "header_lines": 2,
    }


def test_records_without_an_action_are_counted_separately() -> None:
    # AWS's NAT gateway example: a format without action
    content = (
        b"instance-id interface-id srcaddr dstaddr pkt-srcaddr pkt-dstaddr\n"
        b"- eni-1235b8ca123456789 10.0.1.5 10.0.0.220 10.0.1.5 203.0.113.5\n"
    )
    records, reader = read(content)
    assert [str(record.pkt_dstaddr) for record in records] == ["203.0.113.5"]
    assert nonzero_counts(reader) == {"records": 1, "no_action": 1, "header_lines": 1}


def test_malformed_lines_are_counted_by_reason_and_the_rest_is_read() -> None:
    bad = [
        (b"172.31.9.69", b"172.31.9.256", "address"),
        (b"3389", b"65536", "out-of-range"),
        (b"3389", b"+5", "integer"),
        (b"REJECT", b"DROP", "action"),
        (b"OK", b"FINE", "log-status"),
        (b" OK", b"", "field-count"),
        (b"eni-", b"\xff\xfe", "encoding"),
        (b"eni-", b"\x1b[31m", "encoding"),
        (b"eni-", b"a\x00b", "encoding"),
    ]
    records, reader = read(
        HEADER + b"".join(RDP.replace(right, wrong) + SSH for right, wrong, _ in bad)
    )
    assert len(records) == len(bad)
    assert reader.counts.malformed == {
        "address": 1,
        "out-of-range": 1,
        "integer": 1,
        "action": 1,
        "log-status": 1,
        "field-count": 1,
        "encoding": 3,
    }
    assert reader.counts.records == 2 * len(bad)


def test_a_few_malformed_lines_are_sampled_with_their_numbers() -> None:
    _, reader = read(HEADER + RDP + b"nonsense\n" * 100)
    assert len(reader.samples) == MAX_SAMPLES == 5
    assert [sample.split(":")[0] for sample in reader.samples] == [
        "line 3",
        "line 4",
        "line 5",
        "line 6",
        "line 7",
    ]
    assert reader.counts.malformed == {"field-count": 100}


def test_line_numbers_of_samples_count_every_line_of_the_file() -> None:
    _, reader = read(b"\n\n" + HEADER + b"\n" + HEADER + RDP + b"nonsense\n")
    assert [sample.split(":")[0] for sample in reader.samples] == ["line 7"]


def test_samples_show_nothing_that_could_forge_a_log_line() -> None:
    hostile = [
        RDP.replace(b"3389", b"33\r89"),
        RDP.replace(b"3389", b"\x1b[2J"),
        RDP.replace(b"REJECT", b"X\x00Y"),
        b"\xe2\x80\xae\n",
    ]
    _, reader = read(HEADER + b"".join(hostile))
    assert len(reader.samples) == len(hostile)
    assert all(sample.isascii() and sample.isprintable() for sample in reader.samples)


@pytest.mark.parametrize(
    ("length", "malformed"),
    [(MAX_LINE_BYTES - 1, {"field-count": 1}), (MAX_LINE_BYTES, {"line-too-long": 1})],
)
def test_line_is_overlong_from_the_limit_on(length: int, malformed: dict[str, int]) -> None:
    records, reader = read(HEADER + b"x" * length + b"\n" + RDP)
    assert len(records) == 1
    assert reader.counts.malformed == malformed


@pytest.mark.parametrize(
    "length", [MAX_LINE_BYTES * 2, MAX_LINE_BYTES * 2 + 1, MAX_LINE_BYTES * 3 - 1]
)
def test_overlong_line_is_one_line_whatever_its_length(length: int) -> None:
    records, reader = read(HEADER + SSH + b"x" * length + b"\n" + RDP + b"x" * length)
    assert [record.dstport for record in records] == [22, 3389]
    assert reader.counts.malformed == {"line-too-long": 2}


def test_overlong_line_is_never_held_in_memory() -> None:
    length = 32_000_000
    tracemalloc.start()
    try:
        records = list(read_file(cast("BinaryIO", Endless(length)), name="endless"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(records) == 1
    assert peak < 3_000_000  # two buffers of 256 KiB, a few lines of 64 KiB


@pytest.mark.slow
def test_a_gzip_bomb_reads_its_stream_again_after_every_few_mib() -> None:
    line = b"x" * 60_000 + b"\n"
    content = io.BytesIO(gzip.compress(HEADER + line * 1_100, 9))  # 63 MiB of 64 KiB
    reader = LineReader(())
    counts_at_reads = [0]

    class Watched:
        def read(self, size: int) -> bytes:
            counts_at_reads.append(reader.counts.records)
            return content.read(size)

    list(read_file(cast("BinaryIO", Watched()), name="bomb", reader=reader))
    most = max(after - before for before, after in pairwise(counts_at_reads)) * len(line)
    assert reader.counts.malformed == {"field-count": 1_100}
    assert most <= 4_096 * 1_032 + (1 << 18) + MAX_LINE_BYTES
