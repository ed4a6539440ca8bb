"""What kind of address an address is, as far as VPC traffic is concerned.

``ipaddress.is_private`` does not serve: it calls documentation and benchmarking ranges private, while here the question
is whether traffic crossed an internet gateway. Inside are the ranges that no internet gateway forwards: RFC 1918,
RFC 6598 (100.64.0.0/10, also a VPC range: https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html),
link-local, and IPv6 unique local addresses. A VPC may use public ranges of its own and IPv6 VPC addresses are global, so
"not inside" does not mean "on the internet".
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network

type Address = ipaddress.IPv4Address | ipaddress.IPv6Address
type Network = IPv4Network | IPv6Network

_INSIDE_V4 = tuple(
    IPv4Network(cidr)
    for cidr in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16")
)
_INSIDE_V6 = tuple(IPv6Network(cidr) for cidr in ("fc00::/7", "fe80::/10"))


class IPv4Address(ipaddress.IPv4Address):
    """An address that remembers its hash and its text, which ``ipaddress`` works out anew each time: some twenty times a record."""

    __slots__ = ("_hashed", "_text")

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._hashed = super().__hash__()
        self._text = text  # there is no other way to write it

    def __hash__(self) -> int:
        return self._hashed

    def __str__(self) -> str:
        return self._text


class IPv6Address(ipaddress.IPv6Address):
    """One that remembers its hash."""

    __slots__ = ("_hashed",)

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._hashed = super().__hash__()

    def __hash__(self) -> int:
        return self._hashed


@lru_cache(maxsize=65_536)
def address_of(text: str) -> Address:
    """Read an address as ``ipaddress.ip_address`` does; raises ``ValueError`` where it is none."""
    return IPv6Address(text) if ":" in text else IPv4Address(text)


@lru_cache(maxsize=65_536)
def is_inside(address: Address) -> bool:
    """Whether no internet gateway forwards traffic of this address."""
    if isinstance(address, ipaddress.IPv4Address):
        return any(address in network for network in _INSIDE_V4)
    return any(address in network for network in _INSIDE_V6)
