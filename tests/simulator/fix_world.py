"""Extend a random world by what a careless fix breaks: full lists, denials, groups of others.

Shared VPCs: https://docs.aws.amazon.com/vpc/latest/userguide/vpc-sharing.html
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from tests.simulator.commands import ENTRY_QUOTAS, RULE_QUOTAS, closing_entries, weight
from tests.simulator.real_world import ALL_OUT, Extension, rule_of, with_load_balancers
from tests.simulator.world import (
    ANY_PROTOCOL,
    ANY_V4,
    INTERNET,
    SERVICE_PORTS,
    TCP,
    Acl,
    AclEntry,
    Block,
    Interface,
    Kind,
    Vpc,
    World,
)

if TYPE_CHECKING:
    import random

BLOCKLISTED = INTERNET[1]
DEFAULT_GROUP = "default"
QUARANTINE = "quarantine"
_NOBODY = IPv4Network("203.0.113.0/24")  # no packet of a simulation has such an address
_FIRST_NUMBER = 20  # of the entries that stand behind written denials


def with_fix_traps(world: World, rng: random.Random) -> World:
    """Add load balancers, default groups, full groups and ACLs, denials, and isolated hosts.

    Often the last VPC is one that another account shares.
    """
    made = Extension(with_load_balancers(world, rng), rng)
    made.host, made.subnet_number = 180, 230
    for vpc in world.vpcs.values():
        _default_group(made, vpc)
        _full_groups(made, vpc)
        custom = [
            acl
            for acl in made.world.acls.values()
            if acl.vpc_id == vpc.vpc_id and not acl.is_default
        ]
        for acl in custom[:2]:
            _written_denials(made, vpc, acl.acl_id)
        for acl in custom[1:]:
            _full_acl(made, acl.acl_id)
        _isolated_hosts(made, vpc)
    if made.chance(0.7):
        _shared(made, list(world.vpcs)[-1])
    return made.world


def _default_group(made: Extension, vpc: Vpc) -> None:
    """Give most instances the default group beside their own, and one host it alone."""
    group_id = made.group(DEFAULT_GROUP, vpc, ALL_OUT)
    group = made.world.groups[group_id]
    to_itself = rule_of(ANY_PROTOCOL, None, group_id=group_id)
    made.world = made.world.with_group(replace(group, rules=(*group.rules, to_itself)))
    for instance in made.instances(vpc):
        if made.chance(0.6):
            held = (*instance.group_ids, group_id)
            if made.chance(0.5):
                held = held[::-1]
            made.world = made.world.with_interface(replace(instance, group_ids=held))
    made.interface(Kind.INSTANCE, made.rng.choice(made.subnets(vpc)), (group_id,))


def _full_groups(made: Extension, vpc: Vpc) -> None:
    """Fill one direction of two groups: to the quota, and to one rule less."""
    own = [
        group
        for group in made.world.groups.values()
        if group.vpc_id == vpc.vpc_id and group.name != DEFAULT_GROUP
    ]
    for missing, group in enumerate(made.rng.sample(own, 2)):
        egress = made.chance(0.3)
        present = sum(weight(made.world, rule, 4) for rule in group.rules if rule.egress is egress)
        more = RULE_QUOTAS[0] - missing - present
        padding = [
            rule_of(TCP, (22, 22), egress=egress, block=block)
            for block in list(_NOBODY.subnets(new_prefix=32))[:more]
        ]
        made.world = made.world.with_group(replace(group, rules=(*group.rules, *padding)))


def _written_denials(made: Extension, vpc: Vpc, acl_id: str) -> None:
    """Put denials of a block list, a segment or a port before the entries of a network ACL."""
    acl = made.world.acls[acl_id]
    peers = [each.block for each in made.world.vpcs.values() if each is not vpc]
    segment: Block = made.rng.choice([*peers, *(each.block for each in made.subnets(vpc))])
    port = made.rng.choice(SERVICE_PORTS)
    choices: list[tuple[int, Block, tuple[int, int] | None]] = [
        (ANY_PROTOCOL, BLOCKLISTED, None),
        (TCP, segment, (0, 65535)),
        (TCP, ANY_V4, (port, port)),
        (TCP, segment, (port, port)),
    ]
    entries = [replace(entry, number=entry.number + _FIRST_NUMBER) for entry in acl.entries]
    for egress in (False, True):
        for number, (protocol, block, ports) in enumerate(made.rng.sample(choices, 2)):
            entries.append(
                AclEntry(
                    number=number + 5,
                    egress=egress,
                    allow=False,
                    protocol=protocol,
                    block=block,
                    ports=ports,
                )
            )
    made.world = made.world.with_acl(replace(acl, entries=tuple(entries)))


def _full_acl(made: Extension, acl_id: str) -> None:
    """Fill a network ACL: no entry more is possible in some directions, one in others."""
    acl = made.world.acls[acl_id]
    for egress in (False, True):
        present = [entry for entry in acl.entries if entry.egress is egress]
        missing = closing_entries(made.world, acl) + made.rng.choice((0, 0, 1))
        highest = max((entry.number for entry in present), default=0)
        padding = [
            AclEntry(
                number=highest + 10 * (position + 1),
                egress=egress,
                allow=True,
                protocol=TCP,
                block=IPv4Network(_NOBODY[position]),
                ports=(22, 22),
            )
            for position in range(ENTRY_QUOTAS[0] - missing - len(present))
        ]
        acl = replace(acl, entries=(*acl.entries, *padding))
    # AWS lists the closing entries; without them a reader cannot count what the quota counts.
    made.world = made.world.with_acl(replace(acl, shows_closing=True))


def _isolated_hosts(made: Extension, vpc: Vpc) -> None:
    """Isolate a host by a group without rules, one by name, and one by its network ACL."""
    subnets = made.subnets(vpc)
    without_rules = made.group("hold-4711", vpc)
    named = made.group(QUARANTINE, vpc, rule_of(TCP, (22, 22), block=vpc.block))
    for held in (without_rules, named):
        made.interface(Kind.INSTANCE, made.rng.choice(subnets), (held,))
    closed = Acl(
        acl_id=made.name("acl"),
        vpc_id=vpc.vpc_id,
        is_default=False,
        shows_closing=True,
        entries=tuple(
            AclEntry(number=100, egress=egress, allow=False, protocol=ANY_PROTOCOL, block=ANY_V4)
            for egress in ((False, True) if made.chance(0.5) else ())
        ),
    )
    made.world = made.world.with_acl(closed)
    subnet = replace(made.subnet(vpc), acl_id=closed.acl_id)
    made.world = replace(made.world, subnets={**made.world.subnets, subnet.subnet_id: subnet})
    made.interface(Kind.INSTANCE, subnet, made.rng.choice(made.instances(vpc)).group_ids)


def _shared(made: Extension, vpc_id: str) -> None:
    """Let another account own a VPC with its ACLs and NAT gateway, and some hosts in it."""
    owner = f"{int(made.world.account_id) ^ 1:012}"
    vpc = replace(made.world.vpcs[vpc_id], owner_id=owner)
    made.world = replace(made.world, vpcs={**made.world.vpcs, vpc_id: vpc})
    group_id = made.group("owner", vpc, rule_of(TCP, (443, 443), block=vpc.block), ALL_OUT)
    group = replace(made.world.groups[group_id], owner_id=owner)
    made.world = made.world.with_group(group)
    for each in list(made.world.interfaces.values()):
        if each.vpc_id == vpc_id and each.kind is Kind.NAT_GATEWAY:
            made.world = made.world.with_interface(replace(each, account_id=owner))
    for subnet in made.subnets(vpc)[:2]:
        made.interface(Kind.INSTANCE, subnet, (group_id,), account_id=owner)


def isolated(world: World, interface: Interface) -> bool:
    """Return whether a host was isolated on purpose: by a group's name, no rules, or its ACL."""
    groups = [world.groups[group_id] for group_id in interface.group_ids]
    if any(group.name == QUARANTINE for group in groups):
        return True
    if groups and not any(group.rules for group in groups):
        return True
    return not any(entry.allow for entry in world.acl_of(interface).entries)
