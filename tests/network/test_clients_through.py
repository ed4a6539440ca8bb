"""The load balancer that a client may have come by, wherever it is and however the target is named.

https://docs.aws.amazon.com/elasticloadbalancing/latest/network/edit-target-group-attributes.html:
a target whose load balancer keeps clients' addresses lies in the load balancer's VPC, or in a
peered VPC of the same Region.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from flowverdict.network.clients_through import load_balancer_before
from flowverdict.network.configuration import NetConfig
from flowverdict.network.load_balancers import LoadBalancer, Target, TargetGroup
from flowverdict.network.model import Interface, Peering, PeeringSide
from flowverdict.network.packet import Packet

PREFIX = "arn:aws:elasticloadbalancing:eu-west-1:111122223333"
FRONT = f"{PREFIX}:loadbalancer/net/front/0a1b2c3d4e5f6071"
INNER = f"{PREFIX}:loadbalancer/app/inner/1a1b2c3d4e5f6072"
GROUP = f"{PREFIX}:targetgroup/web/2a1b2c3d4e5f6073"

WEB = Interface(
    interface_id="eni-web",
    vpc_id="vpc-app",
    instance_id="i-web",
    description="ELB app/inner/1a1b2c3d4e5f6072",
    ipv4_addresses=(ip_address("10.1.0.5"),),  # type: ignore[arg-type]
    ipv6_addresses=(ip_address("2001:db8::5"),),  # type: ignore[arg-type]
    prefixes=(ip_network("10.1.0.64/28"), ip_network("2001:db8:0:0:1::/80")),
)
NLB = Interface(
    interface_id="eni-nlb",
    vpc_id="vpc-hub",
    interface_type="network_load_balancer",
    description="ELB net/front/0a1b2c3d4e5f6071",
    group_ids=("sg-front",),
    ipv4_addresses=(ip_address("10.2.0.9"),),  # type: ignore[arg-type]
    ipv6_addresses=(),
)


def peering(status: str = "active", region: str = "eu-west-1") -> Peering:
    return Peering(
        peering_id="pcx-1",
        requester=PeeringSide(vpc_id="vpc-app", region="eu-west-1"),
        accepter=PeeringSide(vpc_id="vpc-hub", region=region),
        status=status,
    )


def network(target: str | None, *peerings: Peering) -> NetConfig:
    """Return two VPCs with a load balancer in one; without a target, targets were not read."""
    targets = None if target is None else (Target(target_group_arn=GROUP, target_id=target),)
    return NetConfig(
        interfaces=(WEB, NLB),
        peerings=peerings,
        load_balancers=(LoadBalancer(arn=FRONT, load_balancer_type="network"),),
        target_groups=(
            TargetGroup(
                arn=GROUP,
                vpc_id="vpc-hub",
                load_balancer_arns=(FRONT,),
                preserve_client_ip=True,
            ),
        ),
        targets=targets,
    )


def packet(source: str = "203.0.113.9") -> Packet:
    return Packet(
        source=ip_address(source),
        destination=ip_address("10.1.0.5"),
        protocol=6,
        source_port=50_000,
        destination_port=443,
    )


@pytest.mark.parametrize(
    "target",
    [
        "i-web",
        "10.1.0.5",
        "10.1.0.70",  # in a prefix that is delegated to the interface
        "2001:db8::5",
        "2001:0DB8:0:0:0:0:0:5",  # another spelling of the same address
        "2001:db8::1:0:0:9",
        INNER,  # a group of type alb
    ],
)
def test_a_target_is_found_by_every_name_that_it_may_have(target: str) -> None:
    before = load_balancer_before(network(target, peering()), WEB, packet())
    assert before is not None
    assert (before.name, before.registered) == ("front", True)
    assert before.group_ids == {"sg-front"}


@pytest.mark.parametrize(
    "target", ["i-other", "10.1.0.6", "10.1.0.80", "2001:db8::6", INNER[:-1], "arn:aws:x", "10.1.0"]
)
def test_what_is_no_target_is_not_found(target: str) -> None:
    assert load_balancer_before(network(target, peering()), WEB, packet()) is None


def test_where_targets_were_not_read_a_peers_load_balancer_may_be_before_it() -> None:
    before = load_balancer_before(network(None, peering()), WEB, packet())
    assert before is not None
    assert (before.name, before.registered) == ("front", False)
    assert before.group_ids == {"sg-front"}


@pytest.mark.parametrize(
    "peerings",
    [(), (peering(status="deleted"),), (peering(region="us-east-1"),)],
    ids=["none", "deleted", "another Region"],
)
@pytest.mark.parametrize("target", [None, "10.1.0.5"])
def test_no_load_balancer_of_a_vpc_that_cannot_reach_it_counts(
    target: str | None, peerings: tuple[Peering, ...]
) -> None:
    assert load_balancer_before(network(target, *peerings), WEB, packet()) is None


def test_a_health_check_from_a_peer_comes_from_the_load_balancer_itself() -> None:
    config = network("10.1.0.5", peering())
    assert load_balancer_before(config, WEB, packet("10.2.0.9")) is None
    own = replace(NLB, vpc_id="vpc-far")  # an address of a VPC without a peering is a client's
    assert load_balancer_before(replace(config, interfaces=(WEB, own)), WEB, packet("10.2.0.9"))
