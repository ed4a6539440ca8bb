"""Files and messages to records: what a file is, what its lines are, and that nothing goes uncounted."""

from __future__ import annotations

import gzip
import io
import tracemalloc
from itertools import pairwise
from typing import BinaryIO, cast

import pytest

from flowverdict.core.errors import NotAFlowLogError, ObjectError
from flowverdict.flowlog.line_reader import (
    MAX_LINE_BYTES,
    MAX_SAMPLES,
    LineReader,
    header_format,
    read_file,
    read_messages,
)
from flowverdict.flowlog.records import DEFAULT_FORMAT, FlowRecord, RecordFormat

HEADER = b"version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status\n"
SSH = b"2 123456789010 eni-1235b8ca123456789 172.31.16.139 172.31.16.21 20641 22 6 20 4249 1418530010 1418530070 ACCEPT OK\n"
RDP = b"2 123456789010 eni-1235b8ca123456789 172.31.9.69 172.31.9.12 49761 3389 6 20 4249 1418530010 1418530070 REJECT OK\n"
NODATA = b"2 123456789010 eni-1235b8ca123456789 - - - - - - - 1431280876 1431280934 - NODATA\n"
SKIPDATA = b"2 123456789010 eni-11111111aaaaaaaaa - - - - - - - 1431280876 1431280934 - SKIPDATA\n"
FILE = HEADER + SSH + RDP

TRANSIT_GATEWAY_HEADER = (
    b"version resource-type account-id tgw-id srcaddr dstaddr srcport dstport protocol log-status\n"
)
TRANSIT_GATEWAY_RECORD = (
    b"6 TransitGateway 123456789010 tgw-0123456789abcdef0 10.0.0.1 10.1.0.1 49761 443 6 OK\n"
)


def read(
    content: bytes, *, headerless: tuple[RecordFormat, ...] = ()
) -> tuple[list[FlowRecord], LineReader]:
    """Read a file's bytes; give its records, and the reader that counted."""
    reader = LineReader(headerless)
    return list(
        read_file(io.BytesIO(content), name="flow.log", reader=reader, headerless=headerless)
    ), reader


def told(reader: LineReader) -> dict[str, int]:
    """Give the counters that are not zero."""
    return {name: count for name, count in reader.counts.as_mapping().items() if count}


class Dribble(io.RawIOBase):
    """A stream that gives one byte at a time, as a slow network may."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def read(self, size: int = -1, /) -> bytes:
        return self._content.read(min(size, 1))


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


# --- what a file is ---------------------------------------------------------------------------------------------------


def test_file_with_header_gives_its_records_in_order() -> None:
    records, reader = read(FILE)
    assert [record.dstport for record in records] == [22, 3389]
    assert told(reader) == {"records": 2, "accepted": 1, "rejected": 1, "header_lines": 1}
    assert reader.samples == []


@pytest.mark.parametrize("name", ["flow.log", "flow.log.gz", "flow.parquet", ""])
@pytest.mark.parametrize("content", [FILE, gzip.compress(FILE)], ids=["text", "gzip"])
def test_gzip_is_known_by_content_whatever_the_name(content: bytes, name: str) -> None:
    assert [record.dstport for record in read_file(io.BytesIO(content), name=name)] == [22, 3389]


def test_concatenated_gzip_members_are_one_file() -> None:
    records, reader = read(
        gzip.compress(FILE) + gzip.compress(HEADER + RDP) + gzip.compress(NODATA)
    )
    assert len(records) == 4
    assert told(reader) == {
        "records": 4,
        "accepted": 1,
        "rejected": 2,
        "no_data": 1,
        "header_lines": 2,
    }


def test_member_boundary_inside_a_line_does_not_split_it() -> None:
    records, reader = read(gzip.compress(FILE[:-40]) + gzip.compress(FILE[-40:]))
    assert [record.dstport for record in records] == [22, 3389]
    assert not reader.counts.malformed


@pytest.mark.parametrize(
    "content", [FILE.rstrip(), gzip.compress(FILE.rstrip())], ids=["text", "gzip"]
)
def test_last_line_without_its_line_end_is_read(content: bytes) -> None:
    assert [record.dstport for record in read(content)[0]] == [22, 3389]


def test_text_that_comes_byte_by_byte_is_read() -> None:
    assert len(list(read_file(cast("BinaryIO", Dribble(FILE)), name="slow"))) == 2


def test_gzip_that_comes_byte_by_byte_is_read() -> None:
    assert len(list(read_file(cast("BinaryIO", Dribble(gzip.compress(FILE))), name="slow"))) == 2


@pytest.mark.parametrize("lost", [1, 8, 9, 30, 100])
def test_truncated_gzip_is_refused(lost: int) -> None:
    with pytest.raises(ObjectError, match=r"^flow\.log: truncated gzip") as raised:
        read(gzip.compress(FILE)[:-lost])
    assert raised.value.name == "flow.log"
    assert not isinstance(raised.value, NotAFlowLogError)


@pytest.mark.parametrize("kept", [2, 3, 9, 10])
def test_gzip_cut_within_its_own_header_is_truncated(kept: int) -> None:
    with pytest.raises(ObjectError, match="truncated gzip"):
        read(gzip.compress(FILE)[:kept])


def test_second_gzip_member_that_is_truncated_is_refused() -> None:
    with pytest.raises(ObjectError, match="truncated gzip"):
        read(gzip.compress(FILE) + gzip.compress(FILE)[:-5])


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(FILE)[:10] + b"\xff" * 60,
        gzip.compress(FILE)[:-8] + b"\0" * 8,
        gzip.compress(FILE) + b"garbage",
        b"\x1f\x8b\x07" + gzip.compress(FILE)[3:],
    ],
    ids=["deflate", "checksum", "trailing garbage", "method"],
)
def test_broken_gzip_is_refused(content: bytes) -> None:
    with pytest.raises(ObjectError, match=r"^flow\.log: broken gzip: "):
        read(content)


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b" \r\n\t\n", gzip.compress(b"", mtime=0), gzip.compress(b"\n\n", mtime=0)],
)
@pytest.mark.parametrize("headerless", [(), (DEFAULT_FORMAT,)], ids=["s3", "pasted"])
def test_file_without_a_single_line_is_no_flow_log(
    content: bytes, headerless: tuple[RecordFormat, ...]
) -> None:
    with pytest.raises(NotAFlowLogError, match=r"^flow\.log: empty"):
        read(content, headerless=headerless)


@pytest.mark.parametrize("content", [HEADER, HEADER.rstrip(), gzip.compress(HEADER)])
def test_file_of_a_header_alone_is_a_flow_log_without_records(content: bytes) -> None:
    records, reader = read(content)
    assert records == []
    assert told(reader) == {"header_lines": 1}


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        b'{"Records": [{"eventVersion": "1.08"}]}\n',
        b"Hello, world\n",
        b"\x1f",
        b"\0" * 1000,
        b"date time x-edge-location sc-bytes\n",
        SSH,
        gzip.compress(gzip.compress(FILE)),
    ],
)
def test_other_content_is_no_flow_log(content: bytes) -> None:
    with pytest.raises(
        NotAFlowLogError, match="not a VPC flow log: its first line is no header of field names"
    ):
        read(content)


@pytest.mark.parametrize(
    "content", [b"x" * (MAX_LINE_BYTES + 1), b"x" * (MAX_LINE_BYTES * 3) + b"\n"]
)
def test_content_of_one_endless_line_is_not_called_empty(content: bytes) -> None:
    with pytest.raises(NotAFlowLogError) as raised:
        read(content)
    assert "empty" not in str(raised.value)


@pytest.mark.parametrize(
    "telling", ["interface-id", "srcaddr", "dstaddr", "srcport", "dstport", "protocol", "action"]
)
def test_header_that_misspells_a_telling_field_is_wrong_and_the_message_names_what_is_missing(
    telling: str,
) -> None:
    misspelt = HEADER.replace(b" " + telling.encode(), b" " + telling.encode() + b"x")
    with pytest.raises(
        NotAFlowLogError,
        match=f"its header is wrong: it lacks {telling} and has words that name no field",
    ):
        read(misspelt + RDP)


@pytest.mark.parametrize("header", [b"version action action\n", b"action SRCADDR\n" + HEADER])
def test_header_with_a_repeated_or_impossible_name_is_wrong(header: bytes) -> None:
    with pytest.raises(NotAFlowLogError, match="its header is wrong"):
        read(header + RDP)


def test_future_field_is_accepted_and_told() -> None:
    records, reader = read(
        HEADER.replace(b"log-status", b"log-status tomorrows-field")
        + RDP.replace(b"OK", b"OK 17%20x")
    )
    assert [record.dstport for record in records] == [3389]
    assert [record_format.unknown_names for record_format in reader.formats] == [
        ("tomorrows-field",)
    ]


def test_header_of_few_known_fields_is_a_header() -> None:
    records, _ = read(b"srcaddr dstaddr\n10.0.0.1 10.0.0.2\n")
    assert len(records) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"srcaddr dstaddr action", True),
        (b"version tgw-id", True),
        (b"srcaddr dstaddr acton", False),
        (b"tomorrows-field", False),
        (b"srcaddr srcaddr", False),
        (b"srcaddr \xc3\xa9", False),
        (b"", False),
    ],
)
def test_header_is_made_of_field_names(text: bytes, *, expected: bool) -> None:
    assert (header_format(text) is not None) is expected


# --- pasted lines -----------------------------------------------------------------------------------------------------


def test_line_without_a_header_is_read_where_that_is_allowed() -> None:
    records, reader = read(b"\n" + RDP + SSH, headerless=(DEFAULT_FORMAT,))
    assert [record.dstport for record in records] == [3389, 22]
    assert told(reader) == {"records": 2, "accepted": 1, "rejected": 1, "blank_lines": 1}


def test_line_without_a_header_is_refused_where_it_is_not_allowed() -> None:
    with pytest.raises(NotAFlowLogError):
        read(RDP)


def test_header_goes_before_the_assumed_format() -> None:
    records, _ = read(b"dstport srcport\n443 50122\n", headerless=(DEFAULT_FORMAT,))
    assert [(record.srcport, record.dstport) for record in records] == [(50_122, 443)]


@pytest.mark.parametrize("first", [b"Hello, world\n", RDP.replace(b"3389", b"65536")])
def test_first_line_that_is_neither_header_nor_record_is_refused(first: bytes) -> None:
    with pytest.raises(NotAFlowLogError, match="its first line is neither a header nor a record"):
        read(first + RDP, headerless=(DEFAULT_FORMAT,))


def test_malformed_line_after_a_first_record_does_not_stop_pasted_lines() -> None:
    records, reader = read(RDP + b"nonsense\n" + SSH, headerless=(DEFAULT_FORMAT,))
    assert len(records) == 2
    assert reader.counts.malformed == {"field-count": 1}


# --- lines ------------------------------------------------------------------------------------------------------------


def test_crlf_blank_lines_and_double_blanks_are_read_and_counted() -> None:
    records, reader = read(
        b"\r\n" + FILE.replace(b"\n", b"\r\n") + b"\r\n \t \n" + RDP.replace(b" ", b"  ")
    )
    assert [record.dstport for record in records] == [22, 3389, 3389]
    assert told(reader) == {
        "records": 3,
        "accepted": 1,
        "rejected": 2,
        "header_lines": 1,
        "blank_lines": 3,
    }


def test_repeated_header_is_counted_and_is_no_record() -> None:
    records, reader = read(FILE + FILE + HEADER.replace(b"\n", b"\r\n"))
    assert len(records) == 4
    assert told(reader) == {"records": 4, "accepted": 2, "rejected": 2, "header_lines": 3}


def test_other_header_in_the_middle_rules_what_follows() -> None:
    records, reader = read(
        b"srcport dstport action\n50122 443 REJECT\ndstport srcport action\n443 50122 REJECT\n"
    )
    assert [(record.srcport, record.dstport) for record in records] == [
        (50_122, 443),
        (50_122, 443),
    ]
    assert told(reader) == {"records": 2, "rejected": 2, "header_lines": 2}


def test_other_header_of_another_width_rules_what_follows() -> None:
    records, reader = read(FILE + b"action vpc-id\nREJECT vpc-1\n" + FILE)
    assert [record.vpc_id for record in records] == [None, None, "vpc-1", None, None]
    assert not reader.counts.malformed


def test_misspelt_header_in_the_middle_is_a_malformed_line() -> None:
    records, reader = read(FILE + HEADER.replace(b"srcaddr", b"scraddr") + RDP)
    assert len(records) == 3
    assert reader.counts.malformed.total() == 1
    assert reader.counts.header_lines == 1


def test_nodata_and_skipdata_are_records_and_counted_apart() -> None:
    records, reader = read(HEADER + NODATA + SKIPDATA + SKIPDATA + RDP)
    assert len(records) == 4
    assert told(reader) == {
        "records": 4,
        "no_data": 1,
        "skip_data": 2,
        "rejected": 1,
        "header_lines": 1,
    }


def test_transit_gateway_records_are_counted_and_passed_over() -> None:
    records, reader = read(
        TRANSIT_GATEWAY_HEADER + TRANSIT_GATEWAY_RECORD * 2 + b"6 TransitGateway\n"
    )
    assert records == []
    assert told(reader) == {
        "records": 3,
        "transit_gateway": 2,
        "malformed": 1,
        "malformed.field-count": 1,
        "header_lines": 1,
    }


def test_vpc_records_after_those_of_a_transit_gateway_are_read() -> None:
    records, reader = read(TRANSIT_GATEWAY_HEADER + TRANSIT_GATEWAY_RECORD + FILE)
    assert [record.dstport for record in records] == [22, 3389]
    assert told(reader) == {
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
    assert told(reader) == {"records": 2, "transit_gateway": 1, "rejected": 1, "header_lines": 2}


def test_records_without_an_action_are_counted_apart() -> None:
    # AWS's NAT gateway example: a format without action
    content = (
        b"instance-id interface-id srcaddr dstaddr pkt-srcaddr pkt-dstaddr\n"
        b"- eni-1235b8ca123456789 10.0.1.5 10.0.0.220 10.0.1.5 203.0.113.5\n"
    )
    records, reader = read(content)
    assert [str(record.pkt_dstaddr) for record in records] == ["203.0.113.5"]
    assert told(reader) == {"records": 1, "no_action": 1, "header_lines": 1}


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


def test_whoever_limits_the_time_of_reading_is_asked_after_every_few_mib_that_a_bomb_unpacks_to() -> (
    None
):
    line = b"x" * 60_000 + b"\n"
    content = io.BytesIO(gzip.compress(HEADER + line * 1_100, 9))  # 63 MiB of 64 KiB
    reader = LineReader(())
    looks = [0]

    class Watched:
        def read(self, size: int) -> bytes:
            looks.append(reader.counts.records)
            return content.read(size)

    list(read_file(cast("BinaryIO", Watched()), name="bomb", reader=reader))
    most = max(after - before for before, after in pairwise(looks)) * len(line)
    assert reader.counts.malformed == {"field-count": 1_100}
    assert most <= 4_096 * 1_032 + (1 << 18) + MAX_LINE_BYTES


# --- messages ---------------------------------------------------------------------------------------------------------

ADDRESSES = RecordFormat(("srcaddr", "dstaddr", "action"))
SWAPPED = RecordFormat(("dstaddr", "srcaddr", "action"))
PORTS = RecordFormat(("srcport", "dstport", "action"))


def read_all(messages: list[str], *formats: RecordFormat) -> tuple[list[FlowRecord], LineReader]:
    """Read messages by the given formats."""
    reader = LineReader(formats, headers=False)
    return list(read_messages(messages, reader)), reader


def test_messages_are_bare_records() -> None:
    records, reader = read_all([SSH.decode().rstrip(), RDP.decode()], DEFAULT_FORMAT)
    assert [record.dstport for record in records] == [22, 3389]
    assert told(reader) == {"records": 2, "accepted": 1, "rejected": 1}


def test_header_among_messages_is_a_malformed_record() -> None:
    records, reader = read_all([HEADER.decode(), RDP.decode()], DEFAULT_FORMAT)
    assert len(records) == 1
    assert reader.counts.malformed.total() == 1
    assert reader.counts.header_lines == 0


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("Hello, world", "field-count"),
        (SSH.decode() + RDP.decode(), "encoding"),
        (RDP.decode().replace("eni", "\u00e9ni"), "encoding"),
        (RDP.decode().replace("eni", "\ud800ni"), "encoding"),
        ("x" * (MAX_LINE_BYTES + 1), "line-too-long"),
        ("\u00e9" * MAX_LINE_BYTES, "line-too-long"),
    ],
    ids=["words", "two in one", "accent", "lone surrogate", "overlong", "overlong in UTF-8"],
)
def test_malformed_message_is_counted_and_the_rest_is_read(message: str, reason: str) -> None:
    records, reader = read_all([message, RDP.decode()], DEFAULT_FORMAT)
    assert len(records) == 1
    assert reader.counts.malformed == {reason: 1}


def test_blank_message_is_counted() -> None:
    _, reader = read_all(["", " \n"], DEFAULT_FORMAT)
    assert told(reader) == {"blank_lines": 2}


def test_message_is_read_by_the_format_of_its_width() -> None:
    records, reader = read_all(
        [RDP.decode(), "10.0.0.1 10.0.0.2 REJECT", SSH.decode()], DEFAULT_FORMAT, ADDRESSES
    )
    assert [record.dstport for record in records] == [3389, None, 22]
    assert not reader.counts.malformed


def test_message_that_no_format_has_the_width_of_is_malformed() -> None:
    _, reader = read_all(["one two"], DEFAULT_FORMAT, ADDRESSES)
    assert reader.counts.malformed == {"field-count": 1}
    assert "none of the formats" in reader.samples[0]


def test_of_two_formats_of_one_width_the_one_that_can_read_the_message_does() -> None:
    records, reader = read_all(["10.0.0.1 10.0.0.2 REJECT", "50122 443 REJECT"], ADDRESSES, PORTS)
    assert [str(record.srcaddr) for record in records] == ["10.0.0.1", "None"]
    assert [record.dstport for record in records] == [None, 443]
    assert not reader.counts.malformed


def test_message_that_two_formats_read_differently_is_not_guessed_at() -> None:
    records, reader = read_all(["10.0.0.1 10.0.0.2 REJECT"], ADDRESSES, SWAPPED)
    assert records == []
    assert reader.counts.malformed == {"ambiguous-format": 1}


def test_message_that_two_formats_read_alike_is_read() -> None:
    records, reader = read_all(["10.0.0.1 10.0.0.1 REJECT", "- - ACCEPT"], ADDRESSES, SWAPPED)
    assert [str(record.srcaddr) for record in records] == ["10.0.0.1", "None"]
    assert told(reader) == {"records": 2, "accepted": 1, "rejected": 1}


def test_message_that_no_format_of_its_width_can_read_is_malformed_for_that_reason() -> None:
    _, reader = read_all(["10.0.0.1 10.0.0.2 DROP"], ADDRESSES, SWAPPED)
    assert reader.counts.malformed == {"action": 1}


def test_transit_gateway_messages_beside_vpc_ones_are_counted_apart() -> None:
    transit = RecordFormat.from_header(TRANSIT_GATEWAY_HEADER.decode())
    records, reader = read_all(
        [TRANSIT_GATEWAY_RECORD.decode(), RDP.decode()], DEFAULT_FORMAT, transit
    )
    assert len(records) == 1
    assert told(reader) == {"records": 2, "rejected": 1, "transit_gateway": 1}
