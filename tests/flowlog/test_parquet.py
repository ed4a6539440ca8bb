"""Parquet files: read as the text of the same records, or refused by name.

Requirement: "A Parquet file with a missing or differently typed column, zero row groups, a
truncated footer [...] read rightly or refused by name, never half-read in silence."
"""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import pytest

from flowverdict.app.deadlines import ReadDeadline
from flowverdict.core.errors import NotAFlowLogError, ObjectError, OutOfTimeError
from flowverdict.flowlog import parquet as reading
from flowverdict.flowlog.fields import DEFAULT_FIELDS, FIELDS, READ_FIELDS
from flowverdict.flowlog.line_reader import LineReader
from flowverdict.flowlog.records import TRANSIT_GATEWAY_FORMAT, FlowRecord, RecordFormat
from flowverdict.flowlog.transit_gateway import as_flow_record
from flowverdict.flows.collector import FlowCollector
from flowverdict.flows.read_source import SourceRead, read_object
from flowverdict.verdict.batch import Batch
from tests.helpers import transit_gateway
from tests.helpers.flow_log_files import VPC_FIELDS
from tests.helpers.measured import measured
from tests.helpers.parquet_files import parquet, repeated

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMES = [*DEFAULT_FIELDS, "traffic-path"]
ROW: Mapping[str, object] = {
    "version": 5,
    "account-id": "123456789012",
    "interface-id": "eni-0aaaaaaaaaaaaaaa1",
    "srcaddr": "203.0.113.12",
    "dstaddr": "10.0.1.5",
    "srcport": 50_122,
    "dstport": 22,
    "protocol": 6,
    "packets": 3,
    "bytes": 180,
    "start": 1_795_348_800,
    "end": 1_795_348_825,
    "action": "REJECT",
    "log-status": "OK",
    "traffic-path": None,
}
ACCEPT = {**ROW, "action": "ACCEPT"}
NO_DATA = {
    name: ROW[name] if name in {"version", "account-id", "interface-id", "start", "end"} else None
    for name in ROW
} | {"log-status": "NODATA"}


def file_of(
    *rows: Mapping[str, object],
    names: list[str] = NAMES,
    types: Mapping[str, str] | None = None,
    **how: str | int,
) -> bytes:
    return parquet(names, [[row[name] for name in names] for row in rows], types=types, **how)  # type: ignore[arg-type]


def read(content: bytes) -> SourceRead:
    return read_object(io.BytesIO(content), name="s3://bucket/key", seed=1)


def counts_of(content: bytes) -> dict[str, int]:
    counts = read(content).reading.counts.as_mapping()
    assert counts["header_lines"] == 1
    return {name: count for name, count in counts.items() if count and name != "header_lines"}


@pytest.mark.parametrize("codec", ["gzip", "snappy", "zstd", "uncompressed"])
def test_records_are_counted_and_rejects_stored(codec: str) -> None:
    content = file_of(ROW, ACCEPT, NO_DATA, codec=codec)
    assert counts_of(content) == {"records": 3, "rejected": 1, "accepted": 1, "no_data": 1}
    (evidence,) = read(content).windows.values()
    ((key, _),) = evidence.flows.rejects
    assert (key.interface, str(key.source), key.source_port, key.destination_port) == (
        "eni-0aaaaaaaaaaaaaaa1",
        "203.0.113.12",
        50_122,
        22,
    )


@pytest.mark.slow
def test_many_row_groups_and_many_blocks() -> None:
    rows = [{**ROW, "srcport": number} for number in range(5_000)]
    content = file_of(*rows, group=2_048)
    assert counts_of(content) == {"records": 5_000, "rejected": 5_000}
    assert {
        key.source_port for one in read(content).windows.values() for key, _ in one.flows.rejects
    } == {*range(5_000)}


def test_a_file_without_rows_has_no_records() -> None:
    assert counts_of(file_of()) == {}


@pytest.mark.parametrize(
    "kind", ["TINYINT", "SMALLINT", "BIGINT", "UTINYINT", "UINTEGER", "UBIGINT"]
)
def test_every_integer_type_is_accepted(kind: str) -> None:
    assert counts_of(file_of(ROW, types={"protocol": kind})) == {"records": 1, "rejected": 1}


@pytest.mark.parametrize(
    ("column", "kind", "value"),
    [
        ("srcport", "VARCHAR", "443"),
        ("protocol", "DOUBLE", 6),
        ("bytes", "DECIMAL(9,2)", 6),
        ("account-id", "BIGINT", 123_456_789_012),  # 012345678901 would have lost its zero
        ("start", "TIMESTAMP", "2026-11-22 12:00:00"),
        ("action", "BOOLEAN", True),
        ("srcaddr", "VARCHAR[]", ["10.0.0.1"]),
    ],
)
def test_a_column_of_a_wrong_type_is_refused_with_its_name_and_type(
    column: str, kind: str, value: object
) -> None:
    attribute = column.replace("-", "_")
    with pytest.raises(NotAFlowLogError) as raised:
        read(file_of({**ROW, column: value}, types={column: kind}))
    assert f"a Parquet file whose column {attribute} is {kind}" in str(raised.value)


def test_an_unused_column_may_have_any_type() -> None:
    assert "az-id" not in READ_FIELDS
    file = file_of({**ROW, "az-id": 7}, names=[*NAMES, "az-id"], types={"az-id": "INTEGER"})
    assert counts_of(file) == {"records": 1, "rejected": 1}


def test_unknown_columns_are_listed_and_count_for_the_width() -> None:
    content = file_of({**ROW, "tomorrows-field": "a b\nc"}, names=[*NAMES, "tomorrows-field"])
    source = read_object(
        io.BytesIO(content),
        name="AWSLogs/1/vpcflowlogs/eu-west-1/1_vpcflowlogs_eu-west-1_fl-1_x.log",
        seed=1,
    )
    assert source.reading.unknown_fields == ("tomorrows-field",)
    assert source.reading.counts.rejected == 1
    (evidence,) = source.windows.values()
    assert evidence.flow_log is not None
    assert evidence.flow_log.width == len(NAMES) + 1


@pytest.mark.parametrize(
    "missing",
    ["interface-id", "srcaddr", "dstaddr", "srcport", "action", "start", "log-status", "version"],
)
def test_a_missing_column_counts_as_in_a_text_file_with_that_header(missing: str) -> None:
    names = [name for name in NAMES if name != missing]
    words = ["-" if ROW[name] is None else str(ROW[name]) for name in names]
    text = f"{' '.join(names)}\n{' '.join(words)}\n".encode()
    assert counts_of(file_of(ROW, names=names)) == counts_of(text)


def test_a_misspelt_column_is_refused_as_a_misspelt_header_is() -> None:
    names = ["acton" if name == "action" else name for name in NAMES]
    with pytest.raises(NotAFlowLogError, match="'acton' is not a field name; action is"):
        read(file_of({**ROW, "acton": "REJECT"}, names=names))


@pytest.mark.parametrize("column", ["two words", "Action", "line\nend", "a;b"])
def test_a_column_without_a_field_name_is_refused(column: str) -> None:
    with pytest.raises(
        NotAFlowLogError, match=r"not a flow log field name|two columns have one name"
    ):
        read(
            file_of(
                {**ROW, column: "x"},
                names=[*NAMES, column] if column != "Action" else [*NAMES[:-3], column],
            )
        )


def test_two_columns_of_one_name_are_refused() -> None:
    content = file_of({**ROW, "dstaddx": "10.9.9.9"}, names=[*NAMES, "dstaddx"]).replace(
        b"dstaddx", b"dstaddr"
    )
    with pytest.raises(NotAFlowLogError, match="two columns have one name"):
        read(content)


@pytest.mark.parametrize(
    ("row", "lines"),
    [
        (ROW, 0),
        (ACCEPT, 0),
        ({**ACCEPT, "srcaddr": "2001:db8::1"}, 0),
        ({**ACCEPT, "srcaddr": "2001:DB8::1"}, 5),
        ({**ROW, "dstaddr": "2001:db8:0::1"}, 5),
        (NO_DATA, 5),
    ],
)
def test_only_a_record_that_is_not_well_formed_is_read_by_its_line(
    row: Mapping[str, object], lines: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "ROWS", 3)
    read_lines: list[bytes] = []
    whole = LineReader.read

    def watched(self: LineReader, line: bytes) -> FlowRecord | None:
        read_lines.append(line)
        return whole(self, line)

    monkeypatch.setattr(LineReader, "read", watched)
    assert counts_of(file_of(*[row] * 5))["records"] == 5
    assert len(read_lines) == lines


@pytest.mark.parametrize("action", ["ACCEPT", "REJECT"])
def test_lines_that_are_not_with_the_columns_are_those_of_their_records(
    action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "ROWS", 4)
    names = [*NAMES, "instance-tag"]
    row = {**ROW, "action": action, "instance-tag": "x" * 30}
    odd = [
        {**row, "srcaddr": "2001:DB8::1"},
        {**row, "instance-tag": "x" * 1_500},
        {**row, "instance-tag": "x" * 2_049},
        {**row, "instance-tag": "é" * 400},
        {**row, "srcaddr": "2001:db8::2"},
    ]
    rows = [{**odd[place % 6], "srcport": place} if place % 6 < 5 else row for place in range(50)]
    text = "\n".join(
        [" ".join(names)]
        + [" ".join("-" if one[n] is None else str(one[n]) for n in names) for one in rows]
    )
    parsed, expected = read(file_of(*rows, names=names)), read(text.encode())
    assert parsed.reading.counts == expected.reading.counts
    assert {number: one.flows.rejects for number, one in parsed.windows.items()} == {
        number: one.flows.rejects for number, one in expected.windows.items()
    }
    assert [sample.partition(":")[0] for sample in parsed.reading.samples] == [
        sample.partition(":")[0] for sample in expected.reading.samples
    ]


# --- values that try to be more than one word ----------------------------------------------------

FORGED = f"eni-1\n{' '.join('-' if ROW[name] is None else str(ROW[name]) for name in NAMES)}"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"interface-id": FORGED}, "encoding"),
        ({"interface-id": "eni-1 10.0.0.9"}, "encoding"),
        (
            {"interface-id": "eni-1 10.0.0.9", "account-id": ""},
            "encoding",
        ),  # as many words as fields
        ({"interface-id": "eni-1\t10.0.0.9", "account-id": ""}, "encoding"),
        ({"account-id": ""}, "field-count"),
        ({"log-status": "OK\r"}, "encoding"),
        ({"log-status": "OK\0"}, "encoding"),
        ({"account-id": "\N{NO-BREAK SPACE}"}, "encoding"),
        ({"account-id": "١٢٣"}, "encoding"),
        ({"account-id": "x" * 2_049}, "id"),
        ({"account-id": "x" * 5_000_000}, "id"),
        ({"srcport": 65_536}, "out-of-range"),
        ({"srcport": -1}, "integer"),
        ({"packets": -(2**63)}, "integer"),
        ({"srcaddr": "10.0.0.256"}, "address"),
        ({"action": "DROP"}, "action"),
    ],
)
def test_no_value_passes_for_another_field_or_record(
    values: Mapping[str, object], reason: str
) -> None:
    content = file_of({**ROW, **values}, ACCEPT, {**ROW, **values}, ROW)
    assert counts_of(content) == {
        "records": 4,
        "accepted": 1,
        "rejected": 1,
        "malformed": 2,
        f"malformed.{reason}": 2,
    }


@pytest.mark.parametrize("field", ["srcaddr", "dstaddr", "pkt-srcaddr"])
@pytest.mark.parametrize("action", ["ACCEPT", "REJECT"])
def test_no_address_with_another_character_passes_for_one(action: str, field: str) -> None:
    row = {**ROW, "action": action, "pkt-srcaddr": None}
    odd = ("10.0.0.1 ", " 10.0.0.1", "10.0.0.1\n", "10.0.0.1\0", "::1 ", "::1\0", "10.0.0.1 -")
    rows = [row, *({**row, field: address} for address in odd), row]
    assert counts_of(file_of(*rows, names=[*NAMES, "pkt-srcaddr"])) == {
        "records": 9,
        f"{action.lower()}ed": 2,
        "malformed": 7,
        "malformed.encoding": 7,
    }


def test_a_record_that_looks_like_a_header_is_malformed() -> None:
    names = ["srcaddr", "dstaddr", "action"]
    content = parquet(names, [["dstaddr", "srcaddr", "action"], ["10.0.0.1", "10.0.0.2", "REJECT"]])
    assert counts_of(content) == {
        "records": 2,
        "rejected": 1,
        "malformed": 1,
        "malformed.address": 1,
    }


# --- broken files --------------------------------------------------------------------------------

GOOD = file_of(*[{**ROW, "srcport": number} for number in range(300)])
FOOTER = int.from_bytes(GOOD[-8:-4], "little")
BROKEN = {
    "the magic alone": b"PAR1",
    "nothing between": b"PAR1PAR1",
    "zero bytes after the magic": b"PAR1" + bytes(10_000),
    "cut in the footer": GOOD[:-20],
    "cut in the data": GOOD[: len(GOOD) // 2],
    "a footer of no length": GOOD[:-8] + struct.pack("<I", 0) + b"PAR1",
    "a footer of 2 GiB": GOOD[:-8] + struct.pack("<I", 0x7FFFFFFF) + b"PAR1",
    "a footer of 4 GiB": GOOD[:-8] + struct.pack("<I", 0xFFFFFFFF) + b"PAR1",
    "a footer of zero bytes": GOOD[: -8 - FOOTER] + bytes(FOOTER) + GOOD[-8:],
    "data of zero bytes": GOOD[:4] + bytes(len(GOOD) - 12 - FOOTER) + GOOD[-8 - FOOTER :],
    "data of 0xff": GOOD[:4] + b"\xff" * (len(GOOD) - 12 - FOOTER) + GOOD[-8 - FOOTER :],
    "data missing": GOOD[:4] + GOOD[-8 - FOOTER :],
    "encrypted": GOOD[:-4] + b"PARE",
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_file_is_refused_by_name(what: str) -> None:
    with pytest.raises(ObjectError, match=r"^s3://bucket/key: ") as raised:
        read(BROKEN[what])
    assert "/fd/" not in str(raised.value)


@pytest.mark.slow
def test_a_file_cut_anywhere_is_refused() -> None:
    for size in range(4, len(GOOD), 37):
        with pytest.raises(ObjectError, match="broken Parquet"):
            read(GOOD[:size])


@pytest.mark.slow
def test_a_broken_file_leaves_the_batch_unchanged() -> None:
    batch = Batch()
    batch.add_file(io.BytesIO(GOOD), name="good")
    many = file_of(
        *[{**ROW, "srcport": number} for number in range(4_500)],
        names=[*DEFAULT_FIELDS],
        group=2_048,
    )
    # The bytes of the last page are spoiled: two blocks have been read by then.
    at = many.rindex(b"\x1f\x8b\x08", 0, -8 - int.from_bytes(many[-8:-4], "little")) + 12
    with pytest.raises(ObjectError):
        batch.add_file(io.BytesIO(many[:at] + b"\xff" * 8 + many[at + 8 :]), name="broken")
    assert batch.counts.records == 300


def test_a_footer_with_a_wrong_number_of_records_is_refused() -> None:
    # Thrift's zigzag of 300 is d8 04; the file's own number comes first in its footer, the row
    # group's later.
    begin = len(GOOD) - 8 - FOOTER
    at = GOOD.index(b"\xd8\x04", begin)
    assert GOOD.count(b"\xd8\x04", begin) > 1
    with pytest.raises(ObjectError, match="number of records is off by 1"):
        read(GOOD[:at] + b"\xd6\x04" + GOOD[at + 2 :])


def test_a_footer_that_lies_about_the_values_of_a_column_spares_them_no_check() -> None:
    content = file_of(ROW, {**ROW, "srcport": 70_000})
    begin = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    greatest, lie = (struct.pack("<i", value) for value in (70_000, 50_123))
    assert greatest in content[begin:]
    lying = content[:begin] + content[begin:].replace(greatest, lie)
    assert counts_of(lying) == counts_of(content)
    assert counts_of(lying)["malformed.out-of-range"] == 1


def test_a_column_whose_name_is_no_text_is_refused() -> None:
    content = file_of(ROW).replace(b"traffic_path", b"traffic\xffpath")
    with pytest.raises(ObjectError, match="broken Parquet"):
        read(content)


def test_too_many_records_and_too_many_bytes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_RECORDS", 299)
    with pytest.raises(ObjectError, match="of 300 records; files of more than 299 are not read"):
        read(GOOD)
    monkeypatch.setattr(reading, "MAX_FILE_BYTES", 4_096)
    with pytest.raises(ObjectError, match="a Parquet file of more than 0 MiB"):
        read(GOOD)


@pytest.mark.slow
def test_memory_stays_bounded_whatever_a_few_bytes_unpack_to(tmp_path: Path) -> None:
    path = tmp_path / "long.parquet"
    # 400 MB in one value, four times, in some 200 KB.
    path.write_bytes(file_of(*[{**ROW, "account-id": "x" * 100_000_000}] * 4))
    assert path.stat().st_size < 2_000_000
    outcome = measured("file", path)
    assert outcome.refusal is not None or outcome.counts["malformed"] == 4
    assert outcome.mib < 600
    # 300,000 records, each with the longest texts there are, in some 50 KB.
    texts = ["asg-tag", "instance-tag", *[f"next-hop-{place}-id" for place in ("vpc", "subnet")]]
    path = tmp_path / "wide.parquet"
    path.write_bytes(repeated(300_000, {**ACCEPT, **dict.fromkeys(texts, "x" * 2_048)}))
    assert path.stat().st_size < 1_000_000
    outcome = measured("file", path)
    assert outcome.counts["records"] == 300_000
    assert outcome.mib < 400
    path = tmp_path / "footer.parquet"
    path.write_bytes(BROKEN["a footer of 2 GiB"])
    outcome = measured("file", path)
    assert outcome.refusal is not None
    assert outcome.mib < 50


class Slow:
    """A stream with a clock that advances with each byte that is requested."""

    def __init__(self, content: bytes) -> None:
        self._stream = io.BytesIO(content)
        self.reads = 0

    def read(self, size: int) -> bytes:
        self.reads += 1
        return self._stream.read(size)


@pytest.mark.slow
def test_the_deadline_is_checked_between_records_too() -> None:
    content = file_of(*[{**ROW, "srcport": number} for number in range(9_000)])
    whole = Slow(content)
    read_object(cast("BinaryIO", whole), name="file", seed=1)
    stream = Slow(content)
    until = ReadDeadline(10, clock=lambda: 0 if stream.reads < whole.reads - 1 else 7)
    with pytest.raises(OutOfTimeError):
        read_object(until.limit(cast("BinaryIO", stream), "file"), name="file", seed=1)
    assert whole.reads >= 5  # one for each block, besides those of the copy


def test_nothing_is_left_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    open_before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    counts_of(GOOD)
    for content in BROKEN.values():
        with pytest.raises(ObjectError):
            read(content)
    assert list(tmp_path.iterdir()) == []
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == open_before


# --- what is read --------------------------------------------------------------------------------


def test_every_field_in_use_is_read() -> None:
    looked_at: set[str] = set()

    class Watched(FlowRecord):
        def __getattribute__(self, name: str) -> object:
            looked_at.add(name)
            return super().__getattribute__(name)

    names = list(VPC_FIELDS)
    for action, status in (("ACCEPT", "OK"), ("REJECT", "OK"), ("-", "SKIPDATA")):
        values = {
            **dict.fromkeys(names, "-"),
            **{k: v for k, v in ROW.items() if v is not None},
            "action": action,
            "log-status": status,
        }
        line = " ".join(str(values[name]) for name in names)
        FlowCollector(1).add(Watched(*RecordFormat(tuple(names)).parse(line)))
    for direction in ("ingress", "egress"):
        line = transit_gateway.line(packets_lost_no_route=1, flow_direction=direction)
        assert as_flow_record(Watched(*TRANSIT_GATEWAY_FORMAT.parse(line))) is not None
    fields = {FIELDS[name].attribute: name for name in FIELDS}
    assert {fields[name] for name in looked_at if name in fields} == READ_FIELDS
