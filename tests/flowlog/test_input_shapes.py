"""Every shape of flow logs that ``docs/inputs.md`` lists is read, and every other kind named."""

from __future__ import annotations

import io
import json
import re
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flowverdict.core.errors import NotAFlowLogError, ObjectError
from flowverdict.flowlog import shapes
from flowverdict.flowlog.framed_lines import FramedLines
from flowverdict.flowlog.records import DEFAULT_FORMATS, KNOWN_FORMATS
from flowverdict.verdict.batch import Batch
from tests.helpers.input_samples import COUNTS, FIELDS, NAMED, READ, RECORDS, STREAM, envelope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowverdict.flowlog.records import RecordFormat

INPUTS = Path(__file__).parents[2] / "docs" / "inputs.md"


def read(
    content: bytes, formats: tuple[RecordFormat, ...] = DEFAULT_FORMATS
) -> tuple[Mapping[str, int], list[tuple[str, int | None]], tuple[str, ...]]:
    """Return the counts, the rejected flows (source and port), and the malformed lines."""
    batch = Batch()
    reading = batch.add_file(io.BytesIO(content), name="file", headerless=formats)
    flows = [
        (str(one.flow.key.source), one.flow.key.destination_port) for one in batch.explanations()
    ]
    return reading.counts.as_mapping(), sorted(flows), reading.samples


def rows_of_table(heading: str) -> dict[str, str]:
    """Return the last column of a table in the document by its first column."""
    section = INPUTS.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in section.splitlines()
        if line.startswith("| ") and not line.startswith("| ---")
    ]
    return {row[0]: row[-1] for row in rows[1:]}


@pytest.mark.parametrize("shape", READ)
def test_every_shape_gives_the_same_records(shape: str) -> None:
    counts, flows, samples = read(READ[shape])
    assert {name: counts[name] for name in (*COUNTS, "malformed")} == {**COUNTS, "malformed": 0}
    assert flows == [("10.0.3.7", 22), ("10.0.3.7", 3389)]
    assert samples == ()


@pytest.mark.parametrize("kind", NAMED)
def test_what_is_not_read_is_named_in_the_words_of_the_table(kind: str) -> None:
    with pytest.raises(ObjectError) as caught:
        read(NAMED[kind])
    assert rows_of_table("Not read, and named")[kind].strip("`") in caught.value.reason
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


def test_the_tables_and_the_samples_agree() -> None:
    assert {*rows_of_table("Read")} == {*READ}
    assert {*rows_of_table("Not read, and named")} == {*NAMED}


def test_auto_tries_the_formats_that_aws_makes() -> None:
    with pytest.raises(NotAFlowLogError, match=r"29 fields, .* known formats"):
        read(NAMED["other format"])
    in_the_order_of_the_table = (
        "5 123456789012 eni-0aaaaaaaaaaaaaaa1 10.0.3.7 10.0.1.5 52111 22 6 1 40 1795694400"
        " 1795694460 REJECT OK vpc-0a1b2c3d subnet-0a1b2c3d i-0a1b2c3d 2 IPv4 10.0.3.7 10.0.1.5"
        " eu-west-1 euw1-az1 - - - - ingress -\n"
    )
    named = dict(
        zip(
            next(known.names for known in KNOWN_FORMATS if len(known.names) == 29),
            in_the_order_of_the_table.split(),
            strict=True,
        )
    )
    by_name = " ".join(named[name] for name in sorted(named)) + "\n"
    for line in (in_the_order_of_the_table, by_name):
        _, flows, samples = read(line.encode(), KNOWN_FORMATS)
        assert (flows, samples) == ([("10.0.3.7", 22)], ())


@pytest.mark.parametrize(
    "damage",
    [("10.0.3.7 ", "10.0.3.777 "), ("123456789012 eni-", "eni-123456789012 0")],
    ids=["address", "ids"],
)
@pytest.mark.parametrize("place", [0, 1])
def test_a_damaged_record_in_a_frame_is_malformed_wherever_it_stands(
    damage: tuple[str, str], place: int
) -> None:
    damaged = f"2026-11-26T12:00:00.000Z {RECORDS[1].replace(*damage)}\n"
    lines = [f"2026-11-26T12:00:00.000Z {record}\n" for record in RECORDS]
    lines.insert(place, damaged)
    counts, _, samples = read("".join(lines).encode())
    assert (counts["records"], counts["malformed"]) == (5, 1)
    assert samples[0].startswith(f"line {place + 1}: ")


def test_columns_that_are_swapped_are_malformed_and_not_truth() -> None:
    swapped = [*FIELDS]
    swapped[1], swapped[2] = swapped[2], swapped[1]
    content = ",".join(swapped) + "\n" + "\n".join(",".join(r.split()) for r in RECORDS)
    with pytest.raises(NotAFlowLogError, match=r"is not an account id|does not begin with eni-"):
        read(content.encode())


def test_columns_in_any_order_and_unknown_ones_are_read() -> None:
    order = sorted(range(len(FIELDS)), reverse=True)
    names = [FIELDS[place].title().replace("-", "") for place in order]
    rows = [["note", *names]] + [["x", *(r.split()[place] for place in order)] for r in RECORDS]
    counts, flows, _ = read("\n".join("\t".join(row) for row in rows).encode())
    assert (counts["rejected"], counts["malformed"], len(flows)) == (2, 0, 2)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("1795694400000", "1795694460000"),
        ("2026-11-26T12:00:00Z", "2026-11-26T12:01:00Z"),
        ("2026-11-26 12:00:00.000", "2026-11-26 12:01:00.000"),
    ],
)
def test_times_of_tables_are_read_in_each_spelling(start: str, end: str) -> None:
    row = RECORDS[1].replace("1795694400", "S").replace("1795694460", "E").split()
    content = ",".join(FIELDS) + "\n" + ",".join(row).replace("S,E", f"{start},{end}") + "\n"
    batch = Batch()
    batch.add_file(io.BytesIO(content.encode()), name="file", headerless=DEFAULT_FORMATS)
    (explained,) = batch.explanations()
    traffic = explained.flow.traffic
    assert (traffic.first_start, traffic.last_end) == (1795694400, 1795694460)


def test_two_readings_of_a_line_are_none() -> None:
    line = f"2026-11-26T12:00:00.000Z {RECORDS[0]} {RECORDS[1]}\n"
    counts, flows, _ = read(READ["CloudWatch export"][:0] + line.encode() + _exported())
    assert (counts["malformed"], len(flows)) == (1, 2)


def _exported() -> bytes:
    return "".join(f"2026-11-26T12:00:00.000Z {record}\n" for record in RECORDS).encode()


def test_an_empty_list_of_events_holds_no_record_and_is_no_error() -> None:
    for content in (
        json.dumps({"events": [], "searchedLogStreams": []}),
        json.dumps({"results": [], "status": "Complete"}),
        "@timestamp,@message\n",
    ):
        assert read(content.encode())[0]["records"] == 0


def test_an_envelope_that_comes_twice_is_read_once() -> None:
    assert read(json.dumps(envelope()).encode() * 2)[0]["records"] == len(RECORDS)


def test_lines_of_text_are_counted_and_a_record_without_its_end_is_malformed() -> None:
    text = f"I saw these in {STREAM}:\n" + "\n".join(RECORDS) + "\n2 123456789012 eni-0aaa\n\nBye\n"
    counts, _, samples = read(text.encode())
    assert (counts["records"], counts["malformed"], counts["stray_lines"]) == (5, 1, 2)
    assert samples == ("line 6: field-count: 3 fields, the format has 14",)


def test_a_sentence_in_a_file_with_a_header_is_malformed() -> None:
    text = f"{' '.join(FIELDS)}\n{RECORDS[0]}\nsome words of text\n# a comment\n"
    counts, _, _ = read(text.encode())
    assert (counts["malformed"], counts["stray_lines"]) == (1, 1)


@pytest.mark.parametrize("marks", ['""', "'',", "\u201c\u201d"])
def test_a_header_in_quotes_names_the_fields_of_the_lines_in_quotes(marks: str) -> None:
    header = "interface-id dstaddr srcaddr dstport srcport protocol action log-status"
    record = "eni-0a1b2c3d 10.0.1.5 10.0.3.7 22 40022 6 REJECT OK"
    content = "".join(f"{marks[0]}{line}{marks[1:]}\n" for line in (header, record))
    counts, flows, samples = read(content.encode())
    assert (counts["rejected"], counts["malformed"], samples) == (1, 0, ())
    assert flows == [("10.0.3.7", 22)]


def test_an_empty_prompt_behind_records_is_text() -> None:
    lines = ["$ cat flow.log", " ".join(FIELDS), *RECORDS, "$ ", ""]
    counts, _, _ = read("\n".join(lines).encode())
    assert (counts["malformed"], counts["stray_lines"]) == (0, 2)


@pytest.mark.parametrize("unit", ["\0", "x", "x:", ":", "a ", '"', "$"])
def test_a_line_without_an_end_of_a_word_takes_no_longer_than_its_length(unit: str) -> None:
    framed = FramedLines(DEFAULT_FORMATS)
    began = time.process_time()
    assert framed.record_in(unit * (60_000 // len(unit))) is None
    assert framed.unframed(unit * (60_000 // len(unit)))
    assert time.process_time() - began < 2  # a search for the name of a file took a minute


def test_records_without_addresses_make_nothing_likely() -> None:
    content = "interfaceId,srcPort,dstPort,protocol,action,tcpFlags,flowDirection\n" + "".join(
        f"eni-0aaaaaaaaaaaaaaa1,{line}\n"
        for line in ("50000,22,6,REJECT,2,ingress", "443,50000,6,REJECT,18,egress")
    )
    batch = Batch()
    batch.add_file(io.BytesIO(content.encode()), name="file", headerless=DEFAULT_FORMATS)
    confidences = [explained.verdict.confidence for explained in batch.explanations()]
    assert confidences == ["possible", "possible"]


@pytest.mark.slow
def test_a_list_of_many_events_needs_no_more_memory_than_a_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two sizes of one JSON document, both longer than the bound of a document."""
    monkeypatch.setattr(shapes, "MAX_PAYLOAD_BYTES", 100_000)
    peaks = []
    for many in (2_000, 8_000):
        event = json.dumps({"timestamp": 1795694400000, "message": RECORDS[0]})
        content = b'{"events": [' + ",".join([event] * many).encode() + b"]}"
        batch = Batch()
        tracemalloc.start()
        reading = batch.add_file(io.BytesIO(content), name="file", headerless=DEFAULT_FORMATS)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert reading.counts.accepted == many
    assert peaks[1] < peaks[0] * 1.5


def test_hostile_text_in_a_name_is_one_line() -> None:
    with pytest.raises(NotAFlowLogError) as caught:
        read(f"{' '.join(FIELDS)} \x1b[31mred\x07\n{RECORDS[0]} x\n".encode())
    assert re.fullmatch(r"[ -~]+", str(caught.value))


@pytest.mark.parametrize("frame", ["{}\n", "2026-11-26T12:00:00.000Z {}\n", "1795694400000,{}\n"])
def test_a_longer_format_that_begins_with_the_default_fields_is_not_read_as_the_default(
    frame: str,
) -> None:
    """Else the packet's addresses, which follow, would be passed over without a word."""
    further = "vpc-0a1b2c3d subnet-0a1b2c3d - 2 IPv4 203.0.113.9 10.0.1.5"
    with pytest.raises(NotAFlowLogError, match="21 fields, the default format has 14"):
        read("".join(frame.format(f"{record} {further}") for record in RECORDS).encode())
