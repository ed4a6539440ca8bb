"""Evidence that an earlier version stored is read by this version."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flowverdict.flows.evidence_codec import unpack
from tests.persisted.evidence_samples import evidence_samples

if TYPE_CHECKING:
    from flowverdict.flows.evidence import Evidence

FOLDER = Path(__file__).parent
STORED = sorted(FOLDER.glob("*/evidence-*.bin"))


def content(evidence: Evidence) -> object:
    """Return everything that evidence holds, as values that compare."""
    flows = evidence.flows
    hashes = {hashed for column in flows.accepted_index.hash_columns() for hashed in column}
    return (
        evidence.flow_log,
        flows.rejects,
        flows.interfaces,
        flows.aggregated,
        flows.accepted_index.lookup(hashes),
    )


def test_there_are_bytes_of_every_kind_of_evidence() -> None:
    versions = {path.parent for path in STORED}
    assert versions
    for version in versions:
        names = {path.stem.removeprefix("evidence-") for path in version.glob("evidence-*.bin")}
        assert names == set(evidence_samples())


@pytest.mark.parametrize("path", STORED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_stored_evidence_is_read_whole(path: Path) -> None:
    expected = evidence_samples()[path.stem.removeprefix("evidence-")]
    assert content(unpack(path.read_bytes())) == content(expected)
