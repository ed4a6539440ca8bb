"""One VPC of the simulator that is small enough to predict, and connections over it."""

from __future__ import annotations

import random
from ipaddress import IPv4Address, IPv4Network, IPv6Address

from tests.simulator.connections import Route, Talk
from tests.simulator.evaluator import PacketView
from tests.simulator.network import Cause, End, Leg, Network
from tests.simulator.routes import direct
from tests.simulator.world import (
    ANY_PROTOCOL,
    ANY_V4,
    ICMP,
    TCP,
    Acl,
    AclEntry,
    Group,
    GroupRule,
    Interface,
    Kind,
    Subnet,
    Vpc,
    World,
)

NOON = 1_795_348_800
HOST = End(address=IPv4Address("81.2.69.142"), port=50000)
ALL_BOTH_WAYS = tuple(
    AclEntry(number=100, egress=egress, allow=True, protocol=ANY_PROTOCOL, block=ANY_V4)
    for egress in (False, True)
)


def acl(*entries: AclEntry, number: str = "1") -> Acl:
    return Acl(
        acl_id=f"acl-{number}",
        vpc_id="vpc-1",
        is_default=False,
        shows_closing=True,
        entries=entries,
    )


def entry(
    number: int,
    *,
    allow: bool,
    egress: bool = False,
    ports: tuple[int, int] | None = None,
    protocol: int = TCP,
) -> AclEntry:
    return AclEntry(
        number=number, egress=egress, allow=allow, protocol=protocol, block=ANY_V4, ports=ports
    )


def allows(
    protocol: int, port: int | None = None, *, egress: bool = False, group_id: str | None = None
) -> GroupRule:
    block = None if group_id is not None else ANY_V4
    return GroupRule(
        egress=egress,
        protocol=protocol,
        from_port=port,
        to_port=port,
        block=block,
        group_id=group_id,
    )


def small_world(
    *,
    entries: tuple[AclEntry, ...] = ALL_BOTH_WAYS,
    rules: tuple[GroupRule, ...] = (),
    kind: Kind = Kind.INSTANCE,
) -> World:
    """Return one VPC with two subnets.

    ``eni-1`` has the given entries and rules; ``eni-2`` and ``eni-3`` allow everything.
    """
    open_rules = (allows(ANY_PROTOCOL), allows(ANY_PROTOCOL, egress=True))
    subnets = {
        f"subnet-{number}": Subnet(
            subnet_id=f"subnet-{number}",
            vpc_id="vpc-1",
            zone="a",
            public=True,
            block=IPv4Network(f"10.0.{number}.0/24"),
            block_v6=None,
            acl_id=f"acl-{number}",
        )
        for number in (1, 2)
    }
    interfaces = {
        f"eni-{number}": Interface(
            interface_id=f"eni-{number}",
            kind=kind if number == 1 else Kind.INSTANCE,
            subnet_id=f"subnet-{subnet}",
            vpc_id="vpc-1",
            primary=IPv4Address(f"10.0.{subnet}.1{number}"),
            group_ids=()
            if number == 1 and kind is Kind.NAT_GATEWAY
            else ("sg-1" if number == 1 else "sg-2",),
        )
        for number, subnet in ((1, 1), (2, 2), (3, 1))
    }
    return World(
        account_id="123456789012",
        region="eu-west-1",
        vpcs={"vpc-1": Vpc(vpc_id="vpc-1", block=IPv4Network("10.0.0.0/16"), block_v6=None)},
        subnets=subnets,
        acls={"acl-1": acl(*entries), "acl-2": acl(*ALL_BOTH_WAYS, number="2")},
        groups={
            "sg-1": Group(group_id="sg-1", name="one", vpc_id="vpc-1", rules=rules),
            "sg-2": Group(group_id="sg-2", name="two", vpc_id="vpc-1", rules=open_rules),
        },
        interfaces=interfaces,
        prefix_lists={"pl-1": ("office", (IPv4Network("81.2.69.0/24"),))},
        peerings=(),
        gateway_endpoints={},
    )


def end(world: World, interface_id: str, port: int) -> End:
    interface = world.interfaces[interface_id]
    return End(address=interface.primary, port=port, interface=interface)


def talk_between(world: World, client: End, server: End, *, protocol: int = TCP) -> Talk:
    route = Route(
        forward=tuple(direct(world, client, server)), backward=tuple(direct(world, server, client))
    )
    return Talk(network=Network(world), route=route, protocol=protocol, time=float(NOON))


def rejects(talk: Talk) -> set[tuple[str, Leg, Cause, int | None]]:
    return {
        (
            seen.hop.interface.interface_id,
            seen.packet.leg,
            seen.rules_check.cause,
            None if seen.rules_check.acl is None else seen.rules_check.acl.rule_number,
        )
        for seen in talk.network.observations
        if seen.rules_check.cause is not None
    }


def view(
    port: int = 443, *, protocol: int = TCP, peer: str = "81.2.69.142", egress: bool = False
) -> PacketView:
    address = IPv6Address(peer) if ":" in peer else IPv4Address(peer)
    return PacketView(
        egress=egress,
        peer=address,
        protocol=protocol,
        port=port,
        icmp=(8, 0) if protocol == ICMP else None,
    )


def chance() -> random.Random:
    return random.Random(3)  # noqa: S311 - a test world, not a secret
