"""The registry of sources: each event belongs to one, and each source has its function."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flowverdict.app import reader_wiring
from flowverdict.flowlog.sources import SOURCES, Source, source_of

ROOT = Path(__file__).parents[2]
EVENTS = sorted((ROOT / "events").glob("*.json"))


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.stem)
def test_sample_event_belongs_to_one_source_by_its_name(path: Path) -> None:
    event = json.loads(path.read_text())
    taking = [source.function for source in SOURCES if source.takes(event)]
    if path.stem == "scheduled-sweep":
        assert taking == []
        assert source_of(event) is None
    else:
        logs = path.stem.startswith("cloudwatch-logs")
        assert taking == ["classify_cloudwatch_logs" if logs else "classify_s3"]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.function)
def test_source_has_an_entry_point_and_a_builder(source: Source) -> None:
    assert (ROOT / "functions" / source.function / "app.py").is_file()
    assert callable(getattr(reader_wiring, source.function))


@pytest.mark.parametrize("event", [{}, {"source": "aws.ec2"}, {"detail-type": "Scheduled Event"}])
def test_event_of_another_kind_has_no_source(event: dict[str, object]) -> None:
    assert source_of(event) is None
