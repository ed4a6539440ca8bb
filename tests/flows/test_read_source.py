"""Sources that raise an error, and what is left of a source that was read."""

from __future__ import annotations

import gc
import gzip
import io
from typing import TYPE_CHECKING

import pytest

from flowverdict.core.errors import NotAFlowLogError
from flowverdict.flowlog.object_key import Origin
from flowverdict.flowlog.records import DEFAULT_FORMAT
from flowverdict.flows.read_source import read_log_events, read_object

if TYPE_CHECKING:
    from collections.abc import Iterator


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


@pytest.mark.slow
@pytest.mark.parametrize("records", [100, 20_000])
def test_nothing_that_was_read_waits_for_the_garbage_collector(records: int) -> None:
    # It runs rarely while records are read: what waits for it is memory of one file after another.
    packed = gzip.compress("\n".join(_lines(records)).encode())

    def read() -> None:
        counts = read_object(io.BytesIO(packed), name="s3://bucket/key", seed=0).reading.counts
        assert counts.accepted + counts.rejected == records

    read()  # what is imported and cached at first is kept
    gc.collect()
    gc.disable()
    try:
        read()
        assert gc.collect() == 0
    finally:
        gc.enable()


def _lines(records: int) -> Iterator[str]:
    yield " ".join(DEFAULT_FORMAT.names)
    for number in range(records):
        # The size of what is packed decides the reader, so that no two lines are alike.
        remote = f"198.51.{number % 7}.{number % 250}"
        yield (
            f"2 123456789012 eni-{number % 50:017x} 10.0.{number % 200}.5 {remote} "
            f"{1_024 + number * 7_919 % 60_000} 443 6 5 {number * 104_729 % 1_000_003} 1795348800 "
            f"{1_795_348_800 + number % 60} {'ACCEPT' if number % 20 else 'REJECT'} OK"
        )
