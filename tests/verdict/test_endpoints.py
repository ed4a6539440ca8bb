"""Both ends of a flow in words, and the path between them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest

from flowverdict.flowlog.records import FlowDirection
from flowverdict.network.model import Interface, Peering, PeeringSide
from flowverdict.network.packet import Packet
from flowverdict.verdict.endpoints import Endpoints, describe_endpoints, interface_in_words
from flowverdict.verdict.paths import Logged, Path, find_path
from tests.helpers.shop import APP, SHOP

if TYPE_CHECKING:
    from flowverdict.network.configuration import NetConfig

VPC = "vpc-0123456789abcdef0"


@pytest.mark.parametrize(
    ("kind", "description", "words"),
    [
        ("interface", "ELB app/front/50dc6c495c0c9188", "load balancer front"),
        ("network_load_balancer", "ELB net/edge/50dc6c495c0c9188", "load balancer edge"),
        ("interface", "ELB classic", "load balancer classic"),
        ("interface", "RDSNetworkInterface", "RDS database"),
        ("interface", "ElastiCache sessions-001", "ElastiCache sessions-001"),
        ("interface", "RedshiftNetworkInterface", "Redshift cluster"),
        ("interface", "EFS mount target for fs-0a1b2c3d (fsmt-0a1b2c3d)", "EFS fs-0a1b2c3d"),
        (
            "lambda",
            "AWS Lambda VPC ENI-checkout-1b2c3d4e-aaaa-bbbb-cccc-0123456789ab",
            "Lambda function checkout",
        ),
        ("nat_gateway", "Interface for NAT Gateway nat-0a1b2c3d", "NAT gateway nat-0a1b2c3d"),
        (
            "transit_gateway",
            "Network Interface for Transit Gateway Attachment tgw-attach-0a1b",
            "transit gateway attachment tgw-attach-0a1b",
        ),
        ("tomorrows_kind", "RDSNetworkInterface", "RDS database"),
        ("vpc_endpoint", "something new", "VPC endpoint"),
    ],
)
def test_an_interface_is_named_by_what_a_service_wrote(
    kind: str, description: str, words: str
) -> None:
    interface = Interface(
        interface_id="eni-1", interface_type=kind, description=description, requester_managed=True
    )
    assert interface_in_words(SHOP, interface) == f"{words}, eni-1"


def test_a_users_own_description_is_not_believed() -> None:
    interface = Interface(
        interface_id="eni-1",
        interface_type="interface",
        description="RDSNetworkInterface",
        requester_managed=False,
    )
    assert interface_in_words(SHOP, interface) == "eni-1"


def test_a_name_tag_cannot_break_a_line_or_drive_a_terminal() -> None:
    interface = Interface(
        interface_id="eni-1", instance_id="i-1", tags={"Name": "a\nb\x1b[31m\u202ec" + "x" * 100}
    )
    words = interface_in_words(SHOP, interface)
    assert words.startswith("instance i-1 (a b[31mcxxx")
    assert words.isprintable()
    assert len(words) < 100


def endpoints(remote: str, config: NetConfig = SHOP) -> Endpoints:
    interface = config.interface(APP)
    assert interface is not None
    packet = Packet(
        source=interface.addresses[0],
        destination=ip_address(remote),
        protocol=6,
        source_port=41_000,
        destination_port=443,
    )
    found = find_path(config, interface, packet, Logged(direction=FlowDirection.EGRESS))
    return describe_endpoints(config, interface, packet.destination, found)


@pytest.mark.parametrize(
    ("remote", "path", "path_id"),
    [
        ("10.0.2.50", Path.SAME_SUBNET, None),
        ("10.0.2.200", Path.SAME_SUBNET, None),  # a pod in a delegated prefix
        ("10.0.1.5", Path.SAME_VPC, None),
        ("10.0.1.99", Path.SAME_VPC, None),
        ("10.0.4.40", Path.INTERFACE_ENDPOINT, "vpce-0aaa0000000000001"),
        ("52.218.1.1", Path.GATEWAY_ENDPOINT, "vpce-0bbb0000000000002"),
        ("172.31.4.4", Path.PEERING, "pcx-0aaa0000000000001"),
        ("203.0.113.5", Path.INTERNET, None),
        ("192.168.7.7", Path.OTHER_NETWORK, None),
    ],
)
def test_the_remote_address_decides_the_path(remote: str, path: Path, path_id: str | None) -> None:
    shown = endpoints(remote)
    assert (shown.path, shown.path_id) == (path, path_id)


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("gateway_load_balancer_endpoint", Path.INTERNET),
        ("vpc_endpoint", Path.INTERFACE_ENDPOINT),
    ],
)
def test_a_gateway_load_balancers_endpoint_is_on_the_way_of_the_internet(
    kind: str, path: Path
) -> None:
    interface = SHOP.interface("eni-0eeeeeeeeeeeeeee4")  # of an endpoint
    assert interface is not None
    outsider = Packet(
        source=ip_address("203.0.113.66"),
        destination=interface.addresses[0],
        protocol=6,
        source_port=41_000,
        destination_port=443,
    )
    endpoint = replace(interface, interface_type=kind)
    found = find_path(SHOP, endpoint, outsider, Logged(direction=FlowDirection.INGRESS))
    assert found.path is path


def test_a_gateway_endpoint_says_whether_the_subnet_is_routed_to_it() -> None:
    assert (
        "rtb-0bbb0000000000002 routes it through vpce-0bbb0000000000002"
        in endpoints("52.218.1.1").notes
    )
    tables = tuple(replace(table, subnet_ids=()) for table in SHOP.route_tables or ())
    unrouted = endpoints("52.218.1.1", replace(SHOP, route_tables=tables))
    assert any(
        "has no route to vpce-0bbb0000000000002, "
        "so traffic goes through a NAT gateway or internet gateway" in note
        for note in unrouted.notes
    )
    without = endpoints("52.218.1.1", replace(SHOP, endpoints=(), route_tables=()))
    assert without.path is Path.AWS_SERVICE
    assert (
        f"{VPC} has no gateway endpoint for it, "
        "so traffic goes through a NAT gateway or internet gateway" in without.notes
    )


def test_the_note_names_the_state_of_an_endpoint_that_carries_no_traffic() -> None:
    pending = tuple(
        replace(endpoint, state="PendingAcceptance") for endpoint in SHOP.endpoints or ()
    )
    (note,) = endpoints("10.0.4.40", replace(SHOP, endpoints=pending)).notes
    assert "must let clients in, usually on TCP 443" in note
    assert "state is PendingAcceptance, so it carries no traffic" in note


def peering(number: int, mine: str, theirs: str, **changes: object) -> Peering:
    active = Peering(
        peering_id=f"pcx-{number}",
        requester=PeeringSide(vpc_id=mine, region="eu-west-1", cidrs=(ip_network("10.0.0.0/16"),)),
        accepter=PeeringSide(
            vpc_id=theirs, region="eu-west-1", cidrs=(ip_network(f"10.{number}.0.0/16"),)
        ),
        status="active",
    )
    return replace(active, **changes)  # type: ignore[arg-type]


def test_peering_says_what_stands_in_the_way() -> None:
    until = datetime(2026, 11, 27, 9, tzinfo=UTC)
    pending = endpoints(
        "10.77.0.1",
        replace(
            SHOP,
            peerings=(peering(77, VPC, "vpc-b", status="pending-acceptance", expires_at=until),),
        ),
    )
    assert pending.notes == (
        "pcx-77 is pending-acceptance: only an active peering connection carries traffic",
        "the request expires 2026-11-27 09:00 UTC unless it is accepted",
    )
    active = endpoints("10.77.0.1", replace(SHOP, peerings=(peering(77, VPC, "vpc-b"),)))
    assert (active.remote, active.notes) == ("10.77.0.1, in vpc-b", ())
    far = PeeringSide(vpc_id="vpc-b", region="us-east-1", cidrs=(ip_network("10.77.0.0/16"),))
    abroad = endpoints(
        "10.77.0.1", replace(SHOP, peerings=(peering(77, VPC, "vpc-b", accepter=far),))
    )
    assert abroad.notes == (
        "across Regions, rules cannot refer to security groups; they need ranges",
    )
    wide = PeeringSide(vpc_id="vpc-b", region="eu-west-1", cidrs=(ip_network("10.0.0.0/8"),))
    overlapping = endpoints(
        "10.77.0.1", replace(SHOP, peerings=(peering(77, VPC, "vpc-b", accepter=wide),))
    )
    assert overlapping.notes == ("the two VPCs' ranges overlap, which peering does not allow",)


def test_peering_is_not_transitive() -> None:
    chain = (peering(77, VPC, "vpc-b"), peering(88, "vpc-b", "vpc-c"))
    shown = endpoints("10.88.0.1", replace(SHOP, peerings=chain))
    assert shown.path is Path.OTHER_NETWORK
    (note,) = shown.notes
    assert note == (
        f"10.88.0.1 lies in vpc-c, which is peered with vpc-b but not with {VPC}: "
        "peering is not transitive"
    )
