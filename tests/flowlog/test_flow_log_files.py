"""What a file is: text or gzip, with a header or without, whole or truncated, or not a flow log."""

from __future__ import annotations

import gzip
import io
from typing import BinaryIO, cast

import pytest

from flowverdict.core.errors import NotAFlowLogError, ObjectError
from flowverdict.flowlog.line_reader import (
    MAX_LINE_BYTES,
    LineReader,
    header_format,
)
from flowverdict.flowlog.records import DEFAULT_FORMAT, FlowRecord, RecordFormat
from tests.helpers.line_by_line import (
    FILE,
    HEADER,
    NODATA,
    RDP,
    SSH,
    nonzero_counts,
    read_file,
)


def read(
    content: bytes, *, headerless: tuple[RecordFormat, ...] = ()
) -> tuple[list[FlowRecord], LineReader]:
    """Read a file's bytes; return its records and the reader that counted them."""
    reader = LineReader(headerless)
    records = read_file(io.BytesIO(content), name="flow.log", reader=reader, headerless=headerless)
    return list(records), reader


class Dribble(io.RawIOBase):
    """A stream that gives one byte at a time, as a slow network may."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def read(self, size: int = -1, /) -> bytes:
        return self._content.read(min(size, 1))


def test_file_with_header_gives_its_records_in_order() -> None:
    records, reader = read(FILE)
    assert [record.dstport for record in records] == [22, 3389]
    assert nonzero_counts(reader) == {"records": 2, "accepted": 1, "rejected": 1, "header_lines": 1}
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
    assert nonzero_counts(reader) == {
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


@pytest.mark.parametrize("size", [2, 3, 9, 10])
def test_gzip_cut_within_its_own_header_is_truncated(size: int) -> None:
    with pytest.raises(ObjectError, match="truncated gzip"):
        read(gzip.compress(FILE)[:size])


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
def test_file_without_a_single_line_is_not_a_flow_log(
    content: bytes, headerless: tuple[RecordFormat, ...]
) -> None:
    with pytest.raises(NotAFlowLogError, match=r"^flow\.log: empty"):
        read(content, headerless=headerless)


@pytest.mark.parametrize("content", [HEADER, HEADER.rstrip(), gzip.compress(HEADER)])
def test_file_of_a_header_alone_is_a_flow_log_without_records(content: bytes) -> None:
    records, reader = read(content)
    assert records == []
    assert nonzero_counts(reader) == {"header_lines": 1}


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
def test_other_content_is_not_a_flow_log(content: bytes) -> None:
    with pytest.raises(
        NotAFlowLogError, match="not a VPC flow log: its first line is not a header of field names"
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
    "field", ["interface-id", "srcaddr", "dstaddr", "srcport", "dstport", "protocol", "action"]
)
def test_header_that_lacks_an_identifying_field_is_wrong_and_the_message_names_the_field(
    field: str,
) -> None:
    other = HEADER.replace(b" " + field.encode(), b" quite-another-word")
    with pytest.raises(
        NotAFlowLogError,
        match=f"its header is wrong: it lacks {field} and has words that name no field",
    ):
        read(other + RDP)


@pytest.mark.parametrize("field", ["interface-id", "srcaddr", "dstport", "protocol", "action"])
def test_header_with_a_misspelt_field_is_wrong_and_the_message_names_the_nearest_field(
    field: str,
) -> None:
    swapped = f"{field[0]}{field[2]}{field[1]}{field[3:]}"
    with pytest.raises(
        NotAFlowLogError,
        match=f"its header is wrong: '{swapped}' is not a field name; {field} is the nearest",
    ):
        read(HEADER.replace(field.encode(), swapped.encode()) + RDP)


@pytest.mark.parametrize("header", [b"version action action\n", b"action SRCADDR\n" + HEADER])
def test_header_with_a_repeated_or_impossible_name_is_wrong(header: bytes) -> None:
    with pytest.raises(NotAFlowLogError, match="its header is wrong"):
        read(header + RDP)


def test_unknown_field_is_accepted_and_listed() -> None:
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


# --- pasted lines --------------------------------------------------------------------------------


def test_line_without_a_header_is_read_where_that_is_allowed() -> None:
    records, reader = read(b"\n" + RDP + SSH, headerless=(DEFAULT_FORMAT,))
    assert [record.dstport for record in records] == [3389, 22]
    assert nonzero_counts(reader) == {"records": 2, "accepted": 1, "rejected": 1, "blank_lines": 1}


def test_line_without_a_header_is_refused_where_it_is_not_allowed() -> None:
    with pytest.raises(NotAFlowLogError):
        read(RDP)


def test_header_takes_precedence_over_the_assumed_format() -> None:
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
