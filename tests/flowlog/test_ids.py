"""Columns that are swapped and fit by their type show by the shape of their ids."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from flowverdict.flowlog import column_reader, fast_line_reader
from flowverdict.flowlog.line_reader import LineReader
from flowverdict.flowlog.records import MalformedLine, MalformedReason, RecordFormat

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowverdict.flowlog.columnar import AcceptedFlows, InterfaceFacts, RejectedLines
    from flowverdict.flowlog.records import FlowRecord

VALUES = {
    "account-id": "123456789012",
    "interface-id": "eni-0a1b2c3d4e5f67890",
    "vpc-id": "vpc-0a1b2c3d",
    "subnet-id": "subnet-0a1b2c3d",
    "instance-id": "i-0a1b2c3d",
    "srcaddr": "10.0.0.1",
    "dstaddr": "10.0.0.2",
    "srcport": "40001",
    "dstport": "443",
    "protocol": "6",
    "packets": "1",
    "bytes": "40",
    "start": "1700000000",
    "end": "1700000050",
    "action": "ACCEPT",
    "log-status": "OK",
}
GATEWAY = {
    "tgw-id": "tgw-0a1b2c3d",
    "tgw-attachment-id": "tgw-attach-0a1b2c3d",
    "tgw-src-vpc-account-id": "123456789012",
    "tgw-src-eni": "eni-0a1b2c3d",
    "tgw-src-subnet-id": "subnet-0a1b2c3d",
    "tgw-src-vpc-id": "vpc-0a1b2c3d",
}


@dataclass(slots=True)
class Kept:
    """A sink that counts accepted rows and keeps single records."""

    records: list[FlowRecord] = field(default_factory=list)
    rows: int = 0

    def record(self, record: FlowRecord) -> None:
        self.records.append(record)

    def accepted(self, window: int, flows: AcceptedFlows) -> None:
        del window
        self.rows += len(flows.hashes)

    def rejected(self, window: int, lines: RejectedLines) -> None:
        raise AssertionError((window, lines))

    def learned(self, window: int, interface: str | None, facts: InterfaceFacts) -> None:
        del window, interface, facts


def lines_of(values: dict[str, str], names: dict[str, str]) -> bytes:
    header = " ".join(names.get(name, name) for name in values)
    line = " ".join(values.values())
    return f"{header}\n{line}\n{line}\n".encode()


@pytest.mark.parametrize(
    "read",
    [fast_line_reader.read_file, column_reader.read_columns],
    ids=["line by line", "by column"],
)
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("account-id", "interface-id"),
        ("vpc-id", "subnet-id"),
        ("subnet-id", "instance-id"),
        ("instance-id", "account-id"),
        ("interface-id", "vpc-id"),
    ],
)
def test_swapped_columns_are_malformed_and_no_truth(
    read: Callable[..., None], one: str, other: str
) -> None:
    for names, malformed in (({}, 0), ({one: other, other: one}, 2)):
        reader, kept = LineReader(()), Kept()
        read(io.BytesIO(lines_of(VALUES, names)), kept, name="x", reader=reader)
        assert reader.counts.malformed.total() == malformed
        assert set(reader.counts.malformed) <= {MalformedReason.ID}
        assert (kept.rows, kept.records) == (2 - malformed, [])


@pytest.mark.parametrize(
    ("name", "value"), [("account-id", "unknown"), *((name, "-") for name in [*VALUES][:5])]
)
@pytest.mark.parametrize(
    "read",
    [fast_line_reader.read_file, column_reader.read_columns],
    ids=["line by line", "by column"],
)
def test_an_unknown_account_and_absent_ids_are_no_fault(
    read: Callable[..., None], name: str, value: str
) -> None:
    reader, kept = LineReader(()), Kept()
    read(io.BytesIO(lines_of(VALUES | {name: value}, {})), kept, name="x", reader=reader)
    assert (kept.rows, reader.counts.malformed.total()) == (2, 0)


@pytest.mark.parametrize("name", GATEWAY)
def test_ids_of_a_transit_gateway_have_their_shapes(name: str) -> None:
    record_format = RecordFormat((name, "srcaddr"))
    for known, value in GATEWAY.items():
        line = f"{value} 10.0.0.1"
        if value.startswith(GATEWAY[name].partition("0a1b")[0]) or known == name:
            assert record_format.parse(line)
        else:
            with pytest.raises(MalformedLine, match=r"^id: "):
                record_format.parse(line)
