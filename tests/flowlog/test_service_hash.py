"""What accepted flows go to: the readers by column agree with the hash of a key."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest

from flowverdict.flowlog.column_reader import read_columns
from flowverdict.flowlog.fast_line_reader import read_file
from flowverdict.flowlog.flow_hash import service_hash
from flowverdict.flowlog.flow_key import key_of
from flowverdict.flowlog.line_reader import LineReader
from flowverdict.flowlog.records import RecordFormat

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowverdict.flowlog.columnar import AcceptedFlows, InterfaceFacts, RejectedLines
    from flowverdict.flowlog.flow_key import FlowKey
    from flowverdict.flowlog.records import FlowRecord

SEED = 0x1234_5678_9ABC_DEF0
FIELDS = "interface-id srcaddr dstaddr srcport dstport protocol action flow-direction start end"
LINES = [
    "eni-0a1b2c3d4e5f60718 10.0.3.1 10.0.1.5 40001 5432 6 ACCEPT ingress 1795521600 1795521620",
    "eni-0a1b2c3d4e5f60718 10.0.3.2 10.0.1.5 40009 5432 6 ACCEPT ingress 1795521600 1795521620",
    "eni-0a1b2c3d4e5f60718 10.0.3.1 10.0.1.5 40001 5432 17 ACCEPT ingress 1795521600 1795521620",
    "eni-0a1b2c3d4e5f60718 10.0.3.1 10.0.1.5 40001 5432 6 ACCEPT egress 1795521600 1795521620",
    "eni-0a1b2c3d4e5f60718 10.0.3.1 10.0.1.5 40001 5432 6 ACCEPT - 1795521600 1795521620",
    "eni-0a1b 2001:db8::1 2001:db8:12:5:9abc:def0:1:2 1 443 6 ACCEPT ingress 1795521600 1795521620",
]


class _Sink:
    def __init__(self) -> None:
        self.services: list[int] = []

    def record(self, record: FlowRecord) -> None:
        raise AssertionError(record)

    def accepted(self, window: int, flows: AcceptedFlows) -> None:
        assert window == 0
        assert flows.services is not None
        self.services += np.asarray(flows.services).tolist()

    def rejected(self, window: int, lines: RejectedLines) -> None:
        raise AssertionError(window, lines)

    def learned(self, window: int, interface: str | None, facts: InterfaceFacts) -> None:
        pass


def keys() -> list[FlowKey]:
    """Return the keys of the lines."""
    reader = LineReader((RecordFormat.from_text(FIELDS),))
    records = [reader.read(line.encode()) for line in LINES]
    return [key_of(record) for record in records if record is not None]


@pytest.mark.parametrize("read", [read_file, read_columns])
def test_readers_by_column_hash_what_a_flow_goes_to(read: Callable[..., None]) -> None:
    sink, reader = _Sink(), LineReader(())
    reader.with_services = True
    text = "\n".join([FIELDS, *LINES, ""]).encode()
    read(io.BytesIO(text), sink, name="flow.log", reader=reader, seed=SEED)
    assert sink.services == [service_hash(key, SEED) for key in keys()]


def test_service_is_address_port_protocol_and_direction_at_an_interface() -> None:
    hashes = [service_hash(key, SEED) for key in keys()]
    assert hashes[0] == hashes[1]  # another client
    assert len(set(hashes)) == len(hashes) - 1
    assert service_hash(keys()[0], SEED + 1) != hashes[0]
