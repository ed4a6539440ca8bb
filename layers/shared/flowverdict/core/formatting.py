"""TODO flowverdict.core.formatting."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowverdict.core.addresses import Network


def cut_or_none(text: str | None) -> str | None:
    return None if text is None else cut(text)


MAX_TEXT = 2_000  # of any one text, so that an alert stays far below SNS's 256 KiB whatever the records hold

# Remote addresses that share less of their prefix than this have nothing in common that a title should name.
_SHORTEST_PREFIX = {4: 16, 6: 48}


# --- small things -----------------------------------------------------------------------------------------------------


def isoformat(seconds: int | None) -> str | None:
    """Write Unix seconds as ``2026-11-22T12:00:05Z``."""
    return (
        None if seconds is None else f"{datetime.fromtimestamp(seconds, tz=UTC):%Y-%m-%dT%H:%M:%SZ}"
    )


def cut(text: str) -> str:
    """Give at most ``MAX_TEXT`` characters."""
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 3]}..."


def counted(count: int, noun: str) -> str:
    """Write ``1 flow``, ``2,000 flows``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def with_port(address: str, port: int | None) -> str:
    """Write ``10.0.1.5:443``, ``[2001:db8::1]:443``, or the address alone."""
    if port is None:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def common_network(addresses: Iterable[str]) -> Network | None:
    """Give the smallest range that holds all addresses; ``None`` if that would be too wide to mean anything."""
    try:
        parsed = [ip_address(address) for address in addresses]
    except ValueError:
        return None
    if len({address.version for address in parsed}) != 1:
        return None
    low, high = min(parsed, key=int), max(parsed, key=int)
    prefix = low.max_prefixlen - (int(low) ^ int(high)).bit_length()
    return (
        ip_network((int(low), prefix), strict=False)
        if prefix >= _SHORTEST_PREFIX[low.version]
        else None
    )


def duration(seconds: int) -> str:
    """Write a time span as people say it: ``45 min``, ``1 h 30 min``, ``24 h``, ``2 d 3 h``."""
    minutes = seconds // 60
    if minutes < _DAYS_FROM:
        parts = [(minutes // 60, "h"), (minutes % 60, "min")]
    else:
        parts = [(minutes // 1_440, "d"), (minutes // 60 % 24, "h")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or f"{seconds} s"


_DAYS_FROM = 2 * 1_440  # minutes
