"""Bundles: one object for what several sources show of a window."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowverdict.core.errors import EvidenceError
from flowverdict.flowlog.object_key import Origin
from flowverdict.flowlog.records import DEFAULT_FORMAT
from flowverdict.flows.bundle import (
    Section,
    chosen,
    name_of,
    pack_bundle,
    pieces_in,
    sources_in,
)
from flowverdict.flows.collector import FlowCollector
from flowverdict.flows.evidence import Evidence
from flowverdict.flows.evidence_codec import pack

_SEED = 7


def shown(*ports: int) -> Evidence:
    """Return evidence of a reject of each client port."""
    flows = FlowCollector(_SEED)
    for port in ports:
        line = f"2 123456789012 eni-1 203.0.113.7 10.0.0.5 {port} 22 6 1 40 900 960 REJECT OK"
        flows.add(DEFAULT_FORMAT.parse(line), Origin())
    return Evidence(flows=flows)


SECTIONS = [Section.of(f"source-{number}", shown(40_000 + number)) for number in range(3)]
NOT_READ = Section.of("source-1", Evidence.not_read("source-1"), was_read=False)


def ports(*objects: tuple[str, bytes]) -> list[set[int | None]]:
    """Return the client ports of the rejects of each source that counts."""
    pieces = chosen(piece for name, body in objects for piece in pieces_in(name, body))
    return [{key.source_port for key, _ in piece.evidence.flows.rejects} for piece in pieces]


def stored(*sections: Section) -> tuple[str, bytes]:
    return name_of(sections), pack_bundle(sections)


@given(st.permutations(SECTIONS))
def test_a_batch_that_comes_again_in_any_order_has_the_same_name(order: list[Section]) -> None:
    assert name_of(order) == name_of(SECTIONS)
    assert ports(stored(*order)) == [{40_000}, {40_001}, {40_002}]


def test_the_name_says_how_many_sources_it_has() -> None:
    assert sources_in(name_of(SECTIONS)) == 3
    assert sources_in("0a1b" * 10) == 1  # as an earlier version named an object


def test_a_source_in_several_bundles_counts_once() -> None:
    first, second = stored(*SECTIONS[:2]), stored(*SECTIONS[1:])
    assert first[0] != second[0]
    for objects in ([first, second], [second, first]):
        assert ports(*objects) == [{40_000}, {40_001}, {40_002}]


def test_what_was_read_counts_in_place_of_a_loss_in_any_order() -> None:
    lost, read = stored(SECTIONS[0], NOT_READ), stored(SECTIONS[1])
    assert stored(SECTIONS[0], SECTIONS[1])[0] != lost[0]
    for objects in ([lost, read], [read, lost]):
        assert ports(*objects) == [{40_000}, {40_001}]
    pieces = chosen(pieces_in(*lost))
    assert [bool(piece.evidence.flows.losses) for piece in pieces] == [False, True]


def test_an_object_of_an_earlier_version_counts_until_the_source_is_in_a_bundle() -> None:
    of_object = ("source-1", pack(shown(50_000)))
    assert ports(of_object) == [{50_000}]
    assert ports(of_object, stored(SECTIONS[1])) == [{40_001}]
    assert ports(of_object, stored(NOT_READ)) == [{50_000}]


@pytest.mark.parametrize("cut", [0, 3, 4, 11, 12, 40, -1])
def test_a_damaged_bundle_is_one_piece_that_cannot_be_read(cut: int) -> None:
    name, body = stored(*SECTIONS)
    (piece,) = pieces_in(name, body[:cut])
    assert isinstance(piece.error, EvidenceError)
    assert not piece.evidence.is_readable
    assert ports((name, body[:cut]), stored(SECTIONS[0])) == [set(), {40_000}]


@pytest.mark.parametrize(
    "index",
    [b"[[1]]", b'[["a", -1, true]]', b'[["a", "b", true]]', b"[" * 2_000, b"7", b"\xff"],
)
def test_an_index_that_is_not_one_is_a_damaged_bundle(index: bytes) -> None:
    body = b"FVB1" + len(index).to_bytes(8, "little") + index
    pieces = pieces_in("bundle-1-" + "0" * 40, body)
    assert [piece.evidence.is_readable for piece in pieces] == [False]


def test_a_damaged_section_leaves_the_others() -> None:
    broken = Section("source-1", b"FVE9 of a later version", was_read=True)
    name, body = stored(SECTIONS[0], broken, SECTIONS[2])
    pieces = pieces_in(name, body)
    assert [piece.evidence.is_readable for piece in pieces] == [True, False, True]
    assert ports((name, body), stored(SECTIONS[1])) == [{40_000}, {40_001}, {40_002}]
