"""Parse addresses, and decide whether an internet gateway can forward their traffic.

"Inside" are the ranges that no internet gateway forwards: RFC 1918, RFC 6598 (100.64.0.0/10, also a
VPC range: https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html), link-local, and
IPv6 unique local addresses. A VPC may use public ranges of its own, and IPv6 VPC addresses are
global, so "not inside" does not mean "on the internet". ``ipaddress.is_private`` answers another
question: it also calls documentation and benchmarking ranges private.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network

type Address = ipaddress.IPv4Address | ipaddress.IPv6Address
type Network = IPv4Network | IPv6Network

INSIDE_V4 = tuple(
    IPv4Network(cidr)
    for cidr in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16")
)
INSIDE_V6 = tuple(IPv6Network(cidr) for cidr in ("fc00::/7", "fe80::/10"))

# Link-local addresses at which a VPC offers services: metadata, time and DNS; credentials of ECS
# tasks; VPC Lattice. https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html,
# https://docs.aws.amazon.com/vpc-lattice/latest/ug/security-groups.html
_LINK_LOCAL_SERVICES = tuple(
    IPv4Network(cidr) for cidr in ("169.254.169.0/24", "169.254.170.0/24", "169.254.171.0/24")
)
_LIMITED_BROADCAST = ipaddress.IPv4Address("255.255.255.255")


class IPv4Address(ipaddress.IPv4Address):
    """An IPv4 address with its hash and text cached; ``ipaddress`` computes both on each use.

    A record uses them about twenty times.
    """

    __slots__ = ("_hashed", "_text")

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._hashed = super().__hash__()
        self._text = text  # an IPv4 address has only this spelling

    def __hash__(self) -> int:
        return self._hashed

    def __str__(self) -> str:
        return self._text


class IPv6Address(ipaddress.IPv6Address):
    """An IPv6 address with its hash cached."""

    __slots__ = ("_hashed",)

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._hashed = super().__hash__()

    def __hash__(self) -> int:
        return self._hashed


@lru_cache(maxsize=65_536)
def address_of(text: str) -> Address:
    """Parse an address as ``ipaddress.ip_address`` does; raise ``ValueError`` for other text."""
    return IPv6Address(text) if ":" in text else IPv4Address(text)


@lru_cache(maxsize=65_536)
def is_inside(address: Address) -> bool:
    """Whether the address is in a range that no internet gateway forwards."""
    if isinstance(address, ipaddress.IPv4Address):
        return any(address in network for network in INSIDE_V4)
    return any(address in network for network in INSIDE_V6)


@lru_cache(maxsize=65_536)
def kind_not_carried(address: Address) -> str | None:
    """Return ``multicast``, ``broadcast`` or ``link-local`` for an address that no VPC carries.

    The broadcast address of a subnet shows only where the subnet's range is known. A VPC carries
    multicast only in a multicast domain of a transit gateway:
    https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html.
    """
    if address.is_multicast:
        return "multicast"
    if address == _LIMITED_BROADCAST:
        return "broadcast"
    if address.is_link_local and not any(
        isinstance(address, ipaddress.IPv4Address) and address in network
        for network in _LINK_LOCAL_SERVICES
    ):
        return "link-local"
    return None
