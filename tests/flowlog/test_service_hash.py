"""What accepted flows go to: the readers by column agree with the hash of a key."""

from __future__ import annotations

import io
from ipaddress import ip_address
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowverdict.core.addresses import Address, is_inside
from flowverdict.flowlog.column_reader import read_columns
from flowverdict.flowlog.fast_line_reader import read_file
from flowverdict.flowlog.flow_hash import KeyHashes
from flowverdict.flowlog.flow_key import key_of
from flowverdict.flowlog.inside_numpy import are_inside
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
    "eni-0a1b2c3d4e5f60718 203.0.113.9 10.0.1.5 40001 5432 6 ACCEPT ingress 1795521600 1795521620",
    "eni-0a1b fd00::1 2001:db8:12:5:9abc:def0:1:2 1 443 6 ACCEPT ingress 1795521600 1795521620",
]


class _Sink:
    def __init__(self) -> None:
        self.services: list[int] = []

    def record(self, record: FlowRecord) -> None:
        raise AssertionError(record)

    def accepted(self, window: int, flows: AcceptedFlows) -> None:
        assert window == 0
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
    text = "\n".join([FIELDS, *LINES, ""]).encode()
    read(io.BytesIO(text), sink, name="flow.log", reader=reader, seed=SEED)
    assert sink.services == KeyHashes.of(keys(), SEED).of_services()


def test_service_is_address_port_protocol_and_direction_at_an_interface() -> None:
    hashes = KeyHashes.of(keys(), SEED).of_services()
    assert hashes[0] == hashes[1]  # another client
    assert len(set(hashes)) == len(hashes) - 1
    assert KeyHashes.of(keys(), SEED + 1).of_services()[0] != hashes[0]


def test_service_says_whether_a_flow_comes_from_inside() -> None:
    hashes = KeyHashes.of(keys(), SEED).of_services()
    inside, outside, outside_v6, inside_v6 = hashes[0], hashes[6], hashes[5], hashes[7]
    assert (inside & 1, outside & 1, inside_v6 & 1, outside_v6 & 1) == (1, 0, 1, 0)
    assert (inside ^ outside, inside_v6 ^ outside_v6) == (1, 1)


@given(
    st.one_of(
        st.ip_addresses(v=4),
        st.builds(
            lambda first, second, rest: ip_address(first << 24 | second << 16 | rest),
            st.sampled_from([9, 10, 11, 100, 169, 172, 192]),
            st.sampled_from([0, 15, 16, 31, 32, 63, 64, 127, 128, 167, 168, 169, 253, 254, 255]),
            st.integers(0, 0xFFFF),
        ),
        st.ip_addresses(v=6),
        st.builds(
            lambda group, rest: ip_address(group << 112 | rest),
            st.sampled_from([0xFC, 0xFD, 0xFBFF, 0xFC00, 0xFDFF, 0xFE7F, 0xFE80, 0xFEBF, 0xFEC0]),
            st.integers(0, (1 << 112) - 1),
        ),
    )
)
def test_first_eight_bytes_show_whether_an_address_is_inside(address: Address) -> None:
    word = np.array([int.from_bytes(str(address).encode()[:8], "little")], np.uint64)
    assert are_inside(word).tolist() == [is_inside(address)]
