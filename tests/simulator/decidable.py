"""Determine what can be known of a rejected flow where records are stamped as AWS stamps them.

What is known is derived from the records as written and from the snapshot's rules, and only ever
too little of it: a flow is decidable where no other explanation fits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Address, ip_address

from tests.simulator.connections import Case
from tests.simulator.evaluator import AclAnswer, PacketView, evaluate_acl, evaluate_groups
from tests.simulator.log_view import Log, is_over, was_open
from tests.simulator.network import Cause, Hop, Leg, Observation, view_of
from tests.simulator.records import FlowKey, Format
from tests.simulator.world import TCP, Kind, World

EITHER = "network-acl-or-security-group"
_SURELY_EPHEMERAL = 32768  # no service of the simulator listens above
BY_RULES = frozenset({Cause.SECURITY_GROUP, Cause.NETWORK_ACL, Cause.BOTH})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadTime:
    """What the described rules do with the packet as a new packet: without state, layer by layer.

    ``network_acl`` is ``None`` within one subnet, ``security_groups_allow`` for an interface
    without groups.
    """

    network_acl: AclAnswer | None
    security_groups_allow: bool | None

    @property
    def allows(self) -> bool:
        """Whether no layer blocks."""
        return (
            self.network_acl is None or self.network_acl.allow
        ) and self.security_groups_allow is not False

    @property
    def blocking(self) -> frozenset[str]:
        """The verdicts that name what blocks; empty where no layer does."""
        acl = self.network_acl is not None and not self.network_acl.allow
        groups = self.security_groups_allow is False
        if acl and groups:
            return frozenset({Cause.BOTH, EITHER})
        if acl:
            return frozenset({Cause.NETWORK_ACL, EITHER})
        return frozenset({Cause.SECURITY_GROUP, EITHER} if groups else ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """What is known of one flow: its records, and the rules as the snapshot describes them."""

    log: Log
    key: FlowKey
    first: Observation
    world: World
    read: ReadTime
    leg_is_known: bool

    @property
    def decides_without_config(self) -> bool:
        """Whether the records alone leave one explanation.

        A reply is one of the network ACL's only where TCP flags show that its connection has just
        been opened: the tracking of any other may be lost.
        """
        cause = self.first.rules_check.cause
        if cause is Cause.NOT_CARRIED:
            return _is_so_by_itself(self.key.dstaddr)
        if cause is Cause.CLOSED_CONNECTION:
            return is_over(self.log, self.key)
        if cause not in BY_RULES:
            return self.log.fmt.has_reason
        if self._is_special or not self.leg_is_known:
            return False
        return self.first.packet.leg is Leg.REQUEST or self._has_flags

    @property
    def decides_with_config(self) -> bool:
        """Whether the records and the snapshot leave one explanation."""
        cause = self.first.rules_check.cause
        if cause is Cause.CLOSED_CONNECTION:
            return is_over(self.log, self.key) or (
                self.read.allows and was_open(self.log, self.key)
            )
        if cause not in BY_RULES:
            return (
                cause is Cause.NOT_CARRIED
                or self.log.fmt.has_reason
                or (cause is Cause.BLOCK_PUBLIC_ACCESS and self.world.public_access is not None)
            )
        return self._decides_by_rules

    @property
    def _decides_by_rules(self) -> bool:
        if self.first.packet.case == Case.UNTRACKED:
            return False
        if self.first.rules_check.tracking is not None:
            fits = not self._acl_blocks and self.read.security_groups_allow is False
            return fits and self._is_in_midst
        if not self.leg_is_known or not self._is_only_way:
            return False
        may_be_forgotten = self.first.packet.leg is Leg.RESPONSE and not self._has_flags
        if may_be_forgotten and self.read.security_groups_allow is False:
            return False
        return shown_by(self.read, self.first)

    @property
    def _has_flags(self) -> bool:
        return self.key.protocol == TCP and self.log.fmt is not Format.V2

    @property
    def _is_in_midst(self) -> bool:
        """Whether flags, the opposite direction or the ports show that a packet opens nothing."""
        key = self.key
        return (
            self._has_flags
            or key.mirrored() in self.log.accepted
            or key.srcport < _SURELY_EPHEMERAL <= key.dstport
        )

    @property
    def _acl_blocks(self) -> bool:
        return self.read.network_acl is not None and not self.read.network_acl.allow

    @property
    def _is_special(self) -> bool:
        """Whether the records alone do not show what kind of interface or way this was."""
        hop = self.first.hop
        return (
            self.first.packet.case == Case.UNTRACKED
            or self.first.rules_check.tracking is not None
            or hop.forwarded_by is not None
            or hop.interface.kind is Kind.TRANSIT_GATEWAY
            or not hop.interface.checks_addresses
        )

    @property
    def _is_only_way(self) -> bool:
        """Whether every way by which the packet may have come explains the reject alike.

        It may have come by itself, or by a load balancer whose clients keep their addresses. A way
        by which it would have passed explains nothing. Route tables name the appliances on a way.
        """
        hop = self.first.hop
        if self.world.appliances:
            return True
        ways: list[tuple[str, ...] | None] = [None]
        if not hop.egress:
            balancers = self.world.balancers_of(hop.interface, self.key.dstport)
            ways += [each.group_ids for each in balancers]
        view = view_of(hop, self.first.packet)
        found = [
            ReadTime(
                network_acl=self.read.network_acl,
                security_groups_allow=evaluate_groups(
                    self.world, hop.interface, replace(view, forwarded_by=way)
                ),
            )
            for way in ways
        ]
        if self.first.packet.leg is Leg.RESPONSE or all(each == self.read for each in found):
            return True
        if self.world.hides_load_balancers or not self.world.target_groups:
            return False
        return all(each == self.read for each in found if not each.allows)


def _is_so_by_itself(address: str) -> bool:
    """Return whether an address shows by itself that no VPC carries packets to it."""
    found = ip_address(address)
    return found.is_multicast or found.is_link_local or found == IPv4Address("255.255.255.255")


def read_time(world: World, hop: Hop, view: PacketView) -> ReadTime:
    """Return what a world's rules do with a packet at an interface."""
    return ReadTime(
        network_acl=evaluate_acl(world.acl_of(hop.interface), view) if hop.at_boundary else None,
        security_groups_allow=evaluate_groups(world, hop.interface, view),
    )


def shown_by(read: ReadTime, first: Observation) -> bool:
    """Return whether the described rules give the same decision, or by now allow the request."""
    if first.packet.leg is Leg.REQUEST and read.allows:
        return True
    acl_blocks = read.network_acl is not None and not read.network_acl.allow
    if first.packet.leg is Leg.RESPONSE:
        return acl_blocks and read.network_acl == first.rules_check.acl
    groups_block = read.security_groups_allow is False
    return (
        read.network_acl == first.rules_check.acl or not acl_blocks
    ) and first.rules_check.cause == {
        (True, True): Cause.BOTH,
        (True, False): Cause.NETWORK_ACL,
        (False, True): Cause.SECURITY_GROUP,
    }.get((acl_blocks, groups_block))
