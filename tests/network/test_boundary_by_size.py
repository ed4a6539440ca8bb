"""Without subnets and VPCs, the size of the largest subnet still separates some addresses."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from flowverdict.network.acl import crosses_subnet_boundary
from flowverdict.network.configuration import NetConfig
from flowverdict.network.model import Interface

INTERFACE = Interface(
    interface_id="eni-1",
    subnet_id="subnet-1",
    ipv4_addresses=(IPv4Address("10.0.1.5"),),
    ipv6_addresses=(IPv6Address("2001:db8:10::5"),),
)


@pytest.mark.parametrize(
    ("remote", "crosses"),
    [
        ("203.0.113.9", True),
        ("10.1.0.1", True),
        ("10.0.200.1", None),
        ("10.0.1.6", None),
        ("2001:db8:20::1", True),
        ("2001:db8:1f:ffff::1", None),
    ],
)
def test_an_address_beyond_the_largest_subnet_lies_outside(
    remote: str, *, crosses: bool | None
) -> None:
    assert (
        crosses_subnet_boundary(NetConfig(interfaces=(INTERFACE,)), INTERFACE, ip_address(remote))
        is crosses
    )


def test_without_an_address_of_the_ip_version_nothing_is_known() -> None:
    bare = Interface(
        interface_id="eni-1", subnet_id="subnet-1", ipv4_addresses=(), ipv6_addresses=()
    )
    assert (
        crosses_subnet_boundary(NetConfig(interfaces=(bare,)), bare, ip_address("203.0.113.9"))
        is None
    )
