"""A connection over a world: handshake, data, end, datagrams and pings, packet by packet."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from tests.simulator.network import ACK, FIN, RST, SYN, Leg, Network, Packet
from tests.simulator.world import ICMP

if TYPE_CHECKING:
    from tests.simulator.network import Hop


class Case(StrEnum):
    """The kinds of simulation; all but ``plain`` are hard cases.

    Those from ``aws-stamps`` on are the kinds of real networks: ``REAL_NETWORKS``.
    """

    PLAIN = "plain"
    CLOSED_CONNECTION = "closed-connection"
    RULE_CHANGE = "rule-change"
    SYMMETRIC_UDP = "symmetric-udp"
    LOST_RECORDS = "lost-records"
    REJECT_ONLY = "reject-only"
    SECONDARY_ADDRESSES = "secondary-addresses"
    BACKSCATTER = "backscatter"
    BLOCK_PUBLIC_ACCESS = "block-public-access"
    ENCRYPTION_CONTROLS = "encryption-controls"
    PORT_REUSE = "port-reuse"
    UNTRACKED = "untracked"
    SKEWED_TIMES = "skewed-times"
    AWS_STAMPS = "aws-stamps"
    LOAD_BALANCER = "load-balancer"
    TRANSIT_GATEWAY = "transit-gateway"
    FORWARDER = "forwarder"
    IDLE_TIMEOUT = "idle-timeout"
    LATE_CLOSE = "late-close"
    SKIPDATA = "skipdata"
    PUBLIC_RANGES = "public-ranges"
    SUBNET_EXCLUSION = "subnet-exclusion"
    BROADCAST = "broadcast"
    FIXES = "fixes"


REAL_NETWORKS = tuple(Case)[tuple(Case).index(Case.AWS_STAMPS) :]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Both directions of a connection.

    ``arrives`` is false where packets are lost in silence before they reach the other end.
    """

    forward: tuple[Hop, ...]
    backward: tuple[Hop, ...]
    arrives: bool = True


@dataclass(slots=True, kw_only=True)
class Talk:
    """A connection that sends its packets in order of time."""

    network: Network
    route: Route
    protocol: int
    time: float
    case: str | None = None

    def send(
        self,
        leg: Leg,
        *,
        after: float = 0.05,
        flags: int = 0,
        icmp: tuple[int, int] | None = None,
        size: int = 60,
    ) -> bool:
        """Send one packet some seconds after the last; return whether it reached the other end."""
        self.time += after
        packet = Packet(
            time=self.time,
            leg=leg,
            protocol=self.protocol,
            flags=flags,
            icmp=icmp,
            size=size,
            case=self.case,
        )
        hops = self.route.forward if leg is Leg.REQUEST else self.route.backward
        return self.network.carry(packet, hops) and self.route.arrives

    def handshake(self, *, listens: bool = True) -> bool:
        """Try up to three times to open a TCP connection; return whether it is open."""
        answer = SYN | ACK if listens else RST | ACK
        for wait in (0.0, 1.0, 2.0):
            if not self.send(Leg.REQUEST, after=wait, flags=SYN):
                continue
            if self.send(Leg.RESPONSE, flags=answer):
                if listens:
                    self.send(Leg.REQUEST, flags=ACK)
                return listens
        return False

    def exchange(self, *, gap: float) -> None:
        """Send data both ways."""
        self.send(Leg.REQUEST, after=gap, flags=ACK, size=500)
        self.send(Leg.RESPONSE, flags=ACK, size=1400)
        self.send(Leg.REQUEST, flags=ACK)

    def close(self) -> None:
        """Close the connection from the client's side, with FIN in both directions."""
        self.send(Leg.REQUEST, flags=FIN | ACK)
        self.send(Leg.RESPONSE, flags=FIN | ACK)
        self.send(Leg.REQUEST, flags=ACK)

    def datagrams(self, count: int, *, gap: float) -> None:
        """Send a number of UDP requests, each with its response."""
        for _ in range(count):
            if self.send(Leg.REQUEST, after=gap, size=90):
                self.send(Leg.RESPONSE, size=180)

    def pings(self, count: int) -> None:
        """Send a number of pings, one per second."""
        request, reply = ((8, 0), (0, 0)) if self.protocol == ICMP else ((128, 0), (129, 0))
        for _ in range(count):
            if self.send(Leg.REQUEST, after=1.0, icmp=request, size=84):
                self.send(Leg.RESPONSE, icmp=reply, size=84)
