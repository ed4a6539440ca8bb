"""The index of accepted flows, its columns, and the hashes of flows.

Their laws are in ``tests/laws/test_evidence_laws.py``.
"""

from __future__ import annotations

import zlib
from ipaddress import ip_address
from random import Random

import pytest

from flowverdict.flowlog.flow_hash import key_hash
from flowverdict.flowlog.flow_key import FlowKey
from flowverdict.flowlog.records import FlowDirection
from flowverdict.flows import accepted_index
from flowverdict.flows.accepted_index import AcceptedFlowIndex, Activity

NEAR, FAR = ip_address("10.0.0.5"), ip_address("203.0.113.7")
KEY = FlowKey("eni-1", NEAR, FAR, NEAR, FAR, 443, 40_001, 6, FlowDirection.EGRESS)
SEED = 0x0123_4567_89AB_CDEF


def test_a_hash_is_the_same_in_every_process_and_version() -> None:
    # A newer version must find flows in evidence that an older version stored.
    assert key_hash(KEY, 0) == 0x5C83_91BC_C795_5C9D
    assert key_hash(KEY, SEED) == 0x39BD_C17E_EAFB_72D9


@pytest.mark.parametrize(
    "other",
    [
        KEY._replace(interface="eni-2"),
        KEY._replace(interface=None),
        KEY._replace(source=FAR, destination=NEAR, packet_source=FAR, packet_destination=NEAR),
        KEY._replace(packet_source=FAR),
        KEY._replace(packet_source=None),
        KEY._replace(source_port=40_001, destination_port=443),
        KEY._replace(source_port=None),
        KEY._replace(protocol=17),
        KEY._replace(direction=None),
        KEY._replace(direction=FlowDirection.INGRESS),
        # Different parts whose concatenation is the same text.
        KEY._replace(interface="eni-11", source=ip_address("0.0.0.5")),
        KEY._replace(source_port=4_434, destination_port=1),
    ],
)
def test_whatever_differs_makes_another_hash(other: FlowKey) -> None:
    for seed in (0, 1, SEED, 2**64 - 1):
        assert key_hash(other, seed) != key_hash(KEY, seed)


def test_seeds_give_hashes_that_have_nothing_in_common() -> None:
    # About half of the 64 bits differ: the mean of 100 pairs is 32, with a standard deviation
    # of 0.4.
    differing = [(key_hash(KEY, seed) ^ key_hash(KEY, seed + 1)).bit_count() for seed in range(100)]
    assert 30 < sum(differing) / 100 < 34


def test_the_largest_values_that_records_hold_are_kept() -> None:
    accepts = AcceptedFlowIndex()
    accepts.add(2**64 - 1, 2**63 - 1, 2**63 - 1, 2**31 - 1, 2**32 - 1)
    accepts.add(0, None, None, None, 0)
    unpacked = AcceptedFlowIndex.unpack(accepts.pack())
    assert unpacked.lookup({0, 1, 2**64 - 1}) == {
        0: Activity(),
        2**64 - 1: Activity(2**63 - 1, 2**63 - 1, 2**31 - 1),
    }
    assert unpacked.by_service({0, 1, 2**32 - 1}) == {0: {0}, 2**32 - 1: {2**64 - 1}}


def test_what_was_found_is_nobody_elses() -> None:
    accepts = AcceptedFlowIndex()
    accepts.add(1, 10, 20, 2, 0)
    accepts.lookup({1})[1].widen(0, 100, 255)
    assert accepts.lookup({1}) == {1: Activity(10, 20, 2)}


@pytest.mark.parametrize("many", [1, 10**9], ids=["numpy", "plain"])
@pytest.mark.parametrize(("kept", "wanted"), [(0, 3), (5, 3), (5, 200), (3_000, 3), (300, 3_000)])
def test_the_rows_found_are_those_of_the_wanted_hashes(
    monkeypatch: pytest.MonkeyPatch, kept: int, wanted: int, many: int
) -> None:
    pytest.importorskip("numpy")
    monkeypatch.setattr(accepted_index, "_MANY", many)
    random = Random(kept * wanted)  # noqa: S311 - the same hashes in each run
    known = [random.getrandbits(64) for _ in range(kept)]
    packed, plain = AcceptedFlowIndex(), AcceptedFlowIndex()
    for missing in (0, 1):  # every third flow is in both columns
        index = AcceptedFlowIndex()
        for second, hashed in enumerate(known):
            if second % 3 != missing:
                times = second + missing, second + 2 * missing
                index.add(hashed, *times, 1 + missing, service=hashed % 7)
        plain.merge(index)
        packed.merge(AcceptedFlowIndex.unpack(index.pack()))
    required = {0, 2**64 - 1, *known[:wanted:2], *(random.getrandbits(64) for _ in range(wanted))}

    found = packed.lookup(required)

    assert found == plain.lookup(required)
    assert found.keys() == set(known) & required
    monkeypatch.setattr(accepted_index, "_MANY_ROWS", many)
    services = {2, 3, 9}
    by_service = {service: {one for one in known if one % 7 == service} for service in (2, 3)}
    found_by_service = packed.by_service(services)
    assert found_by_service == plain.by_service(services)
    assert found_by_service == {service: some for service, some in by_service.items() if some}


def test_services_of_an_earlier_version_are_not_known() -> None:
    index = AcceptedFlowIndex()
    index.add(1, 10, 20, 2, 5)
    written = index.pack()
    before = AcceptedFlowIndex.unpack(written, ("hashes", "starts", "ends", "flags", "tomorrow"))
    assert before.lookup({1}) == {1: Activity(10, 20, 2)}
    assert (before.knows_services, before.by_service({5})) == (False, {})
    assert AcceptedFlowIndex.unpack(written).knows_services
    index.merge(before)
    assert not index.knows_services


def test_nothing_is_packed_twice() -> None:
    unpacked = AcceptedFlowIndex.unpack(AcceptedFlowIndex().pack())
    with pytest.raises(ValueError, match="packed already"):
        unpacked.pack()


@pytest.mark.parametrize("columns", [0, 3, 6])
def test_another_number_of_columns_is_none_of_it(columns: int) -> None:
    column = zlib.compress(b"")
    packed = b"".join(len(column).to_bytes(8, "little") + column for _ in range(columns))
    with pytest.raises(ValueError, match="zip"):
        AcceptedFlowIndex.unpack(packed)


def test_columns_of_different_lengths_are_none_of_it() -> None:
    columns = [zlib.compress(bytes(length)) for length in (16, 8, 16, 8, 8)]
    with pytest.raises(ValueError, match="different lengths"):
        AcceptedFlowIndex.unpack(
            b"".join(len(column).to_bytes(8, "little") + column for column in columns)
        )
