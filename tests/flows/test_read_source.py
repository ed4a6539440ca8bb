"""Sources that raise an error."""

from __future__ import annotations

import pytest

from flowverdict.core.errors import NotAFlowLogError
from flowverdict.flowlog.object_key import Origin
from flowverdict.flowlog.records import DEFAULT_FORMAT
from flowverdict.flows.read_source import read_log_events


def test_a_source_without_any_record_is_refused_unless_it_is_a_single_line() -> None:
    junk = ["nonsense"] * 5
    with pytest.raises(
        NotAFlowLogError,
        match=r"none of its 5 lines is a record of its format; line 1: field-count",
    ):
        read_log_events(
            junk, name="group:stream", formats=(DEFAULT_FORMAT,), origin=Origin(), seed=0
        )
    good = "2 123456789012 eni-1 10.0.0.1 10.0.0.2 40000 443 6 1 40 1795348800 1795348805 ACCEPT OK"
    read = read_log_events(
        [*junk, good], name="group:stream", formats=(DEFAULT_FORMAT,), origin=Origin(), seed=0
    )
    assert (read.reading.counts.accepted, read.reading.counts.malformed.total()) == (1, 5)
    read = read_log_events(
        ["nonsense"], name="group:stream", formats=(DEFAULT_FORMAT,), origin=Origin(), seed=0
    )
    assert read.windows == {}
