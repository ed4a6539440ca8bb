"""Hold what a fix is decided on: one explained flow, and the way of its packet and reply."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flowverdict.core.addresses import is_inside
from flowverdict.core.protocols import PortLook, Protocol, port_look
from flowverdict.flowlog.records import FlowDirection
from flowverdict.network.acl import AclAnswer, evaluate_subnet_acl
from flowverdict.network.model import PortRange
from flowverdict.network.packet import Outcome
from flowverdict.network.security_groups import GroupsAnswer, evaluate_groups
from flowverdict.verdict.evidence_rules.predicates import reply_like
from flowverdict.verdict.model import Confidence, Facts, Leg, Verdict
from flowverdict.verdict.paths import FoundPath, Path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowverdict.core.addresses import Address
    from flowverdict.flows.model import RejectedFlow
    from flowverdict.network.configuration import NetConfig
    from flowverdict.network.model import Interface
    from flowverdict.network.packet import Packet
    from flowverdict.verdict.rules_check import RulesCheck


_EPHEMERAL = PortRange(first=1_024, last=65_535)
_NFS = 2_049
# Of Linux: https://github.com/torvalds/linux/blob/master/include/linux/sunrpc/xprtsock.h
_RESERVED_OF_NFS = PortRange(first=665, last=1_023)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A rejected flow with its verdict, for which a fix is wanted.

    Parameters
    ----------
    source_is_inside
        Whether the packet was sent from inside the organisation.
    is_from_outside
        Whether a host outside may have caused the packet by itself.
    blocker
        The blocking rule or groups as text, ``None`` where not known.
    """

    flow: RejectedFlow
    verdict: Verdict
    rules_check: RulesCheck
    config: NetConfig
    source_is_inside: bool
    is_from_outside: bool
    blocker: str | None

    @property
    def found_path(self) -> FoundPath:
        """The path to the remote end."""
        return self.rules_check.found_path

    @property
    def leg(self) -> Leg:
        """The leg that a fix must let pass; unknown where a fix might open the wrong ports."""
        verdict = self.verdict
        if verdict.leg is Leg.RESPONSE:
            return Leg.UNKNOWN if verdict.confidence is Confidence.POSSIBLE else Leg.RESPONSE
        looks_like_reply = reply_like(Facts(flow=self.flow, rules_check=self.rules_check))
        if verdict.leg is Leg.REQUEST:
            guessed = verdict.confidence is Confidence.POSSIBLE and looks_like_reply
            return Leg.UNKNOWN if guessed else Leg.REQUEST
        key = self.flow.key
        look = port_look(key.source_port, key.destination_port)
        return Leg.REQUEST if look is PortLook.REQUEST and not looks_like_reply else Leg.UNKNOWN

    @property
    def account_id(self) -> str | None:
        """The account that the commands are for: the owner of the interface."""
        return self.rules_check.interface.owner_id or self.flow.context.account_id


@dataclass(frozen=True, slots=True)
class Hop:
    """An interface that a packet must pass; for a reply, no security group is evaluated."""

    interface: Interface
    packet: Packet
    direction: FlowDirection
    is_reply: bool
    is_far: bool
    trip: Trip

    @property
    def is_egress(self) -> bool:
        """Whether the packet leaves the interface."""
        return self.direction is FlowDirection.EGRESS

    @property
    def client_ports(self) -> tuple[PortRange, ...]:
        """The ports that clients of the service send from, where the packet is a reply to one.

        NFS clients send from a reserved port too, and from another with each new connection:
        https://docs.aws.amazon.com/efs/latest/ug/mount-helper-setting.html (``noresvport``).
        """
        if not self.is_reply:
            return ()
        of_nfs = self.packet.source_port == _NFS and self.packet.protocol == Protocol.TCP
        return (_EPHEMERAL, _RESERVED_OF_NFS) if of_nfs else (_EPHEMERAL,)

    @property
    def is_outside(self) -> bool:
        """Whether the packet's other end is on the internet or a public address of AWS.

        Behind a NAT gateway, the other end of a client's packet is not the gateway.
        """
        if not self.is_far:
            return self.trip.far_is_outside
        peer = self.packet.peer(self.direction)
        return peer not in self.trip.interface.addresses and not is_inside(peer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """The way of a request and its reply, seen from the interface of the record.

    Parameters
    ----------
    direction
        The direction of the request at the interface.
    far
        The interface at the other end, where its rules can be tried.
    far_note
        What to say of the far side; ``None`` where it is tried as the packet is.
    far_exists
        Whether there is a far side whose rules would have to be tried.
    """

    case: Case
    interface: Interface
    request: Packet
    direction: FlowDirection
    far: Interface | None
    far_note: str | None
    far_exists: bool

    @property
    def far_is_outside(self) -> bool:
        """Whether the far end is on the internet or a public address of AWS."""
        return self.case.found_path.path in _OUTSIDE

    def hops(self) -> Iterator[Hop]:
        """Yield where the request, then the reply must pass, in the order of travel."""
        way, back = self.direction, self.direction.opposite
        reply = self.request.reply()
        if self.request.icmp_type is not None:
            reply = replace(reply, icmp_type=_ECHO_REPLIES[self.request.icmp_type], icmp_code=0)
        near_request = Hop(
            self.interface, self.request, way, is_reply=False, is_far=False, trip=self
        )
        near_reply = Hop(self.interface, reply, back, is_reply=True, is_far=False, trip=self)
        if self.far is None:
            yield from (near_request, near_reply)
            return
        far_request = Hop(self.far, self.request, back, is_reply=False, is_far=True, trip=self)
        far_reply = Hop(self.far, reply, way, is_reply=True, is_far=True, trip=self)
        if way is FlowDirection.EGRESS:
            yield from (near_request, far_request, far_reply, near_reply)
        else:
            yield from (far_request, near_request, near_reply, far_reply)


_ECHO_REPLIES = {8: 0, 128: 129}  # by the type of the request, ICMP and ICMPv6
_OUTSIDE = frozenset({Path.INTERNET, Path.AWS_SERVICE, Path.GATEWAY_ENDPOINT, Path.LOAD_BALANCER})
_WITHOUT_FAR_SIDE = {
    Path.INTERNET: "far side: none of yours, its address is public",
    Path.AWS_SERVICE: "far side: none of yours, it is an AWS service",
    Path.GATEWAY_ENDPOINT: "far side: none of yours, it is an AWS service",
}


def trip_of(case: Case) -> Trip:
    """Return the way of the case's request and reply, with the far end where it is known."""
    check, found = case.rules_check, case.found_path
    # Without pkt-* fields a forwarding interface shows its own address for an end that lies
    # elsewhere.
    known_ends = case.flow.packet_addresses_logged or not (
        check.interface.is_nat_gateway or check.interface.forwards
    )
    is_reply = case.leg is Leg.RESPONSE
    request = check.packet.reply() if is_reply else check.packet
    direction = check.direction.opposite if is_reply else check.direction
    in_region = found.peering is None or not found.peering.crosses_regions
    far = found.far if known_ends and in_region else None
    if not known_ends:
        note: str | None = "far side: not tried, the records do not show the packets' own addresses"
    elif not in_region:
        note = "far side: not tried, it is in another Region"
    elif far is None:
        note = _why_not_tried(found.path, request.peer(direction))
    else:
        note = None if case.flow.packet_addresses_logged else _on_shown_address(check.interface)
    return Trip(
        case=case,
        interface=check.interface,
        request=request,
        direction=direction,
        far=far,
        far_note=note,
        far_exists=not known_ends or found.path not in _WITHOUT_FAR_SIDE,
    )


def _why_not_tried(path: Path, remote: Address) -> str:
    """Return what to say where no interface of the far side is known."""
    if path in _WITHOUT_FAR_SIDE:
        return _WITHOUT_FAR_SIDE[path]
    if path is Path.LOAD_BALANCER:
        return "far side: not tried, the clients came by a load balancer"
    return f"far side: not tried, no interface with {remote} was read"


def _on_shown_address(interface: Interface) -> str | None:
    """Return what to say where records show the primary address of several that an interface has.

    https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html
    """
    addresses = interface.ipv4_addresses or ()
    if len(addresses) <= 1 and interface.prefixes == ():
        return None
    shown = addresses[0] if addresses else "the primary address"
    return (
        f"far side: tried with {shown} only, "
        "which the records show for every address of the interface"
    )


# --- what does not let a packet pass ----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Blocked:
    """A layer that does not let a packet pass at a hop."""

    hop: Hop
    answer: AclAnswer | GroupsAnswer

    @property
    def outcome(self) -> Outcome:
        """Whether the layer denies the packet, or its rules leave that open."""
        return self.answer.outcome


def blocks(config: NetConfig, trip: Trip) -> Iterator[Blocked]:
    """Yield every layer that does not certainly let request or reply pass, in order of travel.

    As AWS checks them: going out the security groups first, coming in the network ACL first.
    """
    for hop in trip.hops():
        acl = evaluate_subnet_acl(config, hop.interface, hop.packet, hop.direction)
        groups = (
            None
            if hop.is_reply
            else evaluate_groups(config, hop.interface, hop.packet, hop.direction)
        )
        for answer in (groups, acl) if hop.is_egress else (acl, groups):
            if answer is not None and answer.outcome is not Outcome.ALLOW:
                yield Blocked(hop, answer)
