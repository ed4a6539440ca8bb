"""Addresses in ranges that internet gateways do not forward."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from flowverdict.core.addresses import is_inside


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.0",
        "10.255.255.255",
        "172.16.0.0",
        "172.31.255.255",
        "192.168.0.0",
        "192.168.255.255",
        "100.64.0.0",
        "100.127.255.255",
        "169.254.169.254",
        "fc00::1",
        "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "fd00:ec2::254",
        "fe80::1",
    ],
)
def test_address_that_no_internet_gateway_forwards_is_inside(address: str) -> None:
    assert is_inside(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "9.255.255.255",
        "11.0.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "192.169.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "169.253.255.255",
        "8.8.8.8",
        "2600:1f18::1",
        "fec0::1",
        "::1",
    ],
)
def test_address_beside_those_ranges_is_not_inside(address: str) -> None:
    assert not is_inside(ip_address(address))


@pytest.mark.parametrize(
    "address", ["203.0.113.12", "198.51.100.7", "192.0.2.10", "198.18.0.1", "2001:db8::1"]
)
def test_documentation_and_benchmarking_addresses_are_not_inside_though_python_calls_them_private(
    address: str,
) -> None:
    assert ip_address(address).is_private
    assert not is_inside(ip_address(address))
