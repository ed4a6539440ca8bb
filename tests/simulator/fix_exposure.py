"""Compare what passes before and after changes of rules, packet by packet and layer by layer."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tests.simulator.evaluator import PacketView, evaluate_acl, evaluate_groups
from tests.simulator.fix_statements import EntryStatement, RuleStatement, Statement
from tests.simulator.world import (
    ANY_PROTOCOL,
    ANY_V4,
    ANY_V6,
    ICMP,
    ICMPV6,
    INTERNET,
    INTERNET_V6,
    ON_PREMISES,
    S3_BLOCKS,
    TCP,
    UDP,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.simulator.world import (
        Acl,
        AclEntry,
        Address,
        Block,
        GroupRule,
        Interface,
        World,
    )

_SOME_INTERFACES = 8
_PORTS = (22, 443, 1024, 40_000)
_ICMP_KINDS = ((8, 0), (0, 0), (3, 4), (13, 0), (128, 0), (129, 0))


@dataclass(frozen=True, slots=True)
class Tried:
    """A packet that was tried: what passes by now though no fix says so, or was denied to it."""

    beyond: str | None = None
    overruled: str | None = None


def newly_open(before: World, after: World, stated: list[Statement]) -> Iterator[Tried]:
    """Try packets at every layer that changed; yield each with what nothing stated of it."""
    yield from _at_acls(before, after, stated)
    yield from _at_groups(before, after, stated)


# --- network ACLs ---------------------------------------------------------------------------------


def _at_acls(before: World, after: World, stated: list[Statement]) -> Iterator[Tried]:
    entries = [each for each in stated if isinstance(each, EntryStatement)]
    for acl_id, acl in after.acls.items():
        old = before.acls[acl_id]
        subnet_ids = [each.subnet_id for each in after.subnets.values() if each.acl_id == acl_id]
        for view in _views_of_acl(after, old, acl):
            yield _at_acl(old, acl, view, entries, subnet_ids)


def _at_acl(
    old: Acl, acl: Acl, view: PacketView, stated: list[EntryStatement], subnet_ids: list[str]
) -> Tried:
    was = evaluate_acl(old, view)
    if was.allow or not evaluate_acl(acl, view).allow:
        return Tried()
    decided = [
        each for each in old.entries if (each.number, each.egress) == (was.rule_number, was.egress)
    ]
    if any(is_written_denial(each) for each in decided):
        return Tried(overruled=f"written denial {was} overruled for {view}")
    unsaid = [
        subnet_id
        for subnet_id in subnet_ids
        if not any(each.covers(subnet_id, acl.acl_id, view) for each in stated)
    ]
    return Tried(beyond=f"{acl.acl_id} of {unsaid} lets {view} pass" if unsaid else None)


def _views_of_acl(world: World, old: Acl, acl: Acl) -> Iterator[PacketView]:
    """Return packets to try at a network ACL, in each direction that changed."""
    for egress in (False, True):
        new = [
            entry for entry in acl.entries if entry.egress is egress and entry not in old.entries
        ]
        if not new:
            continue
        mine = [*new, *(each for each in old.entries if each.egress is egress and not each.allow)]
        peers = _peers(world, {entry.block for entry in mine}, new)
        ports = _near_ports([entry.ports for entry in mine if entry.ports is not None])
        yield from _views(peers, ports, {entry.protocol for entry in new}, egress=egress)


def is_written_denial(entry: AclEntry) -> bool:
    """Return whether an entry denies a range, a protocol or ports that someone chose."""
    of_all = entry.protocol == ANY_PROTOCOL and entry.block in (ANY_V4, ANY_V6)
    return not entry.allow and not of_all


# --- security groups ------------------------------------------------------------------------------


@dataclass(slots=True)
class _Groups:
    """The groups before and after, those with the new rules alone, and who was opened so far."""

    before: World
    after: World
    only: World
    said: list[RuleStatement]
    opened: defaultdict[tuple[object, ...], set[str]]

    def try_at(self, interfaces: list[Interface]) -> Iterator[Tried]:
        """Try packets at interfaces that hold the same groups in one VPC."""
        first = interfaces[0]
        rules = [rule for each in first.group_ids for rule in self.only.groups[each].rules]
        for view in _views_of_rules(self.after, rules):
            near = [each for each in interfaces if _talks_to(each, view.peer)]
            yield self._tried(first, near, view) if near else Tried()

    def _tried(self, first: Interface, near: list[Interface], view: PacketView) -> Tried:
        if not evaluate_groups(self.only, first, view):
            return Tried()
        if evaluate_groups(self.before, first, view):
            return Tried()
        covering = [each for each in self.said if each.covers(self.after, first, view)]
        keys = {_without_counts(each, egress=view.egress) for each in covering}
        if len(keys) == 1:  # what several say, each need not count
            self.opened[keys.pop()] |= {each.interface_id for each in near}
        missing = f"groups of {near[0].interface_id} let {view} pass"
        return Tried(beyond=None if covering else missing)


def _at_groups(before: World, after: World, stated: list[Statement]) -> Iterator[Tried]:
    new = {
        group_id: replace(
            group,
            rules=tuple(each for each in group.rules if each not in before.groups[group_id].rules),
        )
        for group_id, group in after.groups.items()
    }
    said = [each for each in stated if isinstance(each, RuleStatement)]
    groups = _Groups(before, after, replace(after, groups=new), said, defaultdict(set))
    alike: defaultdict[tuple[str, tuple[str, ...]], list[Interface]] = defaultdict(list)
    for each in after.interfaces.values():
        alike[each.vpc_id, tuple(sorted(each.group_ids))].append(each)
    for interfaces in alike.values():
        yield from groups.try_at(interfaces)
    for key, holders in groups.opened.items():
        yield _counted(key, holders, said)


def _counted(key: tuple[object, ...], holders: set[str], said: list[RuleStatement]) -> Tried:
    """Compare how many interfaces are opened with how many are said to be."""
    counts = [
        (each.client if egress else each.server).count
        for each in said
        for egress in (False, True)
        if _without_counts(each, egress=egress) == key
    ]
    most = max((len(holders) if each is None else each for each in counts), default=0)
    fewer = len(holders) <= most
    return Tried(beyond=None if fewer else f"{len(holders)} interfaces, not {most}: {key}")


def _without_counts(statement: RuleStatement, *, egress: bool) -> tuple[object, ...]:
    """Return who talks how to whom, and at which end that is tried."""
    ends = (statement.client, statement.server)
    return (statement.traffic, *(replace(end, count=None) for end in ends), egress)


def _talks_to(interface: Interface, address: Address) -> bool:
    """Return whether an interface has an address of the same IP version, and not that one."""
    reached = address.version == ANY_V4.version or bool(interface.addresses_v6)
    return reached and not interface.holds(address)


def _views_of_rules(world: World, rules: list[GroupRule]) -> Iterator[PacketView]:
    for egress in (False, True):
        mine = [rule for rule in rules if rule.egress is egress]
        if not mine:
            continue
        blocks = [rule.block for rule in mine if rule.block is not None]
        peers = _peers(world, blocks, mine)
        ports = _near_ports(
            [
                (rule.from_port, rule.to_port)
                for rule in mine
                if rule.from_port is not None and rule.to_port is not None and rule.from_port >= 0
            ]
        )
        yield from _views(peers, ports, {rule.protocol for rule in mine}, egress=egress)


# --- what is tried --------------------------------------------------------------------------------


def _peers(world: World, blocks: Iterable[Block], seed: object) -> list[Address]:
    """Return addresses: the borders of ranges, interfaces, and hosts of every sort outside."""
    rng = random.Random(repr(seed))  # noqa: S311 - a sample, not a secret
    found: set[Address] = set()
    for block in blocks:
        first, last = block[0], block[-1]
        found |= {first, last}
        if int(first):
            found.add(first - 1)
        if int(last) + 1 < 1 << block.max_prefixlen:
            found.add(last + 1)
    interfaces: list[Interface] = list(world.interfaces.values())
    for interface in rng.sample(interfaces, min(_SOME_INTERFACES, len(interfaces))):
        found |= {interface.primary, *interface.addresses_v6[:1]}
    for outside in (*INTERNET, INTERNET_V6, *S3_BLOCKS, *ON_PREMISES):
        found.add(outside[rng.randrange(1, 250)])
    return sorted(found, key=lambda each: (each.version, int(each)))


def _near_ports(ranges: Iterable[tuple[int, int]]) -> list[int]:
    found = set(_PORTS)
    for first, last in ranges:
        found |= {first, last, max(first - 1, 0), min(last + 1, 65_535)}
    return sorted(found)


def _views(
    peers: list[Address], ports: list[int], protocols: set[int], *, egress: bool
) -> Iterator[PacketView]:
    """Return a packet for every peer and port, in the protocols of the changes and one more."""
    for peer in peers:
        for protocol in sorted({*protocols, UDP} - {ICMP, ICMPV6, ANY_PROTOCOL}):
            for port in ports if protocol in (TCP, UDP) else (0,):
                yield PacketView(egress=egress, peer=peer, protocol=protocol, port=port)
        for kind in _ICMP_KINDS:
            yield PacketView(
                egress=egress,
                peer=peer,
                protocol=ICMP if peer.version == ANY_V4.version else ICMPV6,
                port=0,
                icmp=kind,
            )
