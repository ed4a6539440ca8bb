"""``make bench`` shows what the start of a function is made of."""

from __future__ import annotations

from benchmarks.__main__ import median_of
from benchmarks.start import Start


def test_each_part_has_its_own_median() -> None:
    starts = [
        Start(python=1.0, sdk=30.0, modules=5.0, clients=7.0),
        Start(python=3.0, sdk=10.0, modules=6.0, clients=8.0),
        Start(python=2.0, sdk=20.0, modules=90.0, clients=9.0),
    ]
    assert median_of(starts) == Start(python=2.0, sdk=20.0, modules=6.0, clients=8.0)
    assert median_of(starts).total == 36.0
