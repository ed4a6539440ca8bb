"""Extend a random world by what real networks have beside it.

Load balancers: https://docs.aws.amazon.com/elasticloadbalancing/latest/network/
Transit gateways: https://docs.aws.amazon.com/vpc/latest/tgw/
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any

from tests.simulator.world import (
    ANY_PROTOCOL,
    ANY_V4,
    OFFICE,
    ON_PREMISES,
    SERVICE_PORTS,
    TCP,
    UDP,
    Block,
    Group,
    GroupRule,
    Interface,
    Kind,
    StaticRoute,
    Subnet,
    TargetGroup,
    Vpc,
    World,
)

if TYPE_CHECKING:
    import random

EXCLUDED, BLOCKED = "off", ("block-bidirectional", "block-bidirectional", "block-ingress")


class Extension:
    """Adds to one world; new hosts and subnets have numbers that a random world never uses."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self.world = world
        self.rng = rng
        self.host = 120
        self.subnet_number = 200

    def name(self, prefix: str) -> str:
        return f"{prefix}-{self.rng.getrandbits(68):017x}"

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def subnets(self, vpc: Vpc) -> list[Subnet]:
        return [each for each in self.world.subnets.values() if each.vpc_id == vpc.vpc_id]

    def instances(self, vpc: Vpc) -> list[Interface]:
        return [
            each
            for each in self.world.interfaces.values()
            if each.vpc_id == vpc.vpc_id and each.kind is Kind.INSTANCE
        ]

    def group(self, name: str, vpc: Vpc, *rules: GroupRule) -> str:
        group = Group(group_id=self.name("sg"), name=name, vpc_id=vpc.vpc_id, rules=rules)
        self.world = self.world.with_group(group)
        return group.group_id

    def subnet(
        self,
        vpc: Vpc,
        *,
        public: bool = False,
        is_open: bool = False,
        block: IPv4Network | None = None,
    ) -> Subnet:
        """Add a subnet with any network ACL of the VPC, or with the default one, which is open."""
        if block is None:
            block = IPv4Network((int(vpc.block.network_address) + (self.subnet_number << 8), 24))
            self.subnet_number += 1
        acl_ids = [
            acl.acl_id
            for acl in self.world.acls.values()
            if acl.vpc_id == vpc.vpc_id and (acl.is_default or not is_open)
        ]
        subnet = Subnet(
            subnet_id=self.name("subnet"),
            vpc_id=vpc.vpc_id,
            zone=self.rng.choice("abc"),
            public=public,
            block=block,
            block_v6=None,
            acl_id=self.rng.choice(acl_ids),
        )
        self.world = replace(self.world, subnets={**self.world.subnets, subnet.subnet_id: subnet})
        return subnet

    def interface(
        self,
        kind: Kind,
        subnet: Subnet,
        group_ids: tuple[str, ...],
        **changes: Any,  # noqa: ANN401 - fields of an interface
    ) -> Interface:
        self.host += 1
        interface = Interface(
            interface_id=self.name("eni"),
            kind=kind,
            subnet_id=subnet.subnet_id,
            vpc_id=subnet.vpc_id,
            primary=subnet.block[self.host],
            group_ids=group_ids,
            **{"owner_id": self.name("i"), **changes},
        )
        self.world = self.world.with_interface(interface)
        return interface

    def public_address(self) -> IPv4Address:
        return IPv4Address(f"18.195.{self.rng.randrange(256)}.{self.rng.randrange(1, 255)}")


def rule_of(
    protocol: int,
    ports: tuple[int, int] | None,
    *,
    egress: bool = False,
    block: Block | None = None,
    group_id: str | None = None,
) -> GroupRule:
    low, high = (None, None) if ports is None else ports
    return GroupRule(
        egress=egress,
        protocol=protocol,
        from_port=low,
        to_port=high,
        block=block,
        group_id=group_id,
    )


ALL_OUT = rule_of(ANY_PROTOCOL, None, egress=True, block=ANY_V4)


# --- load balancers ---


def with_load_balancers(world: World, rng: random.Random) -> World:
    """Add two network load balancers to each VPC, each with two targets of a group of their own."""
    made = Extension(world, rng)
    groups: list[TargetGroup] = []
    for vpc in world.vpcs.values():
        public = made.subnets(vpc)[0]
        targets = [each for each in made.instances(vpc) if each.subnet_id != public.subnet_id]
        rng.shuffle(targets)
        front = made.subnet(vpc, public=True, is_open=made.chance(0.8))
        groups += [
            _load_balancer(made, vpc, front, [targets.pop(), targets.pop()]) for _ in range(2)
        ]
    return replace(made.world, target_groups=tuple(groups), hides_load_balancers=made.chance(0.3))


def with_peered_load_balancers(world: World, rng: random.Random) -> World:
    """Add load balancers, and to each active peering connection one with targets on its other side.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/network/edit-target-group-attributes.html
    """
    extended = with_load_balancers(world, rng)
    made = Extension(extended, rng)
    made.host, made.subnet_number = 160, 220
    taken = {each for group in extended.target_groups for each in group.targets}
    groups = []
    for peering in extended.peerings:
        if peering.status == "active":
            sides = [peering.requester, peering.accepter]
            rng.shuffle(sides)
            near, far = (extended.vpcs[side] for side in sides)
            front = made.subnet(near, public=True, is_open=made.chance(0.8))
            free = [each for each in made.instances(far) if each.interface_id not in taken]
            groups.append(_load_balancer(made, near, front, rng.sample(free, 2)))
    return replace(made.world, target_groups=(*extended.target_groups, *groups))


def _load_balancer(
    made: Extension, vpc: Vpc, subnet: Subnet, targets: list[Interface]
) -> TargetGroup:
    rng = made.rng
    is_peered = targets[0].vpc_id != vpc.vpc_id
    port = rng.choice(SERVICE_PORTS)
    protocol = rng.choice((TCP, TCP, TCP, UDP))
    own: tuple[str, ...] = ()
    if made.chance(0.6):
        clients = rng.choice((*(ANY_V4,) * 6, vpc.block, OFFICE))
        out = ALL_OUT
        if made.chance(0.3):  # to the subnet of one target
            block = made.world.subnets[targets[0].subnet_id].block
            out = rule_of(protocol, (port, port), egress=True, block=block)
        own = (made.group("balancer", vpc, rule_of(protocol, (port, port), block=clients), out),)
    faces_internet = made.chance(0.4)
    balancer = made.interface(
        Kind.NETWORK_LOAD_BALANCER,
        subnet,
        own,
        public_address=made.public_address() if faces_internet else None,
        owner_id=f"net/edge-{rng.randrange(1000)}/{rng.getrandbits(64):016x}",
    )
    by_address = is_peered or made.chance(0.4)
    clients_of = rng.choice(made.instances(vpc)).group_ids
    sources: list[dict[str, Any]] = [
        {"block": vpc.block},
        {"block": rng.choice((ANY_V4, OFFICE))},
        {"group_id": rng.choice(clients_of)},
        {"group_id": rng.choice(own or clients_of)},
    ]
    if is_peered:  # AWS does not say whether a reference reaches the group of a load balancer there
        sources.pop()
    rules = [
        rule_of(protocol, (port, port), **source)
        for source in rng.sample(sources, rng.choice((0, 1, 1, 2)))
    ]
    behind = made.world.vpcs[targets[0].vpc_id]
    held = made.group("target", behind, *rules, *((ALL_OUT,) if made.chance(0.6) else ()))
    for target in targets:
        made.world = made.world.with_interface(replace(target, group_ids=(held,)))
    return TargetGroup(
        name=f"to-{port}-{rng.randrange(1000)}",
        balancer=balancer.interface_id,
        protocol=protocol,
        port=port,
        preserves=protocol == UDP or (made.chance(0.3) if by_address else made.chance(0.8)),
        by_address=by_address,
        targets=tuple(each.interface_id for each in targets),
    )


# --- gateways ---


def with_transit_gateway(world: World, rng: random.Random) -> World:
    """Attach each VPC to a transit gateway, in a workload subnet or in a subnet of its own."""
    made = Extension(world, rng)
    gateway = made.name("tgw")
    attachments, routes = [], []
    for vpc in world.vpcs.values():
        subnet = made.subnet(vpc) if made.chance(0.5) else rng.choice(made.subnets(vpc)[1:])
        attachment = made.interface(
            Kind.TRANSIT_GATEWAY, subnet, (), owner_id=made.name("tgw-attach")
        )
        attachments.append(attachment.interface_id)
        routes += [
            StaticRoute(vpc_id=vpc.vpc_id, block=block, gateway=gateway) for block in ON_PREMISES
        ]
    return replace(made.world, attachments=tuple(attachments), static_routes=tuple(routes))


def with_public_ranges(world: World, rng: random.Random) -> World:
    """Give the first VPC a public range of its own, and all a public network behind a VPN."""
    made = Extension(world, rng)
    first = next(iter(world.vpcs.values()))
    block = IPv4Network(f"51.15.{rng.randrange(64) * 4}.0/22")
    made.world = replace(
        made.world, vpcs={**world.vpcs, first.vpc_id: replace(first, more_blocks=(block,))}
    )
    for part in list(block.subnets(new_prefix=24))[:2]:
        subnet = made.subnet(first, block=part)
        for _ in range(3):
            held = rng.choice(made.instances(first)).group_ids
            made.interface(Kind.INSTANCE, subnet, held)
    gateway = made.name("vgw")
    return replace(
        made.world,
        static_routes=tuple(
            StaticRoute(vpc_id=vpc_id, block=each, gateway=gateway)
            for vpc_id in world.vpcs
            for each in ON_PREMISES
        ),
    )


def with_subnet_exclusions(world: World, rng: random.Random) -> World:
    """Turn Block Public Access on, but not for some of the public subnets."""
    made = Extension(world, rng)
    modes: dict[str, str] = {}
    for vpc in world.vpcs.values():
        public = made.subnets(vpc)[0]
        other = made.subnet(vpc, public=True)
        for _ in range(3):
            held = rng.choice(made.instances(vpc)).group_ids
            made.interface(Kind.INSTANCE, other, held, public_address=made.public_address())
        modes[vpc.vpc_id] = rng.choice(BLOCKED)
        excluded = rng.choice((public, other))
        modes[excluded.subnet_id] = EXCLUDED
    return replace(made.world, public_access=modes)


# --- interfaces that forward ---


def with_forwarders(world: World, rng: random.Random) -> World:
    """Send traffic between some subnets through appliances, and that to the internet by a host.

    None of these interfaces checks the addresses of packets. Often an answer takes another
    appliance than its request, which AWS calls asymmetric routing.
    """
    made = Extension(world, rng)
    appliances: dict[tuple[str, str], str] = {}
    nat_instances: dict[str, str] = {}
    for vpc in world.vpcs.values():
        public, one, other, *more = made.subnets(vpc)
        between = made.subnet(vpc, is_open=made.chance(0.8))
        pair = []
        for number in range(2):
            held = made.group(f"firewall-{number}", vpc, *_forwarding_rules(vpc, rng))
            box = made.interface(Kind.INSTANCE, between, (held,), checks_addresses=False)
            pair.append(box.interface_id)
        appliances[one.subnet_id, other.subnet_id] = pair[0]
        appliances[other.subnet_id, one.subnet_id] = pair[made.chance(0.7)]
        for third in more[:1]:
            appliances[one.subnet_id, third.subnet_id] = pair[1]
            appliances[third.subnet_id, one.subnet_id] = pair[made.chance(0.5)]
        nat_instances[vpc.vpc_id] = _nat_instance(made, vpc, public).interface_id
    return replace(made.world, appliances=appliances, nat_instances=nat_instances)


def _nat_instance(made: Extension, vpc: Vpc, subnet: Subnet) -> Interface:
    ports = made.rng.choice(((443, 443), (80, 443), (0, 65535)))
    held = made.group(
        "nat",
        vpc,
        rule_of(TCP, ports, block=vpc.block),
        rule_of(TCP, (443, 443), egress=True, block=ANY_V4),
        *((ALL_OUT,) if made.chance(0.5) else ()),
    )
    return made.interface(
        Kind.INSTANCE,
        subnet,
        (held,),
        checks_addresses=False,
        public_address=made.public_address(),
    )


def _forwarding_rules(vpc: Vpc, rng: random.Random) -> list[GroupRule]:
    """Return rules that let services pass, and only sometimes all else."""
    ports = rng.choice(((0, 9000), (22, 9000), (0, 65535)))
    return [
        rule_of(TCP, ports, block=vpc.block),
        rng.choice((ALL_OUT, rule_of(TCP, (0, 9000), egress=True, block=ANY_V4))),
    ]
