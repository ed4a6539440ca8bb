"""Merge single values of two detections of one problem, where one of the two may be unknown."""

from __future__ import annotations

from ipaddress import ip_network

from flowverdict.core.formatting import common_network


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
