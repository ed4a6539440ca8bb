"""Carry packets over a world and evaluate the rules at every interface that a packet passes.

Inbound, the network ACL comes first (only at a subnet's boundary), then the security groups;
outbound, the groups come first. A packet that is blocked at one interface never reaches the next.
Security groups are stateful: a packet of a tracked connection passes them whatever their rules are.
A connection stays tracked until both sides sent FIN, one side sent RST, or it idles too long
(https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/security-group-connection-tracking.html).

The same page describes untracked flows: flows that a rule for all addresses allows, where another
rule allows all addresses and ports in the other direction. Each of their packets is evaluated by
itself, so a group that loses a rule blocks even replies. That is simulated only where
``leaves_open_flows_untracked`` is set; elsewhere every flow is tracked.

Where ``forgets_idle`` is set, the next packet of a connection that idled too long is a new flow to
the groups, as is the first packet that an interface sees of a connection that opened elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from tests.simulator.evaluator import (
    AclAnswer,
    PacketView,
    evaluate_acl,
    evaluate_groups,
    is_open_both_ways,
)
from tests.simulator.world import ICMP, ICMPV6, TCP, UDP, Address, Interface, Kind, World

if TYPE_CHECKING:
    from collections.abc import Sequence

FIN, SYN, RST, ACK = 1, 2, 4, 16

CLOSING_SECONDS = 5  # the last ACKs of a proper end still pass
IDLE_SECONDS = {TCP: 350, UDP: 30, ICMP: 30, ICMPV6: 30}
LONG_IDLE_SECONDS = 432_000  # TCP, where the instance is not of Nitro version 6
UDP_STREAM_SECONDS = 180  # UDP once both directions were seen


class Leg(StrEnum):
    """The half of a connection that a packet belongs to."""

    REQUEST = "request"
    RESPONSE = "response"


class Cause(StrEnum):
    """Why a packet was rejected, in the words of the ``explain`` contract."""

    SECURITY_GROUP = "security-group"
    NETWORK_ACL = "network-acl"
    BOTH = "network-acl-and-security-group"
    CLOSED_CONNECTION = "closed-connection"
    BLOCK_PUBLIC_ACCESS = "block-public-access"
    ENCRYPTION_CONTROLS = "encryption-controls"
    NOT_CARRIED = "not-carried"


class Tracking(StrEnum):
    """Why a packet in the midst of a connection was a new flow to the groups."""

    LOST = "lost"  # the connection idled too long
    NEVER = "never"  # the interface never saw how it opened


REASONS = {Cause.BLOCK_PUBLIC_ACCESS: "BPA", Cause.ENCRYPTION_CONTROLS: "EC"}


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """One end of a connection: an address, and its interface unless it is outside the world."""

    address: Address
    port: int
    interface: Interface | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """A packet on the wire. ``flags`` are TCP's FIN, SYN, RST and ACK; ``icmp`` is type and code.

    ``case`` names the hard case that the packet was made for, if any; no decision depends on it.
    """

    time: float
    leg: Leg
    protocol: int
    flags: int = 0
    icmp: tuple[int, int] | None = None
    size: int = 60
    case: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One pass through one interface.

    The ``logged`` addresses are those in the record's srcaddr and dstaddr. ``forwarded_by`` is as
    in ``PacketView``. ``over_internet`` is whether the packet goes by an internet gateway.
    ``reply_at_boundary`` is whether a network ACL applies to the reply, if that differs.
    """

    interface: Interface
    egress: bool
    source: Address
    destination: Address
    logged_source: Address
    logged_destination: Address
    source_port: int
    destination_port: int
    at_boundary: bool
    path: int | None = None
    forwarded_by: tuple[str, ...] | None = None
    over_internet: bool = False
    reply_at_boundary: bool | None = None

    @property
    def peer(self) -> Address:
        """The address that the interface's rules are compared with."""
        return self.destination if self.egress else self.source


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesCheck:
    """What was decided about one packet at one interface.

    ``acl`` is ``None`` where no network ACL applies. ``groups_allow`` is what the groups did,
    tracked connections included, and ``None`` without groups. ``cause`` is ``None`` if the packet
    passed. ``tracking`` is set where the groups block a packet in the midst of a connection.
    """

    acl: AclAnswer | None
    groups_allow: bool | None
    cause: Cause | None
    tracking: Tracking | None = None

    @property
    def blocking_entry(self) -> AclAnswer | None:
        """The deny entry, where the network ACL is the cause, alone or with the groups."""
        return self.acl if self.cause in (Cause.NETWORK_ACL, Cause.BOTH) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One packet at one interface, and what was decided there."""

    hop: Hop
    packet: Packet
    rules_check: RulesCheck


@dataclass(slots=True, kw_only=True)
class _Track:
    last: float
    seen: set[bool] = field(default_factory=set)
    finished: set[bool] = field(default_factory=set)
    closed_at: float | None = None
    open_both_ways: bool = False


def view_of(hop: Hop, packet: Packet) -> PacketView:
    """Return the packet as the interface's rules see it."""
    return PacketView(
        egress=hop.egress,
        peer=hop.peer,
        protocol=packet.protocol,
        port=hop.destination_port,
        icmp=packet.icmp,
        forwarded_by=hop.forwarded_by,
    )


def is_never_carried(world: World, destination: Address) -> bool:
    """Return whether no VPC carries packets to an address: broadcast, multicast, link-local.

    https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html
    """
    return (
        destination.is_multicast
        or destination.is_link_local
        or destination == IPv4Address("255.255.255.255")
        or any(destination == subnet.block.broadcast_address for subnet in world.subnets.values())
    )


class Network:
    """The worlds over time, the connections that each interface tracks, and all observations."""

    def __init__(self, world: World) -> None:
        self.worlds: list[tuple[float, World]] = [(float("-inf"), world)]
        self.observations: list[Observation] = []
        self.blocks_public_access = False
        self.controls_encryption = False
        self.leaves_open_flows_untracked = False
        self.forgets_idle = False
        self.idle_seconds = dict(IDLE_SECONDS)
        self._tracks: dict[tuple[object, ...], _Track] = {}

    def change(self, time: float, world: World) -> None:
        """Replace the world from a time on."""
        self.worlds.append((time, world))

    def world_at(self, time: float) -> World:
        """Return the world whose rules apply at a time."""
        return [world for since, world in self.worlds if since <= time][-1]

    def carry(self, packet: Packet, hops: Sequence[Hop]) -> bool:
        """Send a packet; return whether it passed every interface."""
        for hop in hops:
            rules_check = self._check(packet, hop)
            self.observations.append(Observation(hop=hop, packet=packet, rules_check=rules_check))
            if rules_check.cause is not None:
                return False
        return True

    def _check(self, packet: Packet, hop: Hop) -> RulesCheck:
        world = self.world_at(packet.time)
        view = view_of(hop, packet)
        acl = evaluate_acl(world.acl_of(hop.interface), view) if hop.at_boundary else None
        acl_blocks = acl is not None and not acl.allow
        if control := self._controlled(hop, world):
            return RulesCheck(
                acl=acl, groups_allow=evaluate_groups(world, hop.interface, view), cause=control
            )
        key = self._key(packet, hop)
        track = self._tracks.get(key)
        groups_allow: bool | None
        left_over = False
        tracking: Tracking | None = None
        if track is not None and track.open_both_ways:
            groups_allow = evaluate_groups(world, hop.interface, view)
        elif track is not None and self._lives(track, packet):
            groups_allow = None if not hop.interface.group_ids else True
        else:
            groups_allow = evaluate_groups(world, hop.interface, view)
            left_over = track is not None and self._is_left_over(
                track, packet, allowed=groups_allow is not False
            )
            tracking = self._tracking(track, packet)
            track = track if left_over else None
        cause = self._cause(
            acl_blocks=acl_blocks, groups_block=groups_allow is False, left_over=left_over
        )
        if cause is None:
            self._track(key, track, packet, hop)
            if self.leaves_open_flows_untracked and is_open_both_ways(world, hop.interface, view):
                self._tracks[key].open_both_ways = True
        return RulesCheck(
            acl=acl,
            groups_allow=groups_allow,
            cause=cause,
            tracking=tracking if cause in (Cause.SECURITY_GROUP, Cause.BOTH) else None,
        )

    def _tracking(self, track: _Track | None, packet: Packet) -> Tracking | None:
        if not self.forgets_idle or (packet.flags & SYN and not packet.flags & ACK):
            return None
        in_midst = packet.protocol == TCP or packet.leg is Leg.RESPONSE
        if not in_midst or (packet.flags & SYN and packet.leg is Leg.REQUEST):
            return None
        return Tracking.NEVER if track is None else Tracking.LOST

    def _controlled(self, hop: Hop, world: World) -> Cause | None:
        if is_never_carried(world, hop.destination):
            return Cause.NOT_CARRIED
        if world.public_access is not None:
            return self._blocked_at_gateway(hop, world, world.public_access)
        inside = [
            block
            for vpc in world.vpcs.values()
            for block in (vpc.block, vpc.block_v6)
            if block is not None
        ]
        outside = not any(
            hop.peer.version == block.version and hop.peer in block for block in inside
        )
        if self.blocks_public_access and outside and world.subnets[hop.interface.subnet_id].public:
            return Cause.BLOCK_PUBLIC_ACCESS
        if self.controls_encryption and hop.interface.kind is Kind.ENDPOINT and not hop.egress:
            return Cause.ENCRYPTION_CONTROLS
        return None

    @staticmethod
    def _blocked_at_gateway(hop: Hop, world: World, modes: dict[str, str]) -> Cause | None:
        """Return whether Block Public Access blocks: by subnet, and only at an internet gateway.

        Its ingress mode lets the traffic of NAT gateways pass, which only open connections:
        https://docs.aws.amazon.com/vpc/latest/userguide/security-vpc-bpa-basics.html
        """
        subnet = world.subnets[hop.interface.subnet_id]
        mode = modes.get(subnet.subnet_id, modes.get(subnet.vpc_id, "off"))
        lets_pass = mode == "block-ingress" and hop.interface.kind is Kind.NAT_GATEWAY
        blocks = hop.over_internet and mode != "off" and not lets_pass
        return Cause.BLOCK_PUBLIC_ACCESS if blocks else None

    @staticmethod
    def _cause(*, acl_blocks: bool, groups_block: bool, left_over: bool) -> Cause | None:
        if left_over:
            return Cause.NETWORK_ACL if acl_blocks else Cause.CLOSED_CONNECTION
        if acl_blocks and groups_block:
            return Cause.BOTH
        if acl_blocks:
            return Cause.NETWORK_ACL
        return Cause.SECURITY_GROUP if groups_block else None

    @staticmethod
    def _key(packet: Packet, hop: Hop) -> tuple[object, ...]:
        here, there = (hop.source, hop.source_port), (hop.destination, hop.destination_port)
        if not hop.egress:
            here, there = there, here
        return (hop.interface.interface_id, packet.protocol, here, there)

    def _lives(self, track: _Track, packet: Packet) -> bool:
        if track.closed_at is not None:
            return packet.time <= track.closed_at + CLOSING_SECONDS
        idle = self.idle_seconds.get(packet.protocol, 600)
        if packet.protocol == UDP and len(track.seen) > 1:
            idle = UDP_STREAM_SECONDS
        return packet.time <= track.last + idle

    def _is_left_over(self, track: _Track, packet: Packet, *, allowed: bool) -> bool:
        """Return whether a packet belongs to a connection that is not tracked any more.

        TCP: every packet except a bare SYN, whatever the rules allow. Other protocols have no first
        packet: an answer is left over if the rules do not allow it as a new packet. Where
        ``forgets_idle`` is set, only a connection that was closed leaves packets over.
        """
        if self.forgets_idle and track.closed_at is None:
            return False
        if packet.protocol == TCP:
            return not (packet.flags & SYN and not packet.flags & ACK)
        return not allowed and packet.leg is Leg.RESPONSE

    def _track(
        self, key: tuple[object, ...], track: _Track | None, packet: Packet, hop: Hop
    ) -> None:
        opens = packet.protocol != TCP or bool(packet.flags & SYN) or self.forgets_idle
        if track is None:
            track = self._tracks.get(key)
            if track is None or not self._lives(track, packet):
                if not opens:
                    return
                track = _Track(last=packet.time)
                self._tracks[key] = track
        track.last = packet.time
        track.seen.add(hop.egress)
        if packet.flags & FIN:
            track.finished.add(hop.egress)
        if track.closed_at is None and (packet.flags & RST or len(track.finished) > 1):
            track.closed_at = packet.time
