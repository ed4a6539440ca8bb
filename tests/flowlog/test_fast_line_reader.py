"""The pattern of an accepted line admits exactly the ports and protocols within their range."""

from __future__ import annotations

import re

import pytest

from flowverdict.flowlog import fast_line_reader
from flowverdict.flowlog.fields import MAX_PORT, MAX_PROTOCOL


@pytest.mark.parametrize(
    ("field", "maximum"),
    [("srcport", MAX_PORT), ("dstport", MAX_PORT), ("protocol", MAX_PROTOCOL)],
)
def test_numbers_up_to_the_maximum_match(field: str, maximum: int) -> None:
    word = re.compile(fast_line_reader._WORDS[field])  # noqa: SLF001 - the pattern is under test
    matching = [number for number in range(100_001) if word.fullmatch(str(number))]
    assert matching == list(range(maximum + 1))


@pytest.mark.parametrize("field", ["srcport", "dstport", "protocol"])
@pytest.mark.parametrize("text", ["", "-", "00", "080", "-1", "+1", "1_0"])
def test_other_spellings_do_not_match(field: str, text: str) -> None:
    assert re.fullmatch(fast_line_reader._WORDS[field], text) is None  # noqa: SLF001 - see above
