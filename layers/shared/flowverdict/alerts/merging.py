"""Merge single values of two detections of one problem, where one of the two may be unknown."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_network
from typing import TYPE_CHECKING

from flowverdict.core.formatting import common_network

if TYPE_CHECKING:
    from collections.abc import Iterable

CONFIDENCES = ("certain", "likely", "possible")


def both_networks(first: str | None, second: str | None) -> str | None:
    """Return the smallest range that holds both; ``None`` if one is unknown or it is too wide."""
    if first is None or second is None:
        return None
    networks = [ip_network(first), ip_network(second)]
    both = common_network(str(end) for network in networks for end in (network[0], network[-1]))
    return None if both is None else str(both)


def least(first: int | None, second: int | None) -> int | None:
    """Return the smaller of the known values."""
    return min((value for value in (first, second) if value is not None), default=None)


def greatest(first: int | None, second: int | None) -> int | None:
    """Return the larger of the known values."""
    return max((value for value in (first, second) if value is not None), default=None)


def most(first: tuple[int, int] | None, second: tuple[int, int] | None) -> tuple[int, int] | None:
    """Return the larger number in each place; of one known pair, that pair."""
    if first is None or second is None:
        return first if second is None else second
    return (max(first[0], second[0]), max(first[1], second[1]))


def all_confidences(confidences: Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """Add up the numbers of each confidence, the surest first."""
    counts: Counter[str] = Counter()
    for level, count in confidences:
        counts[level] += count
    return tuple((level, counts[level]) for level in CONFIDENCES if counts[level] > 0)


def total(one: int | None, other: int | None) -> int | None:
    """Return the sum of two counts; ``None`` where one of them is not known."""
    return None if one is None or other is None else one + other


def difference(whole: int | None, part: int | None) -> int | None:
    """Return what is left of a count; ``None`` where that is not known."""
    return None if whole is None or part is None else whole - part
