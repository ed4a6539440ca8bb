"""Names of protocols, and whether two ports suggest a request or a reply."""

from __future__ import annotations

import pytest

from flowverdict.core.protocols import (
    WELL_KNOWN_PORTS,
    PortLook,
    has_ports,
    is_service_port,
    port_look,
    protocol_name,
    service_name,
)


@pytest.mark.parametrize(
    ("protocol", "name"),
    [
        (1, "ICMP"),
        (6, "TCP"),
        (17, "UDP"),
        (58, "ICMPv6"),
        (132, "SCTP"),
        (0, "HOPOPT"),
        (89, "OSPFIGP"),
        (253, "protocol 253"),
        (None, "unknown protocol"),
    ],
)
def test_protocol_has_its_usual_name(protocol: int | None, name: str) -> None:
    assert protocol_name(protocol) == name


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        (6, True),
        (17, True),
        (132, True),
        (0, False),
        (1, False),
        (47, False),
        (58, False),
        (None, False),
    ],
)
def test_only_tcp_udp_and_sctp_have_ports(protocol: int | None, *, expected: bool) -> None:
    assert has_ports(protocol) is expected


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        (0, True),
        (22, True),
        (1023, True),
        (1024, False),
        (3389, True),
        (8080, True),
        (32_768, False),
        (50_051, True),
    ],
)
def test_service_ports_are_the_system_ports_and_the_well_known_ones(
    port: int, *, expected: bool
) -> None:
    assert is_service_port(port) is expected


def test_well_known_ports_are_ports_with_names() -> None:
    assert [port for port in WELL_KNOWN_PORTS if not 0 < port <= 65_535] == []
    assert [port for port, name in WELL_KNOWN_PORTS.items() if not name] == []


@pytest.mark.parametrize(
    ("protocol", "port", "name"),
    [
        (6, 443, "HTTPS"),
        (6, 8080, "HTTP"),
        (6, 113, "ident"),
        (17, 113, "auth"),
        (17, 514, "syslog"),
        (6, 515, "printer"),
        (17, 515, "printer"),
        (6, 1023, None),
        (6, 8081, None),  # IANA's name of a higher port is that of a product of the past
        (132, 113, None),
    ],
)
def test_service_has_our_name_or_that_of_a_system_port(
    protocol: int, port: int, name: str | None
) -> None:
    assert service_name(protocol, port) == name


@pytest.mark.parametrize(
    ("srcport", "dstport", "look"),
    [
        (50_122, 443, PortLook.REQUEST),
        (1024, 22, PortLook.REQUEST),
        (443, 50_122, PortLook.REPLY),
        (3389, 1024, PortLook.REPLY),
        # an ephemeral port to a lower, unknown port
        (40_000, 12_345, PortLook.REQUEST),
        (32_768, 32_767, PortLook.REQUEST),
        # a lower source port alone does not suggest a reply
        (12_345, 40_000, PortLook.NEITHER),
        (40_000, 50_000, PortLook.NEITHER),
        (12_345, 12_346, PortLook.NEITHER),
        # both ports are services, or equal
        (443, 22, PortLook.NEITHER),
        (53, 53, PortLook.NEITHER),
        # a reply of a service in the ephemeral range
        (50_051, 60_000, PortLook.REPLY),
        (60_000, 50_051, PortLook.REQUEST),
        # ICMP shows 0 and 0
        (0, 0, PortLook.NEITHER),
        (None, 443, PortLook.NEITHER),
        (443, None, PortLook.NEITHER),
        (None, None, PortLook.NEITHER),
    ],
)
def test_ports_suggest_request_or_reply(
    srcport: int | None, dstport: int | None, look: PortLook
) -> None:
    assert port_look(srcport, dstport) is look


@pytest.mark.parametrize(("client", "service"), [(50_122, 443), (33_000, 5432), (1025, 25)])
def test_swapping_the_ports_of_a_service_swaps_request_and_reply(client: int, service: int) -> None:
    assert (port_look(client, service), port_look(service, client)) == (
        PortLook.REQUEST,
        PortLook.REPLY,
    )
