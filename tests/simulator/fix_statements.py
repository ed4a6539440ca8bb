"""Read what a fix says that it opens, from its words alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING

from tests.simulator.world import ANY_PROTOCOL, ICMP, ICMPV6, TCP, UDP

if TYPE_CHECKING:
    from tests.simulator.evaluator import PacketView
    from tests.simulator.world import Address, Block, Interface, World

_ENTRY = re.compile(
    r"lets (?P<what>.+) (?P<way>into|out of) (?P<where>.+?)(?: \(\d+ interfaces?\))?"
    r" (?:from|to) (?P<block>\S+)"
)
_RULE = re.compile(r"lets (?P<client>.+) reach (?P<what>.+?) of (?P<server>.+)")
_HOLDERS = re.compile(
    r"(?:(?P<count>\d+) interfaces?|every interface) with (?P<group>sg-\S+)"
    r"(?: \(and clients that come by load balancer [^()]+\))?"
)
_LIST = re.compile(r"(?:.+ \()?(?P<list>pl-\w+)\)?")
_WHAT = re.compile(
    r"(?P<name>all traffic|protocol \d+|\w+)(?: (?:to )?ports? (?P<first>\d+)(?:-(?P<last>\d+))?)?"
    r"(?: type (?P<type>\d+))?"
)
_NAMES = {"TCP": TCP, "UDP": UDP, "ICMP": ICMP, "ICMPv6": ICMPV6, "all traffic": ANY_PROTOCOL}


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """A protocol, with its ports or its ICMP type; ``None`` stands for all."""

    protocol: int
    ports: tuple[int, int] | None
    icmp_type: int | None

    def covers(self, view: PacketView) -> bool:
        """Return whether a packet is of this traffic."""
        if self.protocol not in (ANY_PROTOCOL, view.protocol):
            return False
        if self.ports is not None and not self.ports[0] <= view.port <= self.ports[1]:
            return False
        return self.icmp_type is None or (view.icmp is not None and view.icmp[0] == self.icmp_type)


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryStatement:
    """What an entry of a network ACL opens, in some subnets."""

    traffic: Traffic
    egress: bool
    where: str
    block: Block

    def covers(self, subnet_id: str, acl_id: str, view: PacketView) -> bool:
        """Return whether it says that a packet passes the network ACL of a subnet."""
        here = subnet_id in self.where.split(", ") or self.where == f"the subnets of {acl_id}"
        inside = view.peer.version == self.block.version and view.peer in self.block
        return here and inside and self.egress is view.egress and self.traffic.covers(view)


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """Who talks: the holders of a group, the addresses of a list, or a range.

    ``count`` is how many holders there are, or are opened; ``None`` where that is not said.
    """

    group_id: str | None = None
    count: int | None = None
    prefix_list_id: str | None = None
    block: Block | None = None

    def has(self, world: World, address: Address) -> bool:
        """Return whether an address is one of the party."""
        if self.group_id is not None:
            return any(
                self.group_id in each.group_ids and each.holds(address)
                for each in world.interfaces.values()
            )
        blocks = (
            (self.block,)
            if self.prefix_list_id is None
            else world.prefix_lists[self.prefix_list_id][1]
        )
        return any(
            block is not None and block.version == address.version and address in block
            for block in blocks
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleStatement:
    """What a rule of a security group opens."""

    traffic: Traffic
    client: Party
    server: Party

    def near(self, view: PacketView) -> Party:
        """Return the party at the interface whose rules see the packet."""
        return self.client if view.egress else self.server

    def covers(self, world: World, interface: Interface, view: PacketView) -> bool:
        """Return whether it says that a packet passes the groups of an interface."""
        far = self.server if view.egress else self.client
        return (
            self.near(view).group_id in interface.group_ids
            and far.has(world, view.peer)
            and self.traffic.covers(view)
        )


type Statement = EntryStatement | RuleStatement


def statements(opens: str) -> list[Statement]:
    """Return what the words say, in order; ``ValueError`` where a part says nothing of the kind."""
    return [_statement(part) for part in opens.split("; ")]


def _statement(text: str) -> Statement:
    if found := _RULE.fullmatch(text):
        return RuleStatement(
            traffic=_traffic(found["what"]),
            client=_party(found["client"]),
            server=_party(found["server"]),
        )
    if found := _ENTRY.fullmatch(text):
        return EntryStatement(
            traffic=_traffic(found["what"]),
            egress=found["way"] == "out of",
            where=found["where"],
            block=ip_network(found["block"]),
        )
    raise ValueError(f"this does not say what is opened: {text}")


def _party(text: str) -> Party:
    if found := _HOLDERS.fullmatch(text):
        count = found["count"]
        return Party(group_id=found["group"], count=None if count is None else int(count))
    if found := _LIST.fullmatch(text):
        return Party(prefix_list_id=found["list"])
    return Party(block=ip_network(text))


def _traffic(text: str) -> Traffic:
    found = _WHAT.fullmatch(text)
    if found is None:
        raise ValueError(f"this names no traffic: {text}")
    name, first = found["name"], found["first"]
    protocol = int(name.split()[1]) if name.startswith("protocol ") else _NAMES[name]
    return Traffic(
        protocol=protocol,
        ports=None if first is None else (int(first), int(found["last"] or first)),
        icmp_type=None if found["type"] is None else int(found["type"]),
    )
