"""Format values for people and documents: times, counts, ports, ranges, texts of bounded length.

SNS takes messages of up to 256 KiB
(https://docs.aws.amazon.com/sns/latest/api/API_Publish.html), so no single text may be long.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import ip_network
from typing import TYPE_CHECKING

from flowverdict.core.addresses import address_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowverdict.core.addresses import Network


MAX_TEXT = 2_000  # characters of a text, so that an alert stays far below SNS's 256 KiB

# By IP version: a network with a shorter prefix is too wide to be named in a title.
_SHORTEST_PREFIX = {4: 16, 6: 48}

_DAYS_FROM = 2 * 1_440  # minutes; longer durations are written in days and hours


@lru_cache(maxsize=8_192)  # the records of a file begin and end in a few hundred seconds
def isoformat(seconds: int | None) -> str | None:
    """Return Unix seconds as ``2026-11-22T12:00:05Z``, ``None`` for ``None``."""
    return (
        None if seconds is None else f"{datetime.fromtimestamp(seconds, tz=UTC):%Y-%m-%dT%H:%M:%SZ}"
    )


def day_and_minute(moment: datetime) -> str:
    """Return a moment as ``22 Nov 12:07Z``: what is read later needs the day and the zone."""
    utc = moment.astimezone(UTC)
    return f"{utc.day} {utc:%b %H:%MZ}"


def cut(text: str) -> str:
    """Return at most ``MAX_TEXT`` characters of the text; a cut text ends in ``...``."""
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 3]}..."


def cut_or_none(text: str | None) -> str | None:
    """Return at most ``MAX_TEXT`` characters of the text, ``None`` for ``None``."""
    return None if text is None else cut(text)


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: ``1 flow``, ``2,000 flows``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def with_port(address: str, port: int | None) -> str:
    """Return ``10.0.1.5:443``, ``[2001:db8::1]:443``, or the address alone without a port."""
    if port is None:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def common_network(addresses: Iterable[str]) -> Network | None:
    """Return the smallest range that holds all addresses.

    ``None`` if the range is wider than a /16 (IPv6: /48), if the addresses are of both IP versions,
    or if a text is not an address.
    """
    try:
        parsed = [address_of(address) for address in addresses]
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
    """Return a time span for people: ``45 min``, ``1 h 30 min``, ``24 h``, ``2 d 3 h``."""
    minutes = seconds // 60
    if minutes < _DAYS_FROM:
        parts = [(minutes // 60, "h"), (minutes % 60, "min")]
    else:
        parts = [(minutes // 1_440, "d"), (minutes // 60 % 24, "h")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or f"{seconds} s"
