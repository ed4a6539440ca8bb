"""The waits between tries stay within their bounds, and differ."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowverdict.core.retry import equal_jitter, full_jitter

TRIES = st.integers(0, 60)
SECONDS = st.floats(0.001, 10)


@given(tried=TRIES, first=SECONDS, longest=SECONDS)
def test_full_jitter_is_between_zero_and_the_bound(
    tried: int, first: float, longest: float
) -> None:
    assert 0 <= full_jitter(tried, first=first, longest=longest) <= min(longest, first * 2**tried)


@given(tried=TRIES, first=SECONDS)
def test_equal_jitter_is_at_least_half_of_the_bound(tried: int, first: float) -> None:
    bound = first * 2**tried
    assert bound / 2 <= equal_jitter(tried, first=first) <= bound


@pytest.mark.parametrize(
    ("tried", "full", "equal"), [(0, 0.05, 0.05), (1, 0.1, 0.1), (3, 0.4, 0.4), (6, 2.0, 3.2)]
)
def test_the_bound_doubles_with_each_try(
    tried: int, full: float, equal: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda _low, high: high)
    assert full_jitter(tried, first=0.05, longest=2.0) == pytest.approx(full)
    assert equal_jitter(tried, first=0.05) == pytest.approx(equal)


def test_two_writers_do_not_wait_alike() -> None:
    assert len({full_jitter(5, first=1, longest=60) for _ in range(20)}) > 1
    assert len({equal_jitter(5, first=1) for _ in range(20)}) > 1
