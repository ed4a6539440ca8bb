"""Evidence that an earlier version stored is read by this version."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from flowverdict.core.errors import EvidenceError
from flowverdict.flowlog.losses import Loss
from flowverdict.flows.accepted_index import AcceptedFlowIndex
from flowverdict.flows.bundle import pieces_in
from flowverdict.flows.evidence_codec import pack, unpack
from flowverdict.flows.observed import ObservedValues
from tests.helpers.whole_evidence import whole
from tests.persisted.evidence_samples import SINCE, accepted_services, evidence_samples

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowverdict.flows.evidence import Evidence

FOLDER = Path(__file__).parent
STORED = sorted(FOLDER.glob("*/evidence-*.bin"))
# What later versions observe counts as not logged.
ONLY_REASONS_OBSERVED = {"0.1.0", "0.2.0"}


def content(evidence: Evidence) -> object:
    """Return everything that evidence holds, as values that compare."""
    flows = evidence.flows
    hashes = {hashed for column in flows.accepted_index.hash_columns() for hashed in column}
    return (
        evidence.flow_log,
        flows.rejects,
        flows.interfaces,
        flows.losses,
        flows.aggregated,
        flows.accepted_index.lookup(hashes),
    )


def test_there_are_bytes_of_every_kind_of_evidence() -> None:
    versions = {path.parent for path in STORED}
    assert versions
    for version in versions:
        names = {path.stem.removeprefix("evidence-") for path in version.glob("evidence-*.bin")}
        added = {name for name, since in SINCE.items() if since == version.name}
        assert names == (added or evidence_samples().keys() - SINCE.keys())


@pytest.mark.parametrize("path", STORED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_stored_evidence_is_read_whole(path: Path) -> None:
    expected = evidence_samples()[path.stem.removeprefix("evidence-")]()
    if path.parent.name in ONLY_REASONS_OBSERVED:
        for rejects in expected.flows.rejects.values():
            reasons = rejects.observed["reject-reason"]
            rejects.observed = ObservedValues.of({"reject-reason": reasons})
        # Their accepted flows have hashes of another version.
        if any(len(column) for column in expected.flows.accepted_index.hash_columns()):
            expected.flows.accepted_index = AcceptedFlowIndex()
            expected.flows.losses.add(Loss.NOT_READ)
    stored = whole(unpack(path.read_bytes()))
    assert content(stored) == content(expected)
    if path.stem == "evidence-services":
        services = accepted_services()
        found = stored.flows.accepted_index.by_service(services)
        assert found == expected.flows.accepted_index.by_service(services)
        assert found.keys() == services
    if path.stem.removeprefix("evidence-") in SINCE:
        assert stored.flows.limit.aggregated_from == expected.flows.limit.aggregated_from


def test_a_stored_bundle_is_read_whole() -> None:
    (path,) = FOLDER.glob("*/bundle-*.bin")
    read, not_read = pieces_in(path.stem, path.read_bytes())
    assert [read.source_id, not_read.source_id] == ["source-a", "source-b"]
    assert content(whole(read.evidence)) == content(evidence_samples()["all"]())
    assert [loss for loss, *_ in not_read.evidence.flows.losses] == [Loss.NOT_READ]
    assert read.rank < not_read.rank


# --- what other versions may write in the present format ------------------------------------------


def edited(evidence: Evidence, edit: Callable[[dict[str, Any]], None]) -> bytes:
    """Pack evidence and edit its JSON."""
    packed = pack(evidence)
    end = 12 + int.from_bytes(packed[4:12], "little")
    document = json.loads(zlib.decompress(packed[12:end]))
    edit(document)
    body = zlib.compress(json.dumps(document).encode())
    return packed[:4] + len(body).to_bytes(8, "little") + body + packed[end:]


def test_names_that_this_version_does_not_know_are_passed_over() -> None:
    def add(document: dict[str, Any]) -> None:
        document["tomorrow"] = {"a": 1}
        document["flow_log"]["tomorrow"] = 1
        for table in ("rejects", "interfaces", "aggregated", "aggregated_records"):
            count = len(next(iter(document[table].values())))
            document[table]["tomorrow"] = [["anything"]] * count
        for named in (*document["contexts"], *document["observed"]):
            named["tomorrow"] = "value"

    evidence = evidence_samples()["all"]()
    assert content(whole(unpack(edited(evidence, add)))) == content(evidence)


def test_columns_that_are_missing_have_their_defaults() -> None:
    def remove(document: dict[str, Any]) -> None:
        for name in ("packets", "observed", "context", "packet_addresses_logged"):
            del document["rejects"][name]
        del document["interfaces"]["subnets"]

    evidence = evidence_samples()["rejects"]()
    flows = whole(unpack(edited(evidence, remove))).flows
    assert flows.rejects.keys() == evidence.flows.rejects.keys()
    for row, totals in flows.rejects.items():
        known = evidence.flows.rejects[row]
        assert (totals.traffic.bytes, totals.traffic.packets) == (known.traffic.bytes, 0)
        assert (totals.context.vpc_id, totals.packet_addresses_logged) == (None, False)
        assert set(totals.observed.values()) == {frozenset({None})}
    assert [interface.subnets for interface in flows.interfaces.values()] == [set(), set()]


def test_accepted_columns_are_found_by_their_names() -> None:
    def rename(document: dict[str, Any]) -> None:
        document["accepted"] = ["hashes", "starts", "ends", "tomorrow", "services"]

    evidence = evidence_samples()["accepts"]()
    flows = whole(unpack(edited(evidence, rename))).flows
    (hashes,) = evidence.flows.accepted_index.hash_columns()
    for hashed, known in evidence.flows.accepted_index.lookup(set(hashes)).items():
        (found,) = flows.accepted_index.lookup({hashed}).values()
        assert (found.first_start, found.last_end) == (known.first_start, known.last_end)
        assert found.tcp_flags is None


def test_columns_of_different_lengths_are_not_evidence() -> None:
    def shorten(document: dict[str, Any]) -> None:
        document["rejects"]["packets"].pop()

    with pytest.raises(EvidenceError, match="columns of different lengths"):
        unpack(edited(evidence_samples()["rejects"](), shorten))
